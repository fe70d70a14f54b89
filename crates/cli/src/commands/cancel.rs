//! `runstone cancel`: asks the owner of a run to end it. The owner does; this command only leaves the request.

use runstone_core::service::record::SubmissionState;

use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult, ErrorKind};
use runstone_core::reference::RunRef;
use runstone_lineage::find;

/// Ask a run to end
///
/// Running steps get TERM, then KILL when their grace period is over. The request is kept: a run whose process has
/// died is ended by it as soon as somebody resumes it. One that waits in the queue is taken out of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone cancel latest\n  \
    runstone cancel 42 --now")]
pub(crate) struct Args {
    /// Which run
    run: RunRef,
    /// KILL steps at once
    #[arg(long)]
    now: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    // A run that waits in the queue has no row of its own yet.
    let newest = store.run(&args.run)?.map(|run| run.number);
    let submission = store.submission(&args.run)?;
    let submission = submission.filter(|one| one.run_state.is_none() && newest.is_none_or(|run| run < one.number));
    let (id, number) = match &submission {
        Some(one) => (one.run, one.number),
        None => {
            let run = find::run(&mut *store, Some(&args.run))?;
            (run.id, run.number)
        }
    };
    if !store.request_cancel(id, args.now, now())? {
        let which = RunRef::Number(number);
        let state = match (store.run(&which)?, store.submission(&which)?) {
            (Some(run), _) => run.state.as_str(),
            (None, Some(one)) => one.state.as_str(),
            (None, None) => "gone",
        };
        return Err(CommandError::new(ErrorKind::Refused, format!("run #{number} is over: {state}")));
    }
    if submission.is_some_and(|one| one.state == SubmissionState::Queued) {
        context.terminal.note(format_args!("run #{number} is taken out of the queue"));
    } else {
        context.terminal.note(format_args!("asked run #{number} to end"));
    }
    Ok(())
}
