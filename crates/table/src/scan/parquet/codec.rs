//! Decompression of pages. The size of the result is known and checked, so that nothing grows without bound.

use std::io::Read as _;

/// Why a page could not be decompressed.
pub(super) enum CodecError {
    /// The codec is not known here.
    Unsupported(&'static str),
    /// The bytes are not what the codec writes.
    Damaged,
}

/// Whether pages of this codec are stored as they are.
pub(super) fn is_plain(codec: i64) -> bool {
    codec == 0
}

/// Makes exactly `size` bytes out of a compressed page. `codec` is a number of the Parquet format.
pub(super) fn decompress(codec: i64, packed: &[u8], size: usize) -> Result<Vec<u8>, CodecError> {
    let unpacked = match codec {
        0 => Some(packed.to_vec()),
        1 => snappy(packed, size),
        2 => all(flate2::read::MultiGzDecoder::new(packed), size),
        3 => return Err(CodecError::Unsupported("LZO compression")),
        4 => return Err(CodecError::Unsupported("Brotli compression")),
        5 => lz4_framed(packed, size).or_else(|| lz4(packed, size)),
        6 => ruzstd::decoding::StreamingDecoder::new(packed).ok().and_then(|reader| all(reader, size)),
        7 => lz4(packed, size),
        _ => return Err(CodecError::Unsupported("an unknown compression")),
    };
    unpacked.filter(|unpacked| unpacked.len() == size).ok_or(CodecError::Damaged)
}

fn snappy(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    if snap::raw::decompress_len(packed).ok()? != size {
        return None;
    }
    let mut unpacked = vec![0; size];
    let written = snap::raw::Decoder::new().decompress(packed, &mut unpacked).ok()?;
    (written == size).then_some(unpacked)
}

fn all(reader: impl std::io::Read, size: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    reader.take(size as u64 + 1).read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}

fn lz4(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut unpacked = vec![0; size];
    let written = lz4_flex::block::decompress_into(packed, &mut unpacked).ok()?;
    (written == size).then_some(unpacked)
}

/// The framing of Hadoop that came before `LZ4_RAW`: blocks, each after its two sizes.
fn lz4_framed(mut packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut unpacked = vec![0; size];
    let mut at = 0_usize;
    while !packed.is_empty() {
        let (sizes, rest) = packed.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *sizes;
        let block_size = u32::from_be_bytes([a, b, c, d]) as usize;
        let block_len = u32::from_be_bytes([e, f, g, h]) as usize;
        let (block, rest) = rest.split_at_checked(block_len)?;
        let room = unpacked.get_mut(at..at.checked_add(block_size)?)?;
        let written = lz4_flex::block::decompress_into(block, room).ok()?;
        if written != block_size || block_size == 0 {
            return None;
        }
        at += block_size;
        packed = rest;
    }
    (at == size).then_some(unpacked)
}
