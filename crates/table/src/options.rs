//! How much is accepted, and how a caller stops what takes long.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::TableError;

/// How much of a table is accepted. Memory is bounded by these, not by the size of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Columns of a table. Each costs about 200 KiB while it is profiled.
    pub columns: usize,
    /// Bytes of a row of CSV, or of a line of JSON Lines.
    pub row_bytes: usize,
    /// Bytes of a page of Parquet, decompressed.
    pub page_bytes: usize,
}

impl Default for Limits {
    /// 2,000 columns, rows of 16 MiB, pages of 256 MiB.
    fn default() -> Self {
        Self { columns: 2_000, row_bytes: 16 << 20, page_bytes: 256 << 20 }
    }
}

/// How tables are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// How much is accepted.
    pub limits: Limits,
    /// Set by the caller to end the work with [`TableError::Stopped`]; looked at every few thousand rows.
    pub stop: Option<&'a AtomicBool>,
}

impl ReadOptions<'_> {
    pub(crate) fn check(&self) -> Result<(), TableError> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(TableError::Stopped),
            _ => Ok(()),
        }
    }
}
