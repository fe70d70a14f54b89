//! `runstone backfills`: what became of backfills, and stopping them for a while or for good.

use clap::Subcommand;
use runstone_core::record::RunState;
use runstone_core::service::record::{BackfillItem, BackfillRecord, BackfillState};
use runstone_core::store::Store;
use serde::Serialize;

use super::backfill::short;
use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::Layout;
use crate::render::style::{BOLD, DIM};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;
use runstone_lineage::view::Rfc3339;

/// List backfills, newest first; pause, resume or cancel one
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    runstone backfills\n  \
    runstone backfills --json\n  \
    runstone backfills pause 3f2a\n  \
    runstone backfills resume 3f2a\n  \
    runstone backfills cancel 3f2a"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Submit no more of its runs; those under way go on
    Pause(IdArgs),
    /// Go on with a paused one
    Resume(IdArgs),
    /// End it: queued runs are cancelled, runs under way are asked to end
    Cancel(IdArgs),
}

#[derive(Debug, clap::Args)]
struct IdArgs {
    /// Which one, as `runstone backfills` shows it
    id: String,
}

/// A backfill, as programs get it.
#[derive(Debug, Serialize)]
struct BackfillView {
    id: String,
    pipeline: String,
    state: BackfillState,
    parallel: u32,
    partitions: usize,
    submitted: usize,
    running: u32,
    succeeded: usize,
    failed: usize,
    created_at: Rfc3339,
    ended_at: Option<Rfc3339>,
    user: String,
    items: Vec<BackfillItem>,
}

impl From<BackfillRecord> for BackfillView {
    fn from(record: BackfillRecord) -> Self {
        let ended = |good: bool| {
            let is_good = |item: &&BackfillItem| (item.run_state == Some(RunState::Succeeded)) == good;
            record.submitted.iter().filter(|item| item.state.is_terminal()).filter(is_good).count()
        };
        Self {
            id: record.id.to_string(),
            pipeline: record.pipeline.clone(),
            state: record.state,
            parallel: record.parallel,
            partitions: record.partitions.len(),
            submitted: record.submitted.len(),
            running: record.live,
            succeeded: ended(true),
            failed: ended(false),
            created_at: Rfc3339(record.created),
            ended_at: record.ended.map(Rfc3339),
            user: record.user.clone(),
            items: record.submitted,
        }
    }
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    match &args.action {
        None => list(store.as_mut(), args.format.json, context),
        Some(Action::Pause(id)) => set(store.as_mut(), &id.id, BackfillState::Paused, context),
        Some(Action::Resume(id)) => set(store.as_mut(), &id.id, BackfillState::Active, context),
        Some(Action::Cancel(id)) => set(store.as_mut(), &id.id, BackfillState::Cancelled, context),
    }
}

fn list(store: &mut dyn Store, json: bool, context: &mut Context) -> CommandResult<()> {
    let views: Vec<BackfillView> = store.backfills(false)?.into_iter().map(BackfillView::from).collect();
    if json {
        return context.terminal.print_json(&views);
    }
    if views.is_empty() {
        let error = CommandError::not_found("there was no backfill yet");
        return Err(error.hint("`runstone backfill PIPELINE --from KEY --to KEY` makes one"));
    }
    let layout = context.layout();
    context.terminal.print(&table(&views, &layout).render(&layout))
}

fn table(views: &[BackfillView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("BACKFILL"),
        Column::left("PIPELINE").elastic(),
        Column::left("STATE"),
        Column::right("DONE"),
        Column::right("FAILED"),
        Column::right("LIVE"),
        Column::right("OF"),
        Column::left("STARTED"),
    ]);
    for one in views {
        let id = one.id.parse().map(short).unwrap_or_default();
        table.row([
            Cell::styled(id, BOLD),
            one.pipeline.as_str().into(),
            one.state.as_str().into(),
            one.succeeded.to_string().into(),
            one.failed.to_string().into(),
            one.running.to_string().into(),
            one.partitions.to_string().into(),
            Cell::styled(date_time(one.created_at.0, layout.zone), DIM),
        ]);
    }
    table
}

fn set(store: &mut dyn Store, given: &str, state: BackfillState, context: &mut Context) -> CommandResult<()> {
    let all = store.backfills(false)?;
    let fits = |one: &&BackfillRecord| {
        short(one.id).starts_with(given) || one.id.to_string().starts_with(given) || short(one.id).ends_with(given)
    };
    let found: Vec<&BackfillRecord> = all.iter().filter(fits).collect();
    let one = match found.as_slice() {
        [one] => one,
        [] => {
            let error = CommandError::not_found(format!("there is no backfill {given:?}"));
            return Err(error.hint("`runstone backfills` lists them"));
        }
        several => {
            let names: Vec<String> = several.iter().map(|one| short(one.id)).collect();
            return Err(CommandError::usage(format!("{given:?} fits several backfills: {}", names.join(", "))));
        }
    };
    if !store.set_backfill(one.id, state, now())? {
        let message = format!("backfill {} is {}", short(one.id), one.state.as_str());
        return Err(CommandError::new(ErrorKind::Refused, message));
    }
    let live = one.submitted.iter().filter(|item| !item.state.is_terminal()).count();
    context.terminal.print(&format!("backfill {} is {} ({live} runs not over)\n", short(one.id), state.as_str()))
}
