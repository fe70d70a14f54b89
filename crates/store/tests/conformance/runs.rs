//! Runs: numbers, owners, cancellation, and how they are found.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunEnvironment, RunId, RunState, TaskState};
use runstone_core::store::{Applied, Change, NewTask, Ownership, RunFilter, RunRef, StoreError, VersionRef, WalkLimit};
use runstone_core::time::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::Backend;
use super::driver::{
    Driver, end_run, failure, fingerprint, finish, new_run, output, pin_node, project, settle, start, success,
};

pub(crate) fn numbers_grow_within_a_project(backend: &dyn Backend) {
    let mut one = backend.open(&project("one"));
    let mut two = backend.open(&project("two"));
    let numbers = [
        one.create_run(&new_run(&[])).unwrap(),
        two.create_run(&new_run(&[])).unwrap(),
        one.create_run(&new_run(&["a"])).unwrap(),
        one.reopen().unwrap().create_run(&new_run(&[])).unwrap(),
        two.create_run(&new_run(&[])).unwrap(),
    ];
    assert_eq!(numbers, [1, 1, 2, 3, 2]);
}

pub(crate) fn a_run_is_read_back_as_it_was_given(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let mut given = new_run(&["a", "b"]);
    given.params = json!({"text": "Grüße \u{1F980}", "list": [1, 2.5, null, true]});
    given.request = json!({"only": ["a"]});
    given.environment = RunEnvironment {
        tool_version: "0.1.0".to_owned(),
        platform: "linux-x86_64".to_owned(),
        user: "ada".to_owned(),
        host: "engine".to_owned(),
        git_commit: Some("c0ffee".to_owned()),
        git_dirty: Some(true),
    };
    given.tasks[1].cell = "lr=0.1,seed=1".to_owned();
    let number = store.create_run(&given).unwrap();
    let run = store.run(&RunRef::Number(number)).unwrap().unwrap();
    assert_eq!((run.id, run.number, run.epoch, run.state), (given.id, number, 1, RunState::Running));
    assert_eq!(
        (&run.pipeline, &run.definition_path, &run.trigger),
        (&given.pipeline, &given.definition_path, &given.trigger)
    );
    assert_eq!((&run.params, &run.request, &run.environment), (&given.params, &given.request, &given.environment));
    assert_eq!((run.created, run.ended, run.store_marker), (given.created, None, given.store_marker));
    assert_eq!((run.reason, run.cancel), (None, None));
    assert_eq!(run.definition, ContentHash::of(given.definition.as_bytes()));
    assert_eq!(store.definition(&run.definition).unwrap(), Some(given.definition));
    assert_eq!(store.definition(&ContentHash::of(b"unknown")).unwrap(), None);
    let tasks = store.tasks(given.id).unwrap();
    for (task, new) in tasks.iter().zip(&given.tasks) {
        assert_eq!((task.run, task.index, &task.step, &task.cell), (given.id, new.index, &new.step, &new.cell));
        assert_eq!((task.state, task.attempts, task.attempt), (TaskState::Waiting, 0, None));
    }
    assert_eq!(tasks.len(), 2);
}

pub(crate) fn runs_are_found_by_number_prefix_and_age(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    assert_eq!(store.run(&RunRef::Latest).unwrap(), None);
    let mut ids = Vec::new();
    for id in [0xaaaa_bbbb_u128, 0xaaaa_cccc, 0x1234_5678] {
        let mut run = new_run(&[]);
        run.id = RunId(Uuid::from_u128(id << 96));
        store.create_run(&run).unwrap();
        ids.push(run.id);
    }
    let mut found = |which: RunRef| store.run(&which).unwrap().map(|run| run.id);
    assert_eq!(found(RunRef::Latest), Some(ids[2]));
    assert_eq!(found(RunRef::Number(2)), Some(ids[1]));
    assert_eq!(found(RunRef::Number(4)), None);
    assert_eq!(found(RunRef::Number(-1)), None);
    let mut prefix = |text: &str| found(RunRef::Prefix(text.to_owned()));
    assert_eq!(prefix("aaaab"), Some(ids[0]));
    assert_eq!(prefix("AAAA-CCC"), Some(ids[1]));
    assert_eq!(prefix(&ids[2].to_string()), Some(ids[2]));
    for nothing in ["", "123", "99999", "aaaabx", "1234%", "____", &"1".repeat(40)] {
        assert_eq!(prefix(nothing), None, "{nothing:?}");
    }
}

pub(crate) fn an_ambiguous_prefix_names_its_candidates(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    for id in [0xaaaa_bbbb_u128, 0xaaaa_cccc] {
        let mut run = new_run(&[]);
        run.id = RunId(Uuid::from_u128(id << 96));
        store.create_run(&run).unwrap();
    }
    let Err(StoreError::Ambiguous { what, given, candidates }) = store.run(&RunRef::Prefix("aaaa".to_owned())) else {
        panic!("not ambiguous");
    };
    assert_eq!((what, given.as_str(), candidates.len()), ("run", "aaaa", 2));
    assert!(candidates[0].contains("#1") && candidates[1].contains("#2"), "{candidates:?}");
}

pub(crate) fn lists_are_filtered_and_newest_first(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    driver.apply(end_run(RunState::Succeeded));
    driver.create(&{
        let mut other = new_run(&[]);
        other.pipeline = "other".to_owned();
        other
    });
    driver.run(&[]);
    let mut numbers =
        |filter: RunFilter| -> Vec<i64> { driver.store.runs(&filter).unwrap().iter().map(|run| run.number).collect() };
    assert_eq!(numbers(RunFilter::default()), [3, 2, 1]);
    assert_eq!(numbers(RunFilter { limit: Some(2), ..RunFilter::default() }), [3, 2]);
    assert_eq!(numbers(RunFilter { limit: Some(0), ..RunFilter::default() }), [] as [i64; 0]);
    assert_eq!(numbers(RunFilter { pipeline: Some("p".to_owned()), ..RunFilter::default() }), [3, 1]);
    assert_eq!(numbers(RunFilter { state: Some(RunState::Running), ..RunFilter::default() }), [3, 2]);
    let both = RunFilter { pipeline: Some("p".to_owned()), state: Some(RunState::Running), limit: Some(5) };
    assert_eq!(numbers(both), [3]);
}

pub(crate) fn a_new_owner_ends_the_old_ones_rights(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let run = driver.owner.run;
    driver.started(start(0, 1));
    let mut other = driver.store.reopen().unwrap();
    let taken = other.take_over(run, false, driver.now).unwrap();
    assert_eq!(taken, Some(Ownership { run, epoch: 2 }));

    let before = backend.dump();
    let late = [finish(success(0, 1, vec![output("a", "late")])), settle(1, TaskState::Skipped)];
    assert!(matches!(driver.try_commit(&late), Err(StoreError::LostOwnership { run: lost }) if lost == run));
    assert!(matches!(driver.try_commit(&[]), Err(StoreError::LostOwnership { .. })));
    driver.owner.epoch = 3;
    assert!(matches!(driver.try_commit(&late), Err(StoreError::LostOwnership { .. })));
    driver.owner = Ownership { run: RunId(Uuid::from_u128(7)), epoch: 1 };
    assert!(matches!(driver.try_commit(&late), Err(StoreError::LostOwnership { .. })));
    assert_eq!(backend.dump(), before);

    // The new owner goes on with the attempt that is still alive.
    driver.owner = Ownership { run, epoch: 2 };
    assert_eq!(driver.states(), [TaskState::Assigned, TaskState::Waiting]);
    driver.finished(success(0, 1, vec![output("a", "in time")]));
    assert_eq!(driver.store.take_over(RunId(Uuid::from_u128(7)), true, driver.now).unwrap(), None);
    driver.sound();
}

pub(crate) fn a_finished_run_is_reopened_only_on_request(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["good", "bad", "skipped", "cancelled"]);
    let run = driver.owner.run;
    driver.executed(start(0, 1), vec![output("good", "1")]);
    driver.started(start(1, 1));
    driver.finished(failure(1, 1, TaskState::Failed));
    driver.commit(&[settle(2, TaskState::Skipped), settle(3, TaskState::Cancelled)]);
    driver.store.request_cancel(run, false, driver.now).unwrap();
    assert_eq!(driver.apply(Change::EndRun { state: RunState::Failed, reason: Some("bad".to_owned()) }), Applied::Done);

    let before = backend.dump();
    assert_eq!(driver.store.take_over(run, false, driver.now).unwrap(), None);
    assert_eq!(backend.dump(), before);

    driver.owner = driver.store.take_over(run, true, driver.now).unwrap().unwrap();
    assert_eq!(driver.owner.epoch, 2);
    let record = driver.store.run(&RunRef::Latest).unwrap().unwrap();
    assert_eq!((record.state, record.ended, record.reason, record.cancel), (RunState::Running, None, None, None));
    assert_eq!(driver.states(), [TaskState::Succeeded, TaskState::Waiting, TaskState::Waiting, TaskState::Waiting]);
    assert_eq!(driver.tasks()[1].attempts, 1);
    driver.stale(Change::Start(start(1, 1)));
    driver.started(start(1, 2));
    driver.finished(success(1, 2, Vec::new()));
    driver.commit(&[settle(2, TaskState::Skipped), settle(3, TaskState::Skipped), end_run(RunState::Succeeded)]);
    let over = Timestamp(driver.now.0 + 1);
    assert_eq!(driver.store.take_over(run, true, over).unwrap(), None, "a run that succeeded is never reopened");

    // A run that never ended keeps all but its epoch, whatever is asked for.
    driver.run(&["failed"]);
    driver.started(start(0, 1));
    driver.finished(failure(0, 1, TaskState::Failed));
    driver.store.request_cancel(driver.owner.run, true, over).unwrap();
    driver.owner = driver.store.take_over(driver.owner.run, true, over).unwrap().unwrap();
    assert_eq!(driver.states(), [TaskState::Failed]);
    assert_eq!(driver.store.run(&RunRef::Latest).unwrap().unwrap().cancel.as_deref(), Some("now"));
    driver.sound();
}

pub(crate) fn a_request_to_cancel_is_seen_and_never_softened(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let run = driver.owner.run;
    let mut other = driver.store.reopen().unwrap();
    let mut asked = |hard: bool| other.request_cancel(run, hard, Timestamp(1)).unwrap();
    assert!(asked(false));
    assert_eq!(driver.store.run(&RunRef::Latest).unwrap().unwrap().cancel.as_deref(), Some("graceful"));
    assert!(asked(true));
    assert!(asked(false));
    assert!(asked(true));
    assert_eq!(driver.store.run(&RunRef::Latest).unwrap().unwrap().cancel.as_deref(), Some("now"));
    let events = driver.store.events(run, 0).unwrap();
    let requests: Vec<_> = events.iter().filter(|event| event.kind == "cancel_requested").map(|e| &e.body).collect();
    assert_eq!(requests, [&json!({"mode": "graceful"}), &json!({"mode": "now"})]);
    driver.apply(end_run(RunState::Cancelled));
    assert!(!driver.store.request_cancel(run, true, driver.now).unwrap());
    assert!(!driver.store.request_cancel(RunId(Uuid::nil()), true, driver.now).unwrap());
    driver.sound();
}

pub(crate) fn two_projects_in_one_database_do_not_see_each_other(backend: &dyn Backend) {
    let mut ours = Driver::of(backend, &project("one"), &["a"]);
    let (attempt, nodes) = ours.executed(start(0, 1), vec![output("a", "secret")]);
    let run = ours.owner.run;

    let mut theirs = new_run(&["a"]);
    theirs.store_marker = Uuid::from_u128(2);
    let mut other = Driver::owning(backend, &project("two"), &theirs);
    let store = &mut other.store;
    assert_eq!(store.run(&RunRef::Prefix(run.to_string())).unwrap(), None);
    assert_eq!(store.runs(&RunFilter::default()).unwrap().len(), 1);
    assert!(store.tasks(run).unwrap().is_empty());
    assert!(store.events(run, 0).unwrap().is_empty());
    assert!(store.attempts(run, None).unwrap().is_empty());
    assert!(store.attempts_by_id(&[attempt]).unwrap().is_empty());
    assert!(store.published(&[attempt]).unwrap().is_empty());
    assert!(store.lookup(&[fingerprint("task 0")]).unwrap().is_empty());
    assert_eq!(store.nearest("p", "a", "", None).unwrap(), None);
    assert!(store.datasets("").unwrap().is_empty());
    assert!(store.materializations("p/a", 9).unwrap().is_empty());
    assert!(store.resolve("p/a", &VersionRef::Latest).unwrap().is_empty());
    assert!(store.by_hash(&ContentHash::of(b"secret").to_hex(), 9).unwrap().is_empty());
    let limit = WalkLimit { nodes: 9, ..WalkLimit::NONE };
    let lineage = store.lineage(&nodes, runstone_core::store::Direction::Up, limit).unwrap();
    assert_eq!(lineage, runstone_core::record::Lineage::default());
    assert!(!store.request_cancel(run, true, Timestamp(1)).unwrap());
    assert_eq!(store.take_over(run, true, Timestamp(1)).unwrap(), None);
    assert!(matches!(store.commit(ours.owner, Timestamp(1), &[]), Err(StoreError::LostOwnership { .. })));
    let foreign = runstone_core::store::StartAttempt { pins: vec![pin_node("in", nodes[0])], ..start(0, 1) };
    other.stale(Change::Start(foreign));

    // The same name is another dataset with versions of its own, the same claim another claim.
    let claim = |number| runstone_core::store::StartAttempt { claim: true, ..start(0, number) };
    let mut first = Driver::of(backend, &project("one"), &["a"]);
    first.started(claim(1));
    other.started(claim(1));
    other.finished(success(0, 1, vec![output("a", "other")]));
    let latest = other.store.resolve("p/a", &VersionRef::Latest).unwrap();
    assert_eq!((latest[0].version, latest[0].hash), (1, ContentHash::of(b"other")));
    assert_eq!(other.store.objects().unwrap().len(), 1);
    assert_eq!(ours.store.objects().unwrap().len(), 1);
    ours.sound();
    other.sound();
}

pub(crate) fn indices_without_order_are_refused(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let task = |index: u32| NewTask { index, step: "a".to_owned(), cell: String::new() };
    let before = backend.dump();
    for indices in [vec![1], vec![0, 2], vec![1, 0], vec![0, 0]] {
        let mut run = new_run(&[]);
        run.tasks = indices.into_iter().map(task).collect();
        assert!(matches!(store.create_run(&run), Err(StoreError::Database { .. })));
    }
    let run = new_run(&["a"]);
    assert_eq!(store.create_run(&run).unwrap(), 1);
    assert!(matches!(store.create_run(&run), Err(StoreError::Database { .. })), "an id is given once");
    assert_eq!(store.create_run(&new_run(&[])).unwrap(), 2);
    assert_ne!(backend.dump(), before);
}
