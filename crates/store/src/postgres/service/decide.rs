//! Decides fires: set-wise, under the lock of the project. What the decisions are about is read in a handful of
//! statements, each decision is judged in memory on what the ones before it left, and what came of them is written in
//! a handful more, however many there are.

use std::collections::{BTreeSet, HashMap, HashSet};

use runstone_core::record::RunId;
use runstone_core::service::overlap::{self, Judgement};
use runstone_core::service::record::{
    FireDecision, FireOutcome, FireVerdict, NewSubmission, Overlap, ScheduleId, ScheduleRecord,
};
use runstone_core::time::Timestamp;
use sqlx::postgres::PgBindIterExt;

use super::super::session::{Tx, TxResult};
use super::super::value::{Time, json};
use super::cancel::{self, Asking};
use super::fires::{self, Fire};
use super::submissions::{self, Live, Queueing};
use super::{lock_project, schedules};
use crate::service::CANCELLED;

/// Applies decisions, in order.
pub(super) async fn decide(
    tx: &mut Tx<'_>,
    project: i64,
    decisions: &[FireDecision],
    now: Timestamp,
) -> TxResult<Vec<FireOutcome>> {
    let counters = lock_project(tx, project).await?;
    let ids: HashSet<ScheduleId> = decisions.iter().map(|decision| decision.schedule).collect();
    let known = schedules::by_id(tx, project, &ids).await?;
    // Where another scheduler was faster, that is the end of it.
    let wanted: Vec<&NewSubmission> = decisions
        .iter()
        .filter(|decision| known.get(&decision.schedule).is_some_and(|one| one.generation == decision.generation))
        .filter_map(|decision| match &decision.verdict {
            FireVerdict::Submit { submission, .. } => Some(&**submission),
            FireVerdict::Skip { .. } | FireVerdict::Nothing => None,
        })
        .collect();
    let live = submissions::live_of_groups(tx, project, &wanted).await?;
    let with_key = submissions::with_keys(tx, project, &wanted).await?;
    let mut deciding = Deciding {
        schedules: known,
        moved: BTreeSet::new(),
        live,
        with_key,
        number: counters.runs,
        fires: Vec::new(),
        queueing: Vec::new(),
        to_end: BTreeSet::new(),
    };
    let outcomes = decisions.iter().map(|decision| deciding.apply(decision)).collect();
    deciding.write(tx, project, (now, counters.clock)).await?;
    Ok(outcomes)
}

struct Deciding<'a> {
    schedules: HashMap<ScheduleId, ScheduleRecord>,
    moved: BTreeSet<ScheduleId>,
    /// The submissions of each group that are not over, in the order of their numbers.
    live: HashMap<String, Vec<Live>>,
    with_key: HashMap<String, (RunId, i64)>,
    /// The newest number of a run.
    number: i64,
    fires: Vec<Fire<'a>>,
    queueing: Vec<Queueing<'a>>,
    /// Runs on record, or in the queue, whose end is asked for.
    to_end: BTreeSet<RunId>,
}

impl<'a> Deciding<'a> {
    fn apply(&mut self, decision: &'a FireDecision) -> FireOutcome {
        let FireDecision { schedule, generation, cursor, time, until, ref seen, ref verdict } = *decision;
        let Some(on_record) = self.schedules.get_mut(&schedule) else { return FireOutcome::Stale };
        let is_current = on_record.generation == generation && on_record.cursor == cursor;
        if !is_current || !on_record.active || on_record.paused {
            return FireOutcome::Stale;
        }
        on_record.cursor = until;
        if let Some(seen) = seen {
            on_record.seen.clone_from(seen);
        }
        self.moved.insert(schedule);
        let fire = Fire::of(on_record, (time, time));
        let (outcome, fire) = match verdict {
            FireVerdict::Nothing => return FireOutcome::Moved,
            FireVerdict::Skip { reason, count } => {
                let fire = Fire { until, count: *count, reason: Some(reason.into()), ..fire };
                (FireOutcome::Skipped { reason: reason.clone() }, fire)
            }
            FireVerdict::Submit { submission, overlap } => match self.submit(submission, *overlap) {
                Ok((run, number)) => (FireOutcome::Submitted { run, number }, Fire { run: Some(run), ..fire }),
                Err(reason) => {
                    let fire = Fire { reason: Some(reason.clone().into()), ..fire };
                    (FireOutcome::Skipped { reason }, fire)
                }
            },
        };
        self.fires.push(fire);
        outcome
    }

    /// The run and its number, or the reason why there is none.
    fn submit(&mut self, new: &'a NewSubmission, overlap: Overlap) -> Result<(RunId, i64), String> {
        if let Some(earlier) = new.key.as_ref().and_then(|key| self.with_key.get(key)) {
            return Ok(*earlier);
        }
        let live = new.group.as_ref().and_then(|group| self.live.get(group)).map_or(&[][..], Vec::as_slice);
        let numbers: Vec<i64> = live.iter().map(|one| one.number).collect();
        match overlap::judge(overlap, &numbers) {
            Judgement::Skip(reason) => return Err(reason),
            Judgement::SubmitAndCancel => self.end_live(new.group.as_deref()),
            Judgement::Submit => {}
        }
        self.number += 1;
        let (run, number) = (new.run, self.number);
        self.queueing.push(Queueing { new, number, cancelled: false });
        if let Some(group) = &new.group {
            let place = Some(self.queueing.len() - 1);
            self.live.entry(group.clone()).or_default().push(Live { run, number, begun: false, place });
        }
        if let Some(key) = &new.key {
            self.with_key.insert(key.clone(), (run, number));
        }
        Ok((run, number))
    }

    /// Asks everything of a group to end. What was not begun is over at once.
    fn end_live(&mut self, group: Option<&str>) {
        let Some(live) = group.and_then(|group| self.live.get_mut(group)) else { return };
        for one in live.iter() {
            match one.place {
                Some(place) => self.queueing[place].cancelled = true,
                None => _ = self.to_end.insert(one.run),
            }
        }
        live.retain(|one| one.begun);
    }

    async fn write(self, tx: &mut Tx<'_>, project: i64, (now, decided): (Timestamp, Timestamp)) -> TxResult<()> {
        // The `rev` stays: who looks after a schedule knows its cursor, and the others need not read it again at each fire.
        const MOVE: &str = "UPDATE schedule s SET cursor = w.cursor, seen = w.seen::jsonb \
             FROM unnest($1::bigint[], $2::timestamptz[], $3::text[]) AS w(id, cursor, seen) WHERE s.id = w.id";
        if self.moved.is_empty() {
            return Ok(());
        }
        submissions::insert(tx, project, &self.queueing, now).await?;
        let moved: Vec<&ScheduleRecord> = self.moved.iter().map(|id| &self.schedules[id]).collect();
        let query = tx
            .query(MOVE)
            .bind(moved.iter().map(|one| one.id.0).bind_iter())
            .bind(moved.iter().map(|one| Time(one.cursor)).bind_iter())
            .bind(moved.iter().map(|one| json(&one.seen)).bind_iter());
        tx.execute(query).await?;
        fires::insert(tx, &self.fires, decided).await?;
        let asking = Asking { hard: false, reason: CANCELLED, now };
        cancel::request(tx, project, &self.to_end, asking).await?;
        Ok(())
    }
}
