//! Runs as programs get them.

use runstone_core::record::{RunRecord, RunState};
use runstone_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use runstone_lineage::view::Rfc3339;

/// A run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunView {
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) pipeline: String,
    pub(crate) state: RunState,
    pub(crate) reason: Option<String>,
    pub(crate) trigger: String,
    pub(crate) partition: Option<String>,
    pub(crate) created_at: Rfc3339,
    pub(crate) ended_at: Option<Rfc3339>,
    /// Until its end; none while it is going on.
    pub(crate) wall_us: Option<u64>,
    pub(crate) definition_hash: String,
    pub(crate) definition_path: String,
    pub(crate) params: Value,
    pub(crate) request: Value,
    pub(crate) tool_version: String,
    pub(crate) platform: String,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) git_commit: Option<String>,
    pub(crate) git_dirty: Option<bool>,
    pub(crate) cancel_requested: Option<String>,
}

impl From<&RunRecord> for RunView {
    fn from(run: &RunRecord) -> Self {
        let environment = run.environment.clone();
        Self {
            number: run.number,
            id: run.id.to_string(),
            pipeline: run.pipeline.clone(),
            state: run.state,
            reason: run.reason.clone(),
            trigger: run.trigger.clone(),
            partition: run.partition.clone(),
            created_at: Rfc3339(run.created),
            ended_at: run.ended.map(Rfc3339),
            wall_us: run.ended.map(|ended| ended.since(run.created)),
            definition_hash: run.definition.to_string(),
            definition_path: run.definition_path.clone(),
            params: run.params.clone(),
            request: run.request.clone(),
            tool_version: environment.tool_version,
            platform: environment.platform,
            user: environment.user,
            host: environment.host,
            git_commit: environment.git_commit,
            git_dirty: environment.git_dirty,
            cancel_requested: run.cancel.clone(),
        }
    }
}

impl RunView {
    /// How long it took, or has taken until `now`.
    pub(crate) fn elapsed_us(&self, now: Timestamp) -> u64 {
        self.wall_us.unwrap_or_else(|| now.since(self.created_at.0))
    }
}
