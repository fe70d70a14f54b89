//! Beginning a run: everything that is fixed before the first step, put on record before anything happens.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::channel;

use runstone_core::machine::{Layout, Machine, Policy};
use runstone_core::record::{MaterializationRecord, RunEnvironment, RunId};
use runstone_core::service::record::Claim;
use runstone_core::store::{NewRun, NewTask, Ownership, Store, StoreError};
use runstone_exec::local::LocalExecutor;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock;
use crate::crew::Crew;
use crate::driver::{Control, DriveError, Driver, Event, Parts, Summary, TaskData};
use crate::environment::Asked as Environment;
use crate::failpoint;
use crate::hooks;
use crate::owner;
use crate::pins::{self, Standing};
use crate::prepare::{PrepareError, Prepared};
use crate::report::{Counts, Reporter, RunEvent};
use crate::site::Site;
use crate::submit::Wish;

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    /// The first failure stops everything that has not started.
    pub fail_fast: bool,
    /// Resolve Python environments anew.
    pub relock: bool,
}

/// A run could not be begun or driven to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something went wrong on the way. What is on record stays true.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The text that is on record with the run cannot be used any more.
    #[error("the definition on record cannot be used")]
    Prepare(#[from] PrepareError),
    /// The run's folder or the executor cannot be made.
    #[error("cannot prepare run folder {folder}: {message}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        message: String,
    },
    /// Another process drives the run.
    #[error("run #{0} is being driven by another process")]
    Busy(i64),
    /// There is nothing left to do.
    #[error("run #{0} has succeeded; there is nothing to resume")]
    Over(i64),
    /// The run's objects are in another content store than this project's.
    #[error("run #{0} keeps its objects in another content store; resume it where it was begun")]
    ElsewhereStored(i64),
    /// Something the run is to read is not on record.
    #[error("{0}")]
    Input(String),
    /// Results that it would go on from were given up since.
    #[error("run #{number} cannot be gone on with: the bytes of {version} were given up; a new run makes them anew")]
    GivenUp {
        /// Its number.
        number: i64,
        /// Such as `pipeline/step@v3`.
        version: String,
    },
}

/// What is kept with a run about how it was asked for, beside its definition and parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(flatten)]
    pub(crate) wish: Wish,
    /// Publications of other pipelines, by name and version as written.
    pub(crate) pins: Vec<(String, String, Vec<MaterializationRecord>)>,
    /// Publications of steps that are not part of the run.
    pub(crate) standing: Vec<Standing>,
}

impl Kept {
    /// What the run reads of what it does not make itself.
    pub(crate) fn read_of_others(&self) -> impl Iterator<Item = &MaterializationRecord> {
        let external = self.pins.iter().flat_map(|(_, _, found)| found);
        external.chain(self.standing.iter().flat_map(Standing::found))
    }
}

/// Who asked for a run, and how it is to be put on record.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) run: RunId,
    /// What started it, for people.
    pub(crate) trigger: String,
    /// Where it was submitted: its number, and the right to begin it.
    pub(crate) number: i64,
    pub(crate) claim: Option<Claim>,
    pub(crate) environment: RunEnvironment,
}

/// Begins a run and drives it to its end. `control` receives the way to end it early.
///
/// # Errors
/// [`RunError`]. Failing steps are no error: see [`Summary::state`].
#[expect(clippy::too_many_arguments, reason = "the parts of a run, each from another place")]
pub fn run(
    site: &Site,
    prepared: Prepared,
    store: Box<dyn Store>,
    crew: &Crew,
    options: RunOptions,
    environment: Environment,
    reporter: &mut dyn Reporter,
    control: impl FnOnce(Control),
) -> Result<Summary, RunError> {
    let birth = Birth {
        run: RunId(Uuid::now_v7()),
        trigger: "manual".to_owned(),
        number: 0,
        claim: None,
        environment: environment.wait(),
    };
    begin(site, prepared, store, crew, options, birth, reporter, control)
}

/// The same for a run that was asked for earlier, perhaps by somebody else.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, each from another place")]
pub(crate) fn begin(
    site: &Site,
    prepared: Prepared,
    mut store: Box<dyn Store>,
    crew: &Crew,
    options: RunOptions,
    birth: Birth,
    reporter: &mut dyn Reporter,
    control: impl FnOnce(Control),
) -> Result<Summary, RunError> {
    let prepared = Arc::new(prepared);
    let (run, asked_number, is_told_of_cancel) = (birth.run, birth.number, birth.claim.is_some());
    let external = pins::external(&prepared, store.as_mut())?;
    let standing = pins::standing(&prepared, store.as_mut())?;
    let ledger = pins::ledger(&prepared, &standing, store.as_mut())?;
    if let Some(message) = pins::absent(&prepared, &external, &ledger) {
        return Err(RunError::Input(message));
    }
    let (tasks, recorded) = fresh_tasks(&prepared);
    let next_row = u32::try_from(recorded.len()).unwrap_or(u32::MAX);
    let kept = Kept {
        wish: Wish::of(&prepared, options.fail_fast),
        pins: external.iter().map(|((name, version), found)| (name.clone(), version.clone(), found.clone())).collect(),
        standing,
    };
    let new = NewRun { tasks: recorded, ..new_run(site, &prepared, &kept, birth) };
    let bench = Bench::set_up(site, (run, asked_number), crew)?;
    // A clean-up knows of the run from here on, and spares what it holds.
    let _ = pins::hold(site, kept.read_of_others());
    let number = store.create_run(&new)?;
    failpoint::hit("after_run_created");
    reporter.event(&RunEvent::RunStarted {
        number,
        run,
        pipeline: prepared.pipeline.name.to_string(),
        tasks: u32::try_from(new.tasks.len()).unwrap_or(u32::MAX),
        resumed: false,
    });
    let layout = layout(site, &prepared);
    let machine = Machine::new(layout, crew.limits, policy(run, options.fail_fast));
    control(Control(bench.events.0.clone()));
    let parts = Parts {
        site: site.clone(),
        prepared: Arc::clone(&prepared),
        run,
        number,
        owner: Ownership { run, epoch: 1 },
        folder: site.project.run_dir(run.0),
        reader: store.reopen()?,
        writer: store,
        machine,
        next_row,
        tasks,
        ledger,
        external,
        expanded: HashSet::new(),
        counts: Counts::default(),
        relock: options.relock,
        is_told_of_cancel,
        executor: Box::new(bench.executor),
        crew: crew.clone(),
        lock: bench.lock,
        events: bench.events,
    };
    let summary = Driver::new(parts, reporter)?.drive()?;
    hooks::run(site, &prepared, &summary, reporter);
    Ok(summary)
}

/// A run's folder with its lock, and the executor that holds it.
pub(crate) struct Bench {
    pub(crate) executor: LocalExecutor,
    pub(crate) lock: Arc<OwnedFd>,
    pub(crate) events: (std::sync::mpsc::Sender<Event>, std::sync::mpsc::Receiver<Event>),
}

impl Bench {
    /// Takes the lock of a run that is being made.
    fn set_up(site: &Site, (run, number): (RunId, i64), crew: &Crew) -> Result<Self, RunError> {
        let folder = site.project.run_dir(run.0);
        let failed = |message: String| RunError::Folder { folder: folder.display().to_string(), message };
        let lock = owner::lock_soon(&folder).map_err(|error| failed(error.to_string()))?;
        let lock = lock.ok_or(RunError::Busy(number))?;
        Self::with_lock(&folder, lock.into(), crew).map_err(failed)
    }

    pub(crate) fn with_lock(folder: &std::path::Path, lock: OwnedFd, crew: &Crew) -> Result<Self, String> {
        let events = channel();
        let sender = events.0.clone();
        // Both stand for the same lock, which is free when the last of them is closed.
        let held = lock.try_clone().map_err(|error| error.to_string())?;
        let executor =
            LocalExecutor::new(crew.server.clone(), owner::journal_path(folder), Some(lock), move |report| {
                // Without a loop the outcome stays in the journal, where the next owner finds it.
                let _ = sender.send(Event::Report(report));
            })
            .map_err(|error| crate::text(&error))?;
        Ok(Self { executor, lock: Arc::new(held), events })
    }
}

pub(crate) fn layout(site: &Site, prepared: &Prepared) -> Layout {
    let mut layout = Layout::new(&prepared.pipeline, &prepared.graph, &prepared.selection);
    layout.share_pools(|node| {
        prepared.graph.step(&prepared.pipeline, node).is_some_and(|step| site.pool_of(step).is_some())
    });
    layout
}

pub(crate) fn policy(run: RunId, fail_fast: bool) -> Policy {
    Policy { fail_fast, seed: run.0.as_u64_pair().1 }
}

/// Every task of the graph; those that are part of the run are numbered in a row, as they stand on record.
fn fresh_tasks(prepared: &Prepared) -> (Vec<TaskData>, Vec<NewTask>) {
    let graph = &prepared.graph;
    let mut recorded = Vec::new();
    let mut tasks = Vec::with_capacity(graph.tasks.len());
    for (index, task) in graph.tasks.iter().enumerate() {
        let row = u32::try_from(recorded.len()).unwrap_or(u32::MAX);
        tasks.push(TaskData::new(task.node, task.cell.clone(), row));
        if prepared.selection.runs_task(graph, index) {
            let step = graph.label(&prepared.pipeline, task.node).to_owned();
            recorded.push(NewTask { index: row, step, cell: task.cell.key() });
        }
    }
    (tasks, recorded)
}

fn new_run(site: &Site, prepared: &Prepared, kept: &Kept, birth: Birth) -> NewRun {
    NewRun {
        id: birth.run,
        pipeline: prepared.pipeline.name.to_string(),
        definition: prepared.definition.text.clone(),
        definition_path: prepared.definition.path.display().to_string(),
        params: serde_json::json!(prepared.params),
        request: serde_json::json!(kept),
        trigger: birth.trigger,
        created: clock::now(),
        store_marker: site.objects.marker(),
        partition: prepared.partition.as_ref().map(ToString::to_string),
        claim: birth.claim,
        environment: birth.environment,
        tasks: Vec::new(),
    }
}
