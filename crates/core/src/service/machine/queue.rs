//! The queue: what to take on, what to stop, and whom to bury.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Ask, Command, Look, Machine, Now};
use crate::executor::Stop;
use crate::record::RunId;
use crate::service::queue;
use crate::service::record::{SchedulerId, SchedulerRecord, SchedulerState, SubmissionRecord, SubmissionState};
use crate::service::store::Claimed;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What is being driven, and how its end was asked for.
    driven: BTreeMap<RunId, Option<Stop>>,
    /// Claims of which it is not known what came of them, and runs that ended here: with the number of the newest look
    /// then. A look that was asked for later knows.
    unsure: BTreeMap<RunId, u64>,
    ended: BTreeMap<RunId, u64>,
    /// Runs of this scheduler that it does not drive, because an answer was lost; always claimed.
    mine: VecDeque<RunId>,
    /// Runs that lost their owner.
    orphans: VecDeque<RunId>,
    /// What to claim after those, in order.
    queued: VecDeque<RunId>,
    /// What is this scheduler's on record and neither driven nor being claimed: it counts.
    reserved: BTreeSet<RunId>,
    /// Another scheduler can take more on.
    others_have_room: bool,
    /// When to look next, on the steady clock.
    at: u64,
    /// When the last look was asked for.
    looked: u64,
    /// Numbers looks.
    looks: u64,
}

impl Machine {
    /// The runs that are being driven.
    pub fn driven(&self) -> impl Iterator<Item = RunId> + '_ {
        self.queue.driven.keys().copied()
    }

    pub(super) fn look_soon(&mut self, at: u64) {
        self.queue.at = self.queue.at.min(at);
    }

    pub(super) fn look(&mut self, now: Now) {
        if now.steady >= self.queue.at && self.asks.begin(Ask::Look, now.steady) {
            self.queue.at = now.steady.saturating_add(self.settings.poll_us);
            self.queue.looked = now.steady;
            self.queue.looks += 1;
            self.out.push(Command::Look);
        }
    }

    pub(super) fn looked(&mut self, look: &Look, now: Now) {
        if !self.asks.answered(Ask::Look) {
            return;
        }
        let me = self.settings.id;
        if !look.schedulers.iter().any(|one| one.id == me) {
            return self.lose_lease();
        }
        let looks = self.queue.looks;
        self.queue.unsure.retain(|_, then| *then >= looks);
        self.queue.ended.retain(|_, then| *then >= looks);
        let is_live = |run| look.live.iter().any(|one| one.run == run);
        self.asks.retain(|ask| if let Ask::Claim(run) = ask { is_live(run) } else { true });
        let alive: Vec<SchedulerId> = look.schedulers.iter().filter(|one| !one.expired).map(|one| one.id).collect();
        self.there_are_changes(look.schedules_rev, alive);
        self.pass_on_requests(&look.live);
        if self.draining {
            return;
        }
        for one in look.schedulers.iter().filter(|one| one.expired && one.id != me) {
            if self.asks.begin(Ask::Bury(one.id), now.steady) {
                self.out.push(Command::Bury(one.id));
            }
        }
        for id in look.backfills.iter().copied() {
            if self.asks.begin(Ask::Backfill(id), now.steady) {
                self.out.push(Command::AdvanceBackfill(id));
            }
        }
        self.choose(look);
    }

    /// What to claim from here on.
    fn choose(&mut self, look: &Look) {
        let (me, marker) = (self.settings.id, self.settings.store_marker);
        let known = |run: &RunId| self.queue.driven.contains_key(run) || self.queue.ended.contains_key(run);
        let is_mine = |one: &&SubmissionRecord| one.scheduler == Some(me) && !known(&one.run);
        let of_mine = |state| look.live.iter().filter(is_mine).filter(move |one| one.state == state).map(|one| one.run);
        let mine: VecDeque<RunId> = of_mine(SubmissionState::Running).collect();
        let is_being_claimed = |run: &RunId| self.asks.ready_at(Ask::Claim(*run)).is_none();
        let all_mine = mine.iter().copied().chain(of_mine(SubmissionState::Claimed));
        let reserved = all_mine.filter(|run| !is_being_claimed(run) && !self.queue.unsure.contains_key(run)).collect();
        let is_queued = |one: &&SubmissionRecord| one.state == SubmissionState::Queued;
        let waiting: BTreeSet<RunId> = look.live.iter().filter(is_queued).map(|one| one.run).collect();
        let mut others = queue::next(&look.live, &look.schedulers, marker);
        others.retain(|run| !known(run));
        let orphans = others.iter().copied().filter(|run| !waiting.contains(run)).collect();
        others.retain(|run| waiting.contains(run));
        let queued = of_mine(SubmissionState::Claimed).chain(others).collect();
        let drives = |id| look.live.iter().filter(|one| one.scheduler == Some(id) && one.state.has_owner()).count();
        let has_room = |one: &&SchedulerRecord| {
            one.state == SchedulerState::Active
                && !one.expired
                && one.store_marker == marker
                && drives(one.id) < one.capacity as usize
        };
        let others_have_room = look.schedulers.iter().filter(|one| one.id != me).any(|one| has_room(&one));
        self.queue = Queue { mine, orphans, queued, reserved, others_have_room, ..std::mem::take(&mut self.queue) };
    }

    /// Passes on requests to end, the stronger one also after the weaker one.
    fn pass_on_requests(&mut self, live: &[SubmissionRecord]) {
        for submission in live {
            let Some(how) = asked_to_end(submission) else { continue };
            self.ask_to_end(submission.run, how);
        }
    }

    fn ask_to_end(&mut self, run: RunId, how: Stop) {
        let Some(asked) = self.queue.driven.get_mut(&run) else { return };
        if asked.is_none() || (*asked == Some(Stop::Gracefully) && how == Stop::Now) {
            *asked = Some(how);
            self.out.push(Command::Stop { run, how });
        }
    }

    /// Claims as many as there is room for. What is under way, or may turn out to be this scheduler's, counts.
    ///
    /// A run that lost its owner is taken on also where no scheduler has room: what it holds may be what all that they
    /// drive is waiting for.
    pub(super) fn claim(&mut self, now: Now) {
        if !self.may_claim(now) {
            return;
        }
        loop {
            let queue = &mut self.queue;
            let busy = queue.driven.len() + queue.unsure.len() + self.asks.claims();
            let capacity = self.settings.capacity as usize;
            let room = busy + queue.reserved.len() < capacity;
            let mut next = queue.mine.pop_front();
            if next.is_none() && (room || !queue.others_have_room) {
                next = queue.orphans.pop_front();
            }
            let counts_already = queue.queued.front().is_some_and(|run| queue.reserved.contains(run));
            if next.is_none() && (room || (counts_already && busy < capacity)) {
                next = queue.queued.pop_front();
            }
            let Some(run) = next else { return };
            let is_known = queue.driven.contains_key(&run) || queue.unsure.contains_key(&run);
            if !is_known && self.asks.begin(Ask::Claim(run), now.steady) {
                self.queue.reserved.remove(&run);
                self.out.push(Command::Claim(run));
            }
        }
    }

    pub(super) fn claimed(&mut self, run: RunId, claimed: Option<Box<Claimed>>) {
        if !self.asks.answered(Ask::Claim(run)) {
            return;
        }
        // Whoever drains leaves it as it is: leaving gives it back.
        let Some(claimed) = claimed.filter(|_| !self.draining) else { return };
        let how = asked_to_end(&claimed.submission);
        self.queue.driven.insert(run, None);
        self.out.push(Command::Drive(claimed));
        if let Some(how) = how {
            self.ask_to_end(run, how);
        }
    }

    pub(super) fn claim_failed(&mut self, run: RunId, now: Now) {
        self.asks.failed(Ask::Claim(run), now.steady);
        self.queue.unsure.insert(run, self.queue.looks);
        self.look_soon(now.steady);
    }

    pub(super) fn ended(&mut self, run: RunId, now: Now) {
        if self.queue.driven.remove(&run).is_none() {
            return;
        }
        self.queue.ended.insert(run, self.queue.looks);
        // Should it turn out not to be over, it is not taken up again and again without a pause.
        self.asks.failed(Ask::Claim(run), now.steady);
        if self.queue.queued.is_empty() {
            // Many end at once, and one look serves them all.
            self.look_soon(self.queue.looked.saturating_add(self.settings.poll_us / 20).max(now.steady));
        }
    }

    pub(super) fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.queue.mine.clear();
        self.queue.reserved.clear();
        self.queue.orphans.clear();
        self.queue.queued.clear();
        self.out.extend(self.queue.driven.keys().map(|run| Command::HandOver(*run)));
    }

    pub(super) fn may_leave(&self) -> bool {
        self.draining && self.queue.driven.is_empty()
    }

    pub(super) fn wake_for_queue(&self) -> u64 {
        self.asks.ready_at(Ask::Look).map_or(u64::MAX, |ready| ready.max(self.queue.at))
    }
}

fn asked_to_end(submission: &SubmissionRecord) -> Option<Stop> {
    submission.cancel.as_deref().map(|how| if how == "now" { Stop::Now } else { Stop::Gracefully })
}
