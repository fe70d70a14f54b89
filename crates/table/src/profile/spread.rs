//! How numbers are spread: mean, variance and quantiles, of numbers and of times as seconds since 1970.
//!
//! Mean and variance are taken block by block and merged as Chan, Golub and `LeVeque` (1979) do, which loses no
//! precision when the mean is large against the spread.

use serde::{Deserialize, Serialize};

use crate::sketch::{Quantiles, QuantilesBuilder};

/// Values that are summed up at once.
const BLOCK: usize = 1024;

/// How finite numbers are spread.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    quantiles: Quantiles,
}

impl Spread {
    fn add(&mut self, count: u64, mean: f64, squares: f64) {
        if count == 0 {
            return;
        }
        let (ours, theirs) = (self.count as f64, count as f64);
        let total = ours + theirs;
        let distance = mean - self.mean;
        // From the larger side, so that merging has no order and huge numbers do not overflow more than they must.
        self.mean = if self.count == 0 { mean } else { self.mean * (ours / total) + mean * (theirs / total) };
        self.squares += squares + distance * distance * (ours * theirs / total);
        self.count += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.add(other.count, other.mean, other.squares);
        self.quantiles.merge(&other.quantiles);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Of a sample: divided by one less than the count.
    pub(crate) fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    pub(crate) fn quantiles(&self) -> &Quantiles {
        &self.quantiles
    }

    /// Whether everything in it is finite, as JSON needs it.
    fn made_finite(mut self) -> Self {
        let bound = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
        self.mean = bound(self.mean);
        self.squares = bound(self.squares);
        self
    }
}

/// Takes finite numbers in.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpreadBuilder {
    spread: Spread,
    quantiles: QuantilesBuilder,
    block: Vec<f64>,
}

impl SpreadBuilder {
    pub(crate) fn push(&mut self, value: f64) {
        self.quantiles.push(value);
        self.block.push(value);
        if self.block.len() == BLOCK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let count = self.block.len() as f64;
        // Divided first where the sum could overflow.
        let sum = sum(&self.block, |value| value);
        let mean = if sum.is_finite() { sum / count } else { self.block.iter().map(|value| value / count).sum() };
        let squares = self::sum(&self.block, |value| (value - mean) * (value - mean));
        self.spread.add(self.block.len() as u64, mean, squares);
        self.block.clear();
    }

    pub(crate) fn finish(mut self) -> Spread {
        self.flush();
        Spread { quantiles: self.quantiles.finish(), ..self.spread }.made_finite()
    }
}

/// In four lanes: a processor adds several numbers at once if the order is left to it, and this fixes the order.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let (fours, rest) = values.as_chunks::<4>();
    let mut lanes = [0.0; 4];
    for four in fours {
        for (lane, value) in lanes.iter_mut().zip(four) {
            *lane += of(*value);
        }
    }
    let rest: f64 = rest.iter().map(|value| of(*value)).sum();
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut builder = SpreadBuilder::default();
        values.into_iter().for_each(|value| builder.push(value));
        builder.finish()
    }

    #[test]
    fn mean_and_variance_of_few_and_many() {
        assert_eq!((of([]).mean(), of([]).variance()), (None, None));
        assert_eq!((of([3.0]).mean(), of([3.0]).variance()), (Some(3.0), None));
        let spread = of((1..=10_000).map(f64::from));
        assert!((spread.mean().unwrap() - 5000.5).abs() < 1e-9);
        assert!((spread.variance().unwrap() / 8_334_166.666_666_667 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_small_spread_around_a_large_mean_survives() {
        let spread = of((0..100_000).map(|at| 1e9 + f64::from(at % 2)));
        assert!((spread.variance().unwrap() - 0.25).abs() < 1e-5, "{:?}", spread.variance());
    }

    #[test]
    fn huge_numbers_stay_finite() {
        let spread = of([f64::MAX, f64::MAX, f64::MIN, f64::MAX]);
        assert!(spread.mean().unwrap().is_finite());
        assert!(serde_json::to_string(&spread).unwrap().contains("mean"));
    }
}
