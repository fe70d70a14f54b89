//! Takes an output into the store in two moves: first it is hashed where it is, then it is moved.
//!
//! In between, the caller can write down what it is about to move. Whoever finds that note after a kill can
//! [finish the move](ObjectStore::salvage), wherever it was interrupted.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use runstone_core::hash::ContentHash;
use rustix::fs::AtFlags;

use super::beneath::{Beneath, FileKind, FileStat, missing_or, open_regular};
use super::collect::{Collected, Expect, ObjectKind, check_size};
use super::error::ObjectError;
use super::store::{ObjectStore, Publication, State};
use super::sync::Batch;
use super::tree::TreeItem;
use super::walk::{self, Limits, Listable, Listing, hash_listed, hash_unchanged};

/// An output that was hashed where it is. Nothing of it has been moved.
#[derive(Debug)]
pub struct Surveyed {
    content: Collected,
    pub(super) at: At,
}

#[derive(Debug)]
pub(super) enum At {
    File { dir: OwnedFd, name: CString, file: File, stat: FileStat, path: PathBuf },
    Dir { dir: Beneath, listing: Listing },
}

/// A file that was hashed: where it is, as what it is open, and what it hashed to.
struct Hashed<'a, D> {
    dir: D,
    name: &'a std::ffi::CStr,
    file: &'a File,
    stat: FileStat,
    hash: ContentHash,
    path: &'a Path,
}

impl Surveyed {
    /// What it holds.
    #[must_use]
    pub fn content(&self) -> Collected {
        self.content
    }
}

/// Hashes the output at `relative` below `folder`. The caller owns it, and nobody else may be writing to it.
/// `folder` itself is trusted, nothing below is. An output that is one file stays open until it is taken.
///
/// # Errors
/// [`ObjectError::Missing`], [`ObjectError::WrongType`] (also for a symbolic link in place of the output and
/// for FIFOs, sockets and devices), [`ObjectError::EscapingLink`], exceeded limits, content that
/// changed meanwhile, and failed system calls.
pub fn survey(folder: &Path, relative: &Path, expect: Expect, limits: Limits) -> Result<Surveyed, ObjectError> {
    let path = folder.join(relative);
    let name = relative.file_name().ok_or_else(|| ObjectError::Missing { path: path.clone() })?;
    let root = Beneath::open(folder)?;
    let parent = root.dir(relative.parent().unwrap_or(Path::new("")))?;
    let stat = FileStat::at(&parent, name).map_err(|errno| missing_or("stat", &path, errno))?;
    match (stat.kind(), expect) {
        (FileKind::Regular, Expect::File | Expect::Any) => {
            check_size(&path, stat.size, limits)?;
            let (file, now) = open_regular(&parent, name, &path)?;
            if !now.same_file_as(&stat) {
                return Err(ObjectError::Changed { path });
            }
            let hash = hash_unchanged(&file, now, &path)?;
            let content = Collected { hash, kind: ObjectKind::File, size: now.size, files: 1 };
            let name = CString::new(name.as_encoded_bytes()).expect("a path that was opened has no NUL");
            Ok(Surveyed { content, at: At::File { dir: parent, name, file, stat: now, path } })
        }
        (FileKind::Dir, Expect::Dir | Expect::Any) => survey_dir(Beneath::of(root.dir(relative)?, path), limits),
        (found, expect) => {
            let expected = match expect {
                Expect::File => "a file",
                Expect::Dir => "a folder",
                Expect::Any => "a file or folder",
            };
            Err(ObjectError::WrongType { path, expected, found: found.named() })
        }
    }
}

fn survey_dir(dir: Beneath, limits: Limits) -> Result<Surveyed, ObjectError> {
    let mut listing = walk::list(&dir, limits, &|_, _, _| true)?;
    listing.for_each_unhashed(&dir, &|place, entry| {
        let path = dir.path().join(place.path).join(entry.os_name());
        entry.what = Listable::File(Some(hash_listed(place, entry, &path)?.1));
        Ok(())
    })?;
    let root = listing.build_trees(&mut |_, _| Ok(()))?;
    let content = Collected { hash: root.hash, kind: ObjectKind::Tree, size: root.size, files: listing.files };
    Ok(Surveyed { content, at: At::Dir { dir, listing } })
}

impl ObjectStore {
    /// Moves what was surveyed into the store. Files are moved, not copied, wherever they can be.
    ///
    /// # Errors
    /// [`ObjectError::Changed`] where it is not what was surveyed any more, and failed system calls. After an error parts
    /// of it may have been moved already.
    pub fn take(&self, surveyed: Surveyed, batch: &mut Batch) -> Result<Collected, ObjectError> {
        let Surveyed { content, at } = surveyed;
        match at {
            At::File { dir, name, file, stat, path } => {
                let hashed = Hashed { dir: &dir, name: &name, file: &file, stat, hash: content.hash, path: &path };
                self.take_file(&hashed, batch)?;
            }
            At::Dir { dir, listing } => {
                // The nodes go first: they say what is to be where, should the move be interrupted.
                listing.build_trees(&mut |hash, encoded| self.put_node(hash, encoded, batch))?;
                self.take_files(&dir, &listing, batch)?;
            }
        }
        Ok(content)
    }

    fn take_files(&self, dir: &Beneath, listing: &Listing, batch: &mut Batch) -> Result<(), ObjectError> {
        let shared = Mutex::new(std::mem::take(batch));
        let taken = listing.for_each_file(dir, &|place, entry, hash| {
            let path = dir.path().join(place.path).join(entry.os_name());
            let (file, now) = open_regular(place.fd, &entry.name, &path)?;
            if !now.same_file_as(&entry.stat) {
                return Err(ObjectError::Changed { path });
            }
            let mut own = Batch::default();
            let hashed = Hashed { dir: place.fd, name: &entry.name, file: &file, stat: now, hash, path: &path };
            self.take_file(&hashed, &mut own)?;
            shared.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
            Ok(())
        });
        *batch = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        taken
    }

    /// Moves a file into the store. One that has further names, or cannot be moved, is copied and its name removed.
    fn take_file(&self, hashed: &Hashed<'_, impl AsFd>, batch: &mut Batch) -> Result<(), ObjectError> {
        let Hashed { dir, name, file, stat, hash, path } = hashed;
        if stat.links == 1 && self.publish((dir.as_fd(), name, file), (*hash, stat.size), batch)? == Publication::Done {
            return Ok(());
        }
        let now = FileStat::of(file).map_err(ObjectError::at("stat", path))?;
        if self.copy_in(file, now, path, batch)? != *hash {
            return Err(ObjectError::Changed { path: path.to_path_buf() });
        }
        // The caller's folder is thrown away as a whole; a name that cannot be removed does no harm.
        let _ = rustix::fs::unlinkat(dir, *name, AtFlags::empty());
        Ok(())
    }

    /// Finishes a [move](Self::take) that was interrupted: whatever of `content` is in the store already stays there,
    /// the rest is taken from `relative` below `folder`. Nothing is believed: all of it is hashed again.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] and [`ObjectError::Changed`] where something is in neither place, and as for a first move.
    pub fn salvage(
        &self,
        folder: &Path,
        relative: &Path,
        content: &Collected,
        batch: &mut Batch,
    ) -> Result<(), ObjectError> {
        let expect = match content.kind {
            ObjectKind::File if self.regain(content.hash, batch)? => return Ok(()),
            ObjectKind::Tree if self.salvage_tree(&folder.join(relative), content.hash, batch)? => return Ok(()),
            ObjectKind::File => Expect::File,
            ObjectKind::Tree => Expect::Dir,
        };
        let found = survey(folder, relative, expect, Limits::NONE)?;
        if found.content() != *content {
            return Err(ObjectError::Changed { path: folder.join(relative) });
        }
        self.take(found, batch).map(drop)
    }

    /// False where the nodes of the tree are not all there, so that no file was moved yet.
    fn salvage_tree(&self, folder: &Path, tree: ContentHash, batch: &mut Batch) -> Result<bool, ObjectError> {
        let mut files = Vec::new();
        let mut folders = vec![(tree, PathBuf::new())];
        let mut nodes = Vec::new();
        while let Some((tree, path)) = folders.pop() {
            let read = self.for_each_leaf(
                tree,
                &mut |hash| {
                    nodes.push(hash);
                    Ok(true)
                },
                &mut |leaf| {
                    for entry in leaf {
                        let below = path.join(OsStr::from_bytes(&entry.name));
                        match entry.item {
                            TreeItem::File { hash, .. } => files.push((hash, below)),
                            TreeItem::Dir { hash, .. } => folders.push((hash, below)),
                            TreeItem::Symlink { .. } => {}
                        }
                    }
                    Ok(())
                },
            );
            match read {
                Ok(()) => {}
                Err(ObjectError::NotStored { .. } | ObjectError::Altered { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        for node in nodes {
            self.regain(node, batch)?;
        }
        for (hash, relative) in files {
            if !self.regain(hash, batch)? {
                let found = survey(folder, &relative, Expect::File, Limits::NONE)?;
                if found.content.hash != hash {
                    return Err(ObjectError::Changed { path: folder.join(relative) });
                }
                self.take(found, batch)?;
            }
        }
        Ok(true)
    }

    /// Whether an object is there with the right bytes. One that was not made durable yet joins the batch.
    fn regain(&self, hash: ContentHash, batch: &mut Batch) -> Result<bool, ObjectError> {
        match self.state(hash)? {
            State::Missing => Ok(false),
            State::Unsealed(_) if self.is_right(hash)? => {
                self.pending().insert(hash);
                batch.published.push(hash);
                Ok(true)
            }
            State::Sealed(_) => Ok(self.verify(hash)? == super::Presence::Present),
            State::Unsealed(_) => {
                self.quarantine(hash)?;
                Ok(false)
            }
        }
    }
}
