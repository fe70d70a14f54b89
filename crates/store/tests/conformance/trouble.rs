//! Several writers at once, readers beside them, and damage.

use runstone_core::record::{RunState, TaskState};
use runstone_core::store::{Applied, Change, StartAttempt, Store};
use runstone_core::time::Timestamp;

use super::Backend;
use super::driver::{Driver, end_run, fingerprint, finish, new_run, output, pin_task, project, start, success};

const WRITERS: u32 = 4;
const TASKS: u32 = 25;

/// Every writer runs its own run; all ask for the same 25 things.
fn work(mut store: Box<dyn Store>) -> u32 {
    let steps: Vec<String> = (0..TASKS).map(|n| format!("s{n}")).collect();
    let run = new_run(&steps.iter().map(String::as_str).collect::<Vec<_>>());
    store.create_run(&run).unwrap();
    let owner = runstone_core::store::Ownership { run: run.id, epoch: 1 };
    let mut executed = 0;
    for task in 0..TASKS {
        let intent = StartAttempt { claim: true, ..start(task, 1) };
        let applied = store.commit(owner, Timestamp(1), &[Change::Start(intent)]).unwrap();
        match applied[0] {
            Applied::Started { .. } => {
                let outputs = vec![output(&format!("d{task}"), "same")];
                let applied = store.commit(owner, Timestamp(2), &[finish(success(task, 1, outputs))]).unwrap();
                assert!(matches!(applied[0], Applied::Published { .. }));
                executed += 1;
            }
            Applied::Busy(_) => {
                let skip = super::driver::settle(task, TaskState::Skipped);
                assert_eq!(store.commit(owner, Timestamp(2), &[skip]).unwrap(), [Applied::Done]);
            }
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.commit(owner, Timestamp(3), &[end_run(RunState::Succeeded)]).unwrap(), [Applied::Done]);
    executed
}

pub(crate) fn writers_on_several_connections_lose_nothing(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let stores: Vec<_> = (0..WRITERS).map(|_| store.reopen().unwrap()).collect();
    let workers: Vec<_> = stores.into_iter().map(|store| std::thread::spawn(move || work(store))).collect();
    let executed: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert!(executed >= TASKS);
    let runs = store.runs(&runstone_core::store::RunFilter::default()).unwrap();
    let mut numbers: Vec<i64> = runs.iter().map(|run| run.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=i64::from(WRITERS)).collect::<Vec<_>>());
    let published: usize =
        (0..TASKS).map(|task| store.materializations(&format!("p/d{task}"), u32::MAX).unwrap().len()).sum();
    assert_eq!(published, executed as usize);
    assert!(store.datasets("").unwrap().iter().all(|dataset| dataset.versions == 1 && dataset.latest.len() == 1));
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

pub(crate) fn a_reader_sees_whole_batches_only(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let run = driver.owner.run;
    let mut reader = driver.store.reopen().unwrap();
    let reading = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 60 {
            let events = reader.events(run, 0).unwrap();
            let tasks = reader.tasks(run).unwrap();
            // Two are added in one batch: never one without the other.
            assert_eq!((events.len() - 1) % 2, 0);
            assert_eq!(tasks.len() % 2, 0);
            assert!(events.len() >= seen);
            seen = events.len();
        }
    });
    for n in 0..30 {
        let new = |index| runstone_core::store::NewTask { index, step: "x".to_owned(), cell: String::new() };
        let at = 2 + 2 * n;
        driver.commit(&[Change::AddTasks(vec![new(at)]), Change::AddTasks(vec![new(at + 1)])]);
    }
    reading.join().unwrap();
    driver.sound();
}

/// Each damage is planted in a sound record, on its own, and undone by the statement beside it. One that the database
/// refuses cannot come about.
const DAMAGE: &[(&str, &str)] = &[
    ("UPDATE task SET state = 'assigned' WHERE idx = 0", "UPDATE task SET state = 'succeeded' WHERE idx = 0"),
    ("UPDATE task SET state = 'waiting' WHERE idx = 0", "UPDATE task SET state = 'succeeded' WHERE idx = 0"),
    ("UPDATE task SET attempts = 2 WHERE idx = 1", "UPDATE task SET attempts = 1 WHERE idx = 1"),
    ("UPDATE task SET reason = 'x' WHERE idx = 1", "UPDATE task SET reason = NULL WHERE idx = 1"),
    ("UPDATE run SET state = 'failed'", "UPDATE run SET state = 'succeeded'"),
    ("UPDATE run SET epoch = 2", "UPDATE run SET epoch = 1"),
    (
        "UPDATE attempt SET state = 'running' WHERE task_idx = 1",
        "UPDATE attempt SET state = 'succeeded' WHERE task_idx = 1",
    ),
    ("UPDATE attempt SET cause = 'whim' WHERE task_idx = 1", "UPDATE attempt SET cause = 'exit' WHERE task_idx = 1"),
    ("UPDATE head SET mat_id = mat_id + 1000000", "UPDATE head SET mat_id = mat_id - 1000000"),
    ("UPDATE version SET number = 7 WHERE number = 1", "UPDATE version SET number = 1 WHERE number = 7"),
    ("UPDATE consumed SET mat_id = mat_id + 1000000", "UPDATE consumed SET mat_id = mat_id - 1000000"),
    (
        "UPDATE materialization SET version_id = version_id + 1000000",
        "UPDATE materialization SET version_id = version_id - 1000000",
    ),
    ("UPDATE metric SET attempt_id = attempt_id + 1000000", "UPDATE metric SET attempt_id = attempt_id - 1000000"),
    (
        "UPDATE event SET kind = 'x' WHERE kind = 'attempt_finished'",
        "UPDATE event SET kind = 'attempt_finished' WHERE kind = 'x'",
    ),
    ("UPDATE project SET runs = 0", "UPDATE project SET runs = 1"),
];

/// Damage that is planted for good, one after the other; each adds findings of its own.
const LOSSES: &[&str] = &[
    "DELETE FROM head",
    "DELETE FROM blob",
    "DELETE FROM derivation",
    "DELETE FROM event WHERE kind = 'attempt_finished'",
    "DELETE FROM version",
    "DELETE FROM attempt WHERE task_idx = 1",
    "DELETE FROM task WHERE idx = 0",
];

pub(crate) fn planted_damage_is_found(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    driver.executed(StartAttempt { fingerprint: fingerprint("a"), ..start(0, 1) }, vec![output("a", "A")]);
    driver.started(StartAttempt { pins: vec![pin_task("in", 0, "out")], ..start(1, 1) });
    let mut end = success(1, 1, vec![output("b", "B")]);
    end.metrics =
        vec![runstone_core::record::Metric { name: "m".to_owned(), slice: String::new(), value: 1.0, n: None }];
    driver.finished(end);
    driver.apply(end_run(RunState::Succeeded));
    driver.sound();
    for (damage, repair) in DAMAGE {
        if !backend.damage(damage) {
            continue;
        }
        let found = driver.store.reopen().unwrap().check();
        assert!(found.as_ref().map_or(true, |found| !found.is_empty()), "{damage}: {found:?}");
        assert!(backend.damage(repair), "{repair}");
        assert_eq!(driver.store.reopen().unwrap().check().unwrap(), Vec::<String>::new(), "after {repair}");
    }
    let mut before = Vec::new();
    for loss in LOSSES {
        assert!(backend.damage(loss), "{loss}");
        let found = driver.store.reopen().unwrap().check().unwrap();
        assert!(found.iter().any(|finding| !before.contains(finding)), "{loss}: {found:#?}");
        before = found;
    }
}
