//! Runstone as people use it: the built program, in a folder of its own, seen from outside. What a test knows about
//! it is what the documentation says.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read fails the test")]

mod concurrency;
mod crash;
mod crash_points;
mod environment;
mod examples;
mod expansion;
mod failure;
mod hostile;
mod interrupt;
mod lineage;
mod on_postgres;
mod plan;
mod project;
mod readme;
mod reuse;
mod running;
mod secrets;
mod selection;
mod sources;
mod steps;
mod tainted;
