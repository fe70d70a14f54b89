//! What a run reads of what it does not make itself: publications of other pipelines, and of steps of its own pipeline
//! that are not part of it. Fixed once, when the run begins, and kept with it, so that a resumed run reads the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use runstone_core::cell::Cell;
use runstone_core::record::{MaterializationRecord, Metric, NodeId};
use runstone_core::select::Chosen;
use runstone_core::spec::model::{InputRef, Step};
use runstone_core::store::{Store, StoreError, VersionRef};
use serde::{Deserialize, Serialize};

use crate::driver;
use crate::ledger::{Entry, Ledger, Published};
use crate::prepare::Prepared;
use crate::site::Site;

/// Publications of other pipelines: (name, version) as written → what was found.
pub(crate) type External = HashMap<(String, String), Vec<MaterializationRecord>>;

/// The last publications of a step that is not part of the run, or not all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    step: String,
    found: Vec<MaterializationRecord>,
}

impl Standing {
    /// Its publications.
    pub(crate) fn found(&self) -> &[MaterializationRecord] {
        &self.found
    }
}

/// Holds publications against a clean-up, as far as they are there; gives those that are not. Whether they are needed shows
/// when they are read.
pub(crate) fn hold<'r>(
    site: &Site,
    records: impl IntoIterator<Item = &'r MaterializationRecord>,
) -> Vec<&'r MaterializationRecord> {
    records.into_iter().filter(|record| !driver::is_held(site, record)).collect()
}

/// What the steps of this run read of other pipelines.
pub(crate) fn external(prepared: &Prepared, store: &mut dyn Store) -> Result<External, StoreError> {
    let mut external = HashMap::new();
    for (index, step) in prepared.pipeline.steps.values().enumerate() {
        if !prepared.selection.nodes[index].runs() {
            continue;
        }
        for input in step.inputs.values() {
            let InputRef::Dataset { name, version } = &input.from else { continue };
            if let MapEntry::Vacant(free) = external.entry((name.clone(), version.clone())) {
                free.insert(match version.parse::<VersionRef>() {
                    Ok(wanted) => {
                        let mut found = store.resolve(name, &wanted)?;
                        found.retain(|record| prepared.concerns(&record.subset));
                        found
                    }
                    Err(_) => Vec::new(),
                });
            }
        }
    }
    Ok(external)
}

/// An input that must be there, that this run does not make, and that nobody has published, explained.
pub(crate) fn absent(prepared: &Prepared, external: &External, ledger: &Ledger) -> Option<String> {
    let steps = &prepared.pipeline.steps;
    let runs = steps.values().enumerate().filter(|(node, _)| prepared.selection.nodes[*node].runs());
    runs.flat_map(|(_, step)| step.inputs.iter().map(move |input| (step, input))).find_map(|(step, (slot, input))| {
        let name = match &input.from {
            _ if input.optional => return None,
            InputRef::Dataset { name, version } => {
                let found = external.get(&(name.clone(), version.clone()))?;
                found.is_empty().then(|| format!("{name}@{version}"))?
            }
            InputRef::Step { step: source, output } => {
                let (of, is_expanded) =
                    (&steps[*source], steps[*source].matrix.is_some() || steps[*source].foreach.is_some());
                let found = ledger.of(*source).iter().any(|entry| entry.output(output).is_some());
                let pinned = prepared.selection.nodes[*source] == Chosen::Pinned;
                (pinned && !is_expanded && !found).then(|| prepared.pipeline.dataset(of, output))?
            }
            InputRef::Path(_) | InputRef::Item => return None,
        };
        Some(format!("input `{slot}` of step `{}`: nothing is on record as {name}", step.name))
    })
}

/// The last publications of what is not part of the run but read by it.
pub(crate) fn standing(prepared: &Prepared, store: &mut dyn Store) -> Result<Vec<Standing>, StoreError> {
    let mut all = Vec::new();
    for (node, step) in prepared.pipeline.steps.values().enumerate() {
        let partly = prepared.selection.cells[node].is_some();
        if prepared.selection.nodes[node] != Chosen::Pinned && !partly {
            continue;
        }
        let mut found = Vec::new();
        for output in step.outputs.keys() {
            let dataset = prepared.pipeline.dataset(step, output);
            found.extend(store.resolve(&dataset, &VersionRef::Latest)?.into_iter().filter(|record| {
                let cell = prepared.within(&record.subset);
                let is_run = prepared.selection.nodes[node].runs() && prepared.selection.chooses_cell(node, &cell);
                prepared.concerns(&record.subset) && !is_run && is_cell_of(prepared, node, step, &cell)
            }));
        }
        all.push(Standing { step: step.name.to_string(), found });
    }
    Ok(all)
}

/// Whether the step still has this cell: heads of cells that were taken out of the pipeline stay on record.
fn is_cell_of(prepared: &Prepared, node: usize, step: &Step, cell: &Cell) -> bool {
    match &step.foreach {
        // Its items are not known without its source. Its axes are.
        Some(foreach) => cell.get(foreach.item.as_str()).is_some(),
        None => prepared.graph.tasks[prepared.graph.nodes[node].tasks.clone()].iter().any(|task| task.cell == *cell),
    }
}

/// A ledger that holds these publications.
pub(crate) fn ledger(prepared: &Prepared, standing: &[Standing], store: &mut dyn Store) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::new(prepared.graph.nodes.len());
    let attempts: Vec<NodeId> =
        standing.iter().flat_map(|standing| standing.found.iter().map(|record| record.attempt)).collect();
    let mut metrics: HashMap<NodeId, Vec<Metric>> = HashMap::new();
    for (attempt, metric) in store.metrics(&attempts)? {
        metrics.entry(attempt).or_default().push(metric);
    }
    for Standing { step, found } in standing {
        let Some(node) = prepared.pipeline.steps.get_index_of(step.as_str()) else { continue };
        let mut by_subset: indexmap::IndexMap<&str, Vec<&MaterializationRecord>> = indexmap::IndexMap::new();
        for record in found {
            by_subset.entry(&record.subset).or_default().push(record);
        }
        for (subset, records) in by_subset {
            // Outputs of several attempts may stand side by side; the newest says what was reported.
            let newest = records.iter().map(|record| record.attempt).max();
            let metrics = newest.and_then(|attempt| metrics.get(&attempt)).cloned().unwrap_or_default();
            let outputs = records.into_iter().map(Published::on_record).collect();
            ledger.enter(node, Entry { task: None, cell: prepared.within(subset), outputs, metrics });
        }
    }
    Ok(ledger)
}
