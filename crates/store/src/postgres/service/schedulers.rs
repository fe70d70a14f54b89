//! Schedulers and their leases, by the server's clock.

use runstone_core::service::record::{NewScheduler, SchedulerId, SchedulerRecord, SchedulerState};
use runstone_core::service::store::Beat;
use sqlx::postgres::PgRow;

use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{get, get_state, get_time, get_unsigned, stored, text};
use super::claims;

/// Puts a scheduler on record.
pub(super) async fn register(tx: &mut Tx<'_>, project: i64, new: &NewScheduler) -> TxResult<()> {
    const INSERT: &str = "INSERT INTO scheduler (id, project_id, host, pid, pid_start, place, version, store_marker, \
             capacity, state, started, seen, ttl_ms) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 'active', c.clock, c.clock, $10 \
         FROM (SELECT clock_timestamp() AS clock OFFSET 0) c";
    let query = tx
        .query(INSERT)
        .bind(new.id.0)
        .bind(project)
        .bind(text(&new.host).into_owned())
        .bind(i64::from(new.pid))
        .bind(stored("start time of a process", new.pid_start)?)
        .bind(text(&new.place).into_owned())
        .bind(text(&new.version).into_owned())
        .bind(new.store_marker)
        .bind(i64::from(new.capacity))
        .bind(stored("length of a lease", new.ttl_ms)?);
    tx.execute(query).await?;
    Ok(())
}

/// Renews a lease; once more does no harm.
pub(super) async fn beat(
    tx: &mut Tx<'_>,
    project: i64,
    scheduler: SchedulerId,
    state: SchedulerState,
) -> TxResult<Beat> {
    const BEAT: &str = "UPDATE scheduler SET seen = clock_timestamp(), state = CASE WHEN $3 THEN 'draining' ELSE state END \
         WHERE id = $1 AND project_id = $2 AND state <> 'gone'";
    let query = tx.query(BEAT).bind(scheduler.0).bind(project).bind(state == SchedulerState::Draining);
    Ok(if tx.execute(query).await? == 1 { Beat::Renewed } else { Beat::Gone })
}

/// Puts on record that a scheduler is gone. Claims hold a share of its row's lock, so that none comes to be between the two
/// statements.
pub(super) async fn bury(
    tx: &mut Tx<'_>,
    project: i64,
    scheduler: SchedulerId,
    only_if_expired: bool,
) -> TxResult<bool> {
    const BURY: &str = "UPDATE scheduler SET state = 'gone' WHERE id = $1 AND project_id = $2 AND state <> 'gone' \
         AND (NOT $3 OR seen + ttl_ms * interval '1 ms' <= clock_timestamp())";
    let query = tx.query(BURY).bind(scheduler.0).bind(project).bind(only_if_expired);
    if tx.execute(query).await? == 0 {
        return Ok(false);
    }
    claims::requeue_of(tx, scheduler).await?;
    Ok(true)
}

/// Newest first.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, gone: u32) -> TxResult<Vec<SchedulerRecord>> {
    const SELECT: &str = "SELECT *, state <> 'gone' AND seen + ttl_ms * interval '1 ms' <= clock_timestamp() AS expired \
         FROM (SELECT * FROM scheduler WHERE project_id = $1 AND state <> 'gone' UNION ALL \
             (SELECT * FROM scheduler WHERE project_id = $1 AND state = 'gone' ORDER BY started DESC, id DESC LIMIT $2)) s \
         ORDER BY started DESC, id DESC";
    let query = tx.query(SELECT).bind(project).bind(i64::from(gone));
    tx.rows(query).await?.iter().map(record).collect()
}

fn record(row: &PgRow) -> Result<SchedulerRecord, TxError> {
    Ok(SchedulerRecord {
        id: SchedulerId(get(row, "id")?),
        host: get(row, "host")?,
        pid: get_unsigned(row, "pid")?,
        pid_start: get_unsigned(row, "pid_start")?,
        place: get(row, "place")?,
        version: get(row, "version")?,
        store_marker: get(row, "store_marker")?,
        capacity: get_unsigned(row, "capacity")?,
        state: get_state(row, "state", SchedulerState::parse)?,
        started: get_time(row, "started")?,
        seen: get_time(row, "seen")?,
        ttl_ms: get_unsigned(row, "ttl_ms")?,
        expired: get(row, "expired")?,
    })
}
