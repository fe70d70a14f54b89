//! Records of fixed length that do not fit in memory, divided by a hash so that each division does.
//!
//! What is small stays in memory; the rest goes to unnamed temporary files, which the system removes in any case.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::DiffOptions;
use crate::TableError;

/// Bytes of a division that wait before they are written.
const WAITING: usize = 64 << 10;
/// The most divisions: each has a file that is open.
const MOST: usize = 256;

/// Takes records in, and gives them back division by division.
pub(super) struct Spill {
    record: usize,
    divisions: Vec<Division>,
    folder: PathBuf,
}

#[derive(Default)]
struct Division {
    file: Option<File>,
    waiting: Vec<u8>,
}

/// How many divisions records of two tables need, so that those of one division are in memory at once.
pub(super) fn divisions(records: u64, record: usize, options: &DiffOptions<'_>) -> usize {
    // They are sorted beside the bytes they were read from.
    let bytes = records.saturating_mul(2 * record as u64);
    usize::try_from(bytes / (options.memory as u64).max(1)).unwrap_or(MOST).clamp(1, MOST)
}

impl Spill {
    pub(super) fn new(record: usize, divisions: usize, options: &DiffOptions<'_>) -> Self {
        let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir);
        let mut all = Vec::new();
        all.resize_with(divisions, Division::default);
        Self { record, divisions: all, folder }
    }

    /// Takes a record; `hash` decides where it goes.
    pub(super) fn push(&mut self, hash: u128, record: &[u8]) -> Result<(), TableError> {
        debug_assert_eq!(record.len(), self.record, "records have one length");
        let upper = (hash >> 64) as u64;
        let at = ((u128::from(upper) * self.divisions.len() as u128) >> 64) as usize;
        let division = &mut self.divisions[at];
        division.waiting.extend_from_slice(record);
        if division.waiting.len() >= WAITING {
            division.write(&self.folder).map_err(failed("write", &self.folder))?;
        }
        Ok(())
    }

    pub(super) fn divisions(&self) -> usize {
        self.divisions.len()
    }

    /// All records of a division, which are gone then.
    pub(super) fn take(&mut self, at: usize) -> Result<Vec<u8>, TableError> {
        std::mem::take(&mut self.divisions[at]).read().map_err(failed("read", &self.folder))
    }
}

impl Division {
    fn write(&mut self, folder: &Path) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(folder)?),
        };
        file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn read(self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(mut file) = self.file {
            let len = file.stream_position()?;
            bytes.reserve(len as usize + self.waiting.len());
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
        }
        bytes.extend_from_slice(&self.waiting);
        Ok(bytes)
    }
}

fn failed<'a>(action: &'static str, folder: &'a Path) -> impl FnOnce(std::io::Error) -> TableError + 'a {
    move |source| TableError::Io { action, part: format!("a temporary file in {}", folder.display()), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_by_division() {
        let mut spill = Spill::new(16, 7, &DiffOptions::default());
        let hash = |number: u64| u128::from(crate::value::hash::mix(number)) << 64 | u128::from(number);
        let count = 100_000;
        for number in 0..count {
            spill.push(hash(number), &hash(number).to_le_bytes()).unwrap();
        }
        let mut seen = Vec::new();
        let mut bounds = Vec::new();
        for at in 0..spill.divisions() {
            let bytes = spill.take(at).unwrap();
            let (records, rest) = bytes.as_chunks::<16>();
            assert!(rest.is_empty());
            let hashes: Vec<u128> = records.iter().map(|record| u128::from_le_bytes(*record)).collect();
            bounds.push((*hashes.iter().min().unwrap(), *hashes.iter().max().unwrap()));
            seen.extend(hashes.iter().map(|hash| *hash as u64));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..count).collect::<Vec<_>>());
        assert!(bounds.windows(2).all(|pair| pair[0].1 < pair[1].0), "divisions do not overlap");
    }

    #[test]
    fn divisions_keep_to_the_memory() {
        let options = DiffOptions { memory: 1 << 20, ..DiffOptions::default() };
        assert_eq!(divisions(0, 32, &options), 1);
        assert_eq!(divisions(1 << 20, 32, &options), 64);
        assert_eq!(divisions(u64::MAX, 32, &options), MOST);
    }
}
