//! What triggers watch: datasets of other pipelines, and files.
//!
//! A trigger is level-triggered: it compares what it sees with what was on record when it last fired, so that nothing is
//! missed while no scheduler was there, and nothing fires twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use runstone_core::hash::ContentHash;
use runstone_core::service::launch::{ScheduleSpec, When};
use runstone_core::service::machine::Sighting;
use runstone_core::service::record::{ScheduleId, ScheduleRecord};
use runstone_core::spec::model::Trigger;
use runstone_core::store::{Result, Store, VersionRef};
use runstone_core::time::micros;
use runstone_exec::objects::Limits;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::runs::Shop;
use crate::source;

/// What a trigger watches, as it stands on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Watch {
    Datasets { names: Vec<String>, all: bool },
    Files { path: String, settle_us: u64, every_us: u64 },
}

impl Watch {
    pub(super) fn of(trigger: &Trigger) -> Self {
        match trigger {
            Trigger::Dataset { datasets, all } => Self::Datasets { names: datasets.clone(), all: *all },
            Trigger::File { path, settle, every } => {
                Self::Files { path: path.clone(), settle_us: micros(*settle), every_us: micros(*every) }
            }
        }
    }

    /// What people call a trigger. It follows from what it watches, so that triggers can be put in another order.
    pub(super) fn name(trigger: &Trigger) -> String {
        match trigger {
            Trigger::Dataset { datasets, all: true } => datasets.join("&"),
            Trigger::Dataset { datasets, all: false } => datasets.join("|"),
            Trigger::File { path, .. } => path.clone(),
        }
    }
}

/// When triggers that are not looked at every time were looked at last.
#[derive(Debug, Default)]
pub(super) struct Looks(HashMap<ScheduleId, Instant>);

impl Looks {
    fn is_due(&mut self, id: ScheduleId, every_us: u64) -> bool {
        let now = Instant::now();
        let is_due = self.0.get(&id).is_none_or(|last| now.duration_since(*last) >= Duration::from_micros(every_us));
        if is_due {
            self.0.insert(id, now);
        }
        is_due
    }
}

/// What a trigger on datasets has seen: name → the versions that `@latest` named, one for each part.
type Heads = BTreeMap<String, BTreeMap<String, ContentHash>>;

/// What a trigger on files has seen when it last fired.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Files {
    /// Each of them, as it looked from outside; where there are too many to be kept, all of them as one hash.
    known: BTreeSet<String>,
}

/// So many files are kept one by one.
const MOST_KNOWN: usize = 5000;

impl Files {
    fn of(files: Vec<String>) -> Self {
        if files.len() <= MOST_KNOWN {
            return Self { known: files.into_iter().collect() };
        }
        Self { known: BTreeSet::from([ContentHash::of(files.join(" ").as_bytes()).to_string()]) }
    }
}

/// Looks at what triggers watch.
///
/// # Errors
/// Any of the store's.
pub(super) fn look(store: &mut dyn Store, shop: &Shop, triggers: &[ScheduleRecord]) -> Result<Vec<Sighting>> {
    let mut looks = shop.looks.lock().unwrap_or_else(PoisonError::into_inner);
    let homes: HashMap<String, String> =
        store.pipelines()?.into_iter().map(|one| (one.pipeline, one.definition_path)).collect();
    let mut sightings = Vec::with_capacity(triggers.len());
    for record in triggers {
        let Ok(ScheduleSpec { when: When::Trigger(trigger), .. }) = ScheduleSpec::read(record) else { continue };
        let Ok(watch) = serde_json::from_value::<Watch>(trigger.watch) else { continue };
        sightings.extend(match watch {
            Watch::Datasets { names, all } => Some(at_datasets(store, record, &names, all)?),
            Watch::Files { every_us, .. } if !looks.is_due(record.id, every_us) => None,
            Watch::Files { path, settle_us, .. } => {
                let home = homes.get(&record.pipeline);
                home.and_then(|home| at_files(shop, home, record, &Wanted { pattern: &path, settle_us }))
            }
        });
    }
    Ok(sightings)
}

fn at_datasets(store: &mut dyn Store, record: &ScheduleRecord, datasets: &[String], all: bool) -> Result<Sighting> {
    let mut heads = Heads::new();
    for name in datasets {
        let found = store.resolve(name, &VersionRef::Latest)?;
        heads.insert(name.clone(), found.into_iter().map(|one| (one.subset, one.hash)).collect());
    }
    let before: Option<Heads> = serde_json::from_value(record.seen.clone()).ok();
    let now = serde_json::json!(heads);
    let Some(before) = before else {
        // What was there before the trigger was is no news.
        return Ok(Sighting { schedule: record.id, seen: now, fires: None });
    };
    let news: Vec<&String> = heads
        .iter()
        .filter(|(name, versions)| !versions.is_empty() && before.get(*name) != Some(versions))
        .map(|(name, _)| name)
        .collect();
    let fires = if all { news.len() == heads.len() } else { !news.is_empty() };
    let told = || {
        let told = |name: &&String| {
            let newest = heads[*name]
                .iter()
                .find(|(part, hash)| before.get(*name).and_then(|versions| versions.get(*part)) != Some(*hash));
            newest.map_or_else(|| (*name).clone(), |(_, hash)| format!("{name} has {hash:.12}"))
        };
        news.iter().map(told).collect::<Vec<_>>().join(", ")
    };
    // Until it fires, what was seen stays as it was: news adds up.
    Ok(if fires {
        Sighting { schedule: record.id, fires: Some(told()), seen: now }
    } else {
        Sighting { schedule: record.id, fires: None, seen: record.seen.clone() }
    })
}

fn at_files(shop: &Shop, definition_path: &str, record: &ScheduleRecord, wanted: &Wanted<'_>) -> Option<Sighting> {
    let site = shop.site(definition_path).ok()?;
    let pattern = source::pattern(&shop.project.folder_of(definition_path), wanted.pattern).ok()?;
    let settled = SystemTime::now().checked_sub(Duration::from_micros(wanted.settle_us))?;
    let files = match site.scanner.glimpse(&pattern, Limits::default(), settled) {
        Ok(glimpse) => glimpse.files,
        Err(error) => {
            let (pipeline, trigger) = (&record.pipeline, &record.name);
            warn!(pipeline, trigger, error = %crate::text(&error), "cannot look at files");
            return None;
        }
    };
    let count = files.len();
    let now = Files::of(files);
    let sighting = |fires| Some(Sighting { schedule: record.id, seen: serde_json::json!(now), fires });
    let Some(before) = serde_json::from_value::<Option<Files>>(record.seen.clone()).ok().flatten() else {
        // What was there before the trigger was is no news.
        return sighting(None);
    };
    let news = now.known.difference(&before.known).count();
    if news == 0 {
        // A file that went is no news either, and is forgotten.
        return sighting(None);
    }
    sighting(Some(format!("{news} of {count} files that match {} are new", pattern.as_str())))
}

/// What a trigger on files looks for.
struct Wanted<'a> {
    pattern: &'a str,
    /// How long it must have stayed as it is.
    settle_us: u64,
}
