//! What was asked of an attempt, read back from the canonical bytes behind its fingerprint.
//!
//! Reading is lenient: a field that an older or newer recipe spells differently is left out here and still stands,
//! whole, in [`DerivationView::derivation`].

use std::collections::BTreeMap;

use runstone_core::canonical::{self, DecodeError, Value};
use runstone_core::hash::ContentHash;
use serde::Serialize;

use super::{count, harmless};

/// How many code files are listed one by one.
const LISTED_FILES: usize = 6;

/// What was asked of an attempt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DerivationView {
    /// Shell command, or program and arguments.
    pub(crate) command: Option<String>,
    /// What an ingest read.
    pub(crate) source: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) python: Option<PythonView>,
    /// Path → hash.
    pub(crate) code: BTreeMap<String, String>,
    pub(crate) params: BTreeMap<String, serde_json::Value>,
    pub(crate) cell: BTreeMap<String, serde_json::Value>,
    /// Declared variables; of secrets only the name.
    pub(crate) env: BTreeMap<String, serde_json::Value>,
    /// Everything that was hashed.
    pub(crate) derivation: serde_json::Value,
}

/// A Python environment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PythonView {
    pub(crate) interpreter: String,
    pub(crate) lock: String,
}

impl DerivationView {
    /// Reads canonical bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes).map(|value| Self::new(&value))
    }

    pub(crate) fn new(value: &Value) -> Self {
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

    /// A few lines: command, code, parameters, environment. Each is named, and left out where there is nothing to say.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(command) = &self.command {
            lines.push(format!("command  {}", one_line(command)));
        }
        if let Some(source) = &self.source {
            lines.push(format!("source   {}", one_line(source)));
        }
        for (at, (path, hash)) in self.code.iter().take(LISTED_FILES).enumerate() {
            let label = if at == 0 { "code   " } else { "       " };
            lines.push(format!("{label}  {}  {}", harmless(path), short_hash(hash)));
        }
        if self.code.len() > LISTED_FILES {
            lines.push(format!("         and {}", count(self.code.len() - LISTED_FILES, "more file")));
        }
        if !self.params.is_empty() {
            lines.push(format!("params   {}", pairs(&self.params)));
        }
        if !self.env.is_empty() {
            lines.push(format!("env      {}", pairs(&self.env)));
        }
        let python =
            self.python.as_ref().map(|it| format!("{} (lock {})", harmless(&it.interpreter), short_hash(&it.lock)));
        let place: Vec<String> = self.platform.as_deref().map(harmless).into_iter().chain(python).collect();
        if !place.is_empty() {
            lines.push(format!("on       {}", place.join(", ")));
        }
        lines
    }
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let map = match value.get(key) {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    };
    map.into_iter().flatten()
}

/// The first line of a command, and whether there is more.
pub(crate) fn one_line(command: &str) -> String {
    let mut lines = command.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = harmless(lines.next().unwrap_or_default());
    let first = super::table::shorten(&first, 100);
    if lines.next().is_some() { format!("{first} …") } else { first }
}

/// `b3:` and twelve digits.
pub(crate) fn short_hash(hash: &str) -> &str {
    hash.get(..15).unwrap_or(hash)
}

/// `lr=0.1 seed=1`.
pub(crate) fn pairs<'a>(values: impl IntoIterator<Item = (&'a String, &'a serde_json::Value)>) -> String {
    let pair = |(name, value): (&String, &serde_json::Value)| {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Object(map) if map.len() == 1 && map.contains_key("secret") => {
                format!("(secret {})", map["secret"].as_str().unwrap_or_default())
            }
            other => other.to_string(),
        };
        format!("{}={}", harmless(name), super::table::shorten(&harmless(&text), 60))
    };
    values.into_iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// A hash with its prefix where the value is one, else its text.
pub(crate) fn hash_text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => ContentHash::from_bytes(bytes).to_string(),
            Err(_) => short(value),
        },
        _ => short(value),
    }
}

/// Text as it is, anything else as JSON.
pub(crate) fn short(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derivation_is_told_in_a_few_lines() {
        let hash = |text: &[u8]| Value::bytes(*ContentHash::of(text).as_bytes());
        let value = Value::map([
            ("recipe", Value::Int(1)),
            ("shell", Value::text("set -x\npython3 ./train.py")),
            ("code", Value::map([("./train.py", hash(b"code"))])),
            ("params", Value::map([("lr", Value::Float(0.1)), ("mode", Value::text("full"))])),
            ("env", Value::map([("TOKEN", Value::map([("secret", Value::text("hub"))]))])),
            ("python", Value::map([("interpreter", Value::text("CPython 3.11.2")), ("lock", hash(b"lock"))])),
            ("platform", Value::text("linux-x86_64")),
        ]);
        let view = DerivationView::decode(&canonical::encode(&value)).unwrap();
        let expected = [
            "command  set -x …".to_owned(),
            format!("code     ./train.py  b3:{}", ContentHash::of(b"code").short()),
            "params   lr=0.1 mode=full".to_owned(),
            "env      TOKEN=(secret hub)".to_owned(),
            format!("on       linux-x86_64, CPython 3.11.2 (lock b3:{})", ContentHash::of(b"lock").short()),
        ];
        assert_eq!(view.lines(), expected);
    }

    #[test]
    fn many_files_are_counted() {
        let code = (0..9).map(|n| (format!("./{n}.py"), Value::bytes([n; 32])));
        let view = DerivationView::new(&Value::map([("code", Value::map(code))]));
        let lines = view.lines();
        assert_eq!(lines.len(), LISTED_FILES + 1);
        assert_eq!(lines[LISTED_FILES], "         and 3 more files");
    }
}
