//! What others assert: events are recognised, edges accumulate, and names lead where they were said to lead.

use runstone_core::hash::ContentHash;
use runstone_core::lineage::asserted::{
    AssertedDatasetId, AssertedEdge, AssertedRunId, Body, EdgesOf, EventKind, EventType, NewAssertedEdge,
    NewAssertedEvent, NewAssertedRun, NewSymlinks, Point, Qualified, Side,
};
use runstone_core::record::ContentKind;
use runstone_core::store::{KeptObject, Store};
use runstone_core::time::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Backend;
use super::driver::{Driver, marker, project, start};

const NOW: Timestamp = Timestamp(77_000_000);
const ALL: u32 = u32::MAX;

fn qualified(name: &str) -> Qualified {
    Qualified { namespace: "s3://bucket".to_owned(), name: name.to_owned() }
}

fn edge(side: Side, name: &str, version: &str) -> NewAssertedEdge {
    let version = Some(version).filter(|version| !version.is_empty()).map(str::to_owned);
    NewAssertedEdge { side, dataset: qualified(name), version, columns: None }
}

fn reads(name: &str, version: &str) -> NewAssertedEdge {
    edge(Side::Input, name, version)
}

fn writes(name: &str, version: &str) -> NewAssertedEdge {
    edge(Side::Output, name, version)
}

/// An event of the run of this number.
fn event(run: u128, kind: EventType, time: i64, edges: Vec<NewAssertedEdge>) -> NewAssertedEvent {
    seal(NewAssertedEvent {
        dedup: [0; 32],
        kind: EventKind::Run,
        event_type: Some(kind),
        time: Timestamp(time),
        run: Some(NewAssertedRun { uuid: Uuid::from_u128(run), given: None }),
        job: Some(Qualified { namespace: "spark".to_owned(), name: format!("job {run}") }),
        edges,
        datasets: Vec::new(),
        symlinks: Vec::new(),
        body: Body::Text("{}".to_owned()),
    })
}

/// An event that says how a dataset is called as well.
fn naming(name: &str, others: &[&str], time: i64) -> NewAssertedEvent {
    let names = others.iter().map(|other| qualified(other)).collect();
    seal(NewAssertedEvent {
        kind: EventKind::Dataset,
        event_type: None,
        run: None,
        job: None,
        datasets: vec![qualified(name)],
        symlinks: vec![NewSymlinks { dataset: qualified(name), names }],
        ..event(0, EventType::Other, time, Vec::new())
    })
}

fn seal(mut event: NewAssertedEvent) -> NewAssertedEvent {
    event.dedup = [0; 32];
    event.dedup = *ContentHash::of(format!("{event:?}").as_bytes()).as_bytes();
    event
}

fn assert_all(store: &mut dyn Store, events: &[NewAssertedEvent]) -> Vec<bool> {
    store.assert_events(marker(), events, NOW).unwrap()
}

fn dataset(store: &mut dyn Store, name: &str) -> AssertedDatasetId {
    store.asserted_dataset(&qualified(name)).unwrap().unwrap()
}

fn at(store: &mut dyn Store, name: &str, version: Option<&str>, side: Side) -> Vec<AssertedEdge> {
    let point = Point { dataset: dataset(store, name), version: version.map(str::to_owned) };
    store.asserted_edges(EdgesOf::Points(&[point]), side, ALL).unwrap()
}

fn runs_of(edges: &[AssertedEdge]) -> Vec<AssertedRunId> {
    edges.iter().map(|edge| edge.run).collect()
}

/// Numbers of runs, in the order of rows.
fn numbers(store: &mut dyn Store, edges: &[AssertedEdge]) -> Vec<u128> {
    let runs = store.asserted_runs(&runs_of(edges)).unwrap();
    runs.iter().map(|run| run.uuid.as_u128()).collect()
}

pub(crate) fn an_event_is_recorded_once(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let begun = event(1, EventType::Start, 5, vec![reads("a", "7")]);
    let ended = event(1, EventType::Complete, 6, vec![writes("b", "")]);
    assert_eq!(assert_all(&mut *store, &[begun.clone(), ended.clone(), begun.clone()]), [true, true, false]);
    let before = backend.dump();
    assert_eq!(assert_all(&mut *store, &[ended, begun]), [false, false]);
    assert_eq!(backend.dump(), before);
    assert_eq!(assert_all(&mut *store, &[]), [false; 0]);
    let kept = store.asserted_events(0, 10).unwrap();
    let types: Vec<_> = kept.iter().map(|event| (event.event_type, event.time.0, event.received)).collect();
    assert_eq!(types, [(Some(EventType::Start), 5, NOW), (Some(EventType::Complete), 6, NOW)]);
    assert_eq!(store.asserted_events(kept[0].id, 10).unwrap(), kept[1..]);
    assert_eq!(store.asserted_events(0, 1).unwrap(), kept[..1]);
}

pub(crate) fn edges_are_found_from_every_side(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let content = ContentHash::of(b"x");
    let version = content.to_string();
    assert_all(
        &mut *store,
        &[
            event(1, EventType::Complete, 5, vec![reads("a", "7"), writes("b", &version), writes("b", "old")]),
            event(2, EventType::Complete, 6, vec![reads("b", &version), reads("a", "8"), reads("b", "b3:12")]),
            event(3, EventType::Complete, 7, vec![reads("other name", &version)]),
        ],
    );
    let readers = at(&mut *store, "b", Some(&version), Side::Input);
    assert_eq!(numbers(&mut *store, &readers), [2]);
    assert_eq!(at(&mut *store, "b", Some("new"), Side::Input), [], "exactly this version, never another one");
    assert_eq!(at(&mut *store, "b", None, Side::Input), []);
    assert_eq!(at(&mut *store, "a", Some("8"), Side::Output), []);
    let of_content = store.asserted_edges(EdgesOf::Contents(&[content]), Side::Input, ALL).unwrap();
    assert_eq!(numbers(&mut *store, &of_content), [2, 3]);
    let first = runs_of(&at(&mut *store, "a", Some("7"), Side::Input));
    let mut written = store.asserted_edges(EdgesOf::Runs(&first), Side::Output, ALL).unwrap();
    let b = dataset(&mut *store, "b");
    written.sort_by_key(|edge| edge.point.version.clone());
    let points: Vec<_> = written.iter().map(|edge| (edge.point.dataset, edge.point.version.as_deref())).collect();
    assert_eq!(points, [(b, Some(version.as_str())), (b, Some("old"))]);
    assert_eq!(store.asserted_edges(EdgesOf::Runs(&first), Side::Output, 1).unwrap().len(), 1);
    assert_eq!(store.asserted_dataset(&qualified("none")).unwrap(), None);
    assert_eq!(store.asserted_runs(&[AssertedRunId(999)]).unwrap(), []);
    assert_eq!(store.asserted_datasets(&[AssertedDatasetId(999)]).unwrap(), []);
}

pub(crate) fn an_edge_without_a_version_gives_way_to_one_with(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    assert_all(&mut *store, &[event(1, EventType::Start, 5, vec![reads("a", ""), reads("b", "")])]);
    let without = at(&mut *store, "a", None, Side::Input);
    assert_eq!(numbers(&mut *store, &without), [1]);
    assert_all(&mut *store, &[event(1, EventType::Complete, 6, vec![reads("a", "7"), writes("b", "7")])]);
    assert_eq!(at(&mut *store, "a", None, Side::Input), []);
    let run = runs_of(&without);
    let read = store.asserted_edges(EdgesOf::Runs(&run), Side::Input, ALL).unwrap();
    let versions: Vec<_> = read.iter().map(|edge| edge.point.version.as_deref()).collect();
    assert_eq!(versions, [Some("7"), None], "what was written says nothing of what was read");
}

pub(crate) fn what_our_own_attempts_did_is_left_out(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let ours = start(0, 1);
    let number = ours.uuid.as_u128();
    let events = [
        event(number, EventType::Start, 5, vec![reads("a", "7")]),
        event(2, EventType::Start, 5, vec![reads("a", "7")]),
    ];
    assert_all(&mut *driver.store, &events);
    let before = at(&mut *driver.store, "a", Some("7"), Side::Input);
    assert_eq!(before.len(), 2);
    driver.started(ours);
    let after = at(&mut *driver.store, "a", Some("7"), Side::Input);
    assert_eq!(numbers(&mut *driver.store, &after), [2]);
    assert_eq!(driver.store.asserted_edges(EdgesOf::Runs(&runs_of(&before)), Side::Input, ALL).unwrap(), after);
    let mut other = backend.open(&project("other"));
    assert_all(&mut *other, &events);
    assert_eq!(at(&mut *other, "a", Some("7"), Side::Input).len(), 2, "to another project they are not its own");
    driver.sound();
}

pub(crate) fn names_lead_to_the_dataset_that_bears_them(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let wrote = event(1, EventType::Complete, 5, vec![writes("path", "7")]);
    let read = event(2, EventType::Complete, 6, vec![reads("table", "7")]);
    assert_all(&mut *store, &[wrote, read]);
    assert_eq!(at(&mut *store, "path", Some("7"), Side::Input), []);
    // Late, and in one direction: the table is a name of the path.
    assert_all(&mut *store, &[naming("path", &["table", "view"], 9)]);
    let readers = at(&mut *store, "path", Some("7"), Side::Input);
    assert_eq!(numbers(&mut *store, &readers), [2]);
    let id = dataset(&mut *store, "table");
    let known = store.asserted_datasets(&[id]).unwrap();
    assert_eq!(
        (&known[0].name, &known[0].symlinks),
        (&qualified("path"), &vec![qualified("table"), qualified("view")])
    );
    // Told later, but said earlier.
    assert_all(&mut *store, &[naming("path", &[], 8), naming("elsewhere", &["view"], 7)]);
    assert_eq!(dataset(&mut *store, "table"), id);
    assert_eq!(dataset(&mut *store, "view"), id);
    assert_all(&mut *store, &[naming("elsewhere", &["view"], 10)]);
    assert_eq!(dataset(&mut *store, "view"), dataset(&mut *store, "elsewhere"));
    assert_all(&mut *store, &[naming("path", &[], 11)]);
    assert_eq!(at(&mut *store, "path", Some("7"), Side::Input), [], "the name was withdrawn");
}

pub(crate) fn the_order_of_events_makes_no_difference(backend: &dyn Backend) {
    let events = [
        event(1, EventType::Start, 5, vec![reads("a", ""), reads("t", "1")]),
        naming("a", &["t"], 4),
        naming("b", &["a"], 6),
        event(1, EventType::Complete, 7, vec![reads("a", "2"), writes("c", "")]),
        naming("t", &["b"], 5),
    ];
    let mut seen: Vec<Vec<String>> = Vec::new();
    for turn in 0..events.len() {
        let mut turned = events.to_vec();
        turned.rotate_left(turn);
        if turn % 2 == 1 {
            turned.reverse();
        }
        let mut store = backend.open(&project(&format!("turn {turn}")));
        for one in &turned {
            assert_all(&mut *store, &[one.clone(), turned[0].clone()]);
        }
        seen.push(graph(&mut *store));
    }
    assert!(seen.iter().all(|graph| *graph == seen[0]), "{seen:#?}");
}

/// Everything there is to see, by names.
fn graph(store: &mut dyn Store) -> Vec<String> {
    let mut lines = Vec::new();
    let runs: Vec<AssertedRunId> =
        store.asserted_events(0, ALL).unwrap().iter().filter_map(|event| event.run).collect();
    for run in store.asserted_runs(&runs).unwrap() {
        lines.push(format!("{} {:?} {:?} {:?} {:?}", run.uuid, run.job, run.state, run.first, run.last));
        for side in [Side::Input, Side::Output] {
            for edge in store.asserted_edges(EdgesOf::Runs(&[run.id]), side, ALL).unwrap() {
                let names = store.asserted_datasets(&[edge.point.dataset]).unwrap();
                lines.push(format!("{side:?} {:?} {:?} {:?}", names[0].name, names[0].symlinks, edge.point.version));
            }
        }
    }
    lines.sort_unstable();
    lines
}

pub(crate) fn a_run_is_told_by_all_its_events(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let mut late = event(1, EventType::Other, 9, Vec::new());
    late.job = Some(Qualified { namespace: "spark".to_owned(), name: "renamed".to_owned() });
    assert_all(&mut *store, &[event(1, EventType::Other, 4, vec![reads("a", "")]), seal(late)]);
    let run = runs_of(&at(&mut *store, "a", None, Side::Input));
    let told = |store: &mut dyn Store| store.asserted_runs(&run).unwrap().remove(0);
    assert_eq!(told(&mut *store).state, Some(EventType::Other));
    assert_all(&mut *store, &[event(1, EventType::Fail, 6, Vec::new()), event(1, EventType::Start, 3, Vec::new())]);
    let known = told(&mut *store);
    assert_eq!((known.state, known.first, known.last), (Some(EventType::Fail), Timestamp(3), Timestamp(9)));
    assert_eq!((known.job.name.as_str(), known.kind, known.given), ("renamed", EventKind::Run, None));
    let mut job = event(7, EventType::Other, 4, vec![writes("a", "")]);
    (job.kind, job.event_type) = (EventKind::Job, None);
    job.run = Some(NewAssertedRun { uuid: Uuid::from_u128(7), given: Some("job 7".to_owned()) });
    assert_all(&mut *store, &[seal(job)]);
    let job = runs_of(&at(&mut *store, "a", None, Side::Output));
    let known = store.asserted_runs(&job).unwrap().remove(0);
    assert_eq!((known.kind, known.state, known.given.as_deref()), (EventKind::Job, None, Some("job 7")));
}

pub(crate) fn columns_are_those_that_were_said_last(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let with = |time: i64, columns: Value| {
        let mut edge = writes("a", "7");
        edge.columns = Some(columns);
        event(1, EventType::Running, time, vec![edge])
    };
    assert_all(&mut *store, &[with(5, json!({"fields": {"x": 2.5}})), with(4, json!({"fields": {}}))]);
    let run = runs_of(&at(&mut *store, "a", Some("7"), Side::Output));
    let a = dataset(&mut *store, "a");
    assert_eq!(store.asserted_columns(&run).unwrap(), [(run[0], a, json!({"fields": {"x": 2.5}}))]);
    assert_all(&mut *store, &[with(6, Value::Null)]);
    assert_eq!(store.asserted_columns(&run).unwrap(), []);
}

pub(crate) fn a_large_body_is_an_object_that_is_kept(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let object = KeptObject { hash: ContentHash::of(b"large"), kind: ContentKind::File, size: 12_345_678 };
    let mut large = event(1, EventType::Start, 5, Vec::new());
    large.body = Body::Object(object.clone());
    assert_all(&mut *store, &[seal(large)]);
    assert_eq!(store.asserted_events(0, 1).unwrap()[0].body, Body::Object(object.clone()));
    let kept = store.objects().unwrap();
    assert_eq!(kept.iter().map(|it| (it.hash, it.size)).collect::<Vec<_>>(), [(object.hash, object.size)]);
}

pub(crate) fn any_text_is_asserted(backend: &dyn Backend) {
    let mut store = backend.open(&project("hello"));
    let name = "ü/'\"\\ {a=1}\n\u{1f409}";
    assert_all(&mut *store, &[event(1, EventType::Start, 5, vec![reads(name, name)])]);
    let found = at(&mut *store, name, Some(name), Side::Input);
    let datasets = store.asserted_datasets(&[found[0].point.dataset]).unwrap();
    assert_eq!(datasets[0].name, qualified(name));
}

pub(crate) fn many_may_assert_at_the_same_time(backend: &dyn Backend) {
    const EACH: usize = 20;
    let claim = |writer: usize, turn: usize| naming(&format!("d{}", (turn + writer) % 5), &["shared"], turn as i64);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let mut store = backend.open(&project("hello"));
            scope.spawn(move || {
                for turn in 0..EACH {
                    assert_all(&mut *store, &[claim(writer, turn), event(1, EventType::Running, 5, Vec::new())]);
                }
            });
        }
    });
    let mut store = backend.open(&project("hello"));
    let mut again = backend.open(&project("in order"));
    for turn in 0..EACH {
        for writer in 0..4 {
            assert_all(&mut *again, &[claim(writer, turn)]);
        }
    }
    let owner = |store: &mut dyn Store| {
        let id = dataset(store, "shared");
        store.asserted_datasets(&[id]).unwrap().remove(0).name
    };
    assert_eq!(owner(&mut *store), owner(&mut *again));
}
