//! A difference finds exactly what was edited.

use std::collections::BTreeMap;

use proptest::prelude::*;
use runstone_table::{DiffOptions, Format, Key, Part, Scalar, Table, TableDiff, diff};

/// Rows by their key; a null is an empty cell.
type Rows = BTreeMap<u32, [Option<i32>; 3]>;

const COLUMNS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Edit {
    Add([Option<i32>; 3]),
    Remove(prop::sample::Index),
    /// Which row, which column, what.
    Change(prop::sample::Index, usize, Option<i32>),
}

fn cells() -> impl Strategy<Value = [Option<i32>; 3]> {
    prop::array::uniform3(prop::option::weighted(0.8, 0..50))
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        cells().prop_map(Edit::Add),
        any::<prop::sample::Index>().prop_map(Edit::Remove),
        (any::<prop::sample::Index>(), 0..3_usize, prop::option::of(0..50))
            .prop_map(|(row, column, value)| Edit::Change(row, column, value)),
    ];
    prop::collection::vec(edit, 0..20)
}

fn apply(rows: &Rows, edits: &[Edit]) -> Rows {
    let mut new = rows.clone();
    let mut next = 1_000_000;
    for edit in edits {
        let keys: Vec<u32> = new.keys().copied().collect();
        match edit {
            Edit::Add(cells) => {
                new.insert(next, *cells);
                next += 1;
            }
            Edit::Remove(row) if !keys.is_empty() => {
                new.remove(row.get(&keys));
            }
            Edit::Change(row, column, value) if !keys.is_empty() => {
                new.get_mut(row.get(&keys)).unwrap()[*column] = *value;
            }
            Edit::Remove(_) | Edit::Change(..) => {}
        }
    }
    new
}

/// In an order that a seed chooses.
fn written(rows: &Rows, order: u32, format: Format) -> Table {
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by_key(|(key, _)| key.wrapping_mul(2_654_435_761).rotate_left(order));
    let mut text = if format == Format::Csv { "id,a,b,c\n".to_owned() } else { String::new() };
    for (key, cells) in sorted {
        if format == Format::Csv {
            let cell = |cell: &Option<i32>| cell.map_or(String::new(), |cell| cell.to_string());
            text.push_str(&format!("k{key},{},{},{}\n", cell(&cells[0]), cell(&cells[1]), cell(&cells[2])));
        } else {
            let cell = |cell: &Option<i32>| cell.map_or("null".to_owned(), |cell| format!("{cell}.0"));
            let [a, b, c] = [cell(&cells[0]), cell(&cells[1]), cell(&cells[2])];
            text.push_str(&format!("{{\"id\":\"k{key}\",\"a\":{a},\"b\":{b},\"c\":{c}}}\n"));
        }
    }
    Table::new(format, vec![Part::bytes(text)])
}

fn check(found: &TableDiff, old: &Rows, new: &Rows) -> Result<(), TestCaseError> {
    let keys = |rows: &Rows, other: &Rows| rows.keys().filter(|key| !other.contains_key(key)).count() as u64;
    let both: Vec<_> = old.iter().filter_map(|(key, cells)| Some((key, cells, new.get(key)?))).collect();
    let changed = both.iter().filter(|(_, old, new)| old != new).count() as u64;
    prop_assert_eq!((found.added, found.removed), (keys(new, old), keys(old, new)));
    prop_assert_eq!((found.changed, found.unchanged), (changed, both.len() as u64 - changed));
    for (at, name) in COLUMNS.iter().enumerate() {
        let expected = both.iter().filter(|(_, old, new)| old[at] != new[at]).count() as u64;
        let counted =
            found.changed_columns.iter().find(|column| column.column == *name).map_or(0, |column| column.rows);
        prop_assert_eq!(counted, expected, "{}", name);
    }
    prop_assert_eq!(found.samples.changed.len() as u64, changed.min(10));
    for row in &found.samples.changed {
        let Scalar::Text(key) = &row.key[0].value else { panic!("{row:?}") };
        let key: u32 = key[1..].parse().unwrap();
        for (at, name) in COLUMNS.iter().enumerate() {
            let cell = row.cells.iter().find(|cell| cell.column == *name);
            prop_assert_eq!(cell.is_some(), old[&key][at] != new[&key][at]);
            if let Some(cell) = cell {
                let shown = cell.new.to_string().trim_end_matches(".0").to_owned();
                prop_assert_eq!(shown, new[&key][at].map_or(String::new(), |value| value.to_string()));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_difference_finds_the_edits(
        rows in prop::collection::btree_map(0..1000_u32, cells(), 0..80),
        edits in edits(),
        order in 0..32_u32,
        is_json in any::<bool>(),
        memory in prop_oneof![Just(1_usize), Just(1 << 10), Just(1 << 27)],
    ) {
        let new = apply(&rows, &edits);
        let old_table = written(&rows, 0, Format::Csv);
        let new_table = written(&new, order, if is_json { Format::JsonLines } else { Format::Csv });
        let options = DiffOptions { key: vec!["id".to_owned()], memory, ..DiffOptions::default() };
        if is_json && new.is_empty() {
            // Without rows JSON Lines has no columns.
            return Ok(());
        }
        check(&diff(&old_table, &new_table, &options).unwrap(), &rows, &new)?;
        let found = diff(&old_table, &new_table, &DiffOptions { memory, ..DiffOptions::default() }).unwrap();
        prop_assert_eq!(&found.key, &Key::Chosen(vec!["id".to_owned()]));
        check(&found, &rows, &new)?;
        let found = diff(&new_table, &new_table, &DiffOptions { memory, ..DiffOptions::default() }).unwrap();
        prop_assert!(found.is_empty());
    }
}

/// More rows than wait in memory, so that files are written.
#[test]
fn large_tables_are_compared_with_little_memory() {
    let rows: Rows = (0..60_000).map(|key| (key, [Some(key as i32), Some(7), None])).collect();
    let mut new = rows.clone();
    for key in (0..60_000).step_by(3) {
        new.get_mut(&key).unwrap()[1] = Some(8);
    }
    new.remove(&1);
    let options = DiffOptions { memory: 1 << 20, key: vec!["id".to_owned()], ..DiffOptions::default() };
    let found = diff(&written(&rows, 0, Format::Csv), &written(&new, 5, Format::Csv), &options).unwrap();
    check(&found, &rows, &new).unwrap();
    assert_eq!(found.changed, 20_000);
}
