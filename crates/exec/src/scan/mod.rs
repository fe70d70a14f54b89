//! Reading sources: what files are there and what is in them, without reading unchanged ones twice.
//!
//! A [`Scan`] is what was found at one moment. It changes nothing; [`Scan::snapshot_into`] copies it into the store.

mod cache;
mod pattern;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use runstone_core::hash::ContentHash;

use crate::objects::beneath::{Beneath, open_trusted};
use crate::objects::walk::{self, Listable, Listing, hash_listed, hash_unchanged};
use crate::objects::{Batch, Collected, FileKind, FileStat, Limits, ObjectError, ObjectKind, ObjectStore};
use cache::{StatCache, nanos};

pub use cache::SETTLED;
pub use pattern::{MAX_PATTERN, PatternError, SourcePattern};

/// Single files remembered before those that were not asked for are forgotten.
const MAX_SINGLE_FILES: usize = 10_000;

/// Scans the sources of one project. Safe to share between threads and processes.
#[derive(Debug)]
pub struct Scanner {
    project: PathBuf,
    /// Device and inode of the folder that is never part of a source.
    state: (u64, u64),
    caches: PathBuf,
    clock: fn() -> SystemTime,
    single: Mutex<SingleFiles>,
}

/// The cache of files that are asked for one by one.
#[derive(Debug)]
struct SingleFiles {
    cache: StatCache,
    changed: bool,
}

/// What a source was at one moment.
#[derive(Debug)]
pub struct Scan {
    base: PathBuf,
    found: Found,
    summary: Collected,
    reused: u64,
}

#[derive(Debug)]
enum Found {
    File(FileStat),
    Tree(Listing),
}

/// One file of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Relative to [`Scan::base`]; empty where the source is a single file.
    pub path: PathBuf,
    /// Its hash.
    pub hash: ContentHash,
    /// Its state when it was looked at.
    pub stat: FileStat,
}

impl Scanner {
    /// For the project in the folder `project`, whose state is kept in `state` (usually `.runstone` in it). The state
    /// is never part of a source; the caches are kept in its folder `cache`.
    ///
    /// # Errors
    /// When the folder of the caches cannot be made.
    pub fn new(project: &Path, state: &Path) -> Result<Self, ObjectError> {
        let caches = state.join("cache");
        std::fs::create_dir_all(&caches).map_err(ObjectError::at("create", &caches))?;
        let stat = rustix::fs::stat(state).map(|stat| FileStat::from(&stat)).map_err(ObjectError::at("stat", state))?;
        let single = SingleFiles { cache: StatCache::load(&caches.join("files")), changed: false };
        Ok(Self {
            project: project.to_owned(),
            state: (stat.dev, stat.ino),
            caches,
            clock: SystemTime::now,
            single: Mutex::new(single),
        })
    }

    /// Tells the time by another clock than the machine's, such as that of the file system the sources are on. Only
    /// whether a file has [settled](SETTLED) depends on it.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// Looks at a source and hashes what is not known. A path that leads through links is followed to the source;
    /// links in a folder are kept as links.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] where nothing is, [`ObjectError::Changed`] when somebody writes meanwhile,
    /// [`ObjectError::EscapingLink`], [`ObjectError::WrongType`] for what has no content, exceeded limits, and failed
    /// system calls. A glob that matches nothing is an empty folder.
    pub fn scan(&self, pattern: &SourcePattern, limits: Limits) -> Result<Scan, ObjectError> {
        let base = self.project.join(pattern.base());
        let is_dir = std::fs::metadata(&base)
            .map_err(|error| crate::objects::beneath::missing_or("stat", &base, error))?
            .is_dir();
        if pattern.is_glob() && !is_dir {
            let found = FileKind::Regular.named();
            return Err(ObjectError::WrongType { path: base, expected: FileKind::Dir.named(), found });
        }
        if is_dir {
            self.scan_dir(base, pattern, limits)
        } else {
            let file = self.hash_file(pattern.base(), limits)?;
            let summary = Collected { hash: file.0.hash, kind: ObjectKind::File, size: file.0.stat.size, files: 1 };
            Ok(Scan { base, found: Found::File(file.0.stat), summary, reused: u64::from(file.1) })
        }
    }

    /// Looks at a source from outside, without reading a file. What is not there has no files, and what was written after
    /// `settled` is not looked at: it may still be being written.
    ///
    /// # Errors
    /// As [`scan`](Self::scan), but for what is missing.
    pub fn glimpse(
        &self,
        pattern: &SourcePattern,
        limits: Limits,
        settled: SystemTime,
    ) -> Result<Glimpse, ObjectError> {
        let base = self.project.join(pattern.base());
        let settled = nanos(settled);
        let mut files = Vec::new();
        let mut add = |path: &Path, stat: &FileStat| {
            if stat.mtime_ns > settled {
                return;
            }
            let mut hasher = blake3::Hasher::new();
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(format!(" {} {} {}", stat.ino, stat.size, stat.mtime_ns).as_bytes());
            files.push(hasher.finalize().to_hex()[..16].to_owned());
        };
        match std::fs::metadata(&base) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(crate::objects::beneath::missing_or("stat", &base, error)),
            Ok(found) if found.is_dir() => {
                let listing = walk::list(&Beneath::open(&base)?, limits, &|folder, name, stat| {
                    (stat.dev, stat.ino) != self.state && pattern.takes(folder, name, stat.kind())
                })?;
                listing.looks().for_each(|(path, stat)| add(&path, &stat));
            }
            Ok(_) if pattern.is_glob() => {}
            Ok(_) => add(Path::new(""), &open_trusted(&base)?.1),
        }
        files.sort_unstable();
        Ok(Glimpse { files })
    }

    fn scan_dir(&self, base: PathBuf, pattern: &SourcePattern, limits: Limits) -> Result<Scan, ObjectError> {
        let started = nanos((self.clock)());
        let root = Beneath::open(&base)?;
        let mut listing = walk::list(&root, limits, &|folder, name, stat| {
            (stat.dev, stat.ino) != self.state && pattern.takes(folder, name, stat.kind())
        })?;
        if pattern.is_glob() {
            listing.prune_empty_dirs();
        }
        let cache_path = self.cache_path(&base, pattern);
        let cache = StatCache::load(&cache_path);
        let reused = cache.apply(&mut listing);
        listing.for_each_unhashed(&root, &|place, entry| {
            let path = base.join(place.path).join(entry.os_name());
            entry.what = Listable::File(Some(hash_listed(place, entry, &path)?.1));
            Ok(())
        })?;
        let reused_u64 = reused as u64;
        if reused < cache.len() || reused_u64 < listing.files {
            StatCache::of(&listing, started).save(&cache_path);
        }
        let tree = listing.build_trees(&mut |_, _| Ok(()))?;
        let summary = Collected { hash: tree.hash, kind: ObjectKind::Tree, size: tree.size, files: listing.files };
        Ok(Scan { base, found: Found::Tree(listing), summary, reused: reused_u64 })
    }

    /// One cache for each folder and pattern.
    fn cache_path(&self, base: &Path, pattern: &SourcePattern) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        hasher.update(base.as_os_str().as_encoded_bytes()).update(&[0]).update(pattern.as_str().as_bytes());
        self.caches.join(format!("tree-{}", &hasher.finalize().to_hex()[..32]))
    }

    /// Hashes one file, relative to the project or absolute, or takes the hash that is known. The second value says
    /// whether it was known.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn hash_file(&self, path: &Path, limits: Limits) -> Result<(ScannedFile, bool), ObjectError> {
        let path = self.project.join(path);
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or(OsStr::new("")));
        let started = nanos((self.clock)());
        let (file, stat) = open_trusted(&path)?;
        if stat.size > limits.bytes {
            return Err(ObjectError::TooLarge { path, found: stat.size, limit: limits.bytes });
        }
        let known = self.single().cache.get(folder, name, &stat);
        let hash = match known {
            Some(hash) => hash,
            None => hash_unchanged(&file, stat, &path)?,
        };
        if known.is_none() {
            let mut single = self.single();
            if single.cache.len() >= MAX_SINGLE_FILES {
                single.cache = StatCache::default();
            }
            single.cache.insert(folder, name, &stat, hash, started);
            single.changed = true;
        }
        Ok((ScannedFile { path: PathBuf::new(), hash, stat }, known.is_some()))
    }

    fn single(&self) -> std::sync::MutexGuard<'_, SingleFiles> {
        // A cache that a panic left half changed is still a cache of true entries.
        self.single.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a source looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// For each file a hash of its name, size and time of change, sorted: a file that is new or was written has one that
    /// was not there before.
    pub files: Vec<String>,
}

impl Drop for Scanner {
    /// Writes down what was learned about single files.
    fn drop(&mut self) {
        let single = self.single.get_mut().unwrap_or_else(PoisonError::into_inner);
        if single.changed {
            single.cache.save(&self.caches.join("files"));
        }
    }
}

impl Scan {
    /// What was found, as it would be in the store.
    #[must_use]
    pub fn content(&self) -> Collected {
        self.summary
    }

    /// The file, or the folder that paths are relative to.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Files whose hash was known without reading them.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// The files, folder by folder and sorted by name within each.
    pub fn files(&self) -> impl Iterator<Item = ScannedFile> + '_ {
        let (file, listing) = match &self.found {
            Found::File(stat) => {
                let file = ScannedFile { path: PathBuf::new(), hash: self.summary.hash, stat: *stat };
                (Some(file), None)
            }
            Found::Tree(listing) => (None, Some(listing)),
        };
        file.into_iter().chain(listing.into_iter().flat_map(Listing::files).map(|(path, hash, stat)| ScannedFile {
            path,
            hash,
            stat,
        }))
    }

    /// Copies what was found into the store, as far as it is not there already: byte for byte what was scanned.
    ///
    /// # Errors
    /// [`ObjectError::Changed`] where a source is not any more what was scanned, and failed system calls.
    pub fn snapshot_into(&self, store: &ObjectStore, batch: &mut Batch) -> Result<Collected, ObjectError> {
        match &self.found {
            Found::Tree(listing) => {
                let stored = store.import_listing(&Beneath::open(&self.base)?, listing, batch)?;
                debug_assert_eq!(stored, self.summary, "a snapshot is what was scanned");
            }
            Found::File(stat) => store.import_known(&self.base, stat, self.summary.hash, batch)?,
        }
        Ok(self.summary)
    }
}
