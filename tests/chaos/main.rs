//! Chaos: real schedulers on a real server, faults in an order that a seed decides, and an oracle at the end.
//!
//! `CHAOS_SEED` and `CHAOS_SECONDS` choose another order and another length; `CHAOS_KEEP=1` keeps the folder with the logs. Only what must hold whatever happens is
//! asserted, never how fast anything is. Where something does not hold, the folder is kept, and its place is told.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read fails the test")]
#![expect(clippy::print_stderr, reason = "whoever looks for the cause of a failure needs the order of events")]

mod dice;
mod faults;
mod ledger;
mod pipelines;
#[path = "../../crates/store/tests/postgres/mod.rs"]
mod postgres;
mod rest;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptKind, RunId, RunRecord, RunState};
use runstone_core::service::oracle::{self, Snapshot};
use runstone_core::service::record::SubmissionState;
use runstone_core::store::{RunRef, Store};

use faults::{Told, Trouble};
use ledger::Ledger;
use world::{SCHEDULERS, World};

const SEED: u64 = 20_260_101;
const SECONDS: u64 = 60;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn nothing_is_lost_and_nothing_done_twice() {
    if postgres::skipped() {
        return;
    }
    let (seed, seconds) = (setting("CHAOS_SEED", SEED), setting("CHAOS_SECONDS", SECONDS));
    let mut world = World::new();
    world.tell(&format!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds} in {}", world.path().display()));
    // The first one makes the project and the schema.
    world.start(0);
    rest::until("the first scheduler reads the pipelines", &mut world, |world| {
        world.path().join("project/.runstone/project.json").exists() && {
            let admin = &mut world.admin();
            admin.try_execute("SELECT 1 FROM runstone.schedule").is_ok()
                && admin.lines("SELECT name FROM runstone.pipeline").len() == pipelines::PIPELINES.len()
        }
    });
    (1..SCHEDULERS).for_each(|slot| world.start(slot));
    let mut trouble = Trouble::new(seed);
    trouble.make(&mut world, Duration::from_secs(seconds));
    world.tell("the faults stop");
    trouble.end(&mut world);
    let before = Snapshot::read(world.store().as_mut()).unwrap();
    rest::reach(&mut world);
    judge(world, &trouble, &before);
}

/// Everything that must be so now.
fn judge(mut world: World, trouble: &Trouble, before: &Snapshot) {
    let mut store = world.store();
    let snapshot = Snapshot::read(store.as_mut()).unwrap();
    let mut findings = std::mem::take(&mut world.surprises);
    findings.extend(world.panics());
    findings.extend(oracle::check(&snapshot).iter().map(ToString::to_string));
    findings.extend(oracle::compare(before, &snapshot).iter().map(ToString::to_string));
    findings.extend(store.check().unwrap());
    findings.extend(of_parts(&snapshot, store.as_mut()));
    findings.extend(failures(&snapshot));
    let executed = Ledger::read(&world.ledger()).map_err(|line| findings.push(line)).ok();
    if let Some(ledger) = &executed {
        findings.extend(ledger.check(&snapshot));
        let attempts = ledger.attempts();
        let left = rest::left_behind(&attempts);
        findings.extend(left.iter().map(|pid| format!("process {pid:?} of an attempt that is over is still there")));
    }
    for told in &trouble.told {
        findings.extend(kept_word(told, &trouble.told, store.as_mut()));
    }
    let decided: u64 = snapshot.fires.iter().map(|fire| fire.count).sum();
    let processes = snapshot.attempts.iter().filter(|one| one.kind == AttemptKind::Run).count();
    world.tell(&format!(
        "{decided} fire times decided in {} rows, {} submissions, {} runs, {processes} attempts, {} executions; {:?}",
        snapshot.fires.len(),
        snapshot.submissions.len(),
        snapshot.runs.len(),
        executed.map_or(0, |ledger| ledger.begun()),
        trouble.counts,
    ));
    world.tell(&ends(&snapshot));
    if setting("CHAOS_KEEP", 0) > 0 || !findings.is_empty() {
        world.keep();
    }
    if !findings.is_empty() {
        panic!("{} findings:\n{}", findings.len(), findings.join("\n"));
    }
}

/// A part of the record is as sound as all of it, wherever it begins.
fn of_parts(all: &Snapshot, store: &mut dyn Store) -> Vec<String> {
    let parts = [4, 7].into_iter().filter_map(|part| all.runs.get(all.runs.len() * part / 8));
    let parts = parts.map(|run| (run.created, u32::MAX));
    let newest = all.runs.first().map(|run| (run.created, 20));
    let read = |(since, most)| Snapshot::read_since(store, since, most).unwrap();
    let found = parts.chain(newest).map(read).flat_map(|(part, since)| {
        let told = move |finding: oracle::Finding| format!("since {}: {finding}", since.0);
        oracle::check(&part).into_iter().map(told)
    });
    found.collect()
}

/// No step of these pipelines fails for good by itself, so none does because of the faults: only one that lost its
/// supervisor twice, which could have been its own doing.
fn failures(snapshot: &Snapshot) -> Vec<String> {
    let mut lost: BTreeMap<(RunId, u32), u32> = BTreeMap::new();
    for attempt in &snapshot.attempts {
        if attempt.end.as_ref().is_some_and(|end| end.cause == Cause::Lost) {
            *lost.entry((attempt.run, attempt.task)).or_default() += 1;
        }
    }
    let is_excused = |run: &RunRecord| lost.iter().any(|((of, _), times)| *of == run.id && *times > 1);
    let runs = snapshot.runs.iter().filter(|run| run.state == RunState::Failed && !is_excused(run));
    let failed = snapshot.submissions.iter().filter(|one| one.state == SubmissionState::Failed);
    runs.map(|run| (run.number, &run.pipeline, &run.reason))
        .chain(failed.map(|one| (one.number, &one.pipeline, &one.reason)))
        .map(|(number, pipeline, reason)| format!("run #{number} of {pipeline} failed: {reason:?}"))
        .collect()
}

/// How runs ended, how many changed hands, and why some failed.
fn ends(snapshot: &Snapshot) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for run in &snapshot.runs {
        *states.entry(run.state.as_str()).or_default() += 1;
        if run.state == RunState::Failed {
            let reason = run.reason.as_deref().unwrap_or("no reason");
            *reasons.entry(format!("{}: {reason}", run.pipeline)).or_default() += 1;
        }
    }
    let taken = snapshot.runs.iter().filter(|run| run.epoch > 1).count();
    let lost =
        snapshot.attempts.iter().filter_map(|one| one.end.as_ref()).filter(|end| end.cause == Cause::Lost).count();
    format!("runs: {states:?}, {taken} changed hands; {lost} attempts lost; failures: {reasons:?}")
}

/// Who was told the number of a run finds it, over; the same key always gave the same one.
fn kept_word(told: &Told, all: &[Told], store: &mut dyn Store) -> Option<String> {
    let other = all.iter().find(|one| one.key.is_some() && one.key == told.key && one.number != told.number);
    if let Some(other) = other {
        return Some(format!("key {:?} gave runs #{} and #{}", told.key, told.number, other.number));
    }
    let submission = store.submission(&RunRef::Number(told.number)).unwrap();
    match submission {
        Some(one) if one.state.is_terminal() => None,
        Some(one) => Some(format!("run #{} was asked for and is {}", told.number, one.state.as_str())),
        None => Some(format!("run #{} was asked for and is not on record", told.number)),
    }
}
