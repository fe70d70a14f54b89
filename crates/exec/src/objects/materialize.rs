//! Lays a stored tree out as files and folders: as shared read-only links, or as private copies.
//!
//! Knows nothing of where the result belongs; see [`checkout`](super::checkout) and [`restore`](super::restore).

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use runstone_core::hash::ContentHash;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::FileStat;
use super::collect::clone_file;
use super::contents::check_depth;
use super::digest;
use super::error::ObjectError;
use super::store::{ObjectStore, SEALED_MODE, object_name, sealed_times};
use super::tree::{TreeEntry, TreeItem, link_stays_inside};

/// Mode of an executable file in a shared checkout.
pub(super) const SEALED_EXECUTABLE: u32 = 0o555;
/// Entries laid by one thread at a time.
const CHUNK: usize = 64;

/// How files are laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lay {
    /// Read-only and shared with the store where the file system can.
    Shared,
    /// The owner's to write to.
    Private,
}

pub(super) struct Materializer<'s> {
    store: &'s ObjectStore,
    lay: Lay,
    copied: AtomicBool,
}

impl<'s> Materializer<'s> {
    pub(super) fn new(store: &'s ObjectStore, lay: Lay) -> Self {
        Self { store, lay, copied: AtomicBool::new(false) }
    }

    /// Whether any file is not a link to its object.
    pub(super) fn copied(&self) -> bool {
        self.copied.load(Ordering::Relaxed)
    }

    /// Fills the empty folder `dir`, which is at `path`, `depth` levels below the root of the tree.
    pub(super) fn fill(&self, tree: ContentHash, dir: &OwnedFd, depth: usize, path: &Path) -> Result<(), ObjectError> {
        check_depth(depth, path)?;
        let mut folders = Vec::new();
        self.store.for_each_leaf(tree, &mut |_| Ok(true), &mut |leaf| {
            leaf.par_chunks(CHUNK).try_for_each(|chunk| {
                chunk.iter().try_for_each(|entry| self.entry(entry, dir, depth, &path.join(os_name(entry))))
            })?;
            folders.extend(leaf.into_iter().filter_map(|entry| match entry.item {
                TreeItem::Dir { hash, .. } => Some((entry.name, hash)),
                TreeItem::File { .. } | TreeItem::Symlink { .. } => None,
            }));
            Ok(())
        })?;
        for (name, hash) in folders {
            let below = path.join(OsStr::from_bytes(&name));
            let fd = make_dir(dir, &*name, &below)?;
            self.fill(hash, &fd, depth + 1, &below)?;
        }
        if self.lay == Lay::Shared {
            let mode = Mode::from_raw_mode(0o555);
            rustix::fs::fchmod(dir, mode).map_err(ObjectError::at("set the mode of", path))?;
        }
        Ok(())
    }

    fn entry(&self, entry: &TreeEntry, dir: &OwnedFd, depth: usize, path: &Path) -> Result<(), ObjectError> {
        match &entry.item {
            TreeItem::File { hash, size, executable } => {
                let linked =
                    self.lay == Lay::Shared && !executable && self.link(*hash, *size, dir, &entry.name, path)?;
                if linked { Ok(()) } else { self.copy(*hash, *executable, dir, &*entry.name, path).map(|_| ()) }
            }
            TreeItem::Symlink { target } if link_stays_inside(depth, target) => {
                rustix::fs::symlinkat(&**target, dir, &*entry.name).map_err(|errno| exists_or("create", path, errno))
            }
            TreeItem::Symlink { target } => {
                let target = String::from_utf8_lossy(target).into_owned();
                Err(ObjectError::EscapingLink { path: path.to_owned(), target })
            }
            TreeItem::Dir { .. } => Ok(()),
        }
    }

    /// False where the file system cannot link, or not once more.
    fn link(&self, hash: ContentHash, size: u64, dir: &OwnedFd, name: &[u8], path: &Path) -> Result<bool, ObjectError> {
        self.store.ensure_intact(hash, Some(size))?;
        match rustix::fs::linkat(&self.store.fd, object_name(hash), dir, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
            Err(Errno::NOENT) => Err(ObjectError::NotStored { hash }),
            Err(errno) => Err(exists_or("link", path, errno)),
        }
    }

    /// Writes a copy and verifies what was written.
    pub(super) fn copy(
        &self,
        hash: ContentHash,
        executable: bool,
        dir: impl AsFd,
        name: impl rustix::path::Arg,
        path: &Path,
    ) -> Result<File, ObjectError> {
        self.copied.store(true, Ordering::Relaxed);
        let mut source = self.store.open_checked(hash)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The process's mask takes away what the user does not want to grant.
        let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
        let fd = rustix::fs::openat(dir, name, flags, mode).map_err(|errno| exists_or("create", path, errno))?;
        let mut target = File::from(fd);
        let found = if clone_file(&source, &target) {
            let size = FileStat::of(&target).map_err(ObjectError::at("stat", path))?.size;
            digest::hash_file(&target, size).map_err(ObjectError::at("read", path))?
        } else {
            digest::copy_hashed(&mut source, &mut target, u64::MAX).map_err(ObjectError::at("write", path))?.0
        };
        if found != hash {
            self.store.verify(hash)?;
            return Err(ObjectError::Altered { hash });
        }
        if self.lay == Lay::Shared {
            let mode = Mode::from_raw_mode(if executable { SEALED_EXECUTABLE } else { SEALED_MODE } as _);
            rustix::fs::fchmod(&target, mode)
                .and_then(|()| rustix::fs::futimens(&target, &sealed_times()))
                .map_err(ObjectError::at("seal", path))?;
        }
        Ok(target)
    }
}

/// Makes a folder that must not exist yet, and opens it.
pub(super) fn make_dir(
    parent: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    path: &Path,
) -> Result<OwnedFd, ObjectError> {
    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)).map_err(|errno| exists_or("create", path, errno))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(ObjectError::at("open", path))
}

pub(super) fn exists_or(action: &'static str, path: &Path, errno: Errno) -> ObjectError {
    if errno == Errno::EXIST {
        ObjectError::Exists { path: path.to_owned() }
    } else {
        ObjectError::io(action, path, errno)
    }
}

fn os_name(entry: &TreeEntry) -> &OsStr {
    OsStr::from_bytes(&entry.name)
}
