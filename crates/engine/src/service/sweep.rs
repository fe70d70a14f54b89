//! Looks for what must not be, and says it: the oracle over the record, as `doctor` asks it and as a scheduler does by
//! itself every now and then. And cleans up, where that is wanted.

use std::time::Duration;

use runstone_core::service::oracle::{self, Finding, Snapshot};
use runstone_core::store::{Result, Store};
use runstone_core::time::Timestamp;
use tracing::{error, info, warn};

use crate::clock;
use crate::project::Project;
use crate::retention::{self, Options, RetentionError};

/// What schedulers do meanwhile is read in pieces: what is wrong is still so a moment later.
const MOMENT: Duration = Duration::from_secs(1);
/// How far back a scheduler looks, microseconds.
const BACK_US: i64 = 3_600_000_000;
/// What nothing names is spared for so long.
const SPARE: Duration = Duration::from_secs(86_400);
/// How many runs a scheduler looks at in detail.
const MOST_RUNS: u32 = 500;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything on record.
    All,
    /// What happened since, and of that so many runs.
    Since(Timestamp, u32),
}

/// What was looked at, since when, and what is wrong with it, seen twice.
///
/// # Errors
/// Any of the store's.
pub fn sweep(store: &mut dyn Store, extent: Extent) -> Result<(Snapshot, Option<Timestamp>, Vec<Finding>)> {
    let (snapshot, since) = read(store, extent)?;
    let mut findings = oracle::check(&snapshot);
    if !findings.is_empty() {
        std::thread::sleep(MOMENT);
        let again = oracle::check(&read(store, extent)?.0);
        findings.retain(|finding| again.contains(finding));
    }
    Ok((snapshot, since, findings))
}

fn read(store: &mut dyn Store, extent: Extent) -> Result<(Snapshot, Option<Timestamp>)> {
    match extent {
        Extent::All => Ok((Snapshot::read(store)?, None)),
        Extent::Since(at, most_runs) => {
            let (snapshot, since) = Snapshot::read_since(store, at, most_runs)?;
            Ok((snapshot, Some(since)))
        }
    }
}

/// What a scheduler does once a day where rules are declared: what people do with `runstone gc`. Ending the process meanwhile
/// does no harm.
pub(super) fn clean_up(project: &Project, store: &mut dyn Store) {
    let rules = &project.config().retention.value;
    let options = Options { dry_run: false, spare: SPARE, exclusive: false };
    match retention::clean_up(project, rules, store, options, &mut |_| {}) {
        Ok(report) => {
            let (versions, bytes, runs) = (report.evicted.len(), report.freed_bytes, report.runs.count);
            info!(versions, bytes, runs, events = report.events, "cleaned up");
        }
        // Of several schedulers with the same folder one is enough.
        Err(RetentionError::Busy) => {}
        Err(error) => warn!(error = %crate::text(&error), "the clean-up did not come to its end"),
    }
}

/// What a scheduler does every now and then. A record that does not answer is asked the next time.
pub(super) fn look_after(store: &mut dyn Store) {
    let extent = Extent::Since(Timestamp(clock::now().0 - BACK_US), MOST_RUNS);
    for finding in sweep(store, extent).map(|(_, _, findings)| findings).unwrap_or_default() {
        error!("the record contradicts itself: {finding}");
    }
}

/// Brings what ended into the log. Where that cannot be done, it is tried again the next time.
pub(super) fn seal(project: &Project, store: &mut dyn Store) {
    if let Err(error) = crate::seal::seal(project, store) {
        warn!(error = %crate::text(&error), "the log was not brought up to date");
    }
}
