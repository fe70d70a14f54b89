//! Asserted runs, datasets and edges, read back.

use runstone_core::hash::ContentHash;
use runstone_core::lineage::asserted::{
    AssertedDataset, AssertedDatasetId, AssertedEdge, AssertedEvent, AssertedRun, AssertedRunId, Body, EdgesOf,
    EventKind, EventType, Point, Qualified, Side,
};
use runstone_core::record::ContentKind;
use runstone_core::store::KeptObject;
use serde_json::Value;
use sqlx::postgres::{PgBindIterExt, PgRow};

use crate::postgres::session::{Tx, TxResult};
use crate::postgres::value::{get, get_content_hash, get_json, get_state, get_time, get_unsigned, opt_text, text};

/// Given a project (`$1`), a side (`$2`) and how many (`$3`): edges with what comes first. What our own attempts read and
/// wrote is known better, and a version is known better than none.
macro_rules! edges {
    ($from:literal) => {
        concat!(
            "SELECT DISTINCT e.run_id, d.canonical_id, e.version ",
            $from,
            " WHERE r.project_id = $1 AND e.side = $2 \
                AND NOT EXISTS (SELECT FROM attempt a WHERE a.uuid = r.uuid AND a.project_id = r.project_id) \
                AND (e.version IS NOT NULL OR NOT EXISTS ( \
                    SELECT FROM asserted_edge x JOIN asserted_dataset y ON y.id = x.dataset_id \
                    WHERE x.run_id = e.run_id AND x.side = e.side AND x.version IS NOT NULL \
                        AND y.canonical_id = d.canonical_id)) \
              ORDER BY e.run_id, d.canonical_id, e.version NULLS FIRST LIMIT $3"
        )
    };
}

const OF_RUNS: &str = edges!(
    "FROM unnest($4::bigint[]) AS w(id) JOIN asserted_run r ON r.id = w.id JOIN asserted_edge e ON e.run_id = r.id \
         JOIN asserted_dataset d ON d.id = e.dataset_id"
);
const AT_POINTS: &str = edges!(
    "FROM unnest($4::bigint[], $5::text[]) AS w(id, version) JOIN asserted_dataset d ON d.canonical_id = w.id \
         JOIN asserted_edge e ON e.dataset_id = d.id AND e.side = $2 AND coalesce(e.version, '') = coalesce(w.version, '') \
         JOIN asserted_run r ON r.id = e.run_id"
);
const OF_CONTENTS: &str = edges!(
    "FROM unnest($4::bytea[]) AS w(hash) JOIN asserted_edge e ON e.hash = w.hash AND e.side = $2 \
         JOIN asserted_run r ON r.id = e.run_id JOIN asserted_dataset d ON d.id = e.dataset_id"
);

pub(super) async fn edges(
    tx: &mut Tx<'_>,
    project: i64,
    of: EdgesOf<'_>,
    side: Side,
    most: u32,
) -> TxResult<Vec<AssertedEdge>> {
    let sql = match of {
        EdgesOf::Runs(_) => OF_RUNS,
        EdgesOf::Points(_) => AT_POINTS,
        EdgesOf::Contents(_) => OF_CONTENTS,
    };
    let query = tx.query(sql).bind(project).bind(side.as_str()).bind(i64::from(most));
    let query = match of {
        EdgesOf::Runs(ids) => query.bind(ids.iter().map(|id| id.0).bind_iter()),
        EdgesOf::Points(points) => query
            .bind(points.iter().map(|point| point.dataset.0).bind_iter())
            .bind(points.iter().map(|point| opt_text(point.version.as_deref())).bind_iter()),
        EdgesOf::Contents(hashes) => query.bind(hashes.iter().map(content).bind_iter()),
    };
    let edge = |row: &PgRow| {
        let point = Point { dataset: AssertedDatasetId(get(row, "canonical_id")?), version: get(row, "version")? };
        Ok(AssertedEdge { run: AssertedRunId(get(row, "run_id")?), side, point })
    };
    tx.rows(query).await?.iter().map(edge).collect()
}

fn content(hash: &ContentHash) -> &[u8] {
    hash.as_bytes().as_slice()
}

pub(super) async fn runs(tx: &mut Tx<'_>, project: i64, ids: &[AssertedRunId]) -> TxResult<Vec<AssertedRun>> {
    const SELECT: &str = "SELECT r.id, r.uuid, r.given, r.kind, newest.job_namespace, newest.job_name, \
             coalesce(ended.type, newest.type) AS type, oldest.time AS first, newest.time AS last \
         FROM asserted_run r \
         CROSS JOIN LATERAL (SELECT e.job_namespace, e.job_name, e.type, e.time FROM asserted_event e \
             WHERE e.run_id = r.id ORDER BY e.time DESC, e.dedup DESC LIMIT 1) newest \
         CROSS JOIN LATERAL (SELECT e.time FROM asserted_event e WHERE e.run_id = r.id ORDER BY e.time LIMIT 1) oldest \
         LEFT JOIN LATERAL (SELECT e.type FROM asserted_event e \
             WHERE e.run_id = r.id AND e.type IN ('COMPLETE', 'ABORT', 'FAIL') \
             ORDER BY e.time DESC, e.dedup DESC LIMIT 1) ended ON true \
         WHERE r.id = ANY($2) AND r.project_id = $1 ORDER BY r.id";
    let query = tx.query(SELECT).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    let run = |row: &PgRow| {
        Ok(AssertedRun {
            id: AssertedRunId(get(row, "id")?),
            uuid: get(row, "uuid")?,
            given: get(row, "given")?,
            kind: get_state(row, "kind", EventKind::parse)?,
            job: Qualified { namespace: get(row, "job_namespace")?, name: get(row, "job_name")? },
            state: event_type(row)?,
            first: get_time(row, "first")?,
            last: get_time(row, "last")?,
        })
    };
    tx.rows(query).await?.iter().map(run).collect()
}

fn event_type(row: &PgRow) -> TxResult<Option<EventType>> {
    let given: Option<&str> = get(row, "type")?;
    given.map(|_| get_state(row, "type", EventType::parse)).transpose()
}

pub(super) async fn datasets(
    tx: &mut Tx<'_>,
    project: i64,
    ids: &[AssertedDatasetId],
) -> TxResult<Vec<AssertedDataset>> {
    const SELECT: &str = "SELECT canonical_id, namespace, name, id = canonical_id AS own FROM asserted_dataset \
         WHERE canonical_id = ANY($2) AND project_id = $1 ORDER BY canonical_id, id <> canonical_id, namespace, name";
    let query = tx.query(SELECT).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    let mut found: Vec<AssertedDataset> = Vec::with_capacity(ids.len());
    for row in tx.rows(query).await? {
        let id = AssertedDatasetId(get(&row, "canonical_id")?);
        let name = Qualified { namespace: get(&row, "namespace")?, name: get(&row, "name")? };
        // The name that the others lead to comes first.
        match found.last_mut().filter(|last| last.id == id) {
            Some(last) => last.symlinks.push(name),
            None if get(&row, "own")? => found.push(AssertedDataset { id, name, symlinks: Vec::new() }),
            None => {}
        }
    }
    Ok(found)
}

pub(super) async fn dataset(tx: &mut Tx<'_>, project: i64, name: &Qualified) -> TxResult<Option<AssertedDatasetId>> {
    const SELECT: &str =
        "SELECT canonical_id FROM asserted_dataset WHERE project_id = $1 AND namespace = $2 AND name = $3";
    let query = tx.query(SELECT).bind(project).bind(text(&name.namespace)).bind(text(&name.name));
    tx.row(query).await?.map(|row| Ok(AssertedDatasetId(get(&row, "canonical_id")?))).transpose()
}

/// Of a dataset with several names what was said last under any of them.
pub(super) async fn columns(
    tx: &mut Tx<'_>,
    project: i64,
    runs: &[AssertedRunId],
) -> TxResult<Vec<(AssertedRunId, AssertedDatasetId, Value)>> {
    const SELECT: &str = "SELECT DISTINCT ON (r.id, d.canonical_id) r.id, d.canonical_id, c.body::text AS body \
         FROM asserted_run r JOIN asserted_columns c ON c.run_id = r.id JOIN asserted_dataset d ON d.id = c.dataset_id \
         WHERE r.id = ANY($2) AND r.project_id = $1 \
         ORDER BY r.id, d.canonical_id, c.time DESC, c.dedup DESC, d.namespace, d.name";
    let query = tx.query(SELECT).bind(project).bind(runs.iter().map(|id| id.0).bind_iter());
    let mut found = Vec::new();
    for row in tx.rows(query).await? {
        let body = get_json(&row, "body")?;
        if body != Value::Null {
            found.push((AssertedRunId(get(&row, "id")?), AssertedDatasetId(get(&row, "canonical_id")?), body));
        }
    }
    Ok(found)
}

pub(super) async fn events(tx: &mut Tx<'_>, project: i64, after: i64, limit: u32) -> TxResult<Vec<AssertedEvent>> {
    const SELECT: &str = "SELECT id, received, kind, type, time, run_id, body, object, size FROM asserted_event \
         WHERE project_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    let query = tx.query(SELECT).bind(project).bind(after).bind(i64::from(limit));
    let event = |row: &PgRow| {
        let body = match get::<Option<String>>(row, "body")? {
            Some(text) => Body::Text(text),
            None => Body::Object(KeptObject {
                hash: get_content_hash(row, "object")?,
                kind: ContentKind::File,
                size: get_unsigned(row, "size")?,
            }),
        };
        Ok(AssertedEvent {
            id: get(row, "id")?,
            received: get_time(row, "received")?,
            kind: get_state(row, "kind", EventKind::parse)?,
            event_type: event_type(row)?,
            time: get_time(row, "time")?,
            run: get::<Option<i64>>(row, "run_id")?.map(AssertedRunId),
            body,
        })
    };
    tx.rows(query).await?.iter().map(event).collect()
}
