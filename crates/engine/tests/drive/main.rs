//! Whole runs, driven by processes of their own that are killed at named moments and taken over.
//!
//! A harness of its own, because a fork server must be started before the first thread. Called as `drive`, this program
//! is such a process; otherwise it is the harness, and speaks enough of libtest's command line for cargo and nextest.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which the lints do not recognise as one")]

mod drive;
mod oracle;
mod plan;
mod project;
mod reproduce;
mod resume;
mod retention;
mod reuse;
mod snakemake_3808;
mod sweep;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;

use runstone_exec::local::ForkServer;

/// A test and its name.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == drive::WORD) {
        let server = ForkServer::start().expect("main has no threads yet");
        return drive::main(server, &arguments[1..]);
    }
    let tests: Vec<Test> = [
        sweep::TESTS,
        resume::TESTS,
        reuse::TESTS,
        plan::TESTS,
        reproduce::TESTS,
        retention::TESTS,
        snakemake_3808::TESTS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if has("--list") {
        for (name, _) in tests.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let fits = |name: &str, wanted: &str| if has("--exact") { name == wanted } else { name.contains(wanted) };
    let wanted = |name: &str| names.is_empty() || names.iter().any(|part| fits(name, part));
    let tests = Mutex::new(tests.into_iter().filter(|(name, _)| wanted(name)));
    let failed = Mutex::new(Vec::new());
    // Most of the time goes into waiting for disks.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = tests.lock().unwrap().next();
                    let Some((name, test)) = next else { return };
                    let ok = catch_unwind(test).is_ok();
                    println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
                    failed.lock().unwrap().extend((!ok).then_some(name));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("failures: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
