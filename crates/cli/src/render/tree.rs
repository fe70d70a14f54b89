//! A graph drawn as a tree: what is reached twice is drawn once and referred to by a mark. Never recurses: how deep
//! the graph is, is the user's business.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::style::{BOLD, DIM, paint};

/// A graph to be drawn, as arena.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<TreeNode>,
    /// Where drawing starts.
    pub(crate) roots: Vec<usize>,
}

/// A node.
#[derive(Debug, Default)]
pub(crate) struct TreeNode {
    /// Drawn wherever the node is reached.
    pub(crate) headline: String,
    /// Drawn once, below the headline.
    pub(crate) details: Vec<String>,
    /// Label of the edge and node.
    pub(crate) children: Vec<(String, usize)>,
    /// Details and children are drawn once for all nodes that share this number.
    pub(crate) group: i64,
}

/// What stands before the lines of a node: of its headline, and of everything below it.
struct Visit {
    node: usize,
    lead: String,
    stem: String,
}

/// The drawing, each line ended by a line break.
pub(crate) fn draw(tree: &Tree) -> String {
    let wanted = references(tree);
    let mut marks: HashMap<i64, Option<usize>> = HashMap::new();
    let mut next_mark = 1;
    let mut out = String::new();
    let visit = |&node: &usize| Visit { node, lead: String::new(), stem: String::new() };
    let mut pending: Vec<Visit> = tree.roots.iter().rev().map(visit).collect();
    while let Some(Visit { node, lead, stem }) = pending.pop() {
        let node = &tree.nodes[node];
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{}", paint(DIM, &lead), node.headline);
        if let Some(mark) = marks.get(&node.group) {
            let text = mark.map_or_else(|| "(shown above)".to_owned(), |mark| format!("(see [{mark}] above)"));
            let _ = writeln!(out, "  {}", paint(DIM, &text));
            continue;
        }
        let is_leaf = node.details.is_empty() && node.children.is_empty();
        let mark = (!is_leaf && wanted.get(&node.group).is_some_and(|count| *count > 1)).then_some(next_mark);
        if let Some(mark) = mark {
            next_mark += 1;
            let _ = write!(out, "  {}", paint(BOLD, &format!("[{mark}]")));
        }
        out.push('\n');
        if !is_leaf {
            marks.insert(node.group, mark);
        }
        let below = format!("{stem}{}", if node.children.is_empty() { "   " } else { "│  " });
        for detail in &node.details {
            let _ = writeln!(out, "{}{detail}", paint(DIM, &below));
        }
        for (at, (label, child)) in node.children.iter().enumerate().rev() {
            let is_last = at + 1 == node.children.len();
            let label = if label.is_empty() { String::new() } else { format!("{label}: ") };
            let lead = format!("{stem}{} {label}", if is_last { "└─" } else { "├─" });
            let stem = format!("{stem}{}", if is_last { "   " } else { "│  " });
            pending.push(Visit { node: *child, lead, stem });
        }
    }
    out
}

/// How often each group is reached from the nodes that are drawn.
fn references(tree: &Tree) -> HashMap<i64, usize> {
    let mut counts: HashMap<i64, usize> = HashMap::new();
    let mut pending = tree.roots.clone();
    while let Some(node) = pending.pop() {
        let node = &tree.nodes[node];
        let count = counts.entry(node.group).or_default();
        *count += 1;
        if *count == 1 {
            pending.extend(node.children.iter().map(|(_, child)| *child));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, group: i64, children: &[(&str, usize)]) -> TreeNode {
        let children = children.iter().map(|(label, child)| ((*label).to_owned(), *child)).collect();
        TreeNode { headline: name.into(), details: vec![format!("about {name}")], children, group }
    }

    fn plain(tree: &Tree) -> String {
        anstream::adapter::strip_str(&draw(tree)).to_string()
    }

    #[test]
    fn what_is_shared_is_drawn_once() {
        let nodes = vec![
            node("report", 0, &[("model", 1), ("test", 3)]),
            node("model", 1, &[("train", 2)]),
            node("train", 2, &[("", 4)]),
            node("test", 2, &[("", 4)]),
            TreeNode { headline: "raw".into(), group: 4, ..TreeNode::default() },
        ];
        let expected = "\
report
│  about report
├─ model: model
│  │  about model
│  └─ train: train  [1]
│     │  about train
│     └─ raw
└─ test: test  (see [1] above)
";
        assert_eq!(plain(&Tree { nodes, roots: vec![0] }), expected);
    }

    #[test]
    fn a_deep_chain_needs_no_stack() {
        const DEPTH: i64 = 600;
        let next = |at: i64| usize::try_from(at + 1).unwrap();
        let nodes: Vec<TreeNode> =
            (0..DEPTH).map(|at| node("n", at, &[("", next(at))])).chain([node("end", -1, &[])]).collect();
        // Less than 100 bytes of stack for each level.
        let small = std::thread::Builder::new().stack_size(48 << 10);
        let text = small.spawn(move || draw(&Tree { nodes, roots: vec![0] })).unwrap().join().unwrap();
        assert_eq!(text.lines().count(), 2 * 601);
    }
}
