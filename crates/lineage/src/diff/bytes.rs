//! Where the bytes of two files part.

use std::io::{BufReader, Read};

use runstone_core::record::MaterializationRecord;
use runstone_exec::objects::{ObjectError, ObjectStore};
use serde::Serialize;

/// Bytes read at a time.
const PIECE: usize = 1 << 16;

/// Where two files part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BytesDiff {
    /// The position of the first byte that differs, from 0; the length of the shorter where it is the beginning of the
    /// other.
    pub first_difference: u64,
    /// The line it is in, from 1, counting line feeds.
    pub line: u64,
    /// By how many bytes the second is longer.
    pub size_delta: i64,
}

/// Compares two files of different content.
pub(super) fn compare(
    objects: &ObjectStore,
    old: &MaterializationRecord,
    new: &MaterializationRecord,
) -> Result<BytesDiff, ObjectError> {
    let open = |version: &MaterializationRecord| -> Result<_, ObjectError> {
        Ok(BufReader::with_capacity(PIECE, objects.open_checked(version.hash)?))
    };
    let (mut a, mut b) = (open(old)?, open(new)?);
    let failed = |error| ObjectError::Io { action: "read", path: objects.path(new.hash), source: error };
    let (first_difference, line) = part(&mut a, &mut b).map_err(failed)?;
    let signed = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    Ok(BytesDiff { first_difference, line, size_delta: signed(new.size) - signed(old.size) })
}

fn part(a: &mut impl Read, b: &mut impl Read) -> std::io::Result<(u64, u64)> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut position, mut line) = (0, 1);
    let feeds = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    loop {
        let (n, m) = (fill(a, &mut left)?, fill(b, &mut right)?);
        let same = left[..n].iter().zip(&right[..m]).take_while(|(a, b)| a == b).count();
        position += same as u64;
        line += feeds(&left[..same]);
        if same < n.max(m) || n == 0 {
            return Ok((position, line));
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_part_at_a_byte_in_a_line() {
        let at = |a: &str, b: &str| part(&mut a.as_bytes(), &mut b.as_bytes()).unwrap();
        assert_eq!(at("a\nbc\n", "a\nbd\n"), (3, 2));
        assert_eq!(at("a\n", "a\nb"), (2, 2));
        assert_eq!(at("", "x"), (0, 1));
        let long = "x".repeat(PIECE) + "\n";
        assert_eq!(at(&(long.clone() + "1"), &(long.clone() + "2")), (PIECE as u64 + 1, 2));
    }
}
