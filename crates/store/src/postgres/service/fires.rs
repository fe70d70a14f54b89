//! Fires on record: each is one decision, and never changes.

use std::borrow::Cow;

use runstone_core::record::RunId;
use runstone_core::service::record::{FireRecord, ScheduleId, ScheduleRecord};
use runstone_core::service::store::FireFilter;
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};

use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{Time, get, get_time, get_unsigned, stored, text};

/// A row to be put on record.
#[derive(Debug)]
pub(super) struct Fire<'a> {
    pub(super) schedule: ScheduleId,
    pub(super) generation: i64,
    pub(super) time: Timestamp,
    pub(super) until: Timestamp,
    pub(super) count: u64,
    pub(super) run: Option<RunId>,
    pub(super) reason: Option<Cow<'a, str>>,
}

impl Fire<'_> {
    /// One time, or a row of them from the first to the last.
    pub(super) const fn of(schedule: &ScheduleRecord, (time, until): (Timestamp, Timestamp)) -> Self {
        Self { schedule: schedule.id, generation: schedule.generation, time, until, count: 1, run: None, reason: None }
    }
}

/// Puts fires on record. Their key (schedule, generation, time) lets none be decided twice, whatever went wrong before.
pub(super) async fn insert(tx: &mut Tx<'_>, fires: &[Fire<'_>], decided: Timestamp) -> TxResult<()> {
    const INSERT: &str = "INSERT INTO fire (schedule_id, generation, time, until, count, decided, run_id, reason) \
         SELECT w.schedule, w.generation, w.time, w.until, w.count, $1, w.run, w.reason \
         FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::uuid[], \
                 $8::text[]) AS w(schedule, generation, time, until, count, run, reason)";
    if fires.is_empty() {
        return Ok(());
    }
    let counts: Vec<i64> =
        fires.iter().map(|fire| stored("number of fire times", fire.count)).collect::<Result<_, _>>()?;
    let query = tx
        .query(INSERT)
        .bind(Time(decided))
        .bind(fires.iter().map(|fire| fire.schedule.0).bind_iter())
        .bind(fires.iter().map(|fire| fire.generation).bind_iter())
        .bind(fires.iter().map(|fire| Time(fire.time)).bind_iter())
        .bind(fires.iter().map(|fire| Time(fire.until)).bind_iter())
        .bind(counts)
        .bind(fires.iter().map(|fire| fire.run.map(|run| run.0)).bind_iter())
        .bind(fires.iter().map(|fire| fire.reason.as_deref().map(text)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

macro_rules! select {
    ($schedule:literal, $order:literal) => {
        concat!(
            "SELECT f.schedule_id, f.generation, f.time, f.until, f.count, f.decided, f.run_id, s.number, f.reason \
             FROM fire f JOIN schedule c ON c.id = f.schedule_id LEFT JOIN submission s ON s.run_id = f.run_id \
             WHERE c.project_id = $1 AND (NOT $2 OR f.run_id IS NULL) AND ",
            $schedule,
            " ORDER BY ",
            $order,
            " LIMIT $3"
        )
    };
}

/// Newest first: by (time, schedule, generation), or of one schedule by (generation, time). Two statements, each along an
/// index of its own.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, filter: &FireFilter) -> TxResult<Vec<FireRecord>> {
    const OF_ALL: &str = select!("true", "f.time DESC, f.schedule_id DESC, f.generation DESC");
    const OF_ONE: &str = select!("f.schedule_id = $4", "f.generation DESC, f.time DESC");
    let query = tx.query(if filter.schedule.is_some() { OF_ONE } else { OF_ALL });
    let query = query.bind(project).bind(filter.skipped_only).bind(filter.limit.map(i64::from));
    let query = match filter.schedule {
        Some(schedule) => query.bind(schedule.0),
        None => query,
    };
    tx.rows(query).await?.iter().map(record).collect()
}

fn record(row: &PgRow) -> Result<FireRecord, TxError> {
    Ok(FireRecord {
        schedule: ScheduleId(get(row, "schedule_id")?),
        generation: get(row, "generation")?,
        time: get_time(row, "time")?,
        until: get_time(row, "until")?,
        count: get_unsigned(row, "count")?,
        decided: get_time(row, "decided")?,
        run: get::<Option<uuid::Uuid>>(row, "run_id")?.map(RunId),
        number: get(row, "number")?,
        reason: get(row, "reason")?,
    })
}
