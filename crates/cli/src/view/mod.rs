//! The record as programs get it with `--json`, and as the renderers take it: flat, with stable names in snake case,
//! units in the names, times in RFC 3339. Made from the store's rows; described in `docs/cli.md`.

pub(crate) mod partition;
pub(crate) mod reproduction;
pub(crate) mod run;
pub(crate) mod submission;
pub(crate) mod task;

pub(crate) use partition::{Ledger, PartitionState, PartitionView};
pub(crate) use run::RunView;
pub(crate) use submission::SubmissionView;
pub(crate) use task::TaskView;
