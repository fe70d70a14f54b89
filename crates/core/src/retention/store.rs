//! What retention needs of a place to remember. SQLite and Postgres implement it beside
//! [`Store`](crate::store::Store), and one conformance suite holds both to it.
//!
//! Nothing here removes lineage. A content store is named by its marker, because each has bytes of its own.

use std::collections::HashSet;

use uuid::Uuid;

use super::Facts;
use crate::hash::ContentHash;
use crate::store::Result;
use crate::time::Timestamp;

/// Content that is to be given up, as it was when that was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The content.
    pub hash: ContentHash,
    /// How many publications had it.
    pub publications: u64,
    /// How many readings they had.
    pub readings: u64,
}

/// Events that are gone, or may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Of so many runs.
    pub runs: u64,
    /// So many events.
    pub events: u64,
}

/// A place that remembers what was given up.
pub trait RetentionStore {
    /// Everything a decision rests on, at one moment.
    ///
    /// # Errors
    /// Any [`StoreError::Database`](crate::store::StoreError::Database), here and below.
    fn retention_facts(&mut self, marker: Uuid) -> Result<Facts>;

    /// Notes that the bytes of these were given up, and returns those for which that is so now. It is not so for what was
    /// published or read since it was decided, what `@latest` or a tag names, what a run that is going on rests on, and
    /// proof of what ran: these are noted as stored.
    ///
    /// # Errors
    /// As above.
    fn evict(&mut self, marker: Uuid, candidates: &[Candidate], now: Timestamp) -> Result<Vec<ContentHash>>;

    /// Notes that the bytes of these are there after all.
    ///
    /// # Errors
    /// As above.
    fn revive(&mut self, marker: Uuid, hashes: &[ContentHash], now: Timestamp) -> Result<()>;

    /// Those of the given contents whose bytes were given up in every content store of the project that had them.
    ///
    /// # Errors
    /// As above.
    fn evicted(&mut self, hashes: &[ContentHash]) -> Result<HashSet<ContentHash>>;

    /// How many other projects on record keep objects in this content store.
    ///
    /// # Errors
    /// As above.
    fn other_users(&mut self, marker: Uuid) -> Result<u64>;

    /// Counts the events of runs that ended before a point in time.
    ///
    /// # Errors
    /// As above.
    fn expirable_events(&mut self, before: Timestamp) -> Result<Expired>;

    /// Removes the events of at most so many runs that ended before a point in time, those of each run as a whole. Nothing
    /// is left to do once the answer has no runs.
    ///
    /// # Errors
    /// As above.
    fn expire_events(&mut self, before: Timestamp, most_runs: u32) -> Result<Expired>;
}
