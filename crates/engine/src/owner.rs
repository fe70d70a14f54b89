//! Who may drive a run: the holder of a lock on a file in its folder. The kernel lets go of it when the last process
//! that holds it dies, so a free lock is a proof and not a guess.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long supervisors may go on holding the lock of an owner that has died: until each has noticed, and what it was
/// just starting stands in the journal.
const HANDOVER: Duration = Duration::from_secs(2);

/// How often the lock is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock as [`try_lock`] does, also where the owner has died only this moment.
///
/// # Errors
/// As there.
pub(crate) fn lock_soon(folder: &Path) -> io::Result<Option<File>> {
    let deadline = Instant::now() + HANDOVER;
    loop {
        let lock = try_lock(folder)?;
        if lock.is_some() || Instant::now() >= deadline {
            return Ok(lock);
        }
        std::thread::sleep(PAUSE);
    }
}

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
