//! The two hashes, as two types, so that one can never stand in for the other.
//!
//! [`Fingerprint`] names what was *asked*; [`ContentHash`] names what bytes *resulted*. This module
//! knows their text form and nothing about files: hashing of large content is done where the bytes are.

/// The prefix of a content hash in text, which names the algorithm (BLAKE3, 256 bits).
pub const CONTENT_PREFIX: &str = "b3:";

/// A text that is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, found {found:?}")]
pub struct ParseHashError {
    /// The text as given.
    pub found: String,
}

/// A hash of 32 bytes as a type of its own; the [log](crate::log) has two more.
macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $prefix:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes that are already a hash.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// 64 lower-case hexadecimal digits, without a prefix.
            #[must_use]
            pub fn to_hex(&self) -> String {
                blake3::Hash::from_bytes(self.0).to_hex().to_string()
            }

            /// The first twelve digits: enough for people, never for identity.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_hex()[..12].to_owned()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}{}", $prefix, self.to_hex())
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}{}", $prefix, self.short())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::hash::ParseHashError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                blake3::Hash::from_hex(text.strip_prefix($prefix).unwrap_or(text))
                    .map(|hash| Self(*hash.as_bytes()))
                    .map_err(|_| $crate::hash::ParseHashError { found: text.to_owned() })
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use hash_type;

hash_type! {
    /// What bytes resulted: BLAKE3 of a file's content (equal to `b3sum`), or the root of a
    /// directory's Merkle tree. Written `b3:` and 64 digits.
    ContentHash, CONTENT_PREFIX
}

hash_type! {
    /// What was asked of a task: the hash of its canonical [derivation](crate::canonical).
    /// Written as 64 digits without a prefix, so that it cannot be mistaken for content.
    Fingerprint, ""
}

impl ContentHash {
    /// Hashes a small piece of content that is already in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_hash_reads_what_it_writes_and_equals_b3sum() {
        // Source: the first of the official BLAKE3 test vectors, the empty input.
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let hash = ContentHash::of(b"");
        assert_eq!(hash.to_string(), format!("b3:{empty}"));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(empty.parse(), Ok(hash));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "b3:", "b3:zz", &"0".repeat(63), &"g".repeat(64)] {
            assert!(text.parse::<ContentHash>().is_err(), "{text}");
        }
    }
}
