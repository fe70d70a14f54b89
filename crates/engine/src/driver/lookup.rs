//! Answering the machine's questions: may a node open, which items has it, does an earlier result stand for a task?

use std::sync::Arc;

use runstone_core::attempt::Cause;
use runstone_core::cell::Cell;
use runstone_core::expr::{Bindings, EvalError};
use runstone_core::graph::{self, Work};
use runstone_core::machine::{Answer, Failure, Input, Prior, Verdict};
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::{Action, Cache, Foreach, Source, Step};
use runstone_core::store::Earlier;
use runstone_exec::objects::{Depth, Presence};

use super::{DriveError, Driver, Event, TaskData};
use crate::clock;
use crate::derive::{self, Derived, Item, View};
use crate::facts::{StepFacts, StepPython};
use crate::items;
use crate::ledger::Entry;
use crate::reported;
use crate::site::{self, Site};
use crate::source::{self, ReadContent};

/// Where the Python environment of a step stands.
#[derive(Debug)]
pub(super) enum PythonState {
    /// Being resolved; these tasks wait for it.
    Resolving(Vec<usize>),
    Resolved(Result<StepPython, String>),
}

/// Who of this run is at a fingerprint.
#[derive(Debug)]
pub(super) struct OwnFlight {
    pub(super) holder: usize,
    pub(super) waiting: Vec<usize>,
}

impl Driver<'_> {
    pub(super) fn view(&self) -> View<'_> {
        View { prepared: &self.prepared, ledger: &self.ledger, external: &self.external, items: &self.items }
    }

    /// Whether a node whose needs are settled goes ahead.
    pub(super) fn verdict(&mut self, node: usize) -> Verdict {
        let prepared = Arc::clone(&self.prepared);
        let Some(step) = prepared.graph.step(&prepared.pipeline, node) else { return Verdict::Go };
        if let Some(condition) = step.when.as_ref().filter(|condition| !names_cell(condition)) {
            match condition.eval_condition(&self.bindings(step, &Cell::default())) {
                Ok(true) => {}
                Ok(false) => return Verdict::Skip("its condition `when` is false".to_owned()),
                Err(error) => return Verdict::Fail(unevaluated(&error)),
            }
        }
        match &step.foreach {
            None => Verdict::Go,
            Some(foreach) => self.expand(node, step, foreach),
        }
    }

    fn expand(&mut self, node: usize, step: &Step, foreach: &Foreach) -> Verdict {
        let items = match items::items(&self.site, &self.view(), foreach) {
            Ok(items) => items,
            Err(message) => return Verdict::Fail(message),
        };
        let values: Vec<Scalar> = items.iter().map(|item: &Item| item.value.clone()).collect();
        let cells: Vec<Cell> = graph::item_cells(step, &foreach.item, &values)
            .into_iter()
            .filter(|cell| self.prepared.selection.chooses_cell(node, cell))
            .collect();
        self.items.insert(node, items);
        let label = step.name.to_string();
        let first = self.tasks.len();
        let priors: Vec<Prior> = cells.into_iter().map(|cell| self.admit_cell(node, &label, cell)).collect();
        for task in first..self.tasks.len() {
            self.take_up(task);
        }
        let count = u32::try_from(priors.len()).unwrap_or(u32::MAX);
        self.reporter.event(&crate::report::RunEvent::TasksAdded { count });
        Verdict::Expand(priors)
    }

    /// Makes a task of a cell: the one that is on record from an earlier part of the run, or a new one.
    fn admit_cell(&mut self, node: usize, step: &str, cell: Cell) -> Prior {
        if let Some(known) = self.known.take(step, &cell) {
            let task = Some(self.tasks.len());
            self.tasks.push(TaskData { node, ..known.data });
            if let Some(entry) = known.entry {
                self.ledger.enter(node, Entry { task, cell, ..entry });
            }
            if let Prior::Settled(state) = known.prior {
                self.counts.add(state);
            }
            if let Some(live) = &self.tasks[self.tasks.len() - 1].live {
                self.by_attempt.insert(live.uuid, self.tasks.len() - 1);
            }
            return known.prior;
        }
        let row = self.next_row;
        self.next_row += 1;
        let new = runstone_core::store::NewTask { index: row, step: step.to_owned(), cell: cell.key() };
        match self.outbox.last_mut() {
            // The cells of a node become one change.
            Some((runstone_core::store::Change::AddTasks(tasks), _)) => tasks.push(new),
            _ => self.record(runstone_core::store::Change::AddTasks(vec![new]), super::Note::Nothing),
        }
        self.tasks.push(TaskData::new(node, cell, row));
        Prior::Open { attempts: 0 }
    }

    /// Values for `when`: parameters, the cell, and what earlier steps without expansion reported.
    fn bindings(&self, step: &Step, cell: &Cell) -> Bindings {
        let mut bindings = reported::bindings(&reported::all_params(&self.prepared.params), cell, &[]);
        if let Some(condition) = &step.when {
            for name in condition.names() {
                let Some(other) = name.strip_prefix("steps.").and_then(|rest| rest.split('.').next()) else { continue };
                let Some((index, _, other)) = self.prepared.pipeline.steps.get_full(other) else { continue };
                if let Some(entry) = self.ledger.of(index).first() {
                    reported::bind_step(&mut bindings, &other.name, &entry.metrics);
                }
            }
        }
        bindings
    }

    /// Answers every open look-up, all that can be with one question to the store.
    pub(super) fn answer_looks(&mut self) -> Result<(), DriveError> {
        let mut asked = Vec::new();
        for task in std::mem::take(&mut self.looks) {
            match self.work_out(task) {
                Some(Ok(())) => asked.push(task),
                Some(Err(answer)) => self.inputs.push_back(Input::Looked { task, answer }),
                None => {}
            }
        }
        self.decide(&asked)
    }

    /// Works out the fingerprint of a task. `None` where that takes a thread's time; an event follows.
    fn work_out(&mut self, task: usize) -> Option<Result<(), Answer>> {
        let prepared = Arc::clone(&self.prepared);
        let node = self.tasks[task].node;
        let step = prepared.graph.step(&prepared.pipeline, node);
        let source = match (&prepared.graph.nodes[node].work, step.map(|step| &step.action)) {
            (Work::Observe(path), _) => Some(Source::Path(path.clone())),
            (Work::Step(_), Some(Action::From(source))) => Some(source.clone()),
            _ => None,
        };
        if let Some(source) = source {
            self.read_source(task, source);
            return None;
        }
        let step = step.expect("what is not read is a step");
        if let Some(condition) = step.when.as_ref().filter(|condition| names_cell(condition)) {
            match condition.eval_condition(&self.bindings(step, &self.tasks[task].cell)) {
                Ok(true) => {}
                Ok(false) => return Some(Err(Answer::Skip("its condition `when` is false".to_owned()))),
                Err(error) => return Some(Err(Answer::Failed(internal(unevaluated(&error))))),
            }
        }
        if step.python.is_some() && !self.python_ready(node, task) {
            return None;
        }
        let derived = self.step_facts(node, step).and_then(|facts| {
            self.view().derive(node, step, &self.tasks[task].cell, &facts)
        });
        match derived {
            Ok(derived) => {
                self.tasks[task].derived = Some(Arc::new(derived));
                Some(Ok(()))
            }
            Err(message) => Some(Err(Answer::Failed(internal(message)))),
        }
    }

    /// Works out what is asked of a task of an earlier owner. Its environments are resolved by now, or quickly.
    pub(super) fn work_out_again(&mut self, task: usize) -> Result<Derived, String> {
        let prepared = Arc::clone(&self.prepared);
        let node = self.tasks[task].node;
        let step = prepared.graph.step(&prepared.pipeline, node).ok_or("a source has no attempt under way")?;
        if step.python.is_some() && !matches!(self.pythons.get(&node), Some(PythonState::Resolved(_))) {
            let python = StepPython::resolve(&self.site, &prepared.folder, step, false, &mut |_| {});
            self.pythons.insert(node, PythonState::Resolved(python));
        }
        let facts = self.step_facts(node, step)?;
        self.view().derive(node, step, &self.tasks[task].cell, &facts)
    }

    fn read_source(&self, task: usize, source: Source) {
        let (site, sender, folder) = (self.site.clone(), self.sender.clone(), self.prepared.folder.clone());
        self.helpers.run(move || {
            let content = Box::new(source::read(&site, &folder, &source));
            // Without a loop there is nobody to tell, and nothing was changed.
            let _ = sender.send(Event::Read { task, content });
        });
    }

    pub(super) fn was_read(&mut self, task: usize, content: Result<ReadContent, Failure>) -> Result<(), DriveError> {
        let content = match content {
            Ok(content) => content,
            Err(failure) => {
                let optional = self.prepared.graph.nodes[self.tasks[task].node].dependents.iter().all(|&dependent| {
                    let needs = &self.prepared.graph.nodes[dependent].needs;
                    needs.iter().filter(|need| need.node == self.tasks[task].node).all(|need| {
                        need.kind == graph::NeedKind::Data { optional: true }
                    })
                });
                let is_file = self.step_of(task).is_none();
                let answer = if is_file && optional && failure.cause == Cause::MissingOutput {
                    Answer::Skip("it is not there, and those who read it can do without".to_owned())
                } else {
                    Answer::Failed(failure)
                };
                self.inputs.push_back(Input::Looked { task, answer });
                return Ok(());
            }
        };
        let node = self.tasks[task].node;
        let text = match self.step_of(task).map(|step| &step.action) {
            Some(Action::From(source)) => derive::source_text(source).to_owned(),
            _ => self.prepared.graph.label(&self.prepared.pipeline, node).to_owned(),
        };
        let facts = self.facts.entry(usize::MAX).or_insert_with(|| Arc::new(StepFacts::default()));
        let derived = derive::derive_read(&text, content.content.hash, facts);
        let data = &mut self.tasks[task];
        data.derived = Some(Arc::new(derived));
        data.read = Some(Box::new(content));
        self.decide(&[task])
    }

    fn step_facts(&mut self, node: usize, step: &Step) -> Result<Arc<StepFacts>, String> {
        if let Some(facts) = self.facts.get(&node) {
            return Ok(Arc::clone(facts));
        }
        let python = match self.pythons.get(&node) {
            Some(PythonState::Resolved(Ok(python))) => Some(python.clone()),
            Some(PythonState::Resolved(Err(message))) => return Err(message.clone()),
            _ => None,
        };
        let facts = Arc::new(StepFacts::gather(&self.site, &self.prepared, step, python)?);
        facts.keep(&self.site, &self.prepared.folder, &mut self.objects)?;
        self.facts.insert(node, Arc::clone(&facts));
        Ok(facts)
    }

    /// Whether the Python environment of a step is resolved; where not, a thread is at it and the task waits.
    fn python_ready(&mut self, node: usize, task: usize) -> bool {
        match self.pythons.get_mut(&node) {
            Some(PythonState::Resolved(_)) => return true,
            Some(PythonState::Resolving(waiting)) => {
                waiting.push(task);
                return false;
            }
            None => {}
        }
        self.pythons.insert(node, PythonState::Resolving(vec![task]));
        let (site, prepared, sender, relock) =
            (self.site.clone(), Arc::clone(&self.prepared), self.sender.clone(), self.relock);
        self.helpers.run(move || {
            let step = prepared.graph.step(&prepared.pipeline, node).expect("only steps have environments");
            let mut tell = |line: &str| {
                let _ = sender.send(Event::Building { name: step.name.to_string(), line: line.to_owned() });
            };
            let python = Box::new(StepPython::resolve(&site, &prepared.folder, step, relock, &mut tell));
            // Without a loop there is nobody to tell; the lock file stays for the next time.
            let _ = sender.send(Event::Python { step: node, python });
        });
        false
    }

    pub(super) fn python_resolved(&mut self, node: usize, python: Result<StepPython, String>) {
        if let Some(PythonState::Resolving(waiting)) = self.pythons.insert(node, PythonState::Resolved(python)) {
            self.looks.extend(waiting);
        }
    }

    /// Looks up all these tasks at once.
    fn decide(&mut self, asked: &[usize]) -> Result<(), DriveError> {
        let fingerprints: Vec<_> =
            asked.iter().filter(|task| self.may_reuse(**task)).map(|task| self.derived(*task).fingerprint).collect();
        let mut found = if fingerprints.is_empty() { Default::default() } else { self.reader.lookup(&fingerprints)? };
        for &task in asked {
            let fingerprint = self.derived(task).fingerprint;
            let shares = self.may_reuse(task);
            let own = self.own_flights.get_mut(&fingerprint).filter(|own| shares && own.holder != task);
            if let Some(own) = own {
                own.waiting.push(task);
                self.inputs.push_back(Input::Looked { task, answer: Answer::Held });
                continue;
            }
            let hit = if shares { found.get(&fingerprint).cloned() } else { None };
            let answer = self.answer(task, hit);
            if shares && matches!(answer, Answer::Miss | Answer::Produced) {
                self.own_flights.entry(fingerprint).or_insert(OwnFlight { holder: task, waiting: Vec::new() });
            }
            self.inputs.push_back(Input::Looked { task, answer });
        }
        found.clear();
        Ok(())
    }

    fn answer(&mut self, task: usize, hit: Option<Earlier>) -> Answer {
        let was_read = self.tasks[task].read.is_some();
        let usable = hit.filter(|hit| self.is_fresh(task, hit) && is_complete(&self.site, hit));
        let Some(hit) = usable else { return if was_read { Answer::Produced } else { Answer::Miss } };
        if let Some(step) = self.step_of(task) {
            let derived = self.derived(task);
            let params = derived.facts.params_for(&derived.cell);
            let bindings = reported::bindings(&params, &derived.cell, &hit.metrics);
            if let Some(message) = reported::unmet(&step.require, &bindings) {
                let message = format!("{message} (in the result of run #{} that was to be reused)", hit.run_number);
                return Answer::Failed(Failure { cause: Cause::Require, exit_code: None, message });
            }
        }
        self.tasks[task].hit = Some(Box::new(hit));
        Answer::Hit
    }

    fn derived(&self, task: usize) -> &Derived {
        self.tasks[task].derived.as_ref().expect("a task is worked out before it is decided")
    }

    fn may_reuse(&self, task: usize) -> bool {
        let data = &self.tasks[task];
        // A source has just been read: whether its content is known is a question of bytes alone.
        let source = data.read.is_some();
        let never = self.step_of(task).is_some_and(|step| step.cache == Cache::Never);
        source || (!never && !self.prepared.selection.forces(data.node, &data.cell))
    }

    fn is_fresh(&self, task: usize, hit: &Earlier) -> bool {
        match self.step_of(task).map(|step| step.cache) {
            Some(Cache::Ttl(ttl)) => clock::now().since(hit.ended) <= u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX),
            _ => true,
        }
    }
}

/// Whether every output of an earlier result can still be had, by one stat each.
pub(crate) fn is_complete(site: &Site, hit: &Earlier) -> bool {
    hit.outputs.iter().all(|record| {
        let kind = site::object_kind(record.kind);
        matches!(site.objects.check(record.hash, kind, record.size, Depth::Deep), Ok(Presence::Present))
    })
}

fn names_cell(condition: &runstone_core::expr::Expr) -> bool {
    condition.names().any(|name| name.starts_with("matrix."))
}

fn internal(message: String) -> Failure {
    Failure { cause: Cause::Internal, exit_code: None, message }
}

fn unevaluated(error: &EvalError) -> String {
    format!("its condition `when` has no value: {error}")
}
