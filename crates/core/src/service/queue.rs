//! Which queued run goes next, and why another one does not.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::record::{SchedulerId, SchedulerRecord, SchedulerState, SubmissionRecord, SubmissionState};
use crate::record::RunId;

/// Why a submission is not running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
    /// Nothing: a scheduler with room takes it next.
    Ready,
    /// No scheduler is alive.
    NoScheduler,
    /// An earlier run of its group is not over: its number.
    Group(i64),
    /// Every scheduler drives as many runs as it may; so many submissions go first.
    Capacity {
        /// How many go first.
        ahead: usize,
    },
    /// Its objects are in a content store that no live scheduler can open.
    Elsewhere,
}

/// Puts those that may be claimed now into the order in which they go: those whose scheduler is gone first, then by
/// priority, then those whose pipeline has fewer runs under way, then by age.
#[must_use]
pub fn next(live: &[SubmissionRecord], schedulers: &[SchedulerRecord], store_marker: uuid::Uuid) -> Vec<RunId> {
    let is_owned = |submission: &SubmissionRecord| {
        submission.scheduler.is_some_and(|id| schedulers.iter().any(|one| one.id == id && one.state != SchedulerState::Gone))
    };
    let mut under_way: HashMap<&str, u32> = HashMap::new();
    for submission in live.iter().filter(|one| one.state != SubmissionState::Queued) {
        *under_way.entry(&submission.pipeline).or_default() += 1;
    }
    let mut orphans = Vec::new();
    let mut queued = Vec::new();
    for submission in live.iter().filter(|one| one.store_marker == store_marker) {
        match submission.state {
            SubmissionState::Queued if turn_after(submission, live).is_none() => queued.push(submission),
            SubmissionState::Running if !is_owned(submission) => orphans.push(submission.run),
            _ => {}
        }
    }
    // One by one, because each that goes makes its pipeline wait longer for its next.
    queued.sort_by_key(|one| (Reverse(one.priority), one.number));
    let mut ordered = orphans;
    while !queued.is_empty() {
        let best = (0..queued.len())
            .min_by_key(|&at| {
                let one = queued[at];
                (Reverse(one.priority), under_way.get(one.pipeline.as_str()).copied().unwrap_or(0), one.number)
            })
            .unwrap_or(0);
        let one = queued.remove(best);
        *under_way.entry(&one.pipeline).or_default() += 1;
        ordered.push(one.run);
    }
    ordered
}

/// The number of the run of its group that has to end first.
#[must_use]
pub fn turn_after(submission: &SubmissionRecord, live: &[SubmissionRecord]) -> Option<i64> {
    let group = submission.group.as_deref()?;
    live.iter()
        .filter(|other| other.group.as_deref() == Some(group) && other.number < submission.number)
        .filter(|other| !other.state.is_terminal())
        .map(|other| other.number)
        .min()
}

/// Why a queued submission waits.
#[must_use]
pub fn blocker(submission: &SubmissionRecord, live: &[SubmissionRecord], schedulers: &[SchedulerRecord]) -> Blocker {
    if let Some(number) = turn_after(submission, live) {
        return Blocker::Group(number);
    }
    let alive: Vec<&SchedulerRecord> =
        schedulers.iter().filter(|one| one.state == SchedulerState::Active && !one.expired).collect();
    if alive.is_empty() {
        return Blocker::NoScheduler;
    }
    if !alive.iter().any(|one| one.store_marker == submission.store_marker) {
        return Blocker::Elsewhere;
    }
    let driven = |id: SchedulerId| {
        live.iter().filter(|one| one.scheduler == Some(id) && one.state != SubmissionState::Queued).count()
    };
    let has_room = |one: &&&SchedulerRecord| driven(one.id) < one.capacity as usize;
    if alive.iter().filter(|one| one.store_marker == submission.store_marker).any(|one| has_room(&one)) {
        return Blocker::Ready;
    }
    let order = next(live, schedulers, submission.store_marker);
    Blocker::Capacity { ahead: order.iter().position(|run| *run == submission.run).unwrap_or(0) }
}
