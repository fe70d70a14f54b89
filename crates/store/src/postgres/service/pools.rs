//! Pools of the project: who holds slots, who waits in line. Nothing is counted up and down: slots in use are those of the
//! live attempts on record. Whoever grants some holds the lock of the pool's row.
//!
//! A pool that is not declared any more stays for as long as somebody holds some of it or stands in its line. Nobody sees
//! it after that, and the next one to look at its locked row removes it.

use std::collections::{BTreeSet, HashMap};

use runstone_core::record::RunId;
use runstone_core::service::pool;
use runstone_core::service::record::{PoolRecord, PoolUse};
use sqlx::postgres::{PgBindIterExt, PgRow};

use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{get, get_index, get_time, get_unsigned, text};
use crate::service::task_name;

/// A pool as it is.
#[derive(Debug)]
pub(in super::super) struct Pool {
    pub(in super::super) slots: u32,
    pub(in super::super) declared: bool,
    /// Live attempts, in the order in which they were put on record.
    pub(in super::super) holders: Vec<PoolUse>,
    /// Tasks in its line, in no particular order.
    pub(in super::super) waiting: Vec<PoolUse>,
}

impl Pool {
    /// Whether it is there at all.
    pub(in super::super) fn exists(&self) -> bool {
        self.declared || !self.holders.is_empty() || !self.waiting.is_empty()
    }
}

fn one(row: &PgRow) -> Result<PoolUse, TxError> {
    Ok(PoolUse {
        run: RunId(get(row, "run_id")?),
        number: get(row, "number")?,
        pipeline: get(row, "pipeline")?,
        task: get_index(row, "task_idx")?,
        name: task_name(get(row, "step")?, get(row, "cell")?),
        slots: get_unsigned(row, "slots")?,
        priority: get(row, "priority")?,
        since: get_time(row, "since")?,
    })
}

/// Who holds some of these pools, and who waits. A task that waits asks again every moment, so one whose run has said
/// nothing for half a minute waits for nothing any more: its owner is dead, and nobody is to wait for it. Read after their rows were locked, nobody is granted any meanwhile.
async fn load_uses(tx: &mut Tx<'_>, project: i64, pools: &mut HashMap<String, Pool>) -> TxResult<()> {
    const HOLDERS: &str = "SELECT a.pool, a.run_id, r.number, a.pipeline, a.task_idx, a.step, a.cell, a.slots, \
             a.pool_priority AS priority, a.created AS since \
         FROM unnest($2::text[]) AS w(name) CROSS JOIN LATERAL ( \
             SELECT * FROM attempt x WHERE x.project_id = $1 AND x.pool = w.name AND x.ended IS NULL OFFSET 0) a \
         JOIN run r ON r.id = a.run_id ORDER BY a.id";
    const WAITING: &str = "SELECT t.pool, t.run_id, r.number, r.pipeline, t.idx AS task_idx, t.step, t.cell, \
             t.pool_slots AS slots, t.pool_priority AS priority, t.pool_since AS since \
         FROM unnest($2::text[]) AS w(name) CROSS JOIN LATERAL ( \
             SELECT * FROM task x WHERE x.pool = w.name OFFSET 0) t \
         JOIN run r ON r.id = t.run_id \
         WHERE r.project_id = $1 AND r.written > clock_timestamp() - interval '30 s'";
    if pools.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = pools.keys().cloned().collect();
    for (sql, holds) in [(HOLDERS, true), (WAITING, false)] {
        let query = tx.query(sql).bind(project).bind(&names);
        for row in tx.rows(query).await? {
            let Some(pool) = pools.get_mut(get::<&str>(&row, "pool")?) else { continue };
            let uses = if holds { &mut pool.holders } else { &mut pool.waiting };
            uses.push(one(&row)?);
        }
    }
    Ok(())
}

fn found(rows: &[PgRow]) -> TxResult<HashMap<String, Pool>> {
    rows.iter()
        .map(|row| {
            let (slots, declared) = (get_unsigned(row, "slots")?, get(row, "declared")?);
            Ok((get(row, "name")?, Pool { slots, declared, holders: Vec::new(), waiting: Vec::new() }))
        })
        .collect()
}

/// Takes the locks of pools, in the order of their names.
pub(in super::super) async fn lock(
    tx: &mut Tx<'_>,
    project: i64,
    names: &BTreeSet<&str>,
) -> TxResult<HashMap<String, Pool>> {
    const LOCK: &str = "SELECT name, slots, declared FROM pool WHERE project_id = $1 AND name = ANY($2) \
         ORDER BY name FOR NO KEY UPDATE";
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let query = tx.query(LOCK).bind(project).bind(names.iter().map(|name| text(name)).bind_iter());
    let mut pools = found(&tx.rows(query).await?)?;
    load_uses(tx, project, &mut pools).await?;
    Ok(pools)
}

/// Removes pools whose rows are locked.
pub(in super::super) async fn remove(tx: &mut Tx<'_>, project: i64, names: &BTreeSet<&str>) -> TxResult<()> {
    if names.is_empty() {
        return Ok(());
    }
    let query = tx.query("DELETE FROM pool WHERE project_id = $1 AND name = ANY($2)").bind(project);
    let query = query.bind(names.iter().map(|name| text(name)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// Makes these the pools of the project; once more changes nothing.
pub(super) async fn declare(tx: &mut Tx<'_>, project: i64, declared: &[(String, u32)]) -> TxResult<()> {
    const LOCK: &str = "SELECT name, slots, declared FROM pool WHERE project_id = $1 ORDER BY name FOR NO KEY UPDATE";
    const PUT: &str = "INSERT INTO pool AS p (project_id, name, slots, declared) \
         SELECT $1, w.name, w.slots, w.declared FROM unnest($2::text[], $3::bigint[], $4::boolean[]) AS w(name, slots, declared) \
         ORDER BY w.name ON CONFLICT (project_id, name) DO UPDATE SET slots = excluded.slots, declared = excluded.declared \
         WHERE (p.slots, p.declared) IS DISTINCT FROM (excluded.slots, excluded.declared)";
    let query = tx.query(LOCK).bind(project);
    let mut pools = found(&tx.rows(query).await?)?;
    for pool in pools.values_mut() {
        pool.declared = false;
    }
    load_uses(tx, project, &mut pools).await?;
    let wanted: BTreeSet<&str> = declared.iter().map(|(name, _)| name.as_str()).collect();
    let (kept, gone): (Vec<_>, Vec<_>) =
        pools.iter().filter(|(name, _)| !wanted.contains(name.as_str())).partition(|(_, pool)| pool.exists());
    remove(tx, project, &gone.iter().map(|(name, _)| name.as_str()).collect()).await?;
    let rows = declared.iter().map(|(name, slots)| (name.as_str(), *slots, true));
    let mut rows: Vec<_> = rows.chain(kept.iter().map(|(name, pool)| (name.as_str(), pool.slots, false))).collect();
    rows.sort_unstable();
    let query = tx
        .query(PUT)
        .bind(project)
        .bind(rows.iter().map(|(name, ..)| text(name)).bind_iter())
        .bind(rows.iter().map(|(_, slots, _)| i64::from(*slots)).bind_iter())
        .bind(rows.iter().map(|(.., declared)| *declared).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// In the order of their names, lines in the order of turns.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64) -> TxResult<Vec<PoolRecord>> {
    let query = tx.query("SELECT name, slots, declared FROM pool WHERE project_id = $1").bind(project);
    let mut pools = found(&tx.rows(query).await?)?;
    load_uses(tx, project, &mut pools).await?;
    let mut records: Vec<PoolRecord> = pools
        .into_iter()
        .filter(|(_, pool)| pool.exists())
        .map(|(name, Pool { slots, holders, mut waiting, .. })| {
            pool::line_up(&holders, &mut waiting);
            PoolRecord { name, slots, holders, waiting }
        })
        .collect();
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}
