//! An executor over a temporary folder, with its reports at hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use runstone_core::attempt::{AttemptSpec, LogLimit, OutcomeRecord};
use runstone_core::executor::{Executor, Report, SecretEnv};
use runstone_exec::local::journal::{self, Entry, Started};
use runstone_exec::local::{ATTEMPT_VARIABLE, ForkServer, LocalExecutor};
use uuid::Uuid;

/// Longer than anything here takes; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Rig {
    pub(crate) executor: LocalExecutor,
    pub(crate) reports: Receiver<Report>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) journal: PathBuf,
}

impl Rig {
    pub(crate) fn new(server: ForkServer) -> Self {
        Self::at(server, tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(server: ForkServer, folder: tempfile::TempDir) -> Self {
        let (sender, reports) = channel();
        let journal = folder.path().join("journal");
        let executor =
            LocalExecutor::new(server, journal.clone(), None, move |report| sender.send(report).unwrap()).unwrap();
        Self { executor, reports, folder, journal }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `sh -c script` in the rig's folder.
    pub(crate) fn script(&self, script: &str) -> AttemptSpec {
        shell(self.folder.path(), script)
    }

    pub(crate) fn start(&mut self, spec: &AttemptSpec) {
        self.executor.start(spec, &SecretEnv::default()).unwrap();
    }

    pub(crate) fn report(&self) -> Report {
        self.reports.recv_timeout(PATIENCE).expect("a report comes")
    }

    pub(crate) fn outcome(&self) -> OutcomeRecord {
        match self.report() {
            Report::Ended(outcome) => outcome,
            Report::Vanished { message, .. } => panic!("vanished: {message}"),
        }
    }

    pub(crate) fn run(&mut self, spec: &AttemptSpec) -> OutcomeRecord {
        self.start(spec);
        let outcome = self.outcome();
        assert_eq!(outcome.attempt, spec.attempt);
        assert_eq!(records_of(&self.journal, spec.attempt).1, vec![outcome.clone()], "exactly what was reported");
        outcome
    }

    /// Runs a script and returns what it wrote to standard output.
    pub(crate) fn output(&mut self, script: &str) -> String {
        let spec = self.script(script);
        let outcome = self.run(&spec);
        assert!(outcome.is_clean_exit(), "{outcome:?}: {}", read(&spec, "stderr"));
        read(&spec, "stdout")
    }
}

pub(crate) fn shell(folder: &Path, script: &str) -> AttemptSpec {
    let attempt = Uuid::now_v7();
    AttemptSpec {
        attempt,
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        env: BTreeMap::from([("PATH".into(), std::env::var("PATH").unwrap())]),
        cwd: folder.to_str().unwrap().into(),
        folder: folder.join("attempts").join(attempt.to_string()).to_str().unwrap().into(),
        stage: Vec::new(),
        timeout_ms: None,
        grace_ms: 5000,
        log_limit: LogLimit::default(),
        ends_with_owner: false,
    }
}

pub(crate) fn read(spec: &AttemptSpec, log: &str) -> String {
    String::from_utf8_lossy(&fs::read(Path::new(&spec.folder).join(log)).unwrap()).into_owned()
}

/// The records of one attempt in a journal: starts that name a step, and outcomes.
pub(crate) fn records_of(journal: &Path, attempt: Uuid) -> (Vec<Started>, Vec<OutcomeRecord>) {
    let (mut started, mut ended) = (Vec::new(), Vec::new());
    for entry in journal::read(journal).unwrap() {
        match entry {
            Entry::Started(entry) if entry.attempt == attempt && entry.step.is_some() => started.push(entry),
            Entry::Ended(entry) if entry.attempt == attempt => ended.push(entry),
            Entry::Started(_) | Entry::Ended(_) => {}
        }
    }
    (started, ended)
}

/// Waits until `condition` gives something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a file has content, and returns it.
pub(crate) fn content(path: &Path) -> String {
    eventually(&format!("{} is written", path.display()), || {
        fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
}

/// Living processes whose environment names the attempt.
pub(crate) fn processes_of(attempt: Uuid) -> Vec<u32> {
    let entry = format!("{ATTEMPT_VARIABLE}={attempt}");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|variable| variable == entry.as_bytes()))
    })
    .collect()
}

pub(crate) fn is_running(pid: u32) -> bool {
    runstone_exec::local::ProcessId::of(pid).is_some()
}
