//! Takes content into the store: outputs by moving them, sources by copying.
//!
//! Never follows a link out of what it was given, and never keeps an inode that somebody else has a name for.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use runstone_core::hash::ContentHash;

use super::beneath::{Beneath, FileStat, open_regular, open_trusted};
use super::digest;
use super::error::ObjectError;
use super::store::ObjectStore;
use super::survey::survey;
use super::sync::Batch;
use super::walk::{self, Limits, Listable, hash_listed};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The bytes of one file.
    File,
    /// A directory.
    Tree,
}

/// What an output is declared to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// Either.
    Any,
}

/// Content that is in the store. A file is its bytes alone: permission bits are kept within folders only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Its hash.
    pub hash: ContentHash,
    /// File or folder.
    pub kind: ObjectKind,
    /// Bytes of the file, or of all files and link texts below the folder.
    pub size: u64,
    /// Regular files: 1, or those below the folder.
    pub files: u64,
}

impl ObjectStore {
    /// Takes the output at `relative` below `folder` into the store, in one go: [`survey`], then [`take`](Self::take).
    ///
    /// # Errors
    /// As both.
    pub fn collect(
        &self,
        folder: &Path,
        relative: &Path,
        expect: Expect,
        limits: Limits,
        batch: &mut Batch,
    ) -> Result<Collected, ObjectError> {
        self.take(survey(folder, relative, expect, limits)?, batch)
    }

    /// Copies a source that belongs to others into the store: one file, at a path the user vouches for.
    ///
    /// # Errors
    /// [`ObjectError::Changed`] when somebody wrote to it meanwhile, exceeded limits, and failed system calls.
    pub fn import_file(&self, path: &Path, limits: Limits, batch: &mut Batch) -> Result<Collected, ObjectError> {
        let (file, stat) = open_trusted(path)?;
        check_size(path, stat.size, limits)?;
        let hash = self.copy_in(&file, stat, path, batch)?;
        Ok(Collected { hash, kind: ObjectKind::File, size: stat.size, files: 1 })
    }

    /// Copies a folder that belongs to others into the store.
    ///
    /// # Errors
    /// As [`import_file`](Self::import_file) and [`collect`](Self::collect).
    pub fn import_dir(&self, path: &Path, limits: Limits, batch: &mut Batch) -> Result<Collected, ObjectError> {
        let dir = Beneath::open(path)?;
        let mut listing = walk::list(&dir, limits, &|_, _, _| true)?;
        listing.for_each_unhashed(&dir, &|place, entry| {
            let path = dir.path().join(place.path).join(entry.os_name());
            entry.what = Listable::File(Some(hash_listed(place, entry, &path)?.1));
            Ok(())
        })?;
        self.import_listing(&dir, &listing, batch)
    }

    /// Copies the files of a hashed listing that are not stored yet, and stores its trees.
    pub(crate) fn import_listing(
        &self,
        dir: &Beneath,
        listing: &walk::Listing,
        batch: &mut Batch,
    ) -> Result<Collected, ObjectError> {
        let shared = Mutex::new(std::mem::take(batch));
        let copied = listing.for_each_file(dir, &|place, entry, hash| {
            let mut own = Batch::default();
            if !self.confirm(hash, entry.stat.size, &mut own)? {
                let path = dir.path().join(place.path).join(entry.os_name());
                let (file, now) = open_regular(place.fd, &entry.name, &path)?;
                if !now.same_file_as(&entry.stat) || self.copy_in(&file, now, &path, &mut own)? != hash {
                    return Err(ObjectError::Changed { path });
                }
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
            Ok(())
        });
        *batch = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        copied?;
        let root = listing.build_trees(&mut |hash, encoded| self.put_node(hash, encoded, batch))?;
        Ok(Collected { hash: root.hash, kind: ObjectKind::Tree, size: root.size, files: listing.files })
    }

    /// Copies a file that was hashed in the state `stat` into the store, unless it is there.
    pub(crate) fn import_known(
        &self,
        path: &Path,
        stat: &FileStat,
        hash: ContentHash,
        batch: &mut Batch,
    ) -> Result<(), ObjectError> {
        if self.confirm(hash, stat.size, batch)? {
            return Ok(());
        }
        let (file, now) = open_trusted(path)?;
        if now.same_file_as(stat) && self.copy_in(&file, now, path, batch)? == hash {
            return Ok(());
        }
        Err(ObjectError::Changed { path: path.to_owned() })
    }

    /// Copies an open file in the state `before` into the store, as a clone where the file system can.
    pub(crate) fn copy_in(
        &self,
        mut source: &File,
        before: FileStat,
        path: &Path,
        batch: &mut Batch,
    ) -> Result<ContentHash, ObjectError> {
        let changed = || ObjectError::Changed { path: path.to_owned() };
        let mut temp = self.temp()?;
        let (hash, size) = if clone_file(source, &temp.file) {
            let stat = FileStat::of(&temp.file).map_err(ObjectError::at("stat", &temp.path()))?;
            (digest::hash_file(&temp.file, stat.size).map_err(ObjectError::at("read", &temp.path()))?, stat.size)
        } else {
            std::io::Seek::rewind(&mut source).map_err(ObjectError::at("read", path))?;
            let copied = digest::copy_hashed(&mut source, &mut temp.file, before.size);
            copied.map_err(|error| match error.kind() {
                std::io::ErrorKind::FileTooLarge => changed(),
                _ => ObjectError::io("copy", path, error),
            })?
        };
        let after = FileStat::of(source).map_err(ObjectError::at("stat", path))?;
        if size != before.size || after != before {
            return Err(changed());
        }
        temp.publish(hash, size, batch)?;
        Ok(hash)
    }
}

/// Lets `target` share the blocks of `source`. False where the file system cannot.
pub(super) fn clone_file(source: &File, target: &File) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::fs::ioctl_ficlone(target, source).is_ok();
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (source, target);
        false
    }
}

pub(super) fn check_size(path: &Path, found: u64, limits: Limits) -> Result<(), ObjectError> {
    if found > limits.bytes {
        return Err(ObjectError::TooLarge { path: path.to_owned(), found, limit: limits.bytes });
    }
    Ok(())
}
