//! Reading a pipeline file and its overlays from disk for the language, and showing what is wrong with them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use runstone_core::spec::{self, Loaded, Look, Options, Severity, Sources};
use runstone_engine::PrepareError;

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

/// Loads a definition, valid or not.
pub(crate) fn load(file: &Path, args: &DefinitionArgs) -> CommandResult<Loaded> {
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
    let name = file.display().to_string();
    Ok(spec::load(&Sources { name: &name, main: &main, overlays: &overlays }, &options))
}

/// Loads a definition that must be valid. Warnings are shown.
pub(crate) fn load_valid(file: &Path, args: &DefinitionArgs, terminal: &mut Terminal) -> CommandResult<spec::Pipeline> {
    let loaded = load(file, args)?;
    show(&loaded, terminal);
    loaded.pipeline.ok_or_else(|| invalid(&[(file.to_owned(), errors(&loaded.diagnostics, loaded.hidden))]))
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
