//! One owner of a run: begins it or takes it over, drives it, and says on its standard output what it heard.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use runstone_core::record::RunState;
use runstone_core::store::{RunRef, Store};
use runstone_engine::project::{Overrides, Project};
use runstone_engine::report::{Reporter, RunEvent};
use runstone_engine::retention::{self, Options};
use runstone_engine::{Asked, Crew, Home, RunError, RunOptions, Site, environment, prepare, resume, run};
use runstone_exec::local::ForkServer;
use runstone_store::{Location, ProjectIdentity, connect};

use crate::reproduce;

/// What this program is called with to be a driver: `drive FOLDER run [--only STEP | --force STEP | --partition KEY | --file FILE]…`,
/// `drive FOLDER resume [NUMBER]` or `drive FOLDER reproduce DATASET@VERSION SUBSET [--deep | --keep]…`; or to clean up by the
/// rules of the project: `drive FOLDER gc [--dry-run]`.
pub(crate) const WORD: &str = "drive";

/// Said where there is nothing to go on with.
pub(crate) const OVER: &str = "over";

/// Every event as a line of JSON.
struct Lines;

impl Reporter for Lines {
    fn event(&mut self, event: &RunEvent) {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, event).unwrap();
        out.write_all(b"\n").unwrap();
    }
}

pub(crate) fn open(folder: &Path) -> (Project, Box<dyn Store>) {
    let pipeline = folder.join("pipeline.yaml");
    let project = Project::open_or_create(folder, &pipeline, None, &Overrides::default()).unwrap();
    let identity = ProjectIdentity { uuid: project.id(), name: project.name().to_owned() };
    let store = connect(&Location::Sqlite(project.database_path()), &identity).unwrap();
    (project, store)
}

pub(crate) fn site(project: Project, folder: &Path) -> Site {
    Site::open(project, folder, std::env::vars().collect::<HashMap<_, _>>()).unwrap()
}

pub(crate) fn main(server: ForkServer, arguments: &[String]) -> ExitCode {
    let folder = Path::new(&arguments[0]);
    let (project, mut store) = open(folder);
    if arguments[1] == "gc" {
        return clean_up(&project, store.as_mut(), arguments.get(2).is_some());
    }
    let options = RunOptions { fail_fast: false, relock: false };
    let crew = Crew::new(server, 2).unwrap();
    if arguments[1] == "reproduce" {
        return reproduce::main(&project, store, &crew, &arguments[2..]);
    }
    let result = if arguments[1] == "resume" {
        let which = arguments.get(2).map_or(RunRef::Latest, |number| number.parse().unwrap());
        let record = store.run(&which).unwrap().unwrap();
        let site = site(project.clone(), &project.folder_of(&record.definition_path));
        resume(&site, store, &record, &crew, options, &mut Lines, drop)
    } else {
        let asked = asked(folder, &arguments[2..]);
        let prepared = prepare(&asked, &Home::of(&project)).unwrap();
        let environment = environment::ask(project.root(), &HashMap::new(), "0");
        let site = site(project, &prepared.folder);
        run(&site, prepared, store, &crew, options, environment, &mut Lines, drop)
    };
    match result {
        Ok(summary) if summary.state == RunState::Succeeded => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(RunError::Over(_)) => {
            println!("{OVER}");
            ExitCode::from(2)
        }
        Err(error) => {
            println!("{error:?}");
            ExitCode::from(2)
        }
    }
}

/// Says what went as a line of JSON.
fn clean_up(project: &Project, store: &mut dyn Store, dry_run: bool) -> ExitCode {
    let options = Options { dry_run, spare: Duration::ZERO, exclusive: false };
    match retention::clean_up(project, &project.config().retention.value, store, options, &mut |_| {}) {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).unwrap());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error:?}");
            ExitCode::from(2)
        }
    }
}

fn asked(folder: &Path, words: &[String]) -> Asked {
    let mut asked = Asked { pipeline: folder.join("pipeline.yaml"), ..Asked::default() };
    for pair in words.chunks(2) {
        match pair[0].as_str() {
            "--only" => asked.request.only.push(pair[1].parse().unwrap()),
            "--force" => asked.request.force.push(pair[1].parse().unwrap()),
            "--file" => asked.pipeline = folder.join(&pair[1]),
            "--partition" => asked.partition = Some(pair[1].clone()),
            word => panic!("{word} is not understood"),
        }
    }
    asked
}
