//! What came of earlier tries, as it is on record.

use std::collections::BTreeMap;

use runstone_core::record::{AttemptRecord, NodeId};
use runstone_core::reproduction::Reproduction;
use runstone_core::store::Store;

use super::ReproduceError;
use super::closure::closure;

/// An earlier try.
#[derive(Debug, Clone, PartialEq)]
pub struct PastReproduction {
    /// What was done again.
    pub attempt: AttemptRecord,
    /// What came of it.
    pub reproduction: Reproduction,
    /// By whom.
    pub user: String,
}

/// Earlier tries of the attempt that did the work behind `attempt`, newest first; with `deep` also of all attempts that it
/// rests on.
///
/// # Errors
/// [`ReproduceError::Unknown`] where there is no such attempt, [`ReproduceError::Unreadable`] where another version of
/// runstone put a verdict on record that this one cannot read.
pub fn past(store: &mut dyn Store, attempt: NodeId, deep: bool) -> Result<Vec<PastReproduction>, ReproduceError> {
    let attempts: BTreeMap<NodeId, AttemptRecord> =
        closure(store, attempt, deep)?.into_iter().map(|(id, link)| (id, link.attempt)).collect();
    if attempts.is_empty() {
        return Err(ReproduceError::Unknown(attempt));
    }
    let ids: Vec<NodeId> = attempts.keys().copied().collect();
    let mut past = Vec::new();
    for record in store.reproductions(&ids)? {
        let Some(attempt) = attempts.get(&record.of.attempt) else { continue };
        past.push(PastReproduction {
            attempt: attempt.clone(),
            reproduction: serde_json::from_value(record.of.body)
                .map_err(|source| ReproduceError::Unreadable { id: record.id, source })?,
            user: record.of.user,
        });
    }
    Ok(past)
}
