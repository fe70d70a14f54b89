//! The folder of pipelines: found, read, declared on record, and looked at again and again.
//!
//! A file counts as a pipeline where its name ends with `.yaml` or `.yml` and a line of it begins with `steps:`; hidden
//! folders are left out. A file that was good and is broken now stays in force as it was, and the error is on record.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use indexmap::IndexMap;
use runstone_core::schedule::{Overlap, Schedule};
use runstone_core::service::launch::{ScheduleSpec, TriggerSpec, When};
use runstone_core::service::record::{DeclaredPipeline, DeclaredSchedule, PipelineRecord};
use runstone_core::spec::Pipeline;
use runstone_core::store::{Result, Store};
use runstone_core::time::Timestamp;
use tracing::{error, info, warn};

use super::watch::Watch;
use crate::prepare::{Home, load_declared};

/// Folders within folders, at most.
const DEPTH: usize = 8;
/// Files looked at, at most.
const FILES: usize = 20_000;

/// What a folder declares.
#[derive(Debug, Clone, Default, PartialEq)]
struct Discovered {
    /// Pipelines that can be run.
    pipelines: Vec<DeclaredPipeline>,
    /// Files that cannot be used: path, name of the pipeline where it is known, what is wrong.
    broken: Vec<(String, String)>,
    /// Files that are no pipelines, with the reason; of interest where they were some before.
    others: Vec<(String, String)>,
}

/// What a file looked like: whether it changed is seen by a stat.
type Stamp = (SystemTime, u64);

fn read(files: impl Iterator<Item = PathBuf>, home: &Home) -> Discovered {
    let mut found = Discovered::default();
    let mut by_name: HashMap<String, String> = HashMap::new();
    for path in files {
        let shown = path.strip_prefix(&home.root).unwrap_or(&path).display().to_string();
        let text = match std::fs::read(&path) {
            Ok(text) if is_pipeline(&text) => text,
            // Where it was a pipeline, it may be one again in a moment: editors empty a file before they write it.
            Ok(_) => {
                found.others.push((shown, "has no line that begins with `steps:`".to_owned()));
                continue;
            }
            Err(error) => {
                found.broken.push((shown, format!("cannot be read: {error}")));
                continue;
            }
        };
        match load_declared(&path, &text, home) {
            Err(message) => found.broken.push((shown, message)),
            Ok((pipeline, text)) => match by_name.get(pipeline.name.as_str()) {
                Some(first) => {
                    let message = format!("{first} declares a pipeline `{}` too; names are unique", pipeline.name);
                    found.broken.push((shown, message));
                }
                None => {
                    by_name.insert(pipeline.name.to_string(), shown.clone());
                    found.pipelines.push(declared(&pipeline, text, shown));
                }
            },
        }
    }
    found
}

fn is_pipeline(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"steps:"))
}

/// A pipeline as it stands on record: when it fires, and what its runs are like.
fn declared(pipeline: &Pipeline, definition: String, definition_path: String) -> DeclaredPipeline {
    let spec = |when: When| ScheduleSpec {
        when,
        priority: pipeline.priority,
        partitioning: pipeline.partition.clone(),
        request: serde_json::Value::Null,
    };
    let schedules = pipeline.schedules.iter().map(|schedule| DeclaredSchedule {
        pipeline: pipeline.name.to_string(),
        name: schedule.name.to_string(),
        timing: timing(schedule),
        spec: serde_json::json!(spec(When::Schedule(schedule.clone()))),
        enabled: schedule.enabled,
    });
    let triggers = pipeline.triggers.iter().map(|trigger| {
        let watch = serde_json::json!(Watch::of(trigger));
        let when =
            When::Trigger(TriggerSpec { watch: watch.clone(), overlap: Overlap::Queue, params: IndexMap::new() });
        DeclaredSchedule {
            pipeline: pipeline.name.to_string(),
            name: Watch::name(trigger),
            timing: watch.to_string(),
            spec: serde_json::json!(spec(when)),
            enabled: true,
        }
    });
    let schedules = schedules.chain(triggers).collect();
    DeclaredPipeline { pipeline: pipeline.name.to_string(), definition, definition_path, schedules }
}

/// What of a schedule decides when it fires, as canonical text.
fn timing(schedule: &Schedule) -> String {
    serde_json::json!({
        "timing": schedule.timing, "start": schedule.start, "end": schedule.end,
        "jitter_ms": u64::try_from(schedule.jitter.as_millis()).unwrap_or(u64::MAX),
    })
    .to_string()
}

/// Every file that may be a pipeline, in the order of paths.
///
/// # Errors
/// Where a folder or file is there and cannot be looked at, or there are too many: what cannot be seen is not gone.
fn stamps(folder: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut found = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| named(&folder, error))? {
            let entry = entry.map_err(|error| named(&folder, error))?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(|error| named(&path, error))?;
            if kind.is_dir() && depth < DEPTH {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                match std::fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => {
                        let stamp = (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len());
                        found.insert(path, stamp);
                    }
                    Ok(_) => {}
                    // Removed this moment, or a link that leads nowhere.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(named(&path, error)),
                }
            }
            if found.len() > FILES {
                return Err(io::Error::other(format!("{}: more than {FILES} files", folder.display())));
            }
        }
    }
    Ok(found)
}

/// The folder as it was when it was last declared.
#[derive(Debug)]
pub(super) struct Folder {
    folder: PathBuf,
    home: Home,
    seen: Option<BTreeMap<PathBuf, Stamp>>,
    /// Files that were there and were missing at the last look: gone when they are missing once more.
    missed: BTreeSet<PathBuf>,
    told: HashMap<String, String>,
    /// Files that were pipelines at some time.
    declared: BTreeSet<String>,
}

impl Folder {
    pub(super) fn new(folder: PathBuf, home: Home) -> Self {
        Self { folder, home, seen: None, missed: BTreeSet::new(), told: HashMap::new(), declared: BTreeSet::new() }
    }

    /// Declares the folder where it changed since the last time. Returns what is on record, or `None` where nothing changed.
    ///
    /// # Errors
    /// Any of the store's; the folder is then looked at again the next time.
    pub(super) fn declare(&mut self, store: &mut dyn Store, at: Timestamp) -> Result<Option<Vec<PipelineRecord>>> {
        let now = match stamps(&self.folder) {
            Ok(now) => now,
            Err(error) => {
                warn!(%error, "the folder of pipelines cannot be looked through; what it declared stays in force");
                return Ok(None);
            }
        };
        if self.seen.as_ref() == Some(&now) {
            self.missed.clear();
            return Ok(None);
        }
        // Whoever replaces a file may remove it first, so one that is missing is looked for once more.
        let missing: BTreeSet<PathBuf> =
            self.seen.iter().flat_map(BTreeMap::keys).filter(|path| !now.contains_key(*path)).cloned().collect();
        if !missing.is_subset(&self.missed) {
            self.missed = missing;
            return Ok(None);
        }
        let mut found = read(now.keys().cloned(), &self.home);
        found.broken.extend(found.others.iter().filter(|(path, _)| self.declared.contains(path)).cloned());
        let prefix = self.folder.strip_prefix(&self.home.root).unwrap_or(&self.folder);
        let prefix = prefix
            .to_str()
            .map_or_else(String::new, |text| if text.is_empty() { String::new() } else { format!("{text}/") });
        let records = store.declare(&prefix, &found.pipelines, &found.broken, at)?;
        self.tell(&found);
        self.declared.extend(found.pipelines.iter().map(|one| one.definition_path.clone()));
        self.seen = Some(now);
        Ok(Some(records))
    }

    fn tell(&mut self, found: &Discovered) {
        let broken: HashMap<String, String> = found.broken.iter().cloned().collect();
        for (path, message) in &broken {
            if self.told.get(path) != Some(message) {
                error!(file = path, "{message}");
            }
        }
        let schedules: usize = found.pipelines.iter().map(|one| one.schedules.len()).sum();
        info!(pipelines = found.pipelines.len(), schedules, broken = broken.len(), "pipelines read");
        self.told = broken;
    }
}
