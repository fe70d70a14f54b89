//! A table: one file, or the files of a folder, all in one format.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Format, TableError};

/// A table that can be read as often as needed.
#[derive(Debug, Clone)]
pub struct Table {
    format: Format,
    parts: Vec<Part>,
}

impl Table {
    /// A table of one file or of several; their rows follow each other.
    #[must_use]
    pub fn new(format: Format, parts: Vec<Part>) -> Self {
        Self { format, parts }
    }

    /// The table in a file, if the ending of its name is one of a known format.
    #[must_use]
    pub fn of_file(path: impl Into<PathBuf>) -> Option<Self> {
        let part = Part::file(path);
        Some(Self::new(Format::of_name(&part.name)?, vec![part]))
    }

    /// How it is written down.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its files, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// A file of a table, on disk or in memory.
#[derive(Debug, Clone)]
pub struct Part {
    name: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Bytes(Bytes),
}

impl Part {
    /// A file on disk. It must not change while the table is in use.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { name: path.display().to_string(), source: Source::File(path) }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: "the bytes".to_owned(), source: Source::Bytes(Bytes::from(bytes.into())) }
    }

    /// The same part under a name that people know it by; errors mention it.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What errors call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn open(&self) -> Result<Input, TableError> {
        let opened = match &self.source {
            Source::File(path) => File::open(path).and_then(|file| {
                let len = file.metadata()?.len();
                Ok((Stored::File(Arc::new(file)), len))
            }),
            Source::Bytes(bytes) => Ok((Stored::Bytes(bytes.clone()), bytes.len() as u64)),
        };
        let (stored, len) = opened.map_err(TableError::read(&self.name))?;
        Ok(Input { stored, len, position: 0 })
    }
}

/// An open part. Clones read the same bytes at positions of their own.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    stored: Stored,
    len: u64,
    position: u64,
}

#[derive(Debug, Clone)]
enum Stored {
    File(Arc<File>),
    Bytes(Bytes),
}

impl Input {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Exactly `len` bytes from `offset` on. A length that the part does not have allocates nothing.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> io::Result<Bytes> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len);
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        match &self.stored {
            Stored::File(file) => {
                let mut bytes = vec![0; size];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes.into())
            }
            Stored::Bytes(bytes) => {
                let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
                Ok(bytes.slice(start..start + size))
            }
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &self.stored {
            Stored::File(file) => file.read_at(buffer, self.position)?,
            Stored::Bytes(bytes) => {
                let start = usize::try_from(self.position).unwrap_or(usize::MAX).min(bytes.len());
                let count = buffer.len().min(bytes.len() - start);
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}
