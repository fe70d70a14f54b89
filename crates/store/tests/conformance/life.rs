//! The life of tasks and attempts, and what is stale when.

use runstone_core::attempt::Cause;
use runstone_core::hash::ContentHash;
use runstone_core::record::{AttemptState, Metric, RunState, TaskState};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewTask, Reuse, ReuseNode, SettleTask, StartAttempt, StoreError,
};

use super::Backend;
use super::driver::{
    Driver, end_run, ended, failure, fingerprint, finish, output, pin_task, settle, start, success, uuid,
};

pub(crate) fn a_task_lives_through_a_whole_run(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let intent = StartAttempt { uuid: uuid(), ..start(0, 1) };
    let attempt = driver.started(intent.clone());
    let created = driver.now;
    let task = driver.tasks().remove(0);
    assert_eq!((task.state, task.attempts, task.attempt), (TaskState::Assigned, 1, Some(attempt)));
    assert_eq!(task.fingerprint, Some(intent.fingerprint));
    assert_eq!(driver.store.derivation(&intent.fingerprint).unwrap(), Some(b"task 0".to_vec()));
    assert_eq!(driver.store.derivation(&fingerprint("unknown")).unwrap(), None);

    assert_eq!(driver.apply(Change::Running { task: 0, number: 1 }), Applied::Done);
    let record = driver.store.attempts(driver.owner.run, Some(0)).unwrap().remove(0);
    assert_eq!((record.id, record.uuid, record.run, record.run_number), (attempt, intent.uuid, driver.owner.run, 1));
    assert_eq!((record.task, record.number, record.kind), (0, 1, intent.kind));
    assert_eq!((record.pipeline.as_str(), record.step.as_str(), record.cell.as_str()), ("p", "a", ""));
    assert_eq!(
        (record.state, record.fingerprint, record.created),
        (AttemptState::Running, intent.fingerprint, created)
    );
    assert_eq!((&record.end, record.reused_from), (&None, None));

    let published = driver.finished(success(0, 1, vec![output("a", "bytes")]));
    let record = driver.store.attempts_by_id(&[attempt]).unwrap().remove(0);
    assert_eq!((record.state, record.end), (AttemptState::Succeeded, Some(ended(Cause::Exit, Some(0)))));
    let materialization = driver.store.published(&[attempt]).unwrap().remove(0);
    assert_eq!(
        (materialization.id, materialization.attempt, materialization.created),
        (published[0], attempt, driver.now)
    );
    assert!(published[0] > attempt);
    assert_eq!(driver.states(), [TaskState::Succeeded]);
    assert_eq!(driver.apply(end_run(RunState::Succeeded)), Applied::Done);
    assert_eq!(driver.run_state(), RunState::Succeeded);
    let kinds: Vec<String> =
        driver.store.events(driver.owner.run, 0).unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["run_created", "attempt_assigned", "attempt_running", "attempt_finished", "run_ended"]);
    driver.sound();
}

pub(crate) fn a_failed_attempt_is_retried_under_the_next_number(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let first = driver.started(start(0, 1));
    assert_eq!(driver.finished(failure(0, 1, TaskState::Retrying)), []);
    let task = driver.tasks().remove(0);
    assert_eq!((task.state, task.attempts, task.attempt), (TaskState::Retrying, 1, Some(first)));
    assert_eq!(task.reason.as_deref(), Some("exit code 1"));
    driver.stale(Change::Start(start(0, 1)));
    driver.stale(Change::Start(start(0, 3)));
    let second = driver.started(start(0, 2));
    assert_eq!(driver.tasks()[0].reason, None);
    driver.finished(failure(0, 2, TaskState::Failed));
    let attempts = driver.store.attempts(driver.owner.run, None).unwrap();
    assert_eq!(attempts.iter().map(|a| (a.id, a.number)).collect::<Vec<_>>(), [(first, 1), (second, 2)]);
    assert!(attempts.iter().all(|attempt| attempt.state == AttemptState::Failed));
    assert_eq!(driver.states(), [TaskState::Failed]);
    driver.sound();
}

pub(crate) fn tasks_of_a_foreach_are_added(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["list"]);
    let new = |index: u32, cell: &str| NewTask { index, step: "each".to_owned(), cell: cell.to_owned() };
    let added = driver.commit(&[
        Change::AddTasks(vec![new(1, "item=a"), new(2, "item=b")]),
        Change::Start(start(1, 1)),
        Change::AddTasks(vec![new(3, "item=c")]),
    ]);
    assert!(matches!(added[..], [Applied::Done, Applied::Started { .. }, Applied::Done]));
    for indices in [vec![3], vec![5], vec![0, 1], vec![2, 3, 4]] {
        driver.stale(Change::AddTasks(indices.into_iter().map(|index| new(index, "again")).collect()));
    }
    let before = backend.dump();
    assert_eq!(driver.apply(Change::AddTasks(Vec::new())), Applied::Done);
    assert_eq!(backend.dump(), before);
    let cells: Vec<String> = driver.tasks().into_iter().map(|task| task.cell).collect();
    assert_eq!(cells, ["", "item=a", "item=b", "item=c"]);
    assert_eq!(driver.store.attempts(driver.owner.run, Some(1)).unwrap()[0].cell, "item=a");
    driver.sound();
}

/// Every change that a task in some state must not take.
pub(crate) fn what_does_not_fit_is_stale_and_changes_nothing(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["done", "waiting", "assigned", "retrying", "reused"]);
    let (earlier, _) = driver.executed(start(0, 1), vec![output("done", "1")]);
    let reuse = |task: u32| {
        let reuse = Reuse { attempt: earlier, fingerprint: fingerprint("task 0"), node: None };
        Change::Settle(SettleTask { task, state: TaskState::Reused, reason: None, reuse: Some(reuse) })
    };
    let node = |task: u32, output: &str| {
        let node = ReuseNode { uuid: uuid(), pins: vec![pin_task("in", 0, output)], outputs: Vec::new() };
        let reuse = Reuse { attempt: earlier, fingerprint: fingerprint("task 0"), node: Some(node) };
        Change::Settle(SettleTask { task, state: TaskState::Reused, reason: None, reuse: Some(reuse) })
    };
    driver.started(start(2, 1));
    driver.started(start(3, 1));
    driver.finished(failure(3, 1, TaskState::Retrying));
    assert!(matches!(driver.apply(reuse(4)), Applied::Published { .. }));

    for number in 0..4 {
        let fits = |task| matches!((task, number), (1, 1) | (3, 2));
        for task in (0..6).filter(|task| !fits(*task)) {
            driver.stale(Change::Start(start(task, number)));
            driver.stale(Change::Start(StartAttempt { claim: true, ..start(task, number) }));
        }
        for task in (0..6).filter(|task| (*task, number) != (2, 1)) {
            driver.stale(finish(success(task, number, vec![output("late", "late")])));
            driver.stale(finish(FinishAttempt {
                metrics: vec![Metric { name: "m".to_owned(), slice: String::new(), value: 1.0, n: None }],
                ..failure(task, number, TaskState::Failed)
            }));
        }
    }
    for task in [0, 2, 4, 5] {
        for state in [TaskState::Skipped, TaskState::Cancelled, TaskState::Failed] {
            driver.stale(settle(task, state));
        }
        driver.stale(reuse(task));
        driver.stale(node(task, "out"));
    }
    driver.stale(node(1, "unknown"));
    driver.stale(Change::Running { task: 1, number: 1 });
    driver.stale(Change::Running { task: 2, number: 2 });
    driver.stale(Change::Running { task: 0, number: 0 });
    driver.stale(Change::Running { task: 9, number: 1 });
    driver.sound();
}

pub(crate) fn a_stale_change_does_not_sink_its_batch(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c"]);
    driver.started(start(0, 1));
    let applied = driver.commit(&[
        Change::Start(start(1, 2)),
        finish(success(0, 1, vec![output("a", "1")])),
        finish(success(0, 1, vec![output("a", "2")])),
        Change::Start(StartAttempt { pins: vec![pin_task("in", 0, "out")], ..start(1, 1) }),
        Change::Start(start(1, 1)),
        settle(2, TaskState::Skipped),
        settle(2, TaskState::Cancelled),
    ]);
    assert_eq!(applied[0], Applied::Stale);
    let Applied::Published { materializations: ref published, .. } = applied[1] else { panic!("{applied:?}") };
    assert_eq!(applied[2], Applied::Stale);
    let Applied::Started { attempt } = applied[3] else { panic!("{applied:?}") };
    assert_eq!(applied[4..], [Applied::Stale, Applied::Done, Applied::Stale]);
    assert!(published[0] < attempt, "a reader has a larger id than what it reads");
    assert_eq!(driver.states(), [TaskState::Succeeded, TaskState::Assigned, TaskState::Skipped]);
    assert_eq!(driver.store.datasets("").unwrap()[0].versions, 1);
    driver.sound();
}

pub(crate) fn a_run_that_is_over_takes_no_changes(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    driver.commit(&[settle(0, TaskState::Cancelled), end_run(RunState::Cancelled)]);
    driver.stale(Change::Start(start(0, 1)));
    driver.stale(settle(0, TaskState::Skipped));
    driver.stale(Change::AddTasks(vec![NewTask { index: 1, step: "b".to_owned(), cell: String::new() }]));
    driver.stale(Change::Running { task: 0, number: 1 });
    driver.stale(end_run(RunState::Succeeded));
    let record = driver.store.run(&runstone_core::store::RunRef::Latest).unwrap().unwrap();
    assert_eq!((record.state, record.ended), (RunState::Cancelled, Some(runstone_core::time::Timestamp(11_000_000))));
    // Also within the batch that ends it.
    driver.run(&["a"]);
    let applied = driver.commit(&[
        settle(0, TaskState::Skipped),
        end_run(RunState::Succeeded),
        Change::AddTasks(vec![NewTask { index: 1, step: "b".to_owned(), cell: String::new() }]),
    ]);
    assert_eq!(applied, [Applied::Done, Applied::Done, Applied::Stale]);
    driver.sound();
}

pub(crate) fn a_run_ends_only_when_every_task_has(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    driver.stale(end_run(RunState::Failed));
    driver.started(start(0, 1));
    driver.apply(settle(1, TaskState::Skipped));
    driver.stale(end_run(RunState::Failed));
    driver.finished(failure(0, 1, TaskState::Retrying));
    driver.stale(end_run(RunState::Failed));
    driver.apply(settle(0, TaskState::Cancelled));
    assert_eq!(driver.apply(end_run(RunState::Cancelled)), Applied::Done);
    driver.sound();
}

pub(crate) fn changes_that_contradict_themselves_are_refused_whole(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    driver.started(start(0, 1));
    let metric = |value| FinishAttempt {
        metrics: vec![Metric { name: "loss".to_owned(), slice: String::new(), value, n: None }],
        ..success(0, 1, Vec::new())
    };
    let reuse = Reuse { attempt: runstone_core::record::NodeId(1), fingerprint: fingerprint("a"), node: None };
    let settled = |state, reuse| Change::Settle(SettleTask { task: 1, state, reason: None, reuse });
    let bad = [
        finish(FinishAttempt { outputs: vec![output("a", "1")], ..failure(0, 1, TaskState::Failed) }),
        finish(FinishAttempt { next: TaskState::Failed, ..success(0, 1, Vec::new()) }),
        finish(FinishAttempt { next: TaskState::Waiting, ..success(0, 1, Vec::new()) }),
        finish(failure(0, 1, TaskState::Succeeded)),
        finish(failure(0, 1, TaskState::Skipped)),
        finish(success(0, 1, vec![output("a", "1"), output("b", "2")])),
        finish(metric(f64::NAN)),
        finish(metric(f64::INFINITY)),
        finish(success(0, 1, vec![runstone_core::store::NewMaterialization { size: u64::MAX, ..output("a", "1") }])),
        settled(TaskState::Succeeded, None),
        settled(TaskState::Waiting, None),
        settled(TaskState::Reused, None),
        settled(TaskState::Skipped, Some(reuse)),
        end_run(RunState::Running),
    ];
    let before = backend.dump();
    for change in bad {
        let what = format!("{change:?}");
        let error = driver.try_commit(&[settle(1, TaskState::Skipped), change]).unwrap_err();
        assert!(matches!(error, StoreError::Database { .. }), "{what}: {error:?}");
        assert_eq!(backend.dump(), before, "{what}");
    }
    // What the bounds of the numbers are is found on the way: nothing of the batch stays either.
    let mut end = success(0, 1, vec![output("a", "1")]);
    end.end.peak_rss = u64::MAX;
    driver.try_commit(&[settle(1, TaskState::Skipped), finish(end)]).unwrap_err();
    assert_eq!(backend.dump(), before);
}

pub(crate) fn a_late_notice_that_an_attempt_runs_changes_nothing(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    driver.started(start(0, 1));
    let runs = Change::Running { task: 0, number: 1 };
    assert_eq!(driver.apply(runs.clone()), Applied::Done);
    let before = backend.dump();
    assert_eq!(driver.apply(runs.clone()), Applied::Done);
    assert_eq!(backend.dump(), before);
    driver.finished(failure(0, 1, TaskState::Retrying));
    let before = backend.dump();
    assert_eq!(driver.apply(runs.clone()), Applied::Done);
    driver.started(start(0, 2));
    assert_eq!(driver.apply(runs), Applied::Done);
    assert_eq!(driver.store.attempts(driver.owner.run, None).unwrap()[1].state, AttemptState::Assigned);
    assert_ne!(backend.dump(), before);
    driver.sound();
}

pub(crate) fn a_big_batch_is_one(backend: &dyn Backend) {
    const TASKS: u32 = 2_000;
    let steps: Vec<String> = (0..TASKS).map(|n| format!("s{n}")).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut driver = Driver::new(backend, &steps);
    let started = driver.commit(&(0..TASKS).map(|task| Change::Start(start(task, 1))).collect::<Vec<_>>());
    assert!(started.iter().all(|applied| matches!(applied, Applied::Started { .. })));
    let ends = (0..TASKS).map(|task| finish(success(task, 1, vec![output(&format!("d{task}"), "same")])));
    let ended = driver.commit(&ends.chain([end_run(RunState::Succeeded)]).collect::<Vec<_>>());
    assert_eq!(ended.last(), Some(&Applied::Done));
    assert_eq!(driver.store.datasets("p/d").unwrap().len(), TASKS as usize);
    assert_eq!(driver.store.by_hash(&ContentHash::of(b"same").to_hex(), u32::MAX).unwrap().len(), TASKS as usize);
    assert_eq!(driver.store.objects().unwrap().len(), 1);
    let all: Vec<_> = (0..TASKS).map(|task| fingerprint(&format!("task {task}"))).collect();
    assert_eq!(driver.store.lookup(&all).unwrap().len(), TASKS as usize);
    driver.sound();
}
