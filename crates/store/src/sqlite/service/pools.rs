//! Pools of the project: who holds slots, who waits in line. Nothing is counted up and down: slots in use are those of the
//! live attempts on record. The transaction, as the only writer, is the lock of a pool.

use runstone_core::service::pool::{self, Grant};
use runstone_core::service::record::{PoolRecord, PoolUse};
use runstone_core::store::PoolAsk;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::super::commit::Batch;
use super::super::{Outcome, decode};
use crate::rules;
use crate::service::task_name;

fn record(row: &Row<'_>) -> rusqlite::Result<PoolUse> {
    Ok(PoolUse {
        run: decode::run_id(row, 0)?,
        number: row.get(1)?,
        pipeline: row.get(2)?,
        task: row.get(3)?,
        name: task_name(row.get(4)?, row.get_ref(5)?.as_str()?),
        slots: row.get(6)?,
        priority: row.get(7)?,
        since: Timestamp(row.get(8)?),
    })
}

/// Live attempts that hold slots, in the order in which they were put on record.
fn holders(tx: &Transaction<'_>, project: i64, pool: &str) -> Outcome<Vec<PoolUse>> {
    let mut statement = tx.prepare_cached(
        "SELECT a.run_id, r.number, a.pipeline, a.task_idx, a.step, a.cell, a.slots, a.pool_priority, a.created
         FROM attempt a JOIN run r ON r.id = a.run_id
         WHERE a.project_id = ?1 AND a.pool = ?2 AND a.state IN ('assigned', 'running') ORDER BY a.id",
    )?;
    let rows = statement.query_map(params![project, pool], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Tasks in the line of a pool whose runs have asked lately, in no particular order.
fn waiting(tx: &Transaction<'_>, project: i64, name: &str) -> Outcome<Vec<PoolUse>> {
    let mut statement = tx.prepare_cached(
        "SELECT t.run_id, r.number, r.pipeline, t.idx, t.step, t.cell, t.pool_slots, t.pool_priority, t.pool_since
         FROM task t JOIN run r ON r.id = t.run_id WHERE r.project_id = ?1 AND t.pool = ?2 AND r.written > ?3",
    )?;
    let silence = rules::stored("a silence", pool::STANDS_FOR_US)?;
    let rows = statement.query_map(params![project, name, super::clock().0 - silence], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether a task may start now. Where not, it stands in the pool's line from now on, at the place it had there.
pub(in super::super) fn ask(batch: &Batch<'_>, task: u32, ask: &PoolAsk) -> Outcome<bool> {
    let Batch { tx, project, run, now, .. } = *batch;
    tx.prepare_cached("UPDATE run SET written = ?2 WHERE id = ?1")?
        .execute(params![run.0.as_bytes(), super::clock().0])?;
    let waiting = waiting(tx, project, &ask.name)?;
    let before = waiting.iter().find(|one| (one.run, one.task) == (run, task));
    let me = PoolUse {
        run,
        number: runs_number(batch)?,
        pipeline: batch.pipeline.clone(),
        task,
        name: String::new(),
        slots: ask.slots,
        priority: ask.priority,
        since: before.map_or(now, |before| before.since),
    };
    if let Some(slots) = slots_of(tx, project, &ask.name)?
        && pool::grant(slots, &holders(tx, project, &ask.name)?, &waiting, &me) == Grant::Granted
    {
        return Ok(true);
    }
    if before.is_none_or(|before| (before.slots, before.priority) != (ask.slots, ask.priority)) {
        tx.prepare_cached(
            "UPDATE task SET pool = ?3, pool_slots = ?4, pool_priority = ?5, pool_since = ?6
             WHERE run_id = ?1 AND idx = ?2",
        )?
        .execute(params![run.0.as_bytes(), task, ask.name, ask.slots, ask.priority, me.since.0])?;
    }
    Ok(false)
}

fn runs_number(batch: &Batch<'_>) -> Outcome<i64> {
    Ok(batch
        .tx
        .prepare_cached("SELECT number FROM run WHERE id = ?1")?
        .query_row([batch.run.0.as_bytes()], |row| row.get(0))?)
}

fn slots_of(tx: &Transaction<'_>, project: i64, name: &str) -> Outcome<Option<u32>> {
    Ok(tx
        .prepare_cached("SELECT slots FROM pool WHERE project_id = ?1 AND name = ?2")?
        .query_row(params![project, name], |row| row.get(0))
        .optional()?)
}

/// A task that was started or decided stands in no line.
pub(in super::super) fn leave_line(batch: &Batch<'_>, task: u32) -> Outcome<()> {
    batch
        .tx
        .prepare_cached(
            "UPDATE task SET pool = NULL, pool_slots = NULL, pool_priority = NULL, pool_since = NULL
             WHERE run_id = ?1 AND idx = ?2",
        )?
        .execute(params![batch.run.0.as_bytes(), task])?;
    sweep(batch.tx, batch.project)
}

/// Removes what is not declared any more and not in use.
pub(in super::super) fn sweep(tx: &Transaction<'_>, project: i64) -> Outcome<()> {
    tx.prepare_cached(
        "DELETE FROM pool AS p WHERE p.project_id = ?1 AND NOT p.declared
           AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.project_id = p.project_id AND a.pool = p.name
                             AND a.state IN ('assigned', 'running'))
           AND NOT EXISTS (SELECT 1 FROM task t JOIN run r ON r.id = t.run_id
                           WHERE t.pool = p.name AND r.project_id = p.project_id)",
    )?
    .execute([project])?;
    Ok(())
}

pub(super) fn declare(tx: &Transaction<'_>, project: i64, pools: &[(String, u32)]) -> Outcome<()> {
    tx.prepare_cached("UPDATE pool SET declared = 0 WHERE project_id = ?1")?.execute([project])?;
    let mut put = tx.prepare_cached(
        "INSERT INTO pool (project_id, name, slots, declared) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT (project_id, name) DO UPDATE SET slots = excluded.slots, declared = 1",
    )?;
    for (name, slots) in pools {
        put.execute(params![project, name, slots])?;
    }
    sweep(tx, project)
}

/// In the order of their names.
pub(super) fn list(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<PoolRecord>> {
    let mut statement = tx.prepare_cached("SELECT name, slots FROM pool WHERE project_id = ?1 ORDER BY name")?;
    let pools = statement
        .query_map([project], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, u32)>>>()?;
    let record = |(name, slots): (String, u32)| {
        let (holders, mut waiting) = (holders(tx, project, &name)?, waiting(tx, project, &name)?);
        pool::line_up(&holders, &mut waiting);
        Ok(PoolRecord { name, slots, holders, waiting })
    };
    pools.into_iter().map(record).collect()
}
