//! Names of pipelines, steps, outputs and parameters: data, never paths.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// A checked name: `[a-z][a-z0-9_-]{0,63}`. Cheap to clone.
///
/// Invariant: holds no character that means something to a file system, a shell or an environment,
/// so that it may become part of a path or a variable without quoting.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty text.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than [`MAX_NAME_LEN`].
    #[error("a name has at most {MAX_NAME_LEN} characters, this one has {0}")]
    TooLong(usize),
    /// A first character other than a small letter.
    #[error("a name starts with a small letter a-z, not with {0:?}")]
    BadStart(char),
    /// A later character outside the grammar.
    #[error("a name has only small letters, digits, '_' and '-', not {0:?}")]
    BadCharacter(char),
}

impl Name {
    /// Checks `text` against the grammar.
    ///
    /// # Errors
    /// [`NameError`] says what does not fit.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong(text.chars().count()));
        }
        if !first.is_ascii_lowercase() {
            return Err(NameError::BadStart(first));
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')) {
            Some(bad) => Err(NameError::BadCharacter(bad)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The spelling in an environment variable: upper case, `-` as `_`.
    /// Two names of one step must not share it; validation sees to that.
    #[must_use]
    pub fn env_spelling(&self) -> String {
        self.0.to_ascii_uppercase().replace('-', "_")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_data_and_never_paths() {
        for bad in ["", "..", "a/b", "a\0b", "a\nb", "A", "1a", "-a", "é", "a.b", "a b", &"a".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a-b_1", &"a".repeat(64)] {
            assert_eq!(Name::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }
}
