//! The program, its supervisors and its steps are killed in the middle of chosen system calls. Whatever is left, the run
//! can be brought to its end, and what is on record then is right.

use std::process::Command;

use crate::project::Project;

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

/// Runs the pipeline and kills whoever makes the call for the `nth` time.
fn killed_at(call: &str, nth: u32) {
    let project = Project::new(CHAIN);
    let inner = project.command(&["run", "--jobs", "2"]);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(project.path("")).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut code = project.start_command(command).wait().code;
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

#[expect(clippy::print_stderr, reason = "whoever reads the result must see what it does not cover")]
fn sweep(call: &str, moments: impl IntoIterator<Item = u32>) {
    if can_trace() {
        moments.into_iter().for_each(|nth| killed_at(call, nth));
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
