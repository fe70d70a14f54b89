//! The folder of pipelines: found, read, declared on record, and looked at again and again.
//!
//! A file counts as a pipeline where its name ends with `.yaml` or `.yml` and a line of it begins with `steps:`; hidden
//! folders are left out. A file that was good and is broken now stays in force as it was, and the error is on record.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use indexmap::IndexMap;
use runstone_core::schedule::{Overlap, Schedule};
use runstone_core::service::launch::{ScheduleSpec, TriggerSpec, When};
use runstone_core::service::record::{DeclaredPipeline, DeclaredSchedule, PipelineRecord};
use runstone_core::spec::Pipeline;
use runstone_core::store::{Result, Store};
use runstone_core::time::Timestamp;
use tracing::{error, info};

use super::watch::Watch;
use crate::prepare::{Home, load_declared};

/// Folders within folders, at most.
const DEPTH: usize = 8;
/// Files looked at, at most.
const FILES: usize = 20_000;

/// What a folder declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovered {
    /// Pipelines that can be run.
    pub pipelines: Vec<DeclaredPipeline>,
    /// Files that cannot be used: path, name of the pipeline where it is known, what is wrong.
    pub broken: Vec<(String, String)>,
}

/// What a file looked like: whether it changed is seen by a stat.
type Stamp = (SystemTime, u64);

/// Reads the pipelines under a folder. Paths are told relative to the project's root.
#[must_use]
pub fn discover(folder: &Path, home: &Home) -> Discovered {
    read(stamps(folder).into_keys(), home)
}

fn read(files: impl Iterator<Item = PathBuf>, home: &Home) -> Discovered {
    let mut found = Discovered::default();
    let mut by_name: HashMap<String, String> = HashMap::new();
    for path in files {
        let shown = path.strip_prefix(&home.root).unwrap_or(&path).display().to_string();
        let text = match std::fs::read(&path) {
            Ok(text) if is_pipeline(&text) => text,
            Ok(_) => continue,
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
fn stamps(folder: &Path) -> BTreeMap<PathBuf, Stamp> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let Ok(kind) = entry.file_type() else { continue };
            if name.to_string_lossy().starts_with('.') || found.len() >= FILES {
                continue;
            }
            if kind.is_dir() && depth < DEPTH {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml")
                && let Ok(metadata) = std::fs::metadata(&path)
                && metadata.is_file()
            {
                found.insert(path, (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len()));
            }
        }
    }
    found
}

/// The folder as it was when it was last declared.
#[derive(Debug)]
pub(super) struct Folder {
    folder: PathBuf,
    home: Home,
    seen: Option<BTreeMap<PathBuf, Stamp>>,
    told: HashMap<String, String>,
}

impl Folder {
    pub(super) fn new(folder: PathBuf, home: Home) -> Self {
        Self { folder, home, seen: None, told: HashMap::new() }
    }

    /// Declares the folder where it changed since the last time. Returns what is on record, or `None` where nothing changed.
    ///
    /// # Errors
    /// Any of the store's; the folder is then looked at again the next time.
    pub(super) fn declare(&mut self, store: &mut dyn Store, at: Timestamp) -> Result<Option<Vec<PipelineRecord>>> {
        let now = stamps(&self.folder);
        if self.seen.as_ref() == Some(&now) {
            return Ok(None);
        }
        let found = read(now.keys().cloned(), &self.home);
        let prefix = self.folder.strip_prefix(&self.home.root).unwrap_or(&self.folder);
        let prefix = prefix
            .to_str()
            .map_or_else(String::new, |text| if text.is_empty() { String::new() } else { format!("{text}/") });
        let records = store.declare(&prefix, &found.pipelines, &found.broken, at)?;
        self.tell(&found);
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
