//! Whose turn it is: attempts become ready when all that they need are done, and threads take them in the order of ids.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use runstone_core::record::NodeId;

/// See the module. Shared by the threads.
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// How many needs of an attempt are not done yet.
    open: HashMap<NodeId, usize>,
    readers: HashMap<NodeId, Vec<NodeId>>,
    ready: BTreeSet<NodeId>,
    under_way: usize,
    over: bool,
}

impl Turns {
    /// The turns of these attempts, each with those it needs, which are among them.
    pub(super) fn new<'a>(needs: impl Iterator<Item = (NodeId, &'a BTreeSet<NodeId>)>) -> Self {
        let mut state =
            State { open: HashMap::new(), readers: HashMap::new(), ready: BTreeSet::new(), under_way: 0, over: false };
        for (attempt, needed) in needs {
            for need in needed {
                state.readers.entry(*need).or_default().push(attempt);
            }
            if needed.is_empty() {
                state.ready.insert(attempt);
            } else {
                state.open.insert(attempt, needed.len());
            }
        }
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next attempt, as soon as there is one; none at the end.
    pub(super) fn next(&self) -> Option<Turn<'_>> {
        let mut state = self.state();
        loop {
            if state.over || (state.ready.is_empty() && state.under_way == 0) {
                return None;
            }
            if let Some(attempt) = state.ready.pop_first() {
                state.under_way += 1;
                return Some(Turn { turns: self, attempt });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody gets a turn any more.
    pub(super) fn stop(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }
}

/// An attempt that a thread is at; done when dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    pub(super) attempt: NodeId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.under_way -= 1;
        // Who needs what a panic left undone must not wait for it.
        state.over |= std::thread::panicking();
        for reader in state.readers.remove(&self.attempt).unwrap_or_default() {
            let open = state.open.entry(reader).or_default();
            *open -= 1;
            if *open == 0 {
                state.ready.insert(reader);
            }
        }
        drop(state);
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_needs_another_has_its_turn_behind_it() {
        let needs = |ids: &[i64]| -> BTreeSet<NodeId> { ids.iter().copied().map(NodeId).collect() };
        let all =
            [(NodeId(1), needs(&[])), (NodeId(3), needs(&[1])), (NodeId(2), needs(&[])), (NodeId(5), needs(&[2, 3]))];
        let turns = Turns::new(all.iter().map(|(id, needs)| (*id, needs)));
        let (first, second) = (turns.next().unwrap(), turns.next().unwrap());
        assert_eq!((first.attempt, second.attempt), (NodeId(1), NodeId(2)));
        let (told, hears) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(turn) = turns.next() {
                    told.send(turn.attempt).unwrap();
                }
                told.send(NodeId(0)).unwrap();
            });
            drop(first);
            assert_eq!(hears.recv().unwrap(), NodeId(3));
            drop(second);
            assert_eq!(hears.recv().unwrap(), NodeId(5));
            assert_eq!(hears.recv().unwrap(), NodeId(0), "all are done");
        });
    }

    #[test]
    fn nobody_waits_for_what_will_not_be_done() {
        let one = BTreeSet::from([NodeId(1)]);
        let none = BTreeSet::new();
        let all = [(NodeId(1), &none), (NodeId(2), &one)];
        let turns = Turns::new(all.into_iter());
        let turn = turns.next().unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.next().is_none());
            let panics = scope.spawn(move || {
                let _turn = turn;
                std::panic::resume_unwind(Box::new(()));
            });
            assert!(panics.join().is_err() && waits.join().unwrap());
        });
        let turns = Turns::new(all.into_iter());
        turns.stop();
        assert!(turns.next().is_none());
    }
}
