//! Statistics of the dates and moments of a column. The spread counts seconds since 1970, UTC.

use serde::{Deserialize, Serialize};

use super::spread::{Spread, SpreadBuilder};
use crate::value::{Scalar, time};

/// Of the times of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    min: Scalar,
    max: Scalar,
    pub(crate) spread: Spread,
}

impl Times {
    pub(crate) fn merge(&mut self, other: &Self) {
        if nanos(&other.min) < nanos(&self.min) {
            self.min = other.min.clone();
        }
        if nanos(&other.max) > nanos(&self.max) {
            self.max = other.max.clone();
        }
        self.spread.merge(&other.spread);
    }

    /// The first moment.
    pub(crate) fn min(&self) -> Scalar {
        self.min.clone()
    }

    /// The last moment.
    pub(crate) fn max(&self) -> Scalar {
        self.max.clone()
    }
}

fn nanos(scalar: &Scalar) -> i128 {
    match scalar {
        Scalar::Timestamp(nanos) => *nanos,
        Scalar::Date(days) => time::midnight(*days),
        _ => 0,
    }
}

/// Takes times in.
#[derive(Debug, Clone)]
pub(crate) struct TimesBuilder {
    bounds: (i128, i128),
    spread: SpreadBuilder,
}

impl Default for TimesBuilder {
    fn default() -> Self {
        Self { bounds: (i128::MAX, i128::MIN), spread: SpreadBuilder::default() }
    }
}

impl TimesBuilder {
    /// Takes nanoseconds since 1970.
    pub(crate) fn push(&mut self, nanos: i128) {
        self.bounds = (self.bounds.0.min(nanos), self.bounds.1.max(nanos));
        self.spread.push(time::seconds(nanos));
    }

    /// Nothing when nothing was taken in.
    pub(crate) fn finish(self) -> Option<Times> {
        let (min, max) = self.bounds;
        let spread = self.spread.finish();
        (min <= max).then_some(Times { min: Scalar::Timestamp(min), max: Scalar::Timestamp(max), spread })
    }
}
