//! Places that hold content: a content store together with its checkouts, and one beside it for what is not kept.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runstone_exec::objects::{Checkouts, ObjectError, ObjectStore};

/// A content store with the folders in which its trees are checked out.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) objects: Arc<ObjectStore>,
    pub(crate) checkouts: Arc<Checkouts>,
}

/// A shelf for content that is not kept, made when the first is put on it.
#[derive(Debug)]
pub(crate) struct Aside {
    folder: PathBuf,
    shelf: Mutex<Option<Shelf>>,
}

impl Aside {
    /// One in this folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, shelf: Mutex::default() }
    }

    /// The shelf, if anything was put on it.
    pub(crate) fn shelf(&self) -> Option<Shelf> {
        self.lock().clone()
    }

    /// The shelf, to put something on it.
    ///
    /// # Errors
    /// [`ObjectError`] where it cannot be made.
    pub(crate) fn make(&self) -> Result<Shelf, ObjectError> {
        let mut shelf = self.lock();
        if let Some(shelf) = &*shelf {
            return Ok(shelf.clone());
        }
        let made = Shelf {
            objects: Arc::new(ObjectStore::open(&self.folder.join("objects"))?),
            checkouts: Arc::new(Checkouts::open(&self.folder.join("trees"))?),
        };
        *shelf = Some(made.clone());
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shelf>> {
        // Whoever panicked while holding it changed nothing.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
