//! Points in time: local and to the second for people, RFC 3339 in UTC for programs.

use chrono::{DateTime, Local, SecondsFormat, TimeZone as _, Utc};
use runstone_core::time::Timestamp;
use serde::{Serialize, Serializer};

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

/// A point in time as programs get it: `2026-11-23T09:51:02.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&utc(self.0).to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_for_people_and_exact_for_programs() {
        let at = Timestamp(1_700_000_000_123_456);
        assert_eq!(date_time(at, Zone::Utc), "2023-11-14 22:13:20");
        assert_eq!(serde_json::to_string(&Rfc3339(at)).unwrap(), "\"2023-11-14T22:13:20.123456Z\"");
    }
}
