//! Points in time as people write them: dates, and moments with their offset.

use jiff::civil::Date;
use jiff::tz::Offset;

use super::zone::Zone;
use crate::time::Timestamp;

const SECOND: i64 = 1_000_000;

/// The span that a text names: of `2026-01-05` the day in `zone`, from its first moment to that of the next day; of
/// `2026-01-05T09:30:00+01:00` (RFC 3339) that moment, twice. None for any other text.
#[must_use]
pub fn span_of(text: &str, zone: Zone) -> Option<(Timestamp, Timestamp)> {
    if let Some(date) = parse_date(text) {
        let start = |date: Date| Timestamp(zone.first_instant(local_start(date)).saturating_mul(SECOND));
        return Some((start(date), start(date.tomorrow().ok()?)));
    }
    let moment = parse_moment(text)?;
    Some((moment, moment))
}

/// A moment with its offset: `2026-01-05T09:30:00+01:00` (RFC 3339), seconds may be left out. None for any other text.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    let (date, _) = text.split_once('T')?;
    parse_date(date)?;
    let moment = text.parse::<jiff::Timestamp>().ok()?;
    Some(Timestamp(moment.as_microsecond()))
}

/// The local second at which a date starts, counted as though local time were UTC.
pub(crate) fn local_start(date: Date) -> i64 {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_or(i64::MAX / 2, jiff::Timestamp::as_second)
}

/// `2026-01-05`, and no other spelling of it; years from 1 to 9998.
pub(crate) fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let small = |part: &str| digits(part, 2).and_then(|number| i8::try_from(number).ok());
    let date = Date::new(parse_year(year)?, small(month)?, small(day)?).ok();
    date.filter(|_| parts.next().is_none())
}

pub(crate) fn parse_year(text: &str) -> Option<i16> {
    digits(text, 4).and_then(|year| i16::try_from(year).ok()).filter(|year| (1..9999).contains(year))
}

/// A number of exactly so many digits.
pub(crate) fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_and_a_moment_is_a_moment() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let seconds = |text| span_of(text, berlin).map(|(from, to)| (from.0 / SECOND, to.0 / SECOND));
        assert_eq!(seconds("2026-01-01"), Some((1_767_222_000, 1_767_308_400)));
        assert_eq!(seconds("2026-03-29").map(|(from, to)| to - from), Some(23 * 3600));
        assert_eq!(seconds("2026-01-01T00:00:00Z"), Some((1_767_225_600, 1_767_225_600)));
        assert_eq!(seconds("2026-01-01T01:00:00+01:00"), seconds("2026-01-01T00:00:00Z"));
        for bad in ["", "2026", "2026-1-1", "2026-02-30", "2026-01-01T00:00:00", "2026-01-01 00:00Z", "today", "1e9"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
