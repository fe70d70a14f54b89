//! The commands, one file each: what it takes, what it looks up, and what it prints.

pub(crate) mod cancel;
pub(crate) mod checkout;
pub(crate) mod completions;
pub(crate) mod datasets;
pub(crate) mod doctor;
pub(crate) mod exit_codes;
pub(crate) mod gc;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod lineage;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod plan;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod validate;
pub(crate) mod verify;
pub(crate) mod why;
