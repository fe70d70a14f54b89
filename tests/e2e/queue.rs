//! `runstone queue`: what waits, and exactly why.

use serde_json::Value;

use crate::project::Project;
use crate::running::until;
use crate::service::{leave, serve, serve_with, trigger, until_run};

/// Waits until `queue` says of something what it waits for, and returns the sentence.
fn until_blocked(project: &Project, list: &str, number: i64, blocker: &str) -> String {
    let mut queue = Value::Null;
    until(&format!("#{number} waits for {blocker}"), || {
        queue = project.json(&["queue"]);
        let name = if list == "runs" { "number" } else { "run" };
        queue[list].as_array().unwrap().iter().any(|one| one[name] == number && one["blocker"] == blocker)
    });
    let found = queue[list].as_array().unwrap().iter().find(|one| one["blocker"] == blocker).unwrap().clone();
    found["reason"].as_str().unwrap().to_owned()
}

const SLOW: &str = "
pipeline: slow
steps:
  step: {cache: never, run: 'touch started.$RUN_ID; ./wait.sh go; echo 1 > $OUT_STEP'}
";

#[test]
fn without_a_scheduler_it_says_so() {
    let project = Project::new(SLOW);
    project.runstone(&["run", "--detach"]).ok();
    let reason = until_blocked(&project, "runs", 1, "no_scheduler");
    assert_eq!(reason, "no scheduler is alive; `runstone serve` starts one");
    let shown = project.runstone(&["queue"]).ok();
    assert!(shown.out.starts_with("no scheduler is alive\n") && shown.out.contains("#1  slow"), "{shown:?}");
}

#[test]
fn capacity_and_place_in_the_queue_are_named() {
    let project = Project::new(SLOW);
    let scheduler = serve_with(&project, &["--max-runs", "1"]);
    trigger(&project, &["slow"]);
    until("the first one runs", || project.exists("started.1"));
    trigger(&project, &["slow"]);
    trigger(&project, &["slow"]);
    trigger(&project, &["slow", "--priority", "5"]);
    let reason = until_blocked(&project, "runs", 4, "capacity");
    assert!(reason.contains("it is the next") || reason.contains("before it"), "{reason}");
    let queue = project.json(&["queue"]);
    let reason = |number: i64| {
        let one = queue["runs"].as_array().unwrap().iter().find(|one| one["number"] == number).unwrap();
        one["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(4), "schedulers drive as many runs as they may; it is the next");
    assert_eq!(reason(2), "schedulers drive as many runs as they may; 1 run before it");
    assert_eq!(reason(3), "schedulers drive as many runs as they may; 2 runs before it");
    assert_eq!(queue["schedulers"][0]["runs"], 1);
    project.write("go", "");
    until_run(&project, 3, "succeeded");
    leave(scheduler);
}

#[test]
fn a_run_that_waits_for_the_one_before_names_it() {
    let project = Project::new(&SLOW.replace("steps:", "schedule: {every: 1s, overlap: queue}\nsteps:"));
    let scheduler = serve(&project);
    until("the first one runs", || project.exists("started.1"));
    let reason = until_blocked(&project, "runs", 2, "overlap");
    assert_eq!(reason, "run #1 of the same pipeline is not over");
    project.runstone(&["schedules", "pause", "slow"]).ok();
    project.write("go", "");
    until_run(&project, 2, "succeeded");
    leave(scheduler);
}

#[test]
fn a_task_that_waits_for_a_pool_names_who_holds_it() {
    let project = Project::new(&SLOW.replace("cache: never", "cache: never, pool: gpu"));
    project.write("runstone.yaml", "pools: {gpu: 1}\n");
    project.runstone(&["validate", "pipeline.yaml"]).ok();
    let scheduler = serve(&project);
    trigger(&project, &["slow"]);
    until("the first one runs", || project.exists("started.1"));
    trigger(&project, &["slow"]);
    let reason = until_blocked(&project, "tasks", 2, "pool");
    assert_eq!(reason, "1 of pool gpu (1 of 1 taken by #1/step (1)); first in its line");
    project.write("go", "");
    until_run(&project, 2, "succeeded");
    leave(scheduler);
    assert_eq!(project.runstone(&["queue"]).ok().out, "no scheduler is alive\nnothing waits\n");
}

#[test]
fn a_task_that_waits_for_others_names_them() {
    let project = Project::new(
        "
pipeline: wide
steps:
  a: {run: './wait.sh go; echo 1 > $OUT_A'}
  b: {run: './wait.sh go; echo 1 > $OUT_B'}
  d: {in: {a: a, b: b}, run: 'echo 1 > $OUT_D'}
  e: {in: {d: d}, run: 'echo 1 > $OUT_E'}
",
    );
    let scheduler = serve(&project);
    trigger(&project, &["wide"]);
    until_blocked(&project, "tasks", 1, "dependency");
    let queue = project.json(&["queue"]);
    let waiting: Vec<(&str, &str)> = queue["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["task"].as_str().unwrap(), one["reason"].as_str().unwrap()))
        .collect();
    assert!(waiting.contains(&("d", "`a`, `b`")) && waiting.contains(&("e", "`d`")), "{queue:#}");
    project.write("go", "");
    until_run(&project, 1, "succeeded");
    leave(scheduler);
}
