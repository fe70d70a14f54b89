//! Parquet: each column is read by itself, row group after row group, page after page.
//!
//! A column of the table is a child of the root of the schema. One that holds a structure, list or map is read as the
//! JSON text of it.
//!
//! The format is read here from the first byte to the last. The `parquet` crate panics on damaged pages (in version 60,
//! found by `tests/damage.rs`), and a panic ends the process of whoever profiles a table.

mod codec;
mod column;
mod leaf;
mod metadata;
mod nested;
mod packed;
mod page;
mod thrift;
mod values;

use rayon::prelude::*;

use super::{Batch, Column, Scan, unique};
use crate::profile::{ColumnType, Problems};
use crate::table::{Input, Part};
use crate::value::Value;
use crate::{Format, Limits, TableError};

use column::{ColumnReader, Entries};
use leaf::Leaf;
use metadata::{Group, Metadata};
use nested::{Node, Texts};

const MAGIC: &[u8; 4] = b"PAR1";
const ENCRYPTED: &[u8; 4] = b"PARE";
/// Larger footers are refused.
const MAX_FOOTER: u64 = 256 << 20;
/// A batch has at most so many rows, and about so many bytes.
const BATCH_ROWS: u64 = 8 << 10;
const BATCH_BYTES: u64 = 32 << 20;

#[derive(Debug)]
pub(crate) struct ParquetScan {
    name: String,
    limits: Limits,
    input: Input,
    columns: Vec<Column>,
    sources: Vec<Source>,
    /// Those not begun yet, the next one last.
    groups: Vec<Group>,
    /// Rows of the current group that are not read yet, and how many are read at once.
    left: u64,
    stride: u64,
}

/// Why a column cannot be read.
#[derive(Debug)]
enum Fault {
    Io(std::io::Error),
    Damaged(&'static str),
    TooLarge(String),
    Unsupported(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads one column.
#[derive(Debug)]
struct Source {
    node: Node,
    leaves: Vec<Leaf>,
    /// Of the current group, one for each leaf.
    readers: Vec<ColumnReader>,
    is_flat: bool,
}

impl ParquetScan {
    pub(crate) fn open(part: &Part, limits: Limits) -> Result<Self, TableError> {
        let name = part.name().to_owned();
        let input = part.open()?;
        let footer = footer(&input, &name)?;
        let malformed = |reason: &str| malformed(&name, reason);
        let mut metadata = Metadata::read(&footer).map_err(malformed)?;
        if metadata.encrypted {
            return Err(encrypted(&name));
        }
        if metadata.groups.iter().flat_map(|group| &group.chunks).any(|chunk| chunk.elsewhere) {
            return Err(unsupported(&name, "a column in another file"));
        }
        if metadata.columns.len() > limits.columns {
            return Err(TableError::TooManyColumns { part: name, limit: limits.columns });
        }
        let (mut columns, mut sources) = (Vec::new(), Vec::new());
        let names = unique(metadata.columns.iter().map(|element| element.name.clone()));
        for (element, name) in metadata.columns.iter().zip(names) {
            let mut leaves = Vec::new();
            let node = Node::new(element, &mut leaves).map_err(malformed)?;
            let is_flat = element.physical.is_some() && element.repetition != metadata::Repetition::Repeated;
            let declared = if is_flat { leaves[0].declared() } else { Some(ColumnType::Json) };
            columns.push(Column { name, declared });
            sources.push(Source { node, leaves, readers: Vec::new(), is_flat });
        }
        metadata.groups.reverse();
        Ok(Self { name, limits, input, columns, sources, groups: metadata.groups, left: 0, stride: 0 })
    }

    fn begin(&mut self, group: &Group) {
        let mut chunks = group.chunks.iter();
        for source in &mut self.sources {
            let open = |leaf: &Leaf| {
                let chunk = chunks.next().expect("there is a chunk for each leaf");
                leaf.open(self.input.clone(), chunk, self.limits.page_bytes)
            };
            source.readers = source.leaves.iter().map(open).collect();
        }
        let bytes: u64 = group.chunks.iter().fold(0, |bytes, chunk| bytes.saturating_add(chunk.unpacked));
        self.left = group.rows;
        self.stride = (BATCH_BYTES / (bytes / group.rows.max(1)).max(1)).clamp(16, BATCH_ROWS);
    }
}

/// The bytes of the footer: in front of its length and the last four bytes.
fn footer(input: &Input, name: &str) -> Result<bytes::Bytes, TableError> {
    let len = input.len();
    let tail = input.slice(len.saturating_sub(8), len.min(8)).map_err(TableError::read(name))?;
    let Some((size, magic)) = tail.split_first_chunk::<4>() else { return Err(malformed(name, "it is too short")) };
    if magic == ENCRYPTED {
        return Err(encrypted(name));
    }
    if magic != MAGIC {
        return Err(malformed(name, "it does not end with PAR1; it may be cut off"));
    }
    let size = u64::from(u32::from_le_bytes(*size));
    if size > len - 8 || size > MAX_FOOTER {
        return Err(malformed(name, "its footer has an impossible size"));
    }
    input.slice(len - 8 - size, size).map_err(TableError::read(name))
}

fn malformed(name: &str, reason: &str) -> TableError {
    TableError::Malformed { part: name.to_owned(), format: Format::Parquet, reason: reason.to_owned() }
}

fn unsupported(name: &str, what: &str) -> TableError {
    let instead = "write it again with plain encodings and zstd, snappy or gzip";
    TableError::Unsupported { part: name.to_owned(), what: what.to_owned(), instead }
}

fn encrypted(name: &str) -> TableError {
    let (part, what) = (name.to_owned(), "encryption".to_owned());
    TableError::Unsupported { part, what, instead: "write it without encryption" }
}

impl Source {
    /// Reads exactly so many rows.
    fn read(&mut self, rows: usize, series: &mut Series) -> Result<(), Fault> {
        if series.entries.len() != self.leaves.len() {
            series.is_flat = self.is_flat;
            series.leaves.clone_from(&self.leaves);
            series.entries = self.leaves.iter().map(Entries::new).collect();
        }
        for (reader, entries) in self.readers.iter_mut().zip(&mut series.entries) {
            reader.read(rows, entries)?;
        }
        if !self.is_flat {
            series.texts.assemble(&self.node, &self.leaves, &series.entries, rows).map_err(Fault::Damaged)?;
        }
        Ok(())
    }
}

impl Scan for ParquetScan {
    type Batch = Typed;
    const TYPED: bool = true;

    fn read(&mut self, batch: &mut Typed) -> Result<(), TableError> {
        batch.rows = 0;
        while self.left == 0 {
            let Some(group) = self.groups.pop() else { return Ok(()) };
            self.begin(&group);
        }
        let rows = self.left.min(self.stride);
        batch.series.resize_with(self.sources.len(), Series::default);
        let columns = self.sources.par_iter_mut().zip(&mut batch.series).zip(&self.columns);
        columns.try_for_each(|((source, series), column)| {
            source.read(rows as usize, series).map_err(|fault| match fault {
                Fault::Io(source) => TableError::read(&self.name)(source),
                Fault::Unsupported(what) => unsupported(&self.name, &what),
                Fault::Damaged(reason) => malformed(&self.name, &format!("column {:?}: {reason}", column.name)),
                Fault::TooLarge(reason) => malformed(&self.name, &format!("column {:?}: {reason}", column.name)),
            })
        })?;
        self.left -= rows;
        batch.rows = rows as usize;
        Ok(())
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn problems(&self) -> Problems {
        Problems::default()
    }
}

/// Rows by columns.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    series: Vec<Series>,
    rows: usize,
}

/// The rows of one column.
#[derive(Debug, Default)]
struct Series {
    is_flat: bool,
    leaves: Vec<Leaf>,
    entries: Vec<Entries>,
    texts: Texts,
}

impl Batch for Typed {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.series.len()
    }

    fn visit(&self, column: usize, mut each: impl FnMut(usize, Value<'_>)) {
        let Some(series) = self.series.get(column) else { return };
        let ([leaf, ..], [entries, ..]) = (&series.leaves[..], &series.entries[..]) else { return };
        if !series.is_flat {
            series.texts.each(|row, text| each(row, Value::Json(text)));
            return;
        }
        let mut scratch = String::new();
        if leaf.max_def == 0 {
            for row in 0..entries.values.len() {
                each(row, entries.value(leaf, row, &mut scratch));
            }
            return;
        }
        let rows = entries.def.iter().enumerate().filter(|(_, def)| **def == leaf.max_def);
        for (at, (row, _)) in rows.enumerate() {
            each(row, entries.value(leaf, at, &mut scratch));
        }
    }
}
