//! The local executor from outside: real processes, real files, real kills.
//!
//! A harness of its own, because a fork server must be started before the first thread: every test runs in a process
//! of its own, whose `main` starts one first. Speaks enough of libtest's command line for cargo and nextest.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which the lints do not recognise as one")]

mod crash;
mod engine;
mod logs;
mod outcomes;
mod rig;
mod sweep;

use std::process::{Command, ExitCode};

use runstone_exec::local::ForkServer;

/// A test and its name.
type Test = (&'static str, fn(ForkServer));

fn main() -> ExitCode {
    let server = ForkServer::start().expect("main has no threads yet");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tests: Vec<Test> =
        [outcomes::TESTS, logs::TESTS, crash::TESTS, sweep::TESTS].into_iter().flatten().copied().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if arguments.first().is_some_and(|first| first == "engine") {
        engine::main(server, &arguments[1..]);
        return ExitCode::SUCCESS;
    }
    if has("--list") {
        for (name, _) in tests.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if has("--exact") {
        let (_, test) = tests.iter().find(|(name, _)| names.iter().any(|wanted| wanted == name)).expect("a known test");
        test(server);
        return ExitCode::SUCCESS;
    }
    drop(server);
    let wanted = |name: &str| names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    let mut failed = Vec::new();
    for (name, _) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        let program = std::env::current_exe().expect("this program has a path");
        let status = Command::new(program).args([name, "--exact"]).status().expect("this program runs");
        println!("test {name} ... {}", if status.success() { "ok" } else { "FAILED" });
        if !status.success() {
            failed.push(name);
        }
    }
    println!("failures: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
