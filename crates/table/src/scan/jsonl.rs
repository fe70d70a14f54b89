//! JSON Lines: one object on each line. Columns are the keys, in the order in which they appear first; a missing key
//! is null, as `null` is. Of equal keys in one object the last counts.
//!
//! Blank lines are no rows. Lines that are not objects, not UTF-8 or too long are counted and left out. A file is refused
//! where more than one line and more than a tenth of them are such, or all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Batch, Column, Scan};
use crate::profile::Problems;
use crate::table::{Input, Part};
use crate::value::{Value, json, time};
use crate::{Limits, TableError};

/// Bytes of lines that are handled at once.
const CHUNK: usize = 512 << 10;
/// One in so many lines may be bad.
const TOLERATED: u64 = 10;

#[derive(Debug)]
pub(crate) struct JsonScan {
    name: String,
    limits: Limits,
    input: Input,
    /// The beginning of a line whose end is not read yet.
    rest: Vec<u8>,
    /// Whether the rest of the current line is skipped, because it is too long.
    skipping: bool,
    ended: bool,
    columns: Vec<Column>,
    places: HashMap<String, usize>,
    problems: Problems,
    /// Lines that are not blank.
    lines: u64,
}

impl JsonScan {
    pub(crate) fn open(part: &Part, limits: Limits) -> Result<Self, TableError> {
        let limits = Limits { row_bytes: limits.row_bytes.min(1 << 30), ..limits };
        Ok(Self {
            name: part.name().to_owned(),
            limits,
            input: part.open()?,
            rest: Vec::new(),
            skipping: false,
            ended: false,
            columns: Vec::new(),
            places: HashMap::new(),
            problems: Problems::default(),
            lines: 0,
        })
    }

    /// Fills `bytes` with whole lines; leaves it empty at the end.
    fn lines(&mut self, bytes: &mut Vec<u8>) -> Result<(), TableError> {
        bytes.clear();
        bytes.append(&mut self.rest);
        while !self.ended {
            let before = bytes.len();
            bytes.resize(before + CHUNK, 0);
            let count = self.input.read(&mut bytes[before..]).map_err(TableError::read(&self.name))?;
            bytes.truncate(before + count);
            self.ended = count == 0;
            if self.skipping {
                match memchr::memchr(b'\n', &bytes[before..]) {
                    Some(end) => {
                        bytes.drain(..=before + end);
                        self.skipping = false;
                    }
                    None => bytes.clear(),
                }
            }
            if let Some(end) = memchr::memrchr(b'\n', bytes) {
                self.rest.extend_from_slice(&bytes[end + 1..]);
                bytes.truncate(end + 1);
                break;
            }
            if bytes.len() > self.limits.row_bytes {
                self.bad_line();
                bytes.clear();
                self.skipping = !self.ended;
            }
        }
        Ok(())
    }

    fn bad_line(&mut self) {
        self.lines += 1;
        self.problems.bad_lines += 1;
    }

    /// Takes a line into the batch, in which it starts at `start`.
    fn line(&mut self, line: &str, start: usize, batch: &mut Objects) -> Result<(), TableError> {
        let mut cells = Cells(Vec::with_capacity(self.columns.len()));
        if line.len() > self.limits.row_bytes || !cells.parse(line) {
            self.bad_line();
            return Ok(());
        }
        self.lines += 1;
        let mut expected = 0;
        for (key, value) in cells.0 {
            let column = self.column(&key, expected)?;
            expected = column + 1;
            if batch.cells.len() <= column {
                batch.cells.resize_with(column + 1, Vec::new);
            }
            let cells = &mut batch.cells[column];
            if cells.last().is_some_and(|cell| cell.row == batch.rows as u32) {
                cells.pop();
            }
            if value.get() != "null" {
                let from = start + (value.get().as_ptr() as usize - line.as_ptr() as usize);
                let end = from + value.get().len();
                cells.push(Cell { row: batch.rows as u32, start: from as u32, end: end as u32 });
            }
        }
        batch.rows += 1;
        Ok(())
    }

    /// The place of a key, which is mostly the one behind the key before.
    fn column(&mut self, key: &str, expected: usize) -> Result<usize, TableError> {
        if self.columns.get(expected).is_some_and(|column| column.name == key) {
            return Ok(expected);
        }
        if let Some(place) = self.places.get(key) {
            return Ok(*place);
        }
        if self.columns.len() == self.limits.columns {
            return Err(TableError::TooManyColumns { part: self.name.clone(), limit: self.limits.columns });
        }
        let place = self.columns.len();
        self.places.insert(key.to_owned(), place);
        self.columns.push(Column { name: key.to_owned(), declared: None });
        Ok(place)
    }
}

/// The keys and values of an object, as they stand in the line.
struct Cells<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Cells<'a> {
    /// Whether the line is an object and nothing else.
    fn parse(&mut self, line: &'a str) -> bool {
        let mut deserializer = serde_json::Deserializer::from_str(line);
        deserializer.deserialize_map(self).is_ok() && deserializer.end().is_ok()
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Visitor<'a> for &mut Cells<'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Key(key), value)) = map.next_entry()? {
            self.0.push((key, value));
        }
        Ok(())
    }
}

impl Scan for JsonScan {
    type Batch = Objects;
    const TYPED: bool = true;

    fn read(&mut self, batch: &mut Objects) -> Result<(), TableError> {
        batch.cells.iter_mut().for_each(Vec::clear);
        batch.rows = 0;
        // A chunk may have no line that is a row.
        while batch.rows == 0 {
            let mut bytes = std::mem::take(&mut batch.text).into_bytes();
            let is_first = self.lines == 0;
            self.lines(&mut bytes)?;
            if is_first && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            if bytes.is_empty() {
                break;
            }
            let text = String::from_utf8(bytes).unwrap_or_else(|error| self.repair(error.as_bytes()));
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
                let line = text.get(start..end).unwrap_or_default();
                if !line.trim_ascii().is_empty() {
                    self.line(line, start, batch)?;
                }
                start = end + 1;
            }
            batch.text = text;
        }
        let Problems { bad_lines: bad, .. } = self.problems;
        let is_refused = bad > 0 && (bad == self.lines || bad > (self.lines / TOLERATED).max(1));
        if self.ended && batch.rows == 0 && is_refused {
            return Err(TableError::BadLines { part: self.name.clone(), bad, lines: self.lines });
        }
        Ok(())
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn problems(&self) -> Problems {
        self.problems
    }
}

impl JsonScan {
    /// The lines that are UTF-8. The others are counted.
    fn repair(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match std::str::from_utf8(line) {
                Ok(line) => text.push_str(line),
                Err(_) => {
                    self.problems.invalid_utf8 += 1;
                    self.bad_line();
                }
            }
        }
        text
    }
}

/// Rows of objects: their text, and where in it the values of each column are.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    text: String,
    cells: Vec<Vec<Cell>>,
    rows: usize,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    row: u32,
    start: u32,
    end: u32,
}

impl Batch for Objects {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.cells.len()
    }

    /// Texts that look like a time are times, because JSON has no other way to write one.
    fn visit(&self, column: usize, mut each: impl FnMut(usize, Value<'_>)) {
        let mut scratch = String::new();
        for cell in self.cells.get(column).into_iter().flatten() {
            let value = match json::read(&self.text[cell.start as usize..cell.end as usize], &mut scratch) {
                Value::Text(text) => time::parse(text).unwrap_or(Value::Text(text)),
                other => other,
            };
            each(cell.row as usize, value);
        }
    }

    fn visit_text(&self, column: usize, mut each: impl FnMut(usize, &str)) {
        let (mut scratch, mut written) = (String::new(), String::new());
        for cell in self.cells.get(column).into_iter().flatten() {
            let value = json::read(&self.text[cell.start as usize..cell.end as usize], &mut scratch);
            written.clear();
            value.write(&mut written);
            each(cell.row as usize, &written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<Vec<String>>;

    fn read_with(bytes: &[u8], limits: Limits) -> Result<(Vec<String>, Rows, Problems), TableError> {
        let mut scan = JsonScan::open(&Part::bytes(bytes.to_vec()), limits)?;
        let (mut rows, mut batch) = (Rows::new(), Objects::default());
        loop {
            scan.read(&mut batch)?;
            if batch.rows() == 0 {
                let names: Vec<String> = scan.columns().iter().map(|column| column.name.clone()).collect();
                rows.iter_mut().for_each(|row| row.resize(names.len(), "-".to_owned()));
                return Ok((names, rows, scan.problems()));
            }
            let first = rows.len();
            rows.resize(first + batch.rows(), vec!["-".to_owned(); batch.columns()]);
            let rows = &mut rows[first..];
            (0..batch.columns()).for_each(|at| {
                batch.visit(at, |row, value| {
                    rows[row][at].clear();
                    value.write(&mut rows[row][at]);
                });
            });
        }
    }

    fn read(text: &str) -> (Vec<String>, Rows, Problems) {
        read_with(text.as_bytes(), Limits::default()).unwrap()
    }

    #[test]
    fn keys_are_columns_in_the_order_of_appearance() {
        let (names, rows, problems) =
            read("\u{feff}{\"b\":1,\"a\":\"x\"}\r\n\n{\"a\":null,\"c\":[1.0]}\n{}\n{\"b\":2,\"b\":3}");
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!(rows, [["1", "x", "-"], ["-", "-", "[1]"], ["-", "-", "-"], ["3", "-", "-"]]);
        assert!(problems.is_empty());
    }

    #[test]
    fn escapes_in_keys_and_texts_are_resolved() {
        let (names, rows, _) = read(r#"{"a\u0062":"x\ty"}"#);
        assert_eq!((names[0].as_str(), rows[0][0].as_str()), ("ab", "x\ty"));
    }

    #[test]
    fn a_few_bad_lines_are_counted() {
        let good = "{\"a\":1}\n".repeat(100);
        for bad in ["[1]", "1", "{", "{\"z\":1", "{\"z\":1} {}", "{\"z\":}", "nonsense"] {
            let (names, rows, problems) = read(&format!("{good}{bad}\n{good}"));
            assert_eq!((names.len(), rows.len(), problems.bad_lines), (1, 200, 1), "{bad}");
        }
        let (_, rows, problems) =
            read_with(&[good.as_bytes(), b"{\"a\":\"\xff\"}\n"].concat(), Limits::default()).unwrap();
        assert_eq!((rows.len(), problems.bad_lines, problems.invalid_utf8), (100, 1, 1));
    }

    #[test]
    fn what_is_not_json_lines_is_refused() {
        let error = read_with(b"a,b\n1,2\n", Limits::default()).unwrap_err();
        assert!(matches!(error, TableError::BadLines { bad: 2, lines: 2, .. }), "{error}");
        read_with(b"nonsense", Limits::default()).unwrap_err();
        read_with(b"{}\n{}\n{}\n1\n2\n", Limits::default()).unwrap_err();
        assert_eq!(read("{}\n{\"a\":").2.bad_lines, 1, "one line may be cut off");
    }

    #[test]
    fn limits_are_kept() {
        let limits = Limits { columns: 2, row_bytes: 1000, ..Limits::default() };
        let error = read_with(b"{\"a\":1,\"b\":1,\"c\":1}\n", limits).unwrap_err();
        assert!(matches!(error, TableError::TooManyColumns { .. }));
        let good = "{\"a\":1}\n".repeat(30);
        for long in [1001, 3 * CHUNK] {
            let text = format!("{good}{{\"a\":\"{}\"}}\n{good}", "x".repeat(long));
            let (_, rows, problems) = read_with(text.as_bytes(), limits).unwrap();
            assert_eq!((rows.len(), problems.bad_lines), (60, 1), "{long}");
        }
    }

    #[test]
    fn an_empty_file_has_nothing() {
        assert_eq!(read(""), (vec![], vec![], Problems::default()));
        assert_eq!(read("\n \n"), (vec![], vec![], Problems::default()));
    }
}
