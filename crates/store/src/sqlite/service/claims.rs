//! Claims: who may begin or drive a submitted run. Each is a compare-and-set; a claim of a run that is on record ends the
//! rights of its earlier owner in the same transaction.

use runstone_core::record::RunId;
use runstone_core::service::record::{Claim, SchedulerId, SchedulerState, SubmissionRecord, SubmissionState};
use runstone_core::service::store::Claimed;
use runstone_core::store::StoreError;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::super::commit::expect_one;
use super::super::{Outcome, decode, runs};
use super::{schedulers, submissions};
use crate::service::CANCELLED;

pub(super) fn claim(
    tx: &Transaction<'_>,
    project: i64,
    run: RunId,
    scheduler: SchedulerId,
    now: Timestamp,
    clock: Timestamp,
) -> Outcome<Option<Claimed>> {
    let Some(submission) = submissions::get(tx, project, run)? else { return Ok(None) };
    let is_free = match submission.state {
        SubmissionState::Queued => is_its_turn(tx, project, &submission)?,
        SubmissionState::Claimed => submission.scheduler == Some(scheduler),
        SubmissionState::Running => submission.scheduler == Some(scheduler) || !is_driven(tx, submission.scheduler)?,
        _ => false,
    };
    if !is_free || !schedulers::may_claim(tx, project, scheduler, clock)? {
        return Ok(None);
    }
    let changed = tx
        .prepare_cached(
            "UPDATE submission SET scheduler_id = ?2, claims = claims + 1,
                    state = CASE state WHEN 'queued' THEN 'claimed' ELSE state END
             WHERE run_id = ?1",
        )?
        .execute(params![run.0.as_bytes(), scheduler.0.as_bytes()])?;
    expect_one(changed)?;
    let owner = match submission.state {
        SubmissionState::Running => Some(runs::next_epoch(tx, run, false, now)?),
        _ => None,
    };
    let submission = SubmissionRecord {
        state: if owner.is_some() { SubmissionState::Running } else { SubmissionState::Claimed },
        scheduler: Some(scheduler),
        claims: submission.claims + 1,
        ..submission
    };
    let claim = Claim { run, scheduler, claims: submission.claims };
    Ok(Some(Claimed { claim, owner, submission }))
}

/// Whether no earlier run of its group is live.
fn is_its_turn(tx: &Transaction<'_>, project: i64, submission: &SubmissionRecord) -> Outcome<bool> {
    let Some(group) = &submission.group else { return Ok(true) };
    Ok(tx
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM submission WHERE project_id = ?1 AND queue_group = ?2 AND number < ?3
                                  AND state IN ('queued', 'claimed', 'running'))",
        )?
        .query_row(params![project, group, submission.number], |row| row.get(0))?)
}

/// Whether a run has a scheduler that is not gone.
fn is_driven(tx: &Transaction<'_>, scheduler: Option<SchedulerId>) -> Outcome<bool> {
    let Some(scheduler) = scheduler else { return Ok(false) };
    let state = tx
        .prepare_cached("SELECT state FROM scheduler WHERE id = ?1")?
        .query_row([scheduler.0.as_bytes()], |row| decode::spelled(row, 0, SchedulerState::parse))
        .optional()?;
    Ok(state.is_some_and(|state| state != SchedulerState::Gone))
}

/// The state of a submission, and whether its end was asked for before its run was on record; none where the claim is not
/// valid any more.
fn held(tx: &Transaction<'_>, project: i64, claim: Claim) -> Outcome<Option<(SubmissionState, Option<String>)>> {
    Ok(tx
        .prepare_cached(
            "SELECT state, cancel FROM submission WHERE run_id = ?1 AND project_id = ?2 AND scheduler_id = ?3
               AND claims = ?4 AND state IN ('claimed', 'running')",
        )?
        .query_row(params![claim.run.0.as_bytes(), project, claim.scheduler.0.as_bytes(), claim.claims], |row| {
            Ok((decode::spelled(row, 0, SubmissionState::parse)?, row.get(1)?))
        })
        .optional()?)
}

pub(super) fn release(tx: &Transaction<'_>, project: i64, claim: Claim, now: Timestamp) -> Outcome<bool> {
    let Some((state, cancel)) = held(tx, project, claim)? else { return Ok(false) };
    match (state, cancel) {
        (SubmissionState::Claimed, Some(_)) => {
            submissions::end(tx, claim.run, SubmissionState::Cancelled, Some(CANCELLED), now)?;
        }
        (SubmissionState::Claimed, None) => {
            let changed = tx
                .prepare_cached("UPDATE submission SET state = 'queued', scheduler_id = NULL WHERE run_id = ?1")?
                .execute([claim.run.0.as_bytes()])?;
            expect_one(changed)?;
        }
        _ => {
            let changed = tx
                .prepare_cached("UPDATE submission SET scheduler_id = NULL WHERE run_id = ?1")?
                .execute([claim.run.0.as_bytes()])?;
            expect_one(changed)?;
        }
    }
    Ok(true)
}

pub(super) fn fail(tx: &Transaction<'_>, project: i64, claim: Claim, reason: &str, now: Timestamp) -> Outcome<bool> {
    let Some((SubmissionState::Claimed, _)) = held(tx, project, claim)? else { return Ok(false) };
    submissions::end(tx, claim.run, SubmissionState::Failed, Some(reason), now)?;
    Ok(true)
}

/// What a scheduler that is gone had claimed and not begun goes back to the queue, or ends where that was asked for.
pub(super) fn requeue_of(tx: &Transaction<'_>, project: i64, scheduler: SchedulerId, now: Timestamp) -> Outcome<()> {
    let id = scheduler.0.as_bytes();
    tx.prepare_cached(
        "UPDATE submission SET state = 'cancelled', reason = ?3, ended = ?4
         WHERE project_id = ?1 AND scheduler_id = ?2 AND state = 'claimed' AND cancel IS NOT NULL",
    )?
    .execute(params![project, id, CANCELLED, now.0])?;
    tx.prepare_cached(
        "UPDATE submission SET state = 'queued', scheduler_id = NULL
         WHERE project_id = ?1 AND scheduler_id = ?2 AND state = 'claimed'",
    )?
    .execute(params![project, id])?;
    Ok(())
}

/// The run that is claimed comes to be on record. Gives its number, and how its end was asked for meanwhile.
pub(in super::super) fn begin(tx: &Transaction<'_>, project: i64, claim: Claim) -> Outcome<(i64, Option<String>)> {
    let Some((SubmissionState::Claimed, cancel)) = held(tx, project, claim)? else {
        return Err(StoreError::LostOwnership { run: claim.run }.into());
    };
    let number = tx
        .prepare_cached("UPDATE submission SET state = 'running' WHERE run_id = ?1 RETURNING number")?
        .query_row([claim.run.0.as_bytes()], |row| row.get(0))?;
    Ok((number, cancel))
}
