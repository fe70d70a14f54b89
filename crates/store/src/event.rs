//! What each event is called and what it tells, the same for every database.
//!
//! Folding the events of a run in the order of their ids gives the states of its tasks and of the run itself: whoever
//! adds a kind or a field keeps that so.

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptKind, RunState, TaskState};
use serde_json::{Value, json};

/// Something that happened in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// The run is on record with so many tasks, all `waiting`.
    RunCreated { number: i64, tasks: usize },
    /// `count` tasks from index `first` on came to be, all `waiting`.
    TasksAdded { first: u32, count: usize },
    /// A task became `assigned`.
    AttemptAssigned { number: u32, kind: AttemptKind },
    /// The process of an attempt was seen.
    AttemptRunning { number: u32 },
    /// An attempt ended, and its task went on to `next`.
    AttemptFinished { number: u32, succeeded: bool, cause: Cause, next: TaskState, reason: Option<&'a str> },
    /// A task was decided without running. `node`: an attempt of kind `reuse` was put on record for it.
    TaskSettled { state: TaskState, node: bool, reason: Option<&'a str> },
    /// The run ended.
    RunEnded { state: RunState, reason: Option<&'a str> },
    /// The run has a new owner. `reopened`: it was over and is `running` again, without cancellation, and its tasks in
    /// `failed`, `skipped` and `cancelled` are `waiting` again.
    RunTakenOver { epoch: i64, reopened: bool },
    /// Somebody asked for the end of the run: `graceful` or `now`.
    CancelRequested { mode: &'a str },
}

impl Event<'_> {
    /// The stable name of the kind.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::RunCreated { .. } => "run_created",
            Self::TasksAdded { .. } => "tasks_added",
            Self::AttemptAssigned { .. } => "attempt_assigned",
            Self::AttemptRunning { .. } => "attempt_running",
            Self::AttemptFinished { .. } => "attempt_finished",
            Self::TaskSettled { .. } => "task_settled",
            Self::RunEnded { .. } => "run_ended",
            Self::RunTakenOver { .. } => "run_taken_over",
            Self::CancelRequested { .. } => "cancel_requested",
        }
    }

    /// What it tells beside task and attempt.
    pub(crate) fn body(&self) -> Value {
        match *self {
            Self::RunCreated { number, tasks } => json!({"number": number, "tasks": tasks}),
            Self::TasksAdded { first, count } => json!({"first": first, "count": count}),
            Self::AttemptAssigned { number, kind } => json!({"number": number, "kind": kind.as_str()}),
            Self::AttemptRunning { number } => json!({"number": number}),
            Self::AttemptFinished { number, succeeded, cause, next, reason } => with_reason(
                json!({"number": number, "succeeded": succeeded, "cause": cause.as_str(), "next": next.as_str()}),
                reason,
            ),
            Self::TaskSettled { state, node, reason } => {
                with_reason(json!({"state": state.as_str(), "node": node}), reason)
            }
            Self::RunEnded { state, reason } => with_reason(json!({"state": state.as_str()}), reason),
            Self::RunTakenOver { epoch, reopened } => json!({"epoch": epoch, "reopened": reopened}),
            Self::CancelRequested { mode } => json!({"mode": mode}),
        }
    }
}

fn with_reason(mut body: Value, reason: Option<&str>) -> Value {
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    body
}
