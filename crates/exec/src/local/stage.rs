//! The folder of an attempt and what is laid into it before the step starts.
//!
//! The supervisor of an attempt uses it, and so does an interactive shell that is to find exactly what the step found.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use runstone_core::attempt::{AttemptSpec, Material, Staged};

/// The attempt's folder could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A path that would leave the folder, or is empty.
    #[error("'{0}' is not a path inside the attempt's folder")]
    Outside(String),
    /// The file system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was tried: a verb.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl StageError {
    /// Whether there was no space, or no quota, left.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StageError {
    let path = path.to_owned();
    move |source| StageError::Io { doing, path, source }
}

/// Makes the folder of an attempt (readable by its owner only) with `out/` and `tmp/`, and lays its materials into it.
///
/// Where the folder exists, because an earlier start of the same attempt got no further than this, whatever this
/// function or a step would have put there is removed first: an attempt never sees leftovers.
///
/// # Errors
/// [`StageError`]; the folder may then be incomplete.
pub fn stage(spec: &AttemptSpec) -> Result<(), StageError> {
    let folder = Path::new(&spec.folder);
    for staged in &spec.stage {
        check_inside(&staged.path)?;
    }
    match make_folder(folder, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = folder.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(failed("make folder", parent))?;
            make_folder(folder, 0o700)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return clear(spec).and_then(|()| fill(spec)),
        made => made,
    }
    .map_err(failed("make folder", folder))?;
    fill(spec)
}

fn fill(spec: &AttemptSpec) -> Result<(), StageError> {
    let folder = Path::new(&spec.folder);
    for name in ["out", "tmp"] {
        let path = folder.join(name);
        make_folder(&path, 0o755).map_err(failed("make folder", &path))?;
    }
    spec.stage.iter().try_for_each(|staged| lay(folder, staged))
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

fn check_inside(path: &str) -> Result<(), StageError> {
    let mut components = Path::new(path).components().peekable();
    let inside = components.peek().is_some() && components.all(|part| matches!(part, Component::Normal(_)));
    if inside { Ok(()) } else { Err(StageError::Outside(path.to_owned())) }
}

/// Removes what an earlier start may have left. Symbolic links are removed, never followed.
fn clear(spec: &AttemptSpec) -> Result<(), StageError> {
    let folder = Path::new(&spec.folder);
    let first = |path: &str| Path::new(path).components().next().map(|part| folder.join(part));
    let names = ["out", "tmp", "stdout", "stderr"].into_iter().chain(spec.stage.iter().map(|staged| &*staged.path));
    for path in names.filter_map(first) {
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => continue,
        };
        removed.map_err(failed("remove", &path))?;
    }
    Ok(())
}

fn lay(folder: &Path, staged: &Staged) -> Result<(), StageError> {
    let path = folder.join(&staged.path);
    if let Some(parent) = path.parent().filter(|parent| *parent != folder) {
        fs::create_dir_all(parent).map_err(failed("make folder", parent))?;
    }
    match &staged.what {
        Material::Link(target) => symlink(target, &path).map_err(failed("make link", &path)),
        Material::Text(text) => fs::write(&path, text).map_err(failed("write", &path)),
        Material::Copy(source) => copy(Path::new(source), &path),
        Material::Folder => fs::create_dir_all(&path).map_err(failed("make folder", &path)),
    }
}

/// Copies a file or a folder with all that is in it. Copies are writable for their owner. File systems that can share
/// blocks do so. Links inside a folder stay links; a source that is a link is followed.
fn copy(source: &Path, target: &Path) -> Result<(), StageError> {
    let found = fs::metadata(source).map_err(failed("read", source))?;
    if !found.is_dir() {
        return copy_file(source, target);
    }
    fs::create_dir(target).map_err(failed("make folder", target))?;
    // A list, not recursion: the depth is the user's.
    let mut folders = vec![(source.to_owned(), target.to_owned())];
    while let Some((source, target)) = folders.pop() {
        for entry in fs::read_dir(&source).map_err(failed("read", &source))? {
            let entry = entry.map_err(failed("read", &source))?;
            let (from, to) = (entry.path(), target.join(entry.file_name()));
            let kind = entry.file_type().map_err(failed("read", &from))?;
            if kind.is_dir() {
                fs::create_dir(&to).map_err(failed("make folder", &to))?;
                folders.push((from, to));
            } else if kind.is_symlink() {
                let link = fs::read_link(&from).map_err(failed("read", &from))?;
                symlink(link, &to).map_err(failed("make link", &to))?;
            } else {
                copy_file(&from, &to)?;
            }
        }
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path) -> Result<(), StageError> {
    fs::copy(source, target).map_err(|error| StageError::Io {
        doing: "copy",
        path: source.to_owned(),
        source: io::Error::new(error.kind(), format!("to {}: {error}", target.display())),
    })?;
    let mut permissions = fs::metadata(target).map_err(failed("read", target))?.permissions();
    permissions.set_mode(permissions.mode() | 0o200);
    fs::set_permissions(target, permissions).map_err(failed("change", target))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use runstone_core::attempt::LogLimit;
    use uuid::Uuid;

    use super::*;

    fn spec(folder: &Path, stage: Vec<(&str, Material)>) -> AttemptSpec {
        AttemptSpec {
            attempt: Uuid::from_u128(1),
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: "/".into(),
            folder: folder.to_str().unwrap().into(),
            stage: stage.into_iter().map(|(path, what)| Staged { path: path.into(), what }).collect(),
            timeout_ms: None,
            grace_ms: 0,
            log_limit: LogLimit::default(),
            ends_with_owner: false,
        }
    }

    #[test]
    fn a_second_start_finds_no_leftovers() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("tree");
        fs::create_dir_all(source.join("deep/er")).unwrap();
        fs::write(source.join("deep/er/data"), "1").unwrap();
        fs::set_permissions(source.join("deep/er/data"), fs::Permissions::from_mode(0o444)).unwrap();
        let from = source.to_str().unwrap().to_owned();
        let folder = root.path().join("runs/1");
        let spec = spec(
            &folder,
            vec![
                ("in/tree", Material::Copy(from.clone())),
                ("in/link", Material::Link(from)),
                ("params.json", Material::Text("{}".into())),
            ],
        );
        for _ in 0..2 {
            stage(&spec).unwrap();
            assert_eq!(fs::read_dir(folder.join("out")).unwrap().count(), 0);
            fs::write(folder.join("out/half"), "x").unwrap();
            fs::write(folder.join("in/tree/deep/er/data"), "changed").unwrap();
            assert_eq!(fs::read_to_string(folder.join("in/link/deep/er/data")).unwrap(), "1");
        }
    }

    #[test]
    fn nothing_is_laid_outside_the_folder() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "", "a/../../x", "./a"] {
            let spec = spec(&root.path().join("a"), vec![(path, Material::Text("x".into()))]);
            assert!(matches!(stage(&spec), Err(StageError::Outside(_))), "{path}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
