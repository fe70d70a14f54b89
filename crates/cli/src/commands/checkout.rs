//! `runstone checkout`: the bytes of a version, verified, in a place of one's own.

use std::path::PathBuf;

use runstone_core::record::ContentKind;
use runstone_exec::objects::{ObjectError, ObjectKind, Overwrite};

use crate::context::{Context, open_objects};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::quantity::size;
use runstone_core::reference::DatasetRef;
use runstone_lineage::{find, view};

/// Write the bytes of a version to a file or folder, and verify them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone checkout tickets/model@v3 ./model.pkl\n  \
    runstone checkout 'tickets/model{lr=0.1}' ./models/\n  \
    runstone checkout tickets/split.train@run:42 ./train.csv --force")]
pub(crate) struct Args {
    /// The dataset and version
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetRef,
    /// Where to; in an existing folder, or with a `/` at the end, under the version's own file name
    path: PathBuf,
    /// Replace what is there
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let version = find::version(&mut *store, &args.dataset)?;
    let objects = open_objects(&project)?;
    let into_folder = args.path.is_dir() || args.path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let path = if into_folder { args.path.join(&version.file_name) } else { args.path.clone() };
    let kind = match version.kind {
        ContentKind::File => ObjectKind::File,
        ContentKind::Dir => ObjectKind::Tree,
    };
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    let name = view::reference(&version.dataset, &version.subset, version.version);
    objects.restore(version.hash, kind, &context.cwd.join(&path), overwrite).map_err(|error| refused(error, &name))?;
    context.terminal.note(format_args!("{name} is in {} ({}, verified)", path.display(), size(version.size)));
    Ok(())
}

fn refused(error: ObjectError, name: &str) -> CommandError {
    match &error {
        ObjectError::Exists { .. } => {
            CommandError::new(ErrorKind::Refused, error.to_string()).hint("--force replaces it")
        }
        ObjectError::NotStored { .. } | ObjectError::Altered { .. } => {
            CommandError::new(ErrorKind::Store, format!("the bytes of {name} cannot be had"))
                .because(error)
                .hint("running the step again makes them anew")
        }
        _ => error.into(),
    }
}
