//! The names of keys on notes: the id of a key, and the text by which a public key is made known.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::NoteSignature;
use crate::log::key::{KEY_LEN, KeyError, VerifyingKey};

/// The type of signature in the list of the specification: Ed25519 over the text of the note.
const ED25519: u8 = 0x01;

/// Which key of a name it is: the beginning of a hash. Written as eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    /// The bytes of an id.
    pub const LEN: usize = 4;

    /// The id of a key that signs under this name: the first bytes of
    /// `SHA-256(name || 0x0A || 0x01 || public key)`.
    #[must_use]
    pub fn of(name: &str, key: &VerifyingKey) -> Self {
        let hash = Sha256::new_with_prefix(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize();
        Self([hash[0], hash[1], hash[2], hash[3]])
    }

    /// Takes over an id, of a key of any kind.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A text that cannot be the name of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} cannot be the name of a key: it is empty, or has spaces, control characters or a plus sign; take an \
    address without its scheme, such as example.com/log"
)]
pub struct KeyNameError {
    /// The text.
    pub name: String,
}

pub(super) fn check_name(name: &str) -> Result<(), KeyNameError> {
    let is_wrong = |char: char| char.is_whitespace() || char < ' ' || char == '+';
    if name.is_empty() || name.contains(is_wrong) { Err(KeyNameError { name: name.to_owned() }) } else { Ok(()) }
}

/// A public key and the name it signs under. Written `name+id+base64(0x01 || key)`, which Go calls a verifier key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    key: VerifyingKey,
}

/// Why a text is no key of notes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteKeyError {
    /// Not three parts.
    #[error("a key of notes is written NAME+ID+BASE64; {found:?} is not")]
    Form {
        /// The text.
        found: String,
    },
    /// The name is none.
    #[error(transparent)]
    Name(#[from] KeyNameError),
    /// The key's part cannot be read.
    #[error("the key of {name} is not base64 of the byte 1, which stands for Ed25519, and 32 bytes")]
    Key {
        /// The name.
        name: String,
    },
    /// The key is not to be trusted.
    #[error("the key of {name} cannot be used")]
    Unusable {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The id is not that of the key.
    #[error(
        "the key of {name} has the id {computed} and not {stated:?}: the text was changed, or put together wrongly"
    )]
    Id {
        /// The name.
        name: String,
        /// The id in the text.
        stated: String,
        /// The id of the name and the key.
        computed: KeyId,
    },
}

impl NoteKey {
    /// A key under a name.
    ///
    /// # Errors
    /// [`KeyNameError`] where the name is none.
    pub fn new(name: impl Into<String>, key: VerifyingKey) -> Result<Self, KeyNameError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { name, key })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key under its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.name, &self.key)
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether a signature says that it is by this key.
    pub(super) fn is_named_by(&self, line: &NoteSignature) -> bool {
        line.name == self.name && line.key_id == self.id()
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64_STANDARD.encode([&[ED25519], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, self.id())
    }
}

impl FromStr for NoteKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The base64 part may have plus signs of its own.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(stated), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteKeyError::Form { found: text.to_owned() });
        };
        check_name(name)?;
        let name = name.to_owned();
        let decoded: Option<[u8; 1 + KEY_LEN]> =
            BASE64_STANDARD.decode(key).ok().and_then(|bytes| bytes.try_into().ok());
        let Some([ED25519, bytes @ ..]) = decoded else {
            return Err(NoteKeyError::Key { name });
        };
        let key = match VerifyingKey::from_bytes(bytes) {
            Ok(key) => key,
            Err(source) => return Err(NoteKeyError::Unusable { name, source }),
        };
        let computed = KeyId::of(&name, &key);
        if computed.to_string() != stated {
            return Err(NoteKeyError::Id { name, stated: stated.to_owned(), computed });
        }
        Ok(Self { name, key })
    }
}
