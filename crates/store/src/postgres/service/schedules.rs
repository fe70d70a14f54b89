//! Schedules and triggers: declared, paused, read by what is new since. What is declared or paused gets the next `rev` of the
//! project, whose lock the writer holds; rows that change in one transaction share it.

use std::collections::{HashMap, HashSet};

use runstone_core::service::record::{DeclaredSchedule, ScheduleId, ScheduleRecord};
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};

use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{Time, get, get_json, get_time, json, text};
use super::{fires, lock_project};
use crate::declare::ScheduleWrite;
use crate::service::PAUSED;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.pipeline, s.name, s.timing, s.spec::text AS spec, s.generation, s.active, s.paused, \
                 s.activated, s.cursor, s.seen::text AS seen, s.rev FROM ",
            $rest
        )
    };
}

fn record(row: &PgRow) -> Result<ScheduleRecord, TxError> {
    Ok(ScheduleRecord {
        id: ScheduleId(get(row, "id")?),
        pipeline: get(row, "pipeline")?,
        name: get(row, "name")?,
        timing: get(row, "timing")?,
        spec: get_json(row, "spec")?,
        generation: get(row, "generation")?,
        active: get(row, "active")?,
        paused: get(row, "paused")?,
        activated: get_time(row, "activated")?,
        cursor: get_time(row, "cursor")?,
        seen: get_json(row, "seen")?,
        rev: get(row, "rev")?,
    })
}

/// The largest one that is on record, which may be less than the last that was given: whoever has read it has read all.
pub(super) async fn rev(tx: &mut Tx<'_>, project: i64) -> TxResult<i64> {
    let query = tx.query("SELECT coalesce(max(rev), 0) AS rev FROM schedule WHERE project_id = $1").bind(project);
    tx.row(query).await?.map_or(Ok(0), |row| get(&row, "rev"))
}

/// Those that changed since, in the order of their changes.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, after_rev: i64) -> TxResult<Vec<ScheduleRecord>> {
    let query =
        tx.query(select!("schedule s WHERE s.project_id = $1 AND s.rev > $2 ORDER BY s.rev, s.id")).bind(project);
    tx.rows(query.bind(after_rev)).await?.iter().map(record).collect()
}

/// Those that are asked for, each once.
pub(super) async fn by_id(
    tx: &mut Tx<'_>,
    project: i64,
    ids: &HashSet<ScheduleId>,
) -> TxResult<HashMap<ScheduleId, ScheduleRecord>> {
    const SELECT: &str = select!(
        "unnest($2::bigint[]) AS w(id) CROSS JOIN LATERAL (SELECT * FROM schedule x WHERE x.id = w.id OFFSET 0) s \
         WHERE s.project_id = $1"
    );
    let query = tx.query(SELECT).bind(project).bind(ids.iter().map(|id| id.0).bind_iter());
    let rows = tx.rows(query).await?;
    rows.iter().map(|row| record(row).map(|schedule| (schedule.id, schedule))).collect()
}

/// Puts new schedules on record: generation 1, not paused.
pub(super) async fn insert(
    tx: &mut Tx<'_>,
    project: i64,
    new: &[(&str, &DeclaredSchedule)],
    now: Timestamp,
    rev: i64,
) -> TxResult<()> {
    const INSERT: &str = "INSERT INTO schedule (project_id, pipeline, name, timing, spec, generation, active, paused, \
             activated, cursor, seen, rev) \
         SELECT $1, w.pipeline, w.name, w.timing, w.spec::jsonb, 1, w.active, false, $2, $2, 'null', $3 \
         FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[]) \
             AS w(pipeline, name, timing, spec, active)";
    let query = tx
        .query(INSERT)
        .bind(project)
        .bind(Time(now))
        .bind(rev)
        .bind(new.iter().map(|(pipeline, _)| text(pipeline)).bind_iter())
        .bind(new.iter().map(|(_, one)| text(&one.name)).bind_iter())
        .bind(new.iter().map(|(_, one)| text(&one.timing)).bind_iter())
        .bind(new.iter().map(|(_, one)| json(&one.spec)).bind_iter())
        .bind(new.iter().map(|(_, one)| one.enabled).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// Changes schedules as their pipelines declare them. A new generation begins at `now`, or where its cursor is, whichever is
/// later: what was decided is not decided again.
pub(super) async fn rewrite(tx: &mut Tx<'_>, writes: &[ScheduleWrite<'_>], now: Timestamp, rev: i64) -> TxResult<()> {
    const UPDATE: &str = "UPDATE schedule s SET active = w.active, rev = $2, \
             timing = coalesce(w.timing, s.timing), spec = coalesce(w.spec::jsonb, s.spec), \
             generation = s.generation + CASE WHEN w.renewed THEN 1 ELSE 0 END, \
             activated = CASE WHEN w.renewed THEN greatest(s.cursor, $1) ELSE s.activated END, \
             cursor = CASE WHEN w.renewed THEN greatest(s.cursor, $1) ELSE s.cursor END, \
             seen = CASE WHEN w.renewed THEN 'null' ELSE s.seen END \
         FROM unnest($3::bigint[], $4::boolean[], $5::text[], $6::text[], $7::boolean[]) \
             AS w(id, active, timing, spec, renewed) \
         WHERE s.id = w.id";
    let query = tx
        .query(UPDATE)
        .bind(Time(now))
        .bind(rev)
        .bind(writes.iter().map(|write| write.id.0).bind_iter())
        .bind(writes.iter().map(|write| write.active).bind_iter())
        .bind(writes.iter().map(|write| write.declared.map(|one| text(&one.timing))).bind_iter())
        .bind(writes.iter().map(|write| write.declared.map(|one| json(&one.spec))).bind_iter())
        .bind(writes.iter().map(|write| write.renewed).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// Notes the newest revision given out.
pub(super) async fn set_rev(tx: &mut Tx<'_>, project: i64, rev: i64) -> TxResult<()> {
    let query = tx.query("UPDATE project SET schedule_rev = $2 WHERE id = $1").bind(project).bind(rev);
    tx.execute(query).await?;
    Ok(())
}

/// What is asked of [`set_paused`].
pub(super) struct Pause<'a> {
    pub(super) paused: bool,
    pub(super) catch_up: bool,
    pub(super) now: Timestamp,
    pub(super) missed: &'a dyn Fn(&ScheduleRecord) -> u64,
}

/// Pauses schedules or lets them go on.
pub(super) async fn set_paused(
    tx: &mut Tx<'_>,
    project: i64,
    ids: &[ScheduleId],
    pause: &Pause<'_>,
) -> TxResult<Vec<ScheduleRecord>> {
    const UPDATE: &str = "UPDATE schedule s SET paused = $1, rev = $2, cursor = w.cursor, \
             seen = CASE WHEN w.cursor > s.cursor THEN 'null'::jsonb ELSE s.seen END \
         FROM unnest($3::bigint[], $4::timestamptz[]) AS w(id, cursor) WHERE s.id = w.id";
    let counters = lock_project(tx, project).await?;
    let wanted: HashSet<ScheduleId> = ids.iter().copied().collect();
    let mut found = by_id(tx, project, &wanted).await?;
    let rev = counters.rev + 1;
    let (mut changed, mut skipped) = (Vec::new(), Vec::new());
    for schedule in ids.iter().filter_map(|id| found.remove(id)).filter(|one| one.paused != pause.paused) {
        let (mut cursor, mut seen) = (schedule.cursor, schedule.seen.clone());
        // One that is not active has no times to skip: it begins anew when it comes back.
        if !pause.paused && !pause.catch_up && schedule.active && pause.now > cursor {
            let count = (pause.missed)(&schedule);
            let time = cursor.plus_micros(1);
            cursor = pause.now;
            // What a trigger would see now happened in the pause, and is no news.
            seen = serde_json::Value::Null;
            if count > 0 {
                let fire = fires::Fire::of(&schedule, (time, cursor));
                skipped.push(fires::Fire { count, reason: Some(PAUSED.into()), ..fire });
            }
        }
        changed.push(ScheduleRecord { paused: pause.paused, rev, cursor, seen, ..schedule });
    }
    if changed.is_empty() {
        return Ok(changed);
    }
    let query = tx
        .query(UPDATE)
        .bind(pause.paused)
        .bind(rev)
        .bind(changed.iter().map(|one| one.id.0).bind_iter())
        .bind(changed.iter().map(|one| Time(one.cursor)).bind_iter());
    tx.execute(query).await?;
    fires::insert(tx, &skipped, counters.clock).await?;
    set_rev(tx, project, rev).await?;
    Ok(changed)
}
