//! `runstone runs`: the runs on record.

use std::collections::HashMap;
use std::time::Duration;

use runstone_core::record::RunState;
use runstone_core::store::{RunFilter, Store};

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::render::Layout;
use crate::render::quantity::duration;
use crate::render::style::{self, BOLD, DIM};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;
use crate::view::RunView;

/// How often a watcher looks.
const WATCH: Duration = Duration::from_millis(500);

/// List runs, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone runs\n  \
    runstone runs --state failed --limit 5\n  \
    runstone runs --pipeline tickets --json\n  \
    runstone runs --watch")]
pub(crate) struct Args {
    /// Only runs of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only runs in this state: running, succeeded, failed or cancelled
    #[arg(long, value_name = "STATE", value_parser = run_state)]
    state: Option<RunState>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: u32,
    /// Keep showing them, as they change
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    format: FormatArgs,
}

fn run_state(text: &str) -> Result<RunState, String> {
    let known: Vec<&str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
    RunState::parse(text).ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    if args.watch {
        return watch(args, store.as_mut(), context);
    }
    let runs = found(args, store.as_mut())?;
    if args.format.json {
        return context.terminal.print_json(&runs);
    }
    let queued = store.queued_count()?;
    if runs.is_empty() && queued == 0 {
        return Err(CommandError::not_found("no run fits").hint("`runstone run FILE` makes one"));
    }
    let layout = context.layout();
    if !runs.is_empty() {
        context.terminal.print(&table(&runs, &layout).render(&layout))?;
    }
    if runs.len() == usize::try_from(args.limit).unwrap_or(usize::MAX) {
        context.terminal.note("older ones are not shown; --limit shows more");
    }
    if queued > 0 {
        context.terminal.note(format_args!("{queued} more in the queue; `runstone queue` shows them"));
    }
    Ok(())
}

fn found(args: &Args, store: &mut dyn Store) -> CommandResult<Vec<RunView>> {
    let filter = RunFilter { pipeline: args.pipeline.clone(), state: args.state, limit: Some(args.limit) };
    Ok(store.runs(&filter)?.iter().map(RunView::from).collect())
}

/// Shows runs until somebody interrupts it: drawn anew in a terminal, a line for each change elsewhere.
fn watch(args: &Args, store: &mut dyn Store, context: &mut Context) -> CommandResult<()> {
    let mut states: HashMap<i64, RunState> = HashMap::new();
    loop {
        let runs = found(args, store)?;
        if context.terminal.width().is_some() && !args.format.json {
            let layout = context.layout();
            // To the upper left corner, and nothing below.
            context.terminal.print(&format!("\x1b[H\x1b[J{}", table(&runs, &layout).render(&layout)))?;
        } else {
            for run in runs.iter().rev() {
                if states.insert(run.number, run.state) == Some(run.state) {
                    continue;
                }
                if args.format.json {
                    context.terminal.print(&format!("{}\n", serde_json::json!(run)))?;
                } else {
                    let line = format!("#{} {} {}\n", run.number, run.pipeline, run.state.as_str());
                    context.terminal.print(&line)?;
                }
            }
        }
        context.terminal.flush()?;
        std::thread::sleep(WATCH);
    }
}

fn table(runs: &[RunView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::right("RUN"),
        Column::left("PIPELINE").elastic(),
        Column::left("STATE"),
        Column::left("STARTED"),
        Column::right("TIME"),
        Column::left("REASON").prose(),
    ]);
    for run in runs {
        table.row([
            Cell::styled(format!("#{}", run.number), BOLD),
            run.pipeline.as_str().into(),
            Cell::styled(run.state.as_str(), style::of_run(run.state)),
            Cell::styled(date_time(run.created_at.0, layout.zone), DIM),
            duration(run.elapsed_us(layout.now)).into(),
            run.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

#[cfg(test)]
pub(crate) mod tests {
    use runstone_core::time::Timestamp;

    use super::*;
    use runstone_lineage::view::Rfc3339;

    pub(crate) fn run_view(number: i64, state: RunState) -> RunView {
        let at = |seconds: i64| Rfc3339(Timestamp((1_700_000_000 + seconds) * 1_000_000));
        let over = state != RunState::Running;
        RunView {
            number,
            id: format!("0193abcd-0000-7000-8000-{number:012}"),
            pipeline: "tickets".into(),
            state,
            reason: (state == RunState::Failed).then(|| "1 task failed: model{lr=0.1}".into()),
            trigger: "manual".into(),
            partition: None,
            created_at: at(0),
            ended_at: over.then(|| at(12)),
            wall_us: over.then_some(12_300_000),
            definition_hash: format!("b3:{}", "0123456789abcdef".repeat(4)),
            definition_path: "pipelines/tickets.yaml".into(),
            params: serde_json::json!({"min_f1": 0.85, "mode": "full"}),
            request: serde_json::json!({}),
            tool_version: "0.1.0".into(),
            platform: "linux-x86_64".into(),
            user: "ada".into(),
            host: "lab".into(),
            git_commit: Some("89abcdef0123456789abcdef0123456789abcdef".into()),
            git_dirty: Some(true),
            cancel_requested: None,
        }
    }

    #[test]
    fn the_list_fits_eighty_columns() {
        let runs = [run_view(43, RunState::Running), run_view(42, RunState::Failed), run_view(9, RunState::Succeeded)];
        let layout = Layout::fixed(80);
        let text = anstream::adapter::strip_str(&table(&runs, &layout).render(&layout)).to_string();
        let expected = "\
RUN  PIPELINE  STATE      STARTED                TIME  REASON
#43  tickets   running    2023-11-14 22:13:20  1m 40s
#42  tickets   failed     2023-11-14 22:13:20  12.3 s  1 task failed: model{lr=0.1}
 #9  tickets   succeeded  2023-11-14 22:13:20  12.3 s
";
        assert_eq!(text, expected.replace("model{lr=0.1}", "model{lr=…"));
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn states_are_checked() {
        assert_eq!(run_state("failed"), Ok(RunState::Failed));
        assert!(run_state("broken").unwrap_err().contains("running, succeeded, failed, cancelled"));
    }
}
