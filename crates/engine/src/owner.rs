//! Who may drive a run: the holder of a lock on a file in its folder. The kernel lets go of it when the last process
//! that holds it dies, so a free lock is a proof and not a guess.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Takes the lock of a run's folder, which is made where it is not there. `None` where somebody holds it.
///
/// # Errors
/// When the file cannot be made or opened.
pub fn try_lock(folder: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(folder)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("owner.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Where the supervisors of a run write what they see.
#[must_use]
pub fn journal_path(folder: &Path) -> PathBuf {
    folder.join("outcomes.jsonl")
}
