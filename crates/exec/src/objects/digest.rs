//! BLAKE3 of files: what `b3sum` prints, at the speed of the memory.
//!
//! Files are read and never mapped: whoever truncates a mapped file kills the process that reads it (SIGBUS), and
//! the files here belong to others. Large ones are read in pieces that fit the cache of a core, each hashed
//! as a subtree while it is there, which makes reading as fast as mapping.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use runstone_core::hash::ContentHash;

/// Bytes read and hashed at a time; a power of two, and small enough for the second-level cache.
const PIECE: usize = 256 << 10;
/// From this size on a file is worth more than one thread.
pub(crate) const PARALLEL_FROM: u64 = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn with_buffer<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        work(&mut buffer[..len])
    })
}

/// Hashes the first `len` bytes of `file`, in parallel where that pays.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] when the file is shorter than `len`. That it is not longer, and was not
/// written to meanwhile, is for the caller to check.
pub(crate) fn hash_file(file: &File, len: u64) -> io::Result<ContentHash> {
    if len <= PIECE as u64 {
        let len = usize::try_from(len).expect("at most one piece");
        return with_buffer(len, |buffer| {
            file.read_exact_at(buffer, 0)?;
            Ok(ContentHash::of(buffer))
        });
    }
    let left_len = left_subtree_len(len);
    let (left, right) = subtrees(file, 0, left_len, len - left_len, len >= PARALLEL_FROM)?;
    Ok(ContentHash::from_bytes(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()))
}

/// The chaining values of two neighbours, of which the left one is as large as BLAKE3's tree demands.
fn subtrees(
    file: &File,
    offset: u64,
    left_len: u64,
    right_len: u64,
    parallel: bool,
) -> io::Result<(ChainingValue, ChainingValue)> {
    let left = || subtree(file, offset, left_len, parallel);
    let right = || subtree(file, offset + left_len, right_len, parallel);
    let (left, right) = if parallel { rayon::join(left, right) } else { (left(), right()) };
    Ok((left?, right?))
}

fn subtree(file: &File, offset: u64, len: u64, parallel: bool) -> io::Result<ChainingValue> {
    if len > PIECE as u64 {
        let left_len = left_subtree_len(len);
        let (left, right) = subtrees(file, offset, left_len, len - left_len, parallel)?;
        return Ok(merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
    let len = usize::try_from(len).expect("at most one piece");
    with_buffer(len, |buffer| {
        file.read_exact_at(buffer, offset)?;
        Ok(blake3::Hasher::new().set_input_offset(offset).update(buffer).finalize_non_root())
    })
}

/// Copies everything from `source` to `target` and hashes what passes. Returns the hash and the number of bytes.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] when there are more than `limit` bytes, and what reading and writing return.
pub(crate) fn copy_hashed(
    source: &mut impl Read,
    target: &mut impl Write,
    limit: u64,
) -> io::Result<(ContentHash, u64)> {
    with_buffer(PIECE, |buffer| {
        let mut hasher = blake3::Hasher::new();
        let mut copied = 0_u64;
        loop {
            let read = match source.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            copied += read as u64;
            if copied > limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            hasher.update(&buffer[..read]);
            target.write_all(&buffer[..read])?;
        }
        Ok((ContentHash::from_bytes(*hasher.finalize().as_bytes()), copied))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_hashes_like_its_bytes() {
        let piece = PIECE as u64;
        let lengths = [0, 1, 1023, 1024, 1025, piece - 1, piece, piece + 1, 3 * piece - 7, (5 << 20) + 3];
        for len in lengths {
            let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            assert_eq!(hash_file(&file, len).unwrap(), ContentHash::of(&bytes), "{len}");
            let mut copy = Vec::new();
            let copied = copy_hashed(&mut bytes.as_slice(), &mut copy, len).unwrap();
            assert_eq!((copied, copy), ((ContentHash::of(&bytes), len), bytes), "{len}");
        }
    }

    #[test]
    fn a_file_that_shrank_is_an_error_and_not_a_hash() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        assert_eq!(hash_file(&file, 11).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(hash_file(&file, 2 << 20).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn copying_stops_at_the_limit() {
        let error = copy_hashed(&mut io::repeat(0), &mut io::sink(), 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
