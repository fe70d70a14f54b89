//! Removes folders whatever their modes: read-only checkouts, and what steps leave behind.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::ObjectError;

/// Removes a folder of this user with everything in it, also where folders in it may not be written to. Follows no links.
/// What is not there is removed already.
///
/// # Errors
/// Failed system calls; parts may be gone then.
pub fn remove_folder(path: &Path) -> Result<(), ObjectError> {
    let failed = ObjectError::at("remove", path);
    let removed = match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path).and_then(|()| std::fs::remove_dir_all(path))
        }
        result => result,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(failed),
    }
}

/// Gives the owner every right on every folder, from the top down.
fn open_up(path: &Path) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
