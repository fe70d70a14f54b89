//! A zip file as its entries by name: their order, times, modes and compression do not count.

use std::fmt;
use std::fs::File;

use runstone_core::spec::model::Normalizer;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{Budget, Labelled, NormalHash, NormalizeError, hash};

const FORMAT: &str = "a zip file";

/// The hash over names and normal forms of all entries.
pub(super) fn hash_entries(file: File, words: &[Normalizer], budget: &Budget) -> Result<NormalHash, NormalizeError> {
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(meaning)?;
    if archive.has_duplicate_names() {
        return Err(wrong(&"a name stands for two entries"));
    }
    if archive.offset() != 0 {
        return Err(wrong(&"something stands before its first entry"));
    }
    let mut names: Vec<(Vec<u8>, usize)> =
        archive.file_names_raw().enumerate().map(|(index, name)| (name.to_vec(), index)).collect();
    names.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for (name, index) in names {
        let entry = archive.by_index(index).map_err(meaning)?;
        let content = budget.bound(Labelled { input: entry, format: FORMAT });
        let NormalHash(content) = hash(Box::new(content), words, budget)?;
        hasher.update(&(name.len() as u64).to_le_bytes()).update(&name).update(&content);
    }
    Ok(NormalHash(*hasher.finalize().as_bytes()))
}

fn wrong(reason: &dyn fmt::Display) -> NormalizeError {
    NormalizeError::Format { format: FORMAT, reason: reason.to_string() }
}

fn meaning(error: ZipError) -> NormalizeError {
    match error {
        ZipError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => NormalizeError::Read(error),
        other => wrong(&other),
    }
}
