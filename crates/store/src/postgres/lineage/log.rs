//! The Merkle log as rows: what is not in it yet, its leaves, its signed checkpoints. What a leaf is, is worked out elsewhere.

use std::collections::HashSet;

use runstone_core::lineage::store::{CheckpointRecord, LogLeaf};
use runstone_core::record::NodeId;
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;

use crate::postgres::session::{Tx, TxError, TxResult};
use crate::postgres::value::{Time, damaged, get, get_content_hash, get_time, get_unsigned, stored, text};
use crate::rules::InvalidChange;

pub(super) async fn unlogged(tx: &mut Tx<'_>, project: i64, limit: u32) -> TxResult<Vec<NodeId>> {
    const SELECT: &str = "SELECT attempt_id FROM unlogged WHERE project_id = $1 ORDER BY attempt_id LIMIT $2";
    let query = tx.query(SELECT).bind(project).bind(i64::from(limit));
    tx.rows(query).await?.iter().map(|row| Ok(NodeId(get(row, "attempt_id")?))).collect()
}

pub(super) async fn size(tx: &mut Tx<'_>, project: i64) -> TxResult<u64> {
    const SELECT: &str = "SELECT idx + 1 AS size FROM log_leaf WHERE project_id = $1 ORDER BY idx DESC LIMIT 1";
    let query = tx.query(SELECT).bind(project);
    tx.row(query).await?.map_or(Ok(0), |row| get_unsigned(&row, "size"))
}

fn leaf(row: &PgRow) -> TxResult<LogLeaf> {
    Ok(LogLeaf {
        index: get_unsigned(row, "idx")?,
        attempt: NodeId(get(row, "attempt_id")?),
        record: get(row, "record")?,
    })
}

async fn read(tx: &mut Tx<'_>, query: Query<'_, Postgres, PgArguments>) -> TxResult<Vec<LogLeaf>> {
    tx.rows(query).await?.iter().map(leaf).collect()
}

/// Where no leaf will ever be, for an index that the table cannot have.
fn index(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

pub(super) async fn leaves(tx: &mut Tx<'_>, project: i64, from: u64, limit: u32) -> TxResult<Vec<LogLeaf>> {
    const SELECT: &str =
        "SELECT idx, attempt_id, record FROM log_leaf WHERE project_id = $1 AND idx >= $2 ORDER BY idx LIMIT $3";
    let query = tx.query(SELECT).bind(project).bind(index(from)).bind(i64::from(limit));
    read(tx, query).await
}

pub(super) async fn leaves_at(tx: &mut Tx<'_>, project: i64, indices: &[u64]) -> TxResult<Vec<LogLeaf>> {
    const SELECT: &str =
        "SELECT idx, attempt_id, record FROM log_leaf WHERE project_id = $1 AND idx = ANY($2) ORDER BY idx";
    let query = tx.query(SELECT).bind(project).bind(indices.iter().map(|at| index(*at)).bind_iter());
    read(tx, query).await
}

pub(super) async fn leaves_of(tx: &mut Tx<'_>, project: i64, attempts: &[NodeId]) -> TxResult<Vec<LogLeaf>> {
    const SELECT: &str =
        "SELECT idx, attempt_id, record FROM log_leaf WHERE attempt_id = ANY($2) AND project_id = $1 ORDER BY idx";
    let query = tx.query(SELECT).bind(project).bind(attempts.iter().map(|id| id.0).bind_iter());
    read(tx, query).await
}

/// Whoever puts the first leaf on record has the log until the end of the transaction: another one that wants the same
/// index waits for that end and then puts nothing there. A lock would have to be one of the project's row, and keep runs from
/// beginning meanwhile.
const APPEND: &str = "WITH leaves AS ( \
         SELECT * FROM unnest($3::bigint[], $4::bytea[]) WITH ORDINALITY AS w(attempt_id, record, position)), \
     first AS ( \
         INSERT INTO log_leaf (project_id, idx, attempt_id, record) \
         SELECT $1, $2, w.attempt_id, w.record FROM leaves w WHERE w.position = 1 ON CONFLICT DO NOTHING RETURNING 1), \
     rest AS ( \
         INSERT INTO log_leaf (project_id, idx, attempt_id, record) \
         SELECT $1, $2 + w.position - 1, w.attempt_id, w.record FROM leaves w \
         WHERE w.position > 1 AND EXISTS (SELECT FROM first) ON CONFLICT DO NOTHING RETURNING 1), \
     logged AS ( \
         DELETE FROM unlogged u WHERE u.project_id = $1 AND u.attempt_id = ANY($3) AND EXISTS (SELECT FROM first) \
         RETURNING u.attempt_id) \
     SELECT (SELECT count(*) FROM first) AS begun, (SELECT count(*) FROM rest) AS gone_on, \
         ARRAY(SELECT attempt_id FROM logged) AS logged";

pub(super) async fn append(
    tx: &mut Tx<'_>,
    project: i64,
    leaves: &[(NodeId, Vec<u8>)],
    checkpoint: &CheckpointRecord,
) -> TxResult<bool> {
    let before = size(tx, project).await?;
    if checkpoint.size.checked_sub(leaves.len() as u64) != Some(before) {
        return Ok(false);
    }
    let query = tx
        .query(APPEND)
        .bind(project)
        .bind(stored("size of the log", before)?)
        .bind(leaves.iter().map(|(attempt, _)| attempt.0).bind_iter())
        .bind(leaves.iter().map(|(_, record)| record.as_slice()).bind_iter());
    let row = tx.row(query).await?.ok_or_else(|| damaged("a log that says nothing".to_owned()))?;
    let appended = get::<i64>(&row, "begun")? + get::<i64>(&row, "gone_on")?;
    if appended == 0 && size(tx, project).await? != before {
        return Ok(false);
    }
    let mut logged: HashSet<i64> = get::<Vec<i64>>(&row, "logged")?.into_iter().collect();
    if let Some((attempt, _)) = leaves.iter().find(|(attempt, _)| !logged.remove(&attempt.0)) {
        return Err(TxError::Store(InvalidChange::NotToBeLogged { attempt: *attempt }.into()));
    }
    if usize::try_from(appended) != Ok(leaves.len()) {
        return Err(damaged("attempts that are in the log and still to be logged".to_owned()));
    }
    put_checkpoint(tx, project, checkpoint).await?;
    Ok(true)
}

async fn put_checkpoint(tx: &mut Tx<'_>, project: i64, new: &CheckpointRecord) -> TxResult<()> {
    const PUT: &str = "INSERT INTO checkpoint (project_id, size, root, note, created) VALUES ($1, $2, $3, $4, $5)";
    let query = tx
        .query(PUT)
        .bind(project)
        .bind(stored("size of the log", new.size)?)
        .bind(new.root.as_slice())
        .bind(text(&new.note))
        .bind(Time(new.created));
    tx.execute(query).await?;
    Ok(())
}

pub(super) async fn checkpoints(tx: &mut Tx<'_>, project: i64, limit: u32) -> TxResult<Vec<CheckpointRecord>> {
    const SELECT: &str =
        "SELECT size, root, note, created FROM checkpoint WHERE project_id = $1 ORDER BY size DESC LIMIT $2";
    let query = tx.query(SELECT).bind(project).bind(i64::from(limit));
    tx.rows(query)
        .await?
        .iter()
        .map(|row| {
            Ok(CheckpointRecord {
                size: get_unsigned(row, "size")?,
                root: *get_content_hash(row, "root")?.as_bytes(),
                note: get(row, "note")?,
                created: get_time(row, "created")?,
            })
        })
        .collect()
}
