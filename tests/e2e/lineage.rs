//! Versions have names, an origin and descendants, and their bytes come back.

use serde_json::Value;

use crate::project::Project;

const PIPELINE: &str = "
pipeline: story
params: {n: 1}
steps:
  raw: {kind: ingest, from: ./raw.txt}
  model: {in: {data: raw}, run: 'cat $IN_DATA > $OUT_MODEL; echo $PARAM_N >> $OUT_MODEL', out: {model: {path: model.txt}}}
  report: {in: {m: model}, params: [], run: 'wc -c < $IN_M > $OUT_REPORT'}
";

fn story() -> Project {
    let project = Project::new(PIPELINE).with("USER", "ada");
    project.write("raw.txt", "one\n");
    project.run(&[]);
    project.run(&["-p", "n=2"]);
    project.write("raw.txt", "three\n");
    project.run(&["-p", "n=2"]);
    project
}

fn datasets(lineage: &Value) -> Vec<String> {
    let name = |version: &Value| format!("{}@v{}", version["dataset"].as_str().unwrap(), version["version"]);
    lineage["versions"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_version_has_several_names() {
    let project = story();
    let versions = project.json(&["datasets", "story/model"]);
    let hash = versions[0]["hash"].as_str().unwrap().to_owned();
    for name in [
        "story/model",
        "model",
        "story/model@latest",
        "story/model@v3",
        "story/model@run:3",
        &format!("story/model@{}", &hash[..12]),
    ] {
        assert_eq!(project.content(name), "three\n2\n", "{name}");
    }
    assert_eq!(project.content(&hash), "three\n2\n");
    assert_eq!(project.content("story/model@v1"), "one\n1\n");
    assert_eq!(project.content("story/model@run:2"), "one\n2\n");
}

#[test]
fn the_way_up_and_down_names_versions_and_runs() {
    let project = story();
    let up = project.json(&["lineage", "story/report@v2"]);
    let names = datasets(&up);
    assert!(names.contains(&"story/raw@v2".to_owned()) && names.contains(&"story/model@v3".to_owned()), "{names:?}");
    assert!(!names.contains(&"story/raw@v1".to_owned()), "{names:?}");
    let down = datasets(&project.json(&["lineage", "story/raw@v1", "--down"]));
    for version in ["story/model@v1", "story/model@v2", "story/report@v1"] {
        assert!(down.contains(&version.to_owned()), "{down:?}");
    }
    assert!(!down.contains(&"story/model@v3".to_owned()), "{down:?}");
    let near = datasets(&project.json(&["lineage", "story/report@v2", "--depth", "1"]));
    assert!(!near.contains(&"story/raw@v2".to_owned()), "{near:?}");
    let diagram = project.runstone(&["lineage", "story/report", "--mermaid"]).ok().out;
    assert!(diagram.contains("graph") || diagram.contains("flowchart"), "{diagram}");
    assert!(project.runstone(&["lineage", "story/report", "--dot"]).ok().out.starts_with("digraph"));
}

#[test]
fn a_run_is_on_record_with_who_where_and_what() {
    let project = story();
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).current_dir(project.path(""));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    project.write(".gitignore", ".runstone\n");
    git(&["add", "-A"]);
    git(&["commit", "-qm", "all"]);
    project.run(&[]);
    let run = project.show("latest");
    assert_eq!((&run["git_commit"], &run["git_dirty"]), (&git(&["rev-parse", "HEAD"]).into(), &false.into()));
    assert_eq!((&run["user"], &run["params"]["n"]), (&"ada".into(), &1.into()));
    for field in ["host", "platform", "tool_version", "definition_hash", "id"] {
        assert!(run[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {run:#}");
    }
    project.edit("pipeline.yaml", "pipeline: story", "pipeline: story # changed");
    project.run(&[]);
    assert_eq!(project.show("latest")["git_dirty"], true);
}

#[test]
fn a_reused_result_leads_to_the_run_that_did_the_work() {
    let project = story();
    let run = project.run(&["-p", "n=2"]);
    assert_eq!(run.executed(), [""; 0]);
    let lineage = project.json(&["lineage", "story/model"]);
    let versions = lineage["versions"].as_array().unwrap();
    let model = versions.iter().find(|version| version["dataset"] == "story/model").unwrap();
    assert_eq!(model["producer"]["run_number"], 3);
    let why = project.json(&["why", "model"]);
    assert_eq!((&why[0]["state"], &why[0]["nearest"]["run_number"]), (&"reused".into(), &3.into()));
}

#[test]
fn folders_come_back_as_they_were() {
    let project = Project::new(
        "
pipeline: tree
steps:
  tree:
    run: mkdir $OUT_TREE/a; echo 1 > $OUT_TREE/a/b; echo '#!/bin/sh' > $OUT_TREE/run; chmod +x $OUT_TREE/run; mkdir $OUT_TREE/empty
    out: {tree: {dir: true}}
",
    );
    project.run(&[]);
    project.runstone(&["checkout", "tree/tree", "copy"]).ok();
    assert_eq!(project.read("copy/a/b"), "1\n");
    let status = std::process::Command::new(project.path("copy/run")).status();
    assert!(status.unwrap().success(), "what could be executed still can");
    project.write("copy/a/b", "mine");
    assert_eq!(project.run(&[]).executed(), [""; 0], "a copy is one's own");
    project.runstone(&["verify"]).ok();
}

#[test]
fn metrics_are_compared_across_runs_and_cells() {
    let project = Project::new(
        r#"
pipeline: compare
params: {bonus: 0}
steps:
  model: {matrix: {n: [1, 2, 3]}, run: 'echo "{\"f1\": $((MATRIX_N + PARAM_BONUS))}" > $METRICS; echo 1 > $OUT_MODEL'}
"#,
    );
    project.run(&[]);
    project.run(&["-p", "bonus=10"]);
    let rows = project.json(&["metrics", "--run", "2", "--sort", "f1"]);
    let values: Vec<f64> = rows.as_array().unwrap().iter().map(|row| row["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [13.0, 12.0, 11.0]);
    let diff = project.runstone(&["metrics", "--diff", "1", "2"]).ok().out;
    assert!(diff.contains("model{n=3}") && diff.contains("13") && diff.contains("+10"), "{diff}");
}
