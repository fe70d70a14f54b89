//! Puts a decided batch on record, always in the same order of tables, and rows in the order of their keys where other runs
//! write the same ones, so that no two batches wait for each other in a circle.
//!
//! Statements have several parts, because each one sent costs a round trip. The parts of one see the tables as they were
//! before it, and no two of them touch the same row. Every update names what it expects besides the key: under the lock of
//! the run that always holds, so another number of rows than expected means that somebody wrote past the lock, and nothing
//! is committed. Rows to update are looked up one by one, each by its whole key (`OFFSET 0` keeps that apart from the rest
//! of the plan), and reached by the place found: no plan made for small tables can turn that into a scan.

use runstone_core::record::{AttemptEnd, NodeId};
use runstone_core::store::FinishAttempt;
use runstone_core::time::Timestamp;
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;

use super::super::session::{Tx, TxError};
use super::super::tasks;
use super::super::value::{Time, damaged, get, index, json, opt_text, stored, text};
use super::batch::{AttemptRow, Batch};
use super::facts::Run;
use super::line;

/// A statement and its parameters.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// A transaction that writes one batch.
pub(super) struct Writing<'w, 'c> {
    pub(super) tx: &'w mut Tx<'c>,
    pub(super) project: i64,
    pub(super) run: &'w Run,
    pub(super) now: Timestamp,
}

/// Claims given back and passed on, what is asked, and attempts. A reuse is over as soon as it is on record, and nothing was
/// measured of it.
const INTENTS: &str = "WITH released AS ( \
         DELETE FROM flight f WHERE f.project_id = $1 AND f.fingerprint = ANY($5) AND f.attempt_id = ANY($6) RETURNING 1), \
     passed AS ( \
         UPDATE flight f SET attempt_id = (SELECT w.next FROM unnest($7::bytea[], $9::bigint[]) AS w(claim, next) \
             WHERE w.claim = f.fingerprint) \
         WHERE f.project_id = $1 AND f.fingerprint = ANY($7) AND f.attempt_id = ANY($8) RETURNING 1), \
     derived AS ( \
         INSERT INTO derivation (fingerprint, canonical) \
         SELECT * FROM unnest($10::bytea[], $11::bytea[]) AS w(fingerprint, canonical) ORDER BY w.fingerprint \
         ON CONFLICT DO NOTHING), \
     begun AS ( \
         INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state, \
             fingerprint, reusable, created, started, ended, cause, reused_from, \
             user_us, system_us, peak_rss, stdout_bytes, stderr_bytes, leftovers, pool, slots, pool_priority) \
         SELECT w.id, w.uuid, $1, $2, w.task, w.number, $3, w.step, w.cell, w.kind, w.state, w.fingerprint, \
             w.origin IS NOT NULL, $4, w.over, w.over, w.cause, w.origin, \
             o.zero, o.zero, o.zero, o.zero, o.zero, o.zero, w.pool, w.slots, w.priority \
         FROM unnest($12::bigint[], $13::uuid[], $14::integer[], $15::integer[], $16::text[], $17::text[], $18::text[], \
                 $19::text[], $20::bytea[], $21::timestamptz[], $22::text[], $23::bigint[], $24::text[], $25::bigint[], \
                 $26::integer[]) \
             AS w(id, uuid, task, number, step, cell, kind, state, fingerprint, over, cause, origin, pool, slots, priority) \
         CROSS JOIN LATERAL (SELECT CASE WHEN w.origin IS NOT NULL THEN 0 END AS zero) AS o RETURNING 1) \
     SELECT (SELECT count(*) FROM released) AS released, (SELECT count(*) FROM passed) AS passed, \
         (SELECT count(*) FROM begun) AS begun";

/// What was read, what became of attempts and tasks, and what tells of it.
const RESULTS: &str = "WITH read AS ( \
         INSERT INTO consumed (attempt_id, mat_id, slot, trust) \
         SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[]) RETURNING 1), \
     runs AS ( \
         UPDATE attempt a SET state = 'running', started = $2 \
         FROM unnest($7::bigint[]) AS w(id) CROSS JOIN LATERAL ( \
             SELECT x.ctid AS place FROM attempt x WHERE x.id = w.id AND x.state = 'assigned' OFFSET 0) x \
         WHERE a.ctid = x.place RETURNING 1), \
     ended AS ( \
         UPDATE attempt a SET state = CASE WHEN w.succeeded THEN 'succeeded' ELSE 'failed' END, \
             reusable = w.reusable, started = w.started, ended = w.ended, cause = w.cause, exit_code = w.exit_code, \
             signal = w.signal, message = w.message, user_us = w.user_us, system_us = w.system_us, \
             peak_rss = w.peak_rss, stdout_bytes = w.stdout_bytes, stderr_bytes = w.stderr_bytes, \
             leftovers = w.leftovers, tainted = w.tainted, metadata = w.metadata::jsonb \
         FROM unnest($8::bigint[], $9::boolean[], $10::boolean[], $11::timestamptz[], $12::timestamptz[], $13::text[], \
                 $14::integer[], $15::integer[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], \
                 $21::bigint[], $22::bigint[], $23::text[], $24::text[]) \
             AS w(id, succeeded, reusable, started, ended, cause, exit_code, signal, message, user_us, system_us, \
                 peak_rss, stdout_bytes, stderr_bytes, leftovers, tainted, metadata) \
         CROSS JOIN LATERAL ( \
             SELECT x.ctid AS place FROM attempt x WHERE x.id = w.id AND x.state IN ('assigned', 'running') OFFSET 0) x \
         WHERE a.ctid = x.place RETURNING 1), \
     measured AS ( \
         INSERT INTO metric (attempt_id, name, slice, value, n) \
         SELECT * FROM unnest($25::bigint[], $26::text[], $27::text[], $28::double precision[], $29::bigint[])), \
     moved AS ( \
         UPDATE task t SET state = w.state, attempts = w.attempts, attempt_id = w.attempt, fingerprint = w.fingerprint, \
             reason = w.reason, pool = NULL, pool_slots = NULL, pool_priority = NULL, pool_since = NULL \
         FROM unnest($30::integer[], $31::text[], $32::integer[], $33::text[], $34::integer[], $35::bigint[], \
                 $36::bytea[], $37::text[]) \
             AS w(idx, was_state, was_attempts, state, attempts, attempt, fingerprint, reason) \
         CROSS JOIN LATERAL ( \
             SELECT x.ctid AS place FROM task x WHERE x.run_id = $1 AND x.idx = w.idx \
                 AND x.state = w.was_state AND x.attempts = w.was_attempts OFFSET 0) x \
         WHERE t.ctid = x.place RETURNING 1), \
     told AS ( \
         INSERT INTO event (run_id, at, kind, task_idx, attempt_id, body) \
         SELECT $1, $2, w.kind, w.task, w.attempt, w.body::jsonb \
         FROM unnest($38::text[], $39::integer[], $40::bigint[], $41::text[]) WITH ORDINALITY \
             AS w(kind, task, attempt, body, position) ORDER BY w.position) \
     SELECT (SELECT count(*) FROM read) AS read, (SELECT count(*) FROM runs) AS runs, \
         (SELECT count(*) FROM ended) AS ended, (SELECT count(*) FROM moved) AS moved";

impl Writing<'_, '_> {
    /// What comes before publications.
    pub(super) async fn intents(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        tasks::insert(self.tx, self.run.id, &batch.new_tasks).await?;
        if batch.claims.is_empty() && batch.attempts.is_empty() {
            return Ok(());
        }
        let released: Vec<_> = batch.claims.iter().filter(|(_, row)| row.now.is_none()).collect();
        let passed: Vec<_> = batch.claims.iter().filter(|(_, row)| row.is_passed_on()).collect();
        let claims = self.tx.query(INTENTS).bind(self.project).bind(self.run.id.0);
        let claims = claims
            .bind(self.run.pipeline.as_str())
            .bind(Time(self.now))
            .bind(released.iter().map(|(claim, _)| claim.as_bytes().as_slice()).bind_iter())
            .bind(released.iter().map(|(_, row)| row.was.0).bind_iter())
            .bind(passed.iter().map(|(claim, _)| claim.as_bytes().as_slice()).bind_iter())
            .bind(passed.iter().map(|(_, row)| row.was.0).bind_iter())
            .bind(passed.iter().map(|(_, row)| row.now.map(|id| id.0)).bind_iter())
            .bind(batch.derivations.keys().map(|fingerprint| fingerprint.as_bytes().as_slice()).bind_iter())
            .bind(batch.derivations.values().copied().bind_iter());
        let row = self.tx.row(self.with_attempts(claims, batch)).await?;
        expect(released.len(), row.as_ref(), "released")?;
        expect(passed.len(), row.as_ref(), "passed")?;
        expect(batch.attempts.len(), row.as_ref(), "begun")
    }

    fn with_attempts(&self, statement: Statement, batch: &Batch<'_>) -> Statement {
        let rows = &batch.attempts;
        statement
            .bind(rows.iter().map(|row| row.id.0).bind_iter())
            .bind(rows.iter().map(|row| row.uuid).bind_iter())
            .bind(rows.iter().map(|row| index(row.task)).bind_iter())
            .bind(rows.iter().map(|row| index(row.number)).bind_iter())
            .bind(rows.iter().map(|row| row.step.as_str()).bind_iter())
            .bind(rows.iter().map(|row| row.cell.as_str()).bind_iter())
            .bind(rows.iter().map(|row| row.kind.as_str()).bind_iter())
            .bind(rows.iter().map(|row| row.state().as_str()).bind_iter())
            .bind(rows.iter().map(|row| row.fingerprint.as_bytes().as_slice()).bind_iter())
            .bind(rows.iter().map(|row| row.over(self.now).map(Time)).bind_iter())
            .bind(rows.iter().map(AttemptRow::cause).bind_iter())
            .bind(rows.iter().map(|row| row.origin.map(|origin| origin.0)).bind_iter())
            .bind(rows.iter().map(|row| row.pool.map(|pool| text(&pool.name))).bind_iter())
            .bind(rows.iter().map(|row| row.pool.map(|pool| i64::from(pool.slots))).bind_iter())
            .bind(rows.iter().map(|row| row.pool.map(|pool| pool.priority)).bind_iter())
    }

    /// What refers to publications, and what tells of it all.
    pub(super) async fn results(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        if !batch.events.is_empty() {
            // An attempt that was seen running and ended since is touched once.
            let running: Vec<NodeId> =
                batch.running.iter().copied().filter(|id| batch.ends.iter().all(|(ended, _)| ended != id)).collect();
            let statement = self.tx.query(RESULTS).bind(self.run.id.0).bind(Time(self.now));
            let statement = with_edges(statement, batch).bind(running.iter().map(|id| id.0).bind_iter());
            let statement = with_metrics(with_ends(statement, &batch.ends)?, batch)?;
            let row = self.tx.row(with_events(with_tasks(statement, batch), batch)).await?;
            expect(batch.edges.len(), row.as_ref(), "read")?;
            expect(running.len(), row.as_ref(), "runs")?;
            expect(batch.ends.len(), row.as_ref(), "ended")?;
            expect(batch.tasks.len(), row.as_ref(), "moved")?;
        }
        line::write(self.tx, self.run, &batch.places).await?;
        self.run_end(batch).await
    }

    async fn run_end(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const UPDATE: &str = "WITH submitted AS ( \
                 UPDATE submission SET state = 'done', ended = $4 WHERE run_id = $1 AND state = 'running') \
             UPDATE run SET state = $2, reason = $3, ended = $4 WHERE id = $1 AND state = 'running' \
             RETURNING 1::bigint AS ended";
        let Some((state, reason)) = batch.run_end else { return Ok(()) };
        let query =
            self.tx.query(UPDATE).bind(self.run.id.0).bind(state.as_str()).bind(opt_text(reason)).bind(Time(self.now));
        expect(1, self.tx.row(query).await?.as_ref(), "ended")
    }
}

fn with_edges(statement: Statement, batch: &Batch<'_>) -> Statement {
    let rows = &batch.edges;
    statement
        .bind(rows.keys().map(|(reader, ..)| reader.0).bind_iter())
        .bind(rows.keys().map(|(_, publication, _)| publication.0).bind_iter())
        .bind(rows.keys().map(|(.., slot)| text(slot)).bind_iter())
        .bind(rows.values().copied().bind_iter())
}

fn with_ends(statement: Statement, rows: &[(NodeId, &FinishAttempt)]) -> Result<Statement, TxError> {
    let measured = |what, value: fn(&AttemptEnd) -> u64| -> Result<Vec<i64>, TxError> {
        rows.iter().map(|(_, finish)| stored(what, value(&finish.end))).collect()
    };
    Ok(statement
        .bind(rows.iter().map(|(id, _)| id.0).bind_iter())
        .bind(rows.iter().map(|(_, finish)| finish.succeeded).bind_iter())
        .bind(rows.iter().map(|(_, f)| f.succeeded && f.reusable && f.end.tainted.is_none()).bind_iter())
        .bind(rows.iter().map(|(_, finish)| Time(finish.end.started)).bind_iter())
        .bind(rows.iter().map(|(_, finish)| Time(finish.end.ended)).bind_iter())
        .bind(rows.iter().map(|(_, finish)| finish.end.cause.as_str()).bind_iter())
        .bind(rows.iter().map(|(_, finish)| finish.end.exit_code).bind_iter())
        .bind(rows.iter().map(|(_, finish)| finish.end.signal).bind_iter())
        .bind(rows.iter().map(|(_, finish)| opt_text(finish.end.message.as_deref())).bind_iter())
        .bind(measured("processor time", |end| end.user_us)?)
        .bind(measured("processor time", |end| end.system_us)?)
        .bind(measured("peak memory", |end| end.peak_rss)?)
        .bind(measured("length of a log", |end| end.stdout_bytes)?)
        .bind(measured("length of a log", |end| end.stderr_bytes)?)
        .bind(rows.iter().map(|(_, finish)| i64::from(finish.end.leftovers)).bind_iter())
        .bind(rows.iter().map(|(_, finish)| opt_text(finish.end.tainted.as_deref())).bind_iter())
        .bind(rows.iter().map(|(_, finish)| finish.metadata.as_ref().map(json)).bind_iter()))
}

fn with_metrics(statement: Statement, batch: &Batch<'_>) -> Result<Statement, TxError> {
    let rows = &batch.metrics;
    let counts: Vec<Option<i64>> =
        rows.values().map(|(_, n)| n.map(|n| stored("number of items", n)).transpose()).collect::<Result<_, _>>()?;
    Ok(statement
        .bind(rows.keys().map(|(attempt, ..)| attempt.0).bind_iter())
        .bind(rows.keys().map(|(_, name, _)| text(name)).bind_iter())
        .bind(rows.keys().map(|(.., slice)| text(slice)).bind_iter())
        .bind(rows.values().map(|(value, _)| *value).bind_iter())
        .bind(counts))
}

fn with_tasks(statement: Statement, batch: &Batch<'_>) -> Statement {
    let rows = &batch.tasks;
    statement
        .bind(rows.keys().map(|task| index(*task)).bind_iter())
        .bind(rows.values().map(|row| row.was.0.as_str()).bind_iter())
        .bind(rows.values().map(|row| index(row.was.1)).bind_iter())
        .bind(rows.values().map(|row| row.state.as_str()).bind_iter())
        .bind(rows.values().map(|row| index(row.attempts)).bind_iter())
        .bind(rows.values().map(|row| row.attempt.map(|id| id.0)).bind_iter())
        .bind(rows.values().map(|row| row.fingerprint.as_ref().map(|f| f.as_bytes().as_slice())).bind_iter())
        .bind(rows.values().map(|row| opt_text(row.reason)).bind_iter())
}

fn with_events(statement: Statement, batch: &Batch<'_>) -> Statement {
    let rows = &batch.events;
    statement
        .bind(rows.iter().map(|row| row.kind).bind_iter())
        .bind(rows.iter().map(|row| row.task.map(index)).bind_iter())
        .bind(rows.iter().map(|row| row.attempt.map(|id| id.0)).bind_iter())
        .bind(rows.iter().map(|row| json(&row.body)).bind_iter())
}

/// What was looked at under the lock of the run cannot have changed.
pub(super) fn expect(expected: usize, row: Option<&PgRow>, what: &str) -> Result<(), TxError> {
    let changed: i64 = row.map_or(Ok(0), |row| get(row, what))?;
    if usize::try_from(changed) == Ok(expected) {
        Ok(())
    } else {
        Err(damaged(format!("{changed} rows were {what} where {expected} were expected")))
    }
}
