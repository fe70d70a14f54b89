//! Edges of the graph: those of a few attempts with all that is known of them, and all of them as pairs of ids.

use std::collections::BTreeSet;

use runstone_core::lineage::store::{Edges, Horizon};
use runstone_core::record::{AttemptState, ConsumedRecord, NodeId, Trust};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;

use crate::postgres::session::{Tx, TxResult};
use crate::postgres::value::{array, damaged, get, get_state};

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

/// Of consumed and materialization the page is read out of their indexes, whosesoever it is: to look each attempt up on the
/// server takes longer than to drop what is of others here. Arrays, because rows cost more than the ids in them. The plus
/// keeps the server from reading a project's whole index for a page.
pub(super) async fn after(tx: &mut Tx<'_>, project: i64, after: NodeId, ids: u32) -> TxResult<Edges> {
    const ATTEMPTS: &str = "SELECT array_agg(id) AS early, array_agg(state) AS late FROM ( \
         SELECT id, CASE state WHEN 'succeeded' THEN 1::bigint WHEN 'failed' THEN 0 ELSE -1 END AS state \
         FROM attempt WHERE id > $1 AND id <= $2 AND project_id + 0 = $3 ORDER BY id) AS page";
    const CONSUMED: &str = "SELECT array_agg(mat_id) AS early, array_agg(attempt_id) AS late FROM ( \
         SELECT mat_id, attempt_id FROM consumed WHERE attempt_id > $1 AND attempt_id <= $2 \
         ORDER BY attempt_id, mat_id) AS page";
    const PRODUCED: &str = "SELECT array_agg(attempt_id) AS early, array_agg(id) AS late FROM ( \
         SELECT attempt_id, id FROM materialization WHERE id > $1 AND id <= $2 ORDER BY id) AS page";
    let newest = newest(tx).await?;
    let until = NodeId(after.0.saturating_add(i64::from(ids)).min(newest.0).max(after.0));
    let attempts = tx.query(ATTEMPTS).bind(after.0).bind(until.0).bind(project);
    let attempts = pairs(tx, attempts).await?;
    let consumed = tx.query(CONSUMED).bind(after.0).bind(until.0);
    let mut consumed = pairs(tx, consumed).await?;
    let produced = tx.query(PRODUCED).bind(after.0).bind(until.0);
    let mut produced = pairs(tx, produced).await?;
    let before = own_before(tx, project, after, &produced).await?;
    let is_own = |attempt: &i64| {
        attempts.binary_search_by_key(attempt, |(id, _)| *id).is_ok() || before.binary_search(attempt).is_ok()
    };
    consumed.dedup();
    consumed.retain(|(_, attempt)| is_own(attempt));
    produced.retain(|(attempt, _)| is_own(attempt));
    let nodes = |pairs: Vec<(i64, i64)>| pairs.into_iter().map(|(early, late)| (NodeId(early), NodeId(late))).collect();
    let (consumed, produced) = (nodes(consumed), nodes(produced));
    let outcome = |state: i64| (state >= 0).then_some(state == 1);
    let attempts = attempts.into_iter().map(|(id, state)| (NodeId(id), outcome(state))).collect();
    Ok(Edges { attempts, consumed, produced, until })
}

/// Attempts of before a page that published in it, in order.
async fn own_before(tx: &mut Tx<'_>, project: i64, after: NodeId, produced: &[(i64, i64)]) -> TxResult<Vec<i64>> {
    const OWN: &str = "SELECT array_agg(id) AS ids FROM ( \
         SELECT id FROM attempt WHERE id = ANY($1) AND project_id + 0 = $2 ORDER BY id) AS own";
    let makers: BTreeSet<i64> = produced.iter().map(|(maker, _)| *maker).filter(|maker| *maker <= after.0).collect();
    if makers.is_empty() {
        return Ok(Vec::new());
    }
    let query = tx.query(OWN).bind(makers.into_iter().bind_iter()).bind(project);
    array(tx.row(query).await?.as_ref(), "ids")
}

/// Two columns that were gathered into an array each.
async fn pairs(tx: &mut Tx<'_>, query: Query<'_, Postgres, PgArguments>) -> TxResult<Vec<(i64, i64)>> {
    let row = tx.row(query).await?;
    Ok(array(row.as_ref(), "early")?.into_iter().zip(array(row.as_ref(), "late")?).collect())
}

pub(super) async fn ended(tx: &mut Tx<'_>, project: i64, attempts: &[NodeId]) -> TxResult<Vec<(NodeId, bool)>> {
    const SELECT: &str = "SELECT id, state FROM attempt WHERE id = ANY($2) AND project_id = $1 ORDER BY id";
    let query = tx.query(SELECT).bind(project).bind(attempts.iter().map(|id| id.0).bind_iter());
    let found: Vec<_> = tx.rows(query).await?.iter().map(attempt).collect::<TxResult<_>>()?;
    Ok(found.into_iter().filter_map(|(id, outcome)| outcome.map(|succeeded| (id, succeeded))).collect())
}

fn attempt(row: &PgRow) -> TxResult<(NodeId, Option<bool>)> {
    Ok((NodeId(get(row, "id")?), get_state(row, "state", AttemptState::parse)?.outcome()))
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
