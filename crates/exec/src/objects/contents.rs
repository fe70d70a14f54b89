//! Reads directory trees back out of the store, node by verified node.

use runstone_core::hash::ContentHash;

use super::collect::ObjectKind;
use super::error::ObjectError;
use super::store::ObjectStore;
use super::tree::{Child, Node, NodeError, TreeEntry, TreeItem};
use super::walk::MAX_DEPTH;

/// One object that a tree needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The object.
    pub hash: ContentHash,
    /// [`ObjectKind::Tree`] for every node, roots or not.
    pub kind: ObjectKind,
    /// Bytes of a file; none for nodes.
    pub size: Option<u64>,
}

impl ObjectStore {
    /// The entries of one directory, sorted by name.
    ///
    /// # Errors
    /// [`ObjectError::NotStored`], [`ObjectError::Altered`], [`ObjectError::BadNode`], and failed system calls.
    pub fn entries(&self, tree: ContentHash) -> Result<Vec<TreeEntry>, ObjectError> {
        let mut all = Vec::new();
        self.for_each_leaf(tree, &mut |_| Ok(true), &mut |leaf| {
            all.extend(leaf);
            Ok(())
        })?;
        Ok(all)
    }

    /// Visits all objects that a piece of content needs, itself first; an object may be visited more than once. Where
    /// `visit` answers false, what is below is left out: a collector of garbage says so for what it has seen.
    ///
    /// # Errors
    /// As [`entries`](Self::entries), and whatever `visit` returns.
    pub fn reach(
        &self,
        hash: ContentHash,
        kind: ObjectKind,
        visit: &mut dyn FnMut(Reached) -> Result<bool, ObjectError>,
    ) -> Result<(), ObjectError> {
        if kind == ObjectKind::File {
            return visit(Reached { hash, kind, size: None }).map(|_| ());
        }
        let mut trees = vec![hash];
        while let Some(tree) = trees.pop() {
            // Two visitors borrow `visit` in turns.
            let visit = std::cell::RefCell::new(&mut *visit);
            let mut node = |hash| (visit.borrow_mut())(Reached { hash, kind: ObjectKind::Tree, size: None });
            self.for_each_leaf(tree, &mut node, &mut |leaf| {
                for entry in leaf {
                    match entry.item {
                        TreeItem::File { hash, size, .. } => {
                            (visit.borrow_mut())(Reached { hash, kind: ObjectKind::File, size: Some(size) })?;
                        }
                        TreeItem::Dir { hash, .. } => trees.push(hash),
                        TreeItem::Symlink { .. } => {}
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads the nodes of one directory from left to right. `node` is asked before each is read.
    pub(super) fn for_each_leaf(
        &self,
        tree: ContentHash,
        node: &mut dyn FnMut(ContentHash) -> Result<bool, ObjectError>,
        leaf: &mut dyn FnMut(Vec<TreeEntry>) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        let mut todo: Vec<(ContentHash, Option<(u8, Child)>)> = vec![(tree, None)];
        let mut last = Vec::new();
        while let Some((hash, promised)) = todo.pop() {
            if !node(hash)? {
                continue;
            }
            let found = self.read_node(hash)?;
            let bad = |source| ObjectError::BadNode { hash, source };
            if let Some((level, child)) = promised {
                let is = (found.level(), found.as_child(hash).map_err(bad)?);
                if is != (level, Some(child)) {
                    return Err(bad(NodeError::Index));
                }
            }
            match found {
                Node::Leaf(entries) => {
                    // Within a leaf the order was checked when it was decoded.
                    if entries.first().is_some_and(|first| first.name <= last) {
                        return Err(bad(NodeError::Order));
                    }
                    last = entries.last().map_or(last, |entry| entry.name.clone());
                    leaf(entries)?;
                }
                Node::Index { level, children } => {
                    todo.extend(children.into_iter().rev().map(|child| (child.hash, Some((level - 1, child)))));
                }
            }
        }
        Ok(())
    }
}

/// Refuses to descend further than any tree that was ever collected.
pub(super) fn check_depth(depth: usize, path: &std::path::Path) -> Result<(), ObjectError> {
    if depth > MAX_DEPTH {
        return Err(ObjectError::TooDeep { path: path.to_owned(), limit: MAX_DEPTH });
    }
    Ok(())
}
