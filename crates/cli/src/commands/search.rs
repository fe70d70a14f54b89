//! `runstone search`: attempts by anything that is recorded of them.

use runstone_core::hash::CONTENT_PREFIX;
use runstone_core::lineage::store::{MetricRange, Search};
use runstone_core::reference::ParseRefError;
use runstone_core::store::VersionRef;
use runstone_lineage::search::{self, Found, Wanted};
use runstone_lineage::view::VersionView;

use crate::age::Age;
use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult};
use crate::render::Layout;
use crate::render::style::{self, BOLD, DIM};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;

/// Find attempts by what was asked of them, what they read, what came of them, and who ran them where
///
/// All conditions must hold. Code and parameters are looked up in what was asked of each attempt that fits the rest, so
/// that another condition makes these faster.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone search --param lr=0.1 --metric 'f1>=0.8'\n  \
    runstone search --input b3:1a2b3c4d\n  \
    runstone search --code ./train.py --user ada --since 7d\n  \
    runstone search --commit 1a2b3c --json")]
pub(crate) struct Args {
    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only of this step
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
    /// A parameter or matrix value
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<Pair>,
    /// A code file: its path, or the first digits of its content (`b3:…`)
    #[arg(long, value_name = "PATH|b3:HASH")]
    code: Option<CodeArg>,
    /// A reported number: `f1>=0.8`, `loss<0.1`, `f1=0.9`, of a slice `f1[region=eu]>0.5`
    #[arg(long, value_name = "CONDITION")]
    metric: Vec<MetricArg>,
    /// Content that was read (`b3:…`)
    #[arg(long, value_name = "b3:HASH")]
    input: Option<HashArg>,
    /// Content that was published (`b3:…`)
    #[arg(long, value_name = "b3:HASH")]
    output: Option<HashArg>,
    /// Who started the run
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// On which machine
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// First digits of the git commit that was checked out
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// Not older than this
    #[arg(long, value_name = "AGE")]
    since: Option<Age>,
    /// Older than this
    #[arg(long, value_name = "AGE")]
    until: Option<Age>,
    /// Only those that failed
    #[arg(long)]
    failed: bool,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    format: FormatArgs,
}

/// `name=value`.
#[derive(Debug, Clone)]
struct Pair(String, String);

impl std::str::FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        pair.map(|(name, value)| Self(name.to_owned(), value.to_owned())).ok_or_else(|| "write NAME=VALUE".to_owned())
    }
}

/// The first digits of a content hash.
#[derive(Debug, Clone)]
struct HashArg(String);

impl std::str::FromStr for HashArg {
    type Err = ParseRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(VersionRef::HashPrefix(digits)) => Ok(Self(digits)),
            _ => Err(ParseRefError {
                given: text.to_owned(),
                what: "piece of content",
                forms: "b3: and at least four digits",
            }),
        }
    }
}

/// A code file, by path or content.
#[derive(Debug, Clone)]
struct CodeArg(String);

impl std::str::FromStr for CodeArg {
    type Err = ParseRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.starts_with(CONTENT_PREFIX) {
            return Ok(Self(text.to_owned()));
        }
        text.parse::<HashArg>().map(|hash| Self(format!("{CONTENT_PREFIX}{}", hash.0)))
    }
}

/// A condition on a metric, as a range with both ends included.
#[derive(Debug, Clone, PartialEq)]
struct MetricArg(MetricRange);

impl std::str::FromStr for MetricArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no condition; write one such as f1>=0.8, loss<0.1 or f1[region=eu]>0.5");
        // A slice may hold an equals sign of its own.
        let end = text.find(']').map_or(0, |at| at + 1);
        let at = text[end..].find(['<', '>', '=']).map(|at| at + end).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let digits = rest.trim_start_matches(['<', '>', '=']);
        let value: f64 = digits.trim().parse().map_err(|_| wrong())?;
        let (min, max) = match &rest[..rest.len() - digits.len()] {
            "=" | "==" => (value, value),
            ">=" => (value, f64::INFINITY),
            "<=" => (f64::NEG_INFINITY, value),
            ">" => (value.next_up(), f64::INFINITY),
            "<" => (f64::NEG_INFINITY, value.next_down()),
            _ => return Err(wrong()),
        };
        let (name, slice) = match name.trim().strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((name, slice)) => (name, slice),
            None => (name.trim(), ""),
        };
        if name.is_empty() || value.is_nan() {
            return Err(wrong());
        }
        Ok(Self(MetricRange { name: name.to_owned(), slice: slice.to_owned(), min, max }))
    }
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let time = |age: &Option<Age>| {
        age.as_ref().map(|age| {
            let micros = i64::try_from(age.0.as_micros()).unwrap_or(i64::MAX);
            runstone_core::time::Timestamp(now().0.saturating_sub(micros))
        })
    };
    let wanted = Wanted {
        columns: Search {
            pipeline: args.pipeline.clone(),
            step: args.step.clone(),
            user: args.user.clone(),
            host: args.host.clone(),
            git_commit: args.commit.clone(),
            since: time(&args.since),
            until: time(&args.until),
            input: args.input.as_ref().map(|hash| hash.0.clone()),
            output: args.output.as_ref().map(|hash| hash.0.clone()),
            metrics: args.metric.iter().map(|metric| metric.0.clone()).collect(),
            succeeded: args.failed.then_some(false),
            before: None,
            limit: args.limit,
        },
        params: args.param.iter().map(|pair| (pair.0.clone(), pair.1.clone())).collect(),
        code: args.code.as_ref().map(|code| code.0.clone()),
    };
    let found = search::search(&mut *store, &wanted)?;
    if args.format.json {
        return context.terminal.print_json(&found);
    }
    if found.is_empty() {
        return Err(CommandError::not_found("no attempt fits"));
    }
    let layout = context.layout();
    context.terminal.print(&table(&found, &layout).render(&layout))?;
    if found.len() == usize::try_from(args.limit).unwrap_or(usize::MAX) {
        context.terminal.note("older ones are not shown; --limit shows more");
    }
    Ok(())
}

fn table(found: &[Found], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::right("RUN"),
        Column::left("TASK").elastic(),
        Column::left("STATE"),
        Column::left("PUBLISHED").elastic(),
        Column::left("METRICS").prose(),
        Column::left("STARTED"),
    ]);
    for it in found {
        let versions: Vec<String> = it.versions.iter().map(VersionView::reference).collect();
        let whole = it.metrics.iter().filter(|metric| metric.slice.is_empty());
        let metrics: Vec<String> = whole.map(|metric| format!("{} {}", metric.name, metric.value)).collect();
        let state = it.attempt.state;
        table.row([
            Cell::styled(format!("#{}", it.attempt.run_number), BOLD),
            format!("{}/{}", it.pipeline, it.task).into(),
            Cell::styled(state.as_str(), style::of_attempt(state)),
            versions.join(", ").into(),
            metrics.join(", ").into(),
            Cell::styled(date_time(it.attempt.created_at.0, layout.zone), DIM),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_ranges() {
        let range = |text: &str| text.parse::<MetricArg>().map(|it| (it.0.name, it.0.slice, it.0.min, it.0.max));
        let f1 = |min, max| Ok(("f1".to_owned(), String::new(), min, max));
        assert_eq!(range("f1>=0.8"), f1(0.8, f64::INFINITY));
        assert_eq!(range("f1 <= 0.8"), f1(f64::NEG_INFINITY, 0.8));
        assert_eq!(range("f1=0.8"), f1(0.8, 0.8));
        assert!(range("f1>0.8").unwrap().2 > 0.8);
        assert_eq!(range("f1[region=eu]>=1").unwrap().1, "region=eu");
        for bad in ["f1", "f1>", ">1", "f1>x", "f1=>1", "f1>nan", "[a=b]>1"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
