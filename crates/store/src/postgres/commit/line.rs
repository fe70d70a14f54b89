//! The lines of pools: whether an attempt gets its slots, decided in memory on what is on record under the pools' locks.
//!
//! Lines and holders change with every change of the batch, so that the next one finds what the ones before it left.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runstone_core::record::RunId;
use runstone_core::service::pool::{self, Grant};
use runstone_core::service::record::PoolUse;
use runstone_core::store::{Change, PoolAsk};
use runstone_core::time::Timestamp;
use sqlx::postgres::PgBindIterExt;

use super::super::service::pools::{self, Pool};
use super::super::session::{Tx, TxResult};
use super::super::value::{Time, index, text};
use super::facts::Run;

/// Where a task stands in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ask: PoolAsk,
    pub(super) since: Timestamp,
}

/// The pools that a batch asks for.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pools: HashMap<String, Pool>,
}

impl Lines {
    pub(super) async fn lock(tx: &mut Tx<'_>, project: i64, changes: &[Change]) -> TxResult<Self> {
        let asked = changes.iter().filter_map(|change| match change {
            Change::Start(start) => start.pool.as_ref().map(|ask| ask.name.as_str()),
            _ => None,
        });
        let mut pools = pools::lock(tx, project, &asked.collect()).await?;
        // Found under their locks, so that nobody comes to use them meanwhile.
        let unused: BTreeSet<String> =
            pools.iter().filter(|(_, pool)| !pool.exists()).map(|(name, _)| name.clone()).collect();
        pools.retain(|name, _| !unused.contains(name));
        pools::remove(tx, project, &unused.iter().map(String::as_str).collect()).await?;
        Ok(Self { pools })
    }

    /// Whether a task gets what it asks for. It holds that from then on, or stands in the line.
    pub(super) fn ask(&mut self, ask: &PoolAsk, me: PoolUse) -> Grant {
        // A pool that there is not grants nothing, and keeps nobody waiting for anybody else.
        let Some(pool) = self.pools.get_mut(&ask.name) else { return Grant::Waits(0) };
        let grant = pool::grant(pool.slots, &pool.holders, &pool.waiting, &me);
        pool.waiting.retain(|one| (one.run, one.task) != (me.run, me.task));
        match grant {
            Grant::Granted => pool.holders.push(me),
            Grant::Waits(_) => pool.waiting.push(me),
        }
        grant
    }

    /// A task waits for no pool any more.
    pub(super) fn leave(&mut self, run: RunId, task: u32) {
        for pool in self.pools.values_mut() {
            pool.waiting.retain(|one| (one.run, one.task) != (run, task));
        }
    }

    /// The attempt of a task ended.
    pub(super) fn give_back(&mut self, run: RunId, task: u32) {
        for pool in self.pools.values_mut() {
            pool.holders.retain(|one| (one.run, one.task) != (run, task));
        }
    }
}

/// Puts on record where tasks of a run stand in line from here on; none: nowhere.
pub(super) async fn write(tx: &mut Tx<'_>, run: &Run, places: &BTreeMap<u32, Option<Place>>) -> TxResult<()> {
    const UPDATE: &str = "UPDATE task t SET pool = w.pool, pool_slots = w.slots, pool_priority = w.priority, \
             pool_since = w.since \
         FROM unnest($2::integer[], $3::text[], $4::bigint[], $5::integer[], $6::timestamptz[]) \
             AS w(idx, pool, slots, priority, since) \
         CROSS JOIN LATERAL (SELECT x.ctid AS place FROM task x WHERE x.run_id = $1 AND x.idx = w.idx OFFSET 0) x \
         WHERE t.ctid = x.place";
    if places.is_empty() {
        return Ok(());
    }
    let each = || places.values().map(Option::as_ref);
    let query = tx
        .query(UPDATE)
        .bind(run.id.0)
        .bind(places.keys().map(|task| index(*task)).bind_iter())
        .bind(each().map(|place| place.map(|place| text(&place.ask.name))).bind_iter())
        .bind(each().map(|place| place.map(|place| i64::from(place.ask.slots))).bind_iter())
        .bind(each().map(|place| place.map(|place| place.ask.priority)).bind_iter())
        .bind(each().map(|place| place.map(|place| Time(place.since))).bind_iter());
    tx.execute(query).await?;
    Ok(())
}
