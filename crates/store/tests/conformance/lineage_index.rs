//! The index in memory, fed by a real database: it answers as that does.

use runstone_core::lineage::store::LineageStore;
use runstone_core::record::{NodeId, TaskState};
use runstone_core::store::{Direction, WalkLimit};
use runstone_lineage::index::Index;

use super::Backend;
use super::driver::{Driver, failure, output, pin_node, project, start, success};
use super::lineage::{diamond, reading};

fn same_answers(index: &Index, store: &mut dyn LineageStore) {
    let newest = store.horizon().unwrap().newest.0;
    let limits = [
        WalkLimit::NONE,
        WalkLimit { depth: Some(1), ..WalkLimit::NONE },
        WalkLimit { nodes: 3, ..WalkLimit::NONE },
        WalkLimit { depth: Some(2), nodes: 4, time: None },
    ];
    let each = (0..newest + 2).map(|id| vec![NodeId(id)]);
    for from in each.chain([(0..newest).rev().map(NodeId).collect()]) {
        for direction in [Direction::Up, Direction::Down] {
            for limit in limits {
                let expected = store.closure(&from, direction, limit).unwrap();
                assert_eq!(index.closure(&from, direction, limit), expected, "{from:?} {direction:?} {limit:?}");
            }
        }
    }
}

pub(crate) fn an_index_answers_as_its_store(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    let mut index = Index::build(&mut *driver.store).unwrap();
    assert_eq!((index.size().nodes, index.size().edges), (0, 0));
    diamond(&mut elsewhere);
    let ([raw, left, ..], _) = diamond(&mut driver);
    index.refresh(&mut *driver.store).unwrap();
    same_answers(&index, &mut *driver.store);

    // Attempts end long after others that began later, or not at all.
    driver.run(&["slow", "silent", "broken", "quick", "live"]);
    for task in 0..5 {
        driver.started(reading(task, vec![pin_node("one", raw), pin_node("two", raw), pin_node("left", left)]));
    }
    let quick = driver.finished(success(3, 1, vec![output("quick", "1")]));
    index.refresh(&mut *driver.store).unwrap();
    same_answers(&index, &mut *driver.store);
    diamond(&mut elsewhere);
    driver.finished(success(0, 1, vec![output("slow", "1")]));
    driver.finished(success(1, 1, Vec::new()));
    driver.finished(failure(2, 1, TaskState::Failed));
    driver.run(&["alone", "last"]);
    driver.executed(start(0, 1), vec![output("alone", "1")]);
    driver.executed(reading(1, vec![pin_node("in", quick[0])]), vec![output("last", "1")]);
    index.refresh(&mut *driver.store).unwrap();
    same_answers(&index, &mut *driver.store);
    assert!(index.closure(&[raw], Direction::Down, WalkLimit::NONE).materializations.len() > 6);
    same_answers(&Index::build(&mut *driver.store).unwrap(), &mut *driver.store);
    driver.sound();
}
