//! Rows as hashes: each cell of a shared column becomes 128 bits that are equal exactly where the values are.

use std::collections::HashMap;

use rayon::prelude::*;
use twox_hash::XxHash3_128;

use super::columns::Shared;
use crate::scan::{self, Batch, Column, Scan, Visit};
use crate::value::Value;
use crate::{ReadOptions, Scalar, Table, TableError};

/// Reads tables as hashes.
#[derive(Clone, Copy)]
pub(super) struct Hasher<'a> {
    pub(super) shared: &'a [Shared],
    pub(super) options: &'a ReadOptions<'a>,
}

/// Some rows of a table.
pub(super) struct Hashed<'b> {
    /// The number of the first row, from 0, over all parts.
    pub(super) first: u64,
    rows: usize,
    /// For each shared column, the hashes of its cells.
    cells: &'b [Vec<u128>],
    values: &'b dyn Values,
}

impl Hashed<'_> {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How many shared columns there are.
    pub(super) fn columns(&self) -> usize {
        self.cells.len()
    }

    /// The hash of one cell.
    pub(super) fn cell(&self, row: usize, column: usize) -> u128 {
        self.cells[column][row]
    }

    /// The hash of the cells of a row in some shared columns.
    pub(super) fn row(&self, row: usize, columns: &[usize]) -> u128 {
        if let [column] = columns {
            return self.cell(row, *column);
        }
        const ROOM: usize = 32;
        if columns.len() <= ROOM {
            let mut bytes = [0; ROOM * 16];
            for (at, column) in columns.iter().enumerate() {
                bytes[at * 16..at * 16 + 16].copy_from_slice(&self.cell(row, *column).to_le_bytes());
            }
            return XxHash3_128::oneshot(&bytes[..columns.len() * 16]);
        }
        let bytes: Vec<u8> = columns.iter().flat_map(|column| self.cell(row, *column).to_le_bytes()).collect();
        XxHash3_128::oneshot(&bytes)
    }

    /// Calls `each` with the row, the column and the value of all cells that are not null in the rows wanted.
    pub(super) fn values(&self, wanted: &[usize], each: &mut dyn FnMut(usize, &str, Scalar)) {
        self.values.values(wanted, each);
    }
}

/// The values behind hashes, whatever the format.
trait Values: Sync {
    fn values(&self, wanted: &[usize], each: &mut dyn FnMut(usize, &str, Scalar));
}

struct ValuesOf<'b, B> {
    batch: &'b B,
    columns: &'b [Column],
    /// For each column, whether its values are compared as texts.
    as_text: &'b [bool],
}

impl<B: Batch> Values for ValuesOf<'_, B> {
    fn values(&self, wanted: &[usize], each: &mut dyn FnMut(usize, &str, Scalar)) {
        for (at, column) in self.columns.iter().enumerate() {
            let is_wanted = |row: &usize| wanted.binary_search(row).is_ok();
            if self.as_text[at] {
                self.batch.visit_text(at, |row, text| {
                    if is_wanted(&row) {
                        each(row, &column.name, Value::Text(text).into());
                    }
                });
            } else {
                self.batch.visit(at, |row, value| {
                    if is_wanted(&row) {
                        each(row, &column.name, value.into());
                    }
                });
            }
        }
    }
}

impl Hasher<'_> {
    /// Reads a table in order, until `each` returns false.
    pub(super) fn read(
        self,
        table: &Table,
        mut each: impl FnMut(&Hashed<'_>) -> Result<bool, TableError>,
    ) -> Result<(), TableError> {
        let mut first = 0;
        let mut goes_on = true;
        for part in table.parts() {
            if goes_on {
                let visit = HashPart { hasher: self, first: &mut first, goes_on: &mut goes_on, each: &mut each };
                scan::with(table.format(), part, self.options, visit)?;
            }
        }
        Ok(())
    }
}

struct HashPart<'a, F> {
    hasher: Hasher<'a>,
    first: &'a mut u64,
    goes_on: &'a mut bool,
    each: &'a mut F,
}

impl<F: FnMut(&Hashed<'_>) -> Result<bool, TableError>> Visit for HashPart<'_, F> {
    type Output = ();

    fn visit<S: Scan>(self, mut scan: S) -> Result<(), TableError> {
        let shared = self.hasher.shared;
        let null = Value::Null.hash128();
        let mut cells: Vec<Vec<u128>> = vec![Vec::new(); shared.len()];
        let (mut batch, mut next) = (S::Batch::default(), S::Batch::default());
        scan.read(&mut batch)?;
        while batch.rows() > 0 && *self.goes_on {
            self.hasher.options.check()?;
            let columns = scan.columns().to_vec();
            let places: HashMap<&str, usize> =
                columns.iter().enumerate().map(|(at, column)| (column.name.as_str(), at)).collect();
            let texts: HashMap<&str, bool> =
                shared.iter().map(|column| (column.name.as_str(), column.as_text)).collect();
            let as_text: Vec<bool> =
                columns.iter().map(|column| texts.get(column.name.as_str()).copied().unwrap_or(false)).collect();
            let hash = || {
                cells.par_iter_mut().zip(shared).for_each(|(cells, column)| {
                    cells.clear();
                    cells.resize(batch.rows(), null);
                    match places.get(column.name.as_str()) {
                        Some(at) if column.as_text => {
                            batch.visit_text(*at, |row, text| cells[row] = Value::Text(text).hash128());
                        }
                        Some(at) => batch.visit(*at, |row, value| cells[row] = value.hash128()),
                        None => {}
                    }
                });
            };
            let (read, ()) = rayon::join(|| scan.read(&mut next), hash);
            read?;
            let values = ValuesOf { batch: &batch, columns: &columns, as_text: &as_text };
            let hashed = Hashed { first: *self.first, rows: batch.rows(), cells: &cells, values: &values };
            *self.goes_on = (self.each)(&hashed)?;
            *self.first += batch.rows() as u64;
            std::mem::swap(&mut batch, &mut next);
        }
        Ok(())
    }
}
