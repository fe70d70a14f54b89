//! The object store as a folder: where things are, how bytes get their name.
//!
//! Invariants, which everything else in this module rests on:
//! - A file gets its hash name by one rename, after its last byte was written. A process that dies leaves a temporary
//!   file at most.
//! - A file under a hash name is *sealed* (mode 0444 and the [canonical time](SEALED_SECONDS)) only after its bytes
//!   and its name were made durable. An unsealed one means nothing: it is hashed again or replaced.
//! - A sealed file is never replaced by one that is not durable.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use runstone_core::hash::ContentHash;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use uuid::Uuid;

use super::beneath::{FileKind, FileStat};
use super::error::ObjectError;
use super::gate::{Gate, Inside};
use super::sync::{Batch, Staged};
use super::tree;

/// Modification time of every sealed object, in seconds since 1970 (2001-09-09T01:46:40Z): no file gets it by chance,
/// and a write to an object shows in a single stat.
pub const SEALED_SECONDS: i64 = 1_000_000_000;
/// Permission bits of every object.
pub(crate) const SEALED_MODE: u32 = 0o444;

const MARKER: &str = "store-id";
const TMP: &str = "tmp";
const QUARANTINE: &str = "quarantine";

/// A folder of objects. Safe to share between threads, and between processes that open the same folder.
#[derive(Debug)]
pub struct ObjectStore {
    root: PathBuf,
    /// Held open from the start, because only then does `syncfs` report every failed write since.
    pub(super) fd: OwnedFd,
    pub(super) tmp: OwnedFd,
    marker: Uuid,
    gate: Gate,
    /// What this process published and did not seal yet: right in content, not known to be durable.
    pending: Mutex<HashSet<ContentHash>>,
    poisoned: AtomicBool,
}

/// What one stat says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    /// As it was when it was made durable.
    Sealed(FileStat),
    /// Not sealed yet, or touched since.
    Unsealed(FileStat),
}

/// What became of a file that was to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication {
    Done,
    /// The file cannot be moved here (other file system, other owner): copy it.
    Copy,
}

impl ObjectStore {
    /// Opens the store in `root`, and makes it first where nothing is.
    ///
    /// # Errors
    /// When the folder cannot be made or opened, or is no store.
    pub fn open(root: &Path) -> Result<Self, ObjectError> {
        let marker_path = root.join(MARKER);
        if !marker_path.exists() {
            create(root)?;
        }
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(ObjectError::at("open", path))
        };
        let text = std::fs::read_to_string(&marker_path).map_err(ObjectError::at("read", &marker_path))?;
        let marker = text.trim().parse().map_err(|_| ObjectError::BadMarker { path: marker_path })?;
        Ok(Self {
            root: root.to_owned(),
            fd: open(root)?,
            tmp: open(&root.join(TMP))?,
            marker,
            gate: Gate::open(root).map_err(ObjectError::at("open", root))?,
            pending: Mutex::default(),
            poisoned: AtomicBool::new(false),
        })
    }

    /// The identity of this store, wherever its folder is moved.
    #[must_use]
    pub fn marker(&self) -> Uuid {
        self.marker
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an object is, if it is stored. Read what is there through [`open_checked`](Self::open_checked).
    #[must_use]
    pub fn path(&self, hash: ContentHash) -> PathBuf {
        self.root.join(object_name(hash))
    }

    /// Stores bytes as a file object.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, bytes: &[u8], batch: &mut Batch) -> Result<ContentHash, ObjectError> {
        let hash = ContentHash::of(bytes);
        self.put(hash, bytes, batch)?;
        Ok(hash)
    }

    /// Stores an encoded tree node under `hash`, its [node hash](tree::node_hash).
    pub(super) fn put_node(&self, hash: ContentHash, encoded: &[u8], batch: &mut Batch) -> Result<(), ObjectError> {
        debug_assert_eq!(hash, tree::node_hash(encoded), "a node is stored under the hash of its bytes");
        self.put(hash, encoded, batch)
    }

    fn put(&self, hash: ContentHash, bytes: &[u8], batch: &mut Batch) -> Result<(), ObjectError> {
        let size = bytes.len() as u64;
        if self.confirm(hash, size, batch)? {
            return Ok(());
        }
        let mut temp = self.temp()?;
        temp.file.write_all(bytes).map_err(ObjectError::at("write", &temp.path()))?;
        temp.publish(hash, size, batch)
    }

    /// Whether the object is there already, durable or about to be made so by `batch`. Its time of change becomes
    /// now, so that a clean-up that spares young objects spares it.
    pub(super) fn confirm(&self, hash: ContentHash, size: u64, batch: &mut Batch) -> Result<bool, ObjectError> {
        let _inside = self.enter()?;
        match self.state(hash)? {
            State::Sealed(stat) if stat.size == size => self.rejuvenate(hash),
            State::Unsealed(stat) if stat.size == size && self.pending().contains(&hash) => {
                batch.published.push(hash);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn state(&self, hash: ContentHash) -> Result<State, ObjectError> {
        let stat = match FileStat::at(&self.fd, object_name(hash)) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(State::Missing),
            Err(errno) => return Err(ObjectError::io("stat", self.path(hash), errno)),
        };
        Ok(if is_sealed(&stat, SEALED_MODE) { State::Sealed(stat) } else { State::Unsealed(stat) })
    }

    /// Seals a durable object: gives it the canonical time. False when it is gone.
    pub(super) fn seal(&self, hash: ContentHash) -> Result<bool, ObjectError> {
        self.set_times(hash, &sealed_times())
    }

    /// Waits until nothing is being removed; nothing is until the answer is dropped.
    pub(super) fn enter(&self) -> Result<Inside<'_>, ObjectError> {
        self.gate.enter().map_err(ObjectError::at("lock", &self.root))
    }

    /// Makes the time of change now and leaves the seal as it is, or as it is broken. False when the object is gone.
    pub(super) fn rejuvenate(&self, hash: ContentHash) -> Result<bool, ObjectError> {
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        self.set_times(hash, &Timestamps { last_access: now, last_modification: omit })
    }

    fn set_times(&self, hash: ContentHash, times: &Timestamps) -> Result<bool, ObjectError> {
        match rustix::fs::utimensat(&self.fd, object_name(hash), times, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(ObjectError::io("set the time of", self.path(hash), errno)),
        }
    }

    /// Moves the complete file `name` in `dir`, whose content hashes to `hash`, under its hash name. Where an object
    /// is that may not be durable, the file is put aside until the batch is synced, and replaces it then.
    ///
    /// `file` is the file that was hashed: should another one stand under `name` by now, that is an error.
    pub(super) fn publish(
        &self,
        (dir, name, file): (impl AsFd, &std::ffi::CStr, &File),
        (hash, size): (ContentHash, u64),
        batch: &mut Batch,
    ) -> Result<Publication, ObjectError> {
        self.healthy()?;
        match rustix::fs::fchmod(file, Mode::from_raw_mode(SEALED_MODE as _)) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(Publication::Copy),
            Err(errno) => return Err(ObjectError::io("set the mode of", self.path(hash), errno)),
        }
        let target = object_name(hash);
        match rename_new(dir.as_fd(), name, self.fd.as_fd(), &target) {
            Ok(()) => {
                self.pending().insert(hash);
                batch.published.push(hash);
                self.expect_same(&self.fd, &target, file)?;
            }
            Err(Errno::EXIST) if self.confirm(hash, size, batch)? => {
                rustix::fs::unlinkat(dir, name, AtFlags::empty())
                    .map_err(ObjectError::at("remove", &self.path(hash)))?;
            }
            Err(Errno::EXIST) => {
                let aside = Uuid::now_v7().to_string();
                rustix::fs::renameat(dir, name, &self.tmp, &*aside)
                    .map_err(ObjectError::at("rename", &self.path(hash)))?;
                batch.staged.push(Staged { name: aside.clone(), hash });
                self.expect_same(&self.tmp, &aside, file)?;
            }
            Err(Errno::XDEV | Errno::PERM | Errno::ACCESS) => return Ok(Publication::Copy),
            Err(errno) => return Err(ObjectError::io("rename to", self.path(hash), errno)),
        }
        Ok(Publication::Done)
    }

    /// The name that was just given must belong to the file that was hashed. Otherwise somebody swapped files under
    /// our hands, and the name is taken back.
    fn expect_same(&self, dir: &OwnedFd, name: &str, file: &File) -> Result<(), ObjectError> {
        let path = self.root.join(name);
        let meant = FileStat::of(file).map_err(ObjectError::at("stat", &path))?;
        match FileStat::at(dir, name) {
            Ok(found) if (found.dev, found.ino) != (meant.dev, meant.ino) => {
                rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(ObjectError::at("remove", &path))?;
                Err(ObjectError::Changed { path })
            }
            _ => Ok(()),
        }
    }

    /// A new temporary file, removed again unless it is published.
    pub(super) fn temp(&self) -> Result<Temp<'_>, ObjectError> {
        self.healthy()?;
        let name = Uuid::now_v7().to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.tmp, &*name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| ObjectError::io("create", self.root.join(TMP).join(&name), errno))?;
        Ok(Temp { store: self, name, file: File::from(fd), published: false })
    }

    /// Puts an object where nothing finds it, for people to look at. False when it is not there.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn quarantine(&self, hash: ContentHash) -> Result<bool, ObjectError> {
        self.pending().remove(&hash);
        let aside = format!("{QUARANTINE}/{}-{}", hash.to_hex(), Uuid::now_v7());
        match rustix::fs::renameat(&self.fd, object_name(hash), &self.fd, &*aside) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(ObjectError::io("quarantine", self.path(hash), errno)),
        }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, HashSet<ContentHash>> {
        // A set of hashes is whole after any panic.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to go on after a failed sync: the kernel may have dropped what it could not write, and would call the
    /// next sync a success.
    pub(super) fn healthy(&self) -> Result<(), ObjectError> {
        if self.poisoned.load(Ordering::Acquire) {
            Err(ObjectError::Poisoned { path: self.root.clone() })
        } else {
            Ok(())
        }
    }

    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }
}

/// A file that has no name of its own yet.
#[derive(Debug)]
pub(super) struct Temp<'s> {
    store: &'s ObjectStore,
    name: String,
    pub(super) file: File,
    published: bool,
}

impl Temp<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.store.root.join(TMP).join(&self.name)
    }

    /// Gives the file its hash name. It must be complete.
    pub(super) fn publish(mut self, hash: ContentHash, size: u64, batch: &mut Batch) -> Result<(), ObjectError> {
        let name = std::ffi::CString::new(&*self.name).expect("an identifier holds no NUL");
        match self.store.publish((&self.store.tmp, &name, &self.file), (hash, size), batch)? {
            Publication::Done => {
                self.published = true;
                Ok(())
            }
            Publication::Copy => {
                let source = io::Error::from(io::ErrorKind::PermissionDenied);
                Err(ObjectError::io("rename", self.path(), source))
            }
        }
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what is left behind is tidied up later by its age.
            let _ = rustix::fs::unlinkat(&self.store.tmp, &*self.name, AtFlags::empty());
        }
    }
}

/// The place of an object below the root: `ab/cdef…`.
pub(super) fn object_name(hash: ContentHash) -> String {
    let mut name = hash.to_hex();
    name.insert(2, '/');
    name
}

pub(super) fn sealed_times() -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Timestamps { last_access: omit, last_modification: Timespec { tv_sec: SEALED_SECONDS, tv_nsec: 0 } }
}

/// Whether a file is as it was when it was sealed with this mode.
pub(super) fn is_sealed(stat: &FileStat, mode: u32) -> bool {
    stat.kind() == FileKind::Regular && stat.mode & 0o7777 == mode && stat.mtime_ns == SEALED_SECONDS * 1_000_000_000
}

/// Renames without replacing anything.
pub(super) fn rename_new(
    from: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    to: impl AsFd,
    new_name: &str,
) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&from, name, &to, new_name, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            result => return result,
        }
    }
    // File systems that cannot: a link never replaces either.
    rustix::fs::linkat(&from, name, &to, new_name, AtFlags::empty())?;
    rustix::fs::unlinkat(&from, name, AtFlags::empty())
}

/// Makes the folders and then the marker, whose presence says that everything else is there and durable.
fn create(root: &Path) -> Result<(), ObjectError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let make = |path: &Path| {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(ObjectError::at("create", path))
    };
    make(root)?;
    make(&root.join(TMP))?;
    make(&root.join(QUARANTINE))?;
    for fan in 0..=u8::MAX {
        make(&root.join(format!("{fan:02x}")))?;
    }
    let sync_root = || File::open(root).and_then(|dir| dir.sync_all()).map_err(ObjectError::at("sync", root));
    sync_root()?;
    let temp = root.join(TMP).join(Uuid::now_v7().to_string());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&temp)
        .map_err(ObjectError::at("create", &temp))?;
    writeln!(file, "{}", Uuid::now_v7()).and_then(|()| file.sync_all()).map_err(ObjectError::at("write", &temp))?;
    // Of several processes that get here at once, the first one names the store.
    let marker = root.join(MARKER);
    let linked = std::fs::hard_link(&temp, &marker);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            rename_new(rustix::fs::CWD, &temp, rustix::fs::CWD, &marker.to_string_lossy())
                .or_else(|errno| if errno == Errno::EXIST { Ok(()) } else { Err(errno) })
                .map_err(ObjectError::at("create", &marker))?;
        }
        _ => std::fs::remove_file(&temp).map_err(ObjectError::at("remove", &temp))?,
    }
    sync_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_swapped_in_before_the_rename_does_not_keep_the_name_of_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = ObjectStore::open(&dir.path().join("objects")).unwrap();
        let out = File::open(dir.path()).unwrap();
        let hash = ContentHash::of(b"hashed");
        // Under a free name, and beside an unsealed object that is in the way.
        for _ in 0..2 {
            let path = dir.path().join("x");
            std::fs::write(&path, "hashed").unwrap();
            let hashed = File::open(&path).unwrap();
            std::fs::write(dir.path().join("y"), "wicked").unwrap();
            std::fs::rename(dir.path().join("y"), &path).unwrap();
            let mut batch = Batch::default();
            let published = store.publish((&out, c"x", &hashed), (hash, 6), &mut batch);
            assert!(matches!(published, Err(ObjectError::Changed { .. })));
            assert_ne!(std::fs::read(store.path(hash)).unwrap_or_default(), b"wicked");
            std::fs::write(store.path(hash), "unsealed").unwrap();
        }
    }
}
