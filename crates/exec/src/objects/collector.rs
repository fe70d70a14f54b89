//! The one who removes objects. Which ones are not needed is known elsewhere; here only what nobody touched goes.
//!
//! Whoever counts on an object that stands on no record yet has touched it ([`ObjectStore::hold`], and every `put` of what
//! is there already). The collector looks at that time and removes in one move, behind the [gate](super::gate).

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::FileStat;
use super::error::ObjectError;
use super::gate;
use super::store::{ObjectStore, object_name};

/// Its lock: one collector at a time.
const ALONE: &str = "collector";
/// So many objects are removed before others have their turn.
const AT_ONCE: usize = 64;

/// What became of an object that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed {
        /// Bytes that are free now: 0 where a checkout has another name for the file.
        freed: u64,
    },
    /// Somebody counts on it.
    Spared,
    /// It was not there.
    Missing,
}

/// The right to remove objects of a store. See the module.
#[derive(Debug)]
pub struct Collector<'s> {
    store: &'s ObjectStore,
    gate: File,
    began: SystemTime,
    /// Let go of with the value.
    _alone: File,
}

impl ObjectStore {
    /// Makes the caller the collector. None where somebody else is.
    ///
    /// # Errors
    /// When the lock or the clock of the file system cannot be had.
    pub fn collector(&self) -> Result<Option<Collector<'_>>, ObjectError> {
        let path = self.root().join(ALONE);
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let alone = open.map_err(ObjectError::at("open", &path))?;
        match alone.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(ObjectError::io("lock", &path, error)),
        }
        // What is touched after this has a later time, or the same: both come from the clock of the file system.
        let times = rustix::fs::Timestamps { last_access: now(), last_modification: now() };
        rustix::fs::futimens(&alone, &times).map_err(ObjectError::at("set the time of", &path))?;
        let began = changed(&FileStat::of(&alone).map_err(ObjectError::at("stat", &path))?);
        let gate = gate::open(self.root()).map_err(ObjectError::at("open", self.root()))?;
        Ok(Some(Collector { store: self, gate, began, _alone: alone }))
    }

    /// Whether an object is there; if so, no collector removes it while a run goes on that has begun by now, whoever decides
    /// what. Of a folder the root stands for all that it needs.
    ///
    /// # Errors
    /// When its time cannot be set.
    pub fn hold(&self, hash: ContentHash) -> Result<bool, ObjectError> {
        let _inside = self.enter()?;
        self.rejuvenate(hash)
    }
}

impl Collector<'_> {
    /// When the collector began, by the clock of the file system.
    #[must_use]
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// Removes those that nobody has touched since `before`, and says what became of each.
    ///
    /// # Errors
    /// Failed system calls. Those before are gone.
    pub fn remove(&self, hashes: &[ContentHash], before: SystemTime) -> Result<Vec<Removal>, ObjectError> {
        let mut removals = Vec::with_capacity(hashes.len());
        for some in hashes.chunks(AT_ONCE) {
            self.alone(|| {
                for hash in some {
                    removals.push(self.remove_one(*hash, before)?);
                }
                Ok(())
            })?;
        }
        Ok(removals)
    }

    /// Does something while nobody begins to count on anything.
    pub(super) fn alone<T>(&self, body: impl FnOnce() -> Result<T, ObjectError>) -> Result<T, ObjectError> {
        let failed = ObjectError::at("lock", self.store.root());
        self.gate.lock().map_err(failed)?;
        let done = body();
        self.gate.unlock().map_err(ObjectError::at("unlock", self.store.root()))?;
        done
    }

    fn remove_one(&self, hash: ContentHash, before: SystemTime) -> Result<Removal, ObjectError> {
        let name = object_name(hash);
        let path = self.store.path(hash);
        // Opened, because a network file system then asks its server for the time.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let stat = match rustix::fs::openat(&self.store.fd, &*name, flags, Mode::empty()) {
            Ok(file) => FileStat::of(file),
            Err(Errno::NOENT) => return Ok(Removal::Missing),
            Err(_) => FileStat::at(&self.store.fd, &*name),
        };
        let stat = stat.map_err(ObjectError::at("stat", &path))?;
        if changed(&stat) >= before {
            return Ok(Removal::Spared);
        }
        rustix::fs::unlinkat(self.store.fd.as_fd(), &*name, AtFlags::empty())
            .map_err(ObjectError::at("remove", &path))?;
        Ok(Removal::Removed { freed: if stat.links == 1 { stat.size } else { 0 } })
    }
}

fn now() -> rustix::fs::Timespec {
    rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW }
}

/// The time of change, as a point in time.
fn changed(stat: &FileStat) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(stat.ctime_ns).unwrap_or(0))
}
