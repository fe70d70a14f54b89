//! Builds the environment of a lock.
//!
//! An environment is built where it stays, because virtual environments cannot be moved, and counts only when the marker
//! that is written last is in it. The marker says where that was. Byte code is not compiled ahead: most of what is
//! installed is never imported, and Python keeps what it has compiled.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::{for_pip, packages, tell};
use super::request::{values, variable_names};
use super::tool::Tool;
use super::{Environments, Interpreter, Locked, Progress, PythonError, Venv};

/// Key-derivation context (BLAKE3) of environments.
const CONTEXT: &str = "runstone 2026-11 python environment v1";
/// Written last.
const MARKER: &str = ".complete";
/// The lock, for people and for the tools.
const LOCK_FILE: &str = "requirements.lock";
/// Packages that are named in a line of progress.
const NAMED_PACKAGES: usize = 4;
/// The oldest `pip` that installs into another environment and writes reports.
const OLDEST_PIP: (u32, u32) = (22, 3);
const PROBE: Duration = Duration::from_secs(60);

impl Environments {
    /// See [`Environments::ensure`].
    pub(super) fn build(&self, folder: &Path, locked: &Locked, progress: Progress<'_>) -> Result<Venv, PythonError> {
        let interpreter = &locked.interpreter;
        let id = identity(interpreter, &locked.lock_text);
        self.once(&id, progress, |dir, guard, progress| {
            let packages = packages(&locked.lock_text);
            let count = packages.len();
            let plural = if count == 1 { "" } else { "s" };
            progress(&format!("creating a python environment ({interpreter}, {count} package{plural})"));
            let uv = self.uv(folder)?;
            match &uv {
                Some(uv) => self.uv_venv(uv, folder, interpreter, dir, guard)?,
                None => self.venv(folder, interpreter, &["--without-pip"], dir, guard)?,
            }
            if count == 0 {
                return Ok(());
            }
            let named = packages[..count.min(NAMED_PACKAGES)].join(", ");
            progress(&format!("installing {named}{}", if count > NAMED_PACKAGES { ", …" } else { "" }));
            let lock = dir.join(LOCK_FILE);
            let text = with_places(&locked.lock_text, folder);
            let text = if uv.is_some() { text } else { for_pip(&text) };
            std::fs::write(&lock, text).map_err(PythonError::io("write", &lock))?;
            let (tool, name) = match &uv {
                Some(uv) => {
                    let tool = Tool::new(uv, folder, &self.settings);
                    (tool.args(["pip", "install", "--no-progress", "--no-deps", "--python"]), "uv pip install")
                }
                None => {
                    let tool = Tool::new(&self.pip(folder, interpreter, progress)?, folder, &self.settings);
                    (tool.args(["-m", "pip", "--python"]), "pip install")
                }
            };
            let tool = tool.args([dir.join("bin/python")]);
            let tool = if uv.is_some() {
                tool
            } else {
                tool.args(["install", "--progress-bar", "off", "--no-compile", "--no-deps"])
            };
            let secrets = values(&variable_names(&locked.lock_text), &self.settings.variables);
            tool.args([OsStr::new("--requirement"), lock.as_os_str()]).holding(guard)?.revealing(secrets).expect(
                "installing the packages",
                name,
                &mut |line| tell(line, progress),
            )
        })
    }

    /// The interpreter of an environment that holds `pip` and serves to make others.
    pub(super) fn pip(
        &self,
        folder: &Path,
        interpreter: &Interpreter,
        progress: Progress<'_>,
    ) -> Result<PathBuf, PythonError> {
        let id = format!("pip-{}", identity(interpreter, "pip"));
        let venv = self.once(&id, progress, |dir, guard, _| {
            self.venv(folder, interpreter, &[], dir, guard)?;
            let python = dir.join("bin/python");
            let version = Tool::new(&python, folder, &self.settings).args(["-m", "pip", "--version"]).limit(PROBE);
            let version = version.run(&mut |_| {})?;
            if version.output.iter().find_map(|line| pip_version(line)).is_some_and(|version| version >= OLDEST_PIP) {
                return Ok(());
            }
            Tool::new(&python, folder, &self.settings)
                .args(["-m", "pip", "install", "--progress-bar", "off", "--upgrade"])
                .args([format!("pip>={}.{}", OLDEST_PIP.0, OLDEST_PIP.1)])
                .holding(guard)?
                .expect("renewing pip", "pip install", &mut |_| {})
        })?;
        Ok(venv.bin_dir().join("python"))
    }

    /// The environment `id`: made by `make` unless it is there and whole, by one process at a time.
    fn once(
        &self,
        id: &str,
        progress: Progress<'_>,
        make: impl FnOnce(&Path, &File, Progress<'_>) -> Result<(), PythonError>,
    ) -> Result<Venv, PythonError> {
        let dir = self.settings.envs.join(id);
        if is_whole(&dir) {
            return Ok(Venv { path: dir });
        }
        let guard = self.exclusive(&self.settings.envs.join(format!("{id}.guard")), progress)?;
        if is_whole(&dir) {
            return Ok(Venv { path: dir });
        }
        remove(&dir)?;
        if let Err(error) = make(&dir, &guard, progress).and_then(|()| complete(&dir)) {
            // What is left does not count; its room is wanted back.
            _ = remove(&dir);
            return Err(error);
        }
        Ok(Venv { path: dir })
    }

    fn uv_venv(
        &self,
        uv: &Path,
        folder: &Path,
        interpreter: &Interpreter,
        dir: &Path,
        guard: &File,
    ) -> Result<(), PythonError> {
        Tool::new(uv, folder, &self.settings)
            .args(["venv", "--no-project", "--no-progress", "--python"])
            .args([&interpreter.path, dir])
            .holding(guard)?
            .expect("creating the environment", "uv venv", &mut |_| {})
    }

    fn venv(
        &self,
        folder: &Path,
        interpreter: &Interpreter,
        options: &[&str],
        dir: &Path,
        guard: &File,
    ) -> Result<(), PythonError> {
        Tool::new(&interpreter.path, folder, &self.settings)
            .args(["-I", "-m", "venv"])
            .args(options)
            .args([dir])
            .holding(guard)?
            .expect("creating the environment", "python -m venv", &mut |_| {})
    }
}

/// The lock as the tools need it: folders of packages with their absolute place, because the tools look for relative ones
/// beside the file or somewhere else.
fn with_places(lock_text: &str, folder: &Path) -> String {
    let placed = |line: &str| match line.strip_prefix("--find-links ") {
        Some(place) if folder.join(place).exists() => format!("--find-links {}\n", folder.join(place).display()),
        _ => format!("{line}\n"),
    };
    lock_text.lines().map(placed).collect()
}

/// What decides an environment: the lock, and the interpreter with its place, which the environment links to.
fn identity(interpreter: &Interpreter, lock_text: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let place = interpreter.path.as_os_str().as_encoded_bytes();
    for part in [interpreter.to_string().as_bytes(), interpreter.platform.as_bytes(), place, lock_text.as_bytes()] {
        hasher.update(part).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// What the marker of an environment at this place says.
fn marker(dir: &Path) -> Vec<u8> {
    [dir.as_os_str().as_encoded_bytes(), b"\n"].concat()
}

/// Whether the environment is finished, where it was built, and its interpreter still there.
fn is_whole(dir: &Path) -> bool {
    let is_marked = std::fs::read(dir.join(MARKER)).is_ok_and(|found| found == marker(dir));
    is_marked && dir.join("bin/python").metadata().is_ok_and(|stat| stat.is_file())
}

/// Makes the environment durable, and only then marks it.
fn complete(dir: &Path) -> Result<(), PythonError> {
    let io = |action| PythonError::io(action, dir);
    let folder = File::open(dir).map_err(io("open"))?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder).map_err(|errno| io("sync")(errno.into()))?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    let path = dir.join(MARKER);
    let mut file = File::create_new(&path).map_err(PythonError::io("write", &path))?;
    file.write_all(&marker(dir)).and_then(|()| file.sync_all()).map_err(PythonError::io("write", &path))?;
    folder.sync_all().map_err(io("sync"))
}

fn remove(dir: &Path) -> Result<(), PythonError> {
    // The marker goes first: half an environment must not look whole.
    for result in [std::fs::remove_file(dir.join(MARKER)), std::fs::remove_dir_all(dir)] {
        match result {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(PythonError::io("remove", dir)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `pip 23.2.1 from …`
fn pip_version(line: &str) -> Option<(u32, u32)> {
    let mut parts = line.strip_prefix("pip ")?.split([' ', '.']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_pip_is_read() {
        assert_eq!(pip_version("pip 23.2.1 from /x (python 3.11)"), Some((23, 2)));
        assert_eq!(pip_version("pip 9.0 from /x"), Some((9, 0)));
        assert_eq!(pip_version("No module named pip"), None);
    }
}
