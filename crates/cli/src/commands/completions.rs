//! `runstone completions`: a script that teaches a shell the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::error::CommandResult;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone completions bash > ~/.local/share/bash-completion/completions/runstone\n  \
    runstone completions fish > ~/.config/fish/completions/runstone.fish")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runstone", &mut script);
    context.terminal.print_bytes(&script)
}
