//! Whether two versions of a file are the same once what does not count about them is left out.
//!
//! A *normal form* is a stream of bytes that depends only on what counts. It is never kept: two versions are compared by
//! its hash. Most forms are streamed; what must be held in memory has a bound, and what exceeds one has no normal form.
//! Which words there are and how they go together is said in [`runstone_core::spec::model::Normalizer`].

mod archive;
mod json;
mod lines;
mod table;

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use runstone_core::spec::model::Normalizer;

/// The most that compressed content may expand to, in bytes: far more than is kept, far less than a bomb.
pub const MAX_EXPANDED: u64 = 1 << 40;

/// Content has no normal form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NormalizeError {
    /// It is not what it is said to be.
    #[error("it is not {format}: {reason}")]
    Format {
        /// With its article.
        format: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// It exceeds a bound.
    #[error("{what} has more than {limit}, so it is compared byte by byte")]
    TooLarge {
        /// Such as `a line`.
        what: &'static str,
        /// Such as `64 MiB`.
        limit: &'static str,
    },
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

/// The hash of a normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormalHash([u8; 32]);

/// The hash of a file's normal form. Without words it is that of its bytes.
///
/// # Errors
/// [`NormalizeError`] where it has none.
pub fn normal_hash(file: File, words: &[Normalizer]) -> Result<NormalHash, NormalizeError> {
    let budget = Budget::new();
    match words.split_first() {
        Some((Normalizer::Zip, rest)) => archive::hash_entries(file, rest, &budget),
        _ => hash(Box::new(file), words, &budget),
    }
}

/// The hash of the normal form of a stream. `zip` is not among the words: it needs a file and stands first.
fn hash(input: Box<dyn Read + '_>, words: &[Normalizer], budget: &Budget) -> Result<NormalHash, NormalizeError> {
    let mut normal = words.iter().try_fold(input, |input, word| form(input, *word, budget)).map_err(meaning)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut normal).map_err(meaning)?;
    Ok(NormalHash(*hasher.finalize().as_bytes()))
}

/// What one word makes of a stream.
fn form<'a>(input: Box<dyn Read + 'a>, word: Normalizer, budget: &Budget) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match word {
        Normalizer::Gzip => {
            let packed = Labelled { input: MultiGzDecoder::new(BufReader::new(input)), format: "a gzip file" };
            Box::new(budget.bound(packed))
        }
        Normalizer::Json => Box::new(Cursor::new(json::document(input)?)),
        Normalizer::Notebook => Box::new(Cursor::new(json::notebook(input)?)),
        Normalizer::Jsonl => Box::new(json::lines(input)),
        Normalizer::Csv => Box::new(table::rows(input)),
        Normalizer::Text => Box::new(lines::text(input)),
        Normalizer::UnorderedLines => Box::new(Cursor::new(lines::unordered(input)?)),
        Normalizer::Zip => return Err(format("a zip file", &"it is packed in another file")),
    })
}

/// An error that goes through [`Read`] and comes out as what it is.
fn format(format: &'static str, reason: &dyn fmt::Display) -> io::Error {
    io::Error::other(NormalizeError::Format { format, reason: reason.to_string() })
}

/// The same for an exceeded bound.
fn too_large(what: &'static str, limit: &'static str) -> io::Error {
    io::Error::other(NormalizeError::TooLarge { what, limit })
}

fn meaning(error: io::Error) -> NormalizeError {
    error.downcast::<NormalizeError>().unwrap_or_else(NormalizeError::Read)
}

/// How much may still be unpacked, of all entries and layers together.
#[derive(Clone)]
struct Budget(Rc<Cell<u64>>);

impl Budget {
    fn new() -> Self {
        Self(Rc::new(Cell::new(MAX_EXPANDED)))
    }

    fn bound<R: Read>(&self, input: R) -> Bounded<R> {
        Bounded { input, left: self.clone() }
    }
}

/// A reader that takes what it reads off a budget.
struct Bounded<R> {
    input: R,
    left: Budget,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let left = self.left.0.get().checked_sub(read as u64);
        self.left.0.set(left.ok_or_else(|| too_large("what is packed", "1 TiB"))?);
        Ok(read)
    }
}

/// A reader whose errors mean that its content is not of the format.
struct Labelled<R> {
    input: R,
    format: &'static str,
}

impl<R: Read> Read for Labelled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                format(self.format, &error)
            }
            _ => error,
        })
    }
}

/// Bytes of a normal form that are made at once.
const PIECE: usize = 1 << 15;

/// A stream that is made piece by piece: `refill` appends some bytes, or answers false at the end.
struct Pieces<F> {
    refill: F,
    bytes: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<F: FnMut(&mut Vec<u8>) -> io::Result<bool>> Pieces<F> {
    fn new(refill: F) -> Self {
        Self { refill, bytes: Vec::new(), at: 0, ended: false }
    }
}

impl<F: FnMut(&mut Vec<u8>) -> io::Result<bool>> Read for Pieces<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            while self.bytes.len() < PIECE && !self.ended {
                self.ended = !(self.refill)(&mut self.bytes)?;
            }
        }
        let read = (&self.bytes[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
