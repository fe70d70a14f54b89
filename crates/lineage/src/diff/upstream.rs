//! In what two versions differ of what they were made of, at any distance.

use std::collections::{BTreeMap, HashMap};

use runstone_core::cell::task_name;
use runstone_core::record::{MaterializationRecord, NodeId};
use runstone_core::store::{Direction, Store, WalkLimit};
use serde::Serialize;

use crate::Result;
use crate::view::reference;

/// How many publications are looked at on each side.
const LOOKED_AT: u32 = 100_000;

/// What two versions were made of, compared by dataset and cell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UpstreamDiff {
    /// How many versions both were made of.
    pub common: u64,
    /// Where they differ, by dataset.
    pub changes: Vec<UpstreamChange>,
    /// Whether there was more to look at.
    pub partial: bool,
}

/// A dataset (and cell) of which they were made of other versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamChange {
    /// Full name, with the cell.
    pub dataset: String,
    /// Versions that only the first was made of, as commands take them.
    pub old: Vec<String>,
    /// Versions that only the second was made of.
    pub new: Vec<String>,
}

pub(super) fn compare(
    store: &mut dyn Store,
    old: &MaterializationRecord,
    new: &MaterializationRecord,
) -> Result<UpstreamDiff> {
    let limit = WalkLimit { nodes: LOOKED_AT, ..WalkLimit::NONE };
    let mut partial = false;
    let mut above = |store: &mut dyn Store, of: &MaterializationRecord| -> Result<Vec<NodeId>> {
        let found = store.closure(&[of.id], Direction::Up, limit)?;
        partial |= found.cut.is_some();
        Ok(found.materializations.into_iter().filter(|id| *id != of.id).collect())
    };
    let (ours, theirs) = (above(store, old)?, above(store, new)?);
    let sides: [HashMap<Place, Vec<MaterializationRecord>>; 2] = [by_place(store, &ours)?, by_place(store, &theirs)?];
    let mut diff = UpstreamDiff { partial, ..UpstreamDiff::default() };
    let mut changes: BTreeMap<Place, [Vec<String>; 2]> = BTreeMap::new();
    for side in 0..2 {
        for (place, versions) in &sides[side] {
            for version in versions {
                let is_common =
                    sides[1 - side].get(place).is_some_and(|it| it.iter().any(|it| it.hash == version.hash));
                if is_common {
                    diff.common += u64::from(side == 0);
                } else {
                    let name = reference(&version.dataset, &version.subset, version.version);
                    changes.entry(place.clone()).or_default()[side].push(name);
                }
            }
        }
    }
    diff.changes = changes
        .into_iter()
        .map(|((dataset, subset), [old, new])| UpstreamChange { dataset: task_name(&dataset, &subset), old, new })
        .collect();
    Ok(diff)
}

/// Dataset and subset.
type Place = (String, String);

/// Versions by where they stand, each content once.
fn by_place(store: &mut dyn Store, ids: &[NodeId]) -> Result<HashMap<Place, Vec<MaterializationRecord>>> {
    let mut places: HashMap<Place, Vec<MaterializationRecord>> = HashMap::new();
    for version in store.materializations_by_id(ids)? {
        let there = places.entry((version.dataset.clone(), version.subset.clone())).or_default();
        if there.iter().all(|it| it.hash != version.hash) {
            there.push(version);
        }
    }
    Ok(places)
}
