//! Where a database is, as people write it: `sqlite:PATH` or `postgres://…`. Passwords come in here and never go out.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a database is. Neither `Display` nor `Debug` tell passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file on a local disk.
    Sqlite(PathBuf),
    /// A server: the URL as given, password and all.
    Postgres(String),
}

/// A text that is not the URL of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `sqlite:PATH` or `postgres://USER@HOST/DATABASE`, found `{found}`")]
pub struct ParseLocationError {
    /// The text, without passwords.
    pub found: String,
}

impl FromStr for Location {
    type Err = ParseLocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        match path {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(ParseLocationError { found: redact(text) }),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&redact(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// The URL with what may be a password replaced by `***`.
///
/// Errs to the side of hiding: everything between the first `:` after the scheme and the last `@` goes, so that a
/// password with unescaped `/` or `@` in it is hidden too, and the value of every parameter named like a password.
#[must_use]
pub(crate) fn redact(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (head, rest) = url.split_at(start);
    let rest = match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => format!("{}:***{}", &rest[..colon], &rest[at..]),
        _ => rest.to_owned(),
    };
    let Some((base, query)) = rest.split_once('?') else { return format!("{head}{rest}") };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if key.to_ascii_lowercase().contains("pass") => format!("{key}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{head}{base}?{}", shown.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        assert_eq!("sqlite:a/b.db".parse(), Ok(Location::Sqlite("a/b.db".into())));
        assert_eq!("sqlite:///a/b.db".parse(), Ok(Location::Sqlite("/a/b.db".into())));
        for url in ["postgres://u@h/d", "postgresql:///d?host=/run/pg"] {
            assert_eq!(url.parse(), Ok(Location::Postgres(url.to_owned())));
        }
        for bad in ["", "sqlite:", "sqlite://", "mysql://u:p@h/d", "a/b.db"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_never_told() {
        let told = |text: &str| match text.parse::<Location>() {
            Ok(location) => format!("{location} {location:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        for url in [
            "postgres://u:hunter2@h:5432/d",
            "postgres://u:hunter2/x@y@h/d",
            "postgresql://h/d?user=u&password=hunter2",
            "postgresql://h/d?sslpassword=hunter2&sslmode=require",
            "mysql://u:hunter2@h/d",
            "u:hunter2@h/d",
        ] {
            assert!(!told(url).contains("hunter2"), "{}", told(url));
        }
        assert_eq!(redact("postgres://u:hunter2@h:5432/d?host=/run"), "postgres://u:***@h:5432/d?host=/run");
        assert_eq!(redact("postgres://u@h:5432/d"), "postgres://u@h:5432/d");
    }
}
