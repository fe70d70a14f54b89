//! `runstone init`: a small pipeline to start from, which runs as it is.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};

/// The files, by path within the folder.
const FILES: [(&str, &str); 3] = [
    ("pipeline.yaml", include_str!("../starter/pipeline.yaml")),
    ("words.sh", include_str!("../starter/words.sh")),
    ("data/story.txt", include_str!("../starter/story.txt")),
];

/// Write a small commented pipeline that runs as it is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone init\n  \
    runstone init ./first-pipeline")]
pub(crate) struct Args {
    /// Where to; the current folder where none is given
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let folder = context.cwd.join(&args.folder);
    if let Some((name, _)) = FILES.iter().find(|(name, _)| folder.join(name).symlink_metadata().is_ok()) {
        let message = format!("{} exists already", args.folder.join(name).display());
        return Err(CommandError::new(ErrorKind::Refused, message).hint("nothing was written; name another folder"));
    }
    for (name, text) in FILES {
        let path = folder.join(name);
        write_new(&path, text).map_err(|error| CommandError::io(format!("cannot write {}", path.display()), error))?;
        context.terminal.note(format_args!("wrote {}", args.folder.join(name).display()));
    }
    let file = args.folder.join("pipeline.yaml");
    context.terminal.note(format_args!("next: runstone run {}", file.display()));
    Ok(())
}

/// Never replaces a file, also not one that appeared just now.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use runstone_core::spec::{Options, Sources, load};

    use super::*;

    #[test]
    fn the_starter_is_valid() {
        let (name, text) = FILES[0];
        let loaded = load(&Sources { name, main: text.as_bytes(), overlays: &[] }, &Options::default());
        assert_eq!(loaded.diagnostics, []);
        assert_eq!(loaded.pipeline.unwrap().steps.len(), 4);
    }
}
