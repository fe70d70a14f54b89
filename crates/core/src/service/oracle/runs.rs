//! Runs, their tasks and attempts: one attempt at a time, one end each, and only success publishes.

use std::collections::BTreeMap;

use super::{Findings, Rule, Snapshot, grouped};
use crate::record::{AttemptKind, AttemptRecord, AttemptState, NodeId, RunRecord, RunState, TaskRecord, TaskState};

pub(super) fn check(snapshot: &Snapshot, findings: &mut Findings) {
    let tasks = grouped(&snapshot.tasks, |task| task.run);
    let attempts = grouped(&snapshot.attempts, |attempt| (attempt.run, attempt.task));
    for run in &snapshot.runs {
        check_run(run, tasks.get(&run.id).map_or(&[], Vec::as_slice), findings);
        for task in tasks.get(&run.id).into_iter().flatten() {
            let mut of_it = attempts.get(&(run.id, task.index)).cloned().unwrap_or_default();
            of_it.sort_by_key(|attempt| attempt.number);
            check_task(run, task, &of_it, findings);
        }
    }
    for attempt in &snapshot.attempts {
        check_end(attempt, findings);
    }
    check_publications(snapshot, findings);
    check_events(snapshot, findings);
}

fn check_run(run: &RunRecord, tasks: &[&TaskRecord], findings: &mut Findings) {
    let RunRecord { number, state, .. } = *run;
    let is_over = state != RunState::Running;
    findings.unless(run.ended.is_some() == is_over, Rule::Companions, || {
        format!(
            "run #{number} is {}, and its end is {}",
            state.as_str(),
            if run.ended.is_some() { "on record" } else { "not" }
        )
    });
    findings.unless(run.epoch >= 1, Rule::Ownership, || format!("run #{number} has epoch {}", run.epoch));
    for task in tasks.iter().filter(|task| is_over && !task.state.is_terminal()) {
        findings.add(
            Rule::Companions,
            format!("run #{number} is {}, and its task {} is {}", state.as_str(), task.index, task.state.as_str()),
        );
    }
    for (place, task) in tasks.iter().enumerate() {
        findings.unless(usize::try_from(task.index) == Ok(place), Rule::Companions, || {
            format!("run #{number} has task {} in the place of task {place}", task.index)
        });
    }
}

fn check_task(run: &RunRecord, task: &TaskRecord, attempts: &[&AttemptRecord], findings: &mut Findings) {
    let name = || format!("task {} of run #{}", task.index, run.number);
    findings.unless(attempts.len() == task.attempts as usize, Rule::Companions, || {
        format!("{} counts {} attempts, and {} are on record", name(), task.attempts, attempts.len())
    });
    for (number, attempt) in (1..).zip(attempts) {
        findings.unless(attempt.number == number, Rule::OneAttempt, || {
            format!("{} has attempt {} in the place of attempt {number}", name(), attempt.number)
        });
    }
    let live: Vec<&&AttemptRecord> = attempts.iter().filter(|attempt| attempt.end.is_none()).collect();
    let is_last = |attempt: &AttemptRecord| attempt.number as usize == attempts.len();
    let fits = if task.state == TaskState::Assigned { live.len() == 1 && is_last(live[0]) } else { live.is_empty() };
    findings.unless(fits, Rule::OneAttempt, || {
        format!("{} is {} with {} live attempts", name(), task.state.as_str(), live.len())
    });
    let succeeded: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.state == AttemptState::Succeeded && attempt.kind != AttemptKind::Reuse)
        .collect();
    findings.unless(succeeded.iter().all(|attempt| is_last(attempt)) && succeeded.len() <= 1, Rule::OneAttempt, || {
        format!("{} was attempted again after it had succeeded", name())
    });
    findings.unless((task.state == TaskState::Succeeded) != succeeded.is_empty(), Rule::Companions, || {
        format!("{} is {}, and {} of its attempts succeeded", name(), task.state.as_str(), succeeded.len())
    });
}

fn check_end(attempt: &AttemptRecord, findings: &mut Findings) {
    let name = || format!("attempt {} (task {} of run #{})", attempt.id.0, attempt.task, attempt.run_number);
    let is_over = matches!(attempt.state, AttemptState::Succeeded | AttemptState::Failed);
    findings.unless(attempt.end.is_some() == is_over, Rule::OneEnd, || {
        format!(
            "{} is {}, and its end is {}",
            name(),
            attempt.state.as_str(),
            if attempt.end.is_some() { "on record" } else { "not" }
        )
    });
    let Some(end) = &attempt.end else { return };
    let is_clean = end.cause == crate::attempt::Cause::Exit && end.exit_code.unwrap_or(0) == 0;
    findings.unless(attempt.state != AttemptState::Succeeded || is_clean, Rule::OneEnd, || {
        format!("{} succeeded with cause {} and exit code {:?}", name(), end.cause.as_str(), end.exit_code)
    });
}

fn check_publications(snapshot: &Snapshot, findings: &mut Findings) {
    let attempts: BTreeMap<NodeId, &AttemptRecord> = snapshot.attempts.iter().map(|one| (one.id, one)).collect();
    for (attempt, published) in grouped(&snapshot.published, |one| one.attempt) {
        let state = attempts.get(&attempt).map(|one| one.state);
        findings.unless(state == Some(AttemptState::Succeeded), Rule::Publication, || {
            format!(
                "{} was published by attempt {}, which is {}",
                published[0].dataset,
                attempt.0,
                state.map_or("not on record", AttemptState::as_str)
            )
        });
        for (output, twice) in grouped(&published, |one| (one.output.clone(), one.subset.clone())) {
            findings.unless(twice.len() == 1, Rule::Publication, || {
                format!("attempt {} published output {} {} times", attempt.0, output.0, twice.len())
            });
        }
    }
}

/// What was told once is not told again: the end of an attempt, and that of a run between two owners.
fn check_events(snapshot: &Snapshot, findings: &mut Findings) {
    let told = snapshot.events.iter().filter(|event| event.kind == "attempt_finished");
    let mut ends: BTreeMap<NodeId, u32> = BTreeMap::new();
    for attempt in told.filter_map(|event| event.attempt) {
        *ends.entry(attempt).or_default() += 1;
    }
    for (attempt, count) in ends.iter().filter(|(_, count)| **count > 1) {
        findings.add(Rule::OneEnd, format!("the end of attempt {} was told {count} times", attempt.0));
    }
    for (run, events) in grouped(&snapshot.events, |event| event.run) {
        let mut over = false;
        for event in events {
            match event.kind.as_str() {
                "run_ended" => {
                    findings.unless(!over, Rule::Terminal, || format!("run {run} ended twice"));
                    over = true;
                }
                "run_taken_over" => over = false,
                "cancel_requested" => {}
                _ => findings.unless(!over, Rule::Terminal, || {
                    format!("{} was told of run {run} after its end (event {})", event.kind, event.id)
                }),
            }
        }
    }
}
