//! How attempts end, and what their steps find when they start.

use std::fs;
use std::path::Path;

use runstone_core::attempt::{Cause, Material, Staged};
use runstone_core::executor::{Executor, SecretEnv, Stop};
use runstone_exec::local::ForkServer;

use crate::Test;
use crate::rig::{Rig, content, eventually, is_running, processes_of, read};

pub(crate) const TESTS: &[Test] = &[
    ("exit_codes_and_usage", exit_codes_and_usage),
    ("a_signal_from_outside", a_signal_from_outside),
    ("timeout_ends_a_step_that_ignores_term", timeout_ends_a_step_that_ignores_term),
    ("timeout_ends_a_stopped_step", timeout_ends_a_stopped_step),
    ("a_step_may_end_itself_within_the_grace_period", a_step_may_end_itself_within_the_grace_period),
    ("cancel", cancel),
    ("cancel_now_does_not_wait", cancel_now_does_not_wait),
    ("daemons_do_not_survive_their_step", daemons_do_not_survive_their_step),
    ("a_moment_is_left_to_finish_writing", a_moment_is_left_to_finish_writing),
    ("programs_that_cannot_be_started", programs_that_cannot_be_started),
    ("a_step_finds_what_was_asked_for_and_no_more", a_step_finds_what_was_asked_for_and_no_more),
    ("signals_are_as_in_a_fresh_process", signals_are_as_in_a_fresh_process),
    ("materials_are_laid_out", materials_are_laid_out),
    ("a_large_environment", a_large_environment),
    ("many_attempts_at_once", many_attempts_at_once),
    ("one_reaper_serves_many_attempts", one_reaper_serves_many_attempts),
    ("out_of_memory_is_what_the_kernel_says", out_of_memory_is_what_the_kernel_says),
    ("a_file_where_the_folder_should_be", a_file_where_the_folder_should_be),
];

fn exit_codes_and_usage(server: ForkServer) {
    let mut rig = Rig::new(server);
    for code in [0, 1, 7, 255] {
        let spec = rig.script(&format!("exit {code}"));
        let outcome = rig.run(&spec);
        assert_eq!((outcome.cause, outcome.exit_code, outcome.signal), (Cause::Exit, Some(code), None));
        assert!(outcome.ended >= outcome.started);
    }
    let spec =
        rig.script("x=$(head -c 30000000 /dev/zero | tr '\\0' a); i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    let outcome = rig.run(&spec);
    assert!(outcome.is_clean_exit());
    assert!(outcome.peak_rss > 30_000_000, "{outcome:?}");
    assert!(outcome.user_us > 0, "{outcome:?}");
    assert!(u128::from(outcome.ended.since(outcome.started)) > 0);
}

fn a_signal_from_outside(server: ForkServer) {
    let mut rig = Rig::new(server);
    let spec = rig.script("kill -SEGV $$");
    let outcome = rig.run(&spec);
    assert_eq!((outcome.cause, outcome.exit_code, outcome.signal), (Cause::Signal, None, Some(11)));
    let spec = rig.script("kill -KILL $$");
    let outcome = rig.run(&spec);
    assert_eq!((outcome.cause, outcome.signal), (Cause::Signal, Some(9)));
    assert!(outcome.message.unwrap().contains("possibly memory"));
}

fn timeout_ends_a_step_that_ignores_term(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("trap '' TERM; echo started; while :; do sleep 0.01; done");
    (spec.timeout_ms, spec.grace_ms) = (Some(100), 100);
    let outcome = rig.run(&spec);
    assert_eq!((outcome.cause, outcome.signal), (Cause::Timeout, Some(9)));
    assert_eq!(read(&spec, "stdout"), "started\n");
    assert!(processes_of(spec.attempt).is_empty());
}

fn timeout_ends_a_stopped_step(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("trap 'echo last words; exit 3' TERM; kill -STOP $$; sleep 100");
    spec.timeout_ms = Some(100);
    let outcome = rig.run(&spec);
    assert_eq!(outcome.cause, Cause::Timeout);
    assert!(processes_of(spec.attempt).is_empty());
}

fn a_step_may_end_itself_within_the_grace_period(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("trap 'echo saved; exit 3' TERM; while :; do sleep 0.01; done");
    (spec.timeout_ms, spec.grace_ms) = (Some(200), 60_000);
    let outcome = rig.run(&spec);
    assert_eq!((outcome.cause, outcome.exit_code), (Cause::Timeout, Some(3)));
    assert_eq!(read(&spec, "stdout"), "saved\n");
}

fn cancel(server: ForkServer) {
    let mut rig = Rig::new(server);
    let spec = rig.script("trap 'exit 0' TERM; echo ready > ready; while :; do sleep 0.01; done");
    rig.start(&spec);
    content(&rig.path("ready"));
    rig.executor.stop(uuid::Uuid::now_v7(), Stop::Now);
    rig.executor.stop(spec.attempt, Stop::Gracefully);
    let outcome = rig.outcome();
    assert_eq!((outcome.cause, outcome.exit_code), (Cause::Cancelled, Some(0)));
    assert!(processes_of(spec.attempt).is_empty());
    // A late request means nothing to the next attempt of the same reaper.
    rig.executor.stop(spec.attempt, Stop::Now);
    assert_eq!(rig.output("echo fine"), "fine\n");
}

fn cancel_now_does_not_wait(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("trap '' TERM; echo ready > ready; while :; do sleep 0.01; done");
    spec.grace_ms = u64::MAX;
    rig.start(&spec);
    content(&rig.path("ready"));
    rig.executor.stop(spec.attempt, Stop::Gracefully);
    rig.executor.stop(spec.attempt, Stop::Now);
    let outcome = rig.outcome();
    assert_eq!((outcome.cause, outcome.signal), (Cause::Cancelled, Some(9)));
}

fn daemons_do_not_survive_their_step(server: ForkServer) {
    let mut rig = Rig::new(server);
    // A child in the background, a session of its own, and a double fork that also clears its environment; all of
    // them hold the step's standard output.
    let spec = rig.script(
        "sleep 1000 & echo $! >> pids
         setsid sh -c 'echo $$ >> pids; trap \"\" TERM; sleep 1000; sleep 1000' &
         (setsid env -i sh -c 'echo $$ >> pids; sleep 1000 & sleep 1001' &) &
         while [ $(wc -l < pids) -lt 3 ]; do :; done
         echo done",
    );
    let outcome = rig.run(&spec);
    assert!(outcome.is_clean_exit());
    assert_eq!(read(&spec, "stdout"), "done\n");
    assert!(outcome.leftovers >= 3, "{outcome:?}");
    let pids = fs::read_to_string(rig.path("pids")).unwrap();
    for pid in pids.lines() {
        assert!(!is_running(pid.parse().unwrap()), "{pid}");
    }
    assert!(processes_of(spec.attempt).is_empty());
}

fn a_moment_is_left_to_finish_writing(server: ForkServer) {
    let mut rig = Rig::new(server);
    // Like a `tee`: it reads until the step's end, then writes its last line.
    assert_eq!(rig.output("mkfifo gate; (cat gate; echo last) & exec 3> gate; echo first"), "first\nlast\n");
}

fn programs_that_cannot_be_started(server: ForkServer) {
    let mut rig = Rig::new(server);
    fs::write(rig.path("no_interpreter"), "#!/nonexistent/python\n").unwrap();
    fs::write(rig.path("no_line"), "echo hi\n").unwrap();
    fs::write(rig.path("not_executable"), "#!/bin/sh\n").unwrap();
    for name in ["no_interpreter", "no_line"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(rig.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let cases = [
        ("pyton3", "not found in PATH"),
        ("./missing", "does not exist"),
        ("./no_interpreter", "interpreter"),
        ("./no_line", "#!/bin/sh"),
        ("./not_executable", "chmod +x"),
        ("/", "folder"),
        ("", "empty"),
        ("a\0b", "not found"),
    ];
    for (program, hint) in cases {
        let mut spec = rig.script("");
        spec.argv = vec![program.into()];
        let outcome = rig.run(&spec);
        let message = outcome.message.unwrap();
        assert_eq!(outcome.cause, Cause::Spawn, "{program}: {message}");
        assert!(message.contains(hint), "{program}: {message}");
    }
    let mut spec = rig.script("echo hi");
    spec.cwd = "/nonexistent/folder".into();
    let outcome = rig.run(&spec);
    assert_eq!(outcome.cause, Cause::Spawn);
    assert!(outcome.message.unwrap().contains("/nonexistent/folder"));
    let mut spec = rig.script("echo hi");
    spec.argv.push("nul\0".into());
    assert!(rig.run(&spec).message.unwrap().contains("NUL"));
    assert_eq!(rig.output("echo still fine"), "still fine\n");
}

fn a_step_finds_what_was_asked_for_and_no_more(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("");
    spec.argv = vec!["env".into(), "-0".into()];
    spec.env.insert("TEXT".into(), "two\nlines = ' \" $HOME".into());
    let secrets = SecretEnv(vec![("TOKEN".into(), "s3cret-value".into())]);
    rig.executor.start(&spec, &secrets).unwrap();
    assert!(rig.outcome().is_clean_exit());
    let mut lines: Vec<String> = read(&spec, "stdout").split_terminator('\0').map(String::from).collect();
    lines.sort();
    let attempt = format!("RUNSTONE_ATTEMPT_ID={}", spec.attempt);
    let path = format!("PATH={}", spec.env["PATH"]);
    assert_eq!(lines, [&*path, &*attempt, "TEXT=two\nlines = ' \" $HOME", "TOKEN=***"]);

    let fds = rig.output("ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* -> .*\\)/\\1/p'");
    let open: Vec<&str> = fds.lines().filter(|line| !line.contains("/proc/")).collect();
    assert_eq!(open.len(), 3, "{fds}");
    assert_eq!(open[0], "0 -> /dev/null");
    // `ls` writes into a pipe; 1 is that pipe.
    assert!(open[2].starts_with("2 -> ") && open[2].ends_with("/stderr"), "{fds}");
    assert_eq!(rig.output("cat; pwd"), format!("{}\n", rig.folder.path().display()));
    assert_eq!(rig.output("umask"), "0022\n");
    let ids = rig.output("cut -d' ' -f1,5,6 /proc/$$/stat");
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "leads its group and its session: {ids:?}");
    let folder = fs::metadata(&spec.folder).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&folder.permissions()) & 0o777, 0o700);
    assert!(Path::new(&spec.folder).join("out").is_dir() && Path::new(&spec.folder).join("tmp").is_dir());
}

fn signals_are_as_in_a_fresh_process(server: ForkServer) {
    let mut rig = Rig::new(server);
    let status = rig.output("cat /proc/self/status");
    for field in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let set = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // The two signals that belong to the C library are as they were when this process was started.
        assert_eq!(set & !(0b11 << 31), 0, "{line}");
    }
    assert_eq!(rig.output("yes | head -n 1"), "y\n");
}

fn materials_are_laid_out(server: ForkServer) {
    let mut rig = Rig::new(server);
    fs::write(rig.path("data.csv"), "a,b\n").unwrap();
    let source = rig.path("data.csv").to_str().unwrap().to_owned();
    let mut spec =
        rig.script("cat \"$0/in/link.csv\" \"$0/in/own.csv\" \"$0/params.json\"; echo changed > \"$0/in/own.csv\"");
    spec.argv.push(spec.folder.clone());
    spec.stage = vec![
        Staged { path: "in/link.csv".into(), what: Material::Link(source.clone()) },
        Staged { path: "in/own.csv".into(), what: Material::Copy(source) },
        Staged { path: "params.json".into(), what: Material::Text("{}\n".into()) },
    ];
    assert!(rig.run(&spec).is_clean_exit());
    assert_eq!(read(&spec, "stdout"), "a,b\na,b\n{}\n");
    assert_eq!(fs::read_to_string(rig.path("data.csv")).unwrap(), "a,b\n");
    let mut spec = rig.script("echo never");
    spec.stage = vec![Staged { path: "../../out".into(), what: Material::Text("x".into()) }];
    let outcome = rig.run(&spec);
    assert_eq!(outcome.cause, Cause::Internal);
    assert!(outcome.message.unwrap().contains("../../out"));
}

fn a_large_environment(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("env | wc -c");
    spec.env.extend((0..100).map(|at| (format!("BIG_{at}"), "x".repeat(10_000))));
    assert!(rig.run(&spec).is_clean_exit());
    assert!(read(&spec, "stdout").trim().parse::<usize>().unwrap() > 1_000_000);
    spec = rig.script("echo never");
    spec.env.insert("HUGE".into(), "x".repeat(200_000));
    let outcome = rig.run(&spec);
    assert_eq!(outcome.cause, Cause::Spawn);
    assert!(outcome.message.unwrap().contains("environment variable HUGE is too long"));
    spec = rig.script("echo never");
    spec.env.extend((0..2000).map(|at| (format!("BIG_{at}"), "x".repeat(10_000))));
    let outcome = rig.run(&spec);
    assert_eq!(outcome.cause, Cause::Spawn);
    assert!(outcome.message.unwrap().contains("too large together"));
}

fn many_attempts_at_once(server: ForkServer) {
    let mut rig = Rig::new(server);
    let specs: Vec<_> = (0..200).map(|at| rig.script(&format!("echo {at} > {at}.txt; exit $(({at} % 3))"))).collect();
    let (mut next, mut running, mut codes) = (specs.iter(), 0, Vec::new());
    loop {
        while running < 8 {
            let Some(spec) = next.next() else { break };
            rig.start(spec);
            running += 1;
        }
        if running == 0 {
            break;
        }
        let outcome = rig.outcome();
        running -= 1;
        let at = specs.iter().position(|spec| spec.attempt == outcome.attempt).unwrap();
        codes.push((at, outcome.exit_code.unwrap()));
    }
    codes.sort_unstable();
    assert_eq!(codes, (0..200).map(|at| (at, i32::try_from(at % 3).unwrap())).collect::<Vec<_>>());
    assert!((0..200).all(|at| rig.path(&format!("{at}.txt")).exists()));
}

fn one_reaper_serves_many_attempts(server: ForkServer) {
    let mut rig = Rig::new(server);
    let parents: Vec<String> = (0..5).map(|_| rig.output("echo $PPID")).collect();
    assert!(parents.iter().all(|parent| parent == &parents[0]), "{parents:?}");
    let reaper = parents[0].trim().parse().unwrap();
    assert!(is_running(reaper));
    drop(rig);
    eventually("an idle reaper ends with its engine", || (!is_running(reaper)).then_some(()));
}

fn a_file_where_the_folder_should_be(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script("echo never");
    fs::write(rig.path("file"), "").unwrap();
    spec.folder = rig.path("file/attempt").to_str().unwrap().into();
    let outcome = rig.run(&spec);
    assert_eq!(outcome.cause, Cause::Internal);
    assert!(outcome.message.unwrap().contains("file/attempt"));
}

fn out_of_memory_is_what_the_kernel_says(server: ForkServer) {
    let group = ControlGroup::new(64 << 20);
    let Some(group) = group else {
        println!("skipped: no control group for memory can be made here");
        return;
    };
    // The fork server goes in, and with it every reaper and step.
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap();
    fs::write(group.0.join("cgroup.procs"), children.trim()).unwrap();
    let mut rig = Rig::new(server);
    let hungry = "sleep 0.05; x=$(head -c 300000000 /dev/zero | tr '\\0' a); echo survived";
    let spec = rig.script(hungry);
    let outcome = rig.run(&spec);
    assert_eq!((outcome.cause, outcome.signal), (Cause::OutOfMemory, Some(9)), "{outcome:?}");
    // The next one is judged by itself.
    let spec = rig.script("sleep 0.05; kill -KILL $$");
    assert_eq!(rig.run(&spec).cause, Cause::Signal);
}

/// A control group with a limit of memory, removed at the end.
struct ControlGroup(std::path::PathBuf);

impl ControlGroup {
    fn new(limit: u64) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let (root, file, own) = groups.lines().find_map(|line| {
            let (controllers, own) = line.split_once(':')?.1.split_once(':')?;
            match controllers {
                "memory" => Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", own)),
                "" if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => {
                    Some(("/sys/fs/cgroup", "memory.max", own))
                }
                _ => None,
            }
        })?;
        let group =
            Self(Path::new(root).join(own.trim_start_matches('/')).join(format!("test-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(file), limit.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        eventually("the control group is empty", || fs::remove_dir(&self.0).ok());
    }
}
