//! `runstone gc`: gives disk space back by the rules of the project. Lineage is never touched.

use std::time::{Duration, Instant};

use runstone_core::reference::DatasetRef;
use runstone_core::retention::Rules;
use runstone_engine::project::Project;
use runstone_engine::retention::{self, EvictedVersion, Options, Progress, Report};
use runstone_lineage::find;
use serde::Serialize;

use crate::age::Age;
use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::CommandResult;
use crate::render::quantity::size;
use crate::render::retention::decision;
use crate::render::style::{DIM, paint};
use crate::render::{count, harmless};

/// How often it is said how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Give disk space back: bytes that rules give up, objects that nothing on record names, old logs and events
///
/// `retention:` in runstone.yaml says what is kept; without it no version is given up. Runs that are going on keep
/// everything. History is never removed: lineage, metrics and parameters stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone gc --dry-run\n  \
    runstone gc --explain tickets/features@v3\n  \
    runstone gc --runs-older-than 7d --keep-runs 5\n  \
    runstone gc --json")]
pub(crate) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Only say which rule keeps a version, or gives it up
    #[arg(long, value_name = "NAME[@VERSION]", conflicts_with = "dry_run")]
    explain: Option<DatasetRef>,
    /// Spare objects that nothing names and that are younger than this
    #[arg(long, default_value = "24h", value_name = "AGE")]
    spare: Age,
    /// Remove folders (with logs) of runs that ended longer ago than this, whatever the rule is
    #[arg(long, value_name = "AGE")]
    runs_older_than: Option<Age>,
    /// Always keep the folders of so many of the newest runs, whatever the rule is
    #[arg(long, value_name = "N")]
    keep_runs: Option<usize>,
    /// The objects folder that the configuration names is used by this project alone
    #[arg(long)]
    exclusive: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let mut rules = project.config().retention.value.clone();
    if let Some(age) = args.runs_older_than {
        rules.logs.older_than = Some(age.0);
    }
    rules.logs.keep_runs = args.keep_runs.unwrap_or(rules.logs.keep_runs);
    if let Some(dataset) = &args.explain {
        return explain(args, context, &project, &rules, dataset);
    }
    let options = Options { dry_run: args.dry_run, spare: args.spare.0, exclusive: args.exclusive };
    let mut told = Instant::now();
    let terminal = &mut context.terminal;
    let report = retention::clean_up(&project, &rules, &mut *store, options, &mut |progress| {
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            terminal.note(said(progress));
        }
    })?;
    if args.format.json {
        return context.terminal.print_json(&GcView::from(&report));
    }
    context.terminal.print(&render(&report))
}

fn said(progress: Progress) -> String {
    match progress {
        Progress::Reading => "reading what is there".to_owned(),
        Progress::GivenUp { done, total } => format!("{done} of {} looked at", count(total, "content")),
        Progress::Removed { done, total } => format!("{done} of {} looked at", count(total, "unneeded object")),
        Progress::Events(done) => format!("{done} events removed"),
    }
}

/// What is decided about a version, and why.
#[derive(Debug, Serialize)]
struct ExplanationView {
    dataset: String,
    version: i64,
    hash: String,
    /// The rule that is about it.
    rule: Option<String>,
    /// In one word.
    decision: &'static str,
    explanation: String,
}

fn explain(
    args: &Args,
    context: &mut Context,
    project: &Project,
    rules: &Rules,
    dataset: &DatasetRef,
) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let found = find::versions(&mut *store, dataset)?;
    let (facts, plan) = retention::decide(project, rules, &mut *store)?;
    let zone = context.layout().zone;
    let is_meant = |name: &str, number: i64| found.iter().any(|it| it.dataset == name && it.version == number);
    let meant = plan.verdicts.iter().filter(|it| is_meant(&facts.datasets[it.dataset], it.version));
    let views: Vec<ExplanationView> = meant
        .map(|verdict| {
            let (decision, explanation) = decision(&verdict.decision, &facts, zone);
            ExplanationView {
                dataset: facts.datasets[verdict.dataset].clone(),
                version: verdict.version,
                hash: verdict.hash.to_string(),
                rule: verdict.rule.map(|at| rules.objects[at].datasets.to_string()),
                decision,
                explanation,
            }
        })
        .collect();
    if args.format.json {
        return context.terminal.print_json(&views);
    }
    let line = |view: &ExplanationView| {
        let rule = view.rule.as_ref().map(|rule| paint(DIM, &format!("  (rule for {})", harmless(rule))));
        let name = harmless(&view.dataset);
        format!("{name}@v{}  {}{}\n", view.version, harmless(&view.explanation), rule.unwrap_or_default())
    };
    context.terminal.print(&views.iter().map(line).collect::<String>())
}

/// What was or would be removed.
#[derive(Debug, Serialize)]
struct GcView<'r> {
    dry_run: bool,
    /// Bytes that are free by all of it.
    freed_bytes: u64,
    /// All objects, whatever gave them up.
    objects: u64,
    object_bytes: u64,
    rules: Vec<RuleView<'r>>,
    evicted: &'r [EvictedVersion],
    checkouts: u64,
    checkout_bytes: u64,
    temporary_bytes: u64,
    runs: u64,
    run_bytes: u64,
    scratch: u64,
    scratch_bytes: u64,
    event_runs: u64,
    events: u64,
    /// Why objects were left alone, where they were.
    objects_kept_because: Option<&'r str>,
}

/// What a rule gave up.
#[derive(Debug, Serialize)]
struct RuleView<'r> {
    r#match: &'r str,
    contents: u64,
    objects: u64,
    object_bytes: u64,
}

impl<'r> From<&'r Report> for GcView<'r> {
    fn from(report: &'r Report) -> Self {
        let objects = report.objects();
        let rules = report.rules.iter().map(|rule| RuleView {
            r#match: &rule.r#match,
            contents: rule.contents,
            objects: rule.objects.count,
            object_bytes: rule.objects.bytes,
        });
        Self {
            dry_run: report.dry_run,
            freed_bytes: report.freed_bytes,
            objects: objects.count,
            object_bytes: objects.bytes,
            rules: rules.collect(),
            evicted: &report.evicted,
            checkouts: report.checkouts.count,
            checkout_bytes: report.checkouts.bytes,
            temporary_bytes: report.temporary_bytes,
            runs: report.runs.count,
            run_bytes: report.runs.bytes,
            scratch: report.scratch.count,
            scratch_bytes: report.scratch.bytes,
            event_runs: report.event_runs,
            events: report.events,
            objects_kept_because: report.objects_kept_because.as_deref(),
        }
    }
}

fn render(report: &Report) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let many = |n: u64, what: &str| count(usize::try_from(n).unwrap_or(usize::MAX), what);
    let mut out = String::new();
    for rule in report.rules.iter().filter(|rule| rule.contents > 0) {
        let versions = report.evicted.len();
        let of = if report.rules.len() == 1 { count(versions, "version") } else { many(rule.contents, "content") };
        let objects = many(rule.objects.count, "object");
        out.push_str(&format!(
            "{verb} {objects} ({}): {of} of {}\n",
            size(rule.objects.bytes),
            harmless(&rule.r#match)
        ));
    }
    for (what, amount) in [
        ("unneeded object", report.unneeded),
        ("run folder", report.runs),
        ("unused checkout", report.checkouts),
        ("scratch folder", report.scratch),
    ] {
        let always = matches!(what, "unneeded object" | "run folder");
        if always || amount.count > 0 {
            out.push_str(&format!("{verb} {} ({})\n", many(amount.count, what), size(amount.bytes)));
        }
    }
    if report.events > 0 {
        out.push_str(&format!("{verb} {} of {}\n", many(report.events, "event"), many(report.event_runs, "run")));
    }
    if let Some(reason) = &report.objects_kept_because {
        out.push_str(&format!("{}\n", paint(DIM, &format!("objects were left alone: {reason}"))));
    }
    out
}
