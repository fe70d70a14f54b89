//! The pure domain of Runstone: what a pipeline is, what must run and why, and what is on record.
//!
//! Nothing here reads a file, a clock or the environment, starts a process, talks to a database or
//! prints. Time, identities and results come in as arguments, so every decision can be tested in
//! microseconds and replayed from its inputs.
//!
//! The flow, each stage a value with a name:
//! `pipeline.yaml → spec → graph → plan → run → events → store → lineage`.

pub mod attempt;
pub mod canonical;
pub mod cell;
pub mod code;
pub mod derivation;
pub mod executor;
pub mod expr;
pub mod graph;
pub mod hash;
pub mod lineage;
pub mod log;
pub mod machine;
pub mod name;
pub mod partition;
pub mod record;
pub mod reference;
pub mod reproduction;
pub mod retention;
pub mod scalar;
pub mod schedule;
pub mod select;
pub mod service;
pub mod spec;
pub mod store;
pub mod time;
