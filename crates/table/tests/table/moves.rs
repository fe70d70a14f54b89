//! What moved between two profiles.

use runstone_table::{ColumnMoves, Format, Measure, Part, Profile, ReadOptions, Scalar, Table, moves, profile};

fn of(text: &str) -> Profile {
    profile(&Table::new(Format::Csv, vec![Part::bytes(text)]), &ReadOptions::default()).unwrap()
}

fn column(name: &str, cells: impl Iterator<Item = String>) -> Profile {
    let lines: Vec<String> = std::iter::once(name.to_owned()).chain(cells).collect();
    of(&lines.join("\n"))
}

fn measures(moves: &[ColumnMoves]) -> Vec<Measure> {
    moves.iter().flat_map(|column| &column.moves).map(|moved| moved.measure).collect()
}

#[test]
fn nothing_moves_without_a_change() {
    let profile = of("a,b,c\n1,x,2024-01-01\n2,y,\n2,,nan\n");
    assert_eq!(moves(&profile, &profile), []);
}

#[test]
fn rows_in_another_order_move_nothing() {
    let cells = |at: i64| (at * 7919 % 50_000).to_string();
    let (old, new) = (column("n", (0..50_000).map(cells)), column("n", (0..50_000).rev().map(cells)));
    assert_eq!(moves(&old, &new), []);
}

#[test]
fn a_shift_is_seen_in_everything_that_depends_on_it() {
    let old = column("n", (0..1000).map(|at| at.to_string()));
    let new = column("n", (500..1500).map(|at| at.to_string()));
    let found = moves(&old, &new);
    let measures = measures(&found);
    for measure in [Measure::Mean, Measure::Min, Measure::Max, Measure::Quantile(0.5)] {
        assert!(measures.contains(&measure), "{measure:?} in {measures:?}");
    }
    for measure in [Measure::Distinct, Measure::NullShare, Measure::Deviation] {
        assert!(!measures.contains(&measure), "{measure:?} in {measures:?}");
    }
    assert!((found[0].distance.unwrap() - 0.5).abs() < 0.03, "{:?}", found[0].distance);
}

#[test]
fn nulls_distinct_values_and_lengths_move() {
    let found = moves(&of("a,k\nxx,1\nyy,2\n"), &of("a,k\nxxx,1\n,2\n"));
    assert_eq!(found.len(), 1);
    let share = found[0].moves.iter().find(|moved| moved.measure == Measure::NullShare).unwrap();
    assert_eq!((&share.old, &share.new), (&Some(Scalar::Float(0.0)), &Some(Scalar::Float(0.5))));
    let measures = measures(&found);
    for measure in [Measure::Distinct, Measure::MeanLength, Measure::MaxLength, Measure::Min, Measure::Max] {
        assert!(measures.contains(&measure), "{measure:?} in {measures:?}");
    }
}

#[test]
fn a_column_that_becomes_text_has_another_type_and_no_mean() {
    let found = moves(&of("a,k\n1,1\n"), &of("a,k\nx,1\n"));
    assert_eq!((found[0].old_type.to_string(), found[0].new_type.to_string()), ("integer".into(), "text".into()));
    let mean = found[0].moves.iter().find(|moved| moved.measure == Measure::Mean).unwrap();
    assert_eq!((&mean.old, &mean.new), (&Some(Scalar::Float(1.0)), &None));
}
