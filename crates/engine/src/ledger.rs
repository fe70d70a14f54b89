//! What every settled task of a run came to, as far as later tasks need it.

use std::collections::HashMap;

use runstone_core::cell::Cell;
use runstone_core::hash::ContentHash;
use runstone_core::name::Name;
use runstone_core::record::{ContentKind, MaterializationRecord, Metric};
use runstone_core::store::{NewMaterialization, PinSource};

/// Results by node of the graph.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    nodes: Vec<Vec<Entry>>,
    /// By task: its node and its place among the results of the node.
    tasks: HashMap<usize, (usize, usize)>,
}

/// The result of one task.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The machine's task; none where the task is not part of the run and its last publication stands for it.
    pub(crate) task: Option<usize>,
    /// Its cell.
    pub(crate) cell: Cell,
    /// What it published.
    pub(crate) outputs: Vec<Published>,
    /// What it reported.
    pub(crate) metrics: Vec<Metric>,
}

/// One publication.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) output: String,
    /// Where the record has it, or will have it once the batch under way is committed.
    pub(crate) source: PinSource,
    pub(crate) hash: ContentHash,
    pub(crate) kind: ContentKind,
    pub(crate) size: u64,
    pub(crate) file_name: String,
    /// Inputs or code changed while it was made: whatever is made of it cannot be relied on either.
    pub(crate) tainted: bool,
}

impl Published {
    pub(crate) fn on_record(record: &MaterializationRecord) -> Self {
        Self {
            output: record.output.clone(),
            source: PinSource::Materialization(record.id),
            hash: record.hash,
            kind: record.kind,
            size: record.size,
            file_name: record.file_name.clone(),
            tainted: record.tainted,
        }
    }

    /// A publication that the task with this row is about to make.
    pub(crate) fn pending(new: &NewMaterialization, row: u32, tainted: bool) -> Self {
        Self {
            output: new.output.clone(),
            source: PinSource::Task { task: row, output: new.output.clone() },
            hash: new.hash,
            kind: new.kind,
            size: new.size,
            file_name: new.file_name.clone(),
            tainted,
        }
    }
}

impl Entry {
    pub(crate) fn output(&self, name: &Name) -> Option<&Published> {
        self.outputs.iter().find(|published| published.output == name.as_str())
    }
}

impl Ledger {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes: vec![Vec::new(); nodes], tasks: HashMap::new() }
    }

    pub(crate) fn enter(&mut self, node: usize, entry: Entry) {
        if let Some(task) = entry.task {
            self.tasks.insert(task, (node, self.nodes[node].len()));
        }
        self.nodes[node].push(entry);
    }

    /// The results of a node, in the order they came in.
    pub(crate) fn of(&self, node: usize) -> &[Entry] {
        &self.nodes[node]
    }

    /// The result of one task, to be changed.
    pub(crate) fn of_task_mut(&mut self, task: usize) -> Option<&mut Entry> {
        let (node, at) = *self.tasks.get(&task)?;
        self.nodes[node].get_mut(at)
    }

    /// The result of one task.
    pub(crate) fn of_task(&self, task: usize) -> Option<&Entry> {
        let (node, at) = *self.tasks.get(&task)?;
        self.nodes[node].get(at)
    }
}
