//! Lineage that somebody else asserts: events of runs that we did not execute, on datasets that we did not hash.
//!
//! It never mixes with what we know ourselves. Its nodes are runs and *points*, each being a dataset in exactly the
//! version that was stated, or in none: what was stated without a version is never taken for the latest one. A point meets
//! our own graph only where its version is the hash of content that we have on record.
//!
//! What is on record is the set of what all events say. So neither their order nor repetitions make a difference.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::hash::{CONTENT_PREFIX, ContentHash};
use crate::record::states;
use crate::store::{KeptObject, Result};
use crate::time::Timestamp;

states! {
    /// What an event is about.
    EventKind {
        /// A run of a job.
        Run = "run",
        /// A job, without any run of it.
        Job = "job",
        /// A dataset alone.
        Dataset = "dataset",
    }
}

states! {
    /// What became of a run, as OpenLineage spells it.
    EventType {
        /// It began.
        Start = "START",
        /// It goes on.
        Running = "RUNNING",
        /// It ended, and all went well.
        Complete = "COMPLETE",
        /// It was ended.
        Abort = "ABORT",
        /// It failed.
        Fail = "FAIL",
        /// More about it, at any time.
        Other = "OTHER",
    }
}

states! {
    /// Which end of a run an edge is at.
    Side {
        /// The run read it.
        Input = "input",
        /// The run wrote it.
        Output = "output",
    }
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Input => Self::Output,
            Self::Output => Self::Input,
        }
    }
}

/// A run on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssertedRunId(pub i64);

/// A dataset on record, by the identity that all its names lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssertedDatasetId(pub i64);

/// What is called by a name within a namespace: a dataset or a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Qualified {
    /// Whose name it is, such as the address of a database.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Which run an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAssertedRun {
    /// Identity.
    pub uuid: Uuid,
    /// How it was given, where that is no UUID.
    pub given: Option<String>,
}

/// A run, or a job without one, reads or writes a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAssertedEdge {
    /// Reads or writes.
    pub side: Side,
    /// What.
    pub dataset: Qualified,
    /// In exactly this version; none where nothing was said. Never empty.
    pub version: Option<String>,
    /// Which of its columns were made of which others, as it was given; null where it was withdrawn.
    pub columns: Option<Value>,
}

impl NewAssertedEdge {
    /// The content that the version names, where it does.
    #[must_use]
    pub fn content(&self) -> Option<ContentHash> {
        content_of(self.version.as_deref()?)
    }
}

/// The content that a version names: `b3:` and 64 digits.
#[must_use]
pub fn content_of(version: &str) -> Option<ContentHash> {
    version.strip_prefix(CONTENT_PREFIX).filter(|digits| digits.len() == 64).and_then(|digits| digits.parse().ok())
}

/// The names under which a dataset can be found as well, in place of those said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSymlinks {
    /// The dataset that they lead to.
    pub dataset: Qualified,
    /// Its other names. None withdraw all.
    pub names: Vec<Qualified>,
}

/// Where the body of an event is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In its row.
    Text(String),
    /// In the content store.
    Object(KeptObject),
}

/// An event to be put on record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAssertedEvent {
    /// What it is recognised by: a hash of all it says. Also decides between two of the same time.
    pub dedup: [u8; 32],
    /// What it is about.
    pub kind: EventKind,
    /// What became of the run; none unless it is about one.
    pub event_type: Option<EventType>,
    /// When it happened, by the clock of whoever says so.
    pub time: Timestamp,
    /// The run; for an event about a job what stands for its runs; none for one about a dataset.
    pub run: Option<NewAssertedRun>,
    /// The job, where there is a run.
    pub job: Option<Qualified>,
    /// What is read and written.
    pub edges: Vec<NewAssertedEdge>,
    /// Datasets that are named without an edge.
    pub datasets: Vec<Qualified>,
    /// Further names of datasets.
    pub symlinks: Vec<NewSymlinks>,
    /// All of it, as it was received.
    pub body: Body,
}

/// An event on record.
#[derive(Debug, Clone, PartialEq)]
pub struct AssertedEvent {
    /// Grows.
    pub id: i64,
    /// When it was put on record.
    pub received: Timestamp,
    /// What it is about.
    pub kind: EventKind,
    /// What became of the run.
    pub event_type: Option<EventType>,
    /// When it happened.
    pub time: Timestamp,
    /// Its run.
    pub run: Option<AssertedRunId>,
    /// All of it.
    pub body: Body,
}

/// A run on record, as all its events tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertedRun {
    /// Which one.
    pub id: AssertedRunId,
    /// Identity.
    pub uuid: Uuid,
    /// How it was given, where that is no UUID.
    pub given: Option<String>,
    /// Whether it was a run, or a job that was described without one.
    pub kind: EventKind,
    /// Its job, by the newest event.
    pub job: Qualified,
    /// The newest end that was reported, else the newest type of event; none for a job.
    pub state: Option<EventType>,
    /// Time of its earliest event.
    pub first: Timestamp,
    /// Time of its latest event.
    pub last: Timestamp,
}

/// A dataset with all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertedDataset {
    /// Which one.
    pub id: AssertedDatasetId,
    /// The name that the others lead to.
    pub name: Qualified,
    /// Its other names, in order.
    pub symlinks: Vec<Qualified>,
}

/// A dataset in exactly one version, or without any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Which dataset.
    pub dataset: AssertedDatasetId,
    /// Its version.
    pub version: Option<String>,
}

/// A run reads or writes a point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AssertedEdge {
    /// The run.
    pub run: AssertedRunId,
    /// Reads or writes.
    pub side: Side,
    /// What.
    pub point: Point,
}

/// Which edges are asked for.
#[derive(Debug, Clone, Copy)]
pub enum EdgesOf<'a> {
    /// Those of runs.
    Runs(&'a [AssertedRunId]),
    /// Those at points.
    Points(&'a [Point]),
    /// Those whose version names one of these contents.
    Contents(&'a [ContentHash]),
}

/// A place that remembers what others assert.
pub trait AssertedStore {
    /// Puts events on record in one transaction, and says of each whether it is new. `store_marker` names the content store
    /// that holds their bodies.
    ///
    /// # Errors
    /// Any [`StoreError::Database`](crate::store::StoreError::Database), here and below.
    fn assert_events(&mut self, store_marker: Uuid, events: &[NewAssertedEvent], now: Timestamp) -> Result<Vec<bool>>;

    /// Edges at one side, each once, in the order (run, point); where there are more than `most`, so many of them. One
    /// without a version is left out where the same run names a version of that dataset at that side. So are the edges of
    /// runs that are attempts of ours: those we know.
    ///
    /// # Errors
    /// As above.
    fn asserted_edges(&mut self, of: EdgesOf<'_>, side: Side, most: u32) -> Result<Vec<AssertedEdge>>;

    /// Runs, in the order of ids; unknown ones are left out.
    ///
    /// # Errors
    /// As above.
    fn asserted_runs(&mut self, ids: &[AssertedRunId]) -> Result<Vec<AssertedRun>>;

    /// Datasets with all their names, in the order of ids; unknown ones are left out.
    ///
    /// # Errors
    /// As above.
    fn asserted_datasets(&mut self, ids: &[AssertedDatasetId]) -> Result<Vec<AssertedDataset>>;

    /// The dataset that a name leads to.
    ///
    /// # Errors
    /// As above.
    fn asserted_dataset(&mut self, name: &Qualified) -> Result<Option<AssertedDatasetId>>;

    /// What was said last of the columns of what runs wrote, in the order (run, dataset).
    ///
    /// # Errors
    /// As above.
    fn asserted_columns(&mut self, runs: &[AssertedRunId]) -> Result<Vec<(AssertedRunId, AssertedDatasetId, Value)>>;

    /// Events after an id, oldest first.
    ///
    /// # Errors
    /// As above.
    fn asserted_events(&mut self, after: i64, limit: u32) -> Result<Vec<AssertedEvent>>;
}

/// What was said last of the names of a dataset. Datasets are numbers here, whatever they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The dataset that the names lead to.
    pub dataset: i64,
    /// When it was said.
    pub time: Timestamp,
    /// By which event.
    pub dedup: [u8; 32],
    /// The other names. Its own among them means nothing.
    pub names: BTreeSet<i64>,
}

/// Where each name leads, given what was said last of each dataset, and what all of them are called.
///
/// A name leads to the dataset that claimed it last, and on from there. Names lead from the one that was given as another
/// name to the one that bears it, never back; where claims make a ring, it leads to the first of its names in their order. So
/// the answer depends on what was said, and not on when we heard of it.
#[must_use]
pub fn canonical(claims: &[Claim], called: &BTreeMap<i64, Qualified>) -> BTreeMap<i64, i64> {
    let mut leads: BTreeMap<i64, &Claim> = BTreeMap::new();
    let rank = |claim: &Claim| (claim.time, claim.dedup, called.get(&claim.dataset).cloned());
    for claim in claims {
        for name in claim.names.iter().filter(|name| **name != claim.dataset) {
            let other = leads.entry(*name).or_insert(claim);
            if rank(claim) > rank(other) {
                *other = claim;
            }
        }
    }
    called.keys().map(|&start| (start, end_of(start, &leads, called))).collect()
}

fn end_of(start: i64, leads: &BTreeMap<i64, &Claim>, called: &BTreeMap<i64, Qualified>) -> i64 {
    let mut way = vec![start];
    let mut at = start;
    while let Some(claim) = leads.get(&at) {
        at = claim.dataset;
        if let Some(ring) = way.iter().position(|passed| *passed == at) {
            let ring = way[ring..].iter().copied();
            return ring.min_by_key(|one| called.get(one).cloned()).unwrap_or(at);
        }
        way.push(at);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(names: &[&str]) -> BTreeMap<i64, Qualified> {
        let named = |name: &&str| Qualified { namespace: "n".to_owned(), name: (*name).to_owned() };
        (0..).zip(names.iter().map(named)).collect()
    }

    fn claim(dataset: i64, time: i64, names: &[i64]) -> Claim {
        Claim { dataset, time: Timestamp(time), dedup: [0; 32], names: names.iter().copied().collect() }
    }

    fn ends(claims: &[Claim], names: &[&str]) -> Vec<i64> {
        let forward = canonical(claims, &called(names));
        let backward: Vec<Claim> = claims.iter().rev().cloned().collect();
        assert_eq!(forward, canonical(&backward, &called(names)), "the order of claims means nothing");
        forward.into_values().collect()
    }

    #[test]
    fn a_name_leads_to_the_dataset_that_bears_it() {
        assert_eq!(ends(&[], &["a", "b"]), [0, 1]);
        assert_eq!(ends(&[claim(0, 1, &[0, 1])], &["a", "b"]), [0, 0]);
        assert_eq!(ends(&[claim(1, 1, &[0]), claim(2, 1, &[1])], &["a", "b", "c"]), [2, 2, 2], "and on from there");
    }

    #[test]
    fn of_two_that_claim_a_name_the_later_one_has_it() {
        assert_eq!(ends(&[claim(0, 5, &[2]), claim(1, 4, &[2])], &["a", "b", "c"]), [0, 1, 0]);
        assert_eq!(ends(&[claim(0, 4, &[2]), claim(1, 4, &[2])], &["a", "b", "c"]), [0, 1, 1], "else the last by name");
    }

    #[test]
    fn a_ring_leads_to_the_first_of_its_names() {
        assert_eq!(ends(&[claim(0, 1, &[1]), claim(1, 2, &[0]), claim(1, 2, &[2])], &["b", "a", "c"]), [1, 1, 1]);
    }

    #[test]
    fn a_version_names_content_only_in_full() {
        let hash = ContentHash::of(b"x");
        assert_eq!(content_of(&hash.to_string()), Some(hash));
        for other in ["", "7", "b3:12ab", &hash.to_hex(), &format!("b3:{hash}")] {
            assert_eq!(content_of(other), None, "{other}");
        }
    }
}
