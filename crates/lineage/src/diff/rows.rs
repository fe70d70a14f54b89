//! In which rows and columns two tables differ.

use runstone_core::record::MaterializationRecord;
use runstone_core::store::Store;
use runstone_core::time::Timestamp;
use runstone_exec::objects::ObjectStore;
use runstone_table::{ColumnMoves, DiffOptions, TableDiff, diff, moves};

use crate::{Error, Kind, Result, tables};

/// How tables are compared.
#[derive(Debug, Clone, Default)]
pub struct RowOptions {
    /// Columns that tell which rows belong together; they are looked for where none is given.
    pub key: Vec<String>,
    /// How many rows of each kind are shown.
    pub samples: usize,
    /// The time, for profiles that are worked out on the way.
    pub now: Timestamp,
}

/// What differs between two tables.
pub(super) struct Rows {
    pub(super) table: TableDiff,
    pub(super) moves: Vec<ColumnMoves>,
}

/// Compares two versions where both are tables.
pub(super) fn compare(
    store: &mut dyn Store,
    objects: &ObjectStore,
    old: &MaterializationRecord,
    new: &MaterializationRecord,
    options: &RowOptions,
) -> Result<Option<Rows>> {
    let table = |it: &MaterializationRecord| tables::of_content(objects, it.hash, it.kind, &it.file_name);
    let (Some(before), Some(after)) = (table(old)?, table(new)?) else {
        return if options.key.is_empty() {
            Ok(None)
        } else {
            Err(Error::usage("a key is for tables, and these are none"))
        };
    };
    let profiles = [old, new].map(|it| tables::of_version(store, objects, it, false, options.now));
    let [Ok(was), Ok(is)] = profiles else {
        // What is called a table and cannot be read as one still has bytes that differ.
        return if options.key.is_empty() {
            Ok(None)
        } else {
            Err(Error::usage("a key is for tables, and these cannot be read"))
        };
    };
    let how = DiffOptions {
        key: options.key.clone(),
        samples: options.samples,
        profiles: Some((&was, &is)),
        ..DiffOptions::default()
    };
    let table = diff(&before, &after, &how)
        .map_err(|error| Error::new(Kind::Usage, "the tables cannot be compared").because(error))?;
    Ok(Some(Rows { table, moves: moves(&was, &is) }))
}
