//! What others assert about lineage, for people: a section of its own, so that it is never taken for what was verified.

use std::collections::HashMap;

use runstone_core::lineage::asserted::{EventKind, Side};
use runstone_lineage::asserted::{AssertedRunView, AssertedView, PointView};

use super::harmless;
use super::lineage::cut_note;
use super::style::{BOLD, DIM, DOUBT, paint};
use super::tree::{self, Tree, TreeNode};

/// The tree, from versions of ours on; empty where nothing is asserted.
pub(crate) fn text(view: &AssertedView) -> String {
    if view.points.is_empty() {
        return String::new();
    }
    let mut tree = Tree {
        nodes: (0..).zip(&view.points).map(|(group, it)| node(headline(it), group)).collect(),
        roots: view.start.clone(),
    };
    let (near, verb) = match view.direction {
        "down" => (Side::Input, "read by"),
        _ => (Side::Output, "written by"),
    };
    let mut beyond: HashMap<usize, Vec<usize>> = HashMap::new();
    for edge in view.edges.iter().filter(|edge| edge.side == near.other()) {
        beyond.entry(edge.run).or_default().push(edge.point);
    }
    for edge in view.edges.iter().filter(|edge| edge.side == near) {
        let label = view.runs.get(edge.run).map(|run| run_label(verb, run)).unwrap_or_default();
        let children = beyond.get(&edge.run).cloned().unwrap_or_default();
        if children.is_empty() {
            let group = -1 - i64::try_from(tree.nodes.len()).unwrap_or_default();
            tree.nodes.push(node(paint(DIM, "nothing"), group));
            let leaf = tree.nodes.len() - 1;
            tree.nodes[edge.point].children.push((label, leaf));
        } else {
            tree.nodes[edge.point].children.extend(children.into_iter().map(|child| (label.clone(), child)));
        }
    }
    let title = paint(DOUBT, "asserted by others, not verified:");
    format!("\n{title}\n{}{}", tree::draw(&tree), cut_note(view.cut))
}

fn node(headline: String, group: i64) -> TreeNode {
    TreeNode { headline, group, ..TreeNode::default() }
}

fn headline(point: &PointView) -> String {
    let name = format!("{} {}", harmless(&point.namespace), harmless(&point.name));
    let version = match &point.version {
        Some(version) => format!("@{}", harmless(version)),
        None => paint(DIM, " (no version stated)"),
    };
    let mut out = format!("{}{version}", paint(BOLD, &name));
    if !point.is.is_empty() {
        let ours: Vec<_> = point.is.iter().take(3).map(|it| harmless(it)).collect();
        let more = if point.is.len() > ours.len() { ", …" } else { "" };
        out.push_str(&paint(DIM, &format!("  is our {}{more}", ours.join(", "))));
    }
    out
}

fn run_label(verb: &str, run: &AssertedRunView) -> String {
    let job = format!("{} {}", harmless(&run.job_namespace), harmless(&run.job));
    match (run.kind, run.state) {
        (EventKind::Run, Some(state)) => format!("{verb} {job}, {state}"),
        _ => format!("{verb} {job}"),
    }
}
