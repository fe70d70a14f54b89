//! A project in a folder of its own, and processes that drive its runs.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::drive;

pub(crate) struct Project {
    folder: TempDir,
}

/// What became of a driver.
#[derive(Debug)]
pub(crate) struct Driven {
    /// None where it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
    pub(crate) text: String,
}

impl Project {
    pub(crate) fn new(pipeline: &str) -> Self {
        let project = Self { folder: tempfile::Builder::new().prefix("runstone-drive-").tempdir().unwrap() };
        project.write("pipeline.yaml", pipeline);
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// How many lines a file has; none where it is not there.
    pub(crate) fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.path(name)).map_or(0, |text| text.lines().count())
    }

    pub(crate) fn drive(&self, words: &[&str]) -> Driven {
        self.drive_until("", words)
    }

    /// A driver that is not started yet.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(drive::WORD).arg(self.path("").to_str().unwrap().trim_end_matches('/')).args(words);
        command.current_dir(self.folder.path()).env("RUST_BACKTRACE", "0");
        command
    }

    /// Drives until a moment at which the driver is killed, if it comes.
    pub(crate) fn drive_until(&self, failpoint: &str, words: &[&str]) -> Driven {
        Driven::of(self.command(words).env("RUNSTONE_FAILPOINT", failpoint).output().unwrap())
    }

    /// Drives until a moment at which the driver is held up while something else is done, if it comes; and then to the end.
    /// Says whether it came.
    pub(crate) fn drive_around(&self, failpoint: &str, words: &[&str], meanwhile: impl FnOnce()) -> (bool, Driven) {
        let held = self.path("held");
        let mut command = self.command(words);
        command.env("RUNSTONE_FAILPOINT", format!("{failpoint}={}", held.display()));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let came = loop {
            // Written before it waits, so that an end without it is an end without the moment.
            let over = child.try_wait().unwrap().is_some();
            if held.exists() {
                meanwhile();
                fs::remove_file(&held).unwrap();
                break true;
            }
            if over {
                break false;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        (came, Driven::of(child.wait_with_output().unwrap()))
    }
}

impl Driven {
    fn of(output: Output) -> Self {
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let killed = output.status.signal();
        assert!(killed.is_none_or(|signal| signal == 9), "{:?}: {text}", output.status);
        let events = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { code: output.status.code(), events, text }
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.code.is_none()
    }

    pub(crate) fn ok(self) -> Self {
        self.with_code(0)
    }

    /// For a run that may have been over before.
    pub(crate) fn ok_or_over(self) -> Self {
        if self.text.trim_end().ends_with(drive::OVER) { self } else { self.ok() }
    }

    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }

    /// Names of tasks that an event tells of, sorted.
    pub(crate) fn tasks(&self, event: &str) -> Vec<String> {
        let found = self.events.iter().filter(|found| found["event"] == event);
        let mut names: Vec<String> = found.map(|found| found["task"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}
