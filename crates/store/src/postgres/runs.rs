//! Runs: put on record, taken over, found.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunId, RunRecord, RunState};
use runstone_core::store::{NewRun, NewTask, Ownership, RunFilter, RunRef, StoreError};
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use super::events::EventRow;
use super::service::claims::{self, Begun};
use super::session::{Outcome, Tx, TxError};
use super::value::{Time, get, get_content_hash, get_environment, get_json, get_state, get_time, json, opt_text, text};
use super::{events, tasks};
use crate::event::Event;
use crate::prefix;

/// How many runs an ambiguous prefix names at most in its error.
pub(super) const CANDIDATES: i64 = 8;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, pipeline, definition, definition_path, params::text AS params, request::text AS request, \
                 trigger, state, reason, created, ended, epoch, store_marker, tool_version, platform, user_name, host, \
                 git_commit, git_dirty, cancel, partition \
             FROM run WHERE project_id = $1 ",
            $rest
        )
    };
}

fn record(row: &PgRow) -> Result<RunRecord, TxError> {
    Ok(RunRecord {
        id: RunId(get(row, "id")?),
        number: get(row, "number")?,
        pipeline: get(row, "pipeline")?,
        definition: get_content_hash(row, "definition")?,
        definition_path: get(row, "definition_path")?,
        params: get_json(row, "params")?,
        request: get_json(row, "request")?,
        trigger: get(row, "trigger")?,
        state: get_state(row, "state", RunState::parse)?,
        reason: get(row, "reason")?,
        created: get_time(row, "created")?,
        ended: get::<Option<Time>>(row, "ended")?.map(|time| time.0),
        epoch: get(row, "epoch")?,
        store_marker: get(row, "store_marker")?,
        partition: get(row, "partition")?,
        environment: get_environment(row)?,
        cancel: get(row, "cancel")?,
    })
}

/// Puts a run on record. A run that carries `token` was put there before, by this very call.
pub(super) async fn create(tx: &mut Tx<'_>, project: i64, run: &NewRun, token: Uuid) -> Result<Outcome<i64>, TxError> {
    const NUMBER: &str = "UPDATE project SET runs = runs + 1 WHERE id = $1 \
         AND NOT EXISTS (SELECT FROM run WHERE run.id = $2 AND run.batch = $3) RETURNING runs";
    let begun = match run.claim {
        Some(claim) => {
            // Before the submission is locked, as everywhere.
            keep(tx, project, run).await?;
            claims::begin(tx, project, claim, token).await?
        }
        None => {
            let query = tx.query(NUMBER).bind(project).bind(run.id.0).bind(token);
            let number = tx.row(query).await?.map(|row| get(&row, "runs")).transpose()?;
            keep(tx, project, run).await?;
            number.map(|number| Begun { number, cancel: None })
        }
    };
    let Some(Begun { number, cancel }) = begun else { return Ok(Outcome::AlreadyApplied) };
    insert(tx, project, run, (number, cancel.as_deref()), token).await?;
    tasks::insert(tx, run.id, &run.tasks.iter().collect::<Vec<&NewTask>>()).await?;
    let created = EventRow::of(None, None, &Event::RunCreated { number, tasks: run.tasks.len() });
    let cancelled = cancel.as_deref().map(|mode| EventRow::of(None, None, &Event::CancelRequested { mode }));
    let told: Vec<EventRow> = std::iter::once(created).chain(cancelled).collect();
    events::insert(tx, run.id, run.created, &told).await?;
    Ok(Outcome::Fresh(number))
}

/// Puts on record what a run refers to.
async fn keep(tx: &mut Tx<'_>, project: i64, run: &NewRun) -> Result<(), TxError> {
    const KEEP: &str = "WITH defined AS ( \
             INSERT INTO definition (hash, body) VALUES ($2, $3) ON CONFLICT DO NOTHING) \
         INSERT INTO content_store (project_id, marker) VALUES ($1, $4) ON CONFLICT DO NOTHING";
    let definition = ContentHash::of(run.definition.as_bytes());
    let query = tx
        .query(KEEP)
        .bind(project)
        .bind(definition.as_bytes().as_slice())
        .bind(text(&run.definition))
        .bind(run.store_marker);
    tx.execute(query).await?;
    Ok(())
}

async fn insert(
    tx: &mut Tx<'_>,
    project: i64,
    run: &NewRun,
    (number, cancel): (i64, Option<&str>),
    token: Uuid,
) -> Result<(), TxError> {
    const INSERT: &str = "INSERT INTO run (id, project_id, number, pipeline, definition, definition_path, params, request, \
             trigger, state, created, epoch, batch, store_marker, tool_version, platform, user_name, host, git_commit, \
             git_dirty, partition, cancel) \
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8::text::jsonb, $9, 'running', $10, 1, $11, $12, $13, $14, \
             $15, $16, $17, $18, $19, $20)";
    let definition = ContentHash::of(run.definition.as_bytes());
    let environment = &run.environment;
    let query = tx
        .query(INSERT)
        .bind(run.id.0)
        .bind(project)
        .bind(number)
        .bind(run.pipeline.as_str())
        .bind(definition.as_bytes().as_slice())
        .bind(text(&run.definition_path))
        .bind(json(&run.params))
        .bind(json(&run.request))
        .bind(text(&run.trigger))
        .bind(Time(run.created))
        .bind(token)
        .bind(run.store_marker)
        .bind(text(&environment.tool_version))
        .bind(text(&environment.platform))
        .bind(text(&environment.user))
        .bind(text(&environment.host))
        .bind(opt_text(environment.git_commit.as_deref()))
        .bind(environment.git_dirty)
        .bind(opt_text(run.partition.as_deref()))
        .bind(cancel);
    tx.execute(query).await?;
    Ok(())
}

/// Makes the caller the owner of a run.
pub(super) async fn take_over(
    tx: &mut Tx<'_>,
    project: i64,
    (run, token): (RunId, Uuid),
    reopen: bool,
    now: Timestamp,
) -> Result<Outcome<Option<Ownership>>, TxError> {
    const LOCK: &str = "SELECT state, epoch, batch FROM run WHERE id = $1 AND project_id = $2 FOR NO KEY UPDATE";
    let query = tx.query(LOCK).bind(run.0).bind(project);
    let Some(row) = tx.row(query).await? else { return Ok(Outcome::Fresh(None)) };
    if get::<Uuid>(&row, "batch")? == token {
        return Ok(Outcome::AlreadyApplied);
    }
    let reopened = match get_state(&row, "state", RunState::parse)? {
        RunState::Running => false,
        RunState::Failed | RunState::Cancelled if reopen => true,
        RunState::Failed | RunState::Cancelled | RunState::Succeeded => return Ok(Outcome::Fresh(None)),
    };
    let epoch = get::<i64>(&row, "epoch")? + 1;
    let query = tx.query("UPDATE run SET epoch = $2, batch = $3 WHERE id = $1").bind(run.0).bind(epoch).bind(token);
    tx.execute(query).await?;
    if reopened {
        const REOPEN: &str =
            "UPDATE run SET state = 'running', reason = NULL, ended = NULL, cancel = NULL WHERE id = $1";
        const RESET: &str = "UPDATE task SET state = 'waiting', reason = NULL \
             WHERE run_id = $1 AND state IN ('failed', 'skipped', 'cancelled')";
        for sql in [REOPEN, RESET] {
            let query = tx.query(sql).bind(run.0);
            tx.execute(query).await?;
        }
    }
    let event = EventRow::of(None, None, &Event::RunTakenOver { epoch, reopened });
    events::insert(tx, run, now, &[event]).await?;
    claims::taken_over(tx, run, now).await?;
    Ok(Outcome::Fresh(Some(Ownership { run, epoch })))
}

/// The run that is meant.
pub(super) async fn find(tx: &mut Tx<'_>, project: i64, which: &RunRef) -> Result<Option<RunRecord>, TxError> {
    let query = match which {
        RunRef::Latest => tx.query(select!("ORDER BY number DESC LIMIT 1")).bind(project),
        RunRef::Number(number) => tx.query(select!("AND number = $2")).bind(project).bind(*number),
        RunRef::Prefix(given) => {
            let Some((low, high)) = prefix::run_range(given) else { return Ok(None) };
            tx.query(select!("AND id BETWEEN $2 AND $3 ORDER BY id LIMIT $4"))
                .bind(project)
                .bind(Uuid::from_bytes(low))
                .bind(Uuid::from_bytes(high))
                .bind(CANDIDATES)
        }
    };
    let mut found = tx.rows(query).await?.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    match which {
        RunRef::Prefix(given) if found.len() > 1 => {
            let candidates = found.iter().map(|run| format!("#{} ({})", run.number, run.id)).collect();
            Err(StoreError::Ambiguous { what: "run", given: given.clone(), candidates }.into())
        }
        _ => Ok(found.pop()),
    }
}

/// Runs by identity, in the order of numbers; unknown ones are left out.
pub(super) async fn by_id(tx: &mut Tx<'_>, project: i64, ids: &[RunId]) -> Result<Vec<RunRecord>, TxError> {
    let query =
        tx.query(select!("AND id = ANY($2) ORDER BY number")).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    tx.rows(query).await?.iter().map(record).collect()
}

/// Runs, newest first.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, filter: &RunFilter) -> Result<Vec<RunRecord>, TxError> {
    let query = tx
        .query(select!(
            "AND ($2::text IS NULL OR pipeline = $2) AND ($3::text IS NULL OR state = $3) ORDER BY number DESC LIMIT $4"
        ))
        .bind(project)
        .bind(filter.pipeline.as_deref())
        .bind(filter.state.map(RunState::as_str))
        .bind(filter.limit.map(i64::from));
    tx.rows(query).await?.iter().map(record).collect()
}

/// The text of a definition.
pub(super) async fn definition(tx: &mut Tx<'_>, hash: &ContentHash) -> Result<Option<String>, TxError> {
    let query = tx.query("SELECT body FROM definition WHERE hash = $1").bind(hash.as_bytes().as_slice());
    tx.row(query).await?.map(|row| get(&row, "body")).transpose()
}
