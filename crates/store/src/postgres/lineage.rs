//! Walks through the lineage graph, over ids alone; records are read at the end.
//!
//! A walk without a bound of depth is one statement that keeps each id once. Where it would meet more than it may, or has
//! a bound of depth, it goes level by level instead, so that what is left out is what is farthest.

use std::collections::BTreeSet;

use runstone_core::record::{ConsumedRecord, Lineage, NodeId, Trust};
use runstone_core::store::{Direction, WalkLimit};
use sqlx::postgres::PgBindIterExt;

use super::session::{Tx, TxError};
use super::value::{get, get_state};
use super::{attempts, datasets};

/// All publications that the publications `$1` were made of, these included, as ids, `$2` at most. Runs in the schema
/// `runstone` and touches indexes only.
pub const CLOSURE_UP: &str = "WITH RECURSIVE up(id) AS ( \
         SELECT unnest($1::bigint[]) \
     UNION \
         SELECT c.mat_id FROM up JOIN materialization m ON m.id = up.id JOIN consumed c ON c.attempt_id = m.attempt_id) \
     SELECT id FROM up LIMIT $2";

/// All publications that were made of the publications `$1`, these included, as ids, `$2` at most. Runs in the schema
/// `runstone` and touches indexes only.
pub const CLOSURE_DOWN: &str = "WITH RECURSIVE down(id) AS ( \
         SELECT unnest($1::bigint[]) \
     UNION \
         SELECT m.id FROM down JOIN consumed c ON c.mat_id = down.id JOIN materialization m ON m.attempt_id = c.attempt_id) \
     SELECT id FROM down LIMIT $2";

/// Producers of publications, each with what it read.
const LEVEL_UP: &str = "SELECT DISTINCT m.attempt_id AS attempt, c.mat_id AS beyond \
     FROM unnest($1::bigint[]) AS w(id) JOIN materialization m ON m.id = w.id \
     LEFT JOIN consumed c ON c.attempt_id = m.attempt_id";

/// Readers of publications that succeeded, each with what it published.
const LEVEL_DOWN: &str = "SELECT DISTINCT c.attempt_id AS attempt, m.id AS beyond \
     FROM unnest($1::bigint[]) AS w(id) JOIN consumed c ON c.mat_id = w.id \
     JOIN attempt a ON a.id = c.attempt_id AND a.state = 'succeeded' \
     LEFT JOIN materialization m ON m.attempt_id = c.attempt_id";

/// The graph around publications.
pub(super) async fn walk(
    tx: &mut Tx<'_>,
    project: i64,
    from: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> Result<Lineage, TxError> {
    let start = known(tx, project, from).await?;
    let met = match limit.depth {
        None => match closure(tx, &start, direction, limit.nodes).await? {
            Some(met) => met,
            None => by_level(tx, start, direction, limit).await?,
        },
        Some(_) => by_level(tx, start, direction, limit).await?,
    };
    read(tx, project, met).await
}

/// What a walk met.
#[derive(Debug, Default)]
struct Met {
    publications: BTreeSet<i64>,
    attempts: BTreeSet<i64>,
    partial: bool,
}

/// Those that are on record in the project. Edges never leave it, so it is enough to look where the walk starts.
async fn known(tx: &mut Tx<'_>, project: i64, from: &[NodeId]) -> Result<Vec<i64>, TxError> {
    const SELECT: &str = "SELECT m.id FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         WHERE m.id = ANY($2) AND a.project_id = $1 ORDER BY m.id";
    let query = tx.query(SELECT).bind(project).bind(from.iter().map(|id| id.0).bind_iter());
    tx.rows(query).await?.iter().map(|row| get(row, "id")).collect()
}

/// Everything there is to meet; none where that is more than `nodes`.
async fn closure(tx: &mut Tx<'_>, start: &[i64], direction: Direction, nodes: u32) -> Result<Option<Met>, TxError> {
    const PRODUCERS: &str = "SELECT DISTINCT m.attempt_id AS attempt \
         FROM unnest($1::bigint[]) AS w(id) JOIN materialization m ON m.id = w.id";
    const READERS: &str = "SELECT DISTINCT c.attempt_id AS attempt \
         FROM unnest($1::bigint[]) AS w(id) JOIN consumed c ON c.mat_id = w.id \
         JOIN attempt a ON a.id = c.attempt_id AND a.state = 'succeeded'";
    let (sql, attempts) = match direction {
        Direction::Up => (CLOSURE_UP, PRODUCERS),
        Direction::Down => (CLOSURE_DOWN, READERS),
    };
    let query = tx.query(sql).bind(start).bind(i64::from(nodes) + 1);
    let publications: BTreeSet<i64> =
        tx.rows(query).await?.iter().map(|row| get(row, "id")).collect::<Result<_, _>>()?;
    if publications.len() > nodes as usize {
        return Ok(None);
    }
    let query = tx.query(attempts).bind(publications.iter().copied().bind_iter());
    let attempts = tx.rows(query).await?.iter().map(|row| get(row, "attempt")).collect::<Result<_, _>>()?;
    Ok(Some(Met { publications, attempts, partial: false }))
}

async fn by_level(tx: &mut Tx<'_>, start: Vec<i64>, direction: Direction, limit: WalkLimit) -> Result<Met, TxError> {
    let sql = match direction {
        Direction::Up => LEVEL_UP,
        Direction::Down => LEVEL_DOWN,
    };
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
        if limit.depth.is_some_and(|most| depth >= most) {
            met.partial |= !fresh.is_empty();
            break;
        }
        met.attempts.extend(fresh);
        frontier = met.visit(beyond, limit.nodes);
        depth += 1;
    }
    Ok(met)
}

impl Met {
    /// Those not met yet, in order, as many as the limit allows.
    fn visit(&mut self, ids: impl IntoIterator<Item = i64>, most: u32) -> Vec<i64> {
        let mut fresh = Vec::new();
        for id in ids {
            if self.publications.contains(&id) {
                continue;
            }
            if self.publications.len() >= most as usize {
                self.partial = true;
                break;
            }
            self.publications.insert(id);
            fresh.push(id);
        }
        fresh
    }
}

async fn read(tx: &mut Tx<'_>, project: i64, met: Met) -> Result<Lineage, TxError> {
    const EDGES: &str = "SELECT attempt_id, mat_id, slot, trust FROM consumed \
         WHERE attempt_id = ANY($1) ORDER BY attempt_id, mat_id, slot";
    let query = tx.query(EDGES).bind(met.attempts.iter().copied().bind_iter());
    let mut consumed = Vec::new();
    for row in tx.rows(query).await? {
        let id: i64 = get(&row, "mat_id")?;
        if met.publications.contains(&id) {
            consumed.push(ConsumedRecord {
                attempt: NodeId(get(&row, "attempt_id")?),
                materialization: NodeId(id),
                slot: get(&row, "slot")?,
                trust: get_state(&row, "trust", Trust::parse)?,
            });
        }
    }
    let attempts: Vec<NodeId> = met.attempts.into_iter().map(NodeId).collect();
    let publications: Vec<i64> = met.publications.into_iter().collect();
    Ok(Lineage {
        attempts: attempts::by_id(tx, project, &attempts).await?,
        materializations: datasets::by_id(tx, project, &publications).await?,
        consumed,
        partial: met.partial,
    })
}
