//! Reading the files of an export, with bounds: an export comes from others.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runstone_core::log::tree::NodeHash;

use super::FileEntry;

/// No manifest is larger: it has a line or two for each object.
pub(super) const MAX_MANIFEST: u64 = 1 << 30;
/// No line is longer.
pub(super) const MAX_LINE: u64 = 64 << 20;

/// What cannot be read, as a fragment of a sentence.
pub(super) type Outcome<T> = Result<T, String>;

/// All files below a folder, by their path with slashes. Links and the like are files that nobody listed.
pub(super) fn list(folder: &Path) -> Outcome<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((path, prefix)) = folders.pop() {
        let entries = fs::read_dir(&path).map_err(|error| format!("cannot list {}: {error}", path.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("cannot list {}: {error}", path.display()))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push((entry.path(), format!("{name}/"))),
                _ => _ = found.insert(name),
            }
        }
    }
    Ok(found)
}

/// Whether a file is the one of the manifest.
pub(super) fn matches(path: &Path, entry: &FileEntry) -> Outcome<bool> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() || metadata.len() != entry.size {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(cannot)?;
    Ok(hasher.finalize().to_hex().as_str() == entry.blake3)
}

/// The lines of a file in groups, each with the number of its first line (from 1). While what became of one group is worked
/// on, the next one is prepared, and the one after it read.
pub(super) fn for_each_group<T: Send>(
    path: &Path,
    group: usize,
    prepare: impl Fn(u64, Vec<String>) -> T + Send,
    mut work: impl FnMut(T) -> Outcome<()>,
) -> Outcome<()> {
    std::thread::scope(|scope| {
        let (put, groups) = mpsc::sync_channel(1);
        let (hand_on, prepared) = mpsc::sync_channel(1);
        scope.spawn(move || {
            let read = read_groups(path, group, |lines| put.send(Ok(lines)).is_ok());
            if let Err(message) = read {
                // Where nobody listens any more, another one was first.
                let _ = put.send(Err(message));
            }
        });
        scope.spawn(move || {
            let mut first = 1;
            for lines in groups {
                let ready = lines.map(|lines: Vec<String>| {
                    let count = lines.len() as u64;
                    let ready = prepare(first, lines);
                    first += count;
                    ready
                });
                if hand_on.send(ready).is_err() {
                    return;
                }
            }
        });
        for ready in prepared {
            work(ready?)?;
        }
        Ok(())
    })
}

/// Reads until the end, or until `put` says that nobody wants more.
fn read_groups(path: &Path, group: usize, mut put: impl FnMut(Vec<String>) -> bool) -> Outcome<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cannot = |error: std::io::Error| format!("{name} cannot be read: {error}");
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(cannot)?);
    let mut lines = Vec::with_capacity(group);
    loop {
        let mut line = String::new();
        let read = (&mut reader).take(MAX_LINE).read_line(&mut line).map_err(cannot)?;
        if read as u64 == MAX_LINE {
            return Err(format!("{name} has a line that is too long"));
        }
        if read > 0 {
            lines.push(line);
        }
        let is_full = lines.len() == group || (read == 0 && !lines.is_empty());
        if is_full && !put(std::mem::replace(&mut lines, Vec::with_capacity(group))) || read == 0 {
            return Ok(());
        }
    }
}

pub(super) fn bytes(text: &str) -> Outcome<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|error| format!("is no base64: {error}"))
}

pub(super) fn hashes(texts: &[String]) -> Outcome<Vec<NodeHash>> {
    let hash = |text: &String| NodeHash::from_base64(text).ok_or_else(|| format!("{text:?} is no hash"));
    texts.iter().map(hash).collect()
}
