//! Datasets, their versions and publications, and what a version given by people names.

use std::collections::BTreeMap;

use runstone_core::lineage::tag::TagName;
use runstone_core::record::{ContentKind, DatasetRecord, MaterializationRecord, NodeId};
use runstone_core::store::{RunRef, StoreError, VersionRef};
use runstone_core::time::Timestamp;
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;

use super::runs;
use super::session::{Tx, TxError};
use super::value::{Time, damaged, get, get_content_hash, get_state, get_time, get_unsigned};
use crate::prefix;
use crate::rules::is_of_partition;

/// How many versions an ambiguous prefix names at most in its error.
const CANDIDATES: i64 = 8;

/// Publications, found from the first table named on.
macro_rules! select {
    (dataset $rest:literal) => {
        select!(@ "dataset d JOIN version v ON v.dataset_id = d.id JOIN materialization m ON m.version_id = v.id \
             JOIN attempt a ON a.id = m.attempt_id ", $rest)
    };
    (head $rest:literal) => {
        select!(@ "dataset d JOIN head h ON h.dataset_id = d.id JOIN materialization m ON m.id = h.mat_id \
             JOIN version v ON v.id = m.version_id JOIN attempt a ON a.id = m.attempt_id ", $rest)
    };
    (version $rest:literal) => {
        select!(@ "version v JOIN dataset d ON d.id = v.dataset_id JOIN materialization m ON m.version_id = v.id \
             JOIN attempt a ON a.id = m.attempt_id ", $rest)
    };
    (materialization $rest:literal) => {
        select!(@ "materialization m JOIN version v ON v.id = m.version_id JOIN dataset d ON d.id = v.dataset_id \
             JOIN attempt a ON a.id = m.attempt_id ", $rest)
    };
    (task $rest:literal) => {
        select!(@ "task t JOIN materialization m ON m.attempt_id = t.attempt_id JOIN version v ON v.id = m.version_id \
             JOIN dataset d ON d.id = v.dataset_id JOIN attempt a ON a.id = m.attempt_id ", $rest)
    };
    (@ $from:literal, $rest:literal) => {
        concat!(
            "SELECT m.id, m.attempt_id, m.output, d.name, v.number, m.subset, v.hash, v.kind, v.size, v.files, v.rows, \
                 m.file_name, m.created, a.tainted IS NOT NULL AS tainted FROM ",
            $from,
            $rest
        )
    };
}

fn record(row: &PgRow) -> Result<MaterializationRecord, TxError> {
    let rows: Option<i64> = get(row, "rows")?;
    Ok(MaterializationRecord {
        id: NodeId(get(row, "id")?),
        attempt: NodeId(get(row, "attempt_id")?),
        output: get(row, "output")?,
        dataset: get(row, "name")?,
        version: get(row, "number")?,
        subset: get(row, "subset")?,
        hash: get_content_hash(row, "hash")?,
        kind: get_state(row, "kind", ContentKind::parse)?,
        size: get_unsigned(row, "size")?,
        files: get_unsigned(row, "files")?,
        rows: rows
            .map(|rows| u64::try_from(rows).map_err(|_| damaged(format!("a version of {rows} rows"))))
            .transpose()?,
        file_name: get(row, "file_name")?,
        created: get_time(row, "created")?,
        tainted: get(row, "tainted")?,
    })
}

async fn records(
    tx: &mut Tx<'_>,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<MaterializationRecord>, TxError> {
    tx.rows(query).await?.iter().map(record).collect()
}

/// What attempts published, in the order of ids.
pub(super) async fn published(
    tx: &mut Tx<'_>,
    project: i64,
    attempts: &[NodeId],
) -> Result<Vec<MaterializationRecord>, TxError> {
    let query = tx
        .query(select!(materialization "WHERE a.project_id = $1 AND m.attempt_id = ANY($2) ORDER BY m.id"))
        .bind(project)
        .bind(attempts.iter().map(|id| id.0).bind_iter());
    records(tx, query).await
}

/// Publications by node, in the order of ids.
pub(super) async fn by_id(
    tx: &mut Tx<'_>,
    project: i64,
    ids: &[NodeId],
) -> Result<Vec<MaterializationRecord>, TxError> {
    let query = tx
        .query(select!(materialization "WHERE a.project_id = $1 AND m.id = ANY($2) ORDER BY m.id"))
        .bind(project)
        .bind(ids.iter().map(|id| id.0).bind_iter());
    records(tx, query).await
}

/// Datasets whose names start so.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, prefix: &str) -> Result<Vec<DatasetRecord>, TxError> {
    const DATASETS: &str = "SELECT d.name, d.versions FROM dataset d \
         WHERE d.project_id = $1 AND starts_with(d.name, $2) ORDER BY d.name";
    const HEADS: &str = select!(
        head "WHERE d.project_id = $1 AND starts_with(d.name, $2) ORDER BY h.subset"
    );
    let query = tx.query(DATASETS).bind(project).bind(prefix);
    let mut found = BTreeMap::new();
    for row in tx.rows(query).await? {
        let name: String = get(&row, "name")?;
        let dataset = DatasetRecord { name: name.clone(), versions: get(&row, "versions")?, latest: Vec::new() };
        found.insert(name, dataset);
    }
    let query = tx.query(HEADS).bind(project).bind(prefix);
    for latest in records(tx, query).await? {
        if let Some(dataset) = found.get_mut(&latest.dataset) {
            dataset.latest.push(latest);
        }
    }
    Ok(found.into_values().collect())
}

/// Every publication of a dataset, newest first.
pub(super) async fn materializations(
    tx: &mut Tx<'_>,
    project: i64,
    dataset: &str,
    limit: u32,
) -> Result<Vec<MaterializationRecord>, TxError> {
    let query = tx
        .query(select!(dataset "WHERE d.project_id = $1 AND d.name = $2 ORDER BY m.id DESC LIMIT $3"))
        .bind(project)
        .bind(dataset)
        .bind(i64::from(limit));
    records(tx, query).await
}

/// Publications of content whose hash starts so, newest first.
pub(super) async fn by_hash(
    tx: &mut Tx<'_>,
    project: i64,
    prefix: &str,
    limit: u32,
) -> Result<Vec<MaterializationRecord>, TxError> {
    let Some((low, high)) = prefix::hash_range(prefix) else { return Ok(Vec::new()) };
    let query = tx
        .query(select!(version "WHERE d.project_id = $1 AND v.hash BETWEEN $2 AND $3 ORDER BY m.id DESC LIMIT $4"))
        .bind(project)
        .bind(low.as_slice())
        .bind(high.as_slice())
        .bind(i64::from(limit));
    records(tx, query).await
}

/// The publications a version names, one per subset.
pub(super) async fn resolve(
    tx: &mut Tx<'_>,
    project: i64,
    dataset: &str,
    version: &VersionRef,
) -> Result<Vec<MaterializationRecord>, TxError> {
    match version {
        VersionRef::Latest => heads(tx, project, dataset).await,
        VersionRef::Number(number) => of_version(tx, project, dataset, *number).await,
        VersionRef::HashPrefix(given) => match number_of(tx, project, dataset, given).await? {
            Some(number) => of_version(tx, project, dataset, number).await,
            None => Ok(Vec::new()),
        },
        VersionRef::Run(run) => of_run(tx, project, dataset, run).await,
        VersionRef::Tag(tag) => of_tag(tx, project, dataset, tag).await,
        VersionRef::AsOf(time) => as_of(tx, project, dataset, *time).await,
        VersionRef::Partition(key) => {
            let mut found = heads(tx, project, dataset).await?;
            found.retain(|head| is_of_partition(&head.subset, key));
            Ok(found)
        }
    }
}

async fn heads(tx: &mut Tx<'_>, project: i64, dataset: &str) -> Result<Vec<MaterializationRecord>, TxError> {
    let query =
        tx.query(select!(head "WHERE d.project_id = $1 AND d.name = $2 ORDER BY h.subset")).bind(project).bind(dataset);
    records(tx, query).await
}

/// The number of the version whose hash starts so.
async fn number_of(tx: &mut Tx<'_>, project: i64, dataset: &str, given: &str) -> Result<Option<i64>, TxError> {
    const SELECT: &str = "SELECT v.number, v.hash FROM dataset d JOIN version v ON v.dataset_id = d.id \
         WHERE d.project_id = $1 AND d.name = $2 AND v.hash BETWEEN $3 AND $4 ORDER BY v.hash LIMIT $5";
    let Some((low, high)) = prefix::hash_range(given) else { return Ok(None) };
    let query =
        tx.query(SELECT).bind(project).bind(dataset).bind(low.as_slice()).bind(high.as_slice()).bind(CANDIDATES);
    let mut found = Vec::new();
    for row in tx.rows(query).await? {
        found.push((get::<i64>(&row, "number")?, get_content_hash(&row, "hash")?));
    }
    if found.len() > 1 {
        let candidates = found.iter().map(|(number, hash)| format!("v{number} ({hash})")).collect();
        return Err(StoreError::Ambiguous { what: "version", given: given.to_owned(), candidates }.into());
    }
    Ok(found.first().map(|(number, _)| *number))
}

async fn of_version(
    tx: &mut Tx<'_>,
    project: i64,
    dataset: &str,
    number: i64,
) -> Result<Vec<MaterializationRecord>, TxError> {
    let query = tx
        .query(select!(
            dataset "WHERE d.project_id = $1 AND d.name = $2 AND v.number = $3 ORDER BY a.tainted IS NOT NULL, m.id DESC"
        ))
        .bind(project)
        .bind(dataset)
        .bind(number);
    Ok(first_of_each_subset(records(tx, query).await?))
}

async fn of_run(
    tx: &mut Tx<'_>,
    project: i64,
    dataset: &str,
    run: &RunRef,
) -> Result<Vec<MaterializationRecord>, TxError> {
    let Some(run) = runs::find(tx, project, run).await? else { return Ok(Vec::new()) };
    let query = tx
        .query(select!(
            task "WHERE d.project_id = $1 AND d.name = $2 AND t.run_id = $3 AND t.state IN ('succeeded', 'reused') \
             ORDER BY m.id DESC"
        ))
        .bind(project)
        .bind(dataset)
        .bind(run.id.0);
    Ok(first_of_each_subset(records(tx, query).await?))
}

async fn of_tag(
    tx: &mut Tx<'_>,
    project: i64,
    dataset: &str,
    tag: &TagName,
) -> Result<Vec<MaterializationRecord>, TxError> {
    let query = tx
        .query(select!(
            materialization "WHERE a.project_id = $1 AND m.id = ANY(ARRAY( \
                 SELECT g.mat_id FROM dataset x JOIN tag t ON t.dataset_id = x.id JOIN tag_target g ON g.tag_id = t.id \
                 WHERE x.project_id = $1 AND x.name = $2 AND t.name = $3 \
                     AND g.rev = (SELECT max(y.rev) FROM tag_move y WHERE y.tag_id = t.id))) ORDER BY m.id DESC"
        ))
        .bind(project)
        .bind(dataset)
        .bind(tag.as_str());
    Ok(first_of_each_subset(records(tx, query).await?))
}

/// What the heads were: of each subset the newest publication of that time that could become the latest.
async fn as_of(
    tx: &mut Tx<'_>,
    project: i64,
    dataset: &str,
    time: Timestamp,
) -> Result<Vec<MaterializationRecord>, TxError> {
    let query = tx
        .query(select!(
            materialization "WHERE a.project_id = $1 AND m.id = ANY(ARRAY( \
                 SELECT max(y.id) FROM dataset x JOIN version w ON w.dataset_id = x.id \
                     JOIN materialization y ON y.version_id = w.id JOIN attempt b ON b.id = y.attempt_id \
                 WHERE x.project_id = $1 AND x.name = $2 AND y.created <= $3 AND b.tainted IS NULL \
                 GROUP BY y.subset)) ORDER BY m.subset"
        ))
        .bind(project)
        .bind(dataset)
        .bind(Time(time));
    records(tx, query).await
}

/// In the order of subsets.
fn first_of_each_subset(found: Vec<MaterializationRecord>) -> Vec<MaterializationRecord> {
    let mut first = BTreeMap::new();
    for materialization in found {
        first.entry(materialization.subset.clone()).or_insert(materialization);
    }
    first.into_values().collect()
}
