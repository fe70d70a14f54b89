//! How much disk folders take and how much is left.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes that the file system gave out for everything below a folder. What cannot be read counts nothing; links are
/// not followed.
pub(crate) fn usage(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    bytes
}

/// Bytes that are free for this user on the file system of a folder.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
