//! What differs between two versions of a table: columns, and rows by a key.
//!
//! Both tables are read once (twice where a key has to be looked for or no profiles are at hand), and once more where
//! rows changed or samples are wanted. Rows are compared by hashes of 128 bits of their values, which are spilled to
//! temporary files in partitions of one key range each.
//!
//! Memory: [`DiffOptions::memory`] for the partition at hand, a bit for each row, and the batches being read. Rows that
//! share one key are in one partition, at 32 bytes each. Disk: 32 bytes for each row of both tables, then 16 bytes and
//! 4 for each column for each changed row.

mod columns;
mod detail;
mod hashed;
mod join;
mod key;
mod spill;

use std::path::PathBuf;

use serde::Serialize;

use crate::{Profile, ReadOptions, Scalar, Table, TableError, profile};

use columns::Shared;
pub use columns::{Retyped, SchemaDiff};
use join::Joined;

/// How two tables are compared.
#[derive(Debug, Clone)]
pub struct DiffOptions<'a> {
    /// How they are read.
    pub read: ReadOptions<'a>,
    /// The columns that tell which rows belong together. Where there are none, a key is looked for.
    pub key: Vec<String>,
    /// How many rows of each kind are shown.
    pub samples: usize,
    /// The profiles of the old and the new table, if they are at hand.
    pub profiles: Option<(&'a Profile, &'a Profile)>,
    /// Bytes of memory for hashes of rows.
    pub memory: usize,
    /// Where temporary files go; the system's folder for them if nothing else is said.
    pub folder: Option<PathBuf>,
}

impl Default for DiffOptions<'_> {
    /// Ten samples, 128 MiB.
    fn default() -> Self {
        let read = ReadOptions::default();
        Self { read, key: Vec::new(), samples: 10, profiles: None, memory: 128 << 20, folder: None }
    }
}

/// What differs between two tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableDiff {
    /// Of the columns.
    pub schema: SchemaDiff,
    /// Rows of the old table.
    pub old_rows: u64,
    /// Rows of the new table.
    pub new_rows: u64,
    /// How it was told which rows belong together.
    pub key: Key,
    /// Rows with a key that only the new table has.
    pub added: u64,
    /// Rows with a key that only the old table has.
    pub removed: u64,
    /// Rows with a key that both have, and with other values.
    pub changed: u64,
    /// Rows that are equal in the columns that both tables have.
    pub unchanged: u64,
    /// In how many of the changed rows each column has another value; columns without any are left out.
    pub changed_columns: Vec<ChangedColumn>,
    /// Keys that more than one row has. Of those rows equal ones are unchanged, and the others count as removed and
    /// added, because nothing says which belong together.
    pub duplicate_keys: DuplicateKeys,
    /// Some of the rows, the first of each kind in the order of their table.
    pub samples: Samples,
}

/// How it was told which rows belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "how", content = "columns", rename_all = "snake_case")]
pub enum Key {
    /// By the columns that the caller named.
    Given(Vec<String>),
    /// By columns that are unique in both tables.
    Chosen(Vec<String>),
    /// Nothing told it: rows are compared as a whole, so that none is changed.
    WholeRows,
}

/// A column with changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedColumn {
    /// Its name.
    pub column: String,
    /// Changed rows in which it has another value.
    pub rows: u64,
}

/// How many keys occur more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DuplicateKeys {
    /// In the old table.
    pub old: u64,
    /// In the new table.
    pub new: u64,
}

/// Some rows that differ.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Samples {
    /// Rows of the new table.
    pub added: Vec<SampleRow>,
    /// Rows of the old table.
    pub removed: Vec<SampleRow>,
    /// Rows of both.
    pub changed: Vec<ChangedRow>,
}

/// A row of one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleRow {
    /// Its number, from 1; over all files of the table.
    pub row: u64,
    /// Its cells, without the nulls.
    pub cells: Vec<SampleCell>,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleCell {
    /// The column.
    pub column: String,
    /// Its value.
    pub value: Scalar,
}

/// A row that both tables have, with other values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedRow {
    /// Its number in the old table, from 1.
    pub old_row: u64,
    /// Its number in the new table, from 1.
    pub new_row: u64,
    /// Its key.
    pub key: Vec<SampleCell>,
    /// The cells that differ.
    pub cells: Vec<ChangedCell>,
}

/// A cell with another value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedCell {
    /// The column.
    pub column: String,
    /// Its value in the old table.
    pub old: Scalar,
    /// Its value in the new table.
    pub new: Scalar,
}

impl TableDiff {
    /// Whether the tables have the same columns in the same order, with the same types, and the same rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schema.is_empty() && self.added + self.removed + self.changed == 0
    }
}

/// Compares two versions of a table, which may be in different formats. Columns belong together by their names, and
/// rows are compared in the columns that both tables have; the order of rows does not matter.
///
/// Values compare by what they mean: `1` and `1.0` are equal. A column that is text in one of the tables is compared as
/// text, as it stands in CSV, because there `1.0` and `1` are different texts.
///
/// # Errors
/// A table cannot be read, the key names a column that is not in both, temporary files cannot be written, or the caller
/// stopped it.
pub fn diff(old: &Table, new: &Table, options: &DiffOptions<'_>) -> Result<TableDiff, TableError> {
    let worked_out;
    let (old_profile, new_profile) = match options.profiles {
        Some(profiles) => profiles,
        None => {
            worked_out = (profile(old, &options.read)?, profile(new, &options.read)?);
            (&worked_out.0, &worked_out.1)
        }
    };
    let shared = Shared::of(old_profile, new_profile);
    let tables = Tables { old, new, rows: (old_profile.rows(), new_profile.rows()), shared: &shared, options };
    let (key, joined) = tables.join(old_profile, new_profile)?;
    let (changed_columns, samples) = tables.detail(&key, &joined)?;
    Ok(TableDiff {
        schema: SchemaDiff::of(old_profile, new_profile),
        old_rows: joined.old_rows,
        new_rows: joined.new_rows,
        added: joined.added,
        removed: joined.removed,
        changed: joined.changed,
        unchanged: joined.unchanged,
        changed_columns,
        duplicate_keys: if key == Key::WholeRows { DuplicateKeys::default() } else { joined.duplicate_keys },
        samples,
        key,
    })
}

/// Two tables and how they are compared.
struct Tables<'a> {
    old: &'a Table,
    new: &'a Table,
    /// Rows of each, as their profiles say.
    rows: (u64, u64),
    shared: &'a [Shared],
    options: &'a DiffOptions<'a>,
}

impl Tables<'_> {
    /// Finds out which rows belong together, trying keys until one is unique.
    fn join(&self, old: &Profile, new: &Profile) -> Result<(Key, Joined), TableError> {
        if !self.options.key.is_empty() {
            let places = key::places(&self.options.key, self.shared, old, new)?;
            return Ok((Key::Given(self.options.key.clone()), self.join_by(&places)?));
        }
        if self.shared.is_empty() {
            return Ok((Key::WholeRows, Joined::apart(self.rows, self.options.samples)));
        }
        for places in key::single_columns(self.shared, old, new) {
            let joined = self.join_by(&places)?;
            if joined.duplicate_keys == DuplicateKeys::default() {
                return Ok((Key::Chosen(self.names(&places)), joined));
            }
        }
        for places in self.several_columns(old, new)? {
            let joined = self.join_by(&places)?;
            if joined.duplicate_keys == DuplicateKeys::default() {
                return Ok((Key::Chosen(self.names(&places)), joined));
            }
        }
        let all: Vec<usize> = (0..self.shared.len()).collect();
        Ok((Key::WholeRows, self.join_by(&all)?))
    }

    fn names(&self, places: &[usize]) -> Vec<String> {
        places.iter().map(|place| self.shared[*place].name.clone()).collect()
    }
}
