//! Runs: put on record, taken over, asked to end, found.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunEnvironment, RunId, RunRecord, RunState};
use runstone_core::store::{NewRun, Ownership, RunFilter, RunRef, StoreError};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::counter::Counter;
use super::events::{self, About};
use super::{Outcome, decode, tasks};
use crate::event::Event;
use crate::prefix;

/// How many runs an ambiguous prefix names at most in its error.
const CANDIDATES: u32 = 8;

const SELECT: &str = "SELECT id, number, pipeline, definition, definition_path, params, request, trigger, state, reason, \
     created, ended, epoch, store_marker, tool_version, platform, user_name, host, git_commit, git_dirty, cancel FROM run";

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
        environment: RunEnvironment {
            tool_version: row.get(14)?,
            platform: row.get(15)?,
            user: row.get(16)?,
            host: row.get(17)?,
            git_commit: row.get(18)?,
            git_dirty: row.get(19)?,
        },
        cancel: row.get(20)?,
    })
}

pub(super) fn create(tx: &Transaction<'_>, project: i64, run: &NewRun) -> Outcome<i64> {
    let mut counter = Counter::load(tx)?;
    let number: i64 = tx
        .prepare_cached("UPDATE project SET runs = runs + 1 WHERE id = ?1 RETURNING runs")?
        .query_row([project], |row| row.get(0))?;
    let definition = ContentHash::of(run.definition.as_bytes());
    tx.prepare_cached("INSERT INTO definition (hash, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![definition.as_bytes(), run.definition])?;
    tx.prepare_cached("INSERT INTO content_store (project_id, marker) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![project, run.store_marker.as_bytes()])?;
    let environment = &run.environment;
    tx.prepare_cached(
        "INSERT INTO run (id, project_id, number, pipeline, definition, definition_path, params, request, trigger, state,
                          created, epoch, store_marker, tool_version, platform, user_name, host, git_commit, git_dirty)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'running', ?10, 1, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
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
    ])?;
    tasks::insert(tx, run.id, &run.tasks)?;
    let created = Event::RunCreated { number, tasks: run.tasks.len() };
    events::write(tx, &mut counter, run.created, About::run(run.id), &created)?;
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
    let found = tx
        .query_row("SELECT state, epoch FROM run WHERE id = ?1 AND project_id = ?2", params![id, project], |row| {
            Ok((decode::spelled(row, 0, RunState::parse)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    let Some((state, epoch)) = found else { return Ok(None) };
    let epoch = epoch + 1;
    let reopened = match state {
        RunState::Running => false,
        RunState::Failed | RunState::Cancelled if reopen => true,
        RunState::Failed | RunState::Cancelled | RunState::Succeeded => return Ok(None),
    };
    tx.execute("UPDATE run SET epoch = ?2 WHERE id = ?1", params![id, epoch])?;
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
    let mut counter = Counter::load(tx)?;
    events::write(tx, &mut counter, now, About::run(run), &Event::RunTakenOver { epoch, reopened })?;
    counter.save(tx)?;
    Ok(Some(Ownership { run, epoch }))
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
        .query_row(
            "SELECT cancel FROM run WHERE id = ?1 AND project_id = ?2 AND state = 'running'",
            params![id, project],
            |row| row.get(0),
        )
        .optional()?;
    let Some(asked) = found else { return Ok(false) };
    let mode = if now_hard { "now" } else { "graceful" };
    if asked.as_deref() == Some(mode) || asked.as_deref() == Some("now") {
        return Ok(true);
    }
    tx.execute("UPDATE run SET cancel = ?2 WHERE id = ?1", params![id, mode])?;
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
