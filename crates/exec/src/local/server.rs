//! The fork server: a process that is forked while everything is still small, and forks reapers on demand.
//!
//! Forking the engine itself, with its threads, its memory and its open files, would be slow and unsafe. The server
//! decides nothing and remembers nothing: each request carries the descriptors that the new reaper is to have.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::net::SocketType;

use super::channel::{Reply, pair, receive_descriptors, send_descriptors, write_message};
use super::reaper::Reaper;
use super::sys::{self, Fork};

/// The fork server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ForkServerError {
    /// It was asked for too late.
    #[error("the fork server must be started before the first thread")]
    Threads,
    /// The system refused.
    #[error("start the fork server: {0}")]
    Io(#[from] io::Error),
}

/// A running fork server. It ends when the last handle on it is dropped and when the process that holds it ends.
#[derive(Debug, Clone)]
pub struct ForkServer {
    /// Requests are single messages, so that any thread may send one.
    socket: Arc<OwnedFd>,
}

impl ForkServer {
    /// Forks the server. To be called first thing in `main`: whatever exists by then, the server and all its reapers
    /// carry with them.
    ///
    /// # Errors
    /// When the process has several threads already, or cannot be forked.
    pub fn start() -> Result<Self, ForkServerError> {
        if !sys::is_single_threaded()? {
            return Err(ForkServerError::Threads);
        }
        let (ours, theirs) = pair(SocketType::SEQPACKET)?;
        match sys::fork()? {
            Fork::Parent => Ok(Self { socket: Arc::new(ours) }),
            Fork::Child => {
                drop(ours);
                run_to_exit(|| serve(&theirs))
            }
        }
    }

    /// Asks for a reaper that has these descriptors: its channel, the journal and perhaps the owner's lock.
    pub(super) fn request(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_descriptors(self.socket.as_fd(), descriptors)
    }
}

/// Runs `work` as all that this forked process ever does. Nothing of the process it was forked from runs on: neither
/// its frames, also after a panic, nor what it registered for its exit.
fn run_to_exit(work: impl FnOnce() -> io::Result<()>) -> ! {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => sys::exit_now(0),
        Ok(Err(_)) => sys::exit_now(1),
        Err(_) => sys::exit_now(70),
    }
}

fn serve(socket: &OwnedFd) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::thread::set_name(c"runstone-forks")?;
    sys::take_over_signals();
    sys::reap_automatically(true);
    // Steps write files that other people may read; their folders are closed to others (see `stage`).
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir("/")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for standard in 0..3 {
        sys::duplicate_to(null.as_fd(), standard)?;
    }
    // The socket moves above everything, then below everything that is to be closed.
    let high = rustix::io::fcntl_dupfd_cloexec(socket, 1000).or_else(|_| rustix::io::fcntl_dupfd_cloexec(socket, 4))?;
    sys::duplicate_to(high.as_fd(), 3)?;
    sys::close_from(4);
    std::mem::forget((null, high));
    let socket = sys::adopt(3)?;
    while let Some(descriptors) = receive_descriptors(socket.as_fd()) {
        let mut descriptors = descriptors.into_iter();
        let (Some(channel), Some(journal), lock) = (descriptors.next(), descriptors.next(), descriptors.next()) else {
            continue;
        };
        match sys::fork() {
            Ok(Fork::Parent) => {}
            Ok(Fork::Child) => {
                drop(socket);
                run_to_exit(|| Reaper::new(channel, journal, lock)?.run());
            }
            Err(error) => {
                let reply = Reply::NoReaper(format!("no process for a supervisor: {error}"));
                // If the engine is gone too, nobody is left to be told.
                let _ = write_message(&channel, &reply);
            }
        }
    }
    Ok(())
}
