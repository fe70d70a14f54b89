//! `runstone profile`: what is known of a version that is a table.

use runstone_core::reference::DatasetRef;
use runstone_lineage::tables::{self, ColumnView, ProfileView};
use runstone_lineage::{find, view};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, now, open_objects};
use crate::error::CommandResult;
use crate::render::style::{BOLD, DIM, DOUBT, paint};
use crate::render::table::{Cell, Column, Table};
use crate::render::{Layout, count, harmless};

/// Show schema, rows and statistics of a version that is a table (CSV, JSON Lines, Parquet)
///
/// Tables are profiled when they are published; large ones (`profile_limit`) when this is first asked. What was found out
/// is kept with the version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone profile tickets/clean\n  \
    runstone profile tickets/clean@v3 --json\n  \
    runstone profile tickets/clean --again")]
pub(crate) struct Args {
    /// The version
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetRef,
    /// Look at the bytes again instead of what is kept
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// A profile with the version it is of.
#[derive(Debug, Serialize)]
struct Answer {
    version: String,
    #[serde(flatten)]
    profile: ProfileView,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    let version = find::version(&mut *store, &args.dataset)?;
    let profile = tables::of_version(&mut *store, &objects, &version, args.again, now())?;
    let answer = Answer {
        version: view::reference(&version.dataset, &version.subset, version.version),
        profile: ProfileView::from(&profile),
    };
    if args.format.json {
        return context.terminal.print_json(&answer);
    }
    let layout = context.layout();
    context.terminal.print(&text(&answer, &layout))
}

fn text(answer: &Answer, layout: &Layout) -> String {
    let profile = &answer.profile;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut out = format!("{}  {}\n", paint(BOLD, &harmless(&answer.version)), count(number(profile.rows), "row"));
    for (found, what) in [
        (profile.ragged_rows, "rows have more or fewer cells than the header"),
        (profile.invalid_utf8, "cells or lines are not UTF-8"),
        (profile.bad_lines, "lines are no JSON object"),
    ] {
        if found > 0 {
            out.push_str(&format!("{}\n", paint(DOUBT, &format!("{found} {what}"))));
        }
    }
    out.push_str(&table(&profile.columns).render(layout));
    out
}

fn table(columns: &[ColumnView]) -> Table {
    let mut table = Table::new([
        Column::left("COLUMN").elastic(),
        Column::left("TYPE"),
        Column::right("NULLS"),
        Column::right("DISTINCT"),
        Column::right("MIN").elastic(),
        Column::right("MEDIAN"),
        Column::right("MEAN"),
        Column::right("MAX").elastic(),
        Column::left("MOST FREQUENT").prose(),
    ]);
    for column in columns {
        let about = if column.distinct_is_exact { "" } else { "~" };
        let top: Vec<String> =
            column.top.iter().take(3).map(|(value, count)| format!("{} ×{count}", spelled(value))).collect();
        let median = column.quantiles.iter().find(|(share, _)| *share == 0.5).map(|(_, value)| *value);
        table.row([
            Cell::styled(&column.name, BOLD),
            column.kind.clone().into(),
            column.nulls.to_string().into(),
            format!("{about}{}", column.distinct).into(),
            column.min.as_ref().map(spelled).unwrap_or_default().into(),
            median.map(short).unwrap_or_default().into(),
            column.mean.map(short).unwrap_or_default().into(),
            column.max.as_ref().map(spelled).unwrap_or_default().into(),
            Cell::styled(top.join(", "), DIM),
        ]);
    }
    table
}

fn spelled(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Six digits that count.
fn short(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}
