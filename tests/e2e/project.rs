//! A folder with a pipeline in it, and the program run there in an environment that says nothing but what it must.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::running::{Ran, Running};

/// Waits in a step until a file is there, and gives up after a minute: `./wait.sh FILE`.
const WAIT: &str = "#!/bin/sh\ni=0\nwhile [ ! -e \"$1\" ]; do\n    i=$((i + 1))\n    [ \"$i\" -lt 3000 ] || exit 99\n    \
                    sleep 0.02\ndone\n";

/// A project that is gone when it is dropped.
pub(crate) struct Project {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Project {
    /// A project without a pipeline. It has a `wait.sh`, by which a step waits for a file.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("runstone-e2e-").tempdir().unwrap();
        for name in ["project", "told", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let project = Self { folder, variables: BTreeMap::new() };
        project.program("wait.sh", WAIT);
        project
    }

    /// A project with this `pipeline.yaml`.
    pub(crate) fn new(pipeline: &str) -> Self {
        let project = Self::empty();
        project.write("pipeline.yaml", pipeline);
        project
    }

    /// A checkout with the examples, of which only the data and programs are copied, not what a run left there.
    pub(crate) fn examples() -> Self {
        let project = Self::empty();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
        copy(&source, &project.path("pipelines"));
        project
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("project").join(name)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a file that can be executed.
    pub(crate) fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Replaces a part of a file, which must be there.
    pub(crate) fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert!(text.contains(old), "{name} has no {old:?}:\n{text}");
        self.write(name, text.replace(old, new));
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// How often a step that appends a line to a file did so.
    pub(crate) fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.path(name)).map_or(0, |text| text.lines().count())
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// A command that can be changed before it is started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runstone"));
        command.current_dir(self.path("")).args(args).env_clear().envs(&self.variables);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path().join("home")).env("TZ", "UTC").env("COLUMNS", "120");
        command
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_command(self.command(args))
    }

    /// Starts a command of this project.
    pub(crate) fn start_command(&self, command: Command) -> Running {
        Running::start(command, &self.folder.path().join("told"))
    }

    /// Runs the program to its end.
    pub(crate) fn runstone(&self, args: &[&str]) -> Ran {
        self.start(args).wait()
    }

    /// `runstone run --json` with these arguments, which must succeed.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with_code(args, 0)
    }

    /// `runstone run --json` with these arguments, which must end with this exit code.
    pub(crate) fn run_with_code(&self, args: &[&str], code: i32) -> Ran {
        self.runstone(&[&["run", "--json"], args].concat()).code(code)
    }

    /// What a command that must succeed prints with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.runstone(&[args, &["--json"]].concat()).ok().json()
    }

    /// A run on record.
    pub(crate) fn show(&self, run: &str) -> Value {
        self.json(&["show", run])
    }

    /// A task of the newest run.
    pub(crate) fn task(&self, name: &str) -> Value {
        let run = self.show("latest");
        let task = run["tasks"].as_array().unwrap().iter().find(|task| task["name"] == name);
        task.unwrap_or_else(|| panic!("no task {name} in {run:#}")).clone()
    }

    /// The newest bytes of a dataset, as `checkout` gives them.
    pub(crate) fn content(&self, version: &str) -> String {
        let place = TempDir::new_in(self.folder.path()).unwrap();
        let file = place.path().join("content");
        self.runstone(&["checkout", version, file.to_str().unwrap()]).ok();
        fs::read_to_string(file).unwrap()
    }

    /// A metric of the newest run that has it.
    pub(crate) fn metric(&self, step: &str, metric: &str) -> f64 {
        let rows = self.json(&["metrics", "--step", step, "--metric", metric]);
        let row = rows.as_array().unwrap().first().unwrap_or_else(|| panic!("{step} has no metric {metric}"));
        row["value"].as_f64().unwrap()
    }

    /// Every file below a folder of the project.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
                let entry = entry.unwrap();
                let list = if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files };
                list.push(entry.path());
            }
        }
        files.sort();
        files
    }

    /// The one stored object whose bytes these are.
    pub(crate) fn object(&self, content: &str) -> PathBuf {
        let mut found = self.files(".runstone/objects").into_iter();
        let is_it = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes == content.as_bytes());
        found.find(is_it).unwrap_or_else(|| panic!("no object is {content:?}"))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if [".runstone", "out", "__pycache__"].iter().any(|left| entry.file_name() == *left) {
            continue;
        } else if entry.file_type().unwrap().is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}
