//! How values of the domain are spelled in Postgres and read back. Says nothing about tables.

use std::borrow::Cow;
use std::io;

use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::RunEnvironment;
use runstone_core::store::StoreError;
use runstone_core::time::Timestamp;
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Row, Type};

use super::session::TxError;
use crate::rules;

/// A `timestamptz`: on the wire, microseconds since 2000-01-01T00:00:00Z in 64 bits, so nothing is rounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) Timestamp);

// Fixed in PostgreSQL: src/include/catalog/pg_type.dat.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// Microseconds from 1970-01-01T00:00:00Z to 2000-01-01T00:00:00Z.
const EPOCH_OFFSET: i64 = 946_684_800_000_000;

// What PostgreSQL accepts: src/include/datatype/timestamp.h, MIN_TIMESTAMP and END_TIMESTAMP.
const EARLIEST: i64 = -211_813_488_000_000_000;
const LATEST: i64 = 9_223_371_331_200_000_000 - 1;

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.0.saturating_sub(EPOCH_OFFSET).clamp(EARLIEST, LATEST), buffer)
    }
}

impl Decode<'_, Postgres> for Time {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros: i64 = Decode::<Postgres>::decode(value)?;
                Ok(Self(Timestamp(micros.saturating_add(EPOCH_OFFSET))))
            }
            PgValueFormat::Text => Err("timestamps are read in binary form only".into()),
        }
    }
}

/// Text as Postgres can keep it: it has no NUL, so one becomes U+FFFD.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Optional [`text`].
pub(super) fn opt_text(value: Option<&str>) -> Option<Cow<'_, str>> {
    value.map(text)
}

/// JSON as `jsonb` gives it back unchanged: floats keep a fraction, whatever their size, and NUL becomes U+FFFD.
pub(super) fn json(value: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, JsonbFormatter))
        .expect("a JSON value is written to memory");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

struct JsonbFormatter;

impl Formatter for JsonbFormatter {
    /// `1e16` would come back as a whole number, `10000000000000000.0` does not.
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.abs() >= 1e15 { write!(writer, "{value:.1}") } else { CompactFormatter.write_f64(writer, value) }
    }

    fn write_char_escape<W: io::Write + ?Sized>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(0) => writer.write_all(b"\\ufffd"),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}

/// A column of a row that was asked for by this name.
pub(super) fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, column: &str) -> Result<T, TxError> {
    Ok(row.try_get(column)?)
}

/// Numbers that were gathered into an array; none where there were none.
pub(super) fn array(row: Option<&PgRow>, column: &str) -> Result<Vec<i64>, TxError> {
    let found: Option<Vec<i64>> = row.map_or(Ok(None), |row| get(row, column))?;
    Ok(found.unwrap_or_default())
}

/// A column of enumerated text.
pub(super) fn get_state<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, TxError> {
    let text: &str = get(row, column)?;
    parse(text).ok_or_else(|| damaged(format!("{column} {text:?} is unknown")))
}

/// A column with a moment in it.
pub(super) fn get_time(row: &PgRow, column: &str) -> Result<Timestamp, TxError> {
    Ok(get::<Time>(row, column)?.0)
}

/// Where a run was asked for: six columns of those names.
pub(super) fn get_environment(row: &PgRow) -> Result<RunEnvironment, TxError> {
    Ok(RunEnvironment {
        tool_version: get(row, "tool_version")?,
        platform: get(row, "platform")?,
        user: get(row, "user_name")?,
        host: get(row, "host")?,
        git_commit: get(row, "git_commit")?,
        git_dirty: get(row, "git_dirty")?,
    })
}

/// A number that is never negative.
pub(super) fn get_unsigned<T: TryFrom<i64>>(row: &PgRow, column: &str) -> Result<T, TxError> {
    let value: i64 = get(row, column)?;
    T::try_from(value).map_err(|_| damaged(format!("{column} {value} is out of range")))
}

/// A 32-bit position or count that is never negative.
pub(super) fn get_index(row: &PgRow, column: &str) -> Result<u32, TxError> {
    let value: i32 = get(row, column)?;
    u32::try_from(value).map_err(|_| damaged(format!("{column} {value} is negative")))
}

/// JSON that was asked for as text.
pub(super) fn get_json(row: &PgRow, column: &str) -> Result<serde_json::Value, TxError> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|error| damaged(format!("{column} is no JSON: {error}")))
}

/// A content hash.
pub(super) fn get_content_hash(row: &PgRow, column: &str) -> Result<ContentHash, TxError> {
    hash_bytes(get(row, column)?).map(ContentHash::from_bytes)
}

/// A fingerprint.
pub(super) fn get_fingerprint(row: &PgRow, column: &str) -> Result<Fingerprint, TxError> {
    hash_bytes(get(row, column)?).map(Fingerprint::from_bytes)
}

/// A fingerprint, where there is one.
pub(super) fn get_opt_fingerprint(row: &PgRow, column: &str) -> Result<Option<Fingerprint>, TxError> {
    let bytes: Option<&[u8]> = get(row, column)?;
    bytes.map(|bytes| hash_bytes(bytes).map(Fingerprint::from_bytes)).transpose()
}

/// 32 bytes.
fn hash_bytes(bytes: &[u8]) -> Result<[u8; 32], TxError> {
    bytes.try_into().map_err(|_| damaged(format!("a hash has {} bytes", bytes.len())))
}

/// A position as Postgres keeps it. Tasks beyond 2³¹ do not exist: no such run fits into memory.
pub(super) fn index(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// A number as Postgres keeps it, or an error for the caller.
pub(super) fn stored(what: &'static str, value: u64) -> Result<i64, TxError> {
    rules::stored(what, value).map_err(|error| TxError::Store(error.into()))
}

/// The database holds something this code never writes.
pub(super) fn damaged(what: String) -> TxError {
    TxError::Store(StoreError::Damaged(what))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_so_that_numeric_keeps_the_type_of_numbers() {
        let value = json!({"whole": 10_000_000_000_000_000_u64, "float": 1e16, "small": 1e-7, "half": 0.5});
        assert_eq!(json(&value), r#"{"float":10000000000000000.0,"half":0.5,"small":1e-7,"whole":10000000000000000}"#);
    }

    #[test]
    fn what_postgres_cannot_keep_is_replaced() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert!(matches!(text("plain"), Cow::Borrowed("plain")));
        assert_eq!(json(&json!({"a\0": ["\0", "\\u0000", "\n"]})), r#"{"a\ufffd":["\ufffd","\\u0000","\n"]}"#);
    }
}
