//! What is kept and what may go: rules, what is known of versions, and the decision. Everything here is a value or a
//! function; removing is done by the engine.
//!
//! Lineage itself is never given up, only bytes: what may go can be made again from what stays.

pub mod facts;
mod plan;
mod rules;
pub mod store;

pub use facts::Facts;
pub use plan::{Decision, Keep, Plan, Unmakeable, Verdict, plan};
pub use rules::{AgeError, DatasetPattern, InputsOf, LogRule, ObjectRule, Rules, parse_age};
