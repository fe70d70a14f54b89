//! The program is killed, and nothing that it said is lost, nothing done twice, nobody left behind.

use rustix::process::{Pid, Signal, kill_process};

use crate::project::Project;
use crate::running::{is_alive, until};

/// A step that waits in the middle of its work, between two others.
pub(crate) const WAITING: &str = r#"
pipeline: waiting
steps:
  before: {run: 'echo x >> before.count; echo 1 > $OUT_BEFORE'}
  step:
    in: {b: before}
    run: echo $$ >> pids; touch started; ./wait.sh go; echo x >> step.count; echo 2 > "$OUT_STEP"
  after: {in: {s: step}, run: 'echo x >> after.count; cat $IN_S > $OUT_AFTER'}
"#;

/// Starts a run and kills the program while the step waits. Returns the process of the step.
fn killed(project: &Project) -> u32 {
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    run.kill();
    let pid = pid_of_step(project);
    assert!(is_alive(pid), "a step outlives the program");
    pid
}

fn pid_of_step(project: &Project) -> u32 {
    project.read("pids").lines().last().unwrap().parse().unwrap()
}

fn parent(pid: u32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

pub(crate) fn assert_done_once(project: &Project) {
    for step in ["before", "step", "after"] {
        assert_eq!(project.lines(&format!("{step}.count")), 1, "{step}");
    }
    assert_eq!(project.lines("pids"), 1);
    assert!(!is_alive(pid_of_step(project)));
    assert_eq!(project.content("waiting/after"), "2\n");
    project.runstone(&["verify"]).ok();
}

pub(crate) fn a_run_is_resumed_while_its_step_lives(project: &Project) {
    project.write("pipeline.yaml", WAITING);
    killed(project);
    let resume = project.start(&["resume", "--json"]);
    until("the run is taken over", || resume.told().contains("run_started"));
    project.write("go", "");
    let resumed = resume.wait().ok();
    assert_eq!(resumed.executed(), ["after", "step"], "{resumed:?}");
    assert_done_once(project);
    let runs = project.json(&["runs"]);
    assert_eq!((runs.as_array().unwrap().len(), &runs[0]["state"]), (1, &"succeeded".into()));
    assert_eq!(project.task("step")["attempts"], 1);
}

#[test]
fn a_step_that_is_still_alive_is_taken_up_by_resume() {
    a_run_is_resumed_while_its_step_lives(&Project::empty());
}

#[test]
fn a_step_that_ended_in_between_is_not_run_again() {
    let project = Project::new(WAITING);
    let pid = killed(&project);
    project.write("go", "");
    until("the step ends", || !is_alive(pid));
    let resumed = project.runstone(&["resume", "--json"]).ok();
    assert!(resumed.executed().contains(&"after".to_owned()), "{resumed:?}");
    assert_done_once(&project);
}

#[test]
fn the_exit_code_of_a_step_survives_the_program() {
    let project = Project::new(
        "
pipeline: seven
steps:
  step: {run: 'echo $$ >> pids; touch started; ./wait.sh go; exit 7'}
",
    );
    let pid = killed(&project);
    project.write("go", "");
    until("the step ends", || !is_alive(pid));
    project.runstone(&["resume"]).code(1);
    let task = project.task("step");
    assert_eq!((&task["attempt"]["exit_code"], &task["attempts"]), (&7.into(), &1.into()));
    assert_eq!(project.lines("pids"), 1);
}

#[test]
fn a_new_run_adopts_what_is_still_alive() {
    let project = Project::new(WAITING);
    killed(&project);
    let run = project.start(&["run", "--json"]);
    until("the new run is there", || run.told().contains("run_started"));
    project.write("go", "");
    let run = run.wait().ok();
    assert!(run.reused().contains(&"before".to_owned()), "{run:?}");
    assert_done_once(&project);
    // The first run can still be brought to its end, and has nothing left to do.
    let resumed = project.runstone(&["resume", "1", "--json"]).ok();
    assert_eq!(resumed.executed().iter().filter(|task| *task == "after").count(), 0, "{resumed:?}");
    assert_done_once(&project);
    let runs = project.json(&["runs"]);
    assert!(runs.as_array().unwrap().iter().all(|run| run["state"] == "succeeded"), "{runs:#}");
}

#[test]
fn a_new_run_reuses_what_ended_after_the_program_died() {
    let project = Project::new(WAITING);
    let pid = killed(&project);
    project.write("go", "");
    until("the step ends", || !is_alive(pid));
    project.run(&[]);
    assert_done_once(&project);
}

#[test]
fn a_killed_run_can_be_cancelled() {
    let project = Project::new(WAITING);
    let pid = killed(&project);
    project.runstone(&["cancel", "latest"]).ok();
    let resumed = project.runstone(&["resume"]);
    assert_eq!(resumed.code, 130, "{resumed:?}");
    until("the step is gone", || !is_alive(pid));
    assert_eq!(project.lines("step.count"), 0);
    assert_eq!(project.show("latest")["state"], "cancelled");
}

#[test]
fn a_step_whose_supervisor_is_killed_is_lost_and_tried_again_alone() {
    let project = Project::new(WAITING);
    let run = project.start(&["run", "--json"]);
    until("the step starts", || project.exists("started"));
    let first = pid_of_step(&project);
    kill_process(Pid::from_raw(parent(first)).unwrap(), Signal::KILL).unwrap();
    until("the second attempt starts", || project.lines("pids") == 2);
    assert!(!is_alive(first), "the first attempt is over before the second one begins");
    project.write("go", "");
    run.wait().ok();
    assert_eq!((project.task("step")["attempts"].as_i64(), project.lines("step.count")), (Some(2), 1));
}

#[test]
fn program_and_supervisor_may_both_be_killed() {
    let project = Project::new(WAITING);
    let run = project.start(&["run"]);
    until("the step starts", || project.exists("started"));
    let first = pid_of_step(&project);
    let supervisor = Pid::from_raw(parent(first)).unwrap();
    run.kill();
    kill_process(supervisor, Signal::KILL).unwrap();
    let resume = project.start(&["resume", "--json"]);
    until("the second attempt starts", || project.lines("pids") == 2);
    assert!(!is_alive(first), "the first attempt is over before the second one begins");
    project.write("go", "");
    resume.wait().ok();
    assert_eq!(project.lines("step.count"), 1);
}

#[test]
fn a_resumed_run_keeps_its_definition_and_parameters() {
    let project = Project::new(
        "
pipeline: pinned
params: {n: 1}
steps:
  first: {params: [], run: 'echo $$ >> pids; touch started; ./wait.sh go; echo 1 > $OUT_FIRST'}
  second: {in: {f: first}, run: 'echo $PARAM_N > $OUT_SECOND'}
",
    );
    let run = project.start(&["run", "-p", "n=5"]);
    until("the step starts", || project.exists("started"));
    run.kill();
    project.edit("pipeline.yaml", "echo $PARAM_N", "echo changed");
    project.write("go", "");
    project.runstone(&["resume"]).ok();
    assert_eq!(project.content("pinned/second"), "5\n");
}

#[test]
fn a_program_killed_again_and_again_does_everything_once() {
    const STEPS: usize = 12;
    let mut text = "pipeline: storm\nsteps:\n  s0: {run: 'echo x >> count0; echo 0 > $OUT_S0'}\n".to_owned();
    for step in 1..STEPS {
        let before = step - 1;
        text +=
            &format!("  s{step}: {{in: {{b: s{before}}}, run: 'echo x >> count{step}; echo {step} > $OUT_S{step}'}}\n");
    }
    let project = Project::new(&text);
    // Each time it is killed when one more step has begun: at another moment of the work around it.
    let run = project.start(&["run"]);
    until("the first step starts", || project.lines("count0") > 0);
    run.kill();
    for step in 1..STEPS {
        let mut resume = project.start(&["resume"]);
        until("the next step starts", || project.lines(&format!("count{step}")) > 0 || resume.has_ended());
        resume.kill();
    }
    let resumed = project.runstone(&["resume"]);
    assert!(resumed.code == 0 || project.show("latest")["state"] == "succeeded", "{resumed:?}");
    for step in 0..STEPS {
        assert_eq!(project.lines(&format!("count{step}")), 1, "s{step}");
    }
    project.runstone(&["verify"]).ok();
}
