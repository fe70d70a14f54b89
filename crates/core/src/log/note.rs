//! Signed notes: text that people can read, with the signatures of named keys below it.
//!
//! Source: <https://c2sp.org/signed-note>, as first written by `golang.org/x/mod/sumdb/note`, whose notes these are.
//! Signatures are Ed25519 only; those of other kinds are kept and cannot be trusted.
//!
//! The text means nothing before [`Note::verify`] has found a signature of a key that is trusted.

mod name;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

pub use name::{KeyId, KeyNameError, NoteKey, NoteKeyError};

use super::key::{SIGNATURE_LEN, SigningKey};
use name::check_name;

/// The most signatures that a note may have. The specification asks for 16 at least; Go has the same limit.
pub const MAX_SIGNATURES: usize = 100;

/// What a line with a signature begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A signed text. There is always at least one signature, of which nothing is known until it is
/// [verified](Note::verify).
///
/// `Display` writes the note as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A line with a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// Which key of that name, and the kind of its signatures.
    pub key_id: KeyId,
    /// The signature, which is not empty.
    pub signature: Vec<u8>,
}

/// Why something is no note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not UTF-8.
    #[error("a note is text in UTF-8; byte {at} of this is not")]
    NotUtf8 {
        /// Where the first wrong byte is.
        at: usize,
    },
    /// A character that notes do not have.
    #[error("a note has no control characters but line feeds; byte {at} of this is {found:?}")]
    Control {
        /// Where it is.
        at: usize,
        /// The character.
        found: char,
    },
    /// The text does not end with a line feed.
    #[error("the text of a note ends with a line feed, and this one does not")]
    OpenText,
    /// No empty line, or nothing below it.
    #[error("this note has no signatures: they stand below the last empty line")]
    NoSignatures,
    /// The last line does not end with a line feed.
    #[error("the last line of this note does not end: it may have been cut")]
    OpenLine,
    /// A line among the signatures is none.
    #[error("line {number} of the signatures should be '\u{2014} NAME BASE64': {reason}")]
    Signature {
        /// Which line below the empty one, from 1 on.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More signatures than [`MAX_SIGNATURES`].
    #[error("this note has more than {MAX_SIGNATURES} signatures")]
    TooMany,
    /// The name of a key is none.
    #[error(transparent)]
    Name(#[from] KeyNameError),
}

/// Why a note is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteVerifyError {
    /// A signature under the name and id of a trusted key is not by it.
    #[error("the signature by {name}+{key_id} is not by that key over this text: the note was changed or forged")]
    Forged {
        /// The name of the key.
        name: String,
        /// Its id.
        key_id: KeyId,
    },
    /// None of the signatures is of a trusted key.
    #[error("no signature on this note is of a trusted key; it has those of {}", found.join(", "))]
    Untrusted {
        /// The keys that signed, as `name+id`.
        found: Vec<String>,
    },
}

impl Note {
    /// Signs a text, which must end with a line feed, under a name.
    ///
    /// # Errors
    /// [`NoteError`] where the text or the name cannot stand in a note.
    pub fn sign(text: impl Into<String>, name: &str, key: &SigningKey) -> Result<Self, NoteError> {
        let text = text.into();
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::OpenText);
        }
        let mut note = Self { text, signatures: Vec::new() };
        note.cosign(name, key)?;
        Ok(note)
    }

    /// Adds a signature below the others. One that stands under the same name and id is replaced.
    ///
    /// # Errors
    /// [`NoteError`] where the name cannot stand in a note, or there are too many signatures; the note is unchanged.
    pub fn cosign(&mut self, name: &str, key: &SigningKey) -> Result<(), NoteError> {
        check_name(name)?;
        let key_id = KeyId::of(name, &key.verifying_key());
        let is_other = |line: &NoteSignature| line.name != name || line.key_id != key_id;
        if self.signatures.iter().filter(|line| is_other(line)).count() >= MAX_SIGNATURES {
            return Err(NoteError::TooMany);
        }
        self.signatures.retain(is_other);
        let signature = key.sign(self.text.as_bytes()).to_vec();
        self.signatures.push(NoteSignature { name: name.to_owned(), key_id, signature });
        Ok(())
    }

    /// Reads a note without trusting it.
    ///
    /// # Errors
    /// [`NoteError`] where it differs from what [`Display`](fmt::Display) would write.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = str::from_utf8(bytes).map_err(|error| NoteError::NotUtf8 { at: error.valid_up_to() })?;
        check_characters(note)?;
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::OpenLine)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooMany);
        }
        let read =
            |(at, line)| NoteSignature::parse(line).map_err(|reason| NoteError::Signature { number: at + 1, reason });
        let signatures = lines.split('\n').enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Verifies the signatures of all trusted keys, and returns the keys that signed, each once and in the order of
    /// their signatures. Signatures of other keys are passed over.
    ///
    /// # Errors
    /// [`NoteVerifyError`] where none of the keys signed, or where a signature under the name and id of one is wrong.
    pub fn verify<'k>(&self, trusted: &'k [NoteKey]) -> Result<Vec<&'k NoteKey>, NoteVerifyError> {
        let mut keys = Vec::new();
        for line in &self.signatures {
            let mut named = trusted.iter().filter(|key| key.is_named_by(line)).peekable();
            if named.peek().is_none() {
                continue;
            }
            // Two keys of one name and id are possible, though nobody makes them by chance.
            let signer = named.find(|key| key.key().verify(self.text.as_bytes(), &line.signature).is_ok());
            let forged = || NoteVerifyError::Forged { name: line.name.clone(), key_id: line.key_id };
            let signer = signer.ok_or_else(forged)?;
            if !keys.contains(&signer) {
                keys.push(signer);
            }
        }
        if keys.is_empty() {
            let found = self.signatures.iter().map(|line| format!("{}+{}", line.name, line.key_id)).collect();
            return Err(NoteVerifyError::Untrusted { found });
        }
        Ok(keys)
    }

    /// The signed text with its final line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, known or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let rest = line.strip_prefix(DASH).ok_or("it does not begin with an em dash and a space")?;
        let (name, signature) = rest.split_once(' ').ok_or("there is no space between name and signature")?;
        check_name(name).map_err(|_| "the name is empty, or has spaces or a plus sign")?;
        let bytes = BASE64_STANDARD.decode(signature).map_err(|_| "the signature is not in base64")?;
        match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => {
                Ok(Self { name: name.to_owned(), key_id: KeyId::from_bytes(*id), signature: signature.to_vec() })
            }
            _ => Err("the signature is too short to hold the id of a key and more"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(KeyId::LEN + SIGNATURE_LEN);
        bytes.extend_from_slice(self.key_id.as_bytes());
        bytes.extend_from_slice(&self.signature);
        write!(f, "{DASH}{} {}", self.name, BASE64_STANDARD.encode(bytes))
    }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    match text.char_indices().find(|&(_, char)| char < ' ' && char != '\n') {
        Some((at, found)) => Err(NoteError::Control { at, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
