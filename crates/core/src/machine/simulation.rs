//! Seeded simulation: random graphs, a random engine that answers in any order, and an oracle that watches every step.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::graph::NeedKind;
use crate::spec::model::Retry;

/// A small deterministic generator (SplitMix64, Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

fn node(label: String, needs: Vec<(usize, NeedKind)>, tasks: std::ops::Range<usize>) -> NodeLayout {
    NodeLayout {
        label: label.into(),
        needs,
        dependents: Vec::new(),
        tasks,
        expands: false,
        height: 1,
        native: false,
        continue_on_error: false,
        min_success: None,
        max_parallel: None,
        pool: None,
        cpu_milli: 1000,
        mem: 0,
        retry: Retry { max: 0, backoff: Duration::from_secs(1), ..Retry::none() },
    }
}

fn random_layout(dice: &mut Dice) -> Layout {
    let mut layout = Layout { pools: vec![1, 2], ..Layout::default() };
    for index in 0..=dice.roll(12) {
        let mut needs: Vec<(usize, NeedKind)> = Vec::new();
        for _ in 0..dice.roll(3).min(index) {
            let kind = match dice.roll(4) {
                0 => NeedKind::Order,
                1 => NeedKind::Data { optional: true },
                _ => NeedKind::Data { optional: false },
            };
            needs.push((dice.roll(index), kind));
        }
        let first = layout.tasks.len();
        let expands = dice.roll(6) == 0;
        let count = if expands { 0 } else { 1 + dice.roll(4) };
        for _ in 0..count {
            layout.tasks.push(TaskLayout { node: index, prior: Prior::Open { attempts: 0 } });
        }
        let mut node = node(format!("n{index}"), needs, first..first + count);
        node.expands = expands;
        node.continue_on_error = dice.roll(5) == 0;
        node.min_success = (dice.roll(5) == 0).then_some(1);
        node.max_parallel = (dice.roll(4) == 0).then_some(1);
        node.pool = (dice.roll(3) == 0).then(|| dice.roll(2));
        node.cpu_milli = 500 * (1 + dice.roll(6) as u64);
        node.retry.max = u32::try_from(dice.roll(3)).unwrap();
        layout.nodes.push(node);
    }
    for index in 0..layout.nodes.len() {
        let needs: HashSet<usize> = layout.nodes[index].needs.iter().map(|(need, _)| *need).collect();
        for need in needs {
            layout.nodes[need].dependents.push(index);
        }
    }
    layout
}

/// What the oracle knows about a task.
#[derive(Clone, Default)]
struct Seen {
    assigned: u32,
    live: bool,
    on_record: bool,
    settled: Option<TaskState>,
}

struct World {
    machine: Machine,
    dice: Dice,
    now: Timestamp,
    pending: Vec<Input>,
    running: HashSet<usize>,
    /// What is told after the exit of a process.
    outcomes: HashMap<usize, Option<Failure>>,
    seen: Vec<Seen>,
    ended: Option<RunState>,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let layout = random_layout(&mut dice);
        let limits = Limits { jobs: 1 + u32::try_from(dice.roll(4)).unwrap(), cpu_milli: 3000, mem: 0, ahead: 3 };
        let policy = Policy { fail_fast: dice.roll(4) == 0, seed };
        let seen = vec![Seen::default(); layout.tasks.len()];
        let machine = Machine::new(layout, limits, policy);
        Self {
            machine,
            dice,
            now: Timestamp(0),
            pending: vec![Input::Begin],
            running: HashSet::new(),
            outcomes: HashMap::new(),
            seen,
            ended: None,
            log: Vec::new(),
        }
    }

    /// Runs until nothing is pending; `stop_at` sends a stop after so many inputs.
    fn run(mut self, stop_at: Option<usize>) -> Self {
        for count in 0.. {
            if stop_at == Some(count) {
                let how = if self.dice.roll(2) == 0 { Stop::Gracefully } else { Stop::Now };
                self.feed(Input::Stop(how));
            }
            if self.pending.is_empty() {
                break;
            }
            let at = self.dice.roll(self.pending.len());
            let input = self.pending.swap_remove(at);
            self.feed(input);
            assert!(count < 10_000, "the run does not end");
        }
        self
    }

    fn feed(&mut self, input: Input) {
        self.log.push(format!("{input:?}"));
        if let Input::Exited { task } | Input::Ended { task, .. } = input {
            self.running.remove(&task);
            if let Some(failure) = self.outcomes.remove(&task) {
                self.pending.push(Input::Ended { task, failure });
            }
        }
        if let Input::Held { task } | Input::Looked { task, answer: Answer::Held } = input {
            self.pending.push(Input::Released { task });
        }
        if let Input::Opened { verdict: Verdict::Expand(priors), .. } = &input {
            self.seen.resize(self.seen.len() + priors.len(), Seen::default());
        }
        if input == Input::Tick {
            self.now = self.now.plus_micros(3_600_000_000);
        }
        let commands = self.machine.step(input, self.now);
        for command in commands {
            self.log.push(format!("  {command:?}"));
            self.obey(command);
        }
        let limits = self.machine.budget.running();
        assert!(u32::try_from(self.running.len()).unwrap() <= limits, "slots are counted");
    }

    fn obey(&mut self, command: Command) {
        assert!(self.ended.is_none(), "nothing follows the end");
        match command {
            Command::Open { node } => self.on_open(node),
            Command::Look { task } => {
                assert!(self.seen[task].settled.is_none());
                let answer = match self.dice.roll(5) {
                    0 => Answer::Hit,
                    1 => Answer::Held,
                    _ => Answer::Miss,
                };
                self.pending.push(Input::Looked { task, answer });
            }
            Command::Assign { task, number } => {
                let seen = &mut self.seen[task];
                assert!(!seen.on_record, "one attempt at a time");
                assert_eq!(number, seen.assigned + 1, "attempts are numbered in a row");
                if self.dice.roll(6) == 0 {
                    self.pending.push(Input::Held { task });
                } else {
                    seen.assigned = number;
                    seen.on_record = true;
                    self.pending.push(Input::Assigned { task });
                }
            }
            Command::Spawn { task } => self.on_spawn(task),
            Command::Kill { task, .. } => assert!(self.running.contains(&task) || self.seen[task].live),
            Command::Finish { task, next, .. } => {
                let seen = &mut self.seen[task];
                assert!(seen.on_record, "only what is on record ends");
                seen.on_record = false;
                seen.live = false;
                if next.is_terminal() {
                    assert_eq!(seen.settled.replace(next), None, "settled once");
                }
            }
            Command::Publish { .. } => unreachable!("no answer of this world produces"),
            Command::Settle { task, state, .. } => {
                assert!(!self.seen[task].on_record, "an attempt on record must be ended, not skipped over");
                assert_eq!(self.seen[task].settled.replace(state), None, "settled once");
            }
            Command::Wake { .. } => self.pending.push(Input::Tick),
            Command::End { state, .. } => self.ended = Some(state),
        }
    }

    fn on_open(&mut self, node: usize) {
        for (need, _) in &self.machine.layout.nodes[node].needs {
            for task in self.machine.tasks_of(*need) {
                assert!(self.seen[*task].settled.is_some(), "a node opens after what it needs");
            }
        }
        let verdict = match self.dice.roll(8) {
            0 => Verdict::Skip("condition".into()),
            1 => Verdict::Fail("condition".into()),
            _ if self.machine.layout.nodes[node].expands => {
                Verdict::Expand(vec![Prior::Open { attempts: 0 }; self.dice.roll(4)])
            }
            _ => Verdict::Go,
        };
        self.pending.push(Input::Opened { node, verdict });
    }

    fn on_spawn(&mut self, task: usize) {
        let seen = &mut self.seen[task];
        assert!(seen.on_record && !seen.live, "intent before effect, once");
        seen.live = true;
        self.running.insert(task);
        let node = self.machine.tasks[task].node;
        let layout = &self.machine.layout.nodes[node];
        let same = |other: &&usize| self.machine.tasks[**other].node == node;
        assert!(layout.max_parallel.is_none_or(|most| self.running.iter().filter(same).count() <= most as usize));
        let pool_of = |task: &usize| self.machine.layout.nodes[self.machine.tasks[*task].node].pool;
        if let Some(pool) = layout.pool {
            let used = self.running.iter().filter(|other| pool_of(other) == Some(pool)).count();
            assert!(used <= self.machine.layout.pools[pool] as usize, "pool {pool} holds {used}");
        }
        let failure = match self.dice.roll(4) {
            0 => Some(Failure { cause: Cause::Exit, exit_code: Some(1), message: "exit 1".into() }),
            1 if self.machine.stopping.is_some() => {
                Some(Failure { cause: Cause::Cancelled, exit_code: None, message: "stopped".into() })
            }
            _ => None,
        };
        if self.dice.roll(3) == 0 {
            self.pending.push(Input::Ended { task, failure });
        } else {
            self.outcomes.insert(task, failure);
            self.pending.push(Input::Exited { task });
        }
    }
}

fn check(seed: u64, stop_at: Option<usize>) -> Vec<String> {
    let world = World::new(seed).run(stop_at);
    let log = world.log.join("\n");
    assert!(world.ended.is_some(), "seed {seed}: the run has no end\n{log}");
    for (task, seen) in world.seen.iter().enumerate() {
        assert!(seen.settled.is_some(), "seed {seed}: task {task} is not settled\n{log}");
        assert!(!seen.on_record, "seed {seed}: task {task} has an open attempt\n{log}");
    }
    let failed = world.seen.iter().any(|seen| seen.settled == Some(TaskState::Failed));
    if !failed && stop_at.is_none() {
        assert_ne!(world.ended, Some(RunState::Cancelled), "seed {seed}\n{log}");
    }
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_run_ends_with_every_task_settled_once(seed: u64) {
        check(seed, None);
    }

    #[test]
    fn a_stop_at_any_moment_ends_the_run(seed: u64, stop_at in 0usize..60) {
        check(seed, Some(stop_at));
    }

    #[test]
    fn the_same_seed_gives_the_same_trace(seed: u64) {
        prop_assert_eq!(check(seed, None), check(seed, None));
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_needs_no_deep_stack() {
    let count = 100_000_usize;
    let mut layout = Layout::default();
    for index in 0..count {
        let needs = index.checked_sub(1).map(|need| (need, NeedKind::Data { optional: false })).into_iter().collect();
        let mut node = node(format!("n{index}"), needs, index..index + 1);
        node.dependents = (index + 1 < count).then_some(index + 1).into_iter().collect();
        layout.nodes.push(node);
        layout.tasks.push(TaskLayout { node: index, prior: Prior::Open { attempts: 0 } });
    }
    let run = move || {
        let mut machine = Machine::new(layout, Limits::for_jobs(4, 0), Policy::default());
        let commands = machine.step(Input::Begin, Timestamp(0));
        assert_eq!(commands, [Command::Open { node: 0 }]);
        let verdict = Verdict::Fail("no value".into());
        let commands = machine.step(Input::Opened { node: 0, verdict }, Timestamp(0));
        assert_eq!(commands.len(), count + 1, "every task is settled, then the run ends");
        assert!(machine.is_over());
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}
