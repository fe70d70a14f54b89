//! A piece of the lineage graph for people: as a tree, and as a diagram.

use std::collections::{BTreeMap, HashMap};

use runstone_core::record::{AttemptKind, Cut};
use runstone_lineage::graph::{LineageAttempt, LineageView};
use runstone_lineage::view::VersionView;

use super::derivation;
use super::diagram::{Diagram, Edge, Node, Shape};
use super::quantity::{duration, size};
use super::style::{BOLD, DIM, DOUBT, paint};
use super::table::{Cell, Column, Table};
use super::time::date_time;
use super::tree::{self, Tree, TreeNode};
use super::{Layout, harmless};

/// The tree: upwards each version with what made it and of what, downwards with what was made of it.
pub(crate) fn text(view: &LineageView, layout: &Layout) -> String {
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
        upwards(&mut tree, view, &versions, layout);
    } else {
        downwards(&mut tree, view, &versions);
    }
    let mut out = tree::draw(&tree);
    out.push_str(&cut_note(view.cut));
    out
}

/// A line that says which limit cut a walk, where one did.
pub(crate) fn cut_note(cut: Option<Cut>) -> String {
    cut.map(|cut| format!("{}\n", paint(DOUBT, &cut_text(cut)))).unwrap_or_default()
}

/// Which limit cut a walk.
pub(crate) fn cut_text(cut: Cut) -> String {
    let option = match cut {
        Cut::Depth => "--depth",
        Cut::Nodes => "--nodes",
        Cut::Time => "--time",
    };
    format!("not everything is shown: {option} cut it")
}

fn headline(version: &VersionView) -> String {
    let mut parts = vec![paint(BOLD, &harmless(&version.reference())), size(version.size_bytes)];
    parts.extend(version.rows.map(|rows| super::count(usize::try_from(rows).unwrap_or(usize::MAX), "row")));
    parts.push(paint(DIM, version.short_hash()));
    if version.tainted {
        parts.push(paint(DOUBT, "tainted"));
    }
    if version.evicted {
        parts.push(paint(DIM, "evicted"));
    }
    parts.join("  ")
}

/// Versions of one attempt share what made them, so that it is told once.
fn upwards(tree: &mut Tree, view: &LineageView, versions: &HashMap<i64, usize>, layout: &Layout) {
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
    for (at, version) in view.versions.iter().enumerate() {
        let Some(attempt) = attempts.get(&version.attempt_node) else { continue };
        let node = &mut tree.nodes[at];
        node.group = attempt.attempt.node;
        node.details =
            std::iter::once(made_by(attempt, layout)).chain(attempt.asked.iter().flat_map(derivation::lines)).collect();
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
fn downwards(tree: &mut Tree, view: &LineageView, versions: &HashMap<i64, usize>) {
    let mut made: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (at, version) in view.versions.iter().enumerate() {
        made.entry(version.attempt_node).or_default().push(at);
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

/// One line for each version, in the order of ids: what comes after what it was made of.
pub(crate) fn table(view: &LineageView, layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("VERSION").elastic(),
        Column::right("SIZE"),
        Column::right("ROWS"),
        Column::left("CONTENT"),
        Column::left("MADE BY").elastic(),
        Column::left("OF").elastic(),
        Column::left("PUBLISHED"),
    ]);
    let names: HashMap<i64, String> = view.versions.iter().map(|it| (it.node, it.reference())).collect();
    let mut read: HashMap<i64, Vec<&str>> = HashMap::new();
    for edge in &view.reads {
        read.entry(edge.attempt_node).or_default().extend(names.get(&edge.version_node).map(String::as_str));
    }
    for version in &view.versions {
        let producer = version.producer.as_ref().map(|it| format!("#{} {}", it.run_number, it.task));
        table.row([
            Cell::styled(version.reference(), BOLD),
            size(version.size_bytes).into(),
            version.rows.map(|rows| rows.to_string()).unwrap_or_default().into(),
            Cell::styled(version.short_hash(), DIM),
            producer.unwrap_or_default().into(),
            read.get(&version.attempt_node).map(|of| of.join(", ")).unwrap_or_default().into(),
            Cell::styled(date_time(version.created_at.0, layout.zone), DIM),
        ]);
    }
    table
}

/// Versions and attempts as nodes, readings and publications as edges.
pub(crate) fn diagram(view: &LineageView) -> Diagram {
    let mut diagram = Diagram::default();
    let mut position: HashMap<i64, usize> = HashMap::new();
    for version in &view.versions {
        position.insert(version.node, diagram.nodes.len());
        let label = vec![version.reference(), version.short_hash().to_owned()];
        diagram.nodes.push(Node { label, shape: Shape::Data });
    }
    for attempt in &view.attempts {
        position.insert(attempt.attempt.node, diagram.nodes.len());
        let label = vec![format!("#{} {}", attempt.attempt.run_number, attempt.task)];
        diagram.nodes.push(Node { label, shape: Shape::Step });
    }
    let mut edge = |from: i64, to: i64, label: &str| {
        if let (Some(&from), Some(&to)) = (position.get(&from), position.get(&to)) {
            diagram.edges.push(Edge { from, to, label: label.to_owned(), dashed: false });
        }
    };
    for read in &view.reads {
        edge(read.version_node, read.attempt_node, &read.input);
    }
    for version in &view.versions {
        edge(version.attempt_node, version.node, "");
    }
    diagram
}
