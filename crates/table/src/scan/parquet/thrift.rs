//! The part of Thrift's compact protocol that Parquet's footers and page headers are written in.
//!
//! Specification: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>. Nothing is
//! allocated by what the bytes claim, and nothing nests without bound.

/// Why bytes could not be read.
pub(super) type Read<T> = Result<T, &'static str>;

/// Structures nested deeper are refused.
const MAX_DEPTH: u32 = 64;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Reads from the front of bytes.
#[derive(Debug, Clone)]
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    depth: u32,
}

/// A value whose type is known and which is not read yet.
#[derive(Debug)]
pub(super) struct Field<'r, 'a> {
    thrift: &'r mut Thrift<'a>,
    kind: u8,
    /// In lists a truth value is a byte; in structures it is its type.
    in_list: bool,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 0 }
    }

    /// Bytes that are not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a structure: `each` gets the number and the value of its fields, and reads or skips them.
    pub(super) fn structure(&mut self, mut each: impl FnMut(i64, Field<'_, 'a>) -> Read<()>) -> Read<()> {
        self.nested(|thrift| {
            let mut id = 0;
            loop {
                let byte = thrift.byte()?;
                let kind = byte & 15;
                if kind == 0 {
                    return Ok(());
                }
                id = match byte >> 4 {
                    0 => thrift.zigzag()?,
                    step => id + i64::from(step),
                };
                each(id, Field { thrift, kind, in_list: false })?;
            }
        })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth == MAX_DEPTH {
            return Err("structures are nested too deep");
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn byte(&mut self) -> Read<u8> {
        let (first, rest) = self.bytes.split_first().ok_or("a structure is cut off")?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, len: u64) -> Read<&'a [u8]> {
        let len = usize::try_from(len).map_err(|_| "a length is too large")?;
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or("a structure is cut off")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Read<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn zigzag(&mut self) -> Read<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

impl<'a> Field<'_, 'a> {
    /// A whole number of any width.
    pub(super) fn int(self) -> Read<i64> {
        match self.kind {
            BYTE => Ok(i64::from(self.thrift.byte()?.cast_signed())),
            I16..=I64 => self.thrift.zigzag(),
            _ => Err("a number is expected"),
        }
    }

    /// A whole number that counts or measures.
    pub(super) fn size(self) -> Read<u64> {
        u64::try_from(self.int()?).map_err(|_| "a size is negative")
    }

    pub(super) fn boolean(self) -> Read<bool> {
        match (self.kind, self.in_list) {
            (TRUE | FALSE, true) => Ok(self.thrift.byte()? == TRUE),
            (TRUE, false) => Ok(true),
            (FALSE, false) => Ok(false),
            _ => Err("a truth value is expected"),
        }
    }

    pub(super) fn text(self) -> Read<String> {
        if self.kind != BINARY {
            return Err("a text is expected");
        }
        let len = self.thrift.varint()?;
        Ok(String::from_utf8_lossy(self.thrift.take(len)?).into_owned())
    }

    pub(super) fn structure(self, each: impl FnMut(i64, Field<'_, 'a>) -> Read<()>) -> Read<()> {
        if self.kind == STRUCT { self.thrift.structure(each) } else { Err("a structure is expected") }
    }

    /// Calls `each` with the items of a list.
    pub(super) fn list(self, mut each: impl FnMut(Field<'_, 'a>) -> Read<()>) -> Read<()> {
        if !matches!(self.kind, LIST | SET) {
            return Err("a list is expected");
        }
        self.thrift.nested(|thrift| {
            let byte = thrift.byte()?;
            let size = if byte >> 4 == 15 { thrift.varint()? } else { u64::from(byte >> 4) };
            // Each item has at least one byte.
            if size > thrift.remaining() as u64 {
                return Err("a list is cut off");
            }
            (0..size).try_for_each(|_| each(Field { thrift, kind: byte & 15, in_list: true }))
        })
    }

    pub(super) fn skip(self) -> Read<()> {
        match self.kind {
            TRUE | FALSE => self.boolean().map(drop),
            BYTE..=I64 => self.int().map(drop),
            DOUBLE => self.thrift.take(8).map(drop),
            UUID => self.thrift.take(16).map(drop),
            BINARY => {
                let len = self.thrift.varint()?;
                self.thrift.take(len).map(drop)
            }
            LIST | SET => self.list(skip),
            MAP => self.skip_map(),
            STRUCT => self.structure(|_, field| field.skip()),
            _ => Err("a type is unknown"),
        }
    }

    fn skip_map(self) -> Read<()> {
        self.thrift.nested(|thrift| {
            let size = thrift.varint()?;
            if size == 0 {
                return Ok(());
            }
            let kinds = thrift.byte()?;
            if size > thrift.remaining() as u64 {
                return Err("a map is cut off");
            }
            (0..size).try_for_each(|_| {
                Field { thrift, kind: kinds >> 4, in_list: true }.skip()?;
                Field { thrift, kind: kinds & 15, in_list: true }.skip()
            })
        })
    }
}

/// For any lifetime, as a method would not be.
fn skip(field: Field<'_, '_>) -> Read<()> {
    field.skip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_is_read() {
        // 1: i32 = -1, 2: bool = true, 4: list of i32 [1, 300], 20: text "ab", 21: struct { 1: double }
        let bytes = [
            0x15, 0x01, 0x11, 0x29, 0x25, 0x02, 0xd8, 0x04, 0x08, 0x28, 0x02, b'a', b'b', 0x1c, 0x17, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0,
        ];
        let mut seen = Vec::new();
        let mut thrift = Thrift::new(&bytes);
        thrift
            .structure(|id, field| {
                seen.push(match id {
                    1 => format!("{id}:{}", field.int()?),
                    2 => format!("{id}:{}", field.boolean()?),
                    4 => {
                        let mut items = Vec::new();
                        field.list(|item| item.int().map(|item| items.push(item)))?;
                        format!("{id}:{items:?}")
                    }
                    20 => format!("{id}:{}", field.text()?),
                    _ => {
                        field.skip()?;
                        id.to_string()
                    }
                });
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, ["1:-1", "2:true", "4:[1, 300]", "20:ab", "21"]);
        assert_eq!(thrift.remaining(), 0);
    }

    #[test]
    fn whatever_is_cut_off_or_too_deep_is_an_error() {
        let deep = [0x1c; 1000];
        assert!(Thrift::new(&deep).structure(|_, field| field.skip()).is_err());
        // A list of 2^31 structures in five bytes.
        let claims = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07];
        assert!(Thrift::new(&claims).structure(|_, field| field.skip()).is_err());
        assert!(Thrift::new(&[0x15, 0x80]).structure(|_, field| field.skip()).is_err());
    }
}
