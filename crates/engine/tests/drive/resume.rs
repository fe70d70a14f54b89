//! What a run that is taken up does with what the earlier owner left.

use std::fs;
use std::io::Write as _;

use runstone_core::store::{RunRef, VersionRef};

use crate::project::Project;
use crate::{Test, drive, oracle};

pub(crate) const TESTS: &[Test] = &[
    ("resume::a_failure_of_the_first_part_fails_the_run", a_failure_of_the_first_part_fails_the_run),
    ("resume::what_was_pinned_stays_pinned", what_was_pinned_stays_pinned),
    ("resume::code_that_changed_meanwhile_taints_what_ran", code_that_changed_meanwhile_taints_what_ran),
    ("resume::an_outcome_survives_although_its_code_is_gone", an_outcome_survives_although_its_code_is_gone),
    ("resume::outputs_of_before_a_restart_of_the_machine_are_not_trusted", outputs_of_before_a_restart),
    ("resume::an_attempt_out_of_reach_is_tried_again_where_the_step_says_so", out_of_reach_and_retried),
    ("resume::an_attempt_out_of_reach_is_waited_for", out_of_reach_and_awaited),
    ("resume::without_a_journal_nothing_is_started", without_a_journal_nothing_is_started),
    ("resume::secrets_are_masked_in_what_an_adopted_attempt_reports", secrets_are_masked),
    ("resume::a_run_with_a_part_selected_goes_on_with_that_part", a_part_is_resumed),
];

fn a_failure_of_the_first_part_fails_the_run() {
    let project = Project::new(
        "
pipeline: half
steps:
  bad: {run: 'echo x >> did.bad; test -e mended; echo 1 > $OUT_BAD'}
  good: {run: 'echo x >> did.good; echo 1 > $OUT_GOOD'}
  after: {in: {bad: bad}, run: 'echo 1 > $OUT_AFTER'}
",
    );
    assert!(project.drive_until("before_end", &["run"]).was_killed());
    let resumed = project.drive(&["resume"]).with_code(1);
    assert_eq!(resumed.tasks("task_started"), [""; 0], "what failed stays failed in a run that was not over");
    oracle::check(&project);
    project.write("mended", "");
    let again = project.drive(&["resume"]).ok();
    assert_eq!(again.tasks("task_started"), ["after", "bad"], "what failed is tried again in a run that was");
    assert_eq!((project.lines("did.bad"), project.lines("did.good")), (2, 1));
    oracle::check(&project);
}

fn what_was_pinned_stays_pinned() {
    let pipeline = "
pipeline: pins
params: {word: first}
steps:
  top: {params: [word], run: 'echo $PARAM_WORD > $OUT_TOP'}
  low: {in: {x: top}, params: [], run: 'cat $IN_X > $OUT_LOW', out: {low: {publish: ./low.txt}}}
";
    let project = Project::new(pipeline);
    project.drive(&["run"]).ok();
    assert!(project.drive_until("after_run_created", &["run", "--only", "low", "--force", "low"]).was_killed());
    project.write("pipeline.yaml", &pipeline.replace("first", "second"));
    project.drive(&["run", "--only", "top"]).ok();
    project.drive(&["resume", "2"]).ok();
    assert_eq!(project.read("low.txt"), "first\n");
    oracle::check(&project);
}

const SCRIPTED: &str = "
pipeline: scripted
steps:
  one: {run: './one.sh', out: {one: {publish: ./one.txt}}}
  two: {in: {x: one}, run: 'cat $IN_X > $OUT_TWO', out: {two: {publish: ./two.txt}}}
";

fn scripted() -> Project {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new(SCRIPTED);
    project.write("one.sh", "#!/bin/sh\necho x >> did.one\necho one > $OUT_ONE\n");
    fs::set_permissions(project.path("one.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    project
}

fn code_that_changed_meanwhile_taints_what_ran() {
    let project = scripted();
    assert!(project.drive_until("after_outcome", &["run"]).was_killed());
    project.write("one.sh", "#!/bin/sh\necho x >> did.one\necho other > $OUT_ONE\n");
    let resumed = project.drive(&["resume"]).ok();
    assert_eq!(project.lines("did.one"), 1, "its outcome is on record: {}", resumed.text);
    let (_, mut store) = drive::open(&project.path(""));
    for dataset in ["scripted/one", "scripted/two"] {
        assert!(store.resolve(dataset, &VersionRef::Latest).unwrap().is_empty(), "{dataset} is not the latest");
        let of_run = store.resolve(dataset, &VersionRef::Run(RunRef::Latest)).unwrap();
        assert!(of_run[0].tainted, "what is made of tainted content is tainted");
    }
    assert!(!project.path("one.txt").exists() && !project.path("two.txt").exists());
    oracle::check(&project);
    assert_eq!(project.drive(&["run"]).ok().tasks("task_started"), ["one", "two"], "nothing of it is reused");
    assert_eq!(project.read("two.txt"), "other\n");
}

fn an_outcome_survives_although_its_code_is_gone() {
    let project = scripted();
    assert!(project.drive_until("after_outcome", &["run"]).was_killed());
    project.remove("one.sh");
    project.drive(&["resume"]).ok();
    assert_eq!(project.lines("did.one"), 1);
    oracle::check(&project);
}

fn journal(project: &Project) -> String {
    let (_, mut store) = drive::open(&project.path(""));
    let run = store.run(&RunRef::Latest).unwrap().unwrap();
    format!(".runstone/runs/{}/outcomes.jsonl", run.id)
}

fn outputs_of_before_a_restart() {
    let project = scripted();
    assert!(project.drive_until("after_outcome", &["run"]).was_killed());
    let (name, boot) = (journal(&project), fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap());
    let text = project.read(&name);
    assert!(text.contains(boot.trim()) && text.contains("ended"), "{text}");
    project.write(&name, &text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000"));
    project.drive(&["resume"]).ok();
    assert_eq!(project.lines("did.one"), 2, "the files of the first one may never have reached the disk");
    assert_eq!(project.read("two.txt"), "one\n");
    oracle::check(&project);
}

/// A run whose one attempt was started on another machine, and the line of its journal that says how it ended.
fn out_of_reach(policy: &str) -> (Project, String, String) {
    let pipeline = format!(
        "pipeline: far\nsteps:\n  one: {{on_unknown: {policy}, run: 'echo x >> did.one; echo one > $OUT_ONE'}}\n"
    );
    let project = Project::new(&pipeline);
    assert!(project.drive_until("after_outcome", &["run"]).was_killed());
    let (name, boot) = (journal(&project), fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = project.read(&name);
    let (ended, started): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("\"ended\""));
    let far = started.join("\n").replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    let far = far.replace(&format!("\"host\":\"{}\"", host.trim()), "\"host\":\"far-away\"");
    assert!(far.contains("far-away") && ended.len() == 1, "{text}");
    project.write(&name, &far);
    (project, name, ended[0].to_owned())
}

fn out_of_reach_and_retried() {
    let (project, _, _) = out_of_reach("retry");
    project.drive(&["resume"]).ok();
    assert_eq!(project.lines("did.one"), 2);
    oracle::check(&project);
}

fn out_of_reach_and_awaited() {
    let (project, name, ended) = out_of_reach("wait");
    let resumed = std::thread::scope(|scope| {
        let resumed = scope.spawn(|| project.drive(&["resume"]));
        let (_, mut store) = drive::open(&project.path(""));
        while store.run(&RunRef::Latest).unwrap().unwrap().epoch < 2 && !resumed.is_finished() {
            std::thread::yield_now();
        }
        // Appended, as supervisors do: whoever reads it meanwhile must not find it empty.
        let mut journal = fs::OpenOptions::new().append(true).open(project.path(&name)).unwrap();
        journal.write_all(format!("\n{ended}\n").as_bytes()).unwrap();
        resumed.join().unwrap()
    });
    assert_eq!(resumed.ok().tasks("task_started"), [""; 0]);
    assert_eq!(project.lines("did.one"), 1, "its outcome arrived from where it ran");
    oracle::check(&project);
}

fn without_a_journal_nothing_is_started() {
    let project = scripted();
    assert!(project.drive_until("after_outcome", &["run"]).was_killed());
    let name = journal(&project);
    project.remove(&name);
    fs::create_dir(project.path(&name)).unwrap();
    project.drive(&["resume"]).with_code(2);
    assert_eq!(project.lines("did.one"), 1);
}

fn secrets_are_masked() {
    let project = Project::new(
        r#"
pipeline: hidden
steps:
  tell:
    env: {TOKEN: {secret: token}}
    run: |
      echo "{\"slices\": [{\"slice\": {\"who\": \"$TOKEN\"}, \"name\": \"f1\", \"value\": 1}]}" > $METRICS
      echo "{\"$TOKEN\": [\"is $TOKEN\"]}" > $METADATA
      echo 1 > $OUT_TELL
"#,
    );
    project.write("runstone.yaml", "secrets:\n  token: {file: ./key}\n");
    project.write("key", "very-secret-value\n");
    assert!(project.drive_until("after_outcome", &["run"]).was_killed());
    project.drive(&["resume"]).ok();
    let (_, mut store) = drive::open(&project.path(""));
    let run = store.run(&RunRef::Latest).unwrap().unwrap();
    let attempt = store.attempts(run.id, None).unwrap().pop().unwrap().id;
    let told = format!("{:?} {:?}", store.metrics(&[attempt]).unwrap(), store.metadata(attempt).unwrap());
    assert!(told.contains("who=***") && told.contains("is ***") && !told.contains("very-secret"), "{told}");
}

fn a_part_is_resumed() {
    let project = Project::new(
        "
pipeline: part
steps:
  a: {run: 'echo x >> did.a; echo 1 > $OUT_A'}
  b: {in: {a: a}, matrix: {n: [1, 2, 3]}, run: 'echo x >> did.b.$MATRIX_N; echo $MATRIX_N > $OUT_B'}
  c: {in: {b: b}, run: 'echo x >> did.c; grep -c key $IN_B > $OUT_C', out: {c: {publish: ./c.txt}}}
",
    );
    project.drive(&["run"]).ok();
    assert_eq!(project.read("c.txt").trim(), "3");
    assert!(project.drive_until("after_intent", &["run", "--only", "b{n=2}", "--force", "b"]).was_killed());
    let resumed = project.drive(&["resume"]).ok();
    assert_eq!(resumed.tasks("task_ended"), ["b{n=2}"]);
    let did: Vec<usize> =
        ["a", "b.1", "b.2", "b.3", "c"].iter().map(|step| project.lines(&format!("did.{step}"))).collect();
    assert_eq!(did, [1, 1, 2, 1, 1]);
    oracle::check(&project);
}
