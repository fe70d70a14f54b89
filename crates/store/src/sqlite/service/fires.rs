//! Fires: decided once each, in the transaction that moves the cursor of their schedule and submits their run.

use runstone_core::record::RunId;
use runstone_core::service::overlap::{self, Judgement};
use runstone_core::service::record::{
    FireDecision, FireOutcome, FireRecord, FireVerdict, NewSubmission, Overlap, ScheduleId,
};
use runstone_core::service::store::FireFilter;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::super::commit::expect_one;
use super::super::{Outcome, decode, runs};
use super::submissions;
use crate::rules;

/// A row to be put on record.
#[derive(Debug)]
pub(super) struct Fire<'a> {
    pub(super) schedule: ScheduleId,
    pub(super) generation: i64,
    pub(super) time: Timestamp,
    pub(super) until: Timestamp,
    pub(super) count: u64,
    pub(super) run: Option<RunId>,
    pub(super) reason: Option<&'a str>,
}

pub(super) fn insert(tx: &Transaction<'_>, fire: &Fire<'_>, decided: Timestamp) -> Outcome<()> {
    tx.prepare_cached(
        "INSERT INTO fire (schedule_id, generation, time, until, count, decided, run_id, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        fire.schedule.0,
        fire.generation,
        fire.time.0,
        fire.until.0,
        rules::stored("number of fire times", fire.count)?,
        decided.0,
        fire.run.map(|run| *run.0.as_bytes()),
        fire.reason,
    ])?;
    Ok(())
}

pub(super) fn decide(
    tx: &Transaction<'_>,
    project: i64,
    decisions: &[FireDecision],
    now: Timestamp,
    decided: Timestamp,
) -> Outcome<Vec<FireOutcome>> {
    let mut outcomes = Vec::with_capacity(decisions.len());
    for decision in decisions {
        if !is_current(tx, project, decision)? {
            outcomes.push(FireOutcome::Stale);
            continue;
        }
        outcomes.push(put(tx, project, decision, now, decided)?);
        go_on(tx, decision)?;
    }
    Ok(outcomes)
}

fn is_current(tx: &Transaction<'_>, project: i64, decision: &FireDecision) -> Outcome<bool> {
    Ok(tx
        .prepare_cached(
            "SELECT generation = ?3 AND cursor = ?4 AND active AND NOT paused FROM schedule
             WHERE id = ?1 AND project_id = ?2",
        )?
        .query_row(params![decision.schedule.0, project, decision.generation, decision.cursor.0], |row| row.get(0))
        .optional()?
        .unwrap_or(false))
}

/// The `rev` stays: who looks after a schedule knows its cursor, and the others need not read it again at each fire.
fn go_on(tx: &Transaction<'_>, decision: &FireDecision) -> Outcome<()> {
    let changed = tx
        .prepare_cached("UPDATE schedule SET cursor = ?2, seen = coalesce(?3, seen) WHERE id = ?1")?
        .execute(params![decision.schedule.0, decision.until.0, decision.seen.as_ref().map(ToString::to_string)])?;
    expect_one(changed)
}

fn put(
    tx: &Transaction<'_>,
    project: i64,
    decision: &FireDecision,
    now: Timestamp,
    decided: Timestamp,
) -> Outcome<FireOutcome> {
    let fire = Fire {
        schedule: decision.schedule,
        generation: decision.generation,
        time: decision.time,
        until: decision.time,
        count: 1,
        run: None,
        reason: None,
    };
    let outcome = match &decision.verdict {
        FireVerdict::Nothing => return Ok(FireOutcome::Moved),
        FireVerdict::Skip { reason, count } => {
            insert(tx, &Fire { until: decision.until, count: *count, reason: Some(reason), ..fire }, decided)?;
            return Ok(FireOutcome::Skipped { reason: reason.clone() });
        }
        FireVerdict::Submit { submission, overlap } => submit(tx, project, submission, *overlap, now)?,
    };
    match &outcome {
        FireOutcome::Submitted { run, .. } => insert(tx, &Fire { run: Some(*run), ..fire }, decided)?,
        FireOutcome::Skipped { reason } => insert(tx, &Fire { reason: Some(reason), ..fire }, decided)?,
        FireOutcome::Moved | FireOutcome::Stale => {}
    }
    Ok(outcome)
}

fn submit(
    tx: &Transaction<'_>,
    project: i64,
    submission: &NewSubmission,
    overlap: Overlap,
    now: Timestamp,
) -> Outcome<FireOutcome> {
    if let Some((run, number)) = submissions::with_key(tx, project, submission)? {
        return Ok(FireOutcome::Submitted { run, number });
    }
    let live = submissions::live_of_group(tx, project, submission.group.as_deref())?;
    let numbers: Vec<i64> = live.iter().map(|(_, number)| *number).collect();
    match overlap::judge(overlap, &numbers) {
        Judgement::Skip(reason) => return Ok(FireOutcome::Skipped { reason }),
        Judgement::SubmitAndCancel => {
            for (run, _) in &live {
                runs::request_cancel(tx, project, *run, false, now)?;
            }
        }
        Judgement::Submit => {}
    }
    let number = submissions::insert_new(tx, project, submission, now)?;
    Ok(FireOutcome::Submitted { run: submission.run, number })
}

fn record(row: &Row<'_>) -> rusqlite::Result<FireRecord> {
    Ok(FireRecord {
        schedule: ScheduleId(row.get(0)?),
        generation: row.get(1)?,
        time: Timestamp(row.get(2)?),
        until: Timestamp(row.get(3)?),
        count: decode::unsigned(row, 4)?,
        decided: Timestamp(row.get(5)?),
        run: row.get::<_, Option<[u8; 16]>>(6)?.map(|id| RunId(uuid::Uuid::from_bytes(id))),
        number: row.get(7)?,
        reason: row.get(8)?,
    })
}

/// Newest first: by (time, schedule, generation).
pub(super) fn list(tx: &Transaction<'_>, project: i64, filter: &FireFilter) -> Outcome<Vec<FireRecord>> {
    // Two statements, each along an index of its own.
    let (of_schedule, order) = match filter.schedule {
        Some(_) => ("f.schedule_id = ?2", "f.generation DESC, f.time DESC"),
        None => ("?2 IS NULL", "f.time DESC, f.schedule_id DESC, f.generation DESC"),
    };
    let mut statement = tx.prepare_cached(&format!(
        "SELECT f.schedule_id, f.generation, f.time, f.until, f.count, f.decided, f.run_id, s.number, f.reason
         FROM fire f CROSS JOIN schedule c ON c.id = f.schedule_id LEFT JOIN submission s ON s.run_id = f.run_id
         WHERE c.project_id = ?1 AND {of_schedule} AND (NOT ?3 OR f.run_id IS NULL) ORDER BY {order} LIMIT ?4"
    ))?;
    let limit = filter.limit.map_or(-1, i64::from);
    let schedule = filter.schedule.map(|id| id.0);
    let rows = statement.query_map(params![project, schedule, filter.skipped_only, limit], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
