//! Aligned columns that fit the terminal. Columns without any value are left out; only columns that say so are
//! shortened, names in the middle and sentences at the end, so that identities stay whole.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::style::{BOLD, PLAIN, paint};
use super::{Layout, harmless};

const GAP: usize = 2;
/// The narrowest a shortened column becomes.
const NARROWEST: usize = 12;

/// A table of text.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: String,
    right: bool,
    elastic: bool,
    prose: bool,
}

/// A value and its style.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Column {
    /// Text, on the left.
    pub(crate) fn left(title: impl Into<String>) -> Self {
        Self { title: title.into(), right: false, elastic: false, prose: false }
    }

    /// Numbers, on the right.
    pub(crate) fn right(title: impl Into<String>) -> Self {
        Self { title: title.into(), right: true, elastic: false, prose: false }
    }

    /// A name: its middle may be left out where the table is too wide.
    pub(crate) fn elastic(self) -> Self {
        Self { elastic: true, ..self }
    }

    /// A sentence: its end may be left out where the table is too wide.
    pub(crate) fn prose(self) -> Self {
        Self { elastic: true, prose: true, ..self }
    }
}

impl Cell {
    /// A value in a style.
    pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: harmless(text.as_ref()), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, PLAIN)
    }
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, which has a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = cells.into_iter().collect();
        debug_assert_eq!(row.len(), self.columns.len(), "a cell for each column");
        self.rows.push(row);
    }

    /// The lines, each ended by a line break.
    pub(crate) fn render(&self, layout: &Layout) -> String {
        let shown: Vec<usize> = (0..self.columns.len()).filter(|&at| self.has_values(at)).collect();
        let widths = self.widths(&shown, layout.width);
        let mut out = String::new();
        let titles: Vec<Cell> = self.columns.iter().map(|column| Cell::styled(&column.title, BOLD)).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            self.line(&mut out, row, &shown, &widths);
        }
        out
    }

    fn has_values(&self, column: usize) -> bool {
        self.rows.iter().any(|row| !row[column].text.is_empty())
    }

    fn widths(&self, shown: &[usize], available: Option<usize>) -> Vec<usize> {
        let natural = |&at: &usize| {
            let values = self.rows.iter().map(|row| row[at].text.width());
            values.chain([self.columns[at].title.width()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = shown.iter().map(natural).collect();
        let Some(available) = available else { return widths };
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let mut excess = total.saturating_sub(available);
        while excess > 0 {
            let widest = (0..shown.len())
                .filter(|&at| self.columns[shown[at]].elastic && widths[at] > NARROWEST)
                .max_by_key(|&at| widths[at]);
            let Some(widest) = widest else { break };
            widths[widest] -= 1;
            excess -= 1;
        }
        widths
    }

    fn line(&self, out: &mut String, row: &[Cell], shown: &[usize], widths: &[usize]) {
        for (position, (&at, &width)) in shown.iter().zip(widths).enumerate() {
            let cell = &row[at];
            let text = if self.columns[at].prose { clip(&cell.text, width) } else { shorten(&cell.text, width) };
            let padding = " ".repeat(width.saturating_sub(text.width()));
            let last = position + 1 == shown.len();
            if position > 0 {
                out.push_str(&" ".repeat(GAP));
            }
            if self.columns[at].right {
                out.push_str(&padding);
            }
            out.push_str(&paint(cell.style, &text));
            if !self.columns[at].right && !last {
                out.push_str(&padding);
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
}

/// The text within `width` columns, its middle left out where it is longer.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(1);
    let head = fitting(text.chars(), keep - keep / 2);
    let tail: String = fitting(text.chars().rev(), keep / 2).chars().rev().collect();
    format!("{head}…{tail}")
}

/// The text within `width` columns, its end left out where it is longer.
fn clip(text: &str, width: usize) -> String {
    if text.width() <= width { text.to_owned() } else { fitting(text.chars(), width.saturating_sub(1)) + "…" }
}

/// The first characters that fit in `width` columns.
fn fitting(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    chars
        .take_while(|c| match left.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            Column::left("NAME").elastic(),
            Column::right("SIZE"),
            Column::left("NOTE"),
            Column::left("HASH"),
        ]);
        table.row(["a/very/long/path/to/a/file.csv".into(), "1 B".into(), "".into(), "b3:123".into()]);
        table.row(["größe".into(), "12.3 KiB".into(), "".into(), "b3:456".into()]);
        table
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let expected = "\
NAME                                SIZE  HASH
a/very/long/path/to/a/file.csv       1 B  b3:123
größe                           12.3 KiB  b3:456
";
        assert_eq!(plain(&table().render(&Layout::fixed(80))), expected);
    }

    #[test]
    fn only_elastic_columns_are_shortened_and_from_the_middle() {
        let expected = "\
NAME                     SIZE  HASH
a/very/lo…/file.csv       1 B  b3:123
größe                12.3 KiB  b3:456
";
        let text = plain(&table().render(&Layout::fixed(37)));
        assert_eq!(text, expected);
        let narrow = plain(&table().render(&Layout::fixed(5)));
        assert!(narrow.contains("b3:123") && narrow.contains("12.3 KiB"), "{narrow}");
    }

    #[test]
    fn shortening_counts_columns_not_bytes() {
        assert_eq!(shorten("äöüßäöüß", 5), "äö…üß");
        assert_eq!(shorten("日本語日本語", 7).width(), 5);
        assert_eq!(shorten("abc", 3), "abc");
    }
}
