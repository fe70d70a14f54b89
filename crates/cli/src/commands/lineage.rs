//! `runstone lineage`: what a version was made of, or what was made of it.

use runstone_core::record::NodeId;
use runstone_core::reference::DatasetRef;
use runstone_core::store::{Direction, WalkLimit};
use runstone_lineage::asserted::{AssertedView, neighbours};
use runstone_lineage::graph::LineageView;
use runstone_lineage::{find, graph};
use serde::Serialize;

use crate::age::Age;
use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::CommandResult;
use crate::render::{asserted, diagram, lineage as render, svg};

/// Show what made a version of a dataset: code, parameters, environment and data, all the way up
///
/// What others assert about these versions (see `runstone import`) stands below, apart from it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone lineage tickets/model\n  \
    runstone lineage 'tickets/model{lr=0.1}@v3' --depth 2\n  \
    runstone lineage tickets/raw@run:42 --down\n  \
    runstone lineage b3:1a2b3c4d --json\n  \
    runstone lineage tickets/report --mermaid > lineage.mmd\n  \
    runstone lineage tickets/report --svg > lineage.svg")]
pub(crate) struct Args {
    /// The dataset and version, or the content alone (`b3:…`)
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetRef,
    /// What it was made of (default)
    #[arg(long)]
    up: bool,
    /// What was made of it
    #[arg(long, conflicts_with = "up")]
    down: bool,
    /// At most so many attempts away
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// At most so many versions
    #[arg(long, default_value_t = 1000, value_name = "N")]
    nodes: u32,
    /// At most so long
    #[arg(long, value_name = "AGE")]
    time: Option<Age>,
    /// Print a table instead of a tree
    #[arg(long, group = "shape")]
    table: bool,
    /// Print a Mermaid diagram
    #[arg(long, group = "shape")]
    mermaid: bool,
    /// Print a diagram for Graphviz
    #[arg(long, group = "shape")]
    dot: bool,
    /// Print a picture
    #[arg(long, group = "shape", conflicts_with = "json")]
    svg: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// What programs get.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    known: &'a LineageView,
    asserted: &'a AssertedView,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    // Up is how it was made last; down is all that was made of it, whenever it was published.
    let (direction, start) = if args.down {
        (Direction::Down, find::publications(&mut *store, &args.dataset)?)
    } else {
        (Direction::Up, find::versions(&mut *store, &args.dataset)?)
    };
    let start: Vec<NodeId> = start.iter().map(|version| version.id).collect();
    let time = args.time.map(|time| time.0);
    let limit = WalkLimit { depth: args.depth, nodes: args.nodes, time };
    let view = graph::walk(&mut *store, &start, direction, limit)?;
    let known: Vec<NodeId> = view.versions.iter().map(|version| NodeId(version.node)).collect();
    let others = neighbours(&mut *store, &known, direction, limit)?;
    let text = match (args.mermaid, args.dot, args.svg) {
        (true, _, _) => diagram::mermaid(&render::diagram(&view)),
        (_, true, _) => diagram::dot(&render::diagram(&view)),
        (_, _, true) => svg::draw(&render::diagram(&view)),
        _ if args.format.json => return context.terminal.print_json(&Answer { known: &view, asserted: &others }),
        _ if args.table => render::table(&view, &context.layout()).render(&context.layout()),
        _ => {
            let text = render::text(&view, &context.layout()) + &asserted::text(&others);
            return context.terminal.print(&text);
        }
    };
    context.terminal.print(&text)?;
    if let Some(cut) = view.cut {
        context.terminal.note(render::cut_text(cut));
    }
    Ok(())
}
