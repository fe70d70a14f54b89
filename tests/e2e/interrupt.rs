//! People stop runs: once to end them gracefully, twice to end them now, and from another window.

use rustix::process::Signal;

use crate::project::Project;
use crate::running::{is_alive, until};

const TRAPPING: &str = r#"
pipeline: stop
steps:
  quick: {run: 'echo x >> quick.count; echo 1 > $OUT_QUICK'}
  step:
    in: {q: quick}
    grace: 1h
    run: |
      trap 'echo "$(cat again 2>/dev/null || echo exit)" >> trapped; test -e again || exit 0' TERM
      setsid sh -c 'echo $$ > daemon; exec sleep 600' > /dev/null 2>&1 &
      ./wait.sh daemon
      echo $$ > pid; touch started
      while [ ! -e go ]; do sleep 0.02 || :; done
      echo 1 > "$OUT_STEP"
  after: {in: {s: step}, run: 'echo 1 > $OUT_AFTER'}
"#;

fn pid(project: &Project, file: &str) -> u32 {
    project.read(file).trim().parse().unwrap()
}

fn assert_gone(project: &Project) {
    for file in ["pid", "daemon"] {
        assert!(!is_alive(pid(project, file)), "{file} is still there");
    }
}

#[test]
fn once_ends_gracefully_and_resume_goes_on() {
    let project = Project::new(TRAPPING);
    let run = project.start(&["run", "--json"]);
    until("the step starts", || project.exists("started"));
    run.interrupt();
    let run = run.wait().code(130);
    assert_eq!(project.read("trapped"), "exit\n", "the step had its chance");
    assert_gone(&project);
    assert_eq!(run.cancelled(), ["step"]);
    let shown = project.show("latest");
    assert_eq!(shown["state"], "cancelled");
    assert_eq!(project.task("step")["attempt"]["cause"], "cancelled");
    assert_eq!(project.task("step")["state"], "cancelled");
    project.write("go", "");
    let resumed = project.runstone(&["resume", "--json"]).ok();
    assert_eq!(resumed.executed(), ["after", "step"]);
    assert_eq!(project.lines("quick.count"), 1);
}

#[test]
fn twice_ends_now() {
    let project = Project::new(TRAPPING);
    project.write("again", "ignored");
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    run.interrupt();
    until("the step is told", || project.lines("trapped") > 0);
    assert!(is_alive(pid(&project, "pid")), "it ignores that");
    run.interrupt();
    run.wait().code(130);
    assert_gone(&project);
    assert_eq!(project.show("latest")["state"], "cancelled");
}

#[test]
fn term_is_as_good_as_a_key() {
    let project = Project::new(TRAPPING);
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    run.signal(Signal::TERM);
    run.wait().code(130);
    assert_eq!(project.read("trapped"), "exit\n");
    assert_gone(&project);
}

#[test]
fn another_window_can_cancel_a_run() {
    let project = Project::new(TRAPPING);
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    project.runstone(&["cancel", "1"]).ok();
    run.wait().code(130);
    assert_eq!(project.read("trapped"), "exit\n");
    assert_gone(&project);
    assert_eq!(project.show("1")["state"], "cancelled");
}

#[test]
fn a_step_that_ignores_term_is_killed_after_its_grace() {
    let project = Project::new(TRAPPING);
    project.edit("pipeline.yaml", "grace: 1h", "grace: 50ms");
    project.write("again", "ignored");
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    run.interrupt();
    run.wait().code(130);
    assert_gone(&project);
    assert_eq!(project.task("step")["attempt"]["cause"], "cancelled");
}

#[test]
fn nothing_starts_after_an_interrupt() {
    let project = Project::new(
        "
pipeline: queue
steps:
  cell: {matrix: {n: [1, 2, 3, 4, 5, 6]}, run: 'echo x >> count; touch started; ./wait.sh go; echo 1 > $OUT_CELL'}
",
    );
    let run = project.start(&["run", "--jobs", "1"]);
    until("the first task starts", || project.exists("started"));
    run.interrupt();
    run.wait().code(130);
    assert_eq!(project.lines("count"), 1);
    project.write("go", "");
    project.runstone(&["resume"]).ok();
    assert_eq!(project.lines("count"), 7);
}
