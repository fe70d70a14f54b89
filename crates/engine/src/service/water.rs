//! Notices a database that lost what it had committed: after the restore of a backup, or a fail-over to a copy that was
//! behind.
//!
//! Numbers that were given out once would then be given out again, for other runs, while folders, journals and objects
//! of the first ones are still here. So a scheduler writes down how far the record was, beside the project, and refuses
//! to go on with one that is behind that.

use std::path::PathBuf;

use runstone_core::service::store::HighWater;
use runstone_core::store::Store;

use super::ServeError;
use crate::project::Project;

/// How far the record was when it was last seen from here.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    once: HighWater,
}

fn path(project: &Project) -> PathBuf {
    project.state_dir().join("high-water.json")
}

impl Mark {
    /// Reads what was written down. What cannot be read is as if it were not there: the mark is a safety net, no record.
    pub(super) fn read(project: &Project) -> Self {
        let path = path(project);
        let once = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, once }
    }

    /// Compares, and writes down what is new.
    ///
    /// # Errors
    /// [`ServeError::WentBack`].
    pub(super) fn check(&mut self, now: HighWater) -> Result<(), ServeError> {
        if now.is_behind(&self.once) {
            return Err(ServeError::WentBack { once: self.once, now });
        }
        if now != self.once {
            self.once = now;
            let text = serde_json::to_vec(&now).unwrap_or_default();
            let draft = self.path.with_extension("json.tmp");
            // Where it cannot be written, the net has a hole and the work goes on.
            let _ = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &self.path));
        }
        Ok(())
    }
}

/// Accepts a record that went back: the numbers that it once gave out are not given out again. Returns where it had been,
/// or `None` where it has lost nothing.
///
/// # Errors
/// Any of the store's.
pub fn adopt_restore(project: &Project, store: &mut dyn Store) -> Result<Option<HighWater>, ServeError> {
    let mark = Mark::read(project);
    if !store.high_water()?.is_behind(&mark.once) {
        return Ok(None);
    }
    store.raise(&mark.once)?;
    // Nodes that were lost stay lost; the next one has a larger number than any of them.
    std::fs::remove_file(&mark.path)
        .map_err(|source| ServeError::Io { what: format!("remove {}", mark.path.display()), source })?;
    Ok(Some(mark.once))
}

/// Whether the record has lost something since it was last seen from here: where it was, and where it is.
///
/// # Errors
/// Any of the store's.
pub fn went_back(project: &Project, store: &mut dyn Store) -> Result<Option<(HighWater, HighWater)>, ServeError> {
    let (once, now) = (Mark::read(project).once, store.high_water()?);
    Ok(now.is_behind(&once).then_some((once, now)))
}
