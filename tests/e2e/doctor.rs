//! `runstone doctor` finds what must not be on record, whoever put it there.

use rusqlite::Connection;

use crate::project::Project;
use crate::running::until;
use crate::service::{leave, runs, serve};

/// A project whose schedule has fired, and a way past everything that protects its record.
fn damaged(damage: &str) -> Project {
    let project = Project::new(
        "
pipeline: tick
schedule: {every: 1s, overlap: allow}
steps:
  tick: {cache: never, run: 'echo 1 > $OUT_TICK'}
",
    );
    let scheduler = serve(&project);
    until("three runs succeeded", || runs(&project).iter().filter(|run| run["state"] == "succeeded").count() >= 3);
    leave(scheduler);
    project.runstone(&["doctor"]).ok();
    let record = Connection::open(project.path(".runstone/runstone.db")).unwrap();
    let mut triggers = record.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").unwrap();
    let names: Vec<String> = triggers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for name in names {
        record.execute(&format!("DROP TRIGGER {name}"), []).unwrap();
    }
    record.execute_batch(&format!("PRAGMA foreign_keys = OFF; {damage}")).unwrap();
    project
}

fn assert_found(project: &Project, parts: &[&str]) {
    for args in [&["doctor"][..], &["doctor", "--all"]] {
        let told = project.runstone(args).code(1);
        for part in parts {
            assert!(told.out.contains(part), "does not say {part:?}: {told:?}");
        }
    }
}

#[test]
fn a_lost_fire_is_found() {
    let project = damaged("DELETE FROM fire WHERE time = (SELECT time FROM fire ORDER BY time LIMIT 1 OFFSET 1)");
    assert_found(&project, &["schedule main of tick (generation 1) lost 1 fire times", "no fire asked for it"]);
}

#[test]
fn a_submission_that_contradicts_its_run_is_found() {
    let project = damaged("UPDATE submission SET state = 'running', ended = NULL WHERE number = 2");
    assert_found(&project, &["submission #2 is running, and its run is succeeded"]);
}

#[test]
fn an_attempt_that_ended_twice_is_found() {
    let project = damaged(
        "INSERT INTO event (id, run_id, at, kind, task_idx, attempt_id, body) \
         SELECT id + 100000, run_id, at, kind, task_idx, attempt_id, body FROM event \
         WHERE kind = 'attempt_finished' LIMIT 1",
    );
    assert_found(&project, &["was told 2 times"]);
}
