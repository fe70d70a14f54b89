//! The log: what is to be put into it, its leaves, its checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use runstone_core::attempt::Cause;
use runstone_core::lineage::store::{CheckpointRecord, LogLeaf};
use runstone_core::record::{AttemptState, NodeId, TaskState};
use runstone_core::store::{Applied, Change, FinishAttempt, Result, Reuse, ReuseNode, SettleTask, Store};
use runstone_core::time::Timestamp;

use super::Backend;
use super::driver::{Driver, ended, failure, fingerprint, finish, output, project, settle, start, success, uuid};

/// What a leaf says, made up: the log does not look at it.
fn record(attempt: NodeId) -> Vec<u8> {
    vec![u8::try_from(attempt.0 % 251).unwrap(); 32 * (1 + usize::try_from(attempt.0 % 3).unwrap())]
}

fn leaves(attempts: &[NodeId]) -> Vec<(NodeId, Vec<u8>)> {
    attempts.iter().map(|attempt| (*attempt, record(*attempt))).collect()
}

/// Appends to a log of this size, with a checkpoint.
fn append(store: &mut dyn Store, size: u64, leaves: &[(NodeId, Vec<u8>)]) -> Result<bool> {
    store.append_log(leaves, &checkpoint(size.saturating_add(leaves.len() as u64)))
}

fn checkpoint(size: u64) -> CheckpointRecord {
    let root = [u8::try_from(size % 251).unwrap(); 32];
    CheckpointRecord { size, root, note: format!("origin\n{size}\n— é\n"), created: Timestamp(3) }
}

fn unlogged(driver: &mut Driver<'_>) -> Vec<NodeId> {
    driver.store.unlogged(u32::MAX).unwrap()
}

/// Must change nothing.
fn refused(driver: &mut Driver<'_>, size: u64, leaves: &[(NodeId, Vec<u8>)]) {
    let before = driver.backend.dump();
    let appended = append(&mut *driver.store, size, leaves);
    assert!(appended.is_err(), "{appended:?}");
    assert_eq!(driver.backend.dump(), before);
}

/// Attempts of a run, one batch each: how many there are.
fn worked(driver: &mut Driver<'_>, tasks: u32) -> Vec<NodeId> {
    driver.run(&vec!["s"; tasks as usize]);
    (0..tasks).map(|task| driver.executed(start(task, 1), Vec::new()).0).collect()
}

pub(crate) fn every_attempt_that_ended_is_to_be_logged_once(backend: &dyn Backend) {
    let steps = ["ok", "retried", "cancelled", "reused", "renamed", "skipped", "live", "batch"];
    let mut driver = Driver::new(backend, &steps);
    assert!(unlogged(&mut driver).is_empty());
    let (first, _) = driver.executed(start(0, 1), vec![output("ok", "1")]);
    let mut expected = vec![first];
    assert_eq!(unlogged(&mut driver), expected);
    for (number, next) in [(1, TaskState::Retrying), (2, TaskState::Failed)] {
        expected.push(driver.started(start(1, number)));
        assert_eq!(unlogged(&mut driver).len(), expected.len() - 1, "not while it lives");
        driver.apply(Change::Running { task: 1, number });
        driver.finished(failure(1, number, next));
    }
    expected.push(driver.started(start(2, 1)));
    driver.finished(FinishAttempt { end: ended(Cause::Cancelled, None), ..failure(2, 1, TaskState::Cancelled) });
    let reuse = |task, node| {
        let reuse = Reuse { attempt: first, fingerprint: fingerprint("task 0"), node };
        Change::Settle(SettleTask { task, state: TaskState::Reused, reason: None, reuse: Some(reuse) })
    };
    driver.apply(reuse(3, None));
    assert_eq!(unlogged(&mut driver), expected, "no attempt of its own");
    let node = ReuseNode { uuid: uuid(), pins: Vec::new(), outputs: vec![output("renamed", "1")] };
    let Applied::Published { attempt, .. } = driver.apply(reuse(4, Some(node))) else { panic!("not reused") };
    expected.push(attempt);
    driver.apply(settle(5, TaskState::Skipped));
    driver.started(start(6, 1));
    // Begun and ended in one batch.
    let applied = driver.commit(&[
        Change::Start(start(7, 1)),
        Change::Running { task: 7, number: 1 },
        finish(success(7, 1, Vec::new())),
        Change::Running { task: 7, number: 1 },
    ]);
    let Applied::Started { attempt } = applied[0] else { panic!("{applied:?}") };
    expected.push(attempt);
    driver.stale(finish(success(7, 1, Vec::new())));
    assert_eq!(unlogged(&mut driver), expected, "in the order of ids");
    assert_eq!(driver.store.unlogged(2).unwrap(), expected[..2]);
    assert!(driver.store.unlogged(0).unwrap().is_empty());
    let all = driver.store.attempts(driver.owner.run, None).unwrap();
    let over = all.iter().filter(|attempt| matches!(attempt.state, AttemptState::Succeeded | AttemptState::Failed));
    assert!(over.map(|attempt| attempt.id).eq(expected));
    driver.sound();
}

pub(crate) fn leaves_are_appended_and_read_back(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let made = worked(&mut driver, 7);
    assert_eq!(driver.store.log_size().unwrap(), 0);
    // In the order given, not that of ids.
    let order = [made[2], made[0], made[1], made[6], made[4]];
    assert!(append(&mut *driver.store, 0, &leaves(&order[..1])).unwrap());
    assert_eq!(unlogged(&mut driver).len(), 6);
    assert!(append(&mut *driver.store, 1, &leaves(&order[1..])).unwrap());
    assert_eq!((driver.store.log_size().unwrap(), unlogged(&mut driver)), (5, vec![made[3], made[5]]));

    let all: Vec<LogLeaf> =
        (0..).zip(order).map(|(index, attempt)| LogLeaf { index, attempt, record: record(attempt) }).collect();
    let pick = |indices: &[usize]| -> Vec<LogLeaf> { indices.iter().map(|at| all[*at].clone()).collect() };
    assert_eq!(driver.store.log_leaves(0, u32::MAX).unwrap(), all);
    assert_eq!(driver.store.log_leaves(3, 1).unwrap(), pick(&[3]));
    assert_eq!(driver.store.log_leaves(0, 0).unwrap(), []);
    assert_eq!(driver.store.log_leaves(5, 9).unwrap(), []);
    assert_eq!(driver.store.log_leaves(u64::MAX, 9).unwrap(), []);
    assert_eq!(driver.store.log_leaves_at(&[4, 0, 9, 4, u64::MAX]).unwrap(), pick(&[0, 4]), "in order, each once");
    assert_eq!(driver.store.log_leaves_at(&[]).unwrap(), []);
    let asked = [made[6], made[3], made[0], made[6], NodeId(9_999)];
    assert_eq!(driver.store.log_leaves_of(&asked).unwrap(), pick(&[1, 3]), "in the order of indices");
    driver.sound();
}

pub(crate) fn an_append_that_was_overtaken_changes_nothing(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let made = worked(&mut driver, 3);
    assert!(append(&mut *driver.store, 0, &leaves(&made[..2])).unwrap());
    let before = driver.backend.dump();
    for size in [0, 1, 3, u64::MAX] {
        for attempts in [&made[2..], &made[..1]] {
            assert!(!append(&mut *driver.store, size, &leaves(attempts)).unwrap(), "{size}");
        }
    }
    assert_eq!(driver.backend.dump(), before);
    assert!(append(&mut *driver.store, 2, &leaves(&made[2..])).unwrap());
    driver.sound();
}

pub(crate) fn what_is_not_to_be_logged_is_refused_whole(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let made = worked(&mut driver, 3);
    driver.run(&["live", "d"]);
    let live = driver.started(start(0, 1));
    let (_, publication) = driver.executed(start(1, 1), vec![output("d", "1")]);
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    let foreign = worked(&mut elsewhere, 1);
    assert!(append(&mut *driver.store, 0, &leaves(&made[..1])).unwrap());
    for bad in [live, made[0], publication[0], foreign[0], NodeId(9_999)] {
        refused(&mut driver, 1, &leaves(&[bad]));
        refused(&mut driver, 1, &leaves(&[bad, made[1]]));
        refused(&mut driver, 1, &leaves(&[made[1], made[2], bad]));
    }
    refused(&mut driver, 1, &leaves(&[made[1], made[2], made[1]]));
    for length in [0, 31, 33] {
        refused(&mut driver, 1, &[(made[1], vec![7; 32]), (made[2], vec![7; length])]);
    }
    assert!(append(&mut *driver.store, 1, &leaves(&made[1..])).unwrap());
    driver.sound();
}

pub(crate) fn each_project_has_its_own_log(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &[]);
    let mut two = Driver::of(backend, &project("elsewhere"), &[]);
    let (first, second) = (worked(&mut one, 2), worked(&mut two, 1));
    assert_eq!((unlogged(&mut one), unlogged(&mut two)), (first.clone(), second.clone()));
    assert!(append(&mut *one.store, 0, &leaves(&first)).unwrap());
    assert_eq!((two.store.log_size().unwrap(), unlogged(&mut two)), (0, second.clone()));
    assert!(two.store.log_leaves(0, 9).unwrap().is_empty());
    assert!(two.store.log_leaves_at(&[0, 1]).unwrap().is_empty());
    assert!(two.store.log_leaves_of(&first).unwrap().is_empty());
    assert!(append(&mut *two.store, 0, &leaves(&second)).unwrap());
    assert_eq!((one.store.log_size().unwrap(), two.store.log_size().unwrap()), (2, 1));
    assert_eq!(one.store.checkpoints(9).unwrap(), [checkpoint(2)]);
    assert_eq!(two.store.checkpoints(9).unwrap(), [checkpoint(1)]);
    one.sound();
}

pub(crate) fn a_log_is_always_signed_in_whole(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    assert!(driver.store.checkpoints(9).unwrap().is_empty());
    let made = worked(&mut driver, 5);
    for (size, attempts) in [(0, &made[..1]), (1, &made[1..3]), (3, &made[3..4])] {
        assert!(append(&mut *driver.store, size, &leaves(attempts)).unwrap());
    }
    let before = driver.backend.dump();
    refused(&mut driver, 4, &[]);
    let overtaken = [checkpoint(0), checkpoint(4), checkpoint(6)];
    assert!(overtaken.iter().all(|other| !driver.store.append_log(&leaves(&made[4..]), other).unwrap()));
    assert_eq!(driver.backend.dump(), before);
    let all = [4, 3, 1].map(checkpoint);
    assert_eq!(driver.store.checkpoints(9).unwrap(), all);
    assert_eq!(driver.store.checkpoints(2).unwrap(), all[..2]);
    driver.sound();
}

pub(crate) fn thousands_of_leaves_are_one_append(backend: &dyn Backend) {
    const MANY: u32 = 3_000;
    let mut driver = Driver::new(backend, &vec!["s"; MANY as usize]);
    let changes: Vec<Change> =
        (0..MANY).flat_map(|task| [Change::Start(start(task, 1)), finish(success(task, 1, Vec::new()))]).collect();
    driver.commit(&changes);
    let made = unlogged(&mut driver);
    assert_eq!(made.len(), MANY as usize);
    assert!(append(&mut *driver.store, 0, &leaves(&made)).unwrap());
    assert!(unlogged(&mut driver).is_empty());
    let read = driver.store.log_leaves(0, u32::MAX).unwrap();
    assert!(read.iter().map(|leaf| (leaf.attempt, leaf.record.clone())).eq(leaves(&made)));
    driver.sound();
}

/// Puts everything into the log until there are `all` leaves; returns those it appended.
fn seal(mut store: Box<dyn Store>, all: u64) -> Vec<(u64, NodeId)> {
    let mut own = Vec::new();
    loop {
        let size = store.log_size().unwrap();
        if size == all {
            return own;
        }
        let attempts = store.unlogged(7).unwrap();
        if attempts.is_empty() {
            continue;
        }
        // Somebody else may have been faster, between the two questions as well.
        match append(&mut *store, size, &leaves(&attempts)) {
            Ok(true) => own.extend((size..).zip(attempts)),
            Ok(false) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(crate) fn sealers_on_several_connections_leave_no_gap(backend: &dyn Backend) {
    const TASKS: u32 = 60;
    let mut driver = Driver::new(backend, &vec!["s"; TASKS as usize]);
    let sealers: Vec<_> = (0..4)
        .map(|_| {
            let store = driver.store.reopen().unwrap();
            std::thread::spawn(move || seal(store, TASKS.into()))
        })
        .collect();
    for task in 0..TASKS {
        driver.commit(&[Change::Start(start(task, 1)), finish(success(task, 1, Vec::new()))]);
    }
    let mut appended = BTreeMap::new();
    for sealer in sealers {
        for (index, attempt) in sealer.join().unwrap() {
            assert_eq!(appended.insert(index, attempt), None, "two of them say that they appended leaf {index}");
        }
    }
    let read = driver.store.log_leaves(0, u32::MAX).unwrap();
    assert!(read.iter().map(|leaf| leaf.index).eq(0..TASKS.into()));
    assert!(read.iter().map(|leaf| (leaf.index, leaf.attempt)).eq(appended));
    assert_eq!(read.iter().map(|leaf| leaf.attempt).collect::<BTreeSet<_>>().len(), TASKS as usize);
    assert!(unlogged(&mut driver).is_empty());
    driver.sound();
}
