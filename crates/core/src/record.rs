//! What is on record: the rows people and programs read, as plain data without any SQL.
//!
//! The lineage graph is bipartite: *attempts* consume and produce *materializations* (one publication of one dataset
//! version by one attempt). Both kinds of node take their [`NodeId`] from one growing sequence, so every edge runs
//! from a smaller to a larger id and the order of ids is a topological order.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::attempt::Cause;
use crate::hash::{ContentHash, Fingerprint};
use crate::time::Timestamp;

/// A node of the lineage graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub i64);

/// The identity of a run (UUIDv7). People use its number: `#42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable spelling, as stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The value of a stored spelling.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| state.as_str() == text)
            }
        }
    };
}

pub(crate) use states;

states! {
    /// The state of a run.
    RunState {
        /// Has an owner, or had one that died: then `resume` continues it.
        Running = "running",
        /// Every task that counts succeeded or was reused.
        Succeeded = "succeeded",
        /// A task failed.
        Failed = "failed",
        /// Somebody asked for its end.
        Cancelled = "cancelled",
    }
}

states! {
    /// The state of a task within its run.
    TaskState {
        /// Not decided yet: it waits for others, for a slot, or for another run's attempt at the same fingerprint.
        Waiting = "waiting",
        /// An attempt is on record; its process may or may not exist yet.
        Assigned = "assigned",
        /// The last attempt failed and another one is due.
        Retrying = "retrying",
        /// Terminal: an attempt of this run succeeded.
        Succeeded = "succeeded",
        /// Terminal: an earlier attempt's result stands for it.
        Reused = "reused",
        /// Terminal: no attempt succeeded and none is left.
        Failed = "failed",
        /// Terminal: its condition was false, or something it needs is absent.
        Skipped = "skipped",
        /// Terminal: somebody asked for the end of the run before it was decided.
        Cancelled = "cancelled",
    }
}

impl TaskState {
    /// Whether nothing changes this state any more within its run.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Reused | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

states! {
    /// What an attempt is.
    AttemptKind {
        /// A process ran.
        Run = "run",
        /// Runstone read a declared source.
        Ingest = "ingest",
        /// Runstone read a file of the project that a step names by path.
        Observe = "observe",
        /// An earlier result was taken over under this run's pins or dataset names.
        Reuse = "reuse",
    }
}

states! {
    /// The state of an attempt.
    AttemptState {
        /// On record, not known to run.
        Assigned = "assigned",
        /// Its process was seen.
        Running = "running",
        /// Terminal: its outputs are published.
        Succeeded = "succeeded",
        /// Terminal: its cause says why.
        Failed = "failed",
    }
}

impl AttemptState {
    /// Whether it succeeded, once it has ended.
    #[must_use]
    pub const fn outcome(self) -> Option<bool> {
        match self {
            Self::Assigned | Self::Running => None,
            Self::Succeeded => Some(true),
            Self::Failed => Some(false),
        }
    }
}

states! {
    /// What kind of content a hash names.
    ContentKind {
        /// A file; the hash is BLAKE3 of its bytes.
        File = "file",
        /// A folder; the hash is the root of its tree.
        Dir = "dir",
    }
}

states! {
    /// How far an edge can be believed.
    Trust {
        /// We hashed the bytes before and after.
        Verified = "verified",
        /// The pipeline says so.
        Declared = "declared",
        /// Somebody else says so.
        Asserted = "asserted",
    }
}

/// Where and by whom a run was started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunEnvironment {
    /// Version of runstone.
    pub tool_version: String,
    /// Operating system and architecture, such as `linux-x86_64`.
    pub platform: String,
    /// Name of the user.
    pub user: String,
    /// Name of the machine.
    pub host: String,
    /// Commit that was checked out, where the project is a git work tree.
    pub git_commit: Option<String>,
    /// Whether tracked files differed from it.
    pub git_dirty: Option<bool>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Identity.
    pub id: RunId,
    /// Short number within the project.
    pub number: i64,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Hash of the definition's text, overlays included.
    pub definition: ContentHash,
    /// The file it came from, relative to the project where possible.
    pub definition_path: String,
    /// Parameters in force: name → value.
    pub params: serde_json::Value,
    /// What was asked for: selection, forced steps, flags.
    pub request: serde_json::Value,
    /// What started it, such as `manual`.
    pub trigger: String,
    /// State.
    pub state: RunState,
    /// Why it ended as it did, for people.
    pub reason: Option<String>,
    /// When it was put on record.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Grows with each owner; writes of an earlier owner change nothing.
    pub epoch: i64,
    /// Which content store its objects are in.
    pub store_marker: Uuid,
    /// The partition it works on.
    pub partition: Option<String>,
    /// Where and by whom.
    pub environment: RunEnvironment,
    /// Asked to end: `graceful` or `now`.
    pub cancel: Option<String>,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its run.
    pub run: RunId,
    /// Position within the run, from 0.
    pub index: u32,
    /// Name of its step.
    pub step: String,
    /// Its cell as text, such as `lr=0.1,seed=1`; empty where the step is not expanded.
    pub cell: String,
    /// State.
    pub state: TaskState,
    /// Number of attempts put on record in this run.
    pub attempts: u32,
    /// The attempt whose result stands for it, or the last one.
    pub attempt: Option<NodeId>,
    /// What was asked, once that was known.
    pub fingerprint: Option<Fingerprint>,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Node.
    pub id: NodeId,
    /// Identity, stamped on the process.
    pub uuid: Uuid,
    /// Its run.
    pub run: RunId,
    /// Number of its run.
    pub run_number: i64,
    /// Its task's position.
    pub task: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the step.
    pub step: String,
    /// Cell of the task.
    pub cell: String,
    /// From 1 within its task.
    pub number: u32,
    /// What it is.
    pub kind: AttemptKind,
    /// State.
    pub state: AttemptState,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// When it was put on record.
    pub created: Timestamp,
    /// How it ended, once it has.
    pub end: Option<AttemptEnd>,
    /// Whether later runs may take its result; never before it succeeded.
    pub reusable: bool,
    /// For kind `reuse`: the attempt that did the work.
    pub reused_from: Option<NodeId>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When its process was started.
    pub started: Timestamp,
    /// When nothing of it was left.
    pub ended: Timestamp,
    /// Why it ended.
    pub cause: Cause,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Signal.
    pub signal: Option<i32>,
    /// A sentence for people.
    pub message: Option<String>,
    /// Processor time in user mode, microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, microseconds.
    pub system_us: u64,
    /// Peak memory, bytes.
    pub peak_rss: u64,
    /// Bytes written to standard output.
    pub stdout_bytes: u64,
    /// Bytes written to standard error.
    pub stderr_bytes: u64,
    /// Processes killed after the step's own had ended.
    pub leftovers: u32,
    /// Set where inputs or code changed while it ran: its outputs are never reused and never `@latest`.
    pub tainted: Option<String>,
}

impl AttemptEnd {
    /// An end of which no more is known: no exit code, nothing used, nothing written.
    #[must_use]
    pub fn new(started: Timestamp, ended: Timestamp, cause: Cause) -> Self {
        Self {
            started,
            ended,
            cause,
            exit_code: None,
            signal: None,
            message: None,
            user_us: 0,
            system_us: 0,
            peak_rss: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
            leftovers: 0,
            tainted: None,
        }
    }
}

/// One publication of a dataset version by one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaterializationRecord {
    /// Node.
    pub id: NodeId,
    /// The attempt that published it.
    pub attempt: NodeId,
    /// Name of the output within its step.
    pub output: String,
    /// Full name: `pipeline/step` or `pipeline/step.output`, or `./path` for observed files.
    pub dataset: String,
    /// Number of the version within its dataset: the 3 of `@v3`.
    pub version: i64,
    /// Cell (later: partition) it belongs to; empty for the whole.
    pub subset: String,
    /// What bytes.
    pub hash: ContentHash,
    /// File or folder.
    pub kind: ContentKind,
    /// Bytes, of all files together.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Number of rows where known.
    pub rows: Option<u64>,
    /// The file name readers see.
    pub file_name: String,
    /// When it was published.
    pub created: Timestamp,
    /// Whether the publishing attempt is tainted.
    pub tainted: bool,
}

/// An attempt consumed a materialization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumedRecord {
    /// The reader.
    pub attempt: NodeId,
    /// What it read.
    pub materialization: NodeId,
    /// Under which input name.
    pub slot: String,
    /// How far that can be believed.
    pub trust: Trust,
}

/// A number that a step reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// The slice it belongs to, as sorted `key=value` pairs joined by commas; empty for the whole.
    pub slice: String,
    /// The number.
    pub value: f64,
    /// How many items it was computed over, where reported.
    pub n: Option<u64>,
}

/// A dataset with its newest version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Full name.
    pub name: String,
    /// How many versions are on record.
    pub versions: i64,
    /// The materializations that `@latest` names, one per subset.
    pub latest: Vec<MaterializationRecord>,
}

/// A piece of the lineage graph.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Lineage {
    /// Publications, in the order of their ids.
    pub materializations: Vec<MaterializationRecord>,
    /// Attempts, in the order of their ids.
    pub attempts: Vec<AttemptRecord>,
    /// Readings, in the order (attempt, materialization).
    pub consumed: Vec<ConsumedRecord>,
    /// The limit that cut it, where one did.
    pub cut: Option<Cut>,
}

states! {
    /// The limit that cut a walk.
    Cut {
        /// There is more, farther away.
        Depth = "depth",
        /// There are more publications.
        Nodes = "nodes",
        /// It would have taken longer.
        Time = "time",
    }
}

/// Something that happened in a run, told once and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Grows within the database.
    pub id: i64,
    /// Its run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// What, such as `attempt_started`.
    pub kind: String,
    /// The task it is about.
    pub task: Option<u32>,
    /// The attempt it is about.
    pub attempt: Option<NodeId>,
    /// More, depending on the kind.
    pub body: serde_json::Value,
}
