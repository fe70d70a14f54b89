//! What an attempt costs beyond its process: `spawn_bench [ATTEMPTS] [AT ONCE] [ROUNDS]`.
//!
//! Runs the same script many times, alternating between plain `std::process::Command` with output to files in a new
//! folder, the same without folder and files, and the local executor, and prints the median of each.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use runstone_core::attempt::{AttemptSpec, LogLimit};
use runstone_core::executor::{Executor, Report, SecretEnv};
use runstone_exec::local::{ForkServer, LocalExecutor};
use uuid::Uuid;

const SCRIPT: &str = "echo hi > $OUT";

fn main() {
    let server = ForkServer::start().expect("first thing in main");
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let (attempts, at_once, rounds) =
        (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(4), numbers.next().unwrap_or(5));
    let root = std::env::temp_dir().join(format!("spawn-bench-{}", std::process::id()));
    fs::create_dir_all(&root).expect("a temporary folder");
    let (sender, reports) = channel();
    let report = move |report| sender.send(report).expect("main listens");
    let mut executor = LocalExecutor::new(server, root.join("journal"), None, report).expect("an executor");
    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..rounds {
        for (kind, times) in times.iter_mut().enumerate() {
            let folder = root.join(format!("{round}-{kind}"));
            fs::create_dir(&folder).expect("a new folder");
            let begun = Instant::now();
            match kind {
                0 => plain(&folder, attempts, at_once, false),
                1 => plain(&folder, attempts, at_once, true),
                _ => {
                    let mut waiting = 0;
                    for number in 0..attempts {
                        if waiting == at_once {
                            finished(&reports.recv().expect("a report"));
                            waiting -= 1;
                        }
                        executor.start(&spec(&folder, number), &SecretEnv::default()).expect("a start");
                        waiting += 1;
                    }
                    (0..waiting).for_each(|_| finished(&reports.recv().expect("a report")));
                }
            }
            times.push(begun.elapsed());
        }
    }
    let names = ["Command", "Command, folder and log files", "LocalExecutor"];
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort();
        let each = times[times.len() / 2].as_secs_f64() / attempts as f64;
        println!("{name:32} {:7.0} attempts/s {:7.3} ms each", 1.0 / each, each * 1000.0);
    }
    drop(executor);
    fs::remove_dir_all(&root).expect("the folder is ours");
}

fn finished(report: &Report) {
    assert!(matches!(report, Report::Ended(outcome) if outcome.is_clean_exit()), "{report:?}");
}

fn spec(folder: &Path, number: usize) -> AttemptSpec {
    let folder = folder.join(number.to_string());
    let text = |path: &Path| path.to_str().expect("plain ASCII").to_owned();
    AttemptSpec {
        attempt: Uuid::now_v7(),
        argv: ["sh", "-eu", "-c", SCRIPT].map(String::from).to_vec(),
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("OUT".into(), text(&folder.join("out/file")))]),
        cwd: "/".into(),
        folder: text(&folder),
        stage: Vec::new(),
        timeout_ms: Some(60_000),
        grace_ms: 5000,
        log_limit: LogLimit::default(),
        ends_with_owner: false,
    }
}

fn plain(folder: &Path, attempts: usize, at_once: usize, with_files: bool) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= attempts {
                        return;
                    }
                    let own = folder.join(number.to_string());
                    let mut command = Command::new("/usr/bin/sh");
                    command.args(["-eu", "-c", SCRIPT]).env_clear().stdin(Stdio::null());
                    if with_files {
                        for folder in [own.clone(), own.join("out"), own.join("tmp")] {
                            fs::create_dir(folder).expect("a new folder");
                        }
                        command.env("OUT", own.join("out/file"));
                        command.stdout(File::create(own.join("stdout")).expect("a new file"));
                        command.stderr(File::create(own.join("stderr")).expect("a new file"));
                    } else {
                        command.env("OUT", &own);
                    }
                    assert!(command.status().expect("sh is there").success());
                }
            });
        }
    });
}
