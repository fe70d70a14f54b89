//! What attempts report and what events tell.

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptEnd, Metric, RunState, TaskState};
use runstone_core::store::{Applied, Change, FinishAttempt, NewTask, Reuse, SettleTask};
use runstone_core::time::Timestamp;
use serde_json::json;

use super::Backend;
use super::driver::{Driver, end_run, failure, fingerprint, finish, output, settle, start, success};

fn metric(name: &str, slice: &str, value: f64, n: Option<u64>) -> Metric {
    Metric { name: name.to_owned(), slice: slice.to_owned(), value, n }
}

pub(crate) fn metrics_and_metadata_are_read_back(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c"]);
    let metadata = json!({"text": "\u{1F980}\n\"", "nested": {"list": [1, -2.5, null, true, []]}, "big": 9_007_199_254_740_993_i64});
    let reported = vec![
        metric("f1", "noise=car", 0.1 + 0.2, Some(4)),
        metric("f1", "", -0.0, None),
        metric("Loss", "", f64::MIN_POSITIVE, Some(0)),
        metric("loss", "", f64::MAX, Some(1 << 60)),
        metric("f1", "noise=car", 1e-300, None),
    ];
    let first = driver.started(start(0, 1));
    driver.finished(FinishAttempt {
        metrics: reported.clone(),
        metadata: Some(metadata.clone()),
        ..success(0, 1, Vec::new())
    });
    let second = driver.started(start(1, 1));
    driver.finished(FinishAttempt { metrics: vec![metric("x", "", 1.0, None)], ..failure(1, 1, TaskState::Failed) });
    let third = driver.started(start(2, 1));
    let read = driver.store.metrics(&[third, second, first, first]).unwrap();
    let expected = [
        (first, reported[2].clone()),
        (first, reported[1].clone()),
        (first, reported[4].clone()), // of two with one name and slice the later stands
        (first, reported[3].clone()),
        (second, metric("x", "", 1.0, None)),
    ];
    assert_eq!(read, expected);
    assert_eq!(read[2].1.value.to_bits(), 1e-300_f64.to_bits());
    assert_eq!(driver.store.metadata(first).unwrap(), Some(metadata));
    assert_eq!(driver.store.metadata(second).unwrap(), None);
    assert_eq!(driver.store.metadata(runstone_core::record::NodeId(9_999)).unwrap(), None);
    assert!(driver.store.metrics(&[]).unwrap().is_empty());
    driver.sound();
}

pub(crate) fn every_way_to_end_is_kept(backend: &dyn Backend) {
    let steps: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    let mut driver = Driver::new(backend, &steps);
    for (task, cause) in (0..).zip(Cause::ALL) {
        let attempt = driver.started(start(task, 1));
        let end = AttemptEnd {
            started: Timestamp(-5),
            ended: Timestamp(i64::MAX / 2),
            cause,
            exit_code: Some(-1),
            signal: Some(9),
            message: Some(format!("{cause:?}")),
            user_us: 1 << 50,
            system_us: 0,
            peak_rss: 1 << 45,
            stdout_bytes: 1 << 40,
            stderr_bytes: 7,
            leftovers: u32::MAX,
            tainted: Some("because".to_owned()),
        };
        driver.finished(FinishAttempt { end: end.clone(), ..failure(task, 1, TaskState::Cancelled) });
        assert_eq!(driver.store.attempts_by_id(&[attempt]).unwrap()[0].end, Some(end));
    }
    driver.sound();
}

/// Text of steps is anything. A database that cannot hold U+0000 keeps U+FFFD in its place.
pub(crate) fn any_text_is_kept(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let text = "quote ' \" ; -- \\ \u{0}\u{1}\u{7f}\r\n\t Grüße \u{1F980} \u{202e} {{}} $1 %s ?1".to_owned();
    let readable = |text: &str| text.replace('\0', "\u{fffd}");
    let attempt = driver.started(start(0, 1));
    let mut end = failure(0, 1, TaskState::Failed);
    end.end.message = Some(text.clone());
    end.reason = Some(text.clone());
    end.metrics = vec![metric(&text, &text, 1.0, None)];
    end.metadata = Some(json!({text.clone(): [text.clone()]}));
    driver.finished(end);
    let record = driver.store.attempts_by_id(&[attempt]).unwrap().remove(0);
    assert_eq!(readable(&record.end.unwrap().message.unwrap()), readable(&text));
    assert_eq!(readable(driver.tasks()[0].reason.as_deref().unwrap()), readable(&text));
    let reported = driver.store.metrics(&[attempt]).unwrap().remove(0).1;
    assert_eq!((readable(&reported.name), readable(&reported.slice)), (readable(&text), readable(&text)));
    let metadata = driver.store.metadata(attempt).unwrap().unwrap();
    let (key, value) = metadata.as_object().unwrap().iter().next().unwrap();
    assert_eq!((readable(key), readable(value[0].as_str().unwrap())), (readable(&text), readable(&text)));
    let event = driver.store.events(driver.owner.run, 0).unwrap().pop().unwrap();
    assert_eq!(readable(event.body["reason"].as_str().unwrap()), readable(&text));
    driver.sound();
}

/// The story of a run, read from its events alone.
#[derive(Debug, Default, PartialEq)]
struct Story {
    state: String,
    epoch: i64,
    cancel: Option<String>,
    tasks: Vec<(String, u32, Option<i64>, Option<String>)>,
}

fn told(driver: &mut Driver<'_>) -> Story {
    let mut story = Story::default();
    let mut last = 0;
    for event in driver.store.events(driver.owner.run, 0).unwrap() {
        assert!(event.id > last, "ids grow");
        last = event.id;
        let text = |field: &str| event.body[field].as_str().map(str::to_owned);
        let number = |field: &str| event.body[field].as_u64().map(|n| u32::try_from(n).unwrap());
        let attempt = event.attempt.map(|id| id.0);
        let new = |count: u32| vec![("waiting".to_owned(), 0, None, None); count as usize];
        match event.kind.as_str() {
            "run_created" => {
                (story.state, story.epoch) = ("running".to_owned(), 1);
                story.tasks = new(number("tasks").unwrap());
            }
            "tasks_added" => {
                assert_eq!(number("first").unwrap() as usize, story.tasks.len());
                story.tasks.extend(new(number("count").unwrap()));
            }
            "run_ended" => story.state = text("state").unwrap(),
            "cancel_requested" => story.cancel = text("mode"),
            "run_taken_over" => {
                story.epoch = event.body["epoch"].as_i64().unwrap();
                if event.body["reopened"] == true {
                    (story.state, story.cancel) = ("running".to_owned(), None);
                    for (state, _, _, reason) in &mut story.tasks {
                        if ["failed", "skipped", "cancelled"].contains(&state.as_str()) {
                            (*state, *reason) = ("waiting".to_owned(), None);
                        }
                    }
                }
            }
            kind => {
                let task = &mut story.tasks[event.task.unwrap() as usize];
                match kind {
                    "attempt_assigned" => *task = ("assigned".to_owned(), number("number").unwrap(), attempt, None),
                    "attempt_running" => assert_eq!((task.1, task.2), (number("number").unwrap(), attempt)),
                    "attempt_finished" => {
                        assert_eq!((task.1, task.2), (number("number").unwrap(), attempt));
                        (task.0, task.3) = (text("next").unwrap(), text("reason"));
                    }
                    "task_settled" => {
                        (task.0, task.3) = (text("state").unwrap(), text("reason"));
                        task.1 += u32::from(event.body["node"] == true);
                        task.2 = attempt.or(task.2);
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
    story
}

pub(crate) fn events_tell_the_whole_story(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["ok", "flaky", "skipped", "reused"]);
    let check = |driver: &mut Driver<'_>| {
        let run = driver.store.runs(&runstone_core::store::RunFilter::default()).unwrap().remove(0);
        let tasks = driver
            .tasks()
            .into_iter()
            .map(|task| (task.state.as_str().to_owned(), task.attempts, task.attempt.map(|id| id.0), task.reason));
        let rows = Story {
            state: run.state.as_str().to_owned(),
            epoch: run.epoch,
            cancel: run.cancel,
            tasks: tasks.collect(),
        };
        assert_eq!(told(driver), rows);
    };
    let (attempt, _) = driver.executed(start(0, 1), vec![output("ok", "1")]);
    driver.started(start(1, 1));
    driver.apply(Change::Running { task: 1, number: 1 });
    check(&mut driver);
    driver.finished(failure(1, 1, TaskState::Retrying));
    driver.apply(settle(2, TaskState::Skipped));
    let reuse = Reuse { attempt, fingerprint: fingerprint("task 0"), node: None };
    let settled = SettleTask { task: 3, state: TaskState::Reused, reason: None, reuse: Some(reuse.clone()) };
    assert!(matches!(driver.apply(Change::Settle(settled)), Applied::Published { .. }));
    check(&mut driver);
    let new = NewTask { index: 4, step: "each".to_owned(), cell: "k=1".to_owned() };
    driver.commit(&[Change::AddTasks(vec![new]), Change::Start(start(1, 2))]);
    driver.commit(&[finish(failure(1, 2, TaskState::Failed)), settle(4, TaskState::Cancelled)]);
    driver.store.request_cancel(driver.owner.run, true, driver.now).unwrap();
    check(&mut driver);
    driver.apply(end_run(RunState::Failed));
    check(&mut driver);
    driver.owner = driver.store.take_over(driver.owner.run, true, driver.now).unwrap().unwrap();
    check(&mut driver);
    let node = runstone_core::store::ReuseNode { uuid: super::driver::uuid(), pins: Vec::new(), outputs: Vec::new() };
    let reuse = Reuse { node: Some(node), ..reuse };
    driver.apply(Change::Settle(SettleTask { task: 4, state: TaskState::Reused, reason: None, reuse: Some(reuse) }));
    check(&mut driver);

    let events = driver.store.events(driver.owner.run, 0).unwrap();
    let after = driver.store.events(driver.owner.run, events[2].id).unwrap();
    assert_eq!(after, events[3..]);
    assert!(driver.store.events(driver.owner.run, i64::MAX).unwrap().is_empty());
    driver.sound();
}
