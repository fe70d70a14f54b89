//! What an attempt reads, resolved to publications before the attempt gets its id.

use runstone_core::record::{NodeId, Trust};
use runstone_core::store::{Pin, PinSource};
use rusqlite::{OptionalExtension, Transaction, params};

use super::Outcome;
use super::commit::Batch;

/// An edge that waits for the id of its reader.
#[derive(Debug)]
pub(super) struct Edge<'a> {
    materialization: i64,
    slot: &'a str,
    trust: Trust,
}

/// The publications behind pins; none where one of them points at nothing that is on record in the project.
pub(super) fn resolve<'a>(batch: &Batch<'_>, pins: &'a [Pin]) -> Outcome<Option<Vec<Edge<'a>>>> {
    let mut edges = Vec::with_capacity(pins.len());
    for pin in pins {
        let before = edges.len();
        let mut add = |materialization| edges.push(Edge { materialization, slot: &pin.slot, trust: pin.trust });
        match &pin.source {
            PinSource::Materialization(id) => known(batch, *id)?.into_iter().for_each(&mut add),
            PinSource::Task { task, output } => standing(batch, *task, output, &mut add)?,
        }
        if edges.len() == before {
            return Ok(None);
        }
    }
    Ok(Some(edges))
}

fn known(batch: &Batch<'_>, id: NodeId) -> Outcome<Option<i64>> {
    Ok(batch
        .tx
        .prepare_cached(
            "SELECT m.id FROM materialization m JOIN attempt a ON a.id = m.attempt_id WHERE m.id = ?1 AND a.project_id = ?2",
        )?
        .query_row(params![id.0, batch.project], |row| row.get(0))
        .optional()?)
}

fn standing(batch: &Batch<'_>, task: u32, output: &str, add: &mut impl FnMut(i64)) -> Outcome<()> {
    let mut statement = batch.tx.prepare_cached(
        "SELECT m.id FROM task t JOIN materialization m ON m.attempt_id = t.attempt_id
         WHERE t.run_id = ?1 AND t.idx = ?2 AND t.state IN ('succeeded', 'reused') AND m.output = ?3 ORDER BY m.id",
    )?;
    let mut rows = statement.query(params![batch.run.0.as_bytes(), task, output])?;
    while let Some(row) = rows.next()? {
        add(row.get(0)?);
    }
    Ok(())
}

/// The same publication under the same name is one edge.
pub(super) fn insert(tx: &Transaction<'_>, reader: NodeId, edges: &[Edge<'_>]) -> Outcome<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO consumed (attempt_id, mat_id, slot, trust) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for edge in edges {
        statement.execute(params![reader.0, edge.materialization, edge.slot, edge.trust.as_str()])?;
    }
    Ok(())
}
