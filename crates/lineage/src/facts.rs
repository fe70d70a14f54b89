//! Everything on record about attempts that never changes, read together: what statements, exports and explanations are
//! made of.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use runstone_core::hash::ContentHash;
use runstone_core::lineage::statement::{RunStatement, Statement};
use runstone_core::record::{
    AttemptKind, AttemptRecord, ConsumedRecord, MaterializationRecord, Metric, NodeId, RunId, RunRecord,
};
use runstone_core::store::Store;
use uuid::Uuid;

use crate::{Error, Result};

/// An attempt with all that is known of it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The attempt.
    pub attempt: AttemptRecord,
    /// Its run.
    pub run: Arc<RunRecord>,
    /// For kind `reuse`: identity of the attempt that did the work.
    pub reused_from: Option<Uuid>,
    /// What it read, in the order (publication, input).
    pub inputs: Vec<(ConsumedRecord, MaterializationRecord)>,
    /// What it published, in the order of ids.
    pub outputs: Vec<MaterializationRecord>,
    /// What it reported itself.
    pub metrics: Vec<Metric>,
    /// What else it reported itself.
    pub metadata: Option<serde_json::Value>,
}

/// The facts about attempts, in the order of ids; unknown ones are left out.
///
/// # Errors
/// Where the record cannot be read, or names what is not there.
pub fn load(store: &mut dyn Store, ids: &[NodeId]) -> Result<Vec<Facts>> {
    let attempts = store.attempts_by_id(ids)?;
    let ids: Vec<NodeId> = attempts.iter().map(|attempt| attempt.id).collect();
    let runs = runs(store, &attempts)?;
    let origins: Vec<NodeId> = attempts.iter().filter_map(|attempt| attempt.reused_from).collect();
    let origins: HashMap<NodeId, Uuid> =
        store.attempts_by_id(&origins)?.into_iter().map(|attempt| (attempt.id, attempt.uuid)).collect();
    let mut inputs = inputs(store, &ids)?;
    let mut outputs: HashMap<NodeId, Vec<MaterializationRecord>> = HashMap::new();
    for made in store.published(&ids)? {
        outputs.entry(made.attempt).or_default().push(made);
    }
    let own: Vec<NodeId> =
        attempts.iter().filter(|it| it.kind != AttemptKind::Reuse).map(|attempt| attempt.id).collect();
    let mut metrics: HashMap<NodeId, Vec<Metric>> = HashMap::new();
    for (attempt, metric) in store.metrics(&own)? {
        metrics.entry(attempt).or_default().push(metric);
    }
    let mut metadata: HashMap<NodeId, serde_json::Value> = store.reported(&ids)?.into_iter().collect();
    attempts
        .into_iter()
        .map(|attempt| {
            let id = attempt.id;
            let run = runs.get(&attempt.run).ok_or_else(|| Error::damaged(format!("attempt {} has no run", id.0)))?;
            Ok(Facts {
                run: Arc::clone(run),
                reused_from: attempt.reused_from.and_then(|origin| origins.get(&origin).copied()),
                inputs: inputs.remove(&id).unwrap_or_default(),
                outputs: outputs.remove(&id).unwrap_or_default(),
                metrics: metrics.remove(&id).unwrap_or_default(),
                metadata: metadata.remove(&id),
                attempt,
            })
        })
        .collect()
}

fn runs(store: &mut dyn Store, attempts: &[AttemptRecord]) -> Result<HashMap<RunId, Arc<RunRecord>>> {
    let ids: HashSet<RunId> = attempts.iter().map(|attempt| attempt.run).collect();
    let ids: Vec<RunId> = ids.into_iter().collect();
    Ok(store.runs_by_id(&ids)?.into_iter().map(|run| (run.id, Arc::new(run))).collect())
}

type Inputs = HashMap<NodeId, Vec<(ConsumedRecord, MaterializationRecord)>>;

fn inputs(store: &mut dyn Store, attempts: &[NodeId]) -> Result<Inputs> {
    let edges = store.consumed(attempts)?;
    let read: Vec<NodeId> = edges.iter().map(|edge| edge.materialization).collect();
    let read: HashMap<NodeId, MaterializationRecord> =
        store.materializations_by_id(&read)?.into_iter().map(|it| (it.id, it)).collect();
    let mut inputs: Inputs = HashMap::new();
    for edge in edges {
        let node = edge.materialization;
        let what =
            read.get(&node).ok_or_else(|| Error::damaged(format!("what {} read is not there", edge.attempt.0)))?;
        inputs.entry(edge.attempt).or_default().push((edge, what.clone()));
    }
    Ok(inputs)
}

impl Facts {
    /// What is stated of it, given the hash of what is stated of its run.
    #[must_use]
    pub fn statement(&self, run: ContentHash) -> Statement<'_> {
        Statement {
            run,
            attempt: &self.attempt,
            reused_from: self.reused_from,
            inputs: &self.inputs,
            outputs: &self.outputs,
            metrics: &self.metrics,
            metadata: self.metadata.as_ref(),
        }
    }
}

/// The hashes of what is stated of runs, each worked out once.
#[derive(Debug, Default)]
pub struct RunHashes(HashMap<RunId, ContentHash>);

impl RunHashes {
    /// Of this run of a project.
    pub fn of(&mut self, project: Uuid, run: &RunRecord) -> ContentHash {
        *self.0.entry(run.id).or_insert_with(|| RunStatement { project, run }.seal().0)
    }
}
