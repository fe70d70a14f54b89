//! What a step reads changes while it runs: its result is marked, never reused and never the latest.

use crate::project::Project;
use crate::running::until;

fn assert_tainted(project: &Project, dataset: &str) {
    let versions = project.json(&["datasets", dataset]);
    assert_eq!(versions[0]["tainted"], true, "{versions:#}");
    let latest = project.runstone(&["checkout", &format!("{dataset}@latest"), "copy"]);
    assert_eq!(latest.code, 4, "{latest:?}");
}

#[test]
fn code_that_changes_meanwhile_taints_the_result() {
    let project = Project::new("pipeline: code\nsteps:\n  step: {run: sh ./work.sh}\n");
    project.write("work.sh", "echo x >> count; touch started; ./wait.sh go; echo 1 > $OUT_STEP\n");
    let run = project.start(&["run", "--json"]);
    until("the step starts", || project.exists("started"));
    let text = project.read("work.sh");
    project.write("work.sh", format!("{text}# changed\n"));
    project.write("go", "");
    let run = run.wait().ok();
    assert!(run.out.contains("tainted: code file work.sh"), "{run:?}");
    assert!(project.task("step")["attempt"]["tainted"].as_str().unwrap().contains("work.sh"));
    assert_tainted(&project, "code/step");
    project.write("work.sh", &text);
    assert_eq!(project.run(&[]).executed(), ["step"]);
    assert_eq!(project.lines("count"), 2);
    assert_eq!(project.content("code/step"), "1\n");
    assert_eq!(project.run(&[]).executed(), [""; 0]);
}

#[test]
fn an_input_that_is_changed_meanwhile_taints_the_result_and_is_made_again() {
    let project = Project::new(
        "
pipeline: input
steps:
  data: {run: 'echo data > $OUT_DATA'}
  step: {in: {d: data}, run: './wait.sh go; tr a-z A-Z < $IN_D > $OUT_STEP; touch started; ./wait.sh on'}
  reader: {in: {s: step}, run: 'echo from $(cat $IN_S) > $OUT_READER'}
",
    );
    project.write("go", "");
    let run = project.start(&["run", "--json"]);
    until("the step has read", || project.exists("started"));
    use std::os::unix::fs::PermissionsExt;
    let object = project.object("data\n");
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&object, "evil\n").unwrap();
    project.write("on", "");
    run.wait();
    assert_tainted(&project, "input/step");
    let again = project.run(&[]);
    assert!(
        again.executed().contains(&"data".to_owned()) && again.executed().contains(&"step".to_owned()),
        "{again:?}"
    );
    assert_eq!(
        (project.content("input/data"), project.content("input/reader")),
        ("data\n".into(), "from DATA\n".into())
    );
    project.runstone(&["verify"]).ok();
}

#[test]
fn a_source_that_changes_after_it_was_taken_in_changes_nothing() {
    let project = Project::new(
        "
pipeline: source
steps:
  raw: {kind: ingest, from: ./raw.txt}
  step: {in: {r: raw}, run: 'touch started; ./wait.sh go; cat $IN_R > $OUT_STEP'}
",
    );
    project.write("raw.txt", "old\n");
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    project.write("raw.txt", "new\n");
    project.write("go", "");
    run.wait().ok();
    assert_eq!(project.content("source/step"), "old\n");
    project.run(&[]);
    assert_eq!(project.content("source/step"), "new\n");
}
