//! A server, and its end.
//!
//! Test processes that share a server hold a shared lock on a file. A watcher, started with the server, waits for the
//! exclusive lock: the kernel grants it when the last of them is gone, whether it returned, panicked or was killed. Then it
//! stops the server and removes its folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::install;

/// Waits on the lock of users (0), then closes the door (1), looks again, and stops the server.
const WATCHER: &str = "while flock -x 0; do flock -u 0; flock -x 1; \
     if flock -xn 0; then \"$1/pg_ctl\" -D \"$2/data\" -m immediate stop; rm -rf \"$2\"; exit; fi; flock -u 1; done";

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// As people have it, for measurements.
    Disk,
    /// Survives the end of the server but not of the machine, and is faster.
    Memory,
}

/// A running server with a database `template` in it that has the newest schema.
pub(crate) struct Server {
    dir: PathBuf,
    bin: PathBuf,
    /// Holds the server's life; released by the kernel.
    _user: File,
}

impl Server {
    /// The server that all tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::join(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres"), Durability::Memory))
    }

    /// A server that nobody else uses.
    pub(crate) fn private(durability: Durability) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("postgres-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let server = Self::join(&place, durability);
        // The open files keep their locks; nobody else finds them by name any more.
        fs::remove_dir_all(&place).expect("the place was made just now");
        server
    }

    /// Uses the server of a place, which is started where there is none.
    fn join(place: &Path, durability: Durability) -> Self {
        fs::create_dir_all(place).expect("the target folder can be written");
        let open = |name: &str| {
            let path = place.join(name);
            File::options().create(true).truncate(false).write(true).open(&path).expect("a lock file can be made")
        };
        let door = open("door");
        door.lock().expect("locks work here");
        let (bin, note) = (install::bin(), place.join("server"));
        let running = fs::read_to_string(&note).map(PathBuf::from).ok().filter(|dir| is_alive(&bin, dir));
        let fresh = running.is_none();
        let dir = running.unwrap_or_else(|| start(&bin, durability));
        let user = open("users");
        user.lock_shared().expect("locks work here");
        let server = Self { dir, bin, _user: user };
        if fresh {
            server.watch(open("users"), open("door"));
            server.make_template();
            fs::write(&note, server.dir.to_str().expect("a temporary folder has a plain name"))
                .expect("it can be noted");
        }
        server
    }

    #[expect(clippy::zombie_processes, reason = "it outlives this process on purpose")]
    fn watch(&self, users: File, door: File) {
        let mut watcher = install::command(Path::new("/bin/sh"), Path::new("/"));
        watcher.args(["-c", WATCHER, "watcher"]).arg(&self.bin).arg(&self.dir);
        watcher.stdin(users).stdout(door).stderr(Stdio::null());
        // A group of its own: what ends the tests from a terminal must not end it.
        std::os::unix::process::CommandExt::process_group(&mut watcher, 0);
        watcher.spawn().expect("a shell can be started");
    }

    fn make_template(&self) {
        let mut admin = self.admin("postgres");
        admin.execute("CREATE DATABASE template");
        let project = runstone_store::ProjectIdentity { uuid: uuid::Uuid::from_u128(1), name: "template".to_owned() };
        let location = self.url("template").parse().expect("a URL of ours is one");
        drop(runstone_store::connect(&location, &project).expect("a fresh database gets the schema"));
        let mut template = self.admin("template");
        template.execute("DELETE FROM runstone.project");
    }

    /// The URL of a database on it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.display())
    }

    /// The folder with its socket.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A connection past the store.
    pub(crate) fn admin(&self, database: &str) -> super::database::Admin {
        super::database::Admin::connect(&self.url(database))
    }

    /// Stops it as a power failure would, and starts it again.
    pub(crate) fn crash_and_restart(&self) {
        install::run(&mut self.pg_ctl(&["-m", "immediate", "-w", "restart"]));
    }

    /// Stops it as a power failure would.
    pub(crate) fn crash(&self) {
        install::run(&mut self.pg_ctl(&["-m", "immediate", "-w", "stop"]));
    }

    /// Starts it again.
    pub(crate) fn restart(&self) {
        install::run(&mut self.pg_ctl(&["-w", "start"]));
    }

    fn pg_ctl(&self, args: &[&str]) -> Command {
        pg_ctl(&self.bin, &self.dir, args)
    }
}

fn pg_ctl(bin: &Path, dir: &Path, args: &[&str]) -> Command {
    let mut command = install::command(&bin.join("pg_ctl"), dir);
    // The server inherits nothing that would keep a test runner waiting for its end.
    command.arg("-D").arg(dir.join("data")).arg("-l").arg(dir.join("log")).args(args);
    command
}

fn is_alive(bin: &Path, dir: &Path) -> bool {
    dir.join("data").exists() && pg_ctl(bin, dir, &["status"]).output().is_ok_and(|output| output.status.success())
}

fn start(bin: &Path, durability: Durability) -> PathBuf {
    let dir = tempfile::Builder::new().prefix("runstone-pg-").tempdir().expect("a temporary folder").keep();
    if let Some(user) = install::Unprivileged::find() {
        user.own(&dir);
    }
    let mut initdb = install::command(&bin.join("initdb"), &dir);
    initdb.arg("-D").arg(dir.join("data"));
    install::run(initdb.args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
        "--no-sync",
        "--no-instructions",
    ]));
    let settings = format!(
        "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 200\nshared_buffers = 64MB\n\
         fsync = {fsync}\nfull_page_writes = {fsync}\nlog_min_messages = fatal\n",
        dir.display(),
        fsync = if durability == Durability::Disk { "on" } else { "off" },
    );
    let conf = dir.join("data/postgresql.conf");
    let defaults = fs::read_to_string(&conf).expect("initdb wrote its configuration");
    fs::write(&conf, defaults + &settings).expect("the configuration can be written");
    install::run(&mut pg_ctl(bin, &dir, &["-w", "start"]));
    dir
}
