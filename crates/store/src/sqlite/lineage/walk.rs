//! Walks through the lineage graph: breadth first over ids alone, each node once; records are read at the end.

use std::collections::HashSet;
use std::time::Instant;

use runstone_core::lineage::store::Closure;
use runstone_core::record::{Cut, Lineage, NodeId};
use runstone_core::store::{Direction, WalkLimit};
use rusqlite::{CachedStatement, Transaction, params};

use super::edges;
use crate::met::Met;
use crate::sqlite::{Outcome, attempts, datasets};

/// Given a publication: the attempt that made it.
const PRODUCER: &str = "SELECT attempt_id FROM materialization WHERE id = ?1";
/// Given an attempt: what it read.
const INPUTS: &str = "SELECT mat_id FROM consumed WHERE attempt_id = ?1";
/// Given a publication: the attempts that made something of it.
const READERS: &str = "SELECT c.attempt_id FROM consumed c CROSS JOIN attempt a ON a.id = c.attempt_id \
     WHERE c.mat_id = ?1 AND a.state = 'succeeded'";
/// Given an attempt: what it published.
const OUTPUTS: &str = "SELECT id FROM materialization WHERE attempt_id = ?1";

/// The nodes around publications.
pub(super) fn closure(
    tx: &Transaction<'_>,
    project: i64,
    from: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> Outcome<Closure> {
    // Edges never leave a project, so that it is enough to look where the walk starts.
    let mut start = Vec::new();
    let mut known = tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM materialization m JOIN attempt a ON a.id = m.attempt_id
                        WHERE m.id = ?1 AND a.project_id = ?2)",
    )?;
    for id in attempts::sorted(from) {
        if known.query_row(params![id.0, project], |row| row.get(0))? {
            start.push(id.0);
        }
    }
    Walk::new(tx, direction, limit)?.run(start)
}

/// The graph around publications, with its records.
pub(in crate::sqlite) fn lineage(
    tx: &Transaction<'_>,
    project: i64,
    from: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> Outcome<Lineage> {
    let found = closure(tx, project, from, direction, limit)?;
    let inside: HashSet<NodeId> = found.materializations.iter().copied().collect();
    let mut consumed = edges::consumed(tx, project, &found.attempts)?;
    consumed.retain(|edge| inside.contains(&edge.materialization));
    Ok(Lineage {
        materializations: datasets::by_id(tx, project, &found.materializations)?,
        attempts: attempts::by_id(tx, project, &found.attempts)?,
        consumed,
        cut: found.cut,
    })
}

struct Walk<'tx> {
    /// From a publication to the attempts beyond it.
    attempts_of: CachedStatement<'tx>,
    /// From an attempt to the publications beyond it.
    publications_of: CachedStatement<'tx>,
    limit: WalkLimit,
    until: Option<Instant>,
}

impl<'tx> Walk<'tx> {
    fn new(tx: &'tx Transaction<'_>, direction: Direction, limit: WalkLimit) -> Outcome<Self> {
        let (attempts_of, publications_of) = match direction {
            Direction::Up => (PRODUCER, INPUTS),
            Direction::Down => (READERS, OUTPUTS),
        };
        Ok(Self {
            attempts_of: tx.prepare_cached(attempts_of)?,
            publications_of: tx.prepare_cached(publications_of)?,
            limit,
            until: limit.time.and_then(|time| Instant::now().checked_add(time)),
        })
    }

    fn run(mut self, start: Vec<i64>) -> Outcome<Closure> {
        let mut met = Met::default();
        let mut frontier = met.visit(start, self.limit.nodes);
        let mut depth = 0;
        while !frontier.is_empty() {
            let reached = follow(&mut self.attempts_of, &frontier)?;
            let mut attempts: Vec<i64> = reached.into_iter().filter(|id| !met.attempts.contains(id)).collect();
            if self.limit.depth.is_some_and(|most| depth >= most) {
                if !attempts.is_empty() {
                    met.cut.get_or_insert(Cut::Depth);
                }
                break;
            }
            if !attempts.is_empty() && self.until.is_some_and(|until| Instant::now() >= until) {
                met.cut.get_or_insert(Cut::Time);
                break;
            }
            attempts.sort_unstable();
            attempts.dedup();
            met.attempts.extend(&attempts);
            let mut beyond = follow(&mut self.publications_of, &attempts)?;
            beyond.sort_unstable();
            beyond.dedup();
            frontier = met.visit(beyond, self.limit.nodes);
            depth += 1;
        }
        Ok(met.closure())
    }
}

fn follow(statement: &mut CachedStatement<'_>, from: &[i64]) -> Outcome<Vec<i64>> {
    let mut reached = Vec::with_capacity(from.len());
    for id in from {
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            reached.push(row.get(0)?);
        }
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sql: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../../../../migrations/sqlite/0001_record.sql")).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.raw_query().mapped(|row| row.get(3));
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn a_page_of_edges_is_read_by_its_ids() {
        for sql in [edges::ATTEMPTS, edges::READ, edges::MADE] {
            let plan = plan(sql);
            let (first, rest) = plan.split_first().unwrap();
            assert!(first.contains("PRIMARY KEY (rowid>?") || first.contains("PRIMARY KEY (attempt_id>?"), "{plan:?}");
            let only_of_edges_across =
                |step: &String| step.contains("CORRELATED") || step.contains("INTEGER PRIMARY KEY (rowid=?)");
            assert!(rest.iter().all(only_of_edges_across), "{sql}: {plan:?}");
        }
    }

    #[test]
    fn no_step_of_a_walk_reads_a_whole_table() {
        for sql in [PRODUCER, INPUTS, READERS, OUTPUTS, edges::CONSUMED] {
            let plan = plan(sql);
            assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{sql}: {plan:?}");
            // Neighbours come out of the index alone; only names of edges are read from rows.
            assert!(plan[0].contains("COVERING INDEX") || plan[0].contains("PRIMARY KEY"), "{sql}: {plan:?}");
        }
    }
}
