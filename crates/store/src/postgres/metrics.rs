//! Metrics and metadata. Those of a reuse are those of the attempt that did the work: kept once, read through it.

use runstone_core::record::{Metric, NodeId};
use sqlx::postgres::PgBindIterExt;

use super::session::{Tx, TxError};
use super::value::{damaged, get, get_json};

/// What attempts reported, in the order of (attempt, name, slice).
pub(super) async fn of_attempts(
    tx: &mut Tx<'_>,
    project: i64,
    ids: &[NodeId],
) -> Result<Vec<(NodeId, Metric)>, TxError> {
    const SELECT: &str = "SELECT a.id, m.name, m.slice, m.value, m.n \
         FROM attempt a JOIN metric m ON m.attempt_id = coalesce(a.reused_from, a.id) \
         WHERE a.project_id = $1 AND a.id = ANY($2) ORDER BY a.id, m.name, m.slice";
    let query = tx.query(SELECT).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    tx.rows(query)
        .await?
        .iter()
        .map(|row| {
            let n: Option<i64> = get(row, "n")?;
            let n = n.map(|n| u64::try_from(n).map_err(|_| damaged(format!("a metric over {n} items")))).transpose()?;
            let metric = Metric { name: get(row, "name")?, slice: get(row, "slice")?, value: get(row, "value")?, n };
            Ok((NodeId(get(row, "id")?), metric))
        })
        .collect()
}

/// What an attempt reported beside its metrics.
pub(super) async fn metadata(
    tx: &mut Tx<'_>,
    project: i64,
    attempt: NodeId,
) -> Result<Option<serde_json::Value>, TxError> {
    const SELECT: &str = "SELECT o.metadata::text AS metadata \
         FROM attempt a JOIN attempt o ON o.id = coalesce(a.reused_from, a.id) \
         WHERE a.project_id = $1 AND a.id = $2 AND o.metadata IS NOT NULL";
    let query = tx.query(SELECT).bind(project).bind(attempt.0);
    tx.row(query).await?.map(|row| get_json(&row, "metadata")).transpose()
}
