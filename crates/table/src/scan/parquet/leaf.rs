//! The leaves of a schema: columns of bytes, and what their values stand for.

use super::column::{ColumnReader, Entries};
use super::metadata::{Chunk, Element, Meaning};
use super::page::Pages;
use super::values::{Physical, Values};
use crate::profile::ColumnType;
use crate::table::Input;
use crate::value::{Value, json, time};

/// A column of bytes, as the schema describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) physical: Physical,
    /// An entry has a value when its definition level is this one.
    pub(super) max_def: u8,
    /// How many lists it is in.
    pub(super) max_rep: u8,
    meaning: Meaning,
}

impl Leaf {
    pub(super) fn new(element: &Element, max_def: u8, max_rep: u8) -> Result<Self, &'static str> {
        let physical = match element.physical {
            Some(0) => Physical::Boolean,
            Some(1) => Physical::Int32,
            Some(2) => Physical::Int64,
            Some(3) => Physical::Int96,
            Some(4) => Physical::Float,
            Some(5) => Physical::Double,
            Some(6) => Physical::Bytes,
            Some(7) => match usize::try_from(element.length) {
                Ok(length @ 1..) => Physical::Fixed(length),
                _ => return Err("values of fixed length have no length"),
            },
            _ => return Err("a physical type is unknown"),
        };
        Ok(Self { physical, max_def, max_rep, meaning: element.meaning })
    }

    /// The type of the values, where the file says so.
    pub(super) fn declared(&self) -> Option<ColumnType> {
        use Physical::{Boolean, Bytes, Double, Fixed, Float, Int32, Int64, Int96};
        Some(match (self.physical, self.meaning) {
            (_, Meaning::Json) => return None,
            (Boolean, _) => ColumnType::Boolean,
            (Int32, Meaning::Date) => ColumnType::Date,
            (Int96, _) | (Int64, Meaning::Timestamp(_)) => ColumnType::Timestamp,
            (Int32 | Int64, Meaning::Time(_)) => ColumnType::Text,
            (Int32 | Int64 | Bytes | Fixed(_), Meaning::Decimal(1..)) => ColumnType::Float,
            (Bytes | Fixed(_), Meaning::Decimal(0)) | (Int32 | Int64, _) => ColumnType::Integer,
            (Float | Double, _) | (Fixed(2), Meaning::Float16) => ColumnType::Float,
            (Bytes | Fixed(_), _) => ColumnType::Text,
        })
    }

    pub(super) fn open(&self, input: Input, chunk: &Chunk, page_limit: usize) -> ColumnReader {
        let pages = Pages::new(input, chunk, (self.max_rep > 0, self.max_def > 0), page_limit);
        ColumnReader::new(self, pages)
    }
}

impl Entries {
    pub(super) fn new(leaf: &Leaf) -> Self {
        Self { def: Vec::new(), rep: Vec::new(), values: Values::new(leaf.physical) }
    }

    /// The value at a place below the number of values. What has to be written for it goes to `scratch`.
    pub(super) fn value<'a>(&'a self, leaf: &Leaf, at: usize, scratch: &'a mut String) -> Value<'a> {
        let meaning = leaf.meaning;
        match &self.values {
            Values::Boolean(values) => Value::Boolean(values[at]),
            Values::Int32(values) => match meaning {
                Meaning::Plain => Value::Integer(i64::from(values[at])),
                Meaning::Date => Value::Date(values[at]),
                Meaning::Unsigned => Value::Integer(i64::from(values[at].cast_unsigned())),
                _ => of_integer(i64::from(values[at]), meaning, scratch),
            },
            Values::Int64(values) if meaning == Meaning::Plain => Value::Integer(values[at]),
            Values::Int64(values) => of_integer(values[at], meaning, scratch),
            Values::Float(values) => of_float(values[at], scratch),
            Values::Double(values) => Value::Float(values[at]),
            Values::Bytes(texts) => match (leaf.physical, texts.get(at)) {
                (Physical::Int96, bytes) => of_int96(bytes),
                (_, bytes) => of_bytes(bytes, meaning, scratch),
            },
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
fn of_int96(bytes: &[u8]) -> Value<'static> {
    const EPOCH: i128 = 2_440_588;
    const NANOS_A_DAY: i128 = 86_400_000_000_000;
    let Some((nanos, day)) = bytes.split_first_chunk::<8>() else { return Value::Null };
    let Some(day) = day.first_chunk::<4>() else { return Value::Null };
    let (nanos, day) = (i64::from_le_bytes(*nanos), i32::from_le_bytes(*day));
    Value::Timestamp((i128::from(day) - EPOCH) * NANOS_A_DAY + i128::from(nanos))
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
