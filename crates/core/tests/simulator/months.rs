//! A quarter of a year that nobody looks after: calm schedules, and trouble that comes now and then, for minutes to days.
//!
//! The other worlds are about what happens within minutes. These are about what only happens in months: clocks that are
//! changed, outages longer than what is made up for, and the long stretches in which nothing is wrong and nothing may be
//! late. Nothing is looked at every second, so that such a world costs some hundred thousand steps.

use std::collections::{BTreeMap, VecDeque};

use runstone_core::service::oracle::Snapshot;
use runstone_core::service::record::{DeclaredSchedule, FireRecord, ScheduleRecord};
use runstone_core::service::store::ServiceStore;
use runstone_core::time::Timestamp;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::judge::{Report, finish, report};
use crate::model::Mutation;
use crate::people::{compiled, missed};
use crate::plans::{Plan, every};
use crate::world::{Config, Event, Pace, SECOND, World};

const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// From 2027-03-01T00:00:00Z on.
const PACE: Pace = Pace {
    epoch: 1_803_859_200_000_000,
    ttl: 30 * MINUTE,
    margin: 4 * MINUTE,
    renew: 10 * MINUTE,
    poll: 10 * MINUTE,
    everything: 15_000,
};

const QUARTER: u64 = 90;

/// 2027-03-28T01:00:00Z, when clocks in Berlin go from 02:00 to 03:00.
const LEAP: u64 = 27 * DAY + HOUR;

/// How many times each schedule that is never switched off fires in the quarter: the last hour of 28 March is not there.
const FIRES: [(&str, u64); 5] =
    [("feed", 90 * 24 * 4), ("hourly", 90 * 24), ("nightly", 90), ("sync", 90 * 4), ("weekly", 13)];

/// How long a run may be on its way while little is wrong: some wait for three days of others of their line.
const PATIENCE: u64 = 12 * HOUR;

/// The schedule that people do everything with.
const CHANGING: &str = "changing";

/// Something that comes about from outside.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// A process is killed, and started again soon.
    Kill,
    /// No process runs in a place, and some time later one does again.
    Close(usize),
    Open(usize),
    /// A process stands still.
    Pause(u64),
    DatabaseStops(u64),
    DatabaseIsSlow(u64),
    /// The wall clock of a place is that far from the truth from now on.
    Clock(usize, i64),
    PowerFails,
    SupervisorDies,
    Leave,
    /// People pause a schedule, and let it go on, with what it missed or without.
    Hold(usize),
    LetGo(usize, bool),
    /// People change a file.
    Edit(usize),
    /// Nobody does anything: where nothing has been wrong for long, nothing is late.
    Look,
}

/// What is to come about, and until when it lasts.
type Agenda = BTreeMap<(u64, usize), (Deed, u64)>;

#[derive(Debug, Default)]
struct Outlook(Agenda);

impl Outlook {
    /// Trouble in bursts, some hours apart; once, all schedulers are down for a day and a half.
    fn of(dice: &mut Dice, schedulers: usize, days: u64) -> Self {
        let mut agenda = Self::default();
        let end = days.saturating_sub(2) * DAY;
        let dark = dice.between(DAY, end - 3 * DAY);
        let mut at = dice.between(HOUR, DAY);
        while at < end {
            let is_dark = at + 7 * HOUR > dark && at < dark + 38 * HOUR;
            for _ in 0..if is_dark { 0 } else { dice.between(1, 7) } {
                let moment = at + dice.between(0, 2 * HOUR);
                agenda.mishap(dice, moment, schedulers, (days - 1) * DAY);
            }
            at += dice.between(4 * HOUR, 30 * HOUR);
        }
        for place in 0..schedulers {
            agenda.for_some_time(dark, 36 * HOUR, Deed::Close(place), Deed::Open(place));
        }
        // In the night in which clocks are changed, one of them is wrong, and a process dies.
        let hour = i64::try_from(HOUR).unwrap();
        agenda.for_some_time(LEAP - 40 * MINUTE, 3 * HOUR, Deed::Clock(0, hour), Deed::Clock(0, 0));
        agenda.add(LEAP - SECOND, 0, Deed::Kill);
        for quarter in 1..=days * 4 {
            // Some minutes after the hour, when what jitter delays is due, too.
            agenda.add(quarter * 6 * HOUR - 47 * MINUTE, 0, Deed::Look);
        }
        agenda
    }

    fn add(&mut self, at: u64, lasts: u64, deed: Deed) {
        let serial = self.0.len();
        self.0.insert((at, serial), (deed, at + lasts));
    }

    fn for_some_time(&mut self, at: u64, lasts: u64, begins: Deed, ends: Deed) {
        self.add(at, lasts, begins);
        self.add(at + lasts, 0, ends);
    }

    fn mishap(&mut self, dice: &mut Dice, at: u64, schedulers: usize, end: u64) {
        let place = dice.below(schedulers);
        let schedule = dice.below(FIRES.len() + 1);
        match dice.below(20) {
            0..=3 => self.add(at, MINUTE, Deed::Kill),
            4..=5 => {
                let lasts = dice.between(MINUTE, 6 * HOUR);
                self.for_some_time(at, lasts, Deed::Close(place), Deed::Open(place));
            }
            6..=8 => {
                let lasts = dice.between(PACE.ttl / 2, 4 * HOUR);
                self.add(at, lasts, Deed::Pause(lasts));
            }
            9..=10 => {
                let lasts = dice.between(MINUTE, 2 * HOUR);
                self.add(at, lasts, Deed::DatabaseStops(lasts));
            }
            11 => {
                let lasts = dice.between(MINUTE, HOUR);
                self.add(at, lasts, Deed::DatabaseIsSlow(lasts));
            }
            12..=13 => {
                let by = i64::try_from(HOUR).unwrap() * if dice.permille(500) { 1 } else { -1 };
                let lasts = dice.between(HOUR, 10 * HOUR);
                self.for_some_time(at, lasts, Deed::Clock(0, by), Deed::Clock(0, 0));
            }
            14 => self.add(at, MINUTE, Deed::PowerFails),
            15 => self.add(at, MINUTE, Deed::SupervisorDies),
            16 => self.add(at, MINUTE, Deed::Leave),
            17..=18 => {
                let lasts = dice.between(HOUR, 3 * DAY).min(end - at);
                let with_all = dice.permille(500);
                self.for_some_time(at, lasts, Deed::Hold(schedule), Deed::LetGo(schedule, with_all));
            }
            _ => self.add(at, 0, Deed::Edit(if dice.permille(500) { FIRES.len() } else { schedule })),
        }
    }
}

/// A schedule by the clocks of Berlin.
fn cron(pipeline: &str, expression: &str, mut more: Value) -> DeclaredSchedule {
    let dst = json!({"gap": "run_after", "fold": "once"});
    more["timing"] = json!({"cron": {"expression": expression, "tz": "Europe/Berlin", "dst": dst}});
    every(pipeline, pipeline, 0, &more)
}

/// In the order of [`FIRES`], and then the changing one.
fn plans() -> Vec<Plan> {
    let latest = |hours: u64| json!({"window_ms": hours * 3_600_000, "keep": "latest"});
    let all = json!({"window_ms": 3 * 24 * 3_600_000, "keep": "all"});
    let jitter = 10 * 60_000;
    vec![
        Plan::chain("feed", &[60], vec![cron("feed", "*/15 * * * *", json!({"catchup": all}))]).with_retries(2),
        Plan::chain("hourly", &[300, 300], vec![cron("hourly", "0 * * * *", json!({"catchup": latest(6)}))]),
        Plan::chain("nightly", &[3600, 600], vec![cron("nightly", "30 2 * * *", json!({"catchup": latest(24)}))])
            .with_retries(1),
        Plan::chain(
            "sync",
            &[900],
            vec![every("sync", "sync", 6 * 3600, &json!({"jitter_ms": jitter, "overlap": "skip"}))],
        ),
        Plan::chain(
            "weekly",
            &[3600, 3600, 3600],
            vec![cron("weekly", "0 6 * * 1", json!({"catchup": latest(48), "jitter_ms": jitter}))],
        ),
        Plan::chain(CHANGING, &[120], vec![every(CHANGING, CHANGING, 7200, &json!({"overlap": "replace"}))]),
    ]
}

impl World {
    fn come_about(&mut self, deed: Deed) {
        self.note(|| format!("{deed:?}"));
        match deed {
            Deed::Kill => self.anybody().into_iter().for_each(|pid| self.kill(pid)),
            Deed::Close(place) => {
                self.closed.insert(place);
                let there = self.procs.iter().find(|(_, proc)| proc.place == place).map(|(pid, _)| *pid);
                there.into_iter().for_each(|pid| self.kill(pid));
            }
            Deed::Open(place) => {
                self.closed.remove(&place);
                self.after(SECOND, Event::Boot(place));
            }
            Deed::Pause(lasts) => self.anybody().into_iter().for_each(|pid| self.pause(pid, lasts)),
            Deed::DatabaseStops(lasts) => self.down_until = self.down_until.max(self.at + lasts),
            Deed::DatabaseIsSlow(lasts) => self.slow_until = self.slow_until.max(self.at + lasts),
            Deed::Clock(place, by) => {
                self.skew[place] = by;
                self.clock_jumped(place);
            }
            Deed::PowerFails => self.reboot(),
            Deed::SupervisorDies => self.a_supervisor_dies(),
            Deed::Leave => self.somebody_is_to_leave(),
            Deed::Hold(plan) => self.hold(plan, true, false),
            Deed::LetGo(plan, with_all) => self.hold(plan, false, with_all),
            Deed::Edit(plan) => self.edit(plan),
            Deed::Look => {
                self.check_that_nothing_is_late();
                self.check_that_nothing_is_stuck();
            }
        }
    }

    fn check_that_nothing_is_stuck(&mut self) {
        let now = self.model.now;
        let live = self.model.live.values().map(|run| &self.model.submissions[run]);
        let stuck: Vec<_> = live.filter(|one| now.since(one.created) > PATIENCE).map(|one| one.number).collect();
        stuck.into_iter().for_each(|number| self.violated(format!("run #{number} has been on its way for too long")));
    }

    fn hold(&mut self, plan: usize, paused: bool, with_all: bool) {
        let name = self.plans[plan].name.clone();
        if name == "nightly" {
            return;
        }
        let ids: Vec<_> = self.model.schedules.values().filter(|one| one.pipeline == name).map(|one| one.id).collect();
        let now = self.model.now;
        self.model.set_paused(&ids, paused, with_all, now, &missed(now)).expect("a model does not fail");
    }

    /// What does not touch the timing changes nothing about the fires; whatever does begins anew.
    fn edit(&mut self, plan: usize) {
        if self.plans[plan].name == CHANGING {
            match self.dice.below(4) {
                0 => self.plans[plan].present = !self.plans[plan].present,
                1 => self.plans[plan].schedules[0].enabled ^= true,
                _ => {
                    let seconds = 900 * self.dice.between(1, 40);
                    self.plans[plan].schedules = vec![every(CHANGING, CHANGING, seconds, &json!({"overlap": "allow"}))];
                }
            }
        } else {
            let number = self.dice.below(100);
            let spec = &mut self.plans[plan].schedules[0].spec;
            spec["priority"] = json!(number % 3);
            spec["schedule"]["params"] = json!({"number": number});
        }
        self.declare();
    }
}

/// What came of some months.
#[derive(Debug)]
struct Months {
    report: Report,
    mishaps: usize,
    /// How often nothing had been wrong for long, and nothing was late.
    calm_looks: usize,
    /// Fire times decided, by schedule.
    decided: BTreeMap<String, u64>,
    /// What was decided of the schedule of 02:30, which people never pause.
    nightly: Vec<FireRecord>,
    /// Fires without a run, by the reason.
    skipped: BTreeMap<String, u64>,
}

fn live(seed: u64, days: u64, mutation: Option<Mutation>, logged: bool) -> Months {
    let schedulers = 2 + usize::try_from(seed % 2).unwrap();
    let mut world = World::empty(seed, Config { pace: PACE, stragglers: 5, mutation, ..Config::quiet(schedulers) });
    world.log = logged.then(VecDeque::new);
    // Every now and then an answer is lost.
    world.flaky = 1;
    world.plans = plans();
    world.declare();
    world.boot_all();
    let agenda = Outlook::of(&mut world.dice, schedulers, days).0;
    let (mut trouble, mut mishaps, mut calm_looks) = (0, 0, 0);
    for ((at, _), (deed, until)) in agenda.range(..(days * DAY, 0)) {
        world.run_until(*at);
        if !matches!(deed, Deed::Look) {
            (trouble, mishaps) = (trouble.max(*until), mishaps + 1);
        } else if *at < trouble + 2 * PACE.ttl {
            continue;
        } else {
            calm_looks += 1;
        }
        world.come_about(*deed);
    }
    world.run_until(days * DAY);
    finish(&mut world);
    let snapshot = world.model.snapshot();
    check_fires(&mut world, &snapshot);
    let decided = decided(&world, &snapshot, days * DAY);
    let nightly = snapshot.schedules.iter().find(|one| one.name == "nightly").expect("it is declared");
    let nightly = rows_of(nightly, &snapshot).into_iter().cloned().collect();
    Months { mishaps, calm_looks, decided, nightly, skipped: skipped(&snapshot), report: report(world) }
}

/// Whatever was in force: each of its fire times up to its cursor is in one row, and the rows hold nothing else.
fn check_fires(world: &mut World, snapshot: &Snapshot) {
    for schedule in snapshot.schedules.iter().chain(&snapshot.former_schedules) {
        let compiled = compiled(schedule).expect("a schedule of this file");
        let rows = rows_of(schedule, snapshot);
        let mut expected = 0;
        for fire in compiled.fires(schedule.activated).take_while(|fire| *fire <= schedule.cursor) {
            expected += 1;
            let (before, _) = rows.split_at(rows.partition_point(|row| row.time <= fire));
            let covers = before.iter().rev().take(2).filter(|row| row.until >= fire).count();
            if covers != 1 {
                world.violated(format!("{} decided {} {covers} times", schedule.name, fire.0));
            }
        }
        let counted = compiled.count_between(schedule.activated, schedule.cursor);
        let on_record = rows.iter().map(|row| row.count).sum::<u64>();
        if (counted, on_record) != (expected, expected) {
            let name = format!("{} (generation {})", schedule.name, schedule.generation);
            world.violated(format!("{name}: {expected} fire times, {counted} counted, {on_record} on record"));
        }
    }
}

fn rows_of<'s>(schedule: &ScheduleRecord, snapshot: &'s Snapshot) -> Vec<&'s FireRecord> {
    let is_of_it = |row: &&FireRecord| (row.schedule, row.generation) == (schedule.id, schedule.generation);
    let mut rows: Vec<&FireRecord> = snapshot.fires.iter().filter(is_of_it).collect();
    rows.sort_by_key(|row| row.time);
    rows
}

/// How many fire times up to a moment were decided.
fn decided(world: &World, snapshot: &Snapshot, until: u64) -> BTreeMap<String, u64> {
    let until = world.true_time(until);
    let names = snapshot.schedules.iter().map(|one| (one.id, one.name.clone())).collect::<BTreeMap<_, _>>();
    let mut counts = BTreeMap::new();
    for row in snapshot.fires.iter().filter(|row| row.time <= until) {
        *counts.entry(names[&row.schedule].clone()).or_default() += row.count;
    }
    counts
}

fn skipped(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (reason, row) in snapshot.fires.iter().filter_map(|row| Some((row.reason.as_deref()?, row))) {
        let kind = if reason.starts_with("run #") { "overlap" } else { reason };
        *counts.entry(kind.to_owned()).or_default() += row.count;
    }
    counts
}

fn check(seed: u64) -> Months {
    let months = live(seed, QUARTER, None, false);
    if !months.report.violations.is_empty() {
        let log = live(seed, QUARTER, None, true).report.log;
        panic!("seed {seed}: {:#?}\n{}", months.report.violations, log[log.len().saturating_sub(100)..].join("\n"));
    }
    for (name, count) in FIRES {
        assert_eq!(months.decided[name], count, "seed {seed}: {name}");
    }
    // 02:30 was not there that night; it fires at 03:00, in a row of its own.
    let hour = i64::try_from(HOUR).unwrap();
    let leap = Timestamp(PACE.epoch + i64::try_from(LEAP).unwrap());
    let that_night =
        |row: &&FireRecord| row.until >= Timestamp(leap.0 - 20 * hour) && row.time <= Timestamp(leap.0 + 20 * hour);
    let times: Vec<_> = months.nightly.iter().filter(that_night).map(|row| (row.time, row.until, row.count)).collect();
    assert_eq!(times, [(leap, leap, 1)], "seed {seed}");
    months
}

/// `SIMULATOR_QUARTERS=20 cargo test --release -p runstone-core --test simulator months -- --nocapture` for a long one;
/// `SIMULATOR_FROM` says where to begin.
#[test]
fn nobody_looks_after_it_for_a_quarter_of_a_year_and_every_fire_is_decided_once() {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (from, count) = (number("SIMULATOR_FROM", 4), number("SIMULATOR_QUARTERS", 1));
    for seed in from..from + count {
        let began = std::time::Instant::now();
        let Months { report, mishaps, calm_looks, decided, skipped, .. } = check(seed);
        let Report { steps, runs, attempts, .. } = report;
        let fires: u64 = decided.values().sum();
        let took = began.elapsed().as_secs_f64();
        println!(
            "seed {seed}: {mishaps} mishaps, {steps} steps, {fires} fire times ({skipped:?} without a run), {runs} runs, \
             {attempts} attempts, {calm_looks} calm looks, {took:.1} s"
        );
        assert!(runs > 9000 && mishaps > 200 && calm_looks > 50);
    }
}

#[test]
fn the_same_seed_gives_the_same_months() {
    let (one, other) = (live(7, 8, None, false), live(7, 8, None, true));
    assert_eq!(one.report.violations, [""; 0]);
    assert_eq!((one.report.trace, one.report.steps), (other.report.trace, other.report.steps));
    assert_eq!((one.decided, one.nightly), (other.decided, other.nightly));
    assert_ne!(one.report.trace, live(9, 8, None, false).report.trace);
}

#[test]
fn a_fire_that_is_decided_twice_in_calm_months_is_found() {
    let violations = live(7, 8, Some(Mutation::FiresWithoutCursor), false).report.violations;
    assert!(violations.iter().any(|one| one.contains("FireOnce: ") || one.contains("fire times")), "{violations:?}");
}
