//! Submissions and what else the service has on record, as programs get it.

use runstone_core::record::RunState;
use runstone_core::service::record::{SubmissionRecord, SubmissionState};
use serde::Serialize;

use runstone_lineage::view::Rfc3339;

/// A run that was asked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SubmissionView {
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) pipeline: String,
    pub(crate) state: SubmissionState,
    /// The state of its run, where it has begun.
    pub(crate) run_state: Option<RunState>,
    pub(crate) trigger: String,
    pub(crate) partition: Option<String>,
    pub(crate) priority: i32,
    pub(crate) submitted_at: Rfc3339,
    pub(crate) ended_at: Option<Rfc3339>,
    pub(crate) reason: Option<String>,
    pub(crate) scheduler: Option<String>,
    pub(crate) cancel_requested: Option<String>,
}

impl From<&SubmissionRecord> for SubmissionView {
    fn from(record: &SubmissionRecord) -> Self {
        Self {
            number: record.number,
            id: record.run.to_string(),
            pipeline: record.pipeline.clone(),
            state: record.state,
            run_state: record.run_state,
            trigger: record.trigger.clone(),
            partition: record.partition.clone(),
            priority: record.priority,
            submitted_at: Rfc3339(record.created),
            ended_at: record.ended.map(Rfc3339),
            reason: record.reason.clone(),
            scheduler: record.scheduler.map(|id| id.0.to_string()),
            cancel_requested: record.cancel.clone(),
        }
    }
}
