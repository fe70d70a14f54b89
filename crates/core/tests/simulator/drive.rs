//! Driving one run: the machine of the run decides, supervisors do, the record is written first. Whatever becomes
//! uncertain ends the driver, and the run is claimed again and gone on with from what is on record.

use std::collections::BTreeMap;

use runstone_core::attempt::Cause;
use runstone_core::executor::Stop;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::machine::{self, Answer, Failure, Limits, Machine, Policy, Prior, Verdict};
use runstone_core::record::{AttemptEnd, AttemptKind, ContentKind, RunEnvironment, RunId, TaskState};
use runstone_core::service::machine::Input;
use runstone_core::service::record::{Claim, SubmissionRecord};
use runstone_core::service::store::Claimed;
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, PoolAsk, SettleTask, StartAttempt,
};
use runstone_core::time::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::host::{Outcome, PickUp, Pid};
use crate::model::{Mutation, Rows};
use crate::plans::Plan;
use crate::shell::{Mail, Proc, What};
use crate::world::{Event, SECOND, World};

/// What a driver hears.
#[derive(Debug)]
pub(crate) enum Note {
    TryLock,
    Created,
    ReadAgain,
    Read(Box<Rows>),
    Applied(Vec<Applied>),
    Released,
    /// A call failed; whether it was made is not known.
    Failed,
    /// Somebody else has the run.
    Lost,
    Machine(machine::Input),
    /// The attempt ended, or its supervisor did.
    StepOver(Uuid),
}

pub(crate) struct Driver {
    claim: Claim,
    submission: SubmissionRecord,
    owner: Option<Ownership>,
    plan: Plan,
    machine: Option<Machine>,
    /// By task: number, identity, and how it ended.
    attempts: BTreeMap<u32, (u32, Uuid, Option<Outcome>)>,
    batch: Vec<(Change, Step)>,
    committing: Option<Vec<Step>>,
    stop: Option<Stop>,
    hands_over: bool,
    is_over: bool,
    begins: bool,
}

/// What a change was for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Start(usize),
    Other,
    End,
}

impl World {
    pub(crate) fn start_driver(&mut self, pid: Pid, proc: &mut Proc, claimed: Claimed) {
        let Claimed { claim, owner, submission } = claimed;
        let plan = self.plans.iter().find(|plan| plan.name == submission.pipeline).expect("a pipeline of this world");
        let driver = Driver {
            claim,
            owner,
            plan: plan.clone(),
            submission,
            machine: None,
            attempts: BTreeMap::new(),
            batch: Vec::new(),
            committing: None,
            stop: None,
            hands_over: false,
            is_over: false,
            begins: owner.is_none(),
        };
        proc.drivers.insert(claim.run, driver);
        self.tell(pid, claim, 100, Note::TryLock);
    }

    fn tell(&mut self, pid: Pid, claim: Claim, most_us: u64, note: Note) {
        let delay = self.dice.between(0, most_us);
        self.after(delay, Event::Arrive(pid, Mail::Driver { run: claim.run, claims: claim.claims, note }));
    }

    /// Tells whoever drives a run that one of its steps is over.
    pub(crate) fn tell_driver(&mut self, run: RunId, attempt: Uuid) {
        let drives = |proc: &Proc| proc.drivers.get(&run).filter(|one| one.machine.is_some()).map(|one| one.claim);
        let found: Vec<(Pid, Claim)> =
            self.procs.iter().filter_map(|(pid, proc)| Some((*pid, drives(proc)?))).collect();
        for (pid, claim) in found {
            self.tell(pid, claim, 5_000, Note::StepOver(attempt));
        }
    }

    pub(crate) fn on_note(&mut self, pid: Pid, proc: &mut Proc, run: RunId, claims: i64, note: Note) {
        let Some(mut driver) = proc.drivers.remove(&run) else { return };
        if driver.claim.claims == claims {
            self.hear(pid, proc, &mut driver, note);
        }
        if driver.is_over {
            self.host.unlock(run, pid);
            self.feed(pid, proc, Input::Ended { run });
        } else {
            proc.drivers.insert(run, driver);
        }
    }

    fn hear(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver, note: Note) {
        let claim = driver.claim;
        match note {
            Note::TryLock | Note::ReadAgain if driver.hands_over => self.release(pid, proc, driver),
            Note::TryLock => {
                let regardless = self.breaks(Mutation::AdoptsWithoutLock);
                if !self.host.lock(claim.run, pid, regardless) {
                    let wait = Mail::Driver { run: claim.run, claims: claim.claims, note: Note::TryLock };
                    return self.after(self.config.pace.ttl / 50, Event::Arrive(pid, wait));
                }
                let what = match driver.owner {
                    None => What::Create(claim, Box::new(driver.new_run())),
                    Some(_) => What::Read(claim),
                };
                self.call(pid, proc, what);
            }
            Note::Created => {
                driver.owner = Some(Ownership { run: claim.run, epoch: 1 });
                let priors = vec![Prior::Open { attempts: 0 }; driver.plan.steps.len()];
                self.begin(pid, proc, driver, &priors);
            }
            Note::ReadAgain => self.call(pid, proc, What::Read(claim)),
            Note::Read(rows) => {
                let priors = self.priors(driver, &rows);
                self.begin(pid, proc, driver, &priors);
            }
            Note::Failed if driver.machine.is_none() && driver.owner.is_some() && !driver.hands_over => {
                let wait = Mail::Driver { run: claim.run, claims: claim.claims, note: Note::ReadAgain };
                self.after(SECOND / 2, Event::Arrive(pid, wait));
            }
            Note::Failed | Note::Lost | Note::Released => driver.is_over = true,
            Note::Applied(applied) => self.applied(pid, proc, driver, applied),
            Note::Machine(input) => self.drive(pid, proc, driver, input),
            Note::StepOver(attempt) => self.step_over(pid, proc, driver, attempt),
        }
    }

    /// What is on record of the tasks, with the processes that are there.
    fn priors(&mut self, driver: &mut Driver, rows: &Rows) -> Vec<Prior> {
        let mut priors = Vec::new();
        for task in &rows.tasks {
            priors.push(match task.state {
                TaskState::Waiting | TaskState::Retrying => Prior::Open { attempts: task.attempts },
                TaskState::Assigned => {
                    let attempt = rows.attempts.iter().find(|one| Some(one.id) == task.attempt).expect("on record");
                    driver.attempts.insert(task.index, (attempt.number, attempt.uuid, None));
                    let never = self.host.pick_up(attempt.uuid) == PickUp::Never;
                    let spawned = !never && !self.breaks(Mutation::JournalNotRead);
                    Prior::Live { number: attempt.number, spawned }
                }
                state => Prior::Settled(state),
            });
        }
        priors
    }

    fn begin(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver, priors: &[Prior]) {
        let seed = driver.claim.run.0.as_u64_pair().1;
        let limits = Limits { jobs: 2, cpu_milli: 2000, mem: 0, ahead: 3 };
        let policy = Policy { fail_fast: seed.is_multiple_of(4), seed };
        driver.machine = Some(Machine::new(driver.plan.layout(priors), limits, policy));
        self.drive(pid, proc, driver, machine::Input::Begin);
        if let Some(how) = driver.stop {
            self.drive(pid, proc, driver, machine::Input::Stop(how));
        }
        for (_, attempt, _) in driver.attempts.clone().into_values() {
            if matches!(self.host.pick_up(attempt), PickUp::Ended(_) | PickUp::Gone) {
                self.tell(pid, driver.claim, 5_000, Note::StepOver(attempt));
            }
        }
        if driver.hands_over {
            self.release(pid, proc, driver);
        }
    }

    fn drive(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver, input: machine::Input) {
        if driver.hands_over && driver.committing.is_none() {
            return;
        }
        let now = self.true_time(self.now(proc.place).steady);
        let Some(machine) = &mut driver.machine else { return };
        for command in machine.step(input, now) {
            self.carry_out(pid, driver, command, now);
        }
        self.flush(pid, proc, driver);
    }

    fn carry_out(&mut self, pid: Pid, driver: &mut Driver, command: machine::Command, now: Timestamp) {
        let claim = driver.claim;
        match command {
            machine::Command::Open { node } => {
                let chance = claim.run.0.as_u64_pair().1.rotate_right(8 + u32::try_from(node).unwrap());
                let skip = chance.is_multiple_of(16) && !self.lucky;
                let verdict = if skip { Verdict::Skip("its condition is false".to_owned()) } else { Verdict::Go };
                self.tell(pid, claim, 3_000, Note::Machine(machine::Input::Opened { node, verdict }));
            }
            machine::Command::Look { task } => {
                self.tell(pid, claim, 3_000, Note::Machine(machine::Input::Looked { task, answer: Answer::Miss }));
            }
            machine::Command::Assign { task, number } => {
                let attempt = self.dice.uuid();
                let index = u32::try_from(task).unwrap();
                driver.attempts.insert(index, (number, attempt, None));
                driver.batch.push((driver.start(index, number, attempt), Step::Start(task)));
            }
            machine::Command::Spawn { task } => {
                let index = u32::try_from(task).unwrap();
                let (_, attempt, _) = driver.attempts[&index];
                self.spawn(attempt, claim.run, index, driver.plan.steps[task].most_us);
            }
            machine::Command::Kill { task, how } => {
                if let Some((_, attempt, _)) = driver.attempts.get(&u32::try_from(task).unwrap()) {
                    self.kill_step(*attempt, how);
                }
            }
            machine::Command::Finish { task, next, reason, .. } => {
                let index = u32::try_from(task).unwrap();
                let (number, _, outcome) = driver.attempts.remove(&index).expect("what ends was begun");
                driver.batch.push((driver.finish(index, number, outcome, next, reason, now), Step::Other));
            }
            machine::Command::Settle { task, state, reason } => {
                let task = u32::try_from(task).unwrap();
                let settle = SettleTask { task, state, reason, reuse: None };
                driver.batch.push((Change::Settle(settle), Step::Other));
            }
            machine::Command::Publish { .. } => unreachable!("no step of this world is done by the engine"),
            machine::Command::Wake { at } => {
                let mail =
                    Mail::Driver { run: claim.run, claims: claim.claims, note: Note::Machine(machine::Input::Tick) };
                self.after(at.since(now) + 100, Event::Arrive(pid, mail));
            }
            machine::Command::End { state, reason } => {
                driver.batch.push((Change::EndRun { state, reason }, Step::End));
            }
        }
    }

    /// Sends what is to be put on record, one batch at a time.
    fn flush(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver) {
        let (None, false, Some(owner)) = (&driver.committing, driver.batch.is_empty(), driver.owner) else { return };
        if driver.hands_over {
            return;
        }
        let (changes, steps): (Vec<Change>, Vec<Step>) = std::mem::take(&mut driver.batch).into_iter().unzip();
        driver.committing = Some(steps);
        self.call(pid, proc, What::Commit(driver.claim, owner, changes));
    }

    fn applied(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver, applied: Vec<Applied>) {
        let steps = driver.committing.take().expect("one batch at a time");
        if driver.hands_over {
            return self.release(pid, proc, driver);
        }
        for (step, applied) in steps.into_iter().zip(applied) {
            match (step, applied) {
                (Step::Start(task), Applied::Started { .. }) => {
                    self.drive(pid, proc, driver, machine::Input::Assigned { task });
                }
                (Step::Start(task), Applied::Full) => {
                    self.drive(pid, proc, driver, machine::Input::Held { task });
                    let note = Note::Machine(machine::Input::Released { task });
                    let mail = Mail::Driver { run: driver.claim.run, claims: driver.claim.claims, note };
                    self.after(400_000, Event::Arrive(pid, mail));
                }
                (Step::End, Applied::Done) => driver.is_over = true,
                (step, Applied::Stale) => self.violated(format!(
                    "{step:?} of run #{} met another state than its owner believed in",
                    driver.submission.number
                )),
                _ => {}
            }
        }
        self.flush(pid, proc, driver);
    }

    fn step_over(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver, attempt: Uuid) {
        let found = driver.attempts.iter().find(|(_, (_, uuid, outcome))| *uuid == attempt && outcome.is_none());
        let Some((&task, _)) = found else { return };
        let outcome = match self.host.pick_up(attempt) {
            PickUp::Ended(outcome) => outcome,
            PickUp::Gone => Outcome { cause: Cause::Lost, exit_code: None },
            PickUp::Never | PickUp::Runs => return,
        };
        driver.attempts.get_mut(&task).expect("found above").2 = Some(outcome);
        let task = task as usize;
        let is_clean = outcome.cause == Cause::Exit && outcome.exit_code == Some(0);
        let message = format!("it ended: {}", outcome.cause.as_str());
        let failure = Failure { cause: outcome.cause, exit_code: outcome.exit_code, message };
        self.drive(pid, proc, driver, machine::Input::Exited { task });
        self.drive(pid, proc, driver, machine::Input::Ended { task, failure: (!is_clean).then_some(failure) });
    }

    pub(crate) fn stop_driver(&mut self, pid: Pid, proc: &mut Proc, run: RunId, how: Stop) {
        let Some(mut driver) = proc.drivers.remove(&run) else { return };
        driver.stop = Some(how);
        if driver.machine.is_some() {
            self.drive(pid, proc, &mut driver, machine::Input::Stop(how));
        }
        proc.drivers.insert(run, driver);
    }

    pub(crate) fn hand_over(&mut self, pid: Pid, proc: &mut Proc, run: RunId) {
        let Some(mut driver) = proc.drivers.remove(&run) else { return };
        driver.hands_over = true;
        if driver.machine.is_some() && driver.committing.is_none() {
            self.release(pid, proc, &mut driver);
        }
        proc.drivers.insert(run, driver);
    }

    fn release(&mut self, pid: Pid, proc: &Proc, driver: &mut Driver) {
        driver.committing = None;
        driver.machine = None;
        self.call(pid, proc, What::Release(driver.claim));
    }

    /// Remembers in which boot attempts were put on record.
    pub(crate) fn note_attempts(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Start(start) = change {
                self.host.note_assigned(start.uuid);
            }
        }
    }
}

impl Driver {
    /// Whether its run was begun by it, and not by an earlier owner.
    pub(crate) fn begins(&self) -> bool {
        self.begins
    }

    fn new_run(&self) -> NewRun {
        let task = |index: usize| NewTask {
            index: u32::try_from(index).unwrap(),
            step: format!("s{index}"),
            cell: String::new(),
        };
        NewRun {
            id: self.claim.run,
            pipeline: self.submission.pipeline.clone(),
            definition: String::new(),
            definition_path: String::new(),
            params: Value::Null,
            request: Value::Null,
            trigger: self.submission.trigger.clone(),
            created: Timestamp(0),
            store_marker: self.submission.store_marker,
            partition: self.submission.partition.clone(),
            claim: Some(self.claim),
            environment: RunEnvironment::default(),
            tasks: (0..self.plan.steps.len()).map(task).collect(),
        }
    }

    fn start(&self, task: u32, number: u32, uuid: Uuid) -> Change {
        let slots = self.plan.steps[task as usize].slots;
        let priority = self.submission.priority;
        Change::Start(StartAttempt {
            task,
            number,
            uuid,
            kind: AttemptKind::Run,
            fingerprint: Fingerprint::from_bytes([0; 32]),
            derivation: Vec::new(),
            pins: Vec::new(),
            keeps: Vec::new(),
            claim: false,
            pool: (slots > 0).then(|| PoolAsk { name: "gpu".to_owned(), slots, priority }),
        })
    }

    fn finish(
        &self,
        task: u32,
        number: u32,
        outcome: Option<Outcome>,
        next: TaskState,
        reason: Option<String>,
        now: Timestamp,
    ) -> Change {
        // One that was never started ends with its run.
        let outcome = outcome.unwrap_or(Outcome { cause: Cause::Cancelled, exit_code: None });
        let succeeded = next == TaskState::Succeeded;
        let output = NewMaterialization {
            output: "out".to_owned(),
            dataset: format!("{}/s{task}", self.submission.pipeline),
            subset: String::new(),
            hash: ContentHash::from_bytes([0; 32]),
            kind: ContentKind::File,
            size: 1,
            files: 1,
            rows: None,
            file_name: "out".to_owned(),
            profile: None,
        };
        let end = AttemptEnd { exit_code: outcome.exit_code, ..AttemptEnd::new(now, now, outcome.cause) };
        Change::Finish(Box::new(FinishAttempt {
            task,
            number,
            succeeded,
            end,
            outputs: if succeeded { vec![output] } else { Vec::new() },
            metrics: Vec::new(),
            metadata: None,
            next,
            reason,
            reusable: succeeded,
        }))
    }
}
