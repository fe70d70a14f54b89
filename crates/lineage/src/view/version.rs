//! Versions of datasets as programs get them.

use std::collections::{HashMap, HashSet};

use runstone_core::cell::task_name;
use runstone_core::hash::ContentHash;
use runstone_core::record::{AttemptRecord, ContentKind, MaterializationRecord, NodeId};
use runstone_core::store::{Result, Store};
use serde::Serialize;

use super::time::Rfc3339;

/// One publication of a version of a dataset.
#[derive(Debug, Clone, Serialize)]
pub struct VersionView {
    /// Its node.
    pub node: i64,
    /// Full name.
    pub dataset: String,
    /// Number within its dataset.
    pub version: i64,
    /// Cell it belongs to; empty for the whole.
    pub subset: String,
    /// Content.
    pub hash: String,
    /// What it is.
    pub kind: ContentKind,
    /// Bytes of all files together.
    pub size_bytes: u64,
    /// How many files.
    pub files: u64,
    /// How many rows, where known.
    pub rows: Option<u64>,
    /// The file name readers see.
    pub file_name: String,
    /// When it was put on record.
    pub created_at: Rfc3339,
    /// Why it cannot be relied on, or whether.
    pub tainted: bool,
    /// Whether its bytes were given up. A run that needs them makes them again.
    pub evicted: bool,
    /// The attempt that published it.
    pub attempt_node: i64,
    /// What made it, where that was looked at.
    pub producer: Option<ProducerView>,
}

/// What made a version.
#[derive(Debug, Clone, Serialize)]
pub struct ProducerView {
    /// Number of its run.
    pub run_number: i64,
    /// `step` or `step{cell}`.
    pub task: String,
    /// Identity of the attempt.
    pub attempt_id: String,
    /// From 1 within its task.
    pub attempt_number: u32,
}

impl From<&AttemptRecord> for ProducerView {
    fn from(attempt: &AttemptRecord) -> Self {
        Self {
            run_number: attempt.run_number,
            task: task_name(&attempt.step, &attempt.cell),
            attempt_id: attempt.uuid.to_string(),
            attempt_number: attempt.number,
        }
    }
}

impl VersionView {
    /// From the rows.
    pub fn new(
        version: &MaterializationRecord,
        producer: Option<&AttemptRecord>,
        evicted: &HashSet<ContentHash>,
    ) -> Self {
        Self {
            node: version.id.0,
            dataset: version.dataset.clone(),
            version: version.version,
            subset: version.subset.clone(),
            hash: version.hash.to_string(),
            kind: version.kind,
            size_bytes: version.size,
            files: version.files,
            rows: version.rows,
            file_name: version.file_name.clone(),
            created_at: Rfc3339(version.created),
            tainted: version.tainted,
            evicted: evicted.contains(&version.hash),
            attempt_node: version.attempt.0,
            producer: producer.map(ProducerView::from),
        }
    }

    /// As commands take it: `pipeline/step{cell}@v3`.
    pub fn reference(&self) -> String {
        reference(&self.dataset, &self.subset, self.version)
    }

    /// `b3:` and twelve digits.
    pub fn short_hash(&self) -> &str {
        self.hash.get(..15).unwrap_or(&self.hash)
    }
}

/// How commands take a version.
pub fn reference(dataset: &str, subset: &str, version: i64) -> String {
    format!("{}@v{version}", task_name(dataset, subset))
}

/// Contents of publications whose bytes were given up.
pub fn evicted(store: &mut dyn Store, versions: &[MaterializationRecord]) -> Result<HashSet<ContentHash>> {
    let mut hashes: Vec<ContentHash> = versions.iter().map(|version| version.hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    store.evicted(&hashes)
}

/// Publications with what made them.
pub fn with_producers(store: &mut dyn Store, versions: &[MaterializationRecord]) -> Result<Vec<VersionView>> {
    let mut ids: Vec<NodeId> = versions.iter().map(|version| version.attempt).collect();
    ids.sort_unstable();
    ids.dedup();
    let attempts: HashMap<NodeId, AttemptRecord> =
        store.attempts_by_id(&ids)?.into_iter().map(|attempt| (attempt.id, attempt)).collect();
    let evicted = evicted(store, versions)?;
    let view = |version: &MaterializationRecord| VersionView::new(version, attempts.get(&version.attempt), &evicted);
    Ok(versions.iter().map(view).collect())
}
