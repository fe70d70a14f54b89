//! What may run at once: slots, pools, processor and memory. Derived from what is running, one change at a time.

use super::layout::Layout;

/// What a run may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processes at once.
    pub jobs: u32,
    /// Thousandths of a core, over all running tasks. A task that asks for more than all runs alone.
    pub cpu_milli: u64,
    /// Bytes, over all running tasks that say what they need. A task that asks for more than all runs alone.
    pub mem: u64,
    /// Attempts put on record ahead of their slots, for each class of tasks.
    pub ahead: u32,
}

impl Limits {
    /// Limits for so many jobs on a machine with so much memory. Asking for more jobs than cores means that: a task
    /// that does not say what it needs takes one of the jobs' shares.
    #[must_use]
    pub fn for_jobs(jobs: u32, mem: u64) -> Self {
        let jobs = jobs.max(1);
        Self { jobs, cpu_milli: u64::from(jobs) * 1000, mem, ahead: (jobs * 8).max(64) }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Budget {
    limits: Limits,
    jobs: u32,
    cpu_milli: u64,
    mem: u64,
    pools: Vec<(u32, u32)>,
    parallel: Vec<u32>,
    /// By node: tasks of one class compete for the same slots and are started in order.
    classes: Vec<usize>,
    /// By class: attempts on record or being recorded that have no slot yet.
    ahead: Vec<u32>,
    /// By class: whether its tasks hold slots of a pool of the whole project.
    shared: Vec<bool>,
}

impl Budget {
    pub(super) fn new(limits: Limits, layout: &Layout) -> Self {
        let mut next = layout.pools.len() + 1;
        let classes: Vec<usize> = layout
            .nodes
            .iter()
            .map(|node| {
                if node.max_parallel.is_some() || node.shared {
                    next += 1;
                    next - 1
                } else {
                    node.pool.map_or(0, |pool| pool + 1)
                }
            })
            .collect();
        let mut shared = vec![false; next];
        for (node, class) in layout.nodes.iter().zip(&classes) {
            shared[*class] |= node.shared;
        }
        Self {
            limits,
            jobs: 0,
            cpu_milli: 0,
            mem: 0,
            pools: layout.pools.iter().map(|slots| (0, *slots)).collect(),
            parallel: vec![0; layout.nodes.len()],
            classes,
            ahead: vec![0; next],
            shared,
        }
    }

    pub(super) fn class(&self, node: usize) -> usize {
        self.classes[node]
    }

    pub(super) fn may_assign(&self, class: usize) -> bool {
        // What holds slots of others from its record on is recorded only where it can start.
        let most = if self.shared[class] { self.limits.jobs.saturating_sub(self.jobs) } else { self.limits.ahead };
        self.ahead[class] < most
    }

    pub(super) fn count_ahead(&mut self, class: usize, by: i32) {
        self.ahead[class] = self.ahead[class].saturating_add_signed(by);
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.jobs < self.limits.jobs
    }

    pub(super) fn fits(&self, node: usize, layout: &Layout) -> bool {
        let demand = &layout.nodes[node];
        let alone = self.jobs == 0;
        self.has_free_slot()
            && (alone || self.cpu_milli + demand.cpu_milli <= self.limits.cpu_milli)
            && (alone || self.mem + demand.mem <= self.limits.mem)
            && demand.pool.is_none_or(|pool| self.pools[pool].0 + demand.slots <= self.pools[pool].1)
            && demand.max_parallel.is_none_or(|most| self.parallel[node] < most)
    }

    pub(super) fn take(&mut self, node: usize, layout: &Layout) {
        let demand = &layout.nodes[node];
        self.jobs += 1;
        self.cpu_milli += demand.cpu_milli;
        self.mem += demand.mem;
        self.parallel[node] += 1;
        if let Some(pool) = demand.pool {
            self.pools[pool].0 += demand.slots;
        }
    }

    pub(super) fn give_back(&mut self, node: usize, layout: &Layout) {
        let demand = &layout.nodes[node];
        self.jobs -= 1;
        self.cpu_milli -= demand.cpu_milli;
        self.mem -= demand.mem;
        self.parallel[node] -= 1;
        if let Some(pool) = demand.pool {
            self.pools[pool].0 -= demand.slots;
        }
    }

    #[cfg(test)]
    pub(super) fn running(&self) -> u32 {
        self.jobs
    }
}
