//! Several runs of one project at a time.

use crate::crash::{WAITING, assert_done_once};
use crate::project::Project;
use crate::running::until;

pub(crate) fn two_runs_share_the_work(project: &Project) {
    project.write("pipeline.yaml", WAITING);
    let first = project.start(&["run", "--json"]);
    until("the step starts", || project.exists("started"));
    let second = project.start(&["run", "--json"]);
    until("the second run is there", || second.told().contains("run_started"));
    project.write("go", "");
    let (first, second) = (first.wait().ok(), second.wait().ok());
    assert_done_once(project);
    assert!(first.executed().contains(&"step".to_owned()), "{first:?}");
    assert!(second.reused().contains(&"step".to_owned()), "{second:?}");
}

#[test]
fn two_runs_at_once_execute_each_thing_once() {
    two_runs_share_the_work(&Project::empty());
}

#[test]
fn many_runs_at_once_execute_each_thing_once() {
    let project = Project::new(
        r#"
pipeline: crowd
steps:
  cell: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}, run: 'echo x >> cell.$MATRIX_N; echo $MATRIX_N > $OUT_CELL'}
  all: {in: {c: cell}, run: 'echo x >> all.count; grep -c key $IN_C > $OUT_ALL'}
"#,
    );
    // The project is made by whoever comes first.
    let runs: Vec<_> = (0..4).map(|_| project.start(&["run", "--jobs", "2"])).collect();
    for run in runs {
        run.wait().ok();
    }
    for n in 1..=8 {
        assert_eq!(project.lines(&format!("cell.{n}")), 1, "cell {n}");
    }
    assert_eq!(project.lines("all.count"), 1);
    let runs = project.json(&["runs"]);
    assert_eq!(runs.as_array().unwrap().iter().filter(|run| run["state"] == "succeeded").count(), 4);
}

#[test]
fn who_waits_for_a_failing_run_does_the_work_itself() {
    let project = Project::new(
        "
pipeline: relay
steps:
  step: {run: 'echo x >> count; touch started; ./wait.sh go; mkdir first 2>/dev/null && exit 1; echo 1 > $OUT_STEP'}
",
    );
    let first = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    let second = project.start(&["run", "--json"]);
    until("the second run is there", || second.told().contains("run_started"));
    project.write("go", "");
    first.wait().code(1);
    let second = second.wait().ok();
    assert_eq!((second.executed(), project.lines("count")), (vec!["step".to_owned()], 2));
}

#[test]
fn who_waits_for_a_run_that_dies_takes_its_step_up() {
    let project = Project::new(WAITING);
    let first = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    let second = project.start(&["run", "--json"]);
    until("the second run is there", || second.told().contains("run_started"));
    first.kill();
    project.write("go", "");
    second.wait().ok();
    assert_done_once(&project);
}

#[test]
fn a_run_that_is_going_on_cannot_be_resumed() {
    let project = Project::new(WAITING);
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    project.runstone(&["resume", "1"]).code(6).says(&["#1"]);
    project.write("go", "");
    run.wait().ok();
    assert_done_once(&project);
}

#[test]
fn logs_follow_a_step_until_it_ends() {
    let project = Project::new(
        "
pipeline: talk
steps:
  step: {run: 'echo first; touch started; ./wait.sh go; echo last; echo 1 > $OUT_STEP'}
",
    );
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    let logs = project.start(&["logs", "step", "-f"]);
    until("the first line is shown", || logs.told().contains("first"));
    project.write("go", "");
    assert_eq!(logs.wait().ok().out, "first\nlast\n");
    run.wait().ok();
}

#[test]
fn cleaning_up_during_a_run_takes_nothing_away() {
    let project = Project::new(WAITING);
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    project.runstone(&["gc", "--spare", "0s", "--runs-older-than", "0s", "--keep-runs", "0"]).ok();
    project.write("go", "");
    run.wait().ok();
    assert_done_once(&project);
    project.runstone(&["gc", "--spare", "0s", "--runs-older-than", "0s", "--keep-runs", "0"]).ok();
    assert_eq!(project.run(&[]).executed(), [""; 0], "what is on record is still there");
    project.runstone(&["verify"]).ok();
}
