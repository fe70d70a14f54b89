//! The service of a project: schedulers, schedules, the queue. One file for each noun holds the statements; this one
//! opens a transaction for each call.
//!
//! Any number of schedulers call at once, and answers get lost. What reads as well as what is the same the second time
//! ([`PostgresStore::write`]) is simply done again; of everything else the server knows whether it was committed
//! ([`PostgresStore::once`]), whoever changed the same rows meanwhile.
//!
//! Order of locks, the same in every transaction: scheduler, backfill, project, definitions by hash, runs by id,
//! submissions by the id of their run. A commit of a run has more between run and submission; see `commit`. Schedules,
//! pipelines and fires are written, and rows put in the queue, under the lock of the project only: so numbers and
//! revisions become visible in the order in which they are given, and overlap is judged on what cannot grow meanwhile.

mod backfills;
mod cancel;
pub(super) mod check;
pub(super) mod claims;
mod decide;
mod fires;
mod pipelines;
pub(super) mod pools;
mod schedulers;
mod schedules;
mod submissions;
mod water;

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

use super::PostgresStore;
use super::session::{Tx, TxError, TxResult};
use super::value::{damaged, get, get_time};
use crate::rules;

pub(super) use cancel::request_cancel;

/// What a project has given out, as the locked row says it.
#[derive(Debug, Clone, Copy)]
struct Counters {
    /// The newest number of a run.
    runs: i64,
    /// The newest revision of a schedule.
    rev: i64,
    /// The server's clock.
    clock: Timestamp,
}

/// Takes the lock of the project. Whatever the next statement sees, nobody else adds to it before this transaction ends.
async fn lock_project(tx: &mut Tx<'_>, project: i64) -> TxResult<Counters> {
    const LOCK: &str =
        "SELECT runs, schedule_rev, clock_timestamp() AS clock FROM project WHERE id = $1 FOR NO KEY UPDATE";
    let query = tx.query(LOCK).bind(project);
    let row = tx.row(query).await?.ok_or_else(|| damaged("the project is not on record any more".to_owned()))?;
    Ok(Counters { runs: get(&row, "runs")?, rev: get(&row, "schedule_rev")?, clock: get_time(&row, "clock")? })
}

impl ServiceStore for PostgresStore {
    fn clock(&mut self) -> Result<Timestamp> {
        self.read("ask for the time", async |tx, _| {
            let query = tx.query("SELECT clock_timestamp() AS clock");
            let row = tx.row(query).await?.ok_or(TxError::Sql(sqlx::Error::RowNotFound))?;
            get_time(&row, "clock")
        })
    }

    fn high_water(&mut self) -> Result<HighWater> {
        self.read("ask how far the record is", async |tx, project| water::high(tx, project).await)
    }

    // Raising twice raises once.
    fn raise(&mut self, to: &HighWater) -> Result<()> {
        self.write("raise the numbers of the record", async |tx, project| water::raise(tx, project, to).await)
    }

    fn register(&mut self, scheduler: &NewScheduler) -> Result<()> {
        self.once("put a scheduler on record", async |tx, project| schedulers::register(tx, project, scheduler).await)
    }

    fn beat(&mut self, scheduler: SchedulerId, state: SchedulerState) -> Result<Beat> {
        self.write("renew a lease", async |tx, project| schedulers::beat(tx, project, scheduler, state).await)
    }

    fn bury(&mut self, scheduler: SchedulerId, only_if_expired: bool) -> Result<bool> {
        self.once("put on record that a scheduler is gone", async |tx, project| {
            schedulers::bury(tx, project, scheduler, only_if_expired).await
        })
    }

    fn schedulers(&mut self, gone: u32) -> Result<Vec<SchedulerRecord>> {
        self.read("list schedulers", async |tx, project| schedulers::list(tx, project, gone).await)
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
        match self.read(doing, async |tx, project| pipelines::unchanged(tx, project, &files).await)? {
            Some(found) => Ok(found),
            None => self.write(doing, async |tx, project| pipelines::declare(tx, project, &files, now).await),
        }
    }

    fn pipelines(&mut self) -> Result<Vec<PipelineRecord>> {
        self.read("list pipelines", async |tx, project| pipelines::list(tx, project).await)
    }

    fn schedules(&mut self, after_rev: i64) -> Result<Vec<ScheduleRecord>> {
        self.read("list schedules", async |tx, project| schedules::list(tx, project, after_rev).await)
    }

    fn schedules_rev(&mut self) -> Result<i64> {
        self.read("look for new schedules", async |tx, project| schedules::rev(tx, project).await)
    }

    fn schedules_by_id(&mut self, ids: &[ScheduleId]) -> Result<Vec<ScheduleRecord>> {
        self.read("read schedules", async |tx, project| {
            let mut found = schedules::by_id(tx, project, &ids.iter().copied().collect()).await?;
            Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
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
        let pause = schedules::Pause { paused, catch_up, now, missed };
        let doing = if paused { "pause schedules" } else { "let schedules go on" };
        self.once(doing, async |tx, project| schedules::set_paused(tx, project, schedules, &pause).await)
    }

    fn decide_fires(&mut self, decisions: &[FireDecision], now: Timestamp) -> Result<Vec<FireOutcome>> {
        rules::check_decisions(decisions)?;
        if decisions.is_empty() {
            return Ok(Vec::new());
        }
        self.once("decide fires", async |tx, project| decide::decide(tx, project, decisions, now).await)
    }

    fn fires(&mut self, filter: &FireFilter) -> Result<Vec<FireRecord>> {
        self.read("list fires", async |tx, project| fires::list(tx, project, filter).await)
    }

    fn submit(&mut self, submission: &NewSubmission, now: Timestamp) -> Result<SubmissionRecord> {
        self.once("put a run in the queue", async |tx, project| submissions::submit(tx, project, submission, now).await)
    }

    fn live_submissions(&mut self, per_pipeline: u32) -> Result<Vec<SubmissionRecord>> {
        self.read("look at the queue", async |tx, project| submissions::live(tx, project, per_pipeline).await)
    }

    fn queued_count(&mut self) -> Result<u64> {
        self.read("look at the queue", async |tx, project| submissions::queued_count(tx, project).await)
    }

    fn submission(&mut self, which: &RunRef) -> Result<Option<SubmissionRecord>> {
        self.read("read a submission", async |tx, project| submissions::find(tx, project, which).await)
    }

    fn claim(&mut self, run: RunId, scheduler: SchedulerId, now: Timestamp) -> Result<Option<Claimed>> {
        self.once("claim a run", async |tx, project| claims::claim(tx, project, run, scheduler, now).await)
    }

    fn release(&mut self, claim: Claim, now: Timestamp) -> Result<bool> {
        self.once("let go of a run", async |tx, project| claims::release(tx, project, claim, now).await)
    }

    fn fail_submission(&mut self, claim: Claim, reason: &str, now: Timestamp) -> Result<bool> {
        self.once("end a submission", async |tx, project| claims::fail(tx, project, claim, reason, now).await)
    }

    fn cancel_requests(&mut self, runs: &[RunId]) -> Result<Vec<(RunId, String)>> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        self.read("look for requests to end", async |tx, project| cancel::requests(tx, project, runs).await)
    }

    fn create_backfill(&mut self, backfill: &NewBackfill, now: Timestamp) -> Result<()> {
        rules::check_backfill(backfill)?;
        self.once("put a backfill on record", async |tx, project| backfills::create(tx, project, backfill, now).await)
    }

    fn backfills(&mut self, live_only: bool) -> Result<Vec<BackfillRecord>> {
        self.read("list backfills", async |tx, project| backfills::list(tx, project, live_only).await)
    }

    fn active_backfills(&mut self) -> Result<Vec<Uuid>> {
        self.read("list active backfills", async |tx, project| backfills::active(tx, project).await)
    }

    fn advance_backfill(&mut self, id: Uuid, now: Timestamp) -> Result<u32> {
        self.once("go on with a backfill", async |tx, project| backfills::advance(tx, project, id, now).await)
    }

    fn set_backfill(&mut self, id: Uuid, state: BackfillState, now: Timestamp) -> Result<bool> {
        self.once("change a backfill", async |tx, project| backfills::set(tx, project, id, state, now).await)
    }

    fn declare_pools(&mut self, pools: &[(String, u32)]) -> Result<()> {
        rules::check_pools(pools)?;
        self.write("declare pools", async |tx, project| pools::declare(tx, project, pools).await)
    }

    fn pools(&mut self) -> Result<Vec<PoolRecord>> {
        self.read("look at the pools", async |tx, project| pools::list(tx, project).await)
    }
}
