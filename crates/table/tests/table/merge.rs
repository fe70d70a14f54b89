//! Merging profiles of parts agrees with the profile of the whole.

use proptest::prelude::*;
use runstone_table::{ColumnProfile, Format, Part, Profile, ReadOptions, Scalar, Table, profile};

use super::grid::{Grid, Series, grids};

fn table(grids: &[Grid]) -> Table {
    let part = |grid: &Grid| Part::bytes(grid.csv(csv::QuoteStyle::Necessary));
    Table::new(Format::Csv, grids.iter().map(part).collect())
}

fn of(grids: &[Grid]) -> Profile {
    profile(&table(grids), &ReadOptions::default()).unwrap()
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-300),
        (a, b) => a == b,
    }
}

/// What is exact is equal; sums are within rounding; sketches within their errors.
fn agree(merged: &ColumnProfile, whole: &ColumnProfile) -> Result<(), TestCaseError> {
    prop_assert_eq!((merged.name(), merged.column_type()), (whole.name(), whole.column_type()));
    prop_assert_eq!((merged.kinds(), merged.nulls()), (whole.kinds(), whole.nulls()));
    prop_assert_eq!((merged.min(), merged.max()), (whole.min(), whole.max()));
    prop_assert_eq!((merged.nan(), merged.infinite()), (whole.nan(), whole.infinite()));
    prop_assert_eq!(merged.max_length(), whole.max_length());
    prop_assert_eq!(merged.distinct(), whole.distinct());
    let means = (merged.mean(), whole.mean());
    let scale = whole.variance().map_or(0.0, f64::sqrt);
    prop_assert!(close(means.0, means.1) || (means.0.unwrap() - means.1.unwrap()).abs() <= 1e-9 * scale, "{:?}", means);
    prop_assert!(close(merged.mean_length(), whole.mean_length()));
    for share in [0.05, 0.25, 0.5, 0.75, 0.95] {
        let Some(point) = whole.quantile(share) else { continue };
        let (a, b) = (merged.cdf(point).unwrap(), whole.cdf(point).unwrap());
        prop_assert!((a - b).abs() < 0.03, "{share} at {point}: {a} {b}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_merge_of_parts_is_the_profile_of_the_whole(grid in grids(2..400), cut in 0.0..1.0) {
        let cut = (grid.rows() as f64 * cut) as usize;
        let (a, b) = (grid.slice(0..cut), grid.slice(cut..grid.rows()));
        let mut merged = of(std::slice::from_ref(&a));
        merged.merge(&of(std::slice::from_ref(&b)));
        // A folder is the merge of its files, to the byte.
        prop_assert_eq!(of(&[a, b]).to_json(), merged.to_json());
        let whole = of(&[grid]);
        prop_assert_eq!(merged.rows(), whole.rows());
        for (merged, whole) in merged.columns().iter().zip(whole.columns()) {
            agree(merged, whole)?;
            if whole.distinct().count <= 128 {
                prop_assert_eq!(merged.top(128), whole.top(128));
            }
        }
    }
}

fn numbers(values: impl Iterator<Item = i64>) -> Grid {
    Grid { columns: vec![("n".to_owned(), Series::Integer(values.map(Some).collect()))] }
}

#[test]
fn large_parts_merge_within_the_errors() {
    let value = |at: i64| at.wrapping_mul(2_654_435_761) % 1_000_003;
    let parts: Vec<Grid> = (0..5).map(|part| numbers((part * 40_000..(part + 1) * 40_000).map(value))).collect();
    let whole = of(&[numbers((0..200_000).map(value))]);
    let merged = of(&parts);
    agree(&merged.columns()[0], &whole.columns()[0]).unwrap();
    let mut sorted: Vec<f64> = (0..200_000).map(|at| value(at) as f64).collect();
    sorted.sort_by(f64::total_cmp);
    for share in [0.01, 0.1, 0.5, 0.9, 0.99] {
        let point = sorted[(share * 200_000.0) as usize];
        let estimate = merged.columns()[0].cdf(point).unwrap();
        assert!((estimate - share).abs() < 0.02, "{share}: {estimate}");
    }
}

#[test]
fn columns_that_a_file_lacks_are_null_there() {
    let a = Part::bytes("a,b\n1,x\n2,y\n");
    let b = Part::bytes("b,c\nz,0.5\n");
    let profile = profile(&Table::new(Format::Csv, vec![a, b]), &ReadOptions::default()).unwrap();
    let known: Vec<(&str, u64, u64)> =
        profile.columns().iter().map(|column| (column.name(), column.values(), column.nulls())).collect();
    assert_eq!(known, [("a", 2, 1), ("b", 3, 0), ("c", 1, 2)]);
    assert_eq!(profile.column("c").unwrap().max(), Some(Scalar::Float(0.5)));
}

#[test]
fn one_text_makes_the_column_of_a_folder_text() {
    let parts = vec![Part::bytes("a\n1\n"), Part::bytes("a\nN/A\n")];
    let profile = profile(&Table::new(Format::Csv, parts), &ReadOptions::default()).unwrap();
    assert_eq!(profile.columns()[0].column_type().to_string(), "text");
    assert_eq!(profile.columns()[0].mean(), Some(1.0));
}
