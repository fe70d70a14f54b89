//! Edges of the graph: those of a few attempts with all that is known of them, and all of them as pairs of ids.

use runstone_core::lineage::store::{Edges, Horizon};
use runstone_core::record::{ConsumedRecord, NodeId, Trust};
use rusqlite::{Transaction, params};

use crate::sqlite::{Outcome, attempts, decode};

/// Given an attempt: its edges.
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

/// A file holds one project as a rule, so that little is read in vain.
pub(super) fn after(tx: &Transaction<'_>, project: i64, after: NodeId, ids: u32) -> Outcome<Edges> {
    let newest = horizon(tx)?.newest;
    let until = NodeId(after.0.saturating_add(i64::from(ids)).min(newest.0).max(after.0));
    let mut consumed = tx.prepare_cached(
        "SELECT c.mat_id, c.attempt_id FROM consumed c CROSS JOIN attempt a ON a.id = c.attempt_id
         WHERE c.attempt_id > ?2 AND c.attempt_id <= ?3 AND a.project_id = ?1
         GROUP BY c.attempt_id, c.mat_id ORDER BY c.attempt_id, c.mat_id",
    )?;
    let mut produced = tx.prepare_cached(
        "SELECT m.attempt_id, m.id FROM materialization m CROSS JOIN attempt a ON a.id = m.attempt_id
         WHERE m.id > ?2 AND m.id <= ?3 AND a.project_id = ?1 ORDER BY m.id",
    )?;
    let pairs = |statement: &mut rusqlite::CachedStatement<'_>| -> rusqlite::Result<Vec<(NodeId, NodeId)>> {
        let rows = statement
            .query_map(params![project, after.0, until.0], |row| Ok((NodeId(row.get(0)?), NodeId(row.get(1)?))))?;
        rows.collect()
    };
    Ok(Edges { consumed: pairs(&mut consumed)?, produced: pairs(&mut produced)?, until })
}

/// There is one writer at a time, so that what is on record is all there will be up to the last id.
pub(super) fn horizon(tx: &Transaction<'_>) -> Outcome<Horizon> {
    let newest = tx.prepare_cached("SELECT node FROM counter WHERE id = 1")?.query_row([], |row| row.get(0))?;
    Ok(Horizon { newest: NodeId(newest), fence: 0, oldest: 0 })
}
