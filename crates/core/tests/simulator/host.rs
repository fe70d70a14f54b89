//! The machine that schedulers run on: locks that the kernel frees with their holder's death, supervisors that outlive
//! everybody, and the journals they write.

use std::collections::{BTreeMap, BTreeSet};

use runstone_core::attempt::Cause;
use runstone_core::record::{RunId, RunState};
use uuid::Uuid;

use crate::world::{Event, World};

/// Number of a process; never used again.
pub(crate) type Pid = u32;

#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Processes that exist, paused ones included.
    pub(crate) alive: BTreeSet<Pid>,
    pub(crate) locks: BTreeMap<RunId, Pid>,
    /// Steps that are just being started: their supervisors hold the lock of the run, too.
    starting: BTreeMap<RunId, u32>,
    /// What supervisors noted, by attempt.
    pub(crate) journal: BTreeMap<Uuid, Entry>,
    /// Attempts that have a process, by task.
    pub(crate) running: BTreeMap<(RunId, u32), Vec<Uuid>>,
    /// Which boot this is: what was started in an earlier one is over.
    boot: u32,
    /// In which boot an attempt was put on record.
    assigned: BTreeMap<Uuid, u32>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) outcome: Option<Outcome>,
    /// The supervisor was killed: nothing will be noted any more.
    pub(crate) vanished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) cause: Cause,
    pub(crate) exit_code: Option<i32>,
}

/// What is known of an attempt that somebody else started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PickUp {
    Never,
    Runs,
    Ended(Outcome),
    Gone,
}

impl Host {
    /// Takes the lock of a run's folder, if nobody holds it.
    pub(crate) fn lock(&mut self, run: RunId, pid: Pid, regardless: bool) -> bool {
        let held = self.locks.get(&run).is_some_and(|holder| *holder != pid && self.alive.contains(holder));
        let starting = self.starting.get(&run).is_some_and(|count| *count > 0);
        let free = regardless || !(held || starting);
        if free {
            self.locks.insert(run, pid);
        }
        free
    }

    pub(crate) fn unlock(&mut self, run: RunId, pid: Pid) {
        if self.locks.get(&run) == Some(&pid) {
            self.locks.remove(&run);
        }
    }

    pub(crate) fn note_assigned(&mut self, attempt: Uuid) {
        self.assigned.insert(attempt, self.boot);
    }

    /// What an owner finds of an attempt. What was begun before the machine was restarted is gone, whatever was noted.
    pub(crate) fn pick_up(&self, attempt: Uuid) -> PickUp {
        let this_boot = self.assigned.get(&attempt).is_none_or(|boot| *boot == self.boot);
        if this_boot { self.pick_up_ever(attempt) } else { PickUp::Gone }
    }

    /// What became of an attempt in truth.
    pub(crate) fn pick_up_ever(&self, attempt: Uuid) -> PickUp {
        match self.journal.get(&attempt) {
            None => PickUp::Never,
            Some(Entry { outcome: Some(outcome), .. }) => PickUp::Ended(*outcome),
            Some(Entry { vanished: true, .. }) => PickUp::Gone,
            Some(_) => PickUp::Runs,
        }
    }
}

impl World {
    /// Hands an attempt to a supervisor.
    pub(crate) fn spawn(&mut self, attempt: Uuid, run: RunId, task: u32, most_us: u64) {
        *self.host.starting.entry(run).or_default() += 1;
        let delay = self.dice.between(200, 30_000);
        let boot = self.host.boot;
        self.after(delay, Event::Spawn { attempt, run, task, most_us, boot });
    }

    /// The supervisor starts the process.
    pub(crate) fn spawned(&mut self, attempt: Uuid, run: RunId, task: u32, most_us: u64, boot: u32) {
        if let Some(count) = self.host.starting.get_mut(&run) {
            *count -= 1;
        }
        if boot != self.host.boot {
            return;
        }
        if self.host.journal.contains_key(&attempt) {
            return self.violated(format!("attempt {attempt} of task {task} of {run} was executed twice"));
        }
        let others = self.host.running.entry((run, task)).or_default();
        if !others.is_empty() {
            let sentence = format!("two attempts of task {task} of {run} run at once");
            return self.violated(sentence);
        }
        others.push(attempt);
        if self.model.runs.get(&run).is_none_or(|rows| rows.run.state != RunState::Running) {
            return self.violated(format!("a step of {run} starts, which is over"));
        }
        self.host.journal.insert(attempt, Entry { run, task, outcome: None, vanished: false });
        let lasts = self.dice.between(20_000, most_us);
        let outcome = match self.dice.below(10) {
            _ if self.lucky => Outcome { cause: Cause::Exit, exit_code: Some(0) },
            0 | 1 => Outcome { cause: Cause::Exit, exit_code: Some(1) },
            2 => Outcome { cause: Cause::Signal, exit_code: None },
            _ => Outcome { cause: Cause::Exit, exit_code: Some(0) },
        };
        self.after(lasts, Event::StepEnds { attempt, outcome });
    }

    /// The process ends by itself, or because somebody asked for it; the supervisor notes it before it tells anybody.
    pub(crate) fn step_ends(&mut self, attempt: Uuid, outcome: Outcome) {
        let Some(entry) = self.host.journal.get_mut(&attempt) else { return };
        if entry.outcome.is_some() || entry.vanished {
            return;
        }
        entry.outcome = Some(outcome);
        let (run, task) = (entry.run, entry.task);
        self.process_gone(run, task, attempt);
        self.tell_driver(run, attempt);
    }

    /// The supervisor of an attempt is killed, and with it the process.
    pub(crate) fn kill_supervisor(&mut self, attempt: Uuid) {
        let Some(entry) = self.host.journal.get_mut(&attempt).filter(|entry| entry.outcome.is_none()) else { return };
        entry.vanished = true;
        let (run, task) = (entry.run, entry.task);
        self.process_gone(run, task, attempt);
        self.tell_driver(run, attempt);
    }

    fn process_gone(&mut self, run: RunId, task: u32, attempt: Uuid) {
        if let Some(running) = self.host.running.get_mut(&(run, task)) {
            running.retain(|one| *one != attempt);
            if running.is_empty() {
                self.host.running.remove(&(run, task));
            }
        }
    }

    /// Everything on the machine ends, and what was not synced is lost.
    pub(crate) fn reboot(&mut self) {
        self.host.boot += 1;
        for pid in self.host.alive.clone() {
            self.kill(pid);
        }
        let running: Vec<Uuid> = self.host.running.values().flatten().copied().collect();
        for attempt in running {
            self.kill_supervisor(attempt);
        }
        self.host.locks.clear();
    }
}
