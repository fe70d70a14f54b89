//! One value, one spelling in bytes: deterministic CBOR, the preimage of every identity we compute.
//!
//! Source: RFC 8949 § 4.2.1 (core deterministic encoding): shortest integer forms, definite lengths,
//! map keys sorted by their encoded bytes. One rule is narrower: floats are always 64 bits wide, so that a value's
//! type never depends on its digits; NaN and infinities are refused before they get here.
//!
//! The bytes are kept beside every hash made of them, so that any hash can be re-checked ([`decode`]) and two of
//! them can be compared field by field ([`diff()`]).
//!
//! Not here: which fields make up a record, and which context string its hash has. Those belong to the record.

mod cbor;
mod diff;

use std::collections::BTreeMap;
use std::fmt;

pub use cbor::{DecodeError, DecodeErrorKind, decode, encode, view};
pub use diff::{Change, Path, PathSegment, diff};

/// How deep lists and maps may nest; a scalar has depth 0. Whoever builds a [`Value`] of something a user wrote
/// keeps to it: [`decode`] refuses what is deeper, and comparing and dropping use stack for each level.
pub const MAX_DEPTH: usize = 64;

/// A structured value without any freedom of spelling.
///
/// Two values are equal exactly when their bytes are: `0.0` and `-0.0` differ, as do `1` and `1.0`.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite 64-bit float.
    Float(f64),
    /// Text, kept as it is: no Unicode normalisation.
    Text(String),
    /// Bytes, such as a hash.
    Bytes(Vec<u8>),
    /// Values in a meaningful order.
    List(Vec<Value>),
    /// Named values; their order means nothing.
    Map(BTreeMap<String, Value>),
}

/// A [`Value`] in the bytes it was read from.
#[derive(Debug, Clone)]
pub enum View<'b> {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite 64-bit float.
    Float(f64),
    /// Text.
    Text(&'b str),
    /// Bytes.
    Bytes(&'b [u8]),
    /// Values in a meaningful order.
    List(Vec<View<'b>>),
    /// Named values, each name once, in the order of their encoded names.
    Map(Vec<(&'b str, View<'b>)>),
}

impl View<'_> {
    /// The entry of a map, found by looking at one after the other; `None` where there is none, or where this is no map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value by itself.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(text) => Value::text(text),
            Self::Bytes(bytes) => Value::bytes(bytes),
            Self::List(values) => Value::list(values.into_iter().map(Self::into_value)),
            Self::Map(entries) => Value::map(entries.into_iter().map(|(key, value)| (key, value.into_value()))),
        }
    }
}

impl Value {
    /// A map of the given entries.
    #[must_use]
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A list of the given values.
    #[must_use]
    pub fn list(values: impl IntoIterator<Item = Self>) -> Self {
        Self::List(values.into_iter().collect())
    }

    /// Text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// The entry of a map; `None` where there is none, or where this is no map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The value as JSON, for people and their tools. It cannot be read back without loss: bytes become
    /// lower-case hexadecimal text without a prefix, because bytes do not say what they are the hash of.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Json::from(*value),
            Self::Text(value) => Json::String(value.clone()),
            Self::Bytes(value) => Json::String(hex(value)),
            Self::List(values) => Json::Array(values.iter().map(Self::to_json).collect()),
            Self::Map(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// A value of JSON. Whole numbers of 64 bits stay whole, all others become floats. What is nested deeper than
    /// [`MAX_DEPTH`] allows becomes its JSON text.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        Self::from_json_within(json, MAX_DEPTH / 2)
    }

    fn from_json_within(json: &serde_json::Value, depth: usize) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => number.as_f64().map_or_else(|| Self::Text(number.to_string()), Self::Float),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(_) | Json::Object(_) if depth == 0 => Self::Text(json.to_string()),
            Json::Array(values) => Self::list(values.iter().map(|value| Self::from_json_within(value, depth - 1))),
            Json::Object(entries) => {
                Self::map(entries.iter().map(|(key, value)| (key, Self::from_json_within(value, depth - 1))))
            }
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// The [JSON form](Value::to_json) on one line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

/// BLAKE3 in its key derivation mode over the canonical bytes of `value`. Wrap the result in the hash type it is,
/// for instance [`Fingerprint::from_bytes`](crate::hash::Fingerprint::from_bytes).
///
/// `context` says what kind of record is hashed, in which version (`"runstone 2026 derivation v1"`): equal bytes of
/// two kinds then never share a hash. It must be a constant of the program, never something a user wrote.
#[must_use]
pub fn hash_with_context(context: &str, value: &Value) -> [u8; 32] {
    hash_encoded(context, &encode(value))
}

/// [`hash_with_context`] for bytes that are already canonical: those about to be kept, or those being re-checked.
#[must_use]
pub fn hash_encoded(context: &str, bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, bytes)
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_its_context_and_on_nothing_else_but_the_value() {
        let value = Value::map([("run", Value::text("make")), ("n", Value::Int(3))]);
        let again = Value::map([("n", Value::Int(3)), ("run", Value::text("make"))]);
        let hash = hash_with_context("test derivation v1", &value);
        assert_eq!(hash, hash_with_context("test derivation v1", &again));
        assert_eq!(hash, hash_encoded("test derivation v1", &encode(&value)));
        assert_ne!(hash, hash_with_context("test derivation v2", &value));
        assert_ne!(hash, hash_with_context("test derivation v1", &Value::Null));
    }

    #[test]
    fn the_hash_is_plain_blake3_key_derivation_over_cbor() {
        // The bytes by hand: a map of one pair, text(1) "a", unsigned 1.
        let by_hand = blake3::Hasher::new_derive_key("test").update(&[0xa1, 0x61, b'a', 0x01]).finalize();
        assert_eq!(hash_with_context("test", &Value::map([("a", Value::Int(1))])), *by_hand.as_bytes());
    }

    #[test]
    fn values_are_equal_exactly_when_their_bytes_are() {
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_ne!(Value::Float(1.0), Value::Int(1));
        assert_ne!(Value::text("a"), Value::bytes(*b"a"));
        assert_eq!(Value::Float(0.5), Value::Float(0.5));
    }

    #[test]
    fn json_becomes_a_value_that_can_be_encoded_however_deep_it_is() {
        let json: serde_json::Value =
            serde_json::from_str(r#"{"a":[1,-1.5,18446744073709551615,true,null,"x"]}"#).unwrap();
        let list = [Value::Int(1), Value::Float(-1.5), Value::Float(18_446_744_073_709_551_615.0), Value::Bool(true)];
        let list = list.into_iter().chain([Value::Null, Value::text("x")]);
        assert_eq!(Value::from_json(&json), Value::map([("a", Value::list(list))]));
        let deep: serde_json::Value =
            serde_json::from_str(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).unwrap();
        let value = Value::from_json(&deep);
        assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn the_json_form_is_readable() {
        let value = Value::map([
            ("lr", Value::Float(1.0)),
            ("n", Value::Int(-1)),
            ("hash", Value::bytes([0x00, 0xfa])),
            ("tags", Value::list([Value::Null, Value::Bool(true), Value::text("ü\n")])),
        ]);
        assert_eq!(value.to_string(), r#"{"hash":"00fa","lr":1.0,"n":-1,"tags":[null,true,"ü\n"]}"#);
    }
}
