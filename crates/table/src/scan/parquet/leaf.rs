//! The values of one column of bytes, and what they stand for.

use std::sync::Arc;

use parquet::basic::{Repetition as CrateRepetition, Type as Physical};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath, Type};

use super::metadata::{Chunk, Element, Meaning};
use super::page::{Pages, Shape};
use crate::profile::ColumnType;
use crate::table::Input;
use crate::value::{Value, json, time};

/// A column of bytes, as the schema describes it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    description: ColumnDescPtr,
    shape: Shape,
    meaning: Meaning,
}

impl Leaf {
    /// A column whose values are there at `max_def`, below `max_rep` repetitions.
    pub(super) fn new(element: &Element, max_def: i16, max_rep: i16) -> std::result::Result<Self, &'static str> {
        let (number, physical) = match element.physical {
            Some(0) => (0, Physical::BOOLEAN),
            Some(1) => (1, Physical::INT32),
            Some(2) => (2, Physical::INT64),
            Some(3) => (3, Physical::INT96),
            Some(4) => (4, Physical::FLOAT),
            Some(5) => (5, Physical::DOUBLE),
            Some(6) => (6, Physical::BYTE_ARRAY),
            Some(7) => (7, Physical::FIXED_LEN_BYTE_ARRAY),
            _ => return Err("a physical type is unknown"),
        };
        let length = u64::try_from(element.length).unwrap_or(0);
        if physical == Physical::FIXED_LEN_BYTE_ARRAY && !(1..=1 << 20).contains(&length) {
            return Err("values of fixed length have no length");
        }
        // Levels are what counts; the crate is told nothing of meanings.
        let of_type = Type::primitive_type_builder(&element.name, physical)
            .with_repetition(CrateRepetition::OPTIONAL)
            .with_length(if physical == Physical::FIXED_LEN_BYTE_ARRAY { element.length } else { -1 })
            .build()
            .map_err(|_| "a column of the schema is not valid")?;
        let path = ColumnPath::new(vec![element.name.clone()]);
        let description = Arc::new(ColumnDescriptor::new(Arc::new(of_type), max_def, max_rep, path));
        let shape = Shape { physical: number, length, max_def, max_rep };
        Ok(Self { description, shape, meaning: element.meaning })
    }

    /// The type of the values, where the file says so.
    pub(super) fn declared(&self) -> Option<ColumnType> {
        Some(match (self.shape.physical, self.meaning) {
            (_, Meaning::Json) => return None,
            (_, Meaning::Date) => ColumnType::Date,
            (3, _) | (_, Meaning::Timestamp(_)) => ColumnType::Timestamp,
            (1 | 2, Meaning::Time(_)) => ColumnType::Text,
            (1 | 2 | 6 | 7, Meaning::Decimal(1..)) => ColumnType::Float,
            (1 | 2 | 6 | 7, Meaning::Decimal(0)) | (1 | 2, _) => ColumnType::Integer,
            (0, _) => ColumnType::Boolean,
            (4 | 5, _) | (7, Meaning::Float16) => ColumnType::Float,
            _ => ColumnType::Text,
        })
    }

    pub(super) fn max_def(&self) -> i16 {
        self.shape.max_def
    }

    pub(super) fn open(&self, input: Input, chunk: &Chunk, page_limit: usize) -> ColumnReader {
        get_column_reader(self.description.clone(), Box::new(Pages::new(input, chunk, self.shape, page_limit)))
    }
}

/// Some values of a leaf, without the nulls.
#[derive(Debug, Default)]
pub(super) enum Values {
    #[default]
    None,
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// Some rows of a leaf: for each entry its definition and repetition level, and the values of those that have one.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) def: Vec<i16>,
    pub(super) rep: Vec<i16>,
    pub(super) values: Values,
}

impl Entries {
    /// Reads exactly so many rows in place of those that are here.
    pub(super) fn read(&mut self, reader: &mut ColumnReader, rows: usize) -> Result<()> {
        macro_rules! read {
            ($reader:expr, $kind:ident) => {{
                if !matches!(self.values, Values::$kind(_)) {
                    self.values = Values::$kind(Vec::new());
                }
                let Values::$kind(values) = &mut self.values else { unreachable!("it was set just now") };
                values.clear();
                let mut read = 0;
                while read < rows {
                    let (def, rep) = (Some(&mut self.def), Some(&mut self.rep));
                    let (records, _, _) = $reader.read_records(rows - read, def, rep, values)?;
                    if records == 0 {
                        return Err(ParquetError::EOF(format!("{} rows are missing", rows - read)));
                    }
                    read += records;
                }
            }};
        }
        self.def.clear();
        self.rep.clear();
        match reader {
            ColumnReader::BoolColumnReader(reader) => read!(reader, Boolean),
            ColumnReader::Int32ColumnReader(reader) => read!(reader, Int32),
            ColumnReader::Int64ColumnReader(reader) => read!(reader, Int64),
            ColumnReader::Int96ColumnReader(reader) => read!(reader, Int96),
            ColumnReader::FloatColumnReader(reader) => read!(reader, Float),
            ColumnReader::DoubleColumnReader(reader) => read!(reader, Double),
            ColumnReader::ByteArrayColumnReader(reader) => read!(reader, Bytes),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => read!(reader, Fixed),
        }
        Ok(())
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::None => 0,
            Values::Boolean(values) => values.len(),
            Values::Int32(values) => values.len(),
            Values::Int64(values) => values.len(),
            Values::Int96(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Fixed(values) => values.len(),
        }
    }

    /// The value at a place below [`Self::len`]. What has to be written for it goes to `scratch`.
    pub(super) fn value<'a>(&'a self, leaf: &Leaf, at: usize, scratch: &'a mut String) -> Value<'a> {
        let meaning = leaf.meaning;
        match &self.values {
            Values::None => Value::Null,
            Values::Boolean(values) => Value::Boolean(values[at]),
            Values::Int32(values) => match meaning {
                Meaning::Plain => Value::Integer(i64::from(values[at])),
                Meaning::Date => Value::Date(values[at]),
                Meaning::Unsigned => Value::Integer(i64::from(values[at].cast_unsigned())),
                _ => of_integer(i64::from(values[at]), meaning, scratch),
            },
            Values::Int64(values) if meaning == Meaning::Plain => Value::Integer(values[at]),
            Values::Int64(values) => of_integer(values[at], meaning, scratch),
            Values::Int96(values) => of_int96(&values[at]),
            Values::Float(values) => of_float(values[at], scratch),
            Values::Double(values) => Value::Float(values[at]),
            Values::Bytes(values) => of_bytes(values[at].data(), meaning, scratch),
            Values::Fixed(values) => of_bytes(values[at].data(), meaning, scratch),
        }
    }
}

fn of_integer(value: i64, meaning: Meaning, scratch: &mut String) -> Value<'_> {
    match meaning {
        Meaning::Unsigned => Value::integer(i128::from(value.cast_unsigned())),
        Meaning::Decimal(scale) => decimal(i128::from(value), scale, scratch),
        Meaning::Date => i32::try_from(value).map_or(Value::Integer(value), Value::Date),
        Meaning::Timestamp(unit) => Value::Timestamp(i128::from(value) * i128::from(unit.nanos())),
        Meaning::Time(unit) => {
            scratch.clear();
            time::write_time_of_day(value.saturating_mul(unit.nanos()), scratch);
            Value::Text(scratch)
        }
        _ => Value::Integer(value),
    }
}

/// Nanoseconds of a day, and the day by the Julian calendar.
fn of_int96(value: &Int96) -> Value<'static> {
    const EPOCH: i128 = 2_440_588;
    const NANOS_A_DAY: i128 = 86_400_000_000_000;
    let [low, high, day] = *value.data() else { return Value::Null };
    let nanos = (u64::from(high) << 32 | u64::from(low)).cast_signed();
    Value::Timestamp((i128::from(day.cast_signed()) - EPOCH) * NANOS_A_DAY + i128::from(nanos))
}

/// The double that has the same shortest spelling, so that `0.1` is equal in every format.
fn of_float(value: f32, scratch: &mut String) -> Value<'static> {
    use std::fmt::Write as _;
    let wide = f64::from(value);
    if !value.is_finite() || wide.trunc() == wide {
        return Value::Float(wide);
    }
    scratch.clear();
    write!(scratch, "{value:e}").expect("writing to a string cannot fail");
    Value::Float(scratch.parse().unwrap_or(wide))
}

/// A number with `scale` digits behind the point.
fn decimal(value: i128, scale: u32, scratch: &mut String) -> Value<'static> {
    use std::fmt::Write as _;
    const EXACT: i128 = 1 << 53;
    if scale == 0 {
        return Value::integer(value);
    }
    if scale <= 22 && (-EXACT..=EXACT).contains(&value) {
        // Both are exact, so the quotient is the nearest double.
        return Value::Float(value as f64 / 10_f64.powi(scale.cast_signed()));
    }
    scratch.clear();
    write!(scratch, "{value}e-{scale}").expect("writing to a string cannot fail");
    Value::Float(scratch.parse().unwrap_or(f64::NAN))
}

fn of_bytes<'a>(bytes: &'a [u8], meaning: Meaning, scratch: &'a mut String) -> Value<'a> {
    match (meaning, bytes.len()) {
        (Meaning::Json, _) => match std::str::from_utf8(bytes) {
            Ok(text) if serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok() => {
                json::read(text.trim_ascii(), scratch)
            }
            Ok(text) => Value::Text(text),
            Err(_) => hex(bytes, scratch),
        },
        (Meaning::Decimal(scale), 1..=16) => {
            // Big-endian, and the sign goes on to the left.
            let sign = if bytes[0] & 128 == 0 { 0 } else { -1 };
            let value = bytes.iter().fold(sign, |value: i128, byte| value << 8 | i128::from(*byte));
            decimal(value, scale, scratch)
        }
        (Meaning::Float16, 2) => of_float(half(u16::from_le_bytes([bytes[0], bytes[1]])), scratch),
        (Meaning::Uuid, 16) => {
            hex(bytes, scratch);
            for at in [20, 16, 12, 8] {
                scratch.insert(at, '-');
            }
            Value::Text(scratch)
        }
        (Meaning::Interval, 12) => {
            let part = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            *scratch = format!("{} months {} days {} ms", part(0), part(4), part(8));
            Value::Text(scratch)
        }
        (Meaning::Text, _) => match String::from_utf8_lossy(bytes) {
            std::borrow::Cow::Borrowed(text) => Value::Text(text),
            std::borrow::Cow::Owned(text) => {
                *scratch = text;
                Value::Text(scratch)
            }
        },
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(_) => hex(bytes, scratch),
        },
    }
}

/// Bytes that are no text.
fn hex<'a>(bytes: &[u8], scratch: &'a mut String) -> Value<'a> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    scratch.clear();
    for byte in bytes {
        scratch.push(DIGITS[usize::from(byte >> 4)].into());
        scratch.push(DIGITS[usize::from(byte & 15)].into());
    }
    Value::Text(scratch)
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_spelling() {
        let mut scratch = String::new();
        assert_eq!(of_float(0.1, &mut scratch), Value::Float(0.1));
        assert_eq!(of_float(-1e-40, &mut scratch), Value::Float(-1e-40));
        assert_eq!(of_float(f32::MAX, &mut scratch), Value::Float(f64::from(f32::MAX)));
        assert_eq!(decimal(-1234, 2, &mut scratch), Value::Float(-12.34));
        assert_eq!(decimal(10i128.pow(30) + 1, 30, &mut scratch), Value::Float(1.0));
        assert_eq!(decimal(10i128.pow(30), 0, &mut scratch), Value::Wide(10i128.pow(30)));
    }

    #[test]
    fn bytes_have_meanings() {
        let mut scratch = String::new();
        assert_eq!(of_bytes(&[0xff, 0x85], Meaning::Decimal(1), &mut scratch), Value::Float(-12.3));
        assert_eq!(of_bytes(&[0x00, 0x3e], Meaning::Float16, &mut scratch), Value::Float(1.5));
        assert_eq!(of_bytes(b"\xff\x00", Meaning::Plain, &mut scratch), Value::Text("ff00"));
        assert_eq!(of_bytes(b"a\xff", Meaning::Text, &mut scratch), Value::Text("a\u{fffd}"));
        assert_eq!(of_bytes(b" {\"a\": 1}", Meaning::Json, &mut scratch), Value::Json("{\"a\":1}"));
        assert_eq!(of_bytes(b"{", Meaning::Json, &mut scratch), Value::Text("{"));
        let uuid = of_bytes(&[0x12; 16], Meaning::Uuid, &mut scratch);
        assert_eq!(uuid, Value::Text("12121212-1212-1212-1212-121212121212"));
    }

    #[test]
    fn halves_are_read() {
        assert_eq!((half(0x3c00), half(0xc000), half(0x0001)), (1.0, -2.0, 2_f32.powi(-24)));
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }
}
