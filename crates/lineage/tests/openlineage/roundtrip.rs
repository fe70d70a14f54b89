//! Our own export, read by another project of ours: the same graph, with the same content.

use std::collections::BTreeSet;

use runstone_core::record::NodeId;
use runstone_core::store::{Direction, WalkLimit};
use runstone_lineage::asserted::neighbours;
use runstone_lineage::export::{Selection, attempts};
use runstone_lineage::facts;

use crate::rig::{Made, Rig};

/// What the record itself says, in the words of [`Rig::graph`].
fn known(rig: &mut Rig) -> BTreeSet<String> {
    let ids = attempts(&mut *rig.store, Selection::All).unwrap();
    let mut lines = BTreeSet::new();
    for one in facts::load(&mut *rig.store, &ids).unwrap() {
        let uuid = one.attempt.uuid;
        lines.insert(format!("{uuid} {:?} Some(Complete)", format!("lab.{}", one.attempt.step)));
        let mut edge = |side: &str, dataset: &str, hash: &str| {
            lines.insert(format!("{uuid} {side} runstone/lab {dataset} {hash}"));
        };
        one.inputs.iter().for_each(|(_, it)| edge("input", &it.dataset, &it.hash.to_string()));
        one.outputs.iter().for_each(|it| edge("output", &it.dataset, &it.hash.to_string()));
    }
    lines
}

fn diamond(rig: &mut Rig) -> Vec<NodeId> {
    let raw = rig.step("raw", &[], "raw");
    let one = rig.make(&Made { step: "model", cell: "lr=0.1", reads: &[raw], bytes: "m1" });
    let two = rig.make(&Made { step: "model", cell: "lr=0.2", reads: &[raw], bytes: "m2" });
    vec![raw, one, two, rig.step("report", &[one, two], "report")]
}

#[test]
fn an_export_that_is_imported_elsewhere_gives_the_same_graph() {
    let mut one = Rig::new();
    diamond(&mut one);
    let events = one.export(Selection::All);
    let mut other = Rig::new();
    let report = other.tell(&events);
    assert_eq!((report.received, report.new, report.duplicate), (8, 8, 0));
    let graph = other.graph();
    assert_eq!(graph, known(&mut one));
    assert_eq!(graph.len(), 4 + 4 + 4, "runs, outputs, inputs");
    other.tell(&events);
    assert_eq!(other.graph(), graph);
}

#[test]
fn what_others_made_of_our_version_is_found_by_its_content() {
    let mut one = Rig::new();
    diamond(&mut one);
    let mut other = Rig::new();
    // The same bytes came about here by another way.
    let here = other.step("copy", &[], "raw");
    other.step("later", &[here], "mine");
    other.tell(&one.export(Selection::All).into_iter().map(renumbered).collect::<Vec<_>>());
    let view = neighbours(&mut *other.store, &[here], Direction::Down, WalkLimit::NONE).unwrap();
    let names: Vec<&str> = view.points.iter().map(|point| point.name.as_str()).collect();
    assert_eq!(names, ["lab/model", "lab/model", "lab/raw", "lab/report"]);
    assert_eq!(view.points[view.start[0]].is, ["lab/copy@v1"]);
    assert_eq!(view.runs.len(), 3);
}

/// Two projects of a test give their attempts the same identities, real ones never do.
fn renumbered(mut event: serde_json::Value) -> serde_json::Value {
    let id = event["run"]["runId"].as_str().unwrap().replace("-9000-", "-a000-");
    event["run"]["runId"] = id.into();
    event
}

#[test]
fn what_we_know_ourselves_is_not_told_again_as_asserted() {
    let mut rig = Rig::new();
    let nodes = diamond(&mut rig);
    let events = rig.export(Selection::All);
    rig.tell(&events);
    let view = neighbours(&mut *rig.store, &nodes, Direction::Down, WalkLimit::NONE).unwrap();
    assert_eq!((view.points.len(), view.runs.len()), (0, 0));
}
