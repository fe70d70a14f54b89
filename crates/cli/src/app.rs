//! From arguments to exit code. Nothing is opened or read before the arguments are understood.

use std::process::ExitCode;

use clap::Parser as _;
use runstone_exec::local::ForkServer;

use crate::args::{Cli, Command};
use crate::commands;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::terminal::Terminal;

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are such errors too. Where they cannot be printed, nobody is there to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ErrorKind::Usage.exit_code()));
        }
    };
    // While this process has one thread and little memory; what exists now is carried by every supervisor of a step.
    let fork_server = cli.command.starts_steps().then(ForkServer::start).transpose();
    let Cli { global, command } = cli;
    let mut terminal = Terminal::new(global.color, global.quiet, global.verbose);
    let context = Context::new(terminal, global.project).and_then(|mut context| {
        context.fork_server = fork_server.map_err(|error| {
            CommandError::new(ErrorKind::Internal, "cannot start the process that starts steps").because(error)
        })?;
        Ok(context)
    });
    let result = match context {
        Ok(mut context) => {
            let result = dispatch(command, &mut context).and_then(|()| context.terminal.flush());
            terminal = context.terminal;
            result
        }
        Err(error) => {
            terminal = Terminal::new(global.color, global.quiet, global.verbose);
            Err(error)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.kind != ErrorKind::BrokenPipe {
                terminal.error(&error);
            }
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn dispatch(command: Command, context: &mut Context) -> CommandResult<()> {
    match command {
        Command::Init(args) => commands::init::run(&args, context),
        Command::Validate(args) => commands::validate::run(&args, context),
        Command::Graph(args) => commands::graph::run(&args, context),
        Command::Plan(args) => commands::plan::run(&args, context),
        Command::Run(args) => commands::run::run(&args, context),
        Command::Resume(args) => commands::resume::run(&args, context),
        Command::Cancel(args) => commands::cancel::run(&args, context),
        Command::Serve(args) => commands::serve::run(&args, context),
        Command::Trigger(args) => commands::trigger::run(&args, context),
        Command::Schedules(args) => commands::schedules::run(&args, context),
        Command::Queue(args) => commands::queue::run(&args, context),
        Command::Backfill(args) => commands::backfill::run(&args, context),
        Command::Backfills(args) => commands::backfills::run(&args, context),
        Command::Partitions(args) => commands::partitions::run(&args, context),
        Command::Runs(args) => commands::runs::run(&args, context),
        Command::Show(args) => commands::show::run(&args, context),
        Command::Logs(args) => commands::logs::run(&args, context),
        Command::Shell(args) => commands::shell::run(&args, context),
        Command::Why(args) => commands::why::run(&args, context),
        Command::Datasets(args) => commands::datasets::run(&args, context),
        Command::Lineage(args) => commands::lineage::run(&args, context),
        Command::Path(args) => commands::path::run(&args, context),
        Command::Impact(args) => commands::impact::run(&args, context),
        Command::Diff(args) => commands::diff::run(&args, context),
        Command::Profile(args) => commands::profile::run(&args, context),
        Command::Search(args) => commands::search::run(&args, context),
        Command::Tag(args) => commands::tag::run(&args, context),
        Command::Checkout(args) => commands::checkout::run(&args, context),
        Command::Metrics(args) => commands::metrics::run(&args, context),
        Command::Export(args) => commands::export::run(&args, context),
        Command::Import(args) => commands::import::run(&args, context),
        Command::Verify(args) => commands::verify::run(&args, context),
        Command::Reproduce(args) => commands::reproduce::run(&args, context),
        Command::Gc(args) => commands::gc::run(&args, context),
        Command::Doctor(args) => commands::doctor::run(&args, context),
        Command::Schema(args) => commands::schema::run(&args, context),
        Command::Completions(args) => commands::completions::run(&args, context),
        Command::ExitCodes(args) => commands::exit_codes::run(&args, context),
    }
}
