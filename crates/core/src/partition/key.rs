//! Keys of partitions as texts, and what can be wrong with them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest key, in bytes.
pub const MAX_KEY_LEN: usize = 64;

/// A checked key: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`. Cheap to clone.
///
/// Invariant: it holds no character that means something to a file system, a shell, an environment or an address, and
/// is no name of a folder such as `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

/// Why a text names no partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no key of any pipeline.
    #[error(
        "{0:?} is not a key: keys have 1 to 64 letters, digits, '.', '_' and '-', and start with a letter or digit"
    )]
    Grammar(String),
    /// It does not look like the slices of this pipeline.
    #[error("{text:?} is not {what}, such as {example}")]
    Malformed {
        /// The text.
        text: String,
        /// What it should be, with its article.
        what: &'static str,
        /// How one is written.
        example: &'static str,
    },
    /// Clocks leap over it.
    #[error("{text} does not exist in {zone}: its clocks leap over it")]
    LeaptOver {
        /// The text.
        text: String,
        /// The zone.
        zone: &'static str,
    },
    /// It is before the first partition or after the last one.
    #[error("{text} is outside of the pipeline's partitions, which go from {start} to {}", end.as_ref().map_or("now on", Key::as_str))]
    Outside {
        /// The text.
        text: String,
        /// The first partition.
        start: Key,
        /// The last one.
        end: Option<Key>,
    },
    /// It is none of the listed values.
    #[error("{text:?} is not one of the pipeline's partitions{}", near.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    NotListed {
        /// The text.
        text: String,
        /// The value that was probably meant.
        near: Option<String>,
    },
    /// A span that ends before it starts.
    #[error("{from} comes after {to}")]
    Backwards {
        /// Its start.
        from: Key,
        /// Its end.
        to: Key,
    },
}

impl Key {
    /// Checks `text` against the grammar.
    ///
    /// # Errors
    /// [`KeyError::Grammar`].
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = text.len() <= MAX_KEY_LEN
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(inner);
        if fits { Ok(Self(text.into())) } else { Err(KeyError::Grammar(text.chars().take(2 * MAX_KEY_LEN).collect())) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_data_and_never_paths() {
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "a\0", "a\n", "é", "a=b", "a:b", "%41", &"a".repeat(65)] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "EU", "2026-01-05T13", "v1.2_x-y", &"a".repeat(64)] {
            assert_eq!(Key::new(good).map(|key| key.to_string()), Ok(good.to_owned()));
        }
    }
}
