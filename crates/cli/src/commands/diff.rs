//! `runstone diff`: in what two versions differ.

use runstone_core::reference::DatasetRef;
use runstone_lineage::diff::{self, RowOptions, UpstreamDiff, VersionDiff};
use runstone_lineage::find;

use crate::args::FormatArgs;
use crate::context::{Context, now, open_objects};
use crate::error::CommandResult;
use crate::render::quantity::size;
use crate::render::style::{BOLD, DIM, DOUBT, paint};
use crate::render::why::file_line;
use crate::render::{count, difference, harmless, rows};

/// How many changes of a kind are listed unless more is asked for.
const LISTED: usize = 20;

/// Show in what two versions differ: bytes, files, rows, what they were made of, and how
///
/// Ends with exit code 0 whether they differ or not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone diff tickets/model@v1 tickets/model@v2\n  \
    runstone diff tickets/clean@run:41 tickets/clean@run:42\n  \
    runstone diff tickets/clean@v1 tickets/clean@v2 --key id --rows 20\n  \
    runstone diff tickets/clean@champion tickets/clean --json")]
pub(crate) struct Args {
    /// The one
    #[arg(value_name = "NAME[@VERSION]")]
    old: DatasetRef,
    /// The other
    #[arg(value_name = "NAME[@VERSION]")]
    new: DatasetRef,
    /// For tables: columns that tell which rows belong together; they are looked for where none is given
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    key: Vec<String>,
    /// For tables: so many rows of each kind are shown
    #[arg(long, default_value_t = 5, value_name = "N")]
    rows: usize,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    let old = find::version(&mut *store, &args.old)?;
    let new = find::version(&mut *store, &args.new)?;
    let options = RowOptions { key: args.key.clone(), samples: args.rows, now: now() };
    let diff = diff::compare(&mut *store, &objects, &old, &new, &options)?;
    if args.format.json {
        return context.terminal.print_json(&diff);
    }
    let limit = if context.terminal.is_verbose() { usize::MAX } else { LISTED };
    context.terminal.print(&text(&diff, limit))
}

fn text(diff: &VersionDiff, limit: usize) -> String {
    let mut out = String::new();
    for (sign, version) in [("-", &diff.old), ("+", &diff.new)] {
        let made = version.producer.as_ref().map(|it| format!("made by #{} {}", it.run_number, harmless(&it.task)));
        out.push_str(&format!(
            "{sign} {}  {}  {}  {}\n",
            paint(BOLD, &harmless(&version.reference())),
            size(version.size_bytes),
            paint(DIM, version.short_hash()),
            made.unwrap_or_default(),
        ));
    }
    if diff.identical {
        out.push_str("the same bytes\n");
    }
    if let Some(why) = &diff.unavailable {
        out.push_str(&format!("{}\n", paint(DOUBT, &format!("bytes were not compared: {}", harmless(why)))));
    }
    if let Some(bytes) = &diff.bytes {
        out.push_str(&format!(
            "bytes part at position {} (line {}), {:+} bytes\n",
            bytes.first_difference, bytes.line, bytes.size_delta
        ));
    }
    if let Some(files) = &diff.files {
        out.push_str(&format!("files: {} added, {} removed, {} changed\n", files.added, files.removed, files.changed));
        listed(&mut out, limit, files.list.iter().map(file_line).collect());
    }
    if let Some(rows) = &diff.table {
        out.push_str(&rows::text(rows, &diff.moves));
    }
    section(&mut out, "what was asked", limit, diff.asked.iter().flat_map(difference::lines).collect());
    section(&mut out, "what they were made of", limit, upstream(&diff.upstream));
    section(&mut out, "metrics", limit, metrics(diff));
    out
}

fn section(out: &mut String, title: &str, limit: usize, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("{}\n", paint(BOLD, title)));
    listed(out, limit, lines.into_iter().map(|line| format!("  {line}")).collect());
}

fn listed(out: &mut String, limit: usize, lines: Vec<String>) {
    let more = lines.len().saturating_sub(limit);
    for line in lines.into_iter().take(limit) {
        out.push_str(&line);
        out.push('\n');
    }
    if more > 0 {
        out.push_str(&format!("  and {} (-v lists all)\n", count(more, "more line")));
    }
}

fn upstream(diff: &UpstreamDiff) -> Vec<String> {
    let versions = |names: &[String]| {
        let short = |name: &String| name.rsplit('@').next().unwrap_or_default().to_owned();
        if names.is_empty() { "none".to_owned() } else { names.iter().map(short).collect::<Vec<_>>().join(", ") }
    };
    let mut lines: Vec<String> = diff
        .changes
        .iter()
        .map(|change| format!("{}  {} → {}", harmless(&change.dataset), versions(&change.old), versions(&change.new)))
        .collect();
    if !lines.is_empty() {
        lines.push(format!("and {} in common", count(usize::try_from(diff.common).unwrap_or(usize::MAX), "version")));
    }
    if diff.partial {
        lines.push(paint(DOUBT, "there is more than was looked at"));
    }
    lines
}

fn metrics(diff: &VersionDiff) -> Vec<String> {
    let changed = diff.metrics.iter().filter(|metric| metric.old != metric.new);
    let number = |number: Option<f64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    changed
        .map(|metric| {
            let slice = if metric.slice.is_empty() { String::new() } else { format!("[{}]", harmless(&metric.slice)) };
            let delta = metric.delta.map(|delta| format!("  ({delta:+.6})")).unwrap_or_default();
            format!("{}{slice}  {} → {}{delta}", harmless(&metric.name), number(metric.old), number(metric.new))
        })
        .collect()
}
