//! What a batch may look at, loaded set-wise under the lock of its run: afterwards every change is decided in memory.
//!
//! Nobody else writes the tasks and attempts of this run meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};

use runstone_core::hash::Fingerprint;
use runstone_core::record::{AttemptState, NodeId, RunId, RunState, TaskState};
use runstone_core::store::{Change, Ownership, Pin, PinSource, PoolAsk, StoreError};
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use super::super::session::{Tx, TxError};
use super::super::value::{self, damaged, get, get_index, get_opt_fingerprint, get_state, get_time, get_unsigned};
use super::line::Place;

/// What the changes of a batch are about.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Tasks that change (`false`) or whose publications are read (`true`).
    tasks: BTreeMap<u32, bool>,
    /// Publications named by their ids.
    pins: HashSet<NodeId>,
    /// Attempts that are to stand for tasks.
    sources: HashSet<NodeId>,
    /// Nodes the batch may need.
    nodes: usize,
    adds_tasks: bool,
    ends_run: bool,
}

impl Scope {
    pub(super) fn of(changes: &[Change]) -> Self {
        let mut scope = Self::default();
        for change in changes {
            match change {
                Change::AddTasks(_) => scope.adds_tasks = true,
                Change::Start(start) => {
                    scope.touch(start.task);
                    scope.pin(&start.pins);
                }
                Change::Running { task, .. } => scope.touch(*task),
                Change::Finish(finish) => scope.touch(finish.task),
                Change::Settle(settle) => {
                    scope.touch(settle.task);
                    if let Some(reuse) = &settle.reuse {
                        scope.sources.insert(reuse.attempt);
                        scope.pin(reuse.node.as_ref().map_or(&[], |node| &node.pins));
                    }
                }
                Change::EndRun { .. } => scope.ends_run = true,
            }
            scope.nodes += nodes(change);
        }
        scope
    }

    fn touch(&mut self, task: u32) {
        self.tasks.entry(task).or_default();
    }

    fn pin(&mut self, pins: &[Pin]) {
        for pin in pins {
            match pin.source {
                PinSource::Materialization(id) => {
                    self.pins.insert(id);
                }
                PinSource::Task { task, .. } => *self.tasks.entry(task).or_default() = true,
            }
        }
    }
}

/// How many nodes a change puts on record at most: an attempt and its publications.
fn nodes(change: &Change) -> usize {
    match change {
        Change::Start(_) => 1,
        Change::Finish(finish) => finish.outputs.len(),
        Change::Settle(settle) => {
            let node = settle.reuse.as_ref().and_then(|reuse| reuse.node.as_ref());
            node.map_or(0, |node| 1 + node.outputs.len())
        }
        Change::AddTasks(_) | Change::Running { .. } | Change::EndRun { .. } => 0,
    }
}

/// Each change with the nodes set aside for it.
pub(super) fn with_nodes<'a, 'r>(changes: &'a [Change], run: &'r Run) -> impl Iterator<Item = (&'a Change, &'r [i64])> {
    let mut rest = run.nodes.as_slice();
    changes.iter().map(move |change| {
        let (own, after) = rest.split_at(nodes(change));
        rest = after;
        (change, own)
    })
}

/// The run of a batch, whose row is locked.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) number: i64,
    pub(super) pipeline: String,
    pub(super) state: RunState,
    pub(super) store_marker: Uuid,
    /// Nodes for the batch, growing. All are larger than that of any publication committed before.
    pub(super) nodes: Vec<i64>,
}

/// Takes the lock of the run and leaves the token of the batch on it. None where the token is there already.
pub(super) async fn own(
    tx: &mut Tx<'_>,
    project: i64,
    owner: Ownership,
    token: Uuid,
    scope: &Scope,
) -> Result<Option<Run>, TxError> {
    // What is returned is worked out after the row was changed, so that this transaction has its number before it takes the
    // first node: `lineage::edges::horizon` builds on that. No other statement takes nodes.
    const OWN: &str = "UPDATE run SET batch = $4, written = clock_timestamp() \
         WHERE id = $1 AND project_id = $2 AND epoch = $3 AND batch <> $4 \
         RETURNING number, pipeline, state, store_marker, \
             ARRAY(SELECT nextval('node_id') FROM generate_series(1, $5)) AS nodes";
    let nodes = i32::try_from(scope.nodes).map_err(|_| damaged("a batch of 2³¹ nodes".to_owned()))?;
    let query = tx.query(OWN).bind(owner.run.0).bind(project).bind(owner.epoch).bind(token).bind(nodes);
    let Some(row) = tx.row(query).await? else {
        const APPLIED: &str = "SELECT 1 FROM run WHERE id = $1 AND project_id = $2 AND epoch = $3 AND batch = $4";
        let query = tx.query(APPLIED).bind(owner.run.0).bind(project).bind(owner.epoch).bind(token);
        return match tx.row(query).await? {
            Some(_) => Ok(None),
            None => Err(StoreError::LostOwnership { run: owner.run }.into()),
        };
    };
    Ok(Some(Run {
        id: owner.run,
        number: get(&row, "number")?,
        pipeline: get(&row, "pipeline")?,
        state: get_state(&row, "state", RunState::parse)?,
        store_marker: get(&row, "store_marker")?,
        nodes: get(&row, "nodes")?,
    }))
}

/// A task as it is, and as the batch leaves it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) step: String,
    pub(super) cell: String,
    pub(super) state: TaskState,
    pub(super) attempts: u32,
    /// The last or the standing attempt.
    pub(super) attempt: Option<Attempt>,
    pub(super) fingerprint: Option<Fingerprint>,
    /// Output and publication of the standing attempt.
    pub(super) standing: Vec<(String, NodeId)>,
    /// State and number of attempts before the batch.
    pub(super) was: (TaskState, u32),
    /// Where it stands in the line of a pool.
    pub(super) place: Option<Place>,
}

/// The last or the standing attempt of a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) id: NodeId,
    pub(super) state: AttemptState,
    /// The claim it holds.
    pub(super) claim: Option<Fingerprint>,
}

impl Task {
    /// A task that came to be just now.
    pub(super) fn waiting(step: &str, cell: &str) -> Self {
        Self {
            step: step.to_owned(),
            cell: cell.to_owned(),
            state: TaskState::Waiting,
            attempts: 0,
            attempt: None,
            fingerprint: None,
            standing: Vec::new(),
            was: (TaskState::Waiting, 0),
            place: None,
        }
    }

    /// The live attempt.
    pub(super) fn live(&self) -> Option<Attempt> {
        let live = |attempt: &Attempt| matches!(attempt.state, AttemptState::Assigned | AttemptState::Running);
        self.attempt.filter(|attempt| self.state == TaskState::Assigned && live(attempt))
    }

    /// Whether an attempt may be started.
    pub(super) fn is_open(&self) -> bool {
        match self.state {
            TaskState::Waiting | TaskState::Retrying => true,
            TaskState::Assigned => self.live().is_none(),
            _ => false,
        }
    }
}

/// A result that is to stand for a task.
#[derive(Debug)]
pub(super) struct Source {
    /// The attempt that did the work.
    pub(super) origin: NodeId,
    /// Output and publication.
    pub(super) standing: Vec<(String, NodeId)>,
}

/// Everything a batch may look at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) tasks: HashMap<u32, Task>,
    pub(super) pins: HashSet<NodeId>,
    pub(super) sources: HashMap<NodeId, Source>,
    /// The index after the last one; known where the batch adds tasks.
    pub(super) next_index: u32,
    /// How many tasks are in no terminal state; known where the batch ends the run.
    pub(super) open_tasks: i64,
}

impl Facts {
    pub(super) async fn load(tx: &mut Tx<'_>, project: i64, run: &Run, scope: &Scope) -> Result<Self, TxError> {
        let mut facts =
            Self { tasks: HashMap::new(), pins: HashSet::new(), sources: HashMap::new(), next_index: 0, open_tasks: 0 };
        if !scope.tasks.is_empty() {
            facts.load_tasks(tx, project, run, scope).await?;
        }
        if !scope.pins.is_empty() {
            facts.load_pins(tx, project, scope).await?;
        }
        if !scope.sources.is_empty() {
            facts.load_sources(tx, project, scope).await?;
        }
        if scope.adds_tasks || scope.ends_run {
            facts.count_tasks(tx, run).await?;
        }
        Ok(facts)
    }

    // `OFFSET 0` keeps a lookup a lookup: each is planned on its own, by the whole key.
    async fn load_tasks(&mut self, tx: &mut Tx<'_>, project: i64, run: &Run, scope: &Scope) -> Result<(), TxError> {
        const TASKS: &str = "SELECT t.idx, t.step, t.cell, t.state, t.attempts, t.fingerprint, \
                 t.pool, t.pool_slots, t.pool_priority, t.pool_since, \
                 a.id AS attempt, a.state AS attempt_state, f.fingerprint AS claim, \
                 CASE WHEN w.standing AND t.state IN ('succeeded', 'reused') THEN \
                     ARRAY(SELECT m.id FROM materialization m WHERE m.attempt_id = t.attempt_id ORDER BY m.id) END AS published, \
                 CASE WHEN w.standing AND t.state IN ('succeeded', 'reused') THEN \
                     ARRAY(SELECT m.output FROM materialization m WHERE m.attempt_id = t.attempt_id ORDER BY m.id) END AS outputs \
             FROM unnest($3::integer[], $4::boolean[]) AS w(idx, standing) \
             CROSS JOIN LATERAL (SELECT * FROM task t WHERE t.run_id = $2 AND t.idx = w.idx OFFSET 0) t \
             LEFT JOIN attempt a ON a.id = t.attempt_id \
             LEFT JOIN LATERAL (SELECT * FROM flight f WHERE f.project_id = $1 AND f.fingerprint = a.fingerprint OFFSET 0) f \
                 ON f.attempt_id = a.id";
        let query = tx
            .query(TASKS)
            .bind(project)
            .bind(run.id.0)
            .bind(scope.tasks.keys().map(|index| value::index(*index)).bind_iter())
            .bind(scope.tasks.values().copied().bind_iter());
        for row in tx.rows(query).await? {
            self.tasks.insert(get_index(&row, "idx")?, task(&row)?);
        }
        Ok(())
    }

    async fn load_pins(&mut self, tx: &mut Tx<'_>, project: i64, scope: &Scope) -> Result<(), TxError> {
        const PINS: &str = "SELECT m.id FROM materialization m WHERE m.id = ANY($2) \
             AND (SELECT a.project_id FROM attempt a WHERE a.id = m.attempt_id) = $1";
        let query = tx.query(PINS).bind(project).bind(scope.pins.iter().map(|id| id.0).bind_iter());
        for row in tx.rows(query).await? {
            self.pins.insert(NodeId(get(&row, "id")?));
        }
        Ok(())
    }

    async fn load_sources(&mut self, tx: &mut Tx<'_>, project: i64, scope: &Scope) -> Result<(), TxError> {
        const SOURCES: &str = "SELECT a.id, coalesce(a.reused_from, a.id) AS origin, \
                 ARRAY(SELECT m.id FROM materialization m WHERE m.attempt_id = a.id ORDER BY m.id) AS published, \
                 ARRAY(SELECT m.output FROM materialization m WHERE m.attempt_id = a.id ORDER BY m.id) AS outputs \
             FROM unnest($2::bigint[]) AS w(id) \
             CROSS JOIN LATERAL (SELECT * FROM attempt a WHERE a.id = w.id OFFSET 0) a \
             WHERE a.project_id = $1 AND a.reusable";
        let query = tx.query(SOURCES).bind(project).bind(scope.sources.iter().map(|id| id.0).bind_iter());
        for row in tx.rows(query).await? {
            let source = Source { origin: NodeId(get(&row, "origin")?), standing: standing(&row)? };
            self.sources.insert(NodeId(get(&row, "id")?), source);
        }
        Ok(())
    }

    async fn count_tasks(&mut self, tx: &mut Tx<'_>, run: &Run) -> Result<(), TxError> {
        const COUNT: &str = "SELECT coalesce(max(idx) + 1, 0) AS next, \
             count(*) FILTER (WHERE state IN ('waiting', 'assigned', 'retrying')) AS open FROM task WHERE run_id = $1";
        let query = tx.query(COUNT).bind(run.id.0);
        if let Some(row) = tx.row(query).await? {
            self.next_index = get_index(&row, "next")?;
            self.open_tasks = get(&row, "open")?;
        }
        Ok(())
    }
}

fn task(row: &PgRow) -> Result<Task, TxError> {
    let attempt = match get::<Option<i64>>(row, "attempt")? {
        Some(id) => Some(Attempt {
            id: NodeId(id),
            state: get_state(row, "attempt_state", AttemptState::parse)?,
            claim: get_opt_fingerprint(row, "claim")?,
        }),
        None => None,
    };
    let (state, attempts) = (get_state(row, "state", TaskState::parse)?, get_index(row, "attempts")?);
    Ok(Task {
        step: get(row, "step")?,
        cell: get(row, "cell")?,
        state,
        attempts,
        was: (state, attempts),
        attempt,
        fingerprint: get_opt_fingerprint(row, "fingerprint")?,
        standing: standing(row)?,
        place: place(row)?,
    })
}

fn place(row: &PgRow) -> Result<Option<Place>, TxError> {
    let Some(name) = get(row, "pool")? else { return Ok(None) };
    let ask = PoolAsk { name, slots: get_unsigned(row, "pool_slots")?, priority: get(row, "pool_priority")? };
    Ok(Some(Place { ask, since: get_time(row, "pool_since")? }))
}

/// Outputs and publications of a row, one of each at the same place.
fn standing(row: &PgRow) -> Result<Vec<(String, NodeId)>, TxError> {
    let outputs: Option<Vec<String>> = get(row, "outputs")?;
    let published: Option<Vec<i64>> = get(row, "published")?;
    Ok(outputs.unwrap_or_default().into_iter().zip(published.unwrap_or_default().into_iter().map(NodeId)).collect())
}
