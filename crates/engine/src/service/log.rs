//! What the runs of a scheduler tell, as lines of its log.

use runstone_core::record::TaskState;
use tracing::{error, info, warn};

use crate::report::{Reporter, RunEvent};

/// Tells what happens in one run.
#[derive(Debug)]
pub(super) struct LogReporter {
    pub(super) run: i64,
    pub(super) pipeline: String,
}

impl Reporter for LogReporter {
    fn event(&mut self, event: &RunEvent) {
        let (run, pipeline) = (self.run, self.pipeline.as_str());
        match event {
            RunEvent::RunStarted { tasks, resumed: false, .. } => info!(run, pipeline, tasks, "run started"),
            RunEvent::RunStarted { tasks, .. } => info!(run, pipeline, tasks, "run taken over"),
            RunEvent::TaskEnded { task, state: TaskState::Failed, message, exit_code, .. } => {
                let cause = message.as_deref();
                error!(run, pipeline, task = task.name, exit_code, cause, "task failed");
            }
            RunEvent::TaskEnded { task, state, wall_us, .. } => {
                info!(run, pipeline, task = task.name, state = state.as_str(), ms = wall_us / 1000, "task ended");
            }
            RunEvent::TaskRetrying { task, attempt, wait_ms, .. } => {
                warn!(run, pipeline, task = task.name, attempt, wait_ms, "task failed and will be tried again");
            }
            RunEvent::Warning { message } => warn!(run, pipeline, "{message}"),
            RunEvent::RunEnded { state, reason, wall_us, .. } => {
                let reason = reason.as_deref();
                info!(run, pipeline, state = state.as_str(), reason, ms = wall_us / 1000, "run ended");
            }
            RunEvent::TaskStarted { task, attempt } => {
                tracing::debug!(run, pipeline, task = task.name, attempt, "task started");
            }
            RunEvent::TaskReused { task, from_run } => {
                tracing::debug!(run, pipeline, task = task.name, from_run, "task reused");
            }
            RunEvent::TaskSkipped { task, reason } => {
                tracing::debug!(run, pipeline, task = task.name, reason, "task skipped");
            }
            RunEvent::TasksAdded { count } => tracing::debug!(run, pipeline, count, "tasks added"),
            RunEvent::EnvironmentBuilding { name, line } => {
                tracing::debug!(run, pipeline, environment = name, line, "environment being built");
            }
        }
    }
}
