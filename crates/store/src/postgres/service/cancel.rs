//! Requests to end runs, whether they have begun or not, one or many at a time.

use std::collections::BTreeSet;

use runstone_core::record::RunId;
use runstone_core::service::record::SubmissionState;
use runstone_core::time::Timestamp;
use sqlx::postgres::PgBindIterExt;
use uuid::Uuid;

use super::super::events::{self, EventRow};
use super::super::session::{Tx, TxResult};
use super::super::value::{get, get_state};
use super::claims;
use crate::event::Event;
use crate::service::{CANCELLED, cancel_mode, is_asked};

/// Notes that a run is to end. False where it is over, or is none.
pub(in super::super) async fn request_cancel(
    tx: &mut Tx<'_>,
    project: i64,
    run: RunId,
    now_hard: bool,
    now: Timestamp,
) -> TxResult<bool> {
    let asking = Asking { hard: now_hard, reason: CANCELLED, now };
    Ok(request(tx, project, &BTreeSet::from([run]), asking).await? == 1)
}

/// What is asked of runs that are to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) hard: bool,
    /// Why those that are queued are over, for people.
    pub(super) reason: &'static str,
    pub(super) now: Timestamp,
}

impl Asking {
    const fn mode(self) -> &'static str {
        cancel_mode(self.hard)
    }
}

/// Notes that runs are to end: those on record are asked to, what was claimed will be when it is on record, and what is
/// queued is over. Returns how many of them there were that were not over.
pub(super) async fn request(tx: &mut Tx<'_>, project: i64, runs: &BTreeSet<RunId>, asking: Asking) -> TxResult<usize> {
    let mut asked = ask_runs(tx, project, runs, asking).await?;
    let rest: BTreeSet<RunId> = runs.difference(&asked).copied().collect();
    if !rest.is_empty() {
        let submissions = ask_submissions(tx, project, &rest, asking).await?;
        let rest: BTreeSet<RunId> = rest.difference(&submissions).copied().collect();
        asked.extend(submissions);
        // Some may have begun between the two looks.
        if !rest.is_empty() {
            asked.extend(ask_runs(tx, project, &rest, asking).await?);
        }
    }
    Ok(asked.len())
}

fn ids(runs: &BTreeSet<RunId>) -> Vec<Uuid> {
    runs.iter().map(|run| run.0).collect()
}

/// Asks those that are on record and not over, and tells of it where that is news.
async fn ask_runs(tx: &mut Tx<'_>, project: i64, runs: &BTreeSet<RunId>, asking: Asking) -> TxResult<BTreeSet<RunId>> {
    const LOCK: &str = "SELECT id, cancel FROM run WHERE id = ANY($2) AND project_id = $1 AND state = 'running' \
         ORDER BY id FOR NO KEY UPDATE";
    let mut found = BTreeSet::new();
    if runs.is_empty() {
        return Ok(found);
    }
    let (mode, mut news) = (asking.mode(), Vec::new());
    let query = tx.query(LOCK).bind(project).bind(ids(runs));
    for row in tx.rows(query).await? {
        let run = RunId(get(&row, "id")?);
        found.insert(run);
        if !is_asked(get(&row, "cancel")?, mode) {
            news.push((run, EventRow::of(None, None, &Event::CancelRequested { mode })));
        }
    }
    if !news.is_empty() {
        let query = tx.query("UPDATE run SET cancel = $2 WHERE id = ANY($1)");
        let query = query.bind(news.iter().map(|(run, _)| run.0).bind_iter()).bind(mode);
        tx.execute(query).await?;
        events::insert_each(tx, asking.now, &news).await?;
    }
    Ok(found)
}

/// Asks those whose runs are not on record.
async fn ask_submissions(
    tx: &mut Tx<'_>,
    project: i64,
    runs: &BTreeSet<RunId>,
    asking: Asking,
) -> TxResult<BTreeSet<RunId>> {
    const LOCK: &str = "SELECT run_id, state, cancel FROM submission \
         WHERE run_id = ANY($2) AND project_id = $1 AND state IN ('queued', 'claimed') ORDER BY run_id FOR NO KEY UPDATE";
    let mode = asking.mode();
    let (mut queued, mut claimed, mut found) = (Vec::new(), Vec::new(), BTreeSet::new());
    let query = tx.query(LOCK).bind(project).bind(ids(runs));
    for row in tx.rows(query).await? {
        let run = RunId(get(&row, "run_id")?);
        found.insert(run);
        if get_state(&row, "state", SubmissionState::parse)? == SubmissionState::Queued {
            queued.push(run);
        } else if !is_asked(get(&row, "cancel")?, mode) {
            claimed.push(run.0);
        }
    }
    if !queued.is_empty() {
        claims::end(tx, &queued, SubmissionState::Cancelled, asking.reason, asking.now).await?;
    }
    if !claimed.is_empty() {
        let query = tx.query("UPDATE submission SET cancel = $2 WHERE run_id = ANY($1)").bind(claimed).bind(mode);
        tx.execute(query).await?;
    }
    Ok(found)
}

/// Those among `runs` that somebody asked to end and that are not over, in their order.
pub(super) async fn requests(tx: &mut Tx<'_>, project: i64, runs: &[RunId]) -> TxResult<Vec<(RunId, String)>> {
    const SELECT: &str = "SELECT w.run, coalesce(r.cancel, s.cancel) AS cancel \
         FROM unnest($2::uuid[]) WITH ORDINALITY AS w(run, place) \
         LEFT JOIN LATERAL (SELECT * FROM run x WHERE x.id = w.run AND x.state = 'running' OFFSET 0) r \
             ON r.project_id = $1 \
         LEFT JOIN LATERAL (SELECT * FROM submission x WHERE x.run_id = w.run AND x.state = 'claimed' OFFSET 0) s \
             ON s.project_id = $1 \
         WHERE r.cancel IS NOT NULL OR s.cancel IS NOT NULL ORDER BY w.place";
    let query = tx.query(SELECT).bind(project).bind(runs.iter().map(|run| run.0).bind_iter());
    let rows = tx.rows(query).await?;
    rows.iter().map(|row| Ok((RunId(get(row, "run")?), get(row, "cancel")?))).collect()
}
