//! What becomes of the fires between the last look and now: which start a run, and which were missed for good.

use std::time::Duration;

use super::fires::Compiled;
use super::model::Keep;
use crate::time::Timestamp;

/// The most fires of one call; the rest is left for the next.
pub const MOST_FIRES: usize = 1000;

/// What becomes of one fire, or of a row of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It starts a run.
    Fire {
        /// The fire time.
        time: Timestamp,
    },
    /// They do not.
    Skip {
        /// The first of them.
        from: Timestamp,
        /// The last of them.
        until: Timestamp,
        /// How many they are, both ends included.
        count: u64,
        /// Why not.
        reason: Missed,
    },
}

/// Why a missed fire is not made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// It is older than the window.
    TooOld,
    /// A later one was missed as well, and only the latest is kept.
    Superseded,
    /// None are kept.
    NotKept,
}

impl Missed {
    /// The word on record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::Superseded => "superseded",
            Self::NotKept => "not_kept",
        }
    }
}

/// What [`decide`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// In the order of fire times.
    pub decisions: Vec<Decision>,
    /// Every fire time up to this one is decided; the next call starts here.
    pub cursor: Timestamp,
    /// More could be decided at once, in another call.
    pub more: bool,
}

/// Decides every fire after `cursor` that is due at `now`, in their order.
///
/// A fire is due at [`Compiled::due`], or with one before it that is due later. It is on time up to `grace` after the
/// latest moment at which its jitter could have made it due, and then always fires; later, it was missed, and the
/// schedule's catch-up says whether it fires. A window reaches back from `now` to fire times, both ends included.
/// Time and memory are bounded, however long nobody looked.
#[must_use]
pub fn decide(schedule: &Compiled, key: &str, cursor: Timestamp, now: Timestamp, grace: Duration) -> Decided {
    let catchup = schedule.catchup;
    let mut decided = Decided { decisions: Vec::new(), cursor, more: false };
    // Of the fires up to this moment the last one is missed for certain, and due.
    let missed = before(before(now, schedule.jitter()), grace);
    let missed = Timestamp(missed.0.saturating_sub(1));
    let too_old = Timestamp(before(now, catchup.window).0.saturating_sub(1)).min(missed);
    match catchup.keep {
        Keep::None => decided.skip(schedule, missed, Missed::NotKept),
        Keep::Latest => {
            decided.skip(schedule, too_old, Missed::TooOld);
            if let Some(last) = schedule.last_between(decided.cursor, missed) {
                decided.skip(schedule, Timestamp(last.0.saturating_sub(1)), Missed::Superseded);
                decided.fire(last);
            }
        }
        Keep::All => {
            decided.skip(schedule, too_old, Missed::TooOld);
            decided.fire_while(schedule, |fire| fire <= missed);
        }
    }
    if !decided.more {
        decided.fire_while(schedule, |fire| schedule.due(key, fire) <= now);
    }
    decided
}

impl Decided {
    fn fire(&mut self, time: Timestamp) {
        self.decisions.push(Decision::Fire { time });
        self.cursor = time;
    }

    /// Fires one after the other as long as they are to be fired, up to the most of one call.
    fn fire_while(&mut self, schedule: &Compiled, wanted: impl Fn(Timestamp) -> bool) {
        for fire in schedule.fires(self.cursor).take_while(|fire| wanted(*fire)) {
            if self.decisions.len() >= MOST_FIRES {
                self.more = true;
                return;
            }
            self.fire(fire);
        }
    }

    /// Skips the fires up to and with `until`.
    fn skip(&mut self, schedule: &Compiled, until: Timestamp, reason: Missed) {
        let first = schedule.after(self.cursor).filter(|first| *first <= until);
        let last = schedule.last_between(self.cursor, until);
        if let (Some(from), Some(until)) = (first, last) {
            let count = schedule.count_between(self.cursor, until);
            self.decisions.push(Decision::Skip { from, until, count, reason });
            self.cursor = until;
        }
    }
}

fn before(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}
