//! Graphs in the two notations other tools draw: Mermaid and DOT (Graphviz).

use std::fmt::Write as _;

/// A graph to be drawn by somebody else.
#[derive(Debug, Default)]
pub(crate) struct Diagram {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Lines of its label.
    pub(crate) label: Vec<String>,
    pub(crate) shape: Shape,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Something that happens.
    Step,
    /// Something that is.
    Data,
}

/// An edge between nodes given by their positions.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// May be empty.
    pub(crate) label: String,
    /// Order without data.
    pub(crate) dashed: bool,
}

/// Mermaid. Source: <https://mermaid.js.org/syntax/flowchart.html>.
pub(crate) fn mermaid(diagram: &Diagram) -> String {
    let mut out = String::from("flowchart LR\n");
    for (at, node) in diagram.nodes.iter().enumerate() {
        let label: Vec<String> = node.label.iter().map(|line| mermaid_text(line)).collect();
        let label = label.join("<br/>");
        // Writing to a String cannot fail.
        let _ = match node.shape {
            Shape::Step => writeln!(out, "  n{at}[\"{label}\"]"),
            Shape::Data => writeln!(out, "  n{at}([\"{label}\"])"),
        };
    }
    for edge in &diagram.edges {
        let arrow = if edge.dashed { "-.->" } else { "-->" };
        let label = if edge.label.is_empty() { String::new() } else { format!("|\"{}\"|", mermaid_text(&edge.label)) };
        let _ = writeln!(out, "  n{} {arrow}{label} n{}", edge.from, edge.to);
    }
    out
}

/// DOT. Source: <https://graphviz.org/doc/info/lang.html>.
pub(crate) fn dot(diagram: &Diagram) -> String {
    let mut out = String::from("digraph {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for (at, node) in diagram.nodes.iter().enumerate() {
        let label: Vec<String> = node.label.iter().map(|line| dot_text(line)).collect();
        let shape = match node.shape {
            Shape::Step => "box",
            Shape::Data => "ellipse",
        };
        let _ = writeln!(out, "  n{at} [label=\"{}\", shape={shape}];", label.join("\\n"));
    }
    for edge in &diagram.edges {
        let mut attributes = Vec::new();
        if !edge.label.is_empty() {
            attributes.push(format!("label=\"{}\"", dot_text(&edge.label)));
        }
        if edge.dashed {
            attributes.push("style=dashed".to_owned());
        }
        let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        let _ = writeln!(out, "  n{} -> n{}{attributes};", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

/// Entities of the notation for what would end the quotes or begin markup.
fn mermaid_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '<' | '>' | '#' | '&' | '`' | '\\' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn dot_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagram() -> Diagram {
        Diagram {
            nodes: vec![
                Node { label: vec!["raw".into(), "a \"b\" <c>".into()], shape: Shape::Data },
                Node { label: vec!["clean".into()], shape: Shape::Step },
            ],
            edges: vec![
                Edge { from: 0, to: 1, label: "src".into(), dashed: false },
                Edge { from: 0, to: 1, label: String::new(), dashed: true },
            ],
        }
    }

    #[test]
    fn mermaid_is_quoted() {
        let expected = "\
flowchart LR
  n0([\"raw<br/>a #34;b#34; #60;c#62;\"])
  n1[\"clean\"]
  n0 -->|\"src\"| n1
  n0 -.-> n1
";
        assert_eq!(mermaid(&diagram()), expected);
    }

    #[test]
    fn dot_is_quoted() {
        let expected = "\
digraph {
  rankdir=LR;
  node [fontname=\"sans-serif\"];
  n0 [label=\"raw\\na \\\"b\\\" <c>\", shape=ellipse];
  n1 [label=\"clean\", shape=box];
  n0 -> n1 [label=\"src\"];
  n0 -> n1 [style=dashed];
}
";
        assert_eq!(dot(&diagram()), expected);
    }
}
