//! `runstone path`: how one version came from another.

use runstone_core::record::NodeId;
use runstone_core::reference::DatasetRef;
use runstone_core::store::WalkLimit;
use runstone_lineage::{find, path};

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::CommandResult;
use crate::render::style::{BOLD, DIM, paint};
use crate::render::{count, diagram, harmless, lineage as render};

/// Show how one version came from another
///
/// Which of the two came from the other is found out. The shortest way is shown, and with --json or as a diagram
/// everything that lies between.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone path tickets/raw tickets/report\n  \
    runstone path tickets/raw@v1 tickets/report@v3 --mermaid\n  \
    runstone path tickets/raw@v1 tickets/report@v3 --json")]
pub(crate) struct Args {
    /// The one
    #[arg(value_name = "NAME[@VERSION]")]
    one: DatasetRef,
    /// The other
    #[arg(value_name = "NAME[@VERSION]")]
    other: DatasetRef,
    /// At most so many versions looked at
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    nodes: u32,
    /// Print a Mermaid diagram of everything between
    #[arg(long, group = "shape")]
    mermaid: bool,
    /// Print it for Graphviz
    #[arg(long, group = "shape")]
    dot: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let mut nodes = |dataset: &DatasetRef| -> CommandResult<Vec<NodeId>> {
        Ok(find::publications(&mut *store, dataset)?.iter().map(|version| version.id).collect())
    };
    let (one, other) = (nodes(&args.one)?, nodes(&args.other)?);
    let limit = WalkLimit { nodes: args.nodes, ..WalkLimit::NONE };
    let view = path::between(&mut *store, &one, &other, limit)?;
    if args.mermaid || args.dot {
        let diagram = render::diagram(&view.between);
        context.terminal.print(&if args.mermaid { diagram::mermaid(&diagram) } else { diagram::dot(&diagram) })?;
        if let Some(cut) = view.between.cut {
            context.terminal.note(render::cut_text(cut));
        }
        return Ok(());
    }
    if args.format.json {
        return context.terminal.print_json(&view);
    }
    let mut out = String::new();
    for hop in &view.shortest {
        if let Some(task) = &hop.made_by {
            out.push_str(&format!("  {}\n", paint(DIM, &format!("↓ {}", harmless(task)))));
        }
        out.push_str(&format!("{}\n", paint(BOLD, &harmless(&hop.version))));
    }
    let more = view.between.versions.len().saturating_sub(view.shortest.len());
    if more > 0 {
        let text = format!("{} on other ways between them (--mermaid draws all)", count(more, "more version"));
        out.push_str(&format!("{}\n", paint(DIM, &text)));
    }
    out.push_str(&render::cut_note(view.between.cut));
    context.terminal.print(&out)
}
