//! A table in memory that can be written in every format, by other libraries than those that read it.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use runstone_table::{Format, Part, Table};
use serde_json::{Map, json};

/// A column of values, or of nulls between them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Series {
    Boolean(Vec<Option<bool>>),
    Integer(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    /// Days since 1970.
    Date(Vec<Option<i32>>),
    /// Microseconds since 1970.
    Timestamp(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
}

/// Columns with names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) columns: Vec<(String, Series)>,
}

fn day(days: i32) -> String {
    let mut days = i64::from(days) + 719_468;
    // Hinnant, chrono-compatible low-level date algorithms: civil_from_days.
    let era = days.div_euclid(146_097);
    days = days.rem_euclid(146_097);
    let year = (days - days / 1460 + days / 36_524 - days / 146_096) / 365;
    let day = days - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + i64::from(month <= 2))
}

fn moment(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let day = day(i32::try_from(days).unwrap());
    format!("{day}T{:02}:{:02}:{:02}.{micros:06}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

impl Series {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Boolean(cells) => cells.len(),
            Self::Integer(cells) => cells.len(),
            Self::Float(cells) => cells.len(),
            Self::Date(cells) => cells.len(),
            Self::Timestamp(cells) => cells.len(),
            Self::Text(cells) => cells.len(),
        }
    }

    /// A cell as JSON and as a word.
    fn cell(&self, row: usize) -> Option<(serde_json::Value, String)> {
        match self {
            Self::Boolean(cells) => cells[row].map(|value| (json!(value), value.to_string())),
            Self::Integer(cells) => cells[row].map(|value| (json!(value), value.to_string())),
            Self::Float(cells) => cells[row].map(|value| (json!(value), format!("{value:?}"))),
            Self::Date(cells) => cells[row].map(|days| (json!(day(days)), day(days))),
            Self::Timestamp(cells) => cells[row].map(|micros| (json!(moment(micros)), moment(micros))),
            Self::Text(cells) => cells[row].as_ref().map(|text| (json!(text), text.clone())),
        }
    }

    pub(crate) fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        match self {
            Self::Boolean(cells) => Self::Boolean(cells[rows].to_vec()),
            Self::Integer(cells) => Self::Integer(cells[rows].to_vec()),
            Self::Float(cells) => Self::Float(cells[rows].to_vec()),
            Self::Date(cells) => Self::Date(cells[rows].to_vec()),
            Self::Timestamp(cells) => Self::Timestamp(cells[rows].to_vec()),
            Self::Text(cells) => Self::Text(cells[rows].to_vec()),
        }
    }

    fn declaration(&self, name: &str) -> String {
        let declared = match self {
            Self::Boolean(_) => format!("boolean {name}"),
            Self::Integer(_) => format!("int64 {name}"),
            Self::Float(_) => format!("double {name}"),
            Self::Date(_) => format!("int32 {name} (DATE)"),
            Self::Timestamp(_) => format!("int64 {name} (TIMESTAMP(MICROS,true))"),
            Self::Text(_) => format!("binary {name} (STRING)"),
        };
        format!("optional {declared};")
    }
}

impl Grid {
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, series)| series.len())
    }

    pub(crate) fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let cut = |(name, series): &(String, Series)| (name.clone(), series.slice(rows.clone()));
        Self { columns: self.columns.iter().map(cut).collect() }
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.columns.iter().map(|(name, _)| name)
    }

    pub(crate) fn csv(&self, style: csv::QuoteStyle) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(Vec::new());
        writer.write_record(self.names()).unwrap();
        for row in 0..self.rows() {
            let word = |(_, series): &(String, Series)| series.cell(row).map_or(String::new(), |(_, word)| word);
            writer.write_record(self.columns.iter().map(word)).unwrap();
        }
        writer.into_inner().unwrap()
    }

    pub(crate) fn jsonl(&self) -> Vec<u8> {
        let mut lines = String::new();
        for row in 0..self.rows() {
            let cell = |(name, series): &(String, Series)| {
                (name.clone(), series.cell(row).map_or(serde_json::Value::Null, |(value, _)| value))
            };
            let object: Map<String, serde_json::Value> = self.columns.iter().map(cell).collect();
            // Not by the map, which sorts the keys.
            let pairs: Vec<String> = self.names().map(|name| format!("{}:{}", json!(name), object[name])).collect();
            lines.push_str(&format!("{{{}}}\n", pairs.join(", ")));
        }
        lines.into_bytes()
    }

    /// In row groups of so many rows, and pages of about so many bytes.
    pub(crate) fn parquet(&self, group: usize, page: usize) -> Vec<u8> {
        let fields: Vec<String> = self.columns.iter().map(|(name, series)| series.declaration(name)).collect();
        let schema = parse_message_type(&format!("message table {{ {} }}", fields.join(" "))).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_data_page_size_limit(page)
            .set_write_batch_size(64)
            .build();
        let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties)).unwrap();
        for first in (0..self.rows()).step_by(group) {
            write_group(&mut writer, &self.slice(first..self.rows().min(first + group)));
        }
        writer.into_inner().unwrap()
    }

    /// In every format.
    pub(crate) fn tables(&self) -> Vec<Table> {
        vec![
            Table::new(Format::Csv, vec![Part::bytes(self.csv(csv::QuoteStyle::Necessary))]),
            Table::new(Format::JsonLines, vec![Part::bytes(self.jsonl())]),
            Table::new(Format::Parquet, vec![Part::bytes(self.parquet(1000, 1 << 20))]),
        ]
    }
}

fn write_group(writer: &mut SerializedFileWriter<Vec<u8>>, grid: &Grid) {
    macro_rules! write {
        ($kind:ty, $column:expr, $cells:expr, $of:expr) => {{
            let levels: Vec<i16> = $cells.iter().map(|cell| i16::from(cell.is_some())).collect();
            let values: Vec<_> = $cells.iter().flatten().map($of).collect();
            $column.typed::<$kind>().write_batch(&values, Some(&levels), None).unwrap();
        }};
    }
    let mut group = writer.next_row_group().unwrap();
    for (_, series) in &grid.columns {
        let mut column = group.next_column().unwrap().unwrap();
        match series {
            Series::Boolean(cells) => write!(BoolType, column, cells, |value| *value),
            Series::Integer(cells) | Series::Timestamp(cells) => write!(Int64Type, column, cells, |value| *value),
            Series::Float(cells) => write!(DoubleType, column, cells, |value| *value),
            Series::Date(cells) => write!(Int32Type, column, cells, |value| *value),
            Series::Text(cells) => write!(ByteArrayType, column, cells, |text| ByteArray::from(text.as_str())),
        }
        column.close().unwrap();
    }
    group.close().unwrap();
}

/// Columns of so many rows, of any type, with nulls, with few and with many different values. Texts do not look like
/// anything else, and none is empty, because CSV could not say so.
pub(crate) fn grids(rows: std::ops::Range<usize>) -> impl Strategy<Value = Grid> {
    rows.prop_flat_map(|rows| prop::collection::vec(series(rows), 1..6)).prop_map(|columns| Grid {
        columns: columns.into_iter().enumerate().map(|(at, series)| (format!("c{at}"), series)).collect(),
    })
}

fn series(rows: usize) -> impl Strategy<Value = Series> {
    fn cells<S: Strategy>(rows: usize, cell: S) -> impl Strategy<Value = Vec<Option<S::Value>>> {
        prop::collection::vec(prop::option::weighted(0.9, cell), rows)
    }
    let float = prop_oneof![Just(0.1), Just(-0.0), -1e3..1e3, any::<f64>().prop_filter("finite", |x| x.is_finite())];
    prop_oneof![
        cells(rows, any::<bool>()).prop_map(Series::Boolean),
        cells(rows, prop_oneof![-5_i64..5, any::<i64>()]).prop_map(Series::Integer),
        cells(rows, float).prop_map(Series::Float),
        cells(rows, -100_000..100_000).prop_map(Series::Date),
        cells(rows, -1_000_000_000_000_000_i64..4_000_000_000_000_000).prop_map(Series::Timestamp),
        cells(rows, "x[a-c ,\"\n\r\té\\\\]{0,3}").prop_map(Series::Text),
    ]
}
