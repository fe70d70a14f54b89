//! What becomes of missed fires: examples, and what must hold whenever anybody looks.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use proptest::prelude::*;
use runstone_core::name::Name;
use runstone_core::schedule::{
    Catchup, Compiled, Decided, Decision, Dst, Keep, MOST_FIRES, Missed, Overlap, Schedule, Timing, Zone, decide,
};
use runstone_core::time::Timestamp;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// 2026-01-01T00:00Z.
const NEW_YEAR: i64 = 1_767_225_600 * SECOND;
const GRACE: Duration = Duration::from_secs(60);

fn schedule(expression: &str, catchup: Catchup, jitter: Duration) -> Compiled {
    let spec = Schedule {
        name: Name::new("main").unwrap(),
        timing: Timing::Cron { expression: expression.to_owned(), tz: Zone::utc(), dst: Dst::default() },
        catchup,
        overlap: Overlap::Queue,
        jitter,
        start: None,
        end: None,
        enabled: true,
        params: IndexMap::new(),
    };
    spec.compile().unwrap()
}

fn keep(keep: Keep, window: i64) -> Catchup {
    Catchup { window: Duration::from_micros(u64::try_from(window).unwrap()), keep }
}

/// Decides for an hourly schedule, last looked at at midnight, now 05:00:30.
fn after_five_hours(catchup: Catchup) -> Decided {
    let hourly = schedule("@hourly", catchup, Duration::ZERO);
    decide(&hourly, "k", Timestamp(NEW_YEAR), Timestamp(NEW_YEAR + 5 * HOUR + 30 * SECOND), GRACE)
}

fn fire(hour: i64) -> Decision {
    Decision::Fire { time: Timestamp(NEW_YEAR + hour * HOUR) }
}

fn skip(from: i64, until: i64, reason: Missed) -> Decision {
    let count = u64::try_from(until - from + 1).unwrap();
    Decision::Skip { from: Timestamp(NEW_YEAR + from * HOUR), until: Timestamp(NEW_YEAR + until * HOUR), count, reason }
}

#[test]
fn the_latest_missed_one_is_made_up() {
    let decided = after_five_hours(Catchup::default());
    assert_eq!(decided.decisions, [skip(1, 3, Missed::Superseded), fire(4), fire(5)]);
    assert_eq!((decided.cursor, decided.more), (Timestamp(NEW_YEAR + 5 * HOUR), false));
}

#[test]
fn what_is_older_than_the_window_is_left() {
    let decided = after_five_hours(keep(Keep::Latest, 30 * SECOND));
    assert_eq!(decided.decisions, [skip(1, 4, Missed::TooOld), fire(5)]);
    let decided = after_five_hours(keep(Keep::All, 2 * HOUR + 30 * SECOND));
    assert_eq!(decided.decisions, [skip(1, 2, Missed::TooOld), fire(3), fire(4), fire(5)]);
}

#[test]
fn none_keeps_what_is_on_time() {
    let decided = after_five_hours(keep(Keep::None, 24 * HOUR));
    assert_eq!(decided.decisions, [skip(1, 4, Missed::NotKept), fire(5)]);
}

#[test]
fn a_month_of_missed_seconds_is_one_row() {
    let secondly = schedule("* * * * * *", keep(Keep::Latest, HOUR), Duration::ZERO);
    let now = Timestamp(NEW_YEAR + 30 * 24 * HOUR);
    let decided = decide(&secondly, "k", Timestamp(NEW_YEAR), now, Duration::from_secs(2));
    let counts: Vec<u64> = decided
        .decisions
        .iter()
        .map(|decision| if let Decision::Skip { count, .. } = decision { *count } else { 1 })
        .collect();
    assert_eq!(counts, [30 * 86_400 - 3601, 3597, 1, 1, 1, 1], "too old, superseded, the latest, three on time");
    assert_eq!(decided.cursor, now);
}

#[test]
fn many_are_made_up_in_several_calls() {
    let minutely = schedule("* * * * *", keep(Keep::All, 2 * 24 * HOUR), Duration::ZERO);
    let now = Timestamp(NEW_YEAR + 24 * HOUR);
    let (mut cursor, mut calls, mut fires) = (Timestamp(NEW_YEAR), 0, 0);
    loop {
        let decided = decide(&minutely, "k", cursor, now, GRACE);
        assert!(decided.decisions.len() <= MOST_FIRES);
        (cursor, calls, fires) = (decided.cursor, calls + 1, fires + decided.decisions.len());
        if !decided.more {
            break;
        }
    }
    assert_eq!((fires, calls), (1440, 2));
}

#[test]
fn nothing_is_decided_before_it_is_due() {
    let hourly = schedule("@hourly", Catchup::default(), Duration::from_secs(600));
    let fire = Timestamp(NEW_YEAR + HOUR);
    let due = hourly.due("k", fire);
    let at = |now: i64| decide(&hourly, "k", Timestamp(NEW_YEAR), Timestamp(now), GRACE).decisions;
    assert_eq!(at(due.0 - 1), []);
    assert_eq!(at(due.0), [Decision::Fire { time: fire }]);
    assert_eq!(at(fire.0 + 600 * SECOND + 60 * SECOND), [Decision::Fire { time: fire }]);
}

/// Everything that was decided, fire by fire, and when.
struct Account {
    fired: BTreeMap<Timestamp, Timestamp>,
    skipped: BTreeMap<Timestamp, (Timestamp, Missed)>,
}

impl Account {
    /// Looks at `schedule` at each of the times, and checks that the decisions are in order and count what they say.
    fn of(schedule: &Compiled, start: Timestamp, looks: &[Timestamp]) -> (Self, Timestamp) {
        let mut account = Self { fired: BTreeMap::new(), skipped: BTreeMap::new() };
        let mut cursor = start;
        for now in looks {
            loop {
                let decided = decide(schedule, "k", cursor, *now, GRACE);
                for decision in &decided.decisions {
                    let (from, until, count) = match *decision {
                        Decision::Fire { time } => (time, time, 1),
                        Decision::Skip { from, until, count, .. } => (from, until, count),
                    };
                    let times: Vec<Timestamp> = schedule.fires(cursor).take_while(|time| *time <= until).collect();
                    assert_eq!((times.first(), times.last()), (Some(&from), Some(&until)), "a fire was left out");
                    assert_eq!(times.len() as u64, count);
                    for time in times {
                        match *decision {
                            Decision::Fire { .. } => drop(account.fired.insert(time, *now)),
                            Decision::Skip { reason, .. } => drop(account.skipped.insert(time, (*now, reason))),
                        }
                    }
                    cursor = until;
                }
                assert_eq!(cursor, decided.cursor);
                if !decided.more {
                    break;
                }
            }
        }
        (account, cursor)
    }
}

fn keeps() -> impl Strategy<Value = Keep> {
    prop::sample::select(&[Keep::Latest, Keep::All, Keep::None][..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever anybody looks, every fire is decided exactly once, by the rules.
    #[test]
    fn every_fire_is_decided_once_and_by_the_rules(
        expression in prop::sample::select(&["*/7 * * * *", "@hourly", "*/20 * * * * *", "3 */4 * * *"][..]),
        keep in keeps(),
        window in 0..12 * 60i64,
        jitter in prop::sample::select(&[0u64, 5, 600][..]),
        pauses in prop::collection::vec(prop_oneof![-60..60i64, 0..900i64, 0..30_000i64], 1..40),
    ) {
        let window = window * MINUTE;
        let catchup = self::keep(keep, window);
        let schedule = schedule(expression, catchup, Duration::from_secs(jitter));
        let late = i64::try_from(jitter).unwrap() * SECOND + 60 * SECOND;
        let start = Timestamp(NEW_YEAR);
        // A clock may also go back.
        let looks: Vec<Timestamp> = pauses.iter().scan(NEW_YEAR, |now, pause| {
            *now += pause * SECOND;
            Some(Timestamp(*now))
        }).collect();
        let (account, cursor) = Account::of(&schedule, start, &looks);
        let last = *looks.iter().max().unwrap();

        for (fire, now) in &account.fired {
            prop_assert!(!account.skipped.contains_key(fire));
            prop_assert!(*now >= *fire, "before its time");
            let missed = now.0 > fire.0 + late;
            if missed {
                prop_assert!(keep != Keep::None && now.0 - fire.0 <= window);
                let newer = schedule.last_between(*fire, Timestamp(now.0 - late - 1));
                prop_assert!(keep == Keep::All || newer.is_none(), "not the latest");
            }
        }
        for (fire, (now, reason)) in &account.skipped {
            prop_assert!(now.0 > fire.0 + late, "on time, and skipped");
            match reason {
                Missed::TooOld => prop_assert!(keep != Keep::None && now.0 - fire.0 > window),
                Missed::Superseded => {
                    prop_assert!(keep == Keep::Latest && now.0 - fire.0 <= window);
                    prop_assert!(account.fired.range(*fire..).any(|(_, at)| at == now), "nothing ran instead");
                }
                Missed::NotKept => prop_assert_eq!(keep, Keep::None),
            }
        }
        // None is left that was due without its jitter.
        let left = schedule.last_between(cursor, Timestamp(last.0 - late));
        prop_assert_eq!(left, None);
        let decided = account.fired.len() + account.skipped.len();
        prop_assert_eq!(schedule.count_between(start, cursor), decided as u64);
    }
}
