//! What can go wrong with content, always with the path or the hash it is about.

use std::io;
use std::path::{Path, PathBuf};

use runstone_core::hash::ContentHash;

use super::tree::{NameError, NodeError};

/// A failure to hash, keep or hand out content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `rename`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing is there.
    #[error("{} does not exist", path.display())]
    Missing {
        /// Where something was expected.
        path: PathBuf,
    },
    /// Something is there, but of another type.
    #[error("{} is {found}, expected {expected}", path.display())]
    WrongType {
        /// Where.
        path: PathBuf,
        /// What was expected, with its article.
        expected: &'static str,
        /// What is there, with its article.
        found: &'static str,
    },
    /// A symbolic link that leaves the folder it is in, or whose text does not show that it stays.
    #[error(
        "{} is a symbolic link to {target:?}, which does not stay inside the folder: \
         use a relative link without '..' behind a name, or a copy",
        path.display()
    )]
    EscapingLink {
        /// The link.
        path: PathBuf,
        /// Its text.
        target: String,
    },
    /// A file name that no directory can hold.
    #[error("{} has an impossible name", path.display())]
    Name {
        /// The entry.
        path: PathBuf,
        /// Why.
        #[source]
        source: NameError,
    },
    /// Somebody wrote to the file or folder while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// What changed.
        path: PathBuf,
    },
    /// More bytes than allowed.
    #[error("{} has {found} bytes, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Bytes counted so far.
        found: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More entries than allowed.
    #[error("{} has more than {limit} entries", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// Entries allowed.
        limit: u64,
    },
    /// Folders nested deeper than anything sensible.
    #[error("{} is nested deeper than {limit} folders", path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
        /// Levels allowed.
        limit: usize,
    },
    /// The destination exists and replacing it was not asked for.
    #[error("{} already exists", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The store has no such object.
    #[error("object {hash} is not in the store")]
    NotStored {
        /// Which object.
        hash: ContentHash,
    },
    /// The object's bytes are not those its name promises. It has been moved to quarantine.
    #[error("object {hash} is damaged and was put into quarantine")]
    Altered {
        /// Which object.
        hash: ContentHash,
    },
    /// The bytes hash to their name, but do not form a tree node.
    #[error("object {hash} is not a directory tree")]
    BadNode {
        /// Which object.
        hash: ContentHash,
        /// Why.
        #[source]
        source: NodeError,
    },
    /// The entries of a directory do not form a tree.
    #[error("the entries do not form a directory tree")]
    Tree(#[from] NodeError),
    /// The folder is not an object store, or its marker is damaged.
    #[error("{} does not name an object store", path.display())]
    BadMarker {
        /// The marker file.
        path: PathBuf,
    },
    /// Making objects durable failed earlier, so that nothing this store says can be trusted any more.
    #[error("the object store {} could not write to its disk earlier; restart after looking at the disk", path.display())]
    Poisoned {
        /// The store.
        path: PathBuf,
    },
}

impl ObjectError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }

    /// For `map_err`: the failure of `action` on `path`.
    pub(crate) fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::io(action, path, source)
    }

    /// Whether there was no room left on the device or within a quota.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
