//! Metrics and metadata. Those of a reuse are those of the attempt that did the work: kept once, read through it.

use runstone_core::record::{Metric, NodeId};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Outcome, attempts, decode};
use crate::rules;

fn record(row: &Row<'_>) -> rusqlite::Result<Metric> {
    let n = row.get::<_, Option<i64>>(3)?.map(|_| decode::unsigned(row, 3)).transpose()?;
    Ok(Metric { name: row.get(0)?, slice: row.get(1)?, value: row.get(2)?, n })
}

/// Of two with one name and slice the later stands.
pub(super) fn insert(tx: &Transaction<'_>, attempt: NodeId, metrics: &[Metric]) -> Outcome<()> {
    if metrics.is_empty() {
        return Ok(());
    }
    let mut statement = tx.prepare_cached(
        "INSERT OR REPLACE INTO metric (attempt_id, name, slice, value, n) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for Metric { name, slice, value, n } in metrics {
        let n = n.map(|n| rules::stored("number of items", n)).transpose()?;
        statement.execute(params![attempt.0, name, slice, value, n])?;
    }
    Ok(())
}

/// What exactly this attempt reported.
pub(super) fn of_attempt(tx: &Transaction<'_>, attempt: NodeId) -> Outcome<Vec<Metric>> {
    let mut statement =
        tx.prepare_cached("SELECT name, slice, value, n FROM metric WHERE attempt_id = ?1 ORDER BY name, slice")?;
    let rows = statement.query_map([attempt.0], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn of_attempts(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<(NodeId, Metric)>> {
    let mut statement = tx.prepare_cached(
        "SELECT m.name, m.slice, m.value, m.n FROM attempt a JOIN metric m ON m.attempt_id = coalesce(a.reused_from, a.id)
         WHERE a.id = ?1 AND a.project_id = ?2 ORDER BY m.name, m.slice",
    )?;
    let mut found = Vec::new();
    for id in attempts::sorted(ids) {
        for metric in statement.query_map(params![id.0, project], record)? {
            found.push((id, metric?));
        }
    }
    Ok(found)
}

pub(super) fn metadata(tx: &Transaction<'_>, project: i64, attempt: NodeId) -> Outcome<Option<serde_json::Value>> {
    Ok(tx
        .prepare_cached(
            "SELECT o.metadata FROM attempt a JOIN attempt o ON o.id = coalesce(a.reused_from, a.id)
             WHERE a.id = ?1 AND a.project_id = ?2 AND o.metadata IS NOT NULL",
        )?
        .query_row(params![attempt.0, project], |row| decode::json(row, 0))
        .optional()?)
}
