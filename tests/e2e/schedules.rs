//! `runstone schedules`: what is to come, and what is paused.

use crate::project::Project;
use crate::running::until;
use crate::service::{leave, runs, serve};

#[test]
fn what_is_to_come_is_told_across_a_change_of_the_clock() {
    let project = Project::new(
        "
pipeline: nightly
schedules:
  fixed: {cron: '30 2 * * *', tz: Europe/Berlin}
  twice: {cron: '30 2 * * *', tz: Europe/Berlin, dst: {gap: skip, fold: twice}}
partition: {by: day, start: 2026-01-01, tz: Europe/Berlin}
steps:
  step: {run: 'echo 1 > $OUT_STEP'}
",
    );
    let simulated = |from: &str, until: &str| {
        project.runstone(&["schedules", "simulate", "pipeline.yaml", "--from", from, "--until", until]).ok().out
    };
    assert_eq!(
        simulated("2026-03-28", "2026-03-31"),
        "\
SCHEDULE  FIRE TIME                  PARTITION
fixed     2026-03-28T02:30:00+01:00  2026-03-27
twice     2026-03-28T02:30:00+01:00  2026-03-27
fixed     2026-03-29T03:00:00+02:00  2026-03-28
fixed     2026-03-30T02:30:00+02:00  2026-03-29
twice     2026-03-30T02:30:00+02:00  2026-03-29
"
    );
    assert_eq!(
        simulated("2026-10-25", "2026-10-26"),
        "\
SCHEDULE  FIRE TIME                  PARTITION
fixed     2026-10-25T02:30:00+02:00  2026-10-24
twice     2026-10-25T02:30:00+02:00  2026-10-24
twice     2026-10-25T02:30:00+01:00  2026-10-24
"
    );
    assert!(!project.exists(".runstone"), "nothing is made by looking ahead");
}

#[test]
fn what_is_paused_fires_no_more_until_it_is_unpaused() {
    let project = Project::new(
        "
pipeline: tick
schedule: {every: 1s}
steps:
  tick: {cache: never, run: 'echo 1 > $OUT_TICK'}
",
    );
    let scheduler = serve(&project);
    until("a run succeeded", || !runs(&project).is_empty());
    let paused = project.runstone(&["schedules", "pause", "tick/main"]).ok();
    assert_eq!(paused.out, "tick/main paused\n");
    project.runstone(&["schedules", "pause", "tick/main"]).ok().says(&["nothing changed"]);
    project.runstone(&["schedules", "pause", "nosuch"]).code(4);
    let shown = project.json(&["schedules"]);
    assert_eq!((&shown[0]["state"], &shown[0]["next_at"]), (&"paused".into(), &serde_json::Value::Null));
    let fires =
        |project: &Project| project.json(&["schedules", "--fires", "--limit", "1000"]).as_array().unwrap().len();
    let before = fires(&project);
    // Three seconds of its clock go by, by the clock that it fires by.
    let begun = std::time::Instant::now();
    until("time goes by", || begun.elapsed() > std::time::Duration::from_secs(3));
    assert_eq!(fires(&project), before);
    project.runstone(&["schedules", "unpause", "tick"]).ok();
    until("it fires again", || fires(&project) > before + 1);
    leave(scheduler);
    let skipped = project.json(&["schedules", "--skipped"]);
    let times = skipped.as_array().unwrap().iter().find(|fire| fire["reason"] == "paused").unwrap();
    assert!(times["count"].as_u64().unwrap() >= 2, "the times of the pause are on record: {skipped:#}");
    project.runstone(&["doctor"]).ok();
}
