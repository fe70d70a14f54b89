//! Edges of the graph: those of a few attempts with all that is known of them, and all of them as pairs of ids.

use runstone_core::lineage::store::{Edges, Horizon};
use runstone_core::record::{ConsumedRecord, NodeId, Trust};
use sqlx::postgres::{PgBindIterExt, PgRow};

use crate::postgres::session::{Tx, TxResult};
use crate::postgres::value::{damaged, get, get_state};

pub(super) async fn consumed(tx: &mut Tx<'_>, project: i64, attempts: &[NodeId]) -> TxResult<Vec<ConsumedRecord>> {
    const SELECT: &str = "SELECT c.attempt_id, c.mat_id, c.slot, c.trust \
         FROM attempt a JOIN consumed c ON c.attempt_id = a.id \
         WHERE a.project_id = $1 AND a.id = ANY($2) ORDER BY c.attempt_id, c.mat_id, c.slot";
    let query = tx.query(SELECT).bind(project).bind(attempts.iter().map(|id| id.0).bind_iter());
    tx.rows(query)
        .await?
        .iter()
        .map(|row| {
            Ok(ConsumedRecord {
                attempt: NodeId(get(row, "attempt_id")?),
                materialization: NodeId(get(row, "mat_id")?),
                slot: get(row, "slot")?,
                trust: get_state(row, "trust", Trust::parse)?,
            })
        })
        .collect()
}

pub(super) async fn after(tx: &mut Tx<'_>, project: i64, after: NodeId, ids: u32) -> TxResult<Edges> {
    const CONSUMED: &str = "SELECT DISTINCT c.mat_id AS early, c.attempt_id AS late \
         FROM attempt a JOIN consumed c ON c.attempt_id = a.id \
         WHERE a.id > $2 AND a.id <= $3 AND a.project_id = $1 ORDER BY late, early";
    const PRODUCED: &str = "SELECT m.attempt_id AS early, m.id AS late \
         FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         WHERE m.id > $2 AND m.id <= $3 AND a.project_id = $1 ORDER BY late";
    let newest = newest(tx).await?;
    let until = NodeId(after.0.saturating_add(i64::from(ids)).min(newest.0).max(after.0));
    let mut edges = Edges { consumed: Vec::new(), produced: Vec::new(), until };
    for (sql, found) in [(CONSUMED, &mut edges.consumed), (PRODUCED, &mut edges.produced)] {
        let query = tx.query(sql).bind(project).bind(after.0).bind(until.0);
        *found = tx.rows(query).await?.iter().map(pair).collect::<TxResult<_>>()?;
    }
    Ok(edges)
}

fn pair(row: &PgRow) -> TxResult<(NodeId, NodeId)> {
    Ok((NodeId(get(row, "early")?), NodeId(get(row, "late")?)))
}

/// The largest id on record, of any project. Not what the sequence says: after a crash the server may give ids out once more
/// that nobody committed.
async fn newest(tx: &mut Tx<'_>) -> TxResult<NodeId> {
    const NEWEST: &str =
        "SELECT greatest((SELECT max(id) FROM attempt), (SELECT max(id) FROM materialization), 0) AS id";
    let query = tx.query(NEWEST);
    tx.row(query).await?.map_or(Ok(NodeId(0)), |row| Ok(NodeId(get(&row, "id")?)))
}

/// A transaction takes its number before its first id (see `commit::facts::own`), and one that took ids up to `newest` did
/// so before this snapshot was made. So its number is smaller than the one this transaction is given now, and is
/// smaller than `oldest` of every snapshot made after its end. `pg_snapshot_xmax` would not do as the fence: it comes
/// after the last transaction that ended, not after the last one that began.
pub(super) async fn horizon(tx: &mut Tx<'_>) -> TxResult<Horizon> {
    const HORIZON: &str = "SELECT pg_current_xact_id()::text AS fence, \
         pg_snapshot_xmin(pg_current_snapshot())::text AS oldest";
    let newest = newest(tx).await?;
    let query = tx.query(HORIZON);
    let row = tx.row(query).await?.ok_or_else(|| damaged("a server without transactions".to_owned()))?;
    Ok(Horizon { newest, fence: transaction(&row, "fence")?, oldest: transaction(&row, "oldest")? })
}

/// The number of a transaction, which never comes round.
fn transaction(row: &PgRow, column: &str) -> TxResult<u64> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|_| damaged(format!("{column} {text:?} is no transaction")))
}
