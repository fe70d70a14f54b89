//! Tasks: put on record and read. What changes them is in `commit`.

use runstone_core::record::{NodeId, RunId, TaskRecord, TaskState};
use runstone_core::store::NewTask;
use sqlx::postgres::PgBindIterExt;

use super::session::{Tx, TxError};
use super::value::{get, get_index, get_opt_fingerprint, get_state, index};

/// Puts tasks on record, in state `waiting`.
pub(super) async fn insert(tx: &mut Tx<'_>, run: RunId, tasks: &[&NewTask]) -> Result<(), TxError> {
    const INSERT: &str = "INSERT INTO task (run_id, idx, step, cell, state) \
         SELECT $1, w.idx, w.step, w.cell, 'waiting' \
         FROM unnest($2::integer[], $3::text[], $4::text[]) AS w(idx, step, cell)";
    /// Bounds the size of one message to the server.
    const AT_ONCE: usize = 10_000;
    for tasks in tasks.chunks(AT_ONCE) {
        let query = tx
            .query(INSERT)
            .bind(run.0)
            .bind(tasks.iter().map(|task| index(task.index)).bind_iter())
            .bind(tasks.iter().map(|task| task.step.as_str()).bind_iter())
            .bind(tasks.iter().map(|task| task.cell.as_str()).bind_iter());
        tx.execute(query).await?;
    }
    Ok(())
}

/// The tasks of a run, in the order of their indices.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64, run: RunId) -> Result<Vec<TaskRecord>, TxError> {
    const SELECT: &str = "SELECT t.idx, t.step, t.cell, t.state, t.attempts, t.attempt_id, t.fingerprint, t.reason \
         FROM run r JOIN task t ON t.run_id = r.id WHERE r.id = $1 AND r.project_id = $2 ORDER BY t.idx";
    let query = tx.query(SELECT).bind(run.0).bind(project);
    tx.rows(query)
        .await?
        .iter()
        .map(|row| {
            Ok(TaskRecord {
                run,
                index: get_index(row, "idx")?,
                step: get(row, "step")?,
                cell: get(row, "cell")?,
                state: get_state(row, "state", TaskState::parse)?,
                attempts: get_index(row, "attempts")?,
                attempt: get::<Option<i64>>(row, "attempt_id")?.map(NodeId),
                fingerprint: get_opt_fingerprint(row, "fingerprint")?,
                reason: get(row, "reason")?,
            })
        })
        .collect()
}
