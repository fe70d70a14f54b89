//! What people name, found on record: runs, tasks, versions of datasets. Never an empty answer: what is not there is an
//! error that says what is.

use std::collections::{BTreeMap, HashSet};

use runstone_core::cell::task_name;
use runstone_core::record::{MaterializationRecord, NodeId, RunRecord, TaskRecord};
use runstone_core::reference::{DatasetRef, RunRef, RunTaskRef, VersionRef, cell_agrees};
use runstone_core::store::{RunFilter, Store};

use crate::view::reference;
use crate::{Error, Result};

/// How many runs are searched for a task when none is named.
const SEARCHED_RUNS: u32 = 50;

/// The run that is meant; the newest where nothing was said.
pub fn run(store: &mut dyn Store, which: Option<&RunRef>) -> Result<RunRecord> {
    let which = which.cloned().unwrap_or(RunRef::Latest);
    if let Some(run) = store.run(&which)? {
        return Ok(run);
    }
    if let Some(one) = store.submission(&which)? {
        let message = match &one.reason {
            Some(reason) => format!("run #{} never began: {reason}", one.number),
            None => format!("run #{} has not begun yet: it is {}", one.number, one.state.as_str()),
        };
        return Err(Error::not_found(message).hint("`runstone queue` says what it waits for"));
    }
    let message = match &which {
        RunRef::Number(number) => format!("there is no run #{number}"),
        RunRef::Prefix(prefix) => format!("there is no run whose id starts with {prefix}"),
        RunRef::Latest => "there is no run yet".to_owned(),
    };
    Err(Error::not_found(message).hint("`runstone runs` lists them"))
}

/// The tasks that are meant, never none, and their run: the one that is named, else the newest that has such a task.
pub fn tasks(
    store: &mut dyn Store,
    wanted: &RunTaskRef,
    run_flag: Option<&RunRef>,
) -> Result<(RunRecord, Vec<TaskRecord>)> {
    if let (Some(named), Some(flag)) = (&wanted.run, run_flag)
        && named != flag
    {
        return Err(Error::usage("the task and --run name different runs"));
    }
    if let Some(which) = wanted.run.as_ref().or(run_flag) {
        let run = self::run(store, Some(which))?;
        let tasks = store.tasks(run.id)?;
        let found = matching(&tasks, wanted);
        return if found.is_empty() { Err(no_such_task(&run, &tasks, wanted)) } else { Ok((run, found)) };
    }
    let newest = self::run(store, None)?;
    for run in store.runs(&RunFilter { limit: Some(SEARCHED_RUNS), ..RunFilter::default() })? {
        let found = matching(&store.tasks(run.id)?, wanted);
        if !found.is_empty() {
            return Ok((run, found));
        }
    }
    let tasks = store.tasks(newest.id)?;
    Err(no_such_task(&newest, &tasks, wanted))
}

/// The single task that is meant.
pub fn task(store: &mut dyn Store, wanted: &RunTaskRef, run_flag: Option<&RunRef>) -> Result<(RunRecord, TaskRecord)> {
    let (run, mut tasks) = tasks(store, wanted, run_flag)?;
    if tasks.len() > 1 {
        let names: Vec<_> = tasks.iter().take(8).map(|task| task_name(&task.step, &task.cell)).collect();
        let more = if tasks.len() > names.len() { ", …" } else { "" };
        let message = format!("{} tasks of run #{} fit: {}{more}", tasks.len(), run.number, names.join(", "));
        return Err(Error::usage(message).hint("name more of the cell"));
    }
    Ok((run, tasks.remove(0)))
}

fn matching(tasks: &[TaskRecord], wanted: &RunTaskRef) -> Vec<TaskRecord> {
    let fits = |task: &&TaskRecord| task.step == wanted.task.step && cell_agrees(&task.cell, &wanted.task.cell);
    tasks.iter().filter(fits).cloned().collect()
}

fn no_such_task(run: &RunRecord, tasks: &[TaskRecord], wanted: &RunTaskRef) -> Error {
    let step = &wanted.task.step;
    let error = |message: String| Error::not_found(message);
    let cells: Vec<String> =
        tasks.iter().filter(|task| task.step == *step).map(|task| task_name(&task.step, &task.cell)).take(8).collect();
    if !cells.is_empty() {
        return error(format!("run #{} has no such cell of {step}", run.number))
            .hint(format!("there are {}", cells.join(", ")));
    }
    let mut steps: Vec<&str> = tasks.iter().map(|task| task.step.as_str()).collect();
    steps.dedup();
    steps.truncate(12);
    error(format!("run #{} has no task {step}", run.number)).hint(format!("its steps are {}", steps.join(", ")))
}

/// The publications that are meant, never none: one per subset that agrees.
pub fn versions(store: &mut dyn Store, wanted: &DatasetRef) -> Result<Vec<MaterializationRecord>> {
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
        return Err(Error::not_found(format!("{name} has no such cell")).hint(hint));
    }
    let message = match &version {
        VersionRef::Latest => format!("no version of {name} may be used as the latest"),
        VersionRef::Number(number) => format!("{name} has no version {number}"),
        VersionRef::HashPrefix(prefix) => format!("no version of {name} has a hash that starts with b3:{prefix}"),
        VersionRef::Run(_) => format!("that run neither published nor reused {name}"),
        VersionRef::Tag(tag) => format!("{name} has no tag {tag}"),
        VersionRef::AsOf(_) => format!("{name} had no latest version at that time"),
        VersionRef::Partition(key) => format!("{name} has no latest version of partition {}", key.as_str()),
    };
    Err(Error::not_found(message).hint(format!("`runstone datasets {name}` lists its versions")))
}

/// Every publication of the versions that are meant, in the order of ids. Whoever asks what became of a version asks about
/// all of them: the same bytes may have been published again since.
pub fn publications(store: &mut dyn Store, wanted: &DatasetRef) -> Result<Vec<MaterializationRecord>> {
    let found = versions(store, wanted)?;
    let mut all: BTreeMap<NodeId, MaterializationRecord> = BTreeMap::new();
    for version in &found {
        let same = |it: &MaterializationRecord| it.dataset == version.dataset && it.subset == version.subset;
        let published = store.by_hash(&version.hash.to_hex(), u32::MAX)?;
        all.extend(published.into_iter().filter(same).map(|it| (it.id, it)));
    }
    Ok(all.into_values().collect())
}

/// The single publication that is meant.
pub fn version(store: &mut dyn Store, wanted: &DatasetRef) -> Result<MaterializationRecord> {
    let mut found = versions(store, wanted)?;
    if found.len() > 1 {
        let names: Vec<_> = found.iter().take(6).map(|it| reference(&it.dataset, &it.subset, it.version)).collect();
        let more = if found.len() > names.len() { ", …" } else { "" };
        let message = format!("{} cells fit: {}{more}", found.len(), names.join(", "));
        return Err(Error::usage(message).hint("name more of the cell, in quotes for the shell"));
    }
    Ok(found.remove(0))
}

/// Content named alone: its newest publication in each dataset.
fn by_content(store: &mut dyn Store, version: &VersionRef) -> Result<Vec<MaterializationRecord>> {
    let VersionRef::HashPrefix(prefix) = version else {
        return Err(Error::usage("a dataset must be named"));
    };
    let mut found = store.by_hash(prefix, 1000)?;
    let mut seen = HashSet::new();
    found.retain(|it| seen.insert((it.dataset.clone(), it.subset.clone(), it.hash)));
    if found.iter().any(|it| it.hash != found[0].hash) {
        return Err(Error::usage(format!("b3:{prefix} is the start of several hashes")).hint("give more digits"));
    }
    if found.is_empty() {
        return Err(Error::not_found(format!("no dataset holds content b3:{prefix}")));
    }
    Ok(found)
}

/// The full name of a dataset given by it, or by its last part where only one dataset is called so.
pub fn full_name(store: &mut dyn Store, given: &str) -> Result<String> {
    if store.datasets(given)?.iter().any(|dataset| dataset.name == given) {
        return Ok(given.to_owned());
    }
    let all = store.datasets("")?;
    let ends = |name: &str| name.rsplit_once('/').is_some_and(|(_, last)| last == given);
    let fitting: Vec<&str> = all.iter().map(|dataset| dataset.name.as_str()).filter(|name| ends(name)).collect();
    match fitting[..] {
        [only] => Ok(only.to_owned()),
        [] => {
            let error = Error::not_found(format!("there is no dataset {given}"));
            let near = all.iter().map(|it| it.name.as_str()).find(|name| name.contains(given));
            Err(match near {
                Some(name) => error.hint(format!("there is {name}")),
                None => error.hint("`runstone datasets` lists them"),
            })
        }
        _ => Err(Error::usage(format!("{given} could be {}", fitting.join(" or ")))),
    }
}
