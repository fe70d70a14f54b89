//! What a source may be called: a file, a folder, or a glob.
//!
//! Pure: says what a pattern means and looks at no file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::objects::FileKind;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 4096;

/// Where files come from, relative to the project's folder or absolute.
///
/// In a glob `*` and `?` stop at `/`, `**` crosses folders, `[a-z]` and `{a,b}` choose, `\` takes away a
/// character's meaning. Names that start with a dot are matched only by a pattern that has such a name itself.
#[derive(Debug, Clone)]
pub struct SourcePattern {
    text: String,
    /// The part without wildcards.
    base: PathBuf,
    glob: Option<Glob>,
}

#[derive(Debug, Clone)]
struct Glob {
    matcher: GlobMatcher,
    hidden: bool,
    /// Folders below the base that can hold a match; none for any number.
    depth: Option<usize>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing.
    #[error("a source must not be empty")]
    Empty,
    /// Longer than [`MAX_PATTERN`].
    #[error("a source has at most {MAX_PATTERN} bytes")]
    TooLong,
    /// A NUL byte.
    #[error("a source must not contain NUL")]
    Nul,
    /// `..` as a component.
    #[error("a source must not contain '..': write the absolute path instead")]
    Parent,
    /// Not a glob.
    #[error("{0}")]
    Glob(String),
}

impl SourcePattern {
    /// Reads a pattern. A text without any of `*?[{\` is the path of a file or folder.
    ///
    /// # Errors
    /// [`PatternError`] says what does not fit.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        if text.contains('\0') {
            return Err(PatternError::Nul);
        }
        let path = Path::new(text);
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(PatternError::Parent);
        }
        let is_plain = |part: &Component<'_>| !part.as_os_str().as_bytes().iter().any(|b| b"*?[{\\".contains(b));
        let parts = || path.components().filter(|part| *part != Component::CurDir);
        let base: PathBuf = parts().take_while(is_plain).collect();
        let rest: PathBuf = parts().skip_while(is_plain).collect();
        let glob = if rest.as_os_str().is_empty() { None } else { Some(Glob::new(&rest)?) };
        Ok(Self { text: text.to_owned(), base, glob })
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part without wildcards: the path itself, or the folder in which a glob looks. Matches are named
    /// relative to it.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether this is a glob, which names a set of files even where it matches one.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Whether an entry below the base belongs to the source or, for a folder, may lead to something that does.
    pub(crate) fn takes(&self, folder: &Path, name: &OsStr, kind: FileKind) -> bool {
        let Some(glob) = &self.glob else { return true };
        if !glob.hidden && name.as_bytes().starts_with(b".") {
            return false;
        }
        if kind == FileKind::Dir {
            let depth = folder.components().count() + 1;
            return glob.depth.is_none_or(|limit| depth <= limit);
        }
        glob.matcher.is_match(folder.join(name))
    }
}

impl Glob {
    fn new(rest: &Path) -> Result<Self, PatternError> {
        let text = rest.to_str().expect("made of parts of a text");
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| PatternError::Glob(error.to_string()))?;
        let names = || rest.components().map(|part| part.as_os_str().as_bytes());
        // Braces may hold separators, and a double star crosses them.
        let unbounded = text.contains("**") || text.contains('{');
        Ok(Self {
            matcher: glob.compile_matcher(),
            hidden: names().any(|name| name.starts_with(b".") || name.starts_with(b"\\.")),
            depth: (!unbounded).then(|| names().count() - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, path: &str, kind: FileKind) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        SourcePattern::parse(pattern).unwrap().takes(Path::new(folder), OsStr::new(name), kind)
    }

    #[test]
    fn the_base_is_what_stands_before_the_first_wildcard() {
        for (pattern, base, is_glob) in [
            ("./data/a.csv", "data/a.csv", false),
            ("data/", "data", false),
            (".", "", false),
            ("./data/*.csv", "data", true),
            ("/mnt/x/**/*.py", "/mnt/x", true),
            ("**/*.py", "", true),
        ] {
            let parsed = SourcePattern::parse(pattern).unwrap();
            assert_eq!((parsed.base(), parsed.is_glob()), (Path::new(base), is_glob), "{pattern}");
        }
    }

    #[test]
    fn wildcards_stop_at_folders_and_hidden_names() {
        assert!(takes("./data/*.csv", "a.csv", FileKind::Regular));
        assert!(!takes("./data/*.csv", "sub/a.csv", FileKind::Regular));
        assert!(!takes("./data/*.csv", "sub", FileKind::Dir), "no match can be below");
        assert!(takes("./src/*/x.py", "sub", FileKind::Dir));
        assert!(!takes("./src/*/x.py", "sub/deep", FileKind::Dir));
        assert!(takes("src/**/*.py", "a/b/c.py", FileKind::Regular));
        assert!(takes("src/**/*.py", "c.py", FileKind::Regular));
        assert!(!takes("**/*.py", ".venv", FileKind::Dir));
        assert!(takes("**/.github/*.yml", ".github", FileKind::Dir));
        assert!(takes("{a,b/c}/*.txt", "b/c/x.txt", FileKind::Regular));
        assert!(takes(r"odd\[1\].csv", "odd[1].csv", FileKind::Regular));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "../x", "a/../b", "a\0b", "a/[", "a/{b", &"x".repeat(5000)] {
            assert!(SourcePattern::parse(bad).is_err(), "{bad:?}");
        }
    }
}
