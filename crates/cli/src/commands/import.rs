//! `runstone import`: what other systems say about lineage, put on record as asserted.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use runstone_lineage::import::openlineage::{Report, import};

use crate::args::FormatArgs;
use crate::context::{Context, now, open_objects};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::{count, harmless};

/// Import what other systems say about lineage
///
/// `openlineage`: events of OpenLineage; a JSON object, an array, or one a line. What they say is kept as asserted, apart
/// from what was verified, and shown by `runstone lineage`. Importing again changes nothing. Events that cannot be understood
/// are named and left out; the others are recorded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone import openlineage events.jsonl\n  \
    runstone import openlineage - --json")]
pub(crate) struct Args {
    /// In which format
    #[arg(value_enum, value_name = "FORMAT")]
    from: Format,
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

/// A format to import from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Events of OpenLineage
    #[value(name = "openlineage")]
    OpenLineage,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    let input = open(&args.file)?;
    let report = match args.from {
        Format::OpenLineage => import(&mut *store, &objects, input, now())?,
    };
    if args.format.json {
        context.terminal.print_json(&report)?;
    } else {
        context.terminal.print(&summary(&report))?;
        for failure in &report.failures {
            context.terminal.complain(&format!("line {}: {}\n", failure.line, harmless(&failure.message)));
        }
    }
    if report.failed == 0 {
        return Ok(());
    }
    let failed = format!("{} of {} cannot be understood", report.failed, events(report.received));
    Err(CommandError::new(ErrorKind::Failed, failed).hint("the others are on record; importing again does no harm"))
}

fn open(path: &Path) -> CommandResult<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(CommandError::io(format!("cannot read {}", path.display()), error)),
    }
}

fn events(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "event")
}

fn summary(report: &Report) -> String {
    let Report { received, new, duplicate, failed, without_zone, without_uuid, .. } = report;
    let mut out = format!("{}: {new} new, {duplicate} known already, {failed} failed\n", events(*received));
    if *without_zone > 0 {
        out.push_str(&format!("{} had a time without offset, taken as UTC\n", events(*without_zone)));
    }
    if *without_uuid > 0 {
        out.push_str(&format!("{} had a run id that is no UUID, which got one made of it\n", events(*without_uuid)));
    }
    out
}
