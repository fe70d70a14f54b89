//! `pgbouncer` in transaction mode, in front of a server.

use std::path::{Path, PathBuf};
use std::process::Child;

use crate::postgres::{Server, install};

/// A pooler that ends with its value.
pub(crate) struct Pooler {
    child: Child,
    dir: tempfile::TempDir,
}

fn program() -> Option<PathBuf> {
    let dirs = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    dirs.iter().map(|dir| Path::new(dir).join("pgbouncer")).find(|path| path.exists())
}

impl Pooler {
    /// Two server connections for everybody. None where `pgbouncer` is not installed.
    pub(crate) fn before(server: &Server) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!(
                "pgbouncer is not installed (Debian and Ubuntu: apt-get install pgbouncer): not tested behind a pooler"
            );
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if let Some(user) = install::Unprivileged::find() {
            user.own(dir.path());
        }
        let path = dir.path().display();
        let configuration = format!(
            "[databases]\n* = user=postgres host={server}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {path}\nlisten_port = 5432\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmin_pool_size = 2\nserver_round_robin = 1\n\
             logfile = {path}/log\n",
            server = server.dir().display()
        );
        std::fs::write(dir.path().join("pooler.ini"), configuration).unwrap();
        let mut command = install::command(&program, dir.path());
        let child = command.args(["-q", "pooler.ini"]).spawn().unwrap();
        let pooler = Self { child, dir };
        pooler.wait();
        Some(pooler)
    }

    /// Until it listens.
    fn wait(&self) {
        let socket = self.dir.path().join(".s.PGSQL.5432");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(std::time::Instant::now() < deadline, "pgbouncer does not listen on {}", socket.display());
            std::thread::yield_now();
        }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.path().display())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
