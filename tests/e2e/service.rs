//! `runstone serve`: a scheduler that comes and goes, and runs that do not notice.

use rustix::process::Signal;
use serde_json::Value;

use crate::crash::{WAITING, assert_done_once};
use crate::project::Project;
use crate::running::{Running, until};

/// Starts a scheduler for the project's folder and waits until it is at work.
pub(crate) fn serve(project: &Project) -> Running {
    serve_with(project, &[])
}

pub(crate) fn serve_with(project: &Project, args: &[&str]) -> Running {
    let mut scheduler = project.start(&[&["serve"], args].concat());
    until("the scheduler is at work", || {
        assert!(!scheduler.has_ended(), "{}", scheduler.complained());
        let said = scheduler.complained();
        said.contains("at work") && said.contains("pipelines read")
    });
    scheduler
}

/// Asks a scheduler to leave, which it does.
pub(crate) fn leave(scheduler: Running) {
    scheduler.signal(Signal::TERM);
    scheduler.wait().ok();
}

/// The runs that have begun, newest first.
pub(crate) fn runs(project: &Project) -> Vec<Value> {
    let ran = project.runstone(&["runs", "--json", "--limit", "1000"]);
    if ran.code == 0 { ran.json().as_array().unwrap().clone() } else { Vec::new() }
}

/// Waits until a run is on record in a state.
pub(crate) fn until_run(project: &Project, number: i64, state: &str) {
    until(&format!("run #{number} is {state}"), || {
        runs(project).iter().any(|run| run["number"] == number && run["state"] == state)
    });
}

/// Puts a run into the queue, and returns its number.
pub(crate) fn trigger(project: &Project, args: &[&str]) -> i64 {
    project.json(&[&["trigger"], args].concat())["number"].as_i64().unwrap()
}

const EVERY_SECOND: &str = "
pipeline: tick
schedule: {cron: '* * * * * *', overlap: allow}
steps:
  tick: {cache: never, run: 'echo x >> count; echo 1 > $OUT_TICK'}
";

#[test]
fn a_schedule_fires_and_its_runs_are_on_record() {
    let project = Project::new(EVERY_SECOND);
    let scheduler = serve(&project);
    until("three runs succeeded", || runs(&project).iter().filter(|run| run["state"] == "succeeded").count() >= 3);
    leave(scheduler);
    let fires = project.json(&["schedules", "--fires", "--limit", "1000"]);
    let fires = fires.as_array().unwrap();
    let times: Vec<&str> = fires.iter().map(|fire| fire["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer > older), "each second fires once, the newest is first: {times:?}");
    assert!(fires.iter().all(|fire| fire["run"].is_i64() && fire["reason"].is_null()), "{fires:#?}");
    let schedules = project.json(&["schedules"]);
    assert_eq!((&schedules[0]["pipeline"], &schedules[0]["state"]), (&"tick".into(), &"active".into()));
    assert_eq!(schedules[0]["when"], "* * * * * * (UTC)");
    let run = runs(&project).pop().unwrap();
    assert!(run["trigger"].as_str().unwrap().starts_with("schedule main "), "{run:#}");
    project.runstone(&["schedules"]).ok().says(&["no scheduler is alive"]);
    project.runstone(&["doctor"]).ok();
}

#[test]
fn a_second_scheduler_of_the_embedded_database_refuses_and_names_the_first() {
    let project = Project::new(EVERY_SECOND);
    let scheduler = serve(&project);
    let pid = scheduler.pid().as_raw_nonzero().to_string();
    project.runstone(&["serve"]).code(6).says(&["another scheduler serves this project", &pid, "Postgres"]);
    leave(scheduler);
}

#[test]
fn after_a_kill_in_the_middle_of_a_step_the_next_scheduler_goes_on() {
    let project = Project::new(WAITING);
    let scheduler = serve_with(&project, &["--lease", "3600"]);
    assert_eq!(trigger(&project, &["waiting"]), 1);
    until("the step starts", || project.exists("started"));
    scheduler.kill();
    // Nobody has to unlock anything, and nobody waits for the lease of the dead.
    let scheduler = serve(&project);
    until("the run is taken over", || scheduler.complained().contains("run taken over"));
    project.write("go", "");
    until_run(&project, 1, "succeeded");
    leave(scheduler);
    assert_done_once(&project);
    assert_eq!(project.task("step")["attempts"], 1);
}

#[test]
fn a_step_goes_on_while_one_scheduler_hands_over_to_the_next() {
    let project = Project::new(WAITING);
    let scheduler = serve(&project);
    trigger(&project, &["waiting"]);
    until("the step starts", || project.exists("started"));
    leave(scheduler);
    assert_eq!(project.show("1")["state"], "running");
    let queue = project.json(&["queue"]);
    assert_eq!(queue["runs"][0]["blocker"], "no_scheduler", "{queue:#}");
    project.write("go", "");
    let scheduler = serve(&project);
    until_run(&project, 1, "succeeded");
    leave(scheduler);
    assert_done_once(&project);
    assert_eq!(project.task("step")["attempts"], 1);
}

#[test]
fn a_scheduler_that_is_to_finish_waits_for_its_runs() {
    let project = Project::new(WAITING);
    let mut scheduler = serve_with(&project, &["--finish"]);
    trigger(&project, &["waiting"]);
    until("the step starts", || project.exists("started"));
    scheduler.signal(Signal::TERM);
    until("it takes no more", || project.json(&["queue"])["schedulers"][0]["state"] == "draining");
    assert!(!scheduler.has_ended());
    project.write("go", "");
    scheduler.wait().ok();
    assert_eq!(project.show("1")["state"], "succeeded");
    assert_done_once(&project);
}

#[test]
fn a_broken_file_leaves_its_last_good_version_in_force() {
    let project = Project::new(EVERY_SECOND);
    let scheduler = serve(&project);
    until("a run succeeded", || !runs(&project).is_empty());
    project.edit("pipeline.yaml", "run:", "rnu:");
    scheduler.signal(Signal::HUP);
    until("the log says so", || scheduler.complained().contains("`run` is missing"));
    until("the list says so", || !project.json(&["schedules"])[0]["problem"].is_null());
    project.runstone(&["schedules"]).ok().says(&[
        "the file of tick is broken",
        "`run` is missing",
        "pipeline.yaml:5:3",
    ]);
    let newest = |project: &Project| runs(project)[0]["number"].as_i64().unwrap();
    let before = newest(&project);
    until("it goes on firing", || newest(&project) > before + 1);
    project.edit("pipeline.yaml", "rnu:", "run:");
    scheduler.signal(Signal::HUP);
    until("the list says so", || project.json(&["schedules"])[0]["problem"].is_null());
    let schedules = project.json(&["schedules"]);
    assert_eq!((&schedules[0]["generation"], &schedules[0]["state"]), (&1.into(), &"active".into()));
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    scheduler.signal(Signal::HUP);
    until("a pipeline that is gone fires no more", || project.json(&["schedules"])[0]["state"] == "inactive");
    leave(scheduler);
}

#[test]
fn asking_twice_with_one_key_is_asking_once() {
    let project = Project::new(
        "
pipeline: greet
params: {name: {type: text}}
steps:
  hello: {cache: never, run: 'echo $PARAM_NAME >> names; echo 1 > $OUT_HELLO'}
",
    );
    let scheduler = serve(&project);
    project.runstone(&["trigger", "nosuch"]).code(4).says(&["no pipeline \"nosuch\"", "schedulers know greet"]);
    project.runstone(&["trigger", "greet"]).code(2).says(&["name"]);
    let first = trigger(&project, &["greet", "-p", "name=ada", "--key", "order-1"]);
    assert_eq!(trigger(&project, &["greet", "-p", "name=ada", "--key", "order-1"]), first);
    until_run(&project, first, "succeeded");
    assert_eq!(trigger(&project, &["greet", "-p", "name=ada", "--key", "order-1"]), first, "also when it is over");
    let second = trigger(&project, &["greet", "-p", "name=bob", "--key", "order-2"]);
    until_run(&project, second, "succeeded");
    leave(scheduler);
    assert_eq!(project.read("names"), "ada\nbob\n");
}

#[test]
fn a_detached_run_is_the_schedulers_and_can_be_cancelled_before_and_after_its_beginning() {
    let project = Project::new(WAITING);
    let number = |ran: crate::running::Ran| ran.ok().json()["number"].as_i64().unwrap();
    let first = number(project.runstone(&["run", "--detach", "--json"]));
    project.runstone(&["run", "--detach"]).ok().says(&["no scheduler is alive"]);
    project.runstone(&["show", "2"]).code(4).says(&["run #2 has not begun yet: it is queued"]);
    project.runstone(&["cancel", "2"]).ok().says(&["run #2 is taken out of the queue"]);
    project.runstone(&["cancel", "2"]).code(6).says(&["run #2 is over: cancelled"]);
    // The text was fixed when it was asked for.
    project.edit("pipeline.yaml", "echo 2 >", "echo 3 >");
    let scheduler = serve(&project);
    until("the step starts", || project.exists("started"));
    project.runstone(&["cancel", &first.to_string()]).ok();
    until_run(&project, first, "cancelled");
    project.write("go", "");
    let third = number(project.runstone(&["run", "--detach", "--json"]));
    assert_eq!(third, 3);
    until_run(&project, third, "succeeded");
    leave(scheduler);
    assert_eq!(project.content("waiting/after"), "3\n");
    assert_eq!((project.lines("before.count"), project.lines("step.count")), (1, 1));
    project.runstone(&["doctor", "--all"]).ok();
}
