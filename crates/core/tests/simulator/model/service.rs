//! The calls of [`ServiceStore`], and who is alive.

use runstone_core::record::RunId;
use runstone_core::service::record::{
    BackfillRecord, BackfillState, Claim, DeclaredPipeline, FireDecision, FireOutcome, FireRecord, NewBackfill,
    NewScheduler, NewSubmission, PipelineRecord, PoolRecord, ScheduleId, ScheduleRecord, SchedulerId, SchedulerRecord,
    SchedulerState, SubmissionRecord, SubmissionState,
};
use runstone_core::service::store::{Beat, Claimed, FireFilter, HighWater, ServiceStore};
use runstone_core::store::{Result, RunRef};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::Model;

impl ServiceStore for Model {
    fn clock(&mut self) -> Result<Timestamp> {
        Ok(self.now)
    }

    fn high_water(&mut self) -> Result<HighWater> {
        Ok(HighWater { runs: self.number, nodes: self.node, schedules: self.rev })
    }

    fn raise(&mut self, to: &HighWater) -> Result<()> {
        self.number = self.number.max(to.runs);
        self.node = self.node.max(to.nodes);
        self.rev = self.rev.max(to.schedules);
        Ok(())
    }

    fn register(&mut self, new: &NewScheduler) -> Result<()> {
        let record = SchedulerRecord {
            id: new.id,
            host: new.host.clone(),
            pid: new.pid,
            pid_start: new.pid_start,
            place: new.place.clone(),
            version: new.version.clone(),
            store_marker: new.store_marker,
            capacity: new.capacity,
            state: SchedulerState::Active,
            started: self.now,
            seen: self.now,
            ttl_ms: new.ttl_ms,
            expired: false,
        };
        self.schedulers.entry(new.id).and_modify(|one| one.seen = record.seen).or_insert(record);
        Ok(())
    }

    fn beat(&mut self, scheduler: SchedulerId, state: SchedulerState) -> Result<Beat> {
        let now = self.now;
        Ok(match self.schedulers.get_mut(&scheduler).filter(|one| one.state != SchedulerState::Gone) {
            None => Beat::Gone,
            Some(one) => {
                one.seen = now;
                if state == SchedulerState::Draining {
                    one.state = state;
                }
                Beat::Renewed
            }
        })
    }

    fn bury(&mut self, scheduler: SchedulerId, only_if_expired: bool) -> Result<bool> {
        let Some(record) = self.schedulers.get(&scheduler).filter(|one| one.state != SchedulerState::Gone) else {
            return Ok(false);
        };
        if only_if_expired && !self.is_expired(record) {
            return Ok(false);
        }
        self.schedulers.get_mut(&scheduler).expect("found above").state = SchedulerState::Gone;
        for run in self.live.values() {
            let submission = self.submissions.get_mut(run).expect("what is live is on record");
            if submission.scheduler == Some(scheduler) && submission.state == SubmissionState::Claimed {
                submission.state = SubmissionState::Queued;
                submission.scheduler = None;
            }
        }
        Ok(true)
    }

    fn schedulers(&mut self, gone: u32) -> Result<Vec<SchedulerRecord>> {
        let is_gone = |one: &SchedulerRecord| one.state == SchedulerState::Gone;
        let (mut dead, mut all): (Vec<_>, Vec<_>) = self.schedulers.values().partition(|one| is_gone(one));
        if gone > 0 {
            dead.sort_by_key(|one| std::cmp::Reverse(one.started));
        }
        all.extend(dead.into_iter().take(gone as usize));
        all.sort_by_key(|one| std::cmp::Reverse(one.started));
        Ok(all.into_iter().map(|one| self.scheduler(one)).collect())
    }

    fn declare(
        &mut self,
        folder: &str,
        pipelines: &[DeclaredPipeline],
        broken: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<PipelineRecord>> {
        Ok(self.declare_all(folder, pipelines, broken, now))
    }

    fn pipelines(&mut self) -> Result<Vec<PipelineRecord>> {
        Ok(self.pipelines.values().cloned().collect())
    }

    fn schedules(&mut self, after_rev: i64) -> Result<Vec<ScheduleRecord>> {
        let mut found: Vec<_> = self.schedules.values().filter(|one| one.rev > after_rev).cloned().collect();
        found.sort_by_key(|one| one.rev);
        Ok(found)
    }

    fn schedules_rev(&mut self) -> Result<i64> {
        Ok(self.rev)
    }

    fn schedules_by_id(&mut self, ids: &[ScheduleId]) -> Result<Vec<ScheduleRecord>> {
        Ok(ids.iter().filter_map(|id| self.schedules.get(id)).cloned().collect())
    }

    fn set_paused(
        &mut self,
        schedules: &[ScheduleId],
        paused: bool,
        catch_up: bool,
        now: Timestamp,
        missed: &dyn Fn(&ScheduleRecord) -> u64,
    ) -> Result<Vec<ScheduleRecord>> {
        Ok(schedules.iter().filter_map(|id| self.pause(*id, paused, catch_up, now, missed)).collect())
    }

    fn decide_fires(&mut self, decisions: &[FireDecision], _now: Timestamp) -> Result<Vec<FireOutcome>> {
        Ok(decisions.iter().map(|decision| self.decide(decision)).collect())
    }

    fn fires(&mut self, filter: &FireFilter) -> Result<Vec<FireRecord>> {
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        let wanted = |fire: &&FireRecord| {
            filter.schedule.is_none_or(|id| fire.schedule == id) && (!filter.skipped_only || fire.run.is_none())
        };
        Ok(self.fires.iter().rev().filter(wanted).take(limit).cloned().collect())
    }

    fn submit(&mut self, submission: &NewSubmission, _now: Timestamp) -> Result<SubmissionRecord> {
        let run = self.put_in_queue(submission);
        Ok(self.told(&self.submissions[&run]))
    }

    fn live_submissions(&mut self, per_pipeline: u32) -> Result<Vec<SubmissionRecord>> {
        Ok(self.live_ones(per_pipeline))
    }

    fn queued_count(&mut self) -> Result<u64> {
        let queued = |run: &&RunId| self.submissions[run].state == SubmissionState::Queued;
        Ok(self.live.values().filter(queued).count() as u64)
    }

    fn submission(&mut self, which: &RunRef) -> Result<Option<SubmissionRecord>> {
        let fits = |one: &&SubmissionRecord| match which {
            RunRef::Number(number) => one.number == *number,
            RunRef::Prefix(prefix) => one.run.to_string().starts_with(prefix),
            RunRef::Latest => one.number == self.number,
        };
        Ok(self.submissions.values().find(fits).map(|one| self.told(one)))
    }

    fn claim(&mut self, run: RunId, scheduler: SchedulerId, _now: Timestamp) -> Result<Option<Claimed>> {
        Ok(self.grant_claim(run, scheduler))
    }

    fn release(&mut self, claim: Claim, _now: Timestamp) -> Result<bool> {
        let Some(submission) = self.held(claim) else { return Ok(false) };
        submission.scheduler = None;
        if submission.state == SubmissionState::Claimed {
            submission.state = SubmissionState::Queued;
        }
        Ok(true)
    }

    fn fail_submission(&mut self, claim: Claim, reason: &str, _now: Timestamp) -> Result<bool> {
        if self.held(claim).is_none_or(|one| one.state != SubmissionState::Claimed) {
            return Ok(false);
        }
        self.end_submission(claim.run, SubmissionState::Failed, Some(reason));
        Ok(true)
    }

    fn cancel_requests(&mut self, runs: &[RunId]) -> Result<Vec<(RunId, String)>> {
        let asked = |run: &RunId| Some((*run, self.submissions.get(run)?.cancel.clone()?));
        Ok(runs.iter().filter_map(asked).collect())
    }

    fn create_backfill(&mut self, backfill: &NewBackfill, now: Timestamp) -> Result<()> {
        self.add_backfill(backfill, now);
        Ok(())
    }

    fn backfills(&mut self, live_only: bool) -> Result<Vec<BackfillRecord>> {
        let is_over = |state| matches!(state, BackfillState::Done | BackfillState::Cancelled);
        let wanted = self.backfills.values().filter(|one| !live_only || !is_over(one.state));
        Ok(wanted.map(|one| self.backfill_record(one)).collect())
    }

    fn active_backfills(&mut self) -> Result<Vec<Uuid>> {
        let active = self.backfills.values().filter(|one| one.state == BackfillState::Active);
        Ok(active.map(|one| one.new.id).collect())
    }

    fn advance_backfill(&mut self, id: Uuid, now: Timestamp) -> Result<u32> {
        Ok(self.advance(id, now))
    }

    fn set_backfill(&mut self, id: Uuid, state: BackfillState, now: Timestamp) -> Result<bool> {
        Ok(self.change_backfill(id, state, now))
    }

    fn declare_pools(&mut self, pools: &[(String, u32)]) -> Result<()> {
        for (name, slots) in pools {
            self.pools.entry(name.clone()).or_default().slots = *slots;
        }
        Ok(())
    }

    fn pools(&mut self) -> Result<Vec<PoolRecord>> {
        Ok(self.pool_records())
    }
}
