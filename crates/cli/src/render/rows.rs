//! What differs between two tables, for people.

use runstone_table::{ChangedRow, ColumnMoves, Key, Measure, SampleRow, Scalar, TableDiff};

use super::harmless;
use super::style::{BAD, BOLD, DIM, GOOD, paint};
use super::table::shorten;

/// The longest value that is shown, in characters.
const VALUE: usize = 40;
/// How many cells of a row are shown.
const CELLS: usize = 8;

pub(crate) fn text(diff: &TableDiff, moves: &[ColumnMoves]) -> String {
    let mut out = format!(
        "rows: {} → {}, {} added, {} removed, {} changed {}\n",
        diff.old_rows,
        diff.new_rows,
        diff.added,
        diff.removed,
        diff.changed,
        paint(DIM, &format!("({})", key(&diff.key)))
    );
    for (verb, columns) in [("added", &diff.schema.added), ("removed", &diff.schema.removed)] {
        for column in columns {
            out.push_str(&format!("  column {verb}: {}\n", harmless(column)));
        }
    }
    for column in &diff.schema.retyped {
        out.push_str(&format!("  column {}: {} → {}\n", harmless(&column.column), column.old, column.new));
    }
    for column in &diff.changed_columns {
        out.push_str(&format!("  column {} differs in {} rows\n", harmless(&column.column), column.rows));
    }
    for row in &diff.samples.removed {
        out.push_str(&format!("{}\n", paint(BAD, &format!("  - {}", row_text(row)))));
    }
    for row in &diff.samples.added {
        out.push_str(&format!("{}\n", paint(GOOD, &format!("  + {}", row_text(row)))));
    }
    for row in &diff.samples.changed {
        out.push_str(&format!("  ~ {}\n", changed(row)));
    }
    if !moves.is_empty() {
        out.push_str(&format!("{}\n", paint(BOLD, "statistics")));
    }
    for column in moves {
        let moved: Vec<String> = column
            .moves
            .iter()
            .map(|it| format!("{} {} → {}", measure(it.measure), value(it.old.as_ref()), value(it.new.as_ref())))
            .collect();
        out.push_str(&format!("  {}  {}\n", harmless(&column.column), moved.join(", ")));
    }
    out
}

fn key(key: &Key) -> String {
    match key {
        Key::Given(columns) => format!("by {}", columns.join(", ")),
        Key::Chosen(columns) => format!("by {}, which is unique in both", columns.join(", ")),
        Key::WholeRows => "as whole rows: no column tells them apart".to_owned(),
    }
}

fn row_text(row: &SampleRow) -> String {
    let cells = row.cells.iter().take(CELLS).map(|cell| format!("{}={}", cell.column, value(Some(&cell.value))));
    let more = if row.cells.len() > CELLS { " …" } else { "" };
    harmless(&format!("{}{more}", cells.collect::<Vec<_>>().join(" ")))
}

fn changed(row: &ChangedRow) -> String {
    let key = row.key.iter().map(|cell| format!("{}={}", cell.column, value(Some(&cell.value))));
    let cells = row
        .cells
        .iter()
        .take(CELLS)
        .map(|cell| format!("{} {} → {}", cell.column, value(Some(&cell.old)), value(Some(&cell.new))));
    harmless(&format!("{}: {}", key.collect::<Vec<_>>().join(" "), cells.collect::<Vec<_>>().join(", ")))
}

fn measure(measure: Measure) -> String {
    match measure {
        Measure::NullShare => "share of nulls".to_owned(),
        Measure::Distinct => "distinct".to_owned(),
        Measure::Min => "min".to_owned(),
        Measure::Max => "max".to_owned(),
        Measure::Mean => "mean".to_owned(),
        Measure::Deviation => "deviation".to_owned(),
        Measure::Quantile(share) => format!("quantile {share}"),
        Measure::MeanLength => "mean length".to_owned(),
        Measure::MaxLength => "longest".to_owned(),
    }
}

fn value(value: Option<&Scalar>) -> String {
    match value {
        None | Some(Scalar::Null) => "nothing".to_owned(),
        Some(Scalar::Float(number)) => {
            let text = format!("{number:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Some(value) => harmless(&shorten(&value.to_string(), VALUE)),
    }
}
