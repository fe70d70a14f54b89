//! What we say to others: valid, with exact versions, and the same each time.

use std::collections::BTreeSet;

use runstone_core::attempt::Cause;
use runstone_core::hash::ContentHash;
use runstone_core::time::Timestamp;
use runstone_lineage::export::Selection;
use serde_json::{Value, json};

use crate::rig::{COMMIT, Made, Rig};
use crate::schemas::Schemas;

/// A run with everything that events tell of.
fn full() -> Rig {
    let mut rig = Rig::new();
    let raw = rig.step("raw", &[], "a,b\n1,2\n");
    let profile = json!({"rows": 3, "columns": [
        {"name": "a", "type": "int", "nulls": 1, "distinct": 2, "min": -1.5, "max": 4.0, "quantiles": {"0.5": 1.0}},
        {"name": "b", "statistics": {"of": "another kind"}}]});
    assert!(rig.store.set_profile(raw, &profile, Timestamp(5)).unwrap());
    let one = rig.make(&Made { step: "model", cell: "lr=0.1,name=\"a b\"", reads: &[raw, raw], bytes: "m1" });
    rig.make(&Made { step: "report", cell: "partition=2026-11-01", reads: &[one, raw], bytes: "r" });
    rig.fail("broken", Cause::Exit, Some(3));
    rig.fail("stopped", Cause::Cancelled, None);
    rig.begin(&Made { step: "live", cell: "", reads: &[raw], bytes: "" });
    rig
}

fn of<'e>(events: &'e [Value], job: &str, kind: &str) -> &'e Value {
    events.iter().find(|event| event["job"]["name"] == job && event["eventType"] == kind).unwrap()
}

#[test]
fn every_event_and_facet_is_valid() {
    let events = full().export(Selection::All);
    let Some(mut schemas) = Schemas::given() else { return };
    for event in &events {
        assert_eq!(schemas.errors(event), Vec::<String>::new(), "{event:#}");
    }
    for (pointer, wrong) in [
        ("/eventType", json!("BEGIN")),
        ("/run/runId", json!("7")),
        ("/job/facets/sourceCodeLocation/url", json!("no uri")),
        ("/outputs/0/outputFacets/subset/outputCondition/type", json!("other")),
        ("/run/facets/runstone_derivation/definition", json!("b3:12")),
    ] {
        let mut event = of(&events, "lab.report", "COMPLETE").clone();
        *event.pointer_mut(pointer).unwrap() = wrong;
        assert_ne!(schemas.errors(&event), Vec::<String>::new(), "{pointer}");
    }
    let named: BTreeSet<&str> = events.iter().flat_map(facet_names).collect();
    let all = [
        "dataQualityMetrics",
        "errorMessage",
        "executionParameters",
        "inputStatistics",
        "jobType",
        "nominalTime",
        "outputStatistics",
        "ownership",
        "parent",
        "processing_engine",
        "runstone_derivation",
        "schema",
        "sourceCodeLocation",
        "storage",
        "subset",
        "version",
    ];
    assert_eq!(named.into_iter().collect::<Vec<_>>(), all, "no facet goes unseen");
}

fn facet_names(event: &Value) -> Vec<&str> {
    fn walk<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        value.as_array().into_iter().flatten().for_each(|it| walk(it, found));
        for (name, inner) in value.as_object().into_iter().flatten() {
            if inner.get("_schemaURL").is_some() {
                found.push(name);
            }
            walk(inner, found);
        }
    }
    let mut found = Vec::new();
    walk(event, &mut found);
    found
}

#[test]
fn an_attempt_is_told_by_its_beginning_and_its_end() {
    let events = full().export(Selection::All);
    let told: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (event["job"]["name"].as_str().unwrap(), event["eventType"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("lab.raw", "START"),
            ("lab.raw", "COMPLETE"),
            ("lab.model", "START"),
            ("lab.model", "COMPLETE"),
            ("lab.report", "START"),
            ("lab.report", "COMPLETE"),
            ("lab.broken", "START"),
            ("lab.broken", "FAIL"),
            ("lab.stopped", "START"),
            ("lab.stopped", "ABORT"),
            ("lab.live", "START"),
        ]
    );
    let (start, end) = (of(&events, "lab.model", "START"), of(&events, "lab.model", "COMPLETE"));
    assert_eq!(start["run"]["runId"], end["run"]["runId"]);
    assert_eq!((start["outputs"].as_array().unwrap().len(), &start["inputs"]), (0, &end["inputs"]));
    assert_eq!(start["job"]["namespace"], "runstone/lab");
    assert_eq!(start["eventTime"], "1970-01-01T00:00:22.000000Z", "when it was put on record");
    assert_eq!(end["eventTime"], "1970-01-01T00:00:04.000000Z", "when nothing of it was left");
}

#[test]
fn versions_are_content_and_cells_are_subsets() {
    let events = full().export(Selection::All);
    let model = of(&events, "lab.model", "COMPLETE");
    let raw = ContentHash::of(b"a,b\n1,2\n").to_string();
    assert_eq!(model["inputs"].as_array().unwrap().len(), 1, "read under two names, it is one input");
    let input = &model["inputs"][0];
    assert_eq!((&input["name"], &input["facets"]["version"]["datasetVersion"]), (&json!("lab/raw"), &json!(raw)));
    let output = &model["outputs"][0];
    assert_eq!(output["name"], "lab/model", "a cell is no part of the name");
    let partition = &output["outputFacets"]["subset"]["outputCondition"]["partitions"][0];
    assert_eq!(partition["dimensions"], json!({"lr": 0.1, "name": "a b"}));
    assert_eq!(partition["identifier"], "lr=0.1,name=\"a b\"");
    let statistics = &output["outputFacets"]["outputStatistics"];
    assert_eq!(
        (&statistics["rowCount"], &statistics["size"], &statistics["fileCount"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let report = of(&events, "lab.report", "COMPLETE");
    let read = report["inputs"].as_array().unwrap().iter().find(|it| it["name"] == "lab/model").unwrap();
    assert_eq!(read["inputFacets"]["subset"]["inputCondition"]["partitions"][0], *partition);
}

#[test]
fn facets_tell_what_was_asked_and_where_it_belongs() {
    let events = full().export(Selection::All);
    let report = of(&events, "lab.report", "START");
    let facets = &report["run"]["facets"];
    let run = "01900000-0000-7000-8000-000000000001";
    assert_eq!(facets["parent"]["run"]["runId"], run);
    assert_eq!(
        (&facets["parent"]["job"]["name"], &facets["parent"]["root"]["run"]["runId"]),
        (&json!("lab"), &json!(run))
    );
    assert_eq!(facets["nominalTime"]["nominalStartTime"], "2026-11-01T00:00:00.000000Z");
    assert_eq!(facets["nominalTime"]["nominalEndTime"], "2026-11-02T00:00:00.000000Z");
    let parameters = facets["executionParameters"]["parameters"].as_array().unwrap();
    let keys: Vec<_> = parameters.iter().map(|it| format!("{}={}", it["key"], it["value"]).replace('"', "")).collect();
    assert_eq!(keys, ["params.lr=0.1", "params.name=x y", "cell.partition=2026-11-01", "partition=2026-11-01"]);
    let derivation = &facets["runstone_derivation"];
    assert_eq!(derivation["code"][0], json!({"path": "train.py", "content": ContentHash::of(b"code").to_string()}));
    assert_eq!((&derivation["gitDirty"], &derivation["kind"]), (&json!(true), &json!("run")));
    let job = &report["job"]["facets"];
    assert_eq!(
        (&job["ownership"]["owners"][0]["name"], &job["sourceCodeLocation"]["version"]),
        (&json!("team:data"), &json!(COMMIT))
    );
    let broken = &of(&events, "lab.broken", "FAIL")["run"]["facets"]["errorMessage"];
    assert_eq!((&broken["message"], &broken["programmingLanguage"]), (&json!("exit: exit code 3"), &json!("SHELL")));
    let raw = &of(&events, "lab.raw", "COMPLETE")["outputs"][0]["facets"];
    assert_eq!(raw["schema"]["fields"][1], json!({"name": "b", "ordinal_position": 2}));
    assert_eq!(raw["dataQualityMetrics"]["columnMetrics"]["a"]["nullCount"], 1);
    assert_eq!((&raw["storage"]["fileFormat"], &raw["dataQualityMetrics"]["rowCount"]), (&json!("csv"), &json!(3)));
}

#[test]
fn what_is_selected_is_exported_and_twice_it_is_the_same() {
    let mut rig = full();
    let all = rig.export(Selection::All);
    assert_eq!(rig.export(Selection::All), all);
    let report = rig.store.materializations("lab/report", 1).unwrap()[0].id;
    let jobs =
        |events: &[Value]| -> BTreeSet<String> { events.iter().map(|it| it["job"]["name"].to_string()).collect() };
    assert_eq!(jobs(&rig.export(Selection::Up(&[report]))).len(), 3);
    assert_eq!(rig.export(Selection::Since(Timestamp(1))), all);
    assert_eq!(rig.export(Selection::Since(Timestamp(i64::MAX))), Vec::<Value>::new());
}

#[test]
fn many_attempts_are_exported_in_their_order() {
    let mut rig = Rig::new();
    for number in 0..120 {
        rig.step(&format!("s{number}"), &[], "x");
    }
    let jobs: Vec<String> =
        rig.export(Selection::All).iter().map(|it| it["job"]["name"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<String> =
        (0..120).flat_map(|number| [format!("lab.s{number}"), format!("lab.s{number}")]).collect();
    assert_eq!(jobs, expected);
}
