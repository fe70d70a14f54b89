//! Runstone as people use it: the built program, in a folder of its own, seen from outside. What a test knows about
//! it is what the documentation says.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read fails the test")]

mod backfill;
mod concurrency;
mod crash;
mod crash_points;
mod doctor;
mod environment;
mod examples;
mod expansion;
mod exports;
mod failure;
mod hostile;
mod interrupt;
mod lineage;
mod on_postgres;
mod openlineage;
mod peers;
mod plan;
mod project;
mod questions;
mod queue;
mod readme;
mod reproduce;
mod restore;
mod reuse;
mod running;
mod schedules;
mod secrets;
mod selection;
mod service;
mod shop;
mod sources;
mod steps;
mod systemd;
mod tainted;
mod tamper;
mod triggers;
