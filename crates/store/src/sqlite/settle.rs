//! Tasks decided without an attempt of their own: skipped, cancelled, or stood for by an earlier result.

use runstone_core::record::{NodeId, TaskState};
use runstone_core::store::{Applied, Reuse, ReuseNode, SettleTask};
use rusqlite::{OptionalExtension, params};

use super::commit::{Batch, expect_one};
use super::{Outcome, pins, publish, tasks};
use crate::event::Event;

impl Batch<'_> {
    pub(super) fn settle(&mut self, settle: &SettleTask) -> Outcome<Applied> {
        let task = settle.task;
        let Some(now) = tasks::now(self.tx, self.run, task)? else { return Ok(Applied::Stale) };
        if !matches!(now.state, TaskState::Waiting | TaskState::Retrying) {
            return Ok(Applied::Stale);
        }
        if let Some(reuse) = &settle.reuse {
            return self.reuse(settle, reuse, &now);
        }
        self.leave_line(task, &now)?;
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE task SET state = ?3, reason = ?4
                 WHERE run_id = ?1 AND idx = ?2 AND state IN ('waiting', 'retrying')",
            )?
            .execute(params![self.run.0.as_bytes(), task, settle.state.as_str(), settle.reason])?;
        expect_one(changed)?;
        let event = Event::TaskSettled { state: settle.state, node: false, reason: settle.reason.as_deref() };
        self.tell(Some(task), None, &event)?;
        Ok(Applied::Done)
    }

    fn reuse(&mut self, settle: &SettleTask, reuse: &Reuse, now: &tasks::Now) -> Outcome<Applied> {
        let origin = self
            .tx
            .prepare_cached(
                "SELECT coalesce(reused_from, id) FROM attempt WHERE id = ?1 AND project_id = ?2 AND reusable = 1",
            )?
            .query_row(params![reuse.attempt.0, self.project], |row| row.get(0).map(NodeId))
            .optional()?;
        let Some(origin) = origin else { return Ok(Applied::Stale) };
        let (attempt, number, materializations) = match &reuse.node {
            None => (reuse.attempt, now.attempts, Vec::new()),
            Some(node) => {
                let Some(edges) = pins::resolve(self, &node.pins)? else { return Ok(Applied::Stale) };
                let (id, number) = (self.counter.next_node(), now.attempts + 1);
                self.insert_reuse(id, settle.task, number, now, reuse, node, origin)?;
                pins::insert(self.tx, id, &edges)?;
                (id, number, publish::outputs(self, id, &node.outputs, false)?)
            }
        };
        self.leave_line(settle.task, now)?;
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE task SET state = 'reused', attempts = ?3, attempt_id = ?4, fingerprint = ?5, reason = ?6
                 WHERE run_id = ?1 AND idx = ?2 AND state IN ('waiting', 'retrying')",
            )?
            .execute(params![
                self.run.0.as_bytes(),
                settle.task,
                number,
                attempt.0,
                reuse.fingerprint.as_bytes(),
                settle.reason,
            ])?;
        expect_one(changed)?;
        let event =
            Event::TaskSettled { state: settle.state, node: reuse.node.is_some(), reason: settle.reason.as_deref() };
        self.tell(Some(settle.task), Some(attempt), &event)?;
        Ok(Applied::Published { attempt, materializations })
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    fn insert_reuse(
        &self,
        id: NodeId,
        task: u32,
        number: u32,
        now: &tasks::Now,
        reuse: &Reuse,
        node: &ReuseNode,
        origin: NodeId,
    ) -> Outcome<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state,
                                      fingerprint, reusable, created, started, ended, cause, user_us, system_us, peak_rss,
                                      stdout_bytes, stderr_bytes, leftovers, reused_from)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'reuse', 'succeeded',
                         ?10, 1, ?11, ?11, ?11, 'exit', 0, 0, 0, 0, 0, 0, ?12)",
            )?
            .execute(params![
                id.0,
                node.uuid.as_bytes(),
                self.project,
                self.run.0.as_bytes(),
                task,
                number,
                self.pipeline,
                now.step,
                now.cell,
                reuse.fingerprint.as_bytes(),
                self.now.0,
                origin.0,
            ])?;
        Ok(())
    }
}
