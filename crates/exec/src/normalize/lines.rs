//! Content that is read line by line: text, and lines in any order. A line ends with a line feed; the last one need not.

use std::io::{self, BufRead, BufReader, Read};

use super::{Pieces, too_large};

/// The longest line, in bytes.
const MAX_LINE: u64 = 64 << 20;
const MAX_LINE_TEXT: &str = "64 MiB";
/// Lines whose order is left out: their hashes are held, which take 256 MiB.
const MAX_LINES: usize = 8 << 20;
const MAX_LINES_TEXT: &str = "8 million lines";

/// Reads lines of bounded length.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), line: Vec::new() }
    }

    /// The next line without its line feed.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        // One more than the longest line and its line feed shows that there is more.
        let read = (&mut self.input).take(MAX_LINE + 2).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        if line.len() as u64 > MAX_LINE {
            return Err(too_large("a line", MAX_LINE_TEXT));
        }
        Ok(Some(line))
    }
}

/// Text without white space at the end of its lines and of itself. A carriage return is such white space.
pub(super) fn text(input: impl Read) -> impl Read {
    let mut lines = Lines::new(input);
    // Empty lines count only where something follows.
    let mut empty = 0_u64;
    Pieces::new(move |out| {
        let Some(line) = lines.next()? else { return Ok(false) };
        let line = line.trim_ascii_end();
        if line.is_empty() {
            empty += 1;
            return Ok(true);
        }
        if empty > 0 {
            // No line of text starts with a line feed, so that their number can stand for them.
            out.push(b'\n');
            out.extend_from_slice(format!("{empty}\n").as_bytes());
            empty = 0;
        }
        out.extend_from_slice(line);
        out.push(b'\n');
        Ok(true)
    })
}

/// The hashes of all lines, sorted: each as often as its line.
pub(super) fn unordered(input: impl Read) -> io::Result<Vec<u8>> {
    let mut lines = Lines::new(input);
    let mut hashes: Vec<[u8; 32]> = Vec::new();
    while let Some(line) = lines.next()? {
        if hashes.len() == MAX_LINES {
            return Err(too_large("a file whose lines are in any order", MAX_LINES_TEXT));
        }
        hashes.push(*blake3::hash(line).as_bytes());
    }
    hashes.sort_unstable();
    Ok(hashes.into_flattened())
}
