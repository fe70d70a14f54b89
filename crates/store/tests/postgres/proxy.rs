//! Stands between a client and a server, and loses the answer to a commit when told to.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The tag with which a server says that a commit is done: `CommandComplete`, 11 bytes long.
const COMMITTED: &[u8] = b"C\x00\x00\x00\x0bCOMMIT\0";

/// A socket that leads to a server.
pub(crate) struct Proxy {
    dir: tempfile::TempDir,
    to_lose: Arc<AtomicU32>,
    lost: Arc<AtomicU32>,
}

impl Proxy {
    pub(crate) fn to(server: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let (to_lose, lost) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counters = (Arc::clone(&to_lose), Arc::clone(&lost));
        let server: PathBuf = server.join(".s.PGSQL.5432");
        // Ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = UnixStream::connect(&server) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || forward(from, to));
                let counters = counters.clone();
                std::thread::spawn(move || answer(server, client, &counters));
            }
        });
        Self { dir, to_lose, lost }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.path().display())
    }

    /// From now on, loses the answers to so many commits, and the connections with them.
    pub(crate) fn lose(&self, commits: u32) {
        self.to_lose.store(commits, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }
}

fn forward(mut from: UnixStream, mut to: UnixStream) {
    // Either end may go at any time.
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}

fn answer(mut server: UnixStream, mut client: UnixStream, (to_lose, lost): &(Arc<AtomicU32>, Arc<AtomicU32>)) {
    let mut buffer = [0; 64 << 10];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        let committed = buffer[..read].windows(COMMITTED.len()).any(|window| window == COMMITTED);
        let loses = committed && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if loses {
            lost.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if client.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}
