//! The tree against published vectors, against the definition of the RFC, and against whoever changes a bit.

mod damage;
mod definition;
mod tiles;
mod vectors;

use std::convert::Infallible;

use super::*;

/// A stored log.
struct Log {
    leaves: Vec<LeafHash>,
    records: Vec<Vec<u8>>,
}

impl Log {
    fn of(entries: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let leaves: Vec<LeafHash> = entries.into_iter().map(|entry| leaf_hash(entry.as_ref())).collect();
        let mut tree = Appender::new();
        let records = leaves.iter().map(|&leaf| tree.append(leaf)).collect();
        Self { leaves, records }
    }

    /// A log whose entries are the numbers from 0 on.
    fn counting(size: u64) -> Self {
        Self::of((0..size).map(u64::to_be_bytes))
    }

    /// How the log is read when exactly these records may be asked for.
    fn read(&self, needed: Vec<u64>) -> impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, Infallible> {
        move |leaves| {
            assert_eq!(leaves, needed, "what is asked for is what was named");
            assert!(leaves.is_sorted_by(|a, b| a < b), "{leaves:?}");
            Ok(leaves.iter().map(|&leaf| self.records[usize::try_from(leaf).unwrap()].clone()).collect())
        }
    }

    fn root(&self, size: u64) -> NodeHash {
        root_at(size, self.read(needed_for_append(size).unwrap())).unwrap()
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<NodeHash> {
        inclusion_proof(index, size, self.read(needed_for_inclusion(index, size).unwrap())).unwrap()
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<NodeHash> {
        consistency_proof(old, new, self.read(needed_for_consistency(old, new).unwrap())).unwrap()
    }

    fn leaf(&self, index: u64) -> LeafHash {
        self.leaves[usize::try_from(index).unwrap()]
    }
}
