//! How far the record has come, and giving out no number up to a point again.

use runstone_core::service::store::HighWater;
use rusqlite::{Transaction, params};

use super::super::Outcome;

pub(super) fn high(tx: &Transaction<'_>, project: i64) -> Outcome<HighWater> {
    let mut statement =
        tx.prepare_cached("SELECT runs, schedule_rev, (SELECT node FROM counter) FROM project WHERE id = ?1")?;
    Ok(statement
        .query_row([project], |row| Ok(HighWater { runs: row.get(0)?, schedules: row.get(1)?, nodes: row.get(2)? }))?)
}

pub(super) fn raise(tx: &Transaction<'_>, project: i64, to: &HighWater) -> Outcome<()> {
    tx.execute(
        "UPDATE project SET runs = max(runs, ?2), schedule_rev = max(schedule_rev, ?3) WHERE id = ?1",
        params![project, to.runs, to.schedules],
    )?;
    tx.execute("UPDATE counter SET node = max(node, ?1)", [to.nodes])?;
    Ok(())
}
