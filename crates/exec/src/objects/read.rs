//! Hands out what is stored, and nothing else: every read is checked against the name.
//!
//! A stat says whether an object is as it was when it was sealed; its bytes are hashed again at the first use after
//! that stat changed. What turns out to be damaged goes to quarantine, and is a miss from then on.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use runstone_core::hash::ContentHash;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{FileKind, FileStat};
use super::collect::ObjectKind;
use super::digest;
use super::error::ObjectError;
use super::store::{ObjectStore, State, object_name};
use super::tree::{MAX_NODE_BYTES, Node, looks_like_node, node_hash};

/// Whether content can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All of it.
    Present,
    /// Something is not there.
    Missing,
    /// Something was damaged, and is in quarantine now.
    Altered,
}

/// How thoroughly a tree is checked. Files have one depth only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The root node alone.
    Root,
    /// Every node is read and every file looked at (one stat each).
    Deep,
}

impl ObjectStore {
    /// Whether content is there, by one stat an object; bytes are hashed again only where the stat differs from that
    /// of a sealed object. `size` is that of [`Collected`](super::Collected).
    ///
    /// # Errors
    /// Failed system calls. What is missing or damaged is an answer and not an error.
    pub fn check(&self, hash: ContentHash, kind: ObjectKind, size: u64, depth: Depth) -> Result<Presence, ObjectError> {
        let checked = match kind {
            ObjectKind::File => self.ensure_intact(hash, Some(size)).map(|_| Presence::Present),
            ObjectKind::Tree => self.check_tree(hash, size, depth),
        };
        match checked {
            Err(ObjectError::NotStored { .. }) => Ok(Presence::Missing),
            Err(ObjectError::Altered { .. } | ObjectError::BadNode { .. }) => Ok(Presence::Altered),
            result => result,
        }
    }

    fn check_tree(&self, hash: ContentHash, size: u64, depth: Depth) -> Result<Presence, ObjectError> {
        let root = self.read_node(hash)?;
        if root.size().map_err(|source| ObjectError::BadNode { hash, source })? != size {
            return Ok(Presence::Altered);
        }
        if depth == Depth::Deep {
            self.reach(hash, ObjectKind::Tree, &mut |reached| {
                if reached.kind == ObjectKind::File {
                    self.ensure_intact(reached.hash, reached.size)?;
                }
                Ok(true)
            })?;
        }
        Ok(Presence::Present)
    }

    /// Makes sure by a stat that an object is as it was when sealed, and by hashing it where the stat does not say so.
    /// A damaged one goes to quarantine.
    pub(super) fn ensure_intact(&self, hash: ContentHash, size: Option<u64>) -> Result<FileStat, ObjectError> {
        let fits = |stat: &FileStat| size.is_none_or(|size| size == stat.size);
        match self.state(hash)? {
            State::Missing => Err(ObjectError::NotStored { hash }),
            State::Sealed(stat) if fits(&stat) => Ok(stat),
            // Its batch is not synced yet: right as this process wrote it.
            State::Unsealed(stat) if fits(&stat) && self.pending().contains(&hash) => Ok(stat),
            State::Sealed(_) | State::Unsealed(_) => {
                self.verify_or_quarantine(hash)?;
                match self.state(hash)? {
                    State::Sealed(stat) if fits(&stat) => Ok(stat),
                    _ => Err(ObjectError::Altered { hash }),
                }
            }
        }
    }

    /// Hashes an object again, whatever its stat says.
    ///
    /// # Errors
    /// Failed system calls. What is missing or damaged is an answer and not an error; damaged objects
    /// go to quarantine.
    pub fn verify(&self, hash: ContentHash) -> Result<Presence, ObjectError> {
        match self.verify_or_quarantine(hash) {
            Ok(()) => Ok(Presence::Present),
            Err(ObjectError::NotStored { .. }) => Ok(Presence::Missing),
            Err(ObjectError::Altered { .. }) => Ok(Presence::Altered),
            Err(error) => Err(error),
        }
    }

    fn verify_or_quarantine(&self, hash: ContentHash) -> Result<(), ObjectError> {
        let (file, stat) = self.open_object(hash)?;
        if stat.kind() != FileKind::Regular || !self.hashes_to(&file, stat.size, hash)? {
            self.quarantine(hash)?;
            return Err(ObjectError::Altered { hash });
        }
        if !matches!(self.state(hash)?, State::Sealed(_)) {
            // The mode was changed, the time, or the seal was lost with the machine's power.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(super::store::SEALED_MODE as _))
                .map_err(ObjectError::at("set the mode of", &self.path(hash)))?;
            self.sync_one(hash)?;
        }
        Ok(())
    }

    /// Whether the object that is there has the bytes of its name, whatever its stat says.
    pub(super) fn is_right(&self, hash: ContentHash) -> Result<bool, ObjectError> {
        let (file, stat) = self.open_object(hash)?;
        Ok(stat.kind() == FileKind::Regular && self.hashes_to(&file, stat.size, hash)?)
    }

    /// Whether the bytes have this hash, as a file or as a tree node.
    fn hashes_to(&self, file: &File, size: u64, hash: ContentHash) -> Result<bool, ObjectError> {
        let found = match digest::hash_file(file, size) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(ObjectError::io("read", self.path(hash), error)),
        };
        if found == hash {
            return Ok(true);
        }
        let mut start = [0; 8];
        if size > MAX_NODE_BYTES || file.read_exact_at(&mut start, 0).is_err() || !looks_like_node(&start) {
            return Ok(false);
        }
        let mut bytes = vec![0; usize::try_from(size).expect("at most a node")];
        file.read_exact_at(&mut bytes, 0).map_err(ObjectError::at("read", &self.path(hash)))?;
        Ok(node_hash(&bytes) == hash)
    }

    fn open_object(&self, hash: ContentHash) -> Result<(File, FileStat), ObjectError> {
        let path = self.path(hash);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, object_name(hash), flags, Mode::empty()).map_err(|errno| match errno {
                Errno::NOENT => ObjectError::NotStored { hash },
                errno => ObjectError::io("open", &path, errno),
            })?;
        let stat = FileStat::of(&fd).map_err(ObjectError::at("stat", &path))?;
        Ok((File::from(fd), stat))
    }

    /// Opens a file object for reading, after a [stat](Self::check).
    ///
    /// # Errors
    /// [`ObjectError::NotStored`], [`ObjectError::Altered`], and failed system calls.
    pub fn open_checked(&self, hash: ContentHash) -> Result<File, ObjectError> {
        self.ensure_intact(hash, None)?;
        Ok(self.open_object(hash)?.0)
    }

    /// Reads a file object of at most `limit` bytes into memory and hashes it, whatever its stat says.
    ///
    /// # Errors
    /// [`ObjectError::NotStored`], [`ObjectError::Altered`], [`ObjectError::TooLarge`], and failed system calls.
    pub fn read_verified(&self, hash: ContentHash, limit: u64) -> Result<Vec<u8>, ObjectError> {
        self.read_if(hash, limit, |bytes| ContentHash::of(bytes) == hash)
    }

    /// Reads and verifies a tree node.
    pub(super) fn read_node(&self, hash: ContentHash) -> Result<Node, ObjectError> {
        let bytes = self.read_if(hash, MAX_NODE_BYTES, |bytes| node_hash(bytes) == hash)?;
        Node::decode(&bytes).map_err(|source| ObjectError::BadNode { hash, source })
    }

    fn read_if(
        &self,
        hash: ContentHash,
        limit: u64,
        right: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Vec<u8>, ObjectError> {
        let (file, stat) = self.open_object(hash)?;
        let path = self.path(hash);
        if stat.size > limit {
            return Err(ObjectError::TooLarge { path, found: stat.size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        (&file).take(stat.size).read_to_end(&mut bytes).map_err(ObjectError::at("read", &path))?;
        if right(&bytes) {
            return Ok(bytes);
        }
        // A file that is asked for as a tree, or the other way round, is not damaged.
        match self.verify(hash)? {
            Presence::Altered => Err(ObjectError::Altered { hash }),
            Presence::Present | Presence::Missing => Err(ObjectError::NotStored { hash }),
        }
    }
}
