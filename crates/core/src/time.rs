//! Points in time as plain numbers. Reading a clock is somebody else's business.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point so long after 1970-01-01T00:00:00Z, saturating.
    #[must_use]
    pub fn after_epoch(since: Duration) -> Self {
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// As programs get it: RFC 3339 in UTC, always with six digits of a second. Times outside the calendar, which only a
    /// damaged record holds, become the epoch.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let moment = jiff::Timestamp::from_microsecond(self.0).unwrap_or_default();
        moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    }

    /// A time as other programs write it, in the way of RFC 3339: with up to nine digits of a second, of which six count,
    /// and with an offset or without. One without is taken as UTC; the second value says whether it had one.
    #[must_use]
    pub fn parse_lenient(text: &str) -> Option<(Self, bool)> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Some((Self(moment.as_microsecond()), true));
        }
        let local = text.parse::<jiff::civil::DateTime>().ok()?;
        let moment = jiff::tz::Offset::UTC.to_timestamp(local).ok()?;
        Some((Self(moment.as_microsecond()), false))
    }

    /// Microseconds from `earlier` to `self`; zero where the clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// The point `micros` microseconds later, saturating.
    #[must_use]
    pub fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(micros).unwrap_or(i64::MAX)))
    }
}

/// A length of time in microseconds, saturating.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_has_one_spelling() {
        assert_eq!(Timestamp(1_700_000_000_123_456).rfc3339(), "2023-11-14T22:13:20.123456Z");
        assert_eq!(Timestamp(0).rfc3339(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp(i64::MAX).rfc3339(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn times_of_others_are_read_with_and_without_offset() {
        let second = 1_607_000_000_000_000;
        for (text, micros, zone) in [
            ("2020-12-03T12:53:20Z", 0, true),
            ("2020-12-03T12:53:20.123456789Z", 123_456, true),
            ("2020-12-03T13:53:20.5+01:00", 500_000, true),
            ("2020-12-03T13:53:20.5+0100", 500_000, true),
            ("2020-12-03 12:53:20+00:00", 0, true),
            ("2020-12-03T12:53:20.001", 1_000, false),
            ("2020-12-03 12:53:20", 0, false),
        ] {
            assert_eq!(Timestamp::parse_lenient(text), Some((Timestamp(second + micros), zone)), "{text}");
        }
        for bad in ["", "now", "12:53", "2020-13-03T12:53:20Z", "1607000000"] {
            assert_eq!(Timestamp::parse_lenient(bad), None, "{bad}");
        }
    }
}
