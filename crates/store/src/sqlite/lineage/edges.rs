//! Edges of the graph: those of a few attempts with all that is known of them, and all of them as pairs of ids.

use runstone_core::lineage::store::{Edges, Horizon};
use runstone_core::record::{AttemptState, ConsumedRecord, NodeId, Trust};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::sqlite::{Outcome, attempts, decode};

/// Given an attempt and its project: its edges.
pub(super) const CONSUMED: &str = "SELECT c.mat_id, c.slot, c.trust FROM attempt a CROSS JOIN consumed c ON c.attempt_id = a.id \
     WHERE a.id = ?1 AND a.project_id = ?2 ORDER BY c.mat_id, c.slot";

pub(super) fn consumed(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<ConsumedRecord>> {
    let mut statement = tx.prepare_cached(CONSUMED)?;
    let mut found = Vec::new();
    for id in attempts::sorted(ids) {
        let mut rows = statement.query(params![id.0, project])?;
        while let Some(row) = rows.next()? {
            found.push(ConsumedRecord {
                attempt: id,
                materialization: NodeId(row.get(0)?),
                slot: row.get(1)?,
                trust: decode::spelled(row, 2, Trust::parse)?,
            });
        }
    }
    Ok(found)
}

/// Attempts by their ids: without the plus an index of the whole project would be read.
pub(super) const ATTEMPTS: &str =
    "SELECT id, state FROM attempt WHERE id > ?2 AND id <= ?3 AND +project_id = ?1 ORDER BY id";
/// What attempts of any project read.
pub(super) const READ: &str = "SELECT DISTINCT mat_id, attempt_id FROM consumed WHERE attempt_id > ?2 AND attempt_id <= ?3 \
     AND ?1 = ?1 ORDER BY attempt_id, mat_id";
/// What attempts of any project published, earlier attempts of others left out.
pub(super) const MADE: &str = "SELECT attempt_id, id FROM materialization m WHERE id > ?2 AND id <= ?3 AND (attempt_id > ?2 \
     OR EXISTS (SELECT 1 FROM attempt a WHERE a.id = m.attempt_id AND a.project_id = ?1)) ORDER BY id";

/// A file holds one project as a rule, so that little is read in vain. Edges of these very attempts are not looked up in
/// the table of attempts once more.
pub(super) fn after(tx: &Transaction<'_>, project: i64, after: NodeId, ids: u32) -> Outcome<Edges> {
    let newest = horizon(tx)?.newest;
    let until = NodeId(after.0.saturating_add(i64::from(ids)).min(newest.0).max(after.0));
    let bounds = params![project, after.0, until.0];
    let attempts: Vec<_> = tx.prepare_cached(ATTEMPTS)?.query_map(bounds, attempt)?.collect::<rusqlite::Result<_>>()?;
    let pairs = |sql: &str| -> Outcome<Vec<(NodeId, NodeId)>> {
        let mut statement = tx.prepare_cached(sql)?;
        let rows = statement.query_map(bounds, |row| Ok((NodeId(row.get(0)?), NodeId(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let (mut consumed, mut produced) = (pairs(READ)?, pairs(MADE)?);
    let is_own =
        |attempt: NodeId| attempt <= after || attempts.binary_search_by_key(&attempt, |(attempt, _)| *attempt).is_ok();
    consumed.retain(|(_, attempt)| is_own(*attempt));
    produced.retain(|(attempt, _)| is_own(*attempt));
    Ok(Edges { attempts, consumed, produced, until })
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<(NodeId, Option<bool>)> {
    Ok((NodeId(row.get(0)?), decode::spelled(row, 1, AttemptState::parse)?.outcome()))
}

pub(super) fn ended(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<(NodeId, bool)>> {
    let mut statement = tx.prepare_cached("SELECT id, state FROM attempt WHERE id = ?1 AND project_id = ?2")?;
    let mut found = Vec::new();
    for id in attempts::sorted(ids) {
        let outcome = statement.query_row(params![id.0, project], attempt).optional()?;
        found.extend(outcome.and_then(|(id, outcome)| outcome.map(|succeeded| (id, succeeded))));
    }
    Ok(found)
}

/// There is one writer at a time, so that what is on record is all there will be up to the last id.
pub(super) fn horizon(tx: &Transaction<'_>) -> Outcome<Horizon> {
    let newest = tx.prepare_cached("SELECT node FROM counter WHERE id = 1")?.query_row([], |row| row.get(0))?;
    Ok(Horizon { newest: NodeId(newest), fence: 0, oldest: 0 })
}
