//! Walks through the index. Level by level, in the same order and with the same limits as a store, so that both give the
//! same answers.

use std::time::Instant;

use runstone_core::lineage::store::Closure;
use runstone_core::record::{Cut, NodeId};
use runstone_core::store::{Direction, WalkLimit};

use super::bits::Bits;
use super::graph::Graph;

pub(super) fn closure(graph: &Graph, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Closure {
    let start: Vec<u32> = from.iter().filter_map(|id| graph.publication(*id)).collect();
    if start.is_empty() {
        return Closure::default();
    }
    let met = Bits::new(graph.nodes());
    let mut walk = Walk { graph, direction, limit, met, publications: Vec::new(), attempts: Vec::new(), cut: None };
    walk.run(start);
    walk.closure()
}

/// Those of one level stand together at the end of what was met, so that a level takes no memory of its own.
struct Walk<'g> {
    graph: &'g Graph,
    direction: Direction,
    limit: WalkLimit,
    met: Bits,
    publications: Vec<u32>,
    attempts: Vec<u32>,
    cut: Option<Cut>,
}

impl Walk<'_> {
    /// `beyond` are publications that were reached, some of them met before, some of them twice.
    fn run(&mut self, mut beyond: Vec<u32>) {
        let until = self.limit.time.and_then(|time| Instant::now().checked_add(time));
        for depth in 0.. {
            let frontier = self.publications.len();
            self.visit(&mut beyond);
            let fresh = self.attempts.len();
            self.meet_attempts(frontier);
            if self.attempts.len() == fresh {
                break;
            }
            let cut = if self.limit.depth.is_some_and(|most| depth >= most) {
                Some(Cut::Depth)
            } else {
                until.filter(|until| Instant::now() >= *until).map(|_| Cut::Time)
            };
            if cut.is_some() {
                self.attempts.truncate(fresh);
                self.cut = self.cut.or(cut);
                break;
            }
            self.reach_publications(fresh, &mut beyond);
        }
    }

    /// Meets publications, as many as the limit allows: then those with the smallest ids.
    fn visit(&mut self, beyond: &mut Vec<u32>) {
        let most = self.limit.nodes as usize;
        if self.publications.len() + beyond.len() > most {
            beyond.sort_unstable();
        }
        for publication in beyond.drain(..) {
            if self.met.has(publication) {
                continue;
            }
            if self.publications.len() >= most {
                self.cut.get_or_insert(Cut::Nodes);
                break;
            }
            self.met.set(publication);
            self.publications.push(publication);
        }
    }

    /// Meets the attempts beyond publications.
    fn meet_attempts(&mut self, frontier: usize) {
        let Self { graph, met, attempts, .. } = self;
        for publication in &self.publications[frontier..] {
            match self.direction {
                Direction::Up => {
                    let makers = graph.before(*publication).iter().copied();
                    attempts.extend(makers.filter(|attempt| met.insert(*attempt)));
                }
                Direction::Down => {
                    let readers = graph.after(*publication).filter(|attempt| graph.has_succeeded(*attempt));
                    attempts.extend(readers.filter(|attempt| met.insert(*attempt)));
                }
            }
        }
    }

    /// The publications beyond attempts.
    fn reach_publications(&self, fresh: usize, beyond: &mut Vec<u32>) {
        for attempt in &self.attempts[fresh..] {
            match self.direction {
                Direction::Up => beyond.extend_from_slice(self.graph.before(*attempt)),
                Direction::Down => beyond.extend(self.graph.after(*attempt)),
            }
        }
    }

    fn closure(self) -> Closure {
        let ids = |mut nodes: Vec<u32>| {
            nodes.sort_unstable();
            nodes.into_iter().map(|node| self.graph.ids.at(node)).collect()
        };
        Closure { materializations: ids(self.publications), attempts: ids(self.attempts), cut: self.cut }
    }
}
