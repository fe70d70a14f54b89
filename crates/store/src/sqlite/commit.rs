//! One batch of changes of a run, in one transaction: everything a change expects is looked at before anything of it is
//! written, so that a stale one leaves no trace and needs no savepoint.

use runstone_core::record::{AttemptState, NodeId, RunId, RunState, TaskState};
use runstone_core::store::{Applied, Change, FinishAttempt, NewTask, Ownership, StartAttempt, StoreError};
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::counter::Counter;
use super::events::{self, About};
use super::service::{pools, submissions};
use super::{Failure, Outcome, attempts, decode, metrics, objects, pins, publish, tasks};
use crate::event::Event;
use crate::rules;

pub(super) fn commit(
    tx: &Transaction<'_>,
    project: i64,
    owner: Ownership,
    now: Timestamp,
    changes: &[Change],
) -> Outcome<Vec<Applied>> {
    let mut batch = Batch::open(tx, project, owner, now)?;
    let applied = changes.iter().map(|change| batch.apply(change)).collect::<Outcome<_>>()?;
    batch.counter.save(tx)?;
    Ok(applied)
}

/// A batch while it is applied.
pub(super) struct Batch<'tx> {
    pub(super) tx: &'tx Transaction<'tx>,
    pub(super) project: i64,
    pub(super) run: RunId,
    pub(super) pipeline: String,
    /// The content store of the run.
    pub(super) store: Uuid,
    pub(super) now: Timestamp,
    pub(super) counter: Counter,
    /// Whether the run is `running`; one that is over takes no changes.
    running: bool,
}

impl<'tx> Batch<'tx> {
    fn open(tx: &'tx Transaction<'tx>, project: i64, owner: Ownership, now: Timestamp) -> Outcome<Self> {
        let Ownership { run, epoch } = owner;
        let found = tx
            .prepare_cached(
                "SELECT state, pipeline, store_marker FROM run WHERE id = ?1 AND project_id = ?2 AND epoch = ?3",
            )?
            .query_row(params![run.0.as_bytes(), project, epoch], |row| {
                Ok((decode::spelled(row, 0, RunState::parse)?, row.get(1)?, decode::uuid(row, 2)?))
            })
            .optional()?;
        let Some((state, pipeline, store)) = found else { return Err(StoreError::LostOwnership { run }.into()) };
        let counter = Counter::load(tx)?;
        Ok(Self { tx, project, run, pipeline, store, now, counter, running: state == RunState::Running })
    }

    fn apply(&mut self, change: &Change) -> Outcome<Applied> {
        if !self.running {
            return Ok(Applied::Stale);
        }
        match change {
            Change::AddTasks(tasks) => self.add_tasks(tasks),
            Change::Start(start) => self.start(start),
            Change::Running { task, number } => self.attempt_runs(*task, *number),
            Change::Finish(finish) => self.finish(finish),
            Change::Settle(settle) => self.settle(settle),
            Change::EndRun { state, reason } => self.end_run(*state, reason.as_deref()),
        }
    }

    pub(super) fn tell(&mut self, task: Option<u32>, attempt: Option<NodeId>, event: &Event<'_>) -> Outcome<()> {
        events::write(self.tx, &mut self.counter, self.now, About { run: self.run, task, attempt }, event)
    }

    fn add_tasks(&mut self, new: &[NewTask]) -> Outcome<Applied> {
        let Some(NewTask { index: first, .. }) = new.first() else { return Ok(Applied::Done) };
        if tasks::next_index(self.tx, self.run)? != *first {
            return Ok(Applied::Stale);
        }
        tasks::insert(self.tx, self.run, new)?;
        self.tell(None, None, &Event::TasksAdded { first: *first, count: new.len() })?;
        Ok(Applied::Done)
    }

    fn start(&mut self, start: &StartAttempt) -> Outcome<Applied> {
        let StartAttempt { task, number, ref fingerprint, .. } = *start;
        let Some(now) = tasks::now(self.tx, self.run, task)? else { return Ok(Applied::Stale) };
        if !now.is_open() || now.attempts.checked_add(1) != Some(number) {
            return Ok(Applied::Stale);
        }
        let Some(edges) = pins::resolve(self, &start.pins)? else { return Ok(Applied::Stale) };
        if start.claim
            && let Some(flight) = attempts::flight(self.tx, self.project, fingerprint)?
        {
            self.leave_line(task, &now)?;
            return Ok(Applied::Busy(flight));
        }
        if let Some(ask) = &start.pool
            && !pools::ask(self, task, ask)?
        {
            return Ok(Applied::Full);
        }
        self.leave_line(task, &now)?;
        let id = self.put_on_record(start, &now, &edges)?;
        Ok(Applied::Started { attempt: id })
    }

    /// Of a task that stands in the line of a pool.
    pub(super) fn leave_line(&self, task: u32, now: &tasks::Now) -> Outcome<()> {
        if now.in_line { pools::leave_line(self, task) } else { Ok(()) }
    }

    /// Puts an attempt on record that may start.
    fn put_on_record(&mut self, start: &StartAttempt, now: &tasks::Now, edges: &[pins::Edge<'_>]) -> Outcome<NodeId> {
        let StartAttempt { task, number, kind, ref fingerprint, .. } = *start;
        self.tx
            .prepare_cached("INSERT INTO derivation (fingerprint, canonical) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![fingerprint.as_bytes(), start.derivation])?;
        let id = self.counter.next_node();
        self.insert_attempt(id, start, now)?;
        pins::insert(self.tx, id, edges)?;
        if start.claim {
            self.tx
                .prepare_cached(
                    "INSERT OR REPLACE INTO flight (project_id, fingerprint, attempt_id) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![self.project, fingerprint.as_bytes(), id.0])?;
        }
        for kept in &start.keeps {
            objects::keep(self.tx, self.store, kept, self.now)?;
        }
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE task SET state = 'assigned', attempts = ?3, attempt_id = ?4, fingerprint = ?5, reason = NULL
                 WHERE run_id = ?1 AND idx = ?2 AND attempts = ?3 - 1 AND state IN ('waiting', 'retrying', 'assigned')",
            )?
            .execute(params![self.run.0.as_bytes(), task, number, id.0, fingerprint.as_bytes()])?;
        expect_one(changed)?;
        self.tell(Some(task), Some(id), &Event::AttemptAssigned { number, kind })?;
        Ok(id)
    }

    fn insert_attempt(&self, id: NodeId, start: &StartAttempt, now: &tasks::Now) -> Outcome<()> {
        let pool = start.pool.as_ref();
        self.tx
            .prepare_cached(
                "INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state,
                                      fingerprint, reusable, created, pool, slots, pool_priority)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'assigned', ?11, 0, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                id.0,
                start.uuid.as_bytes(),
                self.project,
                self.run.0.as_bytes(),
                start.task,
                start.number,
                self.pipeline,
                now.step,
                now.cell,
                start.kind.as_str(),
                start.fingerprint.as_bytes(),
                self.now.0,
                pool.map(|pool| &pool.name),
                pool.map(|pool| pool.slots),
                pool.map(|pool| pool.priority),
            ])?;
        Ok(())
    }

    fn attempt_runs(&mut self, task: u32, number: u32) -> Outcome<Applied> {
        let Some(now) = tasks::now(self.tx, self.run, task)? else { return Ok(Applied::Stale) };
        if number == 0 || number > now.attempts {
            return Ok(Applied::Stale);
        }
        let Some((id, AttemptState::Assigned)) = now.live().filter(|_| number == now.attempts) else {
            return Ok(Applied::Done);
        };
        let changed = self
            .tx
            .prepare_cached("UPDATE attempt SET state = 'running', started = ?2 WHERE id = ?1 AND state = 'assigned'")?
            .execute(params![id.0, self.now.0])?;
        expect_one(changed)?;
        self.tell(Some(task), Some(id), &Event::AttemptRunning { number })?;
        Ok(Applied::Done)
    }

    fn finish(&mut self, finish: &FinishAttempt) -> Outcome<Applied> {
        let FinishAttempt { task, number, succeeded, next, .. } = *finish;
        let Some(now) = tasks::now(self.tx, self.run, task)? else { return Ok(Applied::Stale) };
        let (Some((id, _)), true) = (now.live(), now.attempts == number) else { return Ok(Applied::Stale) };
        self.end_attempt(id, finish)?;
        if now.holds_slots {
            pools::sweep(self.tx, self.project)?;
        }
        if let Some(fingerprint) = now.fingerprint {
            self.tx
                .prepare_cached("DELETE FROM flight WHERE project_id = ?1 AND fingerprint = ?2 AND attempt_id = ?3")?
                .execute(params![self.project, fingerprint.as_bytes(), id.0])?;
        }
        let materializations = publish::outputs(self, id, &finish.outputs, finish.end.tainted.is_some())?;
        metrics::insert(self.tx, id, &finish.metrics)?;
        self.decide(task, next, finish.reason.as_deref())?;
        let reason = finish.reason.as_deref();
        let event = Event::AttemptFinished { number, succeeded, cause: finish.end.cause, next, reason };
        self.tell(Some(task), Some(id), &event)?;
        Ok(Applied::Published { attempt: id, materializations })
    }

    fn end_attempt(&self, id: NodeId, finish: &FinishAttempt) -> Outcome<()> {
        let end = &finish.end;
        let state = if finish.succeeded { AttemptState::Succeeded } else { AttemptState::Failed };
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE attempt SET state = ?2, reusable = ?3, started = ?4, ended = ?5, cause = ?6, exit_code = ?7,
                        signal = ?8, message = ?9, user_us = ?10, system_us = ?11, peak_rss = ?12, stdout_bytes = ?13,
                        stderr_bytes = ?14, leftovers = ?15, tainted = ?16, metadata = ?17
                 WHERE id = ?1 AND state IN ('assigned', 'running')",
            )?
            .execute(params![
                id.0,
                state.as_str(),
                finish.succeeded && finish.reusable && end.tainted.is_none(),
                end.started.0,
                end.ended.0,
                end.cause.as_str(),
                end.exit_code,
                end.signal,
                end.message,
                rules::stored("processor time", end.user_us)?,
                rules::stored("processor time", end.system_us)?,
                rules::stored("peak memory", end.peak_rss)?,
                rules::stored("length of a log", end.stdout_bytes)?,
                rules::stored("length of a log", end.stderr_bytes)?,
                end.leftovers,
                end.tainted,
                finish.metadata.as_ref().map(ToString::to_string),
            ])?;
        expect_one(changed)
    }

    fn decide(&self, task: u32, next: TaskState, reason: Option<&str>) -> Outcome<()> {
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE task SET state = ?3, reason = ?4 WHERE run_id = ?1 AND idx = ?2 AND state = 'assigned'",
            )?
            .execute(params![self.run.0.as_bytes(), task, next.as_str(), reason])?;
        expect_one(changed)
    }

    fn end_run(&mut self, state: RunState, reason: Option<&str>) -> Outcome<Applied> {
        if !tasks::all_terminal(self.tx, self.run)? {
            return Ok(Applied::Stale);
        }
        let changed = self
            .tx
            .prepare_cached("UPDATE run SET state = ?2, reason = ?3, ended = ?4 WHERE id = ?1 AND state = 'running'")?
            .execute(params![self.run.0.as_bytes(), state.as_str(), reason, self.now.0])?;
        expect_one(changed)?;
        submissions::run_ended(self.tx, self.run, self.now)?;
        self.running = false;
        self.tell(None, None, &Event::RunEnded { state, reason })?;
        Ok(Applied::Done)
    }
}

/// What was looked at in this transaction cannot have changed: another number of rows means a damaged record.
pub(super) fn expect_one(changed: usize) -> Outcome<()> {
    if changed == 1 {
        Ok(())
    } else {
        Err(Failure::Store(StoreError::Damaged(format!("{changed} rows changed where one was expected"))))
    }
}
