//! How much disk is left.

use std::path::Path;

/// Bytes that are free for this user on the file system of a folder.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
