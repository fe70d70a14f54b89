//! Claims: who may begin or drive a submitted run. Each is a compare-and-set; a claim of a run that is on record ends the
//! rights of its earlier owner in the same transaction.

use runstone_core::record::RunId;
use runstone_core::service::record::{Claim, SchedulerId, SubmissionState};
use runstone_core::service::store::Claimed;
use runstone_core::store::{Ownership, StoreError};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::super::events::{self, EventRow};
use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{Time, get, text};
use super::submissions;
use crate::event::Event;
use crate::service::CANCELLED;

/// Takes the locks of claimant, run and submission, in this order: what a join needs is read before its rows are locked.
/// The share of the claimant's lock keeps others from burying it before the claim is on record.
const LOCK: &str = "WITH claimant AS MATERIALIZED ( \
         SELECT state = 'active' AND seen + ttl_ms * interval '1 ms' > clock_timestamp() AS may \
         FROM scheduler WHERE id = $3 AND project_id = $1 FOR SHARE), \
     begun AS MATERIALIZED (SELECT id FROM run WHERE id = $2 AND project_id = $1 FOR NO KEY UPDATE) \
     SELECT c.may, b.id FROM submission s LEFT JOIN claimant c ON true LEFT JOIN begun b ON true \
     WHERE s.run_id = $2 AND s.project_id = $1 FOR NO KEY UPDATE OF s";

/// Under these locks, sees everything as it is. Who has it already, and lost the answer, may claim it anew. No earlier number of the group appears any more, and none of those that are
/// over comes back.
const TAKE: &str = "WITH taken AS ( \
         UPDATE submission s SET scheduler_id = $3, claims = s.claims + 1, \
             state = CASE s.state WHEN 'queued' THEN 'claimed' ELSE s.state END \
         WHERE s.run_id = $2 AND s.project_id = $1 AND CASE s.state \
             WHEN 'queued' THEN s.queue_group IS NULL OR NOT EXISTS ( \
                 SELECT FROM submission e WHERE e.project_id = $1 AND e.queue_group = s.queue_group \
                     AND e.number < s.number AND e.state IN ('queued', 'claimed', 'running')) \
             WHEN 'claimed' THEN s.scheduler_id = $3 \
             WHEN 'running' THEN s.scheduler_id IS NOT DISTINCT FROM $3 OR NOT EXISTS ( \
                 SELECT FROM scheduler d WHERE d.id = s.scheduler_id AND d.state <> 'gone') \
             ELSE false END \
         RETURNING s.claims, s.state), \
     owned AS ( \
         UPDATE run r SET epoch = r.epoch + 1 WHERE r.id = $2 AND EXISTS (SELECT FROM taken WHERE state = 'running') \
         RETURNING r.epoch) \
     SELECT t.claims, t.state, (SELECT epoch FROM owned) AS epoch FROM taken t";

/// Takes a submission.
pub(super) async fn claim(
    tx: &mut Tx<'_>,
    project: i64,
    run: RunId,
    scheduler: SchedulerId,
    now: Timestamp,
) -> TxResult<Option<Claimed>> {
    let query = tx.query(LOCK).bind(project).bind(run.0).bind(scheduler.0);
    let may = tx.row(query).await?.map_or(Ok(None), |row| get::<Option<bool>>(&row, "may"))?;
    if may != Some(true) {
        return Ok(None);
    }
    let query = tx.query(TAKE).bind(project).bind(run.0).bind(scheduler.0);
    let Some(row) = tx.row(query).await? else { return Ok(None) };
    let claim = Claim { run, scheduler, claims: get(&row, "claims")? };
    let owner = get::<Option<i64>>(&row, "epoch")?.map(|epoch| Ownership { run, epoch });
    if let Some(Ownership { epoch, .. }) = owner {
        let event = EventRow::of(None, None, &Event::RunTakenOver { epoch, reopened: false });
        events::insert(tx, run, now, &[event]).await?;
    }
    let submission = submissions::by_run(tx, project, run).await?.ok_or(TxError::Sql(sqlx::Error::RowNotFound))?;
    Ok(Some(Claimed { claim, owner, submission }))
}

/// Lets go of a submission. One whose end was asked for before it began is over.
pub(super) async fn release(tx: &mut Tx<'_>, project: i64, claim: Claim, now: Timestamp) -> TxResult<bool> {
    const RELEASE: &str = "UPDATE submission SET \
             state = CASE WHEN state = 'running' THEN state WHEN cancel IS NULL THEN 'queued' ELSE 'cancelled' END, \
             scheduler_id = CASE WHEN state = 'claimed' AND cancel IS NOT NULL THEN scheduler_id END, \
             reason = CASE WHEN state = 'claimed' AND cancel IS NOT NULL THEN $5 END, \
             ended = CASE WHEN state = 'claimed' AND cancel IS NOT NULL THEN $6::timestamptz END \
         WHERE run_id = $2 AND project_id = $1 AND scheduler_id = $3 AND claims = $4 AND state IN ('claimed', 'running')";
    let query = tx.query(RELEASE).bind(project).bind(claim.run.0).bind(claim.scheduler.0).bind(claim.claims);
    let query = query.bind(CANCELLED).bind(Time(now));
    Ok(tx.execute(query).await? == 1)
}

/// Ends a claimed submission whose run cannot begin.
pub(super) async fn fail(tx: &mut Tx<'_>, project: i64, claim: Claim, reason: &str, now: Timestamp) -> TxResult<bool> {
    const FAIL: &str = "UPDATE submission SET state = 'failed', reason = $5, ended = $6 \
         WHERE run_id = $2 AND project_id = $1 AND scheduler_id = $3 AND claims = $4 AND state = 'claimed'";
    let query = tx.query(FAIL).bind(project).bind(claim.run.0).bind(claim.scheduler.0).bind(claim.claims);
    let query = query.bind(text(reason).into_owned()).bind(Time(now));
    Ok(tx.execute(query).await? == 1)
}

/// What a scheduler that is gone had claimed and not begun goes back to the queue, or ends where that was asked for.
pub(super) async fn requeue_of(tx: &mut Tx<'_>, scheduler: SchedulerId) -> TxResult<()> {
    const REQUEUE: &str = "WITH taken AS MATERIALIZED ( \
             SELECT run_id FROM submission WHERE scheduler_id = $1 AND state = 'claimed' ORDER BY run_id FOR NO KEY UPDATE) \
         UPDATE submission s SET \
             state = CASE WHEN s.cancel IS NULL THEN 'queued' ELSE 'cancelled' END, \
             scheduler_id = CASE WHEN s.cancel IS NOT NULL THEN s.scheduler_id END, \
             reason = CASE WHEN s.cancel IS NOT NULL THEN $2 END, \
             ended = CASE WHEN s.cancel IS NOT NULL THEN clock_timestamp() END \
         FROM taken t WHERE s.run_id = t.run_id AND s.state = 'claimed' AND s.scheduler_id = $1";
    let query = tx.query(REQUEUE).bind(scheduler.0).bind(CANCELLED);
    tx.execute(query).await?;
    Ok(())
}

/// What a claimed submission gives the run that begins.
#[derive(Debug)]
pub(in super::super) struct Begun {
    pub(in super::super) number: i64,
    /// How its end was asked for meanwhile.
    pub(in super::super) cancel: Option<String>,
}

/// The run that is claimed comes to be on record, unless it carries `token`: then it was put there before, by this very
/// call, and there is none.
pub(in super::super) async fn begin(
    tx: &mut Tx<'_>,
    project: i64,
    claim: Claim,
    token: Uuid,
) -> TxResult<Option<Begun>> {
    const BEGIN: &str = "UPDATE submission SET state = 'running' \
         WHERE run_id = $2 AND project_id = $1 AND scheduler_id = $3 AND claims = $4 AND state = 'claimed' \
         RETURNING number, cancel";
    const APPLIED: &str = "SELECT state FROM run WHERE id = $1 AND batch = $2";
    let query = tx.query(BEGIN).bind(project).bind(claim.run.0).bind(claim.scheduler.0).bind(claim.claims);
    if let Some(row) = tx.row(query).await? {
        return Ok(Some(Begun { number: get(&row, "number")?, cancel: get(&row, "cancel")? }));
    }
    let query = tx.query(APPLIED).bind(claim.run.0).bind(token);
    match tx.row(query).await? {
        Some(_) => Ok(None),
        None => Err(StoreError::LostOwnership { run: claim.run }.into()),
    }
}

/// Ends submissions that are not over, and whose rows are locked.
pub(super) async fn end(
    tx: &mut Tx<'_>,
    runs: &[RunId],
    state: SubmissionState,
    reason: &str,
    now: Timestamp,
) -> TxResult<()> {
    const END: &str = "UPDATE submission SET state = $2, reason = $3, ended = $4 WHERE run_id = ANY($1)";
    let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
    let query = tx.query(END).bind(ids).bind(state.as_str()).bind(reason.to_owned()).bind(Time(now));
    tx.execute(query).await?;
    Ok(())
}

/// A person goes on with the run of a submission, if it is one: schedulers leave it alone from now on.
pub(in super::super) async fn taken_over(tx: &mut Tx<'_>, run: RunId, now: Timestamp) -> TxResult<()> {
    const DONE: &str =
        "UPDATE submission SET state = 'done', reason = $2, ended = $3 WHERE run_id = $1 AND state = 'running'";
    let query = tx.query(DONE).bind(run.0).bind(crate::service::TAKEN_OVER).bind(Time(now));
    tx.execute(query).await?;
    Ok(())
}
