//! Dates and moments: reading those that ISO 8601 and RFC 3339 describe, and writing them.
//!
//! Years have four digits. A moment without a zone is read as UTC.

use std::fmt::Write as _;

use jiff::civil::{Date, DateTime, date};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Value;

static PARSER: DateTimeParser = DateTimeParser::new();
const EPOCH: Date = date(1970, 1, 1);
const NANOS_A_SECOND: i128 = 1_000_000_000;
const SECONDS_A_DAY: i64 = 86_400;

/// A date (`2026-01-31`) or a moment (`2026-01-31T12:00:00.5Z`, a space instead of the `T`, no zone, an offset).
pub(crate) fn parse(text: &str) -> Option<Value<'static>> {
    let bytes = text.as_bytes();
    let dated = bytes.len() >= 10
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[..10].iter().enumerate().all(|(at, byte)| at == 4 || at == 7 || byte.is_ascii_digit());
    if !dated {
        return None;
    }
    if bytes.len() == 10 {
        return Some(Value::Date(days(PARSER.parse_date(bytes).ok()?)));
    }
    // At least to the minute; a bracketed name of a zone would need a database of zones.
    if bytes.len() < 16 || !matches!(bytes[10], b'T' | b' ') || bytes.contains(&b'[') {
        return None;
    }
    let has_zone = bytes[16..].iter().any(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-'));
    let timestamp = if has_zone {
        PARSER.parse_timestamp(bytes).ok()?
    } else {
        TimeZone::UTC.to_timestamp(PARSER.parse_datetime(bytes).ok()?).ok()?
    };
    Some(Value::Timestamp(timestamp.as_nanosecond()))
}

fn days(date: Date) -> i32 {
    let days = date.duration_since(EPOCH).as_secs() / SECONDS_A_DAY;
    i32::try_from(days).expect("years have four digits")
}

/// Writes `2026-01-31`; days beyond the calendar as `day 123456789`.
pub(crate) fn write_date(days: i32, out: &mut String) {
    let date = EPOCH.checked_add(SignedDuration::from_secs(i64::from(days) * SECONDS_A_DAY));
    match date {
        Ok(date) => write!(out, "{date}"),
        Err(_) => write!(out, "day {days}"),
    }
    .expect("writing to a string cannot fail");
}

/// Writes `2026-01-31T12:00:00.5Z`; moments beyond the calendar as `123… ns`.
pub(crate) fn write_timestamp(nanos: i128, out: &mut String) {
    match Timestamp::from_nanosecond(nanos) {
        Ok(timestamp) => write!(out, "{timestamp}"),
        Err(_) => write!(out, "{nanos} ns"),
    }
    .expect("writing to a string cannot fail");
}

/// Writes a time of day, `12:00:00.5`.
pub(crate) fn write_time_of_day(nanos: i64, out: &mut String) {
    let midnight = DateTime::from_parts(EPOCH, jiff::civil::Time::midnight());
    match midnight.checked_add(SignedDuration::from_nanos(nanos)) {
        Ok(moment) if moment.date() == EPOCH => write!(out, "{}", moment.time()),
        _ => write!(out, "{nanos} ns"),
    }
    .expect("writing to a string cannot fail");
}

/// What [`write_date`] wrote.
pub(crate) fn read_date(text: &str) -> Option<i32> {
    match parse(text) {
        Some(Value::Date(days)) => Some(days),
        _ => text.strip_prefix("day ")?.parse().ok(),
    }
}

/// What [`write_timestamp`] wrote.
pub(crate) fn read_timestamp(text: &str) -> Option<i128> {
    match text.strip_suffix(" ns") {
        Some(nanos) => nanos.parse().ok(),
        // Years before 0 have six digits and a sign.
        None => text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond),
    }
}

/// Nanoseconds since 1970 of the first moment of a day.
pub(crate) fn midnight(days: i32) -> i128 {
    i128::from(days) * i128::from(SECONDS_A_DAY) * NANOS_A_SECOND
}

/// Seconds since 1970, rounded to what a double holds.
pub(crate) fn seconds(nanos: i128) -> f64 {
    nanos as f64 / NANOS_A_SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> i128 {
        match parse(text) {
            Some(Value::Timestamp(nanos)) => nanos,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn dates_and_moments_are_read() {
        assert_eq!(parse("1970-01-02"), Some(Value::Date(1)));
        assert_eq!(parse("1969-12-31"), Some(Value::Date(-1)));
        assert_eq!(parse("2000-02-29"), Some(Value::Date(11_016)));
        assert_eq!(nanos("1970-01-01T00:00:01Z"), NANOS_A_SECOND);
        assert_eq!(nanos("1970-01-01 00:00:00.000000001"), 1);
        assert_eq!(nanos("1970-01-01 01:00"), 3600 * NANOS_A_SECOND);
        assert_eq!(nanos("1970-01-01T01:00:00+01:00"), 0);
        assert_eq!(nanos("1970-01-01T00:00:00-00:30"), 1800 * NANOS_A_SECOND);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "2001-02-29",
            "2001-2-3",
            "20010203",
            "2001-01-01T",
            "2001-01-01T1",
            "2001-01-01x12:00:00",
            "2001-01-0112:00",
            "2001-01-01T25:00:00",
            "2001-01-01T12:00:00[Europe/Berlin]",
            "aaaa-bb-cc",
            "2001-01-01T12:00:00 Z",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for days in [0, -1, 11_016, 2_000_000, i32::MAX, i32::MIN] {
            let mut text = String::new();
            write_date(days, &mut text);
            assert_eq!(read_date(&text), Some(days), "{text}");
        }
        for nanos in [0, 1, -1, 1_234_567_890_123_456_789, -62_200_000_000_000_000_000, i128::MAX] {
            let mut text = String::new();
            write_timestamp(nanos, &mut text);
            assert_eq!(read_timestamp(&text), Some(nanos), "{text}");
        }
    }
}
