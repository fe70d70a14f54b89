//! Lists everything below a folder, in parallel, without following links and without holding folders open.
//!
//! Says what is there and hashes it where asked; keeps nothing.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use runstone_core::hash::ContentHash;
use rustix::fs::Dir;

use super::beneath::{Beneath, FileKind, FileStat, open_regular};
use super::digest;
use super::error::ObjectError;
use super::split::{PutNode, TreeRoot, build_directory};
use super::tree::{TreeEntry, TreeItem, check_name, link_stays_inside};

/// How much content is accepted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file, or of all files of a folder together.
    pub bytes: u64,
    /// Entries of a folder, folders and links included, over all levels.
    pub entries: u64,
}

impl Limits {
    /// No limit but memory: about 150 bytes an entry.
    pub const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self::NONE
    }
}

/// Folders nested deeper are refused: real data is not, and each level costs stack where trees are walked.
pub(crate) const MAX_DEPTH: usize = 256;
/// Entries handled by one thread at a time.
const CHUNK: usize = 256;

/// Everything below a folder. A folder always stands before the folders in it.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) dirs: Vec<ListedDir>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct ListedDir {
    /// Relative to the root of the listing; empty for the root.
    pub(crate) path: PathBuf,
    depth: usize,
    /// Sorted by name.
    pub(crate) entries: Vec<Listed>,
}

#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: CString,
    pub(crate) stat: FileStat,
    pub(crate) what: Listable,
}

#[derive(Debug)]
pub(crate) enum Listable {
    /// A regular file, and its hash once that is known.
    File(Option<ContentHash>),
    /// A symbolic link with its text.
    Symlink(Vec<u8>),
    /// The folder at this place of [`Listing::dirs`].
    Dir(usize),
    /// Not to be part of the result.
    Ignored,
}

impl Listed {
    pub(crate) fn os_name(&self) -> &OsStr {
        OsStr::from_bytes(self.name.to_bytes())
    }
}

/// Which entries a walk takes: called with the folder's path, the name and what is there.
pub(crate) type Filter<'a> = &'a (dyn Fn(&Path, &OsStr, &FileStat) -> bool + Sync);

/// The folder that a piece of work is in.
pub(crate) struct Place<'a> {
    /// Relative to the root of the listing.
    pub(crate) path: &'a Path,
    /// The open folder.
    pub(crate) fd: &'a OwnedFd,
    depth: usize,
}

/// Lists what is below `root`. Names, links and types that no tree can hold are errors, unless filtered out.
pub(crate) fn list(root: &Beneath, limits: Limits, take: Filter<'_>) -> Result<Listing, ObjectError> {
    let mut listing = Listing { dirs: vec![ListedDir::new(PathBuf::new(), 0)], files: 0, bytes: 0 };
    let mut entries = 0_u64;
    let mut start = 0;
    while start < listing.dirs.len() {
        let end = listing.dirs.len();
        let wave = &mut listing.dirs[start..];
        wave.par_iter_mut().try_for_each(|dir| dir.read_names(root, limits))?;
        entries += wave.iter().map(|dir| dir.entries.len() as u64).sum::<u64>();
        if entries > limits.entries {
            return Err(ObjectError::TooMany { path: root.path().to_owned(), limit: limits.entries });
        }
        for_each_entry(root, wave, |_| true, &|place, entry| inspect(root, place, entry, take))?;
        for index in start..end {
            listing.admit(root, index, limits)?;
        }
        start = end;
    }
    Ok(listing)
}

/// Does `work` for the selected entries, in parallel. A folder is open only while its entries are worked on,
/// so that the number of open files does not grow with the size of the listing.
fn for_each_entry(
    root: &Beneath,
    dirs: &mut [ListedDir],
    select: impl Fn(&Listed) -> bool + Sync,
    work: &(dyn Fn(&Place<'_>, &mut Listed) -> Result<(), ObjectError> + Sync),
) -> Result<(), ObjectError> {
    let mut chunks = Vec::new();
    for ListedDir { path, depth, entries } in dirs {
        chunks.extend(entries.chunks_mut(CHUNK).map(|chunk| (path.as_path(), *depth, chunk)));
    }
    chunks.into_par_iter().try_for_each(|(path, depth, chunk)| {
        let mut selected = chunk.iter_mut().filter(|entry| select(entry)).peekable();
        if selected.peek().is_none() {
            return Ok(());
        }
        let fd = root.dir(path)?;
        let place = Place { path, fd: &fd, depth };
        selected.try_for_each(|entry| work(&place, entry))
    })
}

/// Finds out what an entry is.
fn inspect(root: &Beneath, place: &Place<'_>, entry: &mut Listed, take: Filter<'_>) -> Result<(), ObjectError> {
    let name = entry.name.clone();
    let path = || root.path().join(place.path).join(OsStr::from_bytes(name.to_bytes()));
    entry.stat = FileStat::at(place.fd, &entry.name).map_err(|errno| changed_or("stat", path(), errno))?;
    let kind = entry.stat.kind();
    if !take(place.path, entry.os_name(), &entry.stat) {
        return Ok(());
    }
    check_name(entry.name.to_bytes()).map_err(|source| ObjectError::Name { path: path(), source })?;
    entry.what = match kind {
        FileKind::Regular => Listable::File(None),
        FileKind::Dir => Listable::Dir(usize::MAX),
        FileKind::Symlink => {
            let target = rustix::fs::readlinkat(place.fd, &entry.name, Vec::new())
                .map_err(|errno| changed_or("read the link", path(), errno))?
                .into_bytes();
            if !link_stays_inside(place.depth, &target) {
                let target = String::from_utf8_lossy(&target).into_owned();
                return Err(ObjectError::EscapingLink { path: path(), target });
            }
            Listable::Symlink(target)
        }
        FileKind::Special(found) => {
            return Err(ObjectError::WrongType { path: path(), expected: "a file, folder or link", found });
        }
    };
    Ok(())
}

/// What was listed and is gone has changed under our eyes.
fn changed_or(action: &'static str, path: PathBuf, errno: rustix::io::Errno) -> ObjectError {
    if errno == rustix::io::Errno::NOENT { ObjectError::Changed { path } } else { ObjectError::io(action, path, errno) }
}

impl ListedDir {
    fn new(path: PathBuf, depth: usize) -> Self {
        Self { path, depth, entries: Vec::new() }
    }

    fn read_names(&mut self, root: &Beneath, limits: Limits) -> Result<(), ObjectError> {
        let unknown = FileStat { dev: 0, ino: 0, size: 0, mtime_ns: 0, ctime_ns: 0, mode: 0, links: 0 };
        let path = || root.path().join(&self.path);
        let dir = Dir::new(root.dir(&self.path)?).map_err(|errno| ObjectError::io("list", path(), errno))?;
        for entry in dir {
            let entry = entry.map_err(|errno| ObjectError::io("list", path(), errno))?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if self.entries.len() as u64 >= limits.entries {
                return Err(ObjectError::TooMany { path: path(), limit: limits.entries });
            }
            let name = CStr::to_owned(entry.file_name());
            self.entries.push(Listed { name, stat: unknown, what: Listable::Ignored });
        }
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }
}

impl Listing {
    /// Counts the entries of a folder and puts the folders among them on the list.
    fn admit(&mut self, root: &Beneath, index: usize, limits: Limits) -> Result<(), ObjectError> {
        let depth = self.dirs[index].depth + 1;
        let mut next = self.dirs.len();
        let mut found = Vec::new();
        let ListedDir { path, entries, .. } = &mut self.dirs[index];
        entries.retain(|entry| !matches!(entry.what, Listable::Ignored));
        for entry in entries {
            match &mut entry.what {
                Listable::File(_) => {
                    self.files += 1;
                    self.bytes = self.bytes.saturating_add(entry.stat.size);
                }
                Listable::Dir(place) => {
                    *place = next;
                    next += 1;
                    found.push(ListedDir::new(path.join(OsStr::from_bytes(entry.name.to_bytes())), depth));
                }
                Listable::Symlink(_) | Listable::Ignored => {}
            }
        }
        if self.bytes > limits.bytes {
            let path = root.path().to_owned();
            return Err(ObjectError::TooLarge { path, found: self.bytes, limit: limits.bytes });
        }
        if let Some(first) = found.first().filter(|_| depth > MAX_DEPTH) {
            return Err(ObjectError::TooDeep { path: root.path().join(&first.path), limit: MAX_DEPTH });
        }
        self.dirs.append(&mut found);
        Ok(())
    }

    /// Takes out folders that hold nothing, and those that hold only such.
    pub(crate) fn prune_empty_dirs(&mut self) {
        let mut empty = vec![false; self.dirs.len()];
        for (index, dir) in self.dirs.iter_mut().enumerate().rev() {
            dir.entries.retain(|entry| !matches!(entry.what, Listable::Dir(below) if empty[below]));
            empty[index] = dir.entries.is_empty();
        }
    }

    /// The regular files, all of which must have been hashed.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, ContentHash, FileStat)> + '_ {
        self.dirs.iter().flat_map(|dir| {
            dir.entries.iter().filter_map(|entry| match entry.what {
                Listable::File(hash) => {
                    let hash = hash.expect("all files have been hashed");
                    Some((dir.path.join(entry.os_name()), hash, entry.stat))
                }
                _ => None,
            })
        })
    }

    /// The regular files as they look from outside.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (PathBuf, FileStat)> + '_ {
        self.dirs.iter().flat_map(|dir| {
            let is_file = |entry: &&Listed| matches!(entry.what, Listable::File(_));
            dir.entries.iter().filter(is_file).map(|entry| (dir.path.join(entry.os_name()), entry.stat))
        })
    }

    /// Does `work` for every file that has no hash yet: small ones in parallel, then large ones one by one, because
    /// hashing a large one takes all threads by itself.
    pub(crate) fn for_each_unhashed(
        &mut self,
        root: &Beneath,
        work: &(dyn Fn(&Place<'_>, &mut Listed) -> Result<(), ObjectError> + Sync),
    ) -> Result<(), ObjectError> {
        let small =
            |entry: &Listed| matches!(entry.what, Listable::File(None)) && entry.stat.size < digest::PARALLEL_FROM;
        for_each_entry(root, &mut self.dirs, small, work)?;
        for ListedDir { path, depth, entries } in &mut self.dirs {
            for entry in entries.iter_mut().filter(|entry| matches!(entry.what, Listable::File(None))) {
                work(&Place { path, fd: &root.dir(path)?, depth: *depth }, entry)?;
            }
        }
        Ok(())
    }

    /// Does `work` for every file, all of which must have been hashed; in the order of
    /// [`for_each_unhashed`](Self::for_each_unhashed).
    pub(crate) fn for_each_file(
        &self,
        root: &Beneath,
        work: &(dyn Fn(&Place<'_>, &Listed, ContentHash) -> Result<(), ObjectError> + Sync),
    ) -> Result<(), ObjectError> {
        let on_chunk = |dir: &ListedDir, chunk: &[Listed], large: bool| {
            let mut files = chunk
                .iter()
                .filter(|entry| (entry.stat.size >= digest::PARALLEL_FROM) == large)
                .filter_map(|entry| if let Listable::File(hash) = entry.what { Some((entry, hash)) } else { None })
                .peekable();
            if files.peek().is_none() {
                return Ok(());
            }
            let fd = root.dir(&dir.path)?;
            let place = Place { path: &dir.path, fd: &fd, depth: dir.depth };
            files.try_for_each(|(entry, hash)| work(&place, entry, hash.expect("all files have been hashed")))
        };
        let chunks: Vec<_> =
            self.dirs.iter().flat_map(|dir| dir.entries.chunks(CHUNK).map(move |chunk| (dir, chunk))).collect();
        chunks.par_iter().try_for_each(|(dir, chunk)| on_chunk(dir, chunk, false))?;
        chunks.iter().try_for_each(|(dir, chunk)| on_chunk(dir, chunk, true))
    }

    /// Builds the tree of every folder from the bottom up, and hands each node to `put`. All files must have been
    /// hashed.
    pub(crate) fn build_trees(&self, put: &mut PutNode<'_, ObjectError>) -> Result<TreeRoot, ObjectError> {
        let mut roots: Vec<Option<TreeRoot>> = vec![None; self.dirs.len()];
        for (index, dir) in self.dirs.iter().enumerate().rev() {
            let entries = dir.entries.iter().filter_map(|entry| {
                let item = match &entry.what {
                    Listable::File(hash) => TreeItem::File {
                        hash: hash.expect("all files have been hashed"),
                        size: entry.stat.size,
                        executable: entry.stat.executable(),
                    },
                    Listable::Symlink(target) => TreeItem::Symlink { target: target.clone() },
                    Listable::Dir(place) => {
                        let root = roots[*place].expect("a folder stands before the folders in it");
                        TreeItem::Dir { hash: root.hash, size: root.size }
                    }
                    Listable::Ignored => return None,
                };
                Some(TreeEntry { name: entry.name.to_bytes().to_vec(), item })
            });
            roots[index] = Some(build_directory(entries.collect(), put)?);
        }
        Ok(roots[0].expect("a listing has a root"))
    }
}

/// Opens a listed file and hashes it where it is. It must be the file that was listed, before and after.
pub(crate) fn hash_listed(place: &Place<'_>, entry: &Listed, path: &Path) -> Result<(File, ContentHash), ObjectError> {
    let (file, stat) = open_regular(place.fd, &entry.name, path)?;
    if !stat.same_file_as(&entry.stat) {
        return Err(ObjectError::Changed { path: path.to_owned() });
    }
    let hash = hash_unchanged(&file, stat, path)?;
    Ok((file, hash))
}

/// Hashes a file that is in the state `before`, and makes sure that it still is afterwards.
pub(crate) fn hash_unchanged(file: &File, before: FileStat, path: &Path) -> Result<ContentHash, ObjectError> {
    let changed = || ObjectError::Changed { path: path.to_owned() };
    let hash = digest::hash_file(file, before.size).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => changed(),
        _ => ObjectError::io("read", path, error),
    })?;
    let after = FileStat::of(file).map_err(ObjectError::at("stat", path))?;
    if after == before { Ok(hash) } else { Err(changed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_to_meanwhile_has_no_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "before").unwrap();
        let file = File::open(&path).unwrap();
        let before = FileStat::of(&file).unwrap();
        assert_eq!(hash_unchanged(&file, before, &path).unwrap(), ContentHash::of(b"before"));
        std::fs::write(&path, "after!").unwrap();
        // The clock of the file system may not have ticked in between.
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        assert!(matches!(hash_unchanged(&file, before, &path), Err(ObjectError::Changed { .. })));
    }
}
