//! Backfills.

use runstone_core::record::RunId;
use runstone_core::service::record::{
    BackfillItem, BackfillRecord, BackfillState, NewBackfill, NewSubmission, SubmissionState,
};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::{Backfill, Model};

impl Model {
    pub(super) fn add_backfill(&mut self, new: &NewBackfill, now: Timestamp) {
        let state = BackfillState::Active;
        let backfill = Backfill { new: new.clone(), state, created: now, ended: None, runs: Vec::new() };
        self.backfills.entry(new.id).or_insert(backfill);
    }

    pub(crate) fn backfills_are_over(&self) -> bool {
        self.backfills.values().all(|one| matches!(one.state, BackfillState::Done | BackfillState::Cancelled))
    }

    fn live_of(&self, backfill: &Backfill) -> usize {
        backfill.runs.iter().filter(|run| !self.submissions[run].state.is_terminal()).count()
    }

    pub(super) fn advance(&mut self, id: Uuid, now: Timestamp) -> u32 {
        let mut count = 0;
        while let Some(backfill) = self.backfills.get(&id).filter(|one| one.state == BackfillState::Active) {
            let next = backfill.new.partitions.get(backfill.runs.len()).cloned();
            let live = self.live_of(backfill);
            let Some(partition) = next else {
                if live == 0 {
                    let backfill = self.backfills.get_mut(&id).expect("found above");
                    (backfill.state, backfill.ended) = (BackfillState::Done, Some(now));
                }
                break;
            };
            if live >= backfill.new.parallel as usize {
                break;
            }
            let run = RunId(Uuid::from_u128(id.as_u128() ^ (backfill.runs.len() as u128 + 1)));
            let template = backfill.new.template.clone();
            let submission = NewSubmission { run, partition: Some(partition), backfill: Some(id), ..template };
            self.put_in_queue(&submission);
            self.backfills.get_mut(&id).expect("found above").runs.push(run);
            count += 1;
        }
        count
    }

    pub(super) fn change_backfill(&mut self, id: Uuid, state: BackfillState, now: Timestamp) -> bool {
        let is_live = |one: &&mut Backfill| matches!(one.state, BackfillState::Active | BackfillState::Paused);
        let found = self.backfills.get_mut(&id).filter(is_live).filter(|one| one.state != state);
        let Some(backfill) = found else { return false };
        backfill.state = state;
        if state == BackfillState::Cancelled {
            backfill.ended = Some(now);
            for run in backfill.runs.clone() {
                self.request_cancel(run, false);
            }
        }
        true
    }

    pub(super) fn backfill_record(&self, backfill: &Backfill) -> BackfillRecord {
        let item = |run: &RunId| {
            let one = self.told(&self.submissions[run]);
            let partition = one.partition.unwrap_or_default();
            BackfillItem { partition, number: one.number, state: one.state, run_state: one.run_state }
        };
        let submitted: Vec<BackfillItem> = backfill.runs.iter().map(item).collect();
        let live = submitted
            .iter()
            .filter(|one| {
                !matches!(one.state, SubmissionState::Done | SubmissionState::Cancelled | SubmissionState::Failed)
            })
            .count();
        BackfillRecord {
            id: backfill.new.id,
            pipeline: backfill.new.template.pipeline.clone(),
            state: backfill.state,
            parallel: backfill.new.parallel,
            partitions: backfill.new.partitions.clone(),
            live: u32::try_from(live).unwrap(),
            submitted,
            created: backfill.created,
            ended: backfill.ended,
            user: String::new(),
        }
    }
}
