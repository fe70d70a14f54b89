//! The lineage graph: what pins point at, and walks through it.

use runstone_core::record::{Lineage, NodeId, RunState, TaskState, Trust};
use runstone_core::store::{
    Applied, Change, Direction, FinishAttempt, NewMaterialization, Pin, PinSource, StartAttempt, WalkLimit,
};

use super::Backend;
use super::driver::{Driver, end_run, failure, finish, output, pin, pin_node, pin_task, settle, start, success};

const ALL: WalkLimit = WalkLimit::NONE;

pub(crate) fn reading(task: u32, pins: Vec<Pin>) -> StartAttempt {
    StartAttempt { pins, ..start(task, 1) }
}

fn nodes(lineage: &Lineage) -> (Vec<NodeId>, Vec<NodeId>, Vec<(NodeId, NodeId)>) {
    (
        lineage.materializations.iter().map(|materialization| materialization.id).collect(),
        lineage.attempts.iter().map(|attempt| attempt.id).collect(),
        lineage.consumed.iter().map(|edge| (edge.attempt, edge.materialization)).collect(),
    )
}

pub(crate) fn pins_point_at_publications_of_the_same_batch(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c", "d"]);
    let cell = |output_name: &str, subset: &str, bytes: &str| NewMaterialization {
        output: output_name.to_owned(),
        subset: subset.to_owned(),
        ..output("a", bytes)
    };
    driver.started(start(0, 1));
    let outputs = vec![cell("parts", "k=1", "1"), cell("index", "", "i"), cell("parts", "k=2", "2")];
    let asserted = Pin { trust: Trust::Asserted, ..pin_task("x", 0, "index") };
    let applied = driver.commit(&[
        finish(success(0, 1, outputs)),
        Change::Start(reading(1, vec![pin_task("all", 0, "parts"), pin_task("all", 0, "parts"), asserted])),
    ]);
    let Applied::Published { materializations: parts, .. } = &applied[0] else { panic!("{applied:?}") };
    let Applied::Started { attempt } = applied[1] else { panic!("{applied:?}") };
    let made = driver.finished(success(1, 1, vec![output("b", "b")]));
    let lineage = driver.store.lineage(&made, Direction::Up, WalkLimit { depth: Some(1), ..ALL }).unwrap();
    let edges: Vec<_> = lineage
        .consumed
        .iter()
        .map(|edge| (edge.attempt, edge.materialization, edge.slot.as_str(), edge.trust))
        .collect();
    assert_eq!(
        edges,
        [
            (attempt, parts[0], "all", Trust::Verified),
            (attempt, parts[1], "x", Trust::Asserted),
            (attempt, parts[2], "all", Trust::Verified)
        ]
    );
    // The same publication under two names is two edges.
    let twice = vec![pin_node("one", parts[0]), pin_node("two", parts[0])];
    let (_, made) = driver.executed(reading(2, twice), vec![output("c", "c")]);
    assert_eq!(driver.store.lineage(&made, Direction::Up, ALL).unwrap().consumed.len(), 2);
    driver.sound();
}

pub(crate) fn pins_on_nothing_are_stale(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["done", "failed", "live", "skipped", "next"]);
    let (attempt, made) = driver.executed(start(0, 1), vec![output("done", "1")]);
    driver.started(start(1, 1));
    driver.finished(failure(1, 1, TaskState::Failed));
    driver.started(start(2, 1));
    driver.apply(settle(3, TaskState::Skipped));
    for bad in [
        pin_task("in", 0, "other"),
        pin_task("in", 1, "out"),
        pin_task("in", 2, "out"),
        pin_task("in", 3, "out"),
        pin_task("in", 4, "out"),
        pin_task("in", 9, "out"),
        pin("in", PinSource::Materialization(attempt)),
        pin_node("in", NodeId(9_999)),
        pin_node("in", NodeId(-1)),
    ] {
        driver.stale(Change::Start(reading(4, vec![bad.clone()])));
        driver.stale(Change::Start(reading(4, vec![pin_node("good", made[0]), bad])));
    }
    driver.started(reading(4, vec![pin_node("good", made[0])]));
    driver.sound();
}

/// `raw → left, right → join`, and `side`, a second output of `left`. Gives the publications in this order, then the attempts.
pub(crate) fn diamond(driver: &mut Driver<'_>) -> ([NodeId; 5], [NodeId; 4]) {
    driver.run(&["raw", "left", "right", "join"]);
    let (a_raw, raw) = driver.executed(start(0, 1), vec![output("raw", "raw")]);
    let side = NewMaterialization { output: "side".to_owned(), ..output("side", "side") };
    let (a_left, left) = driver.executed(reading(1, vec![pin_node("in", raw[0])]), vec![output("left", "l"), side]);
    let (a_right, right) = driver.executed(reading(2, vec![pin_node("in", raw[0])]), vec![output("right", "r")]);
    let pins = vec![pin_node("l", left[0]), pin_node("r", right[0]), pin_node("raw", raw[0])];
    let (a_join, join) = driver.executed(reading(3, pins), vec![output("join", "j")]);
    ([raw[0], left[0], right[0], join[0], left[1]], [a_raw, a_left, a_right, a_join])
}

pub(crate) fn a_diamond_is_walked_both_ways(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let ([raw, left, right, join, side], [a_raw, a_left, a_right, a_join]) = diamond(&mut driver);
    let mut walk = |from: &[NodeId], direction| {
        let lineage = driver.store.lineage(from, direction, ALL).unwrap();
        assert!(lineage.cut.is_none());
        nodes(&lineage)
    };
    let all_edges = vec![(a_left, raw), (a_right, raw), (a_join, raw), (a_join, left), (a_join, right)];
    let up = walk(&[join], Direction::Up);
    assert_eq!(up, (vec![raw, left, right, join], vec![a_raw, a_left, a_right, a_join], all_edges.clone()));
    let down = walk(&[raw], Direction::Down);
    assert_eq!(down, (vec![raw, left, side, right, join], vec![a_left, a_right, a_join], all_edges));
    assert_eq!(walk(&[side], Direction::Up), (vec![raw, side], vec![a_raw, a_left], vec![(a_left, raw)]));
    assert_eq!(walk(&[side], Direction::Down), (vec![side], vec![], vec![]));
    assert_eq!(walk(&[join, raw, join, a_raw, NodeId(9_999)], Direction::Up), up, "what is no publication is left out");
    assert_eq!(walk(&[left, right], Direction::Down).0, [left, right, join]);
    assert_eq!(walk(&[], Direction::Up), (vec![], vec![], vec![]));
    driver.sound();
}

pub(crate) fn limits_cut_and_say_so(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let ([raw, left, right, join, side], attempts) = diamond(&mut driver);
    let mut walk = |from: NodeId, direction, depth: Option<u32>, most: u32| {
        let lineage = driver.store.lineage(&[from], direction, WalkLimit { depth, nodes: most, time: None }).unwrap();
        let (publications, attempts, edges) = nodes(&lineage);
        for (attempt, publication) in &edges {
            assert!(attempts.contains(attempt) && publications.contains(publication));
        }
        assert!(publications.len() <= most as usize);
        (publications, attempts, lineage.cut.is_some())
    };
    assert_eq!(walk(join, Direction::Up, Some(0), 99), (vec![join], vec![], true));
    let one = walk(join, Direction::Up, Some(1), 99);
    assert_eq!(one, (vec![raw, left, right, join], vec![attempts[3]], true), "who made those is left out");
    let two = walk(join, Direction::Up, Some(2), 99);
    assert_eq!(two, (vec![raw, left, right, join], attempts.to_vec(), false));
    assert_eq!(walk(raw, Direction::Down, Some(0), 99), (vec![raw], vec![], true));
    let one = walk(raw, Direction::Down, Some(1), 99);
    assert_eq!(one, (vec![raw, left, side, right, join], attempts[1..].to_vec(), false), "all is within one step");
    assert_eq!(walk(join, Direction::Down, Some(0), 99), (vec![join], vec![], false), "nothing was made of it");
    for most in 0..4 {
        let (publications, _, partial) = walk(join, Direction::Up, None, most);
        assert_eq!((publications.len(), partial), (most as usize, true));
    }
    assert!(!walk(join, Direction::Up, None, 4).2);
    assert!(walk(raw, Direction::Down, None, 4).2);
    assert!(!walk(raw, Direction::Down, None, 5).2);
    driver.sound();
}

pub(crate) fn a_long_chain_is_walked_to_its_end(backend: &dyn Backend) {
    const LENGTH: u32 = 2_000;
    let mut driver = Driver::new(backend, &vec!["link"; LENGTH as usize]);
    let mut changes = Vec::new();
    for task in 0..LENGTH {
        let pins = task.checked_sub(1).map(|before| pin_task("in", before, "out")).into_iter().collect();
        changes.push(Change::Start(reading(task, pins)));
        changes.push(finish(success(task, 1, vec![output("chain", &format!("{task}"))])));
    }
    let applied = driver.commit(&changes);
    let ids: Vec<NodeId> = applied
        .iter()
        .filter_map(|applied| match applied {
            Applied::Published { materializations, .. } => Some(materializations[0]),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), LENGTH as usize);
    let (first, last) = (ids[0], ids[ids.len() - 1]);
    for (from, direction, attempts) in [(last, Direction::Up, LENGTH), (first, Direction::Down, LENGTH - 1)] {
        let lineage = driver.store.lineage(&[from], direction, ALL).unwrap();
        assert_eq!(nodes(&lineage).0, ids);
        assert_eq!((lineage.attempts.len(), lineage.consumed.len()), (attempts as usize, LENGTH as usize - 1));
        assert!(lineage.cut.is_none());
        let part = driver.store.lineage(&[from], direction, WalkLimit { depth: Some(10), ..ALL }).unwrap();
        assert_eq!((part.materializations.len(), part.attempts.len(), part.cut.is_some()), (11, 10, true));
    }
    driver.sound();
}

/// `A → B → A`: the version comes back, the publication does not, so that there is no cycle.
pub(crate) fn bytes_that_come_back_make_no_cycle(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "a"]);
    let (_, one) = driver.executed(start(0, 1), vec![output("a", "A")]);
    let (_, two) = driver.executed(reading(1, vec![pin_node("in", one[0])]), vec![output("b", "B")]);
    let (_, three) = driver.executed(reading(2, vec![pin_node("in", two[0])]), vec![output("a", "A")]);
    let up = driver.store.lineage(&three, Direction::Up, ALL).unwrap();
    assert_eq!(nodes(&up).0, [one[0], two[0], three[0]]);
    assert_eq!((up.materializations[0].version, up.materializations[2].version), (1, 1));
    assert_eq!(nodes(&driver.store.lineage(&one, Direction::Up, ALL).unwrap()).0, one);
    assert_eq!(nodes(&driver.store.lineage(&three, Direction::Down, ALL).unwrap()).0, three);
    driver.sound();
}

pub(crate) fn attempts_that_failed_made_nothing(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c"]);
    let (_, made) = driver.executed(start(0, 1), vec![output("a", "A")]);
    driver.started(reading(1, vec![pin_node("in", made[0])]));
    driver.finished(failure(1, 1, TaskState::Failed));
    driver.started(reading(2, vec![pin_node("in", made[0])]));
    let down = driver.store.lineage(&made, Direction::Down, ALL).unwrap();
    assert_eq!((down.materializations.len(), down.attempts.len(), down.consumed.len()), (1, 0, 0));
    let none = driver.store.lineage(&made, Direction::Down, WalkLimit { depth: Some(0), ..ALL }).unwrap();
    assert!(none.cut.is_none());
    driver.finished(success(2, 1, Vec::new()));
    assert_eq!(driver.store.lineage(&made, Direction::Down, ALL).unwrap().attempts.len(), 1);
    driver.sound();
}

pub(crate) fn the_nearest_attempt_is_the_newest_success(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let near = |driver: &mut Driver<'_>, except| {
        let found = driver.store.nearest("p", "a", "", except).unwrap();
        found.map(|attempt| (attempt.run_number, attempt.number))
    };
    assert_eq!(near(&mut driver, None), None);
    driver.started(start(0, 1));
    driver.finished(failure(0, 1, TaskState::Retrying));
    driver.started(start(0, 2));
    assert_eq!(near(&mut driver, None), Some((1, 2)), "without any success the newest of any state");
    driver.finished(failure(0, 2, TaskState::Failed));
    driver.apply(end_run(RunState::Failed));
    driver.run(&["a"]);
    driver.executed(start(0, 1), Vec::new());
    let second = driver.owner.run;
    driver.run(&["a"]);
    driver.started(start(0, 1));
    driver.finished(failure(0, 1, TaskState::Failed));
    assert_eq!(near(&mut driver, None), Some((2, 1)));
    let third = driver.owner.run;
    assert_eq!(near(&mut driver, Some(third)), Some((2, 1)));
    assert_eq!(near(&mut driver, Some(second)), Some((3, 1)));
    for (pipeline, step, cell) in [("q", "a", ""), ("p", "b", ""), ("p", "a", "x=1")] {
        assert_eq!(driver.store.nearest(pipeline, step, cell, None).unwrap(), None);
    }
    // A tainted success is a success.
    driver.run(&["a"]);
    driver.started(start(0, 1));
    let mut end: FinishAttempt = success(0, 1, Vec::new());
    end.end.tainted = Some("changed".to_owned());
    driver.finished(end);
    assert_eq!(near(&mut driver, None), Some((4, 1)));
    driver.sound();
}

pub(crate) fn what_stood_before_is_of_an_earlier_run(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let before = |driver: &mut Driver<'_>, attempt| {
        driver.store.preceding(attempt).unwrap().map(|found| (found.run_number, found.number))
    };
    let first = driver.started(start(0, 1));
    driver.finished(failure(0, 1, TaskState::Retrying));
    let again = driver.started(start(0, 2));
    driver.finished(failure(0, 2, TaskState::Failed));
    let (other, _) = driver.executed(start(1, 1), Vec::new());
    driver.apply(end_run(RunState::Failed));
    assert_eq!([first, again, other].map(|attempt| before(&mut driver, attempt)), [None, None, None]);
    driver.run(&["a"]);
    let (second, _) = driver.executed(start(0, 1), Vec::new());
    assert_eq!(before(&mut driver, second), Some((1, 2)), "without any success the newest of any state");
    driver.run(&["a"]);
    driver.started(start(0, 1));
    driver.finished(failure(0, 1, TaskState::Failed));
    driver.run(&["a"]);
    let (fourth, _) = driver.executed(start(0, 1), Vec::new());
    assert_eq!(before(&mut driver, fourth), Some((2, 1)), "a success, although a failure came after it");
    assert_eq!(before(&mut driver, second), Some((1, 2)), "what came later does not count");
    assert_eq!(before(&mut driver, NodeId(i64::MAX)), None);
    driver.sound();
}
