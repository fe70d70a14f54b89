//! Keeps those who count on objects apart from the one who removes them, also between processes: whoever finds an object
//! and touches it does both while nothing is removed, and whoever sees that an object was not touched removes it while
//! nobody touches any.
//!
//! A lock on a file of the store (`flock`), held for microseconds. Not what protects an object from then on: that is the
//! time of the touch.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Its file, below the root of the store.
const GATE: &str = "gate";

/// The shared side. Threads of one process hold one lock together.
#[derive(Debug)]
pub(super) struct Gate {
    /// None where nothing can be written, so that nobody touches or removes anything.
    file: Option<File>,
    inside: Mutex<u32>,
}

/// Somebody who counts on objects.
#[derive(Debug)]
pub(super) struct Inside<'g>(&'g Gate);

impl Gate {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let file = match open(root) {
            Ok(file) => Some(file),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { file, inside: Mutex::new(0) })
    }

    /// Waits until nothing is being removed.
    pub(super) fn enter(&self) -> io::Result<Inside<'_>> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self.file.as_ref().filter(|_| *inside == 0) {
            file.lock_shared()?;
        }
        *inside += 1;
        Ok(Inside(self))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut inside = self.0.inside.lock().unwrap_or_else(PoisonError::into_inner);
        *inside -= 1;
        if let Some(file) = self.0.file.as_ref().filter(|_| *inside == 0) {
            // A lock that cannot be given back goes with the file; the collector waits until then.
            let _ = file.unlock();
        }
    }
}

/// The file on its own, for the side that excludes all others.
pub(super) fn open(root: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(root.join(GATE))
}
