//! Makes published objects durable, many at a time, and seals them.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;

use runstone_core::hash::ContentHash;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::ObjectError;
use super::store::{ObjectStore, object_name};

/// Up to this many objects are synced one by one, which touches nothing but them; for more, one sync of the whole
/// file system is cheaper, although it waits for whatever else has been written there. Measured on ext4 with busy
/// neighbours: about 0.4 ms an object against 2.5 ms for all.
pub const SYNC_EACH_UP_TO: usize = 8;

/// The action whose failure is final.
const SYNC: &str = "make durable";

/// Objects that were published and are not durable yet. Nothing may name them on record before
/// [`ObjectStore::sync`] has returned. A batch that is dropped leaves objects that mean nothing.
#[derive(Debug, Default)]
#[must_use = "objects are durable only after their batch was synced"]
pub struct Batch {
    /// Under their hash names.
    pub(super) published: Vec<ContentHash>,
    /// Waiting to replace objects that may not be durable.
    pub(super) staged: Vec<Staged>,
}

/// A complete file beside the objects.
#[derive(Debug)]
pub(super) struct Staged {
    /// Name in the temporary folder.
    pub(super) name: String,
    pub(super) hash: ContentHash,
}

impl Batch {
    /// Adds the objects of another batch, so that one sync makes all durable.
    pub fn merge(&mut self, other: Self) {
        self.published.extend(other.published);
        self.staged.extend(other.staged);
    }

    /// Whether everything in it was durable already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.staged.is_empty()
    }

    /// Objects that wait to become durable.
    #[must_use]
    pub fn len(&self) -> usize {
        self.published.len() + self.staged.len()
    }
}

impl ObjectStore {
    /// Makes the objects of `batch` durable and seals them. Up to [`SYNC_EACH_UP_TO`] objects are synced each with its
    /// folder, more by one sync of the file system.
    ///
    /// # Errors
    /// A failed sync is final: what the disk has is unknown from then on, and every later use of this store answers
    /// [`ObjectError::Poisoned`]. Objects that vanished meanwhile are [`ObjectError::NotStored`].
    pub fn sync(&self, mut batch: Batch) -> Result<(), ObjectError> {
        self.healthy()?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.published.sort_unstable();
        batch.published.dedup();
        self.make_durable(&batch).inspect_err(|error| {
            if matches!(error, ObjectError::Io { action: SYNC, .. }) {
                self.poison();
            }
        })?;
        let hashes: BTreeSet<_> =
            batch.published.iter().copied().chain(batch.staged.iter().map(|staged| staged.hash)).collect();
        for hash in hashes {
            if !self.seal(hash)? {
                return Err(ObjectError::NotStored { hash });
            }
            self.pending().remove(&hash);
        }
        Ok(())
    }

    /// Bytes first, then names; what replaces another object is durable before it does.
    fn make_durable(&self, batch: &Batch) -> Result<(), ObjectError> {
        let all_at_once = batch.len() > SYNC_EACH_UP_TO && self.sync_file_system()?;
        if !all_at_once {
            for hash in &batch.published {
                let synced = sync_at(&self.fd, &object_name(*hash), &self.path(*hash));
                synced.map_err(|error| match error {
                    ObjectError::Missing { .. } => ObjectError::NotStored { hash: *hash },
                    error => error,
                })?;
            }
            for staged in &batch.staged {
                sync_at(&self.tmp, &staged.name, &self.path(staged.hash))?;
            }
        }
        // A collector that looks at what is replaced must not remove what replaces it.
        let inside = self.enter()?;
        for staged in &batch.staged {
            rustix::fs::renameat(&self.tmp, &*staged.name, &self.fd, object_name(staged.hash))
                .map_err(ObjectError::at("rename to", &self.path(staged.hash)))?;
        }
        drop(inside);
        let named = if all_at_once { &[] } else { batch.published.as_slice() };
        let folders: BTreeSet<_> =
            named.iter().chain(batch.staged.iter().map(|staged| &staged.hash)).map(|hash| fan(*hash)).collect();
        for folder in folders {
            sync_at(&self.fd, &folder, &self.root().join(&folder))?;
        }
        Ok(())
    }

    /// Makes one object durable that was found right in content, and seals it.
    pub(super) fn sync_one(&self, hash: ContentHash) -> Result<(), ObjectError> {
        self.sync(Batch { published: vec![hash], staged: Vec::new() })
    }

    /// False where there is no such call.
    #[cfg(target_os = "linux")]
    pub(super) fn sync_file_system(&self) -> Result<bool, ObjectError> {
        rustix::fs::syncfs(&self.fd).map(|()| true).map_err(ObjectError::at(SYNC, self.root()))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_file_system(&self) -> Result<bool, ObjectError> {
        Ok(false)
    }
}

/// The folder of an object.
fn fan(hash: ContentHash) -> String {
    let mut name = hash.to_hex();
    name.truncate(2);
    name
}

fn sync_at(dir: impl AsFd, name: &str, path: &Path) -> Result<(), ObjectError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => ObjectError::Missing { path: path.to_owned() },
        errno => ObjectError::io("open", path, errno),
    })?;
    rustix::fs::fsync(fd).map_err(ObjectError::at(SYNC, path))
}
