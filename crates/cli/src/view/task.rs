//! Tasks and attempts: as programs get them, and how those that are meant are found.

use runstone_core::attempt::Cause;
use runstone_core::cell::task_name;
use runstone_core::record::{AttemptEnd, AttemptKind, AttemptRecord, AttemptState, RunRecord, TaskRecord, TaskState};
use runstone_core::store::{RunFilter, Store};
use serde::Serialize;

use super::run;
use crate::error::{CommandError, CommandResult};
use crate::reference::{RunArg, TaskArg, cell_agrees};
use crate::render::time::Rfc3339;

/// How many runs are searched for a task when none is named.
const SEARCHED_RUNS: u32 = 50;

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

/// An attempt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AttemptView {
    pub(crate) node: i64,
    pub(crate) id: String,
    pub(crate) run_number: i64,
    pub(crate) number: u32,
    pub(crate) kind: AttemptKind,
    pub(crate) state: AttemptState,
    pub(crate) fingerprint: String,
    pub(crate) created_at: Rfc3339,
    pub(crate) reused_from_node: Option<i64>,
    /// Absent until it ended.
    #[serde(flatten)]
    pub(crate) end: Option<EndView>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EndView {
    pub(crate) started_at: Rfc3339,
    pub(crate) ended_at: Rfc3339,
    pub(crate) cause: Cause,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) message: Option<String>,
    pub(crate) wall_us: u64,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) stdout_bytes: u64,
    pub(crate) stderr_bytes: u64,
    pub(crate) killed_leftovers: u32,
    pub(crate) tainted: Option<String>,
}

impl From<&AttemptEnd> for EndView {
    fn from(end: &AttemptEnd) -> Self {
        Self {
            started_at: Rfc3339(end.started),
            ended_at: Rfc3339(end.ended),
            cause: end.cause,
            exit_code: end.exit_code,
            signal: end.signal,
            message: end.message.clone(),
            wall_us: end.ended.since(end.started),
            user_us: end.user_us,
            system_us: end.system_us,
            peak_memory_bytes: end.peak_rss,
            stdout_bytes: end.stdout_bytes,
            stderr_bytes: end.stderr_bytes,
            killed_leftovers: end.leftovers,
            tainted: end.tainted.clone(),
        }
    }
}

impl From<&AttemptRecord> for AttemptView {
    fn from(attempt: &AttemptRecord) -> Self {
        Self {
            node: attempt.id.0,
            id: attempt.uuid.to_string(),
            run_number: attempt.run_number,
            number: attempt.number,
            kind: attempt.kind,
            state: attempt.state,
            fingerprint: attempt.fingerprint.to_string(),
            created_at: Rfc3339(attempt.created),
            reused_from_node: attempt.reused_from.map(|node| node.0),
            end: attempt.end.as_ref().map(EndView::from),
        }
    }
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

/// The tasks that are meant, never none, and their run: the one that is named, else the newest that has such a task.
pub(crate) fn find(
    store: &mut dyn Store,
    wanted: &TaskArg,
    run_flag: Option<&RunArg>,
) -> CommandResult<(RunRecord, Vec<TaskRecord>)> {
    if let (Some(named), Some(flag)) = (&wanted.run, run_flag)
        && named != flag
    {
        return Err(CommandError::usage("the task and --run name different runs"));
    }
    if let Some(which) = wanted.run.as_ref().or(run_flag) {
        let run = run::find(store, Some(which))?;
        let tasks = store.tasks(run.id)?;
        let found = matching(&tasks, wanted);
        return if found.is_empty() { Err(no_such_task(&run, &tasks, wanted)) } else { Ok((run, found)) };
    }
    let newest = run::find(store, None)?;
    for run in store.runs(&RunFilter { limit: Some(SEARCHED_RUNS), ..RunFilter::default() })? {
        let found = matching(&store.tasks(run.id)?, wanted);
        if !found.is_empty() {
            return Ok((run, found));
        }
    }
    let tasks = store.tasks(newest.id)?;
    Err(no_such_task(&newest, &tasks, wanted))
}

/// The single task that is meant.
pub(crate) fn find_one(
    store: &mut dyn Store,
    wanted: &TaskArg,
    run_flag: Option<&RunArg>,
) -> CommandResult<(RunRecord, TaskRecord)> {
    let (run, mut tasks) = find(store, wanted, run_flag)?;
    if tasks.len() > 1 {
        let names: Vec<_> = tasks.iter().take(8).map(|task| task_name(&task.step, &task.cell)).collect();
        let more = if tasks.len() > names.len() { ", …" } else { "" };
        let message = format!("{} tasks of run #{} fit: {}{more}", tasks.len(), run.number, names.join(", "));
        return Err(CommandError::usage(message).hint("name more of the cell"));
    }
    Ok((run, tasks.remove(0)))
}

fn matching(tasks: &[TaskRecord], wanted: &TaskArg) -> Vec<TaskRecord> {
    let fits = |task: &&TaskRecord| task.step == wanted.task.step && cell_agrees(&task.cell, &wanted.task.cell);
    tasks.iter().filter(fits).cloned().collect()
}

fn no_such_task(run: &RunRecord, tasks: &[TaskRecord], wanted: &TaskArg) -> CommandError {
    let step = &wanted.task.step;
    let error = |message: String| CommandError::not_found(message);
    let cells: Vec<String> =
        tasks.iter().filter(|task| task.step == *step).map(|task| task_name(&task.step, &task.cell)).take(8).collect();
    if !cells.is_empty() {
        return error(format!("run #{} has no such cell of {step}", run.number))
            .hint(format!("there are {}", cells.join(", ")));
    }
    let mut steps: Vec<&str> = tasks.iter().map(|task| task.step.as_str()).collect();
    steps.dedup();
    steps.truncate(12);
    error(format!("run #{} has no task {step}", run.number)).hint(format!("its steps are {}", steps.join(", ")))
}
