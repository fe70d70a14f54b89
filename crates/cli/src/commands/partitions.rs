//! `runstone partitions`: how far each partition of a pipeline is.

use runstone_core::partition::{Key, Partitioning};
use runstone_core::store::Store;
use runstone_core::time::Timestamp;
use runstone_engine::{Definition, Home, Site};

use super::trigger;
use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult};
use crate::render::style::{BAD, BOLD, DIM, GOOD, PLAIN};
use crate::render::table::{Cell, Column, Table};
use crate::view::{Ledger, PartitionState, PartitionView};

/// Partitions in one table at most.
const MOST: usize = 10_000;

/// Show how far each partition of a pipeline is: missing, queued, running, done, stale, failed
///
/// A partition is stale where a run of it would do something now: its code, its parameters, its environment or what it
/// reads have changed since.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone partitions tickets\n  \
    runstone partitions tickets --from 2026-01-01 --to 2026-01-31\n  \
    runstone partitions tickets --quick --json")]
pub(crate) struct Args {
    /// Name of the pipeline
    pipeline: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Do not look whether what is done is stale
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Which partitions.
#[derive(Debug, clap::Args)]
pub(crate) struct RangeArgs {
    /// The first one (default: the first there is)
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// The last one (default: the newest that is over)
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
}

impl RangeArgs {
    /// The keys, in order.
    pub(crate) fn keys(&self, parts: &Partitioning, now: Timestamp) -> CommandResult<Vec<Key>> {
        let none = || CommandError::not_found("the pipeline has no partition yet");
        let first = parts.first().ok_or_else(none)?;
        let newest = match parts {
            Partitioning::List(keys) => keys.last().cloned(),
            Partitioning::Time(_) => parts.previous_complete(now),
        };
        let from = self.from.clone().unwrap_or_else(|| first.to_string());
        let to = match &self.to {
            Some(to) => to.clone(),
            None => newest.ok_or_else(none)?.to_string(),
        };
        let (from, to) = parts.range(&from, &to).map_err(|error| CommandError::usage(error.to_string()))?;
        let keys: Vec<Key> = parts.keys(&from, &to).take(MOST + 1).collect();
        if keys.len() > MOST {
            let message = format!("{from} to {to} are more than {MOST} partitions");
            return Err(CommandError::usage(message).hint("--from and --to choose fewer"));
        }
        Ok(keys)
    }
}

/// A known pipeline that has partitions: its text, and how they are cut.
pub(crate) fn partitioned(
    store: &mut dyn Store,
    name: &str,
    home: &Home,
    context: &mut Context,
) -> CommandResult<(Definition, runstone_core::spec::Pipeline, Partitioning)> {
    let (known, text) = trigger::known(store, name)?;
    let loaded = crate::definition::load_text(&known.definition_path, &text, home, &mut context.terminal)?;
    let definition =
        Definition { text, path: known.definition_path.into(), overlays: Vec::new(), allow_unsupported: false };
    match loaded.partition.clone() {
        Some(parts) => Ok((definition, loaded, parts)),
        None => Err(CommandError::usage(format!("pipeline `{name}` has no partitions"))
            .hint("`partition: {by: day, start: 2026-01-01}` gives it some")),
    }
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let (definition, _, parts) = partitioned(store.as_mut(), &args.pipeline, &Home::of(&project), context)?;
    let keys = args.range.keys(&parts, now())?;
    let folder = project.folder_of(&definition.path);
    let site = Site::open(project, &folder, context.variables.clone())?;
    let ledger = Ledger::read(&site, definition, &args.pipeline, store.as_mut())?;
    let views =
        keys.iter().map(|key| ledger.look_at(key, !args.quick, store.as_mut())).collect::<CommandResult<Vec<_>>>()?;
    if args.format.json {
        return context.terminal.print_json(&views);
    }
    let layout = context.layout();
    context.terminal.print(&format!("{}{}\n", table(&views).render(&layout), summary(&views)))
}

pub(crate) fn table(views: &[PartitionView]) -> Table {
    let mut table = Table::new([
        Column::left("PARTITION"),
        Column::left("STATE"),
        Column::right("RUN"),
        Column::left("CAUSE").prose(),
    ]);
    for one in views {
        let style = match one.state {
            PartitionState::Done => GOOD,
            PartitionState::Failed => BAD,
            PartitionState::Missing => DIM,
            _ => PLAIN,
        };
        table.row([
            Cell::styled(&one.partition, BOLD),
            Cell::styled(one.state.as_str(), style),
            one.run.map(|run| format!("#{run}")).unwrap_or_default().into(),
            one.cause.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

/// Such as `31 partitions: 12 missing, 19 done`.
pub(crate) fn summary(views: &[PartitionView]) -> String {
    use PartitionState::{Cancelled, Done, Failed, Missing, Queued, Running, Stale};
    let parts: Vec<String> = [Missing, Queued, Running, Done, Stale, Failed, Cancelled]
        .into_iter()
        .map(|state| (views.iter().filter(|one| one.state == state).count(), state))
        .filter(|(number, _)| *number > 0)
        .map(|(number, state)| format!("{number} {}", state.as_str()))
        .collect();
    format!("{}: {}", crate::render::count(views.len(), "partition"), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Layout;

    #[test]
    fn the_ledger_says_how_far_each_one_is() {
        let one = |partition: &str, state, run, cause: Option<&str>| PartitionView {
            partition: partition.to_owned(),
            state,
            run,
            cause: cause.map(str::to_owned),
        };
        let views = [
            one("2026-01-01", PartitionState::Done, Some(3), None),
            one("2026-01-02", PartitionState::Stale, Some(4), Some("`clean` changed since run #4: code ./clean.py")),
            one("2026-01-03", PartitionState::Missing, None, None),
        ];
        let text = table(&views).render(&Layout::fixed(80));
        let expected = "\
PARTITION   STATE    RUN  CAUSE
2026-01-01  done      #3
2026-01-02  stale     #4  `clean` changed since run #4: code ./clean.py
2026-01-03  missing
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
        assert_eq!(summary(&views), "3 partitions: 1 missing, 1 done, 1 stale");
    }
}
