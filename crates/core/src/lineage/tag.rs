//! Tags: names that people give to versions of a dataset, such as `champion`, and may move.
//!
//! A tag never changes; its moves follow each other, each with a number. Whoever moves it says which move they saw last,
//! so that of two people who move it at the same time one is told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::NodeId;
use crate::time::Timestamp;

/// The longest name, in bytes.
pub const MAX_TAG_LEN: usize = 64;

/// A checked name of a tag: `[a-z][a-z0-9._-]{0,63}`.
///
/// Invariant: it can be mistaken for no other way to name a version: it is neither `latest` nor `v` with digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TagName(String);

/// Why a text is not a [`TagName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagNameError {
    /// Outside the grammar.
    #[error("{0:?} is no tag: tags have 1 to 64 small letters, digits, '.', '_' and '-', and start with a letter")]
    Grammar(String),
    /// It means something else already.
    #[error("{0:?} is no tag: it names a version already")]
    Taken(String),
}

impl TagName {
    /// Checks `text` against the grammar.
    ///
    /// # Errors
    /// [`TagNameError`] says what does not fit.
    pub fn new(text: &str) -> Result<Self, TagNameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
        if !starts || text.len() > MAX_TAG_LEN || !text.chars().all(allowed) {
            return Err(TagNameError::Grammar(text.to_owned()));
        }
        let is_number = text.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if text == "latest" || is_number {
            return Err(TagNameError::Taken(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for TagName {
    type Err = TagNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for TagName {
    type Error = TagNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<TagName> for String {
    fn from(name: TagName) -> Self {
        name.0
    }
}

/// Which move of a tag the mover saw last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is.
    Anything,
    /// The move of this number; 0 where there was none yet.
    Rev(i64),
}

/// A move of a tag to be put on record.
#[derive(Debug, Clone)]
pub struct NewTagMove {
    /// Full name of the dataset, which is on record.
    pub dataset: String,
    /// The tag.
    pub name: TagName,
    /// Publications of that dataset: several where it has cells. None take the tag away.
    pub targets: Vec<NodeId>,
    /// What it is a compare-and-set on.
    pub expect: Expect,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// Why, for people.
    pub note: Option<String>,
}

/// A move of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMove {
    /// Full name of the dataset.
    pub dataset: String,
    /// The tag.
    pub name: TagName,
    /// From 1, without gaps.
    pub rev: i64,
    /// Where it led, in the order of ids; nowhere means that it was taken away.
    pub targets: Vec<NodeId>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// Why, for people.
    pub note: Option<String>,
}

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagMoved {
    /// It is on record under this number.
    Moved(i64),
    /// Nothing was changed: this move came in between, or none where there is no such tag.
    Overtaken(Option<TagMove>),
    /// Nothing was changed: the dataset, or a publication of it, is not on record.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_no_other_way_to_name_a_version() {
        for bad in ["", "latest", "v", "v12", "1a", "A", "a/b", "a b", "b3:12ab", "run:4", "a@b", &"a".repeat(65)] {
            assert!(TagName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["champion", "v1.0", "va", "b3", "run", "stable-2026_11", &"a".repeat(64)] {
            assert!(TagName::new(good).is_ok(), "{good:?}");
        }
    }
}
