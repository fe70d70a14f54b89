//! Slices of time: hours, days, ISO weeks and months of a zone, counted along its local time.

use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::key::{Key, KeyError};
use crate::schedule::Zone;
use crate::schedule::moment::{digits, local_start as local, parse_date, parse_year};
use crate::time::Timestamp;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// The length of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// `2026-01-05T13`.
    Hour,
    /// `2026-01-05`.
    Day,
    /// An ISO 8601 week, from Monday on: `2026-W02`.
    Week,
    /// `2026-01`.
    Month,
}

/// Slices of a zone's time, from a first one on.
///
/// Invariant: the first is not after the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "Plain")]
pub struct Slices {
    unit: Unit,
    tz: Zone,
    /// Numbers as [`Unit::number`] counts.
    first: i64,
    last: Option<i64>,
}

/// The form on record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    by: Unit,
    tz: Zone,
    start: String,
    end: Option<String>,
}

impl Unit {
    /// The word of the language.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// What a key of it is, and how one is written.
    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Hour => ("an hour", "2026-01-05T13"),
            Self::Day => ("a day", "2026-01-05"),
            Self::Week => ("an ISO week", "2026-W02"),
            Self::Month => ("a month", "2026-01"),
        }
    }

    /// The number of the slice that a local second is in; those that follow each other have numbers that do.
    fn number(self, local: i64) -> i64 {
        match self {
            Self::Hour => local.div_euclid(HOUR),
            Self::Day => local.div_euclid(DAY),
            // 1970-01-01 was a Thursday.
            Self::Week => (local.div_euclid(DAY) + 3).div_euclid(7),
            Self::Month => {
                let date = date(local);
                i64::from(date.year()) * 12 + i64::from(date.month()) - 1
            }
        }
    }

    /// The local second at which a slice starts.
    fn start(self, number: i64) -> i64 {
        match self {
            Self::Hour => number * HOUR,
            Self::Day => number * DAY,
            Self::Week => (number * 7 - 3) * DAY,
            Self::Month => {
                let (year, month) = (number.div_euclid(12), number.rem_euclid(12) + 1);
                let year = i16::try_from(year).unwrap_or(9999);
                Date::new(year, i8::try_from(month).unwrap_or(1), 1).map_or(i64::MAX, local)
            }
        }
    }

    fn key(self, number: i64) -> Key {
        let start = self.start(number);
        let date = date(start);
        let text = match self {
            Self::Hour => format!("{date}T{:02}", start.rem_euclid(DAY) / HOUR),
            Self::Day => date.to_string(),
            Self::Week => {
                let week = date.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Month => format!("{:04}-{:02}", date.year(), date.month()),
        };
        Key::new(&text).expect("digits, dashes and letters make a key")
    }

    /// The number of a key, whether or not the slice exists in a zone.
    fn parse(self, text: &str) -> Option<i64> {
        let second = match self {
            Self::Hour => {
                let (date, hour) = text.split_once('T')?;
                let hour = digits(hour, 2).filter(|hour| *hour < 24)?;
                local(parse_date(date)?) + i64::from(hour) * HOUR
            }
            Self::Day => local(parse_date(text)?),
            Self::Week => {
                let (year, week) = text.split_once("-W")?;
                let (year, week) = (parse_year(year)?, i8::try_from(digits(week, 2)?).ok()?);
                local(ISOWeekDate::new(year, week, Weekday::Monday).ok()?.date())
            }
            Self::Month => local(parse_date(&format!("{text}-01"))?),
        };
        Some(self.number(second))
    }
}

impl Slices {
    /// The slices of `tz` from `start` to `end`, both included; either is a key or a date within the slice.
    ///
    /// # Errors
    /// [`KeyError`] where either is neither, or they are in the wrong order.
    pub fn new(unit: Unit, tz: Zone, start: &str, end: Option<&str>) -> Result<Self, KeyError> {
        let all = Self { unit, tz, first: i64::MIN, last: None };
        let first = all.at_or_in(start, false)?;
        let last = end.map(|end| all.at_or_in(end, true)).transpose()?;
        if let Some(last) = last.filter(|last| *last < first) {
            return Err(KeyError::Backwards { from: unit.key(first), to: unit.key(last) });
        }
        Ok(Self { unit, tz, first, last })
    }

    /// Their length.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Whose time it is.
    #[must_use]
    pub fn tz(&self) -> Zone {
        self.tz
    }

    pub(super) fn parse(&self, text: &str) -> Result<Key, KeyError> {
        let number = self.unit.parse(text).ok_or_else(|| self.malformed(text))?;
        self.checked(text, number).map(|number| self.unit.key(number))
    }

    pub(super) fn range(&self, from: &str, to: &str) -> Result<(Key, Key), KeyError> {
        let (first, last) = (self.at_or_in(from, false)?, self.at_or_in(to, true)?);
        let (first, last) = (self.checked(from, first)?, self.checked(to, last)?);
        let (from, to) = (self.unit.key(first), self.unit.key(last));
        if first > last { Err(KeyError::Backwards { from, to }) } else { Ok((from, to)) }
    }

    pub(super) fn keys(&self, from: &Key, to: &Key) -> impl Iterator<Item = Key> + use<'_> {
        let span = self.unit.parse(from.as_str()).zip(self.unit.parse(to.as_str()));
        let (from, to) = span.unwrap_or((1, 0));
        let (from, to) = (from.max(self.first), self.last.map_or(to, |last| to.min(last)));
        (from..=to).filter(|number| self.exists(*number)).map(|number| self.unit.key(number))
    }

    pub(super) fn first(&self) -> Option<Key> {
        let mut numbers = self.first..=self.last.unwrap_or(i64::MAX);
        numbers.find(|number| self.exists(*number)).map(|number| self.unit.key(number))
    }

    pub(super) fn containing(&self, time: Timestamp) -> Option<Key> {
        let number = self.number_at(time);
        self.declared(number).then(|| self.unit.key(number))
    }

    pub(super) fn previous_complete(&self, time: Timestamp) -> Option<Key> {
        let over = self.number_at(time).checked_sub(1)?;
        let over = self.last.map_or(over, |last| over.min(last));
        // At most a day in a row is leapt over.
        let number = (0..48).map(|back| over - back).find(|number| self.exists(*number))?;
        self.declared(number).then(|| self.unit.key(number))
    }

    pub(super) fn bounds(&self, key: &Key) -> Option<(Timestamp, Timestamp)> {
        let number = self.unit.parse(key.as_str()).filter(|number| self.declared(*number) && self.exists(*number))?;
        let at = |number| Timestamp(self.tz.first_instant(self.unit.start(number)).saturating_mul(SECOND));
        Some((at(number), at(number + 1)))
    }

    fn number_at(&self, time: Timestamp) -> i64 {
        self.unit.number(self.tz.furthest_local(time.0.div_euclid(SECOND)))
    }

    fn declared(&self, number: i64) -> bool {
        self.first <= number && self.last.is_none_or(|last| number <= last)
    }

    /// Whether any time is in it. A week or a month is never leapt over.
    fn exists(&self, number: i64) -> bool {
        let at = |number| self.tz.first_instant(self.unit.start(number));
        matches!(self.unit, Unit::Week | Unit::Month) || at(number) < at(number + 1)
    }

    fn checked(&self, text: &str, number: i64) -> Result<i64, KeyError> {
        if !self.declared(number) {
            let (start, end) = (self.unit.key(self.first), self.last.map(|last| self.unit.key(last)));
            return Err(KeyError::Outside { text: text.to_owned(), start, end });
        }
        if !self.exists(number) {
            return Err(KeyError::LeaptOver { text: text.to_owned(), zone: self.tz.name() });
        }
        Ok(number)
    }

    /// The slice of this key, or the first or last slice in the day of this date.
    fn at_or_in(&self, text: &str, last: bool) -> Result<i64, KeyError> {
        let of_date = || {
            let day = local(parse_date(text)?);
            Some(self.unit.number(if last { day + DAY - 1 } else { day }))
        };
        self.unit.parse(text).or_else(of_date).ok_or_else(|| self.malformed(text))
    }

    fn malformed(&self, text: &str) -> KeyError {
        let (what, example) = self.unit.described();
        KeyError::Malformed { text: text.chars().take(100).collect(), what, example }
    }
}

impl TryFrom<Plain> for Slices {
    type Error = KeyError;

    fn try_from(plain: Plain) -> Result<Self, Self::Error> {
        Self::new(plain.by, plain.tz, &plain.start, plain.end.as_deref())
    }
}

impl From<Slices> for Plain {
    fn from(slices: Slices) -> Self {
        let key = |number| slices.unit.key(number).to_string();
        Self { by: slices.unit, tz: slices.tz, start: key(slices.first), end: slices.last.map(key) }
    }
}

/// The date of a local second, within the years 1 to 9999.
fn date(local: i64) -> Date {
    let bounds = (Date::constant(1, 1, 1), Date::constant(9999, 12, 31));
    let second = local.clamp(self::local(bounds.0), self::local(bounds.1) + DAY - 1);
    let instant =
        jiff::Timestamp::from_second(second.min(jiff::Timestamp::MAX.as_second())).expect("a second in range");
    Offset::UTC.to_datetime(instant).date()
}
