//! Attempts: read by run, by node, by place and by fingerprint.

use std::collections::HashMap;

use runstone_core::attempt::Cause;
use runstone_core::hash::Fingerprint;
use runstone_core::record::{AttemptEnd, AttemptKind, AttemptRecord, AttemptState, NodeId, RunId};
use runstone_core::store::{Earlier, Flight};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Outcome, datasets, decode, metrics};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.uuid, a.run_id, r.number, a.task_idx, a.pipeline, a.step, a.cell, a.number, a.kind, a.state, \
                    a.fingerprint, a.created, a.reused_from, a.ended, a.started, a.cause, a.exit_code, a.signal, \
                    a.message, a.user_us, a.system_us, a.peak_rss, a.stdout_bytes, a.stderr_bytes, a.leftovers, a.tainted, \
                    a.reusable \
             FROM attempt a JOIN run r ON r.id = a.run_id ",
            $rest
        )
    };
}

/// Attempts `a` with their runs `r`, as [`record`] reads them; what follows are conditions.
pub(super) const SELECT: &str = select!("");

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    Ok(AttemptRecord {
        id: NodeId(row.get(0)?),
        uuid: decode::uuid(row, 1)?,
        run: decode::run_id(row, 2)?,
        run_number: row.get(3)?,
        task: row.get(4)?,
        pipeline: row.get(5)?,
        step: row.get(6)?,
        cell: row.get(7)?,
        number: row.get(8)?,
        kind: decode::spelled(row, 9, AttemptKind::parse)?,
        state: decode::spelled(row, 10, AttemptState::parse)?,
        fingerprint: decode::fingerprint(row, 11)?,
        created: Timestamp(row.get(12)?),
        reused_from: row.get::<_, Option<i64>>(13)?.map(NodeId),
        end: row.get::<_, Option<i64>>(14)?.map(|ended| end(row, Timestamp(ended))).transpose()?,
        reusable: row.get(27)?,
    })
}

fn end(row: &Row<'_>, ended: Timestamp) -> rusqlite::Result<AttemptEnd> {
    Ok(AttemptEnd {
        started: Timestamp(row.get(15)?),
        ended,
        cause: decode::spelled(row, 16, Cause::parse)?,
        exit_code: row.get(17)?,
        signal: row.get(18)?,
        message: row.get(19)?,
        user_us: decode::unsigned(row, 20)?,
        system_us: decode::unsigned(row, 21)?,
        peak_rss: decode::unsigned(row, 22)?,
        stdout_bytes: decode::unsigned(row, 23)?,
        stderr_bytes: decode::unsigned(row, 24)?,
        leftovers: row.get(25)?,
        tainted: row.get(26)?,
    })
}

pub(super) fn of_run(tx: &Transaction<'_>, project: i64, run: RunId, task: Option<u32>) -> Outcome<Vec<AttemptRecord>> {
    let sql = match task {
        Some(_) => select!("WHERE a.run_id = ?1 AND a.project_id = ?2 AND a.task_idx = ?3 ORDER BY a.id"),
        None => select!("WHERE a.run_id = ?1 AND a.project_id = ?2 AND ?3 IS NULL ORDER BY a.id"),
    };
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params![run.0.as_bytes(), project, task], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Live attempts that hold slots of a pool.
pub(super) fn holding_slots(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<AttemptRecord>> {
    let mut statement = tx.prepare_cached(select!(
        "WHERE a.project_id = ?1 AND a.pool IS NOT NULL AND a.state IN ('assigned', 'running') ORDER BY a.id"
    ))?;
    let rows = statement.query_map([project], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn by_id(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<AttemptRecord>> {
    let mut statement = tx.prepare_cached(select!("WHERE a.id = ?1 AND a.project_id = ?2"))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in sorted(ids) {
        found.extend(statement.query_row(params![id.0, project], record).optional()?);
    }
    Ok(found)
}

/// Each id once, in order.
pub(super) fn sorted(ids: &[NodeId]) -> Vec<NodeId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

pub(super) fn nearest(
    tx: &Transaction<'_>,
    project: i64,
    pipeline: &str,
    step: &str,
    cell: &str,
    except: Option<RunId>,
) -> Outcome<Option<AttemptRecord>> {
    let except = except.map(|run| *run.0.as_bytes());
    let place = params![project, pipeline, step, cell, except];
    let succeeded = tx
        .prepare_cached(select!(
            "WHERE a.project_id = ?1 AND a.pipeline = ?2 AND a.step = ?3 AND a.cell = ?4 AND a.run_id IS NOT ?5 \
               AND a.state = 'succeeded' ORDER BY a.id DESC LIMIT 1"
        ))?
        .query_row(place, record)
        .optional()?;
    if succeeded.is_some() {
        return Ok(succeeded);
    }
    Ok(tx
        .prepare_cached(select!(
            "WHERE a.project_id = ?1 AND a.pipeline = ?2 AND a.step = ?3 AND a.cell = ?4 AND a.run_id IS NOT ?5 \
             ORDER BY a.id DESC LIMIT 1"
        ))?
        .query_row(place, record)
        .optional()?)
}

pub(super) fn flight(tx: &Transaction<'_>, project: i64, fingerprint: &Fingerprint) -> Outcome<Option<Flight>> {
    Ok(tx
        .prepare_cached(
            "SELECT a.id, a.uuid, a.run_id, r.number
             FROM flight f JOIN attempt a ON a.id = f.attempt_id JOIN run r ON r.id = a.run_id
             WHERE f.project_id = ?1 AND f.fingerprint = ?2 AND a.state IN ('assigned', 'running')",
        )?
        .query_row(params![project, fingerprint.as_bytes()], |row| {
            Ok(Flight {
                fingerprint: *fingerprint,
                attempt: NodeId(row.get(0)?),
                uuid: decode::uuid(row, 1)?,
                run: decode::run_id(row, 2)?,
                run_number: row.get(3)?,
            })
        })
        .optional()?)
}

pub(super) fn lookup(
    tx: &Transaction<'_>,
    project: i64,
    fingerprints: &[Fingerprint],
) -> Outcome<HashMap<Fingerprint, Earlier>> {
    let mut newest = tx.prepare_cached(
        "SELECT a.id, r.number, a.ended, o.id, o.started, o.ended
         FROM attempt a JOIN run r ON r.id = a.run_id JOIN attempt o ON o.id = coalesce(a.reused_from, a.id)
         WHERE a.project_id = ?1 AND a.fingerprint = ?2 AND a.reusable = 1 ORDER BY a.id DESC LIMIT 1",
    )?;
    let mut found = HashMap::with_capacity(fingerprints.len());
    for fingerprint in fingerprints {
        let mut rows = newest.query(params![project, fingerprint.as_bytes()])?;
        let Some(row) = rows.next()? else { continue };
        let (attempt, origin) = (NodeId(row.get(0)?), NodeId(row.get(3)?));
        let earlier = Earlier {
            attempt,
            run_number: row.get(1)?,
            fingerprint: *fingerprint,
            ended: Timestamp(row.get(2)?),
            wall_us: Timestamp(row.get(5)?).since(Timestamp(row.get(4)?)),
            outputs: datasets::published_by(tx, project, attempt)?,
            pins: pins(tx, attempt)?,
            metrics: metrics::of_attempt(tx, origin)?,
            current: datasets::is_current(tx, attempt)?,
        };
        found.insert(*fingerprint, earlier);
    }
    Ok(found)
}

fn pins(tx: &Transaction<'_>, attempt: NodeId) -> Outcome<Vec<(String, NodeId)>> {
    let mut statement =
        tx.prepare_cached("SELECT slot, mat_id FROM consumed WHERE attempt_id = ?1 ORDER BY slot, mat_id")?;
    let rows = statement.query_map([attempt.0], |row| Ok((row.get(0)?, NodeId(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn derivation(tx: &Transaction<'_>, fingerprint: &Fingerprint) -> Outcome<Option<Vec<u8>>> {
    Ok(tx
        .prepare_cached("SELECT canonical FROM derivation WHERE fingerprint = ?1")?
        .query_row([fingerprint.as_bytes()], |row| row.get(0))
        .optional()?)
}
