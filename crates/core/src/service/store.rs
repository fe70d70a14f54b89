//! What the service needs of a place to remember. SQLite and Postgres implement it beside
//! [`Store`](crate::store::Store), and one conformance suite holds both to it.
//!
//! Every call is one transaction, and every change a compare-and-set: whoever was overtaken changes nothing and is told
//! so. Leases go by the database's clock, never by the caller's.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::record::{
    BackfillRecord, BackfillState, Claim, DeclaredPipeline, FireDecision, FireOutcome, FireRecord, NewBackfill,
    NewScheduler, NewSubmission, PipelineRecord, PoolRecord, ScheduleId, ScheduleRecord, SchedulerId, SchedulerRecord,
    SchedulerState, SubmissionRecord,
};
use crate::record::RunId;
use crate::store::{Ownership, Result, RunRef};
use crate::time::Timestamp;

/// What came of a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The right to begin it, or to go on with it.
    pub claim: Claim,
    /// Where its run is on record already: the right to write it. Every earlier owner has lost it.
    pub owner: Option<Ownership>,
    /// The submission as it is now.
    pub submission: SubmissionRecord,
}

/// How a heartbeat was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The lease runs from now on for another TTL.
    Renewed,
    /// Others found it dead and may have taken what it owned: it must stop writing and leave.
    Gone,
}

/// How far a record has come. Nothing of it ever goes back, unless the database lost what it had committed: by the
/// restore of a backup, or a fail-over to a copy that was behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HighWater {
    /// The largest run number given out.
    pub runs: i64,
    /// The largest node id given out.
    pub nodes: i64,
    /// The largest `rev` of a schedule.
    pub schedules: i64,
}

impl HighWater {
    /// Whether a record that is here now has lost something of what it once was.
    #[must_use]
    pub const fn is_behind(&self, once: &Self) -> bool {
        self.runs < once.runs || self.nodes < once.nodes || self.schedules < once.schedules
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            runs: self.runs.max(other.runs),
            nodes: self.nodes.max(other.nodes),
            schedules: self.schedules.max(other.schedules),
        }
    }
}

/// Which fires to list, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct FireFilter {
    /// Only of this schedule.
    pub schedule: Option<ScheduleId>,
    /// Only those that stand for skipped times.
    pub skipped_only: bool,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A place that remembers the service of one project.
pub trait ServiceStore {
    /// The database's clock.
    ///
    /// # Errors
    /// Any [`StoreError::Database`](crate::store::StoreError::Database), here and below.
    fn clock(&mut self) -> Result<Timestamp>;

    /// How far the record has come. Asked often.
    ///
    /// # Errors
    /// As above.
    fn high_water(&mut self) -> Result<HighWater>;

    /// Gives out no number up to these again: for a record that lost what it had committed.
    ///
    /// # Errors
    /// As above.
    fn raise(&mut self, to: &HighWater) -> Result<()>;

    // Schedulers -------------------------------------------------------------------------------------------------------

    /// Puts a scheduler on record, active, its lease running.
    ///
    /// # Errors
    /// As above.
    fn register(&mut self, scheduler: &NewScheduler) -> Result<()>;

    /// Renews a lease. `state` is `Active` or `Draining`; draining is never taken back.
    ///
    /// # Errors
    /// As above.
    fn beat(&mut self, scheduler: SchedulerId, state: SchedulerState) -> Result<Beat>;

    /// Puts on record that a scheduler is gone. With `only_if_expired` only where its lease has run out by the database's
    /// clock. Its submissions in `claimed` become `queued`; those in `running` stay and may be claimed. True where it
    /// changed something.
    ///
    /// # Errors
    /// As above.
    fn bury(&mut self, scheduler: SchedulerId, only_if_expired: bool) -> Result<bool>;

    /// Schedulers, newest first: all that are not gone, and of those that are the last `gone`.
    ///
    /// # Errors
    /// As above.
    fn schedulers(&mut self, gone: u32) -> Result<Vec<SchedulerRecord>>;

    // Pipelines and schedules ------------------------------------------------------------------------------------------

    /// Makes what is declared under a folder (a prefix of `definition_path`, empty for everything) the truth: pipelines
    /// and schedules are added, changed, and deactivated where they are not declared any more, in one transaction.
    /// Deciding times of the past is left to nobody: a schedule that is new, comes back, or whose `timing` changed gets
    /// a new generation with `activated` and `cursor` at `now`. `broken` are files (path, name of the pipeline where
    /// known, what is wrong): what they declared stays in force, and the error is put on record. Changes nothing, not
    /// even `rev`, where nothing differs. Returns what now is on record of the pipelines under the folder.
    ///
    /// # Errors
    /// As above.
    fn declare(
        &mut self,
        folder: &str,
        pipelines: &[DeclaredPipeline],
        broken: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<PipelineRecord>>;

    /// The pipelines that schedulers know, in the order of their names.
    ///
    /// # Errors
    /// As above.
    fn pipelines(&mut self) -> Result<Vec<PipelineRecord>>;

    /// Schedules whose `rev` is larger than this, in its order. With 0 all, inactive ones included.
    ///
    /// # Errors
    /// As above.
    fn schedules(&mut self, after_rev: i64) -> Result<Vec<ScheduleRecord>>;

    /// The largest `rev` of a schedule; 0 where there is none. Asked often, so it is to cost next to nothing.
    ///
    /// # Errors
    /// As above.
    fn schedules_rev(&mut self) -> Result<i64>;

    /// These schedules; unknown ones are left out.
    ///
    /// # Errors
    /// As above.
    fn schedules_by_id(&mut self, ids: &[ScheduleId]) -> Result<Vec<ScheduleRecord>> {
        Ok(self.schedules(0)?.into_iter().filter(|schedule| ids.contains(&schedule.id)).collect())
    }

    /// Pauses schedules or lets them go on. Going on decides the times of the pause as skipped (one row for each
    /// schedule, reason `paused`, with the count that `missed` gives for schedule, cursor and now), unless `catch_up`:
    /// then the cursor stays where it was. Returns those that changed.
    ///
    /// # Errors
    /// As above.
    fn set_paused(
        &mut self,
        schedules: &[ScheduleId],
        paused: bool,
        catch_up: bool,
        now: Timestamp,
        missed: &dyn Fn(&ScheduleRecord) -> u64,
    ) -> Result<Vec<ScheduleRecord>>;

    /// Applies decisions, each whole or not at all, in one transaction: the row of the fire, the submission or the
    /// reason why there is none, and the new cursor. Several decisions on one schedule are applied in order; the cursor
    /// each one expects is the one before it in the batch. Overlap is judged here, under the lock of the schedule's row,
    /// by [`overlap::judge`](super::overlap::judge).
    ///
    /// # Errors
    /// As above; nothing is changed then.
    fn decide_fires(&mut self, decisions: &[FireDecision], now: Timestamp) -> Result<Vec<FireOutcome>>;

    /// Fires, newest first.
    ///
    /// # Errors
    /// As above.
    fn fires(&mut self, filter: &FireFilter) -> Result<Vec<FireRecord>>;

    // Submissions ------------------------------------------------------------------------------------------------------

    /// Puts a run in the queue and gives it its number. With a key that was used before, the earlier one comes back.
    ///
    /// # Errors
    /// As above.
    fn submit(&mut self, submission: &NewSubmission, now: Timestamp) -> Result<SubmissionRecord>;

    /// What may be claimed or is being run: all that are `claimed` or `running`, and of the `queued` ones the first
    /// `per_pipeline` of each pipeline by (priority, largest first; number), and the first of each group by number, whose
    /// turn is next whatever its priority.
    ///
    /// # Errors
    /// As above.
    fn live_submissions(&mut self, per_pipeline: u32) -> Result<Vec<SubmissionRecord>>;

    /// How many are queued, all told.
    ///
    /// # Errors
    /// As above.
    fn queued_count(&mut self) -> Result<u64>;

    /// The submission that is meant.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`](crate::store::StoreError::Ambiguous) for a prefix of several ids.
    fn submission(&mut self, which: &RunRef) -> Result<Option<SubmissionRecord>>;

    /// Takes a submission: a queued one whose turn it is in its group, a running one whose scheduler is gone (or has let
    /// go of it), or one that the claimant has already, because the answer to its claim was lost. The claimant must be
    /// active with a running lease. A run that is on record gets its next epoch. None where another was faster, or it is
    /// over, or not its turn.
    ///
    /// # Errors
    /// As above.
    fn claim(&mut self, run: RunId, scheduler: SchedulerId, now: Timestamp) -> Result<Option<Claimed>>;

    /// Lets go of a submission, so that others may claim it: a claimed one is queued again, a running one has no scheduler.
    /// False where the claim is not valid any more.
    ///
    /// # Errors
    /// As above.
    fn release(&mut self, claim: Claim, now: Timestamp) -> Result<bool>;

    /// Ends a claimed submission whose run cannot begin. False where the claim is not valid any more.
    ///
    /// # Errors
    /// As above.
    fn fail_submission(&mut self, claim: Claim, reason: &str, now: Timestamp) -> Result<bool>;

    /// Runs among these that somebody asked to end, with `now` or `graceful`: one question for all that a scheduler drives.
    ///
    /// # Errors
    /// As above.
    fn cancel_requests(&mut self, runs: &[RunId]) -> Result<Vec<(RunId, String)>>;

    // Backfills --------------------------------------------------------------------------------------------------------

    /// Puts a backfill on record, active.
    ///
    /// # Errors
    /// As above.
    fn create_backfill(&mut self, backfill: &NewBackfill, now: Timestamp) -> Result<()>;

    /// Backfills, newest first; `live_only` leaves out those that are over.
    ///
    /// # Errors
    /// As above.
    fn backfills(&mut self, live_only: bool) -> Result<Vec<BackfillRecord>>;

    /// The active backfills, newest first: what a scheduler asks at every look, without their partitions and submissions.
    ///
    /// # Errors
    /// As above.
    fn active_backfills(&mut self) -> Result<Vec<Uuid>>;

    /// Submits the next partitions of an active backfill until `parallel` of them are live, and ends it where all are over.
    /// Under the lock of its row, so that schedulers may call it at the same time. Returns how many were submitted.
    ///
    /// # Errors
    /// As above.
    fn advance_backfill(&mut self, id: Uuid, now: Timestamp) -> Result<u32>;

    /// Changes the state of a backfill that is not over. Cancelling ends its queued submissions and asks its running ones to
    /// end gracefully. False where it is over, or in that state.
    ///
    /// # Errors
    /// As above.
    fn set_backfill(&mut self, id: Uuid, state: BackfillState, now: Timestamp) -> Result<bool>;

    // Pools ------------------------------------------------------------------------------------------------------------

    /// Declares the pools of the project: names and slots. Others are removed as soon as nobody uses them.
    ///
    /// # Errors
    /// As above.
    fn declare_pools(&mut self, pools: &[(String, u32)]) -> Result<()>;

    /// The pools of the project with who holds and who waits.
    ///
    /// # Errors
    /// As above.
    fn pools(&mut self) -> Result<Vec<PoolRecord>>;
}
