//! Laying one definition over another, before anything is decoded: maps are merged key by key, everything else is
//! replaced, `null` removes. Nodes keep their places, so that a mistake in an overlay is shown in the overlay.

use std::collections::HashMap;

use super::diagnostic::{Code, Diagnostic, Diagnostics, shown};
use super::yaml::{Form, NodeId, Tree};

/// The merged tree of `base` and `over`. Recursion is bounded by the depth limit of `over`.
pub(crate) fn merge(tree: &mut Tree<'_>, base: NodeId, over: NodeId, diagnostics: &mut Diagnostics) -> NodeId {
    merge_into(tree, Some(base), over, diagnostics)
}

/// An entry of the merged map.
struct Entry {
    key: NodeId,
    base: Option<NodeId>,
    over: Option<NodeId>,
}

fn merge_into(tree: &mut Tree<'_>, base: Option<NodeId>, over: NodeId, diagnostics: &mut Diagnostics) -> NodeId {
    if tree.node(over).form() != Form::Map {
        return over;
    }
    let base = base.filter(|&base| tree.node(base).form() == Form::Map);
    let entries = pair_up(tree, base, over, diagnostics);
    let mut pairs = Vec::with_capacity(2 * entries.len());
    for entry in entries {
        let value = match (entry.base, entry.over) {
            (_, Some(over)) if tree.node(over).form() == Form::Null => continue,
            (base, Some(over)) => merge_into(tree, base, over, diagnostics),
            (Some(base), None) => base,
            (None, None) => continue,
        };
        pairs.extend([entry.key, value]);
    }
    let span = tree.node(base.unwrap_or(over)).span();
    tree.map(span, pairs)
}

/// Keys of the base in their order, then new ones. The key of the overlay stands where there is one, for its place.
fn pair_up(tree: &Tree<'_>, base: Option<NodeId>, over: NodeId, diagnostics: &mut Diagnostics) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut index = HashMap::new();
    for (key, value) in base.into_iter().flat_map(|base| tree.node(base).entries()) {
        index.insert(key.key(), entries.len());
        entries.push(Entry { key: key.id, base: Some(value.id), over: None });
    }
    for (key, value) in tree.node(over).entries() {
        match index.get(key.key()) {
            Some(&at) => {
                // Places of messages about the whole entry: the base, unless the overlay replaces it.
                if value.form() != Form::Map {
                    entries[at].key = key.id;
                }
                entries[at].over = Some(value.id);
            }
            None => {
                if value.form() == Form::Null {
                    let message = format!("there is no {} here that could be removed", shown(key.key()));
                    diagnostics.push(Diagnostic::error(Code::UnknownKey, key.span(), message).warning());
                }
                entries.push(Entry { key: key.id, base: None, over: Some(value.id) });
            }
        }
    }
    entries
}
