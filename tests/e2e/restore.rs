//! A database that lost what it had committed, because somebody restored a backup.

use std::fs;

use crate::project::Project;
use crate::service::{leave, serve, trigger, until_run};

const COUNTING: &str = "
pipeline: counting
steps:
  one: {cache: never, run: 'echo $RUN_ID > $OUT_ONE'}
";

/// Serves until so many more runs have succeeded. Returns the number of the last one.
fn serve_runs(project: &Project, count: usize) -> i64 {
    let scheduler = serve(project);
    let numbers: Vec<i64> = (0..count).map(|_| trigger(project, &["counting"])).collect();
    numbers.iter().for_each(|number| until_run(project, *number, "succeeded"));
    leave(scheduler);
    *numbers.last().unwrap()
}

#[test]
fn a_scheduler_refuses_a_database_that_went_back_until_somebody_accepts_it() {
    let project = Project::new(COUNTING);
    serve_runs(&project, 1);
    let backup = fs::read(project.path(".runstone/runstone.db")).unwrap();
    let last = serve_runs(&project, 3);
    for name in ["runstone.db-wal", "runstone.db-shm"] {
        let _ = fs::remove_file(project.path(&format!(".runstone/{name}")));
    }
    fs::write(project.path(".runstone/runstone.db"), backup).unwrap();

    project.runstone(&["serve"]).code(5).says(&["the database went back", "doctor --adopt-restore"]);
    let found = project.runstone(&["doctor"]).code(1).out;
    assert!(found.contains("the database went back"), "{found}");
    let accepted = project.runstone(&["doctor", "--adopt-restore"]).ok().out;
    assert!(accepted.contains(&format!("run #{last}")), "{accepted}");
    let next = serve_runs(&project, 1);
    assert!(next > last, "the numbers of the runs that were lost are not given out again: #{next} after #{last}");
    let again = project.runstone(&["doctor", "--adopt-restore"]).ok().out;
    assert!(again.contains("has lost nothing"), "{again}");
    project.runstone(&["doctor"]).ok();
}
