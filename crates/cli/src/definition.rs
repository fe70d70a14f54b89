//! Reading a pipeline file and its overlays from disk for the language, and showing what is wrong with them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use runstone_core::spec::{self, Loaded, Look, Options, Severity, Sources};
use runstone_engine::project::{Config, Project};
use runstone_engine::{Home, PrepareError};

use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::count;
use crate::terminal::Terminal;

/// Which file, and how to read it.
#[derive(Debug, clap::Args)]
pub(crate) struct DefinitionArgs {
    /// A file laid over the pipeline, step by step; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
    /// Warn of parts of the language that this version cannot run yet, instead of refusing them
    #[arg(long)]
    pub(crate) allow_unsupported: bool,
}

/// The pools that a pipeline file may name beside its own: those of the project it belongs to.
fn pools(file: &Path, context: &Context) -> CommandResult<Option<Vec<String>>> {
    let root = Project::root_of(&context.cwd, file, context.explicit_project.as_deref())?;
    Ok(Home::new(&root, &Config::load(&root, &context.overrides)?).pools)
}

/// Loads a definition, valid or not.
pub(crate) fn load(file: &Path, args: &DefinitionArgs, context: &Context) -> CommandResult<Loaded> {
    let mut options = Options { allow_unsupported: args.allow_unsupported, ..Options::default() };
    if let Some(stem) = file.file_stem() {
        options.default_name = stem.to_string_lossy().into_owned();
    }
    // One byte more than is allowed is enough to be refused: a huge file costs nothing.
    let limit = options.limits.file_bytes as u64 + 1;
    let main = read(file, limit)?;
    let overlays: Vec<(String, Vec<u8>)> = args
        .overlay
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path, limit)?)))
        .collect::<CommandResult<_>>()?;
    let overlays: Vec<(&str, &[u8])> = overlays.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    options.pools = pools(file, context)?;
    let name = file.display().to_string();
    Ok(spec::load(&Sources { name: &name, main: &main, overlays: &overlays }, &options))
}

/// Loads a definition that must be valid. Warnings are shown.
pub(crate) fn load_valid(file: &Path, args: &DefinitionArgs, context: &mut Context) -> CommandResult<spec::Pipeline> {
    let loaded = load(file, args, context)?;
    show(&loaded, &mut context.terminal);
    loaded.pipeline.ok_or_else(|| invalid(&[(file.to_owned(), errors(&loaded.diagnostics, loaded.hidden))]))
}

/// A definition that is on record. What is wrong with it is shown.
pub(crate) fn load_text(path: &str, text: &str, home: &Home, terminal: &mut Terminal) -> CommandResult<spec::Pipeline> {
    let mut options = Options { allow_unsupported: true, pools: home.pools.clone(), ..Options::default() };
    if let Some(stem) = Path::new(path).file_stem() {
        options.default_name = stem.to_string_lossy().into_owned();
    }
    let loaded = spec::load(&Sources { name: path, main: text.as_bytes(), overlays: &[] }, &options);
    if loaded.pipeline.is_none() {
        show(&loaded, terminal);
    }
    loaded.pipeline.ok_or_else(|| invalid(&[(path.into(), errors(&loaded.diagnostics, loaded.hidden))]))
}

fn read(path: &Path, limit: u64) -> CommandResult<Vec<u8>> {
    let failed = |error| unreadable(path, error);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: std::io::Error) -> CommandError {
    let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
    CommandError::new(kind, format!("cannot read {}", path.display())).because(error)
}

/// Shows errors and warnings on standard error.
pub(crate) fn show(loaded: &Loaded, terminal: &mut Terminal) {
    if !loaded.diagnostics.is_empty() {
        terminal.complain(&loaded.render(look(terminal)));
    }
}

fn look(terminal: &Terminal) -> Look {
    let colour = terminal.err_color();
    Look { colour, unicode: colour, width: terminal.width().unwrap_or(Look::default().width) }
}

/// Shows what is wrong with what was asked for, and gives the error that goes with it.
pub(crate) fn refused(error: PrepareError, file: &Path, terminal: &mut Terminal) -> CommandError {
    match error {
        PrepareError::Pipeline(loaded) => {
            show(&loaded, terminal);
            invalid(&[(file.to_owned(), errors(&loaded.diagnostics, loaded.hidden))])
        }
        PrepareError::Params(resolved) => {
            terminal.complain(&spec::render(&resolved.diagnostics, resolved.hidden, &resolved.sources, look(terminal)));
            CommandError::usage("the parameters cannot be used")
        }
        PrepareError::Partition(message) => CommandError::usage(message),
        PrepareError::Select(error) => CommandError::usage(error.to_string()),
        PrepareError::Read { path, source } => unreadable(&path, source),
    }
}

/// How many errors there are; those that were not kept are counted as such.
pub(crate) fn errors(diagnostics: &[spec::Diagnostic], hidden: usize) -> usize {
    diagnostics.iter().filter(|it| it.severity == Severity::Error).count() + hidden
}

/// The error for files with so many errors each.
pub(crate) fn invalid(files: &[(PathBuf, usize)]) -> CommandError {
    let text: Vec<String> =
        files.iter().map(|(path, errors)| format!("{} has {}", path.display(), count(*errors, "error"))).collect();
    CommandError::new(ErrorKind::Definition, text.join("; "))
}
