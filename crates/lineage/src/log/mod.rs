//! The log of a project: every attempt that ended is a leaf, and signed checkpoints say how far it has come.
//!
//! Attempts come into the log a moment after they ended, in batches: the database notes that they are to come (so that
//! none is forgotten), [`seal`] appends what they state and signs the new root. Nobody waits for it while a run is
//! going on. Two who seal at once do no harm: the log is a compare-and-set on its size.
//!
//! The tree itself, notes and keys are `runstone_core::log`; what an attempt states is
//! `runstone_core::lineage::statement`.

mod check;

pub use check::{Finding, LogReport, check};

use runstone_core::hash::ContentHash;
use runstone_core::lineage::store::{CheckpointRecord, LogLeaf};
use runstone_core::log::checkpoint::Checkpoint;
use runstone_core::log::key::SigningKey;
use runstone_core::log::note::{Note, NoteKey};
use runstone_core::log::tree::{Appender, NodeHash, consistency_proof, inclusion_proof, leaf_hash, verify_consistency};
use runstone_core::record::NodeId;
use runstone_core::store::{Store, StoreError};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use crate::facts::{self, RunHashes};
use crate::{Error, Result};

/// Attempts appended at a time.
const BATCH: u32 = 1000;
/// Where to go on from a log that is not what it should be.
const SEE: &str = "`runstone verify` says where it is broken";

/// What a project's log is called, which is also the name its key signs under.
#[must_use]
pub fn origin(project: Uuid) -> String {
    format!("runstone/{project}")
}

/// A public key as it is given to those who verify.
///
/// # Errors
/// Never for a project's origin.
pub fn verifier_key(project: Uuid, key: &SigningKey) -> Result<NoteKey> {
    NoteKey::new(origin(project), key.verifying_key()).map_err(|error| Error::damaged(error.to_string()))
}

/// What sealing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Leaves appended.
    pub appended: u64,
    /// The newest checkpoint, where there is one.
    pub last: Option<CheckpointRecord>,
}

/// Appends every attempt that ended and is not in the log yet, and signs the log with it.
///
/// Nothing is signed that could not be: the log must be that of its last checkpoint, and go on from `kept`, what was known
/// of it before, wherever that was kept. So whoever can write the record, but has no key, gets no signature for another
/// history.
///
/// # Errors
/// Where the record cannot be read or written, or the log is not what it was. What was appended before stays.
pub fn seal(
    store: &mut dyn Store,
    project: Uuid,
    key: &SigningKey,
    kept: Option<&Checkpoint>,
    now: Timestamp,
) -> Result<Sealed> {
    let mut appended = 0;
    let mut runs = RunHashes::default();
    let mut tree: Option<Appender> = None;
    loop {
        let ids = store.unlogged(BATCH)?;
        // Read in this order, what others append in between makes the checkpoint the larger one, never the log.
        let size = store.log_size()?;
        let last = store.checkpoints(1)?.pop();
        let signed = last.as_ref().map_or(0, |last| last.size);
        if size > signed {
            let message = format!("the log has {size} leaves, and {signed} of them are signed");
            return Err(Error::damaged(message).hint(SEE));
        }
        // A tree that was grown here is only as good as the log that somebody else may have grown meanwhile.
        let mut grown = match tree.take().filter(|tree| tree.size() == signed) {
            Some(tree) => tree,
            None => went_on(store, project, last.as_ref(), kept)?,
        };
        if ids.is_empty() {
            return Ok(Sealed { appended, last });
        }
        let leaves = statements(store, project, &ids, &mut runs)?;
        let leaves: Vec<(NodeId, Vec<u8>)> =
            leaves.iter().map(|(id, bytes)| (*id, grown.append(leaf_hash(bytes)))).collect();
        if store.append_log(&leaves, &checkpoint(project, grown.size(), grown.root(), key, now)?)? {
            appended += leaves.len() as u64;
            tree = Some(grown);
        }
    }
}

/// The tree of a log, which is the one that was signed last, and goes on from what is known of it.
fn went_on(
    store: &mut dyn Store,
    project: Uuid,
    last: Option<&CheckpointRecord>,
    kept: Option<&Checkpoint>,
) -> Result<Appender> {
    let tree = match last {
        Some(last) => appender(store, last.size)?,
        None => Appender::new(),
    };
    if let Some(last) = last
        && *tree.root().as_bytes() != last.root
    {
        return Err(Error::damaged(format!("checkpoint {} does not sign this log", last.size)).hint(SEE));
    }
    if let Some(kept) = kept {
        let other = |why: String| Error::damaged(format!("the log does not go on from what it was: {why}")).hint(SEE);
        if kept.origin != origin(project) {
            return Err(other(format!("a checkpoint of {} was kept of it", kept.origin)));
        }
        if kept.size > tree.size() {
            return Err(other(format!("it has {} leaves, and had {}", tree.size(), kept.size)));
        }
        let proof = prove_consistency(store, kept.size, tree.size())?;
        verify_consistency(kept.size, tree.size(), &proof, kept.root, tree.root())
            .map_err(|_| other(format!("its first {} leaves were others", kept.size)))?;
    }
    Ok(tree)
}

/// What each of these attempts states, in the order of ids.
pub(crate) fn statements(
    store: &mut dyn Store,
    project: Uuid,
    ids: &[NodeId],
    runs: &mut RunHashes,
) -> Result<Vec<(NodeId, Vec<u8>)>> {
    let facts = facts::load(store, ids)?;
    if facts.len() != ids.len() {
        return Err(Error::damaged("an attempt that is to be logged is not on record"));
    }
    Ok(facts.iter().map(|it| (it.attempt.id, it.statement(runs.of(project, &it.run)).seal())).collect())
}

fn checkpoint(project: Uuid, size: u64, root: NodeHash, key: &SigningKey, now: Timestamp) -> Result<CheckpointRecord> {
    let name = origin(project);
    let wrong = |error: &dyn std::fmt::Display| Error::damaged(format!("a checkpoint cannot be signed: {error}"));
    let text = Checkpoint { origin: name.clone(), size, root, extensions: Vec::new() }
        .text()
        .map_err(|error| wrong(&error))?;
    let note = Note::sign(text, &name, key).map_err(|error| wrong(&error))?;
    Ok(CheckpointRecord { size, root: *root.as_bytes(), note: note.to_string(), created: now })
}

/// The tree of the first leaves of the log.
pub(crate) fn appender(store: &mut dyn Store, size: u64) -> Result<Appender> {
    Appender::read(size, |indices| records(store, indices)).map_err(|error| broken(&error))
}

/// Proves that a leaf is in the tree of the first leaves of the log.
pub(crate) fn prove_inclusion(store: &mut dyn Store, index: u64, size: u64) -> Result<Vec<NodeHash>> {
    inclusion_proof(index, size, |indices| records(store, indices)).map_err(|error| broken(&error))
}

/// Proves that a log went on from an earlier size without a change.
pub(crate) fn prove_consistency(store: &mut dyn Store, old: u64, new: u64) -> Result<Vec<NodeHash>> {
    consistency_proof(old, new, |indices| records(store, indices)).map_err(|error| broken(&error))
}

fn records(store: &mut dyn Store, indices: &[u64]) -> std::result::Result<Vec<Vec<u8>>, StoreError> {
    let leaves = store.log_leaves_at(indices)?;
    if leaves.iter().map(|leaf: &LogLeaf| leaf.index).ne(indices.iter().copied()) {
        return Err(StoreError::Damaged("leaves of the log are missing".to_owned()));
    }
    Ok(leaves.into_iter().map(|leaf| leaf.record).collect())
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::damaged(format!("the log cannot be read: {error}")).hint(SEE)
}

/// A hash of the definition's text, as runs name it.
pub(crate) fn definition_hash(text: &str) -> ContentHash {
    ContentHash::of(text.as_bytes())
}
