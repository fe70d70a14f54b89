//! `runstone gc`: gives disk space back that nothing on record needs. The record itself is never touched.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use runstone_core::record::{ContentKind, RunRecord, RunState};
use runstone_core::store::{RunFilter, Store};
use runstone_core::time::micros;
use runstone_engine::project::Project;
use runstone_engine::reproduce::abandoned;
use runstone_exec::objects::{Checkouts, ObjectKind, ObjectStore, remove_folder};
use serde::Serialize;
use uuid::Uuid;

use crate::age::Age;
use crate::args::FormatArgs;
use crate::context::{Context, open_objects};
use crate::disk;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::count;
use crate::render::quantity::size;
use crate::render::style::{DIM, paint};

/// Remove objects that nothing on record names, and folders of old runs with their logs
///
/// Runs that are going on keep everything. History is never removed: lineage, metrics and parameters stay, only logs
/// and leftover bytes go.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone gc --dry-run\n  \
    runstone gc --runs-older-than 7d --keep-runs 5\n  \
    runstone gc --json")]
pub(crate) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Spare objects and scratch folders younger than this: a running step may just have made them
    #[arg(long, default_value = "24h", value_name = "AGE")]
    spare: Age,
    /// Remove folders (with logs) of runs that ended longer ago than this
    #[arg(long, default_value = "30d", value_name = "AGE")]
    runs_older_than: Age,
    /// Always keep the folders of the newest runs
    #[arg(long, default_value_t = 20, value_name = "N")]
    keep_runs: usize,
    /// The objects folder that the configuration names is used by this project alone
    #[arg(long)]
    exclusive: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// What was or would be removed.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    objects: usize,
    object_bytes: u64,
    runs: usize,
    run_bytes: u64,
    scratch: usize,
    scratch_bytes: u64,
    checkouts: u64,
    /// Why objects were left alone, where they were.
    objects_kept_because: Option<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let mut report = Report { dry_run: args.dry_run, ..Report::default() };
    collect_runs(args, &project, &mut *store, &mut report)?;
    collect_scratch(args, &project, &mut report)?;
    if project.config().objects.value.is_some() && !args.exclusive {
        let reason = "others may use the configured objects folder as well; --exclusive says that nobody does";
        report.objects_kept_because = Some(reason.to_owned());
    } else {
        let objects = open_objects(&project)?;
        collect_objects(args, &mut *store, &objects, &mut report)?;
        if !args.dry_run {
            report.checkouts = Checkouts::open(&project.trees_dir())?.tidy(args.spare.0)?;
            objects.tidy(args.spare.0)?;
        }
    }
    if args.format.json {
        return context.terminal.print_json(&report);
    }
    context.terminal.print(&render(&report))
}

/// Removes objects that nothing on record needs and that nobody just made.
///
/// Objects are listed before the record is read: what is recorded in between is spared by its age, and what the record
/// names is looked up after it was listed.
fn collect_objects(
    args: &Args,
    store: &mut dyn Store,
    objects: &ObjectStore,
    report: &mut Report,
) -> CommandResult<()> {
    let now = SystemTime::now();
    let is_old = |changed: SystemTime| now.duration_since(changed).is_ok_and(|age| age >= args.spare.0);
    let mut candidates = Vec::new();
    for info in objects.list() {
        let info = info?;
        if is_old(info.changed) {
            candidates.push(info);
        }
    }
    let mut needed: HashSet<ContentHash> = HashSet::new();
    for root in store.objects()?.into_iter().filter(|root| !root.evicted) {
        let kind = match root.kind {
            ContentKind::File => ObjectKind::File,
            ContentKind::Dir => ObjectKind::Tree,
        };
        needed.insert(root.hash);
        // What a folder that cannot be read would need is not known, so nothing may be removed.
        objects
            .reach(root.hash, kind, &mut |reached| Ok(needed.insert(reached.hash) || reached.hash == root.hash))
            .map_err(|error| {
                CommandError::new(ErrorKind::Refused, "objects cannot be collected while a folder on record is damaged")
                    .because(error)
                    .hint("`runstone verify` names it; running its step again makes it anew")
            })?;
    }
    for info in candidates.into_iter().filter(|info| !needed.contains(&info.hash)) {
        if !args.dry_run && !objects.remove(info.hash)? {
            continue;
        }
        report.objects += 1;
        report.object_bytes += info.size;
    }
    Ok(())
}

/// Removes folders of runs that are over for long, and of runs that never came to be.
fn collect_runs(args: &Args, project: &Project, store: &mut dyn Store, report: &mut Report) -> CommandResult<()> {
    // The folders are listed first, so that a run which begins now is not taken for one without a record.
    let folders = run_folders(&project.runs_dir())?;
    let runs = store.runs(&RunFilter::default())?;
    let now = crate::context::now();
    let keep_us = micros(args.runs_older_than.0);
    let kept = |(position, run): (usize, RunRecord)| {
        let is_recent = position < args.keep_runs || run.ended.is_none_or(|ended| now.since(ended) < keep_us);
        (run.id.0, is_recent || run.state == RunState::Running)
    };
    let known: HashMap<Uuid, bool> = runs.into_iter().enumerate().map(kept).collect();
    for (id, path) in folders {
        let is_young = || age(&path).is_none_or(|age| age < args.spare.0);
        if known.get(&id).copied().unwrap_or_else(is_young) {
            continue;
        }
        report.runs += 1;
        report.run_bytes += disk::usage(&path);
        if !args.dry_run {
            std::fs::remove_dir_all(&path)
                .map_err(|error| CommandError::io(format!("cannot remove {}", path.display()), error))?;
        }
    }
    Ok(())
}

/// Removes scratch folders that `reproduce` left behind, because it was killed or asked to keep them.
fn collect_scratch(args: &Args, project: &Project, report: &mut Report) -> CommandResult<()> {
    let left = abandoned(project, args.spare.0)
        .map_err(|error| CommandError::io(format!("cannot list {}", project.scratch_dir().display()), error))?;
    for folder in left {
        report.scratch += 1;
        report.scratch_bytes += disk::usage(&folder);
        if !args.dry_run {
            remove_folder(&folder)?;
        }
    }
    Ok(())
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(path.metadata().ok()?.modified().ok()?).ok()
}

fn run_folders(folder: &Path) -> CommandResult<Vec<(Uuid, PathBuf)>> {
    let failed = |error| CommandError::io(format!("cannot list {}", folder.display()), error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // Whatever is not named like a run is not ours.
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            folders.push((id, entry.path()));
        }
    }
    Ok(folders)
}

fn render(report: &Report) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut out = format!(
        "{verb} {} ({})\n{verb} {} ({})\n",
        count(report.objects, "object"),
        size(report.object_bytes),
        count(report.runs, "run folder"),
        size(report.run_bytes),
    );
    if report.scratch > 0 {
        let folders = count(report.scratch, "scratch folder");
        out.push_str(&format!("{verb} {folders} ({})\n", size(report.scratch_bytes)));
    }
    if report.checkouts > 0 {
        out.push_str(&format!(
            "{verb} {}\n",
            count(usize::try_from(report.checkouts).unwrap_or(usize::MAX), "unused checkout")
        ));
    }
    if let Some(reason) = &report.objects_kept_because {
        out.push_str(&format!("{}\n", paint(DIM, &format!("objects were left alone: {reason}"))));
    }
    out
}
