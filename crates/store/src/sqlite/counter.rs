//! The last ids given out, read once and written once in a transaction.

use runstone_core::record::NodeId;
use rusqlite::{Transaction, params};

use super::Outcome;

/// Gives out ids of nodes and events. Exact because the transaction is the only writer.
#[derive(Debug)]
pub(super) struct Counter {
    loaded: (i64, i64),
    node: i64,
    event: i64,
}

impl Counter {
    pub(super) fn load(tx: &Transaction<'_>) -> Outcome<Self> {
        let loaded = tx
            .prepare_cached("SELECT node, event FROM counter WHERE id = 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { loaded, node: loaded.0, event: loaded.1 })
    }

    pub(super) fn next_node(&mut self) -> NodeId {
        self.node += 1;
        NodeId(self.node)
    }

    pub(super) fn next_event(&mut self) -> i64 {
        self.event += 1;
        self.event
    }

    pub(super) fn save(self, tx: &Transaction<'_>) -> Outcome<()> {
        if self.loaded != (self.node, self.event) {
            tx.prepare_cached("UPDATE counter SET node = ?1, event = ?2 WHERE id = 1")?
                .execute(params![self.node, self.event])?;
        }
        Ok(())
    }
}
