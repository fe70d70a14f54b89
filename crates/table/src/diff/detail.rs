//! The second look, at the rows that differ: which columns have changed, and what some of the rows are.

use std::collections::BTreeMap;

use super::columns::Shared;
use super::hashed::{Hashed, Hasher};
use super::join::{Joined, Marks};
use super::spill::{self, Spill};
use super::{ChangedCell, ChangedColumn, ChangedRow, Key, SampleCell, SampleRow, Samples, Tables};
use crate::{Scalar, Table, TableError};

/// The rows to show, by number.
type Rows = BTreeMap<u64, Shown>;

/// A row to show.
#[derive(Default)]
struct Shown {
    /// Its cells, without the nulls.
    cells: Vec<SampleCell>,
    /// The hashes of its cells in the shared columns; values may be cut.
    hashes: Vec<u128>,
}

impl Shown {
    fn value(&self, column: &str) -> Scalar {
        self.cells.iter().find(|cell| cell.column == column).map_or(Scalar::Null, |cell| cell.value.clone())
    }
}

/// What is wanted of one table.
struct Wanted<'a> {
    table: &'a Table,
    changed: &'a Marks,
    rows: Rows,
    /// Takes the hashes of changed rows: the key, then 32 bits for each column.
    spill: Spill,
}

impl Tables<'_> {
    pub(super) fn detail(&self, key: &Key, joined: &Joined) -> Result<(Vec<ChangedColumn>, Samples), TableError> {
        let (added, removed) = (joined.added_sample.sorted(), joined.removed_sample.sorted());
        let changed = joined.changed_sample.sorted();
        let rows = |own: &[u64], of_both: &mut dyn Iterator<Item = u64>| -> Rows {
            own.iter().copied().chain(of_both).map(|number| (number, Shown::default())).collect()
        };
        let record = 16 + 4 * self.shared.len();
        let divisions = spill::divisions(2 * joined.changed, record, self.options);
        let spill = || Spill::new(record, divisions, self.options);
        let rows_of_old = rows(&removed, &mut changed.iter().map(|(old, _)| *old));
        let rows_of_new = rows(&added, &mut changed.iter().map(|(_, new)| *new));
        let mut old = Wanted { table: self.old, changed: &joined.old_changed, rows: rows_of_old, spill: spill() };
        let mut new = Wanted { table: self.new, changed: &joined.new_changed, rows: rows_of_new, spill: spill() };
        let columns = self.columns_of(key);
        self.collect(&mut old, &columns, joined.changed > 0)?;
        self.collect(&mut new, &columns, joined.changed > 0)?;
        let changed_columns = self.count_columns(&mut old.spill, &mut new.spill)?;
        let sample = |number: &u64, rows: &mut Rows| SampleRow {
            row: number + 1,
            cells: rows.remove(number).unwrap_or_default().cells,
        };
        let samples = Samples {
            changed: changed.iter().map(|pair| self.changed_row(key, *pair, &mut old.rows, &mut new.rows)).collect(),
            added: added.iter().map(|number| sample(number, &mut new.rows)).collect(),
            removed: removed.iter().map(|number| sample(number, &mut old.rows)).collect(),
        };
        Ok((changed_columns, samples))
    }

    /// The places of the columns of a key.
    fn columns_of(&self, key: &Key) -> Vec<usize> {
        let (Key::Given(names) | Key::Chosen(names)) = key else { return Vec::new() };
        names.iter().filter_map(|name| self.shared.iter().position(|column| column.name == *name)).collect()
    }

    /// Reads a table again, no further than necessary.
    fn collect(&self, wanted: &mut Wanted<'_>, key: &[usize], all: bool) -> Result<(), TableError> {
        let Some((last, _)) = wanted.rows.last_key_value() else {
            return if all { self.collect_until(wanted, key, u64::MAX) } else { Ok(()) };
        };
        let last = if all { u64::MAX } else { *last };
        self.collect_until(wanted, key, last)
    }

    fn collect_until(&self, wanted: &mut Wanted<'_>, key: &[usize], last: u64) -> Result<(), TableError> {
        let Wanted { table, changed, rows, spill } = wanted;
        let mut record = Vec::new();
        Hasher { shared: self.shared, options: &self.options.read }.read(table, |batch| {
            let numbers = batch.first..batch.first + batch.rows() as u64;
            take_values(batch, rows);
            if changed.any(numbers.clone()) {
                for row in (0..batch.rows()).filter(|row| changed.contains(batch.first + *row as u64)) {
                    let key = batch.row(row, key);
                    record.clear();
                    record.extend_from_slice(&key.to_le_bytes());
                    for column in 0..self.shared.len() {
                        record.extend_from_slice(&(batch.cell(row, column) as u32).to_le_bytes());
                    }
                    spill.push(key, &record)?;
                }
            }
            Ok(numbers.end <= last)
        })
    }

    /// In how many rows each column differs.
    fn count_columns(&self, old: &mut Spill, new: &mut Spill) -> Result<Vec<ChangedColumn>, TableError> {
        let record = 16 + 4 * self.shared.len();
        let mut counts = vec![0; self.shared.len()];
        for at in 0..old.divisions() {
            self.options.read.check()?;
            let (old, new) = (old.take(at)?, new.take(at)?);
            let sorted = |bytes: &'_ [u8]| -> Vec<usize> {
                let mut places: Vec<usize> = (0..bytes.len()).step_by(record).collect();
                places.sort_unstable_by_key(|place| &bytes[*place..*place + 16]);
                places
            };
            // A changed key stands once on each side, so the sorted records are pairs.
            for (ours, theirs) in sorted(&old).into_iter().zip(sorted(&new)) {
                let (ours, _) = old[ours + 16..ours + record].as_chunks::<4>();
                let (theirs, _) = new[theirs + 16..theirs + record].as_chunks::<4>();
                for ((ours, theirs), count) in ours.iter().zip(theirs).zip(&mut counts) {
                    *count += u64::from(ours != theirs);
                }
            }
        }
        let changed = self.shared.iter().zip(counts).filter(|(_, rows)| *rows > 0);
        Ok(changed.map(|(column, rows)| ChangedColumn { column: column.name.clone(), rows }).collect())
    }

    fn changed_row(&self, key: &Key, (old, new): (u64, u64), old_rows: &mut Rows, new_rows: &mut Rows) -> ChangedRow {
        let of_old = old_rows.remove(&old).unwrap_or_default();
        let of_new = new_rows.remove(&new).unwrap_or_default();
        let key = self.columns_of(key).into_iter().map(|place| &self.shared[place].name);
        let key = key.map(|name| SampleCell { column: name.clone(), value: of_old.value(name) }).collect();
        let hashes = of_old.hashes.iter().zip(&of_new.hashes);
        let differing = self.shared.iter().zip(hashes).filter(|(_, (old, new))| old != new);
        let cells = differing.map(|(Shared { name, .. }, _)| ChangedCell {
            column: name.clone(),
            old: of_old.value(name),
            new: of_new.value(name),
        });
        ChangedRow { old_row: old + 1, new_row: new + 1, cells: cells.collect(), key }
    }
}

/// Takes the values of the rows to show that are in a batch.
fn take_values(batch: &Hashed<'_>, rows: &mut Rows) {
    let numbers = batch.first..batch.first + batch.rows() as u64;
    let wanted: Vec<usize> = rows.range(numbers).map(|(number, _)| (number - batch.first) as usize).collect();
    for row in &wanted {
        let hashes = (0..batch.columns()).map(|column| batch.cell(*row, column)).collect();
        rows.entry(batch.first + *row as u64).or_default().hashes = hashes;
    }
    if !wanted.is_empty() {
        batch.values(&wanted, &mut |row, column, value| {
            let shown = rows.entry(batch.first + row as u64).or_default();
            shown.cells.push(SampleCell { column: column.to_owned(), value });
        });
    }
}
