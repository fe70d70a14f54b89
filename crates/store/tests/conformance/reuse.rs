//! Reuse: which earlier results stand for a task, and what a reuse leaves on record.

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptKind, AttemptState, Metric, NodeId, TaskState};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, Reuse, ReuseNode, SettleTask, StartAttempt, VersionRef,
};
use runstone_core::time::Timestamp;
use serde_json::json;

use super::Backend;
use super::driver::{Driver, ended, failure, fingerprint, finish, output, pin_node, pin_task, start, success, uuid};

fn reused(task: u32, attempt: NodeId, node: Option<ReuseNode>) -> Change {
    let reuse = Reuse { attempt, fingerprint: fingerprint("task 1"), node };
    Change::Settle(SettleTask { task, state: TaskState::Reused, reason: Some("same".to_owned()), reuse: Some(reuse) })
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), slice: String::new(), value, n: None }
}

/// A run of `raw → model`, the model with a metric and metadata. Gives the attempts and publications of both.
fn trained(driver: &mut Driver<'_>) -> [(NodeId, NodeId); 2] {
    let (ingest, raw) = driver.executed(start(0, 1), vec![output("raw", "raw")]);
    let train = driver.started(StartAttempt { pins: vec![pin_task("data", 0, "out")], ..start(1, 1) });
    let model = driver.finished(FinishAttempt {
        metrics: vec![metric("f1", 0.9)],
        metadata: Some(json!({"epochs": 3})),
        ..success(1, 1, vec![output("model", "model")])
    });
    [(ingest, raw[0]), (train, model[0])]
}

pub(crate) fn a_reuse_without_a_node_points_at_the_earlier_attempt(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["raw", "model"]);
    let [(_, raw), (train, model)] = trained(&mut driver);
    driver.run(&["raw", "model", "report"]);
    let before = driver.store.materializations("p/model", 9).unwrap();
    let applied = driver.apply(reused(1, train, None));
    assert_eq!(applied, Applied::Published { attempt: train, materializations: Vec::new() });
    let task = driver.tasks().remove(1);
    assert_eq!((task.state, task.attempts, task.attempt), (TaskState::Reused, 0, Some(train)));
    assert_eq!((task.fingerprint, task.reason.as_deref()), (Some(fingerprint("task 1")), Some("same")));
    assert!(driver.store.attempts(driver.owner.run, None).unwrap().is_empty());
    assert_eq!(driver.store.materializations("p/model", 9).unwrap(), before);
    // What reads it is pinned to the earlier publication.
    let reader = driver.started(StartAttempt { pins: vec![pin_task("model", 1, "out")], ..start(2, 1) });
    driver.finished(success(2, 1, vec![output("report", "report")]));
    let earlier = &driver.store.lookup(&[fingerprint("task 2")]).unwrap()[&fingerprint("task 2")];
    assert_eq!((earlier.attempt, &earlier.pins), (reader, &vec![("model".to_owned(), model)]));
    let of_run = VersionRef::Run(runstone_core::store::RunRef::Number(2));
    assert_eq!(driver.store.resolve("p/model", &of_run).unwrap()[0].id, model);
    assert!(raw < model);
    driver.sound();
}

pub(crate) fn a_reuse_with_a_node_has_its_own_pins_and_names(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["raw", "model"]);
    let [_, (train, _)] = trained(&mut driver);
    driver.run(&["raw", "model"]);
    let (_, raw) = driver.executed(start(0, 1), vec![output("raw", "raw")]);
    let renamed = NewMaterialization { dataset: "p/renamed".to_owned(), ..output("model", "model") };
    let node = |outputs| ReuseNode { uuid: uuid(), pins: vec![pin_task("data", 0, "out")], outputs };
    let Applied::Published { attempt, materializations } = driver.apply(reused(1, train, Some(node(vec![renamed]))))
    else {
        panic!("not reused")
    };
    let record = driver.store.attempts(driver.owner.run, Some(1)).unwrap().remove(0);
    assert_eq!(
        (record.id, record.kind, record.state, record.number),
        (attempt, AttemptKind::Reuse, AttemptState::Succeeded, 1)
    );
    assert_eq!((record.reused_from, record.fingerprint), (Some(train), fingerprint("task 1")));
    let end = record.end.unwrap();
    assert_eq!((end.started, end.ended, end.cause, end.exit_code), (driver.now, driver.now, Cause::Exit, None));
    assert_eq!(driver.tasks()[1].attempts, 1);
    let latest = driver.store.resolve("p/renamed", &VersionRef::Latest).unwrap();
    assert_eq!((latest[0].id, latest[0].version), (materializations[0], 1));

    // The next run finds the node, with this run's pins and what the attempt behind it reported.
    let found = driver.store.lookup(&[fingerprint("task 1")]).unwrap().remove(&fingerprint("task 1")).unwrap();
    assert_eq!((found.attempt, found.run_number, found.ended), (attempt, 2, driver.now));
    assert_eq!((found.pins, found.outputs), (vec![("data".to_owned(), raw[0])], latest));
    assert_eq!((found.metrics, found.wall_us, found.current), (vec![metric("f1", 0.9)], 3_000_000, true));
    assert_eq!(driver.store.metrics(&[attempt]).unwrap(), [(attempt, metric("f1", 0.9))]);
    assert_eq!(driver.store.metadata(attempt).unwrap(), Some(json!({"epochs": 3})));

    // A reuse of a reuse names the attempt that did the work.
    driver.run(&["raw", "model"]);
    driver.executed(start(0, 1), vec![output("raw", "raw")]);
    let Applied::Published { attempt: again, .. } = driver.apply(reused(1, attempt, Some(node(Vec::new())))) else {
        panic!("not reused")
    };
    assert_eq!(driver.store.attempts_by_id(&[again]).unwrap()[0].reused_from, Some(train));
    driver.sound();
}

/// As after a change of the recipe: the earlier attempt was found by what the old recipe asks.
pub(crate) fn a_reuse_may_be_asked_under_another_fingerprint(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["raw", "model"]);
    let [_, (train, model)] = trained(&mut driver);
    for node in [None, Some(ReuseNode { uuid: uuid(), pins: Vec::new(), outputs: vec![output("model", "model")] })] {
        let asked = fingerprint(if node.is_some() { "new, with a node" } else { "new" });
        driver.run(&["model"]);
        let reuse = Reuse { attempt: train, fingerprint: asked, node: node.clone() };
        let settled = SettleTask { task: 0, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
        let Applied::Published { attempt, .. } = driver.apply(Change::Settle(settled)) else { panic!("not reused") };
        assert_eq!(driver.tasks()[0].fingerprint, Some(asked));
        assert_eq!(driver.store.derivation(&asked).unwrap(), None, "what was asked is not known to the store");
        let found = driver.store.lookup(&[asked]).unwrap().remove(&asked).map(|earlier| earlier.attempt);
        assert_eq!(found, node.map(|_| attempt), "only a node is found under the new fingerprint");
    }
    assert_eq!(driver.store.materializations("p/model", 9).unwrap().last().unwrap().id, model);
    driver.sound();
}

pub(crate) fn only_clean_results_are_reused(backend: &dyn Backend) {
    let steps = ["failed", "tainted", "off", "live", "clean", "next"];
    let mut driver = Driver::new(backend, &steps);
    let mut tainted = success(1, 1, vec![output("tainted", "1")]);
    tainted.end.tainted = Some("./a.py changed".to_owned());
    let ends = [
        Some(failure(0, 1, TaskState::Failed)),
        Some(tainted),
        Some(FinishAttempt { reusable: false, ..success(2, 1, vec![output("off", "1")]) }),
        None,
        Some(success(4, 1, vec![output("clean", "1")])),
    ];
    let mut attempts = Vec::new();
    for (task, end) in (0..).zip(ends) {
        attempts.push(driver.started(start(task, 1)));
        end.map(|end| driver.finished(end));
    }
    let all: Vec<_> = (0..6).map(|task| fingerprint(&format!("task {task}"))).collect();
    let found = driver.store.lookup(&all).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&fingerprint("task 4")]);
    for attempt in &attempts[..4] {
        driver.stale(reused(5, *attempt, None));
    }
    driver.stale(reused(5, NodeId(9_999), None));
    let publication = driver.store.published(&attempts).unwrap()[0].id;
    driver.stale(reused(5, publication, None));
    assert!(matches!(driver.apply(reused(5, attempts[4], None)), Applied::Published { .. }));
    driver.sound();
}

pub(crate) fn lookup_gives_the_newest_result_with_all_it_needs(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["raw", "model"]);
    let [(_, raw), (train, model)] = trained(&mut driver);
    assert!(driver.store.lookup(&[]).unwrap().is_empty());
    let asked = [fingerprint("task 1"), fingerprint("never"), fingerprint("task 1")];
    let found = driver.store.lookup(&asked).unwrap();
    assert_eq!(found.len(), 1);
    let earlier = &found[&fingerprint("task 1")];
    assert_eq!((earlier.attempt, earlier.run_number, earlier.fingerprint), (train, 1, fingerprint("task 1")));
    assert_eq!((earlier.ended, earlier.wall_us), (Timestamp(5_000_000), 3_000_000));
    assert_eq!(earlier.outputs, driver.store.published(&[train]).unwrap());
    assert_eq!((earlier.outputs[0].id, &earlier.pins), (model, &vec![("data".to_owned(), raw)]));
    assert_eq!((&earlier.metrics, earlier.current), (&vec![metric("f1", 0.9)], true));

    // Executed again without being asked for, with other bytes: the newest counts.
    driver.run(&["raw", "model"]);
    let two = vec![
        NewMaterialization { output: "z".to_owned(), subset: "lr=1".to_owned(), ..output("model", "other") },
        NewMaterialization { output: "a".to_owned(), dataset: "p/extra".to_owned(), ..output("model", "other") },
    ];
    let pins = vec![pin_node("b", raw), pin_node("a", model), pin_node("a", raw)];
    let (again, nodes) = driver.executed(StartAttempt { pins, ..start(1, 1) }, two);
    let found = driver.store.lookup(&asked).unwrap().remove(&fingerprint("task 1")).unwrap();
    assert_eq!(found.attempt, again);
    assert_eq!(found.outputs.iter().map(|output| output.id).collect::<Vec<_>>(), nodes, "in the order of ids");
    let names = [("a".to_owned(), raw), ("a".to_owned(), model), ("b".to_owned(), raw)];
    assert_eq!(found.pins, names, "in the order of names and ids");
    assert!(found.current);

    // Somebody else publishes one of its cells: not all of it is the latest any more.
    driver.run(&["other"]);
    let cell = NewMaterialization { subset: "lr=1".to_owned(), ..output("model", "third") };
    driver.started(StartAttempt { fingerprint: fingerprint("other"), ..start(0, 1) });
    driver.apply(finish(FinishAttempt { end: ended(Cause::Exit, Some(0)), ..success(0, 1, vec![cell]) }));
    assert!(!driver.store.lookup(&asked).unwrap()[&fingerprint("task 1")].current);
    driver.sound();
}
