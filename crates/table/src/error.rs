//! What can go wrong with a table, always with the part it is about.

use std::io;

/// A failure to read a table or to compare two of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A system call failed.
    #[error("cannot {action} {part}")]
    Io {
        /// What was tried, as a verb: `read`, `write`.
        action: &'static str,
        /// On what.
        part: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bytes are not of the format.
    #[error("{part} is not a valid {format} file: {reason}")]
    Malformed {
        /// The file.
        part: String,
        /// What it was read as.
        format: crate::Format,
        /// What is wrong, and where.
        reason: String,
    },
    /// The format is used in a way that cannot be read here.
    #[error("{part} cannot be read: {what} is not supported; {instead}")]
    Unsupported {
        /// The file.
        part: String,
        /// What is not supported.
        what: String,
        /// What to do.
        instead: &'static str,
    },
    /// More columns than allowed.
    #[error("{part} has more than {limit} columns")]
    TooManyColumns {
        /// The file.
        part: String,
        /// How many are allowed.
        limit: usize,
    },
    /// A row is longer than allowed.
    #[error("{part}: row {row} is longer than {limit} bytes; an opening quote may not be closed")]
    RowTooLong {
        /// The file.
        part: String,
        /// Counted from 1, without the header.
        row: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// The lines of a file are mostly not what they should be.
    #[error("{part} is not JSON Lines: {bad} of {lines} lines are not JSON objects")]
    BadLines {
        /// The file.
        part: String,
        /// Lines that are no objects.
        bad: u64,
        /// Lines that are not blank.
        lines: u64,
    },
    /// A column that was asked for is not in the table.
    #[error("there is no column {column:?} in the {side} table; it has {columns}")]
    NoColumn {
        /// The name asked for.
        column: String,
        /// `old` or `new`.
        side: &'static str,
        /// The names there are.
        columns: String,
    },
    /// The caller asked for the end.
    #[error("stopped")]
    Stopped,
}

impl TableError {
    pub(crate) fn read(part: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { action: "read", part: part.to_owned(), source }
    }
}
