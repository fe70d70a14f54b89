//! `runstone impact`: everything derived from a version, and what of it is in use.

use runstone_core::reference::DatasetRef;
use runstone_core::store::WalkLimit;
use runstone_lineage::find;
use runstone_lineage::impact::{self, DatasetImpact, ImpactView};

use crate::age::Age;
use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::CommandResult;
use crate::render::style::{BOLD, DIM, GOOD, paint};
use crate::render::{count, harmless, lineage};

/// How many versions of a dataset are named unless more is asked for.
const NAMED: usize = 6;

/// Show everything derived from a version, by pipeline, and what of it is in use
///
/// In use is what `latest` names and what tags lead to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone impact tickets/raw@v1\n  \
    runstone impact b3:1a2b3c4d\n  \
    runstone impact tickets/raw@v1 --json")]
pub(crate) struct Args {
    /// The dataset and version, or the content alone (`b3:…`)
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetRef,
    /// At most so many attempts away
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// At most so many versions
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    nodes: u32,
    /// At most so long
    #[arg(long, value_name = "AGE")]
    time: Option<Age>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let start = find::publications(&mut *store, &args.dataset)?;
    let limit = WalkLimit { depth: args.depth, nodes: args.nodes, time: args.time.map(|time| time.0) };
    let view = impact::of(&mut *store, &start, limit)?;
    if args.format.json {
        return context.terminal.print_json(&view);
    }
    let named = if context.terminal.is_verbose() { usize::MAX } else { NAMED };
    context.terminal.print(&text(&view, named))
}

fn text(view: &ImpactView, named: usize) -> String {
    if view.versions == 0 {
        return format!("nothing was derived from {}\n", harmless(&view.of.join(", ")));
    }
    let mut out = String::new();
    for pipeline in &view.pipelines {
        out.push_str(&format!("{}\n", paint(BOLD, &harmless(&pipeline.pipeline))));
        for dataset in &pipeline.datasets {
            out.push_str(&dataset_text(dataset, named));
        }
    }
    out.push_str(&format!("{} through {}\n", count(view.versions, "version"), count(view.attempts, "attempt")));
    out.push_str(&lineage::cut_note(view.cut));
    out
}

fn dataset_text(dataset: &DatasetImpact, named: usize) -> String {
    let versions: Vec<String> = dataset
        .versions
        .iter()
        .take(named)
        .map(|version| {
            let mut text = harmless(version.strip_prefix(&dataset.dataset).unwrap_or(version));
            if dataset.latest.contains(version) {
                text.push_str(&format!(" {}", paint(GOOD, "latest")));
            }
            for tag in dataset.tags.iter().filter(|tag| tag.version == *version) {
                text.push_str(&format!(" {}", paint(GOOD, &format!("@{}", tag.tag))));
            }
            text
        })
        .collect();
    let more = dataset.versions.len().saturating_sub(named);
    let more = if more > 0 { paint(DIM, &format!(", and {more} more (-v)")) } else { String::new() };
    format!("  {}  {}{more}\n", harmless(&dataset.dataset), versions.join(", "))
}
