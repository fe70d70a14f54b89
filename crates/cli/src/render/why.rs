//! An explanation for people: what differs, step by step, and at the end what all of it comes from.

use runstone_lineage::diff::FileChange;
use runstone_lineage::packages;
use runstone_lineage::why::{Cause, Explanation, Step, Verdict};

use super::style::{BOLD, DIM, DOUBT, paint};
use super::{count, difference, harmless};

/// How many files or packages are named of one cause.
const NAMED: usize = 8;

/// How a step compares with what stood before, in a few words.
pub(crate) fn verdict(step: &Step) -> String {
    let before = step.before.as_ref().map_or(0, |before| before.run_number);
    match step.verdict {
        Verdict::First => "no earlier run of this step and cell is on record".to_owned(),
        Verdict::Changed => format!("it differs from run #{before}"),
        Verdict::Again => format!("run #{before} asked for the same, but left no result to reuse"),
        Verdict::Repeated => format!("although run #{before} asked for the same"),
        Verdict::Reused => "a result was taken over under other inputs or names".to_owned(),
    }
}

/// The steps below each other, each once, and the first causes.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    let mut drawn = vec![false; explanation.steps.len()];
    // What comes first is drawn first: a stack of steps with their depth and the cause that led there.
    let mut todo = vec![(0, 0, None)];
    while let Some((at, depth, from)) = todo.pop() {
        let Some(step) = explanation.steps.get(at) else { continue };
        let indent = "  ".repeat(depth + 1);
        if let Some(input) = from {
            let input: &str = input;
            let name = format!("#{} {}", step.run_number, step.task);
            let seen = if drawn[at] { "(shown above)".to_owned() } else { verdict(step) };
            out.push_str(&format!("{indent}{} {}: {seen}\n", paint(DIM, &format!("{input} ←")), harmless(&name)));
        }
        if std::mem::replace(&mut drawn[at], true) {
            continue;
        }
        let inner = if from.is_some() { "  ".repeat(depth + 2) } else { indent };
        for cause in &step.causes {
            for line in cause_lines(cause) {
                out.push_str(&format!("{inner}{line}\n"));
            }
        }
        let is_told = |at: usize, cause: &Cause| {
            step.causes[..at].iter().any(|earlier| earlier.explained_by == cause.explained_by)
        };
        let next =
            step.causes.iter().enumerate().rev().filter(|(at, cause)| !is_told(*at, cause)).filter_map(|(_, cause)| {
                Some((cause.explained_by?, depth + usize::from(from.is_some()), Some(cause.difference.name.as_str())))
            });
        todo.extend(next);
    }
    out.push_str(&first_causes(explanation));
    if explanation.partial {
        out.push_str(&format!("  {}\n", paint(DOUBT, "there is more to explain than is shown")));
    }
    out
}

fn cause_lines(cause: &Cause) -> Vec<String> {
    let mut lines: Vec<String> = difference::lines(&cause.difference);
    if let Some(versions) = &cause.versions {
        let names: Vec<&str> = [&versions.old, &versions.new].into_iter().flatten().map(String::as_str).collect();
        if let Some(first) = lines.first_mut() {
            first.push_str(&format!("  {}", paint(DIM, &format!("({})", harmless(&names.join(" → "))))));
        }
    }
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, &format!("{} ", paint(DIM, "•")));
    }
    lines.extend(cause.files.iter().take(NAMED).map(file_line));
    lines.extend(cause.packages.iter().take(NAMED).map(package_line));
    let more = cause.files.len().saturating_sub(NAMED) + cause.packages.len().saturating_sub(NAMED);
    if more > 0 {
        lines.push(format!("    and {}", count(more, "more change")));
    }
    lines
}

/// `    changed: data/a.csv`.
pub(crate) fn file_line(change: &FileChange) -> String {
    let verb = match (&change.old, &change.new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    format!("    file {verb}: {}", harmless(&change.path))
}

fn package_line(change: &packages::Change) -> String {
    let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    format!("    package {}: {} → {}", harmless(&change.name), version(&change.old), version(&change.new))
}

/// Left out where the only cause stands right above.
fn first_causes(explanation: &Explanation) -> String {
    let causes = &explanation.first_causes;
    if explanation.steps.len() < 2 || causes.is_empty() {
        return String::new();
    }
    let mut out = format!("  {}\n", paint(BOLD, if causes.len() == 1 { "first cause" } else { "first causes" }));
    for cause in causes.iter().take(NAMED) {
        let way: Vec<String> = cause.path.iter().rev().map(|step| harmless(step)).collect();
        let way = paint(DIM, &format!("({})", way.join(" → ")));
        out.push_str(&format!("    {} {}  {way}\n", paint(DIM, "•"), harmless(&cause.summary)));
    }
    if causes.len() > NAMED {
        out.push_str(&format!("    and {}\n", count(causes.len() - NAMED, "more")));
    }
    out
}
