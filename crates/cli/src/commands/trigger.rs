//! `runstone trigger`: puts a run of a known pipeline into the queue.

use runstone_core::service::record::{NewSubmission, SchedulerState, SubmissionRecord};
use runstone_core::store::Store;
use runstone_engine::{Definition, Home, Site, Wish, environment, prepare_with, submission};

use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult};
use crate::view::SubmissionView;

/// Put a run of a pipeline into the queue of the schedulers
///
/// The pipeline is one that a scheduler knows; `runstone run FILE --detach` submits any file. Asking twice with the
/// same --key is asking once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone trigger tickets\n  \
    runstone trigger tickets -p epochs=3 --partition 2026-01-05\n  \
    runstone trigger tickets --key order-4711 --json")]
pub(crate) struct Args {
    /// Name of the pipeline
    pipeline: String,
    /// Set a parameter; may be given several times
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// Which partition, where the pipeline has some
    #[arg(long, value_name = "KEY")]
    partition: Option<String>,
    /// Goes before runs with a smaller number (default: that of the pipeline)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
    /// Execute everything, also what could be reused
    #[arg(long)]
    no_reuse: bool,
    /// Asking again with the same key gives the same run
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let asked = environment::ask(project.root(), &context.variables, env!("CARGO_PKG_VERSION"));
    let (known, text) = known(store.as_mut(), &args.pipeline)?;
    let wish = Wish {
        selection: runstone_core::select::Request { no_reuse: args.no_reuse, ..Default::default() },
        ..Wish::default()
    };
    let definition =
        Definition { text, path: known.definition_path.into(), overlays: Vec::new(), allow_unsupported: false };
    let partition = args.partition.as_deref();
    let assignments: Vec<&str> = args.param.iter().map(String::as_str).collect();
    let prepared = prepare_with(
        definition,
        &indexmap::IndexMap::new(),
        &assignments,
        wish.selection,
        partition,
        &Home::of(&project),
    )
    .map_err(|error| crate::definition::refused(error, args.pipeline.as_ref(), &mut context.terminal))?;
    let site = Site::open(project, &prepared.folder, context.variables.clone())?;
    let mut new = submission(&site, &prepared, false, "manual", asked.wait());
    new.priority = args.priority.unwrap_or(new.priority);
    new.key.clone_from(&args.key);
    submit(store.as_mut(), &new, args.format.json, context)
}

/// A pipeline that schedulers know, and its text.
pub(crate) fn known(
    store: &mut dyn Store,
    name: &str,
) -> CommandResult<(runstone_core::service::record::PipelineRecord, String)> {
    let pipelines = store.pipelines()?;
    let names: Vec<&str> = pipelines.iter().filter(|one| one.active).map(|one| one.pipeline.as_str()).collect();
    let Some(found) = pipelines.iter().find(|one| one.active && one.pipeline == name) else {
        let hint = if names.is_empty() {
            "schedulers know none; `runstone serve --pipelines DIR` reads them".to_owned()
        } else {
            format!("schedulers know {}", names.join(", "))
        };
        return Err(CommandError::not_found(format!("there is no pipeline {name:?}")).hint(hint));
    };
    let text = store.definition(&found.definition)?.ok_or_else(|| {
        CommandError::not_found(format!("the definition of pipeline {name:?} is missing from the database"))
    })?;
    Ok((found.clone(), text))
}

/// Puts a run into the queue and says so.
pub(crate) fn submit(
    store: &mut dyn Store,
    new: &NewSubmission,
    json: bool,
    context: &mut Context,
) -> CommandResult<()> {
    let record: SubmissionRecord = store.submit(new, now())?;
    if json {
        context.terminal.print_json(&SubmissionView::from(&record))?;
    } else {
        let line = if record.run == new.run {
            format!("run #{} is queued\n", record.number)
        } else {
            format!("run #{} was asked for with this key before; it is {}\n", record.number, record.state.as_str())
        };
        context.terminal.print(&line)?;
    }
    if !record.state.is_terminal() && !somebody_serves(store)? {
        context.terminal.note("no scheduler is alive; the run begins when `runstone serve` does");
    }
    Ok(())
}

/// Whether a scheduler would take the run.
pub(crate) fn somebody_serves(store: &mut dyn Store) -> CommandResult<bool> {
    Ok(store.schedulers(0)?.iter().any(|one| one.state == SchedulerState::Active && !one.expired))
}
