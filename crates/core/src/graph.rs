//! The graph of a pipeline: steps and files as nodes, tasks in them, and who needs whom.
//!
//! Edges run between nodes, not between tasks: a reader of an expanded step reads all of its cells, so one edge stands
//! for their product and a matrix of a hundred thousand cells costs a hundred thousand tasks and one edge.

use std::collections::HashMap;

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use crate::cell::{self, Cell};
use crate::name::Name;
use crate::spec::model::{InputRef, Pipeline, Step};

/// A pipeline with every static expansion done.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The nodes: first the pipeline's steps under their own indices, then the files that steps name by path.
    pub nodes: Vec<Node>,
    /// Indices of nodes, every node after all it needs.
    pub order: Vec<usize>,
    /// The tasks known before anything ran, those of one node in a row.
    pub tasks: Vec<Task>,
}

/// A step, or a file read by path.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub work: Work,
    /// What must be settled before it.
    pub needs: Vec<Need>,
    /// Nodes that need it, each once.
    pub dependents: Vec<usize>,
    /// Its tasks known before anything ran; empty for a `foreach` step.
    pub tasks: std::ops::Range<usize>,
    /// The longest way to the end of the graph, in nodes: what is farther from the end is started first.
    pub height: u32,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The step with this index.
    Step(usize),
    /// Notes what is in a file or folder of the project that steps name by path.
    Observe(String),
}

/// One node needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The other.
    pub node: usize,
    /// What for.
    pub kind: NeedKind,
}

/// What a node needs another for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedKind {
    /// Its data.
    Data {
        /// Its absence is no obstacle.
        optional: bool,
    },
    /// Its end.
    Order,
}

/// One task of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its node.
    pub node: usize,
    /// Which cell of the node.
    pub cell: Cell,
}

impl Graph {
    /// Expands a checked pipeline. Never recurses: the depth of the graph is the user's.
    #[must_use]
    pub fn new(pipeline: &Pipeline) -> Self {
        let mut needs: Vec<Vec<Need>> = pipeline.steps.values().map(step_needs).collect();
        let mut works: Vec<Work> = (0..needs.len()).map(Work::Step).collect();
        let mut files: HashMap<&str, usize> = HashMap::new();
        for (index, step) in pipeline.steps.values().enumerate() {
            for input in step.inputs.values() {
                let InputRef::Path(path) = &input.from else { continue };
                let node = *files.entry(path).or_insert_with(|| {
                    works.push(Work::Observe(path.clone()));
                    needs.push(Vec::new());
                    works.len() - 1
                });
                let optional = input.optional;
                needs[index].push(Need { node, kind: NeedKind::Data { optional } });
            }
        }
        assemble(pipeline, works, needs)
    }

    /// The name of a node for people: the step's, or the file's path.
    #[must_use]
    pub fn label<'a>(&'a self, pipeline: &'a Pipeline, node: usize) -> &'a str {
        match &self.nodes[node].work {
            Work::Step(index) => pipeline.steps[*index].name.as_str(),
            Work::Observe(path) => path,
        }
    }

    /// The step of a node that is one.
    #[must_use]
    pub fn step<'a>(&self, pipeline: &'a Pipeline, node: usize) -> Option<&'a Step> {
        match self.nodes[node].work {
            Work::Step(index) => Some(&pipeline.steps[index]),
            Work::Observe(_) => None,
        }
    }

    /// The nodes reachable from `start` (itself included): with `up` those it needs, else those that need it.
    #[must_use]
    pub fn reach(&self, start: &[usize], up: bool) -> Vec<bool> {
        let graph = edges(self.nodes.iter().map(|node| node.needs.as_slice()));
        let mut reached = vec![false; self.nodes.len()];
        for &node in start {
            if reached[node] {
                continue;
            }
            let mut dfs = Dfs::new(&graph, NodeIndex::new(node));
            let next = |dfs: &mut Dfs<_, _>| if up { dfs.next(Reversed(&graph)) } else { dfs.next(&graph) };
            while let Some(found) = next(&mut dfs) {
                reached[found.index()] = true;
            }
        }
        reached
    }
}

/// What a step needs of other steps.
fn step_needs(step: &Step) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for input in step.inputs.values() {
        if let InputRef::Step { step, .. } = input.from {
            needs.push(Need { node: step, kind: NeedKind::Data { optional: input.optional } });
        }
    }
    if let Some(foreach) = &step.foreach {
        needs.push(Need { node: foreach.step, kind: NeedKind::Data { optional: false } });
    }
    needs.extend(step.after.iter().map(|&node| Need { node, kind: NeedKind::Order }));
    needs
}

/// Edges from the needed to the needing, each pair once.
fn edges<'a>(needs: impl Iterator<Item = &'a [Need]>) -> DiGraph<(), ()> {
    let needs: Vec<_> = needs.collect();
    let mut graph = DiGraph::with_capacity(needs.len(), needs.len());
    for _ in &needs {
        graph.add_node(());
    }
    for (node, needs) in needs.iter().enumerate() {
        let mut sources: Vec<usize> = needs.iter().map(|need| need.node).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            graph.add_edge(NodeIndex::new(source), NodeIndex::new(node), ());
        }
    }
    graph
}

fn assemble(pipeline: &Pipeline, works: Vec<Work>, needs: Vec<Vec<Need>>) -> Graph {
    let edges = edges(needs.iter().map(Vec::as_slice));
    let order: Vec<usize> = petgraph::algo::toposort(&edges, None)
        .expect("a checked pipeline has no cycle")
        .into_iter()
        .map(NodeIndex::index)
        .collect();
    let mut tasks = Vec::new();
    let mut nodes: Vec<Node> = works
        .into_iter()
        .zip(needs)
        .enumerate()
        .map(|(index, (work, needs))| {
            let first = tasks.len();
            tasks.extend(static_cells(pipeline, &work).into_iter().map(|cell| Task { node: index, cell }));
            let mut dependents: Vec<usize> = edges.neighbors(NodeIndex::new(index)).map(NodeIndex::index).collect();
            dependents.sort_unstable();
            Node { work, needs, dependents, tasks: first..tasks.len(), height: 1 }
        })
        .collect();
    for &index in order.iter().rev() {
        let below = nodes[index].dependents.iter().map(|&dependent| nodes[dependent].height).max();
        nodes[index].height = below.unwrap_or(0) + 1;
    }
    Graph { nodes, order, tasks }
}

fn static_cells(pipeline: &Pipeline, work: &Work) -> Vec<Cell> {
    let Work::Step(index) = work else { return vec![Cell::default()] };
    let step = &pipeline.steps[*index];
    match (&step.matrix, &step.foreach) {
        (_, Some(_)) => Vec::new(),
        (Some(matrix), None) => cell::expand(matrix),
        (None, None) => vec![Cell::default()],
    }
}

/// The cells of a `foreach` step over these items: each item alone, or with each cell of the step's matrix.
#[must_use]
pub fn item_cells(step: &Step, item: &Name, items: &[crate::scalar::Scalar]) -> Vec<Cell> {
    let base = step.matrix.as_ref().map_or_else(|| vec![Cell::default()], cell::expand);
    items
        .iter()
        .flat_map(|value| {
            base.iter().map(move |cell| Cell::new(cell.values().iter().cloned().chain([(item.clone(), value.clone())])))
        })
        .collect()
}
