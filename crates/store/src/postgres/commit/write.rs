//! Puts a decided batch on record: one statement for each kind of row, always in the same order of tables, and rows in the
//! order of their keys where other runs write the same ones, so that no two batches wait for each other.
//!
//! Every update names what it expects besides the key. Under the lock of the run that always holds: another number of
//! rows than expected means that somebody wrote past the lock, and nothing is committed.

use runstone_core::record::AttemptEnd;
use runstone_core::time::Timestamp;
use sqlx::postgres::PgBindIterExt;

use super::super::session::{Tx, TxError};
use super::super::{events, tasks};
use super::super::value::{Time, damaged, index, json, opt_text, stored, text};
use super::batch::Batch;
use super::facts::Run;

/// A transaction that writes one batch.
pub(super) struct Writing<'w, 'c> {
    pub(super) tx: &'w mut Tx<'c>,
    pub(super) project: i64,
    pub(super) run: &'w Run,
    pub(super) now: Timestamp,
}

impl Writing<'_, '_> {
    /// Everything of a batch but its publications.
    pub(super) async fn tasks_and_attempts(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        self.claims(batch).await?;
        self.new_tasks(batch).await?;
        self.derivations(batch).await?;
        self.attempts(batch).await
    }

    /// What refers to publications, and what tells of it all.
    pub(super) async fn ends_and_events(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        self.edges(batch).await?;
        self.running(batch).await?;
        self.ends(batch).await?;
        self.metrics(batch).await?;
        self.tasks(batch).await?;
        self.events(batch).await?;
        self.run_end(batch).await
    }

    async fn claims(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const RELEASE: &str = "DELETE FROM flight f USING unnest($2::bytea[], $3::bigint[]) AS w(fingerprint, attempt) \
             WHERE f.project_id = $1 AND f.fingerprint = w.fingerprint AND f.attempt_id = w.attempt";
        const PASS_ON: &str = "UPDATE flight f SET attempt_id = w.next \
             FROM unnest($2::bytea[], $3::bigint[], $4::bigint[]) AS w(fingerprint, attempt, next) \
             WHERE f.project_id = $1 AND f.fingerprint = w.fingerprint AND f.attempt_id = w.attempt";
        let released: Vec<_> = batch.claims.iter().filter(|(_, row)| row.now.is_none()).collect();
        if !released.is_empty() {
            let query = self
                .tx
                .query(RELEASE)
                .bind(self.project)
                .bind(released.iter().map(|(claim, _)| claim.as_bytes().as_slice()).bind_iter())
                .bind(released.iter().map(|(_, row)| row.was.0).bind_iter());
            expect(released.len(), self.tx.execute(query).await?, "claims")?;
        }
        let passed: Vec<_> =
            batch.claims.iter().filter_map(|(claim, row)| Some((claim, row.was, row.now?))).collect();
        let passed: Vec<_> = passed.into_iter().filter(|(_, was, now)| was != now).collect();
        if !passed.is_empty() {
            let query = self
                .tx
                .query(PASS_ON)
                .bind(self.project)
                .bind(passed.iter().map(|(claim, ..)| claim.as_bytes().as_slice()).bind_iter())
                .bind(passed.iter().map(|(_, was, _)| was.0).bind_iter())
                .bind(passed.iter().map(|(.., now)| now.0).bind_iter());
            expect(passed.len(), self.tx.execute(query).await?, "claims")?;
        }
        Ok(())
    }

    async fn new_tasks(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        tasks::insert(self.tx, self.run.id, &batch.new_tasks).await
    }

    async fn derivations(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const INSERT: &str = "INSERT INTO derivation (fingerprint, canonical) \
             SELECT * FROM unnest($1::bytea[], $2::bytea[]) AS w(fingerprint, canonical) ORDER BY w.fingerprint \
             ON CONFLICT DO NOTHING";
        if batch.derivations.is_empty() {
            return Ok(());
        }
        let query = self
            .tx
            .query(INSERT)
            .bind(batch.derivations.keys().map(|fingerprint| fingerprint.as_bytes().as_slice()).bind_iter())
            .bind(batch.derivations.values().copied().bind_iter());
        self.tx.execute(query).await?;
        Ok(())
    }

    async fn attempts(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        // A reuse is over as soon as it is on record, and nothing was measured.
        const INSERT: &str = "INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, \
                 kind, state, fingerprint, reusable, created, started, ended, cause, reused_from, \
                 user_us, system_us, peak_rss, stdout_bytes, stderr_bytes, leftovers) \
             SELECT w.id, w.uuid, $1, $2, w.task, w.number, $3, w.step, w.cell, w.kind, w.state, w.fingerprint, \
                 w.origin IS NOT NULL, $4, w.over, w.over, w.cause, w.origin, o.zero, o.zero, o.zero, o.zero, o.zero, o.zero \
             FROM unnest($5::bigint[], $6::uuid[], $7::integer[], $8::integer[], $9::text[], $10::text[], $11::text[], \
                 $12::text[], $13::bytea[], $14::timestamptz[], $15::text[], $16::bigint[]) \
                 AS w(id, uuid, task, number, step, cell, kind, state, fingerprint, over, cause, origin) \
             CROSS JOIN LATERAL (SELECT CASE WHEN w.origin IS NOT NULL THEN 0 END AS zero) AS o";
        let rows = &batch.attempts;
        if rows.is_empty() {
            return Ok(());
        }
        let query = self
            .tx
            .query(INSERT)
            .bind(self.project)
            .bind(self.run.id.0)
            .bind(self.run.pipeline.as_str())
            .bind(Time(self.now))
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
            .bind(rows.iter().map(|row| row.cause()).bind_iter())
            .bind(rows.iter().map(|row| row.origin.map(|origin| origin.0)).bind_iter());
        expect(rows.len(), self.tx.execute(query).await?, "attempts")
    }

    async fn edges(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const INSERT: &str = "INSERT INTO consumed (attempt_id, mat_id, slot, trust) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])";
        let rows = &batch.edges;
        if rows.is_empty() {
            return Ok(());
        }
        let query = self
            .tx
            .query(INSERT)
            .bind(rows.keys().map(|(reader, ..)| reader.0).bind_iter())
            .bind(rows.keys().map(|(_, publication, _)| publication.0).bind_iter())
            .bind(rows.keys().map(|(.., slot)| text(slot)).bind_iter())
            .bind(rows.values().copied().bind_iter());
        expect(rows.len(), self.tx.execute(query).await?, "readings")
    }

    async fn running(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const UPDATE: &str = "UPDATE attempt a SET state = 'running', started = $2 FROM unnest($1::bigint[]) AS w(id) \
             WHERE a.id = w.id AND a.state = 'assigned'";
        if batch.running.is_empty() {
            return Ok(());
        }
        let query =
            self.tx.query(UPDATE).bind(batch.running.iter().map(|id| id.0).bind_iter()).bind(Time(self.now));
        expect(batch.running.len(), self.tx.execute(query).await?, "attempts")
    }

    async fn ends(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const UPDATE: &str = "UPDATE attempt a SET state = CASE WHEN w.succeeded THEN 'succeeded' ELSE 'failed' END, \
                 reusable = w.reusable, started = w.started, ended = w.ended, cause = w.cause, exit_code = w.exit_code, \
                 signal = w.signal, message = w.message, user_us = w.user_us, system_us = w.system_us, \
                 peak_rss = w.peak_rss, stdout_bytes = w.stdout_bytes, stderr_bytes = w.stderr_bytes, \
                 leftovers = w.leftovers, tainted = w.tainted, metadata = w.metadata::jsonb \
             FROM unnest($1::bigint[], $2::boolean[], $3::boolean[], $4::timestamptz[], $5::timestamptz[], $6::text[], \
                 $7::integer[], $8::integer[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], \
                 $14::bigint[], $15::bigint[], $16::text[], $17::text[]) \
                 AS w(id, succeeded, reusable, started, ended, cause, exit_code, signal, message, user_us, system_us, \
                     peak_rss, stdout_bytes, stderr_bytes, leftovers, tainted, metadata) \
             WHERE a.id = w.id AND a.state IN ('assigned', 'running')";
        let rows = &batch.ends;
        if rows.is_empty() {
            return Ok(());
        }
        let measured = |what, value: fn(&AttemptEnd) -> u64| -> Result<Vec<i64>, TxError> {
            rows.iter().map(|(_, finish)| stored(what, value(&finish.end))).collect()
        };
        let query = self
            .tx
            .query(UPDATE)
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
            .bind(rows.iter().map(|(_, finish)| finish.metadata.as_ref().map(json)).bind_iter());
        expect(rows.len(), self.tx.execute(query).await?, "attempts")
    }

    async fn metrics(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const INSERT: &str = "INSERT INTO metric (attempt_id, name, slice, value, n) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::double precision[], $5::bigint[])";
        let rows = &batch.metrics;
        if rows.is_empty() {
            return Ok(());
        }
        let counts: Vec<Option<i64>> =
            rows.values().map(|(_, n)| n.map(|n| stored("number of items", n)).transpose()).collect::<Result<_, _>>()?;
        let query = self
            .tx
            .query(INSERT)
            .bind(rows.keys().map(|(attempt, ..)| attempt.0).bind_iter())
            .bind(rows.keys().map(|(_, name, _)| text(name)).bind_iter())
            .bind(rows.keys().map(|(.., slice)| text(slice)).bind_iter())
            .bind(rows.values().map(|(value, _)| *value).bind_iter())
            .bind(counts);
        expect(rows.len(), self.tx.execute(query).await?, "metrics")
    }

    async fn tasks(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const UPDATE: &str = "UPDATE task t SET state = w.state, attempts = w.attempts, attempt_id = w.attempt, \
                 fingerprint = w.fingerprint, reason = w.reason \
             FROM unnest($2::integer[], $3::text[], $4::integer[], $5::text[], $6::integer[], $7::bigint[], $8::bytea[], \
                 $9::text[]) AS w(idx, was_state, was_attempts, state, attempts, attempt, fingerprint, reason) \
             WHERE t.run_id = $1 AND t.idx = w.idx AND t.state = w.was_state AND t.attempts = w.was_attempts";
        let rows = &batch.tasks;
        if rows.is_empty() {
            return Ok(());
        }
        let query = self
            .tx
            .query(UPDATE)
            .bind(self.run.id.0)
            .bind(rows.keys().map(|task| index(*task)).bind_iter())
            .bind(rows.values().map(|row| row.was.0.as_str()).bind_iter())
            .bind(rows.values().map(|row| index(row.was.1)).bind_iter())
            .bind(rows.values().map(|row| row.state.as_str()).bind_iter())
            .bind(rows.values().map(|row| index(row.attempts)).bind_iter())
            .bind(rows.values().map(|row| row.attempt.map(|id| id.0)).bind_iter())
            .bind(rows.values().map(|row| row.fingerprint.as_ref().map(|f| f.as_bytes().as_slice())).bind_iter())
            .bind(rows.values().map(|row| opt_text(row.reason)).bind_iter());
        expect(rows.len(), self.tx.execute(query).await?, "tasks")
    }

    async fn events(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        events::insert(self.tx, self.run.id, self.now, &batch.events).await
    }

    async fn run_end(&mut self, batch: &Batch<'_>) -> Result<(), TxError> {
        const UPDATE: &str = "UPDATE run SET state = $2, reason = $3, ended = $4 WHERE id = $1 AND state = 'running'";
        let Some((state, reason)) = batch.run_end else { return Ok(()) };
        let query = self
            .tx
            .query(UPDATE)
            .bind(self.run.id.0)
            .bind(state.as_str())
            .bind(opt_text(reason))
            .bind(Time(self.now));
        expect(1, self.tx.execute(query).await?, "runs")
    }
}

/// What was looked at under the lock of the run cannot have changed.
pub(super) fn expect(expected: usize, changed: u64, what: &str) -> Result<(), TxError> {
    if usize::try_from(changed) == Ok(expected) {
        Ok(())
    } else {
        Err(damaged(format!("{changed} {what} changed where {expected} were expected")))
    }
}
