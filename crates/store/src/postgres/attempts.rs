//! Attempts: read by run, by node, by place and by fingerprint.

use std::collections::{BTreeSet, HashMap};

use runstone_core::attempt::Cause;
use runstone_core::hash::Fingerprint;
use runstone_core::record::{AttemptEnd, AttemptKind, AttemptRecord, AttemptState, NodeId, RunId};
use runstone_core::store::{Earlier, Flight};
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};

use super::session::{Tx, TxError};
use super::value::{Time, get, get_fingerprint, get_index, get_state, get_time, get_unsigned, index};
use super::{commit, datasets, metrics};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.uuid, a.run_id, r.number AS run_number, a.task_idx, a.pipeline, a.step, a.cell, a.number, \
                 a.kind, a.state, a.fingerprint, a.created, a.reused_from, a.started, a.ended, a.cause, a.exit_code, \
                 a.signal, a.message, a.user_us, a.system_us, a.peak_rss, a.stdout_bytes, a.stderr_bytes, a.leftovers, \
                 a.tainted, a.reusable \
             FROM attempt a JOIN run r ON r.id = a.run_id ",
            $rest
        )
    };
}

/// Attempts `a` with their runs `r`, as [`record`] reads them; what follows are conditions.
pub(super) const SELECT: &str = select!("");

pub(super) fn record(row: &PgRow) -> Result<AttemptRecord, TxError> {
    let ended: Option<Time> = get(row, "ended")?;
    Ok(AttemptRecord {
        id: NodeId(get(row, "id")?),
        uuid: get(row, "uuid")?,
        run: RunId(get(row, "run_id")?),
        run_number: get(row, "run_number")?,
        task: get_index(row, "task_idx")?,
        pipeline: get(row, "pipeline")?,
        step: get(row, "step")?,
        cell: get(row, "cell")?,
        number: get_index(row, "number")?,
        kind: get_state(row, "kind", AttemptKind::parse)?,
        state: get_state(row, "state", AttemptState::parse)?,
        fingerprint: get_fingerprint(row, "fingerprint")?,
        created: get_time(row, "created")?,
        end: ended.map(|ended| end(row, ended.0)).transpose()?,
        reusable: get(row, "reusable")?,
        reused_from: get::<Option<i64>>(row, "reused_from")?.map(NodeId),
    })
}

fn end(row: &PgRow, ended: Timestamp) -> Result<AttemptEnd, TxError> {
    Ok(AttemptEnd {
        started: get_time(row, "started")?,
        ended,
        cause: get_state(row, "cause", Cause::parse)?,
        exit_code: get(row, "exit_code")?,
        signal: get(row, "signal")?,
        message: get(row, "message")?,
        user_us: get_unsigned(row, "user_us")?,
        system_us: get_unsigned(row, "system_us")?,
        peak_rss: get_unsigned(row, "peak_rss")?,
        stdout_bytes: get_unsigned(row, "stdout_bytes")?,
        stderr_bytes: get_unsigned(row, "stderr_bytes")?,
        leftovers: get_unsigned(row, "leftovers")?,
        tainted: get(row, "tainted")?,
    })
}

/// The attempts of a run, or of one task of it.
pub(super) async fn of_run(
    tx: &mut Tx<'_>,
    project: i64,
    run: RunId,
    task: Option<u32>,
) -> Result<Vec<AttemptRecord>, TxError> {
    let query = match task {
        Some(task) => tx
            .query(select!("WHERE a.project_id = $1 AND a.run_id = $2 AND a.task_idx = $3 ORDER BY a.id"))
            .bind(project)
            .bind(run.0)
            .bind(index(task)),
        None => tx.query(select!("WHERE a.project_id = $1 AND a.run_id = $2 ORDER BY a.id")).bind(project).bind(run.0),
    };
    tx.rows(query).await?.iter().map(record).collect()
}

/// Live attempts that hold slots of a pool, in the order of ids.
pub(super) async fn holding_slots(tx: &mut Tx<'_>, project: i64) -> Result<Vec<AttemptRecord>, TxError> {
    let query = tx.query(select!("WHERE a.project_id = $1 AND a.pool IS NOT NULL AND a.ended IS NULL ORDER BY a.id"));
    tx.rows(query.bind(project)).await?.iter().map(record).collect()
}

/// Attempts by node, in the order of ids.
pub(super) async fn by_id(tx: &mut Tx<'_>, project: i64, ids: &[NodeId]) -> Result<Vec<AttemptRecord>, TxError> {
    let query = tx
        .query(select!("WHERE a.project_id = $1 AND a.id = ANY($2) ORDER BY a.id"))
        .bind(project)
        .bind(ids.iter().map(|id| id.0).bind_iter());
    tx.rows(query).await?.iter().map(record).collect()
}

/// What a difference is explained against.
pub(super) async fn nearest(
    tx: &mut Tx<'_>,
    project: i64,
    (pipeline, step, cell): (&str, &str, &str),
    except: Option<RunId>,
) -> Result<Option<AttemptRecord>, TxError> {
    const SUCCEEDED: &str = select!(
        "WHERE a.project_id = $1 AND a.pipeline = $2 AND a.step = $3 AND a.cell = $4 \
             AND a.run_id IS DISTINCT FROM $5 AND a.state = 'succeeded' ORDER BY a.id DESC LIMIT 1"
    );
    const ANY: &str = select!(
        "WHERE a.project_id = $1 AND a.pipeline = $2 AND a.step = $3 AND a.cell = $4 \
             AND a.run_id IS DISTINCT FROM $5 ORDER BY a.id DESC LIMIT 1"
    );
    for sql in [SUCCEEDED, ANY] {
        let query = tx.query(sql).bind(project).bind(pipeline).bind(step).bind(cell).bind(except.map(|run| run.0));
        if let Some(row) = tx.row(query).await? {
            return record(&row).map(Some);
        }
    }
    Ok(None)
}

/// The live attempt that holds a claim.
pub(super) async fn flight(tx: &mut Tx<'_>, project: i64, claim: &Fingerprint) -> Result<Option<Flight>, TxError> {
    const SELECT: &str = "SELECT a.id, a.uuid, a.run_id, a.fingerprint, r.number \
         FROM flight f JOIN attempt a ON a.id = f.attempt_id JOIN run r ON r.id = a.run_id \
         WHERE f.project_id = $1 AND f.fingerprint = $2 AND a.state IN ('assigned', 'running')";
    let query = tx.query(SELECT).bind(project).bind(claim.as_bytes().as_slice());
    tx.row(query).await?.map(|row| commit::flight(&row)).transpose()
}

/// The newest reusable result for each fingerprint that has one.
pub(super) async fn lookup(
    tx: &mut Tx<'_>,
    project: i64,
    fingerprints: &[Fingerprint],
) -> Result<HashMap<Fingerprint, Earlier>, TxError> {
    const NEWEST: &str = "SELECT a.id, a.fingerprint, a.ended, r.number, o.started AS origin_started, \
             o.ended AS origin_ended, NOT EXISTS ( \
                 SELECT FROM materialization m JOIN version v ON v.id = m.version_id \
                 LEFT JOIN head h ON h.dataset_id = v.dataset_id AND h.subset = m.subset \
                 WHERE m.attempt_id = a.id AND h.mat_id IS DISTINCT FROM m.id) AS current \
         FROM unnest($2::bytea[]) AS w(fingerprint) \
         CROSS JOIN LATERAL (SELECT * FROM attempt a WHERE a.project_id = $1 AND a.fingerprint = w.fingerprint \
             AND a.reusable ORDER BY a.id DESC LIMIT 1) a \
         JOIN run r ON r.id = a.run_id JOIN attempt o ON o.id = coalesce(a.reused_from, a.id)";
    let asked: BTreeSet<&Fingerprint> = fingerprints.iter().collect();
    let query = tx.query(NEWEST).bind(project).bind(asked.iter().map(|f| f.as_bytes().as_slice()).bind_iter());
    let rows = tx.rows(query).await?;
    let mut found = HashMap::new();
    for row in &rows {
        let attempt = NodeId(get(row, "id")?);
        let earlier = Earlier {
            attempt,
            run_number: get(row, "number")?,
            fingerprint: get_fingerprint(row, "fingerprint")?,
            ended: get_time(row, "ended")?,
            wall_us: get_time(row, "origin_ended")?.since(get_time(row, "origin_started")?),
            outputs: Vec::new(),
            pins: Vec::new(),
            metrics: Vec::new(),
            current: get(row, "current")?,
        };
        found.insert(attempt, earlier);
    }
    let attempts: Vec<NodeId> = found.keys().copied().collect();
    for output in datasets::published(tx, project, &attempts).await? {
        found.entry(output.attempt).and_modify(|earlier| earlier.outputs.push(output));
    }
    for (attempt, slot, publication) in pins(tx, &attempts).await? {
        found.entry(attempt).and_modify(|earlier| earlier.pins.push((slot, publication)));
    }
    for (attempt, metric) in metrics::of_attempts(tx, project, &attempts).await? {
        found.entry(attempt).and_modify(|earlier| earlier.metrics.push(metric));
    }
    Ok(found.into_values().map(|earlier| (earlier.fingerprint, earlier)).collect())
}

async fn pins(tx: &mut Tx<'_>, attempts: &[NodeId]) -> Result<Vec<(NodeId, String, NodeId)>, TxError> {
    const SELECT: &str =
        "SELECT attempt_id, slot, mat_id FROM consumed WHERE attempt_id = ANY($1) ORDER BY attempt_id, slot, mat_id";
    let query = tx.query(SELECT).bind(attempts.iter().map(|id| id.0).bind_iter());
    let rows = tx.rows(query).await?;
    rows.iter()
        .map(|row| Ok((NodeId(get(row, "attempt_id")?), get(row, "slot")?, NodeId(get(row, "mat_id")?))))
        .collect()
}

/// Canonical bytes behind a fingerprint.
pub(super) async fn derivation(tx: &mut Tx<'_>, fingerprint: &Fingerprint) -> Result<Option<Vec<u8>>, TxError> {
    let query =
        tx.query("SELECT canonical FROM derivation WHERE fingerprint = $1").bind(fingerprint.as_bytes().as_slice());
    tx.row(query).await?.map(|row| get(&row, "canonical")).transpose()
}
