//! Cycles of steps, and the shortest ones that can be found without waiting. No recursion: a chain may be 10^5 long.

use std::collections::VecDeque;

use super::diagnostic::{Code, Diagnostic, shown};
use super::source::Span;

/// Step `to` waits for step `from`, as `span` says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) span: Span,
}

/// So many cycles are reported; breaking these shows the others.
const MOST_CYCLES: usize = 10;
/// So many steps of a long cycle are named.
const MOST_NAMED: usize = 8;
/// So many edges are looked at in search of a shorter cycle.
const MOST_LOOKS: usize = 2_000_000;

/// One error for each of the first cycles that share no step. `names` are the steps by index, as written.
pub(crate) fn find(names: &[&str], edges: &[Edge]) -> Vec<Diagnostic> {
    let mut graph = Graph::new(names.len(), edges);
    let mut errors = Vec::new();
    while errors.len() < MOST_CYCLES {
        graph.peel();
        let Some(cycle) = graph.any_cycle().map(|cycle| graph.shorter(cycle)) else { break };
        errors.push(report(names, edges, &cycle));
        for &edge in &cycle {
            graph.alive[edges[edge].to] = false;
        }
    }
    errors
}

/// Steps and the edges into them; steps that are on no cycle are not alive.
struct Graph<'e> {
    edges: &'e [Edge],
    /// Edge indices by `to`: those of step `n` are `incoming[starts[n]..starts[n + 1]]`.
    incoming: Vec<usize>,
    starts: Vec<usize>,
    alive: Vec<bool>,
}

impl<'e> Graph<'e> {
    fn new(steps: usize, edges: &'e [Edge]) -> Self {
        let mut starts = vec![0; steps + 1];
        for edge in edges {
            starts[edge.to + 1] += 1;
        }
        for step in 0..steps {
            starts[step + 1] += starts[step];
        }
        let (mut next, mut incoming) = (starts.clone(), vec![0; edges.len()]);
        for (index, edge) in edges.iter().enumerate() {
            incoming[next[edge.to]] = index;
            next[edge.to] += 1;
        }
        Self { edges, incoming, starts, alive: vec![true; steps] }
    }

    fn into(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        let edges = &self.incoming[self.starts[step]..self.starts[step + 1]];
        edges.iter().copied().filter(|&edge| self.alive[self.edges[edge].from])
    }

    /// Kahn's algorithm: takes away every step that waits for nobody who is left. Whoever stays waits, at some remove,
    /// for a cycle, so that going back along any edges ends in one.
    fn peel(&mut self) {
        let mut waiting = vec![0usize; self.alive.len()];
        for edge in self.edges.iter().filter(|edge| self.alive[edge.from] && self.alive[edge.to]) {
            waiting[edge.to] += 1;
        }
        let mut outgoing: Vec<Vec<usize>> = vec![Vec::new(); self.alive.len()];
        for edge in self.edges.iter().filter(|edge| self.alive[edge.from] && self.alive[edge.to]) {
            outgoing[edge.from].push(edge.to);
        }
        let mut free: Vec<usize> = (0..waiting.len()).filter(|&step| self.alive[step] && waiting[step] == 0).collect();
        while let Some(step) = free.pop() {
            self.alive[step] = false;
            for &next in &outgoing[step] {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    free.push(next);
                }
            }
        }
    }

    /// Walks back from any step that is left; after at most as many moves as there are steps one comes again.
    fn any_cycle(&self) -> Option<Vec<usize>> {
        let mut step = self.alive.iter().position(|&alive| alive)?;
        let mut place = vec![usize::MAX; self.alive.len()];
        let mut path = Vec::new();
        while place[step] == usize::MAX {
            place[step] = path.len();
            let edge = self.into(step).next()?;
            path.push(edge);
            step = self.edges[edge].from;
        }
        // The walk went against the edges.
        let mut cycle = path.split_off(place[step]);
        cycle.reverse();
        Some(cycle)
    }

    /// The shortest cycle through any step of `cycle`, as far as the budget goes.
    fn shorter(&self, cycle: Vec<usize>) -> Vec<usize> {
        let mut looks = MOST_LOOKS;
        let starts: Vec<_> = cycle.iter().map(|&edge| self.edges[edge].to).collect();
        let mut best = cycle;
        let mut via = vec![(usize::MAX, usize::MAX); self.alive.len()];
        for (round, start) in starts.into_iter().enumerate() {
            if let Some(found) = self.shortest_through(start, round, best.len(), &mut via, &mut looks) {
                best = found;
            }
            if looks == 0 {
                break;
            }
        }
        best
    }

    /// Breadth first against the edges from `start` back to it, in less than `limit` moves. `via` holds, for each step
    /// reached in this `round`, the edge that leads on towards `start`.
    fn shortest_through(
        &self,
        start: usize,
        round: usize,
        limit: usize,
        via: &mut [(usize, usize)],
        looks: &mut usize,
    ) -> Option<Vec<usize>> {
        let mut queue = VecDeque::from([(start, 1)]);
        while let Some((step, moves)) = queue.pop_front() {
            if moves >= limit {
                return None;
            }
            for edge in self.into(step) {
                *looks = looks.checked_sub(1)?;
                let from = self.edges[edge].from;
                if from == start {
                    let (mut cycle, mut at) = (vec![edge], step);
                    while at != start {
                        cycle.push(via[at].1);
                        at = self.edges[via[at].1].to;
                    }
                    return Some(cycle);
                }
                if via[from].0 != round {
                    via[from] = (round, edge);
                    queue.push_back((from, moves + 1));
                }
            }
        }
        None
    }
}

fn report(names: &[&str], edges: &[Edge], cycle: &[usize]) -> Diagnostic {
    let step = |edge: &usize| names[edges[*edge].from];
    let first = edges[cycle[0]];
    if cycle.len() == 1 {
        let message = format!("step {} waits for itself", shown(names[first.from]));
        return Diagnostic::error(Code::Cycle, first.span, message);
    }
    let mut path: Vec<String> = cycle.iter().take(MOST_NAMED).map(|edge| shown(step(edge))).collect();
    if cycle.len() > MOST_NAMED {
        path.push(format!("… {} more …", cycle.len() - MOST_NAMED));
    }
    path.push(shown(step(&cycle[0])));
    let mut error =
        Diagnostic::error(Code::Cycle, first.span, format!("steps wait for each other: {}", path.join(" → ")))
            .label(format!("{} waits for {}", shown(names[first.to]), shown(names[first.from])));
    for edge in cycle.iter().skip(1).take(MOST_NAMED - 1).map(|&edge| edges[edge]) {
        error = error.also(edge.span, format!("{} waits for {}", shown(names[edge.to]), shown(names[edge.from])));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(steps: usize, edges: &[(usize, usize)]) -> Vec<String> {
        let names: Vec<String> = (0..steps).map(|step| format!("s{step}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let edges: Vec<_> = edges.iter().map(|&(from, to)| Edge { from, to, span: Span::new(0, 0, 0) }).collect();
        find(&names, &edges).into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn a_graph_without_cycles_has_none() {
        assert!(messages(4, &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]).is_empty());
    }

    #[test]
    fn the_shortest_cycle_is_shown() {
        // 0 → 1 → 2 → 3 → 0 with a short cut from 2 to 0, and a tail that is on no cycle.
        let found = messages(6, &[(0, 1), (1, 2), (2, 3), (3, 0), (2, 0), (3, 4), (4, 5)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].matches('→').count(), 3, "{found:?}");
    }

    #[test]
    fn separate_cycles_are_all_shown() {
        let found = messages(5, &[(0, 1), (1, 0), (2, 3), (3, 2), (4, 4)]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.contains(&"step `s4` waits for itself".to_owned()));
    }

    #[test]
    fn a_long_cycle_is_named_in_part() {
        let edges: Vec<_> = (0..100_000).map(|step| (step, (step + 1) % 100_000)).collect();
        let found = messages(100_000, &edges);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("… 99992 more …") && found[0].len() < 200, "{found:?}");
    }
}
