//! The Merkle log as rows: what is not in it yet, its leaves, its signed checkpoints. What a leaf is, is worked out elsewhere.

use runstone_core::lineage::store::{CheckpointRecord, LogLeaf};
use runstone_core::record::NodeId;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Params, Row, Transaction, params};

use crate::rules::{self, InvalidChange};
use crate::sqlite::{Outcome, attempts, decode};

pub(super) fn unlogged(tx: &Transaction<'_>, project: i64, limit: u32) -> Outcome<Vec<NodeId>> {
    let mut statement =
        tx.prepare_cached("SELECT attempt_id FROM unlogged WHERE project_id = ?1 ORDER BY attempt_id LIMIT ?2")?;
    let rows = statement.query_map(params![project, limit], |row| Ok(NodeId(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn size(tx: &Transaction<'_>, project: i64) -> Outcome<u64> {
    let last = tx
        .prepare_cached("SELECT idx + 1 FROM log_leaf WHERE project_id = ?1 ORDER BY idx DESC LIMIT 1")?
        .query_row([project], |row| decode::unsigned(row, 0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

fn leaf(row: &Row<'_>) -> rusqlite::Result<LogLeaf> {
    Ok(LogLeaf { index: decode::unsigned(row, 0)?, attempt: NodeId(row.get(1)?), record: row.get(2)? })
}

fn read(tx: &Transaction<'_>, sql: &str, params: impl Params) -> Outcome<Vec<LogLeaf>> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params, leaf)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn leaves(tx: &Transaction<'_>, project: i64, from: u64, limit: u32) -> Outcome<Vec<LogLeaf>> {
    let sql = "SELECT idx, attempt_id, record FROM log_leaf WHERE project_id = ?1 AND idx >= ?2 ORDER BY idx LIMIT ?3";
    read(tx, sql, params![project, i64::try_from(from).unwrap_or(i64::MAX), limit])
}

pub(super) fn leaves_at(tx: &Transaction<'_>, project: i64, indices: &[u64]) -> Outcome<Vec<LogLeaf>> {
    let sql = "SELECT idx, attempt_id, record FROM log_leaf WHERE project_id = ?1 AND idx = ?2";
    let mut indices = indices.to_vec();
    indices.sort_unstable();
    indices.dedup();
    let mut found = Vec::with_capacity(indices.len());
    for index in indices {
        found.extend(read(tx, sql, params![project, i64::try_from(index).unwrap_or(i64::MAX)])?);
    }
    Ok(found)
}

pub(super) fn leaves_of(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<LogLeaf>> {
    let sql = "SELECT idx, attempt_id, record FROM log_leaf WHERE attempt_id = ?1 AND project_id = ?2";
    let mut found = Vec::with_capacity(ids.len());
    for id in attempts::sorted(ids) {
        found.extend(read(tx, sql, params![id.0, project])?);
    }
    found.sort_unstable_by_key(|leaf| leaf.index);
    Ok(found)
}

pub(super) fn append(
    tx: &Transaction<'_>,
    project: i64,
    leaves: &[(NodeId, Vec<u8>)],
    checkpoint: &CheckpointRecord,
) -> Outcome<bool> {
    let before = size(tx, project)?;
    if checkpoint.size.checked_sub(leaves.len() as u64) != Some(before) {
        return Ok(false);
    }
    let mut insert =
        tx.prepare_cached("INSERT INTO log_leaf (project_id, idx, attempt_id, record) VALUES (?1, ?2, ?3, ?4)")?;
    let mut done = tx.prepare_cached("DELETE FROM unlogged WHERE project_id = ?1 AND attempt_id = ?2")?;
    for (index, (attempt, record)) in (before..).zip(leaves) {
        if done.execute(params![project, attempt.0])? != 1 {
            return Err(InvalidChange::NotToBeLogged { attempt: *attempt }.into());
        }
        insert.execute(params![project, rules::stored("size of the log", index)?, attempt.0, record])?;
    }
    let CheckpointRecord { size, root, note, created } = checkpoint;
    tx.prepare_cached("INSERT INTO checkpoint (project_id, size, root, note, created) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![project, rules::stored("size of the log", *size)?, root, note, created.0])?;
    Ok(true)
}

pub(super) fn checkpoints(tx: &Transaction<'_>, project: i64, limit: u32) -> Outcome<Vec<CheckpointRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT size, root, note, created FROM checkpoint WHERE project_id = ?1 ORDER BY size DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![project, limit], |row| {
        Ok(CheckpointRecord {
            size: decode::unsigned(row, 0)?,
            root: row.get(1)?,
            note: row.get(2)?,
            created: Timestamp(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
