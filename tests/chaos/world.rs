//! A project on a server of its own, schedulers that serve it, and people who ask for things. Nothing here waits for ever.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use runstone_core::store::Store;
use runstone_engine::project::{Overrides, Project};
use runstone_store::{Location, ProjectIdentity};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::pipelines::{CONFIG, MARK, PIPELINES};
use crate::postgres::{Durability, Server};

/// How many schedulers there are.
pub(crate) const SCHEDULERS: usize = 3;
/// Their lease: as short as tests need it.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// As long as a scheduler may take from its start to its registration.
const BEGINNING: Duration = Duration::from_secs(5);
/// Longer than any command or any shutdown takes, on a slow machine with other work to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A scheduler's place: at times there is a process in it.
struct Slot {
    process: Option<Child>,
    /// Stopped by a signal, and not yet woken. While it is, or was, others may end it.
    frozen: bool,
    starts: u32,
    /// When the process was started.
    since: Instant,
}

/// Everything. Dropping it leaves no process behind; the folder stays where a test fails.
pub(crate) struct World {
    folder: Option<TempDir>,
    path: PathBuf,
    pub(crate) server: Server,
    slots: Vec<Slot>,
    begun: Instant,
    /// When the database was stopped last.
    outage: Option<Instant>,
    /// What must not have happened.
    pub(crate) surprises: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("runstone-chaos-").tempdir().unwrap();
        let path = folder.path().to_owned();
        for name in ["project/pipelines", "home", "log"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        let server = Server::private(Durability::Memory);
        server.admin("postgres").execute("CREATE DATABASE chaos");
        let slots =
            (0..SCHEDULERS).map(|_| Slot { process: None, frozen: false, starts: 0, since: Instant::now() }).collect();
        let begun = Instant::now();
        let (outage, surprises) = (None, Vec::new());
        let world = Self { folder: Some(folder), path, server, slots, begun, outage, surprises };
        for (name, text) in PIPELINES {
            world.write(&format!("pipelines/{name}"), text);
        }
        world.write("runstone.yaml", CONFIG);
        world.write("pipelines/mark", &MARK.replace("LEDGER", world.ledger().to_str().unwrap()));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(world.path.join("project/pipelines/mark"), executable).unwrap();
        world
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that every execution writes into.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path.join("ledger")
    }

    /// Writes a file of the project whole: nobody sees half of it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let (draft, place) = (self.path.join("draft"), self.path.join("project").join(name));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, place).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join("project").join(name)).unwrap()
    }

    /// Tells what is done, and when.
    pub(crate) fn tell(&self, what: &str) {
        eprintln!("{:7.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn url(&self) -> String {
        self.server.url("chaos")
    }

    pub(crate) fn admin(&self) -> crate::postgres::database::Admin {
        self.server.admin("chaos")
    }

    /// The record, past the schedulers.
    pub(crate) fn store(&self) -> Box<dyn Store> {
        let root = self.path.join("project");
        let project = Project::find(&root, Some(&root), &Overrides::default()).unwrap().expect("it was made");
        let identity = ProjectIdentity { uuid: project.id(), name: project.name().to_owned() };
        runstone_store::connect(&Location::Postgres(self.url()), &identity).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runstone"));
        command.current_dir(self.path.join("project")).args(args).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUNSTONE_DATABASE_URL", self.url());
        command.env("HOME", self.path.join("home")).env("TZ", "UTC").env("COLUMNS", "160").process_group(0);
        command
    }

    /// A command that people give. It may fail: the database is not always there.
    pub(crate) fn runstone(&self, args: &[&str]) -> Output {
        let (out, err) = (self.path.join("log/out"), self.path.join("log/err"));
        let mut command = self.command(args);
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        let status = wait(&mut child).unwrap_or_else(|| panic!("{args:?} does not end"));
        Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() }
    }

    /// A command that must succeed sooner or later.
    pub(crate) fn insist(&self, args: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.runstone(args);
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            assert!(Instant::now() < deadline, "{args:?} fails: {output:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts the scheduler of a place where none is.
    pub(crate) fn start(&mut self, slot: usize) {
        self.look_after(slot);
        if self.slots[slot].process.is_some() {
            return;
        }
        let number = self.slots[slot].starts;
        let log = File::create(self.path.join(format!("log/serve-{slot}-{number}"))).unwrap();
        let lease = LEASE.as_secs().to_string();
        let mut command =
            self.command(&["serve", "--pipelines", "pipelines", "--lease", &lease, "--jobs", "8", "--max-runs", "12"]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        self.slots[slot] = Slot { process: Some(process), frozen: false, starts: number + 1, since: Instant::now() };
    }

    /// The places with a scheduler that is not stopped.
    pub(crate) fn running(&mut self) -> Vec<usize> {
        (0..SCHEDULERS).for_each(|slot| self.look_after(slot));
        let is_running = |slot: &usize| self.slots[*slot].process.is_some() && !self.slots[*slot].frozen;
        (0..SCHEDULERS).filter(is_running).collect()
    }

    /// The places without a scheduler.
    pub(crate) fn vacant(&mut self) -> Vec<usize> {
        (0..SCHEDULERS).for_each(|slot| self.look_after(slot));
        (0..SCHEDULERS).filter(|slot| self.slots[*slot].process.is_none()).collect()
    }

    /// Stops the database as a power failure would, and starts it again after a while.
    pub(crate) fn without_database(&mut self, length: Duration) {
        self.outage = Some(Instant::now());
        self.server.crash();
        std::thread::sleep(length);
        self.server.restart();
    }

    /// A scheduler that leaves unasked is a surprise, unless it was stopped for so long that another one ended it, or
    /// found no database when it was started: then whoever started it does so again.
    fn look_after(&mut self, slot: usize) {
        let outage = self.outage;
        let place = &mut self.slots[slot];
        let Some(status) = place.process.as_mut().and_then(|process| process.try_wait().unwrap()) else { return };
        place.process = None;
        let could_not_begin = outage.is_some_and(|at| at >= place.since && at < place.since + BEGINNING);
        if !place.frozen && !could_not_begin {
            let number = place.starts - 1;
            self.surprises
                .push(format!("scheduler {slot} left by itself with {status}: see log/serve-{slot}-{number}"));
        }
    }

    fn signal(&self, slot: usize, signal: Signal) {
        let Some(process) = &self.slots[slot].process else { return };
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).unwrap();
        // Our own child, whose end nobody has waited for yet: the number is still its.
        kill_process(pid, signal).unwrap();
    }

    /// Ends a scheduler as a power failure would.
    pub(crate) fn kill(&mut self, slot: usize) {
        self.signal(slot, Signal::KILL);
        if let Some(mut process) = self.slots[slot].process.take() {
            process.wait().unwrap();
        }
        self.slots[slot].frozen = false;
    }

    pub(crate) fn freeze(&mut self, slot: usize) {
        self.signal(slot, Signal::STOP);
        self.slots[slot].frozen = true;
    }

    /// Wakes a stopped scheduler, which may have been ended meanwhile. Then there is none.
    pub(crate) fn thaw(&mut self, slot: usize) {
        self.look_after(slot);
        self.signal(slot, Signal::CONT);
        // Whoever is about to end it has found it asleep: give that the time to happen, then hold it to its word again.
        std::thread::sleep(Duration::from_millis(200));
        self.look_after(slot);
        self.slots[slot].frozen = false;
    }

    /// Asks a scheduler to leave, and waits for it.
    pub(crate) fn terminate(&mut self, slot: usize) {
        self.look_after(slot);
        self.signal(slot, Signal::TERM);
        let Some(mut process) = self.slots[slot].process.take() else { return };
        let number = self.slots[slot].starts - 1;
        match wait(&mut process) {
            Some(status) if status.success() => {}
            Some(status) => {
                self.surprises.push(format!("asked to leave, scheduler {slot}-{number} ended with {status}"));
            }
            None => {
                self.surprises.push(format!("asked to leave, scheduler {slot}-{number} stays"));
                process.kill().unwrap();
                process.wait().unwrap();
            }
        }
    }

    /// Supervisors of steps, by their names and by the record they inherited.
    pub(crate) fn reapers(&self) -> Vec<Pid> {
        processes(|process| {
            fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "runstone-reaper")
                && self.is_ours(process)
        })
    }

    fn is_ours(&self, process: &Path) -> bool {
        let url = format!("RUNSTONE_DATABASE_URL={}", self.url());
        fs::read(process.join("environ")).is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == url.as_bytes()))
    }

    /// What schedulers said of a kind that must not be said.
    pub(crate) fn panics(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path.join("log")).unwrap().flatten() {
            let text = fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines().filter(|line| line.contains("panicked at"));
            found.extend(lines.map(|line| format!("{}: {line}", entry.file_name().display())));
        }
        found
    }

    /// Keeps the folder, and says where it is.
    pub(crate) fn keep(&mut self) {
        if let Some(folder) = self.folder.take() {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for slot in 0..SCHEDULERS {
            self.kill(slot);
        }
        for pid in processes(|process| self.is_ours(process)) {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            self.keep();
        }
    }
}

/// The processes that are somehow.
pub(crate) fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw);
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| wanted(&entry.path())).filter_map(number).collect()
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
