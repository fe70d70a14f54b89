//! The values of a page, in each of the encodings.
//!
//! Specification: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>. Bytes of texts are not copied:
//! a text is a place in a page or dictionary that is kept as long as it is needed.

use bytes::Bytes;

use super::Fault;
use super::packed::{Delta, Hybrid};
use super::page::{Encoding, prefixed};

const CUT: Fault = Fault::Damaged("values are cut off");
/// Texts of one page that are put together from parts, and their bytes.
const MAX_TEXTS: usize = 1 << 22;
const MAX_JOINED: usize = 256 << 20;
/// Texts of one page that are not.
const MAX_LENGTHS: usize = 1 << 26;

/// How values are kept in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int32,
    Int64,
    Int96,
    Float,
    Double,
    Bytes,
    /// Bytes of this length.
    Fixed(usize),
}

/// Some values, without nulls.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// Of variable and of fixed length.
    Bytes(Texts),
}

/// Places in bytes that are shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    sources: Vec<Bytes>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    source: u32,
    start: u32,
    end: u32,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, at: usize) -> &[u8] {
        let Place { source, start, end } = self.places[at];
        &self.sources[source as usize][start as usize..end as usize]
    }

    /// The number of a source, which is mostly the one added last.
    fn source(&mut self, bytes: &Bytes) -> u32 {
        let is_last =
            self.sources.last().is_some_and(|last| last.as_ptr() == bytes.as_ptr() && last.len() == bytes.len());
        if !is_last {
            self.sources.push(bytes.clone());
        }
        self.sources.len() as u32 - 1
    }

    fn push(&mut self, source: u32, start: usize, end: usize) {
        self.places.push(Place { source, start: start as u32, end: end as u32 });
    }
}

impl Values {
    pub(super) fn new(physical: Physical) -> Self {
        match physical {
            Physical::Boolean => Self::Boolean(Vec::new()),
            Physical::Int32 => Self::Int32(Vec::new()),
            Physical::Int64 => Self::Int64(Vec::new()),
            Physical::Float => Self::Float(Vec::new()),
            Physical::Double => Self::Double(Vec::new()),
            Physical::Int96 | Physical::Bytes | Physical::Fixed(_) => Self::Bytes(Texts::default()),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Boolean(values) => values.clear(),
            Self::Int32(values) => values.clear(),
            Self::Int64(values) => values.clear(),
            Self::Float(values) => values.clear(),
            Self::Double(values) => values.clear(),
            Self::Bytes(texts) => {
                texts.sources.clear();
                texts.places.clear();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Bytes(texts) => texts.len(),
        }
    }

    /// Appends values of a dictionary.
    fn extend_from(&mut self, dictionary: &Self, indices: &[u32]) -> Result<(), Fault> {
        fn pick<T: Copy>(to: &mut Vec<T>, from: &[T], indices: &[u32]) -> Option<()> {
            to.reserve(indices.len());
            indices.iter().try_for_each(|index| from.get(*index as usize).map(|value| to.push(*value)))
        }
        let picked = match (self, dictionary) {
            (Self::Int32(to), Self::Int32(from)) => pick(to, from, indices),
            (Self::Int64(to), Self::Int64(from)) => pick(to, from, indices),
            (Self::Float(to), Self::Float(from)) => pick(to, from, indices),
            (Self::Double(to), Self::Double(from)) => pick(to, from, indices),
            (Self::Bytes(to), Self::Bytes(from)) => {
                let Some(bytes) = from.sources.first() else {
                    return if indices.is_empty() { Ok(()) } else { Err(CUT) };
                };
                let source = to.source(bytes);
                indices.iter().try_for_each(|index| {
                    let place = from.places.get(*index as usize)?;
                    to.places.push(Place { source, ..*place });
                    Some(())
                })
            }
            _ => None,
        };
        picked.ok_or(Fault::Damaged("a value is not in the dictionary"))
    }
}

/// Reads the values of a page one after the other.
#[derive(Debug)]
pub(super) enum Decoder {
    Plain {
        physical: Physical,
        bytes: Bytes,
        at: usize,
    },
    Bits(Bytes, usize),
    Runs(Hybrid),
    Dictionary(Hybrid),
    Delta(Delta),
    /// Bytes that are apart from their lengths.
    Lengths {
        lengths: Delta,
        bytes: Bytes,
        at: usize,
    },
    /// Texts that were put together, and the next one.
    Texts(Texts, usize),
    /// First bytes of all values, then second bytes, and so on.
    Split {
        physical: Physical,
        bytes: Bytes,
        at: usize,
    },
}

impl Decoder {
    pub(super) fn new(physical: Physical, encoding: Encoding, mut bytes: Bytes) -> Result<Self, Fault> {
        Ok(match (encoding, physical) {
            (Encoding::Plain, Physical::Boolean) => Self::Bits(bytes, 0),
            (Encoding::Plain, _) => Self::Plain { physical, bytes, at: 0 },
            (Encoding::Dictionary, Physical::Boolean) => return Err(unsuited()),
            // A page of nothing but nulls may be empty.
            (Encoding::Dictionary, _) if bytes.is_empty() => Self::Dictionary(Hybrid::new(bytes, 0)?),
            (Encoding::Dictionary, _) => Self::Dictionary(Hybrid::new(bytes.slice(1..), u32::from(bytes[0]))?),
            (Encoding::RunLength, Physical::Boolean) => Self::Runs(Hybrid::new(prefixed(&mut bytes).ok_or(CUT)?, 1)?),
            (Encoding::DeltaBinaryPacked, Physical::Int32 | Physical::Int64) => Self::Delta(Delta::new(bytes)?),
            (Encoding::DeltaLengthByteArray, Physical::Bytes) => lengths(bytes)?,
            (Encoding::DeltaByteArray, Physical::Bytes | Physical::Fixed(_)) => Self::Texts(prefixes(bytes)?, 0),
            (Encoding::ByteStreamSplit, Physical::Boolean | Physical::Bytes | Physical::Int96) => {
                return Err(unsuited());
            }
            (Encoding::ByteStreamSplit, _) => Self::Split { physical, bytes, at: 0 },
            _ => return Err(unsuited()),
        })
    }

    /// Appends the next `count` values to those that are there.
    pub(super) fn take(&mut self, count: usize, dictionary: Option<&Values>, out: &mut Values) -> Result<(), Fault> {
        match (self, &mut *out) {
            (Self::Plain { physical, bytes, at }, out) => plain(*physical, bytes, at, count, out),
            (Self::Bits(bytes, bit), Values::Boolean(out)) => {
                if bytes.len() * 8 < *bit + count {
                    return Err(CUT);
                }
                out.extend((*bit..*bit + count).map(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1));
                *bit += count;
                Ok(())
            }
            (Self::Runs(runs), Values::Boolean(out)) => runs.take(count, |bit| out.push(bit == 1)),
            (Self::Dictionary(indices), out) => {
                let dictionary = dictionary.ok_or(Fault::Damaged("a page needs a dictionary, and there is none"))?;
                let mut picked = Vec::with_capacity(count);
                indices.take(count, |index| picked.push(index))?;
                out.extend_from(dictionary, &picked)
            }
            (Self::Delta(delta), Values::Int32(out)) => delta.take(count, |value| out.push(value as i32)),
            (Self::Delta(delta), Values::Int64(out)) => delta.take(count, |value| out.push(value)),
            (Self::Lengths { lengths, bytes, at }, Values::Bytes(out)) => {
                let source = out.source(bytes);
                let mut fits = true;
                lengths.take(count, |len| match end(bytes, *at, len) {
                    Some(end) => {
                        out.push(source, *at, end);
                        *at = end;
                    }
                    None => fits = false,
                })?;
                if fits { Ok(()) } else { Err(CUT) }
            }
            (Self::Texts(texts, at), Values::Bytes(out)) => {
                let places = texts.places.get(*at..*at + count).ok_or(CUT)?;
                let source = texts.sources.first().map_or(0, |bytes| out.source(bytes));
                out.places.extend(places.iter().map(|place| Place { source, ..*place }));
                *at += count;
                Ok(())
            }
            (Self::Split { physical, bytes, at }, out) => {
                split(*physical, bytes, *at, count, out)?;
                *at += count;
                Ok(())
            }
            _ => Err(unsuited()),
        }
    }
}

fn unsuited() -> Fault {
    Fault::Unsupported("an encoding for values of this type".to_owned())
}

/// Where `len` bytes end, if they are there.
fn end(bytes: &Bytes, at: usize, len: i64) -> Option<usize> {
    at.checked_add(usize::try_from(len).ok()?).filter(|end| *end <= bytes.len())
}

/// Reads a dictionary.
pub(super) fn dictionary(physical: Physical, bytes: &Bytes, count: usize) -> Result<Values, Fault> {
    let mut values = Values::new(physical);
    if physical == Physical::Boolean {
        return Err(unsuited());
    }
    plain(physical, bytes, &mut 0, count, &mut values)?;
    Ok(values)
}

fn plain(physical: Physical, bytes: &Bytes, at: &mut usize, count: usize, out: &mut Values) -> Result<(), Fault> {
    fn fixed<const N: usize, T>(
        bytes: &Bytes,
        at: &mut usize,
        count: usize,
        out: &mut Vec<T>,
        of: fn([u8; N]) -> T,
    ) -> Result<(), Fault> {
        let end = count.checked_mul(N).and_then(|len| at.checked_add(len)).ok_or(CUT)?;
        let (values, _) = bytes.get(*at..end).ok_or(CUT)?.as_chunks::<N>();
        out.extend(values.iter().map(|value| of(*value)));
        *at = end;
        Ok(())
    }
    match (physical, out) {
        (_, Values::Int32(out)) => fixed(bytes, at, count, out, i32::from_le_bytes),
        (_, Values::Int64(out)) => fixed(bytes, at, count, out, i64::from_le_bytes),
        (_, Values::Float(out)) => fixed(bytes, at, count, out, f32::from_le_bytes),
        (_, Values::Double(out)) => fixed(bytes, at, count, out, f64::from_le_bytes),
        (Physical::Bytes, Values::Bytes(out)) => {
            let source = out.source(bytes);
            for _ in 0..count {
                let len = bytes.get(*at..).and_then(<[u8]>::first_chunk::<4>).ok_or(CUT)?;
                let start = *at + 4;
                let end = end(bytes, start, i64::from(u32::from_le_bytes(*len))).ok_or(CUT)?;
                out.push(source, start, end);
                *at = end;
            }
            Ok(())
        }
        (_, Values::Bytes(out)) => {
            let len = if let Physical::Fixed(len) = physical { len } else { 12 };
            let end = count.checked_mul(len).and_then(|len| at.checked_add(len)).ok_or(CUT)?;
            if end > bytes.len() {
                return Err(CUT);
            }
            let source = out.source(bytes);
            (0..count).for_each(|value| out.push(source, *at + value * len, *at + (value + 1) * len));
            *at = end;
            Ok(())
        }
        (_, Values::Boolean(_)) => Err(unsuited()),
    }
}

fn lengths(bytes: Bytes) -> Result<Decoder, Fault> {
    // The bytes begin where the lengths end, so these are read twice.
    let mut all = Delta::new(bytes.clone())?;
    if all.left() > MAX_LENGTHS {
        return Err(CUT);
    }
    all.take(all.left(), |_| ())?;
    Ok(Decoder::Lengths { lengths: Delta::new(bytes)?, bytes: all.rest(), at: 0 })
}

/// Texts that each begin as the one before does.
fn prefixes(bytes: Bytes) -> Result<Texts, Fault> {
    let mut shared = Delta::new(bytes)?;
    let count = shared.left();
    if count > MAX_TEXTS {
        return Err(Fault::Unsupported("a page of so many texts".to_owned()));
    }
    let mut prefixes = Vec::new();
    shared.take(count, |len| prefixes.push(len))?;
    let mut lengths = Delta::new(shared.rest())?;
    if lengths.left() != count {
        return Err(CUT);
    }
    let mut suffixes = Vec::new();
    lengths.take(count, |len| suffixes.push(len))?;
    let rest = lengths.rest();
    let (mut at, mut start) = (0, 0);
    let mut all: Vec<u8> = Vec::new();
    let mut ends = Vec::with_capacity(count);
    for (prefix, suffix) in prefixes.into_iter().zip(suffixes) {
        let prefix = usize::try_from(prefix).ok().filter(|len| *len <= all.len() - start).ok_or(CUT)?;
        let end = end(&rest, at, suffix).ok_or(CUT)?;
        let first = all.len();
        if first + prefix + (end - at) > MAX_JOINED {
            return Err(Fault::TooLarge("the texts of a page are too long".to_owned()));
        }
        all.extend_from_within(start..start + prefix);
        all.extend_from_slice(&rest[at..end]);
        ends.push(all.len());
        (at, start) = (end, first);
    }
    let mut texts = Texts::default();
    let source = texts.source(&all.into());
    let mut start = 0;
    for end in ends {
        texts.push(source, start, end);
        start = end;
    }
    Ok(texts)
}

fn split(physical: Physical, bytes: &Bytes, at: usize, count: usize, out: &mut Values) -> Result<(), Fault> {
    fn join<const N: usize, T>(
        bytes: &Bytes,
        at: usize,
        count: usize,
        out: &mut Vec<T>,
        of: fn([u8; N]) -> T,
    ) -> Result<(), Fault> {
        let all = bytes.len() / N;
        if at + count > all {
            return Err(CUT);
        }
        out.extend((at..at + count).map(|value| of(std::array::from_fn(|byte| bytes[byte * all + value]))));
        Ok(())
    }
    match (physical, out) {
        (_, Values::Int32(out)) => join(bytes, at, count, out, i32::from_le_bytes),
        (_, Values::Int64(out)) => join(bytes, at, count, out, i64::from_le_bytes),
        (_, Values::Float(out)) => join(bytes, at, count, out, f32::from_le_bytes),
        (_, Values::Double(out)) => join(bytes, at, count, out, f64::from_le_bytes),
        (Physical::Fixed(len), Values::Bytes(out)) => {
            let all = bytes.len() / len;
            if at + count > all {
                return Err(CUT);
            }
            let joined: Vec<u8> =
                (at..at + count).flat_map(|value| (0..len).map(move |byte| bytes[byte * all + value])).collect();
            let source = out.source(&joined.into());
            (0..count).for_each(|value| out.push(source, value * len, (value + 1) * len));
            Ok(())
        }
        _ => Err(unsuited()),
    }
}
