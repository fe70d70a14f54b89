//! Schedules: which fires are due, and what is decided about them.
//!
//! Every scheduler knows every schedule. So that they do not all decide the same fire at the same moment, each schedule
//! has an order of schedulers: the first decides at once, and each further one looks a little later whether it is done.
//! Nothing but delay depends on that order: the cursor on record decides who was first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::{Ask, Command, Machine, Now, mix};
use crate::schedule::{self, Compiled, Decision};
use crate::service::launch::{NO_PARTITION, ScheduleSpec, When};
use crate::service::record::{FireDecision, FireOutcome, FireVerdict, ScheduleId, ScheduleRecord, SchedulerId};
use crate::time::Timestamp;

/// The most decisions of one question.
const MOST_DECISIONS: usize = 500;

/// The most decisions about one schedule in it, so that one that is far behind does not hold up the others.
const MOST_OF_ONE: usize = 100;

/// The most schedules of one question.
const MOST_RELOADED: usize = 1000;

/// How much later each further scheduler looks whether a fire is decided; a quarter of the grace if that is less.
const LAG_US: u64 = 1_000_000;

/// How long a schedule rests whose fires cannot be told, microseconds.
const REST_US: u64 = 60_000_000;

#[derive(Debug, Default)]
pub(super) struct Fires {
    entries: BTreeMap<ScheduleId, Entry>,
    /// Those that are triggers.
    triggers: BTreeSet<ScheduleId>,
    /// When schedules are to be looked at, by the wall clock.
    due: BTreeSet<(Timestamp, ScheduleId)>,
    /// Decisions under way.
    deciding: Vec<Pending>,
    /// What triggers saw, to be decided next.
    pub(super) seen: Vec<FireDecision>,
    /// Schedules of which it is not known any more what is on record.
    unsure: BTreeSet<ScheduleId>,
    /// The newest change that is known here.
    rev: i64,
    /// The newest change there is.
    newest: i64,
    /// The question under way: a row of changes, or single schedules.
    loading: Option<Loading>,
    loaded_once: bool,
    /// Schedulers that are alive.
    peers: Vec<SchedulerId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Loading {
    /// At least up to this one, which was there when it was asked.
    Changes(i64),
    These(Vec<ScheduleId>),
}

#[derive(Debug)]
struct Pending {
    schedule: ScheduleId,
    generation: i64,
    until: Timestamp,
    seen: Option<Value>,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Without its spec, unless it is a trigger.
    pub(super) record: ScheduleRecord,
    pub(super) plan: Plan,
    /// Where it stands in `due`.
    at: Option<Timestamp>,
    /// A decision is under way.
    deciding: bool,
    /// Read from the record after its next fire was due.
    fresh: bool,
}

/// What a schedule does.
#[derive(Debug)]
pub(super) enum Plan {
    Timed {
        compiled: Compiled,
        spec: Box<ScheduleSpec>,
        key: String,
    },
    Trigger(Box<ScheduleSpec>),
    /// A program that knows more wrote it; it is left to that.
    Unreadable(String),
}

impl Plan {
    fn read(record: &ScheduleRecord) -> Self {
        let spec = match ScheduleSpec::read(record) {
            Ok(spec) => Box::new(spec),
            Err(error) => return Self::Unreadable(error.to_string()),
        };
        let When::Schedule(schedule) = &spec.when else { return Self::Trigger(spec) };
        match schedule.compile() {
            Ok(compiled) => Self::Timed { compiled, spec, key: format!("{}/{}", record.pipeline, record.name) },
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

impl Entry {
    fn new(mut record: ScheduleRecord) -> Self {
        let plan = Plan::read(&record);
        if matches!(plan, Plan::Timed { .. }) {
            record.spec = Value::Null;
        }
        Self { record, plan, at: None, deciding: false, fresh: false }
    }

    /// Whether what is known of it may be acted on.
    pub(super) fn is_in_force(&self) -> bool {
        self.record.active && !self.record.paused && !self.deciding
    }

    fn next_due(&self) -> Option<Timestamp> {
        let Plan::Timed { compiled, key, .. } = &self.plan else { return None };
        compiled.after(self.record.cursor).map(|fire| compiled.due(key, fire))
    }
}

impl Machine {
    /// Schedules that this version cannot read, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (&ScheduleRecord, &str)> {
        self.fires.entries.values().filter_map(|entry| match &entry.plan {
            Plan::Unreadable(reason) => Some((&entry.record, reason.as_str())),
            _ => None,
        })
    }

    pub(super) fn loaded(&mut self, records: Vec<ScheduleRecord>) {
        if !self.asks.answered(Ask::Schedules) {
            return;
        }
        let loading = self.fires.loading.take();
        match loading {
            Some(Loading::These(ids)) => {
                for id in ids {
                    self.fires.unsure.remove(&id);
                    if !records.iter().any(|record| record.id == id) {
                        self.fires.forget(id);
                    }
                }
            }
            Some(Loading::Changes(newest)) => {
                self.fires.loaded_once = true;
                let newest = records.iter().map(|record| record.rev).max().unwrap_or(0).max(newest);
                self.fires.rev = self.fires.rev.max(newest);
            }
            None => {}
        }
        for record in records {
            self.fires.take_in(record);
        }
    }

    pub(super) fn load_failed(&mut self, now: Now) {
        self.asks.failed(Ask::Schedules, now.steady);
        self.fires.loading = None;
    }

    pub(super) fn there_are_changes(&mut self, newest: i64, peers: Vec<SchedulerId>) {
        self.fires.newest = self.fires.newest.max(newest);
        self.fires.peers = peers;
    }

    /// Reads what changed, or else what is not known any more.
    pub(super) fn load(&mut self, now: Now) {
        if !self.fires.has_to_load() || !self.asks.begin(Ask::Schedules, now.steady) {
            return;
        }
        if !self.fires.loaded_once || self.fires.newest > self.fires.rev {
            self.fires.loading = Some(Loading::Changes(self.fires.newest));
            self.out.push(Command::LoadSchedules { after_rev: self.fires.rev });
        } else {
            let ids: Vec<ScheduleId> = self.fires.unsure.iter().copied().take(MOST_RELOADED).collect();
            self.fires.loading = Some(Loading::These(ids.clone()));
            self.out.push(Command::ReloadSchedules(ids));
        }
    }

    /// Decides what is due.
    pub(super) fn decide(&mut self, now: Now) {
        if self.asks.ready_at(Ask::Decide).is_none_or(|at| at > now.steady) {
            return;
        }
        let mut batch = Vec::new();
        let seen = self.fires.seen.len().min(MOST_DECISIONS);
        for decision in self.fires.seen.drain(..seen).collect::<Vec<_>>() {
            if let Some(entry) = self.fires.entries.get_mut(&decision.schedule)
                && entry.is_in_force()
            {
                entry.deciding = true;
                batch.push(decision);
            }
        }
        while batch.len() < MOST_DECISIONS
            && let Some(&(at, id)) = self.fires.due.first()
            && at <= now.wall
        {
            self.decide_one(id, now, &mut batch);
        }
        if batch.is_empty() || !self.asks.begin(Ask::Decide, now.steady) {
            return;
        }
        self.fires.deciding = batch
            .iter()
            .map(|decision| Pending {
                schedule: decision.schedule,
                generation: decision.generation,
                until: decision.until,
                seen: decision.seen.clone(),
            })
            .collect();
        self.out.push(Command::Decide(batch));
    }

    /// Decides what is due of one schedule, or puts it where it belongs.
    fn decide_one(&mut self, id: ScheduleId, now: Now, batch: &mut Vec<FireDecision>) {
        let lag = self.lag(id);
        let entry = self.fires.entries.get_mut(&id).expect("what is due is known");
        let Plan::Timed { compiled, spec, key } = &entry.plan else { return self.fires.put(id, None) };
        if lag > 0 && !entry.fresh {
            let later = entry.next_due().map(|due| due.plus_micros(lag));
            if later.is_some_and(|later| later > now.wall) {
                return self.fires.put(id, later);
            }
            self.fires.put(id, None);
            self.fires.unsure.insert(id);
            return;
        }
        let grace = Duration::from_micros(self.settings.grace_us);
        let record = &entry.record;
        let decided = schedule::decide(compiled, key, record.cursor, now.wall, grace);
        if decided.decisions.is_empty() {
            let again = now.wall.plus_micros(REST_US);
            return self.fires.put(id, Some(again));
        }
        let room = (MOST_DECISIONS - batch.len()).min(MOST_OF_ONE);
        let mut cursor = record.cursor;
        for decision in decided.decisions.into_iter().take(room) {
            let (time, until, verdict) = match decision {
                Decision::Fire { time } => {
                    let home = (self.settings.project, self.settings.store_marker);
                    let submission = Box::new(spec.submission(record, time, None, home));
                    let verdict = if spec.lacks_partition(&submission) {
                        FireVerdict::Skip { reason: NO_PARTITION.to_owned(), count: 1 }
                    } else {
                        FireVerdict::Submit { submission, overlap: spec.overlap() }
                    };
                    (time, time, verdict)
                }
                Decision::Skip { from, until, count, reason } => {
                    (from, until, FireVerdict::Skip { reason: reason.as_str().to_owned(), count })
                }
            };
            let generation = record.generation;
            batch.push(FireDecision { schedule: id, generation, cursor, time, until, seen: None, verdict });
            cursor = until;
        }
        entry.deciding = true;
        self.fires.put(id, None);
    }

    pub(super) fn decided(&mut self, outcomes: &[FireOutcome]) {
        if !self.asks.answered(Ask::Decide) {
            return;
        }
        let deciding = std::mem::take(&mut self.fires.deciding);
        for (at, pending) in deciding.iter().enumerate() {
            let outcome = outcomes.get(at).unwrap_or(&FireOutcome::Stale);
            self.fires.settle(pending, *outcome != FireOutcome::Stale);
        }
        for pending in deciding {
            self.fires.plan(pending.schedule);
        }
    }

    /// What came of the decisions is not known: it is read back.
    pub(super) fn deciding_failed(&mut self, now: Now) {
        self.asks.failed(Ask::Decide, now.steady);
        for pending in std::mem::take(&mut self.fires.deciding) {
            self.fires.settle(&pending, false);
            self.fires.plan(pending.schedule);
        }
    }

    /// How much later than its time a fire is this scheduler's to look after.
    fn lag(&self, schedule: ScheduleId) -> u64 {
        let rank = |one: SchedulerId| mix(mix(one.0.as_u64_pair().1) ^ schedule.0.unsigned_abs());
        let mine = rank(self.settings.id);
        let before = self.fires.peers.iter().filter(|one| **one != self.settings.id && rank(**one) < mine).count();
        before as u64 * LAG_US.min(self.settings.grace_us / 4)
    }

    pub(super) fn wake_for_fires(&self, now: Now) -> (u64, Option<Timestamp>) {
        let load = if self.fires.has_to_load() { self.asks.ready_at(Ask::Schedules) } else { None };
        let load = load.unwrap_or(u64::MAX);
        let Some(ready) = self.asks.ready_at(Ask::Decide) else { return (load, None) };
        if !self.fires.seen.is_empty() {
            return (load.min(ready), None);
        }
        match self.fires.due.first() {
            // It waits for a pause to pass.
            Some((at, _)) if *at <= now.wall => (load.min(ready), None),
            Some((at, _)) => (load, Some(*at)),
            None => (load, None),
        }
    }

    pub(super) fn all_triggers(&self) -> impl Iterator<Item = &Entry> {
        self.fires.triggers.iter().filter_map(|id| self.fires.entries.get(id))
    }

    pub(super) fn entry(&self, id: ScheduleId) -> Option<&Entry> {
        self.fires.entries.get(&id)
    }

    pub(super) fn is_sure_of(&self, id: ScheduleId) -> bool {
        !self.fires.unsure.contains(&id)
    }
}

impl Fires {
    fn has_to_load(&self) -> bool {
        !self.loaded_once || self.newest > self.rev || !self.unsure.is_empty()
    }

    /// Takes in a schedule as it was on record some time ago: nothing known here that is newer gives way to it.
    fn take_in(&mut self, record: ScheduleRecord) {
        let id = record.id;
        match self.entries.get_mut(&id) {
            Some(entry) if (entry.record.generation, entry.record.rev) > (record.generation, record.rev) => {}
            Some(entry) if entry.record.generation == record.generation && entry.record.cursor > record.cursor => {
                let (cursor, seen) = (entry.record.cursor, entry.record.seen.clone());
                let deciding = entry.deciding;
                *entry = Entry { deciding, at: entry.at, ..Entry::new(ScheduleRecord { cursor, seen, ..record }) };
            }
            Some(entry) => {
                let (deciding, at) = (entry.deciding, entry.at);
                *entry = Entry { deciding, at, fresh: true, ..Entry::new(record) };
            }
            None => {
                self.entries.insert(id, Entry::new(record));
            }
        }
        self.plan(id);
    }

    fn forget(&mut self, id: ScheduleId) {
        self.put(id, None);
        self.entries.remove(&id);
        self.triggers.remove(&id);
    }

    /// Takes in what came of a decision.
    fn settle(&mut self, pending: &Pending, applied: bool) {
        let Some(entry) = self.entries.get_mut(&pending.schedule) else { return };
        entry.deciding = false;
        entry.fresh = false;
        if !applied {
            self.unsure.insert(pending.schedule);
        } else if entry.record.generation == pending.generation && entry.record.cursor < pending.until {
            entry.record.cursor = pending.until;
            if let Some(seen) = &pending.seen {
                entry.record.seen = seen.clone();
            }
        }
    }

    /// Puts a schedule where its next fire belongs.
    fn plan(&mut self, id: ScheduleId) {
        let Some(entry) = self.entries.get(&id) else { return };
        if matches!(entry.plan, Plan::Trigger(_)) {
            self.triggers.insert(id);
        } else {
            self.triggers.remove(&id);
        }
        let at = if entry.is_in_force() && !self.unsure.contains(&id) { entry.next_due() } else { None };
        self.put(id, at);
    }

    fn put(&mut self, id: ScheduleId, at: Option<Timestamp>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut entry.at, at) {
            self.due.remove(&(before, id));
        }
        if let Some(at) = at {
            self.due.insert((at, id));
        }
    }
}
