//! Finds the code files of a step and hashes them.
//!
//! Which words of a command may be files is decided in [`runstone_core::code`]; here it is looked up what exists and what
//! lies beside it. Files are hashed through the scanner, which remembers them by their stat.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use runstone_core::code::{CodeRule, candidates, normalise, script_ending};
use runstone_core::hash::ContentHash;
use runstone_core::spec::model::Command;

use crate::objects::{Batch, FileKind, FileStat, Limits, ObjectError, ObjectStore};
use crate::scan::{PatternError, Scanner, SourcePattern};

/// Code files of one step.
pub const MAX_FILES: usize = 10_000;
/// Bytes of all code files of one step together.
pub const MAX_BYTES: u64 = 256 << 20;
/// Entries that one glob may look at.
pub const MAX_VISITED: usize = 200_000;

/// Folders that never hold code: what Runstone, Python and git keep for themselves.
const IGNORED: [&str; 3] = [".runstone", "__pycache__", ".git"];

/// The code of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// How it was found.
    pub rule: CodeRule,
    /// The files by their path relative to the pipeline's folder, with `..` at most at the start.
    pub files: BTreeMap<String, CodeFile>,
}

/// One code file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeFile {
    /// Its content.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    stat: FileStat,
}

/// Why the code of a step could not be determined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// A pattern of `code:` is none.
    #[error("code: {pattern:?}: {reason}")]
    Pattern {
        /// As written.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A pattern of `code:` names no file.
    #[error("code: {pattern:?} matches no file in {}", folder.display())]
    NoMatch {
        /// As written.
        pattern: String,
        /// What it is relative to.
        folder: PathBuf,
    },
    /// A glob of `code:` that looks through too much.
    #[error("code: {pattern:?} looks through more than {MAX_VISITED} files and folders: name a folder with less in it")]
    TooBroad {
        /// As written.
        pattern: String,
    },
    /// More files than [`MAX_FILES`].
    #[error("the step has more than {MAX_FILES} code files: name those that count in `code:`")]
    TooMany,
    /// More bytes than [`MAX_BYTES`].
    #[error(
        "the step's code is larger than {} MiB ({} is the largest file): give data as an input in `in:`, \
         and name the files that count in `code:`",
        MAX_BYTES >> 20, path.display()
    )]
    TooLarge {
        /// The largest file.
        path: PathBuf,
    },
    /// A name that no record can hold.
    #[error("{} is not valid UTF-8: rename the file", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Looks for the code of the steps of one pipeline. What it has seen it keeps, so that every step of a plan sees the same
/// code and a folder is listed once; a later plan starts with a new one.
#[derive(Debug)]
pub struct CodeScan<'a> {
    folder: PathBuf,
    scanner: &'a Scanner,
    folders: HashMap<PathBuf, Rc<[Entry]>>,
    files: HashMap<String, CodeFile>,
}

/// A folder's entry; links are what they lead to, but a folder behind a link counts as nothing.
#[derive(Debug)]
struct Entry {
    name: OsString,
    kind: FileKind,
}

impl<'a> CodeScan<'a> {
    /// For a pipeline in `folder`, an absolute path.
    #[must_use]
    pub fn new(folder: &Path, scanner: &'a Scanner) -> Self {
        Self { folder: folder.to_owned(), scanner, folders: HashMap::new(), files: HashMap::new() }
    }

    /// The code of a step that runs `command`: the files that the globs of `declared` match, or else the files that the
    /// command names and those beside a named script with the same ending.
    ///
    /// # Errors
    /// [`CodeError`]; above all a declared glob that matches nothing.
    pub fn code(&mut self, command: &Command, declared: Option<&[String]>) -> Result<Code, CodeError> {
        let mut paths = Vec::new();
        let rule = if let Some(patterns) = declared {
            for pattern in patterns {
                self.declared(pattern, &mut paths)?;
            }
            CodeRule::Declared
        } else {
            self.named(command, &mut paths)?;
            CodeRule::Default
        };
        paths.sort_unstable();
        paths.dedup();
        if paths.len() > MAX_FILES {
            return Err(CodeError::TooMany);
        }
        let mut files = BTreeMap::new();
        let mut total = 0_u64;
        for path in paths {
            let file = self.hash(&path)?;
            total = total.saturating_add(file.size);
            files.insert(path, file);
            if total > MAX_BYTES {
                let largest = files.iter().max_by_key(|(_, file)| file.size).map(|(path, _)| self.folder.join(path));
                return Err(CodeError::TooLarge { path: largest.unwrap_or_default() });
            }
        }
        Ok(Code { rule, files })
    }

    /// The default rule.
    fn named(&mut self, command: &Command, paths: &mut Vec<String>) -> Result<(), CodeError> {
        for path in candidates(command) {
            if path.split('/').any(|part| IGNORED.contains(&part)) || !self.folder.join(&path).is_file() {
                continue;
            }
            if let Some(ending) = script_ending(&path) {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                for entry in &*self.list(&self.folder.join(folder))? {
                    let hidden = entry.name.as_encoded_bytes().starts_with(b".");
                    let same_ending = Path::new(&entry.name).extension().is_some_and(|other| other == ending);
                    if entry.kind == FileKind::Regular && same_ending && !hidden {
                        paths.push(self.key(Path::new(folder), &entry.name)?);
                    }
                }
            }
            paths.push(path);
        }
        Ok(())
    }

    /// The files of one pattern of `code:`.
    fn declared(&mut self, text: &str, paths: &mut Vec<String>) -> Result<(), CodeError> {
        let refused = |reason: &str| CodeError::Pattern { pattern: text.to_owned(), reason: reason.to_owned() };
        let (up, rest) = split_parents(text);
        if rest.starts_with('/') {
            return Err(refused("must be relative to the pipeline's folder"));
        }
        let pattern = SourcePattern::parse(rest).map_err(|error| match error {
            PatternError::Parent => refused("'..' is only allowed at the start"),
            other => refused(&other.to_string()),
        })?;
        let base = up.join(pattern.base());
        let found = paths.len();
        if pattern.is_glob() {
            self.walk(&base, &pattern, paths)?;
        } else if self.folder.join(&base).is_dir() {
            let example =
                format!("is a folder; for all files in it write {:?}", format!("{}/**", text.trim_end_matches('/')));
            return Err(refused(&example));
        } else if self.folder.join(&base).is_file() {
            paths.push(self.key(&base, OsStr::new(""))?);
        }
        if paths.len() == found {
            return Err(CodeError::NoMatch { pattern: text.to_owned(), folder: self.folder.clone() });
        }
        Ok(())
    }

    /// The matches of a glob below `base`, which is relative to the pipeline's folder.
    fn walk(&mut self, base: &Path, pattern: &SourcePattern, paths: &mut Vec<String>) -> Result<(), CodeError> {
        if !self.folder.join(base).is_dir() {
            return Ok(());
        }
        let mut visited = 0;
        let mut pending = vec![PathBuf::new()];
        while let Some(folder) = pending.pop() {
            let entries = self.list(&self.folder.join(base).join(&folder))?;
            visited += entries.len();
            if visited > MAX_VISITED {
                return Err(CodeError::TooBroad { pattern: pattern.as_str().to_owned() });
            }
            for Entry { name, kind } in &*entries {
                if IGNORED.iter().any(|ignored| name == ignored) || !pattern.takes(&folder, name, *kind) {
                    continue;
                }
                match kind {
                    FileKind::Dir => pending.push(folder.join(name)),
                    FileKind::Regular => paths.push(self.key(&base.join(&folder), name)?),
                    FileKind::Symlink | FileKind::Special(_) => {}
                }
            }
            if paths.len() > MAX_FILES {
                return Err(CodeError::TooMany);
            }
        }
        Ok(())
    }

    /// The name on record of a file in a folder that is relative to the pipeline's.
    fn key(&self, folder: &Path, name: &OsStr) -> Result<String, CodeError> {
        let path = folder.join(name);
        let normal = path.to_str().and_then(|path| normalise(path.trim_end_matches('/')));
        normal.ok_or_else(|| CodeError::NotUtf8 { path: self.folder.join(path) })
    }

    fn list(&mut self, folder: &Path) -> Result<Rc<[Entry]>, CodeError> {
        if let Some(entries) = self.folders.get(folder) {
            return Ok(Rc::clone(entries));
        }
        let io_error = |source| ObjectError::Io { action: "list", path: folder.to_owned(), source };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let kind = kind_of(&entry).map_err(io_error)?;
            entries.push(Entry { name: entry.file_name(), kind });
            if entries.len() > MAX_VISITED {
                break;
            }
        }
        let entries: Rc<[Entry]> = entries.into();
        self.folders.insert(folder.to_owned(), Rc::clone(&entries));
        Ok(entries)
    }

    fn hash(&mut self, path: &str) -> Result<CodeFile, CodeError> {
        if let Some(file) = self.files.get(path) {
            return Ok(*file);
        }
        let limits = Limits { bytes: MAX_BYTES, ..Limits::NONE };
        let (file, _) = self.scanner.hash_file(&self.folder.join(path), limits).map_err(|error| match error {
            ObjectError::TooLarge { path, .. } => CodeError::TooLarge { path },
            other => CodeError::Object(other),
        })?;
        let file = CodeFile { hash: file.hash, size: file.stat.size, stat: file.stat };
        self.files.insert(path.to_owned(), file);
        Ok(file)
    }
}

impl Code {
    /// What the fingerprint takes: content by path.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, ContentHash> {
        self.files.iter().map(|(path, file)| (path.clone(), file.hash)).collect()
    }

    /// Copies the files into the store, as far as they are not there already: byte for byte what was hashed. `folder` is
    /// that of the [`CodeScan`].
    ///
    /// # Errors
    /// [`ObjectError::Changed`] where a file is not any more what was hashed, and failed system calls.
    pub fn snapshot_into(&self, folder: &Path, store: &ObjectStore, batch: &mut Batch) -> Result<(), ObjectError> {
        self.files
            .iter()
            .try_for_each(|(path, file)| store.import_known(&folder.join(path), &file.stat, file.hash, batch))
    }
}

/// Takes `./` and `../` off the start of a pattern.
fn split_parents(text: &str) -> (PathBuf, &str) {
    let (mut up, mut rest) = (PathBuf::new(), text);
    loop {
        if let Some(below) = rest.strip_prefix("./") {
            rest = below;
        } else if let Some(below) = rest.strip_prefix("../") {
            up.push("..");
            rest = below;
        } else {
            return (up, rest);
        }
    }
}

fn kind_of(entry: &std::fs::DirEntry) -> io::Result<FileKind> {
    let kind = entry.file_type()?;
    Ok(if kind.is_dir() {
        FileKind::Dir
    } else if kind.is_file() || kind.is_symlink() && entry.path().is_file() {
        FileKind::Regular
    } else {
        FileKind::Special("no file")
    })
}
