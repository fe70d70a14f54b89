//! Numbers as bytes as base64: the form in which sketches stand in JSON. Little-endian, with padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What was stored as a sketch is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored {0} are damaged")]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// Bytes that are base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl Bytes {
    pub(crate) fn of_words(words: impl Iterator<Item = u64>) -> Self {
        Self(words.flat_map(u64::to_le_bytes).collect())
    }

    /// Words of eight bytes, unless something is left over.
    pub(crate) fn words(&self) -> Option<impl ExactSizeIterator<Item = u64> + '_> {
        let (words, rest) = self.0.as_chunks::<8>();
        rest.is_empty().then(|| words.iter().map(|word| u64::from_le_bytes(*word)))
    }
}
