//! `runstone export`: lineage for others, to be verified or read by their tools.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use runstone_core::record::{MaterializationRecord, NodeId};
use runstone_core::reference::DatasetRef;
use runstone_core::store::Store;
use runstone_engine::project::Project;
use runstone_engine::seal;
use runstone_exec::objects::ObjectStore;
use runstone_lineage::archive::{self, Request};
use runstone_lineage::export::{attempts_behind, in_toto, prov};
use runstone_lineage::{facts, find};

use crate::args::FormatArgs;
use crate::context::{Context, now, open_objects};
use crate::error::{CommandError, CommandResult};
use crate::render::count;
use crate::render::quantity::size;

/// Attempts read at a time.
const BATCH: u32 = 500;

/// Export what made versions, all the way up, for others to verify or to read
///
/// An archive is a folder that `runstone verify` checks without a database: what attempts state, proofs that it is in the
/// signed log, and, if wanted, the bytes. The other formats are texts that tools of others read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone export tickets/model@v3 --to model-v3.export --objects\n  \
    runstone export --all --to whole.export\n  \
    runstone export tickets/model@v3 --format in-toto > model.intoto.jsonl\n  \
    runstone export tickets/model@v3 --format prov --to model.prov.json")]
pub(crate) struct Args {
    /// Versions of datasets
    #[arg(value_name = "NAME[@VERSION]", required_unless_present = "all")]
    versions: Vec<DatasetRef>,
    /// Everything on record
    #[arg(long, conflicts_with = "versions")]
    all: bool,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Archive, value_name = "FORMAT")]
    format: Format,
    /// The folder or file to write; standard output where none is given (not for archives)
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// With the bytes of data and code (archives)
    #[arg(long)]
    objects: bool,
    #[command(flatten)]
    output: FormatArgs,
}

/// The forms there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A folder that `runstone verify` checks
    Archive,
    /// in-toto statements with SLSA provenance, each in a signed DSSE envelope, one a line
    InToto,
    /// W3C PROV as JSON
    Prov,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    // What ended a moment ago is part of it.
    seal::seal(&project, &mut *store)?;
    let mut versions: Vec<MaterializationRecord> = Vec::new();
    for wanted in &args.versions {
        versions.extend(find::versions(&mut *store, wanted)?);
    }
    if args.format == Format::Archive {
        return write_archive(args, &project, &mut *store, &objects, &versions, context);
    }
    let export = Export { project: &project, objects: &objects, versions: &versions };
    let mut write = |out: &mut dyn Write| match args.format {
        Format::InToto => export.in_toto(&mut *store, out),
        Format::Prov | Format::Archive => export.prov(&mut *store, out),
    };
    match &args.to {
        Some(path) => into_file(path, &mut write),
        None => {
            let mut text = Vec::new();
            write(&mut text)?;
            context.terminal.print(&String::from_utf8_lossy(&text))
        }
    }
}

fn write_archive(
    args: &Args,
    project: &Project,
    store: &mut dyn Store,
    objects: &ObjectStore,
    versions: &[MaterializationRecord],
    context: &mut Context,
) -> CommandResult<()> {
    let Some(folder) = &args.to else {
        return Err(CommandError::usage("an archive is a folder").hint("name one with --to"));
    };
    let key = seal::signing_key(project)?;
    let request = Request {
        project: project.id(),
        name: project.name(),
        versions,
        objects: args.objects.then_some(objects),
        key: &key,
        tool_version: env!("CARGO_PKG_VERSION"),
        now: now(),
    };
    let written = archive::write(store, &request, folder)?;
    if args.output.json {
        return context.terminal.print_json(&written);
    }
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut text = format!(
        "{}: {}, {}, {}\n",
        folder.display(),
        count(number(written.statements), "attempt"),
        count(number(written.objects), "object"),
        size(written.bytes)
    );
    if written.absent > 0 {
        text.push_str(&format!(
            "{} not there any more; their hashes are\n",
            count(number(written.absent), "object is")
        ));
    }
    context.terminal.print(&text)
}

/// Writes beside the file first, which gets its name when everything is there.
fn into_file(path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> CommandResult<()>) -> CommandResult<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let failed = |error| CommandError::io(format!("cannot write {}", path.display()), error);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&partial).map_err(failed)?);
    let written = write(&mut file).and_then(|()| file.flush().map_err(failed));
    if let Err(error) = written {
        // What is left of it means nothing.
        let _ = std::fs::remove_file(&partial);
        return Err(error);
    }
    std::fs::rename(&partial, path).map_err(failed)
}

/// What is exported, and of what.
struct Export<'a> {
    project: &'a Project,
    objects: &'a ObjectStore,
    /// None means everything.
    versions: &'a [MaterializationRecord],
}

impl Export<'_> {
    /// Hands over the facts about all attempts, a few at a time, in the order of the log or of ids.
    fn for_each(
        &self,
        store: &mut dyn Store,
        take: &mut dyn FnMut(&mut dyn Store, &facts::Facts) -> CommandResult<()>,
    ) -> CommandResult<()> {
        let mut pages: Box<dyn FnMut(&mut dyn Store) -> CommandResult<Vec<NodeId>>> = if self.versions.is_empty() {
            let mut from = 0;
            Box::new(move |store| {
                let leaves = store.log_leaves(from, BATCH)?;
                from = leaves.last().map_or(from, |leaf| leaf.index + 1);
                Ok(leaves.into_iter().map(|leaf| leaf.attempt).collect())
            })
        } else {
            let mut rest = attempts_behind(store, self.versions)?;
            rest.reverse();
            Box::new(move |_| {
                let keep = rest.len().saturating_sub(BATCH as usize);
                let mut page = rest.split_off(keep);
                page.reverse();
                Ok(page)
            })
        };
        loop {
            let page = pages(store)?;
            if page.is_empty() {
                return Ok(());
            }
            for facts in facts::load(store, &page)? {
                take(store, &facts)?;
            }
        }
    }

    fn in_toto(&self, store: &mut dyn Store, out: &mut dyn Write) -> CommandResult<()> {
        let key = seal::signing_key(self.project)?;
        let mut exporter = in_toto::Exporter::new(Some(self.objects), &key);
        self.for_each(store, &mut |store, facts| {
            if let Some(envelope) = exporter.envelope(store, facts)? {
                let line = serde_json::to_string(&envelope).expect("an envelope is plain data");
                writeln!(out, "{line}").map_err(cannot_write)?;
            }
            Ok(())
        })
    }

    fn prov(&self, store: &mut dyn Store, out: &mut dyn Write) -> CommandResult<()> {
        let mut document = prov::Document::new(self.project.id());
        self.for_each(store, &mut |_, facts| {
            document.add(facts);
            Ok(())
        })?;
        writeln!(out, "{:#}", document.to_json()).map_err(cannot_write)
    }
}

fn cannot_write(error: std::io::Error) -> CommandError {
    CommandError::io("cannot write the export", error)
}
