//! Fires are exactly what the timing asks for: no fire time is decided twice, and none is left out.

use std::collections::BTreeMap;

use super::{Findings, Rule, Snapshot, grouped, submissions_by_run};
use crate::record::RunId;
use crate::schedule::Compiled;
use crate::service::launch::{ScheduleSpec, When};
use crate::service::record::{FireRecord, ScheduleRecord};
use crate::time::Timestamp;

pub(super) fn check(snapshot: &Snapshot, findings: &mut Findings) {
    let mut fires = grouped(&snapshot.fires, |fire| (fire.schedule, fire.generation));
    let submissions = submissions_by_run(snapshot);
    let mut asked_by: BTreeMap<RunId, &FireRecord> = BTreeMap::new();
    for fire in &snapshot.fires {
        check_row(fire, findings);
        let Some(run) = fire.run else { continue };
        if asked_by.insert(run, fire).is_some() {
            findings.add(Rule::FireOnce, format!("run {run} was asked for by two fires"));
        }
        let number = submissions.get(&run).map(|submission| submission.number);
        findings.unless(number.is_some() && number == fire.number, Rule::Companions, || {
            format!(
                "the fire of schedule {} at {} asked for run {run}, which was not submitted so",
                fire.schedule.0, fire.time.0
            )
        });
    }
    for submission in snapshot.submissions.iter().filter(|one| one.trigger.starts_with("schedule ")) {
        findings.unless(asked_by.contains_key(&submission.run), Rule::FireOnce, || {
            format!("run #{} was submitted for `{}`, and no fire asked for it", submission.number, submission.trigger)
        });
    }
    for schedule in snapshot.schedules.iter().chain(&snapshot.former_schedules) {
        let rows = fires.entry((schedule.id, schedule.generation)).or_default();
        rows.sort_by_key(|fire| fire.time);
        check_generation(schedule, rows, findings);
    }
}

fn check_row(fire: &FireRecord, findings: &mut Findings) {
    let name = || format!("the fire of schedule {} at {}", fire.schedule.0, fire.time.0);
    findings.unless(fire.run.is_some() != fire.reason.is_some(), Rule::Companions, || {
        format!(
            "{} has {}",
            name(),
            if fire.run.is_some() { "a run and a reason why there is none" } else { "neither run nor reason" }
        )
    });
    findings.unless(fire.until >= fire.time, Rule::FireOnce, || format!("{} ends before it begins", name()));
    let is_one = fire.count == 1 && fire.until == fire.time;
    findings.unless(is_one || fire.run.is_none(), Rule::FireOnce, || format!("{} stands for several times", name()));
}

fn check_generation(schedule: &ScheduleRecord, rows: &[&FireRecord], findings: &mut Findings) {
    let name = || format!("schedule {} of {} (generation {})", schedule.name, schedule.pipeline, schedule.generation);
    findings.unless(schedule.cursor >= schedule.activated, Rule::FireOnce, || {
        format!("{} has a cursor before its beginning", name())
    });
    let compiled = compiled(schedule);
    let mut decided = schedule.activated;
    for fire in rows {
        let (time, until) = (fire.time.0, fire.until.0);
        findings.unless(fire.time > decided, Rule::FireOnce, || {
            format!("{} decided {time} twice, or before its beginning", name())
        });
        if let Some(compiled) = &compiled {
            let just_before = Timestamp(time - 1);
            none_between(compiled, decided, just_before, &name, findings);
            let count = compiled.count_between(just_before, fire.until);
            findings.unless(count == fire.count, Rule::FireOnce, || {
                format!("{} has {count} fire times from {time} to {until}, and {} are on record", name(), fire.count)
            });
        }
        decided = decided.max(fire.until);
    }
    findings.unless(decided <= schedule.cursor, Rule::FireOnce, || format!("{} has a fire after its cursor", name()));
    if let Some(compiled) = &compiled {
        none_between(compiled, decided, schedule.cursor, &name, findings);
    }
}

fn none_between(
    compiled: &Compiled,
    after: Timestamp,
    until: Timestamp,
    name: &impl Fn() -> String,
    findings: &mut Findings,
) {
    if let Some(lost) = compiled.after(after).filter(|lost| *lost <= until) {
        let count = compiled.count_between(after, until);
        findings.add(Rule::FireOnce, format!("{} lost {count} fire times, the first is {}", name(), lost.0));
    }
}

/// The timing; none for triggers and for what cannot be read.
fn compiled(schedule: &ScheduleRecord) -> Option<Compiled> {
    match ScheduleSpec::read(schedule).ok()?.when {
        When::Schedule(timed) => timed.compile().ok(),
        When::Trigger(_) => None,
    }
}
