//! `runstone export`: lineage for others, to be verified or read by their tools.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use runstone_core::record::{MaterializationRecord, NodeId};
use runstone_core::reference::DatasetRef;
use runstone_core::store::Store;
use runstone_core::time::{Timestamp, micros};
use runstone_engine::project::Project;
use runstone_engine::seal;
use runstone_exec::objects::ObjectStore;
use runstone_lineage::archive::{self, Request};
use runstone_lineage::export::openlineage::{self, Naming};
use runstone_lineage::export::{Selection, attempts, in_toto, prov};
use runstone_lineage::{facts, find};

use crate::age::Age;
use crate::args::FormatArgs;
use crate::context::{Context, now, open_objects};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::count;
use crate::render::quantity::size;
use crate::terminal::Terminal;

/// Attempts read at a time.
const BATCH: usize = 500;

/// Export what made versions, all the way up, for others to verify or to read
///
/// An archive is a folder that `runstone verify` checks without a database: what attempts state, proofs that it is in the
/// signed log, and, if wanted, the bytes. The other formats are texts that tools of others read. Exporting again gives the same
/// OpenLineage events, so that a server recognises those it has.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["versions", "all", "since"])))]
#[command(after_help = "Examples:\n  \
    runstone export tickets/model@v3 --to model-v3.export --objects\n  \
    runstone export --all --to whole.export\n  \
    runstone export tickets/model@v3 --format in-toto > model.intoto.jsonl\n  \
    runstone export tickets/model@v3 --format prov --to model.prov.json\n  \
    runstone export --since 7d --format openlineage --instance lab.example")]
pub(crate) struct Args {
    /// Versions of datasets
    #[arg(value_name = "NAME[@VERSION]")]
    versions: Vec<DatasetRef>,
    /// Every attempt of the project
    #[arg(long)]
    all: bool,
    /// Every attempt that is not older than this (not for archives)
    #[arg(long, value_name = "AGE")]
    since: Option<Age>,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Archive, value_name = "FORMAT")]
    format: Format,
    /// The folder or file to write, which must not exist; standard output where none is given (not for archives)
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// With the bytes of data and code (archives)
    #[arg(long)]
    objects: bool,
    /// What tells this place from others, in names that go outside (OpenLineage)
    #[arg(long, default_value = "runstone", value_name = "NAME")]
    instance: String,
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
    /// Events of OpenLineage 2-0-2, one a line
    #[value(name = "openlineage")]
    OpenLineage,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    let mut versions: Vec<MaterializationRecord> = Vec::new();
    for wanted in &args.versions {
        versions.extend(find::versions(&mut *store, wanted)?);
    }
    if args.format == Format::Archive {
        return write_archive(args, &project, &mut *store, &objects, &versions, context);
    }
    let nodes: Vec<NodeId> = versions.iter().map(|version| version.id).collect();
    let wanted = match args.since {
        Some(age) => Selection::Since(Timestamp(now().0.saturating_sub_unsigned(micros(age.0)))),
        None if args.all => Selection::All,
        None => Selection::Up(&nodes),
    };
    let ids = attempts(&mut *store, wanted)?;
    let mut place = Place::new(args.to.as_deref())?;
    let export = Export { args, project: &project, objects: &objects, ids: &ids };
    match export.write(&mut *store, &mut place, &mut context.terminal) {
        Ok(told) => {
            place.finish()?;
            context.terminal.note(told);
            Ok(())
        }
        Err(error) => {
            place.give_up();
            Err(error)
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
    if args.since.is_some() {
        return Err(CommandError::usage("an archive is of versions, or of everything: the log has no gaps"));
    }
    // What ended a moment ago is part of it.
    seal::seal(project, store)?;
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

/// What is exported, and how.
struct Export<'a> {
    args: &'a Args,
    project: &'a Project,
    objects: &'a ObjectStore,
    ids: &'a [NodeId],
}

impl Export<'_> {
    /// Says what it wrote.
    fn write(&self, store: &mut dyn Store, place: &mut Place<'_>, terminal: &mut Terminal) -> CommandResult<String> {
        match self.args.format {
            Format::InToto => self.in_toto(store, place, terminal),
            Format::OpenLineage => self.events(store, place, terminal),
            Format::Prov | Format::Archive => self.prov(store, place, terminal),
        }
    }

    /// Hands over the facts about all attempts, a few at a time.
    fn for_each(
        &self,
        store: &mut dyn Store,
        take: &mut dyn FnMut(&mut dyn Store, &facts::Facts) -> CommandResult<()>,
    ) -> CommandResult<()> {
        for page in self.ids.chunks(BATCH) {
            for facts in facts::load(store, page)? {
                take(store, &facts)?;
            }
        }
        Ok(())
    }

    fn in_toto(&self, store: &mut dyn Store, place: &mut Place<'_>, terminal: &mut Terminal) -> CommandResult<String> {
        let key = seal::signing_key(self.project)?;
        let mut exporter = in_toto::Exporter::new(Some(self.objects), &key);
        let mut written = 0;
        self.for_each(store, &mut |store, facts| {
            if let Some(envelope) = exporter.envelope(store, facts)? {
                let line = serde_json::to_string(&envelope).expect("an envelope is plain data");
                place.write(&format!("{line}\n"), terminal)?;
                written += 1;
            }
            Ok(())
        })?;
        Ok(count(written, "statement"))
    }

    fn prov(&self, store: &mut dyn Store, place: &mut Place<'_>, terminal: &mut Terminal) -> CommandResult<String> {
        let mut document = prov::Document::new(self.project.id());
        self.for_each(store, &mut |_, facts| {
            document.add(facts);
            Ok(())
        })?;
        place.write(&format!("{:#}\n", document.to_json()), terminal)?;
        Ok(format!("a document about {}", count(self.ids.len(), "attempt")))
    }

    fn events(&self, store: &mut dyn Store, place: &mut Place<'_>, terminal: &mut Terminal) -> CommandResult<String> {
        let naming = Naming { instance: self.args.instance.clone(), project: self.project.name().to_owned() };
        let mut write = |event: &serde_json::Value| place.write(&format!("{event}\n"), terminal);
        let exported = openlineage::export(store, self.ids, &naming, &mut write)?;
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(format!("{} about {}", count(number(exported.events), "event"), count(number(exported.attempts), "attempt")))
    }
}

/// Where an export goes: standard output, or a new file.
struct Place<'a> {
    file: Option<(BufWriter<File>, &'a Path)>,
}

impl<'a> Place<'a> {
    fn new(path: Option<&'a Path>) -> CommandResult<Self> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let file = File::create_new(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                CommandError::new(ErrorKind::Refused, format!("{} exists already", path.display()))
                    .hint("export to another file, or remove this one")
            }
            _ => CommandError::io(format!("cannot create {}", path.display()), error),
        })?;
        Ok(Self { file: Some((BufWriter::new(file), path)) })
    }

    fn write(&mut self, text: &str, terminal: &mut Terminal) -> CommandResult<()> {
        match &mut self.file {
            Some((file, path)) => file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, error)),
            None => terminal.print_bytes(text.as_bytes()),
        }
    }

    fn finish(self) -> CommandResult<()> {
        match self.file {
            Some((mut file, path)) => file.flush().map_err(|error| cannot_write(path, error)),
            None => Ok(()),
        }
    }

    /// Half an export looks like a whole one.
    fn give_up(self) {
        if let Some((file, path)) = self.file {
            drop(file);
            // It failed already; what is left behind is the smaller trouble.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> CommandError {
    CommandError::io(format!("cannot write {}", path.display()), error)
}
