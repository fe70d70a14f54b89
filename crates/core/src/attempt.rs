//! An attempt is a file in and a file out: [`AttemptSpec`] → [`OutcomeRecord`].
//!
//! The same pair serves a local process, a resumed run, a re-execution for proof and, later, other engines.
//! Nothing secret is ever part of either.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// Everything a supervisor needs to run one attempt, except secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSpec {
    /// The identity of the attempt, on record before any process exists.
    pub attempt: Uuid,
    /// Program and arguments; the program is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The complete environment of the step, secrets left out.
    pub env: BTreeMap<String, String>,
    /// Absolute working directory.
    pub cwd: String,
    /// Absolute path of the attempt's own folder. The supervisor makes it, with `out/`, `tmp/` and the logs
    /// `stdout` and `stderr` in it.
    pub folder: String,
    /// What is laid into the folder before the step starts.
    pub stage: Vec<Staged>,
    /// Milliseconds until the step is ended with cause [`Cause::Timeout`]; none means never.
    pub timeout_ms: Option<u64>,
    /// Milliseconds between TERM and KILL.
    pub grace_ms: u64,
    /// How much of each log stays on disk.
    pub log_limit: LogLimit,
    /// Whether it is ended, as if somebody had asked for it, when whoever started it is gone: nobody else will ask for its
    /// outcome.
    #[serde(default)]
    pub ends_with_owner: bool,
}

/// One thing laid into an attempt's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Where, relative to the folder; parents are made.
    pub path: String,
    /// What.
    pub what: Material,
}

/// What is laid into an attempt's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Material {
    /// A symbolic link to this absolute path.
    Link(String),
    /// A private copy of the file or folder at this absolute path.
    Copy(String),
    /// A small file with this content.
    Text(String),
    /// An empty folder.
    Folder,
}

/// Bounds of one log file, in bytes: the first `head` and the last `tail` bytes survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimit {
    /// Bytes kept from the start.
    pub head: u64,
    /// Bytes kept from the end.
    pub tail: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self { head: 4 << 20, tail: 12 << 20 }
    }
}

/// Why an attempt ended. Exactly one is on record for each attempt that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process ended by itself; the exit code says how.
    Exit,
    /// The process was ended by a signal nobody here sent.
    Signal,
    /// Our deadline passed.
    Timeout,
    /// The kernel said that it ended the process for lack of memory.
    OutOfMemory,
    /// A person or a failing neighbour asked for it.
    Cancelled,
    /// The program could not be started.
    Spawn,
    /// Exit 0, but a declared output is not there or is of the wrong type.
    MissingOutput,
    /// Exit 0 and all outputs, but a `require` does not hold.
    Require,
    /// No space was left for outputs.
    NoSpace,
    /// The supervisor or the machine went away; the outcome is not known.
    Lost,
    /// Runstone itself could not do its part.
    Internal,
}

impl Cause {
    /// The stable spelling, as in the record and in `retry: {on: […]}`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Cancelled => "cancelled",
            Self::Spawn => "spawn",
            Self::MissingOutput => "missing_output",
            Self::Require => "require",
            Self::NoSpace => "no_space",
            Self::Lost => "lost",
            Self::Internal => "internal",
        }
    }

    /// Every cause, for tables and checks.
    pub const ALL: [Self; 11] = [
        Self::Exit,
        Self::Signal,
        Self::Timeout,
        Self::OutOfMemory,
        Self::Cancelled,
        Self::Spawn,
        Self::MissingOutput,
        Self::Require,
        Self::NoSpace,
        Self::Lost,
        Self::Internal,
    ];

    /// The cause of this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// What the supervisor saw, written down before anyone is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// Which attempt.
    pub attempt: Uuid,
    /// When the process was started.
    pub started: Timestamp,
    /// When the last process of the attempt was gone.
    pub ended: Timestamp,
    /// Why it ended.
    pub cause: Cause,
    /// The exit code, where the process ended by itself.
    pub exit_code: Option<i32>,
    /// The signal, where one ended it.
    pub signal: Option<i32>,
    /// A sentence for people, such as why the program could not be started.
    pub message: Option<String>,
    /// Processor time in user mode, microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, microseconds.
    pub system_us: u64,
    /// The largest resident set of any process of the attempt, bytes.
    pub peak_rss: u64,
    /// Bytes the step wrote to standard output, whether kept or not.
    pub stdout_bytes: u64,
    /// Bytes the step wrote to standard error, whether kept or not.
    pub stderr_bytes: u64,
    /// Processes that were still there when the step's own had ended, and were killed.
    pub leftovers: u32,
}

impl OutcomeRecord {
    /// Whether the process ended by itself with exit code 0. Outputs are judged elsewhere.
    #[must_use]
    pub fn is_clean_exit(&self) -> bool {
        self.cause == Cause::Exit && self.exit_code == Some(0)
    }
}
