//! Settling: how the end of a task becomes the end of its node, and the end of nodes the end of the run.

use super::{Command, Machine, Outcome, Phase, Prior};
use crate::graph::NeedKind;
use crate::record::{RunState, TaskState};

impl Machine {
    /// Records the end of the last attempt and settles the task.
    pub(super) fn finish(&mut self, task: usize, next: TaskState, reason: Option<String>) {
        self.out.push(Command::Finish { task, next, reason, again: None });
        self.done(task, next);
    }

    /// Settles a task that has not begun in this part of the run. An attempt that an earlier part has put on record for
    /// it, and not started, is ended first.
    pub(super) fn give_up(&mut self, task: usize, state: TaskState, reason: String) {
        match (self.layout.tasks[task].prior, state) {
            (Prior::Live { .. }, TaskState::Skipped) => {
                // No attempt ends as skipped: it ends as if another one were due, and that one is skipped.
                let ended = Some(reason.clone());
                self.out.push(Command::Finish { task, next: TaskState::Retrying, reason: ended, again: None });
                self.settle(task, state, Some(reason));
            }
            (Prior::Live { .. }, _) => self.finish(task, state, Some(reason)),
            (Prior::Open { .. } | Prior::Settled(_), _) => self.settle(task, state, Some(reason)),
        }
    }

    /// Takes in how a task was settled in an earlier part of the run: what counted against the run then counts now.
    pub(super) fn remember(&mut self, node: usize, state: TaskState) {
        match state {
            TaskState::Failed => {
                let label = &self.layout.nodes[node].label;
                self.fail_hard(node, format!("`{label}` failed in an earlier part of the run"));
            }
            TaskState::Cancelled => self.was_cut_short = true,
            _ => {}
        }
    }

    /// Records a decision without an attempt and settles the task.
    pub(super) fn settle(&mut self, task: usize, state: TaskState, reason: Option<String>) {
        self.out.push(Command::Settle { task, state, reason });
        self.done(task, state);
    }

    pub(super) fn done(&mut self, task: usize, state: TaskState) {
        debug_assert!(!matches!(self.tasks[task].phase, Phase::Done(_)), "a task is settled once");
        self.tasks[task].phase = Phase::Done(state);
        let node = self.tasks[task].node;
        self.count(node, state);
        self.nodes[node].tasks_left -= 1;
        if self.nodes[node].tasks_left == 0 {
            self.settled_nodes.push_back(node);
        }
    }

    pub(super) fn count(&mut self, node: usize, state: TaskState) {
        let node = &mut self.nodes[node];
        match state {
            TaskState::Succeeded | TaskState::Reused => node.succeeded += 1,
            TaskState::Skipped => node.skipped += 1,
            TaskState::Cancelled => node.cancelled += 1,
            _ => node.failed += 1,
        }
    }

    /// Settles every task of a node that is not settled, the node itself where it has none.
    pub(super) fn settle_all(&mut self, node: usize, state: TaskState, reason: &str) {
        if self.nodes[node].tasks_left == 0 {
            self.count(node, state);
            return self.settled_nodes.push_back(node);
        }
        for at in 0..self.nodes[node].tasks.len() {
            let task = self.nodes[node].tasks[at];
            if self.tasks[task].phase == Phase::Closed {
                self.give_up(task, state, reason.to_owned());
            }
        }
    }

    /// Opens a node whose needs are settled, or settles it because of what became of them.
    pub(super) fn open(&mut self, node: usize) {
        if self.nodes[node].tasks_left == 0 && !self.layout.nodes[node].expands {
            return self.settled_nodes.push_back(node);
        }
        if let Some((state, reason)) = self.obstacle(node) {
            return self.settle_all(node, state, &reason);
        }
        self.out.push(Command::Open { node });
    }

    /// Why a node cannot open, where what it needs did not turn out well.
    fn obstacle(&self, node: usize) -> Option<(TaskState, String)> {
        if self.stopping.is_some() || self.draining {
            return Some((TaskState::Cancelled, "the run was stopped".to_owned()));
        }
        self.layout.nodes[node].needs.iter().find_map(|&(need, kind)| {
            let label = &self.layout.nodes[need].label;
            let forgiven = self.layout.nodes[need].continue_on_error;
            match (self.nodes[need].outcome?, kind) {
                (Outcome::Present, _) | (_, NeedKind::Data { optional: true }) => None,
                (Outcome::Skipped, NeedKind::Order) => None,
                (Outcome::Skipped, NeedKind::Data { .. }) => Some(format!("needs `{label}`, which was skipped")),
                (Outcome::Failed, NeedKind::Order) if forgiven => None,
                (Outcome::Failed, _) => Some(format!("needs `{label}`, which failed")),
            }
            .map(|reason| (TaskState::Skipped, reason))
        })
    }

    /// Follows settled nodes to those that wait for them, with a queue instead of recursion.
    pub(super) fn settle_nodes(&mut self) {
        while let Some(node) = self.settled_nodes.pop_front() {
            if self.nodes[node].outcome.is_some() {
                continue;
            }
            self.nodes[node].outcome = Some(self.outcome(node));
            self.nodes_left -= 1;
            for at in 0..self.layout.nodes[node].dependents.len() {
                let dependent = self.layout.nodes[node].dependents[at];
                self.nodes[dependent].needs_left -= 1;
                if self.nodes[dependent].needs_left == 0 {
                    self.open(dependent);
                }
            }
        }
    }

    fn outcome(&self, node: usize) -> Outcome {
        let now = &self.nodes[node];
        let enough = self.layout.nodes[node].min_success.is_some_and(|least| now.succeeded >= least);
        let some_of_forgiven = self.layout.nodes[node].continue_on_error && now.succeeded > 0;
        if now.failed + now.cancelled > 0 && !enough && !some_of_forgiven {
            Outcome::Failed
        } else if now.skipped > 0 && now.succeeded == 0 {
            Outcome::Skipped
        } else {
            Outcome::Present
        }
    }

    /// Notes a failure that counts. A step that may fail is none; one whose other cells may still suffice is judged at
    /// the end.
    pub(super) fn fail_hard(&mut self, node: usize, reason: String) {
        let node = &self.layout.nodes[node];
        if node.continue_on_error || node.min_success.is_some() {
            return;
        }
        if self.failed_hard.is_none() {
            self.failed_hard = Some(reason);
        }
        if self.policy.fail_fast && !self.draining {
            self.draining = true;
            self.cancel_unstarted();
        }
    }

    pub(super) fn cancel_unstarted(&mut self) {
        let reason = || Some("the run was stopped".to_owned());
        self.timers.clear();
        self.wanted.clear();
        self.assigned.clear();
        for task in 0..self.tasks.len() {
            match self.tasks[task].phase {
                Phase::Assigned => self.finish(task, TaskState::Cancelled, reason()),
                Phase::Wanted | Phase::Held | Phase::Resting => self.settle(task, TaskState::Cancelled, reason()),
                _ => {}
            }
        }
    }

    pub(super) fn cancel_if_stopped(&mut self, task: usize) -> bool {
        let stopped = self.stopping.is_some() || self.draining;
        if stopped {
            self.settle(task, TaskState::Cancelled, Some("the run was stopped".to_owned()));
        }
        stopped
    }

    pub(super) fn end_if_done(&mut self) {
        if self.nodes_left > 0 || self.ended {
            return;
        }
        self.ended = true;
        let too_few = (0..self.nodes.len()).find(|&node| {
            let layout = &self.layout.nodes[node];
            layout.min_success.is_some()
                && !layout.continue_on_error
                && self.nodes[node].outcome == Some(Outcome::Failed)
        });
        let reason = self.failed_hard.take().or_else(|| {
            too_few.map(|node| {
                let (layout, now) = (&self.layout.nodes[node], &self.nodes[node]);
                format!("`{}` succeeded in {} of its cells, fewer than min_success", layout.label, now.succeeded)
            })
        });
        // Tasks are also given up after a first failure. In an earlier part of the run, which of the two it was is told by
        // whether there is a failure.
        let asked = self.stopping.is_some() || (self.was_cut_short && reason.is_none());
        let cut_short = asked && self.nodes.iter().any(|node| node.cancelled > 0);
        let (state, reason) = match (cut_short, reason) {
            (true, _) => (RunState::Cancelled, Some("somebody asked for its end".to_owned())),
            (false, Some(reason)) => (RunState::Failed, Some(reason)),
            (false, None) => (RunState::Succeeded, None),
        };
        self.out.push(Command::End { state, reason });
    }
}
