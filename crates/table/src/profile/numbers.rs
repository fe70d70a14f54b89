//! Statistics of the numbers of a column: bounds and spread of the finite ones; NaN and infinities are counted.

use serde::{Deserialize, Serialize};

use super::kinds::is_zero;
use super::spread::{Spread, SpreadBuilder};
use crate::value::Scalar;

/// Of the numbers of a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Numbers {
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) nan: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) infinite: u64,
    /// Smallest and largest integer, apart from floats because they are exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    integers: Option<(Scalar, Scalar)>,
    /// Smallest and largest finite float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floats: Option<(f64, f64)>,
    pub(crate) spread: Spread,
}

impl Numbers {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.nan += other.nan;
        self.infinite += other.infinite;
        if let Some((low, high)) = &other.integers {
            let (ours_low, ours_high) = self.integers.get_or_insert_with(|| (low.clone(), high.clone()));
            if whole(low) < whole(ours_low) {
                *ours_low = low.clone();
            }
            if whole(high) > whole(ours_high) {
                *ours_high = high.clone();
            }
        }
        if let Some((low, high)) = other.floats {
            let (ours_low, ours_high) = self.floats.unwrap_or((low, high));
            self.floats = Some((ours_low.min(low), ours_high.max(high)));
        }
        self.spread.merge(&other.spread);
    }

    /// The smallest finite number.
    pub(crate) fn min(&self) -> Option<Scalar> {
        let (integer, float) = (self.integers.as_ref().map(|(low, _)| low), self.floats.map(|(low, _)| low));
        match (integer, float) {
            (Some(integer), Some(float)) if float < whole(integer) as f64 => Some(Scalar::Float(float)),
            (Some(integer), _) => Some(integer.clone()),
            (None, float) => float.map(Scalar::Float),
        }
    }

    /// The largest finite number.
    pub(crate) fn max(&self) -> Option<Scalar> {
        let (integer, float) = (self.integers.as_ref().map(|(_, high)| high), self.floats.map(|(_, high)| high));
        match (integer, float) {
            (Some(integer), Some(float)) if float > whole(integer) as f64 => Some(Scalar::Float(float)),
            (Some(integer), _) => Some(integer.clone()),
            (None, float) => float.map(Scalar::Float),
        }
    }
}

/// Of integers that are kept as scalars.
fn whole(scalar: &Scalar) -> i128 {
    match scalar {
        Scalar::Integer(value) => *value,
        _ => 0,
    }
}

/// Takes numbers in.
#[derive(Debug, Clone)]
pub(crate) struct NumbersBuilder {
    nan: u64,
    infinite: u64,
    integers: (i128, i128),
    floats: (f64, f64),
    spread: SpreadBuilder,
}

impl Default for NumbersBuilder {
    fn default() -> Self {
        Self {
            nan: 0,
            infinite: 0,
            integers: (i128::MAX, i128::MIN),
            floats: (f64::INFINITY, f64::NEG_INFINITY),
            spread: SpreadBuilder::default(),
        }
    }
}

impl NumbersBuilder {
    pub(crate) fn integer(&mut self, value: i128) {
        self.integers = (self.integers.0.min(value), self.integers.1.max(value));
        self.spread.push(value as f64);
    }

    pub(crate) fn float(&mut self, value: f64) {
        if value.is_finite() {
            self.floats = (self.floats.0.min(value), self.floats.1.max(value));
            self.spread.push(value);
        } else if value.is_nan() {
            self.nan += 1;
        } else {
            self.infinite += 1;
        }
    }

    pub(crate) fn finish(self) -> Numbers {
        let (low, high) = self.integers;
        Numbers {
            nan: self.nan,
            infinite: self.infinite,
            integers: (low <= high).then_some((Scalar::Integer(low), Scalar::Integer(high))),
            floats: (self.floats.0 <= self.floats.1).then_some(self.floats),
            spread: self.spread.finish(),
        }
    }
}
