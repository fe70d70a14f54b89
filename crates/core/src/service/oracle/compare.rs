//! Two moments of one record: what is over stays as it is, and what only grows has not shrunk.

use std::collections::BTreeMap;

use super::{Finding, Findings, Rule, Snapshot, runs_by_id, submissions_by_run};
use crate::record::{AttemptRecord, NodeId, RunId, RunRecord, RunState, TaskRecord};
use crate::service::record::{FireRecord, ScheduleId, ScheduleRecord, SchedulerState, SubmissionRecord};
use crate::time::Timestamp;

/// Looks for what must not happen between an earlier and a later moment. Rows that are in one of them only are not
/// looked at, except for schedulers.
#[must_use]
pub fn compare(before: &Snapshot, after: &Snapshot) -> Vec<Finding> {
    let mut findings = Findings::default();
    schedulers(before, after, &mut findings);
    schedules(before, after, &mut findings);
    let later = submissions_by_run(after);
    for one in &before.submissions {
        if let Some(now) = later.get(&one.run) {
            submission(one, now, &mut findings);
        }
    }
    let later = runs_by_id(after);
    let mut reopened = std::collections::BTreeSet::new();
    for one in &before.runs {
        if let Some(now) = later.get(&one.id) {
            run(one, now, &mut findings);
            if now.epoch > one.epoch {
                reopened.insert(one.id);
            }
        }
    }
    tasks(before, after, &reopened, &mut findings);
    attempts(before, after, &mut findings);
    findings.0
}

fn schedulers(before: &Snapshot, after: &Snapshot, findings: &mut Findings) {
    for was in before.schedulers.iter().filter(|one| one.state != SchedulerState::Active) {
        let Some(now) = after.schedulers.iter().find(|one| one.id == was.id) else { continue };
        let went_on = match was.state {
            SchedulerState::Gone => now.state == SchedulerState::Gone,
            SchedulerState::Draining | SchedulerState::Active => now.state != SchedulerState::Active,
        };
        findings.unless(went_on, Rule::Terminal, || {
            format!("scheduler {} was {} and is {}", was.id.0, was.state.as_str(), now.state.as_str())
        });
    }
}

fn schedules(before: &Snapshot, after: &Snapshot, findings: &mut Findings) {
    let later: BTreeMap<ScheduleId, &ScheduleRecord> = after.schedules.iter().map(|one| (one.id, one)).collect();
    for was in &before.schedules {
        let Some(now) = later.get(&was.id) else { continue };
        let grown = (now.generation, now.cursor) >= (was.generation, was.cursor) && now.rev >= was.rev;
        findings.unless(grown, Rule::Ownership, || {
            format!(
                "schedule {} of {} went from generation {}, cursor {} back to {}, {}",
                was.name, was.pipeline, was.generation, was.cursor.0, now.generation, now.cursor.0
            )
        });
    }
    let key = |fire: &FireRecord| (fire.schedule, fire.generation, fire.time);
    let later: BTreeMap<(ScheduleId, i64, Timestamp), &FireRecord> =
        after.fires.iter().map(|fire| (key(fire), fire)).collect();
    for was in &before.fires {
        if let Some(now) = later.get(&key(was)) {
            findings.unless(*now == was, Rule::Terminal, || {
                format!("the fire of schedule {} at {} was decided again", was.schedule.0, was.time.0)
            });
        }
    }
}

fn submission(was: &SubmissionRecord, now: &SubmissionRecord, findings: &mut Findings) {
    let number = was.number;
    findings.unless(now.number == number, Rule::Terminal, || format!("submission #{number} became #{}", now.number));
    findings.unless(now.claims >= was.claims, Rule::Ownership, || {
        format!("submission #{number} was claimed {} times, and now {}", was.claims, now.claims)
    });
    let is_same_claim = now.claims == was.claims && was.scheduler.is_some() && now.scheduler.is_some();
    findings.unless(!is_same_claim || now.scheduler == was.scheduler, Rule::Ownership, || {
        format!("submission #{number} has another owner by the same claim")
    });
    findings.unless(!was.state.is_terminal() || now.state == was.state, Rule::Terminal, || {
        format!("submission #{number} was {} and is {}", was.state.as_str(), now.state.as_str())
    });
}

fn run(was: &RunRecord, now: &RunRecord, findings: &mut Findings) {
    let number = was.number;
    findings.unless(now.epoch >= was.epoch, Rule::Ownership, || {
        format!("the epoch of run #{number} went from {} back to {}", was.epoch, now.epoch)
    });
    // One that failed or was cancelled may be taken up again by hand, by a new owner.
    let taken_up = matches!(was.state, RunState::Failed | RunState::Cancelled) && now.epoch > was.epoch;
    findings.unless(was.state == RunState::Running || now.state == was.state || taken_up, Rule::Terminal, || {
        format!("run #{number} was {} and is {}", was.state.as_str(), now.state.as_str())
    });
}

fn tasks(before: &Snapshot, after: &Snapshot, taken: &std::collections::BTreeSet<RunId>, findings: &mut Findings) {
    let later: BTreeMap<(RunId, u32), &TaskRecord> =
        after.tasks.iter().map(|task| ((task.run, task.index), task)).collect();
    for was in before.tasks.iter().filter(|task| task.state.is_terminal()) {
        let Some(now) = later.get(&(was.run, was.index)) else { continue };
        let is_final = matches!(was.state, crate::record::TaskState::Succeeded | crate::record::TaskState::Reused);
        let may_reopen = !is_final && taken.contains(&was.run);
        findings.unless(now.state == was.state || may_reopen, Rule::Terminal, || {
            format!("task {} of run {} was {} and is {}", was.index, was.run, was.state.as_str(), now.state.as_str())
        });
    }
}

fn attempts(before: &Snapshot, after: &Snapshot, findings: &mut Findings) {
    let later: BTreeMap<NodeId, &AttemptRecord> = after.attempts.iter().map(|one| (one.id, one)).collect();
    for was in before.attempts.iter().filter(|one| one.end.is_some()) {
        if let Some(now) = later.get(&was.id) {
            findings.unless(now.state == was.state && now.end == was.end, Rule::Terminal, || {
                format!("attempt {} of run #{} ended a second time", was.id.0, was.run_number)
            });
        }
    }
}
