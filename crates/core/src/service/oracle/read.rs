//! Reads a snapshot out of a store: all of the record, or what belongs to the time since a moment.

use std::collections::BTreeSet;

use super::Snapshot;
use crate::record::{NodeId, RunId, RunRecord};
use crate::service::launch::{ScheduleSpec, When};
use crate::service::record::{FireRecord, ScheduleRecord};
use crate::service::store::FireFilter;
use crate::store::{Result, RunFilter, RunRef, Store};
use crate::time::{Timestamp, micros};

/// Clocks of schedulers and of the database differ by less than this: what they write down together is found together.
const SKEW_US: u64 = 3_600_000_000;
/// Rows that are asked for at once, newest first; four times as many the next time.
const FIRST: u32 = 1000;

impl Snapshot {
    /// Reads all of a project's record, but for earlier generations of schedules, which no store keeps. Schedulers that
    /// take part meanwhile are seen at different moments: a finding of a busy project counts when it is found again.
    ///
    /// # Errors
    /// Any [`StoreError::Database`](crate::store::StoreError::Database).
    pub fn read(store: &mut dyn Store) -> Result<Self> {
        let mut snapshot = Self::now(store)?;
        snapshot.fires = store.fires(&FireFilter::default())?;
        snapshot.runs = store.runs(&RunFilter::default())?;
        snapshot.read_submissions(store)?;
        snapshot.read_runs(store)?;
        Ok(snapshot)
    }

    /// Reads what was put on record since a moment, at most so many runs, and all that is not over yet. Returns the moment
    /// from which on it is complete: an earlier one than asked for where something older is not over, a later one where
    /// there are more runs. Schedules appear as if they had been activated with their first fire since then.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_since(store: &mut dyn Store, since: Timestamp, most_runs: u32) -> Result<(Self, Timestamp)> {
        let mut snapshot = Self::now(store)?;
        let runs = newest(
            most_runs,
            since,
            |run: &RunRecord| run.created,
            |limit| store.runs(&RunFilter { limit: Some(limit), ..RunFilter::default() }),
        )?;
        let is_cut = runs.len() >= most_runs as usize;
        let since = if is_cut { runs.last().map_or(since, |oldest| oldest.created) } else { since };
        let live = snapshot.submissions.iter().map(|one| one.created);
        let backfills = snapshot.backfills.iter().filter(|one| one.ended.is_none()).map(|one| one.created);
        let from = live.chain(backfills).min().map_or(since, |oldest| oldest.min(since));
        let windows = snapshot.schedules.iter().map(window_us).max().unwrap_or(0);
        let margin = Timestamp(from.0.saturating_sub_unsigned(windows.saturating_add(SKEW_US)));
        snapshot.backfills.retain(|one| one.created >= from);
        snapshot.fires = newest(
            u32::MAX,
            margin,
            |fire: &FireRecord| fire.time,
            |limit| store.fires(&FireFilter { limit: Some(limit), ..FireFilter::default() }),
        )?;
        for schedule in &mut snapshot.schedules {
            begin_later(schedule, &snapshot.fires, margin);
        }
        snapshot.runs = runs;
        snapshot.read_submissions(store)?;
        let asked: BTreeSet<RunId> = snapshot.fires.iter().filter_map(|fire| fire.run).collect();
        snapshot.submissions.retain(|one| one.created >= from || asked.contains(&one.run));
        snapshot.read_missing_runs(store)?;
        snapshot.read_runs(store)?;
        Ok((snapshot, since))
    }

    /// What there are few of, and what is not over.
    fn now(store: &mut dyn Store) -> Result<Self> {
        Ok(Self {
            schedulers: store.schedulers(u32::MAX)?,
            schedules: store.schedules(0)?,
            submissions: store.live_submissions(u32::MAX)?,
            backfills: store.backfills(false)?,
            pools: store.pools()?,
            ..Self::default()
        })
    }

    /// The submissions of runs, fires and backfills.
    fn read_submissions(&mut self, store: &mut dyn Store) -> Result<()> {
        let mut known: BTreeSet<RunId> = self.submissions.iter().map(|one| one.run).collect();
        let runs = self.runs.iter().map(|run| run.id);
        let asked: BTreeSet<RunId> = runs.chain(self.fires.iter().filter_map(|fire| fire.run)).collect();
        let mut numbers: BTreeSet<i64> = self.submissions.iter().map(|one| one.number).collect();
        let items = self.backfills.iter().flat_map(|backfill| &backfill.submitted).map(|item| item.number);
        let items: Vec<RunRef> = items.filter(|number| numbers.insert(*number)).map(RunRef::Number).collect();
        let asked = asked.difference(&known).map(|run| RunRef::Prefix(run.to_string()));
        for which in asked.chain(items).collect::<Vec<_>>() {
            let found = store.submission(&which)?;
            self.submissions.extend(found.filter(|submission| known.insert(submission.run)));
        }
        Ok(())
    }

    fn read_missing_runs(&mut self, store: &mut dyn Store) -> Result<()> {
        let known: BTreeSet<RunId> = self.runs.iter().map(|run| run.id).collect();
        for submission in self.submissions.iter().filter(|one| !known.contains(&one.run)) {
            self.runs.extend(store.run(&RunRef::Prefix(submission.run.to_string()))?);
        }
        Ok(())
    }

    /// Tasks, attempts, publications and events of the runs.
    fn read_runs(&mut self, store: &mut dyn Store) -> Result<()> {
        self.runs.sort_by_key(|run| run.number);
        for run in &self.runs {
            self.tasks.extend(store.tasks(run.id)?);
            let attempts = store.attempts(run.id, None)?;
            let ids: Vec<NodeId> = attempts.iter().map(|attempt| attempt.id).collect();
            self.published.extend(store.published(&ids)?);
            self.attempts.extend(attempts);
            self.events.extend(store.events(run.id, 0)?);
        }
        Ok(())
    }
}

/// Rows of a list that is read newest first, as far back as a moment, at most so many.
fn newest<T>(
    most: u32,
    since: Timestamp,
    at: impl Fn(&T) -> Timestamp,
    mut read: impl FnMut(u32) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let mut limit = FIRST.min(most);
    loop {
        let mut rows = read(limit)?;
        let is_all = rows.len() < limit as usize || limit == most;
        if is_all || rows.last().is_some_and(|oldest| at(oldest) < since) {
            rows.retain(|row| at(row) >= since);
            return Ok(rows);
        }
        limit = limit.saturating_mul(4).min(most);
    }
}

/// How long before its decision a fire that starts a run may have been due, microseconds.
fn window_us(schedule: &ScheduleRecord) -> u64 {
    let Ok(ScheduleSpec { when: When::Schedule(timed), .. }) = ScheduleSpec::read(schedule) else { return 0 };
    micros(timed.catchup.window)
}

/// Where fires of a schedule were left out, it begins with the first one that was not.
fn begin_later(schedule: &mut ScheduleRecord, fires: &[FireRecord], from: Timestamp) {
    if schedule.activated >= from {
        return;
    }
    let is_of_it = |fire: &&FireRecord| (fire.schedule, fire.generation) == (schedule.id, schedule.generation);
    let first = fires.iter().filter(is_of_it).map(|fire| fire.time).min();
    schedule.activated = first.map_or(schedule.cursor, |first| Timestamp(first.0 - 1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::record::ScheduleId;

    const OF_IT: ScheduleId = ScheduleId(1);

    fn fire(time: i64) -> FireRecord {
        let (time, decided) = (Timestamp(time), Timestamp(time + 5));
        FireRecord {
            schedule: OF_IT,
            generation: 2,
            time,
            until: time,
            count: 1,
            decided,
            run: None,
            number: None,
            reason: None,
        }
    }

    fn schedule(activated: i64) -> ScheduleRecord {
        ScheduleRecord {
            id: OF_IT,
            pipeline: "p".to_owned(),
            name: "main".to_owned(),
            timing: String::new(),
            spec: serde_json::Value::Null,
            generation: 2,
            active: true,
            paused: false,
            activated: Timestamp(activated),
            cursor: Timestamp(500),
            seen: serde_json::Value::Null,
            rev: 1,
        }
    }

    #[test]
    fn a_list_is_read_as_far_back_as_needed() {
        let rows: Vec<i64> = (0..100_000).rev().collect();
        let read = |since: i64, most: u32| {
            let mut asked = Vec::new();
            let found = newest(
                most,
                Timestamp(since),
                |row: &i64| Timestamp(*row),
                |limit| {
                    asked.push(limit);
                    Ok(rows.iter().copied().take(limit as usize).collect())
                },
            );
            (found.unwrap().len(), asked)
        };
        assert_eq!(read(99_500, u32::MAX), (500, vec![1000]));
        assert_eq!(read(97_000, u32::MAX), (3000, vec![1000, 4000]));
        assert_eq!(read(-1, u32::MAX), (100_000, vec![1000, 4000, 16_000, 64_000, 256_000]));
        assert_eq!(read(-1, 2000), (2000, vec![1000, 2000]));
    }

    #[test]
    fn a_schedule_begins_with_its_first_fire_that_was_read() {
        let begins = |activated, fires: &[FireRecord], from| {
            let mut record = schedule(activated);
            begin_later(&mut record, fires, Timestamp(from));
            record.activated.0
        };
        assert_eq!(begins(100, &[fire(300), fire(200)], 150), 199);
        assert_eq!(begins(100, &[], 150), 500, "without any it begins where it is");
        assert_eq!(begins(160, &[fire(200)], 150), 160, "all of it was read");
        let of_another = FireRecord { generation: 1, ..fire(170) };
        assert_eq!(begins(100, &[fire(300), of_another], 150), 299);
    }
}
