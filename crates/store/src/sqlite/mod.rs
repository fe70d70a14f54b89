//! SQLite: the record of one project in one file, used by any number of processes at a time.
//!
//! Every write is one `BEGIN IMMEDIATE` transaction, so there is one writer at a time and what it read stays so until
//! it commits. Readers see the last commit and wait for nobody. A commit that came back is on disk (`WAL` with
//! `synchronous=FULL`). One file for each noun holds the statements; this one holds the connection.

mod asserted;
mod attempts;
mod check;
mod commit;
mod counter;
mod datasets;
mod decode;
mod events;
mod lineage;
mod metrics;
mod objects;
mod open;
mod pins;
mod publish;
mod retention;
mod runs;
mod service;
mod settle;
mod tasks;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{
    AttemptRecord, DatasetRecord, EventRecord, Lineage, MaterializationRecord, Metric, NodeId, RunId, RunRecord,
    TaskRecord,
};
use runstone_core::store::{
    Applied, Change, Direction, Earlier, Flight, NewRun, Ownership, Result, RunFilter, RunRef, Store, StoreError,
    StoredObject, VersionRef, WalkLimit,
};
use runstone_core::time::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::rules::{self, InvalidChange};
use crate::{Location, ProjectIdentity};

pub use open::OpenError;
pub(crate) use open::connect;

/// How many runs an ambiguous prefix names at most in its error.
const CANDIDATES: u32 = 8;

/// A connection to the record of one project.
#[derive(Debug)]
struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    identity: ProjectIdentity,
    /// The project's row.
    project: i64,
}

/// Why a statement or what it is part of failed, before the file is named.
#[derive(Debug)]
enum Failure {
    Sql(rusqlite::Error),
    Store(StoreError),
}

/// Shorthand.
type Outcome<T> = std::result::Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<InvalidChange> for Failure {
    fn from(error: InvalidChange) -> Self {
        Self::Store(error.into())
    }
}

impl Failure {
    /// Names the file. What SQLite or the decoder call malformed becomes [`StoreError::Damaged`].
    fn at(self, path: &Path, doing: &str) -> StoreError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let error = match self {
            Self::Store(error) => return error,
            Self::Sql(error) => error,
        };
        let damaged = matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            || matches!(
                error,
                rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
            );
        let path = path.display();
        if damaged {
            StoreError::Damaged(format!("{path}: {error}"))
        } else {
            StoreError::Database { context: format!("cannot {doing} in {path}"), source: Box::new(error) }
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        open::close(&self.connection, &self.path);
    }
}

impl SqliteStore {
    /// Runs `body` on one snapshot.
    fn read<T>(&mut self, doing: &str, body: impl FnOnce(&Transaction<'_>, i64) -> Outcome<T>) -> Result<T> {
        self.transaction(TransactionBehavior::Deferred, doing, body)
    }

    /// Runs `body` as the only writer and commits, or changes nothing where it fails.
    fn write<T>(&mut self, doing: &str, body: impl FnOnce(&Transaction<'_>, i64) -> Outcome<T>) -> Result<T> {
        self.transaction(TransactionBehavior::Immediate, doing, body)
    }

    fn transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        doing: &str,
        body: impl FnOnce(&Transaction<'_>, i64) -> Outcome<T>,
    ) -> Result<T> {
        let attempt = || -> Outcome<T> {
            let tx = self.connection.transaction_with_behavior(behavior)?;
            let value = body(&tx, self.project)?;
            tx.commit()?;
            Ok(value)
        };
        attempt().map_err(|failure| failure.at(&self.path, doing))
    }
}

impl Store for SqliteStore {
    fn create_run(&mut self, run: &NewRun) -> Result<i64> {
        rules::check_run(run)?;
        self.write("put a run on record", |tx, project| runs::create(tx, project, run))
    }

    fn take_over(&mut self, run: RunId, reopen: bool, now: Timestamp) -> Result<Option<Ownership>> {
        self.write("take a run over", |tx, project| runs::take_over(tx, project, run, reopen, now))
    }

    fn commit(&mut self, owner: Ownership, now: Timestamp, changes: &[Change]) -> Result<Vec<Applied>> {
        rules::check_batch(changes)?;
        self.write("commit", |tx, project| commit::commit(tx, project, owner, now, changes))
    }

    fn request_cancel(&mut self, run: RunId, now_hard: bool, now: Timestamp) -> Result<bool> {
        self.write("request the end of a run", |tx, project| runs::request_cancel(tx, project, run, now_hard, now))
    }

    fn lookup(&mut self, fingerprints: &[Fingerprint]) -> Result<HashMap<Fingerprint, Earlier>> {
        self.read("look results up", |tx, project| attempts::lookup(tx, project, fingerprints))
    }

    fn nearest(
        &mut self,
        pipeline: &str,
        step: &str,
        cell: &str,
        except: Option<RunId>,
    ) -> Result<Option<AttemptRecord>> {
        self.read("look an earlier attempt up", |tx, project| {
            attempts::nearest(tx, project, pipeline, step, cell, except)
        })
    }

    fn flight(&mut self, fingerprint: &Fingerprint) -> Result<Option<Flight>> {
        self.read("look a claim up", |tx, project| attempts::flight(tx, project, fingerprint))
    }

    fn resolve(&mut self, dataset: &str, version: &VersionRef) -> Result<Vec<MaterializationRecord>> {
        self.read("resolve a version", |tx, project| datasets::resolve(tx, project, dataset, version))
    }

    fn run(&mut self, which: &RunRef) -> Result<Option<RunRecord>> {
        self.read("read a run", |tx, project| runs::find(tx, project, which))
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.read("list runs", |tx, project| runs::list(tx, project, filter))
    }

    fn tasks(&mut self, run: RunId) -> Result<Vec<TaskRecord>> {
        self.read("read tasks", |tx, project| tasks::list(tx, project, run))
    }

    fn attempts(&mut self, run: RunId, task: Option<u32>) -> Result<Vec<AttemptRecord>> {
        self.read("read attempts", |tx, project| attempts::of_run(tx, project, run, task))
    }

    fn attempts_by_id(&mut self, ids: &[NodeId]) -> Result<Vec<AttemptRecord>> {
        self.read("read attempts", |tx, project| attempts::by_id(tx, project, ids))
    }

    fn published(&mut self, attempts: &[NodeId]) -> Result<Vec<MaterializationRecord>> {
        self.read("read publications", |tx, project| datasets::published(tx, project, attempts))
    }

    fn metrics(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, Metric)>> {
        self.read("read metrics", |tx, project| metrics::of_attempts(tx, project, attempts))
    }

    fn metadata(&mut self, attempt: NodeId) -> Result<Option<serde_json::Value>> {
        self.read("read metadata", |tx, project| metrics::metadata(tx, project, attempt))
    }

    fn derivation(&mut self, fingerprint: &Fingerprint) -> Result<Option<Vec<u8>>> {
        self.read("read a derivation", |tx, _| attempts::derivation(tx, fingerprint))
    }

    fn definition(&mut self, hash: &ContentHash) -> Result<Option<String>> {
        self.read("read a definition", |tx, _| runs::definition(tx, hash))
    }

    fn datasets(&mut self, prefix: &str) -> Result<Vec<DatasetRecord>> {
        self.read("list datasets", |tx, project| datasets::list(tx, project, prefix))
    }

    fn materializations(&mut self, dataset: &str, limit: u32) -> Result<Vec<MaterializationRecord>> {
        self.read("list publications", |tx, project| datasets::materializations(tx, project, dataset, limit))
    }

    fn by_hash(&mut self, prefix: &str, limit: u32) -> Result<Vec<MaterializationRecord>> {
        self.read("look a hash up", |tx, project| datasets::by_hash(tx, project, prefix, limit))
    }

    fn lineage(&mut self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<Lineage> {
        self.read("read lineage", |tx, project| lineage::lineage(tx, project, from, direction, limit))
    }

    fn events(&mut self, run: RunId, after: i64) -> Result<Vec<EventRecord>> {
        self.read("read events", |tx, project| events::after(tx, project, run, after))
    }

    fn objects(&mut self) -> Result<Vec<StoredObject>> {
        self.read("list objects", objects::list)
    }

    fn set_evicted(&mut self, hashes: &[ContentHash], evicted: bool, now: Timestamp) -> Result<()> {
        self.write("note evicted objects", |tx, project| objects::set_evicted(tx, project, hashes, evicted, now))
    }

    fn check(&mut self) -> Result<Vec<String>> {
        self.read("check the record", check::check)
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        connect(&self.path, &self.identity)
    }

    fn describe(&self) -> String {
        Location::Sqlite(self.path.clone()).to_string()
    }
}
