//! What a walk through lineage has met, and where the limit on nodes cuts it. The same for every database; how a step is
//! taken is not.

use std::collections::HashSet;

use runstone_core::lineage::store::Closure;
use runstone_core::record::{Cut, NodeId};

/// Nodes by id, each once.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub(crate) publications: HashSet<i64>,
    pub(crate) attempts: HashSet<i64>,
    pub(crate) cut: Option<Cut>,
}

impl Met {
    /// Those publications that were not met yet, in the order given, as many as the limit on all of them allows.
    pub(crate) fn visit(&mut self, ids: impl IntoIterator<Item = i64>, most: u32) -> Vec<i64> {
        let mut fresh = Vec::new();
        for id in ids {
            if self.publications.contains(&id) {
                continue;
            }
            if self.publications.len() >= most as usize {
                self.cut.get_or_insert(Cut::Nodes);
                break;
            }
            self.publications.insert(id);
            fresh.push(id);
        }
        fresh
    }

    pub(crate) fn closure(self) -> Closure {
        Closure { materializations: nodes(self.publications), attempts: nodes(self.attempts), cut: self.cut }
    }
}

/// In the order of ids.
pub(crate) fn nodes(ids: impl IntoIterator<Item = i64>) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = ids.into_iter().map(NodeId).collect();
    nodes.sort_unstable();
    nodes
}
