//! How far the record has come, and giving out no number up to a point again.

use runstone_core::service::store::HighWater;

use super::super::session::{Tx, TxResult};
use super::super::value::{damaged, get};

/// What is committed. The sequence of nodes may be ahead of it, and a crash may take that lead away.
pub(super) async fn high(tx: &mut Tx<'_>, project: i64) -> TxResult<HighWater> {
    const SELECT: &str = "SELECT runs, schedule_rev, greatest( \
             coalesce((SELECT max(id) FROM attempt), 0), coalesce((SELECT max(id) FROM materialization), 0)) AS nodes \
         FROM project WHERE id = $1";
    let query = tx.query(SELECT).bind(project);
    let row = tx.row(query).await?.ok_or_else(|| damaged("the project is not on record any more".to_owned()))?;
    Ok(HighWater { runs: get(&row, "runs")?, schedules: get(&row, "schedule_rev")?, nodes: get(&row, "nodes")? })
}

pub(super) async fn raise(tx: &mut Tx<'_>, project: i64, to: &HighWater) -> TxResult<()> {
    const COUNTERS: &str =
        "UPDATE project SET runs = greatest(runs, $2), schedule_rev = greatest(schedule_rev, $3) WHERE id = $1";
    // Whoever takes a number meanwhile takes one that is smaller still.
    const NODES: &str = "SELECT setval('node_id', $1) FROM node_id WHERE last_value < $1";
    let query = tx.query(COUNTERS).bind(project).bind(to.runs).bind(to.schedules);
    tx.execute(query).await?;
    if to.nodes > 0 {
        let query = tx.query(NODES).bind(to.nodes);
        tx.rows(query).await?;
    }
    Ok(())
}
