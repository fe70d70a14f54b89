//! Partitions: the slices of time, or the listed values, that runs of a pipeline work on one at a time.
//!
//! A partition is known by its key, a text that can be a file name and the value of an environment variable. The slices
//! of a zone's time follow each other without a gap: each begins when the clock first reaches its name. Where clocks
//! are put back, a slice is longer; one that clocks leap over does not exist.

mod key;
mod slices;

use serde::{Deserialize, Serialize};

/// The axis of a subset that says which partition it is of: `partition=2026-11-01`.
pub const AXIS: &str = "partition";

pub use key::{Key, KeyError, MAX_KEY_LEN};
pub use slices::{Slices, Unit};

use crate::spec::suggest::nearest;
use crate::time::Timestamp;

/// How a pipeline is partitioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// By time.
    Time(Slices),
    /// By these values, in the order written; never empty.
    List(Vec<Key>),
}

impl Partitioning {
    /// The word of the language: `hour`, `day`, `week`, `month` or `list`.
    #[must_use]
    pub fn by(&self) -> &'static str {
        match self {
            Self::Time(slices) => slices.unit().as_str(),
            Self::List(_) => "list",
        }
    }

    /// The partition of this key.
    ///
    /// # Errors
    /// [`KeyError`] where the pipeline has no such partition; it says what its keys look like.
    pub fn parse(&self, text: &str) -> Result<Key, KeyError> {
        match self {
            Self::Time(slices) => slices.parse(text),
            Self::List(values) => {
                let key = Key::new(text)?;
                let names = values.iter().map(Key::as_str);
                match values.contains(&key) {
                    true => Ok(key),
                    false => Err(KeyError::NotListed {
                        text: text.to_owned(),
                        near: nearest(text, names).map(str::to_owned),
                    }),
                }
            }
        }
    }

    /// The first and the last partition of a span that people name: keys, or for slices of time also dates, of which
    /// the first means its first slice and the last its last one.
    ///
    /// # Errors
    /// [`KeyError`] where either is no partition, or the first comes after the last.
    pub fn range(&self, from: &str, to: &str) -> Result<(Key, Key), KeyError> {
        match self {
            Self::Time(slices) => slices.range(from, to),
            Self::List(values) => {
                let (from, to) = (self.parse(from)?, self.parse(to)?);
                let at = |key: &Key| values.iter().position(|value| value == key);
                if at(&from) > at(&to) { Err(KeyError::Backwards { from, to }) } else { Ok((from, to)) }
            }
        }
    }

    /// The partitions from one to another, both included, in their order; nothing is allocated for all of them.
    /// Empty where either is no partition of the pipeline.
    pub fn keys<'p>(&'p self, from: &Key, to: &Key) -> Box<dyn Iterator<Item = Key> + 'p> {
        match self {
            Self::Time(slices) => Box::new(slices.keys(from, to)),
            Self::List(values) => {
                let at = |key: &Key| values.iter().position(|value| value == key);
                let span = at(from).zip(at(to)).filter(|(from, to)| from <= to);
                Box::new(span.map(|(from, to)| &values[from..=to]).unwrap_or_default().iter().cloned())
            }
        }
    }

    /// The first partition.
    #[must_use]
    pub fn first(&self) -> Option<Key> {
        match self {
            Self::Time(slices) => slices.first(),
            Self::List(values) => values.first().cloned(),
        }
    }

    /// The slice of time that `time` is in; none outside of the declared start and end, and for lists.
    #[must_use]
    pub fn containing(&self, time: Timestamp) -> Option<Key> {
        match self {
            Self::Time(slices) => slices.containing(time),
            Self::List(_) => None,
        }
    }

    /// The newest partition that is wholly over at `time`: what a fire of a schedule works on. None before the first
    /// one is over, and for lists. After the declared end it stays the last one.
    #[must_use]
    pub fn previous_complete(&self, time: Timestamp) -> Option<Key> {
        match self {
            Self::Time(slices) => slices.previous_complete(time),
            Self::List(_) => None,
        }
    }

    /// From when to when a slice of time reaches, the end not included. None for lists and for keys that are none of
    /// the pipeline's.
    #[must_use]
    pub fn bounds(&self, key: &Key) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Time(slices) => slices.bounds(key),
            Self::List(_) => None,
        }
    }
}
