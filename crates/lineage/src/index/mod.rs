//! The lineage graph in memory, for a process that lives long enough to ask it often. Without it every question is
//! answered by the store itself; with it the answers are the same, and come without a database.
//!
//! It holds ids and nothing else; records are read from the store, for the few nodes that are shown.
//!
//! **What it sees.** After [`Index::refresh`] it shows everything that was on record when that began. What is committed
//! meanwhile may be part of it or not, but nothing is ever shown without all that it was made of. Between refreshes
//! nothing changes.
//!
//! **What stays to be read again.** A transaction that took low ids may commit after one that took higher ones. What lies
//! at or below a settled id (see [`Horizon`]) never changes any more and is read once. What lies above it is taken back at
//! each refresh and read again, in one transaction, so that it fits together. That part is as long as the longest
//! transaction under way on the server.
//!
//! **Attempts that did not succeed** read what they read, and still nothing came of it: walks downwards leave them out. Their
//! end is not an edge, and no id tells when it comes. So the index remembers which attempts have not ended, and asks the
//! store about these at each refresh.
//!
//! **Memory.** 8 bytes an edge, be it of reading or of publishing, and 17 a node; up to an eighth more where it grew, and 8
//! bytes more for each of the newest edges, a quarter of all at most. While a page is read, that page.

mod bits;
mod graph;
mod ids;
#[cfg(test)]
mod tests;
mod walk;

use runstone_core::lineage::store::{Closure, Edges, Horizon, LineageStore};
use runstone_core::record::NodeId;
use runstone_core::store::{Direction, Result as StoreResult, WalkLimit};

use graph::{Graph, Mark};

use crate::{Error, Kind, Result};

/// Ids read at a time.
const PAGE: u32 = 1 << 17;

/// The lineage graph of one project in memory.
#[derive(Debug)]
pub struct Index {
    graph: Graph,
    /// Every id up to this one is decided.
    settled: NodeId,
    /// The graph up to there.
    mark: Mark,
    /// Not passed yet.
    horizon: Option<Horizon>,
}

/// How large an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Attempts and publications.
    pub nodes: usize,
    /// Readings and publishings.
    pub edges: usize,
    /// Memory it takes, in bytes.
    pub bytes: usize,
}

impl Index {
    /// Reads the whole graph.
    ///
    /// # Errors
    /// Where the record cannot be read, or given out more than 2³² ids since the project's first.
    pub fn build(store: &mut dyn LineageStore) -> Result<Self> {
        let mut index = Self::empty();
        index.refresh(store)?;
        Ok(index)
    }

    fn empty() -> Self {
        Self { graph: Graph::default(), settled: NodeId(0), mark: Mark::default(), horizon: None }
    }

    /// Reads what is new. After an error it shows what is settled.
    ///
    /// # Errors
    /// As [`Index::build`]; [`Kind::Refused`] where the record ends before what was read of it already, because it is
    /// another one or was restored: build a new index then.
    pub fn refresh(&mut self, store: &mut dyn LineageStore) -> Result<()> {
        self.read_on(&mut Record(store))
    }

    /// The nodes around publications, as [`LineageStore::closure`] gives them.
    #[must_use]
    pub fn closure(&self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Closure {
        walk::closure(&self.graph, from, direction, limit)
    }

    /// How large it is.
    #[must_use]
    pub fn size(&self) -> Size {
        Size { nodes: self.graph.nodes(), edges: self.graph.edges(), bytes: self.graph.bytes() }
    }

    fn read_on(&mut self, source: &mut impl Source) -> Result<()> {
        self.graph.take_back(self.mark);
        let settled = self.settle(source)?;
        for (attempt, succeeded) in source.ended(&self.graph.open())? {
            self.graph.end(attempt, succeeded);
        }
        while self.settled < settled {
            let ids = u32::try_from(settled.0 - self.settled.0).unwrap_or(u32::MAX).min(PAGE);
            let page = source.edges(self.settled, ids)?;
            if page.until <= self.settled {
                return Err(went_back(page.until, settled));
            }
            self.append(&page)?;
            self.settled = page.until;
            self.mark = self.graph.mark();
        }
        self.graph.sort_if_due();
        let rest = source.edges(self.settled, u32::MAX)?;
        self.append(&rest)
    }

    /// Up to where everything is decided by now. Two looks, so that a quiet database is settled as far as it goes.
    fn settle(&mut self, source: &mut impl Source) -> Result<NodeId> {
        let mut settled = self.settled;
        for _ in 0..2 {
            let now = source.horizon()?;
            if now.newest < self.settled {
                return Err(went_back(now.newest, self.settled));
            }
            match self.horizon {
                Some(seen) if now.oldest < seen.fence => {}
                seen => {
                    settled = settled.max(seen.map_or(settled, |seen| seen.newest));
                    self.horizon = Some(now);
                }
            }
        }
        Ok(settled)
    }

    fn append(&mut self, page: &Edges) -> Result<()> {
        let appended = self.graph.append(page);
        if appended.is_err() {
            self.graph.take_back(self.mark);
        }
        appended
    }
}

fn went_back(ends: NodeId, seen: NodeId) -> Error {
    let message = format!("the record ends with node {}, and {} was settled before", ends.0, seen.0);
    Error::new(Kind::Refused, message).hint("build the index anew: it is of another record, or of a newer one")
}

/// What an index needs of a record.
trait Source {
    fn horizon(&mut self) -> StoreResult<Horizon>;
    fn edges(&mut self, after: NodeId, ids: u32) -> StoreResult<Edges>;
    fn ended(&mut self, attempts: &[NodeId]) -> StoreResult<Vec<(NodeId, bool)>>;
}

struct Record<'a>(&'a mut dyn LineageStore);

impl Source for Record<'_> {
    fn horizon(&mut self) -> StoreResult<Horizon> {
        self.0.horizon()
    }

    fn edges(&mut self, after: NodeId, ids: u32) -> StoreResult<Edges> {
        self.0.edges(after, ids)
    }

    fn ended(&mut self, attempts: &[NodeId]) -> StoreResult<Vec<(NodeId, bool)>> {
        self.0.ended(attempts)
    }
}

/// Makes room for more. A large array grows by an eighth, not to the double.
fn reserve<T>(array: &mut Vec<T>, more: usize) {
    if array.capacity() - array.len() < more {
        array.reserve_exact(more.max(array.len() / 8).max(64));
    }
}
