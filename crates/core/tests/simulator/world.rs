//! A world of schedulers, processes, people and one database, in virtual time and on one thread: everything that happens
//! is an event at a moment that the dice chose.

use std::collections::{BTreeMap, VecDeque};

use runstone_core::executor::Stop;
use runstone_core::record::RunId;
use runstone_core::service::oracle::{self, Snapshot};
use runstone_core::service::store::ServiceStore;
use runstone_core::time::Timestamp;
use uuid::Uuid;

use crate::dice::Dice;
use crate::host::{Host, Outcome, Pid};
use crate::model::{Model, Mutation};
use crate::plans::Plan;
use crate::shell::{Call, Mail, Proc, TTL};

/// 2027-01-15T08:00:00Z.
pub(crate) const EPOCH: i64 = 1_800_000_000_000_000;

pub(crate) const SECOND: u64 = 1_000_000;

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) kills: bool,
    pub(crate) pauses: bool,
    pub(crate) database: bool,
    pub(crate) clocks: bool,
    pub(crate) supervisors: bool,
    pub(crate) drains: bool,
}

impl Faults {
    pub(crate) const ALL: Self =
        Self { kills: true, pauses: true, database: true, clocks: true, supervisors: true, drains: true };
    pub(crate) const NONE: Self =
        Self { kills: false, pauses: false, database: false, clocks: false, supervisors: false, drains: false };
}

/// When a world begins, and how fast it goes. Lengths in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(crate) epoch: i64,
    /// See `Settings`.
    pub(crate) ttl: u64,
    pub(crate) margin: u64,
    pub(crate) renew: u64,
    pub(crate) poll: u64,
    /// After so many changes the oracle looks at everything again.
    pub(crate) everything: u64,
}

impl Pace {
    /// Much in little time.
    pub(crate) const BRISK: Self =
        Self { epoch: EPOCH, ttl: TTL, margin: 5 * SECOND, renew: 5 * SECOND, poll: SECOND, everything: 400 };
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) pace: Pace,
    pub(crate) schedulers: usize,
    pub(crate) faults: Faults,
    /// Whether people do things.
    pub(crate) people: bool,
    /// Whether the database is slow all the time.
    pub(crate) slow: bool,
    /// So many calls of a thousand arrive when nobody waits for them any more.
    pub(crate) stragglers: u64,
    pub(crate) mutation: Option<Mutation>,
}

impl Config {
    /// Nothing goes wrong, and nobody asks for anything.
    pub(crate) fn quiet(schedulers: usize) -> Self {
        let pace = Pace::BRISK;
        Self { pace, schedulers, faults: Faults::NONE, people: false, slow: false, stragglers: 0, mutation: None }
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    /// Something reaches a process.
    Arrive(Pid, Mail),
    /// The database does what it was asked to.
    Execute(Box<Call>),
    /// A scheduler is started in a place.
    Boot(usize),
    Thaw(Pid),
    Spawn {
        attempt: Uuid,
        run: RunId,
        task: u32,
        most_us: u64,
        boot: u32,
    },
    StepEnds {
        attempt: Uuid,
        outcome: Outcome,
    },
    Fault,
    People,
}

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) dice: Dice,
    /// The true time, microseconds since the beginning.
    pub(crate) at: u64,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(crate) model: Model,
    pub(crate) host: Host,
    pub(crate) procs: BTreeMap<Pid, Proc>,
    pub(crate) next_pid: Pid,
    /// By place: how far its wall clock is from the truth.
    pub(crate) skew: Vec<i64>,
    pub(crate) plans: Vec<Plan>,
    /// The newest version of the dataset that triggers watch.
    pub(crate) dataset: u64,
    pub(crate) project: Uuid,
    pub(crate) store_marker: Uuid,
    pub(crate) down_until: u64,
    pub(crate) slow_until: u64,
    /// In so many of a thousand cases a call fails before it is made, and in as many after.
    pub(crate) flaky: u64,
    /// Processes whose calls do not reach the database.
    pub(crate) cut_off: std::collections::BTreeSet<Pid>,
    /// Whether every step succeeds, and none of its conditions is false.
    pub(crate) lucky: bool,
    /// How many runs each scheduler may drive; some, where it is not said.
    pub(crate) capacity: Option<u32>,
    /// Places in which no scheduler is started again.
    pub(crate) closed: std::collections::BTreeSet<usize>,
    pub(crate) violations: Vec<String>,
    before: Option<Snapshot>,
    pub(crate) steps: u64,
    executed: u64,
    trace: u64,
    pub(crate) log: Option<VecDeque<String>>,
}

impl World {
    /// A world without pipelines and schedulers.
    pub(crate) fn empty(seed: u64, config: Config) -> Self {
        let mut dice = Dice(seed);
        let (project, store_marker) = (dice.uuid(), dice.uuid());
        let mut world = Self {
            config,
            dice,
            at: 0,
            events: BTreeMap::new(),
            serial: 0,
            model: Model::new(Timestamp(config.pace.epoch), config.mutation),
            host: Host::default(),
            procs: BTreeMap::new(),
            next_pid: 0,
            skew: vec![0; config.schedulers],
            plans: Vec::new(),
            dataset: 0,
            project,
            store_marker,
            down_until: 0,
            slow_until: if config.slow { u64::MAX } else { 0 },
            flaky: if config.faults.database { 15 } else { 0 },
            cut_off: std::collections::BTreeSet::new(),
            lucky: false,
            capacity: None,
            closed: std::collections::BTreeSet::new(),
            violations: Vec::new(),
            before: None,
            steps: 0,
            executed: 0,
            trace: 0,
            log: None,
        };
        world.model.declare_pools(&[("gpu".to_owned(), 2)]).expect("a model does not fail");
        world
    }

    /// A world with whatever the dice say.
    pub(crate) fn random(seed: u64, config: Config) -> Self {
        let mut world = Self::empty(seed, config);
        for index in 0..2 + world.dice.below(4) {
            let plan = Plan::random(&mut world.dice, &format!("p{index}"));
            world.plans.push(plan);
        }
        world.declare();
        world.boot_all();
        if config.faults != Faults::NONE {
            world.after(SECOND, Event::Fault);
        }
        if config.people {
            world.after(SECOND, Event::People);
        }
        world
    }

    pub(crate) fn boot_all(&mut self) {
        for place in 0..self.config.schedulers {
            let delay = self.dice.between(0, SECOND);
            self.after(delay, Event::Boot(place));
        }
    }

    /// Makes the files that are there the truth.
    pub(crate) fn declare(&mut self) {
        let declared: Vec<_> = self.plans.iter().filter(|plan| plan.present).map(Plan::declared).collect();
        let now = self.model.now;
        self.model.declare("", &declared, &[], now).expect("a model does not fail");
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.at + delay, self.serial), event);
    }

    pub(crate) fn breaks(&self, mutation: Mutation) -> bool {
        self.config.mutation == Some(mutation)
    }

    pub(crate) fn violated(&mut self, sentence: String) {
        self.note(|| format!("VIOLATED: {sentence}"));
        self.violations.push(sentence);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            if log.len() >= 2000 {
                log.pop_front();
            }
            log.push_back(format!("{:>12.6} {}", self.at as f64 / 1e6, line()));
        }
    }

    /// Lets things happen until a moment, or until something is violated.
    pub(crate) fn run_until(&mut self, end: u64) {
        self.run_while(end, |_| true);
    }

    /// Lets things happen while a condition holds. False where it still holds at the end.
    pub(crate) fn run_while(&mut self, end: u64, holds: impl Fn(&Self) -> bool) -> bool {
        while self.violations.is_empty() && holds(self) {
            match self.events.first_key_value() {
                Some(((at, _), _)) if *at <= end => {}
                _ => {
                    self.pass_to(self.at.max(end));
                    return false;
                }
            }
            let ((at, serial), event) = self.events.pop_first().expect("looked at above");
            self.pass_to(at);
            self.steps += 1;
            self.trace = (self.trace ^ at ^ serial.rotate_left(32) ^ self.dice.0).wrapping_mul(0x0100_0000_01B3);
            self.happen(event);
        }
        true
    }

    fn pass_to(&mut self, at: u64) {
        self.at = at;
        self.model.now = self.true_time(at);
    }

    pub(crate) fn true_time(&self, at: u64) -> Timestamp {
        Timestamp(self.config.pace.epoch + i64::try_from(at).unwrap())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(pid, mail) => self.arrive(pid, mail),
            Event::Execute(call) => {
                let changes = call.changes_something();
                self.execute(&call);
                if changes {
                    self.executed += 1;
                    self.look_over();
                }
            }
            Event::Boot(place) => self.boot(place),
            Event::Thaw(pid) => self.thaw(pid),
            Event::Spawn { attempt, run, task, most_us, boot } => self.spawned(attempt, run, task, most_us, boot),
            Event::StepEnds { attempt, outcome } => self.step_ends(attempt, outcome),
            Event::Fault => self.fault(),
            Event::People => self.people(),
        }
    }

    /// Asks the oracle: about what changed after every change, about everything every now and then.
    fn look_over(&mut self) {
        if self.model.is_touched() {
            let snapshot = self.model.touched();
            self.found(oracle::check(&snapshot));
        }
        if self.executed.is_multiple_of(self.config.pace.everything) {
            self.look_at_everything();
        }
    }

    pub(crate) fn look_at_everything(&mut self) {
        let snapshot = self.model.snapshot();
        self.found(oracle::check(&snapshot));
        if let Some(before) = &self.before {
            self.found(oracle::compare(before, &snapshot));
        }
        self.before = Some(snapshot);
    }

    fn found(&mut self, findings: Vec<oracle::Finding>) {
        for finding in findings {
            self.violated(format!("{:?}: {finding}", finding.rule));
        }
    }

    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    /// A step is asked to end.
    pub(crate) fn kill_step(&mut self, attempt: Uuid, how: Stop) {
        let delay = match how {
            Stop::Now => self.dice.between(100, 20_000),
            Stop::Gracefully => self.dice.between(100, SECOND),
        };
        let outcome = Outcome { cause: runstone_core::attempt::Cause::Cancelled, exit_code: None };
        self.after(delay, Event::StepEnds { attempt, outcome });
    }
}
