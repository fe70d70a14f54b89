//! Partitions: each run works on one, and many are worked on a few at a time.

use serde_json::Value;

use crate::project::Project;
use crate::running::until;
use crate::service::{leave, serve};

const DAYS: &str = "
pipeline: days
params: {factor: 1}
partition: {by: day, start: 2026-01-01, end: 2026-01-31}
steps:
  load: {params: [], run: 'echo $PARTITION >> loaded; test ! -e slow || ./wait.sh go; echo $PARTITION > $OUT_LOAD'}
  table: {in: {load: load}, run: 'echo \"$PARAM_FACTOR $(cat $IN_LOAD)\" > $OUT_TABLE'}
";

const RANGE: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-04"];

fn states(project: &Project) -> Vec<String> {
    let views = project.json(&[&["partitions", "days"], &RANGE[..]].concat());
    views.as_array().unwrap().iter().map(|view| view["state"].as_str().unwrap().to_owned()).collect()
}

fn backfill(project: &Project) -> Value {
    project.json(&["backfills"])[0].clone()
}

#[test]
fn a_run_works_on_its_partition_alone() {
    let project = Project::new(DAYS);
    project.runstone(&["run"]).code(2).says(&["partition"]);
    project.runstone(&["run", "--partition", "2027-01-01"]).code(2).says(&["2027-01-01"]);
    project.run(&["--partition", "2026-01-02"]);
    let run = project.show("latest");
    assert_eq!(run["partition"], "2026-01-02");
    project.run(&["--partition", "2026-01-03"]);
    assert_eq!(project.read("loaded"), "2026-01-02\n2026-01-03\n");
    let again = project.run(&["--partition", "2026-01-02"]);
    assert_eq!(again.reused(), ["load", "table"], "each partition has results of its own: {again:?}");
}

#[test]
fn the_ledger_says_what_is_missing_done_and_stale_and_why() {
    let project = Project::new(DAYS);
    let scheduler = serve(&project);
    assert_eq!(states(&project), ["missing"; 4]);
    project.run(&["--partition", "2026-01-02"]);
    assert_eq!(states(&project), ["missing", "done", "missing", "missing"]);
    project.edit("pipeline.yaml", "$PARAM_FACTOR $(", "$PARAM_FACTOR: $(");
    scheduler.signal(rustix::process::Signal::HUP);
    until("the new text is in force", || states(&project)[1] == "stale");
    let shown = project.runstone(&[&["partitions", "days"], &RANGE[..]].concat()).ok();
    assert!(shown.out.contains("2026-01-02  stale     #1  `table` changed since run #1"), "{shown:?}");
    assert!(shown.out.ends_with("4 partitions: 3 missing, 1 stale\n"), "{shown:?}");
    project.runstone(&["run", "--partition", "2026-01-03", "-p", "factor=x"]).code(2);
    leave(scheduler);
}

#[test]
fn a_backfill_runs_what_is_open_and_nothing_else() {
    let project = Project::new(DAYS);
    let scheduler = serve(&project);
    project.run(&["--partition", "2026-01-02"]);
    let plan = project.json(&[&["backfill", "days", "--dry-run"], &RANGE[..]].concat());
    assert_eq!(plan["chosen"], serde_json::json!(["2026-01-01", "2026-01-03", "2026-01-04"]));
    assert!(plan["id"].is_null());
    assert_eq!(project.runstone(&["backfills"]).code, 4, "a plan leaves nothing behind");
    project.runstone(&[&["backfill", "days"], &RANGE[..]].concat()).ok();
    until("the backfill is done", || backfill(&project)["state"] == "done");
    assert_eq!(states(&project), ["done"; 4]);
    assert_eq!(project.lines("loaded"), 4, "the one that was done is left alone");
    let done = backfill(&project);
    assert_eq!((&done["partitions"], &done["succeeded"], &done["failed"]), (&3.into(), &3.into(), &0.into()));
    let nothing = project.runstone(&[&["backfill", "days"], &RANGE[..]].concat()).ok();
    assert!(nothing.out.contains("4 done; 0 to run"), "{nothing:?}");
    leave(scheduler);
    project.runstone(&["doctor"]).ok();
}

#[test]
fn a_backfill_survives_its_scheduler_and_can_be_paused() {
    let project = Project::new(DAYS);
    project.write("slow", "");
    let scheduler = serve(&project);
    project.runstone(&[&["backfill", "days", "--parallel", "1"], &RANGE[..]].concat()).ok();
    until("the first partition is loaded", || project.lines("loaded") == 1);
    let id = backfill(&project)["id"].as_str().unwrap().to_owned();
    project.runstone(&["backfills", "pause", &id]).ok();
    scheduler.kill();
    let scheduler = serve(&project);
    project.write("go", "");
    until("the run under way is over", || states(&project)[0] == "done");
    assert_eq!(backfill(&project)["submitted"], 1, "a paused one submits nothing");
    project.runstone(&["backfills", "resume", &id]).ok();
    until("the backfill is done", || backfill(&project)["state"] == "done");
    leave(scheduler);
    assert_eq!(project.read("loaded"), "2026-01-01\n2026-01-02\n2026-01-03\n2026-01-04\n", "in order, each once");
    project.runstone(&["backfills", "cancel", &id]).code(6).says(&["done"]);
}
