//! A few connections that many users share: each call takes one for as long as it lasts.
//!
//! A scheduler drives a hundred runs with it on a dozen connections. Every call of a store is a transaction of its own,
//! so it does not matter which connection serves it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::lineage::asserted::{
    AssertedDataset, AssertedDatasetId, AssertedEdge, AssertedEvent, AssertedRun, AssertedRunId, AssertedStore,
    EdgesOf, NewAssertedEvent, Qualified, Side,
};
use runstone_core::lineage::store::{
    CheckpointRecord, Closure, Edges, Horizon, LineageStore, LogLeaf, NewReproduction, ReproductionRecord, Search,
};
use runstone_core::lineage::tag::{NewTagMove, TagMove, TagMoved, TagName};
use runstone_core::record::{
    AttemptRecord, ConsumedRecord, DatasetRecord, EventRecord, Lineage, MaterializationRecord, Metric, NodeId, RunId,
    RunRecord, TaskRecord,
};
use runstone_core::retention::Facts;
use runstone_core::retention::store::{Candidate, Expired, RetentionStore};
use runstone_core::service::record::{
    BackfillRecord, BackfillState, Claim, DeclaredPipeline, FireDecision, FireOutcome, FireRecord, NewBackfill,
    NewScheduler, NewSubmission, PipelineRecord, PoolRecord, ScheduleId, ScheduleRecord, SchedulerId, SchedulerRecord,
    SchedulerState, SubmissionRecord,
};
use runstone_core::service::store::{Beat, Claimed, FireFilter, HighWater, ServiceStore};
use runstone_core::store::{
    Applied, Change, Direction, Earlier, Flight, NewRun, Ownership, Result, RunFilter, RunRef, Store, StoredObject,
    VersionRef, WalkLimit,
};
use runstone_core::time::Timestamp;
use uuid::Uuid;

/// A store whose [`reopen`](Store::reopen) gives another handle on the same connections.
pub struct Shared(Arc<Connections>);

struct Connections {
    most: usize,
    where_it_is: String,
    state: Mutex<State>,
    given_back: Condvar,
}

struct State {
    /// Asked for further connections, and for nothing else.
    seed: Box<dyn Store>,
    idle: Vec<Box<dyn Store>>,
    made: usize,
}

impl Shared {
    /// Shares at most so many connections, which are made when they are needed.
    #[must_use]
    pub fn new(seed: Box<dyn Store>, most: usize) -> Self {
        Self(Arc::new(Connections {
            most: most.max(1),
            where_it_is: seed.describe(),
            state: Mutex::new(State { seed, idle: Vec::new(), made: 0 }),
            given_back: Condvar::new(),
        }))
    }

    fn take(&self) -> Result<Taken<'_>> {
        let mut state = self.0.state();
        loop {
            if let Some(store) = state.idle.pop() {
                return Ok(Taken { connections: &self.0, store: Some(store) });
            }
            if state.made < self.0.most {
                let store = state.seed.reopen()?;
                state.made += 1;
                return Ok(Taken { connections: &self.0, store: Some(store) });
            }
            state = self.0.given_back.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Connections {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it is ever half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use; given back when dropped.
struct Taken<'a> {
    connections: &'a Connections,
    store: Option<Box<dyn Store>>,
}

impl Taken<'_> {
    fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut().expect("it is there until this is dropped").as_mut()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if std::thread::panicking() {
            // Whatever it was in the middle of, nobody goes on with it.
            self.store = None;
            state.made -= 1;
        }
        state.idle.extend(self.store.take());
        drop(state);
        self.connections.given_back.notify_one();
    }
}

/// Calls that are passed on as they are.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self, $($argument: $kind),*) -> Result<$result> {
            self.take()?.store().$name($($argument),*)
        })*
    };
}

impl RetentionStore for Shared {
    pass_on! {
        retention_facts(marker: Uuid) -> Facts;
        evict(marker: Uuid, candidates: &[Candidate], now: Timestamp) -> Vec<ContentHash>;
        revive(marker: Uuid, hashes: &[ContentHash], now: Timestamp) -> ();
        evicted(hashes: &[ContentHash]) -> HashSet<ContentHash>;
        other_users(marker: Uuid) -> u64;
        expirable_events(before: Timestamp) -> Expired;
        expire_events(before: Timestamp, most_runs: u32) -> Expired;
    }
}

impl Store for Shared {
    pass_on! {
        create_run(run: &NewRun) -> i64;
        take_over(run: RunId, reopen: bool, now: Timestamp) -> Option<Ownership>;
        commit(owner: Ownership, now: Timestamp, changes: &[Change]) -> Vec<Applied>;
        request_cancel(run: RunId, now_hard: bool, now: Timestamp) -> bool;
        lookup(fingerprints: &[Fingerprint]) -> HashMap<Fingerprint, Earlier>;
        nearest(pipeline: &str, step: &str, cell: &str, except: Option<RunId>) -> Option<AttemptRecord>;
        flight(fingerprint: &Fingerprint) -> Option<Flight>;
        resolve(dataset: &str, version: &VersionRef) -> Vec<MaterializationRecord>;
        run(which: &RunRef) -> Option<RunRecord>;
        runs(filter: &RunFilter) -> Vec<RunRecord>;
        tasks(run: RunId) -> Vec<TaskRecord>;
        attempts(run: RunId, task: Option<u32>) -> Vec<AttemptRecord>;
        attempts_by_id(ids: &[NodeId]) -> Vec<AttemptRecord>;
        published(attempts: &[NodeId]) -> Vec<MaterializationRecord>;
        metrics(attempts: &[NodeId]) -> Vec<(NodeId, Metric)>;
        metadata(attempt: NodeId) -> Option<serde_json::Value>;
        derivation(fingerprint: &Fingerprint) -> Option<Vec<u8>>;
        definition(hash: &ContentHash) -> Option<String>;
        datasets(prefix: &str) -> Vec<DatasetRecord>;
        materializations(dataset: &str, limit: u32) -> Vec<MaterializationRecord>;
        by_hash(prefix: &str, limit: u32) -> Vec<MaterializationRecord>;
        lineage(from: &[NodeId], direction: Direction, limit: WalkLimit) -> Lineage;
        events(run: RunId, after: i64) -> Vec<EventRecord>;
        objects() -> Vec<StoredObject>;
        set_evicted(hashes: &[ContentHash], evicted: bool, now: Timestamp) -> ();
        check() -> Vec<String>;
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }

    fn describe(&self) -> String {
        self.0.where_it_is.clone()
    }
}

impl LineageStore for Shared {
    pass_on! {
        closure(from: &[NodeId], direction: Direction, limit: WalkLimit) -> Closure;
        consumed(attempts: &[NodeId]) -> Vec<ConsumedRecord>;
        materializations_by_id(ids: &[NodeId]) -> Vec<MaterializationRecord>;
        runs_by_id(ids: &[RunId]) -> Vec<RunRecord>;
        reported(attempts: &[NodeId]) -> Vec<(NodeId, serde_json::Value)>;
        edges(after: NodeId, ids: u32) -> Edges;
        ended(attempts: &[NodeId]) -> Vec<(NodeId, bool)>;
        horizon() -> Horizon;
        preceding(attempt: NodeId) -> Option<AttemptRecord>;
        search(search: &Search) -> Vec<AttemptRecord>;
        move_tag(new: &NewTagMove) -> TagMoved;
        tags(dataset: Option<&str>) -> Vec<TagMove>;
        tag_history(dataset: &str, name: &TagName) -> Vec<TagMove>;
        unlogged(limit: u32) -> Vec<NodeId>;
        log_size() -> u64;
        log_leaves(from: u64, limit: u32) -> Vec<LogLeaf>;
        log_leaves_at(indices: &[u64]) -> Vec<LogLeaf>;
        log_leaves_of(attempts: &[NodeId]) -> Vec<LogLeaf>;
        append_log(leaves: &[(NodeId, Vec<u8>)], checkpoint: &CheckpointRecord) -> bool;
        checkpoints(limit: u32) -> Vec<CheckpointRecord>;
        profiles(publications: &[NodeId]) -> Vec<(NodeId, serde_json::Value)>;
        set_profile(publication: NodeId, profile: &serde_json::Value, now: Timestamp) -> bool;
        add_reproduction(new: &NewReproduction) -> ();
        reproductions(attempts: &[NodeId]) -> Vec<ReproductionRecord>;
    }
}

impl AssertedStore for Shared {
    pass_on! {
        assert_events(store_marker: Uuid, events: &[NewAssertedEvent], now: Timestamp) -> Vec<bool>;
        asserted_edges(of: EdgesOf<'_>, side: Side, most: u32) -> Vec<AssertedEdge>;
        asserted_runs(ids: &[AssertedRunId]) -> Vec<AssertedRun>;
        asserted_datasets(ids: &[AssertedDatasetId]) -> Vec<AssertedDataset>;
        asserted_dataset(name: &Qualified) -> Option<AssertedDatasetId>;
        asserted_columns(runs: &[AssertedRunId]) -> Vec<(AssertedRunId, AssertedDatasetId, serde_json::Value)>;
        asserted_events(after: i64, limit: u32) -> Vec<AssertedEvent>;
    }
}

impl ServiceStore for Shared {
    pass_on! {
        clock() -> Timestamp;
        high_water() -> HighWater;
        raise(to: &HighWater) -> ();
        register(scheduler: &NewScheduler) -> ();
        beat(scheduler: SchedulerId, state: SchedulerState) -> Beat;
        bury(scheduler: SchedulerId, only_if_expired: bool) -> bool;
        schedulers(gone: u32) -> Vec<SchedulerRecord>;
        declare(
            folder: &str, pipelines: &[DeclaredPipeline], broken: &[(String, String)], now: Timestamp
        ) -> Vec<PipelineRecord>;
        pipelines() -> Vec<PipelineRecord>;
        schedules(after_rev: i64) -> Vec<ScheduleRecord>;
        schedules_rev() -> i64;
        schedules_by_id(ids: &[ScheduleId]) -> Vec<ScheduleRecord>;
        set_paused(
            schedules: &[ScheduleId], paused: bool, catch_up: bool, now: Timestamp,
            missed: &dyn Fn(&ScheduleRecord) -> u64
        ) -> Vec<ScheduleRecord>;
        decide_fires(decisions: &[FireDecision], now: Timestamp) -> Vec<FireOutcome>;
        fires(filter: &FireFilter) -> Vec<FireRecord>;
        submit(submission: &NewSubmission, now: Timestamp) -> SubmissionRecord;
        live_submissions(per_pipeline: u32) -> Vec<SubmissionRecord>;
        queued_count() -> u64;
        submission(which: &RunRef) -> Option<SubmissionRecord>;
        claim(run: RunId, scheduler: SchedulerId, now: Timestamp) -> Option<Claimed>;
        release(claim: Claim, now: Timestamp) -> bool;
        fail_submission(claim: Claim, reason: &str, now: Timestamp) -> bool;
        cancel_requests(runs: &[RunId]) -> Vec<(RunId, String)>;
        create_backfill(backfill: &NewBackfill, now: Timestamp) -> ();
        backfills(live_only: bool) -> Vec<BackfillRecord>;
        active_backfills() -> Vec<Uuid>;
        advance_backfill(id: Uuid, now: Timestamp) -> u32;
        set_backfill(id: Uuid, state: BackfillState, now: Timestamp) -> bool;
        declare_pools(pools: &[(String, u32)]) -> ();
        pools() -> Vec<PoolRecord>;
    }
}
