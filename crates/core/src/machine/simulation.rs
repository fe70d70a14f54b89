//! Seeded simulation: random graphs, a random engine that answers in any order, is killed and taken over at any moment,
//! and an oracle that watches every step.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::graph::NeedKind;
use crate::spec::model::Retry;

/// A small deterministic generator (`SplitMix64`, Steele, Lea, Flood 2014).
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

fn node(label: String, needs: Vec<(usize, NeedKind)>) -> NodeLayout {
    NodeLayout {
        label: label.into(),
        needs,
        dependents: Vec::new(),
        expands: false,
        height: 1,
        native: false,
        continue_on_error: false,
        min_success: None,
        max_parallel: None,
        pool: None,
        slots: 1,
        shared: false,
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
        let expands = dice.roll(6) == 0;
        let count = if expands { 0 } else { 1 + dice.roll(4) };
        for _ in 0..count {
            layout.tasks.push(TaskLayout { node: index, prior: Prior::Open { attempts: 0 } });
        }
        let mut node = node(format!("n{index}"), needs);
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

/// What is on record of a task, and what the oracle knows about it.
#[derive(Clone)]
struct Seen {
    node: usize,
    assigned: u32,
    live: bool,
    on_record: bool,
    settled: Option<TaskState>,
    succeeded_once: bool,
}

impl Seen {
    fn new(node: usize) -> Self {
        Self { node, assigned: 0, live: false, on_record: false, settled: None, succeeded_once: false }
    }

    /// What whoever takes the run over finds.
    fn prior(&self) -> Prior {
        match (self.settled, self.on_record) {
            (Some(state), _) => Prior::Settled(state),
            (None, true) => Prior::Live { number: self.assigned, spawned: self.live },
            (None, false) => Prior::Open { attempts: self.assigned },
        }
    }
}

struct World {
    machine: Machine,
    /// Of the run, without what is on record of it.
    layout: Layout,
    limits: Limits,
    policy: Policy,
    dice: Dice,
    now: Timestamp,
    pending: Vec<Input>,
    running: HashSet<usize>,
    /// The journal: how each process that is not settled ended, or will.
    outcomes: HashMap<usize, Option<Failure>>,
    seen: Vec<Seen>,
    /// Nodes whose items are on record.
    expanded: HashSet<usize>,
    ended: Option<RunState>,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let layout = random_layout(&mut dice);
        let limits = Limits { jobs: 1 + u32::try_from(dice.roll(4)).unwrap(), cpu_milli: 3000, mem: 0, ahead: 3 };
        let policy = Policy { fail_fast: dice.roll(4) == 0, seed };
        Self {
            machine: Machine::new(layout.clone(), limits, policy),
            seen: layout.tasks.iter().map(|task| Seen::new(task.node)).collect(),
            layout,
            limits,
            policy,
            dice,
            now: Timestamp(0),
            pending: vec![Input::Begin],
            running: HashSet::new(),
            outcomes: HashMap::new(),
            expanded: HashSet::new(),
            ended: None,
            log: Vec::new(),
        }
    }

    /// Runs until nothing is pending; `stop_at` sends a stop after so many inputs, `crash_at` kills the engine.
    fn run(mut self, stop_at: Option<usize>, crash_at: Option<usize>) -> Self {
        for count in 0.. {
            if stop_at == Some(count) {
                let how = if self.dice.roll(2) == 0 { Stop::Gracefully } else { Stop::Now };
                self.feed(Input::Stop(how), usize::MAX);
            }
            if self.pending.is_empty() {
                break;
            }
            let at = self.dice.roll(self.pending.len());
            let input = self.pending.swap_remove(at);
            if crash_at == Some(count) {
                // What of the batch was not durable yet did not happen.
                let durable = self.dice.roll(3);
                self.feed(input, durable);
                self.take_over();
            } else {
                self.feed(input, usize::MAX);
            }
            assert!(count < 10_000, "the run does not end");
        }
        self
    }

    /// Somebody else goes on with the run: from what is on record, with the processes that are there.
    fn take_over(&mut self) {
        self.log.push("  killed and taken over".to_owned());
        if self.ended == Some(RunState::Succeeded) {
            return;
        }
        if self.ended.take().is_some() {
            for seen in &mut self.seen {
                if matches!(seen.settled, Some(TaskState::Failed | TaskState::Skipped | TaskState::Cancelled)) {
                    seen.settled = None;
                }
            }
        }
        let mut layout = self.layout.clone();
        layout.tasks = self.seen.iter().map(|seen| TaskLayout { node: seen.node, prior: seen.prior() }).collect();
        self.machine = Machine::new(layout, self.limits, self.policy);
        self.pending.clear();
        self.feed(Input::Begin, usize::MAX);
        let live: Vec<usize> = (0..self.seen.len()).filter(|&task| self.seen[task].live).collect();
        for task in live {
            let failure = self.outcomes[&task].clone();
            self.pending.push(Input::Ended { task, failure });
        }
    }

    /// Gives the machine an input and carries out the first commands it answers with.
    fn feed(&mut self, input: Input, first: usize) {
        self.log.push(format!("{input:?}"));
        if let Input::Exited { task } | Input::Ended { task, .. } = input {
            self.running.remove(&task);
            if let (Input::Exited { .. }, Some(failure)) = (&input, self.outcomes.get(&task)) {
                self.pending.push(Input::Ended { task, failure: failure.clone() });
            }
        }
        if let Input::Held { task } | Input::Looked { task, answer: Answer::Held } = input {
            self.pending.push(Input::Released { task });
        }
        let mut new = Vec::new();
        if let Input::Opened { node, verdict: Verdict::Expand(priors) } = &input {
            new = vec![Seen::new(*node); priors.len()];
            self.expanded.extend((!new.is_empty()).then_some(node));
        }
        self.seen.append(&mut new);
        if input == Input::Tick {
            self.now = self.now.plus_micros(3_600_000_000);
        }
        let commands = self.machine.step(input, self.now);
        for command in commands.into_iter().take(first) {
            self.log.push(format!("  {command:?}"));
            self.obey(&command);
        }
        if first == usize::MAX {
            let taken = self.machine.budget.running();
            assert!(u32::try_from(self.running.len()).unwrap() <= taken, "slots are counted");
        }
    }

    fn obey(&mut self, command: &Command) {
        assert!(self.ended.is_none(), "nothing follows the end");
        match *command {
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
                assert!(!seen.on_record && seen.settled.is_none(), "one attempt at a time");
                assert_eq!(number, seen.assigned + 1, "attempts are numbered in a row");
                if self.dice.roll(6) == 0 {
                    self.pending.push(Input::Held { task });
                } else {
                    seen.assigned = number;
                    seen.on_record = true;
                    let superseded = self.dice.roll(8) == 0;
                    self.pending.push(if superseded { Input::Superseded { task } } else { Input::Assigned { task } });
                }
            }
            Command::Spawn { task } => self.on_spawn(task),
            Command::Kill { task, .. } => assert!(self.running.contains(&task) || self.seen[task].live),
            Command::Finish { task, next, .. } => {
                let seen = &mut self.seen[task];
                assert!(seen.on_record, "only what is on record ends");
                if seen.live {
                    let failure = self.outcomes.remove(&task).expect("what was live has an outcome");
                    assert_eq!(failure.is_none(), next == TaskState::Succeeded, "an outcome is recorded as it was");
                    seen.succeeded_once |= failure.is_none();
                }
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
            Command::End { state, .. } => {
                assert!(self.seen.iter().all(|seen| seen.settled.is_some()), "a run ends after its tasks");
                self.ended = Some(state);
            }
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
            // What is on record is known, and nothing is added to it.
            _ if self.expanded.contains(&node) => Verdict::Expand(Vec::new()),
            _ if self.machine.layout.nodes[node].expands => {
                Verdict::Expand(vec![Prior::Open { attempts: 0 }; self.dice.roll(4)])
            }
            _ => Verdict::Go,
        };
        self.pending.push(Input::Opened { node, verdict });
    }

    fn on_spawn(&mut self, task: usize) {
        let seen = &mut self.seen[task];
        assert!(seen.on_record && !seen.live && !seen.succeeded_once, "intent before effect, once");
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
        self.outcomes.insert(task, failure.clone());
        if self.dice.roll(3) == 0 {
            self.pending.push(Input::Ended { task, failure });
        } else {
            self.pending.push(Input::Exited { task });
        }
    }

    /// Whether a task failed of which no failure is forgiven.
    fn has_hard_failure(&self) -> bool {
        self.seen.iter().any(|seen| {
            let node = &self.layout.nodes[seen.node];
            seen.settled == Some(TaskState::Failed) && !node.continue_on_error && node.min_success.is_none()
        })
    }
}

fn check(seed: u64, stop_at: Option<usize>, crash_at: Option<usize>) -> Vec<String> {
    let mut world = World::new(seed).run(stop_at, crash_at);
    let log = world.log.join("\n");
    let Some(end) = world.ended else { panic!("seed {seed}: the run has no end\n{log}") };
    for (task, seen) in world.seen.iter().enumerate() {
        assert!(seen.settled.is_some(), "seed {seed}: task {task} is not settled\n{log}");
        assert!(!seen.on_record, "seed {seed}: task {task} has an open attempt\n{log}");
    }
    let any = |state| world.seen.iter().any(|seen| seen.settled == Some(state));
    // Of a node without tasks that failed nothing is on record: whoever takes over sees only what was given up for it.
    let forgotten = crash_at.is_some() && world.layout.nodes.iter().any(|node| node.expands);
    if !any(TaskState::Failed) && stop_at.is_none() && !forgotten {
        assert_ne!(end, RunState::Cancelled, "seed {seed}\n{log}");
    }
    if world.has_hard_failure() || any(TaskState::Cancelled) {
        assert_ne!(end, RunState::Succeeded, "seed {seed}\n{log}");
    }
    if end != RunState::Succeeded {
        // Going on with a run that failed or was stopped ends it again, whatever became of it.
        world.take_over();
        let again = world.run(None, None);
        assert!(again.ended.is_some(), "seed {seed}: the run that was taken up has no end\n{}", again.log.join("\n"));
        return again.log;
    }
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_run_ends_with_every_task_settled_once(seed: u64) {
        check(seed, None, None);
    }

    #[test]
    fn a_stop_at_any_moment_ends_the_run(seed: u64, stop_at in 0usize..60) {
        check(seed, Some(stop_at), None);
    }

    #[test]
    fn whoever_takes_a_run_over_ends_it_and_repeats_nothing(seed: u64, crash_at in 0usize..80) {
        check(seed, None, Some(crash_at));
    }

    #[test]
    fn a_run_that_is_stopped_and_taken_over_in_any_order_ends(seed: u64, stop_at in 0usize..60, crash_at in 0usize..80) {
        check(seed, Some(stop_at), Some(crash_at));
    }

    #[test]
    fn the_same_seed_gives_the_same_trace(seed: u64) {
        prop_assert_eq!(check(seed, None, Some(20)), check(seed, None, Some(20)));
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_needs_no_deep_stack() {
    let count = 100_000_usize;
    let mut layout = Layout::default();
    for index in 0..count {
        let needs = index.checked_sub(1).map(|need| (need, NeedKind::Data { optional: false })).into_iter().collect();
        let mut node = node(format!("n{index}"), needs);
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
