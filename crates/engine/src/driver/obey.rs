//! Carrying out what the machine decides: each command becomes a change, an effect, or a question to answer.

use runstone_core::attempt::Cause;
use runstone_core::cell::Cell;
use runstone_core::executor::Stop;
use runstone_core::machine::Command;
use runstone_core::record::{AttemptKind, MaterializationRecord, TaskState};
use runstone_core::spec::model::Action;
use runstone_core::store::{
    Change, Earlier, FinishAttempt, NewMaterialization, PinSource, PoolAsk, Reuse, ReuseNode, SettleTask, StartAttempt,
};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::live::{Live, without_process};
use super::{Driver, Note};
use crate::clock;
use crate::derive::Derived;
use crate::judge::Judgement;
use crate::ledger::{Entry, Published};
use crate::report::RunEvent;
use crate::tables::Remembered;

impl Driver<'_> {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Open { node } => self.opens.push_back(node),
            Command::Look { task } => self.looks.push(task),
            Command::Assign { task, number } => self.assign(task, number),
            Command::Spawn { task } => self.spawn(task),
            Command::Kill { task, how } => self.kill(task, how),
            Command::Finish { task, next, reason, again } => self.finish(task, next, reason, again),
            Command::Publish { task, number } => self.publish(task, number),
            Command::Settle { task, state, reason } => self.settle(task, state, reason),
            Command::Wake { at } => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
            Command::End { state, reason } => {
                self.ended = Some((state, reason));
                self.end_once_placed();
            }
        }
    }

    fn assign(&mut self, task: usize, number: u32) {
        let uuid = Uuid::now_v7();
        let derived = self.tasks[task].derived.clone().expect("a task is looked up before it is assigned");
        self.tasks[task].live = Some(Live::new(uuid, number));
        self.by_attempt.insert(uuid, task);
        let claim = self.claims(task);
        let start = self.start(task, number, uuid, AttemptKind::Run, &derived, claim);
        self.record(Change::Start(start), Note::Assigned { task });
    }

    fn start(
        &self,
        task: usize,
        number: u32,
        uuid: Uuid,
        kind: AttemptKind,
        derived: &Derived,
        claim: bool,
    ) -> StartAttempt {
        StartAttempt {
            task: self.tasks[task].row,
            number,
            uuid,
            kind,
            fingerprint: derived.fingerprint,
            derivation: derived.canonical.clone(),
            pins: derived.pins(),
            keeps: derived.facts.kept(),
            claim,
            pool: (kind == AttemptKind::Run).then(|| self.pool_of(task)).flatten(),
        }
    }

    /// The slots that the task needs of a pool of the project.
    fn pool_of(&self, task: usize) -> Option<PoolAsk> {
        let step = self.step_of(task)?;
        let name = self.site.pool_of(step)?;
        Some(PoolAsk { name: name.to_string(), slots: step.slots, priority: self.prepared.pipeline.priority })
    }

    fn kill(&mut self, task: usize, how: Stop) {
        let Some(live) = self.tasks[task].live.as_mut() else { return };
        if self.unknown.contains(&task) {
            // It is out of reach. Whoever insists gives it up; what it may still do is published by nobody.
            if how == Stop::Now {
                self.unknown.retain(|one| *one != task);
                self.never_started(
                    task,
                    Cause::Cancelled,
                    "the run was stopped; its attempt is out of reach".to_owned(),
                );
            }
            return;
        }
        if live.started {
            return self.executor.stop(live.uuid, how);
        }
        live.stop = Some(how);
        if live.slot.is_none() && live.judgement.is_none() {
            self.never_started(task, Cause::Cancelled, "the run was stopped".to_owned());
        }
    }

    fn finish(&mut self, task: usize, next: TaskState, reason: Option<String>, again: Option<Timestamp>) {
        let live = self.tasks[task].live.take().expect("only an attempt under way ends");
        self.by_attempt.remove(&live.uuid);
        // An attempt that never began, and whose task goes another way, is nothing to tell of.
        let is_told = live.judgement.is_some() || next.is_terminal();
        let judgement = live.judgement.unwrap_or_else(|| {
            let message = reason.clone().unwrap_or_else(|| "the run was stopped".to_owned());
            Box::new(without_process(Cause::Cancelled, message, clock::now()))
        });
        let judgement = *judgement;
        self.objects.merge(judgement.objects);
        let judgement = Judgement { objects: runstone_exec::objects::Batch::default(), ..judgement };
        let told = is_told.then(|| self.tell_end(task, live.number, (next, again), &judgement, reason.as_ref()));
        let succeeded = judgement.failure.is_none();
        if next == TaskState::Succeeded {
            self.enter(task, &judgement.outputs, judgement.metrics.clone(), judgement.end.tainted.is_some());
        }
        let reusable = succeeded && judgement.end.tainted.is_none() && self.is_cacheable(task);
        let finish = FinishAttempt {
            task: self.tasks[task].row,
            number: live.number,
            succeeded,
            end: judgement.end,
            outputs: judgement.outputs,
            metrics: judgement.metrics,
            metadata: judgement.metadata,
            next,
            reason,
            reusable,
        };
        let published = next == TaskState::Succeeded;
        self.record(Change::Finish(Box::new(finish)), Note::Finished { task, told, published });
        if next.is_terminal() {
            self.counts.add(next);
        }
    }

    fn tell_end(
        &self,
        task: usize,
        attempt: u32,
        (next, again): (TaskState, Option<Timestamp>),
        judgement: &Judgement,
        reason: Option<&String>,
    ) -> RunEvent {
        let end = &judgement.end;
        let label = self.label(task);
        if next == TaskState::Retrying {
            let wait_ms = again.map_or(0, |at| at.since(self.clock.now()) / 1000);
            return RunEvent::TaskRetrying {
                task: label,
                attempt,
                cause: end.cause,
                exit_code: end.exit_code,
                signal: end.signal,
                wait_ms,
            };
        }
        RunEvent::TaskEnded {
            task: label,
            attempt,
            state: next,
            cause: end.cause,
            exit_code: end.exit_code,
            signal: end.signal,
            message: reason.cloned().or_else(|| end.tainted.clone().map(|why| format!("tainted: {why}"))),
            wall_us: end.ended.since(end.started),
            stderr: (end.stderr_bytes > 0).then(|| self.attempt_folder(task, attempt).join("stderr")),
        }
    }

    /// Records what Runstone read itself: intent and end at once, for there is no effect between them.
    fn publish(&mut self, task: usize, number: u32) {
        let read = *self.tasks[task].read.take().expect("only what was read is published");
        let derived = self.tasks[task].derived.clone().expect("what was read has a derivation");
        let (kind, outputs) = self.read_outputs(task, &read);
        self.objects.merge(read.objects);
        let start = self.start(task, number, Uuid::now_v7(), kind, &derived, false);
        self.record(Change::Start(start), Note::Nothing);
        let mut judgement = without_process(Cause::Exit, String::new(), clock::now());
        judgement.end.message = None;
        judgement.end.exit_code = Some(0);
        judgement.failure = None;
        let told = self.tell_end(task, number, (TaskState::Succeeded, None), &judgement, None);
        self.enter(task, &outputs, Vec::new(), false);
        let finish = FinishAttempt {
            task: self.tasks[task].row,
            number,
            succeeded: true,
            end: judgement.end,
            outputs,
            metrics: Vec::new(),
            metadata: None,
            next: TaskState::Succeeded,
            reason: None,
            reusable: true,
        };
        self.record(Change::Finish(Box::new(finish)), Note::Finished { task, told: Some(told), published: true });
        self.counts.add(TaskState::Succeeded);
    }

    /// What a source publishes, and as what kind of attempt.
    pub(super) fn read_outputs(
        &self,
        task: usize,
        read: &crate::source::ReadContent,
    ) -> (AttemptKind, Vec<NewMaterialization>) {
        let prepared = &self.prepared;
        let content = &read.content;
        let table = read.table.as_ref().and_then(Remembered::load);
        let new = |output: String, dataset: String, subset: String| NewMaterialization {
            output,
            dataset,
            subset,
            hash: content.hash,
            kind: crate::site::content_kind(content.kind),
            size: content.size,
            files: content.files,
            rows: table.as_ref().map(|table| table.rows),
            file_name: read.file_name.clone(),
            profile: table.as_ref().map(|table| table.profile.clone()),
        };
        match self.step_of(task) {
            Some(step) => {
                let name = step.outputs.keys().next().expect("a step has an output");
                (
                    AttemptKind::Ingest,
                    vec![new(
                        name.to_string(),
                        prepared.pipeline.dataset(step, name),
                        prepared.subset(&Cell::default()),
                    )],
                )
            }
            None => {
                let path = prepared.graph.label(&prepared.pipeline, self.tasks[task].node);
                let dataset = crate::source::observed_dataset(self.site.project.root(), &prepared.folder, path);
                (AttemptKind::Observe, vec![new("file".to_owned(), dataset, String::new())])
            }
        }
    }

    fn settle(&mut self, task: usize, state: TaskState, reason: Option<String>) {
        let told = match (state, &self.tasks[task].hit) {
            (TaskState::Reused, Some(hit)) => {
                Some(RunEvent::TaskReused { task: self.label(task), from_run: hit.run_number })
            }
            (TaskState::Skipped, _) => {
                Some(RunEvent::TaskSkipped { task: self.label(task), reason: reason.clone().unwrap_or_default() })
            }
            (TaskState::Failed, _) => Some(RunEvent::TaskEnded {
                task: self.label(task),
                attempt: 0,
                state,
                cause: Cause::Internal,
                exit_code: None,
                signal: None,
                message: reason.clone(),
                wall_us: 0,
                stderr: None,
            }),
            _ => None,
        };
        self.held.remove(&task);
        let reuse = self.tasks[task].hit.take().map(|hit| self.reuse(task, &hit));
        let row = self.tasks[task].row;
        self.record(Change::Settle(SettleTask { task: row, state, reason, reuse }), Note::Settled { task, told });
        self.counts.add(state);
    }

    /// An earlier result stands for the task. It gets a node of its own where this run read or calls something
    /// differently, or where `@latest` names something else by now.
    fn reuse(&mut self, task: usize, hit: &Earlier) -> Reuse {
        let derived = self.tasks[task].derived.clone().expect("a hit comes from a derivation");
        let pins = derived.pins();
        let mut now: Vec<(String, i64)> = pins
            .iter()
            .map(|pin| match &pin.source {
                PinSource::Materialization(id) => (pin.slot.clone(), id.0),
                // What is not on record yet is new, so it cannot be what the earlier attempt read.
                PinSource::Task { .. } => (pin.slot.clone(), -1),
            })
            .collect();
        now.sort_unstable();
        let mut then: Vec<(String, i64)> = hit.pins.iter().map(|(slot, id)| (slot.clone(), id.0)).collect();
        then.sort_unstable();
        let outputs: Vec<NewMaterialization> = hit.outputs.iter().map(|record| self.renamed(task, record)).collect();
        let same_names =
            hit.outputs.iter().zip(&outputs).all(|(old, new)| {
                old.dataset == new.dataset && old.subset == new.subset && old.file_name == new.file_name
            });
        let node = (!hit.current || now != then || !same_names).then(|| ReuseNode {
            uuid: Uuid::now_v7(),
            pins,
            outputs: outputs.clone(),
        });
        if node.is_some() {
            self.enter(task, &outputs, hit.metrics.clone(), false);
        } else {
            let data = &self.tasks[task];
            let outputs = hit.outputs.iter().map(Published::on_record).collect();
            let entry = Entry { task: Some(task), cell: data.cell.clone(), outputs, metrics: hit.metrics.clone() };
            self.ledger.enter(data.node, entry);
        }
        Reuse { attempt: hit.attempt, fingerprint: derived.fingerprint, node }
    }

    /// An earlier publication under this task's names.
    fn renamed(&self, task: usize, record: &MaterializationRecord) -> NewMaterialization {
        let data = &self.tasks[task];
        let (dataset, subset) = match self.step_of(task) {
            Some(step) => {
                let output = step.outputs.keys().find(|name| name.as_str() == record.output);
                // A source has one output, whatever an earlier step of another name called it.
                let output = output.or_else(|| step.outputs.keys().next()).expect("a step has an output");
                (self.prepared.pipeline.dataset(step, output), self.prepared.subset(&data.cell))
            }
            None => {
                let path = self.prepared.graph.label(&self.prepared.pipeline, data.node);
                (crate::source::observed_dataset(self.site.project.root(), &self.prepared.folder, path), String::new())
            }
        };
        let output = match self.step_of(task) {
            Some(step) if !step.outputs.contains_key(record.output.as_str()) => {
                step.outputs.keys().next().expect("a step has an output").to_string()
            }
            None => "file".to_owned(),
            _ => record.output.clone(),
        };
        let read_name = data.read.as_ref().map(|read| read.file_name.clone());
        NewMaterialization {
            output,
            dataset,
            subset,
            hash: record.hash,
            kind: record.kind,
            size: record.size,
            files: record.files,
            rows: record.rows,
            file_name: read_name.unwrap_or_else(|| record.file_name.clone()),
            profile: None,
        }
    }

    /// Notes what a task is about to publish, for those that read it.
    fn enter(
        &mut self,
        task: usize,
        outputs: &[NewMaterialization],
        metrics: Vec<runstone_core::record::Metric>,
        tainted: bool,
    ) {
        let data = &self.tasks[task];
        let outputs = outputs.iter().map(|new| Published::pending(new, data.row, tainted)).collect();
        let entry = Entry { task: Some(task), cell: data.cell.clone(), outputs, metrics };
        self.ledger.enter(data.node, entry);
    }

    fn is_cacheable(&self, task: usize) -> bool {
        self.step_of(task).is_none_or(|step| step.cache != runstone_core::spec::model::Cache::Never)
    }

    /// Whether the task claims its fingerprint against other runs. What must always execute shares nothing.
    pub(super) fn claims(&self, task: usize) -> bool {
        let data = &self.tasks[task];
        self.is_cacheable(task)
            && !self.prepared.selection.forces(data.node, &data.cell)
            && self.step_of(task).is_some_and(|step| matches!(step.action, Action::Run(_)))
    }
}
