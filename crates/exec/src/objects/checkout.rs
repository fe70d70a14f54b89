//! One shared, read-only checkout per tree, for all steps that read it.
//!
//! A checkout is a convenience and never the truth: it is looked through before each use, and built again from the
//! store when it is not exactly what its tree says.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use runstone_core::hash::ContentHash;
use rustix::fs::{AtFlags, Mode, OFlags, Timestamps};
use rustix::io::Errno;
use uuid::Uuid;

use super::beneath::{Beneath, FileStat};
use super::collector::Collector;
use super::error::ObjectError;
use super::materialize::{Lay, Materializer, SEALED_EXECUTABLE, make_dir};
use super::remove::remove_folder;
use super::store::{ObjectStore, SEALED_MODE, State, is_sealed, rename_new};
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
            // Touched first: from then on nobody takes it away.
            if self.touch(store, &name)? && self.is_intact(store, tree, &name)? {
                return Ok(path);
            }
            let built = self.build(store, tree)?;
            match rename_new(&self.fd, &*built, &self.fd, &name) {
                Ok(()) => return Ok(path),
                // Either another process was first, or a damaged one is in the way.
                Err(Errno::EXIST) if self.touch(store, &name)? && self.is_intact(store, tree, &name)? => {
                    return Ok(path);
                }
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

    /// The folder's own time says when it was last used; its files' times are their seal. False where it is not there.
    fn touch(&self, store: &ObjectStore, name: &str) -> Result<bool, ObjectError> {
        let _inside = store.enter()?;
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        match rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(ObjectError::io("set the time of", self.root.join(name), errno)),
        }
    }

    /// Takes a checkout out of use, and says what it is called now. Its files stay until [`remove`](Self::remove).
    fn put_aside(&self, name: &str) -> Result<String, ObjectError> {
        let aside = format!("{ASIDE}{}", Uuid::now_v7());
        match rustix::fs::renameat(&self.fd, name, &self.fd, &*aside) {
            Ok(()) | Err(Errno::NOENT) => Ok(aside),
            Err(errno) => Err(ObjectError::io("rename", self.root.join(name), errno)),
        }
    }

    /// Checkouts that nobody asked for since `before`, and what builders left behind by then. Those of `keep` are left out, as
    /// they may be in use for longer.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn unused(&self, before: SystemTime, keep: &HashSet<ContentHash>) -> Result<Vec<Unused>, ObjectError> {
        let mut unused = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(ObjectError::at("list", &self.root))? {
            let entry = entry.map_err(ObjectError::at("list", &self.root))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let tree = name.parse().ok();
            let used = entry.metadata().and_then(|stat| stat.modified());
            if used.is_ok_and(|used| used < before) && tree.is_none_or(|tree| !keep.contains(&tree)) {
                unused.push(Unused { name });
            }
        }
        unused.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(unused)
    }

    /// The checkout of a tree, where there is one.
    #[must_use]
    pub fn of(&self, tree: ContentHash) -> Option<Unused> {
        let name = tree.to_hex();
        self.root.join(&name).is_dir().then_some(Unused { name })
    }

    /// The files of a checkout.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn files(&self, unused: &Unused) -> Result<Vec<Linked>, ObjectError> {
        let dir = match Beneath::open(&self.root.join(&unused.name)) {
            Err(ObjectError::Missing { .. }) => return Ok(Vec::new()),
            dir => dir?,
        };
        let listing = walk::list(&dir, Limits::NONE, &|_, _, _| true)?;
        let entries = listing.dirs.iter().flat_map(|listed| &listed.entries);
        let files = entries.filter(|entry| matches!(entry.what, Listable::File(_)));
        Ok(files.map(|entry| Linked::of(&entry.stat)).collect())
    }

    /// Removes a checkout, unless somebody asked for it since `before`. Returns how many bytes that freed; none where it was
    /// spared or gone. The space of an object is free when its last checkout is gone, too.
    ///
    /// # Errors
    /// Failed system calls.
    pub fn remove(
        &self,
        unused: &Unused,
        before: SystemTime,
        collector: &Collector<'_>,
    ) -> Result<Option<u64>, ObjectError> {
        // No one is to find it half removed, or gone after having touched it.
        let path = self.root.join(&unused.name);
        let aside = collector.alone(|| match path.metadata().and_then(|stat| stat.modified()) {
            Ok(used) if used < before => self.put_aside(&unused.name).map(Some),
            _ => Ok(None),
        })?;
        let Some(name) = aside else { return Ok(None) };
        let files = self.files(&Unused { name: name.clone() })?;
        remove_folder(&self.root.join(name))?;
        Ok(Some(files.iter().filter(|file| file.links == 1).map(|file| file.size).sum()))
    }
}

/// A checkout that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    name: String,
}

/// A file, and how many names it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    /// Device and inode.
    pub id: (u64, u64),
    /// Its names.
    pub links: u64,
    /// Bytes.
    pub size: u64,
}

impl Linked {
    fn of(stat: &FileStat) -> Self {
        Self { id: (stat.dev, stat.ino), links: stat.links, size: stat.size }
    }
}

impl ObjectStore {
    /// An object as a file; none where it is not there.
    ///
    /// # Errors
    /// When its state cannot be had.
    pub fn linked(&self, hash: ContentHash) -> Result<Option<Linked>, ObjectError> {
        Ok(match self.state(hash)? {
            State::Missing => None,
            State::Sealed(stat) | State::Unsealed(stat) => Some(Linked::of(&stat)),
        })
    }
}
