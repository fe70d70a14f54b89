//! Where the hash of a node is stored, and how the hash of any span of leaves is put together from stored ones.

use super::{NodeHash, node_hash};

/// The bytes of a hash.
pub const HASH_LEN: usize = 32;

/// The most leaves a log can have: 2^63 - 1, the largest number of a database.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// A question about leaves or trees that cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The tree is larger than [`MAX_SIZE`].
    #[error("a tree of {size} leaves is larger than a log can be: it has at most {MAX_SIZE}")]
    TooLarge {
        /// The number of leaves asked about.
        size: u64,
    },
    /// The leaf is not in the tree.
    #[error("there is no leaf {index} in a tree of {size} leaves: the first one is leaf 0")]
    NoSuchLeaf {
        /// The index of the leaf.
        index: u64,
        /// The number of leaves.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("a tree of {old} leaves cannot have become one of {new}: logs only grow")]
    Shrinks {
        /// The leaves of the old tree.
        old: u64,
        /// The leaves of the new tree.
        new: u64,
    },
}

/// Why stored hashes give no answer. `E` is the error of who reads them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The question makes no sense; nothing was read.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The records cannot be read.
    #[error("cannot read the stored hashes of the log")]
    Read(#[source] E),
    /// Not as many records as were asked for.
    #[error("the log has {found} of the {wanted} records of hashes that were asked for: its store is damaged")]
    Count {
        /// The records asked for.
        wanted: usize,
        /// The records that came.
        found: usize,
    },
    /// A record of the wrong length.
    #[error("the hashes stored with leaf {leaf} are {found} bytes instead of {wanted}: the log's store is damaged")]
    Record {
        /// The leaf whose record it is.
        leaf: u64,
        /// The length it must have.
        wanted: usize,
        /// The length it has.
        found: usize,
    },
}

/// The bytes of the record of a leaf: a hash for the leaf and one for each complete subtree that ends with it.
#[must_use]
pub const fn record_len(leaf: u64) -> usize {
    HASH_LEN * (1 + leaf.trailing_ones() as usize)
}

pub(super) fn check_size(size: u64) -> Result<(), SizeError> {
    if size <= MAX_SIZE { Ok(()) } else { Err(SizeError::TooLarge { size }) }
}

/// A complete subtree: leaves `index * 2^level` to `(index + 1) * 2^level`, of which the last is at most
/// [`MAX_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) level: u32,
    pub(super) index: u64,
}

impl Node {
    /// The leaf whose record holds the hash of this node.
    pub(super) fn leaf(self) -> u64 {
        ((self.index + 1) << self.level) - 1
    }
}

/// The leaves `from..to`, at least one, where `from` is a multiple of the smallest power of two that is not less than
/// their number: the spans that proofs are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    /// The leaves of the larger, complete side; there must be at least two leaves (k in RFC 9162 § 2.1.1).
    pub(super) fn left_len(self) -> u64 {
        1 << (self.to - self.from - 1).ilog2()
    }

    /// The complete subtrees it consists of, from the first and largest to the last and smallest.
    pub(super) fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let level = (self.to - from).ilog2();
            nodes.push(Node { level, index: from >> level });
            from += 1 << level;
        }
        nodes
    }
}

/// The hash of a tree, of its complete subtrees from the largest to the smallest; `None` without any.
pub(super) fn fold(subtrees: impl DoubleEndedIterator<Item = NodeHash>) -> Option<NodeHash> {
    subtrees.rev().reduce(|right, left| node_hash(left, right))
}

/// The leaves whose records hold these nodes, in order and without repetition.
pub(super) fn leaves(nodes: impl IntoIterator<Item = Node>) -> Vec<u64> {
    let mut leaves: Vec<u64> = nodes.into_iter().map(Node::leaf).collect();
    leaves.sort_unstable();
    leaves.dedup();
    leaves
}

/// Records that were read.
pub(super) struct Records {
    /// Sorted.
    leaves: Vec<u64>,
    /// Invariant: as many as leaves, in the same order and each as long as its leaf demands.
    bytes: Vec<Vec<u8>>,
}

impl Records {
    /// Reads the records of these nodes, all at once.
    pub(super) fn read<E>(
        nodes: impl IntoIterator<Item = Node>,
        read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>,
    ) -> Result<Self, ReadError<E>> {
        let leaves = leaves(nodes);
        let bytes = if leaves.is_empty() { Vec::new() } else { read(&leaves).map_err(ReadError::Read)? };
        if bytes.len() != leaves.len() {
            return Err(ReadError::Count { wanted: leaves.len(), found: bytes.len() });
        }
        for (&leaf, record) in leaves.iter().zip(&bytes) {
            let (wanted, found) = (record_len(leaf), record.len());
            if wanted != found {
                return Err(ReadError::Record { leaf, wanted, found });
            }
        }
        Ok(Self { leaves, bytes })
    }

    /// The hash of one of the nodes they were read for.
    pub(super) fn node(&self, node: Node) -> NodeHash {
        let at = self.leaves.binary_search(&node.leaf()).expect("the record of the node was read");
        let hashes = self.bytes[at].as_chunks::<HASH_LEN>().0;
        NodeHash::from_bytes(hashes[node.level as usize])
    }

    /// The hash of a span whose nodes they were read for.
    pub(super) fn span(&self, span: Span) -> NodeHash {
        fold(span.nodes().into_iter().map(|node| self.node(node))).expect("a span has leaves")
    }
}
