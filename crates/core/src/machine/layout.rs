//! What the machine knows of a graph: numbers only, no names of datasets, no values, no files.

use std::sync::Arc;

use crate::graph::{Graph, NeedKind};
use crate::record::TaskState;
use crate::select::Selection;
use crate::spec::model::{Pipeline, Retry};

/// The immutable part of a run, as far as deciding needs it.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// By node of the graph.
    pub nodes: Vec<NodeLayout>,
    /// By task: its node. Tasks that a `foreach` turns out to have are added later, except for those that an earlier
    /// part of the run has put on record: they belong here, after the others.
    pub tasks: Vec<TaskLayout>,
    /// Slots of each pool.
    pub pools: Vec<u32>,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeLayout {
    /// For messages.
    pub label: Arc<str>,
    /// What must be settled before: node and kind.
    pub needs: Vec<(usize, NeedKind)>,
    /// Who waits for it.
    pub dependents: Vec<usize>,
    /// Whether its tasks are known only once it opens.
    pub expands: bool,
    /// Started before others where larger.
    pub height: u32,
    /// Read by the engine itself: takes no slot and no process.
    pub native: bool,
    /// A failure does not fail the run.
    pub continue_on_error: bool,
    /// How many of its tasks must succeed; none means all.
    pub min_success: Option<u32>,
    /// Which of its tasks may run at once.
    pub max_parallel: Option<u32>,
    /// The pool it takes slots of.
    pub pool: Option<usize>,
    /// How many; never more than the pool has.
    pub slots: u32,
    /// Whether its attempts are granted slots of a pool of the whole project when they are put on record: then none is put
    /// on record ahead of its process, so that no slot idles.
    pub shared: bool,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub mem: u64,
    /// What to try again.
    pub retry: Retry,
}

/// A task.
#[derive(Debug, Clone)]
pub struct TaskLayout {
    /// Its node.
    pub node: usize,
    /// What is already decided about it when the run starts or resumes.
    pub prior: Prior,
}

/// What is already decided about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prior {
    /// Nothing; so many attempts were made.
    Open {
        /// Attempts on record.
        attempts: u32,
    },
    /// An attempt is on record and not over; it was the engine before that started it, or was about to.
    Live {
        /// Its number.
        number: u32,
        /// Whether a process of it exists; otherwise it is still to be started, under the same identity.
        spawned: bool,
    },
    /// Decided in an earlier part of the run, or taken as it is because it was not selected.
    Settled(TaskState),
}

impl Layout {
    /// The layout of a graph with a selection. Tasks that are not selected count as settled.
    #[must_use]
    pub fn new(pipeline: &Pipeline, graph: &Graph, selection: &Selection) -> Self {
        let pool_index = |name: &crate::name::Name| pipeline.pools.get_index_of(name);
        let nodes = (0..graph.nodes.len())
            .map(|index| {
                let node = &graph.nodes[index];
                let step = graph.step(pipeline, index);
                NodeLayout {
                    label: graph.label(pipeline, index).into(),
                    needs: node.needs.iter().map(|need| (need.node, need.kind)).collect(),
                    dependents: node.dependents.clone(),
                    expands: step.is_some_and(|step| step.foreach.is_some()) && selection.nodes[index].runs(),
                    height: node.height,
                    native: step.is_none_or(|step| matches!(step.action, crate::spec::model::Action::From(_))),
                    continue_on_error: step.is_some_and(|step| step.continue_on_error),
                    min_success: step.and_then(|step| step.matrix.as_ref()?.min_success),
                    max_parallel: step.and_then(|step| step.max_parallel),
                    pool: step.and_then(|step| pool_index(step.pool.as_ref()?)),
                    slots: step.map_or(1, |step| step.slots),
                    shared: false,
                    cpu_milli: step.map_or(0, |step| step.resources.cpu_milli),
                    mem: step.map_or(0, |step| step.resources.mem),
                    retry: step.map_or_else(Retry::none, |step| step.retry.clone()),
                }
            })
            .collect();
        let tasks = graph
            .tasks
            .iter()
            .enumerate()
            .map(|(index, task)| TaskLayout {
                node: task.node,
                prior: if selection.runs_task(graph, index) {
                    Prior::Open { attempts: 0 }
                } else {
                    Prior::Settled(TaskState::Reused)
                },
            })
            .collect();
        Self { nodes, tasks, pools: pipeline.pools.values().copied().collect() }
    }

    /// Notes which nodes take slots of pools of the whole project.
    pub fn share_pools(&mut self, is_shared: impl Fn(usize) -> bool) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.shared = is_shared(index);
        }
    }
}

impl Retry {
    /// No further attempts.
    #[must_use]
    pub fn none() -> Self {
        Self {
            max: 0,
            backoff: std::time::Duration::from_secs(1),
            factor: 2.0,
            max_backoff: std::time::Duration::from_secs(3600),
            jitter: true,
            on: Vec::new(),
        }
    }
}
