//! What is on record of the service: schedulers, schedules and their fires, submissions, backfills and pools, as plain
//! data without any SQL.
//!
//! A *submission* is a run that was asked for, by a person, a schedule, a trigger or a backfill. A scheduler claims it,
//! begins its run, and drives it. Runs that a person drives from a terminal have no submission.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::hash::ContentHash;
use crate::record::{RunEnvironment, RunId, RunState, states};
use crate::time::Timestamp;

pub use crate::schedule::Overlap;

/// One start of a scheduler process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchedulerId(pub Uuid);

/// A schedule or trigger of a pipeline, whatever becomes of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleId(pub i64);

states! {
    /// The state of a scheduler.
    SchedulerState {
        /// Takes on runs.
        Active = "active",
        /// Finishes what it has and takes on nothing.
        Draining = "draining",
        /// Terminal: it left, or was found dead. What it owned may be claimed.
        Gone = "gone",
    }
}

/// A scheduler process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerRecord {
    /// Identity; a random one for each start.
    pub id: SchedulerId,
    /// The machine it runs on, for people.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Start time of that process in the kernel's clock ticks: with `pid` and `place` it names one process.
    pub pid_start: u64,
    /// Which boot of which machine (and namespace) the process number means something in.
    pub place: String,
    /// Version of runstone.
    pub version: String,
    /// The content store it can open.
    pub store_marker: Uuid,
    /// How many runs it drives at once at most.
    pub capacity: u32,
    /// State.
    pub state: SchedulerState,
    /// When it started, by the database's clock.
    pub started: Timestamp,
    /// When it last renewed its lease, by the database's clock.
    pub seen: Timestamp,
    /// How long the lease lasts, milliseconds.
    pub ttl_ms: u64,
    /// Whether its lease has run out, by the database's clock at the moment of reading. Never for one that is gone.
    pub expired: bool,
}

/// A scheduler that registers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `SchedulerRecord`")]
pub struct NewScheduler {
    pub id: SchedulerId,
    pub host: String,
    pub pid: u32,
    pub pid_start: u64,
    pub place: String,
    pub version: String,
    pub store_marker: Uuid,
    pub capacity: u32,
    pub ttl_ms: u64,
}

/// A schedule or trigger as a pipeline file declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeclaredSchedule {
    /// The pipeline.
    pub pipeline: String,
    /// Unique within the pipeline.
    pub name: String,
    /// The part of `spec` that decides when it fires, as canonical text. Where it changes, a new generation begins,
    /// which never fires the past.
    pub timing: String,
    /// All of it, as this or another scheduler reads it back.
    pub spec: Value,
    /// Whether it is to fire.
    pub enabled: bool,
}

/// A pipeline file as a scheduler found it: its schedules, and all that a run of it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredPipeline {
    /// Its name.
    pub pipeline: String,
    /// The definition's text.
    pub definition: String,
    /// The file, relative to the project.
    pub definition_path: String,
    /// Its schedules and triggers.
    pub schedules: Vec<DeclaredSchedule>,
}

/// A pipeline that schedulers know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRecord {
    /// Its name.
    pub pipeline: String,
    /// The definition in force.
    pub definition: ContentHash,
    /// The file it came from, relative to the project.
    pub definition_path: String,
    /// Whether its file is still there.
    pub active: bool,
    /// What is wrong with the file as it is now; the last good version stays in force.
    pub error: Option<String>,
    /// When any of this last changed.
    pub changed: Timestamp,
}

/// A schedule or trigger on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// Identity.
    pub id: ScheduleId,
    /// The pipeline.
    pub pipeline: String,
    /// Unique within the pipeline.
    pub name: String,
    /// See [`DeclaredSchedule::timing`].
    pub timing: String,
    /// See [`DeclaredSchedule::spec`].
    pub spec: Value,
    /// Grows with each change of `timing` and each time the schedule comes back.
    pub generation: i64,
    /// Whether its pipeline declares it, enabled.
    pub active: bool,
    /// Whether people paused it.
    pub paused: bool,
    /// When this generation began. Only later times fire.
    pub activated: Timestamp,
    /// Every fire time up to and including this one is decided.
    pub cursor: Timestamp,
    /// What a trigger has seen; null for a schedule.
    pub seen: Value,
    /// Grows with every change of any schedule of the project: what is new since.
    pub rev: i64,
}

/// A run to be put in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSubmission {
    /// Identity of the run to be.
    pub run: RunId,
    /// Name of its pipeline.
    pub pipeline: String,
    /// The definition's text. None means the one in force for the pipeline at the moment of the submission.
    pub definition: Option<String>,
    /// The file it came from, relative to the project. Where `definition` is none, that of the pipeline on record.
    pub definition_path: String,
    /// Parameters that were set, not yet completed by defaults: name → value.
    pub params: Value,
    /// What part of the pipeline, how, with which overlays. The engine's own notation.
    pub request: Value,
    /// What started it, for people: `manual`, `schedule nightly 2026-03-29T02:00:00+02:00`, …
    pub trigger: String,
    /// The partition it works on.
    pub partition: Option<String>,
    /// Larger ones go first.
    pub priority: i32,
    /// Submissions of one group run one at a time, in the order of their numbers.
    pub group: Option<String>,
    /// The backfill it belongs to; a backfill has one submission for each partition.
    pub backfill: Option<Uuid>,
    /// A second submission with the same key is the first one.
    pub key: Option<String>,
    /// Who asked, and where.
    pub environment: RunEnvironment,
    /// Which content store its objects are to be in.
    pub store_marker: Uuid,
}

states! {
    /// The state of a submission.
    SubmissionState {
        /// Nobody has it.
        Queued = "queued",
        /// A scheduler has it and prepares its run.
        Claimed = "claimed",
        /// Its run is on record and not over. Its owner may have died: then another scheduler claims it.
        Running = "running",
        /// Terminal: its run is over.
        Done = "done",
        /// Terminal: its end was asked for before it began.
        Cancelled = "cancelled",
        /// Terminal: its run could not begin.
        Failed = "failed",
    }
}

impl SubmissionState {
    /// Whether nothing changes this state any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }

    /// Whether a scheduler has it, or had it when it died.
    #[must_use]
    pub const fn has_owner(self) -> bool {
        matches!(self, Self::Claimed | Self::Running)
    }
}

/// A submission on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmissionRecord {
    /// Identity of its run.
    pub run: RunId,
    /// Number of its run, given when it was submitted.
    pub number: i64,
    /// Name of its pipeline.
    pub pipeline: String,
    /// The definition it runs, fixed when it was submitted.
    pub definition: ContentHash,
    /// The file that came from.
    pub definition_path: String,
    /// See [`NewSubmission::params`].
    pub params: Value,
    /// See [`NewSubmission::request`].
    pub request: Value,
    /// What started it.
    pub trigger: String,
    /// The partition it works on.
    pub partition: Option<String>,
    /// Larger ones go first.
    pub priority: i32,
    /// See [`NewSubmission::group`].
    pub group: Option<String>,
    /// The backfill it belongs to.
    pub backfill: Option<Uuid>,
    /// State.
    pub state: SubmissionState,
    /// Who has it, or had it when it died.
    pub scheduler: Option<SchedulerId>,
    /// Grows with each claim.
    pub claims: i64,
    /// When it was submitted.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it was cancelled or failed, for people.
    pub reason: Option<String>,
    /// Asked to end: `graceful` or `now`.
    pub cancel: Option<String>,
    /// The state of its run, where it has begun.
    pub run_state: Option<RunState>,
    /// Which content store its objects are in.
    pub store_marker: Uuid,
    /// Who asked, and where.
    pub environment: RunEnvironment,
}

/// The right to begin or drive a submitted run: valid while nobody else has claimed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// Who has it.
    pub scheduler: SchedulerId,
    /// Which claim this is.
    pub claims: i64,
}

/// What a scheduler decided about one fire time, or about a row of missed ones.
#[derive(Debug, Clone, PartialEq)]
pub struct FireDecision {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The generation that was read. The decision is void where it is another by now.
    pub generation: i64,
    /// The cursor that was read. The decision is void where it is another by now.
    pub cursor: Timestamp,
    /// The fire time; the first one of a row. Later than `cursor`.
    pub time: Timestamp,
    /// The cursor from now on; not before `time`.
    pub until: Timestamp,
    /// What a trigger has seen from now on.
    pub seen: Option<Value>,
    /// What becomes of it.
    pub verdict: FireVerdict,
}

/// What becomes of a fire.
#[derive(Debug, Clone, PartialEq)]
pub enum FireVerdict {
    /// A run, as far as the runs before allow.
    Submit {
        /// The run.
        submission: Box<NewSubmission>,
        /// What to do where an earlier one of its group is not over.
        overlap: Overlap,
    },
    /// No run, for a reason.
    Skip {
        /// For people.
        reason: String,
        /// How many fire times this stands for.
        count: u64,
    },
    /// The clock went on and there was nothing to decide: only the cursor moves, and no row is written.
    Nothing,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FireOutcome {
    /// A run was submitted.
    Submitted {
        /// It.
        run: RunId,
        /// Its number.
        number: i64,
    },
    /// It is on record that none was.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The cursor moved.
    Moved,
    /// Somebody else has decided it, or the schedule changed meanwhile; nothing was written.
    Stale,
}

/// A fire on record: one fire time, or a row of missed ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FireRecord {
    /// The schedule.
    pub schedule: ScheduleId,
    /// Its generation then.
    pub generation: i64,
    /// The fire time; the first one of a row.
    pub time: Timestamp,
    /// The last one of a row.
    pub until: Timestamp,
    /// How many fire times it stands for.
    pub count: u64,
    /// When it was decided, by the database's clock.
    pub decided: Timestamp,
    /// The run that was submitted.
    pub run: Option<RunId>,
    /// Its number.
    pub number: Option<i64>,
    /// Why there is none.
    pub reason: Option<String>,
}

states! {
    /// The state of a backfill.
    BackfillState {
        /// Its runs are being submitted, a few at a time.
        Active = "active",
        /// Nothing is submitted until it is resumed.
        Paused = "paused",
        /// Terminal: somebody ended it; its queued runs were cancelled.
        Cancelled = "cancelled",
        /// Terminal: every partition's run is over.
        Done = "done",
    }
}

/// A backfill to be put on record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBackfill {
    /// Identity.
    pub id: Uuid,
    /// The partitions, in the order in which they are to run, each once.
    pub partitions: Vec<String>,
    /// How many run at once.
    pub parallel: u32,
    /// What each run is like, but for its identity and partition. Its definition is given.
    pub template: NewSubmission,
}

/// A backfill on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackfillRecord {
    /// Identity.
    pub id: Uuid,
    /// Name of its pipeline.
    pub pipeline: String,
    /// State.
    pub state: BackfillState,
    /// How many run at once.
    pub parallel: u32,
    /// The partitions, in order.
    pub partitions: Vec<String>,
    /// How many of them have a submission that is not over.
    pub live: u32,
    /// The partitions that have a submission, over or not: the number of their run and how far it is.
    pub submitted: Vec<BackfillItem>,
    /// When it was put on record.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Who asked for it.
    pub user: String,
}

/// One partition of a backfill that has a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillItem {
    /// The partition.
    pub partition: String,
    /// The number of its run.
    pub number: i64,
    /// State of the submission.
    pub state: SubmissionState,
    /// State of its run, where it has begun.
    pub run_state: Option<RunState>,
}

/// A pool of the whole project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Its name.
    pub name: String,
    /// Its slots.
    pub slots: u32,
    /// Who holds some: live attempts, in the order in which they were put on record.
    pub holders: Vec<PoolUse>,
    /// Who waits for some, first the one whose turn it is.
    pub waiting: Vec<PoolUse>,
}

/// A task that holds slots of a pool or waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolUse {
    /// The run.
    pub run: RunId,
    /// Its number.
    pub number: i64,
    /// Its pipeline.
    pub pipeline: String,
    /// The task's position.
    pub task: u32,
    /// The task's name: step and cell.
    pub name: String,
    /// How many slots.
    pub slots: u32,
    /// Larger ones go first.
    pub priority: i32,
    /// Since when.
    pub since: Timestamp,
}
