//! Backfills: their partitions are submitted in order, a few at a time, by whoever comes by.

use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{BackfillItem, BackfillRecord, BackfillState, NewBackfill, SubmissionState};
use runstone_core::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use super::super::commit::expect_one;
use super::super::{Outcome, decode, runs};
use super::submissions;
use crate::service::{BACKFILL_CANCELLED, backfill_run};
use crate::template::Template;

pub(super) fn create(tx: &Transaction<'_>, project: i64, new: &NewBackfill, now: Timestamp) -> Outcome<()> {
    let (definition, path) = submissions::definition_of(tx, project, &new.template)?;
    let template = Template::new(&new.template, definition, path);
    tx.prepare_cached(
        "INSERT INTO backfill (id, project_id, pipeline, state, parallel, partitions, next, template, created, user_name)
         VALUES (?1, ?2, ?3, 'active', ?4, ?5, 0, ?6, ?7, ?8)",
    )?
    .execute(params![
        new.id.as_bytes(),
        project,
        new.template.pipeline,
        new.parallel,
        serde_json::Value::from(new.partitions.clone()).to_string(),
        serde_json::to_string(&template).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?,
        now.0,
        new.template.environment.user,
    ])?;
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(at)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

fn record(row: &Row<'_>) -> rusqlite::Result<BackfillRecord> {
    Ok(BackfillRecord {
        id: decode::uuid(row, 0)?,
        pipeline: row.get(1)?,
        state: decode::spelled(row, 2, BackfillState::parse)?,
        parallel: row.get(3)?,
        partitions: json(row, 4)?,
        live: 0,
        submitted: Vec::new(),
        created: Timestamp(row.get(5)?),
        ended: row.get::<_, Option<i64>>(6)?.map(Timestamp),
        user: row.get(7)?,
    })
}

/// Newest first: by (created, id). Their submissions in the order of numbers.
pub(super) fn list(tx: &Transaction<'_>, project: i64, live_only: bool) -> Outcome<Vec<BackfillRecord>> {
    let condition = if live_only { "state IN ('active', 'paused')" } else { "TRUE" };
    let mut found = tx
        .prepare_cached(&format!(
            "SELECT id, pipeline, state, parallel, partitions, created, ended, user_name FROM backfill
             WHERE project_id = ?1 AND {condition} ORDER BY created DESC, id DESC"
        ))?
        .query_map([project], record)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut items = tx.prepare_cached(
        "SELECT s.partition, s.number, s.state, r.state FROM submission s LEFT JOIN run r ON r.id = s.run_id
         WHERE s.backfill_id = ?1 ORDER BY s.number",
    )?;
    for backfill in &mut found {
        let rows = items.query_map([backfill.id.as_bytes()], item)?;
        backfill.submitted = rows.collect::<rusqlite::Result<_>>()?;
        let live = backfill.submitted.iter().filter(|item| !item.state.is_terminal()).count();
        backfill.live = u32::try_from(live).unwrap_or(u32::MAX);
    }
    Ok(found)
}

/// Newest first, as in [`list`].
pub(super) fn active(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<Uuid>> {
    Ok(tx
        .prepare_cached(
            "SELECT id FROM backfill WHERE project_id = ?1 AND state = 'active' ORDER BY created DESC, id DESC",
        )?
        .query_map([project], |row| decode::uuid(row, 0))?
        .collect::<rusqlite::Result<_>>()?)
}

fn item(row: &Row<'_>) -> rusqlite::Result<BackfillItem> {
    Ok(BackfillItem {
        partition: row.get(0)?,
        number: row.get(1)?,
        state: decode::spelled(row, 2, SubmissionState::parse)?,
        run_state: row.get::<_, Option<String>>(3)?.map(|_| decode::spelled(row, 3, RunState::parse)).transpose()?,
    })
}

/// An active backfill while it is advanced.
struct Active {
    pipeline: String,
    parallel: u32,
    partitions: Vec<String>,
    next: u32,
    template: Template,
}

pub(super) fn advance(tx: &Transaction<'_>, project: i64, id: Uuid, now: Timestamp) -> Outcome<u32> {
    let found = tx
        .prepare_cached(
            "SELECT pipeline, parallel, partitions, next, template FROM backfill
             WHERE id = ?1 AND project_id = ?2 AND state = 'active'",
        )?
        .query_row(params![id.as_bytes(), project], |row| {
            Ok(Active {
                pipeline: row.get(0)?,
                parallel: row.get(1)?,
                partitions: json(row, 2)?,
                next: row.get(3)?,
                template: json(row, 4)?,
            })
        })
        .optional()?;
    let Some(active) = found else { return Ok(0) };
    let Active { pipeline, parallel, partitions, next, template } = active;
    let live = live(tx, id)?.len();
    let room = (parallel as usize).saturating_sub(live);
    let due = partitions.get(next as usize..).unwrap_or_default().iter().take(room);
    let mut submitted = 0_u32;
    for partition in due {
        let run = backfill_run(id, partition, now);
        let submission = template.submission(id, &pipeline, run, partition);
        submissions::insert(tx, project, &submission, &template.definition, &template.definition_path, now)?;
        submitted += 1;
    }
    if submitted > 0 {
        tx.prepare_cached("UPDATE backfill SET next = next + ?2 WHERE id = ?1")?
            .execute(params![id.as_bytes(), submitted])?;
    } else if live == 0 && next as usize >= partitions.len() {
        end(tx, id, BackfillState::Done, now)?;
    }
    Ok(submitted)
}

/// Its submissions that are not over, in order.
fn live(tx: &Transaction<'_>, id: Uuid) -> Outcome<Vec<(RunId, SubmissionState)>> {
    let mut statement = tx.prepare_cached(
        "SELECT run_id, state FROM submission
         WHERE backfill_id = ?1 AND state IN ('queued', 'claimed', 'running') ORDER BY number",
    )?;
    let rows = statement.query_map([id.as_bytes()], |row| {
        Ok((decode::run_id(row, 0)?, decode::spelled(row, 1, SubmissionState::parse)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn end(tx: &Transaction<'_>, id: Uuid, state: BackfillState, now: Timestamp) -> Outcome<()> {
    let changed = tx.prepare_cached("UPDATE backfill SET state = ?2, ended = ?3 WHERE id = ?1")?.execute(params![
        id.as_bytes(),
        state.as_str(),
        now.0
    ])?;
    expect_one(changed)
}

pub(super) fn set(tx: &Transaction<'_>, project: i64, id: Uuid, state: BackfillState, now: Timestamp) -> Outcome<bool> {
    let found = tx
        .prepare_cached(
            "SELECT state FROM backfill WHERE id = ?1 AND project_id = ?2 AND state IN ('active', 'paused')",
        )?
        .query_row(params![id.as_bytes(), project], |row| decode::spelled(row, 0, BackfillState::parse))
        .optional()?;
    if found.is_none_or(|old| old == state) {
        return Ok(false);
    }
    match state {
        BackfillState::Active | BackfillState::Paused => {
            tx.prepare_cached("UPDATE backfill SET state = ?2 WHERE id = ?1")?
                .execute(params![id.as_bytes(), state.as_str()])?;
        }
        BackfillState::Done => end(tx, id, state, now)?,
        BackfillState::Cancelled => {
            for (run, state) in live(tx, id)? {
                match state {
                    SubmissionState::Queued => {
                        submissions::end(tx, run, SubmissionState::Cancelled, Some(BACKFILL_CANCELLED), now)?;
                    }
                    _ => {
                        runs::request_cancel(tx, project, run, false, now)?;
                    }
                }
            }
            end(tx, id, state, now)?;
        }
    }
    Ok(true)
}
