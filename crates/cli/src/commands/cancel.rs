//! `runstone cancel`: asks the owner of a run to end it. The owner does; this command only leaves the request.

use runstone_core::record::RunState;

use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::reference::RunArg;
use crate::view;

/// Ask a run to end
///
/// Running steps get TERM, then KILL when their grace period is over. The request is kept: a run whose process has
/// died is ended by it as soon as somebody resumes it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone cancel latest\n  \
    runstone cancel 42 --now")]
pub(crate) struct Args {
    /// Which run
    run: RunArg,
    /// KILL steps at once
    #[arg(long)]
    now: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let run = view::run::find(&mut *store, Some(&args.run))?;
    let number = run.number;
    if run.state != RunState::Running || !store.request_cancel(run.id, args.now, now())? {
        let state = store.run(&runstone_core::store::RunRef::Number(number))?.map_or(run.state, |run| run.state);
        let message = format!("run #{number} is over: {}", state.as_str());
        return Err(CommandError::new(ErrorKind::Refused, message));
    }
    context.terminal.note(format_args!("asked run #{number} to end"));
    Ok(())
}
