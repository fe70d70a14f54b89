//! Backfills: their partitions are submitted in order, a few at a time, by whoever comes by.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{
    BackfillItem, BackfillRecord, BackfillState, NewBackfill, NewSubmission, SubmissionState,
};
use runstone_core::store::StoreError;
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{Time, damaged, get, get_json, get_state, get_time, get_unsigned, json, stored, text};
use super::cancel::{self, Asking};
use super::lock_project;
use super::pipelines::{self, InForce};
use super::submissions::{self, Queueing};
use crate::service::{BACKFILL_CANCELLED, backfill_run};
use crate::template::Template;

/// Puts a backfill on record, active.
pub(super) async fn create(tx: &mut Tx<'_>, project: i64, new: &NewBackfill, now: Timestamp) -> TxResult<()> {
    const INSERT: &str = "INSERT INTO backfill (id, project_id, pipeline, state, parallel, partitions, next, template, \
             created, user_name) \
         VALUES ($1, $2, $3, 'active', $4, $5, 0, $6::text::jsonb, $7, $8)";
    // Definitions are put on record under the lock of the project.
    lock_project(tx, project).await?;
    let like = &new.template;
    let in_force = match &like.definition {
        Some(body) => {
            let hash = runstone_core::hash::ContentHash::of(body.as_bytes());
            pipelines::keep_definitions(tx, [(hash, body.as_str())]).await?;
            BTreeMap::new()
        }
        None => pipelines::in_force(tx, project, [like.pipeline.as_str()]).await?,
    };
    let InForce { definition, path } = submissions::definition_of(like, &in_force).map_err(StoreError::from)?;
    let template = serde_json::to_value(Template::new(like, definition, path))
        .map_err(|error| damaged(format!("a backfill's template is no JSON: {error}")))?;
    let query = tx
        .query(INSERT)
        .bind(new.id)
        .bind(project)
        .bind(text(&like.pipeline).into_owned())
        .bind(i64::from(new.parallel))
        .bind(new.partitions.iter().map(|one| text(one)).bind_iter())
        .bind(json(&template))
        .bind(Time(now))
        .bind(text(&like.environment.user).into_owned());
    tx.execute(query).await?;
    Ok(())
}

fn record(row: &PgRow) -> Result<BackfillRecord, TxError> {
    Ok(BackfillRecord {
        id: get(row, "id")?,
        pipeline: get(row, "pipeline")?,
        state: get_state(row, "state", BackfillState::parse)?,
        parallel: get_unsigned(row, "parallel")?,
        partitions: get(row, "partitions")?,
        live: 0,
        submitted: Vec::new(),
        created: get_time(row, "created")?,
        ended: get::<Option<Time>>(row, "ended")?.map(|time| time.0),
        user: get(row, "user_name")?,
    })
}

/// Newest first: by (created, id). Their submissions in the order of numbers.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, live_only: bool) -> TxResult<Vec<BackfillRecord>> {
    const SELECT: &str = "SELECT id, pipeline, state, parallel, partitions, created, ended, user_name FROM backfill \
         WHERE project_id = $1 AND (NOT $2 OR state IN ('active', 'paused')) ORDER BY created DESC, id DESC";
    const ITEMS: &str = "SELECT w.id, s.partition, s.number, s.state, r.state AS run_state \
         FROM unnest($1::uuid[]) AS w(id) \
         CROSS JOIN LATERAL (SELECT * FROM submission x WHERE x.backfill_id = w.id OFFSET 0) s \
         LEFT JOIN run r ON r.id = s.run_id ORDER BY s.number";
    let query = tx.query(SELECT).bind(project).bind(live_only);
    let mut found = tx.rows(query).await?.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let query = tx.query(ITEMS).bind(found.iter().map(|backfill| backfill.id).bind_iter());
    let mut items: HashMap<Uuid, Vec<BackfillItem>> = HashMap::new();
    for row in tx.rows(query).await? {
        items.entry(get(&row, "id")?).or_default().push(item(&row)?);
    }
    for backfill in &mut found {
        backfill.submitted = items.remove(&backfill.id).unwrap_or_default();
        let live = backfill.submitted.iter().filter(|item| !item.state.is_terminal()).count();
        backfill.live = u32::try_from(live).unwrap_or(u32::MAX);
    }
    Ok(found)
}

/// Newest first, as in [`list`].
pub(super) async fn active(tx: &mut Tx<'_>, project: i64) -> TxResult<Vec<Uuid>> {
    const SELECT: &str =
        "SELECT id FROM backfill WHERE project_id = $1 AND state = 'active' ORDER BY created DESC, id DESC";
    let query = tx.query(SELECT).bind(project);
    tx.rows(query).await?.iter().map(|row| get(row, "id")).collect()
}

fn item(row: &PgRow) -> Result<BackfillItem, TxError> {
    let run_state: Option<&str> = get(row, "run_state")?;
    Ok(BackfillItem {
        partition: get(row, "partition")?,
        number: get(row, "number")?,
        state: get_state(row, "state", SubmissionState::parse)?,
        run_state: run_state.map(|_| get_state(row, "run_state", RunState::parse)).transpose()?,
    })
}

/// Submits what is due of an active backfill, whose row is locked: two schedulers that come by at once submit what one would.
pub(super) async fn advance(tx: &mut Tx<'_>, project: i64, id: Uuid, now: Timestamp) -> TxResult<u32> {
    const LOCK: &str = "SELECT pipeline, parallel, partitions, next, template::text AS template FROM backfill \
         WHERE id = $1 AND project_id = $2 AND state = 'active' FOR NO KEY UPDATE";
    let query = tx.query(LOCK).bind(id).bind(project);
    let Some(row) = tx.row(query).await? else { return Ok(0) };
    let (pipeline, partitions): (String, Vec<String>) = (get(&row, "pipeline")?, get(&row, "partitions")?);
    let (parallel, next): (usize, usize) = (get_unsigned(&row, "parallel")?, get_unsigned(&row, "next")?);
    let template: Template = serde_json::from_value(get_json(&row, "template")?)
        .map_err(|error| damaged(format!("the template of backfill {id}: {error}")))?;
    let live = live(tx, id).await?.len();
    let room = parallel.saturating_sub(live);
    let due: Vec<NewSubmission> = partitions
        .iter()
        .skip(next)
        .take(room)
        .map(|partition| template.submission(id, &pipeline, backfill_run(id, partition, now), partition))
        .collect();
    if due.is_empty() {
        if live == 0 && next >= partitions.len() {
            end(tx, id, BackfillState::Done, now).await?;
        }
        return Ok(0);
    }
    let first = lock_project(tx, project).await?.runs + 1;
    let queueing: Vec<Queueing<'_>> =
        (first..).zip(&due).map(|(number, new)| Queueing { new, number, cancelled: false }).collect();
    let defined = InForce { definition: template.definition, path: template.definition_path.clone() };
    submissions::put(tx, project, &queueing, &vec![defined; due.len()], now).await?;
    let query = tx.query("UPDATE backfill SET next = next + $2 WHERE id = $1").bind(id);
    let query = query.bind(stored("number of partitions", due.len() as u64)?);
    tx.execute(query).await?;
    Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
}

/// Its submissions that are not over.
async fn live(tx: &mut Tx<'_>, id: Uuid) -> TxResult<BTreeSet<RunId>> {
    const LIVE: &str =
        "SELECT run_id FROM submission WHERE backfill_id = $1 AND state IN ('queued', 'claimed', 'running')";
    let query = tx.query(LIVE).bind(id);
    let rows = tx.rows(query).await?;
    rows.iter().map(|row| Ok(RunId(get(row, "run_id")?))).collect()
}

async fn end(tx: &mut Tx<'_>, id: Uuid, state: BackfillState, now: Timestamp) -> TxResult<()> {
    let query = tx.query("UPDATE backfill SET state = $2, ended = $3 WHERE id = $1");
    let query = query.bind(id).bind(state.as_str()).bind(Time(now));
    tx.execute(query).await?;
    Ok(())
}

/// Changes the state of a backfill.
pub(super) async fn set(
    tx: &mut Tx<'_>,
    project: i64,
    id: Uuid,
    state: BackfillState,
    now: Timestamp,
) -> TxResult<bool> {
    const LOCK: &str = "SELECT state FROM backfill WHERE id = $1 AND project_id = $2 AND state IN ('active', 'paused') \
         FOR NO KEY UPDATE";
    let query = tx.query(LOCK).bind(id).bind(project);
    let Some(row) = tx.row(query).await? else { return Ok(false) };
    if get_state(&row, "state", BackfillState::parse)? == state {
        return Ok(false);
    }
    match state {
        BackfillState::Active | BackfillState::Paused => {
            let query = tx.query("UPDATE backfill SET state = $2 WHERE id = $1").bind(id).bind(state.as_str());
            tx.execute(query).await?;
        }
        BackfillState::Done => end(tx, id, state, now).await?,
        BackfillState::Cancelled => {
            let live = live(tx, id).await?;
            let asking = Asking { hard: false, reason: BACKFILL_CANCELLED, now };
            cancel::request(tx, project, &live, asking).await?;
            end(tx, id, state, now).await?;
        }
    }
    Ok(true)
}
