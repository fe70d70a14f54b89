//! Death at every system call: a reaper is killed before each of the calls that it makes for an attempt, from its
//! birth to its last word, with `strace`. Whatever the moment, one of these holds afterwards:
//! - the outcome is on record, once, and was reported;
//! - the attempt was reported as vanished or refused, no outcome is on record, and if no start is on record either,
//!   the step did nothing.
//!
//! In all cases no process is left and the step ran at most once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};

use runstone_core::attempt::{AttemptSpec, LogLimit, Material, Staged};
use runstone_exec::local::ForkServer;
use rustix::process::Signal;

use crate::Test;
use crate::crash::{Engine, kill, started};
use crate::rig::{content, eventually, is_running, processes_of, records_of, shell};

pub(crate) const TESTS: &[Test] = &[
    ("a_reaper_may_die_at_any_system_call", reaper_sweep),
    ("a_reaper_may_die_at_its_birth", birth_sweep),
    ("an_engine_may_die_at_any_system_call", engine_sweep),
    ("file_systems_without_holes_bound_logs_too", without_holes),
];

/// Later calls of the same kind are the same states again: looks at logs, rounds of killing.
const MOST_OF_A_KIND: usize = 8;

fn reaper_sweep(server: ForkServer) {
    drop(server);
    sweep(true);
}

fn birth_sweep(server: ForkServer) {
    drop(server);
    sweep(false);
}

/// With `warm`, a reaper that has served before is attacked, else the fork server with all it forks.
fn sweep(warm: bool) {
    if Command::new("strace").arg("--version").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let calls = profile(warm);
    assert!(calls.contains_key("execve") && calls.contains_key("wait4") && calls.contains_key("write"), "{calls:?}");
    let (mut survived, mut lost, mut trials) = (0, 0, 0);
    for (call, count) in &calls {
        for when in 1..=(*count).min(MOST_OF_A_KIND) {
            let outcome = trial(warm, &format!("{call}:signal=KILL:when={when}"), &format!("{call} {when}"));
            trials += 1;
            if outcome { survived += 1 } else { lost += 1 }
        }
    }
    println!("{trials} deaths: {survived} outcomes, {lost} lost attempts");
    assert!(survived > 0 && lost > 0);
}

/// The engine is killed before each of its calls. Once its lock is free, the journal says all that will ever be: an
/// attempt in it goes on to its one outcome, an attempt that is not in it never runs.
fn engine_sweep(server: ForkServer) {
    drop(server);
    if Command::new("strace").arg("--version").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let (mut ran, mut never) = (0, 0);
    for call in
        ["read", "socketpair", "setsockopt", "sendmsg", "epoll_ctl", "sendto", "epoll_wait", "recvfrom", "write"]
    {
        for when in 1..=3 {
            let mut scene = Scene::new(false);
            let folder = scene.folder.path().to_owned();
            scene.target = scene.engine.process.id();
            let injection = format!("inject={call}:signal=KILL:when={when}");
            let mut strace = scene.attach(&["-e", &format!("trace={call}"), "-e", &injection]);
            let spec = shell(&folder, "echo 1 >> runs; sleep 0.05; exit 5");
            scene.engine.start(&spec);
            // It dies, or has said all that it has to say.
            let said = scene.engine.lines.next();
            if said.is_some() {
                scene.engine.process.kill().unwrap();
            }
            scene.engine.process.wait().unwrap();
            let lock = File::open(folder.join("lock")).unwrap();
            eventually("the lock is free", || lock.try_lock().ok());
            let journal = folder.join("journal");
            let (mut starts, outcomes) = records_of(&journal, spec.attempt);
            if let Some(started) = starts.pop() {
                eventually("the attempt ends", || (!started.is_alive()).then_some(()));
                let outcomes = records_of(&journal, spec.attempt).1;
                assert_eq!(outcomes.len(), 1, "{call} {when}: {outcomes:?}");
                assert_eq!(outcomes[0].exit_code, Some(5), "{call} {when}");
                assert_eq!(fs::read_to_string(folder.join("runs")).unwrap(), "1\n", "{call} {when}");
                ran += 1;
            } else {
                assert!(outcomes.is_empty() && !folder.join("runs").exists(), "{call} {when}");
                assert!(processes_of(spec.attempt).is_empty(), "{call} {when}");
                never += 1;
            }
            strace.wait().unwrap();
        }
    }
    println!("{} deaths: {ran} attempts ran to their end, {never} never ran", ran + never);
    assert!(ran > 0 && never > 0);
}

/// A small attempt that has everything: material to copy, a log to be cut, and a daemon that stays.
fn attempt(folder: &Path) -> AttemptSpec {
    let script = "echo 1 >> runs; setsid sleep 1000 & head -c 3000000 /dev/zero; sleep 0.02; exit 5";
    let mut spec = shell(folder, script);
    spec.log_limit = LogLimit { head: 4096, tail: 4096 };
    fs::write(folder.join("data"), "1").unwrap();
    let data = folder.join("data").to_str().unwrap().to_owned();
    spec.stage = vec![Staged { path: "in/data".into(), what: Material::Copy(data) }];
    spec
}

struct Scene {
    folder: tempfile::TempDir,
    engine: Engine,
    target: u32,
}

impl Scene {
    fn new(warm: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = Engine::new(folder.path(), Some(&folder.path().join("lock")));
        let pid = engine.process.id();
        let target = if warm {
            let spec = shell(folder.path(), "true");
            engine.start(&spec);
            assert!(engine.lines.next().unwrap().unwrap().starts_with("ended"));
            started(&folder.path().join("journal"), &spec).reaper.pid
        } else {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            children.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self { folder, engine, target }
    }

    /// Attaches strace to the target and what it forks.
    fn attach(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &self.target.to_string(), "-o"]).arg(self.folder.path().join("trace"));
        let said = self.folder.path().join("strace");
        let strace = command.args(arguments).stderr(File::create(&said).unwrap()).spawn().unwrap();
        assert!(content(&said).contains("attached"));
        strace
    }

    /// Runs the attempt and returns what was said of it.
    fn run(&mut self, spec: &AttemptSpec) -> String {
        self.engine.start(spec);
        let line = self.engine.lines.next().unwrap().unwrap();
        assert!(line.contains(&spec.attempt.to_string()), "{line}");
        line
    }

    fn end(mut self, mut strace: Child) {
        drop(self.engine.stdin);
        self.engine.process.wait().unwrap();
        if strace.try_wait().unwrap().is_none() {
            kill(strace.id(), Signal::TERM);
        }
        strace.wait().unwrap();
    }
}

/// How often each system call is made, by the process that makes it most.
fn profile(warm: bool) -> BTreeMap<String, usize> {
    let mut scene = Scene::new(warm);
    let strace = scene.attach(&[]);
    let spec = attempt(scene.folder.path());
    assert!(scene.run(&spec).starts_with("ended"));
    let trace = scene.folder.path().join("trace");
    let text = eventually("the trace has the last word", || {
        fs::read_to_string(&trace).ok().filter(|text| text.contains("\"Ended\\\""))
    });
    scene.end(strace);
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut programs = Vec::new();
    for line in text.lines() {
        let mut words = line.splitn(2, char::is_whitespace);
        let (Some(pid), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        // What the step's programs do themselves is not the subject.
        if call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !programs.contains(&pid) {
            *counts.entry((call.to_owned(), pid.to_owned())).or_default() += 1;
        }
        if call == "execve" {
            programs.push(pid);
        }
    }
    let mut calls = BTreeMap::new();
    for ((call, _), count) in counts {
        let most = calls.entry(call).or_insert(0);
        *most = count.max(*most);
    }
    calls
}

/// One death. Returns whether there is an outcome.
fn trial(warm: bool, injection: &str, name: &str) -> bool {
    let mut scene = Scene::new(warm);
    let call = injection.split(':').next().unwrap();
    let strace = scene.attach(&["-e", &format!("trace={call}"), "-e", &format!("inject={injection}")]);
    let spec = attempt(scene.folder.path());
    let said = scene.run(&spec);
    let folder = scene.folder.path().to_owned();
    let (starts, outcomes) = records_of(&folder.join("journal"), spec.attempt);
    let runs = fs::read_to_string(folder.join("runs")).unwrap_or_default();
    assert!(runs.len() <= 2, "{name}: ran more than once");
    if said.starts_with("ended") {
        assert_eq!(outcomes.len(), 1, "{name}: {said}");
    } else {
        assert!(outcomes.is_empty(), "{name}: {said}");
        assert!(!starts.is_empty() || runs.is_empty(), "{name}: ran without being on record");
        assert!(!starts.iter().any(|started| is_running(started.reaper.pid)), "{name}: its reaper lives");
    }
    assert_eq!(processes_of(spec.attempt), Vec::<u32>::new(), "{name}: processes are left; {said}");
    scene.end(strace);
    said.starts_with("ended")
}

fn without_holes(server: ForkServer) {
    drop(server);
    if Command::new("strace").arg("--version").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let mut scene = Scene::new(false);
    let strace = scene.attach(&["-e", "trace=fallocate", "-e", "inject=fallocate:error=EOPNOTSUPP"]);
    let mut spec = shell(scene.folder.path(), "seq 100000000 | head -c 50000000; echo; echo the end");
    spec.log_limit = LogLimit { head: 64 << 10, tail: 64 << 10 };
    assert!(scene.run(&spec).starts_with("ended"));
    let outcome = records_of(&scene.folder.path().join("journal"), spec.attempt).1.pop().unwrap();
    assert!(outcome.is_clean_exit());
    assert_eq!(outcome.stdout_bytes, 50_000_009);
    let path = Path::new(&spec.folder).join("stdout");
    let log = runstone_exec::local::read_log(&path, 0, spec.log_limit).unwrap();
    assert_eq!(log.cut_bytes(), 50_000_009 - (128 << 10));
    let Some(runstone_exec::local::LogPiece::Bytes(tail)) = log.pieces.last() else { panic!("no tail") };
    assert!(tail.ends_with(b"\nthe end\n") && !tail.contains(&0));
    let on_disk = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap()) * 512;
    assert!(on_disk < 1 << 20, "{on_disk}");
    scene.end(strace);
}
