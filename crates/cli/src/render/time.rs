//! Points in time for people: local and to the second.

use chrono::{DateTime, Local, TimeZone as _, Utc};
use runstone_core::time::Timestamp;

/// The zone times are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// That of this machine.
    Local,
    /// For results that must not depend on the machine.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare text"))]
    Utc,
}

/// `2026-11-23 09:51:02`.
pub(crate) fn date_time(at: Timestamp, zone: Zone) -> String {
    const FORMAT: &str = "%Y-%m-%d %H:%M:%S";
    match zone {
        Zone::Local => Local.from_utc_datetime(&utc(at).naive_utc()).format(FORMAT).to_string(),
        Zone::Utc => utc(at).format(FORMAT).to_string(),
    }
}

/// Times far outside the calendar, which only a damaged record holds, become the epoch.
fn utc(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_for_people() {
        let at = Timestamp(1_700_000_000_123_456);
        assert_eq!(date_time(at, Zone::Utc), "2023-11-14 22:13:20");
    }
}
