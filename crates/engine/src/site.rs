//! Where a run takes place: the project's folders, its content store, its configuration. Opened once, passed down.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use runstone_core::executor::SecretEnv;
use runstone_core::name::Name;
use runstone_core::record::ContentKind;
use runstone_core::spec::model::{EnvValue, Step};
use runstone_exec::local::Masker;
use runstone_exec::objects::{Checkouts, Depth, Limits, ObjectError, ObjectKind, ObjectStore, Overwrite, Presence};
use runstone_exec::python::{Environments, Installer, Settings};
use runstone_exec::scan::{Scanner, SourcePattern};

use crate::derive::Thing;
use crate::ledger::Published;
use crate::project::Project;
use crate::shelf::{Aside, Shelf};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Site {
    /// The project.
    pub project: Project,
    /// Its content store.
    pub objects: Arc<ObjectStore>,
    /// Shared checkouts of folders.
    pub checkouts: Arc<Checkouts>,
    /// Reads sources relative to the pipeline's folder and remembers what was in them.
    pub scanner: Arc<Scanner>,
    /// Python environments.
    pub python: Arc<Environments>,
    /// Set to end the making of environments.
    pub stop: Arc<AtomicBool>,
    /// The environment runstone was started with.
    pub environment: Arc<HashMap<String, String>>,
    /// Where content is looked for that the content store does not have.
    pub(crate) aside: Option<Arc<Aside>>,
}

impl Site {
    /// Opens the folders of a project, for a pipeline in the folder `folder`.
    ///
    /// # Errors
    /// [`ObjectError`] where one of them cannot be opened or made.
    pub fn open(project: Project, folder: &Path, environment: HashMap<String, String>) -> Result<Self, ObjectError> {
        let stop = Arc::new(AtomicBool::new(false));
        Ok(Self {
            objects: Arc::new(ObjectStore::open(&project.objects_dir())?),
            checkouts: Arc::new(Checkouts::open(&project.trees_dir())?),
            scanner: Arc::new(Scanner::new(folder, &project.state_dir())?),
            python: environments(&project, &environment, &stop),
            stop,
            environment: Arc::new(environment),
            aside: None,
            project,
        })
    }

    /// Who holds this content. Where there is a second place to look, all of it must be there, by a stat of each object: a
    /// folder of which parts are gone must not hide the whole one.
    ///
    /// # Errors
    /// [`ObjectError`] for failed system calls; content that is nowhere is none.
    pub(crate) fn holder(&self, thing: &Thing) -> Result<Option<Shelf>, ObjectError> {
        let own = Shelf { objects: Arc::clone(&self.objects), checkouts: Arc::clone(&self.checkouts) };
        let depth = if self.aside.is_some() { Depth::Deep } else { Depth::Root };
        for shelf in std::iter::once(own).chain(self.aside.as_ref().and_then(|aside| aside.shelf())) {
            let presence = shelf.objects.check(thing.hash, object_kind(thing.kind), thing.size, depth)?;
            if presence == Presence::Present {
                return Ok(Some(shelf));
            }
        }
        Ok(None)
    }

    /// The same place for another run, which can be stopped by itself.
    #[must_use]
    pub(crate) fn for_another_run(&self) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let python = environments(&self.project, &self.environment, &stop);
        Self { stop, python, ..self.clone() }
    }

    /// The pool of the whole project that a step takes slots of.
    pub(crate) fn pool_of<'s>(&self, step: &'s Step) -> Option<&'s Name> {
        step.pool.as_ref().filter(|pool| self.project.config().pools.value.contains_key(pool.as_str()))
    }

    /// The secrets a step asks for.
    ///
    /// # Errors
    /// A sentence naming a secret that is not configured or cannot be read. Never its value.
    pub(crate) fn secrets(&self, step: &Step) -> Result<SecretEnv, String> {
        let wanted = step.env.iter().filter_map(|(variable, value)| match value {
            EnvValue::Secret(name) => Some((variable, name)),
            EnvValue::Plain(_) => None,
        });
        let (config, root) = (self.project.config(), self.project.root());
        let value = |name: &str| {
            config
                .secret(name, root, |key| self.environment.get(key).map(Into::into))
                .map_err(|error| crate::text(&error))
        };
        wanted.map(|(variable, name)| Ok((variable.clone(), value(name)?))).collect::<Result<_, _>>().map(SecretEnv)
    }

    /// Puts a private copy of a publication where people look, unless that is there already.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn place(&self, dest: &Path, published: &Published) -> Result<(), String> {
        if self.holds(dest, published) {
            return Ok(());
        }
        self.objects
            .restore(published.hash, object_kind(published.kind), dest, Overwrite::Replace)
            .map_err(|error| format!("cannot publish to {}: {}", dest.display(), crate::text(&error)))
    }

    /// Whether these bytes are there, by what is remembered of the place. What cannot be looked at is replaced.
    fn holds(&self, dest: &Path, published: &Published) -> bool {
        let Ok(found) = dest.symlink_metadata() else { return false };
        match published.kind {
            ContentKind::File if found.is_file() => {
                self.scanner.hash_file(dest, Limits::default()).is_ok_and(|(file, _)| file.hash == published.hash)
            }
            ContentKind::Dir if found.is_dir() => {
                let all = SourcePattern::parse(&dest.to_string_lossy()).ok().filter(|pattern| !pattern.is_glob());
                let scan = all.and_then(|all| self.scanner.scan(&all, Limits::default()).ok());
                scan.is_some_and(|scan| scan.content().hash == published.hash)
            }
            _ => false,
        }
    }

    /// Masks the secrets of a step in anything it reports.
    pub(crate) fn masker(secrets: &SecretEnv) -> Masker {
        Masker::new(secrets.0.iter().map(|(_, value)| value.as_str()))
    }
}

fn environments(project: &Project, variables: &HashMap<String, String>, stop: &Arc<AtomicBool>) -> Arc<Environments> {
    Arc::new(Environments::new(Settings {
        envs: project.envs_dir(),
        locks: project.locks_dir(),
        installer: Installer::default(),
        variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        stop: Arc::clone(stop),
    }))
}

/// The same distinction in two vocabularies.
#[must_use]
pub(crate) fn object_kind(kind: ContentKind) -> ObjectKind {
    match kind {
        ContentKind::File => ObjectKind::File,
        ContentKind::Dir => ObjectKind::Tree,
    }
}

/// The same distinction in two vocabularies.
#[must_use]
pub(crate) fn content_kind(kind: ObjectKind) -> ContentKind {
    match kind {
        ObjectKind::File => ContentKind::File,
        ObjectKind::Tree => ContentKind::Dir,
    }
}
