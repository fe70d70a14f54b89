//! Answering the machine's questions: may a node open, which items has it, does an earlier result stand for a task?

use std::sync::Arc;

use runstone_core::attempt::Cause;
use runstone_core::cell::Cell;
use runstone_core::expr::{Bindings, EvalError};
use runstone_core::graph::Work;
use runstone_core::machine::{Answer, Failure, Input, Prior, Verdict};
use runstone_core::record::MaterializationRecord;
use runstone_core::spec::model::{Action, Cache, Foreach, Source, Step};
use runstone_core::store::{Change, Earlier, NewTask};
use runstone_core::time::micros;
use runstone_exec::objects::{Depth, Presence};

use super::{DriveError, Driver, Event, Note, TaskData};
use crate::clock;
use crate::derive::{self, Derived, View};
use crate::facts::{StepFacts, StepPython};
use crate::items;
use crate::report::RunEvent;
use crate::reported;
use crate::site::{self, Site};
use crate::source::{self, ReadContent};

/// Where the Python environment of a step stands.
#[derive(Debug)]
pub(super) enum PythonState {
    /// Being resolved; these tasks wait for it.
    Resolving(Vec<usize>),
    Resolved(Box<StepPython>),
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
            match condition.eval_condition(&self.bindings(&Cell::default())) {
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
        if self.expanded.contains(&node) {
            // Its tasks were put on record all at once, so none is missing.
            return Verdict::Expand(Vec::new());
        }
        if let Err(message) = self.ensure_items(node, foreach) {
            return Verdict::Fail(message);
        }
        let mut cells = items::cells(step, foreach, &self.items[&node]);
        cells.retain(|cell| self.prepared.selection.chooses_cell(node, cell));
        let mut new = Vec::with_capacity(cells.len());
        for cell in cells {
            new.push(NewTask { index: self.next_row, step: step.name.to_string(), cell: cell.key() });
            self.tasks.push(TaskData::new(node, cell, self.next_row));
            self.next_row += 1;
        }
        let priors = vec![Prior::Open { attempts: 0 }; new.len()];
        if !new.is_empty() {
            let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
            self.record(Change::AddTasks(new), Note::Nothing);
            self.reporter.event(&RunEvent::TasksAdded { count });
        }
        Verdict::Expand(priors)
    }

    /// Finds the items of a `foreach` step, unless they are known.
    fn ensure_items(&mut self, node: usize, foreach: &Foreach) -> Result<(), String> {
        if !self.items.contains_key(&node) {
            let items = items::items(&self.site, &self.view(), foreach)?;
            self.items.insert(node, items);
        }
        Ok(())
    }

    /// Values for `when`: parameters and the cell.
    fn bindings(&self, cell: &Cell) -> Bindings {
        reported::bindings(&reported::all_params(&self.prepared.params), cell, &[])
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
            match condition.eval_condition(&self.bindings(&self.tasks[task].cell)) {
                Ok(true) => {}
                Ok(false) => return Some(Err(Answer::Skip("its condition `when` is false".to_owned()))),
                Err(error) => return Some(Err(Answer::Failed(internal(unevaluated(&error))))),
            }
        }
        if step.python.is_some() && !self.python_ready(node, task) {
            return None;
        }
        if let Some(missing) = self.view().missing_output(step) {
            return Some(Err(Answer::Skip(missing)));
        }
        match self.derive(node, step, task) {
            Ok(derived) => {
                self.tasks[task].derived = Some(Arc::new(derived));
                Some(Ok(()))
            }
            Err(message) => Some(Err(Answer::Failed(internal(message)))),
        }
    }

    fn derive(&mut self, node: usize, step: &Step, task: usize) -> Result<Derived, String> {
        if let Some(foreach) = &step.foreach {
            self.ensure_items(node, foreach)?;
        }
        let facts = self.step_facts(node, step)?;
        self.view().derive(node, step, &self.tasks[task].cell, &facts)
    }

    /// Works out what is asked of a task of an earlier owner. Its environments are resolved by now, or quickly.
    pub(super) fn work_out_again(&mut self, task: usize) -> Result<Derived, String> {
        let prepared = Arc::clone(&self.prepared);
        let node = self.tasks[task].node;
        let step = prepared.graph.step(&prepared.pipeline, node).ok_or("a source has no attempt under way")?;
        if step.python.is_some() && !matches!(self.pythons.get(&node), Some(PythonState::Resolved(_))) {
            let python = StepPython::resolve(&self.site, &prepared.folder, step, false, &mut |_| {})?;
            self.pythons.insert(node, PythonState::Resolved(Box::new(python)));
        }
        self.derive(node, step, task)
    }

    fn read_source(&self, task: usize, source: Source) {
        let (site, sender, folder) = (self.site.clone(), self.sender.clone(), self.prepared.folder.clone());
        self.help(move || {
            let content = Box::new(source::read(&site, &folder, &source));
            // Without a loop there is nobody to tell, and nothing was changed.
            let _ = sender.send(Event::Read { task, content });
        });
    }

    pub(super) fn was_read(&mut self, task: usize, content: Result<ReadContent, Failure>) -> Result<(), DriveError> {
        let content = match content {
            Ok(content) => content,
            Err(failure) => {
                let answer = if self.prepared.may_be_absent(self.tasks[task].node, &failure) {
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
            Some(PythonState::Resolved(python)) => Some(StepPython::clone(python)),
            Some(PythonState::Resolving(_)) | None => None,
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
        self.help(move || {
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
        let Some(PythonState::Resolving(waiting)) = self.pythons.remove(&node) else { return };
        match python {
            Ok(python) => {
                self.pythons.insert(node, PythonState::Resolved(Box::new(python)));
                self.looks.extend(waiting);
            }
            // Nothing is kept of it, so that whoever is tried again tries it again.
            Err(message) => self.inputs.extend(waiting.into_iter().map(|task| {
                let answer = Answer::Failed(internal(message.clone()));
                Input::Looked { task, answer }
            })),
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
            let answer = self.with_secrets(task, answer);
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
        let usable = hit.filter(|hit| self.is_usable(task, hit));
        let Some(hit) = usable else { return if was_read { Answer::Produced } else { Answer::Miss } };
        if let Some(step) = self.step_of(task) {
            let derived = self.derived(task);
            if let Some(message) = reported::unmet_by(step, derived, &hit) {
                return Answer::Failed(Failure { cause: Cause::Require, exit_code: None, message });
            }
        }
        self.tasks[task].hit = Some(Box::new(hit));
        Answer::Hit
    }

    /// A task whose secrets cannot be read is better not put on record as about to run.
    fn with_secrets(&self, task: usize, answer: Answer) -> Answer {
        match (&answer, self.step_of(task)) {
            (Answer::Miss, Some(step)) => match self.site.secrets(step) {
                Ok(_) => answer,
                Err(message) => Answer::Failed(internal(message)),
            },
            _ => answer,
        }
    }

    pub(super) fn derived(&self, task: usize) -> &Derived {
        self.tasks[task].derived.as_ref().expect("a task is worked out before it is decided")
    }

    pub(super) fn may_reuse(&self, task: usize) -> bool {
        let data = &self.tasks[task];
        // A source has just been read: whether its content is known is a question of bytes alone.
        let source = data.read.is_some();
        let never = self.step_of(task).is_some_and(|step| step.cache == Cache::Never);
        source || (!never && !self.prepared.selection.forces(data.node, &data.cell))
    }

    /// Whether an earlier result can stand for a task.
    pub(super) fn is_usable(&self, task: usize, hit: &Earlier) -> bool {
        self.is_fresh(task, hit) && hit.outputs.iter().all(|record| is_held(&self.site, record))
    }

    fn is_fresh(&self, task: usize, hit: &Earlier) -> bool {
        match self.step_of(task).map(|step| step.cache) {
            Some(Cache::Ttl(ttl)) => clock::now().since(hit.ended) <= micros(ttl),
            _ => true,
        }
    }
}

/// Whether every output of an earlier result can still be had, by one stat each.
pub(crate) fn is_complete(site: &Site, hit: &Earlier) -> bool {
    hit.outputs.iter().all(|record| is_there(site, record))
}

/// Whether a publication can still be had, and will be until this run is over: held first and looked at afterwards, so that no
/// clean-up takes it away in between or later.
pub(crate) fn is_held(site: &Site, record: &MaterializationRecord) -> bool {
    matches!(site.objects.hold(record.hash), Ok(true)) && is_there(site, record)
}

fn is_there(site: &Site, record: &MaterializationRecord) -> bool {
    let kind = site::object_kind(record.kind);
    matches!(site.objects.check(record.hash, kind, record.size, Depth::Deep), Ok(Presence::Present))
}

/// Whether a condition is to be evaluated for each cell.
pub(crate) fn names_cell(condition: &runstone_core::expr::Expr) -> bool {
    condition.names().any(|name| name.starts_with("matrix."))
}

fn internal(message: String) -> Failure {
    Failure { cause: Cause::Internal, exit_code: None, message }
}

fn unevaluated(error: &EvalError) -> String {
    format!("its condition `when` has no value: {error}")
}
