//! Checking proofs, step by step as in RFC 9162 § 2.1.3.2 and § 2.1.4.2, and without the code that makes them.

use super::{LeafHash, NodeHash, SizeError, empty_root, node_hash};

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is no such leaf, or the old tree is the larger one.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A proof for these numbers has more hashes, or fewer.
    #[error("the proof has {found} hashes, which is too {} for these sizes: it is for others, or was cut or extended",
        if *.long { "many" } else { "few" })]
    Length {
        /// The number of hashes.
        found: usize,
        /// Whether there are too many.
        long: bool,
    },
    /// The leaf and the proof lead to another root.
    #[error(
        "the proof leads to the root {computed} and not to {stated}: the leaf, its index, the proof or the root \
        is not what the log has"
    )]
    Root {
        /// The root as stated.
        stated: NodeHash,
        /// The root as computed.
        computed: NodeHash,
    },
    /// The proof leads to another root of the old tree.
    #[error("the old tree has the root {computed} by the proof and not {stated}: the log did not grow from it")]
    OldRoot {
        /// The root as stated.
        stated: NodeHash,
        /// The root as computed.
        computed: NodeHash,
    },
    /// The proof leads to another root of the new tree.
    #[error("the new tree has the root {computed} by the proof and not {stated}: the log did not grow to it")]
    NewRoot {
        /// The root as stated.
        stated: NodeHash,
        /// The root as computed.
        computed: NodeHash,
    },
    /// Two trees of one size, which cannot both be of one log.
    #[error(
        "there are two roots for {size} leaves, {old} and {new}: the log was rewritten, or shows different people \
        different things"
    )]
    Split {
        /// The number of leaves.
        size: u64,
        /// One root.
        old: NodeHash,
        /// The other root.
        new: NodeHash,
    },
}

/// Checks that `leaf` is leaf `index` of the tree of `size` leaves that has this root (RFC 9162 § 2.1.3.2).
///
/// Size and root must come from one signed checkpoint: a proof does not show that a root is of a tree of that size.
///
/// # Errors
/// [`VerifyError`] says what does not fit. A wrong root does not tell which of the values is the wrong one.
pub fn verify_inclusion(
    leaf: LeafHash,
    index: u64,
    size: u64,
    proof: &[NodeHash],
    root: NodeHash,
) -> Result<(), VerifyError> {
    if index >= size {
        return Err(SizeError::NoSuchLeaf { index, size }.into());
    }
    let mut way = Way { node: index, last: size - 1, found: proof.len() };
    let mut computed = NodeHash::from(leaf);
    for &hash in proof {
        computed = match way.up()? {
            Side::Left => node_hash(hash, computed),
            Side::Right => node_hash(computed, hash),
        };
    }
    way.arrived()?;
    if computed == root { Ok(()) } else { Err(VerifyError::Root { stated: root, computed }) }
}

/// Checks that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 9162 § 2.1.4.2).
///
/// The RFC defines proofs for `0 < old < new` only. For equal sizes the proof is empty and the roots are equal. A tree
/// without leaves is the beginning of every tree: the proof is empty and the old root is that of the empty tree.
///
/// # Errors
/// [`VerifyError`] says what does not fit.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[NodeHash],
    old_root: NodeHash,
    new_root: NodeHash,
) -> Result<(), VerifyError> {
    let found = proof.len();
    if old > new {
        return Err(SizeError::Shrinks { old, new }.into());
    }
    if old == 0 && old_root != empty_root() {
        return Err(VerifyError::OldRoot { stated: old_root, computed: empty_root() });
    }
    if old == new && old_root != new_root {
        return Err(VerifyError::Split { size: new, old: old_root, new: new_root });
    }
    if old == 0 || old == new {
        return if found == 0 { Ok(()) } else { Err(VerifyError::Length { found, long: true }) };
    }
    let whole = old.is_power_of_two().then_some(old_root);
    let mut hashes = whole.into_iter().chain(proof.iter().copied());
    let first = hashes.next().ok_or(VerifyError::Length { found, long: false })?;
    // Up from the last complete subtree of the old tree, whose hash is the first one.
    let level = (old - 1).trailing_ones();
    let mut way = Way { node: (old - 1) >> level, last: (new - 1) >> level, found };
    let (mut from, mut to) = (first, first);
    for hash in hashes {
        match way.up()? {
            Side::Left => (from, to) = (node_hash(hash, from), node_hash(hash, to)),
            Side::Right => to = node_hash(to, hash),
        }
    }
    way.arrived()?;
    if from != old_root {
        return Err(VerifyError::OldRoot { stated: old_root, computed: from });
    }
    if to == new_root { Ok(()) } else { Err(VerifyError::NewRoot { stated: new_root, computed: to }) }
}

/// The side on which the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root.
struct Way {
    /// The index of the node among those of its level (fn in the RFC).
    node: u64,
    /// The index of the last node of that level (sn in the RFC).
    last: u64,
    /// The hashes of the proof, for what is reported.
    found: usize,
}

impl Way {
    /// One hash further.
    fn up(&mut self) -> Result<Side, VerifyError> {
        if self.last == 0 {
            return Err(VerifyError::Length { found: self.found, long: true });
        }
        let side = if self.node % 2 == 1 || self.node == self.last { Side::Left } else { Side::Right };
        if matches!(side, Side::Left) {
            // A last node without a sibling is moved up as it is until it stands at the right of one.
            while self.node.is_multiple_of(2) && self.node != 0 {
                self.node >>= 1;
                self.last >>= 1;
            }
        }
        self.node >>= 1;
        self.last >>= 1;
        Ok(side)
    }

    /// Whether the root is reached.
    fn arrived(&self) -> Result<(), VerifyError> {
        if self.last == 0 { Ok(()) } else { Err(VerifyError::Length { found: self.found, long: false }) }
    }
}
