//! `runstone backfill`: runs for many partitions, a few at a time.

use std::num::NonZeroU32;

use runstone_core::service::record::NewBackfill;
use runstone_engine::{Home, Site, environment, submission};
use serde::Serialize;
use uuid::Uuid;

use super::partitions::{RangeArgs, partitioned, summary, table};
use super::trigger::somebody_serves;
use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult};
use crate::render::count;
use crate::view::{Ledger, PartitionView};

/// Run a pipeline for many partitions, a few at a time
///
/// First the plan is shown: how far each partition is. Those that are missing, stale, failed or cancelled are then put
/// in the queue of the schedulers, in order; what is done and fresh is left alone. A backfill survives restarts;
/// `runstone backfills` shows, pauses, resumes and cancels them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone backfill tickets --from 2026-01-01 --to 2026-01-31\n  \
    runstone backfill tickets --from 2026-01-01 --to 2026-01-31 --dry-run\n  \
    runstone backfill tickets --from 2026-01-01 --parallel 4 --rerun")]
pub(crate) struct Args {
    /// Name of the pipeline
    pipeline: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Runs at once
    #[arg(long, value_name = "N", default_value = "2")]
    parallel: NonZeroU32,
    /// All partitions of the range, everything executed, also what could be reused
    #[arg(long)]
    rerun: bool,
    /// Goes before runs with a smaller number
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
    /// Show the plan and stop
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// What was planned and, unless it was only asked for, begun.
#[derive(Debug, Serialize)]
struct BackfillPlan {
    id: Option<String>,
    partitions: Vec<PartitionView>,
    chosen: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let asked = environment::ask(project.root(), &context.variables, env!("CARGO_PKG_VERSION"));
    let (definition, pipeline, parts) = partitioned(store.as_mut(), &args.pipeline, &Home::of(&project), context)?;
    let keys = args.range.keys(&parts, now())?;
    let folder = project.folder_of(&definition.path);
    let site = Site::open(project, &folder, context.variables.clone())?;
    let ledger = Ledger::read(&site, definition, &args.pipeline, store.as_mut())?;
    let views =
        keys.iter().map(|key| ledger.look_at(key, !args.rerun, store.as_mut())).collect::<CommandResult<Vec<_>>>()?;
    let chosen: Vec<String> =
        views.iter().filter(|one| args.rerun || one.state.is_open()).map(|one| one.partition.clone()).collect();
    if !args.format.json {
        let layout = context.layout();
        let text = format!("{}{}; {} to run\n", table(&views).render(&layout), summary(&views), chosen.len());
        context.terminal.print(&text)?;
    }
    let mut plan = BackfillPlan { id: None, partitions: views, chosen: chosen.clone() };
    if !args.dry_run && !chosen.is_empty() {
        let first = keys.first().ok_or_else(|| CommandError::not_found("there is no partition"))?;
        let mut prepared = ledger
            .prepare(first, &Home::of(&site.project))
            .map_err(|error| crate::definition::refused(error, args.pipeline.as_ref(), &mut context.terminal))?;
        prepared.request.no_reuse = args.rerun;
        let id = Uuid::now_v7();
        let mut template = submission(&site, &prepared, false, &format!("backfill {}", short(id)), asked.wait());
        template.partition = None;
        template.priority = args.priority.unwrap_or(pipeline.priority);
        template.backfill = Some(id);
        let backfill = NewBackfill { id, partitions: chosen, parallel: args.parallel.get(), template };
        store.create_backfill(&backfill, now())?;
        plan.id = Some(id.to_string());
        if !args.format.json {
            let runs = count(backfill.partitions.len(), "run");
            let line = format!("backfill {}: {runs}, {} at a time\n", short(id), args.parallel);
            context.terminal.print(&line)?;
            if !somebody_serves(store.as_mut())? {
                context.terminal.note("no scheduler is alive; it begins when `runstone serve` does");
            }
        }
    }
    if args.format.json {
        context.terminal.print_json(&plan)?;
    }
    Ok(())
}

/// The last digits of an identity, which differ between two made in the same moment.
pub(crate) fn short(id: Uuid) -> String {
    id.simple().to_string().split_off(20)
}
