//! The service machine: what one scheduler does next. No I/O, no clock, no randomness.
//!
//! ```text
//! step(&mut self, Input, Now) → Vec<Command>
//! ```
//!
//! Any number of schedulers run one machine each over one record. They need no leader: whatever several of them decide at
//! once, the record accepts once, and the others are told that they came late. So a scheduler that is slow, paused or
//! mistaken about the time can delay, and never double or lose, what is to be done.
//!
//! Invariants:
//! - nothing is claimed and nothing is driven past the end of the lease, counted from when its renewal was *asked* for, on
//!   the steady clock;
//! - a claim is answered before its run is driven;
//! - of each kind of question to the record at most one is under way, and one that failed is asked again, later and later;
//! - where nothing happens, the machine sleeps until the next thing that is due.

mod asks;
mod fires;
mod lease;
mod queue;
#[cfg(test)]
mod tests;
mod watch;

use uuid::Uuid;

use crate::executor::Stop;
use crate::record::RunId;
use crate::time::Timestamp;

use super::record::{
    FireDecision, FireOutcome, ScheduleId, ScheduleRecord, SchedulerId, SchedulerRecord, SchedulerState,
    SubmissionRecord,
};
use super::store::{Beat, Claimed};
use asks::Asks;
use fires::Fires;
use lease::Lease;
use queue::Queue;
use watch::Watch;

/// What a scheduler is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This start of this scheduler.
    pub id: SchedulerId,
    /// The project, which the identities of runs are derived from.
    pub project: Uuid,
    /// The content store it can open.
    pub store_marker: Uuid,
    /// How many runs it drives at once at most.
    pub capacity: u32,
    /// How long a lease lasts after its renewal, microseconds.
    pub ttl_us: u64,
    /// How long before that end it lets go of everything by itself, microseconds.
    pub margin_us: u64,
    /// How often the lease is renewed, microseconds.
    pub renew_us: u64,
    /// How often the record is looked at for what others asked for, microseconds.
    pub poll_us: u64,
    /// How late a fire may be and still be on time, microseconds.
    pub grace_us: u64,
    /// How often triggers look at what they watch, microseconds.
    pub watch_us: u64,
}

/// The clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock. It may jump; only schedules go by it.
    pub wall: Timestamp,
    /// Microseconds on a clock that never goes back and counts also while the machine sleeps. Leases and pauses go by it.
    pub steady: u64,
}

/// A question to the record, or something else that takes its time and may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// [`Command::Renew`].
    Renew,
    /// [`Command::LoadSchedules`] or [`Command::ReloadSchedules`].
    Schedules,
    /// [`Command::Decide`].
    Decide,
    /// [`Command::Look`].
    Look,
    /// [`Command::Claim`].
    Claim(RunId),
    /// [`Command::Bury`].
    Bury(SchedulerId),
    /// [`Command::AdvanceBackfill`].
    Backfill(Uuid),
    /// [`Command::Watch`].
    Watch,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// It is on record, its lease asked for at this time on the steady clock. Once, first.
    Registered {
        /// When the registration was asked for.
        asked: u64,
    },
    /// Time passed.
    Tick,
    /// A question failed: the record could not be reached, or did not answer in time. Whether a change was made is unknown.
    Failed(Ask),
    /// The answer to [`Command::Renew`].
    Renewed {
        /// When it was asked for, on the steady clock.
        asked: u64,
        /// The answer.
        beat: Beat,
    },
    /// The answer to [`Command::LoadSchedules`] or [`Command::ReloadSchedules`].
    Schedules(Vec<ScheduleRecord>),
    /// The answer to [`Command::Decide`], in its order.
    Decided(Vec<FireOutcome>),
    /// The answer to [`Command::Look`].
    Looked(Look),
    /// The answer to [`Command::Claim`].
    Claimed {
        /// The run.
        run: RunId,
        /// The claim; none where another was faster.
        claimed: Option<Box<Claimed>>,
    },
    /// The answer to [`Command::Bury`].
    Buried {
        /// Who.
        scheduler: SchedulerId,
    },
    /// The answer to [`Command::AdvanceBackfill`].
    Advanced {
        /// Which.
        backfill: Uuid,
        /// How many runs were submitted.
        submitted: u32,
    },
    /// The answer to [`Command::Watch`]: what each trigger sees now, and what it would have seen had it just fired.
    Watched(Vec<Sighting>),
    /// A run that was being driven is not any more: it is over, could not begin, was let go of, or was taken away.
    Ended {
        /// The run.
        run: RunId,
    },
    /// Something was submitted, paused or declared here: look now, and not at the next poll.
    Nudge,
    /// Take on nothing more, let go of what can be let go of, and leave.
    Drain,
}

/// What is on record of the queue.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Look {
    /// See [`ServiceStore::live_submissions`](super::store::ServiceStore::live_submissions).
    pub live: Vec<SubmissionRecord>,
    /// Schedulers that are not gone.
    pub schedulers: Vec<SchedulerRecord>,
    /// Backfills that are active.
    pub backfills: Vec<Uuid>,
    /// The newest `rev` of a schedule.
    pub schedules_rev: i64,
}

/// What a trigger sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Which.
    pub schedule: ScheduleId,
    /// Its state as of now, to be kept with the decision.
    pub seen: serde_json::Value,
    /// What happened, for people, where it is to fire: such as `labels/gold has version b3:12ab…`.
    pub fires: Option<String>,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Renew the lease.
    Renew {
        /// `Active` or `Draining`.
        state: SchedulerState,
    },
    /// Read schedules that changed.
    LoadSchedules {
        /// Later than this `rev`.
        after_rev: i64,
    },
    /// Read these schedules, whether they changed or not. Answer: [`Input::Schedules`], failure: [`Ask::Schedules`].
    ReloadSchedules(Vec<ScheduleId>),
    /// Put decisions on record.
    Decide(Vec<FireDecision>),
    /// Look at the queue.
    Look,
    /// Take a submission.
    Claim(RunId),
    /// Put on record that another scheduler is gone, if its lease has run out.
    Bury(SchedulerId),
    /// Submit the next partitions of a backfill.
    AdvanceBackfill(Uuid),
    /// See what these triggers watch.
    Watch(Vec<ScheduleRecord>),
    /// Begin or go on with a run. Answer, at its end: [`Input::Ended`].
    Drive(Box<Claimed>),
    /// Ask for the end of a run that is being driven.
    Stop {
        /// The run.
        run: RunId,
        /// How.
        how: Stop,
    },
    /// Let go of a run at the next moment at which no step of it has to be waited for: hand it to others.
    HandOver(RunId),
    /// The lease is over: let go of every run at once, without ending its steps, and write nothing more. Then register
    /// anew with a new machine.
    Abandon,
    /// Everything is handed over or finished: put on record that this scheduler is gone, which gives back what it may
    /// have claimed without knowing, and go.
    Leave,
    /// Send [`Input::Tick`] when the steady clock shows this, or the wall clock shows that, whichever comes first.
    Wake {
        /// On the steady clock.
        steady: u64,
        /// On the wall clock.
        wall: Option<Timestamp>,
    },
}

/// What one scheduler knows and has under way.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    lease: Lease,
    asks: Asks,
    fires: Fires,
    watch: Watch,
    queue: Queue,
    draining: bool,
    over: bool,
    out: Vec<Command>,
}

impl Machine {
    /// A scheduler that is not on record yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let asks = Asks::new(settings.id.0.as_u64_pair().1);
        Self {
            settings,
            lease: Lease::default(),
            asks,
            fires: Fires::default(),
            watch: Watch::default(),
            queue: Queue::default(),
            draining: false,
            over: false,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and says what is to be done. The last command is a [`Command::Wake`], until the scheduler
    /// abandons or leaves: nothing follows then.
    ///
    /// An input that nobody waits for is ignored: it is late news about something already decided.
    pub fn step(&mut self, input: Input, now: Now) -> Vec<Command> {
        if self.over {
            return Vec::new();
        }
        // The answer to a renewal says how long the lease is, so it counts before the lease is looked at.
        let rest = match input {
            Input::Registered { asked } => {
                self.registered(asked);
                None
            }
            Input::Renewed { asked, beat } => {
                self.renewed(asked, beat);
                None
            }
            other => Some(other),
        };
        if let Some(input) = rest
            && !self.has_lost_its_lease(now)
        {
            self.take_in(input, now);
        }
        if self.has_lost_its_lease(now) {
            self.over = true;
            self.out.clear();
            return vec![Command::Abandon];
        }
        if self.is_registered() {
            self.go_on(now);
        }
        std::mem::take(&mut self.out)
    }

    /// Whether it has abandoned or left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn take_in(&mut self, input: Input, now: Now) {
        match input {
            Input::Registered { .. } | Input::Renewed { .. } | Input::Tick => {}
            Input::Failed(ask) => self.failed(ask, now),
            Input::Schedules(records) => self.loaded(records),
            Input::Decided(outcomes) => {
                self.decided(&outcomes);
                // What was put in the queue is begun at once.
                if outcomes.iter().any(|outcome| matches!(outcome, FireOutcome::Submitted { .. })) {
                    self.look_soon(now.steady);
                }
            }
            Input::Looked(look) => self.looked(&look, now),
            Input::Claimed { run, claimed } => self.claimed(run, claimed),
            Input::Buried { scheduler } => {
                // What it had may be claimed now.
                if self.asks.answered(Ask::Bury(scheduler)) {
                    self.look_soon(now.steady);
                }
            }
            Input::Advanced { backfill, submitted } => {
                if self.asks.answered(Ask::Backfill(backfill)) && submitted > 0 {
                    self.look_soon(now.steady);
                }
            }
            Input::Watched(sightings) => self.watched(sightings, now),
            Input::Ended { run } => self.ended(run, now),
            Input::Nudge => self.look_soon(now.steady),
            Input::Drain => self.drain(),
        }
    }

    fn failed(&mut self, ask: Ask, now: Now) {
        match ask {
            Ask::Decide => self.deciding_failed(now),
            Ask::Schedules => self.load_failed(now),
            Ask::Claim(run) => self.claim_failed(run, now),
            Ask::Renew | Ask::Look | Ask::Bury(_) | Ask::Backfill(_) | Ask::Watch => self.asks.failed(ask, now.steady),
        }
    }

    fn go_on(&mut self, now: Now) {
        if self.may_leave() {
            self.over = true;
            return self.out.push(Command::Leave);
        }
        self.renew(now);
        self.load(now);
        self.watch(now);
        self.decide(now);
        self.load(now);
        self.look(now);
        self.claim(now);
        let (load, wall) = self.wake_for_fires(now);
        let steady = self.wake_for_lease().min(self.wake_for_queue()).min(self.wake_for_watch()).min(load);
        self.out.push(Command::Wake { steady, wall });
    }
}

/// Spreads the bits of a number (the finalizer of `SplitMix64`, Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
