//! Who a process is, and finding processes: `/proc` as a table.
//!
//! A bare process number says little, because numbers are used again; [`ProcessId`] adds the start time. Signals to
//! identities go through descriptors (`pidfd`), which never hit a successor.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The variable in a step's environment that holds the identity of its attempt.
pub const ATTEMPT_VARIABLE: &str = "RUNSTONE_ATTEMPT_ID";

/// One process of one boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot (field 22 of `/proc/PID/stat`, see proc(5)).
    pub start: u64,
}

impl ProcessId {
    /// The process that now has the number `pid`, unless it has ended.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Stat::read(pid).filter(Stat::is_running).map(|stat| Self { pid, start: stat.start })
    }

    /// Whether this very process still runs; one that ended but was not waited for does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Ends this very process at once. False where it has ended already, or may not be ended.
    #[must_use]
    pub fn kill(self) -> bool {
        self.signal(Signal::KILL)
    }

    /// A descriptor for the process; none when it has ended. It becomes readable when the process ends.
    pub(super) fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Checked after opening: the descriptor is for whoever had the number at that moment.
        self.is_alive().then_some(fd)
    }

    pub(super) fn signal(self, signal: Signal) -> bool {
        self.open().is_some_and(|fd| pidfd_send_signal(fd, signal).is_ok())
    }
}

/// Where process numbers mean something: one boot of one machine, and within it one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The name of the machine (or container). Machines that share a project's folder have different ones.
    #[serde(default)]
    pub host: String,
    /// The kernel's identity of the boot, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The namespace of process numbers.
    #[serde(default)]
    pub namespace: String,
}

/// What can be known here about processes of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everything: it is where this process is.
    Here,
    /// That they have ended: this machine was started again since.
    Gone,
    /// Nothing: they are on another machine, or in another container.
    Elsewhere,
}

impl Place {
    /// That of this process.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn here() -> io::Result<Self> {
        const NAMESPACE: &str = "/proc/self/ns/pid";
        const HOST: &str = "/proc/sys/kernel/hostname";
        let named = |path: &str, error: io::Error| io::Error::new(error.kind(), format!("read {path}: {error}"));
        let namespace = fs::read_link(NAMESPACE).map_err(|error| named(NAMESPACE, error))?;
        let host = fs::read_to_string(HOST).map_err(|error| named(HOST, error))?;
        let (host, namespace) = (host.trim().to_owned(), namespace.display().to_string());
        Ok(Self { host, boot_id: boot_id()?, namespace })
    }

    /// What `here` can know about processes of this place.
    #[must_use]
    pub fn seen_from(&self, here: &Self) -> Reach {
        // What is not known is taken to be as it is here.
        let same = |there: &str, here: &str| there.is_empty() || there == here;
        match (self.boot_id == here.boot_id && same(&self.namespace, &here.namespace), same(&self.host, &here.host)) {
            (true, _) => Reach::Here,
            // A container that was started again has the name it had, and a new namespace.
            (false, true) => Reach::Gone,
            (false, false) => Reach::Elsewhere,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.host, self.boot_id, self.namespace)
    }
}

/// The identity of the current boot of the machine.
///
/// # Errors
/// When `/proc` is not mounted.
pub(super) fn boot_id() -> io::Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    match fs::read_to_string(PATH) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(io::Error::new(error.kind(), format!("read {PATH}: {error}"))),
    }
}

/// What is needed of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) start: u64,
}

impl Stat {
    pub(super) fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The second field is the name in parentheses, and the name may hold anything, also ") ".
        let rest = &text[text.iter().rposition(|&byte| byte == b')')? + 1..];
        let fields: Vec<&str> = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: u32::try_from(number(4)?).ok()?,
            group: u32::try_from(number(5)?).ok()?,
            session: u32::try_from(number(6)?).ok()?,
            start: number(22)?,
        })
    }

    pub(super) fn is_running(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// All process numbers that are there now.
fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The children of this process, which has a single thread.
pub(super) fn own_children() -> Vec<u32> {
    let me = std::process::id();
    match fs::read_to_string(format!("/proc/{me}/task/{me}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // Kernels built without that file.
        Err(_) => all().filter(|&pid| Stat::read(pid).is_some_and(|stat| stat.parent == me)).collect(),
    }
}

/// Kills whatever an attempt whose supervisor is gone has left behind, and waits until it is gone. Returns how many
/// processes were killed, or `Err` with how many could not be ended.
///
/// Processes are known by [`ATTEMPT_VARIABLE`] in the environment they were started with and, when `session` is given,
/// by belonging to the session of the step. A session number is used again only after its last member is gone, so it
/// may be given while the supervisor's end is fresh, not hours later.
pub(super) fn kill_remains(attempt: Uuid, session: Option<u32>) -> Result<usize, usize> {
    let entry = format!("{ATTEMPT_VARIABLE}={attempt}");
    let mut killed = std::collections::HashSet::new();
    let mut quiet_rounds = 0;
    // About ten seconds: a process in an uninterruptible wait may need longer than any patience.
    for round in 0..200 {
        let found: Vec<ProcessId> = all().filter_map(|pid| remains(pid, entry.as_bytes(), session)).collect();
        // Two quiet rounds, because a process may have been born behind the reader's back during the first.
        quiet_rounds = if found.is_empty() { quiet_rounds + 1 } else { 0 };
        if quiet_rounds == 2 {
            return Ok(killed.len());
        }
        for process in &found {
            if process.signal(Signal::KILL) {
                killed.insert(*process);
            }
        }
        if !found.is_empty() {
            std::thread::sleep(Duration::from_millis(round.min(50)));
        }
    }
    Err(all().filter_map(|pid| remains(pid, entry.as_bytes(), session)).count())
}

fn remains(pid: u32, entry: &[u8], session: Option<u32>) -> Option<ProcessId> {
    let stat = Stat::read(pid).filter(|stat| stat.is_running() && pid != std::process::id())?;
    let by_session = || session.is_some_and(|session| stat.session == session);
    let by_environment = || {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|variable| variable == entry))
    };
    (by_session() || by_environment()).then_some(ProcessId { pid, start: stat.start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let line = b"42 (a) R 1 (b) S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.session, stat.start), (b'S', 7, 9, 12345));
    }

    #[test]
    fn this_process_is_alive_and_its_predecessor_is_not() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start: me.start + 1, ..me }.is_alive());
    }
}
