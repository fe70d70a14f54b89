//! What kinds of value a column has, and the type that follows from them.

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// The type of a column, decided by all of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Nothing but nulls.
    Null,
    /// Truth values.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Numbers of which at least one is written with a fraction or exponent.
    Float,
    /// Days.
    Date,
    /// Moments, possibly some days among them.
    Timestamp,
    /// Texts. In CSV everything else becomes text as soon as one value is.
    Text,
    /// Objects and arrays.
    Json,
    /// Several of these.
    Mixed,
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Text => "text",
            Self::Json => "json",
            Self::Mixed => "mixed",
        })
    }
}

/// How many values of each kind a column has. Nulls are none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kinds {
    /// Truth values.
    #[serde(skip_serializing_if = "is_zero")]
    pub boolean: u64,
    /// Whole numbers.
    #[serde(skip_serializing_if = "is_zero")]
    pub integer: u64,
    /// Numbers with a fraction or exponent, NaN and infinities.
    #[serde(skip_serializing_if = "is_zero")]
    pub float: u64,
    /// Days.
    #[serde(skip_serializing_if = "is_zero")]
    pub date: u64,
    /// Moments.
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp: u64,
    /// Texts.
    #[serde(skip_serializing_if = "is_zero")]
    pub text: u64,
    /// Objects and arrays.
    #[serde(skip_serializing_if = "is_zero")]
    pub json: u64,
}

pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Kinds {
    /// All values.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.boolean + self.integer + self.float + self.date + self.timestamp + self.text + self.json
    }

    pub(super) fn count(&mut self, value: Value<'_>) {
        let kind = match value {
            Value::Null => return,
            Value::Boolean(_) => &mut self.boolean,
            Value::Integer(_) | Value::Wide(_) => &mut self.integer,
            Value::Float(_) => &mut self.float,
            Value::Date(_) => &mut self.date,
            Value::Timestamp(_) => &mut self.timestamp,
            Value::Text(_) => &mut self.text,
            Value::Json(_) => &mut self.json,
        };
        *kind += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self { boolean, integer, float, date, timestamp, text, json } = other;
        self.boolean += boolean;
        self.integer += integer;
        self.float += float;
        self.date += date;
        self.timestamp += timestamp;
        self.text += text;
        self.json += json;
    }

    /// The type of a column with these values. Where the format has no types, a text among them makes all texts;
    /// and since JSON writes times as texts, times among texts are texts everywhere.
    #[must_use]
    pub fn column_type(&self, typed: bool) -> ColumnType {
        let (numbers, times) = (self.integer + self.float, self.date + self.timestamp);
        let others = self.boolean + numbers + self.json;
        if self.text > 0 && (!typed || others == 0) {
            return ColumnType::Text;
        }
        match [self.boolean, numbers, times, self.text, self.json].map(|count| count > 0) {
            [false, false, false, false, false] => ColumnType::Null,
            [true, false, false, false, false] => ColumnType::Boolean,
            [false, true, false, false, false] if self.float > 0 => ColumnType::Float,
            [false, true, false, false, false] => ColumnType::Integer,
            [false, false, true, false, false] if self.timestamp > 0 => ColumnType::Timestamp,
            [false, false, true, false, false] => ColumnType::Date,
            [false, false, false, false, true] => ColumnType::Json,
            _ => ColumnType::Mixed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_follows_from_the_values() {
        let none = Kinds::default();
        let table = [
            (none, ColumnType::Null, ColumnType::Null),
            (Kinds { boolean: 1, ..none }, ColumnType::Boolean, ColumnType::Boolean),
            (Kinds { integer: 1, ..none }, ColumnType::Integer, ColumnType::Integer),
            (Kinds { integer: 9, float: 1, ..none }, ColumnType::Float, ColumnType::Float),
            (Kinds { date: 1, ..none }, ColumnType::Date, ColumnType::Date),
            (Kinds { date: 9, timestamp: 1, ..none }, ColumnType::Timestamp, ColumnType::Timestamp),
            (Kinds { text: 1, date: 9, ..none }, ColumnType::Text, ColumnType::Text),
            (Kinds { text: 1, integer: 9, ..none }, ColumnType::Mixed, ColumnType::Text),
            (Kinds { boolean: 1, integer: 9, ..none }, ColumnType::Mixed, ColumnType::Mixed),
            (Kinds { json: 1, text: 9, ..none }, ColumnType::Mixed, ColumnType::Text),
            (Kinds { json: 1, ..none }, ColumnType::Json, ColumnType::Json),
        ];
        for (kinds, typed, words) in table {
            assert_eq!((kinds.column_type(true), kinds.column_type(false)), (typed, words), "{kinds:?}");
        }
    }
}
