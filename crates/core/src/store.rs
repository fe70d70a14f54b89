//! What the engine and the readers need of a place to remember, in plain types.
//!
//! SQLite and Postgres implement it; one conformance suite holds both to the same behaviour. Calls block: whoever
//! must not wait calls from a thread of its own.
//!
//! Every write of a run goes through [`Store::commit`], in one transaction with its events: each [`Change`] is a
//! compare-and-set on the state it expects, and the whole batch on the run's epoch.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::hash::{ContentHash, Fingerprint};
use crate::lineage::asserted::AssertedStore;
use crate::lineage::store::LineageStore;
use crate::record::{
    AttemptEnd, AttemptKind, AttemptRecord, ContentKind, DatasetRecord, EventRecord, Lineage, MaterializationRecord,
    Metric, NodeId, RunEnvironment, RunId, RunRecord, RunState, TaskRecord, TaskState, Trust,
};
pub use crate::reference::{ParseRefError, RunRef, VersionRef};
use crate::retention::store::RetentionStore;
use crate::service::record::Claim;
use crate::service::store::ServiceStore;
use crate::time::Timestamp;

/// A store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another owner took the run over; this one must stop and write nothing more.
    #[error("run {run} has a new owner")]
    LostOwnership {
        /// The run.
        run: RunId,
    },
    /// A short id fits several things.
    #[error("{what} {given:?} is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// Such as `run`.
        what: &'static str,
        /// As given.
        given: String,
        /// What it could mean.
        candidates: Vec<String>,
    },
    /// The database was written by a newer runstone.
    #[error("the database has schema version {found}, this runstone knows {known}; use a newer runstone")]
    NewerSchema {
        /// Version in the database.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The database holds something this code never writes.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The database cannot be reached or answered with an error.
    #[error("{context}")]
    Database {
        /// What was being done, and where.
        context: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The right to write a run: valid while the run's epoch is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The run.
    pub run: RunId,
    /// The epoch it was taken with.
    pub epoch: i64,
}

/// A run to be put on record, with every task known at the start.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Identity.
    pub id: RunId,
    /// Name of its pipeline.
    pub pipeline: String,
    /// The definition in force (main file and overlays merged), kept whole.
    pub definition: String,
    /// The file it came from.
    pub definition_path: String,
    /// Parameters in force: name → value.
    pub params: serde_json::Value,
    /// What was asked for.
    pub request: serde_json::Value,
    /// What started it.
    pub trigger: String,
    /// When.
    pub created: Timestamp,
    /// Which content store its objects are in.
    pub store_marker: Uuid,
    /// The partition it works on.
    pub partition: Option<String>,
    /// Where it was submitted: the right to begin it. Its number is then the submission's.
    pub claim: Option<Claim>,
    /// Where and by whom.
    pub environment: RunEnvironment,
    /// Its tasks, in the order of their indices, which start at 0.
    pub tasks: Vec<NewTask>,
}

/// A task to be put on record, in state `waiting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Position within the run.
    pub index: u32,
    /// Name of its step.
    pub step: String,
    /// Its cell as text.
    pub cell: String,
}

/// One change of a run. Each is applied whole or, where what it expects is not so, not at all.
#[derive(Debug, Clone)]
pub enum Change {
    /// Tasks that a `foreach` turned out to have.
    AddTasks(Vec<NewTask>),
    /// Puts an attempt on record before its process exists.
    Start(StartAttempt),
    /// The process of an attempt was seen. Loses silently where the attempt has ended already.
    Running {
        /// The task's position.
        task: u32,
        /// The attempt's number.
        number: u32,
    },
    /// Puts the end of an attempt on record, with everything it published.
    Finish(Box<FinishAttempt>),
    /// Decides a task without an attempt of its own.
    Settle(SettleTask),
    /// Ends the run.
    EndRun {
        /// A terminal state.
        state: RunState,
        /// For people.
        reason: Option<String>,
    },
}

/// The intent to run a task.
///
/// Expects the task in `waiting` or `retrying` (or `assigned` with its last attempt terminal), with `number - 1` attempts.
#[derive(Debug, Clone)]
pub struct StartAttempt {
    /// The task's position.
    pub task: u32,
    /// From 1 within the task.
    pub number: u32,
    /// Identity, stamped on the process.
    pub uuid: Uuid,
    /// What it is.
    pub kind: AttemptKind,
    /// What is asked.
    pub fingerprint: Fingerprint,
    /// Canonical bytes behind the fingerprint, kept once per fingerprint.
    pub derivation: Vec<u8>,
    /// What it reads.
    pub pins: Vec<Pin>,
    /// Code files, lock files and the like that must stay available as proof.
    pub keeps: Vec<KeptObject>,
    /// Whether this attempt claims its fingerprint: no two live attempts of a project hold the same claim.
    pub claim: bool,
    /// Slots of a pool of the project that it is to hold for as long as it lives.
    pub pool: Option<PoolAsk>,
}

/// Slots that an attempt asks for. See [`pool::grant`](crate::service::pool::grant).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAsk {
    /// The pool. One that the project does not have grants nothing.
    pub name: String,
    /// How many.
    pub slots: u32,
    /// Larger ones go first.
    pub priority: i32,
}

/// One input of an attempt, fixed when the attempt is put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The input's name.
    pub slot: String,
    /// What is read.
    pub source: PinSource,
    /// How far that can be believed.
    pub trust: Trust,
}

/// What a pin points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// A publication that is already on record.
    Materialization(NodeId),
    /// The publication that stands for an output of a task of the same run, possibly made earlier in the same batch.
    Task {
        /// The task's position.
        task: u32,
        /// The output's name.
        output: String,
    },
}

/// An object that stays available as proof although no dataset names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptObject {
    /// Its content.
    pub hash: ContentHash,
    /// File or folder.
    pub kind: ContentKind,
    /// Bytes.
    pub size: u64,
}

/// The end of an attempt. Expects it to be live (`assigned` or `running`) and the last of its task.
#[derive(Debug, Clone)]
pub struct FinishAttempt {
    /// The task's position.
    pub task: u32,
    /// The attempt's number.
    pub number: u32,
    /// Whether the attempt succeeded.
    pub succeeded: bool,
    /// How it ended.
    pub end: AttemptEnd,
    /// What it published; empty unless it succeeded.
    pub outputs: Vec<NewMaterialization>,
    /// Numbers it reported, kept also where it failed.
    pub metrics: Vec<Metric>,
    /// Anything else it reported.
    pub metadata: Option<serde_json::Value>,
    /// The state of its task from here on: `succeeded`, `failed`, `retrying` or `cancelled`.
    pub next: TaskState,
    /// For people.
    pub reason: Option<String>,
    /// Whether later runs may reuse it.
    pub reusable: bool,
}

/// A publication to be put on record. Its dataset and version are made where they do not exist.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMaterialization {
    /// Name of the output within its step.
    pub output: String,
    /// Full name of the dataset.
    pub dataset: String,
    /// Cell it belongs to; empty for the whole.
    pub subset: String,
    /// What bytes; they are durable by now.
    pub hash: ContentHash,
    /// File or folder.
    pub kind: ContentKind,
    /// Bytes.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Number of rows where known.
    pub rows: Option<u64>,
    /// The file name readers see.
    pub file_name: String,
    /// What is known of its columns, where it is a table. Kept once for each version.
    pub profile: Option<serde_json::Value>,
}

/// A task decided without running. Expects it in `waiting` or `retrying`.
#[derive(Debug, Clone)]
pub struct SettleTask {
    /// The task's position.
    pub task: u32,
    /// A terminal state.
    pub state: TaskState,
    /// For people.
    pub reason: Option<String>,
    /// For state `reused`: whose result stands for it.
    pub reuse: Option<Reuse>,
}

/// An earlier result that stands for a task.
#[derive(Debug, Clone)]
pub struct Reuse {
    /// The attempt that did the work.
    pub attempt: NodeId,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// Given where this run's pins or dataset names differ from the earlier ones: a node of its own is then recorded.
    pub node: Option<ReuseNode>,
}

/// A node for a reuse under other pins or names.
#[derive(Debug, Clone)]
pub struct ReuseNode {
    /// Identity.
    pub uuid: Uuid,
    /// This run's pins.
    pub pins: Vec<Pin>,
    /// What it publishes: the same bytes.
    pub outputs: Vec<NewMaterialization>,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Done; nothing to tell.
    Done,
    /// The attempt is on record.
    Started {
        /// Its node.
        attempt: NodeId,
    },
    /// Not started: another live attempt holds the claim on the fingerprint. The task is as it was, and it waits for no
    /// pool.
    Busy(Flight),
    /// Not started: the pool has no room for it now. The task is as it was, and it stands in the pool's line until it is
    /// started or decided.
    Full,
    /// The publications are on record, in the order given. For a reuse without a node of its own: empty.
    Published {
        /// The attempt that stands for the task.
        attempt: NodeId,
        /// Nodes of the publications.
        materializations: Vec<NodeId>,
    },
    /// What the change expects is not so; nothing was changed.
    Stale,
}

/// A live attempt that holds a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    /// What is asked.
    pub fingerprint: Fingerprint,
    /// The attempt.
    pub attempt: NodeId,
    /// Its identity.
    pub uuid: Uuid,
    /// Its run.
    pub run: RunId,
    /// The number of its run.
    pub run_number: i64,
}

/// An earlier successful, reusable attempt with everything a later run needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    /// The attempt that did the work.
    pub attempt: NodeId,
    /// Its run's number.
    pub run_number: i64,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// When it ended.
    pub ended: Timestamp,
    /// Wall time, microseconds.
    pub wall_us: u64,
    /// What it published, in the order of ids.
    pub outputs: Vec<MaterializationRecord>,
    /// What it read: input name and publication, in the order of (name, id).
    pub pins: Vec<(String, NodeId)>,
    /// What it reported.
    pub metrics: Vec<Metric>,
    /// Whether every publication of it is what `@latest` names for its dataset and subset. Where not, a reuse is recorded
    /// with a node of its own, so that `@latest` follows the latest run.
    pub current: bool,
}

/// Which runs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Which way to follow edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what it was made of.
    Up,
    /// To what was made of it.
    Down,
}

/// Bounds of a walk through the lineage graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkLimit {
    /// Attempts between the start and the farthest node; none means no bound.
    pub depth: Option<u32>,
    /// Publications visited at most.
    pub nodes: u32,
    /// How long it may take, looked at between the levels of the walk; none means no bound.
    pub time: Option<Duration>,
}

impl WalkLimit {
    /// No bound.
    pub const NONE: Self = Self { depth: None, nodes: u32::MAX, time: None };
}

/// An object that the record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its content.
    pub hash: ContentHash,
    /// File or folder.
    pub kind: ContentKind,
    /// Bytes.
    pub size: u64,
    /// Whether its bytes were given up on purpose; its history stays.
    pub evicted: bool,
}

/// A place that remembers one project.
pub trait Store: LineageStore + AssertedStore + RetentionStore + ServiceStore + Send {
    /// Puts a run and its tasks on record, owned by the caller with epoch 1, and gives it the next number, or that of its
    /// submission, which is `running` from then on.
    ///
    /// # Errors
    /// [`StoreError::LostOwnership`] where the claim on its submission is not valid any more. Any
    /// [`StoreError::Database`]. Nothing is recorded then.
    fn create_run(&mut self, run: &NewRun) -> Result<i64>;

    /// Makes the caller the owner of a run whose former owner is proven dead. Returns the new right to write.
    /// A terminal `failed` or `cancelled` run becomes `running` again, and its tasks in `failed`, `skipped` and `cancelled` become `waiting`
    /// with `reopen`; otherwise a terminal run is left alone and `None` comes back.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn take_over(&mut self, run: RunId, reopen: bool, now: Timestamp) -> Result<Option<Ownership>>;

    /// Applies the changes in order, in one durable transaction, and says what became of each.
    ///
    /// # Errors
    /// [`StoreError::LostOwnership`] where the epoch is not the owner's; nothing is changed then.
    fn commit(&mut self, owner: Ownership, now: Timestamp, changes: &[Change]) -> Result<Vec<Applied>>;

    /// Notes that a run is to end; its owner sees it at its next look. A submission that has not begun ends at once. False
    /// where the run is already over.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn request_cancel(&mut self, run: RunId, now_hard: bool, now: Timestamp) -> Result<bool>;

    /// The newest reusable result for each fingerprint that has one.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn lookup(&mut self, fingerprints: &[Fingerprint]) -> Result<HashMap<Fingerprint, Earlier>>;

    /// The newest successful attempt (else the newest of any state) of this step and cell in any run of the pipeline, other than of
    /// run `except`: what a difference is explained against.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn nearest(
        &mut self,
        pipeline: &str,
        step: &str,
        cell: &str,
        except: Option<RunId>,
    ) -> Result<Option<AttemptRecord>>;

    /// The live attempt that holds the claim on a fingerprint.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn flight(&mut self, fingerprint: &Fingerprint) -> Result<Option<Flight>>;

    /// The publications a version names, one per subset, in the order of subsets. Empty where there is none.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] for a prefix of several hashes.
    fn resolve(&mut self, dataset: &str, version: &VersionRef) -> Result<Vec<MaterializationRecord>>;

    /// The run that is meant.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] for a prefix of several ids.
    fn run(&mut self, which: &RunRef) -> Result<Option<RunRecord>>;

    /// Runs, newest first.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>>;

    /// The tasks of a run, in the order of their indices.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn tasks(&mut self, run: RunId) -> Result<Vec<TaskRecord>>;

    /// The attempts of a run (of one task where given), in the order of their ids.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn attempts(&mut self, run: RunId, task: Option<u32>) -> Result<Vec<AttemptRecord>>;

    /// Attempts by node, in the order of their ids; unknown ones are left out.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn attempts_by_id(&mut self, ids: &[NodeId]) -> Result<Vec<AttemptRecord>>;

    /// What these attempts published, in the order of ids.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn published(&mut self, attempts: &[NodeId]) -> Result<Vec<MaterializationRecord>>;

    /// What these attempts reported: attempt and metric, in the order of (attempt, name, slice).
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn metrics(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, Metric)>>;

    /// What an attempt reported as metadata.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn metadata(&mut self, attempt: NodeId) -> Result<Option<serde_json::Value>>;

    /// Canonical bytes behind a fingerprint.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn derivation(&mut self, fingerprint: &Fingerprint) -> Result<Option<Vec<u8>>>;

    /// The text of a definition.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn definition(&mut self, hash: &ContentHash) -> Result<Option<String>>;

    /// Datasets by name, those that start with `prefix`.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn datasets(&mut self, prefix: &str) -> Result<Vec<DatasetRecord>>;

    /// Every publication of a dataset, newest first.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn materializations(&mut self, dataset: &str, limit: u32) -> Result<Vec<MaterializationRecord>>;

    /// Publications whose content hash starts with these hexadecimal digits, newest first, of any dataset.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn by_hash(&mut self, prefix: &str, limit: u32) -> Result<Vec<MaterializationRecord>>;

    /// The graph around publications, the start included.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn lineage(&mut self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<Lineage>;

    /// Events of a run after an id, oldest first.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn events(&mut self, run: RunId, after: i64) -> Result<Vec<EventRecord>>;

    /// Every object the record names.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn objects(&mut self) -> Result<Vec<StoredObject>>;

    /// Notes that bytes were given up (`true`) or are there again (`false`).
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn set_evicted(&mut self, hashes: &[ContentHash], evicted: bool, now: Timestamp) -> Result<()>;

    /// Looks for what must not be: rows without their companions, edges against the order of ids, runs that ended with live tasks.
    /// Returns one sentence for each finding.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn check(&mut self) -> Result<Vec<String>>;

    /// A second, independent connection to the same project.
    ///
    /// # Errors
    /// Any [`StoreError::Database`].
    fn reopen(&self) -> Result<Box<dyn Store>>;

    /// Where this is, for people, without passwords.
    fn describe(&self) -> String;
}
