//! Events: written with what they tell of, read in the order of their ids.

use runstone_core::record::{EventRecord, NodeId, RunId};
use runstone_core::time::Timestamp;
use rusqlite::{Transaction, params};

use super::counter::Counter;
use super::{Outcome, decode};
use crate::event::Event;

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) run: RunId,
    pub(super) task: Option<u32>,
    pub(super) attempt: Option<NodeId>,
}

impl About {
    pub(super) fn run(run: RunId) -> Self {
        Self { run, task: None, attempt: None }
    }
}

pub(super) fn write(
    tx: &Transaction<'_>,
    counter: &mut Counter,
    at: Timestamp,
    about: About,
    event: &Event<'_>,
) -> Outcome<()> {
    tx.prepare_cached(
        "INSERT INTO event (run_id, id, at, kind, task_idx, attempt_id, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        about.run.0.as_bytes(),
        counter.next_event(),
        at.0,
        event.kind(),
        about.task,
        about.attempt.map(|id| id.0),
        event.body().to_string(),
    ])?;
    Ok(())
}

pub(super) fn after(tx: &Transaction<'_>, project: i64, run: RunId, after: i64) -> Outcome<Vec<EventRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT e.id, e.at, e.kind, e.task_idx, e.attempt_id, e.body FROM run r JOIN event e ON e.run_id = r.id
         WHERE r.id = ?1 AND r.project_id = ?2 AND e.id > ?3 ORDER BY e.id",
    )?;
    let rows = statement.query_map(params![run.0.as_bytes(), project, after], |row| {
        Ok(EventRecord {
            id: row.get(0)?,
            run,
            at: Timestamp(row.get(1)?),
            kind: row.get(2)?,
            task: row.get(3)?,
            attempt: row.get::<_, Option<i64>>(4)?.map(NodeId),
            body: decode::json(row, 5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
