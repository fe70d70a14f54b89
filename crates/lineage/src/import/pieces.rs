//! One JSON object after the other out of a stream: a single one, one a line, or the elements of an array, on as many lines
//! as they like. At most one object is in memory.
//!
//! Ends are found by brackets and quotes alone; whether what is between them is JSON, is seen by who reads it. Where an
//! object never ends, what follows is looked for at the next line that begins with one.

use std::io::{self, Read};

/// Read at a time.
const CHUNK: usize = 64 << 10;

/// What the parser of JSON allows. It also bounds how often a line is looked at.
const DEEPEST: usize = 127;

/// An object, or what stands in the place of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// Its bytes, or why there are none.
    pub(super) text: Result<Vec<u8>, String>,
}

pub(super) struct Pieces<R> {
    input: R,
    /// The largest object, bytes.
    most: usize,
    buffer: Vec<u8>,
    /// Where the next byte stands in the buffer.
    at: usize,
    /// The line of that byte.
    line: u64,
    /// Whether that byte begins a line.
    begins_line: bool,
    /// After a broken object: lines that begin none belong to it.
    is_lost: bool,
}

/// How far an object was read.
#[derive(Default)]
struct Scan {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
    /// The last byte that means something.
    last: u8,
    /// Where the second line begins: in the buffer, and its number.
    second_line: Option<usize>,
    /// Bytes so far.
    length: usize,
}

enum Step {
    More,
    Complete,
    Broken(&'static str),
}

impl<R: Read> Pieces<R> {
    pub(super) fn new(input: R, most: usize) -> Self {
        Self { input, most, buffer: Vec::new(), at: 0, line: 1, begins_line: true, is_lost: false }
    }

    /// The next one; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        self.drop_until(self.at);
        while let Some(byte) = self.peek()? {
            match byte {
                b'{' if !self.is_lost || self.begins_line => {
                    self.is_lost = false;
                    return self.object().map(Some);
                }
                // Around and between the elements of an array, and a mark at the start of a file.
                b'[' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => self.take(byte),
                _ if self.is_lost => self.skip_line()?,
                _ => {
                    let line = self.line;
                    self.skip_line()?;
                    return Ok(Some(Piece { line, text: Err("this is not a JSON object".to_owned()) }));
                }
            }
        }
        Ok(None)
    }

    fn object(&mut self) -> io::Result<Piece> {
        self.drop_until(self.at);
        let line = self.line;
        let mut scan = Scan::default();
        loop {
            let step = match self.peek()? {
                Some(byte) => scan.step(byte, self.begins_line, self.at),
                None => Step::Broken("it ends before it is complete"),
            };
            match step {
                Step::More => self.consume(&mut scan),
                Step::Complete => {
                    self.consume(&mut scan);
                    let text = match scan.length > self.most {
                        true => Err(format!("it has {} bytes, more than {}", scan.length, self.most)),
                        false => Ok(self.buffer[..self.at].to_vec()),
                    };
                    return Ok(Piece { line, text });
                }
                Step::Broken(why) => {
                    // Too large to be looked through again: it goes on from here.
                    if let Some(second) = scan.second_line.filter(|_| scan.length <= self.most) {
                        (self.at, self.line, self.begins_line) = (second, line + 1, true);
                    }
                    self.is_lost = true;
                    return Ok(Piece { line, text: Err(why.to_owned()) });
                }
            }
        }
    }

    fn consume(&mut self, scan: &mut Scan) {
        self.take(self.buffer[self.at]);
        scan.length += 1;
        if scan.length > self.most && self.at >= CHUNK {
            self.drop_until(self.at);
        }
    }

    fn take(&mut self, byte: u8) {
        self.at += 1;
        self.begins_line = byte == b'\n';
        self.line += u64::from(self.begins_line);
    }

    fn skip_line(&mut self) -> io::Result<()> {
        while let Some(byte) = self.peek()? {
            self.take(byte);
            if self.begins_line {
                break;
            }
            if self.at >= CHUNK {
                self.drop_until(self.at);
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() {
            let before = self.buffer.len();
            self.buffer.reserve(CHUNK);
            (&mut self.input).take(CHUNK as u64).read_to_end(&mut self.buffer)?;
            if self.buffer.len() == before {
                return Ok(None);
            }
        }
        Ok(self.buffer.get(self.at).copied())
    }

    /// Forgets bytes; places in the buffer change.
    fn drop_until(&mut self, at: usize) {
        self.buffer.drain(..at);
        self.at -= at;
    }
}

impl Scan {
    /// What this byte, not taken yet, means. `at` is its place.
    fn step(&mut self, byte: u8, begins_line: bool, at: usize) -> Step {
        if begins_line && self.length > 0 {
            self.second_line.get_or_insert(at);
        }
        if self.is_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_text = false,
                b'\n' => return Step::Broken("a text is not closed at the end of its line"),
                _ => {}
            }
            self.last = byte;
            return Step::More;
        }
        match byte {
            b'"' => self.is_text = true,
            // An object can only follow one of these within another one.
            b'{' if begins_line && self.length > 0 && !matches!(self.last, b'[' | b',' | b':') => {
                return Step::Broken("the next one begins before it is complete");
            }
            b'{' | b'[' if self.depth >= DEEPEST => return Step::Broken("it is nested too deeply"),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Complete;
                }
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            self.last = byte;
        }
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<(u64, Result<String, String>)> {
        let mut pieces = Pieces::new(text.as_bytes(), 1000);
        let mut found = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            found.push((piece.line, piece.text.map(|bytes| String::from_utf8(bytes).unwrap())));
        }
        found
    }

    fn good(text: &str) -> Vec<String> {
        pieces(text).into_iter().filter_map(|(_, piece)| piece.ok()).collect()
    }

    #[test]
    fn every_shape_gives_the_same_objects() {
        for text in [
            "{\"a\":1}\n{\"b\":{}}\n",
            "{\"a\":1}{\"b\":{}}",
            "\u{feff}{\"a\":1}\r\n\r\n{\"b\":{}}",
            "[{\"a\":1},{\"b\":{}}]",
            "[\n{\"a\":1},\n{\"b\":{}}\n]\n",
            "  [ {\"a\":1} , {\"b\":{}} ]",
        ] {
            assert_eq!(good(text), ["{\"a\":1}", "{\"b\":{}}"], "{text}");
        }
        let pretty = "{\n  \"a\": [\n    {\n      \"b\": \"}\\\"{\"\n    }\n  ]\n}";
        assert_eq!(pieces(&format!("{pretty}\n{pretty}")), [(1, Ok(pretty.to_owned())), (8, Ok(pretty.to_owned()))]);
        let flat = "{\n\"a\":\n[\n{\n},\n{\n}\n]\n}";
        assert_eq!(good(flat), [flat], "objects at the start of lines may be inside");
        assert_eq!(pieces(" \n"), []);
    }

    #[test]
    fn a_broken_one_leaves_the_others() {
        let broken = ["{\"a\": {\"b\":", "{\"a\": \"text", "{\"a\": [1, 2", "{\"a\": 1", "garbage", "12", "{\"a\": {"];
        for bad in broken {
            let text = format!("{{\"x\":1}}\n{bad}\n{{\"y\":{{}}}}\n{{\"z\":3}}\n");
            let found = pieces(&text);
            assert_eq!(good(&text), ["{\"x\":1}", "{\"y\":{}}", "{\"z\":3}"], "{found:?}");
            let failed: Vec<u64> = found.iter().filter(|(_, piece)| piece.is_err()).map(|(line, _)| *line).collect();
            assert_eq!(failed, [2], "{bad}");
        }
        let pretty = "{\n  \"a\": \"x\n  \"b\": 1\n}\n{\"y\":1}\n";
        assert_eq!(good(pretty), ["{\"y\":1}"]);
        assert_eq!(pieces(pretty).len(), 2, "what belongs to a broken one is not complained about once more");
    }

    #[test]
    fn what_is_too_large_is_passed_over() {
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(200_000));
        let found = pieces(&format!("{{\"x\":1}}\n{large}\n{{\"y\":1}}\n"));
        assert_eq!(found.len(), 3);
        assert!(found[1].1.as_ref().is_err_and(|why| why.contains("200009 bytes")), "{:?}", found[1]);
        assert_eq!(found[2], (3, Ok("{\"y\":1}".to_owned())));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_it_ends(bytes in proptest::collection::vec(proptest::sample::select(b"{}[]\",:\\\n x1".to_vec()), 0..200)) {
            let mut pieces = Pieces::new(&bytes[..], 50);
            let mut found = 0;
            while pieces.next().unwrap().is_some() {
                found += 1;
                prop_assert!(found <= bytes.len());
            }
        }
    }
}
