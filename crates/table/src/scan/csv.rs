//! CSV and TSV: a header row, quotes as in RFC 4180, `\n`, `\r\n` or `\r` between rows, an optional UTF-8 mark.
//!
//! Blank lines are no rows. Rows with more or fewer cells than the header are counted and kept. A column without a
//! name is called `column_3` after its place, and the second `a` is `a_2`.

use std::io::Read;

use csv_core::ReadRecordResult;

use super::{Batch, Column, Scan, unique};
use crate::profile::Problems;
use crate::table::{Input, Part};
use crate::value::{Value, word};
use crate::{Format, Limits, TableError};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// A batch ends behind the row that reaches this many bytes.
const BATCH: usize = 256 << 10;
/// A batch ends behind this many rows in any case.
const BATCH_ROWS: usize = 16 << 10;

pub(crate) struct CsvScan {
    format: Format,
    name: String,
    limits: Limits,
    input: Input,
    parser: csv_core::Reader,
    /// What was read and not parsed yet is `chunk[at..filled]`.
    chunk: Vec<u8>,
    at: usize,
    filled: usize,
    columns: Vec<Column>,
    problems: Problems,
    rows: u64,
    record: Record,
}

/// Where the cells of a row end, counted from its start.
#[derive(Default)]
struct Record {
    ends: Vec<usize>,
    /// Cells of the row; the ends of those beyond the columns are not kept.
    cells: usize,
    bytes: usize,
}

impl CsvScan {
    pub(crate) fn open(part: &Part, delimiter: u8, format: Format, limits: Limits) -> Result<Self, TableError> {
        let limits = Limits { row_bytes: limits.row_bytes.min(1 << 30), ..limits };
        let mut scan = Self {
            format,
            name: part.name().to_owned(),
            limits,
            input: part.open()?,
            parser: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            chunk: vec![0; CHUNK],
            at: 0,
            filled: 0,
            columns: Vec::new(),
            problems: Problems::default(),
            rows: 0,
            record: Record::default(),
        };
        scan.header()?;
        Ok(scan)
    }

    fn header(&mut self) -> Result<(), TableError> {
        self.fill()?;
        if matches!(self.chunk[..self.filled], [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
            let (part, what) = (self.name.clone(), "UTF-16".to_owned());
            return Err(TableError::Unsupported { part, what, instead: "write it as UTF-8" });
        }
        let mut bytes = Vec::new();
        if !self.record(&mut bytes, 0, self.limits.columns)? {
            return Ok(());
        }
        if self.record.cells > self.limits.columns {
            return Err(TableError::TooManyColumns { part: self.name.clone(), limit: self.limits.columns });
        }
        let mut start = 0;
        let mut names = Vec::new();
        for end in &self.record.ends[..self.record.cells] {
            let name = String::from_utf8_lossy(&bytes[start..*end]);
            self.problems.invalid_utf8 += u64::from(matches!(name, std::borrow::Cow::Owned(_)));
            names.push(name.into_owned());
            start = *end;
        }
        self.columns = unique(names).into_iter().map(|name| Column { name, declared: None }).collect();
        Ok(())
    }

    /// Reads until the chunk is full or the part ends.
    fn fill(&mut self) -> Result<(), TableError> {
        (self.at, self.filled) = (0, 0);
        while self.filled < self.chunk.len() {
            match self.input.read(&mut self.chunk[self.filled..]).map_err(TableError::read(&self.name))? {
                0 => break,
                count => self.filled += count,
            }
        }
        Ok(())
    }

    /// Parses a row: its bytes go to `out` from `start` on, which grows where it must. False at the end.
    fn record(&mut self, out: &mut Vec<u8>, start: usize, keep: usize) -> Result<bool, TableError> {
        let Record { ends, cells, bytes } = &mut self.record;
        // Ends beyond those that are kept overwrite each other.
        let room = keep + 64;
        ends.resize(room, 0);
        (*cells, *bytes) = (0, 0);
        let mut end = 0;
        loop {
            if self.at == self.filled {
                self.fill()?;
            }
            let Record { ends, cells, bytes } = &mut self.record;
            if out.len() < start + *bytes + 64 {
                out.resize((out.len() * 2).max(start + *bytes + 1024), 0);
            }
            let input = &self.chunk[self.at..self.filled];
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut out[start + *bytes..], &mut ends[end..]);
            self.at += read;
            *bytes += written;
            *cells += ended;
            end += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull => {}
                ReadRecordResult::OutputEndsFull => end = keep,
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
            if *bytes > self.limits.row_bytes {
                let (part, row, limit) = (self.name.clone(), self.rows + 1, self.limits.row_bytes);
                return Err(TableError::RowTooLong { part, row, limit });
            }
        }
    }
}

impl Scan for CsvScan {
    type Batch = Words;
    const TYPED: bool = false;

    fn read(&mut self, batch: &mut Words) -> Result<(), TableError> {
        let columns = self.columns.len();
        let mut bytes = std::mem::take(&mut batch.text).into_bytes();
        batch.ends.clear();
        batch.columns = columns;
        batch.rows = 0;
        let mut len = 0;
        // As large as it has grown before; rows make it grow.
        bytes.resize(bytes.capacity(), 0);
        while columns > 0 && len < BATCH && batch.rows < BATCH_ROWS && self.record(&mut bytes, len, columns)? {
            let cells = self.record.cells.min(columns);
            let ends = &self.record.ends[..cells];
            // Of a row that is too long the rest is overwritten by the next one.
            let last = ends.last().copied().unwrap_or(0);
            batch.ends.extend(ends.iter().map(|end| (len + end) as u32));
            batch.ends.extend(std::iter::repeat_n((len + last) as u32, columns - cells));
            self.problems.ragged_rows += u64::from(self.record.cells != columns);
            len += last;
            batch.rows += 1;
            self.rows += 1;
        }
        bytes.truncate(len);
        self.problems.invalid_utf8 += batch.take_text(bytes);
        Ok(())
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn problems(&self) -> Problems {
        self.problems
    }
}

impl std::fmt::Debug for CsvScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvScan").field("name", &self.name).field("format", &self.format).finish_non_exhaustive()
    }
}

/// Rows of words: all cells behind each other, and where each one ends.
#[derive(Debug, Default)]
pub(crate) struct Words {
    text: String,
    ends: Vec<u32>,
    columns: usize,
    rows: usize,
}

impl Words {
    /// Takes the bytes of all cells, and replaces what is not UTF-8. Returns in how many cells.
    fn take_text(&mut self, bytes: Vec<u8>) -> u64 {
        match String::from_utf8(bytes) {
            // A character whose bytes stand in two cells is one in neither.
            Ok(text) if text.is_ascii() || self.ends.iter().all(|end| text.is_char_boundary(*end as usize)) => {
                self.text = text;
                0
            }
            Ok(text) => self.repair(text.as_bytes()),
            Err(error) => self.repair(error.as_bytes()),
        }
    }

    fn repair(&mut self, bytes: &[u8]) -> u64 {
        let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
        let (mut start, mut repaired) = (0, 0);
        for end in &mut self.ends {
            let cell = String::from_utf8_lossy(&bytes[start..*end as usize]);
            repaired += u64::from(matches!(cell, std::borrow::Cow::Owned(_)));
            text.push_str(&cell);
            start = *end as usize;
            *end = text.len() as u32;
        }
        self.text = text;
        repaired
    }

    fn cells(&self, column: usize, mut each: impl FnMut(usize, &str)) {
        for row in 0..self.rows {
            let at = row * self.columns + column;
            let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
            let end = self.ends[at] as usize;
            if start < end {
                each(row, &self.text[start..end]);
            }
        }
    }
}

impl Batch for Words {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn visit(&self, column: usize, mut each: impl FnMut(usize, Value<'_>)) {
        self.cells(column, |row, word| each(row, word::meaning(word)));
    }

    fn visit_text(&self, column: usize, each: impl FnMut(usize, &str)) {
        self.cells(column, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<String>, Vec<Vec<String>>, Problems) {
        let part = Part::bytes(bytes.to_vec());
        let mut scan = CsvScan::open(&part, b',', Format::Csv, Limits::default()).unwrap();
        let names = scan.columns().iter().map(|column| column.name.clone()).collect();
        let (mut rows, mut batch) = (Vec::new(), Words::default());
        loop {
            scan.read(&mut batch).unwrap();
            if batch.rows() == 0 {
                return (names, rows, scan.problems());
            }
            let first = rows.len();
            rows.resize(first + batch.rows(), vec![String::new(); batch.columns()]);
            let rows = &mut rows[first..];
            (0..batch.columns()).for_each(|at| batch.visit_text(at, |row, text| text.clone_into(&mut rows[row][at])));
        }
    }

    fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
        read(bytes).1
    }

    #[test]
    fn quotes_ends_of_lines_and_the_mark() {
        let expected = vec![vec!["1".to_owned(), "x, \"y\"\nz".to_owned()], vec![String::new(), "é".to_owned()]];
        for ends in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "1,\"x, \"\"y\"\"\nz\"", ",é", ""].join(ends);
            assert_eq!(rows(text.as_bytes()), expected, "{ends:?}");
            let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
            assert_eq!(read(&marked).0, ["a", "b"]);
        }
        assert_eq!(rows(b"a\n1"), [["1"]], "no end of the last line");
        assert_eq!(rows(b"a\n\n1\n\n"), [["1"]], "blank lines are no rows");
    }

    #[test]
    fn names_are_made_unique() {
        assert_eq!(read(b"a,,a,a_2,a,column_2,\n").0, ["a", "column_2_2", "a_3", "a_2", "a_4", "column_2", "column_7"]);
    }

    #[test]
    fn ragged_rows_are_kept_and_counted() {
        let (_, rows, problems) = read(b"a,b\n1\n1,2,3,4\n5,6\n");
        assert_eq!(rows, [["1", ""], ["1", "2"], ["5", "6"]]);
        assert_eq!(problems, Problems { ragged_rows: 2, ..Problems::default() });
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_counted() {
        let (names, rows, problems) = read(b"a,b\xff\n\xc3,\xa9\nok,\xffx\n");
        assert_eq!(names, ["a", "b\u{fffd}"]);
        assert_eq!(rows, [["\u{fffd}", "\u{fffd}"], ["ok", "\u{fffd}x"]]);
        assert_eq!(problems.invalid_utf8, 4);
    }

    #[test]
    fn an_empty_file_has_no_columns_and_a_header_alone_no_rows() {
        assert_eq!(read(b""), (vec![], vec![], Problems::default()));
        assert_eq!(read(b"a,b\n"), (vec!["a".into(), "b".into()], vec![], Problems::default()));
    }

    #[test]
    fn limits_are_kept() {
        let part = |text: &str| Part::bytes(text.as_bytes());
        let limits = Limits { columns: 3, row_bytes: 100, ..Limits::default() };
        let open = |part: &Part| CsvScan::open(part, b',', Format::Csv, limits);
        assert!(matches!(open(&part("a,b,c,d\n")), Err(TableError::TooManyColumns { limit: 3, .. })));
        let long = format!("a\n1\n\"{}", "x".repeat(5000));
        let mut scan = open(&part(&long)).unwrap();
        assert!(matches!(scan.read(&mut Words::default()), Err(TableError::RowTooLong { row: 2, .. })));
        let error = open(&Part::bytes(b"\xff\xfea\0".to_vec())).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{error}");
        let wide = format!("a,b\n{}\n1,2\n", "1,".repeat(40));
        let mut scan = open(&part(&wide)).unwrap();
        let mut batch = Words::default();
        scan.read(&mut batch).unwrap();
        assert_eq!((batch.rows(), scan.problems().ragged_rows), (2, 1));
    }

    #[test]
    fn rows_longer_than_a_batch_and_a_chunk_are_whole() {
        let long = "y".repeat(3 * CHUNK + 7);
        let rows = rows(format!("a,b\n1,{long}\n2,z\n").as_bytes());
        assert_eq!((rows.len(), rows[0][1].len(), rows[1][1].as_str()), (2, long.len(), "z"));
    }
}
