//! Up and down: what a version was made of, and what was made of it, as exact versions with the attempts between.

use std::collections::{HashMap, HashSet};

use runstone_core::cell::task_name;
use runstone_core::hash::ContentHash;
use runstone_core::record::{AttemptRecord, Cut, Lineage, MaterializationRecord, NodeId, Trust};
use runstone_core::store::{Direction, Store, WalkLimit};
use serde::Serialize;

use crate::Result;
use crate::asked::DerivationView;
use crate::view::{AttemptView, VersionView, evicted};

/// A piece of the lineage graph.
#[derive(Debug, Clone, Serialize)]
pub struct LineageView {
    /// `up`, `down` or `path`.
    pub direction: &'static str,
    /// Nodes of the versions that were asked about.
    pub start: Vec<i64>,
    /// Whether a limit cut it.
    pub partial: bool,
    /// Which one.
    pub cut: Option<Cut>,
    /// Publications, in the order of ids.
    pub versions: Vec<VersionView>,
    /// Attempts, in the order of ids.
    pub attempts: Vec<LineageAttempt>,
    /// Which attempt read which version.
    pub reads: Vec<ReadView>,
}

/// An attempt of the graph, with what was asked of it.
#[derive(Debug, Clone, Serialize)]
pub struct LineageAttempt {
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptView,
    /// Name of the pipeline.
    pub pipeline: String,
    /// `step` or `step{cell}`.
    pub task: String,
    /// What was asked.
    pub asked: Option<DerivationView>,
}

/// An attempt read a version.
#[derive(Debug, Clone, Serialize)]
pub struct ReadView {
    /// The reader.
    pub attempt_node: i64,
    /// What it read.
    pub version_node: i64,
    /// Under which name.
    pub input: String,
    /// How far that can be believed.
    pub trust: Trust,
}

/// The graph around versions.
///
/// # Errors
/// Where the record cannot be read.
pub fn walk(store: &mut dyn Store, start: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<LineageView> {
    let lineage = store.lineage(start, direction, limit)?;
    let direction = match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    of_records(store, &lineage, start, direction)
}

/// A piece of the graph that was read already.
pub(crate) fn of_records(
    store: &mut dyn Store,
    lineage: &Lineage,
    start: &[NodeId],
    direction: &'static str,
) -> Result<LineageView> {
    let asked = asked(store, lineage)?;
    let evicted = evicted(store, &lineage.materializations)?;
    Ok(view(lineage, start, direction, &asked, &evicted))
}

/// What was asked of each attempt, by fingerprint. What cannot be read is left out: the rest is still worth showing.
fn asked(store: &mut dyn Store, lineage: &Lineage) -> Result<HashMap<String, DerivationView>> {
    let mut asked = HashMap::new();
    for attempt in &lineage.attempts {
        let key = attempt.fingerprint.to_string();
        if asked.contains_key(&key) {
            continue;
        }
        if let Some(bytes) = store.derivation(&attempt.fingerprint)?
            && let Ok(view) = DerivationView::decode(&bytes)
        {
            asked.insert(key, view);
        }
    }
    Ok(asked)
}

fn view(
    lineage: &Lineage,
    start: &[NodeId],
    direction: &'static str,
    asked: &HashMap<String, DerivationView>,
    evicted: &HashSet<ContentHash>,
) -> LineageView {
    let producers: HashMap<NodeId, &AttemptRecord> = lineage.attempts.iter().map(|it| (it.id, it)).collect();
    let version = |it: &MaterializationRecord| VersionView::new(it, producers.get(&it.attempt).copied(), evicted);
    let attempt = |it: &AttemptRecord| LineageAttempt {
        attempt: AttemptView::from(it),
        pipeline: it.pipeline.clone(),
        task: task_name(&it.step, &it.cell),
        asked: asked.get(&it.fingerprint.to_string()).cloned(),
    };
    LineageView {
        direction,
        start: start.iter().map(|node| node.0).collect(),
        partial: lineage.cut.is_some(),
        cut: lineage.cut,
        versions: lineage.materializations.iter().map(version).collect(),
        attempts: lineage.attempts.iter().map(attempt).collect(),
        reads: lineage
            .consumed
            .iter()
            .map(|it| ReadView {
                attempt_node: it.attempt.0,
                version_node: it.materialization.0,
                input: it.slot.clone(),
                trust: it.trust,
            })
            .collect(),
    }
}
