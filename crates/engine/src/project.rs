//! A project: the folder that pipelines belong to, what it is called, and where its state lies.
//!
//! State lives in `.runstone/` below the root, as `.git` does. What people wrote down for the project stands in
//! `runstone.yaml` beside it (see [`config`]). Nothing here opens a database or an object store; this module says
//! where they are.

pub mod config;
mod retention;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use config::{Config, Origin, Overrides, SecretSource, Sourced};

/// The folder of a project's state.
pub const STATE_DIR: &str = ".runstone";
/// The file people configure a project with.
pub const CONFIG_FILE: &str = "runstone.yaml";
const IDENTITY_FILE: &str = "project.json";

/// A project could not be found, opened or made.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file of the project could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Such as `read`.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file, or a variable that overrides it, cannot be used.
    #[error("{origin}: {message}")]
    Config {
        /// The file or variable.
        origin: Origin,
        /// What is wrong with it.
        message: String,
    },
    /// The file that holds the project's identity holds something else.
    #[error("{} is damaged: {message}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A project found on the way up belongs to somebody else, who could make this user run or read things.
    #[error("{} belongs to another user than {}", root.display(), start.display())]
    Foreign {
        /// Root of the project that was found.
        root: PathBuf,
        /// Where the search began.
        start: PathBuf,
    },
}

impl ProjectError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// What a project is, whatever its folder is called today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    id: Uuid,
    name: String,
}

/// A project that exists on disk.
///
/// Invariant: `root` is absolute and `.runstone/project.json` below it holds the identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    root: PathBuf,
    identity: Identity,
    config: Config,
}

impl Project {
    /// The project that `start` (a folder) lies in, or the one at `explicit`. `None` where nothing was ever recorded.
    ///
    /// # Errors
    /// [`ProjectError`] where one is there but cannot be used.
    pub fn find(start: &Path, explicit: Option<&Path>, overrides: &Overrides) -> Result<Option<Self>, ProjectError> {
        let root = match explicit {
            Some(root) => Some(canonical(root)?),
            None => nearest_root(&canonical(start)?)?,
        };
        let Some(root) = root else { return Ok(None) };
        let Some(identity) = read_identity(&root.join(STATE_DIR).join(IDENTITY_FILE))? else { return Ok(None) };
        let config = Config::load(&root, overrides)?;
        Ok(Some(Self { root, identity, config }))
    }

    /// The project that a pipeline file belongs to, made where it does not exist yet.
    ///
    /// Its root is `explicit`; else the nearest folder above the pipeline with `.runstone/` or `runstone.yaml`; else
    /// `cwd` where the pipeline lies below it; else the pipeline's folder.
    ///
    /// # Errors
    /// [`ProjectError`] where it cannot be used or made.
    pub fn open_or_create(
        cwd: &Path,
        pipeline: &Path,
        explicit: Option<&Path>,
        overrides: &Overrides,
    ) -> Result<Self, ProjectError> {
        let root = Self::root_of(cwd, pipeline, explicit)?;
        let config = Config::load(&root, overrides)?;
        let identity = ensure_state(&root)?;
        Ok(Self { root, identity, config })
    }

    /// The root that [`open_or_create`](Self::open_or_create) would use. Makes nothing.
    ///
    /// # Errors
    /// [`ProjectError`] where a folder cannot be found, or belongs to somebody else.
    pub fn root_of(cwd: &Path, pipeline: &Path, explicit: Option<&Path>) -> Result<PathBuf, ProjectError> {
        match explicit {
            Some(root) => canonical(root),
            None => root_for(&canonical(cwd)?, &cwd.join(pipeline)),
        }
    }

    /// The root folder, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The identity under which stores remember it.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.identity.id
    }

    /// Its name: that of the root folder when it was made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// What was configured, and where.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The folder of its state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.root.join(STATE_DIR)
    }

    /// The embedded database, used unless another one is configured.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        self.state_dir().join("runstone.db")
    }

    /// The content-addressed objects.
    #[must_use]
    pub fn objects_dir(&self) -> PathBuf {
        self.config.objects.value.as_ref().map_or_else(|| self.state_dir().join("objects"), |path| self.root.join(path))
    }

    /// Checked-out folders, one per tree hash.
    #[must_use]
    pub fn trees_dir(&self) -> PathBuf {
        self.state_dir().join("trees")
    }

    /// What may be deleted at any time, such as remembered file states.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.state_dir().join("cache")
    }

    /// Folders of runs.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.state_dir().join("runs")
    }

    /// The folder of the pipeline that a definition came from: where its steps run.
    #[must_use]
    pub fn folder_of(&self, definition_path: impl AsRef<Path>) -> PathBuf {
        folder_below(&self.root, definition_path.as_ref())
    }

    /// The folder of one run.
    #[must_use]
    pub fn run_dir(&self, run: Uuid) -> PathBuf {
        self.runs_dir().join(run.to_string())
    }

    /// The folder of one attempt, with its logs `stdout` and `stderr`.
    #[must_use]
    pub fn attempt_dir(&self, run: Uuid, task: u32, attempt: u32) -> PathBuf {
        self.run_dir(run).join(format!("{task}.{attempt}"))
    }

    /// Environments made for steps.
    #[must_use]
    pub fn envs_dir(&self) -> PathBuf {
        self.state_dir().join("envs")
    }

    /// Places where recorded attempts are done again. Each is removed at its end.
    #[must_use]
    pub fn scratch_dir(&self) -> PathBuf {
        self.state_dir().join("scratch")
    }

    /// Lock files.
    #[must_use]
    pub fn locks_dir(&self) -> PathBuf {
        self.state_dir().join("locks")
    }
}

/// See [`Project::open_or_create`]; `pipeline` need not exist, its folder must.
fn root_for(cwd: &Path, pipeline: &Path) -> Result<PathBuf, ProjectError> {
    let folder = canonical(pipeline.parent().unwrap_or(cwd))?;
    if let Some(root) = nearest_root(&folder)? {
        return Ok(root);
    }
    Ok(if folder.starts_with(cwd) { cwd.to_owned() } else { folder })
}

/// The nearest folder at or above `start` that is marked as a project.
fn nearest_root(start: &Path) -> Result<Option<PathBuf>, ProjectError> {
    for folder in start.ancestors() {
        for marker in [STATE_DIR, CONFIG_FILE] {
            if let Ok(metadata) = fs::symlink_metadata(folder.join(marker)) {
                if folder != start && !is_trusted(&metadata, start) {
                    return Err(ProjectError::Foreign { root: folder.to_owned(), start: start.to_owned() });
                }
                return Ok(Some(folder.to_owned()));
            }
        }
    }
    Ok(None)
}

/// Whether a marker further up was put there by the owner of the starting folder or by the administrator: anybody may
/// create `/tmp/runstone.yaml`.
#[cfg(unix)]
fn is_trusted(marker: &fs::Metadata, start: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    marker.uid() == 0 || fs::metadata(start).is_ok_and(|start| start.uid() == marker.uid())
}

#[cfg(not(unix))]
fn is_trusted(_: &fs::Metadata, _: &Path) -> bool {
    true
}

fn canonical(path: &Path) -> Result<PathBuf, ProjectError> {
    fs::canonicalize(path).map_err(ProjectError::io("open", path))
}

fn read_identity(path: &Path) -> Result<Option<Identity>, ProjectError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ProjectError::io("read", path)(error)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| ProjectError::Identity { path: path.to_owned(), message: error.to_string() })
}

/// Makes the state folder and the identity where they are missing. Safe against several processes at once: the
/// identity appears complete under its name or not at all, and the first one wins.
fn ensure_state(root: &Path) -> Result<Identity, ProjectError> {
    let state = root.join(STATE_DIR);
    let path = state.join(IDENTITY_FILE);
    if let Some(identity) = read_identity(&path)? {
        return Ok(identity);
    }
    make_private_dir(&state)?;
    let ignore = state.join(".gitignore");
    fs::write(&ignore, "*\n").map_err(ProjectError::io("write", &ignore))?;

    let name = root.file_name().map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned());
    let identity = Identity { id: Uuid::now_v7(), name };
    let mut text = serde_json::to_string_pretty(&identity).expect("an identity is plain data");
    text.push('\n');
    let draft = state.join(format!("{IDENTITY_FILE}.{}", identity.id));
    let written = fs::File::create_new(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(ProjectError::io("write", &draft))?;
    let linked = fs::hard_link(&draft, &path);
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(ProjectError::io("write", &path)(error)),
        _ => read_identity(&path)?.ok_or_else(|| ProjectError::Identity { path, message: "it is gone".into() }),
    }
}

fn make_private_dir(path: &Path) -> Result<(), ProjectError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(ProjectError::io("create", path)(error)),
        _ => Ok(()),
    }
}

/// The folder of a file that is relative to `root` or absolute.
pub(crate) fn folder_below(root: &Path, file: &Path) -> PathBuf {
    root.join(file).parent().unwrap_or(root).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: PathBuf) -> PathBuf {
        fs::create_dir_all(&path).unwrap();
        path
    }

    struct Place {
        temp: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            Self { temp: tempfile::tempdir().unwrap() }
        }

        fn root(&self) -> PathBuf {
            self.temp.path().canonicalize().unwrap()
        }

        fn create(&self, cwd: &str, pipeline: &str) -> PathBuf {
            let cwd = folder(self.root().join(cwd));
            Project::open_or_create(&cwd, Path::new(pipeline), None, &Overrides::default()).unwrap().root
        }
    }

    #[test]
    fn the_root_is_the_current_folder_where_the_pipeline_lies_below_it() {
        let place = Place::new();
        folder(place.root().join("a/pipelines"));
        assert_eq!(place.create("a", "pipelines/p.yaml"), place.root().join("a"));
        assert_eq!(place.create("a", "p.yaml"), place.root().join("a"));
    }

    #[test]
    fn the_root_is_the_folder_of_a_pipeline_elsewhere() {
        let place = Place::new();
        folder(place.root().join("elsewhere"));
        assert_eq!(place.create("a", "../elsewhere/p.yaml"), place.root().join("elsewhere"));
    }

    #[test]
    fn a_marked_folder_above_the_pipeline_wins() {
        for marker in ["x/.runstone", "x/runstone.yaml"] {
            let place = Place::new();
            folder(place.root().join("x/y/z"));
            if marker.ends_with("yaml") {
                fs::write(place.root().join(marker), "jobs: 3\n").unwrap();
            } else {
                folder(place.root().join(marker));
            }
            assert_eq!(place.create("x/y", "z/p.yaml"), place.root().join("x"), "{marker}");
        }
    }

    #[test]
    fn a_project_keeps_its_identity_and_is_found_from_below() {
        let place = Place::new();
        let root = place.root();
        let none = Project::find(&root, None, &Overrides::default()).unwrap();
        assert_eq!(none, None);
        let made = Project::open_or_create(&root, Path::new("p.yaml"), None, &Overrides::default()).unwrap();
        let below = folder(root.join("deep/er"));
        assert_eq!(Project::find(&below, None, &Overrides::default()).unwrap(), Some(made.clone()));
        let explicit = Project::find(Path::new("/"), Some(&root), &Overrides::default()).unwrap();
        assert_eq!(explicit, Some(made));
    }

    #[test]
    fn many_at_once_make_one_project() {
        let place = Place::new();
        let root = place.root();
        let ids: std::collections::HashSet<Uuid> = std::thread::scope(|scope| {
            let make =
                || Project::open_or_create(&root, Path::new("p.yaml"), None, &Overrides::default()).unwrap().id();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
        let mut names: Vec<_> =
            fs::read_dir(root.join(STATE_DIR)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".gitignore", "project.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_state_folder_is_private_and_ignored_by_git() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = Place::new();
        let state = place.create("a", "p.yaml").join(STATE_DIR);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(state.join(".gitignore")).unwrap(), "*\n");
    }

    #[test]
    fn a_damaged_identity_is_named_and_never_replaced() {
        let place = Place::new();
        let path = place.create("a", "p.yaml").join(STATE_DIR).join(IDENTITY_FILE);
        fs::write(&path, "{").unwrap();
        let error = Project::find(&place.root().join("a"), None, &Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("project.json is damaged"), "{error}");
        let cwd = place.root().join("a");
        assert!(Project::open_or_create(&cwd, Path::new("p.yaml"), None, &Overrides::default()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    }
}
