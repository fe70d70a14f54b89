//! Schedules and triggers: declared, paused, read by what is new since. What is declared or paused gets the next `rev` of
//! the project; rows that change in one transaction share it.

use runstone_core::service::record::{DeclaredSchedule, ScheduleId, ScheduleRecord};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::super::commit::expect_one;
use super::super::{Outcome, decode};
use super::fires;
use crate::declare::ScheduleWrite;
use crate::service::PAUSED;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, pipeline, name, timing, spec, generation, active, paused, activated, cursor, seen, rev \
             FROM schedule ",
            $rest
        )
    };
}

fn record(row: &Row<'_>) -> rusqlite::Result<ScheduleRecord> {
    Ok(ScheduleRecord {
        id: ScheduleId(row.get(0)?),
        pipeline: row.get(1)?,
        name: row.get(2)?,
        timing: row.get(3)?,
        spec: decode::json(row, 4)?,
        generation: row.get(5)?,
        active: row.get(6)?,
        paused: row.get(7)?,
        activated: Timestamp(row.get(8)?),
        cursor: Timestamp(row.get(9)?),
        seen: decode::json(row, 10)?,
        rev: row.get(11)?,
    })
}

/// The largest one that is on record, which may be less than the last that was given: whoever has read it has read all.
pub(super) fn rev(tx: &Transaction<'_>, project: i64) -> Outcome<i64> {
    Ok(tx
        .prepare_cached("SELECT coalesce(max(rev), 0) FROM schedule WHERE project_id = ?1")?
        .query_row([project], |row| row.get(0))?)
}

pub(super) fn list(tx: &Transaction<'_>, project: i64, after_rev: i64) -> Outcome<Vec<ScheduleRecord>> {
    let mut statement = tx.prepare_cached(select!("WHERE project_id = ?1 AND rev > ?2 ORDER BY rev, id"))?;
    let rows = statement.query_map([project, after_rev], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn get(tx: &Transaction<'_>, project: i64, id: ScheduleId) -> Outcome<Option<ScheduleRecord>> {
    Ok(tx
        .prepare_cached(select!("WHERE id = ?1 AND project_id = ?2"))?
        .query_row(params![id.0, project], record)
        .optional()?)
}

pub(super) fn next_rev(tx: &Transaction<'_>, project: i64) -> Outcome<i64> {
    Ok(tx
        .prepare_cached("UPDATE project SET schedule_rev = schedule_rev + 1 WHERE id = ?1 RETURNING schedule_rev")?
        .query_row([project], |row| row.get(0))?)
}

pub(super) fn insert(
    tx: &Transaction<'_>,
    project: i64,
    pipeline: &str,
    new: &DeclaredSchedule,
    now: Timestamp,
    rev: i64,
) -> Outcome<()> {
    tx.prepare_cached(
        "INSERT INTO schedule (project_id, pipeline, name, timing, spec, generation, active, paused, activated, cursor,
                               seen, rev)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, 0, ?7, ?7, 'null', ?8)",
    )?
    .execute(params![project, pipeline, new.name, new.timing, new.spec.to_string(), new.enabled, now.0, rev])?;
    Ok(())
}

/// A new generation begins at `now`, or where its cursor is, whichever is later: what was decided is not decided again.
pub(super) fn rewrite(tx: &Transaction<'_>, write: &ScheduleWrite<'_>, now: Timestamp, rev: i64) -> Outcome<()> {
    if let Some(declared) = write.declared {
        tx.prepare_cached("UPDATE schedule SET timing = ?2, spec = ?3 WHERE id = ?1")?.execute(params![
            write.id.0,
            declared.timing,
            declared.spec.to_string()
        ])?;
    }
    if write.renewed {
        tx.prepare_cached(
            "UPDATE schedule SET generation = generation + 1, activated = max(cursor, ?2), cursor = max(cursor, ?2),
                    seen = 'null' WHERE id = ?1",
        )?
        .execute(params![write.id.0, now.0])?;
    }
    let changed = tx.prepare_cached("UPDATE schedule SET active = ?2, rev = ?3 WHERE id = ?1")?.execute(params![
        write.id.0,
        write.active,
        rev
    ])?;
    expect_one(changed)
}

/// What is asked of [`set_paused`].
pub(super) struct Pause<'a> {
    pub(super) paused: bool,
    pub(super) catch_up: bool,
    pub(super) now: Timestamp,
    pub(super) decided: Timestamp,
    pub(super) missed: &'a dyn Fn(&ScheduleRecord) -> u64,
}

pub(super) fn set_paused(
    tx: &Transaction<'_>,
    project: i64,
    ids: &[ScheduleId],
    pause: &Pause<'_>,
) -> Outcome<Vec<ScheduleRecord>> {
    let mut changed = Vec::new();
    let mut rev = None;
    for id in ids {
        let Some(schedule) = get(tx, project, *id)?.filter(|schedule| schedule.paused != pause.paused) else {
            continue;
        };
        let rev = match rev {
            Some(rev) => rev,
            None => *rev.insert(next_rev(tx, project)?),
        };
        if !pause.paused && !pause.catch_up {
            skip_pause(tx, &schedule, pause)?;
        }
        tx.prepare_cached("UPDATE schedule SET paused = ?2, rev = ?3 WHERE id = ?1")?.execute(params![
            id.0,
            pause.paused,
            rev
        ])?;
        changed.extend(get(tx, project, *id)?);
    }
    Ok(changed)
}

/// Decides the times of the pause: one row, from just after the cursor until now. A schedule that is not active has none,
/// and begins anew when it comes back.
fn skip_pause(tx: &Transaction<'_>, schedule: &ScheduleRecord, pause: &Pause<'_>) -> Outcome<()> {
    if !schedule.active || pause.now <= schedule.cursor {
        return Ok(());
    }
    let count = (pause.missed)(schedule);
    if count > 0 {
        let fire = fires::Fire {
            schedule: schedule.id,
            generation: schedule.generation,
            time: schedule.cursor.plus_micros(1),
            until: pause.now,
            count,
            run: None,
            reason: Some(PAUSED),
        };
        fires::insert(tx, &fire, pause.decided)?;
    }
    // What a trigger would see now happened in the pause, and is no news.
    tx.prepare_cached("UPDATE schedule SET seen = 'null' WHERE id = ?1")?.execute([schedule.id.0])?;
    move_cursor(tx, schedule.id, pause.now)
}

pub(super) fn move_cursor(tx: &Transaction<'_>, id: ScheduleId, until: Timestamp) -> Outcome<()> {
    let changed =
        tx.prepare_cached("UPDATE schedule SET cursor = ?2 WHERE id = ?1")?.execute(params![id.0, until.0])?;
    expect_one(changed)
}
