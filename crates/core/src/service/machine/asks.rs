//! Which questions are under way, and when one that failed may be asked again.

use std::collections::{BTreeMap, BTreeSet};

use super::Ask;

/// The pause after a first failure, microseconds. It doubles with each further one.
const FIRST_PAUSE: u64 = 100_000;

/// The longest pause, microseconds.
const LONGEST_PAUSE: u64 = 5_000_000;

#[derive(Debug)]
pub(super) struct Asks {
    /// Makes the pauses of different schedulers differ.
    seed: u64,
    under_way: BTreeSet<Ask>,
    failed: BTreeMap<Ask, Failed>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    /// On the steady clock.
    until: u64,
}

impl Asks {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, under_way: BTreeSet::new(), failed: BTreeMap::new() }
    }

    /// Whether a question may be asked now; if so, it is under way from here on.
    pub(super) fn begin(&mut self, ask: Ask, now: u64) -> bool {
        self.ready_at(ask).is_some_and(|at| at <= now) && self.under_way.insert(ask)
    }

    /// From when on it may be asked; none while it is under way, because then its answer is what to wait for.
    pub(super) fn ready_at(&self, ask: Ask) -> Option<u64> {
        let until = self.failed.get(&ask).map_or(0, |failed| failed.until);
        (!self.under_way.contains(&ask)).then_some(until)
    }

    /// Takes in an answer. False where nobody waits for one.
    pub(super) fn answered(&mut self, ask: Ask) -> bool {
        let waited = self.under_way.remove(&ask);
        if waited {
            self.failed.remove(&ask);
        }
        waited
    }

    /// Takes in a failure, or anything else after which the question is not to be asked again at once.
    pub(super) fn failed(&mut self, ask: Ask, now: u64) {
        self.under_way.remove(&ask);
        let times = self.failed.get(&ask).map_or(1, |failed| failed.times.saturating_add(1));
        self.failed.insert(ask, Failed { times, until: now.saturating_add(self.pause(ask, times)) });
    }

    /// How many claims are under way.
    pub(super) fn claims(&self) -> usize {
        self.under_way.iter().filter(|ask| matches!(ask, Ask::Claim(_))).count()
    }

    /// Forgets failures that nobody will ask about again.
    pub(super) fn retain(&mut self, matters: impl Fn(Ask) -> bool) {
        self.failed.retain(|ask, _| matters(*ask));
    }

    /// Between half of the pause and all of it, always the same for the same question and number of failures.
    fn pause(&self, ask: Ask, times: u32) -> u64 {
        let whole = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_PAUSE);
        let (kind, low) = match ask {
            Ask::Renew => (0, 0),
            Ask::Schedules => (1, 0),
            Ask::Decide => (2, 0),
            Ask::Look => (3, 0),
            Ask::Watch => (4, 0),
            Ask::Claim(run) => (5, run.0.as_u64_pair().1),
            Ask::Bury(scheduler) => (6, scheduler.0.as_u64_pair().1),
            Ask::Backfill(id) => (7, id.as_u64_pair().1),
        };
        let spread = super::mix(self.seed ^ super::mix(low ^ kind << 32 ^ u64::from(times))) % 1024;
        whole / 2 + whole / 2 * spread / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_repeat_and_end_with_an_answer() {
        let mut asks = Asks::new(9);
        let mut last = 0;
        for times in 1..40 {
            assert!(asks.begin(Ask::Look, u64::MAX));
            assert!(!asks.begin(Ask::Look, u64::MAX), "one at a time");
            asks.failed(Ask::Look, 0);
            let pause = asks.ready_at(Ask::Look).unwrap();
            assert!((50_000..=LONGEST_PAUSE).contains(&pause) && pause * 3 > last);
            assert_eq!(pause, Asks::new(9).pause(Ask::Look, times));
            last = pause;
        }
        assert!(!asks.begin(Ask::Look, last - 1));
        assert!(asks.begin(Ask::Look, last) && asks.answered(Ask::Look) && !asks.answered(Ask::Look));
        assert_eq!(asks.ready_at(Ask::Look), Some(0));
    }
}
