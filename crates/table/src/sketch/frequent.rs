//! Which values are most frequent in a column: exact while it has few different ones.
//!
//! Counters for at most 1,024 values, by Misra and Gries (1982): when there are more, the median of all counts is
//! taken off each, and those without any left go (as Anderson et al. 2017 do). A count is never too high, and too low
//! by at most the *error*, which is below 1/512 of the values. The finished form keeps the 128 largest counters, and
//! its error says how frequent a value without counter can be at most. It is 0, and everything exact, for columns of
//! at most 128 different values.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::BuildAsItIs;
use crate::value::{Scalar, Value};

const COUNTERS: usize = 1024;
const KEPT: usize = 128;

/// A value and how often it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counter {
    /// Of the whole value, which may be longer than what is kept of it.
    hash: u64,
    value: Scalar,
    count: u64,
}

/// The finished form: largest counts first, equal ones by hash.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Frequent {
    counters: Vec<Counter>,
    error: u64,
}

impl Frequent {
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut places: HashMap<u64, usize, BuildAsItIs> =
            self.counters.iter().enumerate().map(|(at, counter)| (counter.hash, at)).collect();
        for theirs in &other.counters {
            match places.get(&theirs.hash) {
                Some(at) => self.counters[*at].count += theirs.count,
                None => {
                    places.insert(theirs.hash, self.counters.len());
                    self.counters.push(theirs.clone());
                }
            }
        }
        self.error += other.error;
        self.prune();
    }

    fn prune(&mut self) {
        self.counters.sort_unstable_by_key(|counter| (std::cmp::Reverse(counter.count), counter.hash));
        if let Some(largest) = self.counters.get(KEPT) {
            self.error += largest.count;
            self.counters.truncate(KEPT);
        }
    }

    /// The values that are certainly among the most frequent, largest counts first. Each count may be too low by
    /// at most the error.
    pub(crate) fn top(&self) -> impl Iterator<Item = (&Scalar, u64)> {
        self.counters.iter().filter(|counter| counter.count > self.error).map(|counter| (&counter.value, counter.count))
    }

    pub(crate) fn error(&self) -> u64 {
        self.error
    }
}

/// Takes values in.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrequentBuilder {
    /// By the hash of a value, how often it was counted and where it is kept.
    counts: HashMap<u64, (u64, u32), BuildAsItIs>,
    kept: Vec<Scalar>,
    error: u64,
}

/// Of a value that is not kept: after the first purge only those are that were seen twice, because most values of a
/// column of many are not seen again.
const NOWHERE: u32 = u32::MAX;

impl FrequentBuilder {
    pub(crate) fn insert(&mut self, hash: u64, value: Value<'_>) {
        if let Some((count, place)) = self.counts.get_mut(&hash) {
            *count += 1;
            if *place == NOWHERE {
                *place = self.kept.len() as u32;
                self.kept.push(Scalar::from(value));
            }
            return;
        }
        if self.counts.len() == COUNTERS {
            self.purge();
        }
        let mut place = NOWHERE;
        if self.error == 0 {
            place = self.kept.len() as u32;
            self.kept.push(Scalar::from(value));
        }
        self.counts.insert(hash, (1, place));
    }

    fn purge(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(count, _)| *count).collect();
        let (_, median, _) = counts.select_nth_unstable(COUNTERS / 2);
        let median = *median;
        self.error += median;
        let mut kept = Vec::new();
        self.counts.retain(|_, (count, place)| {
            *count = count.saturating_sub(median);
            if *count > 0 && *place != NOWHERE {
                kept.push(std::mem::replace(&mut self.kept[*place as usize], Scalar::Null));
                *place = kept.len() as u32 - 1;
            }
            *count > 0
        });
        self.kept = kept;
    }

    pub(crate) fn finish(mut self) -> Frequent {
        let mut counters = Vec::new();
        let mut forgotten = 0;
        for (hash, (count, place)) in self.counts {
            if place == NOWHERE {
                forgotten = forgotten.max(count);
            } else {
                let value = std::mem::replace(&mut self.kept[place as usize], Scalar::Null);
                counters.push(Counter { hash, value, count });
            }
        }
        let mut frequent = Frequent { counters, error: self.error + forgotten };
        frequent.prune();
        frequent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = i64>) -> Frequent {
        let mut builder = FrequentBuilder::default();
        for value in values {
            let value = Value::Integer(value);
            builder.insert(value.hash64(), value);
        }
        builder.finish()
    }

    fn top(frequent: &Frequent) -> Vec<(i128, u64)> {
        let number = |(value, count): (&Scalar, u64)| match value {
            Scalar::Integer(value) => (*value, count),
            other => panic!("{other:?}"),
        };
        frequent.top().map(number).collect()
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let frequent = of((0..1000).map(|at| at % 10 * (at % 2)));
        assert_eq!(frequent.error(), 0);
        assert_eq!(top(&frequent)[0], (0, 500));
        assert_eq!(frequent.top().count(), 6);
    }

    #[test]
    fn heavy_values_are_found_among_many_rare_ones() {
        let total = 300_000;
        let frequent = of((0..total).map(|at| {
            if at % 10 == 0 {
                -1
            } else if at % 25 == 1 {
                -2
            } else {
                at
            }
        }));
        assert!(frequent.error() < total as u64 / 100, "{}", frequent.error());
        let top = top(&frequent);
        assert_eq!((top[0].0, top[1].0, top.len()), (-1, -2, 2));
        assert!(top[0].1 <= 30_000 && top[0].1 + frequent.error() >= 30_000, "{top:?}");
    }

    #[test]
    fn unique_values_have_no_top() {
        assert_eq!(top(&of(0..100_000)), []);
    }

    #[test]
    fn merging_adds_counts() {
        let (a, b) = (of((0..600).map(|at| at % 3)), of((0..500).map(|at| at % 5)));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        assert_eq!(ab, ba);
        assert_eq!(ab.error(), 0);
        let mut counts = top(&ab);
        counts.sort_unstable();
        assert_eq!(counts, [(0, 300), (1, 300), (2, 300), (3, 100), (4, 100)]);
    }

    #[test]
    fn merging_keeps_the_bound() {
        let part = |seed: i64| (0..20_000).map(move |at| if at % 20 == 0 { 7 } else { at * 1000 + seed });
        let mut merged = Frequent::default();
        (0..10).for_each(|seed| merged.merge(&of(part(seed))));
        let top = top(&merged);
        assert_eq!(top[0].0, 7);
        assert!(top[0].1 <= 10_000 && top[0].1 + merged.error() >= 10_000);
    }
}
