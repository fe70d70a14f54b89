//! `runstone verify`: whether the bytes that the record names are there and are what it says, and whether the record
//! agrees with itself.

mod export;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use runstone_core::hash::ContentHash;
use runstone_core::log::checkpoint::{Checkpoint, CheckpointError};
use runstone_core::log::note::{Note, NoteKey};
use runstone_core::record::{ContentKind, MaterializationRecord};
use runstone_core::reference::{DatasetRef, ParseRefError};
use runstone_core::store::{Store, StoreError, StoredObject};
use runstone_engine::project::Project;
use runstone_engine::seal::{self, SealError};
use runstone_exec::objects::{ObjectError, ObjectKind, ObjectStore, Presence};
use runstone_lineage::archive;
use runstone_lineage::log::{self, LogReport};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, open_objects};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::quantity::size;
use crate::render::style::{BAD, paint};
use crate::render::{count, harmless};
use runstone_lineage::{find, view};

/// How many datasets are named that hold a damaged object.
const NAMED: u32 = 5;

/// Check that everything is as it was: stored objects, the record, the signed log; or an export, by itself
///
/// Objects are hashed again; damaged ones are put into quarantine, so that nothing reuses them, and running their step
/// again makes them anew. What attempts stated when they came into the log is made again from the record and compared, and the
/// log with its signed checkpoints. Given the folder of an export, that alone is verified, without a database. Ends with exit code 1
/// where anything is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone verify\n  \
    runstone verify tickets/model@v3\n  \
    runstone verify --log --checkpoint kept.note\n  \
    runstone verify model-v3.export --checkpoint kept.note\n  \
    runstone verify --json")]
pub(crate) struct Args {
    /// Only the objects of this version, or an export; everything where nothing is named
    #[arg(value_name = "NAME[@VERSION]|FOLDER")]
    what: Option<String>,
    /// Only the log and what it states
    #[arg(long, conflicts_with = "what")]
    log: bool,
    /// A key that is known to be the project's (`runstone doctor` shows it); may be repeated
    #[arg(long, value_name = "KEY")]
    key: Vec<NoteKey>,
    /// A checkpoint of earlier that was kept elsewhere: the log must have gone on from it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    objects: usize,
    bytes: u64,
    /// What was looked at of the log; none where only a version was asked about.
    log: Option<LogReport>,
    /// Versions that were asked about and have no bytes, because they were given up by a rule.
    evicted: Vec<String>,
    findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    /// `missing`, `damaged`, `record`, or a kind of finding about the log.
    kind: &'static str,
    hash: Option<String>,
    message: String,
    /// Versions that hold the object.
    versions: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    if let Some(folder) = args.what.as_ref().map(Path::new).filter(|path| archive::is_one(path)) {
        let checkpoint = args.checkpoint.as_deref().map(read_text).transpose()?;
        return export::verify(folder, &args.key, checkpoint, args.format.json, context);
    }
    if args.checkpoint.is_some() && args.what.is_some() {
        return Err(CommandError::usage("--checkpoint is about the log: give the folder of an export, or no name"));
    }
    let dataset: Option<DatasetRef> = match &args.what {
        Some(text) => Some(text.parse().map_err(|error: ParseRefError| CommandError::usage(error.to_string()))?),
        None => None,
    };
    let (project, mut store) = context.open()?;
    let mut report = Report::default();
    if !args.log {
        let objects = open_objects(&project)?;
        let roots: Vec<StoredObject> = match &dataset {
            None => store.objects()?.into_iter().filter(|object| !object.evicted).collect(),
            Some(dataset) => {
                let all = find::versions(&mut *store, dataset)?;
                let gone = store.evicted(&all.iter().map(|it| it.hash).collect::<Vec<_>>())?;
                let (evicted, stored): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| gone.contains(&it.hash));
                report.evicted.extend(evicted.iter().map(|it| view::reference(&it.dataset, &it.subset, it.version)));
                let object = |it: MaterializationRecord| StoredObject {
                    hash: it.hash,
                    kind: it.kind,
                    size: it.size,
                    evicted: false,
                };
                stored.into_iter().map(object).collect()
            }
        };
        let all = reachable(&objects, &roots, &mut report)?;
        report.objects = all.len();
        hash_again(&objects, &all, &mut report)?;
        for finding in &mut report.findings {
            finding.versions = versions_of(&mut *store, finding.hash.as_deref())?;
        }
    }
    let mut hints = Vec::new();
    if dataset.is_none() {
        hints = check_record(args, &project, &mut *store, &mut report)?;
    }
    if args.format.json {
        context.terminal.print_json(&report)?;
    } else {
        context.terminal.print(&render(&report))?;
    }
    match report.findings.len() {
        0 => Ok(()),
        several => {
            let error = CommandError::new(ErrorKind::Failed, format!("{} found", count(several, "problem")));
            Err(hints.into_iter().fold(error, CommandError::hint))
        }
    }
}

/// Whether the record agrees with itself and with the log. Gives what could be done about a log that is not signed any
/// more.
fn check_record(
    args: &Args,
    project: &Project,
    store: &mut dyn Store,
    report: &mut Report,
) -> CommandResult<Vec<String>> {
    let plain = |kind, message| Finding { kind, hash: None, message, versions: Vec::new() };
    if !args.log {
        let found = match store.check() {
            Err(StoreError::Damaged(message)) => vec![message],
            found => found?,
        };
        report.findings.extend(found.into_iter().map(|message| plain("record", message)));
    }
    let mut keys = args.key.clone();
    if keys.is_empty() {
        keys.push(log::verifier_key(project.id(), &seal::signing_key(project)?)?);
    }
    let mut kept: Vec<Checkpoint> = seal::kept_checkpoint(project)?.into_iter().collect();
    if let Some(path) = &args.checkpoint {
        kept.push(signed_checkpoint(path, &keys)?);
    }
    let unsealed = match seal::seal(project, store) {
        Err(SealError::Log(error)) if error.is_damage() => Some(error),
        sealed => sealed.map(|_| None)?,
    };
    let checked = log::check(store, project.id(), &keys, &kept, &mut |_, _| {})?;
    let findings = checked.findings.iter();
    report.findings.extend(findings.map(|it| plain(it.kind, format!("{} {}", it.subject, it.message))));
    report.log = Some(checked);
    let Some(unsealed) = unsealed else { return Ok(Vec::new()) };
    // What is in the way of new leaves has a better name as a rule.
    if report.findings.is_empty() {
        report.findings.push(plain("log", unsealed.to_string()));
    }
    // That this command says more is no help here.
    Ok(unsealed.hints.into_iter().filter(|hint| !hint.contains("runstone verify")).collect())
}

/// A checkpoint that somebody kept, which is worth no more than its signature.
fn signed_checkpoint(path: &Path, keys: &[NoteKey]) -> CommandResult<Checkpoint> {
    let no = |why: String| CommandError::usage(format!("{} is no checkpoint: {why}", path.display()));
    let note = Note::parse(read_text(path)?.as_bytes()).map_err(|error| no(error.to_string()))?;
    note.verify(keys).map_err(|error| no(error.to_string()))?;
    note.text().parse().map_err(|error: CheckpointError| no(error.to_string()))
}

fn read_text(path: &Path) -> CommandResult<String> {
    std::fs::read_to_string(path).map_err(|error| CommandError::io(format!("cannot read {}", path.display()), error))
}

/// Every object that the roots need, each once. What a damaged folder needs is not known.
fn reachable(
    objects: &ObjectStore,
    roots: &[StoredObject],
    report: &mut Report,
) -> CommandResult<HashMap<ContentHash, ContentHash>> {
    let mut all: HashMap<ContentHash, ContentHash> = HashMap::new();
    for root in roots {
        let kind = match root.kind {
            ContentKind::File => ObjectKind::File,
            ContentKind::Dir => ObjectKind::Tree,
        };
        let reached = objects.reach(root.hash, kind, &mut |reached| Ok(all.insert(reached.hash, root.hash).is_none()));
        match reached {
            Ok(()) => {}
            Err(
                ObjectError::NotStored { hash } | ObjectError::Altered { hash } | ObjectError::BadNode { hash, .. },
            ) => {
                // A folder that cannot be read is not hashed again: reading it has done that.
                all.remove(&hash);
                report.findings.push(finding(hash, root.hash, "damaged or missing"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// Hashes all objects, on as many threads as there are cores.
fn hash_again(
    objects: &ObjectStore,
    all: &HashMap<ContentHash, ContentHash>,
    report: &mut Report,
) -> CommandResult<()> {
    let list: Vec<(ContentHash, ContentHash)> = all.iter().map(|(hash, root)| (*hash, *root)).collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<(u64, Vec<Finding>)> = Mutex::default();
    let failure: Mutex<Option<ObjectError>> = Mutex::default();
    let work = || {
        while let Some((hash, root)) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes = objects.path(*hash).metadata().map_or(0, |metadata| metadata.len());
            let finding = match objects.verify(*hash) {
                Ok(Presence::Present) => None,
                Ok(Presence::Missing) => Some(finding(*hash, *root, "missing")),
                Ok(Presence::Altered) => Some(finding(*hash, *root, "damaged")),
                Err(error) => {
                    failure.lock().expect("no thread panics while it holds this").get_or_insert(error);
                    return;
                }
            };
            let mut found = found.lock().expect("no thread panics while it holds this");
            found.0 += bytes;
            found.1.extend(finding);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(list.len().max(1));
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    if let Some(error) = failure.into_inner().expect("no thread panics while it holds this") {
        return Err(error.into());
    }
    let (bytes, mut findings) = found.into_inner().expect("no thread panics while it holds this");
    findings.sort_by(|a, b| a.hash.cmp(&b.hash));
    report.bytes = bytes;
    report.findings.extend(findings);
    Ok(())
}

/// `root` is the content that the record names: of an object within a folder, the folder.
fn finding(hash: ContentHash, root: ContentHash, what: &'static str) -> Finding {
    let within = if hash == root { String::new() } else { format!(", part of folder b3:{}", root.short()) };
    Finding {
        kind: if what == "missing" { "missing" } else { "damaged" },
        hash: Some(root.to_string()),
        message: format!("object b3:{} is {what}{within}", hash.short()),
        versions: Vec::new(),
    }
}

fn versions_of(store: &mut dyn Store, hash: Option<&str>) -> CommandResult<Vec<String>> {
    let Some(digits) = hash.and_then(|hash| hash.strip_prefix("b3:")) else { return Ok(Vec::new()) };
    let versions = store.by_hash(digits, NAMED)?;
    Ok(versions.iter().map(|it| view::reference(&it.dataset, &it.subset, it.version)).collect())
}

fn render(report: &Report) -> String {
    let verdict = if report.findings.is_empty() { ": all as the record says" } else { "" };
    let mut out = format!("{} hashed, {}", count(report.objects, "object"), size(report.bytes));
    if let Some(log) = &report.log {
        let leaves = count(usize::try_from(log.leaves).unwrap_or(usize::MAX), "statement");
        out.push_str(&format!("; {leaves} of the log under {}", count(log.checkpoints, "checkpoint")));
    }
    out.push_str(&format!("{verdict}\n"));
    for version in &report.evicted {
        out.push_str(&format!(
            "{} was given up; `runstone reproduce` says whether it comes again\n",
            harmless(version)
        ));
    }
    for finding in &report.findings {
        out.push_str(&format!("{} {}\n", paint(BAD, finding.kind), harmless(&finding.message)));
        for version in &finding.versions {
            out.push_str(&format!("  {}\n", harmless(version)));
        }
    }
    out
}
