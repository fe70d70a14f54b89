//! Why a question has no answer.

use std::fmt;

use runstone_core::store::StoreError;
use runstone_exec::objects::ObjectError;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of trouble it is, as far as programs care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The question makes no sense, or could mean several things.
    Usage,
    /// What it is about does not exist.
    NotFound,
    /// The record or the objects cannot be read, or hold what should not be there.
    Damaged,
    /// It is as it should be, but cannot be done.
    Refused,
    /// A file cannot be read or written.
    Io,
}

/// A question that has no answer.
#[derive(Debug)]
pub struct Error {
    /// What kind of trouble it is.
    pub kind: Kind,
    message: String,
    /// What could be done about it.
    pub hints: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new one; `message` is a lower-case fragment.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), source: None }
    }

    /// The question makes no sense.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// What it is about does not exist.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// The record holds what it should not.
    #[must_use]
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, message)
    }

    /// Whether something on record is not as it should be; a database that does not answer says nothing about that.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let from_store = self.source.as_deref().and_then(|source| source.downcast_ref::<StoreError>());
        self.kind == Kind::Damaged
            && !matches!(from_store, Some(StoreError::Database { .. } | StoreError::NewerSchema { .. }))
    }

    /// Adds what could be done about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Ambiguous { .. } => Self::usage(error.to_string()).hint("give more digits"),
            StoreError::LostOwnership { .. } => Self::new(Kind::Refused, error.to_string()),
            StoreError::NewerSchema { .. } | StoreError::Damaged(_) | StoreError::Database { .. } => {
                Self::damaged(error.to_string()).hint("`runstone doctor` shows what is used").because(error)
            }
        }
    }
}

impl From<ObjectError> for Error {
    fn from(error: ObjectError) -> Self {
        Self::damaged(error.to_string()).because(error)
    }
}
