//! The system calls that have no safe wrapper: fork, starting a program, waiting with resource usage, signal sets.
//!
//! The only module of the workspace with `unsafe` code. What it offers is safe to call under the one condition that
//! [`fork`] checks: the process has a single thread. No policy lives here.

#![expect(unsafe_code, reason = "fork, clone, wait4, signalfd and signal masks have no safe wrapper")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::{mem, ptr};

/// Which side of a fork this is.
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old one.
    Parent,
}

/// Whether this process has exactly one thread.
pub(super) fn is_single_threaded() -> io::Result<bool> {
    // A folder has two links and one for each folder in it: one thread, three links.
    Ok(std::fs::metadata("/proc/self/task")?.nlink() == 3)
}

/// Splits the process in two.
///
/// # Errors
/// When there is more than one thread, or the system has no room for another process.
pub(super) fn fork() -> io::Result<Fork> {
    if !is_single_threaded()? {
        return Err(io::Error::other("a process with several threads cannot be forked safely"));
    }
    // SAFETY: with a single thread no lock can be held by a thread that does not exist in the child, so the child
    // may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Ends the process without running what is registered for its end: that belongs to the process it was forked from.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) {
    // SAFETY: called by a process that has just been forked and is left with descriptors it does not know. Owners of
    // the closed descriptors belong to the frames of the parent, which never run again in this process.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } != 0 {
        let limit = RawFd::try_from(first).unwrap_or(RawFd::MAX)..65_536;
        for fd in limit {
            // SAFETY: as above; closing a number that is not open does nothing.
            unsafe { libc::close(fd) };
        }
    }
}

/// Makes `fd` available under exactly the number `target`, not closed on exec.
pub(super) fn duplicate_to(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: `dup2` on numbers has no memory effects; the caller owns the low numbers it asks for.
    if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes ownership of an open descriptor that nobody owns, and has it close on exec.
pub(super) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: called once, by a process that has just put this descriptor under this number itself.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// Resets every signal to its default action and blocks all of them, so that they are read, not suffered.
pub(super) fn take_over_signals() {
    for signal in 1..=64 {
        set_action(signal, libc::SIG_DFL);
    }
    // SAFETY: the set is initialised by `sigfillset` before it is read.
    unsafe {
        let mut all = mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

/// Whether ended children vanish by themselves or stay to be waited for.
pub(super) fn reap_automatically(automatically: bool) {
    set_action(libc::SIGCHLD, if automatically { libc::SIG_IGN } else { libc::SIG_DFL });
}

fn set_action(signal: c_int, action: libc::sighandler_t) {
    // SAFETY: only the two built-in actions are ever installed; numbers that may not be changed are refused.
    unsafe { libc::signal(signal, action) };
}

/// A descriptor that becomes readable when a blocked signal has arrived.
pub(super) struct SignalFd(File);

impl SignalFd {
    /// Watches all signals; they must be blocked already.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the set is initialised by `sigfillset` before it is read; the new descriptor has no other owner.
        unsafe {
            let mut all = mem::zeroed::<libc::sigset_t>();
            libc::sigfillset(&raw mut all);
            let fd = libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(File::from(OwnedFd::from_raw_fd(fd)))) }
        }
    }

    /// The numbers of some signals that have arrived; empty when there are none.
    pub(super) fn take(&mut self) -> Vec<i32> {
        const SIZE: usize = mem::size_of::<libc::signalfd_siginfo>();
        let mut buffer = [0_u8; SIZE * 4];
        let read = self.0.read(&mut buffer).unwrap_or(0);
        // The signal number is the first field, of 32 bits (signalfd(2)).
        buffer[..read].chunks_exact(SIZE).map(|info| i32::from_ne_bytes([info[0], info[1], info[2], info[3]])).collect()
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a process used, and how it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reaped {
    pub(super) pid: u32,
    /// The exit code, where it ended by itself.
    pub(super) exit_code: Option<i32>,
    /// The signal, where one ended it.
    pub(super) signal: Option<i32>,
    /// Microseconds, with the children it had waited for.
    pub(super) user_us: u64,
    /// Microseconds, with the children it had waited for.
    pub(super) system_us: u64,
    /// Bytes; the largest of it and the children it had waited for.
    pub(super) peak_rss: u64,
}

/// What [`reap`] found.
pub(super) enum Children {
    /// This one had ended and is gone now.
    Ended(Reaped),
    /// There are children, all running.
    Running,
    /// There is no child at all.
    None,
}

/// Takes one ended child, without waiting.
pub(super) fn reap() -> Children {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zero is a value.
    let mut usage = unsafe { mem::zeroed::<libc::rusage>() };
    loop {
        // SAFETY: both pointers are to live values of the right types.
        match unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG | libc::__WALL, &raw mut usage) } {
            0 => return Children::Running,
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Children::None,
            pid => {
                let micros = |time: libc::timeval| u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0);
                return Children::Ended(Reaped {
                    pid: pid.unsigned_abs(),
                    exit_code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                    signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
                    user_us: micros(usage.ru_utime),
                    system_us: micros(usage.ru_stime),
                    peak_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
                });
            }
        }
    }
}

/// A null-terminated array of C strings, as `execve` wants it.
pub(super) struct CStrings {
    owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStrings {
    pub(super) fn new(owned: Vec<CString>) -> Self {
        // The text of a CString stays where it is when the vector that holds it moves.
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { owned, pointers }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.owned.iter().map(CString::as_c_str)
    }
}

/// A program to start, fully prepared: starting it needs no memory and no decision.
pub(super) struct Launch<'a> {
    pub(super) program: &'a CStr,
    pub(super) argv: &'a CStrings,
    pub(super) env: &'a CStrings,
    pub(super) cwd: &'a CStr,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
    /// Where `record` goes, in one write, just before the program replaces the child.
    pub(super) journal: BorrowedFd<'a>,
    /// The record of the start.
    pub(super) record: &'a mut [u8],
    /// Where in `record` the ten bytes are that take the identifier of the process.
    pub(super) pid_at: usize,
}

/// At which step a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaunchStep {
    /// No process could be made.
    Fork,
    /// The process could not be set up.
    Setup,
    /// The working directory could not be entered.
    Chdir,
    /// The record of the start could not be written.
    Journal,
    /// The program could not be executed.
    Exec,
}

/// Why a program did not start.
#[derive(Debug)]
pub(super) struct LaunchError {
    pub(super) step: LaunchStep,
    pub(super) error: io::Error,
}

/// Memory on which children run until they execute their program.
pub(super) struct ChildStack(Box<[u128]>);

impl ChildStack {
    pub(super) fn new() -> Self {
        Self(vec![0; 64 * 1024 / mem::size_of::<u128>()].into_boxed_slice())
    }
}

struct Shared<'a, 'b> {
    launch: &'a mut Launch<'b>,
    parent: libc::pid_t,
    failure: Option<(LaunchStep, c_int)>,
}

/// Starts a program as leader of its own session, with standard input as it is here, the two given outputs, no other
/// descriptor (all of ours close on exec), no blocked signal, and KILL when the calling thread ends.
///
/// The child borrows this process's memory until it executes (`CLONE_VM | CLONE_VFORK`, as `posix_spawn` does), which
/// costs the same however large the process is, and lets it report a failure without a pipe.
///
/// # Errors
/// Nothing runs then, and there is no child left to wait for.
pub(super) fn launch(launch: &mut Launch<'_>, stack: &mut ChildStack) -> Result<u32, LaunchError> {
    // SAFETY: getpid has no preconditions.
    let mut shared = Shared { launch, parent: unsafe { libc::getpid() }, failure: None };
    let top = stack.0.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the calling thread sleeps until the child has executed or ended, so `shared` and the stack outlive the
    // child's use of them and are never used by two at once. All signals are blocked here, so no handler runs in the
    // child. `top` is the 16-byte aligned end of 64 KiB that nothing else uses; stacks grow downwards on every
    // architecture that Rust supports on Linux.
    let pid = unsafe { libc::clone(run_child, top.cast::<c_void>(), flags, (&raw mut shared).cast::<c_void>()) };
    if pid < 0 {
        return Err(LaunchError { step: LaunchStep::Fork, error: io::Error::last_os_error() });
    }
    // SAFETY: the child wrote through a pointer made from this variable; the read must not be optimised away.
    let failure = unsafe { ptr::read_volatile(&raw const shared.failure) };
    let Some((step, errno)) = failure else { return Ok(pid.unsigned_abs()) };
    let mut status = 0;
    // SAFETY: `pid` is a child of ours that has called `_exit`.
    unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    Err(LaunchError { step, error: io::Error::from_raw_os_error(errno) })
}

/// What the child does. Only system calls: no allocation, no lock, no panic.
extern "C" fn run_child(argument: *mut c_void) -> c_int {
    // SAFETY: `launch` passes a pointer to its `Shared`, which nobody else touches while this runs.
    let shared = unsafe { &mut *argument.cast::<Shared<'_, '_>>() };
    let step = become_program(shared);
    // SAFETY: the location of errno is always readable.
    shared.failure = Some((step, unsafe { *libc::__errno_location() }));
    exit_now(127)
}

/// Returns only when something failed, with what it was; `errno` has the reason.
fn become_program(shared: &mut Shared<'_, '_>) -> LaunchStep {
    let launch = &mut *shared.launch;
    // SAFETY: plain system calls on numbers and on strings and arrays that are alive and null-terminated.
    unsafe {
        let ready = libc::setsid() >= 0
            && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && libc::dup2(launch.stdout.as_raw_fd(), 1) >= 0
            && libc::dup2(launch.stderr.as_raw_fd(), 2) >= 0;
        if !ready {
            return LaunchStep::Setup;
        }
        // A parent that died before the prctl sends no signal.
        if libc::getppid() != shared.parent {
            exit_now(127);
        }
        if libc::chdir(launch.cwd.as_ptr()) != 0 {
            return LaunchStep::Chdir;
        }
        write_digits(launch.record, launch.pid_at, libc::getpid().unsigned_abs());
        let written = libc::write(launch.journal.as_raw_fd(), launch.record.as_ptr().cast(), launch.record.len());
        if written != libc::ssize_t::try_from(launch.record.len()).unwrap_or(-1) {
            if written >= 0 {
                *libc::__errno_location() = libc::ENOSPC;
            }
            return LaunchStep::Journal;
        }
        let mut none = mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(launch.program.as_ptr(), launch.argv.pointers.as_ptr(), launch.env.pointers.as_ptr());
        LaunchStep::Exec
    }
}

/// Writes `number` right-aligned over the ten bytes at `at`, blanks before it.
fn write_digits(record: &mut [u8], at: usize, mut number: u32) {
    let Some(field) = record.get_mut(at..at.saturating_add(10)) else { return };
    for byte in field.iter_mut().rev() {
        *byte = if number > 0 { b'0' + (number % 10) as u8 } else { b' ' };
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fill_ten_places_from_the_right() {
        let mut record = *b"\"step\":4294967295}";
        write_digits(&mut record, 7, 32_768);
        assert_eq!(&record, b"\"step\":     32768}");
    }
}
