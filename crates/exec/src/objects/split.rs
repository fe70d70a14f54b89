//! Cuts a large directory into nodes where the names say so, so that one change among a million entries
//! rewrites a few nodes and not the whole directory.
//!
//! Pure, and a function of the sorted entries alone: neither the order in which they came nor the history of
//! the directory shows in the result.

use runstone_core::hash::ContentHash;

use super::tree::{Child, Node, NodeError, TreeEntry, node_hash};

/// A directory (or a level of index nodes) with at most this many items is one node.
pub const SPLIT_ABOVE: usize = 4096;
/// A node of a split level has at least this many items, except for the last one.
const MIN_ITEMS: usize = 256;
/// A node of a split level has at most this many items, whatever the names are.
const MAX_ITEMS: usize = 4096;
/// Beyond the minimum, one name in this many ends a node.
const ONE_IN: u32 = 1024;
/// Domain of the hash that decides where to cut.
const SPLIT_CONTEXT: &str = "runstone 2026 tree split v1";

/// A directory as the root of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRoot {
    /// Hash of the root node.
    pub hash: ContentHash,
    /// Bytes of content below.
    pub size: u64,
}

/// Takes each node with its hash, encoded; children come before their parents.
pub type PutNode<'a, E> = dyn FnMut(ContentHash, &[u8]) -> Result<(), E> + 'a;

/// Builds the nodes of one directory and hands each, encoded, to `put`; the root comes last.
/// The names must have been [checked](super::tree::check_name); their order does not matter.
///
/// # Errors
/// Whatever `put` returns, and [`NodeError`] for names that occur twice or sizes that overflow.
pub fn build_directory<E: From<NodeError>>(
    mut entries: Vec<TreeEntry>,
    put: &mut PutNode<'_, E>,
) -> Result<TreeRoot, E> {
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if !entries.is_sorted_by(|a, b| a.name < b.name) {
        return Err(NodeError::Order.into());
    }
    let mut emit = |node: &Node| -> Result<(ContentHash, Option<Child>), E> {
        let encoded = node.encode();
        let hash = node_hash(&encoded);
        put(hash, &encoded)?;
        Ok((hash, node.as_child(hash)?))
    };
    if entries.len() <= SPLIT_ABOVE {
        let node = Node::Leaf(entries);
        let size = node.size()?;
        return Ok(TreeRoot { hash: emit(&node)?.0, size });
    }
    let mut children = Vec::new();
    for leaf in cut(entries, 0, |entry| &entry.name) {
        children.extend(emit(&Node::Leaf(leaf))?.1);
    }
    for level in 1..=u8::MAX {
        if children.len() <= SPLIT_ABOVE {
            let node = Node::Index { level, children };
            let size = node.size()?;
            return Ok(TreeRoot { hash: emit(&node)?.0, size });
        }
        let mut above = Vec::new();
        for part in cut(children, level, |child| &child.last) {
            above.extend(emit(&Node::Index { level, children: part })?.1);
        }
        children = above;
    }
    unreachable!("every level has at most a 256th of the items of the one below")
}

/// Cuts behind each name whose hash says so, within the bounds of the node size. The level takes part in the
/// hash: every name that reaches an index node has ended a node below, and must not end each one there as well.
fn cut<T>(items: Vec<T>, level: u8, name: impl Fn(&T) -> &Vec<u8>) -> Vec<Vec<T>> {
    let key = blake3::hazmat::hash_derive_key_context(SPLIT_CONTEXT);
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for item in items {
        part.push(item);
        if part.len() < MIN_ITEMS {
            continue;
        }
        let last = name(part.last().expect("an item was pushed above"));
        if part.len() == MAX_ITEMS || ends_node(&key, level, last) {
            parts.push(std::mem::take(&mut part));
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn ends_node(key: &blake3::hazmat::ContextKey, level: u8, name: &[u8]) -> bool {
    use blake3::hazmat::HasherExt;
    let hash = blake3::Hasher::new_from_context_key(key).update(&[level]).update(name).finalize();
    let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    u32::from_le_bytes(*first).is_multiple_of(ONE_IN)
}
