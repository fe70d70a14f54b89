//! Where an output first differs from what is stored. Nothing is changed.
//!
//! Folders are walked by the names in them, a folder's content in its place, so that the answer does not depend on how
//! either side was written. Only files whose hashes differ are read.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use runstone_core::hash::ContentHash;
use runstone_core::reproduction::{DifferenceKind, FirstDifference};

use super::beneath::{Beneath, FileStat, open_regular};
use super::collect::ObjectKind;
use super::error::ObjectError;
use super::store::ObjectStore;
use super::survey::{At, Surveyed};
use super::tree::{TreeEntry, TreeItem};
use super::walk::{Listable, Listed, Listing};

/// Bytes that are compared at a time.
const CHUNK: usize = 256 << 10;

/// Says of two files, the stored one first, whether they count as the same although their bytes differ.
pub type CountsAsSame<'a> = &'a mut dyn FnMut(File, File) -> bool;

impl ObjectStore {
    /// The first difference between stored content and a surveyed output that does not count as none.
    ///
    /// # Errors
    /// [`ObjectError::NotStored`], [`ObjectError::Altered`] and [`ObjectError::BadNode`] where the stored side cannot be
    /// read, [`ObjectError::Changed`] where the output is not what was surveyed any more, and failed system calls.
    pub fn first_difference(
        &self,
        (hash, kind): (ContentHash, ObjectKind),
        found: &Surveyed,
        same: CountsAsSame<'_>,
    ) -> Result<Option<FirstDifference>, ObjectError> {
        match (kind, &found.at) {
            (ObjectKind::File, At::File { dir, name, stat, path, .. }) if hash != found.content().hash => {
                let open = || open_unchanged(dir, name, stat, path);
                self.compare_files(hash, &open, "", same)
            }
            (ObjectKind::File, At::File { .. }) => Ok(None),
            (ObjectKind::Tree, At::Dir { dir, listing }) => {
                Walk { store: self, dir, listing, same }.folder(hash, 0, "")
            }
            (ObjectKind::File, At::Dir { .. }) | (ObjectKind::Tree, At::File { .. }) => Ok(Some(FirstDifference {
                path: String::new(),
                kind: DifferenceKind::Type,
                offset: None,
                expected_size: None,
                found_size: Some(found.content().size),
            })),
        }
    }

    fn compare_files(
        &self,
        hash: ContentHash,
        open: &dyn Fn() -> Result<File, ObjectError>,
        path: &str,
        same: CountsAsSame<'_>,
    ) -> Result<Option<FirstDifference>, ObjectError> {
        if same(self.open_checked(hash)?, open()?) {
            return Ok(None);
        }
        let (expected, found) = (self.open_checked(hash)?, open()?);
        let failed = |error| ObjectError::io("compare", self.path(hash), error);
        let size = |file: &File| FileStat::of(file).map(|stat| stat.size).map_err(|errno| failed(errno.into()));
        Ok(Some(FirstDifference {
            path: path.to_owned(),
            kind: DifferenceKind::Content,
            offset: first_byte(&expected, &found).map_err(failed)?,
            expected_size: Some(size(&expected)?),
            found_size: Some(size(&found)?),
        }))
    }
}

/// A folder beside a stored tree.
struct Walk<'a> {
    store: &'a ObjectStore,
    dir: &'a Beneath,
    listing: &'a Listing,
    same: CountsAsSame<'a>,
}

impl Walk<'_> {
    /// Compares the folder at `place` of the listing, called `path` for people. Recursion is bounded by the depth of
    /// listings.
    fn folder(&mut self, tree: ContentHash, place: usize, path: &str) -> Result<Option<FirstDifference>, ObjectError> {
        let expected = self.store.entries(tree)?;
        let listing = self.listing;
        let mut left = expected.iter().peekable();
        let mut right = listing.dirs[place].entries.iter().peekable();
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.name.as_slice().cmp(right.name.to_bytes()),
            };
            let on_record = left.next_if(|_| order != Ordering::Greater);
            let now = right.next_if(|_| order != Ordering::Less);
            let difference = match (on_record, now) {
                (Some(expected), Some(found)) => self.entry(expected, found, place, path)?,
                (Some(gone), None) => {
                    Some(uneven(&gone.name, path, DifferenceKind::Missing, Some(gone.item.size()), None))
                }
                (None, Some(new)) => Some(uneven(new.name.to_bytes(), path, DifferenceKind::Added, None, size_of(new))),
                (None, None) => unreachable!("one of them was peeked at"),
            };
            if difference.is_some() {
                return Ok(difference);
            }
        }
    }

    /// Compares two entries of one name.
    fn entry(
        &mut self,
        expected: &TreeEntry,
        found: &Listed,
        place: usize,
        folder: &str,
    ) -> Result<Option<FirstDifference>, ObjectError> {
        let path = joined(folder, &expected.name);
        let differs = |kind| {
            let sizes = (Some(expected.item.size()), size_of(found));
            Ok(Some(uneven(&expected.name, folder, kind, sizes.0, sizes.1)))
        };
        match (&expected.item, &found.what) {
            (TreeItem::File { hash, executable, .. }, Listable::File(Some(now))) => {
                let content = if hash == now {
                    None
                } else {
                    let dir = &self.listing.dirs[place].path;
                    let place = self.dir.path().join(dir).join(found.os_name());
                    let fd = self.dir.dir(dir)?;
                    let open = || open_unchanged(&fd, &found.name, &found.stat, &place);
                    self.store.compare_files(*hash, &open, &path, self.same)?
                };
                let mode = *executable != found.stat.executable();
                if content.is_none() && mode { differs(DifferenceKind::Mode) } else { Ok(content) }
            }
            (TreeItem::Symlink { target }, Listable::Symlink(now)) if target == now => Ok(None),
            (TreeItem::Symlink { .. }, Listable::Symlink(_)) => differs(DifferenceKind::Target),
            (TreeItem::Dir { hash, .. }, Listable::Dir(below)) => self.folder(*hash, *below, &path),
            _ => differs(DifferenceKind::Type),
        }
    }
}

/// A difference that is not one of bytes.
fn uneven(
    name: &[u8],
    folder: &str,
    kind: DifferenceKind,
    expected: Option<u64>,
    found: Option<u64>,
) -> FirstDifference {
    FirstDifference { path: joined(folder, name), kind, offset: None, expected_size: expected, found_size: found }
}

fn joined(folder: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") }
}

fn size_of(entry: &Listed) -> Option<u64> {
    match &entry.what {
        Listable::File(_) => Some(entry.stat.size),
        Listable::Symlink(target) => Some(target.len() as u64),
        Listable::Dir(_) | Listable::Ignored => None,
    }
}

/// Opens a file that must be the one that was surveyed.
fn open_unchanged(
    dir: &std::os::fd::OwnedFd,
    name: &std::ffi::CStr,
    stat: &FileStat,
    path: &Path,
) -> Result<File, ObjectError> {
    let (file, now) = open_regular(dir, name, path)?;
    if now.same_file_as(stat) { Ok(file) } else { Err(ObjectError::Changed { path: path.to_owned() }) }
}

/// The first byte in which two files differ; the end of the shorter one where it is a beginning of the other.
fn first_byte(one: &File, other: &File) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    loop {
        let (of_one, of_other) = (read_full(one, &mut left, at)?, read_full(other, &mut right, at)?);
        let common = of_one.min(of_other);
        if let Some(byte) = left[..common].iter().zip(&right[..common]).position(|(one, other)| one != other) {
            return Ok(Some(at + byte as u64));
        }
        if of_one != of_other {
            return Ok(Some(at + common as u64));
        }
        if common == 0 {
            return Ok(None);
        }
        at += common as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
