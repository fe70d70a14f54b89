//! The reaper: a small process that runs attempts, one at a time, as the parent of their steps.
//!
//! It outlives the engine and the fork server while it has an attempt: it finishes it, records the outcome and ends.
//! Without an attempt and without an engine it ends at once. Everything it needs to know comes over its channel, and
//! everything that must survive it goes to the journal.
//!
//! Invariants:
//! - no program of a step is executed before the attempt's start is in the journal;
//! - an outcome is in the journal before the engine is told, and no process of the attempt is left by then;
//! - while the owner's lock is open here, this reaper may still start an attempt that is not in the journal yet.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runstone_core::attempt::{AttemptSpec, Cause, Material, OutcomeRecord};
use runstone_core::time::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, getpid, set_dumpable_behavior};

use super::channel::{Messages, Received, Reply, Request, write_message};
use super::journal::{self, Entry, Started};
use super::launch::Program;
use super::logs::{HoleSupport, Logs};
use super::mask::Masker;
use super::process::{Place, ProcessId};
use super::stage::stage;
use super::supervise::{Ending, Surroundings, Watched, supervise};
use super::sys::{self, ChildStack, Launch, SignalFd};

/// How long to wait before trying again to write to the journal of a full disk.
const JOURNAL_RETRY: Duration = Duration::from_millis(250);

/// The engine, seen from a reaper.
pub(super) struct Owner {
    channel: OwnedFd,
    messages: Messages,
    /// Open for as long as an attempt may still come.
    lock: Option<OwnedFd>,
    connected: bool,
}

impl Owner {
    /// What to wait on for requests; none when the engine is gone.
    pub(super) fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.connected.then(|| self.channel.as_fd())
    }

    /// Takes what the engine has sent, without waiting. Notices its end, and then lets go of its lock.
    pub(super) fn receive(&mut self) {
        while self.connected {
            match self.messages.receive(self.channel.as_fd()) {
                Received::Bytes => {}
                Received::Nothing => return,
                Received::End => self.disconnect(),
            }
        }
    }

    /// The next request that has arrived whole.
    pub(super) fn next_request(&mut self) -> Option<Request<'static>> {
        match self.messages.next::<Request<'static>>()? {
            Ok(request) => Some(request),
            Err(_) => {
                self.disconnect();
                None
            }
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.lock = None;
        // A part of a message is no message.
        self.messages = Messages::default();
    }

    fn tell(&mut self, reply: &Reply) {
        if self.connected && write_message(&self.channel, reply).is_err() {
            self.disconnect();
        }
    }
}

/// The state of a reaper between attempts.
pub(super) struct Reaper {
    owner: Owner,
    journal: File,
    me: ProcessId,
    place: Place,
    signals: SignalFd,
    stack: ChildStack,
    holes: HoleSupport,
    surroundings: Surroundings,
}

impl Reaper {
    /// Makes a reaper out of the calling process, which has just been forked for it.
    pub(super) fn new(channel: OwnedFd, journal: OwnedFd, lock: Option<OwnedFd>) -> io::Result<Self> {
        sys::reap_automatically(false);
        rustix::process::setsid()?;
        rustix::process::set_child_subreaper(Some(getpid()))?;
        rustix::thread::set_name(c"runstone-reaper")?;
        let me = ProcessId::of(std::process::id()).ok_or_else(|| io::Error::other("read /proc/self/stat"))?;
        let mut owner = Owner { channel, messages: Messages::default(), lock, connected: true };
        owner.tell(&Reply::Hello(me));
        Ok(Self {
            owner,
            journal: File::from(journal),
            me,
            place: Place::here()?,
            signals: SignalFd::new()?,
            stack: ChildStack::new(),
            holes: HoleSupport::default(),
            surroundings: Surroundings::default(),
        })
    }

    /// Runs attempts until the engine is gone or a signal asks for the end.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            while let Some(request) = self.owner.next_request() {
                // A request to stop, here, is for an attempt that is over.
                if let Request::Start { spec, secrets } = request {
                    let outcome = self.attempt(&spec, &secrets);
                    if !self.put_on_record(&outcome) {
                        return Ok(());
                    }
                    self.owner.tell(&Reply::Ended(outcome));
                }
            }
            let Some(channel) = self.owner.channel() else { return Ok(()) };
            let mut ready = [PollFd::new(&channel, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let signalled = !ready[1].revents().is_empty();
            if signalled && self.signals.take().into_iter().any(asks_for_end) {
                return Ok(());
            }
            self.owner.receive();
        }
    }

    /// Appends the outcome to the journal, for as long as it takes: an outcome must not be lost to a full disk. Only
    /// a signal that asks for the end makes it give up; then it returns false.
    fn put_on_record(&mut self, outcome: &OutcomeRecord) -> bool {
        let record = journal::record(&Entry::Ended(outcome.clone()));
        while journal::append(&self.journal, &record).is_err() {
            let mut ready = [PollFd::new(&self.signals, PollFlags::IN)];
            let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(JOURNAL_RETRY.subsec_nanos()) };
            let _ = poll(&mut ready, Some(&pause));
            if self.signals.take().into_iter().any(asks_for_end) {
                return false;
            }
            self.owner.receive();
        }
        true
    }

    /// Runs one attempt from its empty folder to its last process.
    fn attempt(&mut self, spec: &AttemptSpec, secrets: &[(String, String)]) -> OutcomeRecord {
        let masker = Masker::new(secrets.iter().map(|(_, value)| &**value));
        if !secrets.is_empty() {
            // From now on this memory is in no core dump, and not to be read by other processes of the user. A refusal
            // takes nothing away that there would be otherwise.
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        let mut outcome = match self.start(spec, secrets, &masker) {
            Ok(Running { step, started, begun, logs }) => {
                let watched = Watched { spec, step, begun, logs };
                let ending = supervise(&mut self.owner, &mut self.signals, &mut self.surroundings, watched);
                let elapsed = boot_clock().saturating_sub(begun).as_micros();
                let ended = started.plus_micros(u64::try_from(elapsed).unwrap_or(u64::MAX));
                describe(&ending, spec, started, ended)
            }
            Err((cause, message)) => not_started(spec, wall_clock(), cause, message),
        };
        outcome.message = outcome.message.map(|message| masker.mask(&message));
        outcome
    }

    fn start(
        &mut self,
        spec: &AttemptSpec,
        secrets: &[(String, String)],
        masker: &Masker,
    ) -> Result<Running, (Cause, String)> {
        let record = |at| Started { attempt: spec.attempt, place: self.place.clone(), at, reaper: self.me, step: None };
        // Copies may take long, and an engine that takes over must not believe meanwhile that nobody has this.
        if spec.stage.iter().any(|staged| matches!(staged.what, Material::Copy(_))) {
            journal::append(&self.journal, &journal::record(&Entry::Started(record(wall_clock()))))
                .map_err(|error| (cause_of(&error), format!("write the outcome journal: {error}")))?;
        }
        stage(spec)
            .map_err(|error| (if error.is_no_space() { Cause::NoSpace } else { Cause::Internal }, error.to_string()))?;
        let mut logs = Logs::create(Path::new(&spec.folder), spec.log_limit, masker, &mut self.holes)
            .map_err(|error| (cause_of(&error), format!("make the logs in {}: {error}", spec.folder)))?;
        let program = Program::new(spec, secrets).map_err(|message| (Cause::Spawn, message))?;
        let (started, begun) = (wall_clock(), boot_clock());
        let (mut record, pid_at) = journal::step_record(&record(started));
        let mut launch = Launch {
            program: &program.path,
            argv: &program.argv,
            env: &program.env,
            cwd: &program.cwd,
            stdout: logs.target(0),
            stderr: logs.target(1),
            journal: self.journal.as_fd(),
            record: &mut record,
            pid_at,
        };
        let step = sys::launch(&mut launch, &mut self.stack).map_err(|error| program.explain(spec, &error))?;
        logs.step_has_targets();
        Ok(Running { step, started, begun, logs })
    }
}

/// A step that has just been started.
struct Running {
    step: u32,
    started: Timestamp,
    /// The same moment on the clock that only goes forward.
    begun: Duration,
    logs: Logs,
}

fn cause_of(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::NoSpace,
        _ => Cause::Internal,
    }
}

/// Whether a signal, sent to a reaper, means that it is to end what it has.
pub(super) fn asks_for_end(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGQUIT)
}

/// Time since the machine was started, suspended or not.
pub(super) fn boot_clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn wall_clock() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::after_epoch(now)
}

fn not_started(spec: &AttemptSpec, started: Timestamp, cause: Cause, message: String) -> OutcomeRecord {
    OutcomeRecord {
        attempt: spec.attempt,
        started,
        ended: started,
        cause,
        exit_code: None,
        signal: None,
        message: Some(message),
        user_us: 0,
        system_us: 0,
        peak_rss: 0,
        stdout_bytes: 0,
        stderr_bytes: 0,
        leftovers: 0,
    }
}

/// The record of a step that ran.
fn describe(ending: &Ending, spec: &AttemptSpec, started: Timestamp, ended: Timestamp) -> OutcomeRecord {
    let Ending { step, usage, stopped, out_of_memory, leftovers, logs } = *ending;
    let (cause, mut message) = match (stopped, step.signal) {
        (Some(Cause::Timeout), _) => {
            let limit = Duration::from_millis(spec.timeout_ms.unwrap_or(0));
            (Cause::Timeout, Some(format!("ended because it ran longer than {limit:?}")))
        }
        (Some(cause), _) => (cause, None),
        (None, _) if out_of_memory => {
            (Cause::OutOfMemory, Some("ended by the kernel, which had no memory left for it".to_owned()))
        }
        (None, Some(signal)) => (Cause::Signal, Some(describe_signal(signal))),
        (None, None) => (Cause::Exit, None),
    };
    if logs.dropped > 0 {
        let lost = format!("{} bytes of its logs found no space on the disk", logs.dropped);
        message = Some(message.map_or_else(|| lost.clone(), |message| format!("{message}; {lost}")));
    }
    OutcomeRecord {
        attempt: spec.attempt,
        started,
        ended,
        cause,
        exit_code: step.exit_code,
        signal: step.signal,
        message,
        user_us: usage.user_us,
        system_us: usage.system_us,
        peak_rss: usage.peak_rss,
        stdout_bytes: logs.stdout,
        stderr_bytes: logs.stderr,
        leftovers,
    }
}

fn describe_signal(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "HUP",
        libc::SIGINT => "INT",
        libc::SIGQUIT => "QUIT",
        libc::SIGILL => "ILL: an illegal instruction",
        libc::SIGTRAP => "TRAP",
        libc::SIGABRT => "ABRT: it aborted itself",
        libc::SIGBUS => "BUS: memory that is not there",
        libc::SIGFPE => "FPE: an arithmetic error",
        libc::SIGKILL => return "killed (possibly memory) by signal 9 (KILL)".to_owned(),
        libc::SIGSEGV => "SEGV: a bad memory access",
        libc::SIGPIPE => "PIPE: nobody read what it wrote",
        libc::SIGTERM => "TERM",
        libc::SIGXCPU => "XCPU: its limit of processor time",
        libc::SIGXFSZ => "XFSZ: its limit of file size",
        libc::SIGSYS => "SYS: a forbidden system call",
        _ => return format!("killed by signal {signal}"),
    };
    format!("killed by signal {signal} ({name})")
}
