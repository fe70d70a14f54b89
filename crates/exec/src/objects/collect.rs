//! Takes content into the store: outputs by moving them, sources by copying.
//!
//! Never follows a link out of what it was given, and never keeps an inode that somebody else has a name for.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use runstone_core::hash::ContentHash;
use rustix::fs::AtFlags;

use super::beneath::{Beneath, FileKind, FileStat, missing_or, open_regular, open_trusted};
use super::digest;
use super::error::ObjectError;
use super::store::{ObjectStore, Publication};
use super::sync::Batch;
use super::walk::{self, Limits, Listable, hash_listed, hash_unchanged};

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
    /// Takes the output at `relative` below `folder` into the store. The caller owns it and nobody else may be
    /// writing to it: files are moved, not copied, wherever they can be. `folder` itself is trusted, nothing below is.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::WrongType`] (also for a symbolic link in place of the output and
    /// for FIFOs, sockets and devices), [`ObjectError::EscapingLink`], exceeded limits, content that
    /// changed meanwhile, and failed system calls. After an error parts of the output may have been moved already.
    pub fn collect(
        &self,
        folder: &Path,
        relative: &Path,
        expect: Expect,
        limits: Limits,
        batch: &mut Batch,
    ) -> Result<Collected, ObjectError> {
        let path = folder.join(relative);
        let name = relative.file_name().ok_or_else(|| ObjectError::Missing { path: path.clone() })?;
        let root = Beneath::open(folder)?;
        let parent = root.dir(relative.parent().unwrap_or(Path::new("")))?;
        let stat = FileStat::at(&parent, name).map_err(|errno| missing_or("stat", &path, errno))?;
        match (stat.kind(), expect) {
            (FileKind::Regular, Expect::File | Expect::Any) => {
                check_size(&path, stat.size, limits)?;
                let (file, now) = open_regular(&parent, name, &path)?;
                if !now.same_file_as(&stat) {
                    return Err(ObjectError::Changed { path });
                }
                let name = std::ffi::CString::new(name.as_encoded_bytes()).expect("a path that was opened has no NUL");
                let hash = self.take(&parent, &name, (&file, now), &path, batch)?;
                Ok(Collected { hash, kind: ObjectKind::File, size: now.size, files: 1 })
            }
            (FileKind::Dir, Expect::Dir | Expect::Any) => {
                self.collect_dir(&Beneath::of(root.dir(relative)?, path), limits, batch)
            }
            (found, expect) => {
                let expected = match expect {
                    Expect::File => "a file",
                    Expect::Dir => "a folder",
                    Expect::Any => "a file or folder",
                };
                Err(ObjectError::WrongType { path, expected, found: found.named() })
            }
        }
    }

    fn collect_dir(&self, dir: &Beneath, limits: Limits, batch: &mut Batch) -> Result<Collected, ObjectError> {
        let mut listing = walk::list(dir, limits, &|_, _, _| true)?;
        let shared = Mutex::new(std::mem::take(batch));
        let taken = listing.for_each_unhashed(dir, &|place, entry| {
            let path = dir.path().join(place.path).join(entry.os_name());
            let (file, now) = open_regular(place.fd, &entry.name, &path)?;
            if !now.same_file_as(&entry.stat) {
                return Err(ObjectError::Changed { path });
            }
            let mut own = Batch::default();
            let hash = self.take(place.fd, &entry.name, (&file, now), &path, &mut own)?;
            shared.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
            entry.what = Listable::File(Some(hash));
            Ok(())
        });
        *batch = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        taken?;
        let root = listing.build_trees(&mut |hash, encoded| self.put_node(hash, encoded, batch))?;
        Ok(Collected { hash: root.hash, kind: ObjectKind::Tree, size: root.size, files: listing.files })
    }

    /// Hashes the file `name` of `dir`, which is open as `file` in the state `stat`, and moves it into the store.
    /// A file that has further names, or cannot be moved, is copied and its name removed.
    fn take(
        &self,
        dir: impl AsFd,
        name: &std::ffi::CStr,
        (file, stat): (&File, FileStat),
        path: &Path,
        batch: &mut Batch,
    ) -> Result<ContentHash, ObjectError> {
        if stat.links == 1 {
            let hash = hash_unchanged(file, stat, path)?;
            if self.publish((dir.as_fd(), name, file), (hash, stat.size), batch)? == Publication::Done {
                return Ok(hash);
            }
        }
        let now = FileStat::of(file).map_err(ObjectError::at("stat", path))?;
        let hash = self.copy_in(file, now, path, batch)?;
        // The caller's folder is thrown away as a whole; a name that cannot be removed does no harm.
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        Ok(hash)
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

fn check_size(path: &Path, found: u64, limits: Limits) -> Result<(), ObjectError> {
    if found > limits.bytes {
        return Err(ObjectError::TooLarge { path: path.to_owned(), found, limit: limits.bytes });
    }
    Ok(())
}
