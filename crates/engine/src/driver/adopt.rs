//! Attempts that somebody else started: those of an earlier owner of this run, and those of other runs whose owner is
//! dead while tasks of this run wait for the same fingerprint.

use std::fs::File;
use std::sync::Arc;

use runstone_core::attempt::{Cause, OutcomeRecord};
use runstone_core::machine::Input;
use runstone_core::record::{AttemptRecord, TaskState};
use runstone_core::store::{Applied, Change, FinishAttempt, Flight, Ownership, RunRef};
use runstone_exec::local::{Reach, journal};
use uuid::Uuid;

use super::{DriveError, Driver, Event, PickUp};
use crate::clock;
use crate::collected::Notes;
use crate::derive::Derived;
use crate::judge::{self, Case, Judgement};
use crate::owner;
use crate::remains::Remains;
use crate::report::RunEvent;

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
        let run = self.held[&task].run;
        self.try_to_adopt(task)?;
        if !self.adoptions.values().any(|adoption| adoption.owner.run == run) {
            // Others may be able to settle it, and need the lock for it.
            self.orphans.remove(&run);
        }
        Ok(())
    }

    fn try_to_adopt(&mut self, task: usize) -> Result<(), DriveError> {
        let flight = self.held[&task].clone();
        let Some(owner) = self.take_run_over(&flight)? else { return Ok(()) };
        let Some(attempt) = self.reader.attempts_by_id(&[flight.attempt])?.pop() else { return Ok(()) };
        let (uuid, path) = (flight.uuid, owner::journal_path(&self.site.project.run_dir(flight.run.0)));
        // A journal that cannot be read says nothing, above all not that an attempt never started.
        let Ok(entries) = journal::read(&path) else { return Ok(()) };
        let pick_up = PickUp::of(uuid, &entries);
        if matches!(&pick_up, Some(PickUp::Started(started)) if started.reach() == Reach::Elsewhere) {
            return Ok(());
        }
        if let Some(PickUp::Started(started)) = &pick_up
            && self.executor.adopt(started, &path).is_err()
        {
            return Ok(());
        }
        let derived = self.tasks[task].derived.clone().expect("a task that waits has a fingerprint");
        self.adoptions.insert(uuid, Adoption { owner, attempt, derived, step: self.tasks[task].node });
        match pick_up {
            Some(PickUp::Started(_)) => {}
            Some(PickUp::Ended(record)) => self.judge_adopted(record),
            Some(PickUp::Gone(message)) => self.lost_adopted(uuid, message),
            None => self.lost_adopted(uuid, "its run was killed before it started".to_owned()),
        }
        Ok(())
    }

    /// The right to write a run whose owner is dead. None where that is not proven: a free lock proves it only for runs
    /// that keep their state here.
    fn take_run_over(&mut self, flight: &Flight) -> Result<Option<Ownership>, DriveError> {
        if let Some(orphan) = self.orphans.get(&flight.run) {
            return Ok(Some(orphan.owner));
        }
        let run = self.reader.run(&RunRef::Prefix(flight.run.to_string()))?;
        if run.is_none_or(|run| run.store_marker != self.site.objects.marker()) {
            return Ok(None);
        }
        // What was submitted is gone on with by a scheduler, and ends without this run's help.
        let submission = self.reader.submission(&RunRef::Prefix(flight.run.to_string()))?;
        if submission.is_some_and(|one| !one.state.is_terminal()) {
            return Ok(None);
        }
        let folder = self.site.project.run_dir(flight.run.0);
        let Ok(Some(lock)) = owner::try_lock(&folder) else { return Ok(None) };
        let Some(owner) = self.reader.take_over(flight.run, false, clock::now())? else { return Ok(None) };
        self.orphans.insert(flight.run, Orphan { _lock: lock, owner });
        Ok(Some(owner))
    }

    fn lost_adopted(&mut self, uuid: Uuid, message: String) {
        self.adopted(uuid, Box::new(super::live::without_process(Cause::Lost, message, clock::now())));
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
        // The same is asked of the waiting task, whose secrets were there when it was looked up.
        let ready = Notes::open(&self.site.project.run_dir(attempt.run.0))
            .map_err(|error| error.to_string())
            .and_then(|notes| Ok((Arc::new(notes), self.site.secrets(step)?)));
        let (notes, secrets) = match ready {
            Ok(ready) => ready,
            Err(message) => return self.cannot_settle(uuid, &message),
        };
        let remains = Remains {
            record,
            folder: self.site.project.attempt_dir(attempt.run.0, attempt.task, attempt.number),
            step: Arc::new(step.clone()),
            derived: Arc::clone(&adoption.derived),
            home: self.prepared.folder.clone(),
            masker: crate::site::Site::masker(&secrets),
        };
        let case = Case {
            remains,
            datasets: step.outputs.keys().map(name).collect(),
            subset: self.prepared.subset(&adoption.derived.cell),
            notes,
            again: true,
            tainted: None,
        };
        let (site, sender) = (self.site.clone(), self.sender.clone());
        self.have_judged(move || {
            let judgement = Box::new(judge::judge(&site, &case));
            let _ = sender.send(Event::Adopted { uuid, judgement });
        });
    }

    fn cannot_settle(&mut self, uuid: Uuid, message: &str) {
        if let Some(adoption) = self.adoptions.get(&uuid) {
            let number = adoption.attempt.run_number;
            let message = format!("an attempt of run #{number} could not be settled: {message}");
            self.reporter.event(&RunEvent::Warning { message });
        }
        self.adoption_recorded(uuid);
    }

    /// Records the end of an adopted attempt under its own run, then lets the tasks that waited look again.
    pub(super) fn adopted(&mut self, uuid: Uuid, judgement: Box<Judgement>) {
        let Some(adoption) = self.adoptions.get(&uuid) else { return };
        let (finish, objects) = finish_of(&adoption.attempt, *judgement);
        let owner = adoption.owner;
        let outcome = self
            .site
            .objects
            .sync(objects)
            .map_err(|error| crate::text(&error))
            .and_then(|()| self.reader.commit(owner, clock::now(), &[finish]).map_err(|error| crate::text(&error)));
        match outcome.and_then(stale) {
            Ok(()) => self.adoption_recorded(uuid),
            Err(message) => self.cannot_settle(uuid, &message),
        }
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
