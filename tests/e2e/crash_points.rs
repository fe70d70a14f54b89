//! The program, its supervisors and its steps are killed in the middle of chosen system calls. Whatever is left, the run
//! can be brought to its end, and what is on record then is right.

use std::process::Command;

use crate::project::Project;
use crate::running::Ran;

const CHAIN: &str = "
pipeline: chain
steps:
  first: {run: 'echo x >> first.count; echo 1 > $OUT_FIRST', out: {first: {publish: ./first.txt}}}
  second: {in: {f: first}, run: 'echo x >> second.count; mkdir $OUT_SECOND/a; cp $IN_F $OUT_SECOND/a/b', out: {second: {dir: true}}}
  third: {in: {s: second}, run: 'echo x >> third.count; cat $IN_S/a/b > $OUT_THIRD'}
";

/// Whether this machine allows for it.
fn can_trace() -> bool {
    Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output().is_ok_and(|output| output.status.success())
}

/// Runs a command and kills it in the thread that first makes the call for the `nth` time.
fn killed(project: &Project, args: &[&str], call: &str, nth: u32) -> Ran {
    traced(project, args, call, &["-f", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={nth}")])
}

fn traced(project: &Project, args: &[&str], call: &str, how: &[&str]) -> Ran {
    let inner = project.command(args);
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", &format!("trace={call}")]).args(how);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(project.path("")).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    project.start_command(command).wait()
}

fn killed_at(call: &str, nth: u32) {
    let project = Project::new(CHAIN);
    let mut code = killed(&project, &["run", "--jobs", "2"], call, nth).code;
    // A supervisor that dies takes its attempt with it, which is tried again; a second death is a failure of the run.
    for _ in 0..3 {
        if code != 0 {
            let resumed = project.runstone(&["resume"]);
            let run = if resumed.code == 4 { project.runstone(&["run"]) } else { resumed };
            assert!([0, 1].contains(&run.code), "{call} {nth}: {run:?}");
            code = run.code;
        }
    }
    assert_eq!(code, 0, "{call} {nth}: {:#}", project.show("latest"));
    assert_eq!(project.content("chain/third"), "1\n", "{call} {nth}");
    assert!(project.exists("first.txt"), "{call} {nth}: what is published is where people look");
    for step in ["first", "second", "third"] {
        let attempts = project.task(step)["attempts"].as_u64().unwrap();
        let lines = project.lines(&format!("{step}.count")) as u64;
        assert!((1..=attempts).contains(&lines) && attempts <= 2, "{call} {nth}: {step} {lines} of {attempts}");
    }
    assert_eq!(project.json(&["runs"]).as_array().unwrap().len(), 1, "{call} {nth}");
    let verified = project.runstone(&["verify"]);
    assert_eq!(verified.code, 0, "{call} {nth}: {verified:?}");
    assert_eq!(project.run(&[]).executed(), [""; 0], "{call} {nth}");
}

fn sweep(call: &str, moments: impl IntoIterator<Item = u32>) {
    sweep_with(call, moments, |nth| killed_at(call, nth));
}

#[expect(clippy::print_stderr, reason = "whoever reads the result must see what it does not cover")]
fn sweep_with(call: &str, moments: impl IntoIterator<Item = u32>, test: impl FnMut(u32)) {
    if can_trace() {
        moments.into_iter().for_each(test);
    } else {
        eprintln!("not tested: being killed in {call} needs strace");
    }
}

#[test]
fn killed_while_objects_and_records_become_durable() {
    sweep("fsync", 1..=8);
    sweep("fdatasync", 1..=4);
}

#[test]
fn killed_while_objects_get_their_names() {
    sweep("renameat2", 1..=3);
    sweep("linkat", 1..=2);
}

#[test]
fn killed_while_the_record_is_written() {
    sweep("pwrite64", [1, 9, 20, 33, 47, 60, 71, 83, 96]);
}

#[test]
fn killed_while_folders_are_made_and_messages_sent() {
    sweep("mkdir", [2, 5, 270, 274, 277]);
    sweep("sendto", 1..=2);
    sweep("write", [3, 5, 8]);
}

/// An export is there as a whole or not at all, and what is left of one that was not finished is in nobody's way.
#[test]
fn killed_while_an_export_is_written() {
    let project = Project::new(CHAIN);
    project.run(&[]);
    project.runstone(&["verify"]).ok();
    let export = ["export", "--all", "--objects", "--to", "out"];
    for (call, moments) in [("write", 1..=20), ("mkdir", 1..=8), ("/rename", 1..=2), ("openat", 30..=60)] {
        let mut kills = 0;
        sweep_with(call, moments.step_by(3), |nth| {
            kills += u32::from(killed(&project, &export, call, nth).code != 0);
            if project.exists("out") {
                project.runstone(&export).code(6);
            } else {
                project.runstone(&export).ok();
            }
            project.runstone(&["verify", "out"]).ok();
            assert!(!project.exists("out.partial"), "{call} {nth}");
            std::fs::remove_dir_all(project.path("out")).unwrap();
        });
        assert!(kills > 0 || !can_trace(), "nobody was killed in {call}");
    }
    project.runstone(&["verify"]).ok();
}

/// Everything that ended is in the log, once.
fn assert_sealed(project: &Project, moment: &str) {
    let report = project.json(&["verify"]);
    assert_eq!((&report["findings"], &report["log"]["unlogged"]), (&serde_json::json!([]), &0.into()), "{moment}");
    let attempts = project.json(&["search", "--limit", "1000"]).as_array().unwrap().len();
    assert_eq!(report["log"]["leaves"], attempts, "{moment}");
}

const ONE: &str = "pipeline: one\nsteps:\n  step: {cache: never, run: 'echo 1 > $OUT_STEP'}\n";

#[test]
fn killed_while_the_key_is_made() {
    for call in ["/^link", "getrandom"] {
        sweep_with(call, 1..=4, |nth| {
            let project = Project::new(ONE);
            killed(&project, &["run"], call, nth);
            project.run(&[]);
            assert!(project.read(".runstone/signing-key").len() == 65, "{call} {nth}");
            assert_sealed(&project, &format!("{call} {nth}"));
        });
    }
}

/// A run brings what ended into the log when it is over: the last writes of its first thread, which is the only one here
/// that is traced.
#[test]
fn killed_while_the_log_is_sealed() {
    let project = Project::new(ONE);
    project.run(&[]);
    let mut kills = 0;
    sweep_with("pwrite64", 1..=12, |nth| {
        let inject = format!("inject=pwrite64:signal=KILL:when={nth}");
        let ran = traced(&project, &["run"], "pwrite64", &["-o", "/dev/null", "-e", &inject]);
        if project.show("latest")["state"] == "running" {
            project.runstone(&["resume"]).ok();
        } else {
            kills += u32::from(ran.code != 0);
        }
        assert_sealed(&project, &format!("write {nth}"));
    });
    assert!(kills > 0 || !can_trace(), "nobody was killed after the run was over");
}
