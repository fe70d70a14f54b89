//! Attempts by anything that is recorded: columns are asked of the store, what stands within derivations is looked at here.

use runstone_core::canonical::{self, Value};
use runstone_core::cell::task_name;
use runstone_core::lineage::store::Search;
use runstone_core::record::{AttemptRecord, MaterializationRecord, Metric, NodeId};
use runstone_core::store::Store;
use serde::Serialize;

use crate::Result;
use crate::asked::{hash_text, short};
use crate::view::{AttemptView, VersionView, evicted};

/// Attempts asked of the store at a time.
const PAGE: u32 = 500;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What the store knows.
    pub columns: Search,
    /// Parameters or matrix values: name and value as people write it.
    pub params: Vec<(String, String)>,
    /// First digits of the content of a code file, or the path of one.
    pub code: Option<String>,
}

/// An attempt that fits, with what it published and reported.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptView,
    /// Name of the pipeline.
    pub pipeline: String,
    /// `step` or `step{cell}`.
    pub task: String,
    /// What it published.
    pub versions: Vec<VersionView>,
    /// What it reported, for the whole and for slices.
    pub metrics: Vec<Metric>,
}

/// Attempts that fit everything wanted, newest first.
///
/// # Errors
/// Where the record cannot be read.
pub fn search(store: &mut dyn Store, wanted: &Wanted) -> Result<Vec<Found>> {
    let most = usize::try_from(wanted.columns.limit).unwrap_or(usize::MAX);
    let within = !wanted.params.is_empty() || wanted.code.is_some();
    let mut page = Search { limit: if within { PAGE } else { wanted.columns.limit }, ..wanted.columns.clone() };
    let mut found: Vec<AttemptRecord> = Vec::new();
    loop {
        let attempts = store.search(&page)?;
        let Some(last) = attempts.last().map(|attempt| attempt.id) else { break };
        let is_full = attempts.len() == usize::try_from(page.limit).unwrap_or(usize::MAX);
        for attempt in attempts {
            if found.len() < most && fits(store, &attempt, wanted)? {
                found.push(attempt);
            }
        }
        if !is_full || found.len() >= most || !within {
            break;
        }
        page.before = Some(last);
    }
    views(store, &found)
}

fn fits(store: &mut dyn Store, attempt: &AttemptRecord, wanted: &Wanted) -> Result<bool> {
    if wanted.params.is_empty() && wanted.code.is_none() {
        return Ok(true);
    }
    let Some(bytes) = store.derivation(&attempt.fingerprint)? else { return Ok(false) };
    let Ok(asked) = canonical::decode(&bytes) else { return Ok(false) };
    let has = |(name, value): &(String, String)| {
        ["cell", "params"].iter().find_map(|map| asked.get(map)?.get(name)).is_some_and(|it| short(it) == *value)
    };
    Ok(wanted.params.iter().all(has) && wanted.code.as_ref().is_none_or(|code| has_code(&asked, code)))
}

fn has_code(asked: &Value, wanted: &str) -> bool {
    let Some(Value::Map(files)) = asked.get("code") else { return false };
    let digits = wanted.strip_prefix(runstone_core::hash::CONTENT_PREFIX);
    files.iter().any(|(path, content)| match digits {
        Some(digits) => hash_text(content)[runstone_core::hash::CONTENT_PREFIX.len()..].starts_with(digits),
        None => path == wanted || path.trim_start_matches("./") == wanted.trim_start_matches("./"),
    })
}

fn views(store: &mut dyn Store, found: &[AttemptRecord]) -> Result<Vec<Found>> {
    let ids: Vec<NodeId> = found.iter().map(|attempt| attempt.id).collect();
    let published: Vec<MaterializationRecord> = store.published(&ids)?;
    let metrics = store.metrics(&ids)?;
    let evicted = evicted(store, &published)?;
    Ok(found
        .iter()
        .map(|attempt| Found {
            attempt: AttemptView::from(attempt),
            pipeline: attempt.pipeline.clone(),
            task: task_name(&attempt.step, &attempt.cell),
            versions: published
                .iter()
                .filter(|it| it.attempt == attempt.id)
                .map(|it| VersionView::new(it, Some(attempt), &evicted))
                .collect(),
            metrics: metrics.iter().filter(|(id, _)| *id == attempt.id).map(|(_, metric)| metric.clone()).collect(),
        })
        .collect())
}
