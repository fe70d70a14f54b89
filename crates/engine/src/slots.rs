//! What all runs of this process may take of the machine together.
//!
//! Each run's machine bounds its own tasks; where several runs share a process, their tasks stand in one line here:
//! larger priority first, then the run that holds less, then who came first. A slot is given back when its holder drops
//! it, so that none can leak.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runstone_core::machine::Limits;
use runstone_core::record::RunId;

/// What a task takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) run: RunId,
    pub(crate) priority: i32,
    pub(crate) cpu_milli: u64,
    pub(crate) mem: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Shared>);

struct Shared {
    limits: Limits,
    state: Mutex<State>,
}

type Grant = Box<dyn FnOnce(Slot) + Send>;

#[derive(Default)]
struct State {
    taken: u32,
    cpu_milli: u64,
    mem: u64,
    held: HashMap<RunId, u32>,
    line: Vec<(u64, Demand, Grant)>,
    last: u64,
    /// Somebody serves the line at the moment, and goes on until nobody fits.
    serving: bool,
}

/// A part of the machine, given back when dropped.
pub(crate) struct Slot {
    slots: Slots,
    demand: Demand,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slot").field(&self.demand).finish()
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slots").field(&self.0.limits).finish()
    }
}

impl Slots {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot, where one is free and nobody waits.
    pub(crate) fn try_take(&self, demand: Demand) -> Option<Slot> {
        let mut state = self.state();
        let free = state.line.is_empty() && state.fits(&demand, &self.0.limits);
        free.then(|| self.give(&mut state, demand))
    }

    /// Calls `grant` with a slot, now or when it is its turn, on whichever thread gives one back. A grant that lets its
    /// slot go again at once, because nobody wants it any more, harms nobody.
    pub(crate) fn wait(&self, demand: Demand, grant: impl FnOnce(Slot) + Send + 'static) {
        let mut state = self.state();
        state.last += 1;
        let turn = state.last;
        state.line.push((turn, demand, Box::new(grant)));
        drop(state);
        self.serve();
    }

    /// A slot for what is running already, whatever the limits say.
    pub(crate) fn take_anyway(&self, demand: Demand) -> Slot {
        self.give(&mut self.state(), demand)
    }

    fn give(&self, state: &mut State, demand: Demand) -> Slot {
        state.taken += 1;
        state.cpu_milli += demand.cpu_milli;
        state.mem += demand.mem;
        *state.held.entry(demand.run).or_default() += 1;
        Slot { slots: self.clone(), demand }
    }

    /// Serves the line from its head for as long as the head fits. Grants are called without the lock, because they may
    /// give their slots back at once; whoever does so leaves the rest to the one that serves already.
    fn serve(&self) {
        if std::mem::replace(&mut self.state().serving, true) {
            return;
        }
        loop {
            let mut state = self.state();
            let head = (0..state.line.len()).min_by_key(|&at| {
                let (turn, demand, _) = &state.line[at];
                (Reverse(demand.priority), state.held.get(&demand.run).copied().unwrap_or(0), *turn)
            });
            let Some(head) = head.filter(|&at| state.fits(&state.line[at].1, &self.0.limits)) else {
                state.serving = false;
                return;
            };
            let (_, demand, grant) = state.line.swap_remove(head);
            let slot = self.give(&mut state, demand);
            drop(state);
            grant(slot);
        }
    }
}

impl State {
    /// A task that asks for more than there is runs alone.
    fn fits(&self, demand: &Demand, limits: &Limits) -> bool {
        self.taken == 0
            || (self.taken < limits.jobs
                && self.cpu_milli + demand.cpu_milli <= limits.cpu_milli
                && self.mem + demand.mem <= limits.mem)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.taken -= 1;
        state.cpu_milli -= self.demand.cpu_milli;
        state.mem -= self.demand.mem;
        if let Some(held) = state.held.get_mut(&self.demand.run) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.demand.run);
            }
        }
        drop(state);
        self.slots.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use uuid::Uuid;

    fn demand(run: u128, priority: i32) -> Demand {
        Demand { run: RunId(Uuid::from_u128(run)), priority, cpu_milli: 1000, mem: 0 }
    }

    #[test]
    fn the_line_goes_by_priority_then_by_who_holds_less_then_by_age() {
        let slots = Slots::new(Limits { jobs: 2, cpu_milli: 2000, mem: 10, ahead: 1 });
        let (first, second) = (slots.try_take(demand(1, 0)).unwrap(), slots.try_take(demand(2, 0)).unwrap());
        assert!(slots.try_take(demand(3, 0)).is_none());
        let (told, hears) = channel();
        for (name, run, priority) in [("again", 1, 0), ("other", 3, 0), ("urgent", 1, 5), ("later", 3, 0)] {
            let told = told.clone();
            slots.wait(demand(run, priority), move |slot| told.send((name, slot)).unwrap());
        }
        drop(second);
        let (name, urgent) = hears.recv().unwrap();
        assert_eq!(name, "urgent");
        drop(first);
        let (name, other) = hears.recv().unwrap();
        assert_eq!(name, "other", "run 1 holds one already, run 3 nothing");
        drop(urgent);
        let (name, _again) = hears.recv().unwrap();
        assert_eq!(name, "again", "run 3 holds one by now");
        drop(other);
        assert_eq!(hears.recv().unwrap().0, "later");
    }

    #[test]
    fn a_grant_that_is_not_wanted_goes_on_to_the_next() {
        let slots = Slots::new(Limits { jobs: 1, cpu_milli: 1000, mem: 10, ahead: 1 });
        let taken = slots.try_take(demand(1, 0)).unwrap();
        let (told, hears) = channel();
        slots.wait(demand(2, 0), drop);
        slots.wait(demand(3, 0), move |slot| told.send(slot).unwrap());
        drop(taken);
        drop(hears.recv().unwrap());
        assert!(slots.try_take(demand(4, 0)).is_some());
    }

    #[test]
    fn what_asks_for_more_than_there_is_runs_alone() {
        let slots = Slots::new(Limits { jobs: 4, cpu_milli: 4000, mem: 10, ahead: 1 });
        let huge = Demand { mem: 99, ..demand(1, 0) };
        let small = slots.try_take(demand(2, 0)).unwrap();
        assert!(slots.try_take(huge).is_none());
        drop(small);
        let _huge = slots.try_take(huge).unwrap();
        assert!(slots.try_take(Demand { mem: 1, ..demand(3, 0) }).is_none());
    }
}
