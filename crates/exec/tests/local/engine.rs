//! An engine as a process of its own, to be killed: `engine FOLDER [owner-lock]`.
//!
//! Reads attempt specs as JSON lines from standard input, starts each, and writes each report, or that it could not be started, as a line.

use std::fs::File;
use std::io::BufRead;
use std::path::Path;

use runstone_core::attempt::AttemptSpec;
use runstone_core::executor::{Executor, Report, SecretEnv};
use runstone_exec::local::{ForkServer, LocalExecutor};

pub(crate) fn main(server: ForkServer, arguments: &[String]) {
    let folder = Path::new(&arguments[0]);
    let lock = arguments.get(1).map(|path| {
        let file = File::create(path).unwrap();
        file.lock().unwrap();
        file.into()
    });
    let report = |report| match report {
        Report::Ended(outcome) => println!("ended {}", outcome.attempt),
        Report::Vanished { attempt, message } => println!("vanished {attempt} {message}"),
    };
    let mut executor = LocalExecutor::new(server, folder.join("journal"), lock, report).unwrap();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let spec: AttemptSpec = serde_json::from_str(&line.unwrap()).unwrap();
        if executor.start(&spec, &SecretEnv::default()).is_err() {
            println!("refused {}", spec.attempt);
        }
    }
}
