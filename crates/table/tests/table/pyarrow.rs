//! Parquet that another library wrote, against the same rows as JSON Lines. See `tests/data/README.md`.

use std::path::Path;

use runstone_table::{DiffOptions, Key, Profile, ReadOptions, Table, TableDiff, diff, profile};

fn table(name: &str) -> Table {
    Table::of_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn of(name: &str) -> Profile {
    profile(&table(name), &ReadOptions::default()).unwrap()
}

fn compare(rows: &str, name: &str) -> TableDiff {
    diff(&table(rows), &table(name), &DiffOptions::default()).unwrap()
}

fn assert_same_rows(rows: &str, name: &str) {
    let found = compare(rows, name);
    assert_eq!((found.added, found.removed, found.changed), (0, 0, 0), "{name}: {found:#?}");
    assert_eq!(found.unchanged, 40, "{name}");
}

#[test]
fn all_types_are_read() {
    for name in ["flat.parquet", "flat-v2.parquet"] {
        assert_same_rows("flat.jsonl", name);
        let found = compare("flat.jsonl", name);
        assert_eq!(found.key, Key::Chosen(vec!["i8".to_owned()]));
        assert!(found.schema.removed.is_empty());
        // Only JSON Lines does not know of a column without values, nor the types of whole decimals.
        assert_eq!(found.schema.added, ["null"], "{name}");
    }
    let types: Vec<String> =
        of("flat.parquet").columns().iter().map(|column| column.column_type().to_string()).collect();
    let expected = "integer integer integer integer integer integer integer integer float float float boolean text text \
                    text date timestamp timestamp timestamp text text float float integer text integer";
    assert_eq!(types.join(" "), expected);
}

#[test]
fn all_codecs_and_encodings_are_read() {
    for codec in ["none", "snappy", "gzip", "lz4"] {
        assert_same_rows("flat.jsonl", &format!("codec-{codec}.parquet"));
    }
    for name in ["encodings-1.parquet", "encodings-2.parquet", "int96.parquet"] {
        assert_same_rows("flat.jsonl", name);
    }
}

#[test]
fn another_codec_is_a_clear_error() {
    let error = profile(&table("codec-brotli.parquet"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("Brotli compression is not supported; write it again with"), "{error}");
}

#[test]
fn nested_columns_are_json() {
    for name in ["nested.parquet", "nested-v2.parquet"] {
        assert_same_rows("nested.jsonl", name);
        let profile = of(name);
        let types: Vec<String> = profile.columns().iter().map(|column| column.column_type().to_string()).collect();
        assert_eq!(types, ["integer", "json", "json", "json", "json", "json"]);
        assert_eq!(profile.column("tags").unwrap().top(1)[0].count, 10);
    }
}

#[test]
fn a_file_without_rows_has_its_types() {
    let profile = of("empty.parquet");
    assert_eq!((profile.rows(), profile.columns().len()), (0, 26));
    assert_eq!(profile.column("date").unwrap().column_type().to_string(), "date");
    assert_eq!(profile.column("date").unwrap().distinct().count, 0);
}
