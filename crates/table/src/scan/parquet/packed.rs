//! Whole numbers in few bits: runs and bit-packed groups, and differences in blocks.
//!
//! Specification: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use bytes::Bytes;

use super::Fault;

/// Reads numbers of `width` bits from `bytes`, the first one at bit `at`. Beyond the end there are zeros.
fn bits(bytes: &[u8], at: usize, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let (start, shift) = (at / 8, at % 8);
    let window = match bytes.get(start..).and_then(<[u8]>::first_chunk::<8>) {
        Some(window) => u64::from_le_bytes(*window),
        None => {
            let rest = bytes.get(start..).unwrap_or_default();
            rest.iter().rev().fold(0, |window, byte| window << 8 | u64::from(*byte))
        }
    };
    let low = window >> shift;
    // Of wide numbers the upper bits may stand in a ninth byte.
    let high = if shift > 0 && width as usize + shift > 64 {
        bytes.get(start + 8).map_or(0, |byte| u64::from(*byte) << (64 - shift))
    } else {
        0
    };
    (low | high) & (u64::MAX >> (64 - width))
}

/// Runs of one number, and groups of eight numbers of a few bits each.
#[derive(Debug)]
pub(super) struct Hybrid {
    bytes: Bytes,
    at: usize,
    width: u32,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    /// So many times this number.
    Same(usize, u32),
    /// So many numbers from this bit on.
    Packed(usize, usize),
}

impl Hybrid {
    /// Numbers of at most 32 bits.
    pub(super) fn new(bytes: Bytes, width: u32) -> Result<Self, Fault> {
        if width > 32 {
            return Err(Fault::Damaged("numbers have an impossible width"));
        }
        Ok(Self { bytes, at: 0, width, run: Run::Same(0, 0) })
    }

    /// Calls `each` with the next `count` numbers.
    pub(super) fn take(&mut self, mut count: usize, mut each: impl FnMut(u32)) -> Result<(), Fault> {
        while count > 0 {
            let taken = match &mut self.run {
                Run::Same(left, _) | Run::Packed(left, _) if *left == 0 => {
                    self.next_run()?;
                    continue;
                }
                Run::Same(left, value) => {
                    let taken = count.min(*left);
                    (0..taken).for_each(|_| each(*value));
                    *left -= taken;
                    taken
                }
                Run::Packed(left, bit) => {
                    let taken = count.min(*left);
                    for number in 0..taken {
                        each(bits(&self.bytes, *bit + number * self.width as usize, self.width) as u32);
                    }
                    *left -= taken;
                    *bit += taken * self.width as usize;
                    taken
                }
            };
            count -= taken;
        }
        Ok(())
    }

    fn next_run(&mut self) -> Result<(), Fault> {
        let header = varint(&self.bytes, &mut self.at)?;
        let count = usize::try_from(header >> 1).map_err(|_| CUT)?;
        if header & 1 == 0 {
            let len = self.width.div_ceil(8) as usize;
            let value = self.bytes.get(self.at..self.at + len).ok_or(CUT)?;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            self.at += len;
            self.run = Run::Same(count, value);
        } else {
            // Some writers leave the end of the last group out, where only padding is.
            let (room, size) = ((self.bytes.len() - self.at) * 8, count.saturating_mul(8));
            let numbers = if self.width == 0 { size } else { size.min(room / self.width as usize) };
            self.run = Run::Packed(numbers, self.at * 8);
            self.at = (self.at + count.saturating_mul(self.width as usize)).min(self.bytes.len());
        }
        Ok(())
    }
}

const CUT: Fault = Fault::Damaged("numbers are cut off");

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, Fault> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(CUT)?;
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(value);
        }
    }
    Err(CUT)
}

fn zigzag(bytes: &[u8], at: &mut usize) -> Result<i64, Fault> {
    let value = varint(bytes, at)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Differences between numbers, in blocks that each say how many bits their parts need.
#[derive(Debug)]
pub(super) struct Delta {
    bytes: Bytes,
    at: usize,
    /// Numbers that are not read yet, the first one included.
    left: usize,
    is_first: bool,
    value: i64,
    parts: usize,
    part_size: usize,
    least: i64,
    /// Widths of the parts of the block at hand, and the next of them.
    widths: Vec<u8>,
    part: usize,
    /// Numbers that are left of the part at hand, and where the next one is.
    part_left: usize,
    bit: usize,
}

impl Delta {
    pub(super) fn new(bytes: Bytes) -> Result<Self, Fault> {
        let mut at = 0;
        let block = varint(&bytes, &mut at)?;
        let parts = varint(&bytes, &mut at)?;
        let left = usize::try_from(varint(&bytes, &mut at)?).map_err(|_| CUT)?;
        let value = zigzag(&bytes, &mut at)?;
        let is_valid = (1..=1 << 20).contains(&block) && (1..=block).contains(&parts) && block % parts == 0;
        let part_size = if is_valid { (block / parts) as usize } else { 0 };
        if part_size == 0 || part_size % 8 != 0 {
            return Err(Fault::Damaged("a block of numbers has an impossible size"));
        }
        Ok(Self {
            bytes,
            at,
            left,
            is_first: true,
            value,
            parts: parts as usize,
            part_size,
            least: 0,
            widths: Vec::new(),
            part: 0,
            part_left: 0,
            bit: 0,
        })
    }

    /// How many numbers are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Calls `each` with the next `count` numbers.
    pub(super) fn take(&mut self, count: usize, mut each: impl FnMut(i64)) -> Result<(), Fault> {
        if count > self.left {
            return Err(CUT);
        }
        for _ in 0..count {
            if self.is_first {
                self.is_first = false;
            } else {
                if self.part_left == 0 {
                    self.next_part()?;
                }
                let width = u32::from(self.widths[self.part - 1]);
                let difference = bits(&self.bytes, self.bit, width).cast_signed();
                self.value = self.value.wrapping_add(self.least).wrapping_add(difference);
                self.bit += width as usize;
                self.part_left -= 1;
            }
            each(self.value);
        }
        self.left -= count;
        Ok(())
    }

    fn next_part(&mut self) -> Result<(), Fault> {
        if self.part == self.widths.len() {
            self.least = zigzag(&self.bytes, &mut self.at)?;
            let widths = self.bytes.get(self.at..self.at + self.parts).ok_or(CUT)?;
            self.widths = widths.to_vec();
            self.at += self.parts;
            self.part = 0;
        }
        let width = self.widths[self.part];
        let end = self.at + self.part_size / 8 * usize::from(width);
        if width > 64 || end > self.bytes.len() {
            return Err(CUT);
        }
        self.bit = self.at * 8;
        self.at = end;
        self.part += 1;
        self.part_left = self.part_size;
        Ok(())
    }

    /// The bytes behind the numbers, when all are read.
    pub(super) fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_wherever_they_stand() {
        let bytes = [0b1010_1101, 0xff, 0x01, 0x80, 0x55, 0xaa, 0x12, 0x34, 0x56, 0x78];
        let whole = bytes.iter().rev().fold(0_u128, |whole, byte| whole << 8 | u128::from(*byte));
        for at in 0..80 {
            for width in 0..=64_u32 {
                let expected = (whole >> at) & ((1_u128 << width) - 1);
                assert_eq!(u128::from(bits(&bytes, at, width)), expected, "{width} bits at {at}");
            }
        }
    }

    fn hybrid(bytes: &[u8], width: u32, count: usize) -> Result<Vec<u32>, Fault> {
        let mut all = Vec::new();
        let mut hybrid = Hybrid::new(Bytes::copy_from_slice(bytes), width)?;
        // In two steps, to stop inside a run.
        hybrid.take(count / 3, |number| all.push(number))?;
        hybrid.take(count - count / 3, |number| all.push(number))?;
        Ok(all)
    }

    /// The example of the specification: 0 to 7 in three bits each.
    #[test]
    fn runs_and_groups_are_read() {
        assert_eq!(hybrid(&[3, 0x88, 0xc6, 0xfa], 3, 8).unwrap(), (0..8).collect::<Vec<_>>());
        assert_eq!(hybrid(&[20, 5, 3, 0x88, 0xc6, 0xfa], 3, 12).unwrap(), [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0, 1]);
        assert_eq!(hybrid(&[8, 0x34, 0x12], 12, 4).unwrap(), [0x1234; 4]);
        assert_eq!(hybrid(&[200, 1], 0, 100).unwrap(), [0; 100]);
        assert!(hybrid(&[3, 0x88], 3, 8).is_err());
        assert!(hybrid(&[8], 12, 4).is_err());
        assert!(hybrid(&[], 1, 1).is_err());
        assert!(hybrid(&[2, 0], 33, 1).is_err());
    }

    /// The examples of the specification, of one block with one part of 8 and more.
    #[test]
    fn differences_are_read() {
        // Block 128, 4 parts, 5 numbers, first 7; least difference -2, widths 2 0 0 0.
        let mut bytes = vec![0x80, 0x01, 4, 5, 14, 3, 2, 0, 0, 0];
        // 7 5 3 1 2: differences -2 -2 -2 1, above the least 0 0 0 3.
        bytes.extend([0b1100_0000, 0, 0, 0, 0, 0, 0, 0, 42]);
        let mut delta = Delta::new(bytes.into()).unwrap();
        let mut all = Vec::new();
        delta.take(2, |number| all.push(number)).unwrap();
        delta.take(3, |number| all.push(number)).unwrap();
        assert_eq!((all, delta.left(), &delta.rest()[..]), (vec![7, 5, 3, 1, 2], 0, &[42][..]));
        assert!(delta.take(1, |_| ()).is_err());
        for bad in [&[0, 4, 5, 14][..], &[0x80, 1, 0, 5, 14], &[0x80, 1, 3, 5, 14], &[0x80, 1]] {
            assert!(Delta::new(Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
    }
}
