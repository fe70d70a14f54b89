//! Which queued run goes next, and why another one does not.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

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
        submission
            .scheduler
            .is_some_and(|id| schedulers.iter().any(|one| one.id == id && one.state != SchedulerState::Gone))
    };
    let mut under_way: HashMap<&str, u32> = HashMap::new();
    for submission in live.iter().filter(|one| one.state != SubmissionState::Queued) {
        *under_way.entry(&submission.pipeline).or_default() += 1;
    }
    let mut turns: HashMap<&str, i64> = HashMap::new();
    for submission in live.iter().filter(|one| !one.state.is_terminal()) {
        if let Some(group) = &submission.group {
            let first = turns.entry(group).or_insert(submission.number);
            *first = (*first).min(submission.number);
        }
    }
    let has_turn = |one: &SubmissionRecord| one.group.as_ref().is_none_or(|group| turns[group.as_str()] == one.number);
    let mut ordered = Vec::new();
    let mut queued: HashMap<&str, Vec<&SubmissionRecord>> = HashMap::new();
    for submission in live.iter().filter(|one| one.store_marker == store_marker) {
        match submission.state {
            SubmissionState::Queued if has_turn(submission) => {
                queued.entry(&submission.pipeline).or_default().push(submission);
            }
            SubmissionState::Running if !is_owned(submission) => ordered.push(submission.run),
            _ => {}
        }
    }
    let mut heads = BTreeSet::new();
    let rank = |one: &SubmissionRecord, count: u32| (Reverse(one.priority), count, one.number);
    for (pipeline, of_it) in &mut queued {
        // The next one stands at the end.
        of_it.sort_unstable_by_key(|one| Reverse((Reverse(one.priority), one.number)));
        let count = under_way.get(pipeline).copied().unwrap_or(0);
        heads.extend(of_it.last().map(|one| (rank(one, count), *pipeline)));
    }
    // One by one, because each that goes makes its pipeline wait longer for its next.
    while let Some(((_, count, _), pipeline)) = heads.pop_first() {
        let Some(of_it) = queued.get_mut(pipeline) else { continue };
        ordered.extend(of_it.pop().map(|one| one.run));
        heads.extend(of_it.last().map(|one| (rank(one, count + 1), pipeline)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::ContentHash;
    use crate::record::RunEnvironment;
    use crate::time::Timestamp;
    use uuid::Uuid;

    fn one(number: i64, pipeline: &str, priority: i32, group: Option<&str>) -> SubmissionRecord {
        SubmissionRecord {
            run: RunId(Uuid::from_u128(number.unsigned_abs().into())),
            number,
            pipeline: pipeline.to_owned(),
            definition: ContentHash::from_bytes([0; 32]),
            definition_path: String::new(),
            params: serde_json::Value::Null,
            request: serde_json::Value::Null,
            trigger: String::new(),
            partition: None,
            priority,
            group: group.map(str::to_owned),
            backfill: None,
            state: SubmissionState::Queued,
            scheduler: None,
            claims: 0,
            created: Timestamp(0),
            ended: None,
            reason: None,
            cancel: None,
            run_state: None,
            store_marker: Uuid::nil(),
            environment: RunEnvironment::default(),
        }
    }

    fn order(live: &[SubmissionRecord]) -> Vec<u128> {
        next(live, &[], Uuid::nil()).into_iter().map(|run| run.0.as_u128()).collect()
    }

    #[test]
    fn urgent_ones_go_first_then_pipelines_take_turns_then_age_counts() {
        let live = [one(1, "a", 0, None), one(2, "a", 0, None), one(3, "b", 0, None), one(4, "a", 1, None)];
        assert_eq!(order(&live), [4, 3, 1, 2]);
    }

    #[test]
    fn what_lost_its_owner_goes_before_all_and_its_pipeline_counts_as_busy() {
        let mut live = [one(1, "a", 0, None), one(2, "b", 0, None), one(3, "a", 0, None)];
        live[2].state = SubmissionState::Running;
        assert_eq!(order(&live), [3, 2, 1]);
    }

    #[test]
    fn of_a_group_the_first_alone_may_go_whatever_the_priorities() {
        let live = [one(1, "a", 0, Some("g")), one(2, "a", 9, Some("g")), one(3, "b", 0, None)];
        assert_eq!(order(&live), [1, 3]);
        assert_eq!(turn_after(&live[1], &live), Some(1));
    }
}
