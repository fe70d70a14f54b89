//! How versions hang together: what lies between two, what became of one, and limits that say that they cut.

use runstone_core::lineage::tag::{Expect, NewTagMove, TagName};
use runstone_core::record::{Cut, NodeId};
use runstone_core::store::{Direction, WalkLimit};
use runstone_lineage::{Kind, graph, impact, path};

use crate::record::{Record, Run, file, ingest, program};

const ALL: WalkLimit = WalkLimit::NONE;

/// raw → one → two → three, and raw → three. Gives the publications.
fn shortcut(record: &mut Record) -> [NodeId; 4] {
    let run = record.run("shop", &[("raw", ""), ("one", ""), ("two", ""), ("three", "")]);
    let raw = record.work(run, &ingest("shop/raw", file("0"))).only();
    let one = made(record, run, 1, "shop/one", &[("a", raw)]);
    let two = made(record, run, 2, "shop/two", &[("a", one)]);
    let three = made(record, run, 3, "shop/three", &[("a", two), ("b", raw)]);
    [raw, one, two, three]
}

fn made(record: &mut Record, run: Run, task: u32, dataset: &str, reads: &[(&'static str, NodeId)]) -> NodeId {
    let mut deed = program(dataset, "code", &format!("{dataset} of {reads:?}")).task(task);
    for (slot, node) in reads {
        deed = deed.reads(record, slot, *node);
    }
    record.work(run, &deed).only()
}

#[test]
fn the_shortest_way_is_one_hop_and_all_others_are_between() {
    let mut record = Record::new();
    let [raw, .., three] = shortcut(&mut record);
    for (one, other) in [(raw, three), (three, raw)] {
        let view = path::between(&mut *record.store, &[one], &[other], ALL).unwrap();
        let hops: Vec<(&str, Option<&str>)> =
            view.shortest.iter().map(|hop| (hop.version.as_str(), hop.made_by.as_deref())).collect();
        assert_eq!(hops, [("shop/raw@v1", None), ("shop/three@v1", Some("#1 three"))], "whichever is named first");
        assert_eq!((view.between.versions.len(), view.between.attempts.len()), (4, 3), "what made raw is not between");
        assert!(!view.between.partial);
    }
}

#[test]
fn what_has_no_way_between_is_not_found_and_what_was_not_looked_at_is_no_answer() {
    let mut record = Record::new();
    let [raw, .., three] = shortcut(&mut record);
    let run = record.run("other", &[("raw", "")]);
    let other = record.work(run, &ingest("other/raw", file("9"))).only();
    let error = path::between(&mut *record.store, &[raw], &[other], ALL).unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (Kind::NotFound, "neither of the two came from the other"));
    let few = WalkLimit { nodes: 1, ..ALL };
    let error = path::between(&mut *record.store, &[raw], &[three], few).unwrap_err();
    assert!(!error.to_string().contains("neither"), "nobody knows that: {error}");
}

#[test]
fn every_limit_cuts_and_is_named() {
    let mut record = Record::new();
    let [raw, .., three] = shortcut(&mut record);
    let limits = [
        (WalkLimit { depth: Some(1), ..ALL }, Cut::Depth),
        (WalkLimit { nodes: 2, ..ALL }, Cut::Nodes),
        (WalkLimit { time: Some(std::time::Duration::ZERO), ..ALL }, Cut::Time),
    ];
    for (limit, cut) in limits {
        for (start, direction) in [(three, Direction::Up), (raw, Direction::Down)] {
            let view = graph::walk(&mut *record.store, &[start], direction, limit).unwrap();
            assert_eq!((view.partial, view.cut), (true, Some(cut)), "{direction:?}");
            let nodes: Vec<i64> = view.versions.iter().map(|it| it.node).collect();
            assert!(nodes.contains(&start.0) && nodes.len() < 4, "{nodes:?}");
            let inside = |read: &graph::ReadView| nodes.contains(&read.version_node);
            assert!(view.reads.iter().all(inside), "no edge leads out of what is shown");
        }
        let start = record.store.materializations_by_id(&[raw]).unwrap();
        let view = impact::of(&mut *record.store, &start, limit).unwrap();
        assert_eq!((view.partial, view.cut), (true, Some(cut)));
    }
    // A limit that is just wide enough cuts nothing, and does not say so.
    let exact = WalkLimit { depth: Some(3), nodes: 4, time: None };
    let view = graph::walk(&mut *record.store, &[raw], Direction::Down, exact).unwrap();
    assert_eq!((view.partial, view.versions.len()), (false, 4));
}

#[test]
fn what_is_derived_is_grouped_by_pipeline_with_what_is_in_use() {
    let mut record = Record::new();
    let [raw, _, two, three] = shortcut(&mut record);
    let run = record.run("board", &[("view", "")]);
    let view = made(&mut record, run, 0, "board/view", &[("t", three)]);
    tag(&mut record, "shop/two", "champion", two);
    // Of another source: latest is elsewhere now.
    let run = record.run("shop", &[("raw", ""), ("three", "")]);
    let other = record.work(run, &ingest("shop/raw", file("7"))).only();
    made(&mut record, run, 1, "shop/three", &[("b", other)]);
    let start = record.store.materializations_by_id(&[raw]).unwrap();
    let found = impact::of(&mut *record.store, &start, ALL).unwrap();
    let pipelines: Vec<&str> = found.pipelines.iter().map(|it| it.pipeline.as_str()).collect();
    assert_eq!((pipelines, found.versions, found.attempts), (vec!["board", "shop"], 4, 4));
    let of = |pipeline: usize, at: usize| &found.pipelines[pipeline].datasets[at];
    assert_eq!((of(0, 0).dataset.as_str(), &of(0, 0).latest[..]), ("board/view", &["board/view@v1".to_owned()][..]));
    let names: Vec<&str> = found.pipelines[1].datasets.iter().map(|it| it.dataset.as_str()).collect();
    assert_eq!(names, ["shop/one", "shop/three", "shop/two"]);
    assert!(of(1, 1).latest.is_empty(), "the latest is of the other source: {:?}", of(1, 1));
    assert_eq!((of(1, 2).tags[0].tag.as_str(), of(1, 2).tags[0].version.as_str()), ("champion", "shop/two@v1"));
    let view = record.store.materializations_by_id(&[view]).unwrap();
    assert_eq!(impact::of(&mut *record.store, &view, ALL).unwrap().versions, 0, "nothing came of the last one");
}

/// The same bytes, published again, are the same version: what was made of it before is still made of it.
#[test]
fn a_version_is_all_of_its_publications() {
    let mut record = Record::new();
    let [raw, .., three] = shortcut(&mut record);
    let run = record.run("shop", &[("raw", "")]);
    let again = record.work(run, &ingest("shop/raw", file("0"))).only();
    assert_ne!(raw, again);
    let wanted = "shop/raw@v1".parse().unwrap();
    let start = runstone_lineage::find::publications(&mut *record.store, &wanted).unwrap();
    let found = impact::of(&mut *record.store, &start, ALL).unwrap();
    assert_eq!((found.versions, &found.of[..]), (3, &["shop/raw@v1".to_owned()][..]));
    let nodes: Vec<NodeId> = start.iter().map(|it| it.id).collect();
    let view = path::between(&mut *record.store, &nodes, &[three], ALL).unwrap();
    assert_eq!(view.shortest.len(), 2);
}

fn tag(record: &mut Record, dataset: &str, name: &str, target: NodeId) {
    let at = record.tick();
    let step = NewTagMove {
        dataset: dataset.to_owned(),
        name: TagName::new(name).unwrap(),
        targets: vec![target],
        expect: Expect::Anything,
        at,
        user: "ada".into(),
        host: "lab".into(),
        note: None,
    };
    record.store.move_tag(&step).unwrap();
}
