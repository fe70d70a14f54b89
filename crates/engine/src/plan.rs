//! What a run would do, and why, without doing it: the same walk and the same derivations, over the record alone.

use std::collections::HashMap;
use std::sync::Arc;

use runstone_core::attempt::Cause;
use runstone_core::canonical::{self, Change};
use runstone_core::cell::{Cell, task_name};
use runstone_core::expr::Expr;
use runstone_core::graph::{NeedKind, Work};
use runstone_core::select::Chosen;
use runstone_core::spec::model::{Action, Cache, Source, Step};
use runstone_core::store::{Earlier, Store, StoreError};
use runstone_core::time::micros;
use serde::Serialize;

use crate::clock;
use crate::derive::{self, Derived, Items, View};
use crate::driver::{is_complete, names_cell};
use crate::facts::{StepFacts, StepPython};
use crate::items;
use crate::ledger::{Entry, Ledger, Published};
use crate::pins;
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
    /// It cannot be done.
    Failed,
}

struct Planner<'a> {
    site: &'a Site,
    prepared: &'a Prepared,
    store: &'a mut dyn Store,
    ledger: Ledger,
    external: pins::External,
    items: HashMap<usize, Items>,
    known: Vec<Known>,
    has_history: bool,
    tasks: Vec<PlannedTask>,
}

/// Walks the graph over the record.
///
/// # Errors
/// [`StoreError`]; what is wrong with a task is part of the plan.
pub fn plan(site: &Site, prepared: &Prepared, store: &mut dyn Store) -> Result<Plan, StoreError> {
    let external = pins::external(prepared, store)?;
    let standing = pins::standing(prepared, store)?;
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
        ledger: pins::ledger(prepared, &standing, store)?,
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
        let cells = |cells: Vec<Cell>| -> Vec<Cell> {
            cells.into_iter().filter(|cell| prepared.selection.chooses_cell(node, cell)).collect()
        };
        let tasks = &prepared.graph.tasks[prepared.graph.nodes[node].tasks.clone()];
        let fixed = cells(tasks.iter().map(|task| task.cell.clone()).collect());
        if let Some(known) = self.blocked(node, &fixed) {
            return Ok(known);
        }
        let condition = step.and_then(|step| step.when.as_ref()).filter(|condition| !names_cell(condition));
        if let Some((decision, known)) = condition.and_then(|condition| self.condition(condition, &Cell::default())) {
            return Ok(self.all(node, &fixed, &decision, known));
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
        let found = match &step.foreach {
            None => Ok(fixed),
            Some(foreach) => items::items(self.site, &self.view(), foreach).map(|items| {
                let found = items::cells(step, foreach, &items);
                self.items.insert(node, items);
                cells(found)
            }),
        };
        match found {
            Ok(cells) => self.step(node, step, cells),
            Err(reason) => Ok(self.all(node, &[], &Decision::Fail { reason }, Known::Failed)),
        }
    }

    /// What a condition decides; none where it holds.
    fn condition(&self, condition: &Expr, cell: &Cell) -> Option<(Decision, Known)> {
        let bindings = reported::bindings(&reported::all_params(&self.prepared.params), cell, &[]);
        match condition.eval_condition(&bindings) {
            Ok(true) => None,
            Ok(false) => Some((Decision::Skip { reason: "its condition `when` is false".to_owned() }, Known::Skipped)),
            Err(error) => Some((Decision::Fail { reason: error.to_string() }, Known::Failed)),
        }
    }

    /// The node cannot be decided, or is decided, because of what it needs.
    fn blocked(&mut self, node: usize, cells: &[Cell]) -> Option<Known> {
        let (graph, pipeline) = (&self.prepared.graph, &self.prepared.pipeline);
        let label = |need: usize| graph.label(pipeline, need).to_owned();
        let needs = &graph.nodes[node].needs;
        let obstacle = needs.iter().find_map(|need| {
            let forgiven = graph.step(pipeline, need.node).is_some_and(|step| step.continue_on_error);
            match (self.known[need.node], need.kind) {
                (Known::Skipped, NeedKind::Data { optional: false }) => Some((need.node, "is skipped")),
                (Known::Failed, NeedKind::Data { optional: false }) => Some((need.node, "fails")),
                (Known::Failed, NeedKind::Order) if !forgiven => Some((need.node, "fails")),
                _ => None,
            }
        });
        if let Some((need, what)) = obstacle {
            let reason = format!("needs `{}`, which {what}", label(need));
            return Some(self.all(node, cells, &Decision::Skip { reason }, Known::Skipped));
        }
        let mut inputs: Vec<String> = Vec::new();
        for need in needs {
            let waits = need.kind != NeedKind::Order && self.known[need.node] == Known::No;
            if waits && !inputs.contains(&label(need.node)) {
                inputs.push(label(need.node));
            }
        }
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
            .map_err(|error| source::failure(Cause::Internal, crate::text(&error)))
            .and_then(|pattern| source::scan(self.site, &pattern));
        let content = match scanned {
            Ok(scan) => scan.content(),
            Err(failure) if self.prepared.may_be_absent(node, &failure) => {
                let reason = "it is not there, and those who read it can do without".to_owned();
                return Ok(self.all(node, &[], &Decision::Skip { reason }, Known::Skipped));
            }
            Err(failure) => {
                let reason = failure.message;
                return Ok(self.all(node, &[], &Decision::Fail { reason }, Known::Failed));
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
            Err(reason) => return Ok(self.all(node, &cells, &Decision::Fail { reason }, Known::Failed)),
        };
        if let Some(reason) = self.view().missing_output(step) {
            return Ok(self.all(node, &cells, &Decision::Skip { reason }, Known::Skipped));
        }
        let condition = step.when.as_ref().filter(|condition| names_cell(condition));
        let mut derived = Vec::with_capacity(cells.len());
        let mut others = Vec::new();
        for cell in cells {
            if let Some((decision, known)) = condition.and_then(|condition| self.condition(condition, &cell)) {
                self.tell(node, &cell, decision);
                others.push(known);
                continue;
            }
            match self.view().derive(node, step, &cell, &facts) {
                Ok(found) => derived.push((cell, found)),
                Err(reason) => {
                    self.tell(node, &cell, Decision::Fail { reason });
                    others.push(Known::Failed);
                }
            }
        }
        let decided = derived.len();
        let known = self.decide(node, Some(step), derived)?;
        let enough =
            step.matrix.as_ref().and_then(|matrix| matrix.min_success).map_or(usize::MAX, |least| least as usize);
        Ok(match known {
            Known::Yes if others.contains(&Known::Failed) && decided < enough => Known::Failed,
            Known::Yes if decided == 0 && !others.is_empty() => Known::Skipped,
            known => known,
        })
    }

    fn decide(&mut self, node: usize, step: Option<&Step>, derived: Vec<(Cell, Derived)>) -> Result<Known, StoreError> {
        let fingerprints: Vec<_> = derived.iter().map(|(_, derived)| derived.fingerprint).collect();
        let found = if self.has_history { self.store.lookup(&fingerprints)? } else { HashMap::new() };
        let mut known = Known::Yes;
        for (cell, derived) in derived {
            let decision = match self.why(node, step, &cell, &derived, found.get(&derived.fingerprint))? {
                None => {
                    let earlier = &found[&derived.fingerprint];
                    match step.and_then(|step| reported::unmet_by(step, &derived, earlier)) {
                        Some(reason) => {
                            known = Known::Failed;
                            Decision::Fail { reason }
                        }
                        None => self.reuse(node, &cell, earlier),
                    }
                }
                Some(why) => {
                    known = if known == Known::Failed { known } else { Known::No };
                    Decision::Run { why }
                }
            };
            self.tell(node, &cell, decision);
        }
        Ok(known)
    }

    fn reuse(&mut self, node: usize, cell: &Cell, earlier: &Earlier) -> Decision {
        let outputs = earlier.outputs.iter().map(Published::on_record).collect();
        let metrics = earlier.metrics.clone();
        self.ledger.enter(node, Entry { task: None, cell: cell.clone(), outputs, metrics });
        Decision::Reuse { run: earlier.run_number }
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
                && clock::now().since(earlier.ended) > micros(ttl)
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
