//! Datasets, their versions and publications, and what a version given by people names.

use std::collections::BTreeMap;

use runstone_core::record::{ContentKind, DatasetRecord, MaterializationRecord, NodeId};
use runstone_core::store::{RunRef, StoreError, VersionRef};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Params, Row, Transaction, params};

use super::{Outcome, attempts, decode, lineage, runs};
use crate::prefix;
use crate::rules::is_of_partition;

/// How many versions an ambiguous prefix names at most in its error.
const CANDIDATES: u32 = 8;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.attempt_id, m.output, d.name, v.number, m.subset, v.hash, v.kind, v.size, v.files, v.rows, \
                    m.file_name, m.created, a.tainted IS NOT NULL ",
            $rest
        )
    };
}

fn record(row: &Row<'_>) -> rusqlite::Result<MaterializationRecord> {
    Ok(MaterializationRecord {
        id: NodeId(row.get(0)?),
        attempt: NodeId(row.get(1)?),
        output: row.get(2)?,
        dataset: row.get(3)?,
        version: row.get(4)?,
        subset: row.get(5)?,
        hash: decode::content_hash(row, 6)?,
        kind: decode::spelled(row, 7, ContentKind::parse)?,
        size: decode::unsigned(row, 8)?,
        files: decode::unsigned(row, 9)?,
        rows: row.get::<_, Option<i64>>(10)?.map(|_| decode::unsigned(row, 10)).transpose()?,
        file_name: row.get(11)?,
        created: Timestamp(row.get(12)?),
        tainted: row.get(13)?,
    })
}

fn records(tx: &Transaction<'_>, sql: &str, params: impl Params) -> Outcome<Vec<MaterializationRecord>> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params, record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What one attempt published, in the order of ids.
pub(super) fn published_by(tx: &Transaction<'_>, project: i64, attempt: NodeId) -> Outcome<Vec<MaterializationRecord>> {
    let sql = select!(
        "FROM materialization m CROSS JOIN attempt a ON a.id = m.attempt_id CROSS JOIN version v ON v.id = m.version_id \
         CROSS JOIN dataset d ON d.id = v.dataset_id \
         WHERE m.attempt_id = ?1 AND a.project_id = ?2 ORDER BY m.id"
    );
    records(tx, sql, params![attempt.0, project])
}

/// Whether every publication of an attempt is the head of its dataset and subset.
pub(super) fn is_current(tx: &Transaction<'_>, attempt: NodeId) -> Outcome<bool> {
    let sql = "SELECT NOT EXISTS (
                   SELECT 1 FROM materialization m CROSS JOIN version v ON v.id = m.version_id
                   LEFT JOIN head h ON h.dataset_id = v.dataset_id AND h.subset = m.subset
                   WHERE m.attempt_id = ?1 AND h.mat_id IS NOT m.id)";
    Ok(tx.prepare_cached(sql)?.query_row([attempt.0], |row| row.get(0))?)
}

pub(super) fn published(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<MaterializationRecord>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in attempts::sorted(ids) {
        found.extend(published_by(tx, project, id)?);
    }
    found.sort_unstable_by_key(|materialization| materialization.id);
    Ok(found)
}

/// Publications by node, in the order of ids; unknown ones are left out.
pub(super) fn by_id(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<MaterializationRecord>> {
    let mut statement = tx.prepare_cached(select!(
        "FROM materialization m CROSS JOIN attempt a ON a.id = m.attempt_id CROSS JOIN version v ON v.id = m.version_id \
         CROSS JOIN dataset d ON d.id = v.dataset_id WHERE m.id = ?1 AND a.project_id = ?2"
    ))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in attempts::sorted(ids) {
        found.extend(statement.query_row(params![id.0, project], record).optional()?);
    }
    Ok(found)
}

pub(super) fn list(tx: &Transaction<'_>, project: i64, prefix: &str) -> Outcome<Vec<DatasetRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT d.id, d.name, (SELECT coalesce(max(number), 0) FROM version v WHERE v.dataset_id = d.id)
         FROM dataset d WHERE d.project_id = ?1 AND d.name >= ?2 ORDER BY d.name",
    )?;
    let mut rows = statement.query(params![project, prefix])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        if !name.starts_with(prefix) {
            break;
        }
        found.push(DatasetRecord { name, versions: row.get(2)?, latest: heads(tx, row.get(0)?)? });
    }
    Ok(found)
}

fn heads(tx: &Transaction<'_>, dataset: i64) -> Outcome<Vec<MaterializationRecord>> {
    let sql = select!(
        "FROM head h CROSS JOIN materialization m ON m.id = h.mat_id CROSS JOIN attempt a ON a.id = m.attempt_id \
         CROSS JOIN version v ON v.id = m.version_id CROSS JOIN dataset d ON d.id = v.dataset_id \
         WHERE h.dataset_id = ?1 ORDER BY h.subset"
    );
    records(tx, sql, [dataset])
}

pub(super) fn materializations(
    tx: &Transaction<'_>,
    project: i64,
    dataset: &str,
    limit: u32,
) -> Outcome<Vec<MaterializationRecord>> {
    let sql = select!(
        "FROM dataset d CROSS JOIN version v ON v.dataset_id = d.id CROSS JOIN materialization m ON m.version_id = v.id \
         CROSS JOIN attempt a ON a.id = m.attempt_id \
         WHERE d.project_id = ?1 AND d.name = ?2 ORDER BY m.id DESC LIMIT ?3"
    );
    records(tx, sql, params![project, dataset, limit])
}

pub(super) fn by_hash(
    tx: &Transaction<'_>,
    project: i64,
    prefix: &str,
    limit: u32,
) -> Outcome<Vec<MaterializationRecord>> {
    let Some((low, high)) = prefix::hash_range(prefix) else { return Ok(Vec::new()) };
    let sql = select!(
        "FROM version v CROSS JOIN dataset d ON d.id = v.dataset_id CROSS JOIN materialization m ON m.version_id = v.id \
         CROSS JOIN attempt a ON a.id = m.attempt_id \
         WHERE v.hash BETWEEN ?2 AND ?3 AND d.project_id = ?1 ORDER BY m.id DESC LIMIT ?4"
    );
    records(tx, sql, params![project, low, high, limit])
}

pub(super) fn resolve(
    tx: &Transaction<'_>,
    project: i64,
    dataset: &str,
    version: &VersionRef,
) -> Outcome<Vec<MaterializationRecord>> {
    let id: Option<i64> = tx
        .prepare_cached("SELECT id FROM dataset WHERE project_id = ?1 AND name = ?2")?
        .query_row(params![project, dataset], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Vec::new()) };
    match version {
        VersionRef::Latest => heads(tx, id),
        VersionRef::Number(number) => of_version(tx, id, *number),
        VersionRef::HashPrefix(given) => match number_of(tx, id, given)? {
            Some(number) => of_version(tx, id, number),
            None => Ok(Vec::new()),
        },
        VersionRef::Run(run) => of_run(tx, project, id, run),
        VersionRef::Tag(tag) => {
            let found = by_id(tx, project, &lineage::targets(tx, id, tag)?)?;
            Ok(first_of_each_subset(found.into_iter().rev().collect()))
        }
        VersionRef::AsOf(time) => as_of(tx, id, *time),
        VersionRef::Partition(key) => {
            let mut found = heads(tx, id)?;
            found.retain(|head| is_of_partition(&head.subset, key));
            Ok(found)
        }
    }
}

/// The version whose hash starts with these digits.
fn number_of(tx: &Transaction<'_>, dataset: i64, given: &str) -> Outcome<Option<i64>> {
    let Some((low, high)) = prefix::hash_range(given) else { return Ok(None) };
    let mut statement = tx.prepare_cached(
        "SELECT number, hash FROM version WHERE dataset_id = ?1 AND hash BETWEEN ?2 AND ?3 ORDER BY hash LIMIT ?4",
    )?;
    let found = statement
        .query_map(params![dataset, low, high, CANDIDATES], |row| {
            Ok((row.get::<_, i64>(0)?, decode::content_hash(row, 1)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if found.len() > 1 {
        let candidates = found.iter().map(|(number, hash)| format!("v{number} ({hash})")).collect();
        return Err(StoreError::Ambiguous { what: "version", given: given.to_owned(), candidates }.into());
    }
    Ok(found.first().map(|(number, _)| *number))
}

fn of_version(tx: &Transaction<'_>, dataset: i64, number: i64) -> Outcome<Vec<MaterializationRecord>> {
    let sql = select!(
        "FROM version v CROSS JOIN dataset d ON d.id = v.dataset_id CROSS JOIN materialization m ON m.version_id = v.id \
         CROSS JOIN attempt a ON a.id = m.attempt_id WHERE v.dataset_id = ?1 AND v.number = ?2 \
         ORDER BY a.tainted IS NOT NULL, m.id DESC"
    );
    Ok(first_of_each_subset(records(tx, sql, [dataset, number])?))
}

fn of_run(tx: &Transaction<'_>, project: i64, dataset: i64, run: &RunRef) -> Outcome<Vec<MaterializationRecord>> {
    let Some(run) = runs::find(tx, project, run)? else { return Ok(Vec::new()) };
    let sql = select!(
        "FROM task t CROSS JOIN materialization m ON m.attempt_id = t.attempt_id \
         CROSS JOIN version v ON v.id = m.version_id CROSS JOIN dataset d ON d.id = v.dataset_id \
         CROSS JOIN attempt a ON a.id = m.attempt_id \
         WHERE t.run_id = ?1 AND t.state IN ('succeeded', 'reused') AND v.dataset_id = ?2 ORDER BY m.id DESC"
    );
    Ok(first_of_each_subset(records(tx, sql, params![run.id.0.as_bytes(), dataset])?))
}

/// What the heads were: of each subset the newest publication of that time that could become the latest.
fn as_of(tx: &Transaction<'_>, dataset: i64, time: Timestamp) -> Outcome<Vec<MaterializationRecord>> {
    let sql = select!(
        "FROM version v CROSS JOIN dataset d ON d.id = v.dataset_id CROSS JOIN materialization m ON m.version_id = v.id \
         CROSS JOIN attempt a ON a.id = m.attempt_id \
         WHERE v.dataset_id = ?1 AND m.created <= ?2 AND a.tainted IS NULL ORDER BY m.id DESC"
    );
    Ok(first_of_each_subset(records(tx, sql, params![dataset, time.0])?))
}

/// In the order of subsets.
fn first_of_each_subset(found: Vec<MaterializationRecord>) -> Vec<MaterializationRecord> {
    let mut first = BTreeMap::new();
    for materialization in found {
        first.entry(materialization.subset.clone()).or_insert(materialization);
    }
    first.into_values().collect()
}
