//! What a run tells whoever watches it while it happens. The record in the store is something else: it is complete
//! and durable, while this is for eyes and pipes and may be dropped.

use std::path::PathBuf;

use runstone_core::attempt::Cause;
use runstone_core::record::{RunId, RunState, TaskState};
use serde::Serialize;

/// Watches a run. Failing to show something never fails the run, so nothing comes back.
pub trait Reporter: Send {
    /// Something happened.
    fn event(&mut self, event: &RunEvent);

    /// Whether [`tick`](Self::tick) is to be called.
    fn redraws(&self) -> bool {
        false
    }

    /// Time has passed without an event; called a few times a second where something is redrawn.
    fn tick(&mut self) {}
}

/// A reporter that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&mut self, _: &RunEvent) {}
}

/// Which task an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskLabel {
    /// Position within the run.
    pub index: u32,
    /// `step` or `step{cell}`.
    pub name: String,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// The run is on record.
    RunStarted {
        /// Its number.
        number: i64,
        /// Its identity.
        run: RunId,
        /// Its pipeline.
        pipeline: String,
        /// How many tasks are still to be decided.
        tasks: u32,
        /// Whether an earlier owner had begun it.
        resumed: bool,
    },
    /// A `foreach` turned out to have tasks.
    TasksAdded {
        /// How many.
        count: u32,
    },
    /// An environment that steps need is being made.
    EnvironmentBuilding {
        /// What it is called.
        name: String,
        /// What its builder says at the moment.
        line: String,
    },
    /// An attempt was started.
    TaskStarted {
        /// Its task.
        task: TaskLabel,
        /// From 1 within the task.
        attempt: u32,
    },
    /// The last attempt of a task ended, and with it the task.
    TaskEnded {
        /// The task.
        task: TaskLabel,
        /// The number of the attempt.
        attempt: u32,
        /// The state of the task: `succeeded`, `failed` or `cancelled`.
        state: TaskState,
        /// Why the attempt ended.
        cause: Cause,
        /// Its exit code, where it ended by itself.
        exit_code: Option<i32>,
        /// The signal, where one ended it.
        signal: Option<i32>,
        /// A sentence for people.
        message: Option<String>,
        /// Wall time, microseconds.
        wall_us: u64,
        /// What it wrote to standard error.
        stderr: Option<PathBuf>,
    },
    /// An earlier result stands for a task.
    TaskReused {
        /// The task.
        task: TaskLabel,
        /// The number of the run that did the work.
        from_run: i64,
    },
    /// A task is not run.
    TaskSkipped {
        /// The task.
        task: TaskLabel,
        /// Why.
        reason: String,
    },
    /// An attempt failed and another one is due.
    TaskRetrying {
        /// The task.
        task: TaskLabel,
        /// The number of the attempt that failed.
        attempt: u32,
        /// Why it failed.
        cause: Cause,
        /// Its exit code, where it ended by itself.
        exit_code: Option<i32>,
        /// The signal, where one ended it.
        signal: Option<i32>,
        /// Milliseconds until the next one.
        wait_ms: u64,
    },
    /// Something people should know that changes no state.
    Warning {
        /// A sentence.
        message: String,
    },
    /// The run ended.
    RunEnded {
        /// Its number.
        number: i64,
        /// Its state.
        state: RunState,
        /// Why, for people.
        reason: Option<String>,
        /// How many tasks ended in which way.
        counts: Counts,
        /// Wall time of this invocation, microseconds.
        wall_us: u64,
    },
}

/// How many tasks ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the fields are the terminal states of a task")]
pub struct Counts {
    pub succeeded: u32,
    pub reused: u32,
    pub failed: u32,
    pub skipped: u32,
    pub cancelled: u32,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.succeeded + self.reused + self.failed + self.skipped + self.cancelled
    }

    /// Counts a task in a terminal state; others are not counted.
    pub fn add(&mut self, state: TaskState) {
        match state {
            TaskState::Succeeded => self.succeeded += 1,
            TaskState::Reused => self.reused += 1,
            TaskState::Failed => self.failed += 1,
            TaskState::Skipped => self.skipped += 1,
            TaskState::Cancelled => self.cancelled += 1,
            TaskState::Waiting | TaskState::Assigned | TaskState::Retrying => {}
        }
    }
}
