//! The program while it runs, and what it said when it ended. Nothing here waits for ever.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// Longer than anything takes, on a slow machine with other work to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until a condition is true. Where it does not become true, the test fails.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and not just waiting to be noticed as dead.
pub(crate) fn is_alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    state.is_some_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with(['Z', 'X']))
}

/// A process that has been started. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    shown: String,
    patience: Duration,
}

impl Running {
    /// What it writes goes to files: whoever else holds them open keeps nobody waiting.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (folder.join(format!("{number}.out")), folder.join(format!("{number}.err")));
        command.stdin(Stdio::null()).process_group(0);
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let shown = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Self { child, out, err, shown, patience: PATIENCE }
    }

    /// Allows for more time, where something is fetched or built.
    pub(crate) fn patiently(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What a terminal does when people press Ctrl-C: everybody in the foreground gets it.
    pub(crate) fn interrupt(&self) {
        kill_process_group(self.pid(), Signal::INT).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap()
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has printed so far.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// What it has written to standard error so far.
    pub(crate) fn complained(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ran {
        let deadline = Instant::now() + self.patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= deadline {
                let told = (fs::read_to_string(&self.out), fs::read_to_string(&self.err));
                panic!("{} does not end; it said {told:?}", self.shown);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Ran {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap()),
            out: String::from_utf8(fs::read(&self.out).unwrap()).unwrap(),
            err: String::from_utf8(fs::read(&self.err).unwrap()).unwrap(),
            shown: std::mem::take(&mut self.shown),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    /// The exit code, or the negative signal.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    shown: String,
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, out, err, shown } = self;
        write!(formatter, "{shown}\nended with {code}\n--- out\n{out}\n--- err\n{err}")
    }
}

impl Ran {
    /// The same, if it ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// The same, if standard error has all of these parts.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "does not say {part:?}: {self:?}");
        }
        self
    }

    /// The same, if standard output has all of these parts.
    #[track_caller]
    pub(crate) fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.out.contains(part), "does not print {part:?}: {self:?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The events of `run --json`.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn tasks(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let name = |event: Value| event["task"]["name"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = self.events().into_iter().filter(wanted).map(name).collect();
        names.sort();
        names
    }

    /// The tasks that were executed and succeeded, in order of their names.
    pub(crate) fn executed(&self) -> Vec<String> {
        self.tasks(|event| event["event"] == "task_ended" && event["state"] == "succeeded")
    }

    /// The tasks for which an earlier result stands.
    pub(crate) fn reused(&self) -> Vec<String> {
        self.tasks(|event| event["event"] == "task_reused")
    }

    pub(crate) fn failed(&self) -> Vec<String> {
        self.tasks(|event| event["event"] == "task_ended" && event["state"] == "failed")
    }

    pub(crate) fn cancelled(&self) -> Vec<String> {
        self.tasks(|event| event["event"] == "task_ended" && event["state"] == "cancelled")
    }

    /// The tasks that were skipped, with the reason.
    pub(crate) fn skipped(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let events = self.events().into_iter().filter(|event| event["event"] == "task_skipped");
        events.map(|event| (text(&event["task"]["name"]), text(&event["reason"]))).collect()
    }

    /// How often further attempts were made.
    pub(crate) fn retries(&self) -> usize {
        self.events().iter().filter(|event| event["event"] == "task_retrying").count()
    }
}
