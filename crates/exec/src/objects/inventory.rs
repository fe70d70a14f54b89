//! What is in the store: for the collector of garbage, for `doctor`, and for tidying up.
//!
//! Which objects are needed is known elsewhere; this only lists and removes.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::error::ObjectError;
use super::store::{ObjectStore, object_name};

/// One file in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectInfo {
    /// What it claims to be.
    pub hash: ContentHash,
    /// Bytes stored: of a tree node, its encoding.
    pub size: u64,
    /// When it was put here, confirmed, or linked last. A [`Collector`](super::Collector) spares what is young.
    pub changed: SystemTime,
}

/// Disk use, in bytes that the file system gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Number of objects.
    pub objects: u64,
    /// Bytes of objects.
    pub object_bytes: u64,
    /// Bytes of damaged objects that were put aside.
    pub quarantine_bytes: u64,
    /// Bytes of temporary files.
    pub temporary_bytes: u64,
}

impl ObjectStore {
    /// Lists all objects, a folder at a time. Objects that come or go meanwhile may or may not be seen.
    pub fn list(&self) -> impl Iterator<Item = Result<ObjectInfo, ObjectError>> + '_ {
        (0..=u8::MAX).flat_map(move |fan| {
            let prefix = format!("{fan:02x}");
            let folder = self.root().join(&prefix);
            let listed: Vec<_> = match read_dir(&folder) {
                Ok(entries) => entries.filter_map(|entry| info(&prefix, &folder, entry).transpose()).collect(),
                Err(error) => vec![Err(error)],
            };
            listed
        })
    }

    /// Removes an object that nothing needs. False when it was gone already.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, hash: ContentHash) -> Result<bool, ObjectError> {
        self.pending().remove(&hash);
        match rustix::fs::unlinkat(&self.fd, object_name(hash), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(ObjectError::io("remove", self.path(hash), errno)),
        }
    }

    /// Counts what the store takes.
    ///
    /// # Errors
    /// Failed system calls.
    pub fn usage(&self) -> Result<Usage, ObjectError> {
        let mut usage = Usage {
            quarantine_bytes: self.side_bytes("quarantine")?,
            temporary_bytes: self.side_bytes("tmp")?,
            ..Usage::default()
        };
        for fan in 0..=u8::MAX {
            for entry in read_dir(&self.root().join(format!("{fan:02x}")))? {
                if let Some(stat) = present(entry.and_then(|entry| entry.metadata()), self.root())? {
                    usage.objects += 1;
                    usage.object_bytes += stat.blocks() * 512;
                }
            }
        }
        Ok(usage)
    }

    fn side_bytes(&self, name: &str) -> Result<u64, ObjectError> {
        let mut bytes = 0;
        for entry in read_dir(&self.root().join(name))? {
            let stat = present(entry.and_then(|entry| entry.metadata()), self.root())?;
            bytes += stat.map_or(0, |stat| stat.blocks() * 512);
        }
        Ok(bytes)
    }

    /// How many bytes [`tidy`](Self::tidy) would free.
    ///
    /// # Errors
    /// Failed system calls.
    pub fn temporary(&self, before: SystemTime) -> Result<u64, ObjectError> {
        let left = self.left_behind(before)?;
        Ok(left.iter().map(|(_, stat)| if stat.nlink() == 1 { stat.len() } else { 0 }).sum())
    }

    /// Temporary files that nobody changed since.
    fn left_behind(&self, before: SystemTime) -> Result<Vec<(PathBuf, Metadata)>, ObjectError> {
        let mut left = Vec::new();
        let tmp = self.root().join("tmp");
        for entry in read_dir(&tmp)? {
            let Some(entry) = present(entry, &tmp)? else { continue };
            let Some(stat) = present(entry.metadata(), &tmp)? else { continue };
            if changed(&stat) < before {
                left.push((entry.path(), stat));
            }
        }
        Ok(left)
    }

    /// Removes temporary files that nobody changed since `before`, when nobody was there who still writes one. Returns how many
    /// bytes that freed.
    ///
    /// # Errors
    /// Failed system calls.
    pub fn tidy(&self, before: SystemTime) -> Result<u64, ObjectError> {
        let mut freed = 0;
        for (path, stat) in self.left_behind(before)? {
            if present(std::fs::remove_file(&path), &path)?.is_some() && stat.nlink() == 1 {
                freed += stat.len();
            }
        }
        Ok(freed)
    }
}

fn read_dir(path: &Path) -> Result<std::fs::ReadDir, ObjectError> {
    std::fs::read_dir(path).map_err(ObjectError::at("list", path))
}

/// What others removed meanwhile is no error.
fn present<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, ObjectError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ObjectError::io("read", path, error)),
    }
}

/// None for what is not named like an object.
fn info(prefix: &str, folder: &Path, entry: io::Result<DirEntry>) -> Result<Option<ObjectInfo>, ObjectError> {
    let Some(entry) = present(entry, folder)? else { return Ok(None) };
    let name = entry.file_name();
    let Some(hash) = name.to_str().and_then(|rest| format!("{prefix}{rest}").parse().ok()) else { return Ok(None) };
    let stat = present(entry.metadata(), &entry.path())?;
    Ok(stat.map(|stat| ObjectInfo { hash, size: stat.len(), changed: changed(&stat) }))
}

/// The time of change: the time of modification is the seal.
fn changed(stat: &Metadata) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(stat.ctime()).unwrap_or(0));
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(stat.ctime_nsec()).unwrap_or(0))
}
