//! Submissions, and who has them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{
    Claim, NewSubmission, SchedulerId, SchedulerState, SubmissionRecord, SubmissionState,
};
use runstone_core::service::store::Claimed;
use runstone_core::store::Ownership;

use super::{Model, Mutation};

impl Model {
    /// With what is on record of its run.
    pub(super) fn told(&self, submission: &SubmissionRecord) -> SubmissionRecord {
        let run_state = self.runs.get(&submission.run).map(|rows| rows.run.state);
        SubmissionRecord { run_state, ..submission.clone() }
    }

    pub(super) fn put_in_queue(&mut self, new: &NewSubmission) -> RunId {
        if let Some(run) = new.key.as_ref().and_then(|key| self.keys.get(key)) {
            return *run;
        }
        if self.submissions.contains_key(&new.run) {
            assert!(self.mutation.is_some(), "a run was submitted twice");
            return new.run;
        }
        self.number += 1;
        let definition = match &new.definition {
            Some(text) => ContentHash::of(text.as_bytes()),
            None => self.pipelines[&new.pipeline].definition,
        };
        let record = SubmissionRecord {
            run: new.run,
            number: self.number,
            pipeline: new.pipeline.clone(),
            definition,
            definition_path: new.definition_path.clone(),
            params: new.params.clone(),
            request: new.request.clone(),
            trigger: new.trigger.clone(),
            partition: new.partition.clone(),
            priority: new.priority,
            group: new.group.clone(),
            backfill: new.backfill,
            state: SubmissionState::Queued,
            scheduler: None,
            claims: 0,
            created: self.now,
            ended: None,
            reason: None,
            cancel: None,
            run_state: None,
            store_marker: new.store_marker,
            environment: new.environment.clone(),
        };
        self.live.insert(self.number, new.run);
        self.submissions.insert(new.run, record);
        if let Some(key) = &new.key {
            self.keys.insert(key.clone(), new.run);
        }
        new.run
    }

    pub(super) fn live_ones(&self, per_pipeline: u32) -> Vec<SubmissionRecord> {
        let all: Vec<&SubmissionRecord> = self.live.values().map(|run| &self.submissions[run]).collect();
        let mut queued: Vec<_> = all.iter().filter(|one| one.state == SubmissionState::Queued).collect();
        let mut groups = BTreeSet::new();
        let heads: BTreeSet<RunId> = queued
            .iter()
            .filter(|one| one.group.as_ref().is_some_and(|group| groups.insert(group)))
            .map(|one| one.run)
            .collect();
        queued.sort_by_key(|one| (Reverse(one.priority), one.number));
        let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
        let mut chosen = heads;
        for one in queued {
            let count = taken.entry(&one.pipeline).or_default();
            *count += 1;
            if *count <= per_pipeline {
                chosen.insert(one.run);
            }
        }
        let wanted = all.into_iter().filter(|one| one.state != SubmissionState::Queued || chosen.contains(&one.run));
        wanted.map(|one| self.told(one)).collect()
    }

    pub(super) fn grant_claim(&mut self, run: RunId, scheduler: SchedulerId) -> Option<Claimed> {
        let claimant = self.schedulers.get(&scheduler)?;
        let may_claim = claimant.state == SchedulerState::Active && !self.is_expired(claimant);
        if !may_claim && !self.breaks(Mutation::ClaimsWithoutLease) {
            return None;
        }
        let one = self.submissions.get(&run)?;
        let is_mine = one.state.has_owner() && one.scheduler == Some(scheduler);
        let is_lost = one.scheduler.is_none_or(|id| self.schedulers[&id].state == SchedulerState::Gone);
        let is_its_turn = one.group.as_deref().is_none_or(|group| {
            self.breaks(Mutation::ClaimsOutOfTurn)
                || self.live_of_group(group).first().is_some_and(|first| first.0 == one.number)
        });
        let free = match one.state {
            SubmissionState::Queued => is_its_turn,
            SubmissionState::Running => is_lost,
            _ => false,
        };
        if !free && !is_mine {
            return None;
        }
        let one = self.submissions.get_mut(&run).expect("found above");
        one.claims += 1;
        one.scheduler = Some(scheduler);
        if one.state == SubmissionState::Queued {
            one.state = SubmissionState::Claimed;
        }
        let claim = Claim { run, scheduler, claims: one.claims };
        let mut owner = None;
        if let Some(rows) = self.runs.get_mut(&run) {
            rows.run.epoch += 1;
            owner = Some(Ownership { run, epoch: rows.run.epoch });
            self.tell(run, "run_taken_over", None, None);
        }
        Some(Claimed { claim, owner, submission: self.told(&self.submissions[&run]) })
    }

    /// The submission of a claim that is valid.
    pub(super) fn held(&mut self, claim: Claim) -> Option<&mut SubmissionRecord> {
        let one = self.submissions.get_mut(&claim.run)?;
        let is_valid = one.scheduler == Some(claim.scheduler) && one.claims == claim.claims && one.state.has_owner();
        is_valid.then_some(one)
    }

    pub(super) fn end_submission(&mut self, run: RunId, state: SubmissionState, reason: Option<&str>) {
        let now = self.now;
        let one = self.submissions.get_mut(&run).expect("a submission on record");
        one.state = state;
        one.ended = Some(now);
        one.reason = reason.map(str::to_owned);
        let number = one.number;
        self.live.remove(&number);
        self.touched.insert(run);
    }

    /// Asks for the end of a run; one that has not begun ends at once. False where it is over.
    pub(crate) fn request_cancel(&mut self, run: RunId, hard: bool) -> bool {
        let mode = if hard { "now" } else { "graceful" };
        let is_running = self.runs.get(&run).map(|rows| rows.run.state == RunState::Running);
        let submission = self.submissions.get_mut(&run).filter(|one| !one.state.is_terminal());
        match (is_running, submission) {
            (None, Some(_)) => self.end_submission(run, SubmissionState::Cancelled, Some("its end was asked for")),
            (Some(true), submission) => {
                if let Some(one) = submission {
                    one.cancel = Some(mode.to_owned());
                }
                self.runs.get_mut(&run).expect("found above").run.cancel = Some(mode.to_owned());
                self.tell(run, "cancel_requested", None, None);
            }
            _ => return false,
        }
        true
    }
}
