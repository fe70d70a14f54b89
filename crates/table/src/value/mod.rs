//! What a cell holds, and when two cells are equal.
//!
//! Values compare by what they mean and not by how they are written, so that tables in different formats can be
//! compared:
//! - Numbers are equal when their values are: `1` and `1.0` are. Integers are exact up to 38 digits; numbers with a
//!   fraction are double-precision floats. All NaN are one value.
//! - A date is equal to the first moment of its day. A time without a zone is read as UTC.
//! - A text is never equal to a number, a truth value or a time, nor a JSON value to a text.
//! - JSON values are equal when their canonical texts are: keys sorted, numbers as above, no spaces.

pub(crate) mod hash;
pub(crate) mod json;
mod scalar;
pub(crate) mod time;
pub(crate) mod word;

use std::fmt::Write as _;

pub use scalar::Scalar;
pub(crate) use scalar::prefix;

/// A cell, borrowed from the batch it was read in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// An integer that does not fit in 64 bits.
    Wide(i128),
    Float(f64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Timestamp(i128),
    Text(&'a str),
    /// Canonical JSON text of an object or array.
    Json(&'a str),
}

impl Value<'_> {
    /// An integer of any size.
    pub(crate) fn integer(value: i128) -> Self {
        i64::try_from(value).map_or(Self::Wide(value), Self::Integer)
    }

    /// Writes the value as it would stand in a CSV file. Nothing for null.
    pub(crate) fn write(self, out: &mut String) {
        let written = match self {
            Self::Null => Ok(()),
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Wide(value) => write!(out, "{value}"),
            Self::Float(value) => write!(out, "{value:?}"),
            Self::Date(days) => {
                time::write_date(days, out);
                Ok(())
            }
            Self::Timestamp(nanos) => {
                time::write_timestamp(nanos, out);
                Ok(())
            }
            Self::Text(text) | Self::Json(text) => out.write_str(text),
        };
        written.expect("writing to a string cannot fail");
    }
}
