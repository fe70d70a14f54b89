//! How things fail, what is on record about it, and with which code the program ends.

use crate::project::Project;

#[test]
fn every_failure_has_its_cause_on_record() {
    let project = Project::new(
        r#"
pipeline: causes
steps:
  exits: {run: 'echo "what went wrong" >&2; exit 7'}
  signalled: {run: 'kill -SEGV $$'}
  slow: {timeout: 100ms, run: 'sleep 50'}
  stubborn: {timeout: 100ms, grace: 100ms, run: "trap '' TERM; ./wait.sh never"}
  lazy: {run: 'true'}
  wrong: {run: 'mkdir $OUT_WRONG'}
  nowhere: {run: [./no-such-program]}
  unable: {run: [./not-executable]}
  fine: {run: 'echo 1 > $OUT_FINE'}
  reader: {in: {e: exits, f: fine}, run: 'cat $IN_E > $OUT_READER'}
  last: {in: {r: reader}, run: 'cat $IN_R > $OUT_LAST'}
"#,
    );
    project.write("not-executable", "no");
    let run = project.run_with_code(&["--jobs", "4"], 1);
    assert_eq!(run.executed(), ["fine"]);
    let attempt = |task: &str| project.task(task)["attempt"].clone();
    let cause = |task: &str| attempt(task)["cause"].as_str().unwrap().to_owned();
    assert_eq!((cause("exits").as_str(), &attempt("exits")["exit_code"]), ("exit", &7.into()));
    assert_eq!((cause("signalled").as_str(), &attempt("signalled")["signal"]), ("signal", &11.into()));
    assert_eq!((cause("slow"), cause("stubborn")), ("timeout".into(), "timeout".into()));
    assert_eq!((cause("lazy"), cause("wrong")), ("missing_output".into(), "missing_output".into()));
    assert_eq!((cause("nowhere"), cause("unable")), ("spawn".into(), "spawn".into()));
    assert!(attempt("nowhere")["message"].as_str().unwrap().contains("./no-such-program"));
    assert!(attempt("lazy")["message"].as_str().unwrap().contains("OUT_LAZY"));
    let skipped = run.skipped();
    assert!(skipped["reader"].contains("exits"), "{skipped:?}");
    assert!(skipped["last"].contains("reader"), "{skipped:?}");
    let shown = project.runstone(&["show"]).ok().out;
    for part in ["what went wrong", "exit 7", "signal 11", "timeout"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let fine = attempt("fine");
    assert!(fine["wall_us"].as_u64().unwrap() > 0 && fine["peak_memory_bytes"].as_u64().unwrap() > 0, "{fine:#}");
}

#[test]
fn a_missing_output_that_lies_elsewhere_is_pointed_at() {
    let project = Project::new(
        "
pipeline: lost
steps:
  train: {run: 'echo x > model.pkl', out: {model: {path: model.pkl}}}
",
    );
    project.run_with_code(&[], 1);
    let attempt = project.task("train")["attempt"].clone();
    let message = attempt["message"].as_str().unwrap();
    assert!(message.contains("found ./model.pkl") && message.contains("$OUT_MODEL"), "{message}");
}

#[test]
fn independent_branches_go_on_unless_told_to_stop() {
    let project = Project::new(
        "
pipeline: many
steps:
  cell: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}, run: 'echo x >> count; exit 1'}
",
    );
    assert_eq!(project.run_with_code(&["--jobs", "1"], 1).failed().len(), 8);
    std::fs::remove_file(project.path("count")).unwrap();
    let stopped = project.run_with_code(&["--jobs", "1", "--fail-fast"], 1);
    assert_eq!((stopped.failed().len(), project.lines("count")), (1, 1), "{stopped:?}");
    let run = project.show("latest");
    assert_eq!(run["state"], "failed");
    assert_eq!(run["counts"]["skipped"].as_u64().unwrap() + run["counts"]["cancelled"].as_u64().unwrap(), 7);
}

#[test]
fn processes_that_a_step_leaves_behind_are_gone_when_it_has_ended() {
    let project = Project::new(
        r#"
pipeline: daemons
steps:
  parent:
    run: |
      setsid sh -c 'echo $$ > daemon; exec sleep 600' > /dev/null 2>&1 < /dev/null &
      sh -c 'echo $$ > child; exec sleep 600' &
      ./wait.sh daemon; ./wait.sh child
      echo 1 > "$OUT_PARENT"
"#,
    );
    project.run(&[]);
    for file in ["daemon", "child"] {
        let pid = project.read(file).trim().parse().unwrap();
        assert!(!crate::running::is_alive(pid), "{file} is still there");
    }
    assert!(project.task("parent")["attempt"]["killed_leftovers"].as_u64().unwrap() >= 1);
}

#[test]
fn each_kind_of_end_has_its_exit_code() {
    let project = Project::new("pipeline: codes\nsteps:\n  one: {run: 'echo 1 > $OUT_ONE'}\n");
    let code = |args: &[&str]| project.runstone(args).code;
    assert_eq!(code(&["show"]), 4, "no project yet");
    assert_eq!(code(&["run", "--nonsense"]), 2);
    assert_eq!(code(&["run"]), 0);
    assert_eq!(code(&["show", "99"]), 4);
    assert_eq!(code(&["logs", "nobody"]), 4);
    assert_eq!(code(&["lineage", "codes/nothing"]), 4);
    assert_eq!(code(&["checkout", "codes/one@v7", "x"]), 4);
    assert_eq!(code(&["init"]), 6, "it would overwrite the pipeline");
    assert_eq!(code(&["checkout", "codes/one", "pipeline.yaml"]), 6);
    assert!(project.read("pipeline.yaml").starts_with("pipeline: codes"));
    assert_eq!(code(&["checkout", "codes/one", "pipeline.yaml/file"]), 74);
    assert_eq!(code(&["verify"]), 0);
    std::fs::remove_file(project.object("1\n")).unwrap();
    assert_eq!(code(&["verify"]), 1);
    project.write("runstone.yaml", "jbos: 3\n");
    assert_eq!(code(&["runs"]), 2);
    project.write("runstone.yaml", "");
    project.edit("pipeline.yaml", "run:", "rum:");
    assert_eq!(code(&["validate", "pipeline.yaml"]), 3);
    assert_eq!(code(&["run"]), 3);
    for file in ["runstone.db", "runstone.db-wal", "runstone.db-shm"] {
        let _ = std::fs::remove_file(project.path(&format!(".runstone/{file}")));
    }
    project.write(".runstone/runstone.db", vec![b'x'; 8192]);
    assert_eq!(code(&["runs"]), 5);
}

#[test]
fn a_failed_run_can_be_resumed_when_its_cause_is_gone() {
    let project = Project::new(
        "
pipeline: repaired
steps:
  before: {run: 'echo x >> before.count; echo 1 > $OUT_BEFORE'}
  fails: {in: {b: before}, run: 'test -e fixed; echo 1 > $OUT_FAILS'}
  after: {in: {f: fails}, run: 'echo 1 > $OUT_AFTER'}
",
    );
    project.run_with_code(&[], 1);
    project.write("fixed", "");
    let resumed = project.runstone(&["resume", "--json"]).ok();
    assert_eq!(resumed.executed(), ["after", "fails"]);
    assert_eq!(project.lines("before.count"), 1);
    let runs = project.json(&["runs"]);
    assert_eq!((runs.as_array().unwrap().len(), &runs[0]["state"]), (1, &"succeeded".into()));
    assert_eq!(project.task("fails")["attempts"], 2);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let project = Project::new("pipeline: newer\nsteps:\n  one: {run: 'echo 1 > $OUT_ONE'}\n");
    project.run(&[]);
    let program = "import sqlite3; sqlite3.connect('.runstone/runstone.db').execute('PRAGMA user_version = 99')";
    let status = std::process::Command::new("python3").args(["-c", program]).current_dir(project.path("")).status();
    assert!(status.unwrap().success());
    project.runstone(&["run"]).code(5).says(&["newer"]);
}
