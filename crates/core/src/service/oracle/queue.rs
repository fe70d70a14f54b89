//! The queue: what a submission says is borne out by its run, its owner lives, groups keep their order, pools and
//! backfills their bounds.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Rule, Snapshot, grouped, runs_by_id};
use crate::record::{AttemptState, RunRecord, RunState};
use crate::service::record::{
    BackfillRecord, BackfillState, PoolRecord, SchedulerState, SubmissionRecord, SubmissionState,
};

pub(super) fn check(snapshot: &Snapshot, findings: &mut Findings) {
    let runs = runs_by_id(snapshot);
    let mut numbers = BTreeSet::new();
    for submission in &snapshot.submissions {
        findings.unless(numbers.insert(submission.number), Rule::Companions, || {
            format!("two submissions have the number {}", submission.number)
        });
        check_submission(submission, runs.get(&submission.run).copied(), findings);
        check_owner(submission, snapshot, findings);
    }
    check_groups(&snapshot.submissions, findings);
    for pool in &snapshot.pools {
        check_pool(pool, snapshot, findings);
    }
    for backfill in &snapshot.backfills {
        check_backfill(backfill, snapshot, findings);
    }
}

fn check_submission(submission: &SubmissionRecord, run: Option<&RunRecord>, findings: &mut Findings) {
    let SubmissionRecord { number, state, .. } = *submission;
    let what = format!("submission #{number} is {}", state.as_str());
    findings.unless(submission.ended.is_some() == state.is_terminal(), Rule::Companions, || {
        format!("{what}, and its end is {}", if submission.ended.is_some() { "on record" } else { "not" })
    });
    if let Some(run) = run {
        findings.unless(run.number == number && run.pipeline == submission.pipeline, Rule::Companions, || {
            format!(
                "submission #{number} is of {}, and its run is #{} of {}",
                submission.pipeline, run.number, run.pipeline
            )
        });
    }
    let of_run = run.map_or("not on record", |run| run.state.as_str());
    let taken_by_hand = state == SubmissionState::Done && submission.reason.is_some();
    let fits = match state {
        SubmissionState::Queued | SubmissionState::Claimed | SubmissionState::Cancelled | SubmissionState::Failed => {
            run.is_none()
        }
        SubmissionState::Running => run.is_some_and(|run| run.state == RunState::Running),
        SubmissionState::Done => run.is_some_and(|run| run.state != RunState::Running || taken_by_hand),
    };
    // A run that is over may have been taken up again by hand.
    let resumed = state == SubmissionState::Done && run.is_some_and(|run| run.epoch > 1);
    findings.unless(fits || resumed, Rule::Companions, || format!("{what}, and its run is {of_run}"));
    findings.unless(submission.run_state == run.map(|run| run.state), Rule::Companions, || {
        format!("submission #{number} says that its run is {:?}, and it is {of_run}", submission.run_state)
    });
}

fn check_owner(submission: &SubmissionRecord, snapshot: &Snapshot, findings: &mut Findings) {
    let SubmissionRecord { number, state, scheduler, claims, .. } = *submission;
    let owner = scheduler.and_then(|id| snapshot.schedulers.iter().find(|one| one.id == id));
    match state {
        SubmissionState::Queued => findings.unless(scheduler.is_none(), Rule::Ownership, || {
            format!("submission #{number} is queued and has an owner")
        }),
        SubmissionState::Claimed => {
            let is_alive = owner.is_some_and(|one| one.state != SchedulerState::Gone);
            findings.unless(is_alive, Rule::Ownership, || {
                format!(
                    "submission #{number} is claimed, and its owner is {}",
                    if owner.is_some() { "gone" } else { "not on record" }
                )
            });
        }
        _ => {}
    }
    let was_claimed = claims > 0 || matches!(state, SubmissionState::Queued | SubmissionState::Cancelled);
    findings.unless(was_claimed, Rule::Ownership, || {
        format!("submission #{number} is {}, and was never claimed", state.as_str())
    });
}

fn check_groups(submissions: &[SubmissionRecord], findings: &mut Findings) {
    let mut live: BTreeMap<&str, Vec<&SubmissionRecord>> = BTreeMap::new();
    for submission in submissions.iter().filter(|one| !one.state.is_terminal()) {
        if let Some(group) = &submission.group {
            live.entry(group).or_default().push(submission);
        }
    }
    for (group, members) in live {
        let first = members.iter().map(|one| one.number).min();
        for one in members.iter().filter(|one| one.state.has_owner() && Some(one.number) != first) {
            findings.add(
                Rule::Group,
                format!(
                    "#{} of group {group} is {} before #{} is over",
                    one.number,
                    one.state.as_str(),
                    first.unwrap_or(0)
                ),
            );
        }
    }
}

fn check_pool(pool: &PoolRecord, snapshot: &Snapshot, findings: &mut Findings) {
    let taken: u64 = pool.holders.iter().map(|one| u64::from(one.slots.min(pool.slots))).sum();
    findings.unless(taken <= u64::from(pool.slots), Rule::Pool, || {
        format!("{taken} of the {} slots of pool {} are taken", pool.slots, pool.name)
    });
    let live: BTreeSet<_> = snapshot
        .attempts
        .iter()
        .filter(|one| matches!(one.state, AttemptState::Assigned | AttemptState::Running))
        .map(|one| (one.run, one.task))
        .collect();
    for holder in pool.holders.iter().filter(|one| !live.contains(&(one.run, one.task))) {
        findings.add(
            Rule::Pool,
            format!(
                "task {} of run #{} holds slots of pool {} without a live attempt",
                holder.task, holder.number, pool.name
            ),
        );
    }
}

fn check_backfill(backfill: &BackfillRecord, snapshot: &Snapshot, findings: &mut Findings) {
    let BackfillRecord { id, state, parallel, .. } = backfill;
    let mine: Vec<&SubmissionRecord> = snapshot.submissions.iter().filter(|one| one.backfill == Some(*id)).collect();
    let live = mine.iter().filter(|one| !one.state.is_terminal()).count();
    findings.unless(live <= *parallel as usize, Rule::Backfill, || {
        format!("{live} runs of backfill {id} are not over, and it may have {parallel}")
    });
    findings.unless(live == backfill.live as usize && mine.len() == backfill.submitted.len(), Rule::Backfill, || {
        format!(
            "backfill {id} counts {} of {} runs as live, and {live} of {} are",
            backfill.live,
            backfill.submitted.len(),
            mine.len()
        )
    });
    for (partition, of_it) in grouped(&mine, |one| one.partition.clone()) {
        let partition = partition.unwrap_or_default();
        findings.unless(of_it.len() == 1 && backfill.partitions.contains(&partition), Rule::Backfill, || {
            format!("backfill {id} has {} runs of partition {partition:?}", of_it.len())
        });
    }
    let complete = live == 0 && mine.len() == backfill.partitions.len();
    findings.unless(*state != BackfillState::Done || complete, Rule::Backfill, || {
        format!(
            "backfill {id} is done, with {live} of {} runs live for {} partitions",
            mine.len(),
            backfill.partitions.len()
        )
    });
    findings.unless(
        backfill.ended.is_some() == matches!(state, BackfillState::Done | BackfillState::Cancelled),
        Rule::Companions,
        || {
            format!(
                "backfill {id} is {}, and its end is {}",
                state.as_str(),
                if backfill.ended.is_some() { "on record" } else { "not" }
            )
        },
    );
    let queued = mine.iter().filter(|one| one.state == SubmissionState::Queued).count();
    findings.unless(*state != BackfillState::Cancelled || queued == 0, Rule::Backfill, || {
        format!("backfill {id} is cancelled, and {queued} of its runs are queued")
    });
}
