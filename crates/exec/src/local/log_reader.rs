//! Reading a bounded log file, running or finished: the bytes that are there, and how many are not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use runstone_core::attempt::LogLimit;
use rustix::fs::{SeekFrom, seek};

/// A stretch of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPiece {
    /// Bytes as the step wrote them, secrets masked.
    Bytes(Vec<u8>),
    /// So many bytes were written here and are not kept.
    Cut(u64),
}

/// A log, or the part of it from some place on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// In order; never two of a kind in a row, never empty ones.
    pub pieces: Vec<LogPiece>,
    /// The place behind the last piece: where to go on reading while the step is running.
    pub end: u64,
}

impl Log {
    /// How many bytes were cut.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| if let LogPiece::Cut(cut) = piece { *cut } else { 0 }).sum()
    }
}

/// Reads the log file at `path` from byte `from` (0 for all of it), whose bounds are `limit`. Holds at most head and
/// tail in memory. What was cut is told apart from zeros that the step wrote.
///
/// # Errors
/// When the file cannot be read.
pub fn read_log(path: &Path, from: u64, limit: LogLimit) -> io::Result<Log> {
    read(path, from, limit)
        .map_err(|error| io::Error::new(error.kind(), format!("read log {}: {error}", path.display())))
}

fn read(path: &Path, from: u64, limit: LogLimit) -> io::Result<Log> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut log = Log { pieces: Vec::new(), end: size.max(from) };
    let tail_start = size.saturating_sub(limit.tail);
    if tail_start <= limit.head {
        push(&mut log, bytes(&file, from, size)?);
        return Ok(log);
    }
    push(&mut log, bytes(&file, from, limit.head)?);
    let mut tail = bytes(&file, from.max(tail_start), size)?;
    let mut kept_from = tail_start.max(from);
    // The step may have gone on writing meanwhile, so that the hole has grown into what was taken for the tail.
    let hole_end = hole_end(&file, limit.head, size)?;
    if hole_end > kept_from {
        let gone = usize::try_from(hole_end - kept_from).unwrap_or(usize::MAX).min(tail.len());
        tail.drain(..gone);
        kept_from += gone as u64;
    }
    let cut = kept_from.saturating_sub(limit.head.max(from));
    if cut > 0 {
        log.pieces.push(LogPiece::Cut(cut));
    }
    push(&mut log, tail);
    Ok(log)
}

fn push(log: &mut Log, bytes: Vec<u8>) {
    if !bytes.is_empty() {
        log.pieces.push(LogPiece::Bytes(bytes));
    }
}

fn bytes(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            // Truncated meanwhile.
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The end of the first hole at or behind `from`, or 0 where there is none.
fn hole_end(file: &File, from: u64, size: u64) -> io::Result<u64> {
    let hole = seek(file, SeekFrom::Hole(from))?;
    if hole >= size {
        return Ok(0);
    }
    match seek(file, SeekFrom::Data(hole)) {
        Ok(end) => Ok(end),
        Err(rustix::io::Errno::NXIO) => Ok(size),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    const LIMIT: LogLimit = LogLimit { head: 4096, tail: 8192 };

    fn sparse(path: &Path, hole: u64) {
        let mut file = File::create(path).unwrap();
        file.write_all(&[b'h'; 4096]).unwrap();
        file.seek_relative(i64::try_from(hole).unwrap()).unwrap();
        file.write_all(&[b't'; 8192]).unwrap();
    }

    #[test]
    fn a_short_log_is_whole_and_keeps_its_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        std::fs::write(&path, b"a\0\0b").unwrap();
        let log = read_log(&path, 0, LIMIT).unwrap();
        assert_eq!(log, Log { pieces: vec![LogPiece::Bytes(b"a\0\0b".to_vec())], end: 4 });
        assert_eq!(read_log(&path, 3, LIMIT).unwrap().pieces, vec![LogPiece::Bytes(b"b".to_vec())]);
        assert_eq!(read_log(&path, 4, LIMIT).unwrap(), Log { pieces: vec![], end: 4 });
    }

    #[test]
    fn the_cut_is_counted_from_any_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        sparse(&path, 1 << 20);
        let log = read_log(&path, 0, LIMIT).unwrap();
        let tail = LogPiece::Bytes(vec![b't'; 8192]);
        assert_eq!(log.pieces, vec![LogPiece::Bytes(vec![b'h'; 4096]), LogPiece::Cut(1 << 20), tail.clone()]);
        assert_eq!(read_log(&path, 8192, LIMIT).unwrap().pieces, vec![LogPiece::Cut((1 << 20) - 4096), tail]);
        assert_eq!(read_log(&path, log.end - 1, LIMIT).unwrap().pieces, vec![LogPiece::Bytes(vec![b't'])]);
    }

    #[test]
    fn a_hole_that_grew_into_the_tail_is_not_shown_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        sparse(&path, 1 << 20);
        // The reader believes in a longer tail than there is.
        let limit = LogLimit { head: 4096, tail: 16_384 };
        let log = read_log(&path, 0, limit).unwrap();
        assert_eq!(log.cut_bytes(), 1 << 20);
        assert_eq!(log.pieces.last(), Some(&LogPiece::Bytes(vec![b't'; 8192])));
    }
}
