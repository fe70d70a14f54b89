//! Runs, their tasks and attempts, and the slots these hold.

use std::collections::BTreeMap;

use runstone_core::hash::ContentHash;
use runstone_core::record::{
    AttemptRecord, AttemptState, MaterializationRecord, RunId, RunRecord, RunState, TaskRecord, TaskState,
};
use runstone_core::service::pool::{self, Grant};
use runstone_core::service::record::{PoolRecord, PoolUse, SubmissionState};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewRun, Ownership, PoolAsk, Result, SettleTask, StartAttempt, StoreError,
};
use runstone_core::time::Timestamp;

use super::{Model, Mutation, Rows};

impl Model {
    /// Puts a run on record: see `Store::create_run`.
    pub(crate) fn create_run(&mut self, new: &NewRun) -> Result<i64> {
        let lost = StoreError::LostOwnership { run: new.id };
        let claim = new.claim.expect("every run of this world was submitted");
        let now = self.now;
        let Some(submission) = self.held(claim).filter(|one| one.state == SubmissionState::Claimed) else {
            return Err(lost);
        };
        submission.state = SubmissionState::Running;
        let number = submission.number;
        let task = |new: &runstone_core::store::NewTask| TaskRecord {
            run: claim.run,
            index: new.index,
            step: new.step.clone(),
            cell: new.cell.clone(),
            state: TaskState::Waiting,
            attempts: 0,
            attempt: None,
            fingerprint: None,
            reason: None,
        };
        let run = RunRecord {
            id: new.id,
            number,
            pipeline: new.pipeline.clone(),
            definition: ContentHash::from_bytes([0; 32]),
            definition_path: new.definition_path.clone(),
            params: new.params.clone(),
            request: new.request.clone(),
            trigger: new.trigger.clone(),
            state: RunState::Running,
            reason: None,
            created: now,
            ended: None,
            epoch: 1,
            store_marker: new.store_marker,
            partition: new.partition.clone(),
            environment: new.environment.clone(),
            cancel: None,
        };
        let rows = Rows {
            run,
            tasks: new.tasks.iter().map(task).collect(),
            attempts: Vec::new(),
            published: Vec::new(),
            events: Vec::new(),
            holds: BTreeMap::new(),
        };
        self.runs.insert(new.id, rows);
        self.tell(new.id, "run_created", None, None);
        Ok(number)
    }

    /// Applies changes of a run: see `Store::commit`.
    pub(crate) fn commit(&mut self, owner: Ownership, now: Timestamp, changes: &[Change]) -> Result<Vec<Applied>> {
        let careless = self.breaks(Mutation::CommitsWithoutEpoch);
        let rows = self.runs.get(&owner.run).filter(|rows| careless || rows.run.epoch == owner.epoch);
        if rows.is_none() {
            return Err(StoreError::LostOwnership { run: owner.run });
        }
        Ok(changes.iter().map(|change| self.apply(owner.run, now, change)).collect())
    }

    fn apply(&mut self, run: RunId, now: Timestamp, change: &Change) -> Applied {
        let careless = self.breaks(Mutation::CommitsWithoutEpoch);
        if self.runs[&run].run.state != RunState::Running && !careless {
            return Applied::Stale;
        }
        match change {
            Change::Start(start) => self.start(run, now, start),
            Change::Finish(finish) => self.finish(run, finish),
            Change::Settle(settle) => self.settle(run, settle),
            Change::EndRun { state, reason } => self.end_run(run, *state, reason.clone()),
            Change::Running { task, number } => {
                let rows = self.runs.get_mut(&run).expect("looked up above");
                let is_it = |one: &&mut AttemptRecord| (one.task, one.number) == (*task, *number);
                if let Some(one) =
                    rows.attempts.iter_mut().find(is_it).filter(|one| one.state == AttemptState::Assigned)
                {
                    one.state = AttemptState::Running;
                }
                Applied::Done
            }
            Change::AddTasks(_) => Applied::Stale,
        }
    }

    fn start(&mut self, run: RunId, now: Timestamp, start: &StartAttempt) -> Applied {
        let rows = &self.runs[&run];
        let task = &rows.tasks[start.task as usize];
        let is_open = matches!(task.state, TaskState::Waiting | TaskState::Retrying);
        if !is_open || task.attempts + 1 != start.number {
            return Applied::Stale;
        }
        if let Some(ask) = &start.pool
            && !self.take_slots(run, start.task, ask)
        {
            return Applied::Full;
        }
        let id = self.next_node();
        let rows = self.runs.get_mut(&run).expect("looked up above");
        let task = &mut rows.tasks[start.task as usize];
        (task.state, task.attempts, task.attempt) = (TaskState::Assigned, start.number, Some(id));
        task.fingerprint = Some(start.fingerprint);
        rows.attempts.push(AttemptRecord {
            id,
            uuid: start.uuid,
            run,
            run_number: rows.run.number,
            task: start.task,
            pipeline: rows.run.pipeline.clone(),
            step: task.step.clone(),
            cell: String::new(),
            number: start.number,
            kind: start.kind,
            state: AttemptState::Assigned,
            fingerprint: start.fingerprint,
            created: now,
            end: None,
            reusable: false,
            reused_from: None,
        });
        self.tell(run, "attempt_assigned", Some(start.task), Some(id));
        Applied::Started { attempt: id }
    }

    fn finish(&mut self, run: RunId, finish: &FinishAttempt) -> Applied {
        let careless = self.breaks(Mutation::CommitsWithoutEpoch);
        let rows = self.runs.get_mut(&run).expect("looked up above");
        let task = &mut rows.tasks[finish.task as usize];
        let is_it = |one: &&mut AttemptRecord| (one.task, one.number) == (finish.task, finish.number);
        let attempt = rows.attempts.iter_mut().find(is_it);
        let Some(attempt) = attempt.filter(|one| careless || (one.end.is_none() && task.attempts == finish.number))
        else {
            return Applied::Stale;
        };
        attempt.state = if finish.succeeded { AttemptState::Succeeded } else { AttemptState::Failed };
        attempt.end = Some(finish.end.clone());
        task.state = finish.next;
        task.reason.clone_from(&finish.reason);
        let id = attempt.id;
        rows.holds.remove(&finish.task);
        let mut materializations = Vec::new();
        for output in &finish.outputs {
            self.node += 1;
            let node = runstone_core::record::NodeId(self.node);
            materializations.push(node);
            rows.published.push(MaterializationRecord {
                id: node,
                attempt: id,
                output: output.output.clone(),
                dataset: output.dataset.clone(),
                version: 1,
                subset: output.subset.clone(),
                hash: output.hash,
                kind: output.kind,
                size: output.size,
                files: output.files,
                rows: output.rows,
                file_name: output.file_name.clone(),
                created: self.now,
                tainted: false,
            });
        }
        self.tell(run, "attempt_finished", Some(finish.task), Some(id));
        Applied::Published { attempt: id, materializations }
    }

    fn settle(&mut self, run: RunId, settle: &SettleTask) -> Applied {
        let rows = self.runs.get_mut(&run).expect("looked up above");
        let task = &mut rows.tasks[settle.task as usize];
        if !matches!(task.state, TaskState::Waiting | TaskState::Retrying) {
            return Applied::Stale;
        }
        task.state = settle.state;
        task.reason.clone_from(&settle.reason);
        self.leave_lines(run, Some(settle.task));
        self.tell(run, "task_settled", Some(settle.task), None);
        Applied::Done
    }

    fn end_run(&mut self, run: RunId, state: RunState, reason: Option<String>) -> Applied {
        let now = self.now;
        let rows = self.runs.get_mut(&run).expect("looked up above");
        if rows.tasks.iter().any(|task| !task.state.is_terminal()) {
            return Applied::Stale;
        }
        (rows.run.state, rows.run.reason, rows.run.ended) = (state, reason, Some(now));
        self.leave_lines(run, None);
        self.tell(run, "run_ended", None, None);
        let is_running = self.submissions.get(&run).is_some_and(|one| one.state == SubmissionState::Running);
        if is_running && !self.breaks(Mutation::EndsTheRunAlone) {
            self.end_submission(run, SubmissionState::Done, None);
        }
        Applied::Done
    }

    fn holders(&self, pool: &str) -> Vec<PoolUse> {
        let live = self.live.values().filter_map(|run| self.runs.get(run));
        live.flat_map(|rows| rows.holds.values()).filter(|(name, _)| name == pool).map(|(_, one)| one.clone()).collect()
    }

    /// Takes slots, or a place in the line.
    fn take_slots(&mut self, run: RunId, task: u32, ask: &PoolAsk) -> bool {
        let holders = self.holders(&ask.name);
        let (now, careless) = (self.now, self.breaks(Mutation::PoolNotCounted));
        let rows = self.runs.get_mut(&run).expect("looked up above");
        let Some(pool) = self.pools.get_mut(&ask.name) else { return false };
        let is_me = |one: &PoolUse| (one.run, one.task) == (run, task);
        let before = pool.waiting.iter().find(|(one, _)| is_me(one)).map(|(one, _)| one.since);
        let me = PoolUse {
            run,
            number: rows.run.number,
            pipeline: rows.run.pipeline.clone(),
            task,
            name: rows.tasks[task as usize].step.clone(),
            slots: ask.slots,
            priority: ask.priority,
            since: before.unwrap_or(now),
        };
        pool.waiting.retain(|(one, _)| !is_me(one));
        let granted = careless || pool::grant(pool.slots, &holders, &pool.line(now), &me) == Grant::Granted;
        if granted {
            rows.holds.insert(task, (ask.name.clone(), me));
        } else {
            pool.waiting.push((me, now));
        }
        granted
    }

    fn leave_lines(&mut self, run: RunId, task: Option<u32>) {
        for pool in self.pools.values_mut() {
            pool.waiting.retain(|(one, _)| one.run != run || task.is_some_and(|task| one.task != task));
        }
    }

    pub(super) fn pool_records(&self) -> Vec<PoolRecord> {
        let record = |(name, pool): (&String, &super::Pool)| {
            let holders = self.holders(name);
            let mut waiting = pool.line(self.now);
            pool::line_up(&holders, &mut waiting);
            PoolRecord { name: name.clone(), slots: pool.slots, holders, waiting }
        };
        self.pools.iter().map(record).collect()
    }
}

impl super::Pool {
    /// Who stands in line: those that asked of late.
    fn line(&self, now: Timestamp) -> Vec<PoolUse> {
        let stands = |asked: Timestamp| now.since(asked) <= pool::STANDS_FOR_US;
        self.waiting.iter().filter(|(_, asked)| stands(*asked)).map(|(one, _)| one.clone()).collect()
    }
}
