//! The service, simulated: real machines around a model of the record, with everything going wrong that can, from a
//! seed that repeats it.
//!
//! Where the real things differ in form only (threads, SQL, processes), the model is simple; where their misbehaviour
//! matters (answers that are lost, processes that stop and go on, clocks that jump), it is as bad as they are.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which the lints do not recognise as one")]
#![expect(
    clippy::disallowed_methods,
    reason = "how many worlds is asked for from outside, and how fast they were is told"
)]

mod dice;
mod drive;
mod faults;
mod host;
mod judge;
mod model;
mod months;
mod mutations;
mod people;
mod plans;
mod scenarios;
mod seeds;
mod shell;
mod world;
