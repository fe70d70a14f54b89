//! Versions of datasets: as programs get them, and how those that are meant are found.

use std::collections::HashMap;

use runstone_core::cell::task_name;
use runstone_core::record::{AttemptRecord, ContentKind, MaterializationRecord, NodeId};
use runstone_core::store::{Store, VersionRef};
use serde::Serialize;

use crate::error::{CommandError, CommandResult};
use crate::reference::{DatasetArg, cell_agrees};
use crate::render::time::Rfc3339;

/// One publication of a version of a dataset.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VersionView {
    pub(crate) node: i64,
    pub(crate) dataset: String,
    pub(crate) version: i64,
    /// Cell it belongs to; empty for the whole.
    pub(crate) subset: String,
    pub(crate) hash: String,
    pub(crate) kind: ContentKind,
    pub(crate) size_bytes: u64,
    pub(crate) files: u64,
    pub(crate) rows: Option<u64>,
    pub(crate) file_name: String,
    pub(crate) created_at: Rfc3339,
    pub(crate) tainted: bool,
    pub(crate) producer: Option<ProducerView>,
}

/// What made a version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProducerView {
    pub(crate) run_number: i64,
    pub(crate) task: String,
    pub(crate) attempt_id: String,
    pub(crate) attempt_number: u32,
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
    pub(crate) fn new(version: &MaterializationRecord, producer: Option<&AttemptRecord>) -> Self {
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
            producer: producer.map(ProducerView::from),
        }
    }

    /// As commands take it: `pipeline/step{cell}@v3`.
    pub(crate) fn reference(&self) -> String {
        reference(&self.dataset, &self.subset, self.version)
    }

    /// `b3:` and twelve digits.
    pub(crate) fn short_hash(&self) -> &str {
        self.hash.get(..15).unwrap_or(&self.hash)
    }
}

/// How commands take a version.
pub(crate) fn reference(dataset: &str, subset: &str, version: i64) -> String {
    format!("{}@v{version}", task_name(dataset, subset))
}

/// Publications with what made them.
pub(crate) fn with_producers(
    store: &mut dyn Store,
    versions: &[MaterializationRecord],
) -> CommandResult<Vec<VersionView>> {
    let mut ids: Vec<NodeId> = versions.iter().map(|version| version.attempt).collect();
    ids.sort_unstable();
    ids.dedup();
    let attempts: HashMap<NodeId, AttemptRecord> =
        store.attempts_by_id(&ids)?.into_iter().map(|attempt| (attempt.id, attempt)).collect();
    Ok(versions.iter().map(|version| VersionView::new(version, attempts.get(&version.attempt))).collect())
}

/// The publications that are meant, never none: one per subset that agrees.
pub(crate) fn find(store: &mut dyn Store, wanted: &DatasetArg) -> CommandResult<Vec<MaterializationRecord>> {
    let version = wanted.version();
    if wanted.name.is_empty() {
        return by_content(store, &version);
    }
    let name = full_name(store, &wanted.name)?;
    let all = store.resolve(&name, &version)?;
    let subsets: Vec<String> = all.iter().map(|found| found.subset.clone()).take(8).collect();
    let found: Vec<_> = all.into_iter().filter(|found| cell_agrees(&found.subset, &wanted.cell)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if !subsets.is_empty() {
        let hint = format!("there are {}", subsets.join("; "));
        return Err(CommandError::not_found(format!("{name} has no such cell")).hint(hint));
    }
    let message = match &version {
        VersionRef::Latest => format!("no version of {name} may be used as the latest"),
        VersionRef::Number(number) => format!("{name} has no version {number}"),
        VersionRef::HashPrefix(prefix) => format!("no version of {name} has a hash that starts with b3:{prefix}"),
        VersionRef::Run(_) => format!("that run neither published nor reused {name}"),
    };
    Err(CommandError::not_found(message).hint(format!("`runstone datasets {name}` lists its versions")))
}

/// The single publication that is meant.
pub(crate) fn find_one(store: &mut dyn Store, wanted: &DatasetArg) -> CommandResult<MaterializationRecord> {
    let mut found = find(store, wanted)?;
    if found.len() > 1 {
        let names: Vec<_> = found.iter().take(6).map(|it| reference(&it.dataset, &it.subset, it.version)).collect();
        let more = if found.len() > names.len() { ", …" } else { "" };
        let message = format!("{} cells fit: {}{more}", found.len(), names.join(", "));
        return Err(CommandError::usage(message).hint("name more of the cell, in quotes for the shell"));
    }
    Ok(found.remove(0))
}

/// Content named alone: its newest publication in each dataset.
fn by_content(store: &mut dyn Store, version: &VersionRef) -> CommandResult<Vec<MaterializationRecord>> {
    let VersionRef::HashPrefix(prefix) = version else {
        return Err(CommandError::usage("a dataset must be named"));
    };
    let mut found = store.by_hash(prefix, 1000)?;
    let mut seen = std::collections::HashSet::new();
    found.retain(|it| seen.insert((it.dataset.clone(), it.subset.clone(), it.hash)));
    if found.iter().any(|it| it.hash != found[0].hash) {
        return Err(CommandError::usage(format!("b3:{prefix} is the start of several hashes")).hint("give more digits"));
    }
    if found.is_empty() {
        return Err(CommandError::not_found(format!("no dataset holds content b3:{prefix}")));
    }
    Ok(found)
}

/// The full name of a dataset given by it, or by its last part where only one dataset is called so.
pub(crate) fn full_name(store: &mut dyn Store, given: &str) -> CommandResult<String> {
    if store.datasets(given)?.iter().any(|dataset| dataset.name == given) {
        return Ok(given.to_owned());
    }
    let all = store.datasets("")?;
    let ends = |name: &str| name.rsplit_once('/').is_some_and(|(_, last)| last == given);
    let fitting: Vec<&str> = all.iter().map(|dataset| dataset.name.as_str()).filter(|name| ends(name)).collect();
    match fitting[..] {
        [only] => Ok(only.to_owned()),
        [] => {
            let error = CommandError::not_found(format!("there is no dataset {given}"));
            let near = all.iter().map(|it| it.name.as_str()).find(|name| name.contains(given));
            Err(match near {
                Some(name) => error.hint(format!("there is {name}")),
                None => error.hint("`runstone datasets` lists them"),
            })
        }
        _ => Err(CommandError::usage(format!("{given} could be {}", fitting.join(" or ")))),
    }
}
