//! What is asked of an attempt, worked out from the pins on record instead of the results of a run.
//!
//! What was read is entered where a run would have it, so that one piece of code decides what a step sees.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use runstone_core::cell::Cell;
use runstone_core::record::{MaterializationRecord, Metric, NodeId};
use runstone_core::spec::model::{Input, InputRef, Step};
use runstone_core::store::{Store, StoreError};

use super::closure::Link;
use crate::derive::{Derived, Items, View};
use crate::facts::{StepFacts, StepPython};
use crate::items;
use crate::ledger::{Entry, Ledger, Published};
use crate::pins::External;
use crate::prepare::Prepared;
use crate::site::Site;

/// Works it out for the step at `node`. A sentence where that cannot be done.
pub(super) fn derive(
    site: &Site,
    store: &mut dyn Store,
    prepared: &Prepared,
    node: usize,
    link: &Link,
    python: Option<StepPython>,
) -> Result<Result<Derived, String>, StoreError> {
    let step = &prepared.pipeline.steps[node];
    let mut ids: Vec<NodeId> = link.reads.iter().map(|(_, read)| read.attempt).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut metrics: HashMap<NodeId, Vec<Metric>> = HashMap::new();
    for (attempt, metric) in store.metrics(&ids)? {
        metrics.entry(attempt).or_default().push(metric);
    }
    let (ledger, external) = pinned(prepared, step, &link.reads, &metrics);
    let mut known: HashMap<usize, Items> = HashMap::new();
    let reads_item = |input: &Input| input.from == InputRef::Item;
    if let Some(foreach) = step.foreach.as_ref().filter(|_| step.inputs.values().any(reads_item)) {
        let view = View { prepared, ledger: &ledger, external: &external, items: &known };
        match items::items(site, &view, foreach) {
            Ok(items) => _ = known.insert(node, items),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    let facts = match StepFacts::gather(site, prepared, step, python) {
        Ok(facts) => Arc::new(facts),
        Err(reason) => return Ok(Err(reason)),
    };
    let tasks = &prepared.graph.tasks[prepared.graph.nodes[node].tasks.clone()];
    let cell = tasks.iter().map(|task| &task.cell).find(|cell| cell.key() == link.attempt.cell);
    let cell = cell.cloned().unwrap_or_else(|| Cell::parse(&link.attempt.cell));
    let view = View { prepared, ledger: &ledger, external: &external, items: &known };
    Ok(view.derive(node, step, &cell, &facts))
}

/// What was read, entered where a run would have it.
fn pinned(
    prepared: &Prepared,
    step: &Step,
    reads: &[(String, MaterializationRecord)],
    metrics: &HashMap<NodeId, Vec<Metric>>,
) -> (Ledger, External) {
    let mut external = External::new();
    // By node and cell: the cell, outputs, and the newest attempt among those that published them.
    let mut entries: IndexMap<(usize, String), (Cell, Vec<Published>, NodeId)> = IndexMap::new();
    let mut enter = |node: usize, output: &str, read: &MaterializationRecord| {
        let cell = prepared.within(&read.subset);
        let entry = entries.entry((node, cell.key())).or_insert_with(|| (cell, Vec::new(), read.attempt));
        if !entry.1.iter().any(|known| known.output == output) {
            entry.1.push(Published { output: output.to_owned(), ..Published::on_record(read) });
        }
        entry.2 = entry.2.max(read.attempt);
    };
    for (slot, read) in reads {
        let Some(input) = step.inputs.get(slot.as_str()) else { continue };
        match (&input.from, &step.foreach) {
            (InputRef::Step { step, output }, _) => enter(*step, output.as_str(), read),
            (InputRef::Item, Some(foreach)) => enter(foreach.step, foreach.output.as_str(), read),
            (InputRef::Item, None) => {}
            (InputRef::Dataset { name, version }, _) => {
                let list = external.entry((name.clone(), version.clone())).or_default();
                if !list.iter().any(|known| known.id == read.id) {
                    list.push(read.clone());
                }
            }
            (InputRef::Path(path), _) => {
                if let Some(&node) = prepared.files.get(path) {
                    enter(node, &read.output, read);
                }
            }
        }
    }
    for list in external.values_mut() {
        list.sort_by(|a, b| a.subset.cmp(&b.subset));
    }
    let mut ledger = Ledger::new(prepared.graph.nodes.len());
    for ((node, _), (cell, outputs, newest)) in entries {
        let metrics = metrics.get(&newest).cloned().unwrap_or_default();
        ledger.enter(node, Entry { task: None, cell, outputs, metrics });
    }
    (ledger, external)
}
