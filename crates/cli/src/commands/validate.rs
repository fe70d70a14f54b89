//! `runstone validate`: everything that is wrong with pipeline files, all at once.

use std::path::PathBuf;

use serde_json::json;

use crate::args::FormatArgs;
use crate::context::Context;
use crate::definition::{self, DefinitionArgs};
use crate::error::CommandResult;
use crate::render::count;

/// Check pipeline files and show everything that is wrong with them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone validate pipeline.yaml\n  \
    runstone validate pipelines/a.yaml pipelines/b.yaml --json\n  \
    runstone validate pipeline.yaml --overlay prod.yaml")]
pub(crate) struct Args {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    definition: DefinitionArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let mut invalid = Vec::new();
    let mut reports = Vec::new();
    for file in &args.files {
        let loaded = definition::load(file, &args.definition, context)?;
        let errors = definition::errors(&loaded.diagnostics, loaded.hidden);
        if loaded.pipeline.is_none() {
            invalid.push((file.clone(), errors));
        }
        if args.format.json {
            let diagnostics: Vec<_> = loaded.diagnostics.iter().map(|it| it.to_json(&loaded.sources)).collect();
            let steps = loaded.pipeline.as_ref().map(|pipeline| pipeline.steps.len());
            reports.push(json!({
                "file": file,
                "valid": loaded.pipeline.is_some(),
                "steps": steps,
                "diagnostics": diagnostics,
                "hidden_diagnostics": loaded.hidden,
            }));
            continue;
        }
        definition::show(&loaded, &mut context.terminal);
        if let Some(pipeline) = &loaded.pipeline {
            let steps = count(pipeline.steps.len(), "step");
            context.terminal.note(format_args!("{} is valid: {} with {steps}", file.display(), pipeline.name));
        }
    }
    if args.format.json {
        context.terminal.print_json(&reports)?;
    }
    if invalid.is_empty() { Ok(()) } else { Err(definition::invalid(&invalid)) }
}
