//! The record as the stores are to keep it, in memory: every call is one transaction, every change a compare-and-set.
//!
//! It implements [`ServiceStore`] and, under the same names and types, the part of `Store` that runs need. Lineage beyond
//! what an attempt published is left out: no rule of scheduling depends on it.

mod backfills;
mod runs;
mod schedules;
mod service;
mod submissions;

use std::collections::{BTreeMap, BTreeSet};

use runstone_core::record::{AttemptRecord, EventRecord, MaterializationRecord, NodeId, RunId, RunRecord, TaskRecord};
use runstone_core::service::oracle::Snapshot;
use runstone_core::service::record::{
    BackfillState, FireRecord, NewBackfill, PipelineRecord, PoolUse, ScheduleId, ScheduleRecord, SchedulerId,
    SchedulerRecord, SchedulerState, SubmissionRecord,
};
use runstone_core::time::Timestamp;
use uuid::Uuid;

/// A rule that the record, or what is around a machine, does not keep: what the oracle has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A claim is granted whatever became of the claimant's lease.
    ClaimsWithoutLease,
    /// A claim is granted while an earlier one of the group is not over.
    ClaimsOutOfTurn,
    /// Changes of a run are applied whoever sends them.
    CommitsWithoutEpoch,
    /// A fire is applied whatever was decided before.
    FiresWithoutCursor,
    /// A run ends, and its submission does not.
    EndsTheRunAlone,
    /// A pool gives slots to whoever asks.
    PoolNotCounted,
    /// A run is gone on with although its former owner may live.
    AdoptsWithoutLock,
    /// A scheduler takes on whatever there is.
    CapacityNotCounted,
    /// What a supervisor noted is not read: what was started is started again.
    JournalNotRead,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    /// The database's clock.
    pub(crate) now: Timestamp,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) schedulers: BTreeMap<SchedulerId, SchedulerRecord>,
    pub(crate) pipelines: BTreeMap<String, PipelineRecord>,
    pub(crate) schedules: BTreeMap<ScheduleId, ScheduleRecord>,
    former: Vec<ScheduleRecord>,
    pub(crate) fires: Vec<FireRecord>,
    fire_keys: BTreeSet<(ScheduleId, i64, Timestamp)>,
    pub(crate) submissions: BTreeMap<RunId, SubmissionRecord>,
    /// Those that are not over, by number.
    pub(crate) live: BTreeMap<i64, RunId>,
    keys: BTreeMap<String, RunId>,
    pub(crate) runs: BTreeMap<RunId, Rows>,
    pub(crate) backfills: BTreeMap<Uuid, Backfill>,
    pools: BTreeMap<String, Pool>,
    rev: i64,
    number: i64,
    node: i64,
    event: i64,
    /// Runs that changed since somebody last asked.
    touched: BTreeSet<RunId>,
}

/// A run with all that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) run: RunRecord,
    pub(crate) tasks: Vec<TaskRecord>,
    pub(crate) attempts: Vec<AttemptRecord>,
    pub(crate) published: Vec<MaterializationRecord>,
    pub(crate) events: Vec<EventRecord>,
    /// What live attempts hold: pool and use, by task.
    holds: BTreeMap<u32, (String, PoolUse)>,
}

#[derive(Debug)]
pub(crate) struct Backfill {
    pub(crate) new: NewBackfill,
    pub(crate) state: BackfillState,
    created: Timestamp,
    ended: Option<Timestamp>,
    /// The runs of the partitions that were submitted, in order.
    runs: Vec<RunId>,
}

#[derive(Debug, Default)]
struct Pool {
    slots: u32,
    /// With the moment at which each last asked.
    waiting: Vec<(PoolUse, Timestamp)>,
}

impl Model {
    pub(crate) fn new(now: Timestamp, mutation: Option<Mutation>) -> Self {
        Self { now, mutation, ..Self::default() }
    }

    fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn next_node(&mut self) -> NodeId {
        self.node += 1;
        NodeId(self.node)
    }

    fn tell(&mut self, run: RunId, kind: &str, task: Option<u32>, attempt: Option<NodeId>) {
        self.event += 1;
        let event = EventRecord {
            id: self.event,
            run,
            at: self.now,
            kind: kind.to_owned(),
            task,
            attempt,
            body: serde_json::Value::Null,
        };
        self.touched.insert(run);
        self.runs.get_mut(&run).expect("a run on record").events.push(event);
    }

    fn is_expired(&self, scheduler: &SchedulerRecord) -> bool {
        scheduler.state != SchedulerState::Gone && self.now.since(scheduler.seen) > scheduler.ttl_ms * 1000
    }

    fn scheduler(&self, record: &SchedulerRecord) -> SchedulerRecord {
        SchedulerRecord { expired: self.is_expired(record), ..record.clone() }
    }

    /// Everything.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            schedulers: self.schedulers.values().map(|one| self.scheduler(one)).collect(),
            schedules: self.schedules.values().cloned().collect(),
            former_schedules: self.former.clone(),
            fires: self.fires.clone(),
            submissions: self.submissions.values().map(|one| self.told(one)).collect(),
            backfills: self.backfills.values().map(|one| self.backfill_record(one)).collect(),
            pools: self.pool_records(),
            ..Snapshot::default()
        };
        for rows in self.runs.values() {
            add_rows(&mut snapshot, rows);
        }
        snapshot
    }

    /// What belongs to the runs that changed since the last call: those runs, and every live submission.
    pub(crate) fn touched(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut runs: BTreeSet<RunId> = self.live.values().copied().collect();
        for run in std::mem::take(&mut self.touched) {
            if let Some(rows) = self.runs.get(&run) {
                add_rows(&mut snapshot, rows);
            }
            runs.insert(run);
        }
        snapshot.submissions =
            runs.iter().filter_map(|run| self.submissions.get(run)).map(|one| self.told(one)).collect();
        let owners: BTreeSet<SchedulerId> = snapshot.submissions.iter().filter_map(|one| one.scheduler).collect();
        snapshot.schedulers = owners.iter().filter_map(|id| self.schedulers.get(id)).cloned().collect();
        // The runs of the others, so that their submissions can be judged.
        for run in &runs {
            if let Some(rows) = self.runs.get(run)
                && !snapshot.runs.iter().any(|one| one.id == *run)
            {
                add_rows(&mut snapshot, rows);
            }
        }
        // A fire that is not in the snapshot cannot be missed in it.
        for submission in &mut snapshot.submissions {
            submission.trigger.clear();
        }
        snapshot.pools = self.pool_records();
        snapshot
    }

    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }
}

fn add_rows(snapshot: &mut Snapshot, rows: &Rows) {
    snapshot.runs.push(rows.run.clone());
    snapshot.tasks.extend_from_slice(&rows.tasks);
    snapshot.attempts.extend_from_slice(&rows.attempts);
    snapshot.published.extend_from_slice(&rows.published);
    snapshot.events.extend_from_slice(&rows.events);
}
