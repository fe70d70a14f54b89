//! Reading: each format gives batches of rows, column by column, and nothing here knows what they are for.

mod csv;
mod jsonl;
mod parquet;

use std::collections::HashSet;

use crate::profile::{ColumnType, Problems};
use crate::table::Part;
use crate::value::Value;
use crate::{Format, ReadOptions, TableError};

/// A column as the format names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its type, where the format declares one.
    pub(crate) declared: Option<ColumnType>,
}

/// Reads one part from its beginning to its end.
pub(crate) trait Scan: Send {
    type Batch: Batch;
    /// Whether values carry their types.
    const TYPED: bool;

    /// Fills `batch` with the next rows, in place of those it had; with none at the end.
    fn read(&mut self, batch: &mut Self::Batch) -> Result<(), TableError>;

    /// The columns found so far. JSON Lines may find more with each batch, and they come last.
    fn columns(&self) -> &[Column];

    /// What was wrong so far.
    fn problems(&self) -> Problems;
}

/// Some rows.
pub(crate) trait Batch: Default + Send + Sync {
    fn rows(&self) -> usize;

    /// Columns that have values here; later ones are null.
    fn columns(&self) -> usize;

    /// Calls `each` with the row and the value of all cells of a column that are not null, in order.
    fn visit(&self, column: usize, each: impl FnMut(usize, Value<'_>));

    /// The same with each value as text: as it stands in CSV, or would stand there.
    fn visit_text(&self, column: usize, mut each: impl FnMut(usize, &str)) {
        let mut text = String::new();
        self.visit(column, |row, value| match value {
            Value::Text(text) => each(row, text),
            other => {
                text.clear();
                other.write(&mut text);
                each(row, &text);
            }
        });
    }
}

/// What is done with a scan, whichever it is.
pub(crate) trait Visit {
    type Output;

    fn visit<S: Scan>(self, scan: S) -> Result<Self::Output, TableError>;
}

/// Opens a part and hands its scan over.
pub(crate) fn with<V: Visit>(
    format: Format,
    part: &Part,
    options: &ReadOptions<'_>,
    visit: V,
) -> Result<V::Output, TableError> {
    let limits = options.limits;
    match format {
        Format::Csv => visit.visit(csv::CsvScan::open(part, b',', format, limits)?),
        Format::Tsv => visit.visit(csv::CsvScan::open(part, b'\t', format, limits)?),
        Format::JsonLines => visit.visit(jsonl::JsonScan::open(part, limits)?),
        Format::Parquet => visit.visit(parquet::ParquetScan::open(part, limits)?),
    }
}

/// Names for all columns, each once: one without a name is called `column_3` after its place, and the second `a` is `a_2`.
fn unique(names: impl IntoIterator<Item = String> + Clone) -> Vec<String> {
    let given: HashSet<String> = names.clone().into_iter().collect();
    let mut used: HashSet<String> = HashSet::new();
    let mut all = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let is_given = !name.is_empty();
        let base = if is_given { name } else { format!("column_{}", at + 1) };
        let mut name = base.clone();
        let mut number = 2;
        // A name that stands in the header belongs to the first column that has it.
        while used.contains(&name) || !(is_given && name == base) && given.contains(&name) {
            name = format!("{base}_{number}");
            number += 1;
        }
        used.insert(name.clone());
        all.push(name);
    }
    all
}
