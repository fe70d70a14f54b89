//! Lineage that others assert, as SQLite keeps it: what events say is put on record here, read back in `read`.

mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runstone_core::hash::ContentHash;
use runstone_core::lineage::asserted::{
    AssertedDataset, AssertedDatasetId, AssertedEdge, AssertedEvent, AssertedRun, AssertedRunId, AssertedStore, Body,
    Claim, EdgesOf, EventType, NewAssertedEvent, NewSymlinks, Qualified, Side, canonical,
};
use runstone_core::store::Result;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;
use uuid::Uuid;

use super::{Outcome, SqliteStore, objects};
use crate::rules;

impl AssertedStore for SqliteStore {
    fn assert_events(&mut self, store_marker: Uuid, events: &[NewAssertedEvent], now: Timestamp) -> Result<Vec<bool>> {
        self.write("put asserted events on record", |tx, project| {
            let mut recorder = Recorder { tx, project, datasets: HashMap::new(), renamed: BTreeSet::new() };
            let new = events.iter().map(|event| recorder.record(store_marker, event, now)).collect::<Outcome<_>>()?;
            settle_names(tx, recorder.renamed)?;
            Ok(new)
        })
    }

    fn asserted_edges(&mut self, of: EdgesOf<'_>, side: Side, most: u32) -> Result<Vec<AssertedEdge>> {
        self.read("read asserted edges", |tx, project| read::edges(tx, project, of, side, most))
    }

    fn asserted_runs(&mut self, ids: &[AssertedRunId]) -> Result<Vec<AssertedRun>> {
        self.read("read asserted runs", |tx, project| read::runs(tx, project, ids))
    }

    fn asserted_datasets(&mut self, ids: &[AssertedDatasetId]) -> Result<Vec<AssertedDataset>> {
        self.read("read asserted datasets", |tx, project| read::datasets(tx, project, ids))
    }

    fn asserted_dataset(&mut self, name: &Qualified) -> Result<Option<AssertedDatasetId>> {
        self.read("look an asserted dataset up", |tx, project| read::dataset(tx, project, name))
    }

    fn asserted_columns(&mut self, runs: &[AssertedRunId]) -> Result<Vec<(AssertedRunId, AssertedDatasetId, Value)>> {
        self.read("read asserted columns", |tx, project| read::columns(tx, project, runs))
    }

    fn asserted_events(&mut self, after: i64, limit: u32) -> Result<Vec<AssertedEvent>> {
        self.read("read asserted events", |tx, project| read::events(tx, project, after, limit))
    }
}

/// Puts events on record, one after the other.
struct Recorder<'tx> {
    tx: &'tx Transaction<'tx>,
    project: i64,
    /// Names met so far.
    datasets: HashMap<Qualified, i64>,
    /// Datasets of whose names something was said.
    renamed: BTreeSet<i64>,
}

impl Recorder<'_> {
    /// False where it is on record already: then so is all it says.
    fn record(&mut self, marker: Uuid, event: &NewAssertedEvent, now: Timestamp) -> Outcome<bool> {
        let known = self
            .tx
            .prepare_cached("SELECT 1 FROM asserted_event WHERE project_id = ?1 AND dedup = ?2")?
            .exists(params![self.project, event.dedup])?;
        if known {
            return Ok(false);
        }
        let run = self.run(event)?;
        self.event(marker, event, run, now)?;
        if let Some(run) = run {
            self.edges(event, run)?;
        }
        for name in &event.datasets {
            self.dataset(name)?;
        }
        for symlinks in &event.symlinks {
            self.symlinks(event, symlinks)?;
        }
        Ok(true)
    }

    fn run(&self, event: &NewAssertedEvent) -> Outcome<Option<i64>> {
        let Some(run) = &event.run else { return Ok(None) };
        let insert =
            "INSERT INTO asserted_run (project_id, uuid, given, kind) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.tx.prepare_cached(insert)?.execute(params![
            self.project,
            run.uuid.as_bytes(),
            run.given,
            event.kind.as_str()
        ])?;
        let mut find = self.tx.prepare_cached("SELECT id FROM asserted_run WHERE project_id = ?1 AND uuid = ?2")?;
        Ok(Some(find.query_row(params![self.project, run.uuid.as_bytes()], |row| row.get(0))?))
    }

    fn event(&self, marker: Uuid, event: &NewAssertedEvent, run: Option<i64>, now: Timestamp) -> Outcome<()> {
        let (body, object, size) = match &event.body {
            Body::Text(text) => (Some(text), None, text.len() as u64),
            Body::Object(object) => {
                self.tx
                    .prepare_cached(
                        "INSERT INTO content_store (project_id, marker) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![self.project, marker.as_bytes()])?;
                objects::keep(self.tx, marker, object, now)?;
                (None, Some(object.hash.as_bytes()), object.size)
            }
        };
        self.tx
            .prepare_cached(
                "INSERT INTO asserted_event (project_id, dedup, received, kind, type, time, run_id, job_namespace, job_name,
                     size, body, object) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                self.project,
                event.dedup,
                now.0,
                event.kind.as_str(),
                event.event_type.map(EventType::as_str),
                event.time.0,
                run,
                event.job.as_ref().map(|job| &job.namespace),
                event.job.as_ref().map(|job| &job.name),
                rules::stored("size", size)?,
                body,
                object,
            ])?;
        Ok(())
    }

    fn edges(&mut self, event: &NewAssertedEvent, run: i64) -> Outcome<()> {
        for edge in &event.edges {
            let dataset = self.dataset(&edge.dataset)?;
            let content = edge.content();
            self.tx
                .prepare_cached(
                    "INSERT INTO asserted_edge (run_id, side, dataset_id, version, hash) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    run,
                    edge.side.as_str(),
                    dataset,
                    edge.version,
                    content.as_ref().map(ContentHash::as_bytes)
                ])?;
            let Some(columns) = &edge.columns else { continue };
            self.tx
                .prepare_cached(
                    "INSERT INTO asserted_columns (run_id, dataset_id, time, dedup, body) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![run, dataset, event.time.0, event.dedup, columns.to_string()])?;
        }
        Ok(())
    }

    fn symlinks(&mut self, event: &NewAssertedEvent, symlinks: &NewSymlinks) -> Outcome<()> {
        let dataset = self.dataset(&symlinks.dataset)?;
        let mut names = BTreeSet::from([dataset]);
        for name in &symlinks.names {
            names.insert(self.dataset(name)?);
        }
        let mut insert = self.tx.prepare_cached(
            "INSERT INTO asserted_symlink (dataset_id, time, dedup, alias_id) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?;
        for name in &names {
            insert.execute(params![dataset, event.time.0, event.dedup, name])?;
        }
        self.renamed.extend(names);
        Ok(())
    }

    /// The row of a name, made where there is none. It leads to itself then.
    fn dataset(&mut self, name: &Qualified) -> Outcome<i64> {
        if let Some(id) = self.datasets.get(name) {
            return Ok(*id);
        }
        let found = read::row_of(self.tx, self.project, name)?;
        let id = match found {
            Some(id) => id,
            None => self
                .tx
                .prepare_cached(
                    "INSERT INTO asserted_dataset (id, project_id, namespace, name, canonical_id)
                     SELECT n, ?1, ?2, ?3, n FROM (SELECT coalesce(max(id), 0) + 1 AS n FROM asserted_dataset) RETURNING id",
                )?
                .query_row(params![self.project, name.namespace, name.name], |row| row.get(0))?,
        };
        self.datasets.insert(name.clone(), id);
        Ok(id)
    }
}

/// Works out anew where names lead: these, and all that claims connect with them.
fn settle_names(tx: &Transaction<'_>, renamed: BTreeSet<i64>) -> Outcome<()> {
    let mut todo: Vec<i64> = renamed.into_iter().collect();
    let (mut called, mut claims) = (BTreeMap::new(), Vec::new());
    // Whatever was claimed at any time: what is not any more has to lead elsewhere.
    let mut connected = tx.prepare_cached(
        "SELECT dataset_id FROM asserted_symlink WHERE alias_id = ?1
         UNION SELECT alias_id FROM asserted_symlink WHERE dataset_id = ?1",
    )?;
    while let Some(id) = todo.pop() {
        if called.contains_key(&id) {
            continue;
        }
        let name = tx
            .prepare_cached("SELECT namespace, name FROM asserted_dataset WHERE id = ?1")?
            .query_row([id], |row| Ok(Qualified { namespace: row.get(0)?, name: row.get(1)? }))?;
        called.insert(id, name);
        claims.extend(newest_claim(tx, id)?);
        let rows = connected.query_map([id], |row| row.get::<_, i64>(0))?;
        todo.extend(rows.collect::<rusqlite::Result<Vec<i64>>>()?);
    }
    let mut lead =
        tx.prepare_cached("UPDATE asserted_dataset SET canonical_id = ?2 WHERE id = ?1 AND canonical_id <> ?2")?;
    for (name, end) in canonical(&claims, &called) {
        lead.execute(params![name, end])?;
    }
    Ok(())
}

fn newest_claim(tx: &Transaction<'_>, dataset: i64) -> Outcome<Option<Claim>> {
    let newest = tx
        .prepare_cached(
            "SELECT time, dedup FROM asserted_symlink WHERE dataset_id = ?1 ORDER BY time DESC, dedup DESC LIMIT 1",
        )?
        .query_row([dataset], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((time, dedup)): Option<(i64, [u8; 32])> = newest else { return Ok(None) };
    let mut names =
        tx.prepare_cached("SELECT alias_id FROM asserted_symlink WHERE dataset_id = ?1 AND time = ?2 AND dedup = ?3")?;
    let names = names.query_map(params![dataset, time, dedup], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Claim { dataset, time: Timestamp(time), dedup, names }))
}
