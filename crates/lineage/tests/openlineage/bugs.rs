//! Bugs of Marquez, the reference server of OpenLineage, that must not happen here; named after their issues.

use runstone_core::lineage::asserted::{Body, EdgesOf, Point, Qualified, Side};
use runstone_core::store::{Direction, WalkLimit};
use runstone_lineage::asserted::neighbours;
use runstone_lineage::import::openlineage::MAX_ROW_BYTES;
use serde_json::json;

use crate::rig::{Rig, dataset, event, symlinks, uuid};

/// The version that an input states counts; it is never bound to the latest.
#[test]
fn marquez_2733_the_version_that_was_read_is_kept() {
    let mut rig = Rig::new();
    rig.tell(&[
        event(1, "COMPLETE", 1, &[], &[dataset("d", "v1")]),
        event(2, "COMPLETE", 2, &[], &[dataset("d", "v2")]),
        event(3, "COMPLETE", 3, &[dataset("d", "v1")], &[]),
        event(4, "COMPLETE", 4, &[dataset("d", "")], &[]),
    ]);
    let name = Qualified { namespace: "s3://lake".to_owned(), name: "d".to_owned() };
    let id = rig.store.asserted_dataset(&name).unwrap().unwrap();
    let mut readers = |version: Option<&str>| {
        let point = Point { dataset: id, version: version.map(str::to_owned) };
        let edges = rig.store.asserted_edges(EdgesOf::Points(&[point]), Side::Input, 10).unwrap();
        let runs: Vec<_> = edges.iter().map(|edge| edge.run).collect();
        rig.store.asserted_runs(&runs).unwrap().into_iter().map(|run| run.job.name).collect::<Vec<_>>()
    };
    assert_eq!(readers(Some("v1")), ["job3"]);
    assert_eq!(readers(Some("v2")), [""; 0]);
    assert_eq!(readers(None), ["job4"], "without a version it stays without one");
}

#[test]
fn marquez_2708_duplicate_events_change_nothing() {
    let mut rig = Rig::new();
    let events = [
        event(1, "START", 1, &[dataset("a", "1")], &[]),
        event(1, "COMPLETE", 2, &[dataset("a", "1")], &[symlinks(dataset("b", "2"), &["t"])]),
    ];
    rig.tell(&events);
    let before = rig.graph();
    let report = rig.tell(&[&events[..], &events[..]].concat());
    assert_eq!((report.new, report.duplicate), (0, 4));
    // The same event, written in another way.
    let spaced = serde_json::to_string_pretty(&events[0]).unwrap();
    assert_eq!(rig.import(&spaced).duplicate, 1);
    assert_eq!(rig.graph(), before);
    assert_eq!(rig.store.asserted_events(0, 100).unwrap().len(), 2);
}

#[test]
fn marquez_2738_a_late_symlink_merges() {
    let mut rig = Rig::new();
    let table = json!({"namespace": "hive://meta", "name": "t", "facets": {"version": {"datasetVersion": "7"}}});
    rig.tell(&[event(1, "COMPLETE", 1, &[], &[dataset("path", "7")]), event(2, "COMPLETE", 2, &[table], &[])]);
    assert!(rig.graph().iter().any(|line| line.contains("hive://meta t 7")));
    let late = json!({"eventTime": "2026-11-20T03:00:00Z", "dataset": symlinks(dataset("path", ""), &["t"])});
    rig.tell(&[late]);
    let graph = rig.graph();
    assert!(graph.contains(&format!("{} input s3://lake path 7", uuid(2))), "{graph:#?}");
    assert!(
        !graph.iter().any(|line| line.contains("hive://meta")),
        "one dataset, under the name that bears the others"
    );
}

#[test]
fn marquez_2078_a_large_event_is_kept_outside_of_rows() {
    let mut rig = Rig::new();
    let ours = rig.step("raw", &[], "raw");
    let version = rig.store.materializations_by_id(&[ours]).unwrap()[0].hash.to_string();
    let mut large = event(1, "COMPLETE", 1, &[dataset("a", &version)], &[dataset("b", "")]);
    large["run"]["facets"] = json!({"plan": {"text": "x".repeat(10 << 20)}});
    large["outputs"][0]["facets"]["columnLineage"] = json!({"fields": {}, "comment": "y".repeat(1 << 20)});
    let report = rig.tell(&[large.clone()]);
    assert_eq!(report.new, 1);
    let kept = rig.store.asserted_events(0, 1).unwrap().remove(0).body;
    let Body::Object(object) = kept else { panic!("{} bytes in a row", large.to_string().len()) };
    let bytes = rig.objects.read_verified(object.hash, object.size).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), large);
    assert!(rig.store.objects().unwrap().iter().any(|it| it.hash == object.hash), "so that no clean-up takes it");
    let view = neighbours(&mut *rig.store, &[ours], Direction::Down, WalkLimit::NONE).unwrap();
    assert_eq!((view.runs.len(), view.points.len()), (1, 2));
    let size = serde_json::to_vec(&view).unwrap().len();
    assert!(size < MAX_ROW_BYTES, "lineage of {size} bytes");
    let database = std::fs::metadata(rig.folder().join("record.db")).unwrap().len();
    let log = std::fs::metadata(rig.folder().join("record.db-wal")).map_or(0, |log| log.len());
    assert!(database + log < 5 << 20, "the database has {database} bytes, its log {log}");
}
