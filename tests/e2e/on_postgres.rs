//! The same on Postgres, on a real server.

#[path = "../../crates/store/tests/postgres/mod.rs"]
mod postgres;

use postgres::{Database, Server, skipped};
use rustix::process::Signal;

use crate::project::Project;
use crate::running::until;
use crate::service::{leave, serve_with, trigger, until_run};
use crate::{concurrency, crash, examples};

fn with_database(project: Project, test: impl FnOnce(&Project)) {
    if skipped() {
        return;
    }
    let database = Database::empty(Server::shared());
    let project = project.with("RUNSTONE_DATABASE_URL", &database.url());
    test(&project);
    assert!(!project.exists(".runstone/runstone.db"), "the record is elsewhere");
    let ended = database.admin().lines("SELECT state::text FROM runstone.run");
    assert!(!ended.is_empty());
}

#[test]
fn the_quickstart_runs_and_is_reused() {
    with_database(Project::examples(), examples::the_quickstart_is_right_and_traced);
}

#[test]
fn a_corrected_entry_reaches_what_depends_on_it() {
    with_database(Project::examples(), examples::corrections_reach_what_depends_on_them);
}

#[test]
fn a_killed_run_is_resumed() {
    with_database(Project::empty(), crash::a_run_is_resumed_while_its_step_lives);
}

#[test]
fn two_runs_at_once_execute_each_thing_once() {
    with_database(Project::empty(), concurrency::two_runs_share_the_work);
}

/// Two schedulers; something happens to the one that drives a run in the middle of a step, and the other one goes on.
fn taken_over(
    project: &Project,
    what_happens: impl FnOnce(crate::running::Running) -> Option<crate::running::Running>,
) {
    let first = serve_with(project, &["--lease", "2"]);
    trigger(project, &["waiting"]);
    until("the step starts", || project.exists("started"));
    let second = serve_with(project, &["--lease", "2"]);
    let left = what_happens(first);
    until("the run is taken over", || second.complained().contains("run taken over"));
    if let Some(mut left) = left {
        until("the one that said nothing is ended", || left.has_ended());
    }
    project.write("go", "");
    until_run(project, 1, "succeeded");
    leave(second);
    crash::assert_done_once(project);
    assert_eq!(project.task("step")["attempts"], 1);
}

#[test]
fn another_scheduler_takes_over_from_one_that_was_killed() {
    with_database(Project::new(crash::WAITING), |project| {
        taken_over(project, |first| {
            first.kill();
            None
        });
    });
}

#[test]
fn another_scheduler_takes_over_from_one_that_hangs_and_ends_it() {
    with_database(Project::new(crash::WAITING), |project| {
        taken_over(project, |first| {
            first.signal(Signal::STOP);
            Some(first)
        });
    });
}

#[test]
fn schedulers_share_the_work() {
    let text = "
pipeline: many
steps:
  step: {cache: never, run: 'echo $RUN_ID >> ran; ./wait.sh go; echo 1 > $OUT_STEP'}
";
    with_database(Project::new(text), |project| {
        let schedulers = [(); 3].map(|()| serve_with(project, &["--max-runs", "1"]));
        for _ in 0..5 {
            trigger(project, &["many"]);
        }
        until("each drives one run", || project.lines("ran") == 3);
        let queue = project.json(&["queue"]);
        let runs = queue["schedulers"].as_array().unwrap().iter().map(|one| one["runs"].as_u64().unwrap());
        assert_eq!(runs.collect::<Vec<_>>(), [1, 1, 1], "{queue:#}");
        project.write("go", "");
        (1..=5).for_each(|number| until_run(project, number, "succeeded"));
        assert_eq!(project.lines("ran"), 5, "each run once");
        schedulers.into_iter().for_each(leave);
    });
}
