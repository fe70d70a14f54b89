//! What was asked of an attempt, read back from the canonical bytes behind its fingerprint.
//!
//! Reading is lenient: a field that an older or newer recipe spells differently is left out here and still stands,
//! whole, in [`DerivationView::derivation`].

use std::collections::BTreeMap;

use runstone_core::canonical::{self, DecodeError, Value};
use runstone_core::hash::ContentHash;
use serde::Serialize;

/// What was asked of an attempt.
#[derive(Debug, Clone, Serialize)]
pub struct DerivationView {
    /// Shell command, or program and arguments.
    pub command: Option<String>,
    /// What an ingest read.
    pub source: Option<String>,
    /// Operating system and architecture.
    pub platform: Option<String>,
    /// The Python environment.
    pub python: Option<PythonView>,
    /// Path → hash.
    pub code: BTreeMap<String, String>,
    /// Parameters by name.
    pub params: BTreeMap<String, serde_json::Value>,
    /// Axis values by name.
    pub cell: BTreeMap<String, serde_json::Value>,
    /// Declared variables; of secrets only the name.
    pub env: BTreeMap<String, serde_json::Value>,
    /// Everything that was hashed.
    pub derivation: serde_json::Value,
}

/// A Python environment.
#[derive(Debug, Clone, Serialize)]
pub struct PythonView {
    /// Implementation and version.
    pub interpreter: String,
    /// Content of the lock.
    pub lock: String,
}

impl DerivationView {
    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes).map(|value| Self::new(&value))
    }

    /// From decoded bytes.
    pub fn new(value: &Value) -> Self {
        let argv = value.get("argv").map(|argv| match argv {
            Value::List(words) => words.iter().map(short).collect::<Vec<_>>().join(" "),
            other => short(other),
        });
        let python = value.get("python").map(|python| PythonView {
            interpreter: python.get("interpreter").map(short).unwrap_or_default(),
            lock: python.get("lock").map(hash_text).unwrap_or_default(),
        });
        Self {
            command: value.get("shell").map(short).or(argv),
            source: value.get("source").map(short),
            platform: value.get("platform").map(short),
            python,
            code: entries(value, "code").map(|(path, hash)| (path.clone(), hash_text(hash))).collect(),
            params: entries(value, "params").map(|(name, value)| (name.clone(), value.to_json())).collect(),
            cell: entries(value, "cell").map(|(name, value)| (name.clone(), value.to_json())).collect(),
            env: entries(value, "env").map(|(name, value)| (name.clone(), value.to_json())).collect(),
            derivation: value.to_json(),
        }
    }
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let map = match value.get(key) {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    };
    map.into_iter().flatten()
}

/// A hash with its prefix where the value is one, else its text.
pub fn hash_text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => ContentHash::from_bytes(bytes).to_string(),
            Err(_) => short(value),
        },
        _ => short(value),
    }
}

/// Text as it is, anything else as JSON.
pub fn short(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}
