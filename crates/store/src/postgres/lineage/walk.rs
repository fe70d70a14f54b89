//! Walks through the lineage graph, over ids alone; records are read at the end.
//!
//! A walk without a bound of depth or time is one statement that keeps each id once. Its answer is one row, an array: rows cost more
//! than the ids in them. Where it would meet more than it
//! may, or has such a bound, it goes level by level instead, so that what is left out is what is farthest.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use runstone_core::lineage::store::Closure;
use runstone_core::record::{Cut, Lineage, NodeId};
use runstone_core::store::{Direction, WalkLimit};
use sqlx::postgres::PgBindIterExt;

use super::edges;
use crate::met::{self, Met};
use crate::postgres::session::{Tx, TxResult};
use crate::postgres::value::{array, get};
use crate::postgres::{attempts, datasets};

/// All publications that the publications `$1` were made of, these included, as an array of ids, `$2` at most. Runs in
/// the schema `runstone` and touches indexes only.
pub const CLOSURE_UP: &str = "WITH RECURSIVE up(id) AS ( \
         SELECT unnest($1::bigint[]) \
     UNION \
         SELECT c.mat_id FROM up JOIN materialization m ON m.id = up.id JOIN consumed c ON c.attempt_id = m.attempt_id) \
     SELECT array_agg(id) AS nodes FROM (SELECT id FROM up LIMIT $2) AS found";

/// All publications that were made of the publications `$1`, these included, as an array of ids, `$2` at most. Runs in
/// the schema `runstone` and touches indexes only.
pub const CLOSURE_DOWN: &str = "WITH RECURSIVE down(id) AS ( \
         SELECT unnest($1::bigint[]) \
     UNION \
         SELECT m.id FROM down JOIN consumed c ON c.mat_id = down.id JOIN materialization m ON m.attempt_id = c.attempt_id) \
     SELECT array_agg(id) AS nodes FROM (SELECT id FROM down LIMIT $2) AS found";

/// Who made the publications `$1`. Runs in the schema `runstone`.
pub const PRODUCERS: &str = "SELECT array_agg(attempt_id) AS nodes FROM (SELECT DISTINCT m.attempt_id \
     FROM unnest($1::bigint[]) AS w(id) JOIN materialization m ON m.id = w.id) AS found";

/// Who made something of the publications `$1`. Runs in the schema `runstone`.
pub const READERS: &str = "SELECT array_agg(attempt_id) AS nodes FROM (SELECT DISTINCT c.attempt_id \
     FROM unnest($1::bigint[]) AS w(id) JOIN consumed c ON c.mat_id = w.id \
     JOIN attempt a ON a.id = c.attempt_id AND a.state = 'succeeded') AS found";

/// Who made the publications `$1`, each with what it read. Runs in the schema `runstone`.
pub const LEVEL_UP: &str = "SELECT DISTINCT m.attempt_id AS attempt, c.mat_id AS beyond \
     FROM unnest($1::bigint[]) AS w(id) JOIN materialization m ON m.id = w.id \
     LEFT JOIN consumed c ON c.attempt_id = m.attempt_id";

/// Who made something of the publications `$1`, each with what it published. Runs in the schema `runstone`.
pub const LEVEL_DOWN: &str = "SELECT DISTINCT c.attempt_id AS attempt, m.id AS beyond \
     FROM unnest($1::bigint[]) AS w(id) JOIN consumed c ON c.mat_id = w.id \
     JOIN attempt a ON a.id = c.attempt_id AND a.state = 'succeeded' \
     LEFT JOIN materialization m ON m.attempt_id = c.attempt_id";

/// The nodes around publications.
pub(super) async fn closure(
    tx: &mut Tx<'_>,
    project: i64,
    from: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> TxResult<Closure> {
    let start = known(tx, project, from).await?;
    if limit.depth.is_none()
        && limit.time.is_none()
        && let Some(whole) = whole(tx, &start, direction, limit.nodes).await?
    {
        return Ok(whole);
    }
    by_level(tx, start, direction, limit).await
}

/// The graph around publications, with its records.
pub(in crate::postgres) async fn lineage(
    tx: &mut Tx<'_>,
    project: i64,
    from: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> TxResult<Lineage> {
    let found = closure(tx, project, from, direction, limit).await?;
    let inside: HashSet<NodeId> = found.materializations.iter().copied().collect();
    let mut consumed = edges::consumed(tx, project, &found.attempts).await?;
    consumed.retain(|edge| inside.contains(&edge.materialization));
    Ok(Lineage {
        attempts: attempts::by_id(tx, project, &found.attempts).await?,
        materializations: datasets::by_id(tx, project, &found.materializations).await?,
        consumed,
        cut: found.cut,
    })
}

/// Those that are on record in the project. Edges never leave it, so it is enough to look where the walk starts.
async fn known(tx: &mut Tx<'_>, project: i64, from: &[NodeId]) -> TxResult<Vec<i64>> {
    const SELECT: &str = "SELECT m.id FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         WHERE m.id = ANY($2) AND a.project_id = $1 ORDER BY m.id";
    let query = tx.query(SELECT).bind(project).bind(from.iter().map(|id| id.0).bind_iter());
    tx.rows(query).await?.iter().map(|row| get(row, "id")).collect()
}

/// Everything there is to meet; none where that is more than `nodes`.
async fn whole(tx: &mut Tx<'_>, start: &[i64], direction: Direction, nodes: u32) -> TxResult<Option<Closure>> {
    let (sql, attempts) = match direction {
        Direction::Up => (CLOSURE_UP, PRODUCERS),
        Direction::Down => (CLOSURE_DOWN, READERS),
    };
    let query = tx.query(sql).bind(start).bind(i64::from(nodes) + 1);
    let publications = met::nodes(array(tx.row(query).await?.as_ref(), "nodes")?);
    if publications.len() > nodes as usize {
        return Ok(None);
    }
    let query = tx.query(attempts).bind(publications.iter().map(|id| id.0).bind_iter());
    let attempts = met::nodes(array(tx.row(query).await?.as_ref(), "nodes")?);
    Ok(Some(Closure { materializations: publications, attempts, cut: None }))
}

async fn by_level(tx: &mut Tx<'_>, start: Vec<i64>, direction: Direction, limit: WalkLimit) -> TxResult<Closure> {
    let sql = match direction {
        Direction::Up => LEVEL_UP,
        Direction::Down => LEVEL_DOWN,
    };
    let until = limit.time.and_then(|time| Instant::now().checked_add(time));
    let mut met = Met::default();
    let mut frontier = met.visit(start, limit.nodes);
    let mut depth = 0;
    while !frontier.is_empty() {
        let query = tx.query(sql).bind(frontier);
        let (mut fresh, mut beyond) = (BTreeSet::new(), BTreeSet::new());
        for row in tx.rows(query).await? {
            let attempt: i64 = get(&row, "attempt")?;
            if !met.attempts.contains(&attempt) {
                fresh.insert(attempt);
                beyond.extend(get::<Option<i64>>(&row, "beyond")?);
            }
        }
        let limit_met = if limit.depth.is_some_and(|most| depth >= most) {
            Some(Cut::Depth)
        } else {
            until.filter(|until| Instant::now() >= *until).map(|_| Cut::Time)
        };
        if let Some(cut) = limit_met {
            met.cut = met.cut.or((!fresh.is_empty()).then_some(cut));
            break;
        }
        met.attempts.extend(fresh);
        frontier = met.visit(beyond, limit.nodes);
        depth += 1;
    }
    Ok(met.closure())
}
