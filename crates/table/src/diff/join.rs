//! Which rows belong together: hashes of keys and rows of both tables are brought together, division by division.

use std::collections::BinaryHeap;

use rayon::slice::ParallelSliceMut as _;

use super::hashed::Hasher;
use super::spill::{self, Spill};
use super::{DuplicateKeys, Tables};
use crate::{Table, TableError};

/// Key, row, number of the row.
const RECORD: usize = 32;

/// What was found out about the rows.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) old_rows: u64,
    pub(super) new_rows: u64,
    pub(super) added: u64,
    pub(super) removed: u64,
    pub(super) changed: u64,
    pub(super) unchanged: u64,
    pub(super) duplicate_keys: DuplicateKeys,
    /// Which rows of each table have changed.
    pub(super) old_changed: Marks,
    pub(super) new_changed: Marks,
    /// The rows to show, by number: of the new table, of the old one, of both.
    pub(super) added_sample: Least<u64>,
    pub(super) removed_sample: Least<u64>,
    pub(super) changed_sample: Least<(u64, u64)>,
}

/// A set of row numbers.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    fn set(&mut self, row: u64) {
        let word = (row / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (row % 64);
    }

    pub(super) fn contains(&self, row: u64) -> bool {
        self.0.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Whether there is one in a range.
    pub(super) fn any(&self, rows: std::ops::Range<u64>) -> bool {
        rows.into_iter().any(|row| self.contains(row))
    }
}

/// The smallest items.
#[derive(Debug)]
pub(super) struct Least<T> {
    most: usize,
    kept: BinaryHeap<T>,
}

impl<T: Ord> Default for Least<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T: Ord> Least<T> {
    fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new() }
    }

    fn push(&mut self, item: T) {
        if self.kept.len() < self.most {
            self.kept.push(item);
        } else if let Some(mut largest) = self.kept.peek_mut()
            && item < *largest
        {
            *largest = item;
        }
    }

    /// In order.
    pub(super) fn sorted(&self) -> Vec<T>
    where
        T: Copy,
    {
        self.kept.clone().into_sorted_vec()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    key: u128,
    row: u64,
    number: u64,
}

impl Record {
    fn encode(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&self.key.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.row.to_le_bytes());
        bytes[24..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD]) -> Self {
        let (key, rest) = bytes.split_first_chunk().expect("a record has 32 bytes");
        let (row, rest) = rest.split_first_chunk().expect("a record has 32 bytes");
        let (number, _) = rest.split_first_chunk().expect("a record has 32 bytes");
        Self { key: u128::from_le_bytes(*key), row: u64::from_le_bytes(*row), number: u64::from_le_bytes(*number) }
    }

    /// Sorted by key, row and number.
    fn decode_all(bytes: &[u8]) -> Vec<Self> {
        let (records, _) = bytes.as_chunks::<RECORD>();
        let mut records: Vec<Self> = records.iter().map(Self::decode).collect();
        records.par_sort_unstable();
        records
    }
}

impl Tables<'_> {
    /// Brings rows together that are equal in the columns of a key.
    pub(super) fn join_by(&self, key: &[usize]) -> Result<Joined, TableError> {
        let divisions = spill::divisions(self.rows.0 + self.rows.1, RECORD, self.options);
        let (mut old, old_rows) = self.spill(self.old, key, divisions)?;
        let (mut new, new_rows) = self.spill(self.new, key, divisions)?;
        let most = self.options.samples;
        let mut joined = Joined {
            old_rows,
            new_rows,
            added_sample: Least::new(most),
            removed_sample: Least::new(most),
            changed_sample: Least::new(most),
            ..Joined::default()
        };
        for at in 0..divisions {
            self.options.read.check()?;
            joined.join(&Record::decode_all(&old.take(at)?), &Record::decode_all(&new.take(at)?));
        }
        Ok(joined)
    }

    fn spill(&self, table: &Table, key: &[usize], divisions: usize) -> Result<(Spill, u64), TableError> {
        let all: Vec<usize> = (0..self.shared.len()).collect();
        let mut spill = Spill::new(RECORD, divisions, self.options);
        let mut rows = 0;
        Hasher { shared: self.shared, options: &self.options.read }.read(table, |batch| {
            for row in 0..batch.rows() {
                let key = batch.row(row, key);
                let record = Record { key, row: batch.row(row, &all) as u64, number: batch.first + row as u64 };
                spill.push(key, &record.encode())?;
            }
            rows += batch.rows() as u64;
            Ok(true)
        })?;
        Ok((spill, rows))
    }
}

impl Joined {
    /// Of tables that have nothing in common.
    pub(super) fn apart((old_rows, new_rows): (u64, u64), samples: usize) -> Self {
        let least = |rows: u64| Least { most: samples, kept: (0..rows.min(samples as u64)).collect() };
        let (added_sample, removed_sample) = (least(new_rows), least(old_rows));
        Self { old_rows, new_rows, added: new_rows, removed: old_rows, added_sample, removed_sample, ..Self::default() }
    }

    /// Goes through the keys of both sides in order.
    fn join(&mut self, mut old: &[Record], mut new: &[Record]) {
        loop {
            let key = match (old.first(), new.first()) {
                (Some(old), Some(new)) => old.key.min(new.key),
                (Some(one), None) | (None, Some(one)) => one.key,
                (None, None) => return,
            };
            let (of_old, rest_of_old) = old.split_at(old.iter().take_while(|record| record.key == key).count());
            let (of_new, rest_of_new) = new.split_at(new.iter().take_while(|record| record.key == key).count());
            self.same_key(of_old, of_new);
            (old, new) = (rest_of_old, rest_of_new);
        }
    }

    fn same_key(&mut self, old: &[Record], new: &[Record]) {
        self.duplicate_keys.old += u64::from(old.len() > 1);
        self.duplicate_keys.new += u64::from(new.len() > 1);
        match (old, new) {
            ([old], [new]) if old.row == new.row => self.unchanged += 1,
            ([old], [new]) => {
                self.changed += 1;
                self.old_changed.set(old.number);
                self.new_changed.set(new.number);
                self.changed_sample.push((old.number, new.number));
            }
            _ => self.match_rows(old, new),
        }
    }

    /// Equal rows are unchanged, each once; what is left over is removed and added.
    fn match_rows(&mut self, mut old: &[Record], mut new: &[Record]) {
        loop {
            match (old, new) {
                ([first, rest_of_old @ ..], [second, rest_of_new @ ..]) if first.row == second.row => {
                    self.unchanged += 1;
                    (old, new) = (rest_of_old, rest_of_new);
                }
                ([first, rest @ ..], [second, ..]) if first.row < second.row => {
                    self.remove(first);
                    old = rest;
                }
                ([first, rest @ ..], []) => {
                    self.remove(first);
                    old = rest;
                }
                (_, [second, rest @ ..]) => {
                    self.added += 1;
                    self.added_sample.push(second.number);
                    new = rest;
                }
                ([], []) => return,
            }
        }
    }

    fn remove(&mut self, record: &Record) {
        self.removed += 1;
        self.removed_sample.push(record.number);
    }
}
