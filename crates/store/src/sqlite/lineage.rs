//! Walks through the lineage graph: breadth first over ids alone, each node once; records are read at the end.

use std::collections::HashSet;

use runstone_core::record::{ConsumedRecord, Lineage, NodeId, Trust};
use runstone_core::store::{Direction, WalkLimit};
use rusqlite::{CachedStatement, Transaction, params};

use super::{Outcome, attempts, datasets, decode};

/// Given a publication: the attempt that made it.
const PRODUCER: &str = "SELECT attempt_id FROM materialization WHERE id = ?1";
/// Given an attempt: what it read.
const INPUTS: &str = "SELECT mat_id FROM consumed WHERE attempt_id = ?1";
/// Given a publication: the attempts that made something of it.
const READERS: &str = "SELECT c.attempt_id FROM consumed c CROSS JOIN attempt a ON a.id = c.attempt_id \
     WHERE c.mat_id = ?1 AND a.state = 'succeeded'";
/// Given an attempt: what it published.
const OUTPUTS: &str = "SELECT id FROM materialization WHERE attempt_id = ?1";
/// Given an attempt: its edges.
const EDGES: &str = "SELECT mat_id, slot, trust FROM consumed WHERE attempt_id = ?1 ORDER BY mat_id, slot";

pub(super) fn walk(
    tx: &Transaction<'_>,
    project: i64,
    from: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> Outcome<Lineage> {
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
    let mut walk = Walk::new(tx, direction, limit)?;
    walk.run(start)?;
    walk.finish(tx, project)
}

struct Walk<'tx> {
    /// From a publication to the attempts beyond it.
    attempts_of: CachedStatement<'tx>,
    /// From an attempt to the publications beyond it.
    publications_of: CachedStatement<'tx>,
    limit: WalkLimit,
    publications: HashSet<i64>,
    attempts: HashSet<i64>,
    partial: bool,
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
            publications: HashSet::new(),
            attempts: HashSet::new(),
            partial: false,
        })
    }

    fn run(&mut self, start: Vec<i64>) -> Outcome<()> {
        let mut frontier = self.visit(start);
        let mut depth = 0;
        while !frontier.is_empty() {
            let reached = follow(&mut self.attempts_of, &frontier)?;
            let mut attempts: Vec<i64> = reached.into_iter().filter(|id| !self.attempts.contains(id)).collect();
            if self.limit.depth.is_some_and(|most| depth >= most) {
                self.partial |= !attempts.is_empty();
                break;
            }
            attempts.sort_unstable();
            attempts.dedup();
            self.attempts.extend(&attempts);
            let mut beyond = follow(&mut self.publications_of, &attempts)?;
            beyond.sort_unstable();
            beyond.dedup();
            frontier = self.visit(beyond);
            depth += 1;
        }
        Ok(())
    }

    /// Those not seen yet, as many as the limit allows.
    fn visit(&mut self, ids: Vec<i64>) -> Vec<i64> {
        let most = usize::try_from(self.limit.nodes).unwrap_or(usize::MAX);
        let mut fresh = Vec::new();
        for id in ids {
            if self.publications.contains(&id) {
                continue;
            }
            if self.publications.len() >= most {
                self.partial = true;
                break;
            }
            self.publications.insert(id);
            fresh.push(id);
        }
        fresh
    }

    fn finish(self, tx: &Transaction<'_>, project: i64) -> Outcome<Lineage> {
        let attempts: Vec<NodeId> = self.attempts.iter().copied().map(NodeId).collect();
        let attempts = attempts::by_id(tx, project, &attempts)?;
        let mut ids: Vec<i64> = self.publications.iter().copied().collect();
        ids.sort_unstable();
        let mut consumed = Vec::new();
        let mut edges = tx.prepare_cached(EDGES)?;
        for attempt in &attempts {
            let mut rows = edges.query([attempt.id.0])?;
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                if self.publications.contains(&id) {
                    consumed.push(ConsumedRecord {
                        attempt: attempt.id,
                        materialization: NodeId(id),
                        slot: row.get(1)?,
                        trust: decode::spelled(row, 2, Trust::parse)?,
                    });
                }
            }
        }
        let materializations = datasets::by_id(tx, project, &ids)?;
        Ok(Lineage { materializations, attempts, consumed, partial: self.partial })
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

    #[test]
    fn no_step_of_a_walk_reads_a_whole_table() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../../../migrations/sqlite/0001_record.sql")).unwrap();
        for sql in [PRODUCER, INPUTS, READERS, OUTPUTS, EDGES] {
            let plan: Vec<String> = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap()
                .query_map([1], |row| row.get(3))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{sql}: {plan:?}");
            // Neighbours come out of the index alone; only names of edges are read from rows.
            assert!(plan[0].contains("COVERING INDEX") || plan[0].contains("PRIMARY KEY"), "{sql}: {plan:?}");
        }
    }
}
