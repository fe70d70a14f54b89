//! Pools: slots that the tasks of all runs share, and the line before them.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use runstone_core::record::{RunState, TaskState};
use runstone_core::service::record::{PoolRecord, PoolUse};
use runstone_core::store::{Applied, Change, NewTask, PoolAsk, Reuse, SettleTask, StartAttempt, Store, StoreError};

use super::Backend;
use super::driver::{Driver, end_run, failure, finish, new_run, project, settle, start, success, uuid};
use super::service::{open, sound};

fn declare(store: &mut Box<dyn Store>, pools: &[(&str, u32)]) {
    let pools: Vec<(String, u32)> = pools.iter().map(|(name, slots)| ((*name).to_owned(), *slots)).collect();
    store.declare_pools(&pools).unwrap();
}

fn asks(task: u32, number: u32, slots: u32, priority: i32) -> StartAttempt {
    let pool = Some(PoolAsk { name: "gpu".to_owned(), slots, priority });
    StartAttempt { pool, fingerprint: super::driver::fingerprint(&uuid().to_string()), ..start(task, number) }
}

fn full(driver: &mut Driver<'_>, start: StartAttempt) {
    assert_eq!(driver.apply(Change::Start(start)), Applied::Full);
}

fn gpu(store: &mut Box<dyn Store>) -> PoolRecord {
    store.pools().unwrap().into_iter().find(|pool| pool.name == "gpu").unwrap()
}

/// Run number and position of each.
fn places(uses: &[PoolUse]) -> Vec<(i64, u32)> {
    uses.iter().map(|one| (one.number, one.task)).collect()
}

pub(crate) fn slots_are_shared_by_all_runs(backend: &dyn Backend) {
    let mut run = new_run(&["a", "b"]);
    run.tasks[1] = NewTask { index: 1, step: "b".to_owned(), cell: "lr=0.1".to_owned() };
    let mut one = Driver::owning(backend, &project("hello"), &run);
    declare(&mut one.store, &[("gpu", 2), ("db", 1)]);
    let mut two = Driver::new(backend, &["a", "b"]);
    one.started(asks(0, 1, 1, 0));
    let started = one.now;
    two.started(asks(0, 1, 1, 3));
    full(&mut one, asks(1, 1, 1, 7));
    let waits = one.now;
    let pool = gpu(&mut two.store);
    assert_eq!((pool.slots, places(&pool.holders), places(&pool.waiting)), (2, vec![(1, 0), (2, 0)], vec![(1, 1)]));
    let holder = &pool.holders[0];
    assert_eq!((holder.run, holder.pipeline.as_str(), holder.name.as_str()), (one.owner.run, "p", "a"));
    assert_eq!((holder.slots, holder.priority, holder.since), (1, 0, started));
    assert_eq!(pool.holders[1].priority, 3);
    let waiter = &pool.waiting[0];
    assert_eq!((waiter.run, waiter.name.as_str()), (one.owner.run, "b[lr=0.1]"));
    assert_eq!((waiter.slots, waiter.priority, waiter.since), (1, 7, waits));
    let names: Vec<_> = two.store.pools().unwrap().into_iter().map(|pool| pool.name).collect();
    assert_eq!(names, ["db", "gpu"]);
    assert_eq!(one.tasks()[1].state, TaskState::Waiting);
    assert_eq!(one.tasks()[1].attempts, 0);

    // Slots are free with the end of the attempt that held them, however it ends and whatever becomes of its task.
    two.finished(failure(0, 1, TaskState::Retrying));
    one.started(asks(1, 1, 1, 7));
    assert!(gpu(&mut one.store).waiting.is_empty());
    full(&mut two, asks(0, 2, 1, 0));
    one.finished(success(0, 1, Vec::new()));
    two.started(asks(0, 2, 1, 0));
    one.sound();
    assert_eq!(backend.open(&project("other")).pools().unwrap(), []);
}

pub(crate) fn the_line_has_an_order(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &["a", "b", "c", "d"]);
    declare(&mut one.store, &[("gpu", 3)]);
    one.started(asks(0, 1, 2, 0));
    full(&mut one, asks(1, 1, 3, 0));
    full(&mut one, asks(2, 1, 1, 0));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(1, 1), (1, 2)], "a wide task is not overtaken by a narrow one");
    one.started(asks(3, 1, 1, 9));
    one.finished(success(0, 1, Vec::new()));
    full(&mut one, asks(2, 1, 1, 0));
    full(&mut one, asks(1, 1, 3, 0));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(1, 1), (1, 2)], "who asks again keeps its place");
    one.finished(success(3, 1, Vec::new()));
    full(&mut one, asks(2, 1, 1, 0));
    one.started(asks(1, 1, 3, 0));

    // A larger priority goes first from the moment it is asked with.
    let mut two = Driver::new(backend, &["a"]);
    two.now = one.now;
    full(&mut two, asks(0, 1, 1, 0));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(1, 2), (2, 0)]);
    full(&mut two, asks(0, 1, 1, 5));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(2, 0), (1, 2)]);
    one.sound();
}

pub(crate) fn a_task_that_is_decided_leaves_the_line(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &["a", "b", "c", "d", "e"]);
    declare(&mut one.store, &[("gpu", 1)]);
    let done = one.started(start(4, 1));
    one.finished(success(4, 1, Vec::new()));
    one.started(asks(0, 1, 1, 0));
    for task in 1..4 {
        full(&mut one, asks(task, 1, 1, 0));
    }
    one.apply(settle(1, TaskState::Cancelled));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(1, 2), (1, 3)]);
    let reuse = Reuse { attempt: done, fingerprint: super::driver::fingerprint("task 4"), node: None };
    let settle_reused = SettleTask { task: 2, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
    assert!(matches!(one.apply(Change::Settle(settle_reused)), Applied::Published { .. }));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(1, 3)]);
    one.started(start(3, 1));
    assert!(gpu(&mut one.store).waiting.is_empty(), "started without asking for slots");
    one.finished(success(3, 1, Vec::new()));
    one.finished(success(0, 1, Vec::new()));
    one.apply(end_run(RunState::Cancelled));
    let pool = gpu(&mut one.store);
    assert!(pool.holders.is_empty() && pool.waiting.is_empty());
    one.sound();
}

pub(crate) fn the_claim_comes_before_the_pool(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &["a", "b"]);
    declare(&mut one.store, &[("gpu", 1)]);
    let mut two = Driver::new(backend, &["a", "b"]);
    let claims = |start: StartAttempt| StartAttempt {
        claim: true,
        fingerprint: super::driver::fingerprint("the same"),
        ..start
    };
    one.started(asks(0, 1, 1, 0));
    full(&mut two, claims(asks(0, 1, 1, 0)));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(2, 0)]);
    one.started(claims(start(1, 1)));
    let busy = two.apply(Change::Start(claims(asks(0, 1, 1, 0))));
    assert!(matches!(busy, Applied::Busy(_)), "{busy:?}");
    assert!(gpu(&mut one.store).waiting.is_empty(), "it waits for the other run, and for no pool");
    full(&mut two, asks(1, 1, 1, 0));
    two.stale(Change::Start(asks(1, 2, 1, 0)));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(2, 1)]);
    one.sound();
}

pub(crate) fn pools_come_and_go(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &["a", "b", "c"]);
    full(&mut one, asks(0, 1, 1, 0));
    assert!(one.store.pools().unwrap().is_empty(), "what the project does not have grants nothing");
    declare(&mut one.store, &[("gpu", 0)]);
    full(&mut one, asks(0, 1, 1, 0));
    declare(&mut one.store, &[("gpu", 1)]);
    full(&mut one, asks(1, 1, 1, 0));
    assert_eq!(places(&gpu(&mut one.store).waiting), [(1, 0), (1, 1)]);
    one.started(asks(0, 1, 4, 0));
    assert_eq!(gpu(&mut one.store).holders[0].slots, 4, "wider than the pool, and alone in it");

    declare(&mut one.store, &[("db", 5)]);
    assert_eq!(one.store.pools().unwrap().len(), 2, "it is in use");
    one.finished(success(0, 1, Vec::new()));
    one.started(asks(1, 1, 1, 0));
    one.finished(success(1, 1, Vec::new()));
    let names: Vec<_> = one.store.pools().unwrap().into_iter().map(|pool| pool.name).collect();
    assert_eq!(names, ["db"], "nobody uses it any more");
    let twice = [("gpu".to_owned(), 1), ("gpu".to_owned(), 2)];
    assert!(matches!(one.store.declare_pools(&twice), Err(StoreError::Database { .. })));
    declare(&mut one.store, &[]);
    assert!(one.store.pools().unwrap().is_empty());
    one.sound();
}

pub(crate) fn runs_on_several_connections_never_hold_too_much(backend: &dyn Backend) {
    const SLOTS: u32 = 3;
    let mut store = open(backend);
    declare(&mut store, &[("gpu", SLOTS)]);
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let mut store = store.reopen().unwrap();
            std::thread::spawn(move || {
                let run = new_run(&["a", "b", "c", "d", "e", "f"]);
                store.create_run(&run).unwrap();
                let owner = runstone_core::store::Ownership { run: run.id, epoch: 1 };
                let now = || runstone_core::time::Timestamp(1);
                for task in 0..6 {
                    let start = asks(task, 1, 1 + (task + worker) % 3, 0);
                    while store.commit(owner, now(), &[Change::Start(start.clone())]).unwrap() == [Applied::Full] {}
                    let taken: u32 = gpu(&mut store).holders.iter().map(|one| one.slots).sum();
                    assert!(taken <= SLOTS, "{taken}");
                    store.commit(owner, now(), &[finish(success(task, 1, Vec::new()))]).unwrap();
                }
                store.commit(owner, now(), &[end_run(RunState::Succeeded)]).unwrap();
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let pool = gpu(&mut store);
    assert!(pool.holders.is_empty() && pool.waiting.is_empty(), "{pool:?}");
    sound(&mut store);
}

/// Which run, which of its tasks, with how many slots and which priority it starts, or how it ends where it lives.
type Step = (usize, u32, u32, i32, bool);

fn play(backend: &dyn Backend, slots: u32, steps: &[Step]) -> Result<(), TestCaseError> {
    let project = runstone_store::ProjectIdentity { uuid: uuid(), name: "pools".to_owned() };
    let mut drivers = [0; 2].map(|_| Driver::of(backend, &project, &["a", "b", "c", "d"]));
    declare(&mut drivers[0].store, &[("gpu", slots)]);
    for (at, &(run, task, wide, priority, ends)) in steps.iter().enumerate() {
        let driver = &mut drivers[run];
        let now = driver.tasks()[task as usize].clone();
        match now.state {
            TaskState::Assigned => {
                let next = if ends { TaskState::Failed } else { TaskState::Retrying };
                driver.finished(failure(task, now.attempts, next));
            }
            TaskState::Waiting | TaskState::Retrying if ends && at % 3 == 0 => {
                driver.apply(settle(task, TaskState::Cancelled));
            }
            TaskState::Waiting | TaskState::Retrying => {
                driver.apply(Change::Start(asks(task, now.attempts + 1, wide, priority)));
            }
            _ => {}
        }
        let pool = gpu(&mut drivers[0].store);
        let taken: u32 = pool.holders.iter().map(|one| one.slots.min(slots)).sum();
        prop_assert!(taken <= slots, "{pool:?}");
        let live = drivers.iter_mut().flat_map(Driver::tasks).filter(|task| task.state == TaskState::Assigned);
        prop_assert_eq!(live.count(), pool.holders.len());
    }
    prop_assert_eq!(drivers[0].store.check().unwrap(), Vec::<String>::new());
    // What waits is served once nothing holds it up.
    for driver in &mut drivers {
        for task in driver.tasks() {
            if task.state == TaskState::Assigned {
                driver.finished(failure(task.index, task.attempts, TaskState::Failed));
            }
        }
    }
    while let Some(first) = gpu(&mut drivers[0].store).waiting.first().cloned() {
        let driver = drivers.iter_mut().find(|driver| driver.owner.run == first.run).unwrap();
        let number = driver.tasks()[first.task as usize].attempts + 1;
        driver.started(asks(first.task, number, first.slots, first.priority));
        driver.finished(failure(first.task, number, TaskState::Failed));
    }
    Ok(())
}

pub(crate) fn random_use_of_a_pool_never_overfills_it(backend: &dyn Backend) {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 12 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let step = (0..2_usize, 0..4_u32, 1..4_u32, 0..2_i32, any::<bool>());
    let steps = (1..4_u32, prop::collection::vec(step, 1..30));
    if let Err(error) = runner.run(&steps, |(slots, steps)| play(backend, slots, &steps)) {
        panic!("{error}");
    }
}
