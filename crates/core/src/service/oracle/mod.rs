//! What must be true of the record, whatever happened: the guarantees as checks over plain rows.
//!
//! The same checks serve the simulator, tests with real processes and databases, and `runstone doctor`. They look at one
//! moment ([`check`]), or at two moments of the same record ([`compare`]). Nothing here repairs anything.

mod compare;
mod fires;
mod queue;
mod read;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use super::record::{BackfillRecord, FireRecord, PoolRecord, ScheduleRecord, SchedulerRecord, SubmissionRecord};
use crate::record::{AttemptRecord, EventRecord, MaterializationRecord, RunId, RunRecord, TaskRecord};

pub use compare::compare;

/// The record of a project at one moment: everything of it, or at least everything that belongs to the runs and
/// schedules that are in it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Schedulers, those that are gone included.
    pub schedulers: Vec<SchedulerRecord>,
    /// Schedules and triggers.
    pub schedules: Vec<ScheduleRecord>,
    /// Earlier generations of them as they were at their end, as far as somebody kept them; databases do not.
    pub former_schedules: Vec<ScheduleRecord>,
    /// Fires.
    pub fires: Vec<FireRecord>,
    /// Submissions, those that are over included.
    pub submissions: Vec<SubmissionRecord>,
    /// Backfills.
    pub backfills: Vec<BackfillRecord>,
    /// Pools.
    pub pools: Vec<PoolRecord>,
    /// Runs.
    pub runs: Vec<RunRecord>,
    /// Their tasks.
    pub tasks: Vec<TaskRecord>,
    /// Their attempts.
    pub attempts: Vec<AttemptRecord>,
    /// What these published.
    pub published: Vec<MaterializationRecord>,
    /// Their events.
    pub events: Vec<EventRecord>,
}

/// What is not as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Each fire time between activation and cursor is decided once.
    FireOnce,
    /// Who owns what only moves on: claims, epochs, cursors and generations grow, and the dead own nothing.
    Ownership,
    /// What is over stays as it is.
    Terminal,
    /// A task has one attempt at a time, and none after one that succeeded.
    OneAttempt,
    /// Each attempt that is over has one end, with a cause.
    OneEnd,
    /// Only an attempt that succeeded publishes.
    Publication,
    /// What a row says is borne out by the rows that belong to it.
    Companions,
    /// Of a group one runs at a time, in order.
    Group,
    /// A pool gives no more slots than it has.
    Pool,
    /// A backfill has one run for each partition, and no more at once than it may.
    Backfill,
}

/// Something that must not be: a sentence that names the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule is broken.
    pub rule: Rule,
    /// How, for people.
    pub sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Looks for what must not be in the record of one moment. Empty where all is well.
#[must_use]
pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Findings::default();
    fires::check(snapshot, &mut findings);
    queue::check(snapshot, &mut findings);
    runs::check(snapshot, &mut findings);
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, sentence: String) {
        self.0.push(Finding { rule, sentence });
    }

    /// Adds a sentence where something is not so.
    fn unless(&mut self, so: bool, rule: Rule, sentence: impl FnOnce() -> String) {
        if !so {
            self.add(rule, sentence());
        }
    }
}

/// Rows by a key, in their order.
fn grouped<K: Ord, T>(rows: &[T], key: impl Fn(&T) -> K) -> BTreeMap<K, Vec<&T>> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}

/// Runs by identity.
fn runs_by_id(snapshot: &Snapshot) -> BTreeMap<RunId, &RunRecord> {
    snapshot.runs.iter().map(|run| (run.id, run)).collect()
}

/// Submissions by the identity of their run.
fn submissions_by_run(snapshot: &Snapshot) -> BTreeMap<RunId, &SubmissionRecord> {
    snapshot.submissions.iter().map(|one| (one.run, one)).collect()
}
