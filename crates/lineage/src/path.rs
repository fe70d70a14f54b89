//! How one version came from another: all that lies between them, and the shortest way.

use std::collections::{HashMap, HashSet, VecDeque};

use runstone_core::record::{Lineage, NodeId};
use runstone_core::store::{Direction, Store, WalkLimit};
use serde::Serialize;

use crate::graph::{self, LineageView};
use crate::view::reference;
use crate::{Error, Result};

/// How one version came from another.
#[derive(Debug, Clone, Serialize)]
pub struct PathView {
    /// One of the shortest ways, from the one to the other.
    pub shortest: Vec<Hop>,
    /// Everything that lies on any way between them.
    #[serde(flatten)]
    pub between: LineageView,
}

/// A version on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// As commands take it.
    pub version: String,
    /// Its node.
    pub version_node: i64,
    /// The attempt that made it of the one before; none for the first.
    pub made_by: Option<String>,
}

/// The ways between publications of two versions; which one came from the other is found out.
///
/// # Errors
/// [`Kind::NotFound`](crate::Kind::NotFound) where neither came from the other, or a limit kept that from being found out.
pub fn between(store: &mut dyn Store, one: &[NodeId], other: &[NodeId], limit: WalkLimit) -> Result<PathView> {
    let mut partial = false;
    for (from, to) in [(one, other), (other, one)] {
        let above = store.closure(to, Direction::Up, limit)?;
        partial |= above.cut.is_some();
        let set: HashSet<NodeId> = above.materializations.iter().copied().collect();
        if !from.iter().any(|node| set.contains(node)) {
            continue;
        }
        let below = store.closure(from, Direction::Down, limit)?;
        let cut = above.cut.or(below.cut);
        let on_the_way: Vec<NodeId> =
            below.materializations.iter().copied().filter(|node| set.contains(node)).collect();
        let lineage = records(store, &on_the_way, from)?;
        let shortest = shortest(&lineage, from, to);
        let between = graph::of_records(store, &Lineage { cut, ..lineage }, to, "path")?;
        return Ok(PathView { shortest, between });
    }
    Err(if partial {
        Error::not_found("no way between the two was found among the versions looked at").hint("raise --nodes")
    } else {
        Error::not_found("neither of the two came from the other")
    })
}

/// Publications with the attempts that made one of them of another; what the first ones were made of is left out.
fn records(store: &mut dyn Store, nodes: &[NodeId], from: &[NodeId]) -> Result<Lineage> {
    let materializations = store.materializations_by_id(nodes)?;
    let producers: Vec<NodeId> =
        materializations.iter().filter(|it| !from.contains(&it.id)).map(|it| it.attempt).collect();
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let mut consumed = store.consumed(&producers)?;
    consumed.retain(|edge| inside.contains(&edge.materialization));
    Ok(Lineage { attempts: store.attempts_by_id(&producers)?, materializations, consumed, cut: None })
}

/// Breadth first, in the order of ids, so that the answer is always the same.
fn shortest(lineage: &Lineage, from: &[NodeId], to: &[NodeId]) -> Vec<Hop> {
    let mut readers: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for edge in &lineage.consumed {
        readers.entry(edge.materialization).or_default().push(edge.attempt);
    }
    let mut made: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for version in &lineage.materializations {
        made.entry(version.attempt).or_default().push(version.id);
    }
    let mut came_from: HashMap<NodeId, Option<(NodeId, NodeId)>> = from.iter().map(|node| (*node, None)).collect();
    let mut todo: VecDeque<NodeId> = from.iter().copied().collect();
    let mut end = None;
    while let Some(node) = todo.pop_front() {
        if to.contains(&node) {
            end = Some(node);
            break;
        }
        for attempt in readers.get(&node).into_iter().flatten() {
            for next in made.get(attempt).into_iter().flatten() {
                if !came_from.contains_key(next) {
                    came_from.insert(*next, Some((node, *attempt)));
                    todo.push_back(*next);
                }
            }
        }
    }
    let mut hops = Vec::new();
    while let Some(node) = end {
        let step = came_from.get(&node).copied().flatten();
        let Some(version) = lineage.materializations.iter().find(|it| it.id == node) else { break };
        let attempt = step.and_then(|(_, attempt)| lineage.attempts.iter().find(|it| it.id == attempt));
        hops.push(Hop {
            version: reference(&version.dataset, &version.subset, version.version),
            version_node: node.0,
            made_by: attempt
                .map(|it| format!("#{} {}", it.run_number, runstone_core::cell::task_name(&it.step, &it.cell))),
        });
        end = step.map(|(before, _)| before);
    }
    hops.reverse();
    hops
}
