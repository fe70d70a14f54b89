//! Verifying an export: from its folder alone.

use std::path::Path;

use runstone_core::log::note::NoteKey;
use runstone_lineage::archive::{self, ArchiveReport, Trust};

use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::quantity::size;
use crate::render::style::{BAD, BOLD, DOUBT, paint};
use crate::render::{count, harmless};

pub(super) fn verify(
    folder: &Path,
    keys: &[NoteKey],
    checkpoint: Option<String>,
    json: bool,
    context: &mut Context,
) -> CommandResult<()> {
    let report = archive::verify(folder, &Trust { keys: keys.to_vec(), checkpoint })?;
    if json {
        context.terminal.print_json(&report)?;
    } else {
        context.terminal.print(&text(&report))?;
    }
    match report.findings.first() {
        None => Ok(()),
        Some(first) => {
            let message = format!("the first thing that does not fit: {} {}", first.subject, first.message);
            Err(CommandError::new(ErrorKind::Failed, harmless(&message)))
        }
    }
}

fn text(report: &ArchiveReport) -> String {
    let mut out = String::new();
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(manifest) = &report.manifest {
        out.push_str(&format!(
            "export of {} made {}\n",
            paint(BOLD, &harmless(&manifest.project)),
            harmless(&manifest.created)
        ));
        for version in &manifest.versions {
            out.push_str(&format!("  {}  {}\n", harmless(&version.name), harmless(&version.hash)));
        }
        out.push_str(&format!("signed by {}\n", harmless(&manifest.key)));
        if !report.key_is_known {
            let doubt =
                "this key is what the export itself brings: compare it with one you know, or give that with --key";
            out.push_str(&format!("  {}\n", paint(DOUBT, doubt)));
        }
    }
    let verdict = if report.findings.is_empty() { ": all of it fits" } else { "" };
    out.push_str(&format!(
        "{}, {}, {}{verdict}\n",
        count(number(report.statements), "statement"),
        count(number(report.objects), "object"),
        size(report.bytes)
    ));
    for finding in &report.findings {
        let message = format!("{} {}", finding.subject, finding.message);
        out.push_str(&format!("{} {}\n", paint(BAD, finding.kind), harmless(&message)));
    }
    out
}
