//! The service of a project: schedulers, schedules, the queue. One file for each noun holds the statements; this one
//! opens a transaction for each call.

mod backfills;
pub(super) mod check;
pub(super) mod claims;
mod fires;
mod pipelines;
pub(super) mod pools;
mod schedulers;
mod schedules;
pub(super) mod submissions;
mod water;

use std::time::{SystemTime, UNIX_EPOCH};

use runstone_core::record::RunId;
use runstone_core::service::record::{
    BackfillRecord, BackfillState, Claim, DeclaredPipeline, FireDecision, FireOutcome, FireRecord, NewBackfill,
    NewScheduler, NewSubmission, PipelineRecord, PoolRecord, ScheduleId, ScheduleRecord, SchedulerId, SchedulerRecord,
    SchedulerState, SubmissionRecord,
};
use runstone_core::service::store::{Beat, Claimed, FireFilter, HighWater, ServiceStore};
use runstone_core::store::{Result, RunRef};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::{Outcome, SqliteStore};
use crate::rules;

/// The database's clock: that of the machine, because whoever uses the file is on the same one.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::after_epoch(since)
}

impl ServiceStore for SqliteStore {
    fn clock(&mut self) -> Result<Timestamp> {
        Ok(clock())
    }

    fn high_water(&mut self) -> Result<HighWater> {
        self.read("ask how far the record is", water::high)
    }

    fn raise(&mut self, to: &HighWater) -> Result<()> {
        self.write("raise the numbers of the record", |tx, project| water::raise(tx, project, to))
    }

    fn register(&mut self, scheduler: &NewScheduler) -> Result<()> {
        self.write("put a scheduler on record", |tx, project| schedulers::register(tx, project, scheduler, clock()))
    }

    fn beat(&mut self, scheduler: SchedulerId, state: SchedulerState) -> Result<Beat> {
        self.write("renew a lease", |tx, project| schedulers::beat(tx, project, scheduler, state, clock()))
    }

    fn bury(&mut self, scheduler: SchedulerId, only_if_expired: bool) -> Result<bool> {
        self.write("put on record that a scheduler is gone", |tx, project| {
            schedulers::bury(tx, project, scheduler, only_if_expired, clock())
        })
    }

    fn schedulers(&mut self, gone: u32) -> Result<Vec<SchedulerRecord>> {
        self.read("list schedulers", |tx, project| schedulers::list(tx, project, gone, clock()))
    }

    fn declare(
        &mut self,
        folder: &str,
        pipelines: &[DeclaredPipeline],
        broken: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<PipelineRecord>> {
        rules::check_declared(pipelines)?;
        let files = pipelines::Files { folder, pipelines, broken };
        let doing = "declare pipelines";
        // Most files have not changed since they were last looked at, and nobody is to wait for that.
        match self.read(doing, |tx, project| pipelines::unchanged(tx, project, files))? {
            Some(found) => Ok(found),
            None => self.write(doing, |tx, project| pipelines::declare(tx, project, files, now)),
        }
    }

    fn pipelines(&mut self) -> Result<Vec<PipelineRecord>> {
        self.read("list pipelines", pipelines::list)
    }

    fn schedules(&mut self, after_rev: i64) -> Result<Vec<ScheduleRecord>> {
        self.read("list schedules", |tx, project| schedules::list(tx, project, after_rev))
    }

    fn schedules_rev(&mut self) -> Result<i64> {
        self.read("look for new schedules", schedules::rev)
    }

    fn schedules_by_id(&mut self, ids: &[ScheduleId]) -> Result<Vec<ScheduleRecord>> {
        self.read("read schedules", |tx, project| {
            let found = ids.iter().map(|id| schedules::get(tx, project, *id));
            found.filter_map(Outcome::transpose).collect()
        })
    }

    fn set_paused(
        &mut self,
        schedules: &[ScheduleId],
        paused: bool,
        catch_up: bool,
        now: Timestamp,
        missed: &dyn Fn(&ScheduleRecord) -> u64,
    ) -> Result<Vec<ScheduleRecord>> {
        let doing = if paused { "pause schedules" } else { "let schedules go on" };
        self.write(doing, |tx, project| {
            let pause = schedules::Pause { paused, catch_up, now, decided: clock(), missed };
            schedules::set_paused(tx, project, schedules, &pause)
        })
    }

    fn decide_fires(&mut self, decisions: &[FireDecision], now: Timestamp) -> Result<Vec<FireOutcome>> {
        rules::check_decisions(decisions)?;
        self.write("decide fires", |tx, project| fires::decide(tx, project, decisions, now, clock()))
    }

    fn fires(&mut self, filter: &FireFilter) -> Result<Vec<FireRecord>> {
        self.read("list fires", |tx, project| fires::list(tx, project, filter))
    }

    fn submit(&mut self, submission: &NewSubmission, now: Timestamp) -> Result<SubmissionRecord> {
        self.write("put a run in the queue", |tx, project| submissions::submit(tx, project, submission, now))
    }

    fn live_submissions(&mut self, per_pipeline: u32) -> Result<Vec<SubmissionRecord>> {
        self.read("look at the queue", |tx, project| submissions::live(tx, project, per_pipeline))
    }

    fn queued_count(&mut self) -> Result<u64> {
        self.read("look at the queue", submissions::queued_count)
    }

    fn submission(&mut self, which: &RunRef) -> Result<Option<SubmissionRecord>> {
        self.read("read a submission", |tx, project| submissions::find(tx, project, which))
    }

    fn claim(&mut self, run: RunId, scheduler: SchedulerId, now: Timestamp) -> Result<Option<Claimed>> {
        self.write("claim a run", |tx, project| claims::claim(tx, project, run, scheduler, now, clock()))
    }

    fn release(&mut self, claim: Claim, now: Timestamp) -> Result<bool> {
        self.write("let go of a run", |tx, project| claims::release(tx, project, claim, now))
    }

    fn fail_submission(&mut self, claim: Claim, reason: &str, now: Timestamp) -> Result<bool> {
        self.write("end a submission", |tx, project| claims::fail(tx, project, claim, reason, now))
    }

    fn cancel_requests(&mut self, runs: &[RunId]) -> Result<Vec<(RunId, String)>> {
        self.read("look for requests to end", |tx, project| submissions::cancel_requests(tx, project, runs))
    }

    fn create_backfill(&mut self, backfill: &NewBackfill, now: Timestamp) -> Result<()> {
        rules::check_backfill(backfill)?;
        self.write("put a backfill on record", |tx, project| backfills::create(tx, project, backfill, now))
    }

    fn backfills(&mut self, live_only: bool) -> Result<Vec<BackfillRecord>> {
        self.read("list backfills", |tx, project| backfills::list(tx, project, live_only))
    }

    fn active_backfills(&mut self) -> Result<Vec<Uuid>> {
        self.read("list active backfills", backfills::active)
    }

    fn advance_backfill(&mut self, id: Uuid, now: Timestamp) -> Result<u32> {
        self.write("go on with a backfill", |tx, project| backfills::advance(tx, project, id, now))
    }

    fn set_backfill(&mut self, id: Uuid, state: BackfillState, now: Timestamp) -> Result<bool> {
        self.write("change a backfill", |tx, project| backfills::set(tx, project, id, state, now))
    }

    fn declare_pools(&mut self, pools: &[(String, u32)]) -> Result<()> {
        rules::check_pools(pools)?;
        self.write("declare pools", |tx, project| pools::declare(tx, project, pools))
    }

    fn pools(&mut self) -> Result<Vec<PoolRecord>> {
        self.read("look at the pools", pools::list)
    }
}
