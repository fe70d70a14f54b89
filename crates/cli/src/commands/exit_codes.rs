//! `runstone exit-codes`, which `runstone help exit-codes` shows as well.

use crate::context::Context;
use crate::error::{CommandResult, EXIT_CODES};

/// What the exit codes mean
#[derive(Debug, clap::Args)]
#[command(after_help = exit_codes())]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &mut Context) -> CommandResult<()> {
    context.terminal.print(&format!("{}\n", exit_codes()))
}

fn exit_codes() -> String {
    let lines: Vec<String> = EXIT_CODES.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}")).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}
