//! Versions that are named by a time or a partition.

use runstone_core::partition::Key;
use runstone_core::record::{MaterializationRecord, NodeId, TaskState};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, Reuse, ReuseNode, SettleTask, VersionRef,
};
use runstone_core::time::Timestamp;

use super::Backend;
use super::datasets::publish;
use super::driver::{Driver, fingerprint, output, project, start, success, uuid};

fn cell(subset: &str, bytes: &str) -> NewMaterialization {
    NewMaterialization { subset: subset.to_owned(), ..output("d", bytes) }
}

fn tainted(outputs: Vec<NewMaterialization>) -> FinishAttempt {
    let mut end = success(0, 1, outputs);
    end.end.tainted = Some("./a.py changed".to_owned());
    end
}

/// An earlier result is published once more, as by a run that reuses it.
fn reuse(driver: &mut Driver<'_>, attempt: NodeId, outputs: Vec<NewMaterialization>) {
    let node = ReuseNode { uuid: uuid(), pins: Vec::new(), outputs };
    let reuse = Reuse { attempt, fingerprint: fingerprint("task 0"), node: Some(node) };
    let settled = SettleTask { task: 0, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
    assert!(matches!(driver.apply(Change::Settle(settled)), Applied::Published { .. }));
}

pub(crate) fn a_time_names_what_latest_named_then(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let mut named: Vec<(Timestamp, Vec<MaterializationRecord>)> = Vec::new();
    let mut attempts = Vec::new();
    for step in 0..8 {
        driver.run(&["d"]);
        match step {
            // A cell comes, another one, both anew in one batch, and then what was there before.
            0 => attempts.push(driver.executed(start(0, 1), vec![cell("k=2", "1")]).0),
            1 => attempts.push(driver.executed(start(0, 1), vec![cell("k=1", "1")]).0),
            2 => {
                driver.started(start(0, 1));
                driver.finished(tainted(vec![cell("k=1", "T"), cell("k=3", "T")]));
            }
            3 => {
                let both = vec![NewMaterialization { output: "b".to_owned(), ..cell("k=1", "2") }, cell("k=2", "2")];
                attempts.push(driver.executed(start(0, 1), both).0);
            }
            4 => reuse(&mut driver, attempts[0], vec![cell("k=2", "1")]),
            5 => {
                driver.started(start(0, 1));
                driver.finished(tainted(vec![cell("k=2", "1")]));
            }
            6 => {
                driver.executed(start(0, 1), vec![output("other", "1")]);
            }
            _ => {
                driver.executed(start(0, 1), vec![cell("k=1", "1")]);
            }
        }
        named.push((driver.now, driver.store.resolve("p/d", &VersionRef::Latest).unwrap()));
    }
    let mut at = |time: i64| driver.store.resolve("p/d", &VersionRef::AsOf(Timestamp(time))).unwrap();
    let mut before = Vec::new();
    for (time, latest) in &named {
        assert_eq!(at(time.0 - 1), before, "just before {time:?}");
        assert_eq!(at(time.0), *latest, "{time:?}");
        before.clone_from(latest);
    }
    let subsets: Vec<&str> = before.iter().map(|record| record.subset.as_str()).collect();
    assert_eq!(subsets, ["k=1", "k=2"], "in the order of subsets");
    assert_eq!(at(i64::MAX), before);
    assert!(at(i64::MIN).is_empty());
    let time = VersionRef::AsOf(driver.now);
    assert!(driver.store.resolve("p/unknown", &time).unwrap().is_empty());
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    assert!(elsewhere.store.resolve("p/d", &time).unwrap().is_empty());
    let own = publish(&mut elsewhere, "1");
    assert_eq!(elsewhere.store.resolve("p/d", &VersionRef::AsOf(own.created)).unwrap(), [own]);
    driver.sound();
}

pub(crate) fn a_partition_names_its_part_of_the_latest(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["d"; 6]);
    let cells = [
        cell("k=1,partition=2026-11-01", "1"),
        cell("k=2,partition=2026-11-01", "2"),
        cell("k=1,partition=2026-11-02", "3"),
        cell("partition=2026-11-01", "4"),
        cell("k=2026-11-01", "5"),
        cell("", "6"),
    ];
    for (task, cell) in (0..).zip(cells) {
        driver.executed(start(task, 1), vec![cell]);
    }
    driver.run(&["d"]);
    driver.executed(start(0, 1), vec![cell("k=2,partition=2026-11-01", "7")]);
    let mut named = |key: &str| -> Vec<(String, i64)> {
        let found = driver.store.resolve("p/d", &VersionRef::Partition(Key::new(key).unwrap())).unwrap();
        found.into_iter().map(|record| (record.subset, record.version)).collect()
    };
    let parts = |parts: &[(&str, i64)]| parts.iter().map(|(s, v)| ((*s).to_owned(), *v)).collect::<Vec<_>>();
    let first = [("k=1,partition=2026-11-01", 1), ("k=2,partition=2026-11-01", 7), ("partition=2026-11-01", 4)];
    assert_eq!(named("2026-11-01"), parts(&first));
    assert_eq!(named("2026-11-02"), parts(&[("k=1,partition=2026-11-02", 3)]));
    assert!(named("2026-11-03").is_empty());
    assert!(named("2026-11").is_empty(), "a key, not its beginning");
    let key = VersionRef::Partition(Key::new("2026-11-01").unwrap());
    assert!(driver.store.resolve("p/unknown", &key).unwrap().is_empty());
    driver.sound();
}
