//! Growing a tree: each new leaf gives a record to store, and the root is known at any time.

use super::layout::{Records, Span, check_size, fold, leaves};
use super::{LeafHash, NodeHash, ReadError, SizeError, empty_root, node_hash, record_len};

/// A tree that leaves can be appended to. It keeps one hash for each complete subtree that the tree consists of, at
/// most 63.
///
/// It is a value: a copy that is thrown away changes nothing, so it can be tried what a tree would become.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appender {
    size: u64,
    /// Invariant: a hash for each bit that is set in `size`, the largest subtree first.
    frontier: Vec<NodeHash>,
}

impl Appender {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, frontier: Vec::new() }
    }

    /// Goes on with a stored tree of `size` leaves. `read` is called at most once, with the leaves that
    /// [`needed_for_append`] names. Whoever has a signed root compares it with [`root`](Self::root).
    ///
    /// # Errors
    /// [`ReadError`] where `read` fails, its records do not have the right form, or no log is that large.
    pub fn read<E>(size: u64, read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>) -> Result<Self, ReadError<E>> {
        check_size(size)?;
        let nodes = Span { from: 0, to: size }.nodes();
        let records = Records::read(nodes.iter().copied(), read)?;
        Ok(Self { size, frontier: nodes.into_iter().map(|node| records.node(node)).collect() })
    }

    /// The number of leaves, which is also the index of the next one.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree as it is now.
    #[must_use]
    pub fn root(&self) -> NodeHash {
        fold(self.frontier.iter().copied()).unwrap_or_else(empty_root)
    }

    /// Appends a leaf and returns its record, which is to be stored under the index that [`size`](Self::size) had
    /// before.
    pub fn append(&mut self, leaf: LeafHash) -> Vec<u8> {
        let mut record = Vec::with_capacity(record_len(self.size));
        let mut hash = NodeHash::from(leaf);
        record.extend_from_slice(hash.as_bytes());
        for _ in 0..self.size.trailing_ones() {
            let left = self.frontier.pop().expect("the frontier has a hash for each bit of the size");
            hash = node_hash(left, hash);
            record.extend_from_slice(hash.as_bytes());
        }
        self.frontier.push(hash);
        self.size += 1;
        record
    }
}

/// The leaves whose records [`Appender::read`] and [`root_at`] need, in order.
///
/// # Errors
/// [`SizeError`] where no log is that large.
pub fn needed_for_append(size: u64) -> Result<Vec<u64>, SizeError> {
    check_size(size)?;
    Ok(leaves(Span { from: 0, to: size }.nodes()))
}

/// The root of the tree of the first `size` leaves. `read` is as for [`Appender::read`].
///
/// # Errors
/// [`ReadError`] where `read` fails, its records do not have the right form, or no log is that large.
pub fn root_at<E>(size: u64, read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>) -> Result<NodeHash, ReadError<E>> {
    Appender::read(size, read).map(|tree| tree.root())
}
