//! The command line: the options every command has, and the list of commands. What a command takes stands with it.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::terminal::Color;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs data and machine-learning pipelines, and records exactly what made every dataset version
#[derive(Debug, Parser)]
#[command(
    name = "runstone",
    version,
    styles = STYLES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Runs are named by number (42 or '#42'), by the start of their id, or `latest`.\n\
                  Tasks are named `step`, 'step{lr=0.1}' or '#42/step'.\n\
                  Versions of datasets are named NAME@latest, NAME@v3, NAME@b3:1a2b, NAME@run:42, NAME@TAG,\n\
                  NAME@partition:KEY, and as of a time NAME@2026-11-01T12:00Z.\n\
                  `runstone help COMMAND` shows examples, `runstone help exit-codes` the exit codes."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The project's folder, instead of the one around the current folder
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more detail
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// How a result is printed.
#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commands, in the order people meet them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(commands::init::Args),
    Validate(commands::validate::Args),
    Graph(commands::graph::Args),
    Plan(commands::plan::Args),
    Run(commands::run::Args),
    Resume(commands::resume::Args),
    Cancel(commands::cancel::Args),
    Serve(commands::serve::Args),
    Trigger(commands::trigger::Args),
    Schedules(commands::schedules::Args),
    Queue(commands::queue::Args),
    Backfill(commands::backfill::Args),
    Backfills(commands::backfills::Args),
    Partitions(commands::partitions::Args),
    Runs(commands::runs::Args),
    Show(commands::show::Args),
    Logs(commands::logs::Args),
    Shell(commands::shell::Args),
    Why(commands::why::Args),
    Datasets(commands::datasets::Args),
    Lineage(commands::lineage::Args),
    Path(commands::path::Args),
    Impact(commands::impact::Args),
    Diff(commands::diff::Args),
    Profile(commands::profile::Args),
    Search(commands::search::Args),
    Tag(commands::tag::Args),
    Checkout(commands::checkout::Args),
    Metrics(commands::metrics::Args),
    Export(commands::export::Args),
    Import(commands::import::Args),
    Verify(commands::verify::Args),
    Reproduce(commands::reproduce::Args),
    Gc(commands::gc::Args),
    Doctor(commands::doctor::Args),
    Schema(commands::schema::Args),
    Completions(commands::completions::Args),
    #[command(hide = true)]
    ExitCodes(commands::exit_codes::Args),
}

impl Command {
    /// Whether it starts steps, for which the fork server must be there before anything else is.
    pub(crate) fn starts_steps(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Resume(_) | Self::Serve(_) | Self::Reproduce(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says nothing about itself");
            assert!(examples.contains(&format!("runstone {name}")), "{name} has no example");
        }
    }

    #[test]
    fn the_manual_lists_every_command() {
        let manual = include_str!("../../../docs/cli.md");
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(manual.contains(&format!("\n| `{name}` |")), "docs/cli.md says nothing of {name}");
        }
    }

    /// Every example in the help can be parsed.
    #[test]
    fn the_examples_are_valid() {
        for command in Cli::command().get_subcommands() {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for example in examples.lines().filter_map(|line| line.trim().strip_prefix("runstone ")) {
                let example = example.split("  #").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
                let words = example.split_whitespace().map(|word| word.trim_matches('\''));
                let parsed = Cli::try_parse_from(std::iter::once("runstone").chain(words));
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }
}
