//! What a version means for others: everything derived from it, by pipeline, and what of that is in use.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use runstone_core::record::{AttemptRecord, Cut, MaterializationRecord, NodeId};
use runstone_core::store::{Direction, Store, VersionRef, WalkLimit};
use serde::Serialize;

use crate::Result;
use crate::view::reference;

/// Everything derived from a version.
#[derive(Debug, Clone, Serialize)]
pub struct ImpactView {
    /// The versions that were asked about, as commands take them.
    pub of: Vec<String>,
    /// How many versions were derived, of how many datasets.
    pub versions: usize,
    /// How many attempts lie between.
    pub attempts: usize,
    /// By pipeline, in the order of names.
    pub pipelines: Vec<PipelineImpact>,
    /// Whether a limit cut it.
    pub partial: bool,
    /// Which one.
    pub cut: Option<Cut>,
}

/// What was derived within one pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineImpact {
    /// Its name.
    pub pipeline: String,
    /// By dataset, in the order of names.
    pub datasets: Vec<DatasetImpact>,
}

/// What was derived within one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetImpact {
    /// Full name.
    pub dataset: String,
    /// Derived versions, newest first, as commands take them.
    pub versions: Vec<String>,
    /// Those of them that `latest` names.
    pub latest: Vec<String>,
    /// Tags that lead to one of them.
    pub tags: Vec<TagUse>,
}

/// A tag that leads to a derived version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagUse {
    /// The tag.
    pub tag: String,
    /// Where it leads, as commands take it.
    pub version: String,
}

/// What was derived from publications of a version: all of them, where all that became of it is meant.
///
/// # Errors
/// Where the record cannot be read.
pub fn of(store: &mut dyn Store, start: &[MaterializationRecord], limit: WalkLimit) -> Result<ImpactView> {
    let from: Vec<NodeId> = start.iter().map(|it| it.id).collect();
    let found = store.closure(&from, Direction::Down, limit)?;
    let below: Vec<NodeId> = found.materializations.iter().copied().filter(|id| !from.contains(id)).collect();
    let derived = store.materializations_by_id(&below)?;
    let pipelines = pipelines(store, &derived)?;
    let inside: HashSet<NodeId> = below.into_iter().collect();
    let mut by_pipeline: BTreeMap<String, BTreeMap<String, Vec<&MaterializationRecord>>> = BTreeMap::new();
    for version in &derived {
        let pipeline = pipelines.get(&version.attempt).cloned().unwrap_or_default();
        by_pipeline.entry(pipeline).or_default().entry(version.dataset.clone()).or_default().push(version);
    }
    let mut views = Vec::new();
    let mut versions = 0;
    for (pipeline, datasets) in by_pipeline {
        let mut all = Vec::new();
        for (dataset, derived) in datasets {
            let impact = dataset_impact(store, dataset, &derived, &inside)?;
            versions += impact.versions.len();
            all.push(impact);
        }
        views.push(PipelineImpact { pipeline, datasets: all });
    }
    Ok(ImpactView {
        of: start.iter().map(name).collect::<BTreeSet<_>>().into_iter().collect(),
        versions,
        attempts: found.attempts.len(),
        pipelines: views,
        partial: found.cut.is_some(),
        cut: found.cut,
    })
}

/// Of each attempt that published one of these: its pipeline.
fn pipelines(store: &mut dyn Store, derived: &[MaterializationRecord]) -> Result<BTreeMap<NodeId, String>> {
    let ids: Vec<NodeId> = derived.iter().map(|it| it.attempt).collect();
    let attempts: Vec<AttemptRecord> = store.attempts_by_id(&ids)?;
    Ok(attempts.into_iter().map(|attempt| (attempt.id, attempt.pipeline)).collect())
}

fn dataset_impact(
    store: &mut dyn Store,
    dataset: String,
    derived: &[&MaterializationRecord],
    inside: &HashSet<NodeId>,
) -> Result<DatasetImpact> {
    let mut versions: Vec<String> = Vec::new();
    for version in derived.iter().rev() {
        let name = name(version);
        if !versions.contains(&name) {
            versions.push(name);
        }
    }
    let heads = store.resolve(&dataset, &VersionRef::Latest)?;
    let latest = heads.iter().filter(|head| inside.contains(&head.id)).map(name).collect();
    let mut tags = Vec::new();
    for tag in store.tags(Some(&dataset))? {
        for version in derived.iter().filter(|it| tag.targets.contains(&it.id)) {
            tags.push(TagUse { tag: tag.name.to_string(), version: name(version) });
        }
    }
    Ok(DatasetImpact { dataset, versions, latest, tags })
}

fn name(version: &MaterializationRecord) -> String {
    reference(&version.dataset, &version.subset, version.version)
}
