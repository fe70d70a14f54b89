//! The loop that drives a run: core decides, exec does, the store remembers.
//!
//! `prepare` reads what was asked for, `begin` and `resume` put a run on record or take one over, and the driver
//! carries it to its end. Nothing here prints; whoever watches gets events.

mod begin;
pub mod clock;
mod collected;
mod crew;
mod derive;
mod driver;
pub mod environment;
mod facts;
mod failpoint;
#[cfg(test)]
mod fixture;
mod hooks;
mod items;
mod judge;
mod ledger;
pub mod owner;
mod pins;
mod plan;
mod pool;
mod prepare;
pub mod project;
mod recorded;
mod recorder;
mod remains;
pub mod report;
mod reported;
pub mod reproduce;
mod resume;
pub mod retention;
pub mod seal;
pub mod service;
mod shelf;
mod site;
mod slots;
mod source;
mod staging;
mod submit;
mod tables;

pub use begin::{RunError, RunOptions, run};
pub use crew::Crew;
pub use driver::{Control, DriveError, Summary};
pub use facts::{StepFacts, StepPython, platform};
pub use plan::{Decision, Plan, PlannedTask, Why, plan};
pub use prepare::{Asked, Definition, Home, PrepareError, Prepared, prepare, prepare_again, prepare_with};
pub use recorder::RecordError;
pub use resume::resume;
pub use site::Site;
pub use staging::{CONTEXT, StepContext};
pub use submit::{Wish, submission};

/// An error with its causes on one line, for places that keep text.
pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
