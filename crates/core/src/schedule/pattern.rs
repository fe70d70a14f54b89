//! Cron patterns over local time: which seconds of a clock match, as though there were no time zones.
//!
//! The library reads the text and knows the rules of days (`L`, `W`, `#`). Walking and counting are done here over bit
//! masks, so that a pattern takes hundreds of bytes rather than thousands, and counting a year takes no longer than
//! looking at its days.

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronComponent, CronPattern, Weekday};
use jiff::civil::Date;

/// A second of local time is a number of seconds, counted as though local time were UTC.
const DAY: i64 = 86_400;
/// After 400 years every date falls on the same day of the week again: what is not found in them is never found.
const MOST_MONTHS: usize = 400 * 12 + 1;
/// 2000-01-01T00:00:00.
const CYCLE: i64 = 946_684_800;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// A word with `@` that is none of those known.
    #[error("{0} is not one of @hourly, @daily, @weekly, @monthly, @yearly")]
    UnknownWord(String),
    /// It can be read, and no date matches it.
    #[error("no date ever matches it")]
    Never,
}

/// A pattern, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    /// For the days alone; its other fields are empty.
    days: Box<CronPattern>,
    /// The hour field starts with `*`: it means "so often" and not "at this time".
    pub(crate) interval: bool,
}

impl Pattern {
    /// Reads five fields, six with seconds first, or a word such as `@daily`.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let expanded = if text.starts_with('@') { word(text)? } else { text };
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        if !matches!(fields.len(), 5 | 6) {
            let message = format!("it has {} fields, and a pattern has 5, or 6 with seconds first", fields.len());
            return Err(PatternError::Unreadable(message));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron =
            parser.parse(expanded).map_err(|error| PatternError::Unreadable(reason(&parser, &fields, &error)))?;
        let mut days = cron.pattern;
        let pattern = Self {
            seconds: mask(&days.seconds),
            minutes: mask(&days.minutes),
            hours: mask(&days.hours),
            months: mask(&days.months),
            interval: fields[fields.len() - 4].starts_with('*'),
            days: {
                for unused in [&mut days.seconds, &mut days.minutes, &mut days.hours, &mut days.months, &mut days.years]
                {
                    *unused = CronComponent::default();
                }
                Box::new(days)
            },
        };
        if pattern.next(CYCLE).is_some() { Ok(pattern) } else { Err(PatternError::Never) }
    }

    /// The first match at or after a local second; none beyond the year 9999.
    pub(crate) fn next(&self, local: i64) -> Option<i64> {
        let (day, time) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let next = self.next_day(day)?;
        if next == day
            && let Some(time) = self.time_from(time)
        {
            return Some(day * DAY + time);
        }
        let next = if next == day { self.next_day(day + 1)? } else { next };
        Some(next * DAY + self.time_from(0)?)
    }

    /// How many local seconds of `from..to` match.
    pub(crate) fn count(&self, from: i64, to: i64) -> u64 {
        if from >= to {
            return 0;
        }
        // The matches of a day before a time of it; `to` may be midnight, of which day nothing counts.
        let (first, last) = (from.div_euclid(DAY), to.div_euclid(DAY));
        let a_day = self.times_before(DAY);
        let (mut count, mut day) = (0, first);
        while let Some(next) = self.next_day(day).filter(|next| *next <= last) {
            let before = if next == first { self.times_before(from.rem_euclid(DAY)) } else { 0 };
            let until = if next == last { self.times_before(to.rem_euclid(DAY)) } else { a_day };
            count += until - before;
            day = next + 1;
        }
        count
    }

    /// The first matching day at or after one, in days since 1970.
    fn next_day(&self, mut day: i64) -> Option<i64> {
        let mut date = date(day)?;
        for _ in 0..MOST_MONTHS {
            let (month, length) = (u32::try_from(date.month()).ok()?, i64::from(date.days_in_month()));
            let first = i64::from(date.day());
            if self.months >> month & 1 == 1 {
                let year = i32::from(date.year());
                let weekday = date.weekday().to_sunday_zero_offset();
                let mut weekday = Weekday::from_days_from_sunday(u32::try_from(weekday).ok()?);
                for of_month in first..=length {
                    let of_month_u32 = u32::try_from(of_month).ok()?;
                    if self.days.day_match(year, month, of_month_u32, weekday).ok()? {
                        return Some(day + of_month - first);
                    }
                    weekday = weekday.shift(1);
                }
            }
            day += length - first + 1;
            date = self::date(day)?;
        }
        None
    }

    /// The first matching time of a day at or after one, in seconds.
    fn time_from(&self, time: i64) -> Option<i64> {
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let at = |hour: i64, minute: i64, second: i64| hour * 3600 + minute * 60 + second;
        let first_minute = bit_from(self.minutes, 0)?;
        let first_second = bit_from(self.seconds, 0)?;
        let found = bit_from(self.hours, hour)?;
        if found > hour {
            return Some(at(found, first_minute, first_second));
        }
        if self.minutes >> minute & 1 == 1
            && let Some(second) = bit_from(self.seconds, second)
        {
            return Some(at(hour, minute, second));
        }
        if let Some(minute) = bit_from(self.minutes, minute + 1) {
            return Some(at(hour, minute, first_second));
        }
        bit_from(self.hours, hour + 1).map(|hour| at(hour, first_minute, first_second))
    }

    /// How many matching times of a day are before one.
    fn times_before(&self, time: i64) -> u64 {
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let per_minute = bits_before(self.seconds, 64);
        let per_hour = bits_before(self.minutes, 64) * per_minute;
        let mut count = bits_before(self.hours, hour) * per_hour;
        if self.hours >> hour & 1 == 1 {
            count += bits_before(self.minutes, minute) * per_minute;
            if self.minutes >> minute & 1 == 1 {
                count += bits_before(self.seconds, second);
            }
        }
        count
    }
}

fn word(text: &str) -> Result<&'static str, PatternError> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return Err(PatternError::UnknownWord(text.chars().take(40).collect())),
    })
}

const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT"),
];

/// The library's message without its headings, and which field it is about: the first one that fails alone.
fn reason(parser: &CronParser, fields: &[&str], error: &CronError) -> String {
    let alone = |at: usize| {
        let mut others = vec!["*"; fields.len()];
        others[at] = fields[at];
        parser.parse(&others.join(" ")).err()
    };
    let found = (0..fields.len()).find_map(|at| alone(at).map(|error| (at, error)));
    let Some((at, error)) = found else { return plain(error) };
    let (name, values) = FIELDS[FIELDS.len() - fields.len() + at];
    let shown: String = fields[at].chars().take(40).collect();
    format!("its {name} `{shown}`, which takes {values}, cannot be read: {}", plain(&error))
}

fn plain(error: &CronError) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(": ").map_or(text.as_str(), |(_, rest)| rest);
    let text = text.replace("CronPattern contains ", "").replace("CronPattern", "a pattern");
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The values of a field as bits.
fn mask(field: &CronComponent) -> u64 {
    const PLAIN: u8 = 1;
    field.get_set_values(PLAIN).into_iter().fold(0, |mask, at| mask | 1 << at)
}

fn bit_from(mask: u64, at: i64) -> Option<i64> {
    let rest = if at < 64 { mask >> at << at } else { 0 };
    (rest != 0).then(|| i64::from(rest.trailing_zeros()))
}

fn bits_before(mask: u64, at: i64) -> u64 {
    u64::from(if at < 64 { mask & ((1 << at) - 1) } else { mask }.count_ones())
}

/// The date of a number of days since 1970.
fn date(day: i64) -> Option<Date> {
    let instant = jiff::Timestamp::from_second(day.checked_mul(DAY)?).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(instant).date())
}
