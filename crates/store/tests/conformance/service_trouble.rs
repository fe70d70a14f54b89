//! Damage to what is on record of the service, and guards against it.

use runstone_core::record::RunState;
use runstone_core::service::record::{NewBackfill, Overlap};
use runstone_core::store::{PoolAsk, StartAttempt};

use super::Backend;
use super::driver::{Driver, start, uuid};
use super::service::{
    at, begun, decision, ended, grouped, registered, skips, submission, submits, taken, with_schedules,
};

/// Each damage is planted in a sound record, on its own, and undone by the statement beside it. One that the database
/// refuses cannot come about.
const DAMAGE: &[(&str, &str)] = &[
    (
        "UPDATE submission SET state = 'done' WHERE number = 2",
        "UPDATE submission SET state = 'running' WHERE number = 2",
    ),
    (
        "UPDATE submission SET state = 'running' WHERE number = 1",
        "UPDATE submission SET state = 'done' WHERE number = 1",
    ),
    (
        "UPDATE submission SET state = 'running' WHERE number = 3",
        "UPDATE submission SET state = 'claimed' WHERE number = 3",
    ),
    (
        "UPDATE submission SET state = 'claimed' WHERE number = 2",
        "UPDATE submission SET state = 'running' WHERE number = 2",
    ),
    ("UPDATE submission SET claims = 0 WHERE number = 3", "UPDATE submission SET claims = 1 WHERE number = 3"),
    ("UPDATE submission SET number = 77 WHERE number = 2", "UPDATE submission SET number = 2 WHERE number = 77"),
    ("UPDATE scheduler SET state = 'gone'", "UPDATE scheduler SET state = 'active'"),
    ("UPDATE backfill SET state = 'done'", "UPDATE backfill SET state = 'active'"),
    ("UPDATE backfill SET next = 2", "UPDATE backfill SET next = 1"),
    ("UPDATE project SET schedule_rev = 0", "UPDATE project SET schedule_rev = 1"),
    ("UPDATE fire SET generation = 9 WHERE count = 1", "UPDATE fire SET generation = 1 WHERE count = 1"),
    ("UPDATE fire SET schedule_id = schedule_id + 1000", "UPDATE fire SET schedule_id = schedule_id - 1000"),
];

/// Damage that is planted for good, one after the other; each adds findings of its own.
const LOSSES: &[&str] = &[
    "DELETE FROM submission WHERE number = 5",
    "DELETE FROM backfill",
    "DELETE FROM scheduler",
    "DELETE FROM pipeline",
    "DELETE FROM schedule",
];

pub(crate) fn planted_damage_of_the_service_is_found(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a"]);
    let me = registered(&mut store);
    let over = taken(&mut store, &submission("p"), me);
    let over = begun(&mut store, &over, &["a"]);
    ended(&mut store, over, 1, RunState::Succeeded);
    let running = taken(&mut store, &submission("p"), me);
    begun(&mut store, &running, &["a"]);
    taken(&mut store, &submission("p"), me);
    let template = submission("p");
    let partitions = vec!["x".to_owned(), "y".to_owned(), "z".to_owned()];
    let backfill = NewBackfill { id: uuid(), partitions, parallel: 1, template };
    store.create_backfill(&backfill, at(200)).unwrap();
    store.advance_backfill(backfill.id, at(201)).unwrap();
    let fire = decision(&schedules[0], at(160), submits(grouped("p"), Overlap::Queue));
    let mut row = decision(&schedules[0], at(220), skips("late", 3));
    (row.cursor, row.until) = (at(160), at(340));
    store.decide_fires(&[fire, row], at(350)).unwrap();
    super::service::sound(&mut store);
    for (damage, repair) in DAMAGE {
        if !backend.damage(damage) {
            continue;
        }
        let found = store.reopen().unwrap().check();
        assert!(found.as_ref().map_or(true, |found| !found.is_empty()), "{damage}: {found:?}");
        assert!(backend.damage(repair), "{repair}");
        assert_eq!(store.reopen().unwrap().check().unwrap(), Vec::<String>::new(), "after {repair}");
    }
    let mut before = Vec::new();
    for loss in LOSSES {
        assert!(backend.damage(loss), "{loss}");
        let found = store.reopen().unwrap().check().unwrap();
        assert!(found.iter().any(|finding| !before.contains(finding)), "{loss}: {found:#?}");
        before = found;
    }
}

pub(crate) fn a_pool_that_holds_too_much_is_found(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    driver.store.declare_pools(&[("gpu".to_owned(), 2)]).unwrap();
    for task in 0..2 {
        let pool = Some(PoolAsk { name: "gpu".to_owned(), slots: 1, priority: 0 });
        driver.started(StartAttempt { pool, ..start(task, 1) });
    }
    driver.sound();
    assert!(backend.damage("UPDATE attempt SET slots = 2 WHERE task_idx = 1"));
    assert_eq!(driver.store.check().unwrap().len(), 1);
    assert!(backend.damage("UPDATE attempt SET slots = 1 WHERE task_idx = 1"));
    driver.sound();
}
