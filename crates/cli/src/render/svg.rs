//! Graphs as pictures that any browser shows. Where nodes go is decided by a library.

use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::diagram::{Diagram, Shape};

/// Height of a line of text and width of a letter, in pixels.
const LINE: f64 = 20.0;
const LETTER: f64 = 8.0;
const FONT: usize = 14;

/// An SVG document.
pub(crate) fn draw(diagram: &Diagram) -> String {
    let mut graph = VisualGraph::new(Orientation::LeftToRight);
    let nodes: Vec<_> = diagram
        .nodes
        .iter()
        .map(|node| {
            let longest = node.label.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            let lines = u32::try_from(node.label.len()).unwrap_or(1);
            let letters = u32::try_from(longest).unwrap_or(u32::MAX);
            let size = Point::new(f64::from(letters) * LETTER + LINE, f64::from(lines) * LINE + LINE);
            let (rounded, fill) = match node.shape {
                Shape::Step => (0, "white"),
                Shape::Data => (12, "aliceblue"),
            };
            let look = StyleAttr::new(Color::fast("black"), 1, Some(Color::fast(fill)), rounded, FONT);
            graph.add_node(Element::create(
                ShapeKind::new_box(&node.label.join("\n")),
                look,
                Orientation::LeftToRight,
                size,
            ))
        })
        .collect();
    for edge in &diagram.edges {
        let line = if edge.dashed { LineStyleKind::Dashed } else { LineStyleKind::Normal };
        let look = StyleAttr::new(Color::fast("black"), 1, None, 0, FONT - 2);
        let arrow = Arrow::new(LineEndKind::None, LineEndKind::Arrow, line, &edge.label, &look, &None, &None);
        graph.add_edge(arrow, nodes[edge.from], nodes[edge.to]);
    }
    let mut writer = SVGWriter::new();
    graph.do_it(false, false, false, &mut writer);
    writer.finalize() + "\n"
}
