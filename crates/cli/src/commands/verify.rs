//! `runstone verify`: whether the bytes that the record names are there and are what it says, and whether the record
//! agrees with itself.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use runstone_core::hash::ContentHash;
use runstone_core::record::ContentKind;
use runstone_core::store::{Store, StoredObject};
use runstone_exec::objects::{ObjectError, ObjectKind, ObjectStore, Presence};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, open_objects};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::reference::DatasetArg;
use crate::render::quantity::size;
use crate::render::style::{BAD, paint};
use crate::render::{count, harmless};
use crate::view::dataset;

/// How many datasets are named that hold a damaged object.
const NAMED: u32 = 5;

/// Hash stored objects again and check the record for contradictions
///
/// Damaged objects are put into quarantine, so that nothing reuses them; running their step again makes them anew.
/// Ends with exit code 1 where anything is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone verify\n  \
    runstone verify tickets/model@v3\n  \
    runstone verify --json")]
pub(crate) struct Args {
    /// Only the objects of this version; everything where nothing is named
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: Option<DatasetArg>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    objects: usize,
    bytes: u64,
    findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    /// `missing`, `damaged` or `record`.
    kind: &'static str,
    hash: Option<String>,
    message: String,
    /// Versions that hold the object.
    versions: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    let roots: Vec<StoredObject> = match &args.dataset {
        None => store.objects()?.into_iter().filter(|object| !object.evicted).collect(),
        Some(dataset) => dataset::find(&mut *store, dataset)?
            .into_iter()
            .map(|it| StoredObject { hash: it.hash, kind: it.kind, size: it.size, evicted: false })
            .collect(),
    };
    let mut report = Report::default();
    let all = reachable(&objects, &roots, &mut report)?;
    report.objects = all.len();
    hash_again(&objects, &all, &mut report)?;
    for finding in &mut report.findings {
        finding.versions = versions_of(&mut *store, finding.hash.as_deref())?;
    }
    if args.dataset.is_none() {
        let sentences = store.check()?.into_iter();
        report.findings.extend(sentences.map(|message| Finding {
            kind: "record",
            hash: None,
            message,
            versions: Vec::new(),
        }));
    }
    if args.format.json {
        context.terminal.print_json(&report)?;
    } else {
        context.terminal.print(&render(&report))?;
    }
    match report.findings.len() {
        0 => Ok(()),
        several => Err(CommandError::new(ErrorKind::Failed, format!("{} found", count(several, "problem")))),
    }
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
    Ok(versions.iter().map(|it| dataset::reference(&it.dataset, &it.subset, it.version)).collect())
}

fn render(report: &Report) -> String {
    let verdict = if report.findings.is_empty() { ": all as the record says" } else { "" };
    let mut out = format!("{} hashed, {}{verdict}\n", count(report.objects, "object"), size(report.bytes));
    for finding in &report.findings {
        out.push_str(&format!("{} {}\n", paint(BAD, finding.kind), harmless(&finding.message)));
        for version in &finding.versions {
            out.push_str(&format!("  {}\n", harmless(version)));
        }
    }
    out
}
