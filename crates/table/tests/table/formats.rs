//! The same rows give the same profile, whatever they are written in and however they are cut.

use proptest::prelude::*;
use runstone_table::{
    DiffOptions, Format, Limits, Part, Problems, Profile, ReadOptions, Scalar, Table, TableError, diff, profile,
};

use super::grid::{Grid, Series, grids};

fn of(table: &Table) -> Profile {
    profile(table, &ReadOptions::default()).unwrap()
}

fn csv(text: &str) -> Table {
    Table::new(Format::Csv, vec![Part::bytes(text.as_bytes())])
}

/// What people read of a column.
fn readable(profile: &Profile) -> Vec<String> {
    let columns = profile.columns().iter().map(|column| {
        let quantiles: Vec<_> = [0.0, 0.1, 0.5, 0.9, 1.0].map(|share| column.quantile(share)).into();
        format!(
            "{} {:?} nulls {} distinct {:?} top {:?} min {:?} max {:?} mean {:?} variance {:?} quantiles {quantiles:?} \
             cdf {:?} lengths {:?} {:?} nan {} infinite {}",
            column.name(),
            column.kinds(),
            column.nulls(),
            column.distinct(),
            column.top(20),
            column.min(),
            column.max(),
            column.mean(),
            column.variance(),
            column.cdf(0.0),
            column.mean_length(),
            column.max_length(),
            column.nan(),
            column.infinite(),
        )
    });
    columns.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_format_has_the_same_schema_and_statistics(grid in grids(1..60)) {
        let tables = grid.tables();
        let profiles: Vec<Profile> = tables.iter().map(of).collect();
        let parquet = profiles.last().unwrap();
        for (table, profile) in tables.iter().zip(&profiles) {
            prop_assert_eq!(profile.rows(), grid.rows() as u64);
            prop_assert_eq!(profile.problems(), Problems::default());
            prop_assert_eq!(readable(profile), readable(parquet));
            for (column, declared) in profile.columns().iter().zip(parquet.columns()) {
                prop_assert!(column.values() == 0 || column.column_type() == declared.column_type());
            }
            let options = DiffOptions { profiles: Some((profile, parquet)), ..DiffOptions::default() };
            let found = diff(table, tables.last().unwrap(), &options).unwrap();
            prop_assert_eq!((found.added, found.removed, found.changed), (0, 0, 0), "{:?}", found);
        }
    }

    #[test]
    fn neither_groups_nor_pages_nor_quotes_matter(grid in grids(1..300), group in 1..400_usize, page in 1..2000_usize) {
        let parquet = |group, page| of(&Table::new(Format::Parquet, vec![Part::bytes(grid.parquet(group, page))])).to_json();
        prop_assert_eq!(parquet(group, page), parquet(1000, 1 << 20));
        let csv = |style| of(&Table::new(Format::Csv, vec![Part::bytes(grid.csv(style))])).to_json();
        prop_assert_eq!(csv(csv::QuoteStyle::Always), csv(csv::QuoteStyle::Necessary));
    }

    #[test]
    fn the_stored_form_comes_back(grid in grids(0..40)) {
        for table in grid.tables() {
            let profile = of(&table);
            let text = profile.to_json();
            let read = Profile::from_json(&text).unwrap();
            prop_assert_eq!(&read, &profile);
            prop_assert_eq!(read.to_json(), text);
        }
    }

    /// Whatever the `csv` crate writes is read as it was meant: compared as texts with JSON Lines.
    #[test]
    fn any_text_comes_through_csv(cells in prop::collection::vec(("\\PC{0,4}", "[0-9.,\"\n\r\t e-]{0,5}"), 1..30)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["a", "b"]).unwrap();
        let mut lines = String::new();
        for (a, b) in &cells {
            writer.write_record([a, b]).unwrap();
            let null_or = |text: &String| if text.is_empty() { "null".to_owned() } else { serde_json::json!(text).to_string() };
            lines.push_str(&format!("{{\"a\":{},\"b\":{}}}\n", null_or(a), null_or(b)));
        }
        // A text of JSON Lines that is no date makes both columns texts, on both sides.
        writer.write_record(["x", "x"]).unwrap();
        lines.push_str("{\"a\":\"x\",\"b\":\"x\"}\n");
        let table = Table::new(Format::Csv, vec![Part::bytes(writer.into_inner().unwrap())]);
        let other = Table::new(Format::JsonLines, vec![Part::bytes(lines)]);
        let found = diff(&table, &other, &DiffOptions::default()).unwrap();
        prop_assert!(found.added + found.removed + found.changed == 0, "{:?}", found);
        prop_assert_eq!(found.new_rows, cells.len() as u64 + 1);
    }
}

/// Large enough for several batches, levels of sketches, and groups of the sampler.
fn large() -> Grid {
    let rows = 150_000_i64;
    let scattered = |at: i64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()) >> 20;
    Grid {
        columns: vec![
            ("id".to_owned(), Series::Integer((0..rows).map(Some).collect())),
            ("n".to_owned(), Series::Float((0..rows).map(|at| Some(scattered(at) as f64 / 7.0)).collect())),
            (
                "t".to_owned(),
                Series::Text((0..rows).map(|at| (at % 3 > 0).then(|| format!("x{}", at % 2000))).collect()),
            ),
        ],
    }
}

#[test]
fn neither_threads_nor_files_nor_chunks_matter() {
    let grid = large();
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("t.csv", grid.csv(csv::QuoteStyle::Necessary)), ("t.parquet", grid.parquet(40_000, 1 << 16))]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let of_file = of(&Table::of_file(&path).unwrap()).to_json();
        let in_memory = Table::new(Format::of_name(name).unwrap(), vec![Part::bytes(bytes)]);
        assert_eq!(of(&in_memory).to_json(), of_file);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| of(&in_memory).to_json()), of_file, "{threads} threads");
        }
    }
    // Quotes move every cell, and with it every end of a batch.
    let csv = |style| of(&Table::new(Format::Csv, vec![Part::bytes(grid.csv(style))])).to_json();
    assert_eq!(csv(csv::QuoteStyle::Always), csv(csv::QuoteStyle::Necessary));
}

#[test]
fn numbers_people_read_are_right() {
    let profile = of(&Table::new(Format::Csv, vec![Part::bytes(large().csv(csv::QuoteStyle::Necessary))]));
    let id = profile.column("id").unwrap();
    assert_eq!((id.min(), id.max()), (Some(Scalar::Integer(0)), Some(Scalar::Integer(149_999))));
    assert!((id.mean().unwrap() - 74_999.5).abs() < 1e-6);
    assert!((id.quantile(0.25).unwrap() / 150_000.0 - 0.25).abs() < 0.015);
    assert!((id.cdf(100_000.0).unwrap() - 2.0 / 3.0).abs() < 0.015);
    let distinct = id.distinct();
    assert!(!distinct.exact && distinct.count.abs_diff(150_000) < 7_500, "{distinct:?}");
    let text = profile.column("t").unwrap();
    assert_eq!((text.nulls(), text.is_nullable(), text.max_length()), (50_000, true, Some(5)));
}

#[test]
fn a_small_csv_file_is_understood() {
    let text = "id,n,when,flag,code,mix,none\n1,1.5,2024-01-01,true,007,1,\n2,nan,2024-01-02T00:00:00Z,false,x,true,\n3,inf,,true,12,2,\n";
    let profile = of(&csv(text));
    let types: Vec<String> = profile.columns().iter().map(|column| column.column_type().to_string()).collect();
    assert_eq!(types, ["integer", "float", "timestamp", "boolean", "text", "mixed", "null"]);
    let n = profile.column("n").unwrap();
    assert_eq!((n.mean(), n.nan(), n.infinite(), n.distinct().count), (Some(1.5), 1, 1, 3));
    assert_eq!(profile.column("when").unwrap().max().unwrap().to_string(), "2024-01-02T00:00:00Z");
    assert_eq!(profile.column("code").unwrap().kinds().text, 2);
}

#[test]
fn a_table_of_no_files_and_one_of_empty_files_have_no_rows() {
    assert_eq!(of(&Table::new(Format::Csv, Vec::new())).rows(), 0);
    let empty = Table::new(Format::JsonLines, vec![Part::bytes(""), Part::bytes("")]);
    assert_eq!((of(&empty).rows(), of(&empty).columns().len()), (0, 0));
}

#[test]
fn the_caller_can_stop() {
    let stop = std::sync::atomic::AtomicBool::new(true);
    let options = ReadOptions { stop: Some(&stop), ..ReadOptions::default() };
    assert!(matches!(profile(&csv("a\n1\n"), &options), Err(TableError::Stopped)));
    let options = DiffOptions { read: options, ..DiffOptions::default() };
    assert!(matches!(diff(&csv("a\n1\n"), &csv("a\n1\n"), &options), Err(TableError::Stopped)));
}

#[test]
fn errors_name_the_file() {
    let limits = Limits { columns: 1, ..Limits::default() };
    let part = Part::bytes("a,b\n").named("sales.csv");
    let options = ReadOptions { limits, ..ReadOptions::default() };
    let error = profile(&Table::new(Format::Csv, vec![part]), &options).unwrap_err();
    assert_eq!(error.to_string(), "sales.csv has more than 1 columns");
    let missing = Table::of_file("/nowhere/at/all.parquet").unwrap();
    assert_eq!(
        profile(&missing, &ReadOptions::default()).unwrap_err().to_string(),
        "cannot read /nowhere/at/all.parquet"
    );
    let wrong = Table::new(Format::Parquet, vec![Part::bytes("a,b\n1,2\n").named("x.parquet")]);
    let error = profile(&wrong, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("x.parquet is not a valid Parquet file: it does not end with PAR1"), "{error}");
}

#[test]
fn profiles_of_other_versions_are_refused() {
    let text = of(&csv("a\n1\n")).to_json();
    assert!(text.starts_with("{\"version\":1,"), "{text}");
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert!(Profile::from_json(&newer).unwrap_err().to_string().contains("version 2"));
    Profile::from_json("{}").unwrap_err();
    Profile::from_json(&text.replacen("\"rows\":1", "\"rows\":-1", 1)).unwrap_err();
}
