//! Attempts that somebody else started: those of an earlier owner of this run, and those of other runs whose owner is
//! dead while tasks of this run wait for the same fingerprint.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use runstone_core::attempt::OutcomeRecord;
use runstone_core::cell::Cell;
use runstone_core::machine::{Input, Prior};
use runstone_core::record::{AttemptRecord, TaskState};
use runstone_core::store::{Applied, Change, FinishAttempt, Ownership};
use runstone_exec::local::journal::{self, Entry as Journal};
use uuid::Uuid;

use super::{DriveError, Driver, Event, TaskData};
use crate::clock;
use crate::derive::Derived;
use crate::judge::{self, Case, Judgement};
use crate::ledger::Entry;
use crate::owner;

/// Cells of `foreach` steps on record from an earlier part of the run, by step and cell.
#[derive(Debug, Default)]
pub(crate) struct Known(pub(crate) HashMap<(String, String), KnownTask>);

/// One of them.
#[derive(Debug)]
pub(crate) struct KnownTask {
    pub(crate) data: TaskData,
    pub(crate) prior: Prior,
    pub(crate) entry: Option<Entry>,
}

impl Known {
    /// The task of a cell; its cell and node are those of the running loop, whose index the entry gets.
    pub(super) fn take(&mut self, step: &str, cell: &Cell) -> Option<KnownTask> {
        let mut known = self.0.remove(&(step.to_owned(), cell.key()))?;
        known.data.cell = cell.clone();
        Some(known)
    }
}

/// A dead run that this loop holds the lock of, while attempts of it are seen to their end.
#[derive(Debug)]
pub(crate) struct Orphan {
    _lock: File,
    owner: Ownership,
}

/// An attempt of a dead run that this loop sees to its end.
#[derive(Debug)]
pub(crate) struct Adoption {
    owner: Ownership,
    attempt: AttemptRecord,
    derived: Arc<Derived>,
    step: usize,
}

impl Driver<'_> {
    /// Looks after attempts of other runs that tasks wait for: over, or orphaned?
    pub(super) fn look_for_flights(&mut self) -> Result<(), DriveError> {
        for task in self.held.keys().copied().collect::<Vec<_>>() {
            let flight = self.held[&task].clone();
            if self.adoptions.contains_key(&flight.uuid) {
                continue;
            }
            let now = self.reader.flight(&flight.fingerprint)?;
            if now.is_none_or(|now| now.uuid != flight.uuid) {
                self.held.remove(&task);
                self.inputs.push_back(Input::Released { task });
            } else {
                self.adopt_if_orphaned(task)?;
            }
        }
        Ok(())
    }

    /// Takes an attempt over where the owner of its run is proven dead.
    fn adopt_if_orphaned(&mut self, task: usize) -> Result<(), DriveError> {
        let flight = self.held[&task].clone();
        let folder = self.site.project.run_dir(flight.run.0);
        if !self.orphans.contains_key(&flight.run) {
            let Ok(Some(lock)) = owner::try_lock(&folder) else { return Ok(()) };
            let Some(owner) = self.reader.take_over(flight.run, false, clock::now())? else { return Ok(()) };
            self.orphans.insert(flight.run, Orphan { _lock: lock, owner });
        }
        let owner = self.orphans[&flight.run].owner;
        let Some(attempt) = self.reader.attempts_by_id(&[flight.attempt])?.pop() else { return Ok(()) };
        let derived = self.tasks[task].derived.clone().expect("a task that waits has a fingerprint");
        let step = self.tasks[task].node;
        let uuid = flight.uuid;
        self.adoptions.insert(uuid, Adoption { owner, attempt, derived, step });
        let path = owner::journal_path(&folder);
        let entries = journal::read(&path).unwrap_or_default();
        let ended = entries.iter().find_map(|entry| match entry {
            Journal::Ended(record) if record.attempt == uuid => Some(record.clone()),
            _ => None,
        });
        let started = entries.into_iter().rev().find_map(|entry| match entry {
            Journal::Started(started) if started.attempt == uuid => Some(started),
            _ => None,
        });
        match (ended, started) {
            (Some(record), _) => self.judge_adopted(record),
            (None, Some(started)) if self.executor.adopt(&started, &path).is_ok() => {}
            (None, _) => {
                let message = "its run was killed before it started".to_owned();
                let lost = super::live::without_process(runstone_core::attempt::Cause::Lost, message, clock::now());
                self.adopted(uuid, Box::new(lost));
            }
        }
        Ok(())
    }

    pub(super) fn judge_adopted(&mut self, record: OutcomeRecord) {
        let uuid = record.attempt;
        let Some(adoption) = self.adoptions.get(&uuid) else { return };
        let attempt = &adoption.attempt;
        let Some(step) = self.prepared.graph.step(&self.prepared.pipeline, adoption.step) else { return };
        let name = |output: &runstone_core::name::Name| {
            if output.as_str() == attempt.step {
                format!("{}/{}", attempt.pipeline, attempt.step)
            } else {
                format!("{}/{}.{output}", attempt.pipeline, attempt.step)
            }
        };
        let case = Case {
            record,
            folder: self.site.project.attempt_dir(attempt.run.0, attempt.task, attempt.number),
            datasets: step.outputs.keys().map(name).collect(),
            step: Arc::new(step.clone()),
            derived: Arc::clone(&adoption.derived),
            home: self.prepared.folder.clone(),
            masker: self.site.secrets(step).map(|secrets| crate::site::Site::masker(&secrets)).unwrap_or_default(),
            tainted: None,
        };
        let (site, sender) = (self.site.clone(), self.sender.clone());
        self.judges.run(move || {
            let judgement = Box::new(judge::judge(&site, &case));
            let _ = sender.send(Event::Adopted { uuid, judgement });
        });
    }

    /// Records the end of an adopted attempt under its own run, then lets the tasks that waited look again.
    pub(super) fn adopted(&mut self, uuid: Uuid, judgement: Box<Judgement>) {
        let Some(adoption) = self.adoptions.get(&uuid) else { return };
        let (finish, objects) = finish_of(&adoption.attempt, *judgement);
        let owner = adoption.owner;
        let outcome = self.site.objects.sync(objects).map_err(|error| crate::text(&error)).and_then(|()| {
            self.reader.commit(owner, clock::now(), &[finish]).map_err(|error| crate::text(&error))
        });
        if let Err(message) = outcome.and_then(stale) {
            let message = format!("an attempt of run #{} could not be settled: {message}", self.adoptions[&uuid].attempt.run_number);
            self.reporter.event(&crate::report::RunEvent::Warning { message });
        }
        self.adoption_recorded(uuid);
    }

    fn adoption_recorded(&mut self, uuid: Uuid) {
        let Some(adoption) = self.adoptions.remove(&uuid) else { return };
        let run = adoption.owner.run;
        if !self.adoptions.values().any(|other| other.owner.run == run) {
            self.orphans.remove(&run);
        }
        let waiting = self.held.iter().filter(|(_, flight)| flight.uuid == uuid).map(|(task, _)| *task);
        let mut tasks: Vec<usize> = waiting.collect();
        tasks.sort_unstable();
        for task in tasks {
            self.held.remove(&task);
            self.inputs.push_back(Input::Released { task });
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the end of a chain")]
fn stale(applied: Vec<Applied>) -> Result<(), String> {
    if applied.contains(&Applied::Stale) { Err("somebody else has settled it".to_owned()) } else { Ok(()) }
}

/// The end of an attempt that another run put on record. A failure leaves its task open for `resume`.
fn finish_of(attempt: &AttemptRecord, judgement: Judgement) -> (Change, runstone_exec::objects::Batch) {
    let succeeded = judgement.failure.is_none();
    let finish = FinishAttempt {
        task: attempt.task,
        number: attempt.number,
        succeeded,
        reusable: succeeded && judgement.end.tainted.is_none(),
        end: judgement.end,
        outputs: judgement.outputs,
        metrics: judgement.metrics,
        metadata: judgement.metadata,
        next: if succeeded { TaskState::Succeeded } else { TaskState::Retrying },
        reason: judgement.failure.map(|failure| failure.message),
    };
    (Change::Finish(Box::new(finish)), judgement.objects)
}
