//! Folders of the state that are not objects: those of runs, and scratch space that was left behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::RetentionError;
use crate::owner;

/// The folder of a run.
#[derive(Debug)]
pub(super) struct RunFolder {
    pub(super) id: Uuid,
    pub(super) path: PathBuf,
    /// Somebody drives the run, or is about to begin it.
    pub(super) owned: bool,
}

impl RunFolder {
    /// When the run was thought of: its identity begins with that time.
    pub(super) fn began(&self) -> Option<SystemTime> {
        let (seconds, nanos) = self.id.get_timestamp()?.to_unix();
        Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    /// Removes it, unless somebody has taken the run up meanwhile. False where it stays.
    pub(super) fn remove(&self) -> Result<bool, RetentionError> {
        let failed = RetentionError::at("remove", &self.path);
        let Some(_lock) = owner::try_lock(&self.path).map_err(RetentionError::at("lock", &self.path))? else {
            return Ok(false);
        };
        std::fs::remove_dir_all(&self.path).map(|()| true).map_err(failed)
    }
}

/// The folders of runs. What is not named like a run is not ours.
pub(super) fn of_runs(folder: &Path) -> Result<Vec<RunFolder>, RetentionError> {
    let named = entries(folder)?.into_iter().filter_map(|path| {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        let owned = is_owned(&path);
        Some(RunFolder { id, path, owned })
    });
    Ok(named.collect())
}

/// Whether somebody holds the lock of a run's folder. Looks without taking it.
fn is_owned(folder: &Path) -> bool {
    let Ok(file) = File::open(owner::lock_path(folder)) else { return false };
    matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

/// What is in a folder; nothing where it is not there.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, RetentionError> {
    let failed = || RetentionError::at("list", folder);
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed()(error)),
    }
}

/// When the folder itself was changed last. What cannot be told is young.
pub(super) fn changed(path: &Path) -> Option<SystemTime> {
    path.symlink_metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Bytes that the file system gave out for everything below a folder. What cannot be read counts nothing; links are
/// not followed.
#[must_use]
pub fn usage(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    bytes
}
