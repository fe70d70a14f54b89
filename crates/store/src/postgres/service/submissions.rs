//! Submissions: put in the queue, found, ended together with their runs.
//!
//! Whoever puts one in the queue holds the lock of the project, and gives it the next number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{NewSubmission, SchedulerId, SubmissionRecord, SubmissionState};
use runstone_core::store::{RunRef, StoreError};
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use super::super::runs::CANDIDATES;
use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{
    Time, get, get_content_hash, get_environment, get_json, get_state, get_time, get_unsigned, json, opt_text, text,
};
use super::lock_project;
use super::pipelines::{self, InForce};
use crate::prefix;
use crate::rules::InvalidChange;
use crate::service::CANCELLED;

macro_rules! select {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT s.run_id, s.number, s.pipeline, s.definition, s.definition_path, s.params::text AS params, \
                 s.request::text AS request, s.trigger, s.partition, s.priority, s.queue_group, s.backfill_id, s.state, \
                 s.scheduler_id, s.claims, s.created, s.ended, s.reason, \
                 CASE WHEN r.id IS NULL THEN s.cancel ELSE r.cancel END AS cancel, r.state AS run_state, s.store_marker, \
                 s.tool_version, s.platform, s.user_name, s.host, s.git_commit, s.git_dirty \
             FROM ",
            $from,
            " s LEFT JOIN run r ON r.id = s.run_id ",
            $rest
        )
    };
}

fn record(row: &PgRow) -> Result<SubmissionRecord, TxError> {
    let run_state: Option<&str> = get(row, "run_state")?;
    Ok(SubmissionRecord {
        run: RunId(get(row, "run_id")?),
        number: get(row, "number")?,
        pipeline: get(row, "pipeline")?,
        definition: get_content_hash(row, "definition")?,
        definition_path: get(row, "definition_path")?,
        params: get_json(row, "params")?,
        request: get_json(row, "request")?,
        trigger: get(row, "trigger")?,
        partition: get(row, "partition")?,
        priority: get(row, "priority")?,
        group: get(row, "queue_group")?,
        backfill: get(row, "backfill_id")?,
        state: get_state(row, "state", SubmissionState::parse)?,
        scheduler: get::<Option<Uuid>>(row, "scheduler_id")?.map(SchedulerId),
        claims: get(row, "claims")?,
        created: get_time(row, "created")?,
        ended: get::<Option<Time>>(row, "ended")?.map(|time| time.0),
        reason: get(row, "reason")?,
        cancel: get(row, "cancel")?,
        run_state: run_state.map(|_| get_state(row, "run_state", RunState::parse)).transpose()?,
        store_marker: get(row, "store_marker")?,
        environment: get_environment(row)?,
    })
}

/// The submission of a run.
pub(super) async fn by_run(tx: &mut Tx<'_>, project: i64, run: RunId) -> TxResult<Option<SubmissionRecord>> {
    let query = tx.query(select!("submission", "WHERE s.project_id = $1 AND s.run_id = $2"));
    let query = query.bind(project).bind(run.0);
    tx.row(query).await?.as_ref().map(record).transpose()
}

/// The submission that is meant.
pub(super) async fn find(tx: &mut Tx<'_>, project: i64, which: &RunRef) -> TxResult<Option<SubmissionRecord>> {
    let query = match which {
        RunRef::Latest => {
            let query = tx.query(select!("submission", "WHERE s.project_id = $1 ORDER BY s.number DESC LIMIT 1"));
            query.bind(project)
        }
        RunRef::Number(number) => {
            let query = tx.query(select!("submission", "WHERE s.project_id = $1 AND s.number = $2"));
            query.bind(project).bind(*number)
        }
        RunRef::Prefix(given) => {
            let Some((low, high)) = prefix::run_range(given) else { return Ok(None) };
            let query = tx.query(select!(
                "submission",
                "WHERE s.project_id = $1 AND s.run_id BETWEEN $2 AND $3 ORDER BY s.run_id LIMIT $4"
            ));
            query.bind(project).bind(Uuid::from_bytes(low)).bind(Uuid::from_bytes(high)).bind(CANDIDATES)
        }
    };
    let mut found = tx.rows(query).await?.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    match which {
        RunRef::Prefix(given) if found.len() > 1 => {
            let candidates = found.iter().map(|one| format!("#{} ({})", one.number, one.run)).collect();
            Err(StoreError::Ambiguous { what: "run", given: given.clone(), candidates }.into())
        }
        _ => Ok(found.pop()),
    }
}

/// All of them, those that are over included, in the order of numbers.
pub(super) async fn all(tx: &mut Tx<'_>, project: i64) -> TxResult<Vec<SubmissionRecord>> {
    let query = tx.query(select!("submission", "WHERE s.project_id = $1 ORDER BY s.number")).bind(project);
    tx.rows(query).await?.iter().map(record).collect()
}

/// In the order of numbers. Steps from pipeline to pipeline, and from group to group, along the indexes of the queue, so that
/// a long queue costs no more than a short one.
pub(super) async fn live(tx: &mut Tx<'_>, project: i64, per_pipeline: u32) -> TxResult<Vec<SubmissionRecord>> {
    const LIVE: &str = concat!(
        "WITH RECURSIVE pipelines (name) AS ( \
             (SELECT q.pipeline FROM submission q WHERE q.project_id = $1 AND q.state = 'queued' ORDER BY q.pipeline LIMIT 1) \
             UNION ALL \
             SELECT n.pipeline FROM pipelines l CROSS JOIN LATERAL ( \
                 SELECT q.pipeline FROM submission q \
                 WHERE q.project_id = $1 AND q.state = 'queued' AND q.pipeline > l.name ORDER BY q.pipeline LIMIT 1) n), \
         groups (name) AS ( \
             (SELECT q.queue_group FROM submission q WHERE q.project_id = $1 AND q.queue_group IS NOT NULL \
                 AND q.state IN ('queued', 'claimed', 'running') ORDER BY q.queue_group LIMIT 1) \
             UNION ALL \
             SELECT n.queue_group FROM groups l CROSS JOIN LATERAL ( \
                 SELECT q.queue_group FROM submission q WHERE q.project_id = $1 AND q.queue_group > l.name \
                     AND q.state IN ('queued', 'claimed', 'running') ORDER BY q.queue_group LIMIT 1) n), \
         wanted (run) AS ( \
             SELECT t.run_id FROM submission t WHERE t.project_id = $1 AND t.state IN ('claimed', 'running') \
             UNION SELECT f.run_id FROM pipelines p CROSS JOIN LATERAL ( \
                 SELECT q.run_id FROM submission q WHERE q.project_id = $1 AND q.state = 'queued' AND q.pipeline = p.name \
                 ORDER BY q.priority DESC, q.number LIMIT $2) f \
             UNION SELECT f.run_id FROM groups g CROSS JOIN LATERAL ( \
                 SELECT q.run_id FROM submission q WHERE q.project_id = $1 AND q.queue_group = g.name \
                     AND q.state IN ('queued', 'claimed', 'running') ORDER BY q.number LIMIT 1) f) ",
        select!(
            "wanted w CROSS JOIN LATERAL (SELECT * FROM submission x WHERE x.run_id = w.run OFFSET 0)",
            "ORDER BY s.number"
        )
    );
    let query = tx.query(LIVE).bind(project).bind(i64::from(per_pipeline));
    tx.rows(query).await?.iter().map(record).collect()
}

/// How many are queued.
pub(super) async fn queued_count(tx: &mut Tx<'_>, project: i64) -> TxResult<u64> {
    let query = tx.query("SELECT count(*) FROM submission WHERE project_id = $1 AND state = 'queued'").bind(project);
    tx.row(query).await?.map_or(Ok(0), |row| get_unsigned(&row, "count"))
}

/// A submission that is not over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) run: RunId,
    pub(super) number: i64,
    /// Whether a scheduler has it.
    pub(super) begun: bool,
    /// Its place among those that are being put in the queue just now.
    pub(super) place: Option<usize>,
}

/// What is live of the groups that `wanted` belong to, in the order of numbers.
pub(super) async fn live_of_groups(
    tx: &mut Tx<'_>,
    project: i64,
    wanted: &[&NewSubmission],
) -> TxResult<HashMap<String, Vec<Live>>> {
    const SELECT: &str = "SELECT s.run_id, s.number, s.queue_group, s.state <> 'queued' AS begun \
         FROM unnest($2::text[]) AS w(name) CROSS JOIN LATERAL ( \
             SELECT * FROM submission x WHERE x.project_id = $1 AND x.queue_group = w.name \
                 AND x.state IN ('queued', 'claimed', 'running') OFFSET 0) s \
         ORDER BY s.number";
    let groups: BTreeSet<&str> = wanted.iter().filter_map(|new| new.group.as_deref()).collect();
    let mut found: HashMap<String, Vec<Live>> = HashMap::new();
    if groups.is_empty() {
        return Ok(found);
    }
    let query = tx.query(SELECT).bind(project).bind(groups.into_iter().map(text).bind_iter());
    for row in tx.rows(query).await? {
        let (run, number) = (RunId(get(&row, "run_id")?), get(&row, "number")?);
        let live = Live { run, number, begun: get(&row, "begun")?, place: None };
        found.entry(get(&row, "queue_group")?).or_default().push(live);
    }
    Ok(found)
}

/// Those that had the keys of `wanted` first.
pub(super) async fn with_keys(
    tx: &mut Tx<'_>,
    project: i64,
    wanted: &[&NewSubmission],
) -> TxResult<HashMap<String, (RunId, i64)>> {
    const SELECT: &str = "SELECT run_id, number, key FROM submission WHERE project_id = $1 AND key = ANY($2)";
    let keys: BTreeSet<&str> = wanted.iter().filter_map(|new| new.key.as_deref()).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let query = tx.query(SELECT).bind(project).bind(keys.into_iter().map(text).bind_iter());
    let rows = tx.rows(query).await?;
    rows.iter().map(|row| Ok((get(row, "key")?, (RunId(get(row, "run_id")?), get(row, "number")?)))).collect()
}

/// Puts a run in the queue. With a key that was used before, the earlier one comes back.
pub(super) async fn submit(
    tx: &mut Tx<'_>,
    project: i64,
    new: &NewSubmission,
    now: Timestamp,
) -> TxResult<SubmissionRecord> {
    let number = lock_project(tx, project).await?.runs + 1;
    let run = match with_keys(tx, project, &[new]).await?.into_values().next() {
        Some((run, _)) => run,
        None => {
            insert(tx, project, &[Queueing { new, number, cancelled: false }], now).await?;
            new.run
        }
    };
    by_run(tx, project, run).await?.ok_or(TxError::Sql(sqlx::Error::RowNotFound))
}

/// A submission that is put in the queue, or is over at once.
#[derive(Debug)]
pub(super) struct Queueing<'a> {
    pub(super) new: &'a NewSubmission,
    pub(super) number: i64,
    pub(super) cancelled: bool,
}

/// Puts submissions on record with numbers that follow the newest one, under the lock of the project.
pub(super) async fn insert(tx: &mut Tx<'_>, project: i64, queueing: &[Queueing<'_>], now: Timestamp) -> TxResult<()> {
    let unnamed: BTreeSet<&str> =
        queueing.iter().filter(|one| one.new.definition.is_none()).map(|one| one.new.pipeline.as_str()).collect();
    let in_force = match unnamed.is_empty() {
        true => BTreeMap::new(),
        false => pipelines::in_force(tx, project, unnamed).await?,
    };
    let given = queueing.iter().filter_map(|one| one.new.definition.as_deref());
    pipelines::keep_definitions(tx, given.map(|text| (ContentHash::of(text.as_bytes()), text))).await?;
    let defined =
        queueing.iter().map(|one| definition_of(one.new, &in_force)).collect::<Result<Vec<_>, InvalidChange>>();
    put(tx, project, queueing, &defined.map_err(StoreError::from)?, now).await
}

/// The definition it runs and the file that came from: what was given, else what is in force.
pub(super) fn definition_of(
    new: &NewSubmission,
    in_force: &BTreeMap<String, InForce>,
) -> Result<InForce, InvalidChange> {
    match &new.definition {
        Some(text) => Ok(InForce { definition: ContentHash::of(text.as_bytes()), path: new.definition_path.clone() }),
        None => in_force
            .get(&new.pipeline)
            .cloned()
            .ok_or_else(|| InvalidChange::UnknownPipeline { pipeline: new.pipeline.clone() }),
    }
}

/// Puts submissions on record whose definitions are.
pub(super) async fn put(
    tx: &mut Tx<'_>,
    project: i64,
    queueing: &[Queueing<'_>],
    defined: &[InForce],
    now: Timestamp,
) -> TxResult<()> {
    const INSERT: &str = "WITH counted AS (UPDATE project SET runs = $2 WHERE id = $1) \
         INSERT INTO submission (run_id, project_id, number, pipeline, definition, definition_path, params, request, \
             trigger, partition, priority, queue_group, backfill_id, key, state, created, ended, reason, store_marker, \
             tool_version, platform, user_name, host, git_commit, git_dirty) \
         SELECT w.run, $1, w.number, w.pipeline, w.definition, w.path, w.params::jsonb, w.request::jsonb, w.trigger, \
             w.partition, w.priority, w.queue_group, w.backfill, w.key, \
             CASE WHEN w.cancelled THEN 'cancelled' ELSE 'queued' END, $3, CASE WHEN w.cancelled THEN $3 END, \
             CASE WHEN w.cancelled THEN $4 END, w.store_marker, w.tool_version, w.platform, w.user_name, w.host, \
             w.git_commit, w.git_dirty \
         FROM unnest($5::uuid[], $6::bigint[], $7::text[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[], \
                 $13::text[], $14::integer[], $15::text[], $16::uuid[], $17::text[], $18::boolean[], $19::uuid[], \
                 $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::boolean[]) \
             AS w(run, number, pipeline, definition, path, params, request, trigger, partition, priority, queue_group, \
                 backfill, key, cancelled, store_marker, tool_version, platform, user_name, host, git_commit, git_dirty)";
    let Some(last) = queueing.last() else { return Ok(()) };
    let new = || queueing.iter().map(|one| one.new);
    let query = tx
        .query(INSERT)
        .bind(project)
        .bind(last.number)
        .bind(Time(now))
        .bind(CANCELLED)
        .bind(new().map(|new| new.run.0).bind_iter())
        .bind(queueing.iter().map(|one| one.number).bind_iter())
        .bind(new().map(|new| text(&new.pipeline)).bind_iter())
        .bind(defined.iter().map(|one| one.definition.as_bytes().as_slice()).bind_iter())
        .bind(defined.iter().map(|one| text(&one.path)).bind_iter())
        .bind(new().map(|new| json(&new.params)).bind_iter())
        .bind(new().map(|new| json(&new.request)).bind_iter())
        .bind(new().map(|new| text(&new.trigger)).bind_iter())
        .bind(new().map(|new| opt_text(new.partition.as_deref())).bind_iter())
        .bind(new().map(|new| new.priority).bind_iter())
        .bind(new().map(|new| opt_text(new.group.as_deref())).bind_iter())
        .bind(new().map(|new| new.backfill).bind_iter())
        .bind(new().map(|new| opt_text(new.key.as_deref())).bind_iter())
        .bind(queueing.iter().map(|one| one.cancelled).bind_iter())
        .bind(new().map(|new| new.store_marker).bind_iter())
        .bind(new().map(|new| text(&new.environment.tool_version)).bind_iter())
        .bind(new().map(|new| text(&new.environment.platform)).bind_iter())
        .bind(new().map(|new| text(&new.environment.user)).bind_iter())
        .bind(new().map(|new| text(&new.environment.host)).bind_iter())
        .bind(new().map(|new| opt_text(new.environment.git_commit.as_deref())).bind_iter())
        .bind(new().map(|new| new.environment.git_dirty).bind_iter());
    tx.execute(query).await?;
    Ok(())
}
