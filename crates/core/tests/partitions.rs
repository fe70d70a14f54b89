//! Partitions: keys, the time they stand for, and that slices cover time without gaps.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use runstone_core::partition::{Key, KeyError, Partitioning, Slices, Unit};
use runstone_core::schedule::Zone;
use runstone_core::time::Timestamp;

fn slices(unit: Unit, tz: &str, start: &str, end: Option<&str>) -> Partitioning {
    Partitioning::Time(Slices::new(unit, Zone::named(tz).unwrap(), start, end).unwrap())
}

fn list(values: &[&str]) -> Partitioning {
    Partitioning::List(values.iter().map(|value| Key::new(value).unwrap()).collect())
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn shown(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).unwrap().to_string()
}

fn keys(partitioning: &Partitioning, from: &str, to: &str) -> Vec<String> {
    let (from, to) = partitioning.range(from, to).unwrap();
    partitioning.keys(&from, &to).map(|key| key.to_string()).collect()
}

fn bounds(partitioning: &Partitioning, key: &str) -> [String; 2] {
    let (from, to) = partitioning.bounds(&partitioning.parse(key).unwrap()).unwrap();
    [from, to].map(shown)
}

#[test]
fn each_unit_has_its_keys() {
    let first = |unit| slices(unit, "UTC", "2026-01-05", None).first().unwrap().to_string();
    assert_eq!(
        [Unit::Hour, Unit::Day, Unit::Week, Unit::Month].map(first),
        ["2026-01-05T00", "2026-01-05", "2026-W02", "2026-01"]
    );
    let weeks = slices(Unit::Week, "UTC", "2020-W50", None);
    assert_eq!(keys(&weeks, "2020-W52", "2021-W02"), ["2020-W52", "2020-W53", "2021-W01", "2021-W02"]);
    assert_eq!(bounds(&weeks, "2021-W01"), ["2021-01-04T00:00:00Z", "2021-01-11T00:00:00Z"]);
    let months = slices(Unit::Month, "UTC", "2025-11", None);
    assert_eq!(keys(&months, "2025-11", "2026-02"), ["2025-11", "2025-12", "2026-01", "2026-02"]);
    assert_eq!(bounds(&months, "2025-12"), ["2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
}

#[test]
fn a_span_may_be_named_by_dates() {
    let hours = slices(Unit::Hour, "UTC", "2026-01-01", None);
    assert_eq!(keys(&hours, "2026-01-05", "2026-01-05").len(), 24);
    assert_eq!(keys(&hours, "2026-01-05T22", "2026-01-06T01").len(), 4);
    let weeks = slices(Unit::Week, "UTC", "2026-01-01", None);
    assert_eq!(keys(&weeks, "2026-01-11", "2026-01-12"), ["2026-W02", "2026-W03"]);
}

#[test]
fn where_clocks_are_put_back_a_slice_is_longer_and_one_leapt_over_is_none() {
    let hours = slices(Unit::Hour, "Europe/Berlin", "2026-01-01", None);
    assert_eq!(bounds(&hours, "2026-10-25T02"), ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"]);
    assert_eq!(hours.containing(at("2026-10-25T01:59:59Z")).unwrap().as_str(), "2026-10-25T02");
    assert_eq!(keys(&hours, "2026-03-29", "2026-03-29").len(), 23);
    assert_eq!(keys(&hours, "2026-10-25", "2026-10-25").len(), 24);
    assert!(matches!(hours.parse("2026-03-29T02"), Err(KeyError::LeaptOver { .. })));
    let days = slices(Unit::Day, "Europe/Berlin", "2026-01-01", None);
    assert_eq!(bounds(&days, "2026-03-29"), ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]);
    let apia = slices(Unit::Day, "Pacific/Apia", "2011-12-01", None);
    assert_eq!(keys(&apia, "2011-12-29", "2011-12-31"), ["2011-12-29", "2011-12-31"]);
    assert_eq!(apia.previous_complete(at("2011-12-30T10:00Z")).unwrap().as_str(), "2011-12-29");
    assert!(matches!(apia.parse("2011-12-30"), Err(KeyError::LeaptOver { zone: "Pacific/Apia", .. })));
}

#[test]
fn a_fire_works_on_what_is_over() {
    let days = slices(Unit::Day, "Europe/Berlin", "2026-01-01", Some("2026-01-03"));
    let over = |time| days.previous_complete(at(time)).map(|key| key.to_string());
    assert_eq!(over("2026-01-01T22:59:59Z"), None);
    assert_eq!(over("2026-01-01T23:00:00Z").as_deref(), Some("2026-01-01"), "at midnight sharp");
    assert_eq!(over("2026-01-03T12:00:00Z").as_deref(), Some("2026-01-02"));
    assert_eq!(over("2027-01-01T00:00:00Z").as_deref(), Some("2026-01-03"), "the last one");
    assert_eq!(days.containing(at("2026-01-03T23:00:00Z")), None);
    assert_eq!(days.containing(at("2025-12-31T22:59:59Z")), None);
}

#[test]
fn what_is_no_partition_is_told_why() {
    let days = slices(Unit::Day, "UTC", "2026-01-01", Some("2026-12-31"));
    let why = |text: &str| days.parse(text).unwrap_err().to_string();
    assert_eq!(why("2026-1-5"), "\"2026-1-5\" is not a day, such as 2026-01-05");
    assert_eq!(
        why("2025-12-31"),
        "2025-12-31 is outside of the pipeline's partitions, which go from 2026-01-01 to 2026-12-31"
    );
    for text in ["", "2026-02-30", "2026-01-05T00", "2026-W01", "２０２６-01-05", "+026-01-05", "2026-01-05 ", "../x"]
    {
        assert!(days.parse(text).is_err(), "{text:?}");
    }
    let weeks = slices(Unit::Week, "UTC", "2020-W01", None);
    assert!(weeks.parse("2021-W53").is_err() && weeks.parse("2020-W53").is_ok() && weeks.parse("2020-W00").is_err());
    let hours = slices(Unit::Hour, "UTC", "2020-01-01T05", None);
    assert!(hours.parse("2020-01-01T24").is_err() && hours.parse("2020-01-01T04").is_err());
    let backwards = days.range("2026-01-05", "2026-01-04").unwrap_err();
    assert_eq!(backwards.to_string(), "2026-01-05 comes after 2026-01-04");
    assert!(Slices::new(Unit::Day, Zone::utc(), "2026-01-05", Some("2026-01-04")).is_err());
}

#[test]
fn a_list_has_the_order_it_is_written_in() {
    let regions = list(&["eu", "us", "apac"]);
    assert_eq!(keys(&regions, "eu", "us"), ["eu", "us"]);
    assert!(regions.range("us", "eu").is_err());
    assert_eq!(
        regions.parse("apca").unwrap_err().to_string(),
        "\"apca\" is not one of the pipeline's partitions; did you mean \"apac\"?"
    );
    assert_eq!((regions.containing(Timestamp(0)), regions.previous_complete(Timestamp(0))), (None, None));
    assert_eq!((regions.by(), regions.first().unwrap().as_str()), ("list", "eu"));
}

#[test]
fn what_is_put_on_record_is_read_back() {
    let hours = slices(Unit::Hour, "Europe/Berlin", "2026-01-05T13", Some("2027-01-01"));
    let text = serde_json::to_string(&hours).unwrap();
    assert_eq!(text, r#"{"time":{"by":"hour","tz":"Europe/Berlin","start":"2026-01-05T13","end":"2027-01-01T23"}}"#);
    assert_eq!(serde_json::from_str::<Partitioning>(&text).unwrap(), hours);
    let regions = list(&["eu", "us"]);
    assert_eq!(serde_json::from_str::<Partitioning>(r#"{"list":["eu","us"]}"#).unwrap(), regions);
    assert!(serde_json::from_str::<Partitioning>(r#"{"list":["../x"]}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every moment is in exactly one slice, whose bounds hold it, and which begins where the one before ends.
    #[test]
    fn slices_cover_time(
        unit in prop::sample::select(&[Unit::Hour, Unit::Day, Unit::Week, Unit::Month][..]),
        zone in prop::sample::select(Zone::all().collect::<Vec<_>>()),
        second in 631_152_000..2_145_916_800i64,
    ) {
        let slices = Partitioning::Time(Slices::new(unit, zone, "1980-01-01", None).unwrap());
        let time = Timestamp(second * 1_000_000 + 999_999);
        let key = slices.containing(time).unwrap();
        prop_assert_eq!(slices.parse(key.as_str()).unwrap(), key.clone());
        let (from, to) = slices.bounds(&key).unwrap();
        prop_assert!(from <= time && time < to, "{} in {}", key, zone);
        let before = slices.previous_complete(time).unwrap();
        prop_assert_eq!(slices.bounds(&before).unwrap().1, from, "{} before {} in {}", before, key, zone);
        prop_assert_eq!(slices.previous_complete(to), Some(key.clone()));
        let next = slices.containing(to).unwrap();
        prop_assert_eq!(slices.keys(&before, &next).collect::<Vec<_>>(), [before, key, next]);
    }

    /// No text makes it panic, and what it accepts is the one spelling of it.
    #[test]
    fn keys_have_one_spelling(text in "[0-9]{4}-(W?[0-9]{2})(-[0-9]{2})?(T[0-9]{2})?|.{0,12}") {
        for unit in [Unit::Hour, Unit::Day, Unit::Week, Unit::Month] {
            let slices = slices(unit, "Europe/Berlin", "0001-01-01", None);
            if let Ok(key) = slices.parse(&text) {
                prop_assert_eq!(key.as_str(), text.as_str());
            }
        }
    }
}
