//! Runs: as programs get them, and how the one that is meant is found.

use runstone_core::record::{RunRecord, RunState};
use runstone_core::store::{RunRef, Store};
use runstone_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::error::{CommandError, CommandResult};
use crate::reference::RunArg;
use crate::render::time::Rfc3339;

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

/// The run that is meant; the newest where nothing was said.
pub(crate) fn find(store: &mut dyn Store, which: Option<&RunArg>) -> CommandResult<RunRecord> {
    let which = which.map_or(RunRef::Latest, |run| run.0.clone());
    if let Some(run) = store.run(&which)? {
        return Ok(run);
    }
    if let Some(one) = store.submission(&which)? {
        let message = match &one.reason {
            Some(reason) => format!("run #{} never began: {reason}", one.number),
            None => format!("run #{} has not begun yet: it is {}", one.number, one.state.as_str()),
        };
        return Err(CommandError::not_found(message).hint("`runstone queue` says what it waits for"));
    }
    let message = match &which {
        RunRef::Number(number) => format!("there is no run #{number}"),
        RunRef::Prefix(prefix) => format!("there is no run whose id starts with {prefix}"),
        RunRef::Latest => "there is no run yet".to_owned(),
    };
    Err(CommandError::not_found(message).hint("`runstone runs` lists them"))
}
