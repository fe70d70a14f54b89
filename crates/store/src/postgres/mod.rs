//! Postgres: the record of any number of projects on one server, used by any number of processes at a time.
//!
//! Each [`Store`] call is one short transaction, tried again as long as that can help and never applied twice; see
//! `session`. Runs are written under the lock of their row, so that an owner decides in memory what its changes do and
//! writes the result set-wise; see `commit`. One file for each noun holds the statements; this one holds the project.

mod asserted;
mod attempts;
mod check;
mod commit;
mod datasets;
mod events;
mod failure;
mod lineage;
mod metrics;
mod migrate;
mod objects;
mod retention;
mod runs;
mod service;
mod session;
mod target;
mod tasks;
mod value;

use std::collections::HashMap;

use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{
    AttemptRecord, DatasetRecord, EventRecord, Lineage, MaterializationRecord, Metric, NodeId, RunId, RunRecord,
    TaskRecord,
};
use runstone_core::store::{
    Applied, Change, Direction, Earlier, Flight, NewRun, Ownership, Result, RunFilter, RunRef, Store, StoredObject,
    VersionRef, WalkLimit,
};
use runstone_core::time::Timestamp;
use uuid::Uuid;

pub use lineage::{CLOSURE_DOWN, CLOSURE_UP, LEVEL_DOWN, LEVEL_UP, PRODUCERS, READERS};

use crate::{ProjectIdentity, rules};
use commit::DatasetIds;
use session::{Purpose, Session, Tx, TxResult};
use target::Target;

/// The record of one project on a server.
struct PostgresStore {
    session: Session,
    /// The project's row.
    project: i64,
    /// Datasets met so far. They are never removed or renamed.
    datasets: DatasetIds,
}

/// Connects to a server, brings its schema up to date and makes the project's row where there is none.
pub(crate) fn connect(url: &str, identity: &ProjectIdentity) -> Result<Box<dyn Store>> {
    let mut session = Session::new(Target::parse(url)?)?;
    migrate::up(&mut session)?;
    let project = session.run(Purpose::Write, "find the project", async |tx| project(tx, identity).await)?;
    Ok(Box::new(PostgresStore { session, project, datasets: DatasetIds::new() }))
}

async fn project(tx: &mut Tx<'_>, identity: &ProjectIdentity) -> TxResult<i64> {
    const FIND: &str = "SELECT id, name FROM project WHERE uuid = $1";
    const PUT: &str = "INSERT INTO project (uuid, name) VALUES ($1, $2) \
         ON CONFLICT (uuid) DO UPDATE SET name = excluded.name RETURNING id, name";
    let name = value::text(&identity.name);
    let query = tx.query(FIND).bind(identity.uuid);
    if let Some(row) = tx.row(query).await?
        && value::get::<&str>(&row, "name")? == name
    {
        return value::get(&row, "id");
    }
    let query = tx.query(PUT).bind(identity.uuid).bind(name.as_ref());
    match tx.row(query).await? {
        Some(row) => value::get(&row, "id"),
        None => Err(value::damaged("a project that cannot be found".to_owned())),
    }
}

impl PostgresStore {
    /// Runs `body` on one snapshot.
    fn read<T>(&mut self, doing: &str, mut body: impl AsyncFnMut(&mut Tx<'_>, i64) -> TxResult<T>) -> Result<T> {
        let project = self.project;
        self.session.run(Purpose::Read, doing, async |tx| body(tx, project).await)
    }

    /// Runs `body` on one snapshot of whole tables.
    fn scan<T>(&mut self, doing: &str, mut body: impl AsyncFnMut(&mut Tx<'_>, i64) -> TxResult<T>) -> Result<T> {
        let project = self.project;
        self.session.run(Purpose::Scan, doing, async |tx| body(tx, project).await)
    }

    /// Runs a `body` that changes nothing the second time.
    fn write<T>(&mut self, doing: &str, mut body: impl AsyncFnMut(&mut Tx<'_>, i64) -> TxResult<T>) -> Result<T> {
        let project = self.project;
        self.session.run(Purpose::Write, doing, async |tx| body(tx, project).await)
    }

    /// Runs a `body` that writes exactly once, whatever is lost on the way.
    fn once<T>(&mut self, doing: &str, mut body: impl AsyncFnMut(&mut Tx<'_>, i64) -> TxResult<T>) -> Result<T> {
        let project = self.project;
        self.session.run_exactly_once(doing, async |tx| body(tx, project).await)
    }
}

/// Names one change of a run, so that its traces are recognised.
fn token() -> Uuid {
    Uuid::now_v7()
}

impl Store for PostgresStore {
    fn create_run(&mut self, run: &NewRun) -> Result<i64> {
        rules::check_run(run)?;
        let (project, token) = (self.project, token());
        self.session
            .run_once(Purpose::Write, "put a run on record", async |tx| runs::create(tx, project, run, token).await)
    }

    fn take_over(&mut self, run: RunId, reopen: bool, now: Timestamp) -> Result<Option<Ownership>> {
        let (project, token) = (self.project, token());
        self.session.run_once(Purpose::Write, "take a run over", async |tx| {
            runs::take_over(tx, project, (run, token), reopen, now).await
        })
    }

    fn commit(&mut self, owner: Ownership, now: Timestamp, changes: &[Change]) -> Result<Vec<Applied>> {
        rules::check_batch(changes)?;
        let (project, token) = (self.project, token());
        let Self { session, datasets, .. } = self;
        let (applied, new) = session.run_once(Purpose::Write, "commit", async |tx| {
            commit::commit(tx, project, (owner, token), now, changes, datasets).await
        })?;
        self.datasets.extend(new);
        Ok(applied)
    }

    fn request_cancel(&mut self, run: RunId, now_hard: bool, now: Timestamp) -> Result<bool> {
        self.once("request the end of a run", async |tx, project| {
            service::request_cancel(tx, project, run, now_hard, now).await
        })
    }

    fn lookup(&mut self, fingerprints: &[Fingerprint]) -> Result<HashMap<Fingerprint, Earlier>> {
        self.read("look results up", async |tx, project| attempts::lookup(tx, project, fingerprints).await)
    }

    fn nearest(
        &mut self,
        pipeline: &str,
        step: &str,
        cell: &str,
        except: Option<RunId>,
    ) -> Result<Option<AttemptRecord>> {
        self.read("look an earlier attempt up", async |tx, project| {
            attempts::nearest(tx, project, (pipeline, step, cell), except).await
        })
    }

    fn flight(&mut self, fingerprint: &Fingerprint) -> Result<Option<Flight>> {
        self.read("look a claim up", async |tx, project| attempts::flight(tx, project, fingerprint).await)
    }

    fn resolve(&mut self, dataset: &str, version: &VersionRef) -> Result<Vec<MaterializationRecord>> {
        self.read("resolve a version", async |tx, project| datasets::resolve(tx, project, dataset, version).await)
    }

    fn run(&mut self, which: &RunRef) -> Result<Option<RunRecord>> {
        self.read("read a run", async |tx, project| runs::find(tx, project, which).await)
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.read("list runs", async |tx, project| runs::list(tx, project, filter).await)
    }

    fn tasks(&mut self, run: RunId) -> Result<Vec<TaskRecord>> {
        self.read("read tasks", async |tx, project| tasks::list(tx, project, run).await)
    }

    fn attempts(&mut self, run: RunId, task: Option<u32>) -> Result<Vec<AttemptRecord>> {
        self.read("read attempts", async |tx, project| attempts::of_run(tx, project, run, task).await)
    }

    fn attempts_by_id(&mut self, ids: &[NodeId]) -> Result<Vec<AttemptRecord>> {
        self.read("read attempts", async |tx, project| attempts::by_id(tx, project, ids).await)
    }

    fn published(&mut self, attempts: &[NodeId]) -> Result<Vec<MaterializationRecord>> {
        self.read("read publications", async |tx, project| datasets::published(tx, project, attempts).await)
    }

    fn metrics(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, Metric)>> {
        self.read("read metrics", async |tx, project| metrics::of_attempts(tx, project, attempts).await)
    }

    fn metadata(&mut self, attempt: NodeId) -> Result<Option<serde_json::Value>> {
        self.read("read metadata", async |tx, project| metrics::metadata(tx, project, attempt).await)
    }

    fn derivation(&mut self, fingerprint: &Fingerprint) -> Result<Option<Vec<u8>>> {
        self.read("read a derivation", async |tx, _| attempts::derivation(tx, fingerprint).await)
    }

    fn definition(&mut self, hash: &ContentHash) -> Result<Option<String>> {
        self.read("read a definition", async |tx, _| runs::definition(tx, hash).await)
    }

    fn datasets(&mut self, prefix: &str) -> Result<Vec<DatasetRecord>> {
        self.read("list datasets", async |tx, project| datasets::list(tx, project, prefix).await)
    }

    fn materializations(&mut self, dataset: &str, limit: u32) -> Result<Vec<MaterializationRecord>> {
        self.read("list publications", async |tx, project| {
            datasets::materializations(tx, project, dataset, limit).await
        })
    }

    fn by_hash(&mut self, prefix: &str, limit: u32) -> Result<Vec<MaterializationRecord>> {
        self.read("look a hash up", async |tx, project| datasets::by_hash(tx, project, prefix, limit).await)
    }

    fn lineage(&mut self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<Lineage> {
        self.read("read lineage", async |tx, project| lineage::lineage(tx, project, from, direction, limit).await)
    }

    fn events(&mut self, run: RunId, after: i64) -> Result<Vec<EventRecord>> {
        self.read("read events", async |tx, project| events::after(tx, project, run, after).await)
    }

    fn objects(&mut self) -> Result<Vec<StoredObject>> {
        self.scan("list objects", async |tx, project| objects::list(tx, project).await)
    }

    fn set_evicted(&mut self, hashes: &[ContentHash], evicted: bool, now: Timestamp) -> Result<()> {
        self.write("note evicted objects", async |tx, project| {
            objects::set_evicted(tx, project, hashes, evicted, now).await
        })
    }

    fn check(&mut self) -> Result<Vec<String>> {
        self.scan("check the record", async |tx, project| check::check(tx, project).await)
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(Self { session: self.session.another()?, project: self.project, datasets: self.datasets.clone() }))
    }

    fn describe(&self) -> String {
        self.session.target().shown().to_owned()
    }
}
