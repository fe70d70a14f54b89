//! In what two versions differ: their bytes, the files of folders, what was asked of what made them, what they were made
//! of, and what was reported about them.

mod bytes;
mod files;
mod rows;
mod upstream;

pub use bytes::BytesDiff;
pub use files::{FileChange, FileView, FilesDiff, changed_files};
pub use rows::RowOptions;
pub use upstream::{UpstreamChange, UpstreamDiff};

use std::collections::BTreeMap;

use runstone_core::canonical;
use runstone_core::hash::Fingerprint;
use runstone_core::record::{ContentKind, MaterializationRecord, Metric};
use runstone_core::store::Store;
use runstone_exec::objects::ObjectStore;
use runstone_table::{ColumnMoves, TableDiff};
use serde::Serialize;

use crate::difference::{Difference, differences};
use crate::view::{VersionView, with_producers};
use crate::{Error, Result};

/// In what two versions differ.
#[derive(Debug, Clone, Serialize)]
pub struct VersionDiff {
    /// The first.
    pub old: VersionView,
    /// The second.
    pub new: VersionView,
    /// Whether they are the same bytes.
    pub identical: bool,
    /// Where the bytes of two files part; none where they do not, or are gone.
    pub bytes: Option<BytesDiff>,
    /// In which files two folders differ; none where they do not, or their trees are gone.
    pub files: Option<FilesDiff>,
    /// In which rows and columns two tables differ.
    pub table: Option<TableDiff>,
    /// What moved in the columns of two tables.
    pub moves: Vec<ColumnMoves>,
    /// Why bytes were not compared, where they were not.
    pub unavailable: Option<String>,
    /// In what differs what was asked of the attempts that published them.
    pub asked: Vec<Difference>,
    /// In what they were made of.
    pub upstream: UpstreamDiff,
    /// Numbers that were reported with them.
    pub metrics: Vec<MetricDiff>,
}

/// A number that was reported with one or both of two versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricDiff {
    /// Its name.
    pub name: String,
    /// Its slice; empty for the whole.
    pub slice: String,
    /// Then.
    pub old: Option<f64>,
    /// Now.
    pub new: Option<f64>,
    /// By how much it is larger now.
    pub delta: Option<f64>,
}

/// Compares two versions.
///
/// # Errors
/// Where the record cannot be read. Bytes that are gone are no error.
pub fn compare(
    store: &mut dyn Store,
    objects: &ObjectStore,
    old: &MaterializationRecord,
    new: &MaterializationRecord,
    options: &RowOptions,
) -> Result<VersionDiff> {
    let mut diff = VersionDiff {
        identical: old.hash == new.hash,
        bytes: None,
        files: None,
        table: None,
        moves: Vec::new(),
        unavailable: None,
        asked: asked(store, old, new)?,
        upstream: upstream::compare(store, old, new)?,
        metrics: metrics(store, old, new)?,
        old: view(store, old)?,
        new: view(store, new)?,
    };
    if !diff.identical {
        let compared = match (old.kind, new.kind) {
            (ContentKind::File, ContentKind::File) => {
                bytes::compare(objects, old, new).map(|bytes| diff.bytes = Some(bytes))
            }
            (ContentKind::Dir, ContentKind::Dir) => {
                changed_files(objects, old.hash, new.hash).map(|files| diff.files = Some(files))
            }
            _ => Ok(()),
        };
        diff.unavailable = compared.err().map(|error| error.to_string());
        if diff.unavailable.is_none()
            && let Some(rows) = rows::compare(store, objects, old, new, options)?
        {
            diff.table = Some(rows.table);
            diff.moves = rows.moves;
        }
    }
    Ok(diff)
}

fn view(store: &mut dyn Store, version: &MaterializationRecord) -> Result<VersionView> {
    let views = with_producers(store, std::slice::from_ref(version))?;
    views.into_iter().next().ok_or_else(|| Error::damaged("a version that is not there"))
}

fn asked(store: &mut dyn Store, old: &MaterializationRecord, new: &MaterializationRecord) -> Result<Vec<Difference>> {
    let attempts = store.attempts_by_id(&[old.attempt, new.attempt])?;
    let of = |version: &MaterializationRecord| {
        attempts.iter().find(|attempt| attempt.id == version.attempt).map(|attempt| attempt.fingerprint)
    };
    let mut read = |fingerprint: Option<Fingerprint>| -> Result<Option<canonical::Value>> {
        let Some(fingerprint) = fingerprint else { return Ok(None) };
        let bytes = store.derivation(&fingerprint)?;
        Ok(bytes.and_then(|bytes| canonical::decode(&bytes).ok()))
    };
    Ok(match (read(of(old))?, read(of(new))?) {
        (Some(old), Some(new)) => differences(&old, &new),
        _ => Vec::new(),
    })
}

fn metrics(store: &mut dyn Store, old: &MaterializationRecord, new: &MaterializationRecord) -> Result<Vec<MetricDiff>> {
    let reported = store.metrics(&[old.attempt, new.attempt])?;
    let of = |version: &MaterializationRecord| -> BTreeMap<(String, String), f64> {
        let own = reported.iter().filter(|(attempt, _)| *attempt == version.attempt);
        own.map(|(_, Metric { name, slice, value, .. })| ((name.clone(), slice.clone()), *value)).collect()
    };
    let (old, new) = (of(old), of(new));
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
    Ok(keys
        .into_iter()
        .map(|key| {
            let (old, new) = (old.get(&key).copied(), new.get(&key).copied());
            let delta = old.zip(new).map(|(old, new)| new - old);
            MetricDiff { name: key.0, slice: key.1, old, new, delta }
        })
        .collect())
}
