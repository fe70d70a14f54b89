//! Runs: put on record, taken over, asked to end, found.

use std::collections::HashSet;

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunId, RunRecord, RunState};
use runstone_core::store::{NewRun, Ownership, RunFilter, RunRef, StoreError};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::counter::Counter;
use super::events::{self, About};
use super::service::{claims, submissions};
use super::{CANDIDATES, Outcome, decode, tasks};
use crate::event::Event;
use crate::prefix;
use crate::service::{cancel_mode, is_asked};

const SELECT: &str = "SELECT id, number, pipeline, definition, definition_path, params, request, trigger, state, reason, \
     created, ended, epoch, store_marker, tool_version, platform, user_name, host, git_commit, git_dirty, cancel, partition FROM run";

fn record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: decode::run_id(row, 0)?,
        number: row.get(1)?,
        pipeline: row.get(2)?,
        definition: decode::content_hash(row, 3)?,
        definition_path: row.get(4)?,
        params: decode::json(row, 5)?,
        request: decode::json(row, 6)?,
        trigger: row.get(7)?,
        state: decode::spelled(row, 8, RunState::parse)?,
        reason: row.get(9)?,
        created: Timestamp(row.get(10)?),
        ended: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        epoch: row.get(12)?,
        store_marker: decode::uuid(row, 13)?,
        environment: decode::environment(row, 14)?,
        cancel: row.get(20)?,
        partition: row.get(21)?,
    })
}

pub(super) fn next_number(tx: &Transaction<'_>, project: i64) -> Outcome<i64> {
    Ok(tx
        .prepare_cached("UPDATE project SET runs = runs + 1 WHERE id = ?1 RETURNING runs")?
        .query_row([project], |row| row.get(0))?)
}

pub(super) fn keep_definition(tx: &Transaction<'_>, hash: &ContentHash, text: &str) -> Outcome<()> {
    tx.prepare_cached("INSERT INTO definition (hash, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![hash.as_bytes(), text])?;
    Ok(())
}

pub(super) fn create(tx: &Transaction<'_>, project: i64, run: &NewRun) -> Outcome<i64> {
    let mut counter = Counter::load(tx)?;
    let (number, cancel) = match run.claim {
        Some(claim) => claims::begin(tx, project, claim)?,
        None => (next_number(tx, project)?, None),
    };
    let definition = ContentHash::of(run.definition.as_bytes());
    keep_definition(tx, &definition, &run.definition)?;
    tx.prepare_cached("INSERT INTO content_store (project_id, marker) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![project, run.store_marker.as_bytes()])?;
    let environment = &run.environment;
    tx.prepare_cached(
        "INSERT INTO run (id, project_id, number, pipeline, definition, definition_path, params, request, trigger, state,
                          created, epoch, store_marker, tool_version, platform, user_name, host, git_commit, git_dirty,
                          partition, cancel)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'running', ?10, 1, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?
    .execute(params![
        run.id.0.as_bytes(),
        project,
        number,
        run.pipeline,
        definition.as_bytes(),
        run.definition_path,
        run.params.to_string(),
        run.request.to_string(),
        run.trigger,
        run.created.0,
        run.store_marker.as_bytes(),
        environment.tool_version,
        environment.platform,
        environment.user,
        environment.host,
        environment.git_commit,
        environment.git_dirty,
        run.partition,
        cancel,
    ])?;
    tasks::insert(tx, run.id, &run.tasks)?;
    let created = Event::RunCreated { number, tasks: run.tasks.len() };
    events::write(tx, &mut counter, run.created, About::run(run.id), &created)?;
    if let Some(mode) = &cancel {
        events::write(tx, &mut counter, run.created, About::run(run.id), &Event::CancelRequested { mode })?;
    }
    counter.save(tx)?;
    Ok(number)
}

pub(super) fn take_over(
    tx: &Transaction<'_>,
    project: i64,
    run: RunId,
    reopen: bool,
    now: Timestamp,
) -> Outcome<Option<Ownership>> {
    let id = run.0.as_bytes();
    let state = tx
        .query_row("SELECT state FROM run WHERE id = ?1 AND project_id = ?2", params![id, project], |row| {
            decode::spelled(row, 0, RunState::parse)
        })
        .optional()?;
    let reopened = match state {
        Some(RunState::Running) => false,
        Some(RunState::Failed | RunState::Cancelled) if reopen => true,
        None | Some(RunState::Failed | RunState::Cancelled | RunState::Succeeded) => return Ok(None),
    };
    if reopened {
        tx.execute(
            "UPDATE run SET state = 'running', reason = NULL, ended = NULL, cancel = NULL WHERE id = ?1",
            params![id],
        )?;
        tx.execute(
            "UPDATE task SET state = 'waiting', reason = NULL
             WHERE run_id = ?1 AND state IN ('failed', 'skipped', 'cancelled')",
            params![id],
        )?;
    }
    submissions::taken_over(tx, run, now)?;
    next_epoch(tx, run, reopened, now).map(Some)
}

/// A run on record has a new owner; every earlier one has lost it.
pub(super) fn next_epoch(tx: &Transaction<'_>, run: RunId, reopened: bool, now: Timestamp) -> Outcome<Ownership> {
    let epoch = tx
        .prepare_cached("UPDATE run SET epoch = epoch + 1 WHERE id = ?1 RETURNING epoch")?
        .query_row([run.0.as_bytes()], |row| row.get(0))?;
    let mut counter = Counter::load(tx)?;
    events::write(tx, &mut counter, now, About::run(run), &Event::RunTakenOver { epoch, reopened })?;
    counter.save(tx)?;
    Ok(Ownership { run, epoch })
}

pub(super) fn request_cancel(
    tx: &Transaction<'_>,
    project: i64,
    run: RunId,
    now_hard: bool,
    now: Timestamp,
) -> Outcome<bool> {
    let id = run.0.as_bytes();
    let found: Option<Option<String>> = tx
        .prepare_cached("SELECT cancel FROM run WHERE id = ?1 AND project_id = ?2 AND state = 'running'")?
        .query_row(params![id, project], |row| row.get(0))
        .optional()?;
    let Some(asked) = found else { return submissions::request_cancel(tx, project, run, now_hard, now) };
    let mode = cancel_mode(now_hard);
    if is_asked(asked.as_deref(), mode) {
        return Ok(true);
    }
    tx.prepare_cached("UPDATE run SET cancel = ?2 WHERE id = ?1")?.execute(params![id, mode])?;
    let mut counter = Counter::load(tx)?;
    events::write(tx, &mut counter, now, About::run(run), &Event::CancelRequested { mode })?;
    counter.save(tx)?;
    Ok(true)
}

pub(super) fn find(tx: &Transaction<'_>, project: i64, which: &RunRef) -> Outcome<Option<RunRecord>> {
    let select = |rest: &str| format!("{SELECT} WHERE project_id = ?1 {rest}");
    match which {
        RunRef::Latest => {
            Ok(tx.prepare_cached(&select("ORDER BY number DESC LIMIT 1"))?.query_row([project], record).optional()?)
        }
        RunRef::Number(number) => {
            Ok(tx.prepare_cached(&select("AND number = ?2"))?.query_row([project, *number], record).optional()?)
        }
        RunRef::Prefix(given) => {
            let Some((low, high)) = prefix::run_range(given) else { return Ok(None) };
            let mut found = tx
                .prepare_cached(&select("AND id BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4"))?
                .query_map(params![project, low, high, CANDIDATES], record)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            if found.len() > 1 {
                let candidates = found.iter().map(|run| format!("#{} ({})", run.number, run.id)).collect();
                return Err(StoreError::Ambiguous { what: "run", given: given.clone(), candidates }.into());
            }
            Ok(found.pop())
        }
    }
}

/// By identity, in the order of numbers; unknown ones are left out.
pub(super) fn by_id(tx: &Transaction<'_>, project: i64, ids: &[RunId]) -> Outcome<Vec<RunRecord>> {
    let mut statement = tx.prepare_cached(&format!("{SELECT} WHERE project_id = ?1 AND id = ?2"))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids.iter().collect::<HashSet<_>>() {
        found.extend(statement.query_row(params![project, id.0.as_bytes()], record).optional()?);
    }
    found.sort_unstable_by_key(|run| run.number);
    Ok(found)
}

pub(super) fn list(tx: &Transaction<'_>, project: i64, filter: &RunFilter) -> Outcome<Vec<RunRecord>> {
    let mut statement = tx.prepare_cached(&format!(
        "{SELECT} WHERE project_id = ?1 AND (?2 IS NULL OR pipeline = ?2) AND (?3 IS NULL OR state = ?3)
         ORDER BY number DESC LIMIT ?4"
    ))?;
    let limit = filter.limit.map_or(-1, i64::from);
    let rows =
        statement.query_map(params![project, filter.pipeline, filter.state.map(RunState::as_str), limit], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn definition(tx: &Transaction<'_>, hash: &ContentHash) -> Outcome<Option<String>> {
    Ok(tx
        .prepare_cached("SELECT body FROM definition WHERE hash = ?1")?
        .query_row([hash.as_bytes()], |row| row.get(0))
        .optional()?)
}
