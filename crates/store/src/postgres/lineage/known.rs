//! What is known beyond the graph: metadata that attempts reported, profiles of tables, verdicts of reproductions.

use runstone_core::lineage::store::{NewReproduction, ReproductionRecord};
use runstone_core::record::NodeId;
use runstone_core::time::Timestamp;
use serde_json::Value;
use sqlx::postgres::{PgBindIterExt, PgRow};

use crate::postgres::session::{Tx, TxError, TxResult};
use crate::postgres::value::{Time, get, get_json, get_time, json, text};
use crate::rules::InvalidChange;

pub(super) async fn reported(tx: &mut Tx<'_>, project: i64, ids: &[NodeId]) -> TxResult<Vec<(NodeId, Value)>> {
    let sql = "SELECT a.id, a.metadata::text AS value FROM attempt a \
         WHERE a.project_id = $1 AND a.id = ANY($2) AND a.metadata IS NOT NULL ORDER BY a.id";
    each(tx, sql, project, ids).await
}

pub(super) async fn profiles(tx: &mut Tx<'_>, project: i64, ids: &[NodeId]) -> TxResult<Vec<(NodeId, Value)>> {
    let sql = "SELECT m.id, p.body::text AS value FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         JOIN profile p ON p.version_id = m.version_id WHERE a.project_id = $1 AND m.id = ANY($2) ORDER BY m.id";
    each(tx, sql, project, ids).await
}

/// The values that a statement finds for nodes.
async fn each(tx: &mut Tx<'_>, sql: &'static str, project: i64, ids: &[NodeId]) -> TxResult<Vec<(NodeId, Value)>> {
    let query = tx.query(sql).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    let rows = tx.rows(query).await?;
    rows.iter().map(|row| Ok((NodeId(get(row, "id")?), get_json(row, "value")?))).collect()
}

/// In place of what was known before.
pub(super) async fn set_profile(
    tx: &mut Tx<'_>,
    project: i64,
    publication: NodeId,
    profile: &Value,
    now: Timestamp,
) -> TxResult<bool> {
    const PUT: &str = "INSERT INTO profile (version_id, body, created) \
         SELECT m.version_id, $3::text::jsonb, $4 FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         WHERE m.id = $2 AND a.project_id = $1 \
         ON CONFLICT (version_id) DO UPDATE SET body = excluded.body, created = excluded.created";
    let query = tx.query(PUT).bind(project).bind(publication.0).bind(json(profile)).bind(Time(now));
    Ok(tx.execute(query).await? == 1)
}

pub(super) async fn add_reproduction(tx: &mut Tx<'_>, project: i64, new: &NewReproduction) -> TxResult<()> {
    const PUT: &str = "INSERT INTO reproduction (attempt_id, verdict, body, created, user_name, host) \
         SELECT a.id, $3, $4::text::jsonb, $5, $6, $7 FROM attempt a WHERE a.id = $2 AND a.project_id = $1";
    let query = tx
        .query(PUT)
        .bind(project)
        .bind(new.attempt.0)
        .bind(text(&new.verdict))
        .bind(json(&new.body))
        .bind(Time(new.at))
        .bind(text(&new.user))
        .bind(text(&new.host));
    match tx.execute(query).await? {
        0 => Err(TxError::Store(InvalidChange::UnknownAttempt { attempt: new.attempt }.into())),
        _ => Ok(()),
    }
}

pub(super) async fn reproductions(tx: &mut Tx<'_>, project: i64, ids: &[NodeId]) -> TxResult<Vec<ReproductionRecord>> {
    const SELECT: &str = "SELECT r.id, r.attempt_id, r.verdict, r.body::text AS body, r.created, r.user_name, r.host \
         FROM attempt a JOIN reproduction r ON r.attempt_id = a.id \
         WHERE a.project_id = $1 AND a.id = ANY($2) ORDER BY r.id DESC";
    let query = tx.query(SELECT).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    tx.rows(query).await?.iter().map(record).collect()
}

fn record(row: &PgRow) -> TxResult<ReproductionRecord> {
    Ok(ReproductionRecord {
        id: get(row, "id")?,
        of: NewReproduction {
            attempt: NodeId(get(row, "attempt_id")?),
            verdict: get(row, "verdict")?,
            body: get_json(row, "body")?,
            at: get_time(row, "created")?,
            user: get(row, "user_name")?,
            host: get(row, "host")?,
        },
    })
}
