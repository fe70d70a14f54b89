//! The same on Postgres, on a real server.

#[path = "../../crates/store/tests/postgres/mod.rs"]
mod postgres;

use postgres::{Database, Server, skipped};

use crate::project::Project;
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
