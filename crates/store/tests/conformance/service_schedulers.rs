//! Schedulers: their leases, and what becomes of their runs when they are gone.

use runstone_core::record::{RunId, RunState, TaskState};
use runstone_core::service::record::{NewScheduler, SchedulerId, SchedulerState, SubmissionState};
use runstone_core::service::store::{Beat, HighWater};
use runstone_core::store::{Applied, Change, Ownership, RunRef, StoreError};

use super::Backend;
use super::driver::{failure, finish, start, uuid};
use super::service::{
    at, begun, claimed, declared, ended, look, open, registered, run_of, scheduler, sound, submission, taken,
};

pub(crate) fn a_scheduler_is_read_back_as_it_registered(backend: &dyn Backend) {
    let mut store = open(backend);
    let new = scheduler();
    let before = store.clock().unwrap();
    store.register(&new).unwrap();
    let after = store.clock().unwrap();
    let found = store.schedulers(0).unwrap();
    let [one] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (one.id, &one.host, one.pid, one.pid_start, &one.place),
        (new.id, &new.host, new.pid, new.pid_start, &new.place)
    );
    assert_eq!(
        (&one.version, one.store_marker, one.capacity, one.ttl_ms),
        (&new.version, new.store_marker, new.capacity, new.ttl_ms)
    );
    assert_eq!((one.state, one.expired), (SchedulerState::Active, false));
    assert!(before <= one.started && one.started <= after && one.seen == one.started, "{one:?}");
    assert!(store.register(&new).is_err(), "an identity is given once");
    let late = registered(&mut store);
    assert_eq!(store.schedulers(9).unwrap().iter().map(|one| one.id).collect::<Vec<_>>(), [late, new.id]);
    let mut other = backend.open(&super::driver::project("other"));
    assert!(other.schedulers(9).unwrap().is_empty());
    assert!(!other.bury(new.id, false).unwrap());
    assert_eq!(other.beat(new.id, SchedulerState::Active).unwrap(), Beat::Gone);
    sound(&mut store);
}

pub(crate) fn a_lease_is_renewed_until_its_scheduler_is_gone(backend: &dyn Backend) {
    let mut store = open(backend);
    let id = registered(&mut store);
    let state = |store: &mut Box<dyn runstone_core::store::Store>| {
        let found = store.schedulers(1).unwrap();
        (found[0].state, found[0].seen)
    };
    let (_, first) = state(&mut store);
    assert_eq!(store.beat(id, SchedulerState::Active).unwrap(), Beat::Renewed);
    let (active, second) = state(&mut store);
    assert!(active == SchedulerState::Active && second >= first);
    assert_eq!(store.beat(id, SchedulerState::Draining).unwrap(), Beat::Renewed);
    assert_eq!(store.beat(id, SchedulerState::Active).unwrap(), Beat::Renewed);
    assert_eq!(state(&mut store).0, SchedulerState::Draining, "draining is not taken back");
    assert!(!store.bury(id, true).unwrap(), "its lease runs");
    assert!(store.bury(id, false).unwrap());
    assert!(!store.bury(id, false).unwrap(), "gone is gone");
    let (_, last) = state(&mut store);
    assert_eq!(store.beat(id, SchedulerState::Active).unwrap(), Beat::Gone);
    assert_eq!(state(&mut store), (SchedulerState::Gone, last));
    assert_eq!(store.beat(SchedulerId(uuid()), SchedulerState::Active).unwrap(), Beat::Gone, "never heard of");
    sound(&mut store);
}

pub(crate) fn only_a_lease_that_ran_out_is_buried_unasked(backend: &dyn Backend) {
    let mut store = open(backend);
    let dead = NewScheduler { ttl_ms: 0, ..scheduler() };
    store.register(&dead).unwrap();
    let alive = registered(&mut store);
    let expired: Vec<_> = store.schedulers(0).unwrap().iter().filter(|one| one.expired).map(|one| one.id).collect();
    assert_eq!(expired, [dead.id]);
    assert!(store.bury(dead.id, true).unwrap());
    assert!(!store.bury(alive, true).unwrap());
    assert!(store.schedulers(9).unwrap().iter().all(|one| !one.expired), "who is gone is not expired");
    assert_eq!(store.schedulers(0).unwrap().len(), 1);
    for _ in 0..3 {
        let gone = registered(&mut store);
        store.bury(gone, false).unwrap();
    }
    assert_eq!(store.schedulers(2).unwrap().len(), 3, "all that are not gone, and the last two that are");
    sound(&mut store);
}

pub(crate) fn who_may_not_claim_gets_nothing(backend: &dyn Backend) {
    let mut store = open(backend);
    let run = submission("p");
    store.submit(&run, at(200)).unwrap();
    let expired = NewScheduler { ttl_ms: 0, ..scheduler() };
    store.register(&expired).unwrap();
    let draining = registered(&mut store);
    store.beat(draining, SchedulerState::Draining).unwrap();
    let gone = registered(&mut store);
    store.bury(gone, false).unwrap();
    let before = backend.dump();
    for id in [expired.id, draining, gone, SchedulerId(uuid())] {
        assert_eq!(store.claim(run.run, id, at(300)).unwrap(), None);
    }
    assert_eq!(backend.dump(), before);
    let good = registered(&mut store);
    assert_eq!(store.claim(RunId(uuid()), good, at(300)).unwrap(), None, "an unknown run");
    assert!(store.claim(run.run, good, at(300)).unwrap().is_some());
    sound(&mut store);
}

pub(crate) fn of_two_claimants_one_wins(backend: &dyn Backend) {
    let mut store = open(backend);
    let runs: Vec<_> = (0..20).map(|_| submission("p")).collect();
    for run in &runs {
        store.submit(run, at(200)).unwrap();
    }
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (mut store, runs) = (store.reopen().unwrap(), runs.clone());
            std::thread::spawn(move || {
                let me = registered(&mut store);
                runs.iter().filter(|run| store.claim(run.run, me, at(300)).unwrap().is_some()).count()
            })
        })
        .collect();
    let won: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(won, runs.len());
    let live = store.live_submissions(9).unwrap();
    assert!(live.iter().all(|one| one.state == SubmissionState::Claimed && one.claims == 1), "{live:?}");
    sound(&mut store);
}

pub(crate) fn what_a_dead_scheduler_ran_gets_a_new_owner(backend: &dyn Backend) {
    let mut store = open(backend);
    let (one, two) = (registered(&mut store), registered(&mut store));
    let (running, waiting) = (submission("p"), submission("p"));
    let first = taken(&mut store, &running, one);
    let owner = begun(&mut store, &first, &["a"]);
    let unbegun = taken(&mut store, &waiting, one);
    assert_eq!(store.claim(running.run, two, at(300)).unwrap(), None, "its scheduler is alive");
    assert_eq!(store.claim(waiting.run, two, at(300)).unwrap(), None);

    assert!(store.bury(one, false).unwrap());
    let queued = look(&mut store, waiting.run);
    assert_eq!((queued.state, queued.scheduler), (SubmissionState::Queued, None));
    let orphan = look(&mut store, running.run);
    assert_eq!((orphan.state, orphan.scheduler), (SubmissionState::Running, Some(one)));
    let stale = run_of(&unbegun, &["a"]);
    assert!(matches!(store.create_run(&stale), Err(StoreError::LostOwnership { run }) if run == waiting.run));
    assert!(store.commit(owner, at(301), &[]).is_ok(), "nobody has claimed it yet");

    let second = claimed(&mut store, running.run, two);
    let new_owner = second.owner.unwrap();
    assert_eq!((new_owner.run, new_owner.epoch), (running.run, 2));
    assert_eq!((second.claim.claims, second.submission.scheduler), (2, Some(two)));
    assert_eq!(second.submission, look(&mut store, running.run));
    assert!(matches!(store.commit(owner, at(302), &[]), Err(StoreError::LostOwnership { .. })));
    assert!(!store.release(first.claim, at(302)).unwrap(), "the old claim is void");
    let events = store.events(running.run, 0).unwrap();
    let taken_over = events.last().unwrap();
    assert_eq!(taken_over.kind, "run_taken_over");
    assert_eq!(taken_over.body, serde_json::json!({"epoch": 2, "reopened": false}));
    ended(&mut store, new_owner, 1, RunState::Succeeded);
    let over = look(&mut store, running.run);
    assert_eq!((over.state, over.run_state), (SubmissionState::Done, Some(RunState::Succeeded)));
    assert_eq!(store.claim(running.run, two, at(500)).unwrap(), None, "it is over");
    sound(&mut store);
}

pub(crate) fn a_claim_whose_answer_was_lost_is_made_again(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let run = submission("p");
    let first = taken(&mut store, &run, me);
    let second = claimed(&mut store, run.run, me);
    assert_eq!((first.claim.claims, second.claim.claims), (1, 2));
    assert!(matches!(store.create_run(&run_of(&first, &[])), Err(StoreError::LostOwnership { .. })));
    let owner = begun(&mut store, &second, &[]);
    let third = claimed(&mut store, run.run, me);
    assert_eq!(third.owner.map(|owner| owner.epoch), Some(2));
    assert!(matches!(store.commit(owner, at(301), &[]), Err(StoreError::LostOwnership { .. })));
    ended(&mut store, third.owner.unwrap(), 0, RunState::Succeeded);
    sound(&mut store);
}

pub(crate) fn a_released_run_goes_to_whoever_claims_it(backend: &dyn Backend) {
    let mut store = open(backend);
    let (one, two) = (registered(&mut store), registered(&mut store));
    let (running, waiting) = (submission("p"), submission("p"));
    let unbegun = taken(&mut store, &waiting, one);
    assert!(store.release(unbegun.claim, at(310)).unwrap());
    assert!(!store.release(unbegun.claim, at(311)).unwrap());
    assert!(!store.fail_submission(unbegun.claim, "too late", at(311)).unwrap());
    assert!(matches!(store.create_run(&run_of(&unbegun, &[])), Err(StoreError::LostOwnership { .. })));
    assert_eq!(look(&mut store, waiting.run).state, SubmissionState::Queued);

    let first = taken(&mut store, &running, one);
    begun(&mut store, &first, &[]);
    assert!(!store.fail_submission(first.claim, "it has begun", at(311)).unwrap());
    assert!(store.release(first.claim, at(312)).unwrap());
    let free = look(&mut store, running.run);
    assert_eq!((free.state, free.scheduler), (SubmissionState::Running, None));
    let second = claimed(&mut store, running.run, two);
    assert_eq!(second.owner.map(|owner| owner.epoch), Some(2));
    ended(&mut store, second.owner.unwrap(), 0, RunState::Failed);
    sound(&mut store);
}

pub(crate) fn a_run_that_cannot_begin_is_failed(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let run = submission("p");
    let claim = taken(&mut store, &run, me);
    assert!(store.fail_submission(claim.claim, "no such step", at(310)).unwrap());
    let failed = look(&mut store, run.run);
    assert_eq!((failed.state, failed.ended), (SubmissionState::Failed, Some(at(310))));
    assert_eq!(failed.reason.as_deref(), Some("no such step"));
    assert!(matches!(store.create_run(&run_of(&claim, &[])), Err(StoreError::LostOwnership { .. })));
    assert_eq!(store.run(&RunRef::Prefix(run.run.to_string())).unwrap(), None);
    assert_eq!(store.claim(run.run, me, at(311)).unwrap(), None);
    sound(&mut store);
}

pub(crate) fn a_run_taken_over_by_hand_is_nobody_elses(backend: &dyn Backend) {
    let mut store = open(backend);
    let (one, two) = (registered(&mut store), registered(&mut store));
    let run = submission("p");
    let claim = taken(&mut store, &run, one);
    let old = begun(&mut store, &claim, &["a"]);
    let mine = store.take_over(run.run, false, at(320)).unwrap().unwrap();
    let done = look(&mut store, run.run);
    assert_eq!((done.state, done.reason.as_deref()), (SubmissionState::Done, Some("taken over by hand")));
    assert_eq!(done.run_state, Some(RunState::Running));
    assert!(matches!(store.commit(old, at(321), &[]), Err(StoreError::LostOwnership { .. })));
    store.bury(one, false).unwrap();
    assert_eq!(store.claim(run.run, two, at(322)).unwrap(), None);
    sound(&mut store);
    ended(&mut store, mine, 1, RunState::Failed);
    // A run that is over may be taken up again, and its submission stays as it is.
    assert!(store.take_over(run.run, true, at(500)).unwrap().is_some());
    assert_eq!(look(&mut store, run.run).ended, done.ended);
    sound(&mut store);
}

pub(crate) fn a_record_that_lost_something_gives_no_number_twice(backend: &dyn Backend) {
    let mut store = open(backend);
    let empty = store.high_water().unwrap();
    assert_eq!((empty.runs, empty.schedules), (0, 0));
    let me = registered(&mut store);
    let claim = taken(&mut store, &submission("p"), me);
    let owner = begun(&mut store, &claim, &["a"]);
    store.commit(owner, at(300), &[Change::Start(start(0, 1))]).unwrap();
    store.declare("", &[declared("p", &[("s", "* * * * *")])], &[], at(300)).unwrap();
    let once = store.high_water().unwrap();
    assert!(empty.is_behind(&once) && !once.is_behind(&empty), "{once:?}");
    let rev = store.schedules_rev().unwrap();
    assert_eq!((once.runs, once.schedules), (1, rev));

    let to = HighWater { runs: 41, nodes: once.nodes + 1_000, schedules: rev + 10 };
    store.raise(&to).unwrap();
    store.raise(&once).unwrap();
    let raised = store.high_water().unwrap();
    assert_eq!((raised.runs, raised.schedules), (to.runs, to.schedules), "never lowered");
    assert_eq!(store.schedules_rev().unwrap(), rev, "the largest that is to be read");
    assert_eq!(store.submit(&submission("p"), at(301)).unwrap().number, 42);
    store.take_over(owner.run, false, at(302)).unwrap();
    let owner = Ownership { epoch: 2, ..owner };
    let failed = failure(0, 1, TaskState::Retrying);
    let applied = store.commit(owner, at(303), &[finish(failed), Change::Start(start(0, 2))]).unwrap();
    let Applied::Started { attempt } = applied[1] else { panic!("{applied:?}") };
    assert!(attempt.0 > to.nodes);
    store.declare("", &[declared("p", &[("s", "*/2 * * * *")])], &[], at(304)).unwrap();
    assert!(store.schedules_rev().unwrap() > to.schedules);
    assert_eq!(store.schedules(rev).unwrap().len(), 1);
    sound(&mut store);
}
