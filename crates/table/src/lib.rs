//! Tables as bytes: what is in a CSV, JSON Lines or Parquet file, and what differs between two of them.
//!
//! Knows nothing of datasets, runs, databases or the object store: a table is a list of files in one format. Whoever
//! calls it decides which files, and what becomes of the results.

mod diff;
mod error;
mod format;
mod moves;
mod options;
mod profile;
mod scan;
mod sketch;
mod table;
mod value;

pub use diff::{
    ChangedCell, ChangedColumn, ChangedRow, DiffOptions, DuplicateKeys, Key, Retyped, SampleCell, SampleRow, Samples,
    SchemaDiff, TableDiff, diff,
};
pub use error::TableError;
pub use format::Format;
pub use moves::{ColumnMoves, Measure, Move, moves};
pub use options::{Limits, ReadOptions};
pub use profile::{
    ColumnProfile, ColumnType, DistinctCount, Kinds, Problems, Profile, ProfileError, TopValue, profile,
};
pub use table::{Part, Table};
pub use value::Scalar;
