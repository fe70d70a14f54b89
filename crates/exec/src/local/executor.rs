//! The local executor: keeps reapers, hands attempts to them and passes on what they report.
//!
//! A reaper that has finished is used for the next attempt. One thread listens to all reapers and to the ends of
//! adopted ones. When a reaper goes away, its attempt is looked up in the journal: either its outcome got there, or
//! what is left of it is killed and it is reported as vanished.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runstone_core::attempt::AttemptSpec;
use runstone_core::executor::{Executor, ExecutorError, Report, SecretEnv, Stop};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::SocketType;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use uuid::Uuid;

use super::channel::{Messages, Received, Reply, Request, pair, write_message};
use super::journal::{self, Started};
use super::process::{ProcessId, Reach, kill_remains};
use super::server::ForkServer;

/// Reapers that may wait for work; more are let go.
const MOST_IDLE: usize = 64;
/// A reaper that does not take its attempt within this time is broken.
const HAND_OVER: Duration = Duration::from_secs(30);
/// The key of the event that ends the listening thread.
const END: u64 = 0;

/// Runs attempts on this machine.
pub struct LocalExecutor {
    server: ForkServer,
    journal: File,
    owner_lock: Option<OwnedFd>,
    shared: Arc<Shared>,
    end: OwnedFd,
}

struct Shared {
    journal_path: PathBuf,
    epoll: OwnedFd,
    reports: Mutex<Box<dyn Fn(Report) + Send>>,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    last_key: u64,
    reapers: HashMap<u64, Connection>,
    idle: Vec<u64>,
    adopted: HashMap<u64, Adopted>,
}

struct Connection {
    channel: OwnedFd,
    messages: Messages,
    process: Option<ProcessId>,
    attempt: Option<Uuid>,
    /// What the fork server said when it could not make the reaper.
    trouble: Option<String>,
}

struct Adopted {
    started: Started,
    journal: PathBuf,
    /// Watched for the end of the reaper.
    _process: OwnedFd,
}

fn failed(message: impl Into<String>) -> impl FnOnce(io::Error) -> ExecutorError {
    let message = message.into();
    move |source| ExecutorError { executor: "local", message: format!("{message}: {source}"), source: Some(source) }
}

impl LocalExecutor {
    /// An executor whose reapers record in `journal` (made when missing) and whose reports go to `reports`, one at a
    /// time, from threads of its own; `reports` should be quick, since others wait for it.
    ///
    /// `owner_lock` is a descriptor with a lock (`flock`) on it that stands for owning the run. It stays locked until
    /// this process and the fork server are gone and no reaper of theirs can start an attempt that is not in the
    /// journal. Who gets the lock next and reads the journal then knows everything that will ever have been started.
    ///
    /// # Errors
    /// When the journal cannot be opened or the system has no descriptors left.
    pub fn new(
        server: ForkServer,
        journal: PathBuf,
        owner_lock: Option<OwnedFd>,
        reports: impl Fn(Report) + Send + 'static,
    ) -> Result<Self, ExecutorError> {
        let file = journal::open(&journal).map_err(failed(format!("open {}", journal.display())))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| failed("epoll")(error.into()))?;
        let end = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed("eventfd")(error.into()))?;
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)
            .map_err(|error| failed("epoll")(error.into()))?;
        let shared = Arc::new(Shared {
            journal_path: journal,
            epoll,
            reports: Mutex::new(Box::new(reports)),
            pool: Mutex::default(),
        });
        let listener = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("reapers".into())
            .spawn(move || listener.listen())
            .map_err(failed("start a thread"))?;
        Ok(Self { server, journal: file, owner_lock, shared, end })
    }

    /// Takes charge of an attempt that a dead owner had started, alive or not: its report will come as for an attempt
    /// started here, and [`Executor::stop`] reaches it. `journal` is where it was found.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn adopt(&mut self, started: &Started, journal: &Path) -> Result<(), ExecutorError> {
        let process = if started.is_alive() { started.reaper.open() } else { None };
        let Some(process) = process else {
            self.shared.conclude(started.attempt, None, Some(started.clone()), journal.to_owned(), None);
            return Ok(());
        };
        let mut pool = self.shared.pool();
        let key = pool.next_key();
        epoll::add(&self.shared.epoll, &process, EventData::new_u64(key), EventFlags::IN)
            .map_err(|error| failed("watch a reaper")(error.into()))?;
        let adopted = Adopted { started: started.clone(), journal: journal.to_owned(), _process: process };
        pool.adopted.insert(key, adopted);
        Ok(())
    }

    /// A reaper without an attempt: a waiting one, else a new one.
    fn idle_reaper(&self, pool: &mut Pool) -> Result<u64, ExecutorError> {
        if let Some(key) = pool.idle.pop() {
            return Ok(key);
        }
        let (ours, theirs) = pair(SocketType::STREAM).map_err(failed("make a channel"))?;
        set_socket_timeout(&ours, Timeout::Send, Some(HAND_OVER))
            .map_err(|error| failed("set up a channel")(error.into()))?;
        let mut descriptors = vec![theirs.as_fd(), self.journal.as_fd()];
        descriptors.extend(self.owner_lock.as_ref().map(AsFd::as_fd));
        self.server.request(&descriptors).map_err(failed("the fork server is gone"))?;
        let key = pool.next_key();
        epoll::add(&self.shared.epoll, &ours, EventData::new_u64(key), EventFlags::IN)
            .map_err(|error| failed("watch a reaper")(error.into()))?;
        let connection =
            Connection { channel: ours, messages: Messages::default(), process: None, attempt: None, trouble: None };
        pool.reapers.insert(key, connection);
        Ok(key)
    }
}

impl Executor for LocalExecutor {
    fn start(&mut self, spec: &AttemptSpec, secrets: &SecretEnv) -> Result<(), ExecutorError> {
        let request = Request::Start { spec: Cow::Borrowed(spec), secrets: Cow::Borrowed(&secrets.0) };
        // Held until the attempt is handed over, so that the end of a reaper is noticed before or after, not between.
        let mut pool = self.shared.pool();
        loop {
            let is_new = pool.idle.is_empty();
            let key = self.idle_reaper(&mut pool)?;
            let Some(connection) = pool.reapers.get_mut(&key) else { continue };
            match write_message(&connection.channel, &request) {
                Ok(()) => {
                    connection.attempt = Some(spec.attempt);
                    return Ok(());
                }
                // It has not got the whole message and never will, so it starts nothing.
                Err(error) => {
                    pool.reapers.remove(&key);
                    if is_new {
                        return Err(failed("hand the attempt to a reaper")(error));
                    }
                }
            }
        }
    }

    fn stop(&mut self, attempt: Uuid, how: Stop) {
        let pool = self.shared.pool();
        if let Some(connection) = pool.reapers.values().find(|connection| connection.attempt == Some(attempt)) {
            let request = Request::Stop { attempt, now: how == Stop::Now };
            // A reaper that cannot be reached has ended, which is reported anyway.
            let _ = write_message(&connection.channel, &request);
        }
        if let Some(adopted) = pool.adopted.values().find(|adopted| adopted.started.attempt == attempt) {
            adopted.started.stop(how);
        }
    }
}

impl Drop for LocalExecutor {
    /// Lets go of the reapers: those with an attempt finish it and put it on record.
    fn drop(&mut self) {
        *self.shared.pool() = Pool::default();
        // Cannot fail: the counter is far from its maximum.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

impl Pool {
    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }
}

/// Something that was heard and is to be acted on without holding the pool.
enum Heard {
    Report(Report),
    Lost { attempt: Uuid, process: Option<ProcessId>, trouble: Option<String> },
    AdoptedEnded(Adopted),
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Whoever panicked while holding it was between two consistent states.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)(report);
    }

    /// The listening thread.
    fn listen(self: &Arc<Self>) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None);
            if waited.is_err_and(|error| error != rustix::io::Errno::INTR) {
                return;
            }
            for event in &events {
                let key = event.data.u64();
                if key == END {
                    return;
                }
                self.hear(key);
            }
        }
    }

    fn hear(self: &Arc<Self>, key: u64) {
        let heard = self.pool().hear(key);
        for heard in heard {
            match heard {
                Heard::Report(report) => self.report(report),
                Heard::Lost { attempt, process, trouble } => {
                    self.conclude(attempt, process, None, self.journal_path.clone(), trouble);
                }
                Heard::AdoptedEnded(Adopted { started, journal, .. }) => {
                    self.conclude(started.attempt, Some(started.reaper), Some(started), journal, None);
                }
            }
        }
    }

    /// Finds out what became of an attempt whose reaper is gone, and reports it. In a thread of its own, because it
    /// may take as long as killing takes.
    fn conclude(
        self: &Arc<Self>,
        attempt: Uuid,
        reaper: Option<ProcessId>,
        adopted: Option<Started>,
        journal: PathBuf,
        trouble: Option<String>,
    ) {
        let shared = Arc::clone(self);
        let work = move || shared.report(conclusion(attempt, reaper, adopted.as_ref(), &journal, trouble));
        let spawned = std::thread::Builder::new().name("conclude".into()).spawn(work.clone());
        if spawned.is_err() {
            // No room for a thread: late is better than never.
            work();
        }
    }
}

impl Pool {
    fn hear(&mut self, key: u64) -> Vec<Heard> {
        if let Some(adopted) = self.adopted.remove(&key) {
            return vec![Heard::AdoptedEnded(adopted)];
        }
        let Some(connection) = self.reapers.get_mut(&key) else { return Vec::new() };
        let mut heard = Vec::new();
        let mut at_end = connection.messages.receive(connection.channel.as_fd()) == Received::End;
        while let Some(reply) = connection.messages.next::<Reply>() {
            match reply {
                Ok(Reply::Hello(process)) => connection.process = Some(process),
                Ok(Reply::NoReaper(trouble)) => connection.trouble = Some(trouble),
                Ok(Reply::Ended(outcome)) => {
                    connection.attempt = None;
                    self.idle.push(key);
                    heard.push(Heard::Report(Report::Ended(outcome)));
                }
                Err(_) => at_end = true,
            }
        }
        let surplus = connection.attempt.is_none() && self.idle.len() > MOST_IDLE;
        if at_end || surplus {
            self.idle.retain(|&idle| idle != key);
            if let Some(Connection { attempt: Some(attempt), process, trouble, .. }) = self.reapers.remove(&key) {
                heard.push(Heard::Lost { attempt, process, trouble });
            }
        }
        heard
    }
}

/// What became of an attempt whose reaper is gone. Kills what is left of it.
fn conclusion(
    attempt: Uuid,
    reaper: Option<ProcessId>,
    adopted: Option<&Started>,
    journal: &Path,
    trouble: Option<String>,
) -> Report {
    let vanished = |message: String| Report::Vanished { attempt, message };
    // Its channel closes a moment before the kernel kills its child; only after that nothing can start any more.
    if let Some(process) = reaper.and_then(ProcessId::open) {
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
    }
    let (started, outcome) = match journal::find(journal, attempt) {
        Ok(found) => found,
        Err(error) => return vanished(format!("its supervisor is gone and the journal cannot be read: {error}")),
    };
    if let Some(outcome) = outcome {
        return Report::Ended(outcome);
    }
    let started = started.as_ref().or(adopted);
    if started.is_some_and(|started| started.reach() == Reach::Gone) {
        return vanished("the machine was restarted while it was running".to_owned());
    }
    // The number of an adopted step's session may be in use again; see `kill_remains`.
    let session = started.filter(|_| adopted.is_none()).and_then(|started| started.step);
    let remains = match kill_remains(attempt, session) {
        Ok(0) => String::new(),
        Ok(killed) => format!("; killed {killed} processes that it left"),
        Err(left) => format!("; {left} processes that it left cannot be ended"),
    };
    vanished(match (started, trouble) {
        (Some(_), _) => format!("its supervisor ended without an outcome{remains}"),
        (None, Some(trouble)) => format!("it was not started: {trouble}"),
        (None, None) => format!("its supervisor ended before it started the step{remains}"),
    })
}
