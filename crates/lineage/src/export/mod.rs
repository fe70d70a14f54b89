//! What is on record, in forms that other tools read: in-toto statements with SLSA provenance, W3C PROV.
//!
//! The archive, which can be verified whole, is [`archive`](crate::archive).

pub mod in_toto;
pub mod prov;

use std::collections::HashSet;

use runstone_core::record::{MaterializationRecord, NodeId};
use runstone_core::store::{Direction, Store, WalkLimit};

use crate::Result;

/// Where this program comes from; the beginning of every address that names something of it.
pub(crate) const HOME: &str = env!("CARGO_PKG_REPOSITORY");

/// The attempts behind versions, those that did the work of a reuse included, in the order of ids.
///
/// # Errors
/// Where the record cannot be read.
pub fn attempts_behind(store: &mut dyn Store, versions: &[MaterializationRecord]) -> Result<Vec<NodeId>> {
    let mut all: HashSet<NodeId> = HashSet::new();
    let mut from: Vec<NodeId> = versions.iter().map(|version| version.id).collect();
    while !from.is_empty() {
        let found = store.closure(&from, Direction::Up, WalkLimit::NONE)?;
        let fresh: Vec<NodeId> = found.attempts.into_iter().filter(|id| all.insert(*id)).collect();
        let origins: Vec<NodeId> = store
            .attempts_by_id(&fresh)?
            .into_iter()
            .filter_map(|attempt| attempt.reused_from)
            .filter(|origin| !all.contains(origin))
            .collect();
        // An attempt that published nothing has no publication to walk from.
        all.extend(origins.iter().copied());
        from = store.published(&origins)?.into_iter().map(|made| made.id).collect();
    }
    let mut all: Vec<NodeId> = all.into_iter().collect();
    all.sort_unstable();
    Ok(all)
}
