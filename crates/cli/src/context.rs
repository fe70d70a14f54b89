//! What every command is given: the terminal, where it was called, and how to open the project from there.

use std::collections::HashMap;
use std::path::PathBuf;

use runstone_core::store::Store;
use runstone_core::time::Timestamp;
use runstone_engine::Crew;
use runstone_engine::project::{Overrides, Project, config};
use runstone_exec::local::ForkServer;
use runstone_exec::objects::ObjectStore;
use runstone_store::{Location, ProjectIdentity};

use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::Layout;
use crate::render::time::Zone;
use crate::terminal::Terminal;

/// The surroundings of a command.
pub(crate) struct Context {
    pub(crate) terminal: Terminal,
    /// Where the command was called.
    pub(crate) cwd: PathBuf,
    /// `--project`.
    pub(crate) explicit_project: Option<PathBuf>,
    /// Configuration from the environment.
    pub(crate) overrides: Overrides,
    /// The environment, as far as it is text.
    pub(crate) variables: HashMap<String, String>,
    /// Started first thing for commands that start steps.
    pub(crate) fork_server: Option<ForkServer>,
}

impl Context {
    /// Reads what commands need of the process. The only place that does.
    pub(crate) fn new(terminal: Terminal, explicit_project: Option<PathBuf>) -> CommandResult<Self> {
        let cwd = std::env::current_dir().map_err(|error| CommandError::io("cannot find the current folder", error))?;
        let variable = |name| std::env::var(name).ok();
        let overrides =
            Overrides { database_url: variable(config::DATABASE_VARIABLE), jobs: variable(config::JOBS_VARIABLE) };
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self { terminal, cwd, explicit_project, overrides, variables, fork_server: None })
    }

    /// What drives runs in this process, with so many steps at once.
    pub(crate) fn crew(&mut self, jobs: u32) -> CommandResult<Crew> {
        let missing = || CommandError::new(ErrorKind::Internal, "the fork server was not started");
        let server = self.fork_server.take().ok_or_else(missing)?;
        Crew::new(server, jobs).map_err(|error| CommandError::io("cannot start threads", error))
    }

    /// The project that the command was called in.
    pub(crate) fn project(&self) -> CommandResult<Project> {
        let found = Project::find(&self.cwd, self.explicit_project.as_deref(), &self.overrides)?;
        found.ok_or_else(|| {
            let place = self.explicit_project.as_ref().unwrap_or(&self.cwd);
            CommandError::not_found(format!("nothing was ever run in {}", place.display()))
                .hint("`runstone run FILE` starts a project; `--project DIR` names one that lies elsewhere")
        })
    }

    /// The project with its records.
    pub(crate) fn open(&self) -> CommandResult<(Project, Box<dyn Store>)> {
        let project = self.project()?;
        let store = open_store(&project)?;
        Ok((project, store))
    }

    /// How results are laid out for people.
    pub(crate) fn layout(&self) -> Layout {
        Layout { width: self.terminal.width(), zone: Zone::Local, now: now() }
    }
}

/// Where the records of a project are: where the configuration says, else in the embedded database.
pub(crate) fn store_location(project: &Project) -> CommandResult<Location> {
    match &project.config().database.value {
        Some(url) => url.parse().map_err(|error: runstone_store::ParseLocationError| {
            CommandError::usage(format!("{}: {error}", project.config().database.origin))
        }),
        None => Ok(Location::Sqlite(project.database_path())),
    }
}

/// The records of a project.
pub(crate) fn open_store(project: &Project) -> CommandResult<Box<dyn Store>> {
    let identity = ProjectIdentity { uuid: project.id(), name: project.name().to_owned() };
    Ok(runstone_store::connect(&store_location(project)?, &identity)?)
}

/// The objects of a project.
pub(crate) fn open_objects(project: &Project) -> CommandResult<ObjectStore> {
    Ok(ObjectStore::open(&project.objects_dir())?)
}

/// The time.
pub(crate) fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_micros())
}
