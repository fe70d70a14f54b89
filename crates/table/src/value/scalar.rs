//! Values that outlive the batch they were read in: what statistics and samples show.

use serde::{Deserialize, Serialize};

use super::{Value, time};

/// The longest text that is kept of a value, in bytes.
pub(crate) const MAX_TEXT: usize = 256;

/// A value of a table. Long texts are cut, and end in `…` then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Spelling", try_from = "Spelling")]
pub enum Scalar {
    /// Nothing: an empty cell of CSV, a missing key of JSON.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// A number, possibly NaN or infinite.
    Float(f64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Timestamp(i128),
    /// A text.
    Text(String),
    /// Canonical JSON text of an object or array.
    Json(String),
}

/// At most [`MAX_TEXT`] bytes of a text.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let mut kept = prefix(text, MAX_TEXT - '…'.len_utf8()).to_owned();
    kept.push('…');
    kept
}

/// At most `len` bytes of a text, ending between characters.
pub(crate) fn prefix(text: &str, len: usize) -> &str {
    let end = (0..=len.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

impl From<Value<'_>> for Scalar {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(value) => Self::Integer(value.into()),
            Value::Wide(value) => Self::Integer(value),
            Value::Float(value) => Self::Float(value),
            Value::Date(days) => Self::Date(days),
            Value::Timestamp(nanos) => Self::Timestamp(nanos),
            Value::Text(text) => Self::Text(cut(text)),
            Value::Json(text) => Self::Json(cut(text)),
        }
    }
}

impl Scalar {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::integer(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Date(days) => Value::Date(*days),
            Self::Timestamp(nanos) => Value::Timestamp(*nanos),
            Self::Text(text) => Value::Text(text),
            Self::Json(text) => Value::Json(text),
        }
    }
}

/// As it would stand in a CSV file; nothing for null.
impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        self.value().write(&mut text);
        f.pad(&text)
    }
}

/// How a scalar is written as JSON: `null`, `{"integer":1}`, `{"date":"2026-01-31"}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Spelling {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Digits of an integer beyond 64 bits.
    Wide(String),
    Float(f64),
    /// A float that JSON has no number for.
    NotFinite(String),
    Date(String),
    Timestamp(String),
    Text(String),
    Json(String),
}

impl From<Scalar> for Spelling {
    fn from(scalar: Scalar) -> Self {
        let text = scalar.to_string();
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Boolean(value) => Self::Boolean(value),
            Scalar::Integer(value) => i64::try_from(value).map_or(Self::Wide(text), Self::Integer),
            Scalar::Float(value) if value.is_finite() => Self::Float(value),
            Scalar::Float(_) => Self::NotFinite(text),
            Scalar::Date(_) => Self::Date(text),
            Scalar::Timestamp(_) => Self::Timestamp(text),
            Scalar::Text(text) => Self::Text(text),
            Scalar::Json(text) => Self::Json(text),
        }
    }
}

impl TryFrom<Spelling> for Scalar {
    type Error = String;

    fn try_from(spelling: Spelling) -> Result<Self, String> {
        let bad = |text: &str| format!("not a value: {text:?}");
        Ok(match spelling {
            Spelling::Null => Self::Null,
            Spelling::Boolean(value) => Self::Boolean(value),
            Spelling::Integer(value) => Self::Integer(value.into()),
            Spelling::Wide(digits) => Self::Integer(digits.parse().map_err(|_| bad(&digits))?),
            Spelling::Float(value) => Self::Float(value),
            Spelling::NotFinite(name) => Self::Float(name.parse().map_err(|_| bad(&name))?),
            Spelling::Date(text) => Self::Date(time::read_date(&text).ok_or_else(|| bad(&text))?),
            Spelling::Timestamp(text) => Self::Timestamp(time::read_timestamp(&text).ok_or_else(|| bad(&text))?),
            Spelling::Text(text) => Self::Text(text),
            Spelling::Json(text) => Self::Json(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_stable_and_comes_back() {
        let table = [
            (Scalar::Null, r#""null""#),
            (Scalar::Boolean(true), r#"{"boolean":true}"#),
            (Scalar::Integer(-1), r#"{"integer":-1}"#),
            (Scalar::Integer(1 << 100), r#"{"wide":"1267650600228229401496703205376"}"#),
            (Scalar::Float(0.1), r#"{"float":0.1}"#),
            (Scalar::Float(f64::NEG_INFINITY), r#"{"not_finite":"-inf"}"#),
            (Scalar::Date(0), r#"{"date":"1970-01-01"}"#),
            (Scalar::Timestamp(1_500_000_000), r#"{"timestamp":"1970-01-01T00:00:01.5Z"}"#),
            (Scalar::Text("é".into()), r#"{"text":"é"}"#),
            (Scalar::Json("[1]".into()), r#"{"json":"[1]"}"#),
        ];
        for (scalar, text) in table {
            assert_eq!(serde_json::to_string(&scalar).unwrap(), text);
            assert_eq!(serde_json::from_str::<Scalar>(text).unwrap(), scalar);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = cut(&"é".repeat(1000));
        assert!(text.len() <= MAX_TEXT && text.ends_with("é…"));
        assert_eq!(cut("short"), "short");
    }
}
