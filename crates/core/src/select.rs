//! Which part of a graph a run is about: targets, everything below a step, one step alone, single cells.

use serde::{Deserialize, Serialize};

use crate::cell::TaskRef;
use crate::graph::Graph;
use crate::spec::model::Pipeline;

/// What a person asked for, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Run these and what they need; empty means everything.
    pub targets: Vec<TaskRef>,
    /// Run exactly these; what they need is taken as it was last published.
    pub only: Vec<TaskRef>,
    /// Run these and what needs them; everything else is taken as it was last published.
    pub from: Vec<TaskRef>,
    /// Run these, what needs them, and whatever any of those need.
    pub downstream: Vec<TaskRef>,
    /// Execute these even where an earlier result could be reused.
    pub force: Vec<TaskRef>,
    /// Reuse nothing.
    pub no_reuse: bool,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// By node.
    pub nodes: Vec<Chosen>,
    /// By node: the cells chosen, where not all are.
    pub cells: Vec<Option<Vec<TaskRef>>>,
    /// By node: what must be executed; an empty cell means the whole node.
    pub force: Vec<Vec<TaskRef>>,
    /// Reuse nothing.
    pub no_reuse: bool,
}

/// What is done about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// It is part of the run.
    Runs,
    /// It is taken as it was last published.
    Pinned,
    /// Nothing chosen needs it.
    Unneeded,
}

impl Chosen {
    /// Whether it is part of the run.
    #[must_use]
    pub fn runs(self) -> bool {
        self == Self::Runs
    }
}

/// A request that does not fit the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such step.
    #[error("there is no step {step:?}{}", near.as_ref().map_or(String::new(), |near| format!("; did you mean {near:?}?")))]
    UnknownStep {
        /// As given.
        step: String,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// The step has no such cell.
    #[error("step {step:?} has no cell {{{cell}}}; its cells are {}", known.join(", "))]
    UnknownCell {
        /// The step.
        step: String,
        /// As given.
        cell: String,
        /// Some of the cells there are.
        known: Vec<String>,
    },
    /// Two ways to choose that exclude each other.
    #[error("{0} and {1} cannot be combined")]
    Conflict(&'static str, &'static str),
}

impl Selection {
    /// Everything, reused where possible.
    #[must_use]
    pub fn all(graph: &Graph) -> Self {
        let nodes = graph.nodes.len();
        Self {
            nodes: vec![Chosen::Runs; nodes],
            cells: vec![None; nodes],
            force: vec![Vec::new(); nodes],
            no_reuse: false,
        }
    }

    /// Whether a task known from the start is part of the run.
    #[must_use]
    pub fn runs_task(&self, graph: &Graph, task: usize) -> bool {
        let task = &graph.tasks[task];
        self.nodes[task.node].runs() && self.chooses_cell(task.node, &task.cell)
    }

    /// Whether a cell of a node is among the chosen ones.
    #[must_use]
    pub fn chooses_cell(&self, node: usize, cell: &crate::cell::Cell) -> bool {
        self.cells[node].as_ref().is_none_or(|chosen| chosen.iter().any(|task| cell.matches(&task.cell)))
    }

    /// Whether a task must be executed although an earlier result fits.
    #[must_use]
    pub fn forces(&self, node: usize, cell: &crate::cell::Cell) -> bool {
        self.no_reuse || self.force[node].iter().any(|task| cell.matches(&task.cell))
    }
}

/// Decides what a run is about.
///
/// # Errors
/// [`SelectError`] for names that do not exist and for requests that contradict themselves.
pub fn select(pipeline: &Pipeline, graph: &Graph, request: &Request) -> Result<Selection, SelectError> {
    let modes = [
        ("STEP…", !request.targets.is_empty()),
        ("--only", !request.only.is_empty()),
        ("--from", !request.from.is_empty()),
        ("--downstream", !request.downstream.is_empty()),
    ];
    let mut given = modes.iter().filter(|(_, given)| *given);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        return Err(SelectError::Conflict(first.0, second.0));
    }
    let mut selection = Selection { no_reuse: request.no_reuse, ..Selection::all(graph) };
    for task in &request.force {
        selection.force[find(pipeline, graph, task)?].push(task.clone());
    }
    let chosen =
        |tasks: &[TaskRef]| tasks.iter().map(|task| find(pipeline, graph, task)).collect::<Result<Vec<_>, _>>();
    if !request.targets.is_empty() {
        let start = chosen(&request.targets)?;
        keep(&mut selection, &graph.reach(&start, true), None);
        restrict(&mut selection, &start, &request.targets);
    } else if !request.only.is_empty() {
        let start = chosen(&request.only)?;
        let mut runs = vec![false; graph.nodes.len()];
        start.iter().for_each(|&node| runs[node] = true);
        keep(&mut selection, &runs, Some(&graph.reach(&start, true)));
        restrict(&mut selection, &start, &request.only);
    } else if !request.from.is_empty() {
        let start = chosen(&request.from)?;
        let runs = graph.reach(&start, false);
        let all: Vec<usize> = (0..runs.len()).filter(|&node| runs[node]).collect();
        keep(&mut selection, &runs, Some(&graph.reach(&all, true)));
        restrict(&mut selection, &start, &request.from);
    } else if !request.downstream.is_empty() {
        let start = chosen(&request.downstream)?;
        let below = graph.reach(&start, false);
        let all: Vec<usize> = (0..below.len()).filter(|&node| below[node]).collect();
        keep(&mut selection, &graph.reach(&all, true), None);
    }
    // A file is cheap to look at and has no earlier publication to stand on: it is always read afresh.
    for (index, node) in graph.nodes.iter().enumerate() {
        if matches!(node.work, crate::graph::Work::Observe(_)) && selection.nodes[index] == Chosen::Pinned {
            let wanted = node.dependents.iter().any(|&dependent| selection.nodes[dependent].runs());
            selection.nodes[index] = if wanted { Chosen::Runs } else { Chosen::Unneeded };
        }
    }
    Ok(selection)
}

fn keep(selection: &mut Selection, runs: &[bool], pinned: Option<&[bool]>) {
    for (node, chosen) in selection.nodes.iter_mut().enumerate() {
        *chosen = if runs[node] {
            Chosen::Runs
        } else if pinned.is_some_and(|pinned| pinned[node]) {
            Chosen::Pinned
        } else {
            Chosen::Unneeded
        };
    }
}

/// Limits nodes to the cells asked for, unless the whole node was asked for as well.
fn restrict(selection: &mut Selection, nodes: &[usize], tasks: &[TaskRef]) {
    for &node in nodes {
        let of_node: Vec<TaskRef> =
            nodes.iter().zip(tasks).filter(|(other, _)| **other == node).map(|(_, task)| task.clone()).collect();
        selection.cells[node] = of_node.iter().all(|task| !task.cell.is_empty()).then_some(of_node);
    }
}

fn find(pipeline: &Pipeline, graph: &Graph, task: &TaskRef) -> Result<usize, SelectError> {
    let Some(node) = pipeline.steps.get_index_of(task.step.as_str()) else {
        let near = pipeline
            .steps
            .keys()
            .map(|name| (strsim::jaro_winkler(name.as_str(), &task.step), name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.to_string());
        return Err(SelectError::UnknownStep { step: task.step.clone(), near });
    };
    let range = graph.nodes[node].tasks.clone();
    let expands = pipeline.steps[node].foreach.is_some();
    if !task.cell.is_empty() && !expands && !graph.tasks[range.clone()].iter().any(|t| t.cell.matches(&task.cell)) {
        let pairs: Vec<String> = task.cell.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        let known = graph.tasks[range].iter().take(8).map(|task| format!("{{{}}}", task.cell.key())).collect();
        return Err(SelectError::UnknownCell { step: task.step.clone(), cell: pairs.join(","), known });
    }
    Ok(node)
}
