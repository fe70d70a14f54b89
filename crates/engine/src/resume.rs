//! Going on with a run whose owner is dead, or that failed or was cancelled: under its number, its definition, its
//! parameters and its pins. What is settled stays; what is alive is taken up where it is.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use runstone_core::cell::{Cell, task_name};
use runstone_core::machine::{Layout, Machine, Prior, TaskLayout};
use runstone_core::record::{
    AttemptRecord, AttemptState, MaterializationRecord, Metric, NodeId, RunRecord, RunState, TaskRecord, TaskState,
};
use runstone_core::store::{Ownership, Store, StoreError};
use runstone_exec::local::journal::{self, Entry as Journal};

use crate::begin::{self, Bench, Kept, RunError, RunOptions};
use crate::clock;
use crate::crew::Crew;
use crate::driver::{Control, Driver, Live, Parts, PickUp, Summary, TaskData};
use crate::failpoint;
use crate::hooks;
use crate::ledger::{Entry, Ledger, Published};
use crate::owner;
use crate::pins;
use crate::prepare::{Home, Prepared};
use crate::recorded::Recorded;
use crate::report::{Counts, Reporter, RunEvent};
use crate::site::Site;

/// Takes a run over and drives it to its end.
///
/// # Errors
/// [`RunError::Busy`] where its owner lives, [`RunError::Over`] where nothing is left to do, and as for a new run.
pub fn resume(
    site: &Site,
    mut store: Box<dyn Store>,
    record: &RunRecord,
    crew: &Crew,
    options: RunOptions,
    reporter: &mut dyn Reporter,
    control: impl FnOnce(Control),
) -> Result<Summary, RunError> {
    if record.state == RunState::Succeeded {
        return Err(RunError::Over(record.number));
    }
    let taken = Taken::new(site, store.as_mut(), record, crew)?;
    if record.state != RunState::Running {
        taken.hold_results(site, store.as_mut())?;
    }
    let Some(owner) = store.take_over(record.id, true, clock::now())? else {
        return Err(RunError::Over(record.number));
    };
    go_on(site, store, taken, owner, crew, options, reporter, control)
}

/// A run whose folder is owned, and whose text can be used: all that can fail before it is taken over on record.
pub(crate) struct Taken<'a> {
    record: &'a RunRecord,
    folder: PathBuf,
    prepared: Prepared,
    kept: Kept,
    bench: Bench,
    /// Somebody else looks for requests to end it.
    pub(crate) is_told_of_cancel: bool,
}

impl<'a> Taken<'a> {
    /// Takes the lock of the run's folder, which proves that its former owner is dead and starts nothing any more.
    ///
    /// # Errors
    /// [`RunError::Busy`] where somebody holds it, and as for [`resume`].
    pub(crate) fn new(
        site: &Site,
        store: &mut dyn Store,
        record: &'a RunRecord,
        crew: &Crew,
    ) -> Result<Self, RunError> {
        if record.store_marker != site.objects.marker() {
            return Err(RunError::ElsewhereStored(record.number));
        }
        let folder = site.project.run_dir(record.id.0);
        let failed = |message: String| RunError::Folder { folder: folder.display().to_string(), message };
        let lock = owner::lock_soon(&folder).map_err(|error| failed(error.to_string()))?;
        let Some(lock) = lock else { return Err(RunError::Busy(record.number)) };
        let recorded = Recorded::read(store, record)?;
        let (prepared, kept) = recorded.prepare(&Home::of_record(&site.project))?;
        let bench = Bench::with_lock(&folder, lock.into(), crew).map_err(failed)?;
        Ok(Self { record, folder, prepared, kept, bench, is_told_of_cancel: false })
    }
}

impl Taken<'_> {
    /// Holds what a run that was over goes on from: until it is taken over, a clean-up may have given it up, and what stands
    /// for a task is not made again within the run.
    fn hold_results(&self, site: &Site, store: &mut dyn Store) -> Result<(), RunError> {
        let settled = |task: &TaskRecord| matches!(task.state, TaskState::Succeeded | TaskState::Reused);
        let tasks = store.tasks(self.record.id)?;
        let attempts: Vec<NodeId> = tasks.iter().filter(|task| settled(task)).filter_map(|task| task.attempt).collect();
        let results = store.published(&attempts)?;
        let gone = pins::hold(site, results.iter().chain(self.kept.read_of_others()));
        let hashes: Vec<_> = gone.iter().map(|record| record.hash).collect();
        let evicted = store.evicted(&hashes)?;
        match gone.iter().find(|record| evicted.contains(&record.hash)) {
            None => Ok(()),
            Some(one) => {
                let version = format!("{}@v{}", task_name(&one.dataset, &one.subset), one.version);
                Err(RunError::GivenUp { number: self.record.number, version })
            }
        }
    }
}

/// Drives a run that is taken over to its end.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, each from another place")]
pub(crate) fn go_on(
    site: &Site,
    mut store: Box<dyn Store>,
    taken: Taken<'_>,
    owner: Ownership,
    crew: &Crew,
    options: RunOptions,
    reporter: &mut dyn Reporter,
    control: impl FnOnce(Control),
) -> Result<Summary, RunError> {
    failpoint::hit("after_take_over");
    let Taken { record, folder, prepared, kept, bench, is_told_of_cancel } = taken;
    // Whoever was overtaken between the claim and the lock learns it before it touches a file.
    store.commit(owner, clock::now(), &[])?;
    let past = Past::read(store.as_mut(), record, &folder)?;
    let prepared = Arc::new(prepared);
    let ledger = pins::ledger(&prepared, &kept.standing, store.as_mut())?;
    let layout = begin::layout(site, &prepared);
    let Laid { layout, tasks, ledger, expanded, counts } = past.lay_out(&prepared, layout, ledger)?;
    reporter.event(&RunEvent::RunStarted {
        number: record.number,
        run: record.id,
        pipeline: record.pipeline.clone(),
        tasks: u32::try_from(past.tasks.len()).unwrap_or(u32::MAX) - counts.total(),
        resumed: true,
    });
    control(Control(bench.events.0.clone()));
    let fail_fast = kept.wish.fail_fast || options.fail_fast;
    let parts = Parts {
        site: site.clone(),
        prepared: Arc::clone(&prepared),
        run: record.id,
        number: record.number,
        owner,
        folder,
        reader: store.reopen()?,
        writer: store,
        machine: Machine::new(layout, crew.limits, begin::policy(record.id, fail_fast)),
        tasks,
        ledger,
        external: kept.pins.into_iter().map(|(name, version, found)| ((name, version), found)).collect(),
        expanded,
        counts,
        next_row: past.next_row,
        relock: false,
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

fn damaged(message: String) -> RunError {
    RunError::Store(StoreError::Damaged(message))
}

/// A run as its next owner begins with it.
struct Laid {
    layout: Layout,
    tasks: Vec<TaskData>,
    ledger: Ledger,
    /// Nodes whose items are on record.
    expanded: HashSet<usize>,
    counts: Counts,
}

/// What is on record of the run.
struct Past {
    tasks: Vec<TaskRecord>,
    attempts: HashMap<NodeId, AttemptRecord>,
    published: HashMap<NodeId, Vec<MaterializationRecord>>,
    metrics: HashMap<NodeId, Vec<Metric>>,
    journal: Vec<Journal>,
    next_row: u32,
}

impl Past {
    fn read(store: &mut dyn Store, record: &RunRecord, folder: &std::path::Path) -> Result<Self, RunError> {
        let tasks = store.tasks(record.id)?;
        let ids: Vec<NodeId> = tasks.iter().filter_map(|task| task.attempt).collect();
        let mut published: HashMap<NodeId, Vec<_>> = HashMap::new();
        for materialization in store.published(&ids)? {
            published.entry(materialization.attempt).or_default().push(materialization);
        }
        let mut metrics: HashMap<NodeId, Vec<_>> = HashMap::new();
        for (attempt, metric) in store.metrics(&ids)? {
            metrics.entry(attempt).or_default().push(metric);
        }
        let attempts = store.attempts_by_id(&ids)?.into_iter().map(|attempt| (attempt.id, attempt)).collect();
        // A journal that cannot be read says nothing, above all not that an attempt never started.
        let journal = journal::read(&owner::journal_path(folder))
            .map_err(|error| RunError::Folder { folder: folder.display().to_string(), message: error.to_string() })?;
        let next_row = tasks.iter().map(|task| task.index + 1).max().unwrap_or(0);
        Ok(Self { tasks, attempts, published, metrics, journal, next_row })
    }

    /// Puts what is on record in its place: tasks of the graph in theirs, those of a `foreach` behind them.
    fn lay_out(&self, prepared: &Prepared, layout: Layout, ledger: Ledger) -> Result<Laid, RunError> {
        let graph = &prepared.graph;
        let mut laid = Laid { layout, tasks: Vec::new(), ledger, expanded: HashSet::new(), counts: Counts::default() };
        let name = |task: &TaskRecord| (task.step.clone(), task.cell.clone());
        let mut rest: HashMap<(String, String), &TaskRecord> =
            self.tasks.iter().map(|task| (name(task), task)).collect();
        for (index, task) in graph.tasks.iter().enumerate() {
            let label = graph.label(&prepared.pipeline, task.node).to_owned();
            match rest.remove(&(label, task.cell.key())) {
                Some(record) => self.place(&mut laid, task.node, task.cell.clone(), record, index),
                // Not part of the run, and nowhere on record.
                None => laid.tasks.push(TaskData::new(task.node, task.cell.clone(), u32::MAX)),
            }
        }
        let mut rest: Vec<&TaskRecord> = rest.into_values().collect();
        rest.sort_unstable_by_key(|record| record.index);
        for record in rest {
            let node = prepared.pipeline.steps.get_index_of(record.step.as_str());
            let node = node.filter(|&node| laid.layout.nodes[node].expands).ok_or_else(|| {
                let task = task_name(&record.step, &record.cell);
                damaged(format!("task {task} is on record, and the definition of its run does not have it"))
            })?;
            let index = laid.layout.tasks.len();
            laid.layout.tasks.push(TaskLayout { node, prior: Prior::Open { attempts: 0 } });
            laid.expanded.insert(node);
            self.place(&mut laid, node, Cell::parse(&record.cell), record, index);
        }
        Ok(laid)
    }

    /// Makes a task of what is on record of it.
    fn place(&self, laid: &mut Laid, node: usize, cell: Cell, record: &TaskRecord, index: usize) {
        let mut data = TaskData::new(node, cell, record.index);
        let prior = match record.state {
            TaskState::Waiting | TaskState::Retrying => Prior::Open { attempts: record.attempts },
            TaskState::Assigned => {
                let (prior, live) = self.live(record);
                data.live = live;
                prior
            }
            state => {
                laid.counts.add(state);
                Prior::Settled(state)
            }
        };
        if let Some(entry) = self.entry(record, &data.cell, index) {
            laid.ledger.enter(node, entry);
        }
        laid.layout.tasks[index].prior = prior;
        laid.tasks.push(data);
    }

    fn entry(&self, record: &TaskRecord, cell: &Cell, index: usize) -> Option<Entry> {
        if !matches!(record.state, TaskState::Succeeded | TaskState::Reused) {
            return None;
        }
        let attempt = record.attempt?;
        let outputs = self.published.get(&attempt).into_iter().flatten().map(Published::on_record).collect();
        let metrics = self.metrics.get(&attempt).cloned().unwrap_or_default();
        Some(Entry { task: Some(index), cell: cell.clone(), outputs, metrics })
    }

    /// An attempt that was on record and not over when the last owner died.
    fn live(&self, record: &TaskRecord) -> (Prior, Option<Live>) {
        let attempt = record.attempt.and_then(|id| self.attempts.get(&id));
        let is_live =
            |attempt: &&AttemptRecord| matches!(attempt.state, AttemptState::Assigned | AttemptState::Running);
        let Some(attempt) = attempt.filter(is_live) else {
            return (Prior::Open { attempts: record.attempts }, None);
        };
        let pick_up = PickUp::of(attempt.uuid, &self.journal);
        let prior = Prior::Live { number: attempt.number, spawned: pick_up.is_some() };
        let mut live = Live::new(attempt.uuid, attempt.number);
        live.started = pick_up.is_some();
        live.pick_up = pick_up;
        live.asked = Some(attempt.fingerprint);
        (prior, Some(live))
    }
}
