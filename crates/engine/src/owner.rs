//! Who may drive a run: the holder of a lock on a file in its folder. The kernel lets go of it when the last process
//! that holds it dies, so a free lock is a proof and not a guess.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runstone_exec::local::{Place, ProcessId};
use serde::{Deserialize, Serialize};

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
    lock_file(&folder.join(LOCK_FILE))
}

/// Takes the lock on a file, which is made where it is not there, and writes down who has it.
///
/// # Errors
/// As [`try_lock`].
pub fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Only for people and for whoever waits in vain: the lock is the proof, not this.
    if let Some(holder) = Holder::this_process() {
        file.set_len(0)?;
        file.write_all(serde_json::to_string(&holder).unwrap_or_default().as_bytes())?;
    }
    Ok(Some(file))
}

/// Who wrote that it holds a lock. It may have let go of it since, or its supervisors may still hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Where its process number means something.
    pub place: Place,
    /// The process.
    pub process: ProcessId,
}

impl Holder {
    fn this_process() -> Option<Self> {
        Some(Self { place: Place::here().ok()?, process: ProcessId::of(std::process::id())? })
    }

    /// Who holds the lock on a file, as far as is known.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Ends a holder that does not answer any more, so that what it owned is free. False where it is not known to be a
    /// process of this machine, is this very process, or may not be ended.
    #[must_use]
    pub fn end(&self) -> bool {
        let is_other = self.process.pid != std::process::id();
        is_other && Place::here().is_ok_and(|here| here == self.place) && self.process.kill()
    }
}

/// The lock of a run's folder.
#[must_use]
pub fn lock_path(folder: &Path) -> PathBuf {
    folder.join(LOCK_FILE)
}

const LOCK_FILE: &str = "owner.lock";

/// Where the supervisors of a run write what they see.
#[must_use]
pub fn journal_path(folder: &Path) -> PathBuf {
    folder.join("outcomes.jsonl")
}
