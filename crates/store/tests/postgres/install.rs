//! Where the server's programs are, and who may run them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to `skip` where no server can be had: the tests that need one then do nothing.
const SWITCH: &str = "RUNSTONE_TEST_POSTGRES";

/// Whether tests on Postgres are to be left out.
#[expect(clippy::print_stderr, reason = "whoever reads the result must see what it does not cover")]
pub(crate) fn skipped() -> bool {
    let skipped = std::env::var(SWITCH).is_ok_and(|value| value == "skip");
    if skipped {
        eprintln!("{SWITCH}=skip: not tested on Postgres");
    }
    skipped
}

/// The folder with `initdb`, `pg_ctl` and `postgres`: `PGBIN`, else the newest one installed.
pub(crate) fn bin() -> PathBuf {
    let complete = |dir: &PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|name| dir.join(name).exists());
    if let Some(dir) = std::env::var_os("PGBIN").map(PathBuf::from) {
        assert!(complete(&dir), "PGBIN={} has no initdb, pg_ctl and postgres", dir.display());
        return dir;
    }
    let mut found: Vec<(u32, PathBuf)> = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr"]
        .iter()
        .filter_map(|parent| std::fs::read_dir(parent).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.trim_start_matches("postgresql@").trim_start_matches("pgsql-").parse();
            Some((version.unwrap_or(0), entry.path().join("bin")))
        })
        .collect();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).map(|dir| (0, dir)));
    found.retain(|(_, dir)| complete(dir));
    match found.into_iter().max() {
        Some((_, dir)) => dir,
        None => panic!(
            "these tests need PostgreSQL's own programs (initdb, pg_ctl, postgres), and found none. Install them \
             (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; \
             macOS: brew install postgresql@17), name their folder in PGBIN, or set {SWITCH}=skip"
        ),
    }
}

/// The user a server is to run as, where this process is root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unprivileged {
    uid: u32,
    gid: u32,
}

impl Unprivileged {
    /// `postgres` or `nobody`; none where this process is an ordinary user already.
    pub(crate) fn find() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
        let of = |wanted: &str| {
            passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == wanted).map(
                |fields| Self {
                    uid: fields[2].parse().expect("a user id"),
                    gid: fields[3].parse().expect("a group id"),
                },
            )
        };
        Some(of("postgres").or_else(|| of("nobody")).expect("a user `postgres` or `nobody` to run the server as"))
    }

    /// Gives a folder to the user.
    pub(crate) fn own(self, dir: &Path) {
        std::os::unix::fs::chown(dir, Some(self.uid), Some(self.gid)).expect("root may give folders away");
    }
}

/// A program that runs in `dir`, as the unprivileged user where there is one.
pub(crate) fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = Unprivileged::find() {
        command.uid(user.uid).gid(user.gid);
    }
    command.current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&told));
}
