//! Statistics of the texts and JSON values of a column. Lengths are in characters (Unicode scalar values).

use serde::{Deserialize, Serialize};

use crate::value::prefix;

/// The longest part of a text that the bounds keep, in bytes.
const BOUND: usize = 64;

/// Of the texts of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Texts {
    count: u64,
    characters: u64,
    longest: u64,
    /// First and last in the order of their bytes, and no more of them than `BOUND` bytes.
    min: String,
    max: String,
}

impl Texts {
    pub(crate) fn push(&mut self, text: &str) {
        let length = bytecount(text);
        self.characters += length;
        self.longest = self.longest.max(length);
        self.bound(text, text);
        self.count += 1;
    }

    fn bound(&mut self, low: &str, high: &str) {
        if self.count == 0 || low < self.min.as_str() {
            replace(&mut self.min, low);
        }
        if self.count == 0 || high > self.max.as_str() {
            replace(&mut self.max, high);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count > 0 {
            self.bound(&other.min, &other.max);
        }
        self.count += other.count;
        self.characters += other.characters;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn mean_length(&self) -> f64 {
        self.characters as f64 / self.count.max(1) as f64
    }

    pub(crate) fn longest(&self) -> u64 {
        self.longest
    }

    pub(crate) fn min(&self) -> &str {
        &self.min
    }

    pub(crate) fn max(&self) -> &str {
        &self.max
    }
}

fn replace(bound: &mut String, text: &str) {
    bound.clear();
    bound.push_str(prefix(text, BOUND));
}

/// Characters: all bytes but those that continue one.
fn bytecount(text: &str) -> u64 {
    text.bytes().filter(|byte| byte & 0xc0 != 0x80).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_characters_and_bounds_are_prefixes() {
        let mut texts = Texts::default();
        for text in ["héllo", "", &"z".repeat(1000)] {
            texts.push(text);
        }
        assert_eq!((texts.longest(), texts.mean_length()), (1000, 335.0));
        assert_eq!((texts.min(), texts.max()), ("", "z".repeat(BOUND).as_str()));
    }

    #[test]
    fn a_longer_text_with_the_same_prefix_replaces_nothing_wrong() {
        let mut texts = Texts::default();
        texts.push(&"é".repeat(100));
        texts.push(&"é".repeat(101));
        assert_eq!(texts.max(), "é".repeat(BOUND / 2));
    }
}
