//! `runstone plan`: what a run would do about each task, and why.

use runstone_engine::{Decision, Plan, PlannedTask, Site, Why, plan};

use super::run::WhatArgs;
use crate::args::FormatArgs;
use crate::context::{Context, open_store};
use crate::error::CommandResult;
use crate::render::difference;
use crate::render::style::{BAD, BOLD, DIM, GOOD, paint};
use crate::render::{count, harmless};
use runstone_lineage::difference::{Difference, named};

/// How many tasks are listed unless more is asked for.
const LISTED: usize = 100;

/// Show what a run would do about each task, and why
///
/// Nothing is executed and nothing is recorded. The reasons come from the very values that are hashed: what is shown
/// as changed is what makes the difference.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone plan\n  \
    runstone plan pipelines/quickstart\n  \
    runstone plan pipeline.yaml report -p epochs=3\n  \
    runstone plan --json")]
pub(crate) struct Args {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, prepared) = args.what.prepare(context)?;
    let mut store = open_store(&project)?;
    let site = Site::open(project, &prepared.folder, context.variables.clone())?;
    let plan = plan(&site, &prepared, store.as_mut())?;
    if args.format.json {
        return context.terminal.print_json(&plan);
    }
    let limit = if context.terminal.is_verbose() { usize::MAX } else { LISTED };
    context.terminal.print(&render(&plan, limit))
}

fn render(plan: &Plan, limit: usize) -> String {
    let mut out = String::new();
    let width = plan.tasks.iter().take(limit).map(|task| task.task.len()).max().unwrap_or(0).min(40);
    for task in plan.tasks.iter().take(limit) {
        out.push_str(&line(task, width));
    }
    if plan.tasks.len() > limit {
        out.push_str(&format!("… and {} more (-v lists all)\n", count(plan.tasks.len() - limit, "task")));
    }
    out.push_str(&format!("{}\n", summary(plan)));
    out
}

fn line(task: &PlannedTask, width: usize) -> String {
    let name = format!("{:width$}", harmless(&task.task));
    let (word, style, why, more) = match &task.decision {
        Decision::Run { why } => ("run", BOLD, reason(why), details(why)),
        Decision::Reuse { run } => ("reuse", GOOD, format!("the result of run #{run}"), Vec::new()),
        Decision::Skip { reason } => ("skip", DIM, reason.clone(), Vec::new()),
        Decision::Wait { inputs } => ("wait", DIM, format!("for what {} will produce", inputs.join(", ")), Vec::new()),
        Decision::Fail { reason } => ("fail", BAD, reason.clone(), Vec::new()),
    };
    let mut out = format!("{name}  {}  {}\n", paint(style, &format!("{word:5}")), harmless(&why));
    for line in more.iter().flat_map(difference::lines) {
        out.push_str(&format!("{:width$}         {} {line}\n", "", paint(DIM, "•")));
    }
    out
}

pub(crate) fn reason(why: &Why) -> String {
    match why {
        Why::NeverRan => "never ran".to_owned(),
        Why::Forced => "asked for".to_owned(),
        Why::NeverCached => "always executes".to_owned(),
        Why::Expired => "its result is older than its cache allows".to_owned(),
        Why::OutputLost { run } => format!("an output of run #{run} is lost"),
        Why::FailedBefore { run } => format!("asked for the same in run #{run}, without a result to reuse"),
        Why::Changed { run, .. } => format!("changed since run #{run}"),
        Why::NotLocked => "its Python environment is not resolved yet".to_owned(),
    }
}

fn details(why: &Why) -> Vec<Difference> {
    match why {
        Why::Changed { changes, .. } => named(changes.clone()),
        _ => Vec::new(),
    }
}

fn summary(plan: &Plan) -> String {
    let counted = |matches: fn(&Decision) -> bool| plan.tasks.iter().filter(|task| matches(&task.decision)).count();
    let parts = [
        (counted(|it| matches!(it, Decision::Run { .. })), "to run"),
        (counted(|it| matches!(it, Decision::Reuse { .. })), "to reuse"),
        (counted(|it| matches!(it, Decision::Wait { .. })), "waiting for input"),
        (counted(|it| matches!(it, Decision::Skip { .. })), "to skip"),
        (counted(|it| matches!(it, Decision::Fail { .. })), "that cannot be done"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    format!(
        "{}: {}",
        count(plan.tasks.len(), "task"),
        if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
    )
}
