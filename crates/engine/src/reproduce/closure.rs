//! Which attempts are done again, and what each of them read: the attempt that is meant, or everything it rests on as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runstone_core::record::{AttemptRecord, MaterializationRecord, NodeId};
use runstone_core::store::{Direction, Store, StoreError, WalkLimit};

/// An attempt that did work, with what is on record around it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) attempt: AttemptRecord,
    /// What it published.
    pub(super) published: Vec<MaterializationRecord>,
    /// What it read, by the name of the input.
    pub(super) reads: Vec<(String, MaterializationRecord)>,
    /// Attempts of the closure that made what it read, each once.
    pub(super) needs: BTreeSet<NodeId>,
}

/// The attempt that did the work behind `attempt`, and with `deep` those that made what it read, and so on. In the order
/// of ids, in which everything comes after what it was made of. Empty where there is no such attempt.
pub(super) fn closure(
    store: &mut dyn Store,
    attempt: NodeId,
    deep: bool,
) -> Result<BTreeMap<NodeId, Link>, StoreError> {
    let mut links: BTreeMap<NodeId, Link> = BTreeMap::new();
    let mut frontier: Vec<AttemptRecord> = workers(store, &[attempt])?.into_values().collect();
    while !frontier.is_empty() {
        let found = around(store, frontier)?;
        let makers: BTreeSet<NodeId> =
            found.iter().flat_map(|link| link.reads.iter().map(|(_, read)| read.attempt)).collect();
        let makers: Vec<NodeId> = makers.into_iter().collect();
        let workers = if deep { workers(store, &makers)? } else { HashMap::new() };
        for mut link in found {
            let needed = link.reads.iter().filter_map(|(_, read)| workers.get(&read.attempt));
            link.needs = needed.map(|worker| worker.id).collect();
            links.insert(link.attempt.id, link);
        }
        let mut next: BTreeMap<NodeId, AttemptRecord> = BTreeMap::new();
        for worker in workers.into_values().filter(|worker| !links.contains_key(&worker.id)) {
            next.insert(worker.id, worker);
        }
        frontier = next.into_values().collect();
    }
    Ok(links)
}

/// By attempt: the one that did the work, which is another one where an earlier result was taken over.
fn workers(store: &mut dyn Store, attempts: &[NodeId]) -> Result<HashMap<NodeId, AttemptRecord>, StoreError> {
    let found = store.attempts_by_id(attempts)?;
    let origins: Vec<NodeId> = found.iter().filter_map(|attempt| attempt.reused_from).collect();
    let origins: HashMap<NodeId, AttemptRecord> =
        store.attempts_by_id(&origins)?.into_iter().map(|origin| (origin.id, origin)).collect();
    let worker = |attempt: AttemptRecord| match attempt.reused_from {
        Some(origin) => Some((attempt.id, origins.get(&origin)?.clone())),
        None => Some((attempt.id, attempt)),
    };
    Ok(found.into_iter().filter_map(worker).collect())
}

/// What these attempts read and published.
fn around(store: &mut dyn Store, attempts: Vec<AttemptRecord>) -> Result<Vec<Link>, StoreError> {
    let ids: Vec<NodeId> = attempts.iter().map(|attempt| attempt.id).collect();
    let mut published: HashMap<NodeId, Vec<MaterializationRecord>> = HashMap::new();
    let mut start = Vec::new();
    for record in store.published(&ids)? {
        start.push(record.id);
        published.entry(record.attempt).or_default().push(record);
    }
    let limit = WalkLimit { depth: Some(1), ..WalkLimit::NONE };
    let lineage = store.lineage(&start, Direction::Up, limit)?;
    let things: HashMap<NodeId, MaterializationRecord> =
        lineage.materializations.into_iter().map(|record| (record.id, record)).collect();
    let mut reads: HashMap<NodeId, Vec<(String, MaterializationRecord)>> = HashMap::new();
    for edge in lineage.consumed {
        if let Some(thing) = things.get(&edge.materialization) {
            reads.entry(edge.attempt).or_default().push((edge.slot, thing.clone()));
        }
    }
    let link = |attempt: AttemptRecord| Link {
        published: published.remove(&attempt.id).unwrap_or_default(),
        reads: reads.remove(&attempt.id).unwrap_or_default(),
        needs: BTreeSet::new(),
        attempt,
    };
    Ok(attempts.into_iter().map(link).collect())
}
