//! The graph as ids: walks that read no records, and all edges page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runstone_core::lineage::store::{Closure, Edges};
use runstone_core::record::{Cut, NodeId, TaskState};
use runstone_core::store::{Direction, WalkLimit};

use super::Backend;
use super::driver::{Driver, failure, output, pin_node, pin_task, project, start, success};
use super::lineage::{diamond, reading};

const ALL: WalkLimit = WalkLimit::NONE;

fn sorted(ids: &[NodeId]) -> Vec<NodeId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// What the walk that reads records met.
fn met(driver: &mut Driver<'_>, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Closure {
    let lineage = driver.store.lineage(from, direction, limit).unwrap();
    Closure {
        materializations: lineage.materializations.iter().map(|publication| publication.id).collect(),
        attempts: lineage.attempts.iter().map(|attempt| attempt.id).collect(),
        cut: lineage.cut,
    }
}

pub(crate) fn a_closure_is_a_walk_without_its_records(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let ([raw, left, right, join, side], attempts) = diamond(&mut driver);
    // A reader that succeeded and published nothing, and one that failed.
    driver.run(&["report", "broken"]);
    let (report, _) = driver.executed(reading(0, vec![pin_node("in", side)]), Vec::new());
    driver.started(reading(1, vec![pin_node("in", side)]));
    driver.finished(failure(1, 1, TaskState::Failed));

    let limits = [None, Some(0), Some(1), Some(2)].into_iter().flat_map(|depth| {
        [0, 1, 2, 4, u32::MAX]
            .into_iter()
            .flat_map(move |nodes| [None, Some(Duration::MAX)].map(|time| WalkLimit { depth, nodes, time }))
    });
    for limit in limits {
        for direction in [Direction::Up, Direction::Down] {
            for from in
                [&[raw] as &[_], &[join], &[side], &[left, right], &[join, attempts[0], join, NodeId(9_999)], &[]]
            {
                let found = driver.store.closure(from, direction, limit).unwrap();
                assert_eq!(found, met(&mut driver, from, direction, limit), "{from:?} {direction:?} {limit:?}");
            }
        }
    }
    let down = driver.store.closure(&[raw], Direction::Down, ALL).unwrap();
    assert_eq!(down.materializations, sorted(&[raw, left, right, join, side]));
    assert_eq!(down.attempts, sorted(&[attempts[1], attempts[2], attempts[3], report]));
    assert_eq!(down.cut, None);
    driver.sound();
}

pub(crate) fn a_walk_names_the_first_limit_that_cut_it(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let ([raw, left, right, join, side], _) = diamond(&mut driver);
    let mut cut = |from: &[NodeId], depth, nodes, time| {
        let found = driver.store.closure(from, Direction::Up, WalkLimit { depth, nodes, time }).unwrap();
        (found.materializations, found.cut)
    };
    let now = Some(Duration::ZERO);
    assert_eq!(cut(&[join], Some(1), 99, None), (vec![raw, left, right, join], Some(Cut::Depth)));
    assert_eq!(cut(&[join], None, 3, None), (vec![raw, left, join], Some(Cut::Nodes)));
    assert_eq!(cut(&[join], Some(1), 3, None), (vec![raw, left, join], Some(Cut::Nodes)), "before it was too deep");
    assert_eq!(cut(&[join], None, 99, now), (vec![join], Some(Cut::Time)));
    assert_eq!(cut(&[join], Some(0), 99, now), (vec![join], Some(Cut::Depth)));
    assert_eq!(cut(&[join, side], None, 1, now), (vec![side], Some(Cut::Nodes)));
    assert_eq!(cut(&[], None, 0, now), (vec![], None));
    let found = driver.store.closure(&[join], Direction::Down, WalkLimit { time: now, ..ALL }).unwrap();
    assert_eq!((found.materializations, found.cut), (vec![join], None), "nothing was left out");
    driver.sound();
}

fn nothing(until: NodeId) -> Edges {
    Edges { attempts: Vec::new(), consumed: Vec::new(), produced: Vec::new(), until }
}

/// Everything after an id, `ids` at a time.
fn paged(driver: &mut Driver<'_>, after: NodeId, ids: u32) -> Edges {
    let mut whole = nothing(after);
    loop {
        let page = driver.store.edges(whole.until, ids).unwrap();
        let ends = page.consumed.iter().map(|(_, late)| late).chain(page.produced.iter().map(|(_, late)| late));
        let ends = ends.chain(page.attempts.iter().map(|(attempt, _)| attempt));
        assert!(ends.into_iter().all(|late| *late > whole.until && *late <= page.until));
        assert!(page.until >= whole.until && page.until.0 - whole.until.0 <= i64::from(ids));
        if page.until == whole.until {
            return whole;
        }
        whole.attempts.extend(page.attempts);
        whole.consumed.extend(page.consumed);
        whole.produced.extend(page.produced);
        whole.until = page.until;
    }
}

/// A graph with everything in it: cells, two names for one publication, attempts that failed, that live, that published
/// nothing, and another project's nodes in between. Gives the publications of the last task.
fn grow(driver: &mut Driver<'_>, elsewhere: &mut Driver<'_>) -> Vec<NodeId> {
    diamond(driver);
    diamond(elsewhere);
    let ([raw, ..], _) = diamond(driver);
    driver.run(&["a", "b", "c", "d", "live"]);
    driver.executed(reading(0, vec![pin_node("one", raw), pin_node("two", raw)]), vec![output("a", "1")]);
    driver.started(reading(1, vec![pin_node("in", raw)]));
    driver.finished(failure(1, 1, TaskState::Failed));
    diamond(elsewhere);
    driver.executed(reading(2, vec![pin_task("in", 0, "out")]), Vec::new());
    let (_, last) = driver.executed(reading(3, vec![pin_task("in", 0, "out")]), vec![output("d", "1")]);
    driver.started(start(4, 1));
    last
}

pub(crate) fn edges_read_page_by_page_are_the_graph(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    assert_eq!(driver.store.edges(NodeId(0), 9).unwrap(), nothing(NodeId(0)));
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    let last = grow(&mut driver, &mut elsewhere);
    let whole = driver.store.edges(NodeId(0), u32::MAX).unwrap();
    for ids in [1, 2, 3, 7, 1_000, u32::MAX] {
        assert_eq!(paged(&mut driver, NodeId(0), ids), whole, "{ids}");
    }
    assert_eq!(whole.until, driver.store.horizon().unwrap().newest);
    assert_eq!(driver.store.edges(whole.until, 9).unwrap(), nothing(whole.until));
    let beyond = NodeId(whole.until.0 + 1_000);
    assert_eq!(driver.store.edges(beyond, 9).unwrap().until, beyond);
    assert_eq!(driver.store.edges(NodeId(0), 0).unwrap().until, NodeId(0));

    // All there is on record of the project, in order, and nothing else.
    let mut states = BTreeMap::new();
    for run in driver.store.runs(&Default::default()).unwrap() {
        let attempts = driver.store.attempts(run.id, None).unwrap();
        states.extend(attempts.into_iter().map(|attempt| (attempt.id, attempt.state.outcome())));
    }
    assert!(whole.attempts.iter().copied().eq(states.clone()));
    let attempts: Vec<NodeId> = states.keys().rev().copied().collect();
    let over: Vec<_> = states.iter().filter_map(|(id, outcome)| Some((*id, (*outcome)?))).collect();
    assert!(over.len() < states.len() && over.iter().any(|(_, succeeded)| !succeeded));
    let asked = [&attempts[..], &attempts, &[NodeId(9_999), whole.until]].concat();
    assert_eq!(driver.store.ended(&asked).unwrap(), over);
    assert_eq!(elsewhere.store.ended(&asked).unwrap(), []);
    let consumed: BTreeSet<_> =
        driver.store.consumed(&attempts).unwrap().into_iter().map(|e| (e.attempt, e.materialization)).collect();
    assert!(whole.consumed.iter().map(|(publication, attempt)| (*attempt, *publication)).eq(consumed));
    let published = driver.store.published(&attempts).unwrap();
    assert_eq!(whole.produced, published.iter().map(|made| (made.attempt, made.id)).collect::<Vec<_>>());

    // From the last publication up, they lead where the walk goes.
    let (mut publications, mut above) = (BTreeSet::from_iter(last.iter().copied()), BTreeSet::new());
    loop {
        let before = publications.len();
        above
            .extend(whole.produced.iter().filter(|(_, made)| publications.contains(made)).map(|(attempt, _)| *attempt));
        publications.extend(whole.consumed.iter().filter(|(_, reader)| above.contains(reader)).map(|(read, _)| *read));
        if publications.len() == before {
            break;
        }
    }
    let walked = driver.store.closure(&last, Direction::Up, ALL).unwrap();
    assert!(walked.materializations.into_iter().eq(publications));
    assert!(walked.attempts.into_iter().eq(above));
    driver.sound();
}

pub(crate) fn a_horizon_only_moves_forward(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let empty = driver.store.horizon().unwrap();
    assert_eq!(empty.newest, NodeId(0));
    let mut before = empty;
    for task in 0..2 {
        let (attempt, made) = driver.executed(start(task, 1), vec![output("a", "1")]);
        let now = driver.store.reopen().unwrap().horizon().unwrap();
        assert_eq!((attempt < made[0], now.newest), (true, made[0]));
        assert!(now.fence >= before.fence && now.oldest >= before.oldest && now.oldest <= now.fence);
        before = now;
    }
    // What is stale takes no place.
    driver.stale(super::driver::finish(success(0, 1, Vec::new())));
    assert_eq!(driver.store.horizon().unwrap().newest, before.newest);
    driver.sound();
}
