//! Schedulers and their leases. `clock` is the database's, read in the transaction.

use runstone_core::service::record::{NewScheduler, SchedulerId, SchedulerRecord, SchedulerState};
use runstone_core::service::store::Beat;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::super::{Outcome, decode};
use super::claims;
use crate::rules;

pub(super) fn register(tx: &Transaction<'_>, project: i64, new: &NewScheduler, clock: Timestamp) -> Outcome<()> {
    tx.prepare_cached(
        "INSERT INTO scheduler (id, project_id, host, pid, pid_start, place, version, store_marker, capacity, state,
                                started, seen, ttl_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'active', ?10, ?10, ?11)",
    )?
    .execute(params![
        new.id.0.as_bytes(),
        project,
        new.host,
        new.pid,
        rules::stored("start time of a process", new.pid_start)?,
        new.place,
        new.version,
        new.store_marker.as_bytes(),
        new.capacity,
        clock.0,
        rules::stored("length of a lease", new.ttl_ms)?,
    ])?;
    Ok(())
}

pub(super) fn beat(
    tx: &Transaction<'_>,
    project: i64,
    id: SchedulerId,
    state: SchedulerState,
    clock: Timestamp,
) -> Outcome<Beat> {
    let changed = tx
        .prepare_cached(
            "UPDATE scheduler SET seen = ?3, state = CASE WHEN ?4 THEN 'draining' ELSE state END
             WHERE id = ?1 AND project_id = ?2 AND state <> 'gone'",
        )?
        .execute(params![id.0.as_bytes(), project, clock.0, state == SchedulerState::Draining])?;
    Ok(if changed == 1 { Beat::Renewed } else { Beat::Gone })
}

pub(super) fn bury(
    tx: &Transaction<'_>,
    project: i64,
    id: SchedulerId,
    only_if_expired: bool,
    clock: Timestamp,
) -> Outcome<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE scheduler SET state = 'gone'
             WHERE id = ?1 AND project_id = ?2 AND state <> 'gone' AND (NOT ?3 OR seen + ttl_ms * 1000 <= ?4)",
        )?
        .execute(params![id.0.as_bytes(), project, only_if_expired, clock.0])?;
    if changed == 1 {
        claims::requeue_of(tx, project, id, clock)?;
    }
    Ok(changed == 1)
}

/// Whether it may take on runs: active, and its lease not run out.
pub(super) fn may_claim(tx: &Transaction<'_>, project: i64, id: SchedulerId, clock: Timestamp) -> Outcome<bool> {
    Ok(tx
        .prepare_cached(
            "SELECT state = 'active' AND seen + ttl_ms * 1000 > ?3 FROM scheduler WHERE id = ?1 AND project_id = ?2",
        )?
        .query_row(params![id.0.as_bytes(), project, clock.0], |row| row.get(0))
        .optional()?
        .unwrap_or(false))
}

pub(super) fn list(tx: &Transaction<'_>, project: i64, gone: u32, clock: Timestamp) -> Outcome<Vec<SchedulerRecord>> {
    let mut found = Vec::new();
    for (condition, limit) in [("state <> 'gone'", -1), ("state = 'gone'", i64::from(gone))] {
        let mut statement = tx.prepare_cached(&format!(
            "SELECT id, host, pid, pid_start, place, version, store_marker, capacity, state, started, seen, ttl_ms
             FROM scheduler WHERE project_id = ?1 AND {condition} ORDER BY started DESC, id DESC LIMIT ?2"
        ))?;
        let rows = statement.query_map([project, limit], |row| record(row, clock))?;
        found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    found.sort_by_key(|one| std::cmp::Reverse((one.started, one.id)));
    Ok(found)
}

fn record(row: &Row<'_>, clock: Timestamp) -> rusqlite::Result<SchedulerRecord> {
    let state = decode::spelled(row, 8, SchedulerState::parse)?;
    let (seen, ttl_ms) = (Timestamp(row.get(10)?), decode::unsigned(row, 11)?);
    Ok(SchedulerRecord {
        id: SchedulerId(decode::uuid(row, 0)?),
        host: row.get(1)?,
        pid: row.get(2)?,
        pid_start: decode::unsigned(row, 3)?,
        place: row.get(4)?,
        version: row.get(5)?,
        store_marker: decode::uuid(row, 6)?,
        capacity: row.get(7)?,
        state,
        started: Timestamp(row.get(9)?),
        seen,
        ttl_ms,
        expired: state != SchedulerState::Gone && seen.plus_micros(ttl_ms.saturating_mul(1_000)) <= clock,
    })
}
