//! `runstone lineage`: what a version was made of, or what was made of it.

use std::collections::HashMap;

use runstone_core::record::{Lineage, NodeId};
use runstone_core::store::{Direction, Store, WalkLimit};

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::CommandResult;
use crate::reference::DatasetArg;
use crate::render::derivation::DerivationView;
use crate::render::{diagram, lineage as render};
use crate::view::dataset;

/// Show what made a version of a dataset: code, parameters, environment and data, all the way up
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone lineage tickets/model\n  \
    runstone lineage 'tickets/model{lr=0.1}@v3' --depth 2\n  \
    runstone lineage tickets/raw@run:42 --down\n  \
    runstone lineage b3:1a2b3c4d --json\n  \
    runstone lineage tickets/report --mermaid > lineage.mmd")]
pub(crate) struct Args {
    /// The dataset and version, or the content alone (`b3:…`)
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetArg,
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
    /// Print a Mermaid diagram
    #[arg(long, conflicts_with_all = ["dot", "json"])]
    mermaid: bool,
    /// Print a diagram for Graphviz
    #[arg(long, conflicts_with = "json")]
    dot: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let start: Vec<NodeId> = dataset::find(&mut *store, &args.dataset)?.iter().map(|version| version.id).collect();
    let direction = if args.down { Direction::Down } else { Direction::Up };
    let lineage = store.lineage(&start, direction, WalkLimit { depth: args.depth, nodes: args.nodes })?;
    if args.mermaid {
        return context.terminal.print(&diagram::mermaid(&render::diagram(&lineage)));
    }
    if args.dot {
        return context.terminal.print(&diagram::dot(&render::diagram(&lineage)));
    }
    let asked = asked(&mut *store, &lineage)?;
    let view = render::view(&lineage, &start, direction, &asked);
    if args.format.json {
        return context.terminal.print_json(&view);
    }
    let text = render::text(&lineage, &view, &context.layout());
    context.terminal.print(&text)
}

/// What was asked of each attempt, by fingerprint. What cannot be read is left out: the rest is still worth showing.
fn asked(store: &mut dyn Store, lineage: &Lineage) -> CommandResult<HashMap<String, DerivationView>> {
    let mut asked = HashMap::new();
    for attempt in &lineage.attempts {
        let key = attempt.fingerprint.to_string();
        if asked.contains_key(&key) {
            continue;
        }
        if let Some(bytes) = store.derivation(&attempt.fingerprint)?
            && let Ok(view) = DerivationView::decode(&bytes)
        {
            asked.insert(key, view);
        }
    }
    Ok(asked)
}
