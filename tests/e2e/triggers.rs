//! Runs that other runs and files start.

use crate::project::Project;
use crate::running::until;
use crate::service::{leave, runs, serve, trigger, until_run};

fn runs_of(project: &Project, pipeline: &str) -> Vec<serde_json::Value> {
    runs(project).into_iter().filter(|run| run["pipeline"] == pipeline && run["state"] == "succeeded").collect()
}

#[test]
fn a_new_version_of_a_dataset_starts_the_pipelines_that_wait_for_it() {
    let project = Project::empty();
    project.write(
        "source.yaml",
        "
pipeline: source
params: {text: one}
steps:
  table: {run: 'echo $PARAM_TEXT > $OUT_TABLE'}
",
    );
    project.write(
        "reader.yaml",
        "
pipeline: reader
trigger: {dataset: source/table}
steps:
  read: {in: {t: source/table@latest}, run: 'cat $IN_T >> seen; cp $IN_T $OUT_READ'}
",
    );
    let scheduler = serve(&project);
    until("the trigger is in force", || project.json(&["schedules"])[0]["state"] == "active");
    for (count, text) in ["one", "two"].iter().enumerate() {
        let number = trigger(&project, &["source", "-p", &format!("text={text}")]);
        until_run(&project, number, "succeeded");
        until("the reader has read it", || runs_of(&project, "reader").len() == count + 1);
    }
    // The same content is no new version: a run that changes nothing starts nothing.
    let number = trigger(&project, &["source", "-p", "text=two", "--no-reuse"]);
    until_run(&project, number, "succeeded");
    let number = trigger(&project, &["source", "-p", "text=three"]);
    until_run(&project, number, "succeeded");
    until("the reader has read it", || project.lines("seen") == 3);
    leave(scheduler);
    assert_eq!(project.read("seen"), "one\ntwo\nthree\n");
    let cause = runs_of(&project, "reader")[0]["trigger"].as_str().unwrap().to_owned();
    assert!(cause.contains("source/table has b3:"), "{cause}");
}

#[test]
fn a_file_starts_a_run_once_it_has_stayed_the_same_for_a_while() {
    let project = Project::new(
        "
pipeline: inbox
trigger: {file: './in/*.csv', settle: 1s, every: 1s}
steps:
  take: {in: {all: ./in}, run: 'ls $IN_ALL | wc -l >> counts; echo 1 > $OUT_TAKE'}
",
    );
    project.write("in/old.csv", "1");
    let scheduler = serve(&project);
    until("the trigger has looked", || {
        scheduler.complained().contains("at work") && project.json(&["schedules"])[0]["state"] == "active"
    });
    // What was there before is no news; so it is waited for until the trigger is known to have seen it.
    until("what was there is known", || !seen(&project).is_null());
    project.write("in/new.csv", "2");
    until("the run succeeded", || runs_of(&project, "inbox").len() == 1);
    project.write("in/new.csv", "3 other");
    until("a changed file is news", || runs_of(&project, "inbox").len() == 2);
    leave(scheduler);
    assert_eq!(project.lines("counts"), 2);
}

/// What the one trigger of a project has seen, as it stands on record.
fn seen(project: &Project) -> serde_json::Value {
    let record = rusqlite::Connection::open(project.path(".runstone/runstone.db")).unwrap();
    let text: String = record.query_row("SELECT seen FROM schedule", [], |row| row.get(0)).unwrap();
    serde_json::from_str(&text).unwrap()
}
