//! The graph as arrays of positions. What a node came from is one row behind the other, and only ever appended; what came of
//! it is sorted once in a while (compressed sparse rows), and chained to it in between.
//!
//! Nodes come in the order of ids, and every edge leads to the later one of its ends. So a node's row of predecessors is
//! complete when it is appended, and the last nodes can be taken off again.

use std::collections::BTreeSet;

use runstone_core::lineage::store::Edges;
use runstone_core::record::NodeId;

use super::bits::Bits;
use super::ids::Ids;
use super::reserve;
use crate::{Error, Kind, Result};

/// Edges that are chained before anything is sorted.
const CHAINED: usize = 1 << 16;
/// Beyond that, the part of all edges that may be chained: so that an edge is sorted five times in its life at most.
const SHARE: usize = 4;

/// Attempts and publications, and the edges between them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) ids: Ids,
    /// Which nodes are publications.
    publications: Bits,
    /// Which attempts are known to have succeeded.
    succeeded: Bits,
    /// Attempts that are not known to have ended.
    open: BTreeSet<u32>,
    /// By node: where its row in `from` ends.
    ends: Vec<u32>,
    /// What attempts read, and who made publications.
    from: Vec<u32>,
    sorted: Sorted,
    /// By node: the last link of its chain, counted from 1.
    last: Vec<u32>,
    /// For each edge in `from` that is not sorted yet.
    links: Vec<Link>,
}

/// What came of nodes, by edges up to some point of time.
#[derive(Debug, Default)]
struct Sorted {
    /// By node: where its row ends.
    ends: Vec<u32>,
    to: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    to: u32,
    /// The link before this one, counted from 1.
    before: u32,
}

/// A state of the graph that it can be taken back to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    nodes: usize,
}

impl Graph {
    pub(super) fn nodes(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn edges(&self) -> usize {
        self.from.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let numbers = [&self.ends, &self.from, &self.sorted.ends, &self.sorted.to, &self.last];
        numbers.iter().map(|all| all.capacity() * size_of::<u32>()).sum::<usize>()
            + self.links.capacity() * size_of::<Link>()
            + self.ids.bytes()
            + self.publications.bytes()
            + self.succeeded.bytes()
    }

    /// Where a publication is.
    pub(super) fn publication(&self, id: NodeId) -> Option<u32> {
        self.ids.position(id).filter(|node| self.publications.has(*node))
    }

    pub(super) fn has_succeeded(&self, attempt: u32) -> bool {
        self.succeeded.has(attempt)
    }

    /// What an attempt read, or who made a publication.
    pub(super) fn before(&self, node: u32) -> &[u32] {
        row(&self.ends, &self.from, node)
    }

    /// Who read a publication, or what an attempt published, in no order.
    pub(super) fn after(&self, node: u32) -> impl Iterator<Item = u32> {
        let mut link = self.last[node as usize];
        let chained = std::iter::from_fn(move || {
            let found = self.links.get((link as usize).checked_sub(1)?)?;
            link = found.before;
            Some(found.to)
        });
        let sorted =
            if (node as usize) < self.sorted.ends.len() { row(&self.sorted.ends, &self.sorted.to, node) } else { &[] };
        sorted.iter().copied().chain(chained)
    }

    /// Attempts that are not known to have ended, in the order of ids.
    pub(super) fn open(&self) -> Vec<NodeId> {
        self.open.iter().map(|attempt| self.ids.at(*attempt)).collect()
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, attempt: NodeId, succeeded: bool) {
        if let Some(attempt) = self.ids.position(attempt) {
            self.decide(attempt, succeeded);
        }
    }

    fn decide(&mut self, attempt: u32, succeeded: bool) {
        self.open.remove(&attempt);
        if succeeded {
            self.succeeded.set(attempt);
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { nodes: self.nodes() }
    }

    /// Forgets the nodes after a mark, which must not be sorted. What attempts before it are known to have become stays: it
    /// was on record, and is final.
    pub(super) fn take_back(&mut self, to: Mark) {
        let edges = to.nodes.checked_sub(1).map_or(0, |last| self.ends[last] as usize);
        while self.from.len() > edges
            && let Some(from) = self.from.pop()
        {
            let link = self.links.pop().expect("an edge after a mark is not sorted");
            self.last[from as usize] = link.before;
        }
        self.ends.truncate(to.nodes);
        self.last.truncate(to.nodes);
        self.publications.truncate(to.nodes);
        self.succeeded.truncate(to.nodes);
        self.ids.truncate(to.nodes);
        self.open.retain(|attempt| (*attempt as usize) < to.nodes);
    }

    /// Appends what a store gave.
    ///
    /// # Errors
    /// Where that is no continuation of the graph. What was appended before is closed: nothing in it came from what is
    /// missing.
    pub(super) fn append(&mut self, edges: &Edges) -> Result<()> {
        let mut attempts = edges.attempts.iter().peekable();
        let mut produced = edges.produced.iter().peekable();
        let mut consumed = edges.consumed.iter().peekable();
        loop {
            let attempt = attempts.next_if(|(id, _)| produced.peek().is_none_or(|(_, made)| id < made));
            if let Some((id, outcome)) = attempt {
                let read = std::iter::from_fn(|| consumed.next_if(|(_, reader)| reader == id)).map(|(read, _)| *read);
                let node = self.node(*id, read)?;
                match outcome {
                    Some(succeeded) => self.decide(node, *succeeded),
                    None => _ = self.open.insert(node),
                }
            } else if let Some((maker, id)) = produced.next() {
                let node = self.node(*id, std::iter::once(*maker))?;
                self.publications.set(node);
                let maker = self.before(node)[0];
                self.decide(maker, true);
            } else {
                break;
            }
        }
        match consumed.next() {
            None => Ok(()),
            Some((_, reader)) => Err(Error::damaged(format!("what {} read is not in the order of ids", reader.0))),
        }
    }

    /// Appends a node with what it came from.
    fn node(&mut self, id: NodeId, came_from: impl Iterator<Item = NodeId>) -> Result<u32> {
        let first = self.from.len();
        for earlier in came_from {
            let Some(position) = self.ids.position(earlier) else {
                self.from.truncate(first);
                return Err(Error::damaged(format!("{} came from {}, which is not on record", id.0, earlier.0)));
            };
            reserve(&mut self.from, 1);
            self.from.push(position);
        }
        let position = u32::try_from(self.from.len()).ok().and_then(|end| Some((end, self.ids.push(id)?)));
        let Some((end, node)) = position else {
            self.from.truncate(first);
            return Err(Error::new(Kind::Refused, format!("node {} does not fit into an index", id.0)));
        };
        reserve(&mut self.links, self.from.len() - first);
        for from in &self.from[first..] {
            let last = &mut self.last[*from as usize];
            self.links.push(Link { to: node, before: *last });
            *last = u32::try_from(self.links.len()).expect("there are fewer links than edges");
        }
        for array in [&mut self.ends, &mut self.last] {
            reserve(array, 1);
        }
        self.ends.push(end);
        self.last.push(0);
        self.publications.push();
        self.succeeded.push();
        Ok(node)
    }

    /// Sorts all edges, where enough of them are chained.
    pub(super) fn sort_if_due(&mut self) {
        if self.links.len() > CHAINED.max(self.from.len() / SHARE) {
            self.sort();
        }
    }

    /// Sorts all edges by counting. Takes time in proportion to all edges.
    pub(super) fn sort(&mut self) {
        self.links = Vec::new();
        self.last.fill(0);
        let Sorted { ends, to } = &mut self.sorted;
        // Where each row begins; filling it moves this to its end.
        ends.clear();
        ends.reserve_exact(self.ids.len());
        ends.resize(self.ids.len(), 0);
        for from in &self.from {
            ends[*from as usize] += 1;
        }
        let mut begin = 0;
        for count in ends.iter_mut() {
            begin += std::mem::replace(count, begin);
        }
        to.clear();
        to.reserve_exact(self.from.len());
        to.resize(self.from.len(), 0);
        let mut first = 0;
        for (node, end) in (0..).zip(&self.ends) {
            for from in &self.from[first as usize..*end as usize] {
                let at = &mut ends[*from as usize];
                to[*at as usize] = node;
                *at += 1;
            }
            first = *end;
        }
    }
}

/// A row of many that stand one behind the other.
fn row<'a>(ends: &[u32], all: &'a [u32], node: u32) -> &'a [u32] {
    let node = node as usize;
    let begin = node.checked_sub(1).map_or(0, |before| ends[before]);
    &all[begin as usize..ends[node] as usize]
}
