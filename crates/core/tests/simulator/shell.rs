//! A scheduler process around the machine of the service: it asks the database what the machine wants to know, and
//! drives the runs that the machine takes on.

use std::collections::BTreeMap;

use runstone_core::record::RunId;
use runstone_core::service::machine::{Ask, Command, Input, Look, Machine, Now, Settings, Sighting};
use runstone_core::service::record::{
    Claim, FireDecision, NewScheduler, ScheduleId, ScheduleRecord, SchedulerId, SchedulerState,
};
use runstone_core::service::store::{Beat, ServiceStore};
use runstone_core::store::{Change, NewRun, Ownership, StoreError};
use runstone_core::time::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::drive::{Driver, Note};
use crate::host::Pid;
use crate::model::Mutation;
use crate::world::{Event, Pace, SECOND, World};

pub(crate) const TTL: u64 = 15 * SECOND;

/// After this long without an answer a call counts as failed.
const TIMEOUT: u64 = 5 * SECOND;

pub(crate) struct Proc {
    pub(crate) place: usize,
    pub(crate) id: SchedulerId,
    pub(crate) machine: Machine,
    pub(crate) paused: bool,
    backlog: Vec<Mail>,
    pub(crate) drivers: BTreeMap<RunId, Driver>,
    capacity: u32,
    /// The wake-up that was asked for last, and its number.
    wake: Option<(u64, Option<Timestamp>)>,
    wakes: u64,
    leaves: bool,
}

/// What reaches a process.
#[derive(Debug)]
pub(crate) enum Mail {
    Service(SchedulerId, Input),
    /// The answer to a registration, or none.
    Registered(SchedulerId, Option<u64>),
    /// The registration failed some time ago.
    Register(SchedulerId),
    Left,
    Wake(u64),
    Driver {
        run: RunId,
        claims: i64,
        note: Note,
    },
    Drain,
}

/// A question to the database.
#[derive(Debug)]
pub(crate) struct Call {
    pid: Pid,
    id: SchedulerId,
    asked: u64,
    pub(crate) what: What,
    answer_us: u64,
    /// It takes so long that nobody waits for the answer any more.
    silent: bool,
}

#[derive(Debug)]
pub(crate) enum What {
    Register(Box<NewScheduler>),
    Renew(SchedulerState),
    Schedules(i64),
    SchedulesById(Vec<ScheduleId>),
    Decide(Vec<FireDecision>),
    Look,
    Claim(RunId),
    Bury(SchedulerId),
    Advance(Uuid),
    Watch(Vec<ScheduleRecord>),
    Leave,
    Create(Claim, Box<NewRun>),
    Read(Claim),
    Commit(Claim, Ownership, Vec<Change>),
    Release(Claim),
}

impl Call {
    pub(crate) fn changes_something(&self) -> bool {
        !matches!(
            self.what,
            What::Schedules(_) | What::SchedulesById(_) | What::Look | What::Watch(_) | What::Read(_) | What::Renew(_)
        )
    }

    /// What is told when it failed.
    fn failure(&self) -> Mail {
        let ask = match &self.what {
            What::Register(_) => return Mail::Registered(self.id, None),
            What::Leave => return Mail::Left,
            What::Create(claim, _) | What::Read(claim) | What::Commit(claim, ..) | What::Release(claim) => {
                return Mail::Driver { run: claim.run, claims: claim.claims, note: Note::Failed };
            }
            What::Renew(_) => Ask::Renew,
            What::Schedules(_) | What::SchedulesById(_) => Ask::Schedules,
            What::Decide(_) => Ask::Decide,
            What::Look => Ask::Look,
            What::Claim(run) => Ask::Claim(*run),
            What::Bury(id) => Ask::Bury(*id),
            What::Advance(id) => Ask::Backfill(*id),
            What::Watch(_) => Ask::Watch,
        };
        Mail::Service(self.id, Input::Failed(ask))
    }
}

impl World {
    pub(crate) fn boot(&mut self, place: usize) {
        if self.closed.contains(&place) || self.procs.values().any(|proc| proc.place == place) {
            return;
        }
        self.next_pid += 1;
        let pid = self.next_pid;
        let chance = 1 + u32::try_from(self.dice.below(4)).unwrap();
        let capacity = self.capacity.unwrap_or(chance);
        let (id, machine) = self.new_machine(capacity);
        let proc = Proc {
            place,
            id,
            machine,
            paused: false,
            backlog: Vec::new(),
            drivers: BTreeMap::new(),
            capacity,
            wake: None,
            wakes: 0,
            leaves: false,
        };
        self.host.alive.insert(pid);
        self.note(|| format!("{pid} boots in place {place} as {}", id.0));
        self.register(pid, &proc);
        self.procs.insert(pid, proc);
    }

    fn new_machine(&mut self, capacity: u32) -> (SchedulerId, Machine) {
        let id = SchedulerId(self.dice.uuid());
        let Pace { ttl, margin, renew, poll, .. } = self.config.pace;
        let settings = Settings {
            id,
            project: self.project,
            store_marker: self.store_marker,
            capacity: if self.breaks(Mutation::CapacityNotCounted) { 1000 } else { capacity },
            ttl_us: ttl,
            margin_us: margin,
            renew_us: renew,
            poll_us: poll,
            grace_us: 10 * SECOND,
            watch_us: 3 * SECOND,
        };
        (id, Machine::new(settings))
    }

    fn register(&mut self, pid: Pid, proc: &Proc) {
        let new = NewScheduler {
            id: proc.id,
            host: "here".to_owned(),
            pid,
            pid_start: 0,
            place: "here".to_owned(),
            version: String::new(),
            store_marker: self.store_marker,
            capacity: proc.capacity,
            ttl_ms: self.config.pace.ttl / 1000,
        };
        self.call(pid, proc, What::Register(Box::new(new)));
    }

    pub(crate) fn now(&self, place: usize) -> Now {
        let wall = Timestamp(self.true_time(self.at).0 + self.skew[place]);
        Now { wall, steady: self.at + 1_000_000 * place as u64 }
    }

    /// Sends a question on its way.
    pub(crate) fn call(&mut self, pid: Pid, proc: &Proc, what: What) {
        let slow = self.at < self.slow_until;
        let straggles = self.flaky > 0 && self.dice.permille(self.config.stragglers);
        let travel = |dice: &mut crate::dice::Dice| match (straggles, slow) {
            (true, _) => dice.between(SECOND, 40 * SECOND),
            (_, true) => dice.between(100_000, 3 * SECOND),
            _ => dice.between(300, 9_000),
        };
        let (there, answer_us) = (travel(&mut self.dice), travel(&mut self.dice));
        let silent = there + answer_us > TIMEOUT;
        let asked = self.now(proc.place).steady;
        let call = Call { pid, id: proc.id, asked, what, answer_us, silent };
        if silent {
            let mail = call.failure();
            self.after(TIMEOUT, Event::Arrive(pid, mail));
        }
        self.after(there, Event::Execute(Box::new(call)));
    }

    /// The database does what it was asked to, in one transaction, or does not.
    pub(crate) fn execute(&mut self, call: &Call) {
        let lost = self.at < self.down_until || self.cut_off.contains(&call.pid) || self.dice.permille(self.flaky);
        let mail = if lost {
            call.failure()
        } else {
            let answer = self.apply(call);
            // The change was made, and nobody is told.
            if self.dice.permille(self.flaky) { call.failure() } else { answer }
        };
        if !call.silent {
            self.after(call.answer_us, Event::Arrive(call.pid, mail));
        }
    }

    fn apply(&mut self, call: &Call) -> Mail {
        let now = self.model.now;
        let sure = "a model does not fail";
        let input = match &call.what {
            What::Register(new) => {
                self.model.register(new).expect(sure);
                return Mail::Registered(call.id, Some(call.asked));
            }
            What::Leave => {
                self.model.bury(call.id, false).expect(sure);
                return Mail::Left;
            }
            What::Create(claim, new) => {
                let note = self.model.create_run(new).map_or(Note::Lost, |_| Note::Created);
                return Mail::Driver { run: claim.run, claims: claim.claims, note };
            }
            What::Read(claim) => {
                let note =
                    self.model.runs.get(&claim.run).map_or(Note::Lost, |rows| Note::Read(Box::new(rows.clone())));
                return Mail::Driver { run: claim.run, claims: claim.claims, note };
            }
            What::Commit(claim, owner, changes) => {
                let applied = self.model.commit(*owner, now, changes);
                self.note_attempts(changes);
                let note = match applied {
                    Ok(applied) => Note::Applied(applied),
                    Err(StoreError::LostOwnership { .. }) => Note::Lost,
                    Err(_) => Note::Failed,
                };
                return Mail::Driver { run: claim.run, claims: claim.claims, note };
            }
            What::Release(claim) => {
                self.model.release(*claim, now).expect(sure);
                return Mail::Driver { run: claim.run, claims: claim.claims, note: Note::Released };
            }
            What::Renew(state) => {
                let beat = self.model.beat(call.id, *state).expect(sure);
                self.note(|| format!("{} renews: {}", call.pid, beat == Beat::Renewed));
                Input::Renewed { asked: call.asked, beat }
            }
            What::Schedules(after) => Input::Schedules(self.model.schedules(*after).expect(sure)),
            What::SchedulesById(ids) => Input::Schedules(self.model.schedules_by_id(ids).expect(sure)),
            What::Decide(decisions) => Input::Decided(self.model.decide_fires(decisions, now).expect(sure)),
            What::Look => Input::Looked(self.look()),
            What::Claim(run) => {
                let claimed = self.model.claim(*run, call.id, now).expect(sure).map(Box::new);
                self.note(|| format!("{} claims {run}: {}", call.pid, claimed.is_some()));
                Input::Claimed { run: *run, claimed }
            }
            What::Bury(id) => {
                self.model.bury(*id, true).expect(sure);
                Input::Buried { scheduler: *id }
            }
            What::Advance(id) => {
                let submitted = self.model.advance_backfill(*id, now).expect(sure);
                Input::Advanced { backfill: *id, submitted }
            }
            What::Watch(triggers) => Input::Watched(triggers.iter().map(|one| self.sighting(one)).collect()),
        };
        Mail::Service(call.id, input)
    }

    fn look(&mut self) -> Look {
        let sure = "a model does not fail";
        let mut live = self.model.live_submissions(4).expect(sure);
        if self.breaks(Mutation::ClaimsOutOfTurn) {
            live.iter_mut().for_each(|one| one.group = None);
        }
        Look {
            live,
            schedulers: self.model.schedulers(0).expect(sure),
            backfills: self.model.active_backfills().expect(sure),
            schedules_rev: self.model.schedules_rev().expect(sure),
        }
    }

    fn sighting(&self, trigger: &ScheduleRecord) -> Sighting {
        let fires = trigger.seen.as_u64().filter(|seen| *seen < self.dataset).map(|_| format!("v{}", self.dataset));
        Sighting { schedule: trigger.id, seen: json!(self.dataset), fires }
    }

    pub(crate) fn arrive(&mut self, pid: Pid, mail: Mail) {
        let Some(mut proc) = self.procs.remove(&pid) else { return };
        if proc.paused {
            proc.backlog.push(mail);
        } else {
            self.receive(pid, &mut proc, mail);
        }
        if proc.leaves {
            self.host.alive.remove(&pid);
            let delay = self.dice.between(100_000, 5 * SECOND);
            self.after(delay, Event::Boot(proc.place));
        } else {
            self.procs.insert(pid, proc);
        }
    }

    fn receive(&mut self, pid: Pid, proc: &mut Proc, mail: Mail) {
        match mail {
            Mail::Registered(id, Some(asked)) if id == proc.id => self.feed(pid, proc, Input::Registered { asked }),
            Mail::Registered(id, None) if id == proc.id => {
                self.after(self.config.pace.ttl / 30, Event::Arrive(pid, Mail::Register(id)));
            }
            Mail::Register(id) if id == proc.id => self.register(pid, proc),
            // Of an identity that this process had before.
            Mail::Registered(..) | Mail::Register(_) => {}
            Mail::Service(id, input) => {
                if id == proc.id {
                    self.feed(pid, proc, input);
                }
            }
            Mail::Left => proc.leaves = true,
            Mail::Wake(number) => {
                if number == proc.wakes {
                    self.feed(pid, proc, Input::Tick);
                }
            }
            Mail::Drain => self.feed(pid, proc, Input::Drain),
            Mail::Driver { run, claims, note } => self.on_note(pid, proc, run, claims, note),
        }
    }

    pub(crate) fn feed(&mut self, pid: Pid, proc: &mut Proc, input: Input) {
        let now = self.now(proc.place);
        let quiet = input == Input::Tick;
        let commands = proc.machine.step(input, now);
        if !proc.machine.is_over() {
            let wakes = commands.iter().filter(|one| matches!(one, Command::Wake { .. })).count();
            assert!(wakes <= 1, "at most one wake-up a step");
        }
        for command in commands {
            if !quiet && !matches!(command, Command::Wake { .. }) {
                self.note(|| format!("{pid} {}", shortened(&command)));
            }
            self.obey(pid, proc, command);
        }
    }

    fn obey(&mut self, pid: Pid, proc: &mut Proc, command: Command) {
        let what = match command {
            Command::Renew { state } => What::Renew(state),
            Command::LoadSchedules { after_rev } => What::Schedules(after_rev),
            Command::ReloadSchedules(ids) => What::SchedulesById(ids),
            Command::Decide(decisions) => What::Decide(decisions),
            Command::Look => What::Look,
            Command::Claim(run) => What::Claim(run),
            Command::Bury(id) => What::Bury(id),
            Command::AdvanceBackfill(id) => What::Advance(id),
            Command::Watch(triggers) => What::Watch(triggers),
            Command::Leave => What::Leave,
            Command::Drive(claimed) => {
                self.start_driver(pid, proc, *claimed);
                // What others had begun may come on top of that.
                if proc.drivers.values().filter(|one| one.begins()).count() > proc.capacity as usize {
                    self.violated(format!("{pid} began more runs than the {} that it may drive", proc.capacity));
                }
                return;
            }
            Command::Stop { run, how } => return self.stop_driver(pid, proc, run, how),
            Command::HandOver(run) => return self.hand_over(pid, proc, run),
            Command::Abandon => return self.abandon(pid, proc),
            Command::Wake { steady, wall } => return self.wake_at(pid, proc, steady, wall),
        };
        self.call(pid, proc, what);
    }

    /// The lease is over: everything is dropped where it is, and the process begins anew.
    fn abandon(&mut self, pid: Pid, proc: &mut Proc) {
        for run in std::mem::take(&mut proc.drivers).into_keys() {
            self.host.unlock(run, pid);
        }
        let (id, machine) = self.new_machine(proc.capacity);
        (proc.id, proc.machine) = (id, machine);
        self.note(|| format!("{pid} is {} from now on", id.0));
        self.register(pid, proc);
    }

    fn wake_at(&mut self, pid: Pid, proc: &mut Proc, steady: u64, wall: Option<Timestamp>) {
        proc.wake = Some((steady, wall));
        proc.wakes += 1;
        let now = self.now(proc.place);
        let until_wall = wall.map_or(u64::MAX, |wall| wall.since(now.wall));
        let delay = steady.saturating_sub(now.steady).min(until_wall);
        if delay == 0 {
            self.violated(format!("{pid} wants to be woken at once"));
        }
        let late = self.dice.between(0, 300);
        self.after(delay + late, Event::Arrive(pid, Mail::Wake(proc.wakes)));
    }

    /// The wall clock of a place jumped: who waits for a time on it waits anew.
    pub(crate) fn clock_jumped(&mut self, place: usize) {
        let Some((&pid, proc)) = self.procs.iter().find(|(_, proc)| proc.place == place) else { return };
        let Some((steady, wall)) = proc.wake else { return };
        let mut proc = self.procs.remove(&pid).expect("found above");
        let now = self.now(place);
        if wall.is_some_and(|wall| wall <= now.wall) {
            proc.wakes += 1;
            self.after(1, Event::Arrive(pid, Mail::Wake(proc.wakes)));
        } else if steady > now.steady {
            self.wake_at(pid, &mut proc, steady, wall);
        }
        self.procs.insert(pid, proc);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, pid: Pid) {
        let Some(proc) = self.procs.remove(&pid) else { return };
        self.note(|| format!("{pid} is killed"));
        self.host.alive.remove(&pid);
        let delay = self.dice.between(100_000, 30 * SECOND);
        self.after(delay, Event::Boot(proc.place));
    }

    pub(crate) fn pause(&mut self, pid: Pid, lasts: u64) {
        if let Some(proc) = self.procs.get_mut(&pid).filter(|proc| !proc.paused) {
            proc.paused = true;
            self.note(|| format!("{pid} is paused"));
            self.after(lasts, Event::Thaw(pid));
        }
    }

    pub(crate) fn thaw(&mut self, pid: Pid) {
        let Some(proc) = self.procs.get_mut(&pid) else { return };
        proc.paused = false;
        let backlog = std::mem::take(&mut proc.backlog);
        self.note(|| format!("{pid} goes on"));
        for mail in backlog {
            // Its threads go on in any order.
            let delay = self.dice.between(0, 2_000);
            self.after(delay, Event::Arrive(pid, mail));
        }
    }
}

fn shortened(command: &Command) -> String {
    let text = match command {
        Command::Drive(claimed) => format!("Drive({} #{})", claimed.claim.run.0, claimed.submission.number),
        Command::Decide(decisions) => format!("Decide({})", decisions.len()),
        Command::Watch(triggers) => format!("Watch({})", triggers.len()),
        other => format!("{other:?}"),
    };
    text.chars().take(160).collect()
}
