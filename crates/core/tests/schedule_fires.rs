//! Fire times as people know them: named zones and their odd days, patterns against the library they come from, and
//! what must hold of every schedule.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::cmp::Ordering;
use std::time::Duration;

use croner::errors::CronError;
use croner::{CivilDateTime, CronDateTime, Resolution, Weekday};
use indexmap::IndexMap;
use proptest::prelude::*;
use runstone_core::name::Name;
use runstone_core::schedule::{
    Catchup, Compiled, Dst, Fold, Gap, Overlap, PatternError, Schedule, ScheduleError, Timing, Zone,
};
use runstone_core::time::Timestamp;

fn schedule(timing: Timing) -> Schedule {
    Schedule {
        name: Name::new("main").unwrap(),
        timing,
        catchup: Catchup::default(),
        overlap: Overlap::Queue,
        jitter: Duration::ZERO,
        start: None,
        end: None,
        enabled: true,
        params: IndexMap::new(),
    }
}

fn cron(expression: &str, tz: &str, dst: Dst) -> Result<Compiled, ScheduleError> {
    schedule(Timing::Cron { expression: expression.to_owned(), tz: Zone::named(tz).unwrap(), dst }).compile()
}

fn every(interval: Duration) -> Schedule {
    schedule(Timing::Every { interval })
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn shown(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).unwrap().to_string()
}

/// The fires in `from..until`.
fn between(schedule: &Compiled, from: &str, until: &str) -> Vec<String> {
    let until = at(until);
    let fires = schedule.fires(Timestamp(at(from).0 - 1)).take_while(|fire| *fire < until);
    fires.map(shown).collect()
}

const KEPT: Dst = Dst { gap: Gap::RunAfter, fold: Fold::Once };
const BARE: Dst = Dst { gap: Gap::Skip, fold: Fold::Twice };

#[test]
fn berlin_in_spring_and_autumn() {
    let nightly = cron("30 2 * * *", "Europe/Berlin", KEPT).unwrap();
    let spring = between(&nightly, "2026-03-28T00:00Z", "2026-03-31T00:00Z");
    assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let autumn = between(&nightly, "2026-10-24T12:00Z", "2026-10-26T12:00Z");
    assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let bare = cron("30 2 * * *", "Europe/Berlin", BARE).unwrap();
    assert_eq!(between(&bare, "2026-03-28T12:00Z", "2026-03-29T12:00Z"), [] as [&str; 0]);
    let autumn = between(&bare, "2026-10-24T12:00Z", "2026-10-25T12:00Z");
    assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
}

#[test]
fn all_times_of_a_gap_fire_once_and_with_one_that_is_due_anyway() {
    let many = cron("*/15 2,3 * * *", "Europe/Berlin", KEPT).unwrap();
    let spring = between(&many, "2026-03-29T00:00Z", "2026-03-29T02:00Z");
    let quarters = ["2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z", "2026-03-29T01:30:00Z", "2026-03-29T01:45:00Z"];
    assert_eq!(spring, quarters);
}

#[test]
fn an_interval_pattern_fires_by_what_the_clock_shows() {
    let hourly = cron("@hourly", "Europe/Berlin", KEPT).unwrap();
    assert_eq!(between(&hourly, "2026-03-29T00:00Z", "2026-03-29T04:00Z").len(), 4, "real hours, none lost");
    assert_eq!(between(&hourly, "2026-10-25T00:00Z", "2026-10-25T04:00Z").len(), 4, "both hours called two");
}

#[test]
fn half_an_hour_on_lord_howe() {
    // 02:00 becomes 02:30 on 2026-10-04, and 02:00 becomes 01:30 on 2026-04-05.
    let nightly = cron("15 2 * * *", "Australia/Lord_Howe", KEPT).unwrap();
    let gap = between(&nightly, "2026-10-03T00:00Z", "2026-10-04T00:00Z");
    assert_eq!(gap, ["2026-10-03T15:30:00Z"]);
    let nightly = cron("45 1 * * *", "Australia/Lord_Howe", BARE).unwrap();
    let fold = between(&nightly, "2026-04-04T00:00Z", "2026-04-05T00:00Z");
    assert_eq!(fold, ["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"]);
}

#[test]
fn midnight_in_cairo_does_not_always_exist() {
    // Clocks go from 00:00 to 01:00 on 2026-04-24, and from 24:00 to 23:00 on 2026-10-29.
    let daily = cron("@daily", "Africa/Cairo", KEPT).unwrap();
    let spring = between(&daily, "2026-04-23T00:00Z", "2026-04-25T00:00Z");
    assert_eq!(spring, ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]);
    let late = cron("30 23 * * *", "Africa/Cairo", KEPT).unwrap();
    assert_eq!(between(&late, "2026-10-29T12:00Z", "2026-10-30T12:00Z"), ["2026-10-29T20:30:00Z"]);
}

#[test]
fn the_day_that_apia_left_out() {
    // After 2011-12-29 came 2011-12-31.
    let daily = cron("0 9 * * *", "Pacific/Apia", KEPT).unwrap();
    let days = between(&daily, "2011-12-29T00:00Z", "2011-12-31T00:00Z");
    assert_eq!(days, ["2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"]);
    let bare = cron("0 9 * * *", "Pacific/Apia", BARE).unwrap();
    let days = between(&bare, "2011-12-29T00:00Z", "2011-12-31T00:00Z");
    assert_eq!(days, ["2011-12-29T19:00:00Z", "2011-12-30T19:00:00Z"]);
}

#[test]
fn a_zone_that_stopped_changing_its_rules_after_a_change_of_its_own() {
    // Juárez went from UTC−6 to UTC−7 in November, outside of any rule.
    let daily = cron("5 23 * * *", "America/Ciudad_Juarez", KEPT).unwrap();
    assert_eq!(between(&daily, "2022-11-30T00:00Z", "2022-11-30T12:00Z"), ["2022-11-30T05:05:00Z"]);
}

#[test]
fn seconds_names_and_the_days_that_only_a_calendar_knows() {
    let fires = |expression: &str, from: &str, count: usize| -> Vec<String> {
        let schedule = cron(expression, "UTC", KEPT).unwrap();
        schedule.fires(at(from)).take(count).map(shown).collect()
    };
    assert_eq!(fires("*/20 * * * * *", "2026-01-01T00:00:05.5Z", 2), ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z"]);
    assert_eq!(fires("0 0 L 2 *", "2027-01-01T00:00Z", 2), ["2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"]);
    assert_eq!(fires("0 0 15W * *", "2026-01-01T00:00Z", 2), ["2026-01-15T00:00:00Z", "2026-02-16T00:00:00Z"]);
    assert_eq!(fires("0 0 * * FRI#2", "2026-01-01T00:00Z", 2), ["2026-01-09T00:00:00Z", "2026-02-13T00:00:00Z"]);
    assert_eq!(fires("0 0 * JAN MON-TUE", "2026-01-01T00:00Z", 2), ["2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"]);
    assert_eq!(fires("0 0 * * FRIL", "2026-01-01T00:00Z", 1), ["2026-01-30T00:00:00Z"]);
    // Either of the day fields, as in every cron.
    assert_eq!(fires("0 0 13 * FRI", "2026-01-01T00:00Z", 2), ["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]);
    assert_eq!(fires("@weekly", "2026-01-01T00:00Z", 1), ["2026-01-04T00:00:00Z"]);
    assert_eq!(fires("@yearly", "2026-01-01T00:00Z", 1), ["2027-01-01T00:00:00Z"]);
    assert_eq!(fires("0 0 29 2 *", "2096-03-01T00:00Z", 1), ["2104-02-29T00:00:00Z"]);
}

#[test]
fn a_pattern_that_can_never_match_is_refused_at_once() {
    let reason = |expression: &str| match cron(expression, "UTC", KEPT) {
        Err(ScheduleError::Pattern { source, .. }) => source,
        other => panic!("{expression}: {other:?}"),
    };
    assert_eq!(reason("0 0 30 2 *"), PatternError::Never);
    assert_eq!(reason("0 0 31 4,6,9,11 *"), PatternError::Never);
    assert_eq!(reason("@reboot").to_string(), "@reboot is not one of @hourly, @daily, @weekly, @monthly, @yearly");
    let minute = "its minute `61`, which takes 0-59, cannot be read: number out of bounds";
    assert_eq!(reason("61 * * * *").to_string(), minute);
    let hour = "its hour `2x`, which takes 0-23, cannot be read: illegal character 'X' in part '2X'";
    assert_eq!(reason("0 0 2x * * *").to_string(), hour);
    assert_eq!(reason("* * * *").to_string(), "it has 4 fields, and a pattern has 5, or 6 with seconds first");
    for text in ["", "* * * * * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *", "0 0 * * MON#6", "-1 * * * *", "@"] {
        assert!(cron(text, "UTC", KEPT).is_err(), "{text}");
    }
}

#[test]
fn an_interval_counts_from_its_start_and_never_drifts() {
    let mut spec = every(Duration::from_secs(90));
    let from_epoch = spec.compile().unwrap();
    assert_eq!(from_epoch.after(Timestamp(0)), Some(Timestamp(90_000_000)));
    assert_eq!(from_epoch.after(Timestamp(-1)), Some(Timestamp(0)));
    spec.start = Some(at("2026-01-01T00:00:07Z"));
    spec.end = Some(at("2026-01-01T00:03:07Z"));
    let anchored = spec.compile().unwrap();
    let fires: Vec<String> = anchored.fires(Timestamp(0)).map(shown).collect();
    assert_eq!(fires, ["2026-01-01T00:00:07Z", "2026-01-01T00:01:37Z"], "the start fires, the end does not");
    assert_eq!(every(Duration::from_millis(999)).compile().unwrap_err(), ScheduleError::TooOften);
}

#[test]
fn start_and_end_bound_a_pattern() {
    let mut spec = schedule(Timing::Cron { expression: "@daily".to_owned(), tz: Zone::utc(), dst: KEPT });
    spec.start = Some(at("2026-01-02T00:00Z"));
    spec.end = Some(at("2026-01-04T00:00Z"));
    let fires: Vec<String> = spec.compile().unwrap().fires(Timestamp(0)).map(shown).collect();
    assert_eq!(fires, ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    for schedule in
        [cron("* * * * *", "Europe/Berlin", KEPT).unwrap(), every(Duration::from_secs(1)).compile().unwrap()]
    {
        let _ = schedule.after(Timestamp(i64::MAX));
        assert!(schedule.after(Timestamp(i64::MIN)).is_some());
        assert!(schedule.count_between(at("2026-01-01T00:00Z"), at("2126-01-01T00:00Z")) > 50_000_000);
        let _ = schedule.last_between(Timestamp(0), Timestamp(i64::MAX));
    }
    assert_eq!(cron("* * * * *", "Europe/Berlin", KEPT).unwrap().after(Timestamp(i64::MAX)), None);
}

/// Local time for the library, as though there were no zones.
#[derive(Clone, Debug)]
struct Wall(jiff::civil::DateTime);

impl CronDateTime for Wall {
    fn to_civil(&self) -> CivilDateTime {
        let part = |number: i8| u32::try_from(number).unwrap();
        let (date, time) = (self.0.date(), self.0.time());
        CivilDateTime::from_ymd_hms(
            i32::from(date.year()),
            part(date.month()),
            part(date.day()),
            part(time.hour()),
            part(time.minute()),
            part(time.second()),
        )
        .unwrap()
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::try_from(self.0.weekday().to_sunday_zero_offset()).unwrap())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |number: u32| i8::try_from(number).unwrap();
        let date = (i16::try_from(civil.year()).unwrap(), part(civil.month()), part(civil.day()));
        let (hour, minute, second) = (part(civil.hour()), part(civil.minute()), part(civil.second()));
        Ok(Resolution::Single(Self(jiff::civil::date(date.0, date.1, date.2).at(hour, minute, second, 0))))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(jiff::SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

fn field(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(values)
}

prop_compose! {
    fn expression()(
        second in field(&["", "0 ", "*/7 ", "5,59 ", "* "]),
        minute in field(&["*", "0", "30", "*/15", "7-9,50", "59"]),
        hour in field(&["*", "0", "2", "*/5", "1-3", "2,23"]),
        day in field(&["*", "1", "31", "29", "L", "15W", "1W", "LW", "*/10", "?"]),
        month in field(&["*", "2", "JAN,MAR", "*/3", "12"]),
        weekday in field(&["*", "MON-FRI", "SUN", "7", "5#2", "5L", "?", "+MON", "1,3"]),
    ) -> String {
        format!("{second}{minute} {hour} {day} {month} {weekday}")
    }
}

fn zone() -> impl Strategy<Value = &'static str> {
    field(&["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"])
}

prop_compose! {
    fn any_schedule()(
        cron_or_every in prop::option::of((expression(), zone(), any::<bool>(), any::<bool>())),
        interval in 1..200_000u64,
        start in prop::option::of(0..2_000_000_000i64),
    ) -> Option<Compiled> {
        let timing = match cron_or_every {
            Some((expression, tz, skip, twice)) => Timing::Cron {
                expression,
                tz: Zone::named(tz).unwrap(),
                dst: Dst {
                    gap: if skip { Gap::Skip } else { Gap::RunAfter },
                    fold: if twice { Fold::Twice } else { Fold::Once },
                },
            },
            None => Timing::Every { interval: Duration::from_secs(interval) },
        };
        let start = start.map(|start| Timestamp(start * 1_000_000));
        // Some patterns never match.
        Schedule { start, ..schedule(timing) }.compile().ok()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// In UTC, the walk over bits finds what the library finds.
    #[test]
    fn patterns_mean_what_the_library_says(expression in expression(), from in 0..4_000_000_000i64) {
        let library: croner::Cron = expression.parse().unwrap();
        let Ok(ours) = cron(&expression, "UTC", KEPT) else {
            let from = Wall(jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0));
            prop_assert!(library.find_next_occurrence(&from, true).is_err(), "{}", expression);
            return Ok(());
        };
        let mut last = jiff::Timestamp::from_second(from).unwrap();
        for _ in 0..20 {
            let wall = Wall(jiff::tz::Offset::UTC.to_datetime(last));
            let expected = library.find_next_occurrence(&wall, false).unwrap();
            let found = ours.after(Timestamp(last.as_microsecond())).unwrap();
            last = jiff::Timestamp::from_microsecond(found.0).unwrap();
            prop_assert_eq!(jiff::tz::Offset::UTC.to_datetime(last), expected.0, "{}", expression);
        }
    }

    /// Fires are in order, and the same wherever one starts to look.
    #[test]
    fn fires_do_not_depend_on_who_looks(schedule in any_schedule(), from in 0..2_000_000_000i64, share in 0.0..1.0f64) {
        let Some(schedule) = schedule else { return Ok(()) };
        let from = Timestamp(from * 1_000_000 + 123);
        let fires: Vec<Timestamp> = schedule.fires(from).take(30).collect();
        prop_assert!(fires.is_sorted_by(|a, b| a < b));
        for pair in fires.windows(2) {
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "anywhere between will do")]
            let between = Timestamp(pair[0].0 + ((pair[1].0 - pair[0].0 - 1) as f64 * share) as i64);
            prop_assert_eq!(schedule.after(between), Some(pair[1]));
        }
    }

    /// Counting and looking back agree with walking.
    #[test]
    fn counting_is_walking(schedule in any_schedule(), from in 0..2_000_000_000i64, span in 0..1_000_000i64) {
        let Some(schedule) = schedule else { return Ok(()) };
        let (from, until) = (Timestamp(from * 1_000_000 + 7), Timestamp((from + span) * 1_000_000));
        let fires: Vec<Timestamp> = schedule.fires(from).take_while(|fire| *fire <= until).take(20_000).collect();
        prop_assume!(fires.len() < 20_000);
        prop_assert_eq!(schedule.count_between(from, until), fires.len() as u64);
        prop_assert_eq!(schedule.last_between(from, until), fires.last().copied());
    }

    /// Jitter is less than its bound and always the same.
    #[test]
    fn jitter_is_bounded_and_no_chance(key in ".{0,20}", fire in any::<i32>(), jitter in 1..100_000u64) {
        let mut spec = every(Duration::from_secs(60));
        spec.jitter = Duration::from_millis(jitter);
        let (schedule, fire) = (spec.compile().unwrap(), Timestamp(i64::from(fire) * 1000));
        let due = schedule.due(&key, fire);
        prop_assert!(due >= fire && due.since(fire) < jitter * 1000);
        prop_assert_eq!(due, spec.compile().unwrap().due(&key, fire));
    }
}
