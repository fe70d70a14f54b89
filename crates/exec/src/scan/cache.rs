//! Remembers the hashes of files by what a stat says of them, so that unchanged files are not read again.
//!
//! A convenience and never part of any identity: a cache that is damaged, missing or of another version is an empty
//! one. An entry is made only for a file that had rested for [`SETTLED`] when it was hashed: on a file
//! system whose clock ticks slowly, a later write could leave a younger file with the same stat.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use uuid::Uuid;

use crate::objects::FileStat;
use crate::objects::walk::{Listable, Listed, ListedDir, Listing};

/// How long a file must have rested before its stat is taken for its content.
pub const SETTLED: Duration = Duration::from_secs(2);

const MAGIC: &[u8; 8] = b"rs-stat1";
const CHECKSUM_CONTEXT: &str = "runstone 2026 stat cache v1";

/// Files by folder and name.
#[derive(Debug, Default)]
pub(super) struct StatCache {
    folders: HashMap<PathBuf, Vec<Known>>,
    len: usize,
}

/// A file whose hash is known while its stat stays the same.
#[derive(Debug, Clone)]
struct Known {
    name: Box<[u8]>,
    stat: StatKey,
    hash: ContentHash,
}

/// The part of a stat that every write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StatKey {
    dev: u64,
    ino: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

impl From<&FileStat> for StatKey {
    fn from(stat: &FileStat) -> Self {
        let FileStat { dev, ino, size, mtime_ns, ctime_ns, .. } = *stat;
        Self { dev, ino, size, mtime_ns, ctime_ns }
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether a file had rested long enough at `now_ns`. One from the future has not.
fn is_settled(stat: &FileStat, now_ns: i64) -> bool {
    let settled = i64::try_from(SETTLED.as_nanos()).expect("a few seconds");
    stat.mtime_ns.max(stat.ctime_ns).saturating_add(settled) <= now_ns
}

impl StatCache {
    /// Reads a cache; whatever is not one reads as empty.
    pub(super) fn load(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|bytes| Self::decode(&bytes)).unwrap_or_default()
    }

    /// Writes the cache in one step. A failure costs time at the next scan and nothing else.
    pub(super) fn save(&self, path: &Path) {
        let temp = path.with_extension(Uuid::now_v7().to_string());
        let written = std::fs::File::create_new(&temp)
            .and_then(|mut file| file.write_all(&self.encode()))
            .and_then(|()| std::fs::rename(&temp, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temp);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, folder: &Path, name: &OsStr, stat: &FileStat) -> Option<ContentHash> {
        let known = self.folders.get(folder)?;
        let place = known.binary_search_by(|known| known.name.as_ref().cmp(name.as_bytes())).ok()?;
        (known[place].stat == StatKey::from(stat)).then_some(known[place].hash)
    }

    /// Remembers a file that was hashed at `now_ns`, if it had settled.
    pub(super) fn insert(&mut self, folder: &Path, name: &OsStr, stat: &FileStat, hash: ContentHash, now_ns: i64) {
        if !is_settled(stat, now_ns) {
            return;
        }
        let known = self.folders.entry(folder.to_owned()).or_default();
        let new = Known { name: name.as_bytes().into(), stat: stat.into(), hash };
        match known.binary_search_by(|known| known.name.as_ref().cmp(name.as_bytes())) {
            Ok(place) => known[place] = new,
            Err(place) => {
                known.insert(place, new);
                self.len += 1;
            }
        }
    }

    /// Fills in the hashes of unchanged files. Returns how many.
    pub(super) fn apply(&self, listing: &mut Listing) -> usize {
        listing.dirs.iter_mut().map(|dir| self.folders.get(&dir.path).map_or(0, |known| apply_to(known, dir))).sum()
    }

    /// Remembers the settled files of a listing that was hashed from `now_ns` on, and nothing else.
    pub(super) fn of(listing: &Listing, now_ns: i64) -> Self {
        let mut cache = Self::default();
        for dir in &listing.dirs {
            let known: Vec<_> = dir.entries.iter().filter_map(|entry| known(entry, now_ns)).collect();
            if !known.is_empty() {
                cache.len += known.len();
                cache.folders.insert(dir.path.clone(), known);
            }
        }
        cache
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 96 * self.len);
        out.extend_from_slice(MAGIC);
        for (folder, known) in &self.folders {
            put_text(&mut out, folder.as_os_str().as_bytes());
            out.extend_from_slice(&(known.len() as u64).to_le_bytes());
            for Known { name, stat, hash } in known {
                put_text(&mut out, name);
                for number in
                    [stat.dev, stat.ino, stat.size, stat.mtime_ns.cast_unsigned(), stat.ctime_ns.cast_unsigned()]
                {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                out.extend_from_slice(hash.as_bytes());
            }
        }
        let checksum = blake3::derive_key(CHECKSUM_CONTEXT, &out);
        out.extend_from_slice(&checksum);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<32>()?;
        if blake3::derive_key(CHECKSUM_CONTEXT, body) != *checksum {
            return None;
        }
        let mut input = Input(body.strip_prefix(MAGIC)?);
        let mut cache = Self::default();
        while !input.0.is_empty() {
            let folder = PathBuf::from(OsStr::from_bytes(input.text()?));
            let count = usize::try_from(input.number()?).ok()?;
            let known = (0..count).map(|_| input.known()).collect::<Option<Vec<_>>>()?;
            cache.len += count;
            cache.folders.insert(folder, known);
        }
        Some(cache)
    }
}

fn known(entry: &Listed, now_ns: i64) -> Option<Known> {
    match entry.what {
        Listable::File(Some(hash)) if is_settled(&entry.stat, now_ns) => {
            Some(Known { name: entry.name.to_bytes().into(), stat: (&entry.stat).into(), hash })
        }
        _ => None,
    }
}

/// Both sides are sorted by name.
fn apply_to(known: &[Known], dir: &mut ListedDir) -> usize {
    let mut known = known.iter().peekable();
    let mut applied = 0;
    for entry in &mut dir.entries {
        while known.next_if(|known| *known.name < *entry.name.to_bytes()).is_some() {}
        let same = known.next_if(|known| *known.name == *entry.name.to_bytes());
        if let (Listable::File(hash), Some(known)) = (&mut entry.what, same)
            && known.stat == StatKey::from(&entry.stat)
        {
            *hash = Some(known.hash);
            applied += 1;
        }
    }
    applied
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn number(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn known(&mut self) -> Option<Known> {
        let name = self.text()?.into();
        let [dev, ino, size] = [self.number()?, self.number()?, self.number()?];
        let [mtime_ns, ctime_ns] = [self.number()?.cast_signed(), self.number()?.cast_signed()];
        let (hash, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let stat = StatKey { dev, ino, size, mtime_ns, ctime_ns };
        Some(Known { name, stat, hash: ContentHash::from_bytes(*hash) })
    }
}
