//! What a run would do, and why, without doing it: the same walk and the same derivations, over the record alone.

use std::collections::HashMap;
use std::sync::Arc;

use runstone_core::canonical::{self, Change};
use runstone_core::cell::{Cell, task_name};
use runstone_core::graph::{self, NeedKind, Work};
use runstone_core::record::MaterializationRecord;
use runstone_core::scalar::Scalar;
use runstone_core::select::Chosen;
use runstone_core::spec::model::{Action, Cache, Source, Step};
use runstone_core::store::{Earlier, Store, StoreError};
use runstone_exec::objects::Limits;
use serde::Serialize;

use crate::begin;
use crate::clock;
use crate::derive::{self, Derived, View};
use crate::driver::is_complete;
use crate::facts::{StepFacts, StepPython};
use crate::items;
use crate::ledger::{Entry, Ledger, Published};
use crate::prepare::Prepared;
use crate::reported;
use crate::site::Site;
use crate::source;

/// What would be done about every task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// In the order of the graph.
    pub tasks: Vec<PlannedTask>,
}

/// What would be done about a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedTask {
    /// `step`, `step{cell}`, or a path.
    pub task: String,
    /// What.
    #[serde(flatten)]
    pub decision: Decision,
}

/// What would be done, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// It would execute.
    Run {
        /// Why.
        #[serde(flatten)]
        why: Why,
    },
    /// The result of this run would stand for it.
    Reuse {
        /// The run's number.
        run: i64,
    },
    /// It would not execute.
    Skip {
        /// Why.
        reason: String,
    },
    /// That depends on what these produce; where their content stays as it is, an earlier result stands.
    Wait {
        /// Names of steps.
        inputs: Vec<String>,
    },
    /// It cannot be done as things are.
    Fail {
        /// Why.
        reason: String,
    },
}

/// Why a task would execute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Nothing like it is on record.
    NeverRan,
    /// It was asked to.
    Forced,
    /// Its step never reuses.
    NeverCached,
    /// What stands for it is older than the step allows.
    Expired,
    /// Bytes of an earlier result are gone or damaged.
    OutputLost {
        /// The run whose result it was.
        run: i64,
    },
    /// The same was asked before, and failed.
    FailedBefore {
        /// The run it was in.
        run: i64,
    },
    /// Something is other than in the nearest earlier execution.
    Changed {
        /// The run of that execution.
        run: i64,
        /// What, field by field.
        #[serde(serialize_with = "as_text")]
        changes: Vec<Change>,
    },
    /// A Python environment is still to be resolved.
    NotLocked,
}

fn as_text<S: serde::Serializer>(changes: &[Change], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(changes.iter().map(|change| {
        serde_json::json!({
            "field": change.path.to_string(),
            "old": change.old.as_ref().map(canonical::Value::to_json),
            "new": change.new.as_ref().map(canonical::Value::to_json),
        })
    }))
}

/// Where a node stands in the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Its results are in the ledger.
    Yes,
    /// It would execute, or waits itself.
    No,
    /// It would be skipped.
    Skipped,
}

struct Planner<'a> {
    site: &'a Site,
    prepared: &'a Prepared,
    store: &'a mut dyn Store,
    ledger: Ledger,
    external: HashMap<(String, String), Vec<MaterializationRecord>>,
    items: HashMap<usize, Vec<derive::Item>>,
    known: Vec<Known>,
    has_history: bool,
    tasks: Vec<PlannedTask>,
}

/// Walks the graph over the record.
///
/// # Errors
/// [`StoreError`]; what is wrong with a task is part of the plan.
pub fn plan(site: &Site, prepared: &Prepared, store: &mut dyn Store) -> Result<Plan, StoreError> {
    let external = begin::pin_external(prepared, store)?;
    let filter = runstone_core::store::RunFilter {
        pipeline: Some(prepared.pipeline.name.to_string()),
        limit: Some(1),
        ..Default::default()
    };
    let has_history = !store.runs(&filter)?.is_empty();
    let nodes = prepared.graph.nodes.len();
    let mut planner = Planner {
        site,
        prepared,
        ledger: begin::pinned(prepared, store)?,
        store,
        external,
        items: HashMap::new(),
        known: vec![Known::Yes; nodes],
        has_history,
        tasks: Vec::with_capacity(prepared.graph.tasks.len()),
    };
    for at in 0..nodes {
        let node = prepared.graph.order[at];
        if prepared.selection.nodes[node] == Chosen::Runs {
            planner.known[node] = planner.node(node)?;
        }
    }
    Ok(Plan { tasks: planner.tasks })
}

impl Planner<'_> {
    fn node(&mut self, node: usize) -> Result<Known, StoreError> {
        let prepared = self.prepared;
        let step = prepared.graph.step(&prepared.pipeline, node);
        let cells: Vec<Cell> = prepared.graph.tasks[prepared.graph.nodes[node].tasks.clone()]
            .iter()
            .map(|task| task.cell.clone())
            .filter(|cell| prepared.selection.chooses_cell(node, cell))
            .collect();
        if let Some(known) = self.blocked(node, &cells) {
            return Ok(known);
        }
        let source = match (&prepared.graph.nodes[node].work, step.map(|step| &step.action)) {
            (Work::Observe(path), _) => Some(Source::Path(path.clone())),
            (Work::Step(_), Some(Action::From(source))) => Some(source.clone()),
            _ => None,
        };
        if let Some(source) = source {
            return self.source(node, &source);
        }
        let step = step.expect("what is not read is a step");
        if let Some(condition) = &step.when
            && !condition.names().any(|name| name.starts_with("matrix.") || name.starts_with("steps."))
        {
            let bindings = reported::bindings(&reported::all_params(&prepared.params), &Cell::default(), &[]);
            match condition.eval_condition(&bindings) {
                Ok(true) => {}
                Ok(false) => return Ok(self.all(node, &cells, &Decision::Skip { reason: "its condition `when` is false".to_owned() }, Known::Skipped)),
                Err(error) => return Ok(self.all(node, &cells, &Decision::Fail { reason: error.to_string() }, Known::Skipped)),
            }
        }
        let cells = match &step.foreach {
            None => cells,
            Some(foreach) => match items::items(self.site, &self.view(), foreach) {
                Ok(items) => {
                    let values: Vec<Scalar> = items.iter().map(|item| item.value.clone()).collect();
                    self.items.insert(node, items);
                    graph::item_cells(step, &foreach.item, &values)
                }
                Err(reason) => return Ok(self.all(node, &cells, &Decision::Fail { reason }, Known::Skipped)),
            },
        };
        self.step(node, step, cells)
    }

    /// The node cannot be decided, or is decided, because of what it needs.
    fn blocked(&mut self, node: usize, cells: &[Cell]) -> Option<Known> {
        let graph = &self.prepared.graph;
        let label = |need: usize| graph.label(&self.prepared.pipeline, need).to_owned();
        let data = |kind: NeedKind| matches!(kind, NeedKind::Data { .. });
        let needs = &graph.nodes[node].needs;
        let skipped = needs.iter().find(|need| {
            need.kind == NeedKind::Data { optional: false } && self.known[need.node] == Known::Skipped
        });
        if let Some(need) = skipped {
            let reason = format!("needs `{}`, which is skipped", label(need.node));
            return Some(self.all(node, cells, &Decision::Skip { reason }, Known::Skipped));
        }
        let mut inputs: Vec<String> = needs
            .iter()
            .filter(|need| data(need.kind) && self.known[need.node] == Known::No)
            .map(|need| label(need.node))
            .collect();
        inputs.dedup();
        (!inputs.is_empty()).then(|| self.all(node, cells, &Decision::Wait { inputs }, Known::No))
    }

    /// The same about all tasks of a node.
    fn all(&mut self, node: usize, cells: &[Cell], decision: &Decision, known: Known) -> Known {
        if cells.is_empty() {
            self.tell(node, &Cell::default(), decision.clone());
        }
        for cell in cells {
            self.tell(node, cell, decision.clone());
        }
        known
    }

    fn tell(&mut self, node: usize, cell: &Cell, decision: Decision) {
        let label = self.prepared.graph.label(&self.prepared.pipeline, node);
        self.tasks.push(PlannedTask { task: task_name(label, &cell.key()), decision });
    }

    fn view(&self) -> View<'_> {
        View { prepared: self.prepared, ledger: &self.ledger, external: &self.external, items: &self.items }
    }

    fn source(&mut self, node: usize, source: &Source) -> Result<Known, StoreError> {
        let cell = Cell::default();
        let Source::Path(path) = source else {
            self.tell(node, &cell, Decision::Run { why: Why::NeverCached });
            return Ok(Known::No);
        };
        let scanned = source::pattern(&self.prepared.folder, path)
            .map_err(|error| crate::text(&error))
            .and_then(|pattern| self.site.scanner.scan(&pattern, Limits::default()).map_err(|error| crate::text(&error)));
        let content = match scanned {
            Ok(scan) => scan.content(),
            Err(reason) => {
                self.tell(node, &cell, Decision::Fail { reason });
                return Ok(Known::Skipped);
            }
        };
        let derived = derive::derive_read(derive::source_text(source), content.hash, &Arc::default());
        self.decide(node, None, vec![(cell, derived)])
    }

    fn step(&mut self, node: usize, step: &Step, cells: Vec<Cell>) -> Result<Known, StoreError> {
        let python = match &step.python {
            None => None,
            Some(_) => match StepPython::known(self.site, &self.prepared.folder, step) {
                Some(python) => Some(python),
                None => return Ok(self.all(node, &cells, &Decision::Run { why: Why::NotLocked }, Known::No)),
            },
        };
        let facts = match StepFacts::gather(self.site, self.prepared, step, python) {
            Ok(facts) => Arc::new(facts),
            Err(reason) => return Ok(self.all(node, &cells, &Decision::Fail { reason }, Known::Skipped)),
        };
        let mut derived = Vec::with_capacity(cells.len());
        for cell in cells {
            match self.view().derive(node, step, &cell, &facts) {
                Ok(found) => derived.push((cell, found)),
                Err(reason) => self.tell(node, &cell, Decision::Fail { reason }),
            }
        }
        self.decide(node, Some(step), derived)
    }

    fn decide(&mut self, node: usize, step: Option<&Step>, derived: Vec<(Cell, Derived)>) -> Result<Known, StoreError> {
        let fingerprints: Vec<_> = derived.iter().map(|(_, derived)| derived.fingerprint).collect();
        let found = if self.has_history { self.store.lookup(&fingerprints)? } else { HashMap::new() };
        let mut known = Known::Yes;
        for (cell, derived) in derived {
            let decision = match self.why(node, step, &cell, &derived, found.get(&derived.fingerprint))? {
                None => {
                    let earlier = &found[&derived.fingerprint];
                    let outputs = earlier.outputs.iter().map(Published::on_record).collect();
                    let metrics = earlier.metrics.clone();
                    self.ledger.enter(node, Entry { task: None, cell: cell.clone(), outputs, metrics });
                    Decision::Reuse { run: earlier.run_number }
                }
                Some(why) => {
                    known = Known::No;
                    Decision::Run { why }
                }
            };
            self.tell(node, &cell, decision);
        }
        Ok(known)
    }

    /// Why a task would execute; none where an earlier result stands for it.
    fn why(
        &mut self,
        node: usize,
        step: Option<&Step>,
        cell: &Cell,
        derived: &Derived,
        found: Option<&Earlier>,
    ) -> Result<Option<Why>, StoreError> {
        if step.is_some_and(|step| step.cache == Cache::Never) {
            return Ok(Some(Why::NeverCached));
        }
        if step.is_some() && self.prepared.selection.forces(node, cell) {
            return Ok(Some(Why::Forced));
        }
        if let Some(earlier) = found {
            if let Some(Cache::Ttl(ttl)) = step.map(|step| step.cache)
                && clock::now().since(earlier.ended) > u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX)
            {
                return Ok(Some(Why::Expired));
            }
            let complete = is_complete(self.site, earlier);
            return Ok((!complete).then_some(Why::OutputLost { run: earlier.run_number }));
        }
        if !self.has_history {
            return Ok(Some(Why::NeverRan));
        }
        let label = self.prepared.graph.label(&self.prepared.pipeline, node);
        explain(self.store, self.prepared.pipeline.name.as_str(), label, &cell.key(), derived).map(Some)
    }
}

/// Compares what is asked with the nearest earlier execution of the same step and cell.
fn explain(
    store: &mut dyn Store,
    pipeline: &str,
    step: &str,
    cell: &str,
    derived: &Derived,
) -> Result<Why, StoreError> {
    let Some(nearest) = store.nearest(pipeline, step, cell, None)? else { return Ok(Why::NeverRan) };
    let run = nearest.run_number;
    if nearest.fingerprint == derived.fingerprint {
        return Ok(Why::FailedBefore { run });
    }
    let Some(bytes) = store.derivation(&nearest.fingerprint)? else {
        return Err(StoreError::Damaged(format!("the derivation of fingerprint {} is missing", nearest.fingerprint)));
    };
    let decode = |bytes: &[u8]| {
        canonical::decode(bytes).map_err(|error| StoreError::Damaged(format!("a derivation cannot be read: {error}")))
    };
    Ok(Why::Changed { run, changes: canonical::diff(&decode(&bytes)?, &decode(&derived.canonical)?) })
}
