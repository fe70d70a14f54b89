//! Summaries of a column of any length in a few kilobytes, which can be merged.
//!
//! Made here because the crates there are draw their randomness from the operating system (Apache's `datasketches`)
//! or state no error for any distribution (t-digests), while a profile has to be the same for the same bytes.
//! Each is filled while a file is read and has a stable form in base64.

mod distinct;
mod encoding;
mod frequent;
mod quantiles;

pub(crate) use distinct::Distinct;
pub(crate) use encoding::{Bytes, DecodeError};
pub(crate) use frequent::{Frequent, FrequentBuilder};
pub(crate) use quantiles::{Quantiles, QuantilesBuilder};

/// Finds hashes in a table by themselves: they are spread already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AsItIs(u64);

impl std::hash::Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Builds tables of hashes.
pub(crate) type BuildAsItIs = std::hash::BuildHasherDefault<AsItIs>;
