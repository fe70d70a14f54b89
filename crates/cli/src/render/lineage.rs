//! A piece of the lineage graph: as programs get it, as a tree for people, and as a diagram.

use std::collections::{BTreeMap, HashMap};

use runstone_core::cell::task_name;
use runstone_core::record::{AttemptKind, AttemptRecord, Lineage, MaterializationRecord, NodeId, Trust};
use runstone_core::store::Direction;
use serde::Serialize;

use super::derivation::DerivationView;
use super::diagram::{Diagram, Edge, Node, Shape};
use super::quantity::{duration, size};
use super::style::{BOLD, DIM, DOUBT, paint};
use super::time::date_time;
use super::tree::{self, Tree, TreeNode};
use super::{Layout, harmless};
use crate::view::dataset::reference;
use crate::view::{AttemptView, VersionView};

/// A piece of the lineage graph.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LineageView {
    /// `up` or `down`.
    pub(crate) direction: &'static str,
    /// Nodes of the versions that were asked about.
    pub(crate) start: Vec<i64>,
    /// Whether a limit cut it.
    pub(crate) partial: bool,
    pub(crate) versions: Vec<VersionView>,
    pub(crate) attempts: Vec<LineageAttempt>,
    /// Which attempt read which version.
    pub(crate) reads: Vec<ReadView>,
}

/// An attempt of the graph, with what was asked of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LineageAttempt {
    #[serde(flatten)]
    pub(crate) attempt: AttemptView,
    pub(crate) pipeline: String,
    /// `step` or `step{cell}`.
    pub(crate) task: String,
    pub(crate) asked: Option<DerivationView>,
}

/// An attempt read a version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReadView {
    pub(crate) attempt_node: i64,
    pub(crate) version_node: i64,
    pub(crate) input: String,
    pub(crate) trust: Trust,
}

/// The graph with what was asked of its attempts, by fingerprint.
pub(crate) fn view(
    lineage: &Lineage,
    start: &[NodeId],
    direction: Direction,
    asked: &HashMap<String, DerivationView>,
) -> LineageView {
    let producers: HashMap<NodeId, &AttemptRecord> = lineage.attempts.iter().map(|it| (it.id, it)).collect();
    let version = |it: &MaterializationRecord| VersionView::new(it, producers.get(&it.attempt).copied());
    let attempt = |it: &AttemptRecord| LineageAttempt {
        attempt: AttemptView::from(it),
        pipeline: it.pipeline.clone(),
        task: task_name(&it.step, &it.cell),
        asked: asked.get(&it.fingerprint.to_string()).cloned(),
    };
    LineageView {
        direction: match direction {
            Direction::Up => "up",
            Direction::Down => "down",
        },
        start: start.iter().map(|node| node.0).collect(),
        partial: lineage.partial,
        versions: lineage.materializations.iter().map(version).collect(),
        attempts: lineage.attempts.iter().map(attempt).collect(),
        reads: lineage
            .consumed
            .iter()
            .map(|it| ReadView {
                attempt_node: it.attempt.0,
                version_node: it.materialization.0,
                input: it.slot.clone(),
                trust: it.trust,
            })
            .collect(),
    }
}

/// The tree: upwards each version with what made it and of what, downwards with what was made of it.
pub(crate) fn text(lineage: &Lineage, view: &LineageView, layout: &Layout) -> String {
    let versions: HashMap<i64, usize> = view.versions.iter().enumerate().map(|(at, it)| (it.node, at)).collect();
    let mut tree = Tree {
        nodes: Vec::with_capacity(view.versions.len()),
        roots: view.start.iter().filter_map(|node| versions.get(node).copied()).collect(),
    };
    tree.nodes.extend(view.versions.iter().map(|it| TreeNode {
        headline: headline(it),
        group: it.node,
        ..TreeNode::default()
    }));
    if view.direction == "up" {
        upwards(&mut tree, lineage, view, &versions, layout);
    } else {
        downwards(&mut tree, lineage, view, &versions);
    }
    let mut out = tree::draw(&tree);
    if view.partial {
        let text = "not everything is shown: --depth or --nodes cut it";
        out.push_str(&format!("{}\n", paint(DOUBT, text)));
    }
    out
}

fn headline(version: &VersionView) -> String {
    let mut parts = vec![paint(BOLD, &harmless(&version.reference())), size(version.size_bytes)];
    parts.extend(version.rows.map(|rows| super::count(usize::try_from(rows).unwrap_or(usize::MAX), "row")));
    parts.push(paint(DIM, version.short_hash()));
    if version.tainted {
        parts.push(paint(DOUBT, "tainted"));
    }
    parts.join("  ")
}

/// Versions of one attempt share what made them, so that it is told once.
fn upwards(tree: &mut Tree, lineage: &Lineage, view: &LineageView, versions: &HashMap<i64, usize>, layout: &Layout) {
    let mut inputs: HashMap<i64, Vec<(String, usize)>> = HashMap::new();
    for read in &view.reads {
        if let Some(&at) = versions.get(&read.version_node) {
            inputs.entry(read.attempt_node).or_default().push((read.input.clone(), at));
        }
    }
    for list in inputs.values_mut() {
        list.sort();
    }
    let attempts: HashMap<i64, &LineageAttempt> = view.attempts.iter().map(|it| (it.attempt.node, it)).collect();
    for (at, version) in lineage.materializations.iter().enumerate() {
        let Some(attempt) = attempts.get(&version.attempt.0) else { continue };
        let node = &mut tree.nodes[at];
        node.group = attempt.attempt.node;
        node.details = std::iter::once(made_by(attempt, layout))
            .chain(attempt.asked.iter().flat_map(DerivationView::lines))
            .collect();
        node.children = inputs.get(&attempt.attempt.node).cloned().unwrap_or_default();
    }
}

/// `made by #42 model{lr=0.1}, ran 1.2 s, 2026-11-23 09:51:02`.
fn made_by(attempt: &LineageAttempt, layout: &Layout) -> String {
    let verb = match attempt.attempt.kind {
        AttemptKind::Run => "made by",
        AttemptKind::Ingest => "read by",
        AttemptKind::Observe => "seen by",
        AttemptKind::Reuse => "reused by",
    };
    let task = format!("#{} {}", attempt.attempt.run_number, harmless(&attempt.task));
    match &attempt.attempt.end {
        Some(end) => {
            format!("{verb} {task}, {}, {}", duration(end.wall_us), date_time(end.ended_at.0, layout.zone))
        }
        None => format!("{verb} {task}, {}", date_time(attempt.attempt.created_at.0, layout.zone)),
    }
}

/// Below a version stands what was made of it, and attempts that read it and made nothing.
fn downwards(tree: &mut Tree, lineage: &Lineage, view: &LineageView, versions: &HashMap<i64, usize>) {
    let mut made: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (at, version) in lineage.materializations.iter().enumerate() {
        made.entry(version.attempt.0).or_default().push(at);
    }
    let attempts: HashMap<i64, &LineageAttempt> = view.attempts.iter().map(|it| (it.attempt.node, it)).collect();
    for read in &view.reads {
        let (Some(&at), Some(attempt)) = (versions.get(&read.version_node), attempts.get(&read.attempt_node)) else {
            continue;
        };
        let label = format!("#{} {} ({})", attempt.attempt.run_number, harmless(&attempt.task), harmless(&read.input));
        match made.get(&read.attempt_node) {
            Some(made) => {
                let children = made.iter().map(|&child| (label.clone(), child));
                tree.nodes[at].children.extend(children);
            }
            None => {
                let headline = paint(DIM, &format!("nothing ({})", attempt.attempt.state.as_str()));
                tree.nodes.push(TreeNode { headline, group: -attempt.attempt.node, ..TreeNode::default() });
                let leaf = tree.nodes.len() - 1;
                tree.nodes[at].children.push((label, leaf));
            }
        }
    }
}

/// Versions and attempts as nodes, readings and publications as edges.
pub(crate) fn diagram(lineage: &Lineage) -> Diagram {
    let mut diagram = Diagram::default();
    let mut position: HashMap<NodeId, usize> = HashMap::new();
    for version in &lineage.materializations {
        position.insert(version.id, diagram.nodes.len());
        let name = reference(&version.dataset, &version.subset, version.version);
        let label = vec![name, format!("b3:{}", version.hash.short())];
        diagram.nodes.push(Node { label, shape: Shape::Data });
    }
    for attempt in &lineage.attempts {
        position.insert(attempt.id, diagram.nodes.len());
        let label = vec![format!("#{} {}", attempt.run_number, task_name(&attempt.step, &attempt.cell))];
        diagram.nodes.push(Node { label, shape: Shape::Step });
    }
    let mut edge = |from: NodeId, to: NodeId, label: &str| {
        if let (Some(&from), Some(&to)) = (position.get(&from), position.get(&to)) {
            diagram.edges.push(Edge { from, to, label: label.to_owned(), dashed: false });
        }
    };
    for read in &lineage.consumed {
        edge(read.materialization, read.attempt, &read.slot);
    }
    for version in &lineage.materializations {
        edge(version.attempt, version.id, "");
    }
    diagram
}
