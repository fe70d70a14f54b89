//! What a change must be by itself, before any row is looked at. The same for every database.
//!
//! A change that contradicts itself is a mistake of the caller: the whole batch is refused with an error, and nothing
//! is changed. That is different from a stale change, which was right when it was made.

use std::collections::HashSet;

use runstone_core::cell::Cell;
use runstone_core::partition::{self, Key};
use runstone_core::record::{Metric, NodeId, RunId, RunState, TaskState};
use runstone_core::service::record::{DeclaredPipeline, FireDecision, FireVerdict, NewBackfill, ScheduleId};
use runstone_core::store::{
    Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Result, SettleTask, StoreError,
};
use runstone_core::time::Timestamp;

/// A change or a run that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChange {
    /// Indices are given in order, without gaps.
    #[error("task {found} was given where task {expected} is next")]
    TaskOrder {
        /// The next index.
        expected: u32,
        /// The index that was given.
        found: u32,
    },
    /// Success is reported together with a task that did not succeed, or the other way round.
    #[error("task {task} cannot be {} after an attempt that {}", next.as_str(), if *succeeded { "succeeded" } else { "failed" })]
    NextState {
        /// The task's position.
        task: u32,
        /// How the attempt ended.
        succeeded: bool,
        /// The state that was asked for.
        next: TaskState,
    },
    /// An attempt that failed publishes nothing.
    #[error("the failed attempt of task {task} publishes outputs")]
    FailedWithOutputs {
        /// The task's position.
        task: u32,
    },
    /// One attempt publishes an output of a cell once.
    #[error("task {task} publishes output {output} of cell {subset:?} twice")]
    OutputTwice {
        /// The task's position.
        task: u32,
        /// The output.
        output: String,
        /// The cell.
        subset: String,
    },
    /// JSON and SQLite know no such number.
    #[error("metric {name} of task {task} is not a finite number")]
    NotFinite {
        /// The task's position.
        task: u32,
        /// The metric.
        name: String,
    },
    /// Signed 64 bits is what databases have.
    #[error("{what} {value} is too large")]
    TooLarge {
        /// Such as `size`.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// A task settles in a terminal state other than `succeeded`, and in `reused` with the result that is reused.
    #[error("task {task} cannot be settled as {}", state.as_str())]
    SettledState {
        /// The task's position.
        task: u32,
        /// The state that was asked for.
        state: TaskState,
    },
    /// A run ends in a terminal state.
    #[error("a run cannot end as running")]
    EndsRunning,
    /// A claim is on the run that is begun with it.
    #[error("run {run} was to be begun with a claim on run {claimed}")]
    ForeignClaim {
        /// The run.
        run: RunId,
        /// What was claimed.
        claimed: RunId,
    },
    /// A name stands for one thing.
    #[error("{what} {name:?} is declared twice")]
    DeclaredTwice {
        /// Such as `pipeline`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A fire is later than everything decided before it, and decides nothing beyond its end.
    #[error("a fire of schedule {} at {} until {} cannot follow {}", schedule.0, time.0, until.0, cursor.0)]
    FireOrder {
        /// The schedule.
        schedule: ScheduleId,
        /// The cursor.
        cursor: Timestamp,
        /// The fire time.
        time: Timestamp,
        /// The cursor from then on.
        until: Timestamp,
    },
    /// A row of skipped times has some.
    #[error("a row of schedule {} stands for no fire time", schedule.0)]
    EmptyRow {
        /// The schedule.
        schedule: ScheduleId,
    },
    /// A run takes its definition from the pipeline on record, which has to be there.
    #[error("pipeline {pipeline:?} is not on record, and no definition was given")]
    UnknownPipeline {
        /// Its name.
        pipeline: String,
    },
    /// A verdict is on an attempt of the project.
    #[error("attempt {} is not on record", attempt.0)]
    UnknownAttempt {
        /// Its node.
        attempt: NodeId,
    },
    /// An attempt of the project that ended is put into the log once.
    #[error("attempt {} has not ended or is in the log already", attempt.0)]
    NotToBeLogged {
        /// Its node.
        attempt: NodeId,
    },
    /// One at a time is the least.
    #[error("a backfill that runs nothing at once would never end")]
    NothingAtOnce,
}

impl From<InvalidChange> for StoreError {
    fn from(error: InvalidChange) -> Self {
        Self::Database { context: "record a change that contradicts itself".to_owned(), source: Box::new(error) }
    }
}

/// Checks a run before it is put on record.
///
/// # Errors
/// [`InvalidChange::TaskOrder`], [`InvalidChange::ForeignClaim`].
pub(crate) fn check_run(run: &NewRun) -> Result<()> {
    if let Some(claim) = run.claim.filter(|claim| claim.run != run.id) {
        return Err(InvalidChange::ForeignClaim { run: run.id, claimed: claim.run }.into());
    }
    Ok(in_order(0, &run.tasks)?)
}

/// Checks what files declare.
///
/// # Errors
/// [`InvalidChange::DeclaredTwice`].
pub(crate) fn check_declared(pipelines: &[DeclaredPipeline]) -> Result<()> {
    once("pipeline", pipelines.iter().map(|pipeline| pipeline.pipeline.as_str()))?;
    for pipeline in pipelines {
        once("schedule", pipeline.schedules.iter().map(|schedule| schedule.name.as_str()))?;
    }
    Ok(())
}

/// Checks the pools of a project.
///
/// # Errors
/// [`InvalidChange::DeclaredTwice`].
pub(crate) fn check_pools(pools: &[(String, u32)]) -> Result<()> {
    Ok(once("pool", pools.iter().map(|(name, _)| name.as_str()))?)
}

/// Checks decisions about fires.
///
/// # Errors
/// [`InvalidChange::FireOrder`], [`InvalidChange::EmptyRow`], [`InvalidChange::TooLarge`].
pub(crate) fn check_decisions(decisions: &[FireDecision]) -> Result<()> {
    for FireDecision { schedule, cursor, time, until, verdict, .. } in decisions {
        if time <= cursor || until < time {
            let (schedule, cursor, time, until) = (*schedule, *cursor, *time, *until);
            return Err(InvalidChange::FireOrder { schedule, cursor, time, until }.into());
        }
        if let FireVerdict::Skip { count, .. } = verdict {
            stored("number of fire times", *count)?;
            if *count == 0 {
                return Err(InvalidChange::EmptyRow { schedule: *schedule }.into());
            }
        }
    }
    Ok(())
}

/// Checks a backfill before it is put on record.
///
/// # Errors
/// [`InvalidChange::DeclaredTwice`], [`InvalidChange::NothingAtOnce`].
pub(crate) fn check_backfill(backfill: &NewBackfill) -> Result<()> {
    if backfill.parallel == 0 {
        return Err(InvalidChange::NothingAtOnce.into());
    }
    Ok(once("partition", backfill.partitions.iter().map(String::as_str))?)
}

fn once<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> std::result::Result<(), InvalidChange> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(InvalidChange::DeclaredTwice { what, name: name.to_owned() });
        }
    }
    Ok(())
}

/// Checks every change of a batch.
///
/// # Errors
/// The first [`InvalidChange`].
pub(crate) fn check_batch(changes: &[Change]) -> Result<()> {
    for change in changes {
        match change {
            Change::AddTasks(tasks) => in_order(tasks.first().map_or(0, |task| task.index), tasks)?,
            Change::Finish(finish) => check_finish(finish)?,
            Change::Settle(settle) => check_settle(settle)?,
            Change::EndRun { state: RunState::Running, .. } => return Err(InvalidChange::EndsRunning.into()),
            Change::Start(_) | Change::Running { .. } | Change::EndRun { .. } => {}
        }
    }
    Ok(())
}

/// A number as databases keep it.
///
/// # Errors
/// [`InvalidChange::TooLarge`].
pub(crate) fn stored(what: &'static str, value: u64) -> std::result::Result<i64, InvalidChange> {
    i64::try_from(value).map_err(|_| InvalidChange::TooLarge { what, value })
}

fn in_order(first: u32, tasks: &[NewTask]) -> std::result::Result<(), InvalidChange> {
    for (expected, task) in (first..).zip(tasks) {
        if task.index != expected {
            return Err(InvalidChange::TaskOrder { expected, found: task.index });
        }
    }
    Ok(())
}

fn check_finish(finish: &FinishAttempt) -> std::result::Result<(), InvalidChange> {
    let FinishAttempt { task, succeeded, next, .. } = *finish;
    let fits = match next {
        TaskState::Succeeded => succeeded,
        TaskState::Failed | TaskState::Retrying | TaskState::Cancelled => !succeeded,
        TaskState::Waiting | TaskState::Assigned | TaskState::Reused | TaskState::Skipped => false,
    };
    if !fits {
        return Err(InvalidChange::NextState { task, succeeded, next });
    }
    if !succeeded && !finish.outputs.is_empty() {
        return Err(InvalidChange::FailedWithOutputs { task });
    }
    if let Some(Metric { name, .. }) = finish.metrics.iter().find(|metric| !metric.value.is_finite()) {
        return Err(InvalidChange::NotFinite { task, name: name.clone() });
    }
    check_outputs(task, &finish.outputs)
}

fn check_settle(settle: &SettleTask) -> std::result::Result<(), InvalidChange> {
    let SettleTask { task, state, .. } = *settle;
    let fits = match state {
        TaskState::Reused => settle.reuse.is_some(),
        TaskState::Failed | TaskState::Skipped | TaskState::Cancelled => settle.reuse.is_none(),
        TaskState::Waiting | TaskState::Assigned | TaskState::Retrying | TaskState::Succeeded => false,
    };
    if !fits {
        return Err(InvalidChange::SettledState { task, state });
    }
    let node = settle.reuse.as_ref().and_then(|reuse| reuse.node.as_ref());
    node.map_or(Ok(()), |node| check_outputs(task, &node.outputs))
}

fn check_outputs(task: u32, outputs: &[NewMaterialization]) -> std::result::Result<(), InvalidChange> {
    let mut seen = HashSet::new();
    for NewMaterialization { output, subset, size, files, rows, .. } in outputs {
        if !seen.insert((output, subset)) {
            return Err(InvalidChange::OutputTwice { task, output: output.clone(), subset: subset.clone() });
        }
        for (what, value) in [("size", *size), ("number of files", *files), ("number of rows", rows.unwrap_or(0))] {
            stored(what, value)?;
        }
    }
    Ok(())
}

/// Whether a part of a dataset belongs to this partition.
pub(crate) fn is_of_partition(subset: &str, key: &Key) -> bool {
    Cell::parse(subset).get(partition::AXIS).is_some_and(|found| found.to_string() == key.as_str())
}
