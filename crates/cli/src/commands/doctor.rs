//! `runstone doctor`: what this project uses, where each setting comes from, how much disk it takes, and what is wrong.

use std::path::Path;
use std::process::{Command, Stdio};

use runstone_core::time::Timestamp;
use runstone_engine::project::{Origin, Project};
use runstone_engine::retention;
use runstone_engine::seal;
use runstone_engine::service::{self, Extent};
use runstone_lineage::log;
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, now, open_objects, open_store, store_location};
use crate::disk;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::quantity::size;
use crate::render::retention as wording;
use crate::render::style::{BAD, BOLD, DIM, GOOD, paint};
use crate::render::time::{Zone, date_time};
use crate::render::{count, harmless};

/// Less free space than this is worth a word.
const LITTLE_SPACE: u64 = 1 << 30;
/// How far back the service is looked at.
const DAYS: i64 = 7;
const DAY_US: i64 = 86_400_000_000;
/// Runs that are looked at in detail at most.
const MOST_RUNS: u32 = 5000;

/// Show what the project uses and where settings come from, and look for problems
///
/// Ends with exit code 1 where something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone doctor\n  \
    runstone doctor --all\n  \
    runstone doctor --adopt-restore\n  \
    runstone doctor --json")]
pub(crate) struct Args {
    /// Look at all that schedules and runs have left on record, instead of the last seven days
    #[arg(long)]
    all: bool,
    /// Go on with a database that was restored from a backup: no number it ever gave out is given out again
    #[arg(long)]
    adopt_restore: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Everything that was looked at.
#[derive(Debug, Default, Serialize)]
struct Report {
    facts: Vec<Fact>,
    problems: Vec<String>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Fact {
    section: &'static str,
    name: String,
    value: String,
    /// Where the value comes from, of settings.
    origin: Option<String>,
}

impl Report {
    fn fact(&mut self, section: &'static str, name: &str, value: impl Into<String>) {
        self.facts.push(Fact { section, name: name.to_owned(), value: value.into(), origin: None });
    }

    fn setting(&mut self, name: &str, value: impl Into<String>, origin: &Origin) {
        let origin = Some(origin.to_string());
        self.facts.push(Fact { section: "settings", name: name.to_owned(), value: value.into(), origin });
    }

    fn problem(&mut self, error: &CommandError) {
        let causes = error.causes();
        self.problems.push(std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": "));
    }
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    if args.adopt_restore {
        return adopt_restore(context);
    }
    let mut report = Report::default();
    program(&mut report);
    match find(context) {
        Ok(Some(project)) => {
            settings(&project, context, &mut report);
            store(&project, &mut report);
            key(&project, &mut report);
            disk(&project, &mut report);
            if let Err(error) = service(&project, args.all, &mut report) {
                report.problem(&error);
            }
        }
        Ok(None) => report.fact("project", "root", "none here: nothing was ever run in this folder or above"),
        Err(error) => report.problem(&error),
    }
    if args.format.json {
        context.terminal.print_json(&report)?;
    } else {
        context.terminal.print(&render(&report))?;
    }
    match report.problems.len() {
        0 => Ok(()),
        several => Err(CommandError::new(ErrorKind::Failed, format!("{} found", count(several, "problem")))),
    }
}

/// Accepts a record that lost what it had committed.
fn adopt_restore(context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let line = match service::adopt_restore(&project, store.as_mut())? {
        Some(once) => format!(
            "accepted: what came after was lost, and run #{} and node {} are the last numbers not given out again\n",
            once.runs, once.nodes
        ),
        None => "the database has lost nothing that was seen from here\n".to_owned(),
    };
    context.terminal.print(&line)
}

fn find(context: &Context) -> CommandResult<Option<Project>> {
    let explicit = context.explicit_project.as_deref();
    Ok(Project::find(&context.cwd, explicit, &context.overrides)?)
}

fn program(report: &mut Report) {
    let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    report.fact("program", "runstone", env!("CARGO_PKG_VERSION"));
    report.fact("program", "platform", platform);
    for (tool, needed_for) in
        [("git", "recording commits"), ("python3", "steps in Python"), ("uv", "making Python environments fast")]
    {
        let found = version(tool).unwrap_or_else(|| format!("not found (for {needed_for})"));
        report.fact("program", tool, found);
    }
}

/// The public key, for those who verify what the project exports.
fn key(project: &Project, report: &mut Report) {
    let shown = seal::known_key(project)
        .map_err(CommandError::from)
        .and_then(|key| key.map(|key| Ok(log::verifier_key(project.id(), &key)?.to_string())).transpose());
    match shown {
        Ok(key) => {
            report.fact("log", "signing key", key.unwrap_or_else(|| "none yet: the first run makes it".to_owned()));
        }
        Err(error) => report.problem(&error),
    }
}

/// The first line a tool says about itself.
fn version(tool: &str) -> Option<String> {
    let output = Command::new(tool).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| harmless(text.lines().next().unwrap_or_default()))
}

fn settings(project: &Project, context: &Context, report: &mut Report) {
    let config = project.config();
    report.fact("project", "root", project.root().display().to_string());
    report.fact("project", "name", project.name());
    report.fact("project", "id", project.id().to_string());
    let file = config.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    report.fact("project", "configuration", file);

    // The location is shown instead of the URL: it hides passwords.
    let location = store_location(project);
    let shown = location.as_ref().map_or_else(ToString::to_string, ToString::to_string);
    report.setting("database", shown, &config.database.origin);
    report.setting("jobs", config.jobs.value.to_string(), &config.jobs.origin);
    report.setting("profile_limit", size(config.profile_limit.value), &config.profile_limit.origin);
    report.setting("objects", project.objects_dir().display().to_string(), &config.objects.origin);
    let limit = config.log_limit.value;
    report.setting(
        "log_limit",
        format!("{} head, {} tail", size(limit.head), size(limit.tail)),
        &config.log_limit.origin,
    );
    let pools: Vec<String> = config.pools.value.iter().map(|(name, slots)| format!("{name}: {slots}")).collect();
    report.setting("pools", or_none(&pools), &config.pools.origin);
    let secrets: Vec<String> = config.secrets.value.keys().cloned().collect();
    report.setting("secrets", or_none(&secrets), &config.secrets.origin);
    let allowed: Vec<String> = config.env_allow.value.iter().cloned().collect();
    report.setting("env_allow", or_none(&allowed), &config.env_allow.origin);
    for (name, rule) in wording::rules(&config.retention.value) {
        report.setting(&name, rule, &config.retention.origin);
    }
    let missing = config.secrets.value.keys().filter_map(|name| {
        config.secret(name, project.root(), |variable| context.variables.get(variable).map(Into::into)).err()
    });
    report.problems.extend(missing.map(|error| error.to_string()));
}

fn or_none(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn store(project: &Project, report: &mut Report) {
    let checked = open_store(project).and_then(|mut store| {
        report.fact("store", "record", store.describe());
        Ok(store.check()?)
    });
    match checked {
        Ok(findings) => {
            let state = if findings.is_empty() {
                "agrees with itself".to_owned()
            } else {
                count(findings.len(), "contradiction")
            };
            report.fact("store", "check", state);
            report.problems.extend(findings);
        }
        Err(error) => report.problem(&error),
    }
    match open_objects(project).and_then(|objects| Ok((objects.marker(), objects.usage()?))) {
        Ok((marker, usage)) => {
            report.fact(
                "store",
                "objects",
                format!("{}, marker {marker}", count(usize::try_from(usage.objects).unwrap_or(usize::MAX), "object")),
            );
            report.fact("disk", "objects", size(usage.object_bytes));
            if usage.quarantine_bytes > 0 {
                report.fact("disk", "quarantine", size(usage.quarantine_bytes));
            }
            if usage.temporary_bytes > 0 {
                report.fact("disk", "temporary", size(usage.temporary_bytes));
            }
        }
        Err(error) => report.problem(&error),
    }
}

/// What schedulers, schedules, the queue and runs have left on record, against what must be true of it.
fn service(project: &Project, all: bool, report: &mut Report) -> CommandResult<()> {
    let mut store = open_store(project)?;
    if let Some((once, now)) = service::went_back(project, store.as_mut())? {
        report.problem(&service::ServeError::WentBack { once, now }.into());
    }
    let extent = match all {
        true => Extent::All,
        false => Extent::Since(Timestamp(now().0 - DAYS * DAY_US), MOST_RUNS),
    };
    let (snapshot, since, findings) = service::sweep(store.as_mut(), extent)?;
    let looked_at = [
        count(snapshot.schedules.len(), "schedule"),
        count(snapshot.fires.len(), "fire"),
        count(snapshot.runs.len(), "run"),
        count(snapshot.attempts.len(), "attempt"),
    ];
    let since = since.map_or_else(String::new, |since| format!(" since {}", date_time(since, Zone::Local)));
    let state = if findings.is_empty() { "sound".to_owned() } else { count(findings.len(), "contradiction") };
    report.fact("service", "check", format!("{state} ({}{since})", looked_at.join(", ")));
    let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    // The record's own check may have found it as well.
    let news = findings.into_iter().filter(|finding| !report.problems.contains(finding)).collect::<Vec<_>>();
    report.problems.extend(news);
    Ok(())
}

fn disk(project: &Project, report: &mut Report) {
    let folders = [
        ("runs", project.runs_dir()),
        ("environments", project.envs_dir()),
        ("checkouts", project.trees_dir()),
        ("cache", project.cache_dir()),
    ];
    for (name, path) in folders {
        report.fact("disk", name, size(retention::usage(&path)));
    }
    let database = project.database_path();
    if project.config().database.value.is_none() {
        report.fact("disk", "database", size(database_bytes(&database)));
    }
    if let Some(free) = disk::free(&project.state_dir()) {
        report.fact("disk", "free", size(free));
        if free < LITTLE_SPACE {
            report
                .problems
                .push(format!("only {} of disk are free; `runstone gc --dry-run` says what can go", size(free)));
        }
    }
}

/// The database file with its log.
fn database_bytes(path: &Path) -> u64 {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |metadata| metadata.len())
    };
    with("") + with("-wal")
}

fn render(report: &Report) -> String {
    let mut out = String::new();
    let mut section = "";
    for fact in &report.facts {
        if fact.section != section {
            section = fact.section;
            out.push_str(&format!("{}\n", paint(BOLD, section)));
        }
        let origin = fact.origin.as_ref().map(|origin| format!("  ({})", harmless(origin))).unwrap_or_default();
        out.push_str(&format!("  {:<14} {}{}\n", fact.name, harmless(&fact.value), paint(DIM, &origin)));
    }
    out.push('\n');
    for problem in &report.problems {
        out.push_str(&format!("{} {}\n", paint(BAD, "problem"), harmless(problem)));
    }
    if report.problems.is_empty() {
        out.push_str(&format!("{}\n", paint(GOOD, "no problem found")));
    }
    out
}
