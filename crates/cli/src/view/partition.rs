//! The ledger of a pipeline's partitions: how far each one is, and why one that was done is stale.

use std::collections::HashMap;

use runstone_core::partition::Key;
use runstone_core::record::{RunRecord, RunState};
use runstone_core::service::record::{SubmissionRecord, SubmissionState};
use runstone_core::store::{RunFilter, Store};
use runstone_engine::{Decision, Definition, Home, PrepareError, Prepared, Site, Why, plan, prepare_with};
use serde::Serialize;

use crate::error::{CommandError, CommandResult, ErrorKind};

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartitionState {
    /// It was never run.
    Missing,
    /// A run for it waits.
    Queued,
    /// A run for it is under way.
    Running,
    /// Its newest run succeeded, and would do nothing now.
    Done,
    /// Its newest run succeeded, and would do something now.
    Stale,
    /// Its newest run failed.
    Failed,
    /// Its newest run was cancelled.
    Cancelled,
}

impl PartitionState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a backfill has something to do about it.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Missing | Self::Stale | Self::Failed | Self::Cancelled)
    }
}

/// A partition.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartitionView {
    pub(crate) partition: String,
    pub(crate) state: PartitionState,
    /// The number of its newest run.
    pub(crate) run: Option<i64>,
    /// Why it is stale, failed or cancelled.
    pub(crate) cause: Option<String>,
}

/// A pipeline whose partitions are looked at.
pub(crate) struct Ledger<'a> {
    pub(crate) site: &'a Site,
    pub(crate) definition: Definition,
    newest: HashMap<String, RunRecord>,
    live: HashMap<String, SubmissionRecord>,
}

impl<'a> Ledger<'a> {
    /// Reads what is on record of a pipeline's runs.
    pub(crate) fn read(
        site: &'a Site,
        definition: Definition,
        pipeline: &str,
        store: &mut dyn Store,
    ) -> CommandResult<Self> {
        let filter = RunFilter { pipeline: Some(pipeline.to_owned()), ..RunFilter::default() };
        let mut newest: HashMap<String, RunRecord> = HashMap::new();
        for run in store.runs(&filter)? {
            if let Some(partition) = run.partition.clone() {
                newest.entry(partition).or_insert(run);
            }
        }
        let live = store.live_submissions(u32::MAX)?.into_iter().filter(|one| one.pipeline == pipeline);
        let live = live.filter_map(|one| Some((one.partition.clone()?, one))).collect();
        Ok(Self { site, definition, newest, live })
    }

    /// How far a partition is. `look` says whether one that is done is compared with what a run would do now.
    pub(crate) fn look_at(&self, key: &Key, look: bool, store: &mut dyn Store) -> CommandResult<PartitionView> {
        let view = |state, run: Option<i64>, cause| PartitionView { partition: key.to_string(), state, run, cause };
        if let Some(one) = self.live.get(key.as_str()) {
            let state = match one.state {
                SubmissionState::Running => PartitionState::Running,
                _ => PartitionState::Queued,
            };
            return Ok(view(state, Some(one.number), None));
        }
        let Some(run) = self.newest.get(key.as_str()) else { return Ok(view(PartitionState::Missing, None, None)) };
        let (state, cause) = match run.state {
            RunState::Running => (PartitionState::Running, None),
            RunState::Failed => (PartitionState::Failed, run.reason.clone()),
            RunState::Cancelled => (PartitionState::Cancelled, run.reason.clone()),
            RunState::Succeeded if look => match self.staleness(key, store)? {
                Some(cause) => (PartitionState::Stale, Some(cause)),
                None => (PartitionState::Done, None),
            },
            RunState::Succeeded => (PartitionState::Done, None),
        };
        Ok(view(state, Some(run.number), cause))
    }

    pub(crate) fn prepare(&self, key: &Key, home: &Home) -> Result<Prepared, PrepareError> {
        let request = runstone_core::select::Request::default();
        let params = indexmap::IndexMap::new();
        prepare_with(self.definition.clone(), &params, &[], request, Some(key.as_str()), home)
    }

    /// What a run would do now about a partition that is done; none where it would do nothing.
    fn staleness(&self, key: &Key, store: &mut dyn Store) -> CommandResult<Option<String>> {
        let prepared = self.prepare(key, &Home::of(&self.site.project));
        let prepared = prepared.map_err(|error| CommandError::new(ErrorKind::Definition, error.to_string()))?;
        let plan = plan(self.site, &prepared, store)?;
        Ok(plan.tasks.iter().find_map(|task| match &task.decision {
            Decision::Run { why: Why::NeverCached } => None,
            Decision::Run { why } => Some(format!("`{}` {}", task.task, cause(why))),
            Decision::Fail { reason } => Some(format!("`{}`: {reason}", task.task)),
            Decision::Reuse { .. } | Decision::Skip { .. } | Decision::Wait { .. } => None,
        }))
    }
}

fn cause(why: &Why) -> String {
    match why {
        Why::Changed { changes, run } => match runstone_lineage::difference::named(changes.clone()).first() {
            Some(first) => format!(
                "changed since run #{run}: {}",
                crate::render::difference::lines(first).first().cloned().unwrap_or_default()
            ),
            None => format!("changed since run #{run}"),
        },
        other => crate::commands::plan::reason(other),
    }
}
