//! Differences that are known beforehand.

use runstone_table::{
    ChangedCell, ChangedColumn, DiffOptions, DuplicateKeys, Format, Key, Part, Scalar, Table, TableDiff, TableError,
    diff,
};

fn csv(text: &str) -> Table {
    Table::new(Format::Csv, vec![Part::bytes(text)])
}

fn jsonl(text: &str) -> Table {
    Table::new(Format::JsonLines, vec![Part::bytes(text)])
}

fn keyed<'a>(key: &[&str]) -> DiffOptions<'a> {
    DiffOptions { key: key.iter().map(|name| (*name).to_owned()).collect(), ..DiffOptions::default() }
}

fn compare(old: &str, new: &str) -> TableDiff {
    diff(&csv(old), &csv(new), &DiffOptions::default()).unwrap()
}

fn counts(found: &TableDiff) -> (u64, u64, u64, u64) {
    (found.added, found.removed, found.changed, found.unchanged)
}

#[test]
fn rows_are_added_removed_and_changed_by_their_key() {
    let found = compare("id,name,n\n1,a,1\n2,b,2\n3,c,3\n", "id,name,n\n4,d,4\n3,c,3\n1,A,10\n");
    assert_eq!(found.key, Key::Chosen(vec!["id".to_owned()]));
    assert_eq!(counts(&found), (1, 1, 1, 1));
    let changed = |column: &str| ChangedColumn { column: column.to_owned(), rows: 1 };
    assert_eq!(found.changed_columns, [changed("name"), changed("n")]);
    let text = |text: &str| Scalar::Text(text.to_owned());
    let sample = &found.samples.changed[0];
    assert_eq!((sample.old_row, sample.new_row), (1, 3));
    assert_eq!((sample.key[0].column.as_str(), &sample.key[0].value), ("id", &Scalar::Integer(1)));
    let cell = ChangedCell { column: "name".to_owned(), old: text("a"), new: text("A") };
    assert_eq!(sample.cells[0], cell);
    assert_eq!((sample.cells[1].column.as_str(), &sample.cells[1].new), ("n", &Scalar::Integer(10)));
    assert_eq!((found.samples.added[0].row, &found.samples.added[0].cells[1].value), (1, &text("d")));
    assert_eq!((found.samples.removed[0].row, &found.samples.removed[0].cells[0].value), (2, &Scalar::Integer(2)));
    assert!(!found.is_empty());
}

#[test]
fn columns_are_compared_by_name() {
    let found = compare("id,a,b,c\n1,1,x,9\n2,2,y,9\n", "b,id,a,d\nx,1,1.5,7\ny,2,2,7\n");
    let schema = &found.schema;
    assert_eq!((schema.added.as_slice(), schema.removed.as_slice()), (&["d".to_owned()][..], &["c".to_owned()][..]));
    assert_eq!(schema.retyped.len(), 1);
    assert_eq!((schema.retyped[0].column.as_str(), schema.retyped[0].new.to_string()), ("a", "float".to_owned()));
    assert!(schema.reordered);
    assert_eq!(counts(&found), (0, 0, 1, 1), "2 is 2.0, and columns of one side do not count");
}

#[test]
fn numbers_compare_by_value_and_texts_as_they_stand() {
    let found = compare("id,n\n1,1\n2,2\n3,\n", "id,n\n1,1.0\n2,2e0\n3,\n");
    assert_eq!(counts(&found), (0, 0, 0, 3));
    let found = compare("id,v\n1,1.0\n2,abc\n3,007\n", "id,v\n1,1\n2,abc\n3,7\n");
    assert_eq!(counts(&found), (0, 0, 2, 1), "versions and codes are texts here");
    assert_eq!(found.samples.changed[0].cells[0].old, Scalar::Text("1.0".to_owned()));
}

#[test]
fn a_column_that_becomes_text_changes_only_where_it_did() {
    let found = compare("id,n\n1,1\n2,2.50\n3,3\n", "id,n\n1,1\n2,2.50\n3,N/A\n");
    assert_eq!(counts(&found), (0, 0, 1, 2));
    assert_eq!(found.schema.retyped[0].new.to_string(), "text");
}

#[test]
fn formats_compare_by_meaning() {
    let old = csv("id,when,n,t\n1,2024-01-01,1.0,x\n2,2024-01-02 00:00:00,,\"a \"\"b\"\"\"\n");
    let new = jsonl(
        "{\"id\":1.0,\"when\":\"2024-01-01T00:00:00Z\",\"n\":1,\"t\":\"x\"}\n{\"id\":2,\"when\":\"2024-01-02\",\"n\":null,\"t\":\"a \\\"b\\\"\"}\n",
    );
    let found = diff(&old, &new, &keyed(&["id"])).unwrap();
    assert_eq!(counts(&found), (0, 0, 0, 2), "{found:#?}");
}

#[test]
fn nested_values_compare_by_meaning() {
    let old = jsonl("{\"id\":1,\"o\":{\"a\":1,\"b\":[1,2]}}\n{\"id\":2,\"o\":{}}\n");
    let new = jsonl("{\"id\":1,\"o\":{ \"b\":[1.0, 2],\"a\":1}}\n{\"id\":2,\"o\":[]}\n");
    assert_eq!(counts(&diff(&old, &new, &DiffOptions::default()).unwrap()), (0, 0, 1, 1));
}

#[test]
fn two_columns_together_are_a_key() {
    let old = "day,shop,n\n1,a,5\n1,b,5\n2,a,5\n2,b,6\n";
    let new = "day,shop,n\n1,a,5\n1,b,7\n2,a,5\n2,b,6\n";
    let found = compare(old, new);
    assert_eq!(found.key, Key::Chosen(vec!["day".to_owned(), "shop".to_owned()]));
    assert_eq!(counts(&found), (0, 0, 1, 3));
}

#[test]
fn without_a_key_whole_rows_are_compared() {
    let found = compare("a,b\n1,x\n1,x\n1,x\n2,y\n", "a,b\n1,x\n1,x\n2,z\n2,z\n");
    assert_eq!(found.key, Key::WholeRows);
    assert_eq!(counts(&found), (2, 2, 0, 2));
    assert_eq!(found.duplicate_keys, DuplicateKeys::default());
    assert_eq!(found.samples.added.iter().map(|row| row.row).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn duplicate_keys_are_reported_and_matched_where_rows_are_equal() {
    let old = csv("id,n\n1,1\n1,2\n1,2\n2,5\n3,1\n");
    let new = csv("id,n\n1,2\n1,3\n2,6\n3,1\n3,1\n");
    let found = diff(&old, &new, &keyed(&["id"])).unwrap();
    assert_eq!(found.duplicate_keys, DuplicateKeys { old: 1, new: 2 });
    // Of key 1 one row is equal, two are gone and one is new; key 2 changed; of key 3 one is equal and one is new.
    assert_eq!(counts(&found), (2, 2, 1, 2));
}

#[test]
fn a_key_that_is_not_there_is_a_clear_error() {
    let error = diff(&csv("a,b\n1,2\n"), &csv("a,c\n1,2\n"), &keyed(&["b"])).unwrap_err();
    assert!(matches!(error, TableError::NoColumn { side: "new", .. }));
    assert_eq!(error.to_string(), "there is no column \"b\" in the new table; it has a, c");
}

#[test]
fn nulls_are_equal_to_each_other_in_keys_and_values() {
    let found = diff(&csv("id,n\n,1\n2,\n"), &csv("id,n\n,1\n2,\n"), &keyed(&["id"])).unwrap();
    assert_eq!(counts(&found), (0, 0, 0, 2));
}

#[test]
fn tables_with_nothing_in_common_and_empty_tables() {
    let found = compare("a\n1\n2\n", "b\n1\n");
    assert_eq!(counts(&found), (1, 2, 0, 0));
    assert_eq!((found.samples.removed.len(), found.samples.added.len()), (2, 1));
    let found = compare("a\n", "a\n1\n");
    assert_eq!(counts(&found), (1, 0, 0, 0));
    assert!(compare("", "").is_empty());
    assert!(compare("a\n", "a\n").is_empty());
}

#[test]
fn long_values_that_differ_far_behind_are_changed() {
    let long = |end: &str| format!("id,t\n1,{}{end}\n", "x".repeat(1000));
    let found = compare(&long("a"), &long("b"));
    assert_eq!((found.changed, found.samples.changed[0].cells.len()), (1, 1));
}

#[test]
fn rows_of_several_files_are_numbered_on() {
    let old = Table::new(Format::Csv, vec![Part::bytes("id,n\n1,1\n2,2\n"), Part::bytes("n,id\n3,3\n")]);
    let new = Table::new(Format::Csv, vec![Part::bytes("id,n\n3,4\n"), Part::bytes("id,n\n2,2\n1,1\n")]);
    let found = diff(&old, &new, &DiffOptions::default()).unwrap();
    assert_eq!(counts(&found), (0, 0, 1, 2));
    assert_eq!((found.samples.changed[0].old_row, found.samples.changed[0].new_row), (3, 1));
}

#[test]
fn the_difference_is_written_as_json() {
    let found = compare("id,n\n1,1\n", "id,n\n1,2\n");
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.contains(r#""key":{"how":"chosen","columns":["id"]}"#), "{text}");
    assert!(text.contains(r#"{"column":"n","old":{"integer":1},"new":{"integer":2}}"#), "{text}");
}
