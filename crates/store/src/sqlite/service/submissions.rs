//! Submissions: put in the queue, found, ended together with their runs.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{NewSubmission, SchedulerId, SubmissionRecord, SubmissionState};
use runstone_core::store::{RunRef, StoreError};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use super::super::commit::expect_one;
use super::super::{CANDIDATES, Outcome, decode, runs};
use crate::prefix;
use crate::rules::InvalidChange;
use crate::service::{CANCELLED, TAKEN_OVER, cancel_mode, is_asked};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.run_id, s.number, s.pipeline, s.definition, s.definition_path, s.params, s.request, s.trigger, \
                    s.partition, s.priority, s.queue_group, s.backfill_id, s.state, s.scheduler_id, s.claims, s.created, \
                    s.ended, s.reason, CASE WHEN r.id IS NULL THEN s.cancel ELSE r.cancel END, r.state, s.store_marker, \
                    s.tool_version, s.platform, s.user_name, s.host, s.git_commit, s.git_dirty \
             FROM submission s LEFT JOIN run r ON r.id = s.run_id WHERE s.project_id = ?1 ",
            $rest
        )
    };
}

fn optional_uuid(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get::<_, Option<[u8; 16]>>(at)?.map(Uuid::from_bytes))
}

fn record(row: &Row<'_>) -> rusqlite::Result<SubmissionRecord> {
    Ok(SubmissionRecord {
        run: decode::run_id(row, 0)?,
        number: row.get(1)?,
        pipeline: row.get(2)?,
        definition: decode::content_hash(row, 3)?,
        definition_path: row.get(4)?,
        params: decode::json(row, 5)?,
        request: decode::json(row, 6)?,
        trigger: row.get(7)?,
        partition: row.get(8)?,
        priority: row.get(9)?,
        group: row.get(10)?,
        backfill: optional_uuid(row, 11)?,
        state: decode::spelled(row, 12, SubmissionState::parse)?,
        scheduler: optional_uuid(row, 13)?.map(SchedulerId),
        claims: row.get(14)?,
        created: Timestamp(row.get(15)?),
        ended: row.get::<_, Option<i64>>(16)?.map(Timestamp),
        reason: row.get(17)?,
        cancel: row.get(18)?,
        run_state: row.get::<_, Option<String>>(19)?.map(|_| decode::spelled(row, 19, RunState::parse)).transpose()?,
        store_marker: decode::uuid(row, 20)?,
        environment: decode::environment(row, 21)?,
    })
}

pub(super) fn get(tx: &Transaction<'_>, project: i64, run: RunId) -> Outcome<Option<SubmissionRecord>> {
    Ok(tx
        .prepare_cached(select!("AND s.run_id = ?2"))?
        .query_row(params![project, run.0.as_bytes()], record)
        .optional()?)
}

pub(super) fn find(tx: &Transaction<'_>, project: i64, which: &RunRef) -> Outcome<Option<SubmissionRecord>> {
    match which {
        RunRef::Latest => {
            Ok(tx.prepare_cached(select!("ORDER BY s.number DESC LIMIT 1"))?.query_row([project], record).optional()?)
        }
        RunRef::Number(number) => {
            Ok(tx.prepare_cached(select!("AND s.number = ?2"))?.query_row([project, *number], record).optional()?)
        }
        RunRef::Prefix(given) => {
            let Some((low, high)) = prefix::run_range(given) else { return Ok(None) };
            let mut found = tx
                .prepare_cached(select!("AND s.run_id BETWEEN ?2 AND ?3 ORDER BY s.run_id LIMIT ?4"))?
                .query_map(params![project, low, high, CANDIDATES], record)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            if found.len() > 1 {
                let candidates = found.iter().map(|one| format!("#{} ({})", one.number, one.run)).collect();
                return Err(StoreError::Ambiguous { what: "run", given: given.clone(), candidates }.into());
            }
            Ok(found.pop())
        }
    }
}

/// All of them, those that are over included.
pub(super) fn all(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<SubmissionRecord>> {
    let mut statement = tx.prepare_cached(select!("ORDER BY s.number"))?;
    let rows = statement.query_map([project], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// In the order of numbers. Asks for each pipeline and each group of the queue by itself, so that a long queue costs no
/// more than a short one.
pub(super) fn live(tx: &Transaction<'_>, project: i64, per_pipeline: u32) -> Outcome<Vec<SubmissionRecord>> {
    let mut found = tx
        .prepare_cached(select!("AND s.state IN ('claimed', 'running')"))?
        .query_map([project], record)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut next_pipeline = tx.prepare_cached(
        "SELECT pipeline FROM submission WHERE project_id = ?1 AND state = 'queued' AND pipeline > ?2
         ORDER BY pipeline LIMIT 1",
    )?;
    let mut first = tx.prepare_cached(select!(
        "AND s.state = 'queued' AND s.pipeline = ?2 ORDER BY s.priority DESC, s.number LIMIT ?3"
    ))?;
    let mut last = String::new();
    while let Some(pipeline) = next_pipeline.query_row(params![project, last], |row| row.get(0)).optional()? {
        let rows = first.query_map(params![project, pipeline, per_pipeline], record)?;
        found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
        last = pipeline;
    }
    found.extend(first_of_groups(tx, project)?);
    found.sort_unstable_by_key(|one| one.number);
    found.dedup_by_key(|one| one.number);
    Ok(found)
}

/// The queued submissions that are first in their groups.
fn first_of_groups(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<SubmissionRecord>> {
    let mut next_group = tx.prepare_cached(
        "SELECT queue_group FROM submission
         WHERE project_id = ?1 AND queue_group > ?2 AND state IN ('queued', 'claimed', 'running')
         ORDER BY queue_group LIMIT 1",
    )?;
    let mut first = tx.prepare_cached(select!(
        "AND s.queue_group = ?2 AND s.state IN ('queued', 'claimed', 'running') ORDER BY s.number LIMIT 1"
    ))?;
    let (mut found, mut last) = (Vec::new(), String::new());
    while let Some(group) = next_group.query_row(params![project, last], |row| row.get(0)).optional()? {
        let submission = first.query_row(params![project, group], record)?;
        found.extend(Some(submission).filter(|one| one.state == SubmissionState::Queued));
        last = group;
    }
    Ok(found)
}

pub(super) fn queued_count(tx: &Transaction<'_>, project: i64) -> Outcome<u64> {
    Ok(tx
        .prepare_cached("SELECT count(*) FROM submission WHERE project_id = ?1 AND state = 'queued'")?
        .query_row([project], |row| decode::unsigned(row, 0))?)
}

/// The runs of a group that are not over, in order.
pub(super) fn live_of_group(tx: &Transaction<'_>, project: i64, group: Option<&str>) -> Outcome<Vec<(RunId, i64)>> {
    let Some(group) = group else { return Ok(Vec::new()) };
    let mut statement = tx.prepare_cached(
        "SELECT run_id, number FROM submission
         WHERE project_id = ?1 AND queue_group = ?2 AND state IN ('queued', 'claimed', 'running') ORDER BY number",
    )?;
    let rows = statement.query_map(params![project, group], |row| Ok((decode::run_id(row, 0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The submission that had this one's key first.
pub(super) fn with_key(tx: &Transaction<'_>, project: i64, new: &NewSubmission) -> Outcome<Option<(RunId, i64)>> {
    let Some(key) = &new.key else { return Ok(None) };
    Ok(tx
        .prepare_cached("SELECT run_id, number FROM submission WHERE project_id = ?1 AND key = ?2")?
        .query_row(params![project, key], |row| Ok((decode::run_id(row, 0)?, row.get(1)?)))
        .optional()?)
}

pub(super) fn submit(
    tx: &Transaction<'_>,
    project: i64,
    new: &NewSubmission,
    now: Timestamp,
) -> Outcome<SubmissionRecord> {
    let run = match with_key(tx, project, new)? {
        Some((run, _)) => run,
        None => {
            insert_new(tx, project, new, now)?;
            new.run
        }
    };
    get(tx, project, run)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

/// Puts one with a new key, or none, in the queue. Returns its number.
pub(super) fn insert_new(tx: &Transaction<'_>, project: i64, new: &NewSubmission, now: Timestamp) -> Outcome<i64> {
    let (definition, path) = definition_of(tx, project, new)?;
    insert(tx, project, new, &definition, &path, now)
}

/// The definition it runs and the file that came from: what was given, which is put on record, else what is in force.
pub(super) fn definition_of(tx: &Transaction<'_>, project: i64, new: &NewSubmission) -> Outcome<(ContentHash, String)> {
    if let Some(text) = &new.definition {
        let hash = ContentHash::of(text.as_bytes());
        runs::keep_definition(tx, &hash, text)?;
        return Ok((hash, new.definition_path.clone()));
    }
    tx.prepare_cached("SELECT definition, definition_path FROM pipeline WHERE project_id = ?1 AND name = ?2")?
        .query_row(params![project, new.pipeline], |row| Ok((decode::content_hash(row, 0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| InvalidChange::UnknownPipeline { pipeline: new.pipeline.clone() }.into())
}

pub(super) fn insert(
    tx: &Transaction<'_>,
    project: i64,
    new: &NewSubmission,
    definition: &ContentHash,
    path: &str,
    now: Timestamp,
) -> Outcome<i64> {
    let number = runs::next_number(tx, project)?;
    let environment = &new.environment;
    tx.prepare_cached(
        "INSERT INTO submission (run_id, project_id, number, pipeline, definition, definition_path, params, request,
                                 trigger, partition, priority, queue_group, backfill_id, key, state, claims, created,
                                 store_marker, tool_version, platform, user_name, host, git_commit, git_dirty)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'queued', 0, ?15, ?16, ?17, ?18, ?19, ?20,
                 ?21, ?22)",
    )?
    .execute(params![
        new.run.0.as_bytes(),
        project,
        number,
        new.pipeline,
        definition.as_bytes(),
        path,
        new.params.to_string(),
        new.request.to_string(),
        new.trigger,
        new.partition,
        new.priority,
        new.group,
        new.backfill.map(|id| *id.as_bytes()),
        new.key,
        now.0,
        new.store_marker.as_bytes(),
        environment.tool_version,
        environment.platform,
        environment.user,
        environment.host,
        environment.git_commit,
        environment.git_dirty,
    ])?;
    Ok(number)
}

pub(super) fn cancel_requests(tx: &Transaction<'_>, project: i64, runs: &[RunId]) -> Outcome<Vec<(RunId, String)>> {
    let mut statement = tx.prepare_cached(
        "SELECT cancel FROM run WHERE id = ?1 AND project_id = ?2 AND state = 'running' AND cancel IS NOT NULL
         UNION ALL
         SELECT cancel FROM submission WHERE run_id = ?1 AND project_id = ?2 AND state = 'claimed' AND cancel IS NOT NULL",
    )?;
    let mut found = Vec::new();
    for run in runs {
        if let Some(mode) = statement.query_row(params![run.0.as_bytes(), project], |row| row.get(0)).optional()? {
            found.push((*run, mode));
        }
    }
    Ok(found)
}

/// Notes that a submission whose run is not on record is to end: a queued one ends at once. False where there is none.
pub(in super::super) fn request_cancel(
    tx: &Transaction<'_>,
    project: i64,
    run: RunId,
    hard: bool,
    now: Timestamp,
) -> Outcome<bool> {
    let found = tx
        .prepare_cached(
            "SELECT state, cancel FROM submission
             WHERE run_id = ?1 AND project_id = ?2 AND state IN ('queued', 'claimed')",
        )?
        .query_row(params![run.0.as_bytes(), project], |row| {
            Ok((decode::spelled(row, 0, SubmissionState::parse)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()?;
    let Some((state, asked)) = found else { return Ok(false) };
    if state == SubmissionState::Queued {
        end(tx, run, SubmissionState::Cancelled, Some(CANCELLED), now)?;
    } else if !is_asked(asked.as_deref(), cancel_mode(hard)) {
        tx.prepare_cached("UPDATE submission SET cancel = ?2 WHERE run_id = ?1")?
            .execute(params![run.0.as_bytes(), cancel_mode(hard)])?;
    }
    Ok(true)
}

/// Ends a submission that is not over.
pub(super) fn end(
    tx: &Transaction<'_>,
    run: RunId,
    state: SubmissionState,
    reason: Option<&str>,
    now: Timestamp,
) -> Outcome<()> {
    let changed = tx
        .prepare_cached("UPDATE submission SET state = ?2, reason = ?3, ended = ?4 WHERE run_id = ?1")?
        .execute(params![run.0.as_bytes(), state.as_str(), reason, now.0])?;
    expect_one(changed)
}

/// The run of a submission, if it is one, is over.
pub(in super::super) fn run_ended(tx: &Transaction<'_>, run: RunId, now: Timestamp) -> Outcome<()> {
    done(tx, run, None, now)
}

/// A person goes on with the run of a submission, if it is one: schedulers leave it alone from now on.
pub(in super::super) fn taken_over(tx: &Transaction<'_>, run: RunId, now: Timestamp) -> Outcome<()> {
    done(tx, run, Some(TAKEN_OVER), now)
}

fn done(tx: &Transaction<'_>, run: RunId, reason: Option<&str>, now: Timestamp) -> Outcome<()> {
    tx.prepare_cached(
        "UPDATE submission SET state = 'done', reason = ?2, ended = ?3 WHERE run_id = ?1 AND state = 'running'",
    )?
    .execute(params![run.0.as_bytes(), reason, now.0])?;
    Ok(())
}
