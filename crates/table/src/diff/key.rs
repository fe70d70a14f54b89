//! Which columns tell rows apart: named by the caller, or chosen because they are unique in both tables.

use rayon::prelude::*;

use super::Tables;
use super::columns::Shared;
use super::hashed::Hasher;
use crate::sketch::Distinct;
use crate::{ColumnProfile, ColumnType, Profile, Table, TableError};

/// How many single columns, and how many combinations, are tried at most. Each costs a pass over both tables.
const TRIES: usize = 3;
/// Combinations are made of so many columns, those with the most different values.
const COMBINED: usize = 8;
/// A count of different values that is this close to the number of rows may be it: five standard errors.
const ALMOST: f64 = 0.92;

/// The places of the columns that the caller named.
pub(super) fn places(
    key: &[String],
    shared: &[Shared],
    old: &Profile,
    new: &Profile,
) -> Result<Vec<usize>, TableError> {
    key.iter()
        .map(|name| {
            shared.iter().position(|column| column.name == *name).ok_or_else(|| {
                let (side, table) = if old.column(name).is_none() { ("old", old) } else { ("new", new) };
                let columns: Vec<&str> = table.columns().iter().map(ColumnProfile::name).collect();
                TableError::NoColumn { column: name.clone(), side, columns: columns.join(", ") }
            })
        })
        .collect()
}

/// Columns that may be a key by themselves, the likeliest first.
pub(super) fn single_columns(shared: &[Shared], old: &Profile, new: &Profile) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = (0..shared.len())
        .filter(|place| may_be_unique(&shared[*place], old) && may_be_unique(&shared[*place], new))
        .collect();
    places.sort_by_key(|place| (unlikeliness(&shared[*place].name), *place));
    places.into_iter().take(TRIES).map(|place| vec![place]).collect()
}

fn may_be_unique(column: &Shared, profile: &Profile) -> bool {
    profile
        .column(&column.name)
        .is_some_and(|column| can_be_in_key(column) && is_almost(distinct(column), profile.rows()))
}

fn distinct(column: &ColumnProfile) -> (u64, bool) {
    let distinct = column.distinct();
    (distinct.count, distinct.exact)
}

fn is_almost((count, exact): (u64, bool), rows: u64) -> bool {
    if exact { count == rows } else { count as f64 >= rows as f64 * ALMOST }
}

/// Numbers with a fraction, truth values and nested values are measured, not named. A table without rows has no types.
fn can_be_in_key(column: &ColumnProfile) -> bool {
    let named = [ColumnType::Integer, ColumnType::Text, ColumnType::Date, ColumnType::Timestamp, ColumnType::Null];
    column.nulls() == 0 && named.contains(&column.column_type())
}

/// 0 for the names that keys have most often.
fn unlikeliness(name: &str) -> u32 {
    let name = name.to_lowercase();
    match name.as_str() {
        "id" | "key" | "uuid" | "guid" => 0,
        _ if name.ends_with("id") || name.ends_with("key") || name.starts_with("id_") => 1,
        _ => 2,
    }
}

impl Tables<'_> {
    /// Pairs and triples of columns that may be a key, fewer columns first.
    pub(super) fn several_columns(&self, old: &Profile, new: &Profile) -> Result<Vec<Vec<usize>>, TableError> {
        let mut sets = combinations(self.shared, old, new);
        for (table, profile) in [(self.old, old), (self.new, new)] {
            if !sets.is_empty() {
                let counts = self.count(table, &sets)?;
                let unique = |(_, count): &(Vec<usize>, (u64, bool))| is_almost(*count, profile.rows());
                sets = sets.into_iter().zip(counts).filter(unique).map(|(set, _)| set).collect();
            }
        }
        sets.truncate(TRIES);
        Ok(sets)
    }

    /// How many different values each set of columns has.
    fn count(&self, table: &Table, sets: &[Vec<usize>]) -> Result<Vec<(u64, bool)>, TableError> {
        let mut counts = vec![Distinct::default(); sets.len()];
        Hasher { shared: self.shared, options: &self.options.read }.read(table, |batch| {
            sets.par_iter().zip(&mut counts).for_each(|(set, count)| {
                (0..batch.rows()).for_each(|row| count.insert(batch.row(row, set) as u64));
            });
            Ok(true)
        })?;
        Ok(counts.iter().map(Distinct::count).collect())
    }
}

/// Sets of two and three columns whose values suffice to tell all rows apart.
fn combinations(shared: &[Shared], old: &Profile, new: &Profile) -> Vec<Vec<usize>> {
    let count = |place: usize, profile: &Profile| {
        let column = profile.column(&shared[place].name).filter(|column| can_be_in_key(column));
        column.map(|column| column.distinct().count as f64)
    };
    let mut columns: Vec<(usize, f64, f64)> =
        (0..shared.len()).filter_map(|place| Some((place, count(place, old)?, count(place, new)?))).collect();
    columns.sort_by(|a, b| (b.1 + b.2).total_cmp(&(a.1 + a.2)).then(a.0.cmp(&b.0)));
    columns.truncate(COMBINED);
    columns.sort_by_key(|(place, ..)| *place);
    let suffices = |set: &[usize]| {
        let product = |of: fn(&(usize, f64, f64)) -> f64| set.iter().map(|at| of(&columns[*at])).product::<f64>();
        product(|column| column.1) >= old.rows() as f64 && product(|column| column.2) >= new.rows() as f64
    };
    let mut sets = Vec::new();
    for a in 0..columns.len() {
        sets.extend((a + 1..columns.len()).map(|b| vec![a, b]));
    }
    for a in 0..columns.len() {
        for b in a + 1..columns.len() {
            sets.extend((b + 1..columns.len()).map(|c| vec![a, b, c]));
        }
    }
    sets.retain(|set| suffices(set));
    sets.into_iter().map(|set| set.into_iter().map(|at| columns[at].0).collect()).collect()
}
