//! Profiles: what a table is like, worked out in one pass over its bytes.
//!
//! The same bytes give the same profile, byte for byte: no hash is seeded by chance, and neither the number of threads
//! nor the size of a read has any influence. The profile of a folder is the merge of the profiles of its files.

mod build;
mod column;
mod kinds;
mod numbers;
mod spread;
mod texts;
mod times;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use build::profile;
use column::Statistics;
pub use column::{ColumnProfile, DistinctCount, TopValue};
pub use kinds::{ColumnType, Kinds};

/// The version of the JSON form. It grows with each change that an older reader would misread.
const VERSION: u32 = 1;

/// What a table is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    version: u32,
    /// Whether the values carried their types.
    typed: bool,
    rows: u64,
    problems: Problems,
    columns: Vec<ColumnProfile>,
}

/// What was wrong with the bytes of a table, without making it unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problems {
    /// Rows of CSV with more or fewer cells than the header. Missing cells are null, others are left out.
    pub ragged_rows: u64,
    /// Cells of CSV, or lines of JSON Lines, with bytes that are not UTF-8. In CSV `U+FFFD` replaces them.
    pub invalid_utf8: u64,
    /// Lines of JSON Lines that are not JSON objects, or too long. They are no rows.
    pub bad_lines: u64,
}

impl Problems {
    /// Whether there were any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.ragged_rows += other.ragged_rows;
        self.invalid_utf8 += other.invalid_utf8;
        self.bad_lines += other.bad_lines;
    }
}

/// What was stored as a profile cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is not a profile.
    #[error("the stored profile cannot be read")]
    Malformed(#[from] serde_json::Error),
    /// A newer program wrote it.
    #[error(
        "the stored profile has version {found}, and this program reads version {VERSION}: profile the table again"
    )]
    Version {
        /// The version it has.
        found: u64,
    },
}

impl Profile {
    pub(crate) fn empty(typed: bool) -> Self {
        Self { version: VERSION, typed, rows: 0, problems: Problems::default(), columns: Vec::new() }
    }

    /// Rows of the table.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What was wrong with the bytes.
    #[must_use]
    pub fn problems(&self) -> Problems {
        self.problems
    }

    /// The columns, in the order of the table.
    #[must_use]
    pub fn columns(&self) -> &[ColumnProfile] {
        &self.columns
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Makes this the profile of the rows of both. Columns that one does not have are null there; those of `other`
    /// that are new come last.
    pub fn merge(&mut self, other: &Self) {
        self.typed &= other.typed;
        self.rows += other.rows;
        self.problems.merge(other.problems);
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (at, column) in self.columns.iter().enumerate() {
            places.insert(&column.name, at);
        }
        let places: Vec<Option<usize>> =
            other.columns.iter().map(|column| places.get(column.name.as_str()).copied()).collect();
        for (theirs, at) in other.columns.iter().zip(places) {
            match at {
                Some(at) => self.columns[at].statistics.merge(&theirs.statistics),
                None => self.columns.push(theirs.clone()),
            }
        }
        self.settle();
    }

    /// Works out what depends on the whole table.
    fn settle(&mut self) {
        for column in &mut self.columns {
            let Statistics { kinds, declared, .. } = &column.statistics;
            column.nulls = self.rows.saturating_sub(kinds.values());
            column.column_type = declared.unwrap_or_else(|| kinds.column_type(self.typed));
        }
    }

    /// The form in which a profile is stored. It is stable: the same profile has the same text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a profile has text keys and finite numbers")
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// The text is no profile, or one of a newer version.
    pub fn from_json(text: &str) -> Result<Self, ProfileError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let Versioned { version: found } = serde_json::from_str(text)?;
        if found != u64::from(VERSION) {
            return Err(ProfileError::Version { found });
        }
        Ok(serde_json::from_str(text)?)
    }
}
