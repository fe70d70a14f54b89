//! The Merkle tree of a transparency log, with SHA-256.
//!
//! Source: RFC 9162 § 2.1, whose hashes and proofs are those of RFC 6962 § 2.1. A tree of n leaves is a complete
//! subtree of the largest power of two below n leaves, and the tree of the rest beside it. So complete subtrees never
//! change while the log grows, and only their hashes are stored.
//!
//! # What is stored
//! One record for each leaf. The record of leaf n holds the hash of the leaf and then the hash of every complete
//! subtree that ends with it, from the lowest level up: `1 + trailing_ones(n)` hashes of 32 bytes. The node at level L
//! (leaves have level 0) with index k among the nodes of its level is thus found in the record of leaf
//! `(k + 1) * 2^L - 1` at byte `32 * L`. The order of the hashes is that of "stored hashes" in Go's
//! `golang.org/x/mod/sumdb/tlog`, whose concatenation equals the concatenation of our records.
//!
//! Each question first names all records it needs (`needed_for_…`), and then asks for them at once through a function
//! of the caller, which returns them in the order of the leaves. A question needs O(log n) records.
//!
//! Stored hashes are not trusted to be right: wrong ones give a root or a proof that does not fit a signed checkpoint.

mod appender;
mod layout;
mod proof;
mod tile;
mod verify;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

pub use appender::{Appender, needed_for_append, root_at};
pub use layout::{HASH_LEN, MAX_SIZE, ReadError, SizeError, record_len};
pub use proof::{consistency_proof, inclusion_proof, needed_for_consistency, needed_for_inclusion};
pub use tile::{TILE_WIDTH, Tile, TileError};
pub use verify::{VerifyError, verify_consistency, verify_inclusion};

use crate::hash::hash_type;

hash_type! {
    /// The hash of an entry of the log. Written as 64 hexadecimal digits.
    LeafHash, ""
}

hash_type! {
    /// The hash of a subtree, and so also the root of a tree; a leaf is the smallest subtree. Written as 64
    /// hexadecimal digits, and as base64 in checkpoints.
    NodeHash, ""
}

impl NodeHash {
    /// The hash in standard base64 with padding (RFC 4648 § 4): 44 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.as_bytes())
    }

    /// Reads what [`to_base64`](Self::to_base64) writes; `None` for every other text.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        BASE64_STANDARD.decode(text).ok()?.try_into().ok().map(Self::from_bytes)
    }
}

impl From<LeafHash> for NodeHash {
    fn from(leaf: LeafHash) -> Self {
        Self::from_bytes(*leaf.as_bytes())
    }
}

/// The hash of an entry: SHA-256 of a zero byte and the entry (RFC 9162 § 2.1.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> LeafHash {
    LeafHash::from_bytes(Sha256::new_with_prefix([0]).chain_update(entry).finalize().into())
}

/// The hash of two subtrees side by side: SHA-256 of a byte of value one and both hashes (RFC 9162 § 2.1.1). The
/// different first byte keeps a node from being presented as an entry.
#[must_use]
pub fn node_hash(left: NodeHash, right: NodeHash) -> NodeHash {
    let mut bytes = [1; 1 + 2 * HASH_LEN];
    bytes[1..=HASH_LEN].copy_from_slice(left.as_bytes());
    bytes[1 + HASH_LEN..].copy_from_slice(right.as_bytes());
    NodeHash::from_bytes(Sha256::digest(bytes).into())
}

/// The root of a tree without leaves: SHA-256 of no bytes (RFC 9162 § 2.1.1).
#[must_use]
pub fn empty_root() -> NodeHash {
    NodeHash::from_bytes(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests;
