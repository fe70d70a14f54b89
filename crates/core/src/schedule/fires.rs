//! The fire times of a schedule.
//!
//! The clocks of a zone run in segments of one offset. Within a segment the fires are the matching local times less the
//! offset; at its start, the rules for times that were leapt over or come again decide.

use std::time::Duration;

use super::model::{Fold, Gap, Schedule, ScheduleError, Timing};
use super::pattern::Pattern;
use super::zone::{Segment, Zone};
use crate::time::{Timestamp, micros};

const SECOND: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z; the calendar has nothing to say of times before it.
const EARLIEST: i64 = -62_135_596_800;

/// A schedule, ready to be asked. Some hundred bytes.
#[derive(Debug, Clone)]
pub struct Compiled {
    rule: Rule,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    /// Microseconds.
    jitter: u64,
    pub(super) catchup: super::Catchup,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Cron),
    /// Microseconds; the interval is at least a second.
    Every {
        anchor: i64,
        interval: i64,
    },
}

impl Schedule {
    /// Makes the schedule ready to be asked.
    ///
    /// # Errors
    /// [`ScheduleError`] where its timing has no fire times.
    pub fn compile(&self) -> Result<Compiled, ScheduleError> {
        let rule = match &self.timing {
            Timing::Cron { expression, tz, dst } => {
                let pattern = Pattern::parse(expression)
                    .map_err(|source| ScheduleError::Pattern { expression: expression.clone(), source })?;
                let makes_up = !pattern.interval && dst.gap == Gap::RunAfter;
                let repeats = pattern.interval || dst.fold == Fold::Twice;
                Rule::Cron(Cron { pattern, zone: *tz, makes_up, repeats })
            }
            Timing::Every { interval } => {
                let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
                if interval < SECOND {
                    return Err(ScheduleError::TooOften);
                }
                Rule::Every { anchor: self.start.map_or(0, |start| start.0), interval }
            }
        };
        let jitter = micros(self.jitter);
        Ok(Compiled { rule, start: self.start, end: self.end, jitter, catchup: self.catchup })
    }
}

impl Compiled {
    /// The first fire time after `time`; none where there are no more, up to the year 9999.
    #[must_use]
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = self.start.map_or(time, |start| time.max(Timestamp(start.0.saturating_sub(1))));
        let fire = match &self.rule {
            Rule::Cron(cron) => Timestamp(cron.from(time.0.div_euclid(SECOND) + 1)?.checked_mul(SECOND)?),
            Rule::Every { anchor, interval } => {
                let passed = i128::from(time.0) - i128::from(*anchor);
                let intervals = passed.div_euclid(i128::from(*interval)) + 1;
                let fire = i128::from(*anchor) + intervals * i128::from(*interval);
                Timestamp(i64::try_from(fire).ok()?)
            }
        };
        self.end.is_none_or(|end| fire < end).then_some(fire)
    }

    /// All fire times after `time`, in order.
    #[must_use]
    pub fn fires(&self, time: Timestamp) -> Fires<'_> {
        Fires { schedule: self, last: time }
    }

    /// The last fire time after `after` that is not after `until`.
    #[must_use]
    pub fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let within = |time: Timestamp| self.after(time).filter(|fire| *fire <= until);
        let mut last = within(after)?;
        // No fire is after `most`, and `last` is one: halving the span between them ends after some forty looks.
        let mut most = until;
        while last < most {
            let middle = Timestamp(last.0 + most.0.saturating_sub(last.0) / 2);
            match within(middle) {
                Some(fire) => last = fire,
                None => most = middle,
            }
        }
        Some(last)
    }

    /// How many fire times are after `after` and not after `until`. Takes time for the days between them, not for the
    /// fires.
    #[must_use]
    pub fn count_between(&self, after: Timestamp, until: Timestamp) -> u64 {
        let after = self.start.map_or(after, |start| after.max(Timestamp(start.0.saturating_sub(1))));
        let until = self.end.map_or(until, |end| until.min(Timestamp(end.0.saturating_sub(1))));
        if after >= until {
            return 0;
        }
        match &self.rule {
            Rule::Cron(cron) => cron.count(after.0.div_euclid(SECOND) + 1, until.0.div_euclid(SECOND) + 1),
            Rule::Every { anchor, interval } => {
                let upto =
                    |time: Timestamp| (i128::from(time.0) - i128::from(*anchor)).div_euclid(i128::from(*interval));
                u64::try_from(upto(until) - upto(after)).unwrap_or(u64::MAX)
            }
        }
    }

    /// When the fire at `fire` is to be acted on: up to the schedule's jitter later, by an amount that depends on
    /// nothing but `key`, which should tell schedules apart, and the fire time.
    #[must_use]
    pub fn due(&self, key: &str, fire: Timestamp) -> Timestamp {
        if self.jitter == 0 {
            return fire;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.as_bytes()).update(&[0]).update(&fire.0.to_le_bytes());
        let bytes = hasher.finalize();
        let (bytes, _) = bytes.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        // The share of 2^64 that the hash is, of the jitter; always less than all of it.
        let delay = (u128::from(u64::from_le_bytes(*bytes)) * u128::from(self.jitter)) >> 64;
        fire.plus_micros(u64::try_from(delay).unwrap_or(self.jitter))
    }

    /// The largest delay of [`Self::due`].
    #[must_use]
    pub fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter)
    }
}

/// See [`Compiled::fires`].
#[derive(Debug, Clone)]
pub struct Fires<'s> {
    schedule: &'s Compiled,
    last: Timestamp,
}

impl Iterator for Fires<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.last = self.schedule.after(self.last)?;
        Some(self.last)
    }
}

/// A pattern on the clock of a zone. All times in seconds.
#[derive(Debug, Clone)]
struct Cron {
    pattern: Pattern,
    zone: Zone,
    /// Local times that do not exist fire after their gap.
    makes_up: bool,
    /// Local times that exist twice fire twice.
    repeats: bool,
}

impl Cron {
    /// The first fire at or after a second.
    fn from(&self, second: i64) -> Option<i64> {
        let mut from = second.max(EARLIEST);
        // What the last look into the pattern found: nothing matches between the two.
        let mut known: Option<(i64, i64)> = None;
        loop {
            let segment = self.zone.segment(from);
            if from == segment.start && self.owes(&segment) {
                return Some(from);
            }
            let local = self.first_local(&segment, from);
            let next = match known {
                Some((start, next)) if start <= local && local <= next => next,
                _ => self.pattern.next(local)?,
            };
            if segment.end == i64::MAX || next - segment.offset < segment.end {
                return Some(next - segment.offset);
            }
            known = Some((local, next));
            from = segment.end;
        }
    }

    /// How many fires are in `from..to`.
    fn count(&self, from: i64, to: i64) -> u64 {
        let (mut from, mut count) = (from.max(EARLIEST), 0);
        while from < to {
            let segment = self.zone.segment(from);
            let until = segment.end.min(to);
            let local = self.first_local(&segment, from);
            count += self.pattern.count(local, until + segment.offset);
            // Made up at an instant at which it fires anyway, it is the same fire.
            if from == segment.start && self.owes(&segment) && self.pattern.next(local) != Some(from + segment.offset) {
                count += 1;
            }
            from = until;
        }
        count
    }

    /// The first local time of a segment, from a second of it on, that fires when it matches.
    fn first_local(&self, segment: &Segment, from: i64) -> i64 {
        let local = from + segment.offset;
        if self.repeats { local } else { local.max(segment.shown) }
    }

    /// Whether a match was leapt over at the start of the segment, and is made up.
    fn owes(&self, segment: &Segment) -> bool {
        let gap = segment.gap();
        self.makes_up && !gap.is_empty() && self.pattern.next(gap.start).is_some_and(|next| next < gap.end)
    }
}
