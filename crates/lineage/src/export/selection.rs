//! Which attempts an export is about.

use std::collections::BTreeSet;

use runstone_core::lineage::store::Search;
use runstone_core::record::NodeId;
use runstone_core::store::{Direction, Store, WalkLimit};
use runstone_core::time::Timestamp;

use crate::Result;

/// Attempts asked of the store at a time.
const PAGE: u32 = 500;

/// What is meant.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// What made these publications, all they were made of, and what did the work where a result was reused.
    Up(&'a [NodeId]),
    /// Every attempt.
    All,
    /// Every attempt that was put on record at this time or later.
    Since(Timestamp),
}

/// The attempts that are meant, in the order of ids: eight bytes for each, whatever is known of them.
///
/// # Errors
/// Where the record cannot be read.
pub fn attempts(store: &mut dyn Store, wanted: Selection<'_>) -> Result<Vec<NodeId>> {
    match wanted {
        Selection::Up(publications) => behind(store, publications),
        Selection::All => all(store, None),
        Selection::Since(since) => all(store, Some(since)),
    }
}

fn behind(store: &mut dyn Store, publications: &[NodeId]) -> Result<Vec<NodeId>> {
    let mut all: BTreeSet<NodeId> = BTreeSet::new();
    let mut from = publications.to_vec();
    while !from.is_empty() {
        let found = store.closure(&from, Direction::Up, WalkLimit::NONE)?;
        let fresh: Vec<NodeId> = found.attempts.into_iter().filter(|id| all.insert(*id)).collect();
        let origins: Vec<NodeId> = store
            .attempts_by_id(&fresh)?
            .into_iter()
            .filter_map(|attempt| attempt.reused_from)
            .filter(|origin| all.insert(*origin))
            .collect();
        // One that published nothing has no publication to walk from.
        from = store.published(&origins)?.into_iter().map(|made| made.id).collect();
    }
    Ok(all.into_iter().collect())
}

fn all(store: &mut dyn Store, since: Option<Timestamp>) -> Result<Vec<NodeId>> {
    let mut page = Search { since, limit: PAGE, ..Search::default() };
    let mut ids = Vec::new();
    loop {
        let found = store.search(&page)?;
        ids.extend(found.iter().map(|attempt| attempt.id));
        page.before = match found.last() {
            Some(last) => Some(last.id),
            None => break,
        };
    }
    ids.reverse();
    Ok(ids)
}
