//! Lineage goes out to other systems and comes in from them, and never mixes with what was verified.

use serde_json::{Value, json};

use crate::project::Project;

const PIPELINE: &str = "
pipeline: story
owner: team:data
params: {n: 1}
steps:
  raw: {kind: ingest, from: ./raw.txt}
  model:
    matrix: {n: [1, 2]}
    in: {data: raw}
    run: 'cat $IN_DATA > $OUT_MODEL; echo $MATRIX_N >> $OUT_MODEL'
    out: {model: {path: model.csv}}
  report: {in: {m: model}, run: 'cat $IN_M > $OUT_REPORT'}
";

fn story() -> Project {
    let project = Project::new(PIPELINE);
    project.write("raw.txt", "one\n");
    project.run(&[]);
    project
}

fn export(project: &Project, args: &[&str]) -> Vec<Value> {
    let ran = project.runstone(&[&["export", "--format", "openlineage"], args].concat()).ok();
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_export_tells_of_attempts_with_exact_versions() {
    let project = story();
    let events = export(&project, &["--all"]);
    assert_eq!(events.len(), 8);
    let report = events.iter().find(|it| it["eventType"] == "COMPLETE" && it["job"]["name"] == "story.report").unwrap();
    let version = &project.json(&["datasets", "story/report"])[0]["hash"];
    assert_eq!(report["outputs"][0]["facets"]["version"]["datasetVersion"], *version);
    assert_eq!(report["inputs"].as_array().unwrap().len(), 2);
    assert_eq!(report["job"]["facets"]["ownership"]["owners"][0]["name"], "team:data");
    assert_eq!(export(&project, &["story/report"]), events);
    assert_eq!(export(&project, &["--since", "1d"]), events);
    assert_eq!(export(&project, &["--all", "--instance", "lab"])[0]["job"]["namespace"], "lab/project");
    project.runstone(&["export", "--format", "openlineage", "--all", "--to", "out.jsonl"]).ok();
    assert_eq!(project.lines("out.jsonl"), 8);
    project.runstone(&["export", "--format", "openlineage", "--all", "--to", "out.jsonl"]).code(6);
    project.runstone(&["export", "--format", "openlineage"]).code(2);
    project.runstone(&["export", "--format", "openlineage", "story/none"]).code(4);
}

#[test]
fn what_others_say_is_shown_apart() {
    let project = story();
    let version = |name: &str| project.json(&["datasets", name])[0]["hash"].clone();
    let event = |run: &str, kind: &str, input: Value, output: Value| {
        json!({
            "eventType": kind, "eventTime": "2026-11-20T02:00:00", "run": {"runId": run},
            "job": {"namespace": "etl", "name": run}, "inputs": [input], "outputs": [output],
        })
        .to_string()
    };
    let dataset = |name: &str, version: Value| json!({"namespace": "s3://lake", "name": name, "facets": {"version": {"datasetVersion": version}}});
    let lines = [
        event("publish", "COMPLETE", dataset("copy", version("story/report")), dataset("page", json!("7"))),
        event("collect", "COMPLETE", dataset("form", json!("3")), dataset("upload", version("story/raw"))),
        "{\"eventTime\": 7}".to_owned(),
    ];
    project.write("events.jsonl", lines.join("\n"));
    let ran = project.runstone(&["import", "openlineage", "events.jsonl"]).code(1);
    assert!(ran.out.contains("3 events: 2 new, 0 known already, 1 failed"), "{}", ran.out);
    assert!(ran.out.contains("2 events had a time without offset, taken as UTC"), "{}", ran.out);
    assert!(ran.err.contains("line 3: it has neither run, job nor dataset"), "{}", ran.err);
    project.write("events.jsonl", lines[..2].join("\n"));
    let report = project.json(&["import", "openlineage", "events.jsonl"]);
    assert_eq!((&report["new"], &report["duplicate"], &report["failed"]), (&json!(0), &json!(2), &json!(0)));

    let down = project.json(&["lineage", "story/raw", "--down"]);
    let names = |view: &Value| -> Vec<String> {
        view["asserted"]["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&down), ["copy", "page"], "read by somebody who is not us, three steps further down");
    assert_eq!(down["asserted"]["points"][0]["is"], json!(["story/report@v1"]));
    assert_eq!(down["asserted"]["runs"][0]["given"], "publish");
    assert!(!down["reads"].to_string().contains("asserted"), "{}", down["reads"]);
    assert_eq!(names(&project.json(&["lineage", "story/report"])), ["form", "upload"]);

    let text = project.runstone(&["lineage", "story/report"]).ok().out;
    let (known, asserted) = text.split_once("asserted by others, not verified:").unwrap();
    assert!(known.contains("story/raw@v1") && !known.contains("upload"), "{text}");
    assert!(asserted.contains("written by etl collect, COMPLETE: s3://lake form@3"), "{text}");
    assert!(asserted.contains("is our story/raw@v1"), "{text}");
    project.runstone(&["import", "openlineage", "none.jsonl"]).code(74);
    project.runstone(&["verify"]).ok();
}

#[test]
fn the_export_of_one_project_is_read_by_another() {
    let one = story();
    let other = Project::new("pipeline: next\nsteps:\n  got: {kind: ingest, from: ./got.txt}\n");
    other.write("got.txt", one.content("story/report"));
    other.run(&[]);
    let lines: String = export(&one, &["--all"]).iter().map(|event| format!("{event}\n")).collect();
    other.write("events.jsonl", lines);
    assert_eq!(other.json(&["import", "openlineage", "events.jsonl"])["new"], 8);
    let up = other.json(&["lineage", "next/got"]);
    let jobs: Vec<&str> =
        up["asserted"]["runs"].as_array().unwrap().iter().map(|run| run["job"].as_str().unwrap()).collect();
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    assert!(jobs.contains(&"story.raw") && jobs.contains(&"story.report"), "{jobs:?}");
    assert_eq!(up["attempts"].as_array().unwrap().len(), 1, "what we know ourselves is the ingest");
    // What it exported itself is no news to a project.
    one.runstone(&["export", "--format", "openlineage", "--all", "--to", "own.jsonl"]).ok();
    one.json(&["import", "openlineage", "own.jsonl"]);
    assert_eq!(one.json(&["lineage", "story/report"])["asserted"]["points"], json!([]));
}
