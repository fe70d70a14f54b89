//! Decides the changes of a batch one after the other, in memory, on the facts loaded under the run's lock.
//!
//! No statement is sent from here. A change finds what the changes before it left; one that is stale leaves nothing.

use std::collections::HashMap;

use runstone_core::hash::Fingerprint;
use runstone_core::record::{AttemptKind, AttemptState, NodeId, RunState, TaskState};
use runstone_core::service::pool::Grant;
use runstone_core::service::record::PoolUse;
use runstone_core::store::{
    Applied, Change, FinishAttempt, Flight, NewMaterialization, NewTask, Pin, PinSource, PoolAsk, Reuse, ReuseNode,
    SettleTask, StartAttempt,
};
use runstone_core::time::Timestamp;

use super::batch::{AttemptRow, Batch, BlobRow, ClaimRow, PublicationRow, TaskRow};
use super::claims::Claims;
use super::facts::{Attempt, Facts, Run, Source, Task, with_nodes};
use super::line::{Lines, Place};
use crate::event::Event;

/// Decides every change; returns what became of each, and what is to be written.
pub(super) fn decide<'a>(
    changes: &'a [Change],
    (run, now): (&Run, Timestamp),
    facts: Facts,
    claims: Claims,
    lines: Lines,
) -> (Vec<Applied>, Batch<'a>) {
    let reserved = claims.reserved.iter().map(|(claim, was)| (*claim, ClaimRow { was: *was, now: None })).collect();
    let batch = Batch { claims: reserved, ..Batch::default() };
    let running = run.state == RunState::Running;
    let mut deciding = Deciding { run, now, running, facts, held: claims.held, lines, batch };
    let applied = with_nodes(changes, run).map(|(change, nodes)| deciding.apply(change, nodes)).collect();
    (applied, deciding.batch)
}

struct Deciding<'a, 'r> {
    run: &'r Run,
    now: Timestamp,
    /// Whether the run is `running`; one that is over takes no changes.
    running: bool,
    facts: Facts,
    /// Live claims, of this run and of others.
    held: HashMap<Fingerprint, Flight>,
    lines: Lines,
    batch: Batch<'a>,
}

impl<'a> Deciding<'a, '_> {
    fn apply(&mut self, change: &'a Change, nodes: &[i64]) -> Applied {
        if !self.running {
            return Applied::Stale;
        }
        let applied = match change {
            Change::AddTasks(tasks) => self.add_tasks(tasks),
            Change::Start(start) => self.start(start, NodeId(nodes[0])),
            Change::Running { task, number } => self.attempt_runs(*task, *number),
            Change::Finish(finish) => self.finish(finish, nodes),
            Change::Settle(settle) => self.settle(settle, nodes),
            Change::EndRun { state, reason } => self.end_run(*state, reason.as_deref()),
        };
        applied.unwrap_or(Applied::Stale)
    }

    fn add_tasks(&mut self, tasks: &'a [NewTask]) -> Option<Applied> {
        let Some(first) = tasks.first() else { return Some(Applied::Done) };
        if self.facts.next_index != first.index {
            return None;
        }
        for task in tasks {
            self.facts.next_index += 1;
            self.facts.open_tasks += 1;
            self.batch.new_tasks.push(task);
            let NewTask { index, step, cell } = task;
            self.facts.tasks.insert(*index, Task::waiting(step, cell));
        }
        self.batch.tell(None, None, &Event::TasksAdded { first: first.index, count: tasks.len() });
        Some(Applied::Done)
    }

    fn start(&mut self, start: &'a StartAttempt, id: NodeId) -> Option<Applied> {
        let StartAttempt { task: index, number, uuid, kind, ref fingerprint, .. } = *start;
        let task = self.facts.tasks.get(&index)?;
        if !task.is_open() || task.attempts.checked_add(1) != Some(number) {
            return None;
        }
        let edges = self.edges(&start.pins)?;
        if let Some(flight) = self.held.get(fingerprint).filter(|_| start.claim).cloned() {
            self.leave_line(index);
            return Some(Applied::Busy(flight));
        }
        if let Some(ask) = &start.pool
            && self.ask(index, ask) != Grant::Granted
        {
            return Some(Applied::Full);
        }
        if start.claim {
            let flight =
                Flight { fingerprint: *fingerprint, attempt: id, uuid, run: self.run.id, run_number: self.run.number };
            self.held.insert(*fingerprint, flight);
            // The row is locked: it was free and reserved, or given back earlier in this batch.
            self.batch.claims.entry(*fingerprint).or_insert(ClaimRow { was: id, now: None }).now = Some(id);
        }
        self.batch.derivations.insert(*fingerprint, &start.derivation);
        self.put_attempt(id, uuid, (index, number), (kind, fingerprint), None, start.pool.as_ref());
        self.consume(id, edges);
        for kept in &start.keeps {
            self.batch.blobs.insert(kept.hash, BlobRow { kind: kept.kind, size: kept.size, proof: true });
        }
        let claim = start.claim.then_some(*fingerprint);
        self.change(index, None, |task| {
            task.state = TaskState::Assigned;
            task.attempts = number;
            task.attempt = Some(Attempt { id, state: AttemptState::Assigned, claim });
            task.fingerprint = Some(*fingerprint);
        });
        self.batch.tell(Some(index), Some(id), &Event::AttemptAssigned { number, kind });
        Some(Applied::Started { attempt: id })
    }

    /// Whether a task gets slots of a pool now. Where not, it stands in the line from now on, at the place it had there.
    fn ask(&mut self, index: u32, ask: &PoolAsk) -> Grant {
        let Some(task) = self.facts.tasks.get_mut(&index) else { return Grant::Waits(0) };
        let before = task.place.as_ref().filter(|place| place.ask.name == ask.name);
        let since = before.map_or(self.now, |place| place.since);
        let me = PoolUse {
            run: self.run.id,
            number: self.run.number,
            pipeline: self.run.pipeline.clone(),
            task: index,
            name: String::new(),
            slots: ask.slots,
            priority: ask.priority,
            since,
        };
        self.lines.leave(self.run.id, index);
        let grant = self.lines.ask(ask, me);
        let place = Some(Place { ask: ask.clone(), since });
        if grant != Grant::Granted && task.place != place {
            task.place.clone_from(&place);
            self.batch.places.insert(index, place);
        }
        grant
    }

    /// A task is as it was, but waits for no pool.
    fn leave_line(&mut self, index: u32) {
        if let Some(task) = self.facts.tasks.get_mut(&index)
            && task.place.take().is_some()
        {
            self.lines.leave(self.run.id, index);
            self.batch.places.insert(index, None);
        }
    }

    fn attempt_runs(&mut self, index: u32, number: u32) -> Option<Applied> {
        let task = self.facts.tasks.get_mut(&index)?;
        if number == 0 || number > task.attempts {
            return None;
        }
        let last = task.attempts == number;
        if let Some(attempt) = task.live().filter(|live| last && live.state == AttemptState::Assigned) {
            task.attempt = Some(Attempt { state: AttemptState::Running, ..attempt });
            self.batch.running.push(attempt.id);
            self.batch.tell(Some(index), Some(attempt.id), &Event::AttemptRunning { number });
        }
        Some(Applied::Done)
    }

    fn finish(&mut self, finish: &'a FinishAttempt, nodes: &[i64]) -> Option<Applied> {
        let FinishAttempt { task: index, number, succeeded, next, .. } = *finish;
        let task = self.facts.tasks.get(&index)?;
        let attempt = task.live().filter(|_| task.attempts == number)?;
        if let Some(claim) = attempt.claim {
            self.held.remove(&claim);
            self.batch.claims.entry(claim).or_insert(ClaimRow { was: attempt.id, now: None }).now = None;
        }
        self.batch.ends.push((attempt.id, finish));
        self.lines.give_back(self.run.id, index);
        let tainted = finish.end.tainted.is_some();
        let materializations = self.publish(attempt.id, &finish.outputs, nodes, tainted);
        for metric in &finish.metrics {
            let key = (attempt.id, metric.name.as_str(), metric.slice.as_str());
            self.batch.metrics.insert(key, (metric.value, metric.n));
        }
        let state = if succeeded { AttemptState::Succeeded } else { AttemptState::Failed };
        let standing = standing(&finish.outputs, &materializations);
        if succeeded && finish.reusable && !tainted {
            self.facts.sources.insert(attempt.id, Source { origin: attempt.id, standing: standing.clone() });
        }
        self.change(index, finish.reason.as_deref(), |task| {
            task.state = next;
            task.attempt = Some(Attempt { state, claim: None, ..attempt });
            task.standing = standing;
        });
        let reason = finish.reason.as_deref();
        let event = Event::AttemptFinished { number, succeeded, cause: finish.end.cause, next, reason };
        self.batch.tell(Some(index), Some(attempt.id), &event);
        Some(Applied::Published { attempt: attempt.id, materializations })
    }

    fn settle(&mut self, settle: &'a SettleTask, nodes: &[i64]) -> Option<Applied> {
        let task = self.facts.tasks.get(&settle.task)?;
        if !matches!(task.state, TaskState::Waiting | TaskState::Retrying) {
            return None;
        }
        let reason = settle.reason.as_deref();
        let attempt = task.attempt;
        let (applied, stands) = match &settle.reuse {
            None => (Applied::Done, None),
            Some(Reuse { attempt, fingerprint, node: None }) => {
                (self.reuse(settle.task, *attempt, fingerprint)?, Some(*attempt))
            }
            Some(Reuse { attempt, fingerprint, node: Some(node) }) => {
                let applied = self.reuse_with_node(settle.task, *attempt, fingerprint, node, nodes)?;
                (applied, Some(NodeId(nodes[0])))
            }
        };
        let stands_now = stands.map(|id| Attempt { id, state: AttemptState::Succeeded, claim: None });
        self.change(settle.task, reason, |task| {
            task.state = settle.state;
            task.attempt = stands_now.or(attempt);
        });
        let node = settle.reuse.as_ref().is_some_and(|reuse| reuse.node.is_some());
        self.batch.tell(Some(settle.task), stands, &Event::TaskSettled { state: settle.state, node, reason });
        Some(applied)
    }

    /// An earlier attempt stands for the task as it is.
    fn reuse(&mut self, index: u32, attempt: NodeId, fingerprint: &'a Fingerprint) -> Option<Applied> {
        let source = self.facts.sources.get(&attempt)?;
        let task = self.facts.tasks.get_mut(&index)?;
        task.fingerprint = Some(*fingerprint);
        task.standing.clone_from(&source.standing);
        Some(Applied::Published { attempt, materializations: Vec::new() })
    }

    /// An earlier result is published once more, under other pins or names.
    fn reuse_with_node(
        &mut self,
        index: u32,
        source: NodeId,
        fingerprint: &'a Fingerprint,
        node: &'a ReuseNode,
        nodes: &[i64],
    ) -> Option<Applied> {
        let origin = self.facts.sources.get(&source)?.origin;
        let edges = self.edges(&node.pins)?;
        let id = NodeId(nodes[0]);
        let number = self.facts.tasks.get(&index)?.attempts + 1;
        self.put_attempt(id, node.uuid, (index, number), (AttemptKind::Reuse, fingerprint), Some(origin), None);
        self.consume(id, edges);
        let materializations = self.publish(id, &node.outputs, &nodes[1..], false);
        let task = self.facts.tasks.get_mut(&index)?;
        task.attempts = number;
        task.fingerprint = Some(*fingerprint);
        task.standing = standing(&node.outputs, &materializations);
        self.facts.sources.insert(id, Source { origin, standing: task.standing.clone() });
        Some(Applied::Published { attempt: id, materializations })
    }

    fn end_run(&mut self, state: RunState, reason: Option<&'a str>) -> Option<Applied> {
        if self.facts.open_tasks > 0 {
            return None;
        }
        self.running = false;
        self.batch.run_end = Some((state, reason));
        self.batch.tell(None, None, &Event::RunEnded { state, reason });
        Some(Applied::Done)
    }

    /// The edges of pins; none where one of them points at nothing that is on record.
    fn edges(&self, pins: &'a [Pin]) -> Option<Vec<(NodeId, &'a str, &'static str)>> {
        let mut edges = Vec::with_capacity(pins.len());
        for pin in pins {
            let before = edges.len();
            let mut add = |id| edges.push((id, pin.slot.as_str(), pin.trust.as_str()));
            match &pin.source {
                PinSource::Materialization(id) => self.facts.pins.get(id).copied().into_iter().for_each(&mut add),
                PinSource::Task { task, output } => {
                    let task = self.facts.tasks.get(task)?;
                    if matches!(task.state, TaskState::Succeeded | TaskState::Reused) {
                        task.standing.iter().filter(|(name, _)| name == output).for_each(|(_, id)| add(*id));
                    }
                }
            }
            if edges.len() == before {
                return None;
            }
        }
        Some(edges)
    }

    /// The same publication under the same name is one edge.
    fn consume(&mut self, reader: NodeId, edges: Vec<(NodeId, &'a str, &'static str)>) {
        for (publication, slot, trust) in edges {
            self.batch.edges.entry((reader, publication, slot)).or_insert(trust);
        }
    }

    fn put_attempt(
        &mut self,
        id: NodeId,
        uuid: uuid::Uuid,
        (task, number): (u32, u32),
        (kind, fingerprint): (AttemptKind, &'a Fingerprint),
        origin: Option<NodeId>,
        pool: Option<&'a PoolAsk>,
    ) {
        let Task { step, cell, .. } = &self.facts.tasks[&task];
        let (step, cell) = (step.clone(), cell.clone());
        let row = AttemptRow { id, uuid, task, number, step, cell, kind, fingerprint, origin, pool };
        self.batch.attempts.push(row);
    }

    fn publish(
        &mut self,
        attempt: NodeId,
        outputs: &'a [NewMaterialization],
        nodes: &[i64],
        tainted: bool,
    ) -> Vec<NodeId> {
        for (what, id) in outputs.iter().zip(nodes) {
            let id = NodeId(*id);
            self.facts.pins.insert(id);
            self.batch.publications.push(PublicationRow { id, attempt, what });
            let blob = BlobRow { kind: what.kind, size: what.size, proof: false };
            self.batch.blobs.entry(what.hash).or_insert(blob);
            if !tainted {
                self.batch.heads.insert((&what.dataset, &what.subset), id);
            }
        }
        nodes[..outputs.len()].iter().copied().map(NodeId).collect()
    }

    /// Changes a task, and notes how it was before the batch.
    fn change(&mut self, index: u32, reason: Option<&'a str>, change: impl FnOnce(&mut Task)) {
        let Some(task) = self.facts.tasks.get_mut(&index) else { return };
        let open = !task.state.is_terminal();
        change(task);
        // Whatever it stood in line for, it is started or decided now; its row is written anyway.
        task.place = None;
        self.batch.places.remove(&index);
        self.lines.leave(self.run.id, index);
        if open && task.state.is_terminal() {
            self.facts.open_tasks -= 1;
        }
        let row = TaskRow {
            was: task.was,
            state: task.state,
            attempts: task.attempts,
            attempt: task.attempt.map(|attempt| attempt.id),
            fingerprint: task.fingerprint,
            reason,
        };
        self.batch.tasks.insert(index, row);
    }
}

fn standing(outputs: &[NewMaterialization], ids: &[NodeId]) -> Vec<(String, NodeId)> {
    outputs.iter().map(|output| output.output.clone()).zip(ids.iter().copied()).collect()
}
