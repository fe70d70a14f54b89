//! One shared, read-only checkout per tree, for all steps that read it.
//!
//! A checkout is a convenience and never the truth: it is looked through before each use, and built again from the
//! store when it is not exactly what its tree says.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use rustix::fs::{AtFlags, Mode, OFlags, Timestamps};
use rustix::io::Errno;
use uuid::Uuid;

use super::beneath::Beneath;
use super::error::ObjectError;
use super::materialize::{Lay, Materializer, SEALED_EXECUTABLE, make_dir};
use super::remove::remove_folder;
use super::store::{ObjectStore, SEALED_MODE, is_sealed, rename_new};
use super::tree::TreeItem;
use super::walk::{self, Limits, Listable, Listing};

/// Prefix of what is being built, or was found damaged. No hash starts with it.
const ASIDE: &str = ".";
/// How often a checkout that others damage while it is built is built again.
const ATTEMPTS: usize = 3;

/// A folder of checkouts. Safe to share between threads and processes.
#[derive(Debug)]
pub struct Checkouts {
    root: PathBuf,
    fd: OwnedFd,
    /// One builder per tree in this process; builders in other processes are merely wasteful.
    building: Mutex<HashMap<ContentHash, Arc<Mutex<()>>>>,
}

impl Checkouts {
    /// Opens the folder, and makes it where it is not there.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(root: &Path) -> Result<Self, ObjectError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(ObjectError::at("create", root))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(ObjectError::at("open", root))?;
        Ok(Self { root: root.to_owned(), fd, building: Mutex::default() })
    }

    /// The checkout of a tree: files are hard links to objects where the file system can, and copies elsewhere;
    /// executable files are always copies, since the mode belongs to the inode. Nothing in it can be written to
    /// without force, and force shows in a stat.
    ///
    /// # Errors
    /// [`ObjectError::NotStored`] and [`ObjectError::Altered`] for what the tree needs, and failed system calls.
    pub fn get(&self, store: &ObjectStore, tree: ContentHash) -> Result<PathBuf, ObjectError> {
        let turn = {
            let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
            // Forget what nobody waits for.
            building.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(building.entry(tree).or_default())
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let name = tree.to_hex();
        let path = self.root.join(&name);
        for _ in 0..ATTEMPTS {
            if self.is_intact(store, tree, &name)? {
                self.touch(&name);
                return Ok(path);
            }
            let built = self.build(store, tree)?;
            match rename_new(&self.fd, &*built, &self.fd, &name) {
                Ok(()) => return Ok(path),
                // Either another process was first, or a damaged one is in the way.
                Err(Errno::EXIST) if self.is_intact(store, tree, &name)? => return Ok(path),
                Err(Errno::EXIST) => drop(self.put_aside(&name)?),
                Err(errno) => return Err(ObjectError::io("rename to", path, errno)),
            }
        }
        Err(ObjectError::Changed { path })
    }

    fn build(&self, store: &ObjectStore, tree: ContentHash) -> Result<String, ObjectError> {
        let name = format!("{ASIDE}{}", Uuid::now_v7());
        let path = self.root.join(&name);
        let dir = make_dir(&self.fd, &*name, &path)?;
        let materializer = Materializer::new(store, Lay::Shared);
        materializer.fill(tree, &dir, 0, &path)?;
        #[cfg(target_os = "linux")]
        if materializer.copied() {
            // Links lead to durable objects. Copies must not look intact after a loss of power if they are not.
            rustix::fs::syncfs(&self.fd).map_err(ObjectError::at("sync", &path))?;
        }
        Ok(name)
    }

    /// Whether the checkout is there and exactly what its tree says, by one stat an entry.
    fn is_intact(&self, store: &ObjectStore, tree: ContentHash, name: &str) -> Result<bool, ObjectError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Beneath::of(fd, self.root.join(name)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(ObjectError::io("open", self.root.join(name), errno)),
        };
        // Whatever cannot be listed is not what was built.
        let Ok(listing) = walk::list(&dir, Limits::NONE, &|_, _, _| true) else { return Ok(false) };
        Self::matches(store, tree, &listing)
    }

    fn matches(store: &ObjectStore, tree: ContentHash, listing: &Listing) -> Result<bool, ObjectError> {
        let mut todo = vec![(tree, 0)];
        while let Some((tree, place)) = todo.pop() {
            let (expected, found) = (store.entries(tree)?, &listing.dirs[place].entries);
            if expected.len() != found.len() {
                return Ok(false);
            }
            for (expected, found) in expected.iter().zip(found) {
                let same = match (&expected.item, &found.what) {
                    (TreeItem::File { size, executable, .. }, Listable::File(_)) => {
                        let mode = if *executable { SEALED_EXECUTABLE } else { SEALED_MODE };
                        found.stat.size == *size && is_sealed(&found.stat, mode)
                    }
                    (TreeItem::Symlink { target }, Listable::Symlink(text)) => target == text,
                    (TreeItem::Dir { hash, .. }, Listable::Dir(below)) => {
                        todo.push((*hash, *below));
                        true
                    }
                    _ => false,
                };
                if !same || expected.name != found.name.to_bytes() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The folder's own time says when it was last used; its files' times are their seal.
    fn touch(&self, name: &str) {
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        // Best effort: at worst the checkout is tidied away early and built again.
        let _ = rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Takes a checkout out of use, and says what it is called now. Its files stay until [`tidy`](Self::tidy).
    fn put_aside(&self, name: &str) -> Result<String, ObjectError> {
        let aside = format!("{ASIDE}{}", Uuid::now_v7());
        match rustix::fs::renameat(&self.fd, name, &self.fd, &*aside) {
            Ok(()) | Err(Errno::NOENT) => Ok(aside),
            Err(errno) => Err(ObjectError::io("rename", self.root.join(name), errno)),
        }
    }

    /// Removes what nobody asked for, and what builders left behind, for at least `age`: longer than any attempt. Returns
    /// how many folders went. The space of an object is free when its last checkout is gone, too.
    ///
    /// # Errors
    /// Failed system calls.
    pub fn tidy(&self, age: Duration) -> Result<u64, ObjectError> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.root).map_err(ObjectError::at("list", &self.root))? {
            let entry = entry.map_err(ObjectError::at("list", &self.root))?;
            let used = entry.metadata().and_then(|stat| stat.modified());
            let Ok(used) = used else { continue };
            if SystemTime::now().duration_since(used).is_ok_and(|unused| unused >= age) {
                let name = entry.file_name().to_string_lossy().into_owned();
                // No one is to find it half removed.
                let aside = if name.starts_with(ASIDE) { name } else { self.put_aside(&name)? };
                remove_folder(&self.root.join(aside))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
