//! Asserted runs, datasets and edges, read back.

use runstone_core::lineage::asserted::{
    AssertedDataset, AssertedDatasetId, AssertedEdge, AssertedEvent, AssertedRun, AssertedRunId, Body, EdgesOf,
    EventKind, EventType, Point, Qualified, Side,
};
use runstone_core::record::ContentKind;
use runstone_core::store::KeptObject;
use runstone_core::time::Timestamp;
use rusqlite::{CachedStatement, OptionalExtension, Params, Row, Transaction, params};
use serde_json::Value;

use crate::sqlite::{Outcome, decode};

/// Given a project (`?1`), a side (`?2`) and how many (`?3`): edges with what comes first. What our own attempts read and
/// wrote is known better, and a version is known better than none.
macro_rules! edges {
    ($from:literal) => {
        concat!(
            "SELECT DISTINCT e.run_id, d.canonical_id, e.version ",
            $from,
            " AND r.project_id = ?1 AND e.side = ?2 \
               AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.uuid = r.uuid AND a.project_id = r.project_id) \
               AND (e.version IS NOT NULL OR NOT EXISTS ( \
                   SELECT 1 FROM asserted_edge x CROSS JOIN asserted_dataset y ON y.id = x.dataset_id \
                   WHERE x.run_id = e.run_id AND x.side = e.side AND x.version IS NOT NULL \
                     AND y.canonical_id = d.canonical_id)) \
             ORDER BY e.run_id, d.canonical_id, e.version LIMIT ?3"
        )
    };
}

/// Given a run (`?4`).
const OF_RUN: &str = edges!(
    "FROM asserted_run r CROSS JOIN asserted_edge e ON e.run_id = r.id CROSS JOIN asserted_dataset d ON d.id = e.dataset_id \
     WHERE r.id = ?4"
);
/// Given a dataset (`?4`) and a version (`?5`).
const AT_POINT: &str = edges!(
    "FROM asserted_dataset d CROSS JOIN asserted_edge e ON e.dataset_id = d.id CROSS JOIN asserted_run r ON r.id = e.run_id \
     WHERE d.canonical_id = ?4 AND e.version IS ?5"
);
/// Given a content hash (`?4`).
const OF_CONTENT: &str = edges!(
    "FROM asserted_edge e CROSS JOIN asserted_run r ON r.id = e.run_id CROSS JOIN asserted_dataset d ON d.id = e.dataset_id \
     WHERE e.hash = ?4"
);

pub(super) fn edges(
    tx: &Transaction<'_>,
    project: i64,
    of: EdgesOf<'_>,
    side: Side,
    most: u32,
) -> Outcome<Vec<AssertedEdge>> {
    let mut found = Found { side, most: usize::try_from(most).unwrap_or(usize::MAX), edges: Vec::new() };
    let side = side.as_str();
    match of {
        EdgesOf::Runs(ids) => {
            let mut statement = tx.prepare_cached(OF_RUN)?;
            for id in ids {
                found.add(&mut statement, params![project, side, most, id.0])?;
            }
        }
        EdgesOf::Points(points) => {
            let mut statement = tx.prepare_cached(AT_POINT)?;
            for point in points {
                found.add(&mut statement, params![project, side, most, point.dataset.0, point.version])?;
            }
        }
        EdgesOf::Contents(hashes) => {
            let mut statement = tx.prepare_cached(OF_CONTENT)?;
            for hash in hashes {
                found.add(&mut statement, params![project, side, most, hash.as_bytes()])?;
            }
        }
    }
    let mut edges = found.edges;
    edges.sort_by(|a, b| (a.run, &a.point).cmp(&(b.run, &b.point)));
    edges.dedup();
    Ok(edges)
}

struct Found {
    side: Side,
    most: usize,
    edges: Vec<AssertedEdge>,
}

impl Found {
    fn add(&mut self, statement: &mut CachedStatement<'_>, params: impl Params) -> Outcome<()> {
        if self.edges.len() >= self.most {
            return Ok(());
        }
        let side = self.side;
        let rows = statement.query_map(params, |row| {
            let point = Point { dataset: AssertedDatasetId(row.get(1)?), version: row.get(2)? };
            Ok(AssertedEdge { run: AssertedRunId(row.get(0)?), side, point })
        })?;
        for row in rows.take(self.most - self.edges.len()) {
            self.edges.push(row?);
        }
        Ok(())
    }
}

/// Given a run and a project: what is known of it itself.
const RUN: &str = "SELECT uuid, given, kind FROM asserted_run WHERE id = ?1 AND project_id = ?2";
/// Given a run: how far its events reach.
const SPAN: &str = "SELECT (SELECT time FROM asserted_event WHERE run_id = ?1 ORDER BY time LIMIT 1), \
     (SELECT time FROM asserted_event WHERE run_id = ?1 ORDER BY time DESC LIMIT 1)";
/// Given a run: its newest event.
const NEWEST: &str = "SELECT job_namespace, job_name, type FROM asserted_event WHERE run_id = ?1 \
     ORDER BY time DESC, dedup DESC LIMIT 1";
/// Given a run: the newest end that was reported.
const END: &str = "SELECT type FROM asserted_event WHERE run_id = ?1 AND type IN ('COMPLETE', 'ABORT', 'FAIL') \
     ORDER BY time DESC, dedup DESC LIMIT 1";

pub(super) fn runs(tx: &Transaction<'_>, project: i64, ids: &[AssertedRunId]) -> Outcome<Vec<AssertedRun>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in sorted(ids) {
        let itself = tx
            .prepare_cached(RUN)?
            .query_row(params![id.0, project], |row| {
                Ok((decode::uuid(row, 0)?, row.get(1)?, decode::spelled(row, 2, EventKind::parse)?))
            })
            .optional()?;
        let Some((uuid, given, kind)) = itself else { continue };
        let (first, last) = tx.prepare_cached(SPAN)?.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (job, newest) = tx.prepare_cached(NEWEST)?.query_row([id.0], |row| {
            Ok((Qualified { namespace: row.get(0)?, name: row.get(1)? }, event_type(row, 2)?))
        })?;
        let end = tx.prepare_cached(END)?.query_row([id.0], |row| event_type(row, 0)).optional()?.flatten();
        let state = end.or(newest);
        let (first, last) = (Timestamp(first), Timestamp(last));
        found.push(AssertedRun { id, uuid, given, kind, job, state, first, last });
    }
    Ok(found)
}

fn event_type(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<EventType>> {
    let given: Option<String> = row.get(at)?;
    given.map(|_| decode::spelled(row, at, EventType::parse)).transpose()
}

fn sorted<T: Copy + Ord>(ids: &[T]) -> Vec<T> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

pub(super) fn datasets(tx: &Transaction<'_>, project: i64, ids: &[AssertedDatasetId]) -> Outcome<Vec<AssertedDataset>> {
    let mut statement = tx.prepare_cached(
        "SELECT namespace, name, id = canonical_id FROM asserted_dataset WHERE canonical_id = ?1 AND project_id = ?2
         ORDER BY namespace, name",
    )?;
    let mut found = Vec::with_capacity(ids.len());
    for id in sorted(ids) {
        let rows = statement.query_map(params![id.0, project], |row| {
            Ok((Qualified { namespace: row.get(0)?, name: row.get(1)? }, row.get::<_, bool>(2)?))
        })?;
        let (mut own, mut symlinks) = (None, Vec::new());
        for row in rows {
            match row? {
                (name, true) => own = Some(name),
                (name, false) => symlinks.push(name),
            }
        }
        found.extend(own.map(|name| AssertedDataset { id, name, symlinks }));
    }
    Ok(found)
}

/// The row of a name itself.
pub(super) fn row_of(tx: &Transaction<'_>, project: i64, name: &Qualified) -> Outcome<Option<i64>> {
    let sql = "SELECT id FROM asserted_dataset WHERE project_id = ?1 AND namespace = ?2 AND name = ?3";
    let mut statement = tx.prepare_cached(sql)?;
    Ok(statement.query_row(params![project, name.namespace, name.name], |row| row.get(0)).optional()?)
}

pub(super) fn dataset(tx: &Transaction<'_>, project: i64, name: &Qualified) -> Outcome<Option<AssertedDatasetId>> {
    let sql = "SELECT canonical_id FROM asserted_dataset WHERE project_id = ?1 AND namespace = ?2 AND name = ?3";
    let mut statement = tx.prepare_cached(sql)?;
    let found = statement.query_row(params![project, name.namespace, name.name], |row| row.get(0)).optional()?;
    Ok(found.map(AssertedDatasetId))
}

/// Of a dataset with several names what was said last under any of them.
pub(super) fn columns(
    tx: &Transaction<'_>,
    project: i64,
    runs: &[AssertedRunId],
) -> Outcome<Vec<(AssertedRunId, AssertedDatasetId, Value)>> {
    let mut statement = tx.prepare_cached(
        "SELECT d.canonical_id, c.body FROM asserted_run r CROSS JOIN asserted_columns c ON c.run_id = r.id
         CROSS JOIN asserted_dataset d ON d.id = c.dataset_id WHERE r.id = ?1 AND r.project_id = ?2
         ORDER BY d.canonical_id, c.time DESC, c.dedup DESC, d.namespace, d.name",
    )?;
    let mut found = Vec::new();
    for run in sorted(runs) {
        let rows = statement.query_map(params![run.0, project], |row| Ok((row.get(0)?, decode::json(row, 1)?)))?;
        let mut last = None;
        for row in rows {
            let (dataset, body) = row?;
            if last.replace(dataset) != Some(dataset) && body != Value::Null {
                found.push((run, AssertedDatasetId(dataset), body));
            }
        }
    }
    Ok(found)
}

pub(super) fn events(tx: &Transaction<'_>, project: i64, after: i64, limit: u32) -> Outcome<Vec<AssertedEvent>> {
    let mut statement = tx.prepare_cached(
        "SELECT id, received, kind, type, time, run_id, body, object, size FROM asserted_event
         WHERE project_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![project, after, limit], |row| {
        let body = match row.get::<_, Option<String>>(6)? {
            Some(text) => Body::Text(text),
            None => Body::Object(KeptObject {
                hash: decode::content_hash(row, 7)?,
                kind: ContentKind::File,
                size: decode::unsigned(row, 8)?,
            }),
        };
        Ok(AssertedEvent {
            id: row.get(0)?,
            received: Timestamp(row.get(1)?),
            kind: decode::spelled(row, 2, EventKind::parse)?,
            event_type: event_type(row, 3)?,
            time: Timestamp(row.get(4)?),
            run: row.get::<_, Option<i64>>(5)?.map(AssertedRunId),
            body,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_of_a_walk_reads_a_whole_table() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for sql in [
            include_str!("../../../../../migrations/sqlite/0001_record.sql"),
            include_str!("../../../../../migrations/sqlite/0004_asserted.sql"),
        ] {
            connection.execute_batch(sql).unwrap();
        }
        for sql in [OF_RUN, AT_POINT, OF_CONTENT, RUN, SPAN, NEWEST, END] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().unwrap() {
                let step: String = row.get(3).unwrap();
                assert!(!step.starts_with("SCAN") || step == "SCAN CONSTANT ROW", "{sql}: {step}");
            }
        }
    }
}
