//! Cleaning up by the rules of the project: bytes that can be made again, objects that nothing needs, folders of old runs,
//! events of old runs. What goes is decided in [`runstone_core::retention`]; here it is done, beside runs that are going on.

mod folders;
mod hands;
mod objects;
mod report;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunRecord, RunState};
use runstone_core::retention::{Facts, Plan, Rules, plan};
use runstone_core::store::{RunFilter, Store, StoreError};
use runstone_core::time::{Timestamp, micros};
use runstone_exec::objects::{Checkouts, ObjectError, ObjectStore, remove_folder};

use crate::begin::Kept;
use crate::clock;
use crate::failpoint;
use crate::project::Project;
use crate::reproduce::abandoned;
use folders::RunFolder;
use hands::{Hands, Pretended, Real};
use objects::{Limits, Stock};

pub use folders::usage;
pub use report::{Amount, EvictedVersion, Progress, Report, RuleReport};

/// Clocks of machines differ by less, as far as what is spared goes.
const SKEW: Duration = Duration::from_secs(60);
/// The clock of a file system may be behind by less.
const TICK: Duration = Duration::from_millis(20);
/// Events of so many runs are removed at once.
const RUNS_AT_ONCE: u32 = 50;

/// How to clean up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Only say what would go.
    pub dry_run: bool,
    /// What nothing on record names is spared for so long.
    pub spare: Duration,
    /// A configured objects folder is used by this project alone.
    pub exclusive: bool,
}

/// Cleaning up could not be finished. What was removed so far nobody needed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Somebody else is at it.
    #[error("another clean-up is under way")]
    Busy,
    /// What a folder needs is not known.
    #[error("objects cannot be collected while a folder on record is damaged")]
    Damaged(#[source] ObjectError),
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(StoreError),
    /// The objects cannot be read or removed.
    #[error(transparent)]
    Objects(ObjectError),
    /// Another file cannot be read or removed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl RetentionError {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What is kept of every version by the rules, and why.
///
/// # Errors
/// Where the record or the objects cannot be read.
pub fn decide(project: &Project, rules: &Rules, store: &mut dyn Store) -> Result<(Facts, Plan), RetentionError> {
    let objects = ObjectStore::open(&project.objects_dir())?;
    let running = store.runs(&RunFilter { state: Some(RunState::Running), ..RunFilter::default() })?;
    let facts = read_facts(store, &objects, &running)?;
    let plan = plan(&rules.objects, &facts, clock::now());
    Ok((facts, plan))
}

/// Why the objects of a project are left alone, where they are: whoever else uses them is not asked.
///
/// # Errors
/// Where the record cannot be read.
pub fn shared_objects(
    project: &Project,
    exclusive: bool,
    store: &mut dyn Store,
    objects: &ObjectStore,
) -> Result<Option<String>, RetentionError> {
    if project.config().objects.value.is_some() && !exclusive {
        let reason = "others may use the configured objects folder as well; --exclusive says that nobody does";
        return Ok(Some(reason.to_owned()));
    }
    let others = store.other_users(objects.marker())?;
    Ok((others > 0).then(|| format!("other projects in the database use them as well ({others})")))
}

/// Cleans up, or says what would go.
///
/// Safe at any time and to interrupt at any time: whatever is left half done is finished the next time.
///
/// # Errors
/// [`RetentionError`]; what was removed by then stays removed.
pub fn clean_up(
    project: &Project,
    rules: &Rules,
    store: &mut dyn Store,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, RetentionError> {
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    report.rules = rules
        .objects
        .iter()
        .map(|rule| RuleReport { r#match: rule.datasets.to_string(), contents: 0, objects: Amount::default() })
        .collect();
    let objects = ObjectStore::open(&project.objects_dir())?;
    let collector = if options.dry_run { None } else { Some(objects.collector()?.ok_or(RetentionError::Busy)?) };
    let began = collector.as_ref().map_or_else(SystemTime::now, runstone_exec::objects::Collector::began);
    // Folders before runs, so that one which begins now is not taken for one without a record.
    let folders = folders::of_runs(&project.runs_dir())?;
    let runs = store.runs(&RunFilter::default())?;
    let limits = limits(began, options.spare, &folders, &runs);
    remove_run_folders(rules, options, began, &folders, &runs, &mut report)?;
    report.objects_kept_because = shared_objects(project, options.exclusive, store, &objects)?;
    if report.objects_kept_because.is_none() {
        progress(Progress::Reading);
        let listed = objects.list().map(|info| info.map(|info| (info.hash, info.changed)));
        let there: HashMap<ContentHash, SystemTime> = listed.collect::<Result<_, _>>()?;
        let running: Vec<RunRecord> = runs.into_iter().filter(|run| run.state == RunState::Running).collect();
        let facts = read_facts(store, &objects, &running)?;
        let plan = plan(&rules.objects, &facts, clock::now());
        let trees = project.trees_dir();
        let open = || Checkouts::open(&trees);
        let checkouts = if trees.is_dir() || !options.dry_run { Some(open()?) } else { None };
        let (unused, temporary) = unused(checkouts.as_ref(), &objects, limits, &facts.held, options.dry_run)?;
        report.temporary_bytes = temporary;
        let stock = Stock::take(&objects, there, &facts, &plan)?;
        let mut hands: Box<dyn Hands> = match collector {
            Some(collector) => Box::new(Real { store: &mut *store, objects: &objects, collector, checkouts: open()? }),
            None => {
                let checkouts = if checkouts.is_some() { Some(open()?) } else { None };
                let changed = stock.there.clone();
                Box::new(Pretended { objects: &objects, checkouts, links: HashMap::new(), changed, gone: Vec::new() })
            }
        };
        stock.give_up(&mut *hands, limits, checkouts.as_ref(), &mut report, progress)?;
        objects::tidy_checkouts(&mut *hands, &unused, limits, &mut report)?;
    }
    remove_scratch(project, options, limits.spare, &mut report)?;
    remove_events(rules, options, store, &mut report, progress)?;
    report.sum_up();
    Ok(report)
}

/// What is on record, and what runs that are going on read of others, which stands in what they were asked.
fn read_facts(store: &mut dyn Store, objects: &ObjectStore, running: &[RunRecord]) -> Result<Facts, RetentionError> {
    let mut facts = store.retention_facts(objects.marker())?;
    for run in running {
        let kept: Result<Kept, _> = serde_json::from_value(run.request.clone());
        facts.held.extend(kept.iter().flat_map(Kept::read_of_others).map(|record| record.hash));
    }
    Ok(facts)
}

/// What may have been touched by somebody who counts on it without a record: since the oldest run that is going on, or that
/// is just beginning, was thought of.
fn limits(began: SystemTime, spare: Duration, folders: &[RunFolder], runs: &[RunRecord]) -> Limits {
    let beginning = folders.iter().filter(|folder| folder.owned).filter_map(RunFolder::began);
    let running = runs.iter().filter(|run| run.state == RunState::Running).map(|run| system_time(run.created));
    let margin = spare.clamp(TICK, SKEW);
    let oldest = beginning.chain(running).map(|at| at.checked_sub(margin).unwrap_or(SystemTime::UNIX_EPOCH)).min();
    let guard = oldest.map_or(began, |oldest| oldest.min(began));
    Limits { guard, spare: guard.min(began.checked_sub(spare).unwrap_or(SystemTime::UNIX_EPOCH)) }
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
}

/// Removes folders of runs that are over for long, and of runs that never came to be.
fn remove_run_folders(
    rules: &Rules,
    options: Options,
    began: SystemTime,
    folders: &[RunFolder],
    runs: &[RunRecord],
    report: &mut Report,
) -> Result<(), RetentionError> {
    let (rule, now) = (&rules.logs, clock::now());
    let is_old = |run: &RunRecord| {
        let limit = rule.older_than.map(micros);
        limit.zip(run.ended).is_some_and(|(limit, ended)| now.since(ended) >= limit)
    };
    // Newest first.
    let known: HashMap<_, _> =
        runs.iter().enumerate().map(|(at, run)| (run.id.0, at >= rule.keep_runs && is_old(run))).collect();
    let spare = began.checked_sub(options.spare).unwrap_or(SystemTime::UNIX_EPOCH);
    let is_left = |folder: &RunFolder| folders::changed(&folder.path).is_some_and(|changed| changed <= spare);
    for folder in folders.iter().filter(|folder| !folder.owned) {
        if !known.get(&folder.id).copied().unwrap_or_else(|| is_left(folder)) {
            continue;
        }
        let bytes = usage(&folder.path);
        if options.dry_run || folder.remove()? {
            report.runs.add(Amount { count: 1, bytes });
        }
    }
    Ok(())
}

/// Checkouts that may go, and how many bytes of temporary files do.
fn unused(
    checkouts: Option<&Checkouts>,
    objects: &ObjectStore,
    limits: Limits,
    held: &HashSet<ContentHash>,
    dry_run: bool,
) -> Result<(Vec<runstone_exec::objects::Unused>, u64), RetentionError> {
    let unused = checkouts.map(|checkouts| checkouts.unused(limits.spare, held)).transpose()?.unwrap_or_default();
    let temporary = if dry_run { objects.temporary(limits.spare)? } else { objects.tidy(limits.spare)? };
    Ok((unused, temporary))
}

/// Removes scratch folders that somebody left behind.
fn remove_scratch(
    project: &Project,
    options: Options,
    before: SystemTime,
    report: &mut Report,
) -> Result<(), RetentionError> {
    let left = abandoned(project, before).map_err(RetentionError::at("list", &project.scratch_dir()))?;
    for path in left {
        let bytes = usage(&path);
        if !options.dry_run {
            remove_folder(&path)?;
        }
        report.scratch.add(Amount { count: 1, bytes });
    }
    Ok(())
}

/// Removes events of runs that ended long ago.
fn remove_events(
    rules: &Rules,
    options: Options,
    store: &mut dyn Store,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), RetentionError> {
    let Some(age) = rules.events else { return Ok(()) };
    let age = i64::try_from(micros(age)).unwrap_or(i64::MAX);
    let before = Timestamp(clock::now().0.saturating_sub(age));
    if options.dry_run {
        let expired = store.expirable_events(before)?;
        (report.event_runs, report.events) = (expired.runs, expired.events);
        return Ok(());
    }
    loop {
        let expired = store.expire_events(before, RUNS_AT_ONCE)?;
        if expired.runs == 0 {
            return Ok(());
        }
        failpoint::hit("gc_after_events");
        report.event_runs += expired.runs;
        report.events += expired.events;
        progress(Progress::Events(report.events));
    }
}
