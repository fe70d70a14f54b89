//! Gives people and programs their own copy of stored content, verified, complete or not at all.

use std::path::{Path, PathBuf};

use runstone_core::hash::ContentHash;
use rustix::fs::CWD;
use rustix::io::Errno;
use uuid::Uuid;

use super::collect::ObjectKind;
use super::error::ObjectError;
use super::materialize::{Lay, Materializer, exists_or, make_dir};
use super::store::ObjectStore;

/// What happens to something that stands where content is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays, and the answer is [`ObjectError::Exists`].
    Refuse,
    /// It is replaced in one step, folders with everything in them.
    Replace,
}

impl ObjectStore {
    /// Writes a private copy of an object to `dest`; missing parent folders are made. At every moment `dest` is what it
    /// was before or all that it is to become. The copy is as durable as any file just written: the store is
    /// where content is kept.
    ///
    /// # Errors
    /// [`ObjectError::Exists`], [`ObjectError::NotStored`], [`ObjectError::Altered`], and failed system calls; `dest` is
    /// as it was then.
    pub fn restore(
        &self,
        hash: ContentHash,
        kind: ObjectKind,
        dest: &Path,
        overwrite: Overwrite,
    ) -> Result<(), ObjectError> {
        if overwrite == Overwrite::Refuse && dest.symlink_metadata().is_ok() {
            return Err(ObjectError::Exists { path: dest.to_owned() });
        }
        let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(ObjectError::at("create", parent))?;
        let building = Building(parent.join(format!(".runstone-{}", Uuid::now_v7())));
        let path = &building.0;
        let materializer = Materializer::new(self, Lay::Private);
        match kind {
            ObjectKind::File => drop(materializer.copy(hash, false, CWD, path, path)?),
            ObjectKind::Tree => materializer.fill(hash, &make_dir(CWD, path, path)?, 0, path)?,
        }
        place(path, dest, overwrite)
    }
}

/// Something half done, or something replaced: removed when it goes out of scope, if it is still there.
struct Building(PathBuf);

impl Drop for Building {
    fn drop(&mut self) {
        // Best effort; after a success nothing is there any more.
        if self.0.symlink_metadata().is_ok_and(|stat| stat.is_dir()) {
            let _ = std::fs::remove_dir_all(&self.0);
        } else {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// Renames `path` to `dest`. What was there before, if it is to be replaced and cannot be renamed over, ends up at `path`.
fn place(path: &Path, dest: &Path, overwrite: Overwrite) -> Result<(), ObjectError> {
    if overwrite == Overwrite::Refuse {
        return rename_new_path(path, dest).map_err(|errno| exists_or("create", dest, errno));
    }
    match rustix::fs::rename(path, dest) {
        Err(Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            exchange(path, dest).map_err(ObjectError::at("replace", dest))
        }
        result => result.map_err(ObjectError::at("create", dest)),
    }
}

fn rename_new_path(path: &Path, dest: &Path) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        match rustix::fs::renameat_with(CWD, path, CWD, dest, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            result => return result,
        }
    }
    // File systems that cannot: the window between the look and the rename is theirs.
    if dest.symlink_metadata().is_ok() { Err(Errno::EXIST) } else { rustix::fs::rename(path, dest) }
}

fn exchange(path: &Path, dest: &Path) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        match rustix::fs::renameat_with(CWD, path, CWD, dest, rustix::fs::RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            result => return result,
        }
    }
    let aside = Building(path.with_extension("old"));
    rustix::fs::rename(dest, &aside.0)?;
    rustix::fs::rename(path, dest).inspect_err(|_| {
        let _ = rustix::fs::rename(&aside.0, dest);
    })
}
