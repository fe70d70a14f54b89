//! An attempt under way: from its intent to its judgement.

use std::path::PathBuf;
use std::sync::Arc;

use runstone_core::attempt::{Cause, OutcomeRecord};
use runstone_core::executor::{Report, Stop};
use runstone_core::hash::Fingerprint;
use runstone_core::machine::{Failure, Input};
use runstone_core::partition::Key;
use runstone_core::record::AttemptEnd;
use runstone_core::spec::model::{OnUnknown, Step};
use runstone_core::time::Timestamp;
use runstone_exec::local::journal::{self, Entry as Journal, Started};
use runstone_exec::local::{Masker, Place as Where, Reach};
use uuid::Uuid;

use super::lookup::OwnFlight;
use super::{DriveError, Driver, Event, Staging};
use crate::clock;
use crate::derive::Derived;
use crate::failpoint;
use crate::judge::{self, Case, Judgement};
use crate::remains::Remains;
use crate::report::RunEvent;
use crate::slots::Slot;
use crate::staging::{self, Place};

/// See the module.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) uuid: Uuid,
    pub(crate) number: u32,
    /// Set once a process may exist.
    pub(crate) started: bool,
    /// Asked for before there was a process.
    pub(crate) stop: Option<Stop>,
    /// Its part of the machine, from before it is prepared until no process of it is left.
    pub(crate) slot: Option<Slot>,
    pub(crate) masker: Masker,
    pub(crate) judgement: Option<Box<Judgement>>,
    /// Known already to be other than what was asked.
    pub(crate) tainted: Option<String>,
    /// For an attempt of an earlier owner: what it was asked …
    pub(crate) asked: Option<Fingerprint>,
    /// … and where it stands, until it is taken up.
    pub(crate) pick_up: Option<PickUp>,
}

/// Where an attempt of an earlier owner stands.
#[derive(Debug, Clone)]
pub(crate) enum PickUp {
    /// Over; its outcome was not recorded yet.
    Ended(OutcomeRecord),
    /// It has, or had, a supervisor.
    Started(Started),
    /// It ended with the machine, whatever it may have left.
    Gone(String),
}

impl PickUp {
    /// What a journal says of an attempt: an outcome, a supervisor, or nothing; then it was never started, and whoever
    /// holds the lock of its run knows that nobody else will start it.
    pub(crate) fn of(attempt: Uuid, journal: &[Journal]) -> Option<Self> {
        let (mut started, mut ended) = (None, None);
        for entry in journal {
            match entry {
                Journal::Started(entry) if entry.attempt == attempt => started = Some(entry),
                Journal::Ended(entry) if entry.attempt == attempt => ended = Some(entry),
                Journal::Started(_) | Journal::Ended(_) => {}
            }
        }
        let Some(ended) = ended else { return started.cloned().map(Self::Started) };
        let is_of_another_boot = |started: &Started| {
            let here = Where::here();
            started.reach() == Reach::Gone && here.is_ok_and(|here| here.boot_id != started.place.boot_id)
        };
        if ended.is_clean_exit() && started.is_none_or(is_of_another_boot) {
            // Neither the journal nor what the step wrote was synced: the one may have outlived the other.
            return Some(Self::Gone("the machine was restarted before its outputs were durable".to_owned()));
        }
        Some(Self::Ended(ended.clone()))
    }
}

impl Live {
    pub(crate) fn new(uuid: Uuid, number: u32) -> Self {
        Self {
            uuid,
            number,
            started: false,
            stop: None,
            slot: None,
            masker: Masker::default(),
            judgement: None,
            tainted: None,
            asked: None,
            pick_up: None,
        }
    }
}

impl Driver<'_> {
    /// Takes up an attempt of an earlier owner, if the task has one: works out again what is asked, and waits for its
    /// outcome or fetches it from the journal.
    pub(super) fn take_up(&mut self, task: usize) -> Result<(), DriveError> {
        let Some(live) = self.tasks[task].live.as_ref() else { return Ok(()) };
        let (Some(asked), attempt) = (live.asked, live.uuid) else { return Ok(()) };
        let derived = self.work_out_again(task);
        let changed = match &derived {
            Ok(derived) if derived.fingerprint == asked => None,
            Ok(_) => {
                Some("what is asked of the step is no longer what it was when the attempt was put on record".to_owned())
            }
            Err(message) => Some(message.clone()),
        };
        let step = self.step_of(task).expect("only steps have attempts under way").clone();
        let known = derived.unwrap_or_else(|_| Derived::outline(asked, &self.prepared, &step, &self.tasks[task].cell));
        self.tasks[task].derived = Some(Arc::new(known));
        if changed.is_none() && self.may_reuse(task) {
            self.own_flights.entry(asked).or_insert(OwnFlight { holder: task, waiting: Vec::new() });
        }
        let live = self.tasks[task].live.as_mut().expect("looked at above");
        live.tainted = changed;
        let Some(pick_up) = live.pick_up.take() else { return Ok(()) };
        // What it reports must not show what its secrets are.
        let secrets = self.site.secrets(&step).map_err(|message| DriveError::TakeOver { attempt, message })?;
        live.masker = crate::site::Site::masker(&secrets);
        let report = match pick_up {
            PickUp::Ended(record) => Report::Ended(record),
            PickUp::Gone(message) => Report::Vanished { attempt, message },
            PickUp::Started(started) if started.reach() == Reach::Elsewhere => {
                return self.await_unknown(task, &started, step.on_unknown);
            }
            PickUp::Started(started) => {
                let slot = self.crew.slots.take_anyway(self.demand(task));
                self.tasks[task].live.as_mut().expect("looked at above").slot = Some(slot);
                let journal = crate::owner::journal_path(&self.folder);
                return self
                    .executor
                    .adopt(&started, &journal)
                    .map_err(|message| DriveError::TakeOver { attempt, message });
            }
        };
        // The loop holds the other end itself.
        let _ = self.sender.send(Event::Report(report));
        Ok(())
    }

    /// An attempt whose supervisor is on another machine, and of which nobody here can say whether it lives. Its outcome
    /// is waited for, unless the step prefers to be tried again.
    fn await_unknown(&mut self, task: usize, started: &Started, policy: OnUnknown) -> Result<(), DriveError> {
        let (attempt, host) = (started.attempt, &started.place.host);
        let name = self.label(task).name;
        if policy == OnUnknown::Retry {
            let message = format!("it was started on {host}, where nobody can be asked (on_unknown: retry)");
            // The loop holds the other end itself.
            let _ = self.sender.send(Event::Report(Report::Vanished { attempt, message }));
            return Ok(());
        }
        let message = format!(
            "{name}: its attempt was started on {host} and cannot be proven dead from here; it waits for the outcome \
             (on_unknown: wait)"
        );
        self.reporter.event(&RunEvent::Warning { message });
        self.unknown.push(task);
        Ok(())
    }

    /// Looks whether outcomes of attempts on other machines have come into the journal.
    pub(super) fn look_for_unknown(&mut self) {
        let path = crate::owner::journal_path(&self.folder);
        let Ok(entries) = journal::read(&path) else { return };
        let (sender, tasks) = (&self.sender, &self.tasks);
        self.unknown.retain(|task| {
            let Some(live) = &tasks[*task].live else { return false };
            let Some(PickUp::Ended(record)) = PickUp::of(live.uuid, &entries) else { return true };
            // The loop holds the other end itself.
            let _ = sender.send(Event::Report(Report::Ended(record)));
            false
        });
    }

    /// Starts an attempt that is on record as soon as the machine has room for it beside other runs.
    pub(super) fn spawn(&mut self, task: usize) {
        if let Some(changed) = self.tasks[task].live.as_ref().and_then(|live| live.tainted.clone()) {
            // Put on record by an earlier owner and never started: it must not start as something else.
            return self.never_started(task, Cause::Lost, changed);
        }
        let demand = self.demand(task);
        if let Some(slot) = self.crew.slots.try_take(demand) {
            return self.slot_granted(task, slot);
        }
        let attempt = self.tasks[task].live.as_ref().expect("only attempts on record are started").uuid;
        let sender = self.sender.clone();
        self.crew.slots.wait(demand, move |slot| {
            // Where nobody hears it any more, it goes on to the next.
            let _ = sender.send(Event::Slot { task, attempt, slot });
        });
    }

    /// Prepares an attempt that has its part of the machine; a thread of its own does so where it may take a while.
    pub(super) fn slot_granted(&mut self, task: usize, slot: Slot) {
        let live = self.tasks[task].live.as_mut().expect("only attempts on record are started");
        if live.judgement.is_some() {
            return;
        }
        live.slot = Some(slot);
        let data = &self.tasks[task];
        let (Some(step), Some(derived), Some(live)) = (self.step_of(task), data.derived.clone(), data.live.as_ref())
        else {
            unreachable!("only attempts on record are started")
        };
        let (site, prepared, step) = (self.site.clone(), Arc::clone(&self.prepared), Arc::new(step.clone()));
        let slow = derived.facts.python.is_some()
            || derived.things().any(|(_, thing)| thing.kind == runstone_core::record::ContentKind::Dir);
        let (uuid, number, run_number, folder) =
            (live.uuid, live.number, self.number, self.attempt_folder(task, live.number));
        let prepare = move |tell: &mut dyn FnMut(&str)| {
            let place = Place {
                attempt: uuid,
                number,
                run_number,
                folder,
                cwd: &prepared.folder,
                pipeline: &prepared.pipeline.name,
                partition: prepared.partition.as_ref().map(Key::as_str),
                log_limit: site.project.config().log_limit.value,
            };
            let secrets = site.secrets(&step)?;
            staging::spec(&site, &step, &derived, &place, tell).map(|spec| Staging { spec, secrets })
        };
        if !slow {
            let staged = prepare(&mut |_| {});
            return self.staged(task, staged);
        }
        let (sender, name) = (self.sender.clone(), self.label(task).name);
        self.help(move || {
            let told = sender.clone();
            let mut tell = |line: &str| {
                // A line lost at the end of the loop is no loss.
                let _ = told.send(Event::Building { name: name.clone(), line: line.to_owned() });
            };
            let staged = Box::new(prepare(&mut tell));
            let _ = sender.send(Event::Staged { task, attempt: uuid, staged });
        });
    }

    /// Starts an attempt that is prepared.
    pub(super) fn staged(&mut self, task: usize, staged: Result<Staging, String>) {
        let label = self.label(task);
        let Some(live) = self.tasks[task].live.as_mut() else { return };
        if live.stop.is_some() {
            return self.never_started(task, Cause::Cancelled, "the run was stopped".to_owned());
        }
        let Staging { spec, secrets } = match staged {
            Ok(staging) => staging,
            Err(message) => return self.never_started(task, Cause::Internal, message),
        };
        live.masker = crate::site::Site::masker(&secrets);
        live.started = true;
        let attempt = live.number;
        if let Err(error) = self.executor.start(&spec, &secrets) {
            return self.never_started(task, Cause::Internal, crate::text(&error));
        }
        failpoint::hit("after_spawn");
        self.reporter.event(&RunEvent::TaskStarted { task: label, attempt });
    }

    /// Ends an attempt that has no process and will have none.
    pub(super) fn never_started(&mut self, task: usize, cause: Cause, message: String) {
        let judgement = without_process(cause, message, clock::now());
        self.let_go_of_slot(task);
        self.inputs.push_back(Input::Exited { task });
        self.judged(task, Box::new(judgement));
    }

    fn let_go_of_slot(&mut self, task: usize) {
        if let Some(live) = self.tasks[task].live.as_mut() {
            live.slot = None;
        }
    }

    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Ended(record) => match self.by_attempt.get(&record.attempt).copied() {
                Some(task) => self.judge(task, record),
                None => self.judge_adopted(record),
            },
            Report::Vanished { attempt, message } => match self.by_attempt.get(&attempt).copied() {
                Some(task) => self.never_started(task, Cause::Lost, message),
                None => self.adopted(attempt, Box::new(without_process(Cause::Lost, message, clock::now()))),
            },
        }
    }

    /// The slots of the attempt are free from here on; looking at its outputs is done by another thread.
    pub(super) fn judge(&mut self, task: usize, record: OutcomeRecord) {
        failpoint::hit("after_outcome");
        self.let_go_of_slot(task);
        self.inputs.push_back(Input::Exited { task });
        let (Some(step), Some(derived), Some(live)) =
            (self.step_of(task), self.tasks[task].derived.clone(), self.tasks[task].live.as_ref())
        else {
            unreachable!("only steps have attempts, and what is asked of them is worked out before")
        };
        let attempt = live.uuid;
        let datasets = step.outputs.keys().map(|output| self.prepared.pipeline.dataset(step, output)).collect();
        let subset = self.prepared.subset(&derived.cell);
        let remains = Remains {
            record,
            folder: self.attempt_folder(task, live.number),
            step: Arc::new(step.clone()),
            derived,
            home: self.prepared.folder.clone(),
            masker: live.masker.clone(),
        };
        let case = Case {
            remains,
            datasets,
            subset,
            notes: Arc::clone(&self.notes),
            again: live.asked.is_some(),
            tainted: live.tainted.clone(),
        };
        let (site, sender) = (self.site.clone(), self.sender.clone());
        self.have_judged(move || {
            let judgement = Box::new(judge::judge(&site, &case));
            // Without a loop the outcome stays in the journal, where the next owner finds it.
            let _ = sender.send(Event::Judged { task, attempt, judgement });
        });
    }

    pub(super) fn judged(&mut self, task: usize, judgement: Box<Judgement>) {
        let Some(live) = self.tasks[task].live.as_mut() else { return };
        self.by_attempt.remove(&live.uuid);
        let failure = judgement.failure.clone();
        live.judgement = Some(judgement);
        failpoint::hit("after_collect");
        self.inputs.push_back(Input::Ended { task, failure });
    }

    pub(super) fn attempt_folder(&self, task: usize, number: u32) -> PathBuf {
        self.folder.join(format!("{}.{number}", self.tasks[task].row))
    }

    pub(super) fn step_of(&self, task: usize) -> Option<&Step> {
        self.prepared.graph.step(&self.prepared.pipeline, self.tasks[task].node)
    }
}

/// The judgement of an attempt that left nothing behind.
pub(crate) fn without_process(cause: Cause, message: String, at: Timestamp) -> Judgement {
    Judgement {
        failure: Some(Failure { cause, exit_code: None, message: message.clone() }),
        end: AttemptEnd { message: Some(message), ..AttemptEnd::new(at, at, cause) },
        outputs: Vec::new(),
        metrics: Vec::new(),
        metadata: None,
        objects: runstone_exec::objects::Batch::default(),
    }
}
