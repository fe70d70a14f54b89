//! What others send is taken as far as it can be understood, and told of where it cannot.

use serde_json::json;

use crate::rig::{Rig, dataset, event, lines, uuid};

#[test]
fn a_malformed_event_leaves_nothing_and_the_others_stay() {
    let mut rig = Rig::new();
    let mut bad = event(2, "START", 1, &[dataset("never", "1")], &[]);
    bad["outputs"] = json!([{"namespace": "x"}]);
    let good = event(1, "START", 1, &[dataset("a", "1")], &[]);
    let text = format!("{good}\n{bad}\n{{\"eventTime\": \ngarbage\n{}", lines(&[event(1, "COMPLETE", 2, &[], &[])]));
    let report = rig.import(&text);
    assert_eq!((report.received, report.new, report.duplicate, report.failed), (4, 2, 0, 2));
    let said: Vec<_> = report.failures.iter().map(|it| (it.line, it.message.as_str())).collect();
    assert_eq!(said[0], (2, "outputs[0].name is missing"));
    assert_eq!(said[1].0, 3);
    let graph = rig.graph();
    assert_eq!(graph.len(), 2, "{graph:#?}");
    assert!(!graph.iter().any(|line| line.contains("never") || line.contains(&uuid(2))), "{graph:#?}");
}

#[test]
fn every_shape_of_file_is_read() {
    let events = vec![event(1, "START", 1, &[dataset("a", "1")], &[]), event(1, "COMPLETE", 2, &[], &[])];
    let shapes = [lines(&events), json!(events).to_string(), serde_json::to_string_pretty(&json!(events)).unwrap()];
    let mut graphs = Vec::new();
    for shape in &shapes {
        let mut rig = Rig::new();
        let report = rig.import(shape);
        assert_eq!((report.new, report.failed), (2, 0), "{shape}");
        graphs.push(rig.graph());
    }
    assert!(graphs.iter().all(|graph| *graph == graphs[0]));
    assert_eq!(Rig::new().import(&events[0].to_string()).new, 1);
    assert_eq!(Rig::new().import("").received, 0);
}

#[test]
fn what_was_assumed_is_said() {
    let mut rig = Rig::new();
    let mut odd = event(1, "OTHER", 1, &[], &[]);
    odd["eventTime"] = json!("2026-11-20T02:00:00.123456789");
    odd["run"]["runId"] = json!("run_id");
    odd.as_object_mut().unwrap().remove("schemaURL");
    let report = rig.tell(&[odd]);
    assert_eq!((report.without_zone, report.without_uuid), (1, 1));
    let event = rig.store.asserted_events(0, 1).unwrap().remove(0);
    assert_eq!(event.time.rfc3339(), "2026-11-20T02:00:00.123456Z");
    let run = rig.store.asserted_runs(&[event.run.unwrap()]).unwrap().remove(0);
    assert_eq!((run.given.as_deref(), run.uuid.get_version_num()), (Some("run_id"), 5));
}

#[test]
fn what_a_run_says_accumulates() {
    let mut rig = Rig::new();
    let mut deleted = dataset("c", "9");
    deleted["facets"]["version"]["_deleted"] = json!(true);
    rig.tell(&[
        event(1, "OTHER", 0, &[], &[]),
        event(1, "COMPLETE", 9, &[], &[dataset("b", "2"), deleted]),
        event(1, "START", 1, &[dataset("a", "")], &[]),
        event(1, "RUNNING", 2, &[dataset("a", "1")], &[]),
    ]);
    let line = |rest: &str| format!("{} {rest}", uuid(1));
    let expected = [
        line("\"job1\" Some(Complete)"),
        line("input s3://lake a 1"),
        line("output s3://lake b 2"),
        line("output s3://lake c -"),
    ];
    assert_eq!(rig.graph().into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn many_events_are_recorded_in_batches() {
    let mut rig = Rig::new();
    let events: Vec<_> = (0..450).map(|run| event(run, "COMPLETE", run % 60, &[dataset("a", "1")], &[])).collect();
    let report = rig.tell(&events);
    assert_eq!((report.received, report.new), (450, 450));
    assert_eq!(rig.graph().len(), 900);
}
