//! Backfills: many partitions, a few at a time, whoever submits them.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{
    BackfillRecord, BackfillState, NewBackfill, NewSubmission, SchedulerId, SubmissionState,
};
use runstone_core::store::{RunRef, Store, StoreError};
use uuid::Uuid;

use super::Backend;
use super::driver::{project, uuid};
use super::service::{at, begun, claimed, ended, look, open, registered, sound, submission};

fn backfill(partitions: u32, parallel: u32) -> NewBackfill {
    let template = NewSubmission { trigger: "backfill".to_owned(), priority: -1, ..submission("p") };
    // Not in the order of names: the order given is what counts.
    let partitions = (0..partitions).rev().map(|day| format!("2026-01-{:02}", day + 1)).collect();
    NewBackfill { id: uuid(), partitions, parallel, template }
}

fn read(store: &mut Box<dyn Store>, id: Uuid) -> BackfillRecord {
    store.backfills(false).unwrap().into_iter().find(|one| one.id == id).unwrap()
}

fn live(store: &mut Box<dyn Store>) -> Vec<RunId> {
    store.live_submissions(u32::MAX).unwrap().iter().map(|one| one.run).collect()
}

/// Runs what is live to its end.
fn run_all(store: &mut Box<dyn Store>, me: SchedulerId) {
    for run in live(store) {
        let claim = claimed(store, run, me);
        let owner = begun(store, &claim, &[]);
        ended(store, owner, 0, RunState::Succeeded);
    }
}

pub(crate) fn a_backfill_runs_its_partitions_in_order_a_few_at_a_time(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let new = backfill(5, 2);
    store.create_backfill(&new, at(100)).unwrap();
    let record = read(&mut store, new.id);
    assert_eq!((record.pipeline.as_str(), record.state, record.parallel), ("p", BackfillState::Active, 2));
    assert_eq!((&record.partitions, record.live, record.user.as_str()), (&new.partitions, 0, "ada"));
    assert_eq!((record.created, record.ended, &record.submitted[..]), (at(100), None, &[][..]));

    assert_eq!(store.advance_backfill(new.id, at(200)).unwrap(), 2);
    assert_eq!(store.advance_backfill(new.id, at(201)).unwrap(), 0, "two are live");
    let first = store.live_submissions(9).unwrap().remove(0);
    assert_eq!((first.partition.as_deref(), first.backfill), (Some("2026-01-05"), Some(new.id)));
    assert_eq!((first.trigger.as_str(), first.priority, first.created), ("backfill", -1, at(200)));
    assert_eq!((&first.params, &first.request), (&new.template.params, &new.template.request));
    assert_eq!(first.environment, new.template.environment);
    let text = new.template.definition.clone().unwrap();
    assert_eq!(first.definition, ContentHash::of(text.as_bytes()));
    assert_eq!(first.definition_path, new.template.definition_path);
    assert_eq!(first.run.0.get_version_num(), 7);

    let claim = claimed(&mut store, first.run, me);
    let owner = begun(&mut store, &claim, &[]);
    let run = store.run(&RunRef::Prefix(first.run.to_string())).unwrap().unwrap();
    assert_eq!(run.partition.as_deref(), Some("2026-01-05"));
    let items = read(&mut store, new.id).submitted;
    assert_eq!((items[0].state, items[0].run_state), (SubmissionState::Running, Some(RunState::Running)));
    ended(&mut store, owner, 0, RunState::Failed);
    assert_eq!(store.advance_backfill(new.id, at(202)).unwrap(), 1, "one is over, however it ended");
    let record = read(&mut store, new.id);
    assert_eq!(record.live, 2);
    let told: Vec<_> = record.submitted.iter().map(|item| (item.partition.as_str(), item.number)).collect();
    assert_eq!(told, [("2026-01-05", 1), ("2026-01-04", 2), ("2026-01-03", 3)]);
    run_all(&mut store, me);
    assert_eq!(store.advance_backfill(new.id, at(203)).unwrap(), 2);
    assert_eq!(read(&mut store, new.id).state, BackfillState::Active);
    run_all(&mut store, me);
    assert_eq!(store.advance_backfill(new.id, at(204)).unwrap(), 0);
    let record = read(&mut store, new.id);
    assert_eq!((record.state, record.ended, record.live), (BackfillState::Done, Some(at(204)), 0));
    assert_eq!(record.submitted.len(), 5);
    assert_eq!(store.advance_backfill(new.id, at(205)).unwrap(), 0);
    assert!(!store.set_backfill(new.id, BackfillState::Paused, at(206)).unwrap(), "it is over");
    sound(&mut store);
}

pub(crate) fn several_schedulers_advance_a_backfill_together(backend: &dyn Backend) {
    let mut store = open(backend);
    let new = backfill(20, 3);
    store.create_backfill(&new, at(100)).unwrap();
    let stores: Vec<_> = (0..3).map(|_| store.reopen().unwrap()).collect();
    let workers: Vec<_> = stores
        .into_iter()
        .map(|mut store| {
            std::thread::spawn(move || {
                let me = registered(&mut store);
                let mut submitted = 0;
                while read(&mut store, new.id).state == BackfillState::Active {
                    submitted += store.advance_backfill(new.id, at(200)).unwrap();
                    let record = read(&mut store, new.id);
                    assert!(record.live <= 3, "{record:?}");
                    for run in live(&mut store) {
                        let Some(claim) = store.claim(run, me, at(300)).unwrap() else { continue };
                        let owner = begun(&mut store, &claim, &[]);
                        ended(&mut store, owner, 0, RunState::Succeeded);
                    }
                }
                submitted
            })
        })
        .collect();
    let submitted: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(submitted, 20);
    let record = read(&mut store, new.id);
    let partitions: Vec<&String> = record.submitted.iter().map(|item| &item.partition).collect();
    assert_eq!(partitions, new.partitions.iter().collect::<Vec<_>>(), "each once, in order");
    sound(&mut store);
}

pub(crate) fn a_paused_backfill_submits_nothing(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let new = backfill(3, 1);
    store.create_backfill(&new, at(100)).unwrap();
    store.advance_backfill(new.id, at(200)).unwrap();
    assert!(store.set_backfill(new.id, BackfillState::Paused, at(201)).unwrap());
    assert!(!store.set_backfill(new.id, BackfillState::Paused, at(202)).unwrap());
    assert_eq!(store.backfills(true).unwrap()[0].state, BackfillState::Paused);
    assert!(store.active_backfills().unwrap().is_empty());
    run_all(&mut store, me);
    assert_eq!(store.advance_backfill(new.id, at(203)).unwrap(), 0);
    assert!(store.set_backfill(new.id, BackfillState::Active, at(204)).unwrap());
    assert_eq!(store.active_backfills().unwrap(), [new.id]);
    assert_eq!(store.advance_backfill(new.id, at(205)).unwrap(), 1);
    assert!(!store.set_backfill(uuid(), BackfillState::Paused, at(206)).unwrap());
    sound(&mut store);
}

pub(crate) fn a_cancelled_backfill_ends_its_runs(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let new = backfill(9, 3);
    store.create_backfill(&new, at(100)).unwrap();
    store.advance_backfill(new.id, at(200)).unwrap();
    let runs = live(&mut store);
    let running = claimed(&mut store, runs[0], me);
    let owner = begun(&mut store, &running, &[]);
    let unbegun = claimed(&mut store, runs[1], me);
    assert!(store.set_backfill(new.id, BackfillState::Cancelled, at(210)).unwrap());
    let record = read(&mut store, new.id);
    assert_eq!((record.state, record.ended, record.live), (BackfillState::Cancelled, Some(at(210)), 2));
    assert_eq!(look(&mut store, runs[2]).state, SubmissionState::Cancelled);
    let mut asked = store.cancel_requests(&runs).unwrap();
    asked.sort_unstable();
    assert_eq!(asked, [(runs[0], "graceful".to_owned()), (runs[1], "graceful".to_owned())]);
    assert_eq!(store.advance_backfill(new.id, at(211)).unwrap(), 0);
    assert!(!store.set_backfill(new.id, BackfillState::Active, at(212)).unwrap());
    assert!(store.backfills(true).unwrap().is_empty());
    assert!(store.active_backfills().unwrap().is_empty());
    sound(&mut store);
    assert!(store.release(unbegun.claim, at(213)).unwrap());
    ended(&mut store, owner, 0, RunState::Cancelled);
    assert_eq!(read(&mut store, new.id).live, 0);
    sound(&mut store);
}

pub(crate) fn backfills_that_make_no_sense_are_refused(backend: &dyn Backend) {
    let mut store = open(backend);
    let good = backfill(2, 1);
    let before = backend.dump();
    let twice = NewBackfill { partitions: vec!["a".to_owned(), "a".to_owned()], ..good.clone() };
    let unknown = NewSubmission { definition: None, ..submission("nobody") };
    for bad in [twice, NewBackfill { parallel: 0, ..good.clone() }, NewBackfill { template: unknown, ..good.clone() }] {
        assert!(matches!(store.create_backfill(&bad, at(100)), Err(StoreError::Database { .. })));
    }
    assert_eq!(backend.dump(), before);
    store.create_backfill(&good, at(100)).unwrap();
    assert!(store.create_backfill(&good, at(101)).is_err(), "an identity is given once");
    let nothing = NewBackfill { partitions: Vec::new(), ..backfill(0, 1) };
    store.create_backfill(&nothing, at(102)).unwrap();
    let order: Vec<Uuid> = store.backfills(false).unwrap().iter().map(|one| one.id).collect();
    assert_eq!(order, [nothing.id, good.id], "newest first");
    assert_eq!(store.advance_backfill(nothing.id, at(103)).unwrap(), 0);
    assert_eq!(read(&mut store, nothing.id).state, BackfillState::Done);
    let mut other = backend.open(&project("other"));
    assert!(other.backfills(false).unwrap().is_empty());
    assert_eq!(other.advance_backfill(good.id, at(104)).unwrap(), 0);
    assert!(!other.set_backfill(good.id, BackfillState::Paused, at(104)).unwrap());
    sound(&mut store);
}
