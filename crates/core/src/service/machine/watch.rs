//! Triggers: looked after every now and then, and decided like fires.

use std::collections::BTreeMap;

use super::fires::Plan;
use super::{Ask, Command, Machine, Now, Sighting};
use crate::service::launch::NO_PARTITION;
use crate::service::record::{FireDecision, FireVerdict, ScheduleId, ScheduleRecord};
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When to look next, on the steady clock.
    at: u64,
    /// What is being looked after: what was seen counts only for a schedule that is still where it was.
    watched: BTreeMap<ScheduleId, (i64, Timestamp)>,
}

impl Machine {
    pub(super) fn watch(&mut self, now: Now) {
        if now.steady < self.watch.at || self.asks.ready_at(Ask::Watch).is_none_or(|at| at > now.steady) {
            return;
        }
        let triggers: Vec<ScheduleRecord> = self.triggers().cloned().collect();
        if triggers.is_empty() || !self.asks.begin(Ask::Watch, now.steady) {
            return;
        }
        self.watch.at = now.steady.saturating_add(self.settings.watch_us);
        self.watch.watched = triggers.iter().map(|one| (one.id, (one.generation, one.cursor))).collect();
        self.out.push(Command::Watch(triggers));
    }

    /// Triggers that are in force, and of which it is known what is on record.
    fn triggers(&self) -> impl Iterator<Item = &ScheduleRecord> {
        let is_waiting = |id| self.fires.seen.iter().any(|decision| decision.schedule == id);
        self.all_triggers()
            .filter(|entry| entry.is_in_force())
            .map(|entry| &entry.record)
            .filter(move |record| self.is_sure_of(record.id) && !is_waiting(record.id))
    }

    pub(super) fn watched(&mut self, sightings: Vec<Sighting>, now: Now) {
        if !self.asks.answered(Ask::Watch) {
            return;
        }
        let watched = std::mem::take(&mut self.watch.watched);
        for sighting in sightings {
            let Some(entry) = self.entry(sighting.schedule) else { continue };
            let record = &entry.record;
            let is_same = watched.get(&record.id) == Some(&(record.generation, record.cursor));
            if !is_same || !entry.is_in_force() || !self.is_sure_of(record.id) {
                continue;
            }
            if sighting.fires.is_none() && sighting.seen == record.seen {
                continue;
            }
            // Where another clock is ahead, the next moment after its last decision will do.
            let time = now.wall.max(record.cursor.plus_micros(1));
            let verdict = match (&sighting.fires, &entry.plan) {
                (Some(cause), Plan::Trigger(spec)) => {
                    let home = (self.settings.project, self.settings.store_marker);
                    let submission = Box::new(spec.submission(record, time, Some(cause), home));
                    if spec.lacks_partition(&submission) {
                        FireVerdict::Skip { reason: NO_PARTITION.to_owned(), count: 1 }
                    } else {
                        FireVerdict::Submit { submission, overlap: spec.overlap() }
                    }
                }
                _ => FireVerdict::Nothing,
            };
            let (schedule, generation, cursor) = (record.id, record.generation, record.cursor);
            let seen = Some(sighting.seen);
            self.fires.seen.push(FireDecision { schedule, generation, cursor, time, until: time, seen, verdict });
        }
    }

    pub(super) fn wake_for_watch(&self) -> u64 {
        if self.triggers().next().is_none() {
            return u64::MAX;
        }
        self.asks.ready_at(Ask::Watch).map_or(u64::MAX, |ready| ready.max(self.watch.at))
    }
}
