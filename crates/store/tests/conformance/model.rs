//! Random changes, valid and not, on two runs of one project, against a model of a few lines that says what must come
//! of each.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use runstone_core::hash::ContentHash;
use runstone_core::record::{NodeId, RunState, TaskState};
use runstone_core::store::{
    Applied, Change, NewMaterialization, NewTask, Reuse, ReuseNode, RunRef, SettleTask, StartAttempt, VersionRef,
};

use super::Backend;
use super::driver::{Driver, end_run, failure, fingerprint, finish, output, pin_node, pin_task, start, success, uuid};

/// What may be asked: small numbers, so that questions, tasks and bytes meet again and again.
#[derive(Debug, Clone)]
enum Ask {
    Start { task: u32, number: u32, asks: u8, claim: bool, reads_task: Option<u32>, reads: Option<u8> },
    Running { task: u32, number: u32 },
    Succeed { task: u32, number: u32, bytes: Option<u8>, tainted: bool },
    Fail { task: u32, number: u32, again: bool },
    Settle { task: u32, state: TaskState },
    Reuse { task: u32, source: u8, node: bool },
    AddTask { index: u32 },
    EndRun,
}

fn ask() -> impl Strategy<Value = Ask> {
    let task = || 0..4_u32;
    // Mostly what fits best, so that runs get somewhere: 0 is replaced by the number that is right.
    let number = || prop_oneof![6 => Just(0_u32), 1 => 1..4_u32];
    prop_oneof![
        4 => (task(), number(), 0..3_u8, any::<bool>(), prop::option::of(task()), prop::option::of(0..6_u8)).prop_map(
            |(task, number, asks, claim, reads_task, reads)| Ask::Start { task, number, asks, claim, reads_task, reads }
        ),
        1 => (task(), number()).prop_map(|(task, number)| Ask::Running { task, number }),
        4 => (task(), number(), prop::option::weighted(0.8, 0..3_u8), prop::bool::weighted(0.2))
            .prop_map(|(task, number, bytes, tainted)| Ask::Succeed { task, number, bytes, tainted }),
        2 => (task(), number(), any::<bool>()).prop_map(|(task, number, again)| Ask::Fail { task, number, again }),
        1 => (task(), prop::sample::select(vec![TaskState::Skipped, TaskState::Cancelled, TaskState::Failed]))
            .prop_map(|(task, state)| Ask::Settle { task, state }),
        2 => (task(), 0..6_u8, any::<bool>()).prop_map(|(task, source, node)| Ask::Reuse { task, source, node }),
        1 => (1..6_u32).prop_map(|index| Ask::AddTask { index }),
        1 => Just(Ask::EndRun),
    ]
}

/// Which run, whether it is taken over first (and reopened), and what is asked of it in one batch.
type Batch = (usize, Option<bool>, Vec<Ask>);

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let take_over = prop::option::weighted(0.15, any::<bool>());
    prop::collection::vec((0..2_usize, take_over, prop::collection::vec(ask(), 1..6)), 1..24)
}

#[derive(Debug, Clone, PartialEq)]
struct Task {
    state: TaskState,
    attempts: u32,
    attempt: Option<NodeId>,
}

#[derive(Debug)]
struct Run {
    state: RunState,
    tasks: Vec<Task>,
}

#[derive(Debug, Clone)]
struct Attempt {
    asks: u8,
    live: bool,
    reusable: bool,
    origin: NodeId,
    outputs: Vec<NodeId>,
}

/// Everything a store remembers, as far as this test asks.
#[derive(Debug, Default)]
struct Model {
    runs: Vec<Run>,
    attempts: BTreeMap<NodeId, Attempt>,
    /// Publications in the order they were made, with their bytes.
    published: Vec<(NodeId, u8)>,
    claims: HashMap<u8, NodeId>,
    /// Bytes in the order they were first published.
    versions: Vec<u8>,
    head: Option<NodeId>,
}

/// What must become of a change; ids are the store's to give.
#[derive(Debug, PartialEq)]
enum Expect {
    Is(Applied),
    Starts,
    Busy(NodeId),
    Publishes { attempt: Option<NodeId>, count: usize },
}

fn waiting() -> Task {
    Task { state: TaskState::Waiting, attempts: 0, attempt: None }
}

fn is_open(task: &Task) -> bool {
    matches!(task.state, TaskState::Waiting | TaskState::Retrying)
}

fn made(bytes: u8) -> NewMaterialization {
    output("d", &bytes.to_string())
}

impl Model {
    fn right_number(&self, run: usize, task: u32, given: u32, starts: bool) -> u32 {
        let attempts = self.runs[run].tasks.get(task as usize).map_or(0, |task| task.attempts);
        if given == 0 { attempts + u32::from(starts) } else { given }
    }

    /// The publication meant by a small number, counted from the newest.
    fn publication(&self, back: u8) -> Option<NodeId> {
        self.published.iter().rev().nth(back.into()).map(|(id, _)| *id)
    }

    fn reuse_source(&self, back: u8) -> NodeId {
        self.attempts.keys().rev().nth(back.into()).copied().unwrap_or(NodeId(-1))
    }

    fn bytes_of(&self, attempt: NodeId) -> Option<u8> {
        let output = self.attempts.get(&attempt)?.outputs.first()?;
        self.published.iter().find(|(id, _)| id == output).map(|(_, bytes)| *bytes)
    }

    fn standing_output(&self, run: usize, task: u32) -> Option<NodeId> {
        let task = self.runs[run].tasks.get(task as usize)?;
        let stands = matches!(task.state, TaskState::Succeeded | TaskState::Reused);
        stands.then(|| self.attempts[&task.attempt?].outputs.first().copied()).flatten()
    }

    fn change(&self, run: usize, ask: &Ask) -> Change {
        match *ask {
            Ask::Start { task, number, asks, claim, reads_task, reads } => {
                let mut pins: Vec<_> = reads_task.map(|task| pin_task("task", task, "out")).into_iter().collect();
                pins.extend(reads.map(|back| pin_node("node", self.publication(back).unwrap_or(NodeId(-1)))));
                let fingerprint = fingerprint(&asks.to_string());
                let number = self.right_number(run, task, number, true);
                Change::Start(StartAttempt { fingerprint, claim, pins, ..start(task, number) })
            }
            Ask::Running { task, number } => {
                Change::Running { task, number: self.right_number(run, task, number, false) }
            }
            Ask::Succeed { task, number, bytes, tainted } => {
                let number = self.right_number(run, task, number, false);
                let mut end = success(task, number, bytes.map(made).into_iter().collect());
                end.end.tainted = tainted.then(|| "changed".to_owned());
                finish(end)
            }
            Ask::Fail { task, number, again } => {
                let next = if again { TaskState::Retrying } else { TaskState::Failed };
                finish(failure(task, self.right_number(run, task, number, false), next))
            }
            Ask::Settle { task, state } => super::driver::settle(task, state),
            Ask::Reuse { task, source, node } => {
                let attempt = self.reuse_source(source);
                let asks = self.attempts.get(&attempt).map_or(0, |attempt| attempt.asks);
                let outputs = self.bytes_of(attempt).map(made).into_iter().collect();
                let node = node.then(|| ReuseNode { uuid: uuid(), pins: Vec::new(), outputs });
                let reuse = Reuse { attempt, fingerprint: fingerprint(&asks.to_string()), node };
                Change::Settle(SettleTask { task, state: TaskState::Reused, reason: None, reuse: Some(reuse) })
            }
            Ask::AddTask { index } => {
                Change::AddTasks(vec![NewTask { index, step: "added".to_owned(), cell: String::new() }])
            }
            Ask::EndRun => end_run(RunState::Failed),
        }
    }

    fn expect(&self, run: usize, ask: &Ask, change: &Change) -> Expect {
        let stale = Expect::Is(Applied::Stale);
        let Run { state, tasks } = &self.runs[run];
        if *state != RunState::Running {
            return stale;
        }
        match change {
            Change::AddTasks(new) if new[0].index as usize == tasks.len() => return Expect::Is(Applied::Done),
            Change::EndRun { .. } if tasks.iter().all(|task| task.state.is_terminal()) => {
                return Expect::Is(Applied::Done);
            }
            Change::AddTasks(_) | Change::EndRun { .. } => return stale,
            _ => {}
        }
        let (Ask::Start { task, .. }
        | Ask::Running { task, .. }
        | Ask::Succeed { task, .. }
        | Ask::Fail { task, .. }
        | Ask::Settle { task, .. }
        | Ask::Reuse { task, .. }) = *ask
        else {
            unreachable!("the others are decided above")
        };
        let Some(task) = tasks.get(task as usize) else { return stale };
        match (ask, change) {
            (Ask::Start { asks, reads_task, reads, claim, .. }, Change::Start(start)) => {
                let pinned = reads_task.is_none_or(|task| self.standing_output(run, task).is_some())
                    && reads.is_none_or(|back| self.publication(back).is_some());
                match self.claims.get(asks).filter(|_| *claim) {
                    _ if !is_open(task) || start.number != task.attempts + 1 || !pinned => stale,
                    Some(holder) => Expect::Busy(*holder),
                    None => Expect::Starts,
                }
            }
            (_, Change::Running { number, .. }) if (1..=task.attempts).contains(number) => Expect::Is(Applied::Done),
            (_, Change::Finish(end)) if task.state == TaskState::Assigned && end.number == task.attempts => {
                Expect::Publishes { attempt: task.attempt, count: end.outputs.len() }
            }
            (_, Change::Settle(settle)) if is_open(task) => match &settle.reuse {
                None => Expect::Is(Applied::Done),
                Some(reuse) if !self.attempts.get(&reuse.attempt).is_some_and(|attempt| attempt.reusable) => stale,
                Some(Reuse { attempt, node: None, .. }) => Expect::Publishes { attempt: Some(*attempt), count: 0 },
                Some(Reuse { node: Some(node), .. }) => Expect::Publishes { attempt: None, count: node.outputs.len() },
            },
            _ => stale,
        }
    }

    /// What is on record once a change that was not stale is applied.
    fn apply(&mut self, run: usize, ask: &Ask, change: &Change, applied: &Applied) {
        match (change, applied) {
            (_, Applied::Stale | Applied::Busy(_)) | (Change::Running { .. }, _) => {}
            (Change::AddTasks(_), _) => self.runs[run].tasks.push(waiting()),
            (Change::EndRun { state, .. }, _) => self.runs[run].state = *state,
            (Change::Start(start), Applied::Started { attempt }) => {
                let Ask::Start { asks, .. } = *ask else { unreachable!("a start was asked for") };
                let task = &mut self.runs[run].tasks[start.task as usize];
                *task = Task { state: TaskState::Assigned, attempts: start.number, attempt: Some(*attempt) };
                let new = Attempt { asks, live: true, reusable: false, origin: *attempt, outputs: Vec::new() };
                self.attempts.insert(*attempt, new);
                if start.claim {
                    self.claims.insert(asks, *attempt);
                }
            }
            (Change::Finish(end), Applied::Published { attempt, materializations }) => {
                self.runs[run].tasks[end.task as usize].state = end.next;
                self.claims.retain(|_, holder| holder != attempt);
                let clean = end.succeeded && end.end.tainted.is_none();
                let ended = self.attempts.get_mut(attempt).unwrap();
                (ended.live, ended.reusable) = (false, clean);
                self.publish(*attempt, &end.outputs, materializations, clean);
            }
            (Change::Settle(settle), _) => self.settle(run, settle, applied),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, run: usize, settle: &SettleTask, applied: &Applied) {
        let task = &mut self.runs[run].tasks[settle.task as usize];
        task.state = settle.state;
        let (Some(reuse), Applied::Published { attempt, materializations }) = (&settle.reuse, applied) else { return };
        task.attempt = Some(*attempt);
        if let Some(node) = &reuse.node {
            task.attempts += 1;
            let source = &self.attempts[&reuse.attempt];
            let new = Attempt { outputs: Vec::new(), ..source.clone() };
            self.attempts.insert(*attempt, new);
            self.publish(*attempt, &node.outputs, materializations, true);
        }
    }

    fn publish(&mut self, attempt: NodeId, outputs: &[NewMaterialization], ids: &[NodeId], clean: bool) {
        for (output, id) in outputs.iter().zip(ids) {
            let bytes = (0..3).find(|bytes| made(*bytes).hash == output.hash).unwrap();
            self.published.push((*id, bytes));
            if !self.versions.contains(&bytes) {
                self.versions.push(bytes);
            }
            if clean {
                self.head = Some(*id);
            }
            self.attempts.get_mut(&attempt).unwrap().outputs.push(*id);
        }
    }

    fn take_over(&mut self, run: usize, reopen: bool) -> bool {
        let Run { state, tasks } = &mut self.runs[run];
        if *state == RunState::Running {
            return true;
        }
        if reopen {
            *state = RunState::Running;
            for task in tasks {
                if matches!(task.state, TaskState::Failed | TaskState::Skipped | TaskState::Cancelled) {
                    task.state = TaskState::Waiting;
                }
            }
        }
        reopen
    }
}

fn meets(expected: &Expect, applied: &Applied) -> bool {
    match (expected, applied) {
        (Expect::Is(expected), applied) => expected == applied,
        (Expect::Starts, Applied::Started { .. }) => true,
        (Expect::Busy(holder), Applied::Busy(flight)) => flight.attempt == *holder,
        (Expect::Publishes { attempt: expected, count }, Applied::Published { attempt, materializations }) => {
            expected.is_none_or(|expected| expected == *attempt) && materializations.len() == *count
        }
        _ => false,
    }
}

/// Everything the model knows must be what the store says.
fn compare(model: &Model, drivers: &mut [Driver<'_>]) -> Result<(), TestCaseError> {
    for (run, driver) in model.runs.iter().zip(drivers.iter_mut()) {
        let tasks: Vec<Task> = driver
            .tasks()
            .into_iter()
            .map(|task| Task { state: task.state, attempts: task.attempts, attempt: task.attempt })
            .collect();
        prop_assert_eq!(&tasks, &run.tasks);
        prop_assert_eq!(driver.run_state(), run.state);
    }
    let store = &mut drivers[0].store;
    let head = store.resolve("p/d", &VersionRef::Latest).unwrap().first().map(|record| record.id);
    prop_assert_eq!(head, model.head);
    for (number, bytes) in (1..).zip(&model.versions) {
        let hash = ContentHash::of(bytes.to_string().as_bytes());
        let found = store.resolve("p/d", &VersionRef::Number(number)).unwrap();
        prop_assert!(found.iter().all(|record| record.hash == hash) && found.len() == 1);
    }
    let published: Vec<NodeId> =
        store.materializations("p/d", u32::MAX).unwrap().iter().map(|record| record.id).collect();
    prop_assert_eq!(published, model.published.iter().rev().map(|(id, _)| *id).collect::<Vec<_>>());
    for asks in 0..3 {
        let fingerprint = fingerprint(&asks.to_string());
        let holder = store.flight(&fingerprint).unwrap().map(|flight| flight.attempt);
        prop_assert_eq!(holder, model.claims.get(&asks).copied());
        let newest = model.attempts.iter().rev().find(|(_, attempt)| attempt.asks == asks && attempt.reusable);
        let found = store.lookup(&[fingerprint]).unwrap().remove(&fingerprint);
        prop_assert_eq!(found.as_ref().map(|earlier| earlier.attempt), newest.map(|(id, _)| *id));
        if let (Some(found), Some((_, newest))) = (found, newest) {
            let outputs: Vec<NodeId> = found.outputs.iter().map(|output| output.id).collect();
            prop_assert_eq!(found.current, outputs.iter().all(|id| Some(*id) == model.head));
            prop_assert_eq!(&outputs, &newest.outputs);
            let root = store.attempts_by_id(&[found.attempt]).unwrap()[0].reused_from.unwrap_or(found.attempt);
            prop_assert_eq!(root, newest.origin);
        }
    }
    prop_assert_eq!(store.check().unwrap(), Vec::<String>::new());
    Ok(())
}

fn play(backend: &dyn Backend, batches: Vec<Batch>) -> Result<(), TestCaseError> {
    let project = runstone_store::ProjectIdentity { uuid: uuid(), name: "model".to_owned() };
    let mut drivers = [Driver::of(backend, &project, &["a", "b", "c"]), Driver::of(backend, &project, &["a", "b"])];
    let mut model = Model::default();
    for tasks in [3, 2] {
        model.runs.push(Run { state: RunState::Running, tasks: vec![waiting(); tasks] });
    }
    for (run, take_over, asks) in batches {
        let driver = &mut drivers[run];
        if let Some(reopen) = take_over {
            let taken = driver.store.take_over(driver.owner.run, reopen, driver.now).unwrap();
            prop_assert_eq!(taken.is_some(), model.take_over(run, reopen));
            driver.owner = taken.unwrap_or(driver.owner);
        }
        // Ids are the store's to give, so a batch is told to the model change by change, as it came out: a change is made
        // from what the model knew before the batch, and judged by what it knows when its turn comes.
        let changes: Vec<Change> = asks.iter().map(|ask| model.change(run, ask)).collect();
        let applied = driver.commit(&changes);
        for ((ask, change), applied) in asks.iter().zip(&changes).zip(&applied) {
            let expected = model.expect(run, &pinned(ask, change), change);
            prop_assert!(meets(&expected, applied), "{change:?}: {applied:?}, expected {expected:?}");
            model.apply(run, ask, change, applied);
        }
        prop_assert!(driver.store.run(&RunRef::Number(1)).unwrap().is_some());
        compare(&model, &mut drivers)?;
    }
    Ok(())
}

/// The question as it was understood when the change was made: a publication that was not there then is still missing.
fn pinned(ask: &Ask, change: &Change) -> Ask {
    let mut ask = ask.clone();
    if let (Ask::Start { reads, .. }, Change::Start(start)) = (&mut ask, change)
        && start.pins.contains(&pin_node("node", NodeId(-1)))
    {
        *reads = Some(u8::MAX);
    }
    ask
}

pub(crate) fn random_changes_do_what_the_model_does(backend: &dyn Backend) {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 48 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    if let Err(error) = runner.run(&batches(), |batches| play(backend, batches)) {
        panic!("{error}");
    }
}
