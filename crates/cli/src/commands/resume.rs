//! `runstone resume`: goes on with a run that was interrupted, cancelled or failed.

use runstone_core::record::RunState;
use runstone_core::store::RunFilter;
use runstone_engine::Site;

use super::run::{HowArgs, conclude, on_signals};
use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::report;
use runstone_core::reference::RunRef;
use runstone_lineage::find;

/// Go on with a run that was interrupted, cancelled or failed
///
/// The run keeps its number, its definition, its parameters and what it has pinned. What is finished stays finished;
/// steps that are still running are taken up where they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone resume\n  \
    runstone resume 42\n  \
    runstone resume 42 --jobs 4")]
pub(crate) struct Args {
    /// Which run; the newest that has not succeeded where none is given
    run: Option<RunRef>,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let record = match &args.run {
        Some(which) => find::run(store.as_mut(), Some(which))?,
        None => store
            .runs(&RunFilter { limit: Some(1), ..RunFilter::default() })?
            .into_iter()
            .find(|run| run.state != RunState::Succeeded)
            .ok_or_else(|| CommandError::not_found("the newest run has succeeded, or there is none"))?,
    };
    let (options, jobs) = (args.how.options(), args.how.jobs(&project));
    let folder = project.folder_of(&record.definition_path);
    let site = Site::open(project, &folder, context.variables.clone())?;
    let crew = context.crew(jobs)?;
    let mut reporter = report::reporter(&context.terminal, args.format.json);
    let result = runstone_engine::resume(&site, store, &record, &crew, options, reporter.as_mut(), on_signals);
    drop(reporter);
    conclude(result).map(|_| ())
}
