//! The pages of a column: their headers are read, their bytes decompressed, and everything is checked that the decoders
//! of the `parquet` crate take for granted. What they get has sizes that fit and an encoding that suits the type.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

use super::codec::{self, CodecError};
use super::metadata::Chunk;
use super::thrift::{Read, Thrift};
use crate::table::Input;

/// Page headers hold bounds, which are longer than this only where values are; then more is read.
const HEADER: u64 = 4 << 10;
const MAX_HEADER: u64 = 16 << 20;
/// Values of one page, with nulls. More than any writer puts there, and less than what would fill memory with levels.
const MAX_VALUES: u64 = 1 << 26;

/// What of a column decides how its pages are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The number of the physical type.
    pub(super) physical: i64,
    /// Bytes of a value of fixed length.
    pub(super) length: u64,
    pub(super) max_def: i16,
    pub(super) max_rep: i16,
}

const BOOLEAN: i64 = 0;
const INT32: i64 = 1;
const INT64: i64 = 2;
const FLOAT: i64 = 4;
const DOUBLE: i64 = 5;
const BYTE_ARRAY: i64 = 6;
const FIXED: i64 = 7;

impl Shape {
    /// The fewest bytes that a value has in a dictionary.
    fn least_bytes(self) -> u64 {
        match self.physical {
            INT32 | FLOAT | BYTE_ARRAY => 4,
            INT64 | DOUBLE => 8,
            FIXED => self.length,
            _ => 12,
        }
    }

    /// Whether values of this type can be encoded so.
    fn suits(self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::PLAIN => true,
            Encoding::RLE => self.physical == BOOLEAN,
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => self.physical != BOOLEAN,
            Encoding::DELTA_BINARY_PACKED => matches!(self.physical, INT32 | INT64),
            Encoding::DELTA_LENGTH_BYTE_ARRAY => self.physical == BYTE_ARRAY,
            Encoding::DELTA_BYTE_ARRAY => matches!(self.physical, BYTE_ARRAY | FIXED),
            Encoding::BYTE_STREAM_SPLIT => matches!(self.physical, INT32 | INT64 | FLOAT | DOUBLE | FIXED),
            _ => false,
        }
    }
}

/// Reads the pages of one column chunk.
pub(super) struct Pages {
    input: Input,
    codec: i64,
    shape: Shape,
    /// The largest page that is accepted, decompressed.
    limit: u64,
    at: u64,
    end: u64,
    has_dictionary: bool,
    /// Whether the page read last was of the second version, which never ends inside a row.
    ends_at_row: bool,
}

impl Pages {
    pub(super) fn new(input: Input, chunk: &Chunk, shape: Shape, limit: usize) -> Self {
        let end = chunk.start.saturating_add(chunk.len).min(input.len());
        Self {
            input,
            codec: chunk.codec,
            shape,
            limit: limit as u64,
            at: chunk.start,
            end,
            has_dictionary: false,
            ends_at_row: false,
        }
    }

    fn header(&mut self) -> Result<Header> {
        let mut len = HEADER.min(self.end - self.at);
        loop {
            let bytes = self.input.slice(self.at, len)?;
            let mut thrift = Thrift::new(&bytes);
            match Header::read(&mut thrift) {
                Ok(header) => {
                    self.at += len - thrift.remaining() as u64;
                    return Ok(header);
                }
                Err(_) if len < MAX_HEADER.min(self.end - self.at) => len = (len * 16).min(self.end - self.at),
                Err(reason) => return Err(damaged(format!("a page header cannot be read: {reason}"))),
            }
        }
    }

    fn next_page(&mut self) -> Result<Option<Page>> {
        while self.at < self.end {
            let header = self.header()?;
            if header.packed > self.end - self.at {
                return Err(damaged("a page is cut off"));
            }
            let body = (self.at, header.packed);
            self.at += header.packed;
            if header.kind == INDEX_PAGE {
                continue;
            }
            if header.unpacked > self.limit {
                let (size, limit) = (header.unpacked, self.limit);
                return Err(damaged(format!("a page has {size} bytes, more than the limit of {limit}")));
            }
            return self.page(&header, body).map(Some);
        }
        Ok(None)
    }

    fn page(&mut self, header: &Header, (start, len): (u64, u64)) -> Result<Page> {
        if header.values > MAX_VALUES {
            return Err(damaged("a page has an impossible number of values"));
        }
        let bytes = self.input.slice(start, len)?;
        // The levels of the second version stand before what is compressed.
        let levels = if header.kind == DATA_PAGE_V2 { header.levels()? } else { 0 };
        let plain = codec::is_plain(self.codec) || header.kind == DATA_PAGE_V2 && !header.is_compressed;
        let buf = if plain {
            bytes
        } else {
            let packed = bytes.get(levels as usize..).ok_or_else(|| damaged("a page is shorter than its levels"))?;
            let size =
                header.unpacked.checked_sub(levels).ok_or_else(|| damaged("a page is shorter than its levels"))?;
            // A page of nothing but nulls may have nothing to decompress.
            let values = if size == 0 { Vec::new() } else { self.unpack(packed, size as usize)? };
            if levels == 0 { values.into() } else { [&bytes[..levels as usize], &values].concat().into() }
        };
        if (buf.len() as u64) < levels {
            return Err(damaged("a page is shorter than its levels"));
        }
        self.checked(header, buf)
    }

    fn unpack(&self, packed: &[u8], size: usize) -> Result<Vec<u8>> {
        codec::decompress(self.codec, packed, size).map_err(|error| match error {
            CodecError::Unsupported(what) => ParquetError::NYI(what.to_owned()),
            CodecError::Damaged => damaged("a page cannot be decompressed"),
        })
    }

    fn checked(&mut self, header: &Header, buf: bytes::Bytes) -> Result<Page> {
        let num_values = header.values as u32;
        let encoding = encoding(header.encoding)?;
        if header.kind == DICTIONARY_PAGE {
            let fits = header.values.saturating_mul(self.shape.least_bytes().max(1)) <= buf.len() as u64;
            let is_plain = matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY);
            if !fits || !is_plain || self.has_dictionary || self.shape.physical == BOOLEAN {
                return Err(damaged("a dictionary is not valid"));
            }
            self.has_dictionary = true;
            return Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false });
        }
        if !self.shape.suits(encoding) {
            return Err(ParquetError::NYI(format!("encoding {encoding} for values of this type")));
        }
        let by_dictionary = matches!(encoding, Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY);
        if by_dictionary && !self.has_dictionary {
            return Err(damaged("a page needs a dictionary, and there is none"));
        }
        self.ends_at_row = header.kind == DATA_PAGE_V2;
        if header.kind == DATA_PAGE_V2 {
            if header.nulls > header.values {
                return Err(damaged("a page has more nulls than values"));
            }
            return Ok(Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls: header.nulls as u32,
                num_rows: header.rows as u32,
                def_levels_byte_len: header.def_levels as u32,
                rep_levels_byte_len: header.rep_levels as u32,
                is_compressed: false,
                statistics: None,
            });
        }
        let old_levels = |max: i16, number: i64| max > 0 && number != RLE;
        if old_levels(self.shape.max_def, header.def_encoding) || old_levels(self.shape.max_rep, header.rep_encoding) {
            return Err(ParquetError::NYI("levels that are not run-length encoded".to_owned()));
        }
        let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, Encoding::RLE);
        Ok(Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics: None })
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.next_page()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(ParquetError::NYI("looking ahead".to_owned()))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(ParquetError::NYI("skipping pages".to_owned()))
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(self.ends_at_row || self.at >= self.end)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_page().transpose()
    }
}

fn damaged(reason: impl Into<String>) -> ParquetError {
    ParquetError::General(reason.into())
}

const RLE: i64 = 3;

fn encoding(number: i64) -> Result<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        RLE => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(ParquetError::NYI(format!("encoding {number}"))),
    })
}

const DATA_PAGE: i64 = 0;
const INDEX_PAGE: i64 = 1;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;

/// What stands before the bytes of a page.
#[derive(Debug)]
struct Header {
    kind: i64,
    packed: u64,
    unpacked: u64,
    values: u64,
    nulls: u64,
    rows: u64,
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
        let mut header = Self {
            kind: 0,
            packed: 0,
            unpacked: 0,
            values: 0,
            nulls: 0,
            rows: 0,
            encoding: 0,
            def_encoding: RLE,
            rep_encoding: RLE,
            def_levels: 0,
            rep_levels: 0,
            is_compressed: true,
        };
        thrift.structure(|id, field| {
            match id {
                1 => kind = Some(field.int()?),
                2 => unpacked = Some(field.size()?),
                3 => packed = Some(field.size()?),
                5 | 7 | 8 => {
                    described = Some(id);
                    field.structure(|part, field| {
                        let number = match (id, part) {
                            (5 | 7 | 8, 1) => &mut header.values,
                            (8, 2) => &mut header.nulls,
                            (8, 3) => &mut header.rows,
                            (8, 5) => &mut header.def_levels,
                            (8, 6) => &mut header.rep_levels,
                            (5 | 7, 2) | (8, 4) => return field.int().map(|value| header.encoding = value),
                            (5, 3) => return field.int().map(|value| header.def_encoding = value),
                            (5, 4) => return field.int().map(|value| header.rep_encoding = value),
                            (8, 7) => return field.boolean().map(|value| header.is_compressed = value),
                            _ => return field.skip(),
                        };
                        *number = field.size()?;
                        Ok(())
                    })?;
                }
                _ => field.skip()?,
            }
            Ok(())
        })?;
        header.kind = kind.ok_or("its type is missing")?;
        header.packed = packed.ok_or("its size is missing")?;
        header.unpacked = unpacked.ok_or("its size is missing")?;
        let expected = match header.kind {
            DATA_PAGE => Some(5),
            DICTIONARY_PAGE => Some(7),
            DATA_PAGE_V2 => Some(8),
            INDEX_PAGE => described,
            _ => return Err("its type is unknown"),
        };
        if described == expected { Ok(header) } else { Err("it describes a page of another type") }
    }

    /// Bytes of the levels of a page of the second version.
    fn levels(&self) -> Result<u64> {
        let levels = self.def_levels.checked_add(self.rep_levels).filter(|levels| *levels <= self.unpacked);
        levels.ok_or_else(|| damaged("a page is shorter than its levels"))
    }
}
