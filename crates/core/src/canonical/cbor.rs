//! Canonical bytes of a [`Value`] and back. Source: RFC 8949 § 3 (heads) and § 4.2.1 (deterministic encoding).
//!
//! Only what a [`Value`] can hold exists here: no tags, no indefinite lengths, no undefined, no half floats.

use super::{MAX_DEPTH, Value, View};

/// Major types of RFC 8949 § 3.1, already shifted to the upper three bits of a head.
const UNSIGNED: u8 = 0 << 5;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const LIST: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
/// Whole heads of major type 7.
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const FLOAT64: u8 = 0xfb;

/// How many elements are allocated on the word of a length alone; the rest grows with what is really there.
const TRUSTED_CAPACITY: usize = 64;

/// The canonical bytes. Uses no stack for nesting.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut pending = vec![Part::Value(value)];
    while let Some(part) = pending.pop() {
        match part {
            Part::Key(text) => put_text(&mut out, text),
            Part::Value(value) => put_value(&mut out, value, &mut pending),
        }
    }
    out
}

/// What is still to be written, last first.
enum Part<'a> {
    Key(&'a str),
    Value(&'a Value),
}

fn put_value<'a>(out: &mut Vec<u8>, value: &'a Value, pending: &mut Vec<Part<'a>>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        // The argument of a negative number is -1 - n, which is the complement of its bits.
        Value::Int(value) if *value < 0 => put_head(out, NEGATIVE, !value.cast_unsigned()),
        Value::Int(value) => put_head(out, UNSIGNED, value.cast_unsigned()),
        Value::Float(value) => {
            out.push(FLOAT64);
            out.extend(value.to_bits().to_be_bytes());
        }
        Value::Text(text) => put_text(out, text),
        Value::Bytes(bytes) => {
            put_head(out, BYTES, bytes.len() as u64);
            out.extend(bytes);
        }
        Value::List(values) => {
            put_head(out, LIST, values.len() as u64);
            pending.extend(values.iter().rev().map(Part::Value));
        }
        Value::Map(entries) => {
            put_head(out, MAP, entries.len() as u64);
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key_order(key));
            pending.extend(entries.into_iter().rev().flat_map(|(key, value)| [Part::Value(value), Part::Key(key)]));
        }
    }
}

/// Sorts keys as their encoded bytes sort: the head comes first and grows with the length.
fn key_order(key: &str) -> (usize, &[u8]) {
    (key.len(), key.as_bytes())
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, TEXT, text.len() as u64);
    out.extend(text.as_bytes());
}

/// A head in its shortest form.
fn put_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend([major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend(&bytes);
        }
    }
}

/// Bytes that are not the canonical spelling of a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("canonical bytes are damaged at offset {offset}: {kind}")]
pub struct DecodeError {
    /// Where the offending item starts, in bytes.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

/// What is wrong with bytes that should be canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The input ends inside an item, or an item claims to be longer than the input.
    #[error("the input ends too early")]
    Truncated,
    /// Bytes after the end of the value.
    #[error("bytes after the end of the value")]
    Trailing,
    /// A number or a length that is not written in its shortest form.
    #[error("a number or a length is not in its shortest form")]
    NotShortest,
    /// A map whose keys are out of order, or repeat.
    #[error("map keys are out of order or repeat")]
    KeyOrder,
    /// A map key that is no text.
    #[error("a map key is not text")]
    KeyType,
    /// Well-formed or not, nothing that a [`Value`] can be.
    #[error("item {0:#04x} is not part of the canonical form")]
    Unsupported(u8),
    /// A whole number outside the 64-bit signed range.
    #[error("a whole number is out of range")]
    IntRange,
    /// NaN or an infinity.
    #[error("a float is not finite")]
    NotFinite,
    /// Text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// Nesting beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The value whose canonical bytes these are. Memory and stack stay in proportion to the input.
///
/// # Errors
/// [`DecodeError`] for everything that [`encode`] would not have written, so that a decoded value always has
/// exactly the bytes it came from.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    view(bytes).map(View::into_value)
}

/// As [`decode`], without copying anything: for whoever looks at many values once.
///
/// # Errors
/// As [`decode`].
pub fn view(bytes: &[u8]) -> Result<View<'_>, DecodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    if reader.at < bytes.len() {
        return Err(DecodeError { offset: reader.at, kind: DecodeErrorKind::Trailing });
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads one item; recursion is bounded by [`MAX_DEPTH`].
    fn value(&mut self, depth: usize) -> Result<View<'a>, DecodeError> {
        let start = self.at;
        let fail = |kind| Err(DecodeError { offset: start, kind });
        let [head] = self.array()?;
        match head {
            FALSE => return Ok(View::Bool(false)),
            TRUE => return Ok(View::Bool(true)),
            NULL => return Ok(View::Null),
            FLOAT64 => {
                let value = f64::from_bits(u64::from_be_bytes(self.array()?));
                return if value.is_finite() { Ok(View::Float(value)) } else { fail(DecodeErrorKind::NotFinite) };
            }
            _ => {}
        }
        let major = head & 0xe0;
        if major > MAP {
            return fail(DecodeErrorKind::Unsupported(head));
        }
        if major >= LIST && depth == MAX_DEPTH {
            return fail(DecodeErrorKind::TooDeep);
        }
        let argument = self.argument(head, start)?;
        match major {
            UNSIGNED | NEGATIVE => match (i64::try_from(argument), major) {
                (Ok(value), UNSIGNED) => Ok(View::Int(value)),
                (Ok(value), _) => Ok(View::Int(!value)),
                (Err(_), _) => fail(DecodeErrorKind::IntRange),
            },
            BYTES => Ok(View::Bytes(self.take(argument, start)?)),
            TEXT => Ok(View::Text(self.text(argument, start)?)),
            LIST => self.list(argument, depth, start),
            _ => self.map(argument, depth, start),
        }
    }

    fn list(&mut self, len: u64, depth: usize, start: usize) -> Result<View<'a>, DecodeError> {
        let len = self.fits(len, start)?;
        let mut values = Vec::with_capacity(len.min(TRUSTED_CAPACITY));
        for _ in 0..len {
            values.push(self.value(depth + 1)?);
        }
        Ok(View::List(values))
    }

    fn map(&mut self, len: u64, depth: usize, start: usize) -> Result<View<'a>, DecodeError> {
        let len = self.fits(len, start)?;
        let mut entries = Vec::with_capacity(len.min(TRUSTED_CAPACITY));
        let mut previous: Option<&str> = None;
        for _ in 0..len {
            let start = self.at;
            let [head] = self.array()?;
            if head & 0xe0 != TEXT {
                return Err(DecodeError { offset: start, kind: DecodeErrorKind::KeyType });
            }
            let argument = self.argument(head, start)?;
            let key = self.text(argument, start)?;
            if previous.is_some_and(|previous| key_order(previous) >= key_order(key)) {
                return Err(DecodeError { offset: start, kind: DecodeErrorKind::KeyOrder });
            }
            previous = Some(key);
            entries.push((key, self.value(depth + 1)?));
        }
        Ok(View::Map(entries))
    }

    /// The argument of a head that was just read: its low bits, or the bytes after it.
    fn argument(&mut self, head: u8, start: usize) -> Result<u64, DecodeError> {
        let (argument, shortest_from) = match head & 0x1f {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (u64::from(u8::from_be_bytes(self.array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.array()?), 0x1_0000_0000),
            // 28 to 30 are reserved, 31 is an indefinite length.
            _ => {
                return Err(DecodeError { offset: start, kind: DecodeErrorKind::Unsupported(head) });
            }
        };
        if argument < shortest_from {
            return Err(DecodeError { offset: start, kind: DecodeErrorKind::NotShortest });
        }
        Ok(argument)
    }

    /// A count that the rest of the input could hold: every element has at least one byte.
    fn fits(&self, len: u64, start: usize) -> Result<usize, DecodeError> {
        usize::try_from(len)
            .ok()
            .filter(|len| *len <= self.bytes.len() - self.at)
            .ok_or(DecodeError { offset: start, kind: DecodeErrorKind::Truncated })
    }

    fn take(&mut self, len: u64, start: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.fits(len, start)?;
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    fn text(&mut self, len: u64, start: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.take(len, start)?)
            .map_err(|_| DecodeError { offset: start, kind: DecodeErrorKind::Utf8 })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = &self.bytes[self.at..];
        let array = rest.first_chunk().ok_or(DecodeError { offset: self.at, kind: DecodeErrorKind::Truncated })?;
        self.at += N;
        Ok(*array)
    }
}

#[cfg(test)]
pub(super) mod tests;
