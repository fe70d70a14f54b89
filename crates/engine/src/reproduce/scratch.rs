//! The place where attempts are done again: a private folder of the project that is removed at the end.
//!
//! Its lock is held by whoever works in it and by the supervisors they started, so that a free lock on an old folder means
//! that it was left behind.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use runstone_core::record::NodeId;
use runstone_exec::objects::remove_folder;
use uuid::Uuid;

use crate::owner;
use crate::project::Project;

/// See the module. Removed when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
    lock: File,
    keep: bool,
}

impl Scratch {
    /// Makes a fresh one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(project: &Project, keep: bool) -> io::Result<Self> {
        let folder = project.scratch_dir().join(Uuid::now_v7().to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let lock = owner::try_lock(&folder)?.ok_or_else(|| io::Error::from(io::ErrorKind::ResourceBusy))?;
        Ok(Self { folder, lock, keep })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lock once more.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// A room for one attempt.
    pub(super) fn room(&self, attempt: NodeId) -> Room {
        let name = attempt.0.to_string();
        Room { attempt: self.folder.join(&name), home: self.folder.join(name + ".home"), keep: self.keep }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // What stays behind is removed by its age.
            let _ = remove_folder(&self.folder);
        }
    }
}

/// The part of a scratch place that belongs to one attempt. Removed when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Room {
    /// The attempt's own folder, with outputs and logs. Its path is as short as that of a run's attempt: sockets in it have
    /// names of bounded length.
    pub(super) attempt: PathBuf,
    home: PathBuf,
    keep: bool,
}

impl Room {
    /// Stands for the root of the project: code lies below it where it lay there.
    pub(super) fn root(&self) -> PathBuf {
        self.home.join("project")
    }

    /// What is remembered of the files in it.
    pub(super) fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    /// The attempt's own folder, where it is kept and there is one.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        Some(self.attempt.clone()).filter(|folder| self.keep && folder.exists())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.keep {
            // What stays behind goes with the whole place.
            let _ = remove_folder(&self.attempt);
            let _ = remove_folder(&self.home);
        }
    }
}

/// Scratch places that nobody works in and that have not been changed since `before`.
///
/// # Errors
/// When the folder of scratch places cannot be listed.
pub fn abandoned(project: &Project, before: SystemTime) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(project.scratch_dir()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Whatever is not named like one is not ours.
        let is_ours = entry.file_name().to_str().is_some_and(|name| Uuid::try_parse(name).is_ok());
        let changed = entry.metadata().and_then(|stat| stat.modified());
        let is_old = changed.is_ok_and(|at| at < before);
        if is_ours && is_old && owner::try_lock(&entry.path())?.is_some() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
