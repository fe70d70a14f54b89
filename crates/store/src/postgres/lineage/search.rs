//! Attempts by anything that stands in a column. What stands within derivations is looked at elsewhere.

use runstone_core::lineage::store::Search;
use runstone_core::record::{AttemptRecord, AttemptState, NodeId};
use sqlx::{Encode, Postgres, QueryBuilder, Type};

use crate::postgres::attempts;
use crate::postgres::session::{Tx, TxResult};
use crate::postgres::value::{Time, text};
use crate::prefix;

pub(super) async fn search(tx: &mut Tx<'_>, project: i64, search: &Search) -> TxResult<Vec<AttemptRecord>> {
    let Some(mut statement) = statement(project, search) else { return Ok(Vec::new()) };
    // Its shape and its values decide how it is best done: no plan is kept.
    let query = statement.build().persistent(false);
    tx.rows(query).await?.iter().map(attempts::record).collect()
}

/// What stood for the same partition comes before what stood for another one, and success before failure.
pub(super) async fn preceding(tx: &mut Tx<'_>, project: i64, attempt: NodeId) -> TxResult<Option<AttemptRecord>> {
    let mut statement = QueryBuilder::<Postgres>::new(attempts::SELECT);
    statement.push(
        "JOIN attempt n ON n.id = $2 JOIN run p ON p.id = n.run_id \
         WHERE a.project_id = $1 AND n.project_id = $1 AND a.pipeline = n.pipeline AND a.step = n.step \
           AND a.cell = n.cell AND a.id < n.id AND a.run_id <> n.run_id \
         ORDER BY r.partition IS NOT DISTINCT FROM p.partition DESC, a.state = 'succeeded' DESC, a.id DESC LIMIT 1",
    );
    let query = statement.build().bind(project).bind(attempt.0);
    tx.row(query).await?.as_ref().map(attempts::record).transpose()
}

/// None where nothing can fit: a prefix that is no beginning of a hash, a bound that is no number.
fn statement(project: i64, search: &Search) -> Option<QueryBuilder<Postgres>> {
    let mut statement = QueryBuilder::new(attempts::SELECT);
    statement.push("WHERE a.project_id = ").push_bind(project);
    for (column, given) in [
        ("a.pipeline = ", &search.pipeline),
        ("a.step = ", &search.step),
        ("r.user_name = ", &search.user),
        ("r.host = ", &search.host),
    ] {
        put(&mut statement, column, given.as_deref().map(text));
    }
    if let Some(digits) = &search.git_commit {
        let digits = digits.to_ascii_lowercase();
        put(&mut statement, "starts_with(r.git_commit, ", Some(text(&digits)));
        statement.push(")");
    }
    put(&mut statement, "a.created >= ", search.since.map(Time));
    put(&mut statement, "a.created < ", search.until.map(Time));
    put(&mut statement, "a.id < ", search.before.map(|node| node.0));
    let state = search.succeeded.map(|yes| if yes { AttemptState::Succeeded } else { AttemptState::Failed });
    put(&mut statement, "a.state = ", state.map(AttemptState::as_str));
    contents(&mut statement, search)?;
    metrics(&mut statement, search)?;
    statement.push(" ORDER BY a.id DESC LIMIT ").push_bind(i64::from(search.limit));
    Some(statement)
}

/// A condition on a value, where it is given.
fn put<'v, V>(statement: &mut QueryBuilder<Postgres>, condition: &str, value: Option<V>)
where
    V: Encode<'v, Postgres> + Type<Postgres>,
{
    if let Some(value) = value {
        statement.push(" AND ").push(condition).push_bind(value);
    }
}

fn contents(statement: &mut QueryBuilder<Postgres>, search: &Search) -> Option<()> {
    for (given, attempts) in [
        (
            &search.input,
            "SELECT c.attempt_id FROM version v JOIN materialization m ON m.version_id = v.id \
             JOIN consumed c ON c.mat_id = m.id",
        ),
        (&search.output, "SELECT m.attempt_id FROM version v JOIN materialization m ON m.version_id = v.id"),
    ] {
        let Some(given) = given else { continue };
        let (low, high) = prefix::hash_range(given)?;
        statement.push(" AND a.id IN (").push(attempts).push(" WHERE v.hash BETWEEN ").push_bind(low.to_vec());
        statement.push(" AND ").push_bind(high.to_vec()).push(")");
    }
    Some(())
}

fn metrics(statement: &mut QueryBuilder<Postgres>, search: &Search) -> Option<()> {
    for range in &search.metrics {
        // Postgres would take it for the largest number.
        if range.min.is_nan() || range.max.is_nan() {
            return None;
        }
        statement.push(" AND EXISTS (SELECT FROM metric m WHERE m.attempt_id = coalesce(a.reused_from, a.id)");
        put(statement, "m.name = ", Some(text(&range.name)));
        put(statement, "m.slice = ", Some(text(&range.slice)));
        put(statement, "m.value >= ", Some(range.min));
        put(statement, "m.value <= ", Some(range.max));
        statement.push(")");
    }
    Some(())
}
