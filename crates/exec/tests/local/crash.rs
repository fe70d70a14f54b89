//! Deaths: of the engine, of a reaper, of both.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use runstone_core::attempt::{AttemptSpec, Cause};
use runstone_core::executor::{Executor, Report, Stop};
use runstone_exec::local::journal::Started;
use runstone_exec::local::{ForkServer, Place, Reach};
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::rig::{Rig, content, eventually, is_running, processes_of, records_of, shell};

pub(crate) const TESTS: &[Test] = &[
    ("the_outcome_survives_the_engine", the_outcome_survives_the_engine),
    ("what_ends_with_its_owner_is_ended_when_that_is_gone", what_ends_with_its_owner),
    ("a_new_owner_can_stop_what_it_adopted", a_new_owner_can_stop_what_it_adopted),
    ("what_was_lost_is_known_as_lost", what_was_lost_is_known_as_lost),
    ("a_killed_reaper_leaves_nothing_behind", a_killed_reaper_leaves_nothing_behind),
    ("a_killed_idle_reaper_is_not_missed", a_killed_idle_reaper_is_not_missed),
    ("the_owner_lock_outlives_the_engine_only_until_nothing_can_start", the_owner_lock),
    ("without_a_fork_server_nothing_starts", without_a_fork_server_nothing_starts),
    ("threads_come_after_the_fork_server", threads_come_after_the_fork_server),
];

/// An engine in a process of its own.
pub(crate) struct Engine {
    pub(crate) process: Child,
    pub(crate) stdin: ChildStdin,
    pub(crate) lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Engine {
    pub(crate) fn new(folder: &Path, lock: Option<&Path>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("engine").arg(folder).args(lock).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        Self { process, stdin, lines }
    }

    pub(crate) fn start(&mut self, spec: &AttemptSpec) {
        // An engine that is dead already is what some tests are about.
        let _ = writeln!(self.stdin, "{}", serde_json::to_string(spec).unwrap());
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

pub(crate) fn started(journal: &Path, spec: &AttemptSpec) -> Started {
    eventually("the start is on record", || records_of(journal, spec.attempt).0.pop())
}

fn the_outcome_survives_the_engine(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut engine = Engine::new(rig.folder.path(), None);
    let spec = rig.script("echo 1 >> runs; while [ ! -e gate ]; do sleep 0.01; done; echo over; exit 7");
    engine.start(&spec);
    content(&rig.path("runs"));
    engine.kill();
    let started = started(&rig.journal, &spec);
    assert!(started.is_alive());
    rig.executor.adopt(&started, &rig.journal.clone()).unwrap();
    fs::write(rig.path("gate"), "").unwrap();
    let outcome = rig.outcome();
    assert_eq!((outcome.cause, outcome.exit_code), (Cause::Exit, Some(7)));
    assert_eq!(records_of(&rig.journal, spec.attempt).1, vec![outcome.clone()]);
    assert!(!started.is_alive(), "a reaper without an engine ends with its attempt");
    assert_eq!(fs::read_to_string(rig.path("runs")).unwrap(), "1\n");
    // What ended before it is adopted is reported all the same.
    rig.executor.adopt(&started, &rig.journal.clone()).unwrap();
    assert_eq!(rig.outcome(), outcome);
}

fn what_ends_with_its_owner(server: ForkServer) {
    let rig = Rig::new(server);
    for (script, code) in [
        ("trap 'exit 4' TERM; echo 1 > ready; while :; do sleep 0.01; done", Some(4)),
        ("trap '' TERM; echo 1 > ready; while :; do sleep 0.01; done", None),
    ] {
        let mut engine = Engine::new(rig.folder.path(), None);
        let spec = AttemptSpec { ends_with_owner: true, grace_ms: 50, ..rig.script(script) };
        engine.start(&spec);
        content(&rig.path("ready"));
        fs::remove_file(rig.path("ready")).unwrap();
        engine.kill();
        let outcome = eventually("the outcome is on record", || records_of(&rig.journal, spec.attempt).1.pop());
        assert_eq!((outcome.cause, outcome.exit_code), (Cause::Cancelled, code));
    }
}

fn a_new_owner_can_stop_what_it_adopted(server: ForkServer) {
    let mut rig = Rig::new(server);
    for (how, code, signal) in [(Stop::Gracefully, Some(4), None), (Stop::Now, None, Some(9))] {
        let mut engine = Engine::new(rig.folder.path(), None);
        let spec = rig.script("trap 'exit 4' TERM; echo 1 > ready; while :; do sleep 0.01; done");
        engine.start(&spec);
        content(&rig.path("ready"));
        fs::remove_file(rig.path("ready")).unwrap();
        engine.kill();
        rig.executor.adopt(&started(&rig.journal, &spec), &rig.journal.clone()).unwrap();
        rig.executor.stop(spec.attempt, how);
        let outcome = rig.outcome();
        assert_eq!((outcome.cause, outcome.exit_code, outcome.signal), (Cause::Cancelled, code, signal));
    }
}

fn what_was_lost_is_known_as_lost(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut engine = Engine::new(rig.folder.path(), None);
    let spec = rig.script("setsid sleep 1000 & echo 1 > ready; sleep 1000");
    engine.start(&spec);
    content(&rig.path("ready"));
    let started = started(&rig.journal, &spec);
    // Stopped, the engine notices nothing and clears nothing.
    kill(engine.process.id(), Signal::STOP);
    kill(started.reaper.pid, Signal::KILL);
    engine.kill();
    eventually("the reaper is gone", || (!started.is_alive()).then_some(()));
    rig.executor.adopt(&started, &rig.journal.clone()).unwrap();
    let Report::Vanished { attempt, message } = rig.report() else { panic!("an outcome from nowhere") };
    assert_eq!(attempt, spec.attempt);
    assert!(message.contains("killed"), "{message}");
    assert!(processes_of(spec.attempt).is_empty());
    // As after a restart of the machine.
    let before = Place { boot_id: "another".into(), ..started.place.clone() };
    let before = Started { place: before, ..started };
    assert!(!before.is_alive() && before.reach() == Reach::Gone);
    let elsewhere = Place { host: "another".into(), ..before.place.clone() };
    assert_eq!(Started { place: elsewhere, ..before }.reach(), Reach::Elsewhere);
}

fn a_killed_reaper_leaves_nothing_behind(server: ForkServer) {
    let mut rig = Rig::new(server);
    let spec = rig.script(
        "setsid sh -c 'echo $$ >> pids; sleep 1000' &
         env -i sleep 1000 & echo $! >> pids
         while [ $(wc -l < pids) -lt 2 ]; do :; done; echo ready > ready; sleep 1000",
    );
    rig.start(&spec);
    content(&rig.path("ready"));
    let started = started(&rig.journal, &spec);
    kill(started.reaper.pid, Signal::KILL);
    let Report::Vanished { attempt, .. } = rig.report() else { panic!("an outcome from nowhere") };
    assert_eq!(attempt, spec.attempt);
    assert!(!started.is_alive());
    assert!(processes_of(spec.attempt).is_empty());
    for pid in fs::read_to_string(rig.path("pids")).unwrap().lines() {
        assert!(!is_running(pid.parse().unwrap()), "{pid}");
    }
    assert!(records_of(&rig.journal, spec.attempt).1.is_empty());
    assert_eq!(rig.output("echo next"), "next\n");
}

fn a_killed_idle_reaper_is_not_missed(server: ForkServer) {
    let mut rig = Rig::new(server);
    for _ in 0..20 {
        let reaper: u32 = rig.output("echo $PPID").trim().parse().unwrap();
        kill(reaper, Signal::KILL);
        // At once, before or after anyone noticed. If the message had been taken by the dying one, the attempt is
        // reported as vanished and nothing ran.
        let spec = rig.script("echo 1 >> runs");
        rig.start(&spec);
        match rig.report() {
            Report::Ended(outcome) => assert!(outcome.is_clean_exit()),
            Report::Vanished { .. } => assert!(records_of(&rig.journal, spec.attempt).1.is_empty()),
        }
    }
}

fn the_owner_lock(server: ForkServer) {
    let rig = Rig::new(server);
    let lock = rig.path("lock");
    let mut engine = Engine::new(rig.folder.path(), Some(&lock));
    let warm = shell(rig.folder.path(), "true");
    engine.start(&warm);
    assert!(engine.lines.next().unwrap().unwrap().starts_with("ended"));
    let spec = rig.script("echo $PPID > ready; while [ ! -e gate ]; do sleep 0.01; done");
    engine.start(&spec);
    let reaper: u32 = content(&rig.path("ready")).trim().parse().unwrap();
    let other = File::open(&lock).unwrap();
    assert!(other.try_lock().is_err(), "the engine owns it");
    // A reaper that cannot notice the end of its engine could still start what was sent to it.
    kill(reaper, Signal::STOP);
    engine.kill();
    assert!(other.try_lock().is_err(), "a reaper may still start something");
    kill(reaper, Signal::CONT);
    eventually("the lock is free", || other.try_lock().ok());
    assert!(started(&rig.journal, &spec).is_alive(), "while the attempt goes on");
    fs::write(rig.path("gate"), "").unwrap();
    eventually("the outcome", || records_of(&rig.journal, spec.attempt).1.pop());
}

fn without_a_fork_server_nothing_starts(server: ForkServer) {
    let mut rig = Rig::new(server);
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap();
    let forks: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
    kill(forks, Signal::KILL);
    eventually("it is gone", || (!is_running(forks)).then_some(()));
    let spec = rig.script("echo never");
    let error = rig.executor.start(&spec, &Default::default()).unwrap_err();
    assert!(error.to_string().contains("fork server"), "{error}");
}

fn threads_come_after_the_fork_server(server: ForkServer) {
    drop(server);
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receiver.recv());
    assert!(ForkServer::start().is_err());
    drop(sender);
    assert!(thread.join().unwrap().is_err());
}
