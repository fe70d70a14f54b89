//! Events: written with what they tell of, read in the order of their ids.

use runstone_core::record::{EventRecord, NodeId, RunId};
use runstone_core::time::Timestamp;
use sqlx::postgres::PgBindIterExt;

use super::session::{Tx, TxError};
use super::value::{Time, get, get_json, get_time, index, json};
use crate::event::Event;

/// An event to be told.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) kind: &'static str,
    pub(super) task: Option<u32>,
    pub(super) attempt: Option<NodeId>,
    pub(super) body: serde_json::Value,
}

impl EventRow {
    pub(super) fn of(task: Option<u32>, attempt: Option<NodeId>, event: &Event<'_>) -> Self {
        Self { kind: event.kind(), task, attempt, body: event.body() }
    }
}

/// Tells events of a run, in order. Whoever does holds the lock of the run's row, so that the ids of a run's events grow in
/// the order in which they can be seen.
pub(super) async fn insert(tx: &mut Tx<'_>, run: RunId, at: Timestamp, events: &[EventRow]) -> Result<(), TxError> {
    const INSERT: &str = "INSERT INTO event (run_id, at, kind, task_idx, attempt_id, body) \
         SELECT $1, $2, w.kind, w.task, w.attempt, w.body::jsonb \
         FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::text[]) WITH ORDINALITY \
             AS w(kind, task, attempt, body, position) ORDER BY w.position";
    if events.is_empty() {
        return Ok(());
    }
    let query = tx
        .query(INSERT)
        .bind(run.0)
        .bind(Time(at))
        .bind(events.iter().map(|event| event.kind).bind_iter())
        .bind(events.iter().map(|event| event.task.map(index)).bind_iter())
        .bind(events.iter().map(|event| event.attempt.map(|id| id.0)).bind_iter())
        .bind(events.iter().map(|event| json(&event.body)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// Tells one event each of several runs, whose locks are held.
pub(super) async fn insert_each(tx: &mut Tx<'_>, at: Timestamp, events: &[(RunId, EventRow)]) -> Result<(), TxError> {
    const INSERT: &str = "INSERT INTO event (run_id, at, kind, task_idx, attempt_id, body) \
         SELECT w.run, $1, w.kind, NULL, NULL, w.body::jsonb \
         FROM unnest($2::uuid[], $3::text[], $4::text[]) AS w(run, kind, body)";
    let query = tx
        .query(INSERT)
        .bind(Time(at))
        .bind(events.iter().map(|(run, _)| run.0).bind_iter())
        .bind(events.iter().map(|(_, event)| event.kind).bind_iter())
        .bind(events.iter().map(|(_, event)| json(&event.body)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// Events of a run after an id.
pub(super) async fn after(tx: &mut Tx<'_>, project: i64, run: RunId, after: i64) -> Result<Vec<EventRecord>, TxError> {
    const SELECT: &str = "SELECT e.id, e.at, e.kind, e.task_idx, e.attempt_id, e.body::text AS body \
         FROM run r JOIN event e ON e.run_id = r.id WHERE r.id = $1 AND r.project_id = $2 AND e.id > $3 ORDER BY e.id";
    let query = tx.query(SELECT).bind(run.0).bind(project).bind(after);
    tx.rows(query)
        .await?
        .iter()
        .map(|row| {
            let task: Option<i32> = get(row, "task_idx")?;
            Ok(EventRecord {
                id: get(row, "id")?,
                run,
                at: get_time(row, "at")?,
                kind: get(row, "kind")?,
                task: task.and_then(|task| u32::try_from(task).ok()),
                attempt: get::<Option<i64>>(row, "attempt_id")?.map(NodeId),
                body: get_json(row, "body")?,
            })
        })
        .collect()
}
