//! The pages of a column: their headers are read, their bytes decompressed and taken apart.
//!
//! Specification: <https://parquet.apache.org/docs/file-format/data-pages/>. Sizes are checked before anything is
//! allocated by them.

use bytes::Bytes;

use super::Fault;
use super::codec::{self, CodecError};
use super::metadata::Chunk;
use super::thrift::{Read, Thrift};
use crate::table::Input;

/// Page headers hold bounds, which are longer than this only where values are; then more is read.
const HEADER: u64 = 4 << 10;
const MAX_HEADER: u64 = 16 << 20;
/// Values of one page, with nulls: as many as the largest row groups have.
const MAX_VALUES: u64 = 1 << 26;

/// A page, decompressed.
#[derive(Debug)]
pub(super) enum Page {
    /// Values that others refer to, one after the other as they are.
    Dictionary {
        count: usize,
        values: Bytes,
    },
    Data(Data),
}

/// A page of values.
#[derive(Debug)]
pub(super) struct Data {
    /// With nulls.
    pub(super) entries: usize,
    /// Empty where a column has none.
    pub(super) rep: Bytes,
    pub(super) def: Bytes,
    pub(super) encoding: Encoding,
    pub(super) values: Bytes,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Dictionary,
    RunLength,
    DeltaBinaryPacked,
    DeltaLengthByteArray,
    DeltaByteArray,
    ByteStreamSplit,
}

impl Encoding {
    fn of(number: i64) -> Result<Self, Fault> {
        Ok(match number {
            0 => Self::Plain,
            2 | 8 => Self::Dictionary,
            RLE => Self::RunLength,
            5 => Self::DeltaBinaryPacked,
            6 => Self::DeltaLengthByteArray,
            7 => Self::DeltaByteArray,
            9 => Self::ByteStreamSplit,
            _ => return Err(Fault::Unsupported(format!("encoding {number}"))),
        })
    }
}

/// Reads the pages of one column chunk.
#[derive(Debug)]
pub(super) struct Pages {
    input: Input,
    codec: i64,
    /// Whether there are repetition and definition levels.
    levels: (bool, bool),
    /// The largest page that is accepted, decompressed.
    limit: u64,
    at: u64,
    end: u64,
}

impl Pages {
    pub(super) fn new(input: Input, chunk: &Chunk, levels: (bool, bool), limit: usize) -> Self {
        let end = chunk.start.saturating_add(chunk.len).min(input.len());
        Self { input, codec: chunk.codec, levels, limit: limit as u64, at: chunk.start, end }
    }

    /// The next page, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Page>, Fault> {
        while self.at < self.end {
            let header = self.header()?;
            if header.packed > self.end - self.at {
                return Err(Fault::Damaged("a page is cut off"));
            }
            let start = self.at;
            self.at += header.packed;
            if header.kind != INDEX_PAGE {
                return self.page(&header, start).map(Some);
            }
        }
        Ok(None)
    }

    fn header(&mut self) -> Result<Header, Fault> {
        let most = MAX_HEADER.min(self.end - self.at);
        let mut len = HEADER.min(most);
        loop {
            let bytes = self.input.slice(self.at, len)?;
            let mut thrift = Thrift::new(&bytes);
            match Header::read(&mut thrift) {
                Ok(header) => {
                    self.at += len - thrift.remaining() as u64;
                    return Ok(header);
                }
                Err(_) if len < most => len = (len * 16).min(most),
                Err(reason) => return Err(Fault::Damaged(reason)),
            }
        }
    }

    fn page(&self, header: &Header, start: u64) -> Result<Page, Fault> {
        if header.unpacked > self.limit {
            let (size, limit) = (header.unpacked, self.limit);
            return Err(Fault::TooLarge(format!("a page has {size} bytes, more than the limit of {limit}")));
        }
        if header.values > MAX_VALUES {
            return Err(Fault::Damaged("a page has an impossible number of values"));
        }
        let bytes = self.input.slice(start, header.packed)?;
        if header.kind == DATA_PAGE_V2 {
            return self.second_version(header, &bytes);
        }
        let mut bytes = self.unpack(bytes, header.unpacked)?;
        let count = header.values as usize;
        if header.kind == DICTIONARY_PAGE {
            return match Encoding::of(header.encoding)? {
                Encoding::Plain | Encoding::Dictionary => Ok(Page::Dictionary { count, values: bytes }),
                _ => Err(Fault::Unsupported("an encoded dictionary".to_owned())),
            };
        }
        let mut levels = |exist: bool, encoding: i64| match (exist, encoding) {
            (false, _) => Ok(Bytes::new()),
            (true, RLE) => prefixed(&mut bytes).ok_or(Fault::Damaged("a page is shorter than its levels")),
            (true, _) => Err(Fault::Unsupported("levels that are not run-length encoded".to_owned())),
        };
        let rep = levels(self.levels.0, header.rep_encoding)?;
        let def = levels(self.levels.1, header.def_encoding)?;
        Ok(Page::Data(Data { entries: count, rep, def, encoding: Encoding::of(header.encoding)?, values: bytes }))
    }

    /// The levels of the second version stand before what is compressed.
    fn second_version(&self, header: &Header, bytes: &Bytes) -> Result<Page, Fault> {
        let (rep, levels) = (header.rep_levels, header.rep_levels.saturating_add(header.def_levels));
        if levels > bytes.len() as u64 || levels > header.unpacked {
            return Err(Fault::Damaged("a page is shorter than its levels"));
        }
        let (rep, levels) = (rep as usize, levels as usize);
        let packed = bytes.slice(levels..);
        let size = header.unpacked - levels as u64;
        // A page of nothing but nulls may have nothing to decompress.
        let values = match (header.is_compressed, size) {
            (false, _) => packed,
            (true, 0) => Bytes::new(),
            (true, _) => self.unpack(packed, size)?,
        };
        let (rep, def) = (bytes.slice(..rep), bytes.slice(rep..levels));
        let entries = header.values as usize;
        Ok(Page::Data(Data { entries, rep, def, encoding: Encoding::of(header.encoding)?, values }))
    }

    fn unpack(&self, packed: Bytes, size: u64) -> Result<Bytes, Fault> {
        if codec::is_plain(self.codec) {
            return Ok(packed);
        }
        match codec::decompress(self.codec, &packed, size as usize) {
            Ok(unpacked) => Ok(unpacked.into()),
            Err(CodecError::Unsupported(what)) => Err(Fault::Unsupported(what.to_owned())),
            Err(CodecError::Damaged) => Err(Fault::Damaged("a page cannot be decompressed")),
        }
    }
}

/// Takes bytes off the front that stand after their length.
pub(super) fn prefixed(bytes: &mut Bytes) -> Option<Bytes> {
    let len = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    if len > bytes.len() - 4 {
        return None;
    }
    let taken = bytes.slice(4..4 + len);
    *bytes = bytes.slice(4 + len..);
    Some(taken)
}

const RLE: i64 = 3;

const DATA_PAGE: i64 = 0;
const INDEX_PAGE: i64 = 1;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;

/// What stands before the bytes of a page.
#[derive(Debug, Default)]
struct Header {
    kind: i64,
    packed: u64,
    unpacked: u64,
    values: u64,
    encoding: i64,
    def_encoding: i64,
    rep_encoding: i64,
    def_levels: u64,
    rep_levels: u64,
    is_compressed: bool,
}

impl Header {
    fn read(thrift: &mut Thrift<'_>) -> Read<Self> {
        let (mut kind, mut packed, mut unpacked, mut described) = (None, None, None, None);
        let mut header = Self { def_encoding: RLE, rep_encoding: RLE, is_compressed: true, ..Self::default() };
        thrift.structure(|id, field| {
            match id {
                1 => kind = Some(field.int()?),
                2 => unpacked = Some(field.size()?),
                3 => packed = Some(field.size()?),
                5 | 7 | 8 => {
                    described = Some(id);
                    field.structure(|part, field| {
                        match (id, part) {
                            (_, 1) => header.values = field.size()?,
                            (5 | 7, 2) | (8, 4) => header.encoding = field.int()?,
                            (5, 3) => header.def_encoding = field.int()?,
                            (5, 4) => header.rep_encoding = field.int()?,
                            (8, 5) => header.def_levels = field.size()?,
                            (8, 6) => header.rep_levels = field.size()?,
                            (8, 7) => header.is_compressed = field.boolean()?,
                            _ => field.skip()?,
                        }
                        Ok(())
                    })?;
                }
                _ => field.skip()?,
            }
            Ok(())
        })?;
        header.kind = kind.ok_or("a page has no type")?;
        header.packed = packed.ok_or("a page has no size")?;
        header.unpacked = unpacked.ok_or("a page has no size")?;
        let expected = match header.kind {
            DATA_PAGE => Some(5),
            DICTIONARY_PAGE => Some(7),
            DATA_PAGE_V2 => Some(8),
            INDEX_PAGE => described,
            _ => return Err("the type of a page is unknown"),
        };
        if described == expected { Ok(header) } else { Err("a page is described as one of another type") }
    }
}
