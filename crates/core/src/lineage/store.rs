//! What questions about lineage need of a place to remember. SQLite and Postgres implement it beside
//! [`Store`](crate::store::Store), and one conformance suite holds both to it.
//!
//! Lineage only grows: no call here changes a row that others have read. Each call is one transaction.

use serde_json::Value;

use super::tag::{NewTagMove, TagMove, TagMoved, TagName};
use crate::record::{AttemptRecord, ConsumedRecord, Cut, MaterializationRecord, NodeId, RunId, RunRecord};
use crate::store::{Direction, Result, WalkLimit};
use crate::time::Timestamp;

/// The nodes that a walk met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closure {
    /// Publications, the start included, in the order of ids.
    pub materializations: Vec<NodeId>,
    /// Attempts between them, in the order of ids; downwards also those that succeeded and published nothing.
    pub attempts: Vec<NodeId>,
    /// The limit that cut it, where one did.
    pub cut: Option<Cut>,
}

/// Edges of the graph, for whoever keeps it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edges {
    /// Attempts, by id: whether they succeeded, and none while they have not ended. Those that did not succeed read and made
    /// nothing, as far as a walk is concerned.
    pub attempts: Vec<(NodeId, Option<bool>)>,
    /// What attempts read: (publication, attempt), by attempt.
    pub consumed: Vec<(NodeId, NodeId)>,
    /// What attempts published: (attempt, publication), by publication.
    pub produced: Vec<(NodeId, NodeId)>,
    /// Everything on record after the id that was given, up to this one, is part of the answer. The id that was given
    /// where there is no more.
    pub until: NodeId,
}

/// How far the record goes, and up to where nothing can appear in it any more.
///
/// A transaction that took low ids may commit after one that took higher ones. Whoever keeps edges in memory remembers a
/// horizon, and knows that every id up to its `newest` is decided once a later horizon has `oldest >= fence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The largest id on record, of any project. All below it were given out, though some may not be on record yet.
    pub newest: NodeId,
    /// Every transaction that had taken ids up to `newest` began before this.
    pub fence: u64,
    /// The oldest transaction under way began at this or later.
    pub oldest: u64,
}

/// Which attempts are meant; what is left out says nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Search {
    /// Name of the pipeline.
    pub pipeline: Option<String>,
    /// Name of the step.
    pub step: Option<String>,
    /// Who started the run.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// First digits of the commit that was checked out.
    pub git_commit: Option<String>,
    /// Put on record at this time or later.
    pub since: Option<Timestamp>,
    /// Put on record before this time.
    pub until: Option<Timestamp>,
    /// First hexadecimal digits of content that was read.
    pub input: Option<String>,
    /// First hexadecimal digits of content that was published.
    pub output: Option<String>,
    /// Numbers that were reported, all of them.
    pub metrics: Vec<MetricRange>,
    /// Only of this state.
    pub succeeded: Option<bool>,
    /// Only attempts with smaller ids: where the page before this one ended.
    pub before: Option<NodeId>,
    /// At most so many.
    pub limit: u32,
}

/// A reported number within bounds, both included.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRange {
    /// Its name.
    pub name: String,
    /// Its slice; empty for the whole.
    pub slice: String,
    /// At least.
    pub min: f64,
    /// At most.
    pub max: f64,
}

/// A leaf of the log, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLeaf {
    /// From 0, without gaps.
    pub index: u64,
    /// The attempt that it states.
    pub attempt: NodeId,
    /// The hash of the leaf, then that of every complete subtree that ends with it, 32 bytes each.
    pub record: Vec<u8>,
}

/// A signed state of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// How many leaves it covers.
    pub size: u64,
    /// The root of their tree.
    pub root: [u8; 32],
    /// The signed text.
    pub note: String,
    /// When it was signed.
    pub created: Timestamp,
}

/// A verdict to be put on record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReproduction {
    /// The attempt whose derivation was executed again.
    pub attempt: NodeId,
    /// In one word.
    pub verdict: String,
    /// Whole.
    pub body: Value,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub user: String,
    /// On which machine.
    pub host: String,
}

/// A verdict on record.
#[derive(Debug, Clone, PartialEq)]
pub struct ReproductionRecord {
    /// Grows.
    pub id: i64,
    /// The verdict.
    pub of: NewReproduction,
}

/// A place that remembers the lineage of one project.
pub trait LineageStore {
    // The graph ----------------------------------------------------------------------------------------------------

    /// The nodes around publications, as ids alone.
    ///
    /// # Errors
    /// Any [`StoreError::Database`](crate::store::StoreError::Database), here and below.
    fn closure(&mut self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<Closure>;

    /// What these attempts read, in the order (attempt, publication, input).
    ///
    /// # Errors
    /// As above.
    fn consumed(&mut self, attempts: &[NodeId]) -> Result<Vec<ConsumedRecord>>;

    /// Publications by node, in the order of ids; unknown ones are left out.
    ///
    /// # Errors
    /// As above.
    fn materializations_by_id(&mut self, ids: &[NodeId]) -> Result<Vec<MaterializationRecord>>;

    /// Runs by identity, in the order of numbers; unknown ones are left out.
    ///
    /// # Errors
    /// As above.
    fn runs_by_id(&mut self, ids: &[RunId]) -> Result<Vec<RunRecord>>;

    /// What exactly these attempts reported as metadata, in the order of ids. One of kind `reuse` reported nothing itself.
    ///
    /// # Errors
    /// As above.
    fn reported(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, Value)>>;

    /// Attempts with an id after this one, and edges whose later end has one, for at most so many ids.
    ///
    /// # Errors
    /// As above.
    fn edges(&mut self, after: NodeId, ids: u32) -> Result<Edges>;

    /// Those of these attempts that have ended, in the order of ids: whether they succeeded.
    ///
    /// # Errors
    /// As above.
    fn ended(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, bool)>>;

    /// How far the record goes.
    ///
    /// # Errors
    /// As above.
    fn horizon(&mut self) -> Result<Horizon>;

    /// The attempt that stood before this one for the same step and cell of the pipeline, in an earlier run: of those of
    /// the same partition, where there are any, the newest that succeeded, else the newest of any state.
    ///
    /// # Errors
    /// As above.
    fn preceding(&mut self, attempt: NodeId) -> Result<Option<AttemptRecord>>;

    /// Attempts that fit everything asked for, newest first.
    ///
    /// # Errors
    /// As above.
    fn search(&mut self, search: &Search) -> Result<Vec<AttemptRecord>>;

    // Tags ---------------------------------------------------------------------------------------------------------

    /// Moves a tag, or takes it away.
    ///
    /// # Errors
    /// As above.
    fn move_tag(&mut self, new: &NewTagMove) -> Result<TagMoved>;

    /// The tags that lead somewhere, of one dataset or of all, each by its last move, in the order (dataset, name).
    ///
    /// # Errors
    /// As above.
    fn tags(&mut self, dataset: Option<&str>) -> Result<Vec<TagMove>>;

    /// The moves of a tag, newest first.
    ///
    /// # Errors
    /// As above.
    fn tag_history(&mut self, dataset: &str, name: &TagName) -> Result<Vec<TagMove>>;

    // The log ------------------------------------------------------------------------------------------------------

    /// Attempts that ended and are not in the log, in the order of ids.
    ///
    /// # Errors
    /// As above.
    fn unlogged(&mut self, limit: u32) -> Result<Vec<NodeId>>;

    /// How many leaves the log has.
    ///
    /// # Errors
    /// As above.
    fn log_size(&mut self) -> Result<u64>;

    /// Leaves from an index on, in order.
    ///
    /// # Errors
    /// As above.
    fn log_leaves(&mut self, from: u64, limit: u32) -> Result<Vec<LogLeaf>>;

    /// Leaves by index, in order; what is not there is left out.
    ///
    /// # Errors
    /// As above.
    fn log_leaves_at(&mut self, indices: &[u64]) -> Result<Vec<LogLeaf>>;

    /// The leaves that state these attempts, in the order of indices; those not in the log are left out.
    ///
    /// # Errors
    /// As above.
    fn log_leaves_of(&mut self, attempts: &[NodeId]) -> Result<Vec<LogLeaf>>;

    /// Appends leaves, which are attempt and record, with the checkpoint that signs the log up to the last of them: there is
    /// no moment at which a log is not signed. False, and nothing is changed, where the log has another size than the
    /// checkpoint without these leaves, because somebody else appended meanwhile.
    ///
    /// # Errors
    /// As above.
    fn append_log(&mut self, leaves: &[(NodeId, Vec<u8>)], checkpoint: &CheckpointRecord) -> Result<bool>;

    /// Checkpoints, largest first, at most so many.
    ///
    /// # Errors
    /// As above.
    fn checkpoints(&mut self, limit: u32) -> Result<Vec<CheckpointRecord>>;

    // What is known of versions ------------------------------------------------------------------------------------

    /// What is known of the columns of the versions that were published, in the order of ids; those without are left out.
    ///
    /// # Errors
    /// As above.
    fn profiles(&mut self, publications: &[NodeId]) -> Result<Vec<(NodeId, Value)>>;

    /// Puts what is known of the columns of a published version on record, in place of what was known before. False
    /// where it is not on record.
    ///
    /// # Errors
    /// As above.
    fn set_profile(&mut self, publication: NodeId, profile: &Value, now: Timestamp) -> Result<bool>;

    /// Puts a verdict on record.
    ///
    /// # Errors
    /// As above.
    fn add_reproduction(&mut self, new: &NewReproduction) -> Result<()>;

    /// Verdicts on these attempts, newest first.
    ///
    /// # Errors
    /// As above.
    fn reproductions(&mut self, attempts: &[NodeId]) -> Result<Vec<ReproductionRecord>>;
}
