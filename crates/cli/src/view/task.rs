//! Tasks as programs get them.

use runstone_core::cell::task_name;
use runstone_core::record::{AttemptRecord, RunRecord, TaskRecord, TaskState};
use runstone_core::store::Store;
use serde::Serialize;

use runstone_lineage::view::AttemptView;

use crate::error::CommandResult;

/// A task of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskView {
    pub(crate) index: u32,
    /// `step` or `step{cell}`, as commands take it.
    pub(crate) name: String,
    pub(crate) step: String,
    pub(crate) cell: String,
    pub(crate) state: TaskState,
    pub(crate) reason: Option<String>,
    /// Attempts put on record in this run.
    pub(crate) attempts: u32,
    pub(crate) fingerprint: Option<String>,
    /// The attempt whose result stands for it, or the last one.
    pub(crate) attempt: Option<AttemptView>,
}

impl TaskView {
    pub(crate) fn new(task: &TaskRecord, attempt: Option<&AttemptRecord>) -> Self {
        Self {
            index: task.index,
            name: task_name(&task.step, &task.cell),
            step: task.step.clone(),
            cell: task.cell.clone(),
            state: task.state,
            reason: task.reason.clone(),
            attempts: task.attempts,
            fingerprint: task.fingerprint.map(|fingerprint| fingerprint.to_string()),
            attempt: attempt.map(AttemptView::from),
        }
    }
}

/// The tasks of a run with the attempts that stand for them.
pub(crate) fn of_run(store: &mut dyn Store, run: &RunRecord) -> CommandResult<Vec<TaskView>> {
    let tasks = store.tasks(run.id)?;
    let mut ids: Vec<_> = tasks.iter().filter_map(|task| task.attempt).collect();
    ids.sort_unstable();
    ids.dedup();
    let attempts = store.attempts_by_id(&ids)?;
    let by_id: std::collections::HashMap<_, _> = attempts.iter().map(|attempt| (attempt.id, attempt)).collect();
    let attempt = |task: &TaskRecord| task.attempt.and_then(|id| by_id.get(&id).copied());
    Ok(tasks.iter().map(|task| TaskView::new(task, attempt(task))).collect())
}
