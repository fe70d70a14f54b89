//! The scheduling machine: what happened goes in, what is to be done comes out. No I/O, no clock.
//!
//! ```text
//! step(&mut self, Input, now) → Vec<Command>
//! ```
//!
//! A node *opens* when everything it needs is settled; its tasks are then looked up, put on record, started as slots
//! become free, and settled; a settled node may open others. Commands that record something ([`Command::Assign`],
//! [`Command::Finish`], [`Command::Settle`], [`Command::Publish`], [`Command::End`]) are to be made durable in the
//! order given, before anything that follows from them is shown to anyone; the machine itself goes on at once, because
//! the only way such a record can fail is that the run has a new owner, and then everything stops.
//!
//! Invariants: a task is settled once; a slot is held exactly from [`Command::Spawn`] to [`Input::Exited`] (with
//! `fail_fast` to [`Input::Ended`], so that nothing starts between a failure and its being known); no task of a node is touched before all the node needs is settled; no function here recurses over the graph.

mod budget;
mod layout;
mod retry;
mod settle;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::attempt::Cause;
use crate::executor::Stop;
use crate::record::{RunState, TaskState};
use crate::time::Timestamp;

pub use budget::Limits;
pub use layout::{Layout, NodeLayout, Prior, TaskLayout};

use budget::Budget;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The run begins or goes on. Once, first.
    Begin,
    /// The answer to [`Command::Open`].
    Opened {
        /// The node.
        node: usize,
        /// What was found.
        verdict: Verdict,
    },
    /// The answer to [`Command::Look`].
    Looked {
        /// The task.
        task: usize,
        /// What was found.
        answer: Answer,
    },
    /// The attempt asked for by [`Command::Assign`] is on record.
    Assigned {
        /// The task.
        task: usize,
    },
    /// It is on record, and an earlier result that stands for the task turned up meanwhile.
    Superseded {
        /// The task.
        task: usize,
    },
    /// It is not, because another run's attempt holds the same fingerprint.
    Held {
        /// The task.
        task: usize,
    },
    /// The attempt that held the fingerprint is over.
    Released {
        /// The task.
        task: usize,
    },
    /// No process of the attempt is left; its outputs are being looked at.
    Exited {
        /// The task.
        task: usize,
    },
    /// The attempt is judged.
    Ended {
        /// The task.
        task: usize,
        /// None means success.
        failure: Option<Failure>,
    },
    /// Time passed.
    Tick,
    /// Somebody wants the run to end.
    Stop(Stop),
}

/// What is found when a node opens.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Its tasks are to be decided.
    Go,
    /// It has these further tasks, in a row from the first free index; then as `Go`.
    Expand(Vec<Prior>),
    /// Its condition is false, or an output it needs is absent.
    Skip(String),
    /// It cannot be decided, such as when its condition has no value.
    Fail(String),
}

/// What is found when a task is looked up.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// An earlier result stands for it.
    Hit,
    /// It has to run.
    Miss,
    /// It was done by the engine itself; its record is ready to be made.
    Produced,
    /// Its condition is false.
    Skip(String),
    /// It cannot be done.
    Failed(Failure),
    /// Another run is at it.
    Held,
}

/// Why an attempt, or the engine's own part of a task, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The cause on record.
    pub cause: Cause,
    /// The exit code, where there is one.
    pub exit_code: Option<i32>,
    /// For people.
    pub message: String,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Evaluate the node's condition, find its items. Answer: [`Input::Opened`].
    Open {
        /// The node.
        node: usize,
    },
    /// Work out the fingerprint and see whether an earlier result fits. Answer: [`Input::Looked`].
    Look {
        /// The task.
        task: usize,
    },
    /// Put the next attempt on record. Answer: [`Input::Assigned`], [`Input::Superseded`] or [`Input::Held`].
    Assign {
        /// The task.
        task: usize,
        /// The attempt's number, from 1.
        number: u32,
    },
    /// Start the attempt that is on record. Answers: [`Input::Exited`], then [`Input::Ended`].
    Spawn {
        /// The task.
        task: usize,
    },
    /// Ask for the end of the running attempt.
    Kill {
        /// The task.
        task: usize,
        /// How.
        how: Stop,
    },
    /// Record the end of the attempt.
    Finish {
        /// The task.
        task: usize,
        /// The task's state from here on.
        next: TaskState,
        /// For people.
        reason: Option<String>,
        /// When the next attempt is due, where one is.
        again: Option<Timestamp>,
    },
    /// Record what the engine itself produced: attempt and end at once.
    Publish {
        /// The task.
        task: usize,
        /// The attempt's number, from 1.
        number: u32,
    },
    /// Record a task decided without an attempt.
    Settle {
        /// The task.
        task: usize,
        /// A terminal state.
        state: TaskState,
        /// For people.
        reason: Option<String>,
    },
    /// Send [`Input::Tick`] at this time or soon after.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// Record the end of the run. Nothing follows.
    End {
        /// A terminal state.
        state: RunState,
        /// For people.
        reason: Option<String>,
    },
}

/// How a run treats failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The first failure stops everything that has not started.
    pub fail_fast: bool,
    /// Makes the spread of retry delays differ between runs and repeat within one.
    pub seed: u64,
}

/// Where a task stands. One line a state says what is true in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its node is not open.
    Closed,
    /// The engine is looking it up.
    Looking,
    /// Another run's attempt holds its fingerprint.
    Held,
    /// It has to run; no attempt is on record or being recorded.
    Wanted,
    /// An attempt is being recorded.
    Assigning,
    /// An attempt is on record; it holds no slot and has no process.
    Assigned,
    /// A process may exist; it holds its slots.
    Running,
    /// The process is gone, the slots are given back, the outcome is being judged.
    Judging,
    /// The last attempt failed; another one is due at a time that stands in `timers`.
    Resting,
    /// Settled.
    Done(TaskState),
}

#[derive(Debug, Clone)]
struct TaskNow {
    node: usize,
    phase: Phase,
    /// Attempts on record, or being recorded.
    attempts: u32,
    /// Failures since the run began or was resumed: what retries are counted against.
    failures: u32,
    /// Whether an attempt was lost with its supervisor, which says nothing about the step.
    lost: bool,
}

#[derive(Debug, Clone, Default)]
struct NodeNow {
    needs_left: usize,
    tasks: Vec<usize>,
    tasks_left: usize,
    succeeded: u32,
    failed: u32,
    skipped: u32,
    cancelled: u32,
    outcome: Option<Outcome>,
}

/// What became of a node, as seen by those that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Its outputs are there (those of enough cells).
    Present,
    /// It was skipped.
    Skipped,
    /// It failed, or was cancelled.
    Failed,
}

/// The state of one run, as far as deciding needs it.
#[derive(Debug, Clone)]
pub struct Machine {
    layout: Layout,
    policy: Policy,
    nodes: Vec<NodeNow>,
    tasks: Vec<TaskNow>,
    nodes_left: usize,
    budget: Budget,
    wanted: BTreeMap<usize, BTreeSet<Rank>>,
    assigned: BTreeMap<usize, BTreeSet<Rank>>,
    timers: BTreeSet<(Timestamp, usize)>,
    settled_nodes: VecDeque<usize>,
    stopping: Option<Stop>,
    draining: bool,
    failed_hard: Option<String>,
    /// Somebody had asked for the end of the run in an earlier part of it, and tasks were given up for that.
    was_cut_short: bool,
    ended: bool,
    out: Vec<Command>,
}

/// Who goes first among those that can go: farther from the end, then earlier in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(std::cmp::Reverse<u32>, usize);

impl Machine {
    /// A machine for a run that has not begun, or goes on from what [`Prior`] says.
    #[must_use]
    pub fn new(layout: Layout, limits: Limits, policy: Policy) -> Self {
        let mut nodes: Vec<NodeNow> =
            layout.nodes.iter().map(|node| NodeNow { needs_left: distinct(node), ..NodeNow::default() }).collect();
        let tasks: Vec<TaskNow> = layout.tasks.iter().map(TaskNow::new).collect();
        for (index, task) in tasks.iter().enumerate() {
            nodes[task.node].tasks.push(index);
            if !matches!(task.phase, Phase::Done(_)) {
                nodes[task.node].tasks_left += 1;
            }
        }
        let nodes_left = nodes.len();
        let budget = Budget::new(limits, &layout);
        Self {
            layout,
            policy,
            nodes,
            tasks,
            nodes_left,
            budget,
            wanted: BTreeMap::new(),
            assigned: BTreeMap::new(),
            timers: BTreeSet::new(),
            settled_nodes: VecDeque::new(),
            stopping: None,
            draining: false,
            failed_hard: None,
            was_cut_short: false,
            ended: false,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and says what is to be done.
    ///
    /// An input that does not fit the state it meets is ignored: it is late news about something already decided.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Command> {
        match input {
            Input::Begin => self.begin(),
            Input::Opened { node, verdict } => self.opened(node, verdict),
            Input::Looked { task, answer } => self.looked(task, answer, now),
            Input::Assigned { task } => self.on_assigned(task),
            Input::Superseded { task } => self.on_superseded(task, now),
            Input::Held { task } => self.on_held(task),
            Input::Released { task } => self.on_released(task),
            Input::Exited { task } => self.on_exited(task),
            Input::Ended { task, failure } => self.on_ended(task, failure, now),
            Input::Tick => self.tick(now),
            Input::Stop(how) => self.stop(how),
        }
        self.settle_nodes();
        self.pump();
        self.end_if_done();
        std::mem::take(&mut self.out)
    }

    /// Whether the run is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// The state of a task that is settled.
    #[must_use]
    pub fn settled(&self, task: usize) -> Option<TaskState> {
        match self.tasks[task].phase {
            Phase::Done(state) => Some(state),
            _ => None,
        }
    }

    /// The node of a task.
    #[must_use]
    pub fn node_of(&self, task: usize) -> &NodeLayout {
        &self.layout.nodes[self.tasks[task].node]
    }

    /// The tasks of a node, those of a `foreach` included once it has opened.
    #[must_use]
    pub fn tasks_of(&self, node: usize) -> &[usize] {
        &self.nodes[node].tasks
    }

    /// How many tasks are known.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    fn begin(&mut self) {
        for task in 0..self.tasks.len() {
            if let Prior::Live { spawned: true, .. } = self.layout.tasks[task].prior {
                // Its process exists, so it holds its slots whatever the limits say now.
                self.budget.take(self.tasks[task].node, &self.layout);
                self.tasks[task].phase = Phase::Running;
            }
            if let Phase::Done(state) = self.tasks[task].phase {
                self.count(self.tasks[task].node, state);
                self.remember(self.tasks[task].node, state);
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].needs_left == 0 {
                self.open(node);
            }
        }
    }

    fn opened(&mut self, node: usize, verdict: Verdict) {
        let label = self.layout.nodes[node].label.clone();
        match verdict {
            Verdict::Skip(reason) => return self.settle_all(node, TaskState::Skipped, &reason),
            Verdict::Fail(reason) => {
                self.settle_all(node, TaskState::Failed, &reason);
                return self.fail_hard(node, format!("`{label}` failed: {reason}"));
            }
            Verdict::Go => {}
            Verdict::Expand(priors) => self.add_tasks(node, priors),
        }
        if self.nodes[node].tasks_left == 0 {
            return self.settled_nodes.push_back(node);
        }
        for at in 0..self.nodes[node].tasks.len() {
            let task = self.nodes[node].tasks[at];
            self.admit(task);
        }
    }

    /// Lets a task of an open node begin, from wherever an earlier part of the run left it.
    fn admit(&mut self, task: usize) {
        if self.tasks[task].phase != Phase::Closed {
            return;
        }
        if self.stopping.is_some() || self.draining {
            return self.give_up(task, TaskState::Cancelled, "the run was stopped".to_owned());
        }
        if let Prior::Live { spawned: false, .. } = self.layout.tasks[task].prior {
            return self.enqueue_assigned(task);
        }
        self.tasks[task].phase = Phase::Looking;
        self.out.push(Command::Look { task });
    }

    fn add_tasks(&mut self, node: usize, priors: Vec<Prior>) {
        for prior in priors {
            let task = self.tasks.len();
            let layout = TaskLayout { node, prior };
            let mut now = TaskNow::new(&layout);
            if let Prior::Live { spawned: true, .. } = prior {
                self.budget.take(node, &self.layout);
                now.phase = Phase::Running;
            }
            self.layout.tasks.push(layout);
            self.nodes[node].tasks.push(task);
            match now.phase {
                Phase::Done(state) => self.count(node, state),
                _ => self.nodes[node].tasks_left += 1,
            }
            self.tasks.push(now);
        }
    }

    fn looked(&mut self, task: usize, answer: Answer, now: Timestamp) {
        if self.tasks[task].phase != Phase::Looking {
            return;
        }
        let stopped = self.stopping.is_some() || self.draining;
        match answer {
            Answer::Hit => self.settle(task, TaskState::Reused, None),
            Answer::Skip(reason) => self.settle(task, TaskState::Skipped, Some(reason)),
            Answer::Produced => {
                self.tasks[task].attempts += 1;
                self.out.push(Command::Publish { task, number: self.tasks[task].attempts });
                self.done(task, TaskState::Succeeded);
            }
            _ if stopped => self.settle(task, TaskState::Cancelled, Some("the run was stopped".to_owned())),
            Answer::Miss => self.want(task),
            Answer::Held => self.tasks[task].phase = Phase::Held,
            Answer::Failed(failure) => {
                // The engine's own work leaves no attempt behind until it succeeds; its failures are counted all the same.
                match self.retry_at(task, &failure, now) {
                    Some(at) => self.rest(task, at),
                    None => {
                        let reason = self.failed(task, &failure);
                        self.settle(task, TaskState::Failed, Some(failure.message));
                        self.fail_hard(self.tasks[task].node, reason);
                    }
                }
            }
        }
    }

    fn on_assigned(&mut self, task: usize) {
        if self.tasks[task].phase != Phase::Assigning {
            return;
        }
        if self.stopping.is_some() || self.draining {
            return self.finish(task, TaskState::Cancelled, Some("the run was stopped".to_owned()));
        }
        self.tasks[task].phase = Phase::Assigned;
        let (class, rank) = (self.class(task), self.rank(task));
        self.assigned.entry(class).or_default().insert(rank);
    }

    /// Another run did the work between the look and the record: the attempt ends unused, and the task looks again.
    fn on_superseded(&mut self, task: usize, now: Timestamp) {
        if self.tasks[task].phase != Phase::Assigning {
            return;
        }
        self.budget.count_ahead(self.class(task), -1);
        if self.stopping.is_some() || self.draining {
            return self.finish(task, TaskState::Cancelled, Some("the run was stopped".to_owned()));
        }
        let reason = Some("another run did the same work meanwhile".to_owned());
        self.out.push(Command::Finish { task, next: TaskState::Retrying, reason, again: Some(now) });
        self.tasks[task].phase = Phase::Looking;
        self.out.push(Command::Look { task });
    }

    fn on_held(&mut self, task: usize) {
        if self.tasks[task].phase == Phase::Assigning {
            self.tasks[task].attempts -= 1;
            self.tasks[task].phase = Phase::Held;
            self.budget.count_ahead(self.class(task), -1);
            self.cancel_if_stopped(task);
        }
    }

    fn on_released(&mut self, task: usize) {
        if self.tasks[task].phase == Phase::Held && !self.cancel_if_stopped(task) {
            self.tasks[task].phase = Phase::Looking;
            self.out.push(Command::Look { task });
        }
    }

    fn on_exited(&mut self, task: usize) {
        // Where the first failure stops everything, nothing is started before it is known that this was none.
        if !self.policy.fail_fast {
            self.release(task);
        }
    }

    fn release(&mut self, task: usize) {
        if self.tasks[task].phase == Phase::Running {
            self.tasks[task].phase = Phase::Judging;
            self.budget.give_back(self.tasks[task].node, &self.layout);
        }
    }

    fn on_ended(&mut self, task: usize, failure: Option<Failure>, now: Timestamp) {
        self.release(task);
        if self.tasks[task].phase != Phase::Judging {
            return;
        }
        let Some(failure) = failure else { return self.finish(task, TaskState::Succeeded, None) };
        if self.stopping.is_some() && failure.cause == Cause::Cancelled {
            return self.finish(task, TaskState::Cancelled, Some("the run was stopped".to_owned()));
        }
        match self.retry_at(task, &failure, now) {
            Some(at) if self.stopping.is_none() && !self.draining => {
                let reason = Some(failure.message);
                self.out.push(Command::Finish { task, next: TaskState::Retrying, reason, again: Some(at) });
                self.rest(task, at);
            }
            // Only because the run was stopped it is not tried again.
            Some(_) if self.stopping.is_some() => {
                self.finish(task, TaskState::Cancelled, Some(format!("the run was stopped; {}", failure.message)));
            }
            _ => {
                let reason = self.failed(task, &failure);
                self.finish(task, TaskState::Failed, Some(failure.message));
                self.fail_hard(self.tasks[task].node, reason);
            }
        }
    }

    fn failed(&self, task: usize, failure: &Failure) -> String {
        format!("`{}` failed: {}", self.layout.nodes[self.tasks[task].node].label, failure.message)
    }

    fn rest(&mut self, task: usize, at: Timestamp) {
        self.tasks[task].phase = Phase::Resting;
        self.timers.insert((at, task));
        self.out.push(Command::Wake { at });
    }

    fn tick(&mut self, now: Timestamp) {
        while let Some(&(at, task)) = self.timers.first() {
            if at > now {
                return self.out.push(Command::Wake { at });
            }
            self.timers.pop_first();
            // Another run may have done the work meanwhile, so the way leads past the lookup again.
            if self.tasks[task].phase == Phase::Resting {
                self.tasks[task].phase = Phase::Looking;
                self.out.push(Command::Look { task });
            }
        }
    }

    fn stop(&mut self, how: Stop) {
        let harder = self.stopping.is_none() || (self.stopping == Some(Stop::Gracefully) && how == Stop::Now);
        if !harder || self.ended {
            return;
        }
        self.stopping = Some(how);
        for task in 0..self.tasks.len() {
            if self.tasks[task].phase == Phase::Running {
                self.out.push(Command::Kill { task, how });
            }
        }
        self.cancel_unstarted();
    }

    fn want(&mut self, task: usize) {
        self.tasks[task].phase = Phase::Wanted;
        let (class, rank) = (self.class(task), self.rank(task));
        self.wanted.entry(class).or_default().insert(rank);
    }

    fn enqueue_assigned(&mut self, task: usize) {
        self.tasks[task].phase = Phase::Assigned;
        let (class, rank) = (self.class(task), self.rank(task));
        self.budget.count_ahead(class, 1);
        self.assigned.entry(class).or_default().insert(rank);
    }

    /// Puts attempts on record ahead of their slots, so that a free slot never waits for a commit, and starts what fits.
    fn pump(&mut self) {
        if self.stopping.is_some() || self.draining {
            return;
        }
        let classes: Vec<usize> = self.wanted.keys().copied().collect();
        for class in classes {
            while self.budget.may_assign(class) {
                let Some(Rank(_, task)) = self.wanted.get_mut(&class).and_then(BTreeSet::pop_first) else {
                    self.wanted.remove(&class);
                    break;
                };
                self.tasks[task].phase = Phase::Assigning;
                self.tasks[task].attempts += 1;
                self.budget.count_ahead(class, 1);
                self.out.push(Command::Assign { task, number: self.tasks[task].attempts });
            }
        }
        while let Some((class, Rank(height, task))) = self.best_startable() {
            let queue = self.assigned.get_mut(&class).expect("the best comes from a queue");
            queue.remove(&Rank(height, task));
            if queue.is_empty() {
                self.assigned.remove(&class);
            }
            self.budget.count_ahead(class, -1);
            self.budget.take(self.tasks[task].node, &self.layout);
            self.tasks[task].phase = Phase::Running;
            self.out.push(Command::Spawn { task });
        }
    }

    /// The head of the best queue that fits what is free. Only heads are looked at: a large task is never overtaken
    /// for ever by small ones of its class.
    fn best_startable(&self) -> Option<(usize, Rank)> {
        if !self.budget.has_free_slot() {
            return None;
        }
        self.assigned
            .iter()
            .filter_map(|(&class, queue)| Some((class, *queue.first()?)))
            .filter(|(_, rank)| self.budget.fits(self.tasks[rank.1].node, &self.layout))
            .min_by_key(|(_, rank)| *rank)
    }

    fn class(&self, task: usize) -> usize {
        self.budget.class(self.tasks[task].node)
    }

    fn rank(&self, task: usize) -> Rank {
        Rank(std::cmp::Reverse(self.layout.nodes[self.tasks[task].node].height), task)
    }
}

impl TaskNow {
    fn new(layout: &TaskLayout) -> Self {
        let (phase, attempts) = match layout.prior {
            Prior::Open { attempts } => (Phase::Closed, attempts),
            Prior::Live { number, .. } => (Phase::Closed, number),
            Prior::Settled(state) => (Phase::Done(state), 0),
        };
        Self { node: layout.node, phase, attempts, failures: 0, lost: false }
    }
}

/// How many different nodes a node needs.
fn distinct(node: &NodeLayout) -> usize {
    let mut needs: Vec<usize> = node.needs.iter().map(|(need, _)| *need).collect();
    needs.sort_unstable();
    needs.dedup();
    needs.len()
}
