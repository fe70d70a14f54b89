//! Going on with a run whose owner is dead, or that failed or was cancelled: under its number, its definition, its
//! parameters and its pins. What is settled stays; what is alive is taken up where it is.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use runstone_core::cell::Cell;
use runstone_core::machine::{Layout, Machine, Prior};
use runstone_core::name::Name;
use runstone_core::record::{AttemptRecord, MaterializationRecord, Metric, NodeId, RunRecord, RunState, TaskRecord, TaskState};
use runstone_core::scalar::Scalar;
use runstone_core::store::Store;
use runstone_exec::local::ForkServer;
use runstone_exec::local::journal::{self, Entry as Journal};
use uuid::Uuid;

use crate::begin::{self, Bench, Kept, RunError, RunOptions};
use crate::clock;
use crate::driver::{Control, Driver, Known, KnownTask, Live, Parts, PickUp, Summary, TaskData};
use crate::hooks;
use crate::ledger::{Entry, Published};
use crate::owner;
use crate::prepare::{Definition, Prepared, prepare_again};
use crate::report::{Counts, Reporter, RunEvent};
use crate::site::Site;

/// The folder of the pipeline of a run on record: where its [`Site`] is to be opened.
#[must_use]
pub fn folder_of(record: &RunRecord, root: &std::path::Path) -> std::path::PathBuf {
    let path = root.join(&record.definition_path);
    path.parent().unwrap_or(root).to_owned()
}

/// Takes a run over and drives it to its end.
///
/// # Errors
/// [`RunError::Busy`] where its owner lives, [`RunError::Over`] where nothing is left to do, and as for a new run.
pub fn resume(
    site: &Site,
    mut store: Box<dyn Store>,
    record: &RunRecord,
    server: ForkServer,
    options: RunOptions,
    reporter: &mut dyn Reporter,
    control: impl FnOnce(Control),
) -> Result<Summary, RunError> {
    if record.state == RunState::Succeeded {
        return Err(RunError::Over(record.number));
    }
    if record.store_marker != site.objects.marker() {
        return Err(RunError::ElsewhereStored(record.number));
    }
    let folder = site.project.run_dir(record.id.0);
    let failed = |message: String| RunError::Folder { folder: folder.display().to_string(), message };
    let lock = owner::try_lock(&folder).map_err(|error| failed(error.to_string()))?;
    let Some(lock) = lock else { return Err(RunError::Busy(record.number)) };
    let (prepared, kept) = prepare(site, store.as_mut(), record)?;
    let bench = Bench::with_lock(&folder, lock.into(), server).map_err(failed)?;
    let Some(owner) = store.take_over(record.id, true, clock::now())? else { return Err(RunError::Over(record.number)) };
    let past = Past::read(store.as_mut(), record, &folder)?;
    let prepared = Arc::new(prepared);
    let mut ledger = begin::pinned(&prepared, store.as_mut())?;
    let mut layout = Layout::new(&prepared.pipeline, &prepared.graph, &prepared.selection);
    let mut rest = past.by_name();
    let mut counts = Counts::default();
    let mut tasks = Vec::with_capacity(prepared.graph.tasks.len());
    for (index, task) in prepared.graph.tasks.iter().enumerate() {
        let label = prepared.graph.label(&prepared.pipeline, task.node).to_owned();
        let known = rest.remove(&(label, task.cell.key())).map(|record| past.known(record, &task.cell));
        let fallback = TaskData::new(task.node, task.cell.clone(), u32::try_from(index).unwrap_or(u32::MAX));
        let Some(known) = known else {
            tasks.push(fallback);
            continue;
        };
        layout.tasks[index].prior = known.prior;
        if let Prior::Settled(state) = known.prior {
            counts.add(state);
        }
        if let Some(entry) = known.entry {
            ledger.enter(task.node, Entry { task: Some(index), ..entry });
        }
        tasks.push(TaskData { node: task.node, ..known.data });
    }
    let open = tasks.len() + rest.len();
    reporter.event(&RunEvent::RunStarted {
        number: record.number,
        run: record.id,
        pipeline: record.pipeline.clone(),
        tasks: u32::try_from(open).unwrap_or(u32::MAX) - counts.total(),
        resumed: true,
    });
    let known = Known(rest.into_iter().map(|(key, record)| {
        let cell = Cell::parse(&key.1);
        (key, past.known(record, &cell))
    }).collect());
    control(Control(bench.events.0.clone()));
    let fail_fast = kept.fail_fast || options.fail_fast;
    let parts = Parts {
        site: site.clone(),
        prepared: Arc::clone(&prepared),
        run: record.id,
        number: record.number,
        owner,
        folder,
        reader: store.reopen()?,
        writer: store,
        machine: Machine::new(layout, begin::limits(options.jobs), begin::policy(record.id, fail_fast)),
        tasks,
        ledger,
        external: kept.pins.into_iter().map(|(name, version, found)| ((name, version), found)).collect(),
        known,
        counts,
        next_row: past.next_row,
        relock: false,
        executor: Box::new(bench.executor),
        events: bench.events,
    };
    let summary = Driver::new(parts, reporter)?.drive()?;
    hooks::run(site, &prepared, &summary, reporter);
    Ok(summary)
}

fn prepare(site: &Site, store: &mut dyn Store, record: &RunRecord) -> Result<(Prepared, Kept), RunError> {
    let damaged = |message: String| RunError::Store(runstone_core::store::StoreError::Damaged(message));
    let kept: Kept = serde_json::from_value(record.request.clone())
        .map_err(|error| damaged(format!("the request of run #{} cannot be read: {error}", record.number)))?;
    let params: IndexMap<Name, Scalar> = serde_json::from_value(record.params.clone())
        .map_err(|error| damaged(format!("the parameters of run #{} cannot be read: {error}", record.number)))?;
    let text = store
        .definition(&record.definition)?
        .ok_or_else(|| damaged(format!("the definition of run #{} is missing", record.number)))?;
    let definition = Definition {
        text,
        path: record.definition_path.clone().into(),
        overlays: kept.overlays.clone(),
        allow_unsupported: kept.allow_unsupported,
    };
    // JSON keeps no difference between 1 and 1.0 that a declared type does not bring back.
    let prepared = prepare_again(definition, params, kept.selection.clone(), site.project.root())?;
    Ok((prepared, kept))
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
        let journal = journal::read(&owner::journal_path(folder)).unwrap_or_default();
        let next_row = tasks.iter().map(|task| task.index + 1).max().unwrap_or(0);
        Ok(Self { tasks, attempts, published, metrics, journal, next_row })
    }

    fn by_name(&self) -> HashMap<(String, String), &TaskRecord> {
        self.tasks.iter().map(|task| ((task.step.clone(), task.cell.clone()), task)).collect()
    }

    /// What is known of a task; its node is filled in by the caller.
    fn known(&self, record: &TaskRecord, cell: &Cell) -> KnownTask {
        let mut data = TaskData::new(0, cell.clone(), record.index);
        let (prior, entry) = match record.state {
            TaskState::Waiting | TaskState::Retrying => (Prior::Open { attempts: record.attempts }, None),
            TaskState::Assigned => {
                let (prior, live) = self.live(record);
                data.live = live;
                (prior, None)
            }
            state => (Prior::Settled(state), self.entry(record, cell)),
        };
        KnownTask { data, prior, entry }
    }

    fn entry(&self, record: &TaskRecord, cell: &Cell) -> Option<Entry> {
        if !matches!(record.state, TaskState::Succeeded | TaskState::Reused) {
            return None;
        }
        let attempt = record.attempt?;
        let outputs = self.published.get(&attempt).into_iter().flatten().map(Published::on_record).collect();
        let metrics = self.metrics.get(&attempt).cloned().unwrap_or_default();
        Some(Entry { task: None, cell: cell.clone(), outputs, metrics })
    }

    /// An attempt that was on record and not over when the last owner died.
    fn live(&self, record: &TaskRecord) -> (Prior, Option<Live>) {
        let Some(attempt) = record.attempt.and_then(|id| self.attempts.get(&id)) else {
            return (Prior::Open { attempts: record.attempts }, None);
        };
        let pick_up = self.pick_up(attempt.uuid);
        let prior = Prior::Live { number: attempt.number, spawned: pick_up.is_some() };
        let mut live = Live::new(attempt.uuid, attempt.number);
        live.started = pick_up.is_some();
        live.pick_up = pick_up;
        live.asked = Some(attempt.fingerprint);
        (prior, Some(live))
    }

    /// What the journal says of an attempt: an outcome, a supervisor, or nothing; then it was never started, and with
    /// the lock of the run in our hands nobody will start it but us.
    fn pick_up(&self, attempt: Uuid) -> Option<PickUp> {
        let ended = self.journal.iter().find_map(|entry| match entry {
            Journal::Ended(record) if record.attempt == attempt => Some(PickUp::Ended(record.clone())),
            _ => None,
        });
        ended.or_else(|| {
            self.journal.iter().rev().find_map(|entry| match entry {
                Journal::Started(started) if started.attempt == attempt => Some(PickUp::Started(started.clone())),
                _ => None,
            })
        })
    }
}
