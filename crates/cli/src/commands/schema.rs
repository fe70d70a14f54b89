//! `runstone schema`: the JSON Schema of the language, and its reference page.

use crate::context::Context;
use crate::error::CommandResult;

/// Print the JSON Schema of pipeline files, for editors
///
/// An editor with a YAML language server uses it after a first line
/// `# yaml-language-server: $schema=./pipeline.schema.json`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone schema > pipeline.schema.json\n  \
    runstone schema --markdown > language.md")]
pub(crate) struct Args {
    /// Print the reference of all fields instead, as Markdown
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    if args.markdown {
        return context.terminal.print(&runstone_core::spec::reference());
    }
    context.terminal.print_json(&runstone_core::spec::schema())
}
