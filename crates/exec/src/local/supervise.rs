//! Watching one step from its start to the end of the last process of its attempt.
//!
//! The step is over when its own process is; what it leaves behind is given a moment to end by itself (a `tee` that
//! writes its last lines), then killed. Since the reaper is a subreaper, every process of the attempt, however it was
//! detached, is a descendant and becomes a child once its own parent is gone: having no child left proves that nothing
//! is left. For the same reason killing only needs to reach children. Their numbers cannot be used again before they
//! are waited for here, so that no signal ever hits a stranger.

use std::time::Duration;

use runstone_core::attempt::{AttemptSpec, Cause};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::channel::Request;
use super::logs::{LogTotals, Logs};
use super::oom::OomCounter;
use super::process::{Stat, own_children};
use super::reaper::{Owner, boot_clock};
use super::sys::{Children, Reaped, SignalFd, reap};

/// How long processes may outlive their step before they are killed.
const LINGER: Duration = Duration::from_millis(100);
/// Between one round of killing and the next, at first and at most.
const KILL_AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// When to look for the first time: at the logs, and at the kernel's counter. Shorter steps are spared both.
const FIRST_LOOK: Duration = Duration::from_millis(8);
/// Timers do not count while the machine is suspended, deadlines do: how late one may be noticed after that.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a reaper knows of its machine from one attempt to the next.
#[derive(Default)]
pub(super) struct Surroundings {
    oom: Option<OomCounter>,
}

/// How an attempt ended.
pub(super) struct Ending {
    /// The step's own process.
    pub(super) step: Reaped,
    /// Used by all processes of the attempt that were waited for.
    pub(super) usage: Usage,
    /// Why we ended it, if we did.
    pub(super) stopped: Option<Cause>,
    /// Whether the kernel said so.
    pub(super) out_of_memory: bool,
    /// Processes that outlived the step and were killed.
    pub(super) leftovers: u32,
    pub(super) logs: LogTotals,
}

/// Sums, and the maximum of memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) user_us: u64,
    pub(super) system_us: u64,
    pub(super) peak_rss: u64,
}

struct Watch<'a> {
    spec: &'a AttemptSpec,
    step: u32,
    ended: Option<Reaped>,
    usage: Usage,
    stopped: Option<Cause>,
    deadline: Option<Duration>,
    kill_at: Option<Duration>,
    kill_pause: Duration,
    leftovers: u32,
    /// Whether something was killed after the step had ended.
    swept: bool,
    gone: bool,
}

/// A step that is to be watched.
pub(super) struct Watched<'a> {
    pub(super) spec: &'a AttemptSpec,
    /// Its process, a child of this one.
    pub(super) step: u32,
    /// When it was started, on the boot clock.
    pub(super) begun: Duration,
    pub(super) logs: Logs,
}

/// Watches a step until no process of its attempt is left.
pub(super) fn supervise(
    owner: &mut Owner,
    signals: &mut SignalFd,
    surroundings: &mut Surroundings,
    watched: Watched<'_>,
) -> Ending {
    let Watched { spec, step, begun, mut logs } = watched;
    let mut watch = Watch::new(spec, step, begun);
    let mut look_at = Some(begun + FIRST_LOOK);
    let mut oom_before = None;
    while !watch.gone {
        let now = boot_clock();
        watch.keep_time(now);
        if spec.ends_with_owner && owner.channel().is_none() {
            watch.stop(Cause::Cancelled, false, now);
        }
        if look_at.is_some_and(|at| at <= now) {
            oom_before = oom_before.or_else(|| surroundings.oom.get_or_insert_with(OomCounter::open).read());
            look_at = logs.look().map(|interval| now + interval);
        }
        let wake_at = [watch.deadline, watch.kill_at, look_at].into_iter().flatten().min();
        let woken = sleep(owner, signals, &logs, wake_at.map(|at| at.saturating_sub(now)));
        for stream in (0..2).filter(|&stream| woken.pipes[stream]) {
            logs.drain(stream);
        }
        if woken.signals {
            for signal in signals.take() {
                watch.signal(signal, now);
            }
        }
        if woken.owner {
            owner.receive();
        }
        while let Some(request) = owner.next_request() {
            if let Request::Stop { attempt, now: at_once } = request
                && attempt == spec.attempt
            {
                watch.stop(Cause::Cancelled, at_once, now);
            }
        }
    }
    let oom_after = oom_before.and_then(|_| surroundings.oom.as_ref()?.read());
    watch.ending(oom_before < oom_after, logs.finish())
}

#[derive(Default)]
struct Woken {
    owner: bool,
    signals: bool,
    pipes: [bool; 2],
}

/// Sleeps until something happens or `timeout` has passed.
fn sleep(owner: &Owner, signals: &SignalFd, logs: &Logs, timeout: Option<Duration>) -> Woken {
    let channel = owner.channel();
    let pipes: Vec<_> = logs.readers().collect();
    let mut ready = vec![PollFd::new(signals, PollFlags::IN)];
    ready.extend(channel.iter().map(|channel| PollFd::new(channel, PollFlags::IN)));
    ready.extend(pipes.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
    let timeout = timeout.map(|timeout| {
        let timeout = timeout.min(LONGEST_SLEEP);
        Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: i64::from(timeout.subsec_nanos()) }
    });
    let mut woken = Woken::default();
    if poll(&mut ready, timeout.as_ref()).is_err() {
        return woken;
    }
    let mut happened = ready.iter().map(|entry| !entry.revents().is_empty());
    woken.signals = happened.next().unwrap_or(false);
    woken.owner = channel.is_some() && happened.next().unwrap_or(false);
    for ((stream, _), happened) in pipes.iter().zip(happened) {
        woken.pipes[*stream] = happened;
    }
    woken
}

impl<'a> Watch<'a> {
    fn new(spec: &'a AttemptSpec, step: u32, begun: Duration) -> Self {
        Self {
            spec,
            step,
            ended: None,
            usage: Usage::default(),
            stopped: None,
            deadline: spec.timeout_ms.and_then(|limit| begun.checked_add(Duration::from_millis(limit))),
            kill_at: None,
            kill_pause: KILL_AGAIN.0,
            leftovers: 0,
            swept: false,
            gone: false,
        }
    }

    /// Does what is due.
    fn keep_time(&mut self, now: Duration) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.stop(Cause::Timeout, false, now);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill();
            self.kill_at = Some(now + self.kill_pause);
            self.kill_pause = (self.kill_pause * 2).min(KILL_AGAIN.1);
        }
    }

    fn signal(&mut self, signal: i32, now: Duration) {
        match signal {
            libc::SIGCHLD => self.reap_all(now),
            libc::SIGTERM => self.stop(Cause::Cancelled, false, now),
            libc::SIGQUIT => self.stop(Cause::Cancelled, true, now),
            _ => {}
        }
    }

    fn reap_all(&mut self, now: Duration) {
        loop {
            match reap() {
                Children::Ended(child) => self.count(child),
                Children::Running => break,
                Children::None => {
                    self.gone = true;
                    return;
                }
            }
        }
        if self.ended.is_some() {
            // Whoever is left now is a leftover. If killing has begun, a death may have handed us its children.
            self.deadline = None;
            let soon = now + if self.swept { Duration::ZERO } else { LINGER };
            self.kill_at = Some(self.kill_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn count(&mut self, child: Reaped) {
        self.usage.user_us += child.user_us;
        self.usage.system_us += child.system_us;
        self.usage.peak_rss = self.usage.peak_rss.max(child.peak_rss);
        if child.pid == self.step && self.ended.is_none() {
            self.ended = Some(child);
        } else if self.swept && child.signal == Some(libc::SIGKILL) {
            self.leftovers += 1;
        }
    }

    /// Ends the attempt: TERM now and KILL after the grace period, or KILL at once. The first cause stays.
    fn stop(&mut self, cause: Cause, at_once: bool, now: Duration) {
        let running = self.ended.is_none();
        if running {
            self.deadline = None;
            self.stopped.get_or_insert(cause);
        }
        if at_once {
            self.kill_at = Some(now);
        } else if running && self.kill_at.is_none() {
            self.terminate();
            self.kill_at = Some(now.saturating_add(Duration::from_millis(self.spec.grace_ms)));
        }
    }

    fn terminate(&self) {
        // A stopped process acts on TERM only when it goes on.
        for signal in [Signal::TERM, Signal::CONT] {
            if let Some(step) = pid(self.step) {
                let _ = kill_process_group(step, signal);
            }
            for child in own_children().into_iter().filter(|&child| !self.is_in_group(child)) {
                let _ = pid(child).map(|child| kill_process(child, signal));
            }
        }
    }

    fn is_in_group(&self, child: u32) -> bool {
        child == self.step || Stat::read(child).is_some_and(|stat| stat.group == self.step)
    }

    fn kill(&mut self) {
        if self.ended.is_none() {
            // The number of the group is the step's, and taken for as long as the step is not waited for.
            let _ = pid(self.step).map(|step| kill_process_group(step, Signal::KILL));
        } else {
            self.swept = true;
        }
        for child in own_children() {
            let _ = pid(child).map(|child| kill_process(child, Signal::KILL));
        }
    }

    fn ending(self, oom_counted: bool, logs: LogTotals) -> Ending {
        let step = self.ended.expect("children are gone, so the step was waited for");
        let killed = step.signal == Some(libc::SIGKILL) || step.exit_code == Some(128 + libc::SIGKILL);
        Ending {
            step,
            usage: self.usage,
            stopped: self.stopped,
            out_of_memory: oom_counted && killed && self.stopped.is_none(),
            leftovers: self.leftovers,
            logs,
        }
    }
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}
