//! Tasks: put on record, read, and the look at one task that every compare-and-set starts with.

use runstone_core::hash::Fingerprint;
use runstone_core::record::{AttemptState, NodeId, RunId, TaskRecord, TaskState};
use runstone_core::store::NewTask;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Outcome, decode};

pub(super) fn insert(tx: &Transaction<'_>, run: RunId, tasks: &[NewTask]) -> Outcome<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO task (run_id, idx, step, cell, state, attempts) VALUES (?1, ?2, ?3, ?4, 'waiting', 0)",
    )?;
    for task in tasks {
        statement.execute(params![run.0.as_bytes(), task.index, task.step, task.cell])?;
    }
    Ok(())
}

/// The index after the last one.
pub(super) fn next_index(tx: &Transaction<'_>, run: RunId) -> Outcome<u32> {
    Ok(tx
        .prepare_cached("SELECT coalesce(max(idx) + 1, 0) FROM task WHERE run_id = ?1")?
        .query_row([run.0.as_bytes()], |row| row.get(0))?)
}

/// Whether every task of a run is in a terminal state.
pub(super) fn all_terminal(tx: &Transaction<'_>, run: RunId) -> Outcome<bool> {
    Ok(tx
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM task WHERE run_id = ?1 AND state IN ('waiting', 'assigned', 'retrying'))",
        )?
        .query_row([run.0.as_bytes()], |row| row.get(0))?)
}

/// What a change of a task is compared against.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) state: TaskState,
    pub(super) attempts: u32,
    pub(super) step: String,
    pub(super) cell: String,
    pub(super) fingerprint: Option<Fingerprint>,
    /// The last or the standing attempt.
    pub(super) attempt: Option<NodeId>,
    /// Whether it stands in the line of a pool.
    pub(super) in_line: bool,
    /// Whether its last attempt holds slots of a pool for as long as it lives.
    pub(super) holds_slots: bool,
    attempt_state: Option<AttemptState>,
}

impl Now {
    /// Whether an attempt may be started, or the task be settled without one.
    pub(super) fn is_open(&self) -> bool {
        match self.state {
            TaskState::Waiting | TaskState::Retrying => true,
            TaskState::Assigned => self.live().is_none(),
            _ => false,
        }
    }

    /// The live attempt and its state.
    pub(super) fn live(&self) -> Option<(NodeId, AttemptState)> {
        match (self.state, self.attempt, self.attempt_state) {
            (TaskState::Assigned, Some(id), Some(state @ (AttemptState::Assigned | AttemptState::Running))) => {
                Some((id, state))
            }
            _ => None,
        }
    }
}

pub(super) fn now(tx: &Transaction<'_>, run: RunId, index: u32) -> Outcome<Option<Now>> {
    Ok(tx
        .prepare_cached(
            "SELECT t.state, t.attempts, t.step, t.cell, t.fingerprint, t.attempt_id, a.state, t.pool IS NOT NULL,
                    a.pool IS NOT NULL
             FROM task t LEFT JOIN attempt a ON a.id = t.attempt_id WHERE t.run_id = ?1 AND t.idx = ?2",
        )?
        .query_row(params![run.0.as_bytes(), index], |row| {
            let attempt = row.get::<_, Option<i64>>(5)?.map(NodeId);
            Ok(Now {
                state: decode::spelled(row, 0, TaskState::parse)?,
                attempts: row.get(1)?,
                step: row.get(2)?,
                cell: row.get(3)?,
                fingerprint: row.get::<_, Option<[u8; 32]>>(4)?.map(Fingerprint::from_bytes),
                attempt,
                in_line: row.get(7)?,
                holds_slots: row.get(8)?,
                attempt_state: match attempt {
                    Some(_) => Some(decode::spelled(row, 6, AttemptState::parse)?),
                    None => None,
                },
            })
        })
        .optional()?)
}

pub(super) fn list(tx: &Transaction<'_>, project: i64, run: RunId) -> Outcome<Vec<TaskRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT t.idx, t.step, t.cell, t.state, t.attempts, t.attempt_id, t.fingerprint, t.reason
         FROM run r JOIN task t ON t.run_id = r.id WHERE r.id = ?1 AND r.project_id = ?2 ORDER BY t.idx",
    )?;
    let rows = statement.query_map(params![run.0.as_bytes(), project], |row| {
        Ok(TaskRecord {
            run,
            index: row.get(0)?,
            step: row.get(1)?,
            cell: row.get(2)?,
            state: decode::spelled(row, 3, TaskState::parse)?,
            attempts: row.get(4)?,
            attempt: row.get::<_, Option<i64>>(5)?.map(NodeId),
            fingerprint: row.get::<_, Option<[u8; 32]>>(6)?.map(Fingerprint::from_bytes),
            reason: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
