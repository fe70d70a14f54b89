//! Python environments of steps: what `python: {requirements: …}` asks for is resolved once to exact versions, and what
//! was resolved is built once.
//!
//! - A *request* is the text of the requirements and the wanted interpreter version.
//! - A *lock* is the answer: every package with its exact version and, where the index tells them, the hashes of its files.
//!   It stays the same until it is asked to be renewed, whatever is published meanwhile.
//! - An *environment* is a virtual environment that holds what the lock names and nothing else.
//!
//! `uv` does the work where it is installed, and `venv` with `pip` otherwise. Interpreters are looked for, never
//! downloaded. Knows nothing of pipelines, runs or the database.

mod build;
mod error;
mod interpreter;
mod lock;
mod request;
mod tool;

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runstone_core::derivation::PythonLock;
use runstone_core::hash::ContentHash;
use runstone_core::spec::model::Python;

pub use error::PythonError;
pub use interpreter::Interpreter;
pub use request::MAX_REQUIREMENTS;

use interpreter::Version;
use lock::Stored;
use request::Request;

/// How often is looked whether another process is done, and whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who is told what is being done, in words for people.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// What resolves and installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Installer {
    /// `uv` where it is installed, else `pip`.
    #[default]
    Auto,
    /// `uv`.
    Uv,
    /// `venv` and `pip`.
    Pip,
}

/// Where environments are kept and what they are made with.
#[derive(Clone)]
pub struct Settings {
    /// The folder of the environments. They do not survive being moved and are then built anew.
    pub envs: PathBuf,
    /// The folder of the locks.
    pub locks: PathBuf,
    /// What resolves and installs.
    pub installer: Installer,
    /// The variables of this process. The tools get those that concern them: paths, proxies, certificates, `PIP_*`
    /// and `UV_*`.
    pub variables: Vec<(OsString, OsString)>,
    /// Set to end what is going on, with [`PythonError::Stopped`].
    pub stop: Arc<AtomicBool>,
}

/// Without the variables, which may hold secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { envs, locks, installer, .. } = self;
        f.debug_struct("Settings").field("envs", envs).field("locks", locks).field("installer", installer).finish()
    }
}

/// The environments of a project. Safe to share between threads and processes.
#[derive(Debug)]
pub struct Environments {
    settings: Settings,
}

/// What a request was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The interpreter that everything was resolved for.
    pub interpreter: Interpreter,
    /// A requirements file that names every package with its exact version. Holds no credentials.
    pub lock_text: String,
    /// Its content hash.
    pub lock: ContentHash,
    /// The identity of the request, 32 digits; none for a lock from a record.
    pub request: Option<String>,
}

/// A finished environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venv {
    path: PathBuf,
}

impl Environments {
    /// Touches nothing before something is asked for. The paths should be absolute.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The lock of a step's environment, for a pipeline in `folder`. Where there is one and `relock` is false, a few
    /// small files are read and no process is started, unless the interpreter has changed: then it is looked for anew,
    /// and resolved anew where it is of another minor version.
    ///
    /// # Errors
    /// [`PythonError`]: requirements that cannot be read or met, no fitting interpreter, neither `uv` nor `venv`.
    pub fn lock(
        &self,
        folder: &Path,
        python: &Python,
        relock: bool,
        progress: Progress<'_>,
    ) -> Result<Locked, PythonError> {
        let request = Request::read(folder, python)?;
        let stored = Stored::new(&self.settings.locks, &request);
        if !relock && let Some(locked) = stored.load() {
            return Ok(locked);
        }
        let guard = self.exclusive(&stored.guard_path(), progress)?;
        if !relock && let Some(locked) = stored.load() {
            return Ok(locked);
        }
        let interpreter = self.find_interpreter(folder, request.version.as_ref())?;
        if !relock && let Some(text) = stored.lock_text(&interpreter) {
            stored.save_interpreter(&interpreter)?;
            return Ok(Locked::new(interpreter, text, Some(request.hash)));
        }
        let text = self.resolve(folder, &request, &interpreter, &guard, progress)?;
        if Request::read(folder, python)? != request {
            return Err(PythonError::Changed { path: folder.to_owned() });
        }
        stored.save(&interpreter, &text)?;
        Ok(Locked::new(interpreter, text, Some(request.hash)))
    }

    /// The lock of a step's environment where the request was resolved before. Starts no process and changes nothing.
    #[must_use]
    pub fn known(&self, folder: &Path, python: &Python) -> Option<Locked> {
        Stored::new(&self.settings.locks, &Request::read(folder, python).ok()?).load()
    }

    /// The lock that a record holds, for an environment to be built again as it was.
    ///
    /// # Errors
    /// [`PythonError::NoInterpreter`] where exactly this interpreter is not installed any more.
    pub fn recall(&self, folder: &Path, recorded: &PythonLock, lock_text: String) -> Result<Locked, PythonError> {
        let version = recorded.interpreter.rsplit(' ').next().unwrap_or_default();
        let interpreter = self.find_interpreter(folder, Some(&Version::parse(version)?))?;
        if interpreter.to_string() != recorded.interpreter {
            let found = vec![format!("{interpreter} at {}", interpreter.path.display())];
            return Err(PythonError::NoInterpreter { wanted: recorded.interpreter.clone(), found });
        }
        Ok(Locked::new(interpreter, lock_text, None))
    }

    /// The environment of a lock: builds it where it is missing, half finished, was moved or has lost its interpreter.
    /// Relative places in the lock are relative to `folder`. Several processes build it once; one that dies in the
    /// middle leaves nothing that counts.
    ///
    /// # Errors
    /// [`PythonError`], above all with the last words of the tool that failed.
    pub fn ensure(&self, folder: &Path, locked: &Locked, progress: Progress<'_>) -> Result<Venv, PythonError> {
        self.build(folder, locked, progress)
    }

    /// Waits until no other process holds the lock file at `path`, and holds it until the result is dropped.
    ///
    /// Tools that are started meanwhile hold it too, as their standard input: should this process die, nobody comes in
    /// before they are done.
    fn exclusive(&self, path: &Path, progress: Progress<'_>) -> Result<File, PythonError> {
        let io = |action| PythonError::io(action, path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(PythonError::io("create", folder))?;
        }
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io("open"))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if self.settings.stop.load(Ordering::Relaxed) => {
                    return Err(PythonError::Stopped);
                }
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        progress("waiting for another process that prepares the same python environment");
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::Error(error)) => return Err(io("lock")(error)),
            }
        }
    }
}

impl Locked {
    fn new(interpreter: Interpreter, lock_text: String, request: Option<String>) -> Self {
        let lock = ContentHash::of(lock_text.as_bytes());
        Self { interpreter, lock_text, lock, request }
    }

    /// What the fingerprint takes.
    #[must_use]
    pub fn python_lock(&self) -> PythonLock {
        PythonLock { interpreter: self.interpreter.to_string(), lock: self.lock }
    }
}

impl Venv {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its programs are.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.path.join("bin")
    }

    /// The variables with which a step runs in it, `path` being the `PATH` it would have otherwise.
    ///
    /// `PYTHONNOUSERSITE` keeps packages of the user out, which no lock knows. `PYTHONHASHSEED` makes the order of sets
    /// the same in every run, so that a step repeats its bytes; what a step declares in `env:` takes precedence.
    #[must_use]
    pub fn variables(&self, path: &str) -> [(&'static str, String); 4] {
        let bin = self.bin_dir().display().to_string();
        let path = if path.is_empty() { bin } else { format!("{bin}:{path}") };
        [
            ("PATH", path),
            ("VIRTUAL_ENV", self.path.display().to_string()),
            ("PYTHONNOUSERSITE", "1".to_owned()),
            ("PYTHONHASHSEED", "0".to_owned()),
        ]
    }
}
