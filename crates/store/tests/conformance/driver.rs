//! What the scenarios are written with: a connection with a run under way, and short ways to say a change.

use std::sync::atomic::{AtomicU64, Ordering};

use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{
    AttemptEnd, AttemptKind, ContentKind, NodeId, RunEnvironment, RunId, RunState, TaskRecord, TaskState, Trust,
};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, Result, RunRef,
    SettleTask, StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_store::ProjectIdentity;
use serde_json::json;
use uuid::Uuid;

use super::Backend;

/// A connection to one project, the run it owns, and a clock that moves by a second a commit.
pub(crate) struct Driver<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) store: Box<dyn Store>,
    pub(crate) owner: Ownership,
    pub(crate) now: Timestamp,
}

pub(crate) fn project(name: &str) -> ProjectIdentity {
    let hash = ContentHash::of(name.as_bytes());
    ProjectIdentity { uuid: Uuid::from_slice(&hash.as_bytes()[..16]).unwrap(), name: name.to_owned() }
}

/// Different at each call.
pub(crate) fn uuid() -> Uuid {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let n = u128::from(LAST.fetch_add(1, Ordering::Relaxed));
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | n << 82 | n)
}

pub(crate) fn fingerprint(name: &str) -> Fingerprint {
    Fingerprint::from_bytes(*ContentHash::of(format!("asked: {name}").as_bytes()).as_bytes())
}

pub(crate) fn marker() -> Uuid {
    Uuid::from_u128(0x5701e)
}

/// A run of tasks without cells.
pub(crate) fn new_run(steps: &[&str]) -> NewRun {
    let task = |(index, step): (usize, &&str)| NewTask {
        index: u32::try_from(index).unwrap(),
        step: (*step).to_owned(),
        cell: String::new(),
    };
    NewRun {
        id: RunId(uuid()),
        pipeline: "p".to_owned(),
        definition: "steps: {}\n".to_owned(),
        definition_path: "pipelines/p.yaml".to_owned(),
        params: json!({"lr": 0.1}),
        request: json!({}),
        trigger: "manual".to_owned(),
        created: Timestamp(1_000_000),
        store_marker: marker(),
        partition: None,
        claim: None,
        environment: RunEnvironment { user: "ada".to_owned(), ..RunEnvironment::default() },
        tasks: steps.iter().enumerate().map(task).collect(),
    }
}

/// An attempt without pins that claims nothing, asked for by its task and number.
pub(crate) fn start(task: u32, number: u32) -> StartAttempt {
    let name = format!("task {task}");
    StartAttempt {
        task,
        number,
        uuid: uuid(),
        kind: AttemptKind::Run,
        fingerprint: fingerprint(&name),
        derivation: name.into_bytes(),
        pins: Vec::new(),
        keeps: Vec::new(),
        claim: false,
        pool: None,
    }
}

pub(crate) fn pin(slot: &str, source: PinSource) -> Pin {
    Pin { slot: slot.to_owned(), source, trust: Trust::Verified }
}

pub(crate) fn pin_node(slot: &str, id: NodeId) -> Pin {
    pin(slot, PinSource::Materialization(id))
}

pub(crate) fn pin_task(slot: &str, task: u32, output: &str) -> Pin {
    pin(slot, PinSource::Task { task, output: output.to_owned() })
}

pub(crate) fn ended(cause: Cause, exit_code: Option<i32>) -> AttemptEnd {
    AttemptEnd {
        started: Timestamp(2_000_000),
        ended: Timestamp(5_000_000),
        cause,
        exit_code,
        signal: None,
        message: None,
        user_us: 1,
        system_us: 2,
        peak_rss: 3,
        stdout_bytes: 4,
        stderr_bytes: 5,
        leftovers: 0,
        tainted: None,
    }
}

/// An attempt that succeeded.
pub(crate) fn success(task: u32, number: u32, outputs: Vec<NewMaterialization>) -> FinishAttempt {
    FinishAttempt {
        task,
        number,
        succeeded: true,
        end: ended(Cause::Exit, Some(0)),
        outputs,
        metrics: Vec::new(),
        metadata: None,
        next: TaskState::Succeeded,
        reason: None,
        reusable: true,
    }
}

/// An attempt that failed, with what becomes of its task.
pub(crate) fn failure(task: u32, number: u32, next: TaskState) -> FinishAttempt {
    FinishAttempt {
        succeeded: false,
        end: ended(Cause::Exit, Some(1)),
        next,
        reason: Some("exit code 1".to_owned()),
        reusable: false,
        ..success(task, number, Vec::new())
    }
}

/// Output `out` of dataset `p/<name>`, with these bytes.
pub(crate) fn output(name: &str, bytes: &str) -> NewMaterialization {
    NewMaterialization {
        output: "out".to_owned(),
        dataset: format!("p/{name}"),
        subset: String::new(),
        hash: ContentHash::of(bytes.as_bytes()),
        kind: ContentKind::File,
        size: bytes.len() as u64,
        files: 1,
        rows: None,
        file_name: format!("{name}.txt"),
        profile: None,
    }
}

pub(crate) fn settle(task: u32, state: TaskState) -> Change {
    Change::Settle(SettleTask { task, state, reason: Some("because".to_owned()), reuse: None })
}

pub(crate) fn end_run(state: RunState) -> Change {
    Change::EndRun { state, reason: None }
}

pub(crate) fn finish(finish: FinishAttempt) -> Change {
    Change::Finish(Box::new(finish))
}

impl<'a> Driver<'a> {
    /// A connection of project `hello` with a run of these steps under way.
    pub(crate) fn new(backend: &'a dyn Backend, steps: &[&str]) -> Self {
        Self::of(backend, &project("hello"), steps)
    }

    pub(crate) fn of(backend: &'a dyn Backend, project: &ProjectIdentity, steps: &[&str]) -> Self {
        Self::owning(backend, project, &new_run(steps))
    }

    pub(crate) fn owning(backend: &'a dyn Backend, project: &ProjectIdentity, run: &NewRun) -> Self {
        let owner = Ownership { run: RunId(Uuid::nil()), epoch: 0 };
        let mut driver = Self { backend, store: backend.open(project), owner, now: Timestamp(10_000_000) };
        driver.create(run);
        driver
    }

    /// Goes on with a new run.
    pub(crate) fn run(&mut self, steps: &[&str]) -> RunId {
        self.create(&new_run(steps))
    }

    pub(crate) fn create(&mut self, run: &NewRun) -> RunId {
        self.store.create_run(run).unwrap();
        self.owner = Ownership { run: run.id, epoch: 1 };
        run.id
    }

    pub(crate) fn try_commit(&mut self, changes: &[Change]) -> Result<Vec<Applied>> {
        self.now = self.now.plus_micros(1_000_000);
        self.store.commit(self.owner, self.now, changes)
    }

    pub(crate) fn commit(&mut self, changes: &[Change]) -> Vec<Applied> {
        let applied = self.try_commit(changes).unwrap();
        assert_eq!(applied.len(), changes.len());
        applied
    }

    pub(crate) fn apply(&mut self, change: Change) -> Applied {
        self.commit(&[change]).remove(0)
    }

    /// Applies what must change nothing.
    pub(crate) fn stale(&mut self, change: Change) {
        let before = self.backend.dump();
        let what = format!("{change:?}");
        assert_eq!(self.apply(change), Applied::Stale, "{what}");
        assert_eq!(self.backend.dump(), before, "{what}");
    }

    /// Starts an attempt that must start.
    pub(crate) fn started(&mut self, start: StartAttempt) -> NodeId {
        match self.apply(Change::Start(start)) {
            Applied::Started { attempt } => attempt,
            other => panic!("{other:?}"),
        }
    }

    /// Ends an attempt that must be live; gives its publications.
    pub(crate) fn finished(&mut self, end: FinishAttempt) -> Vec<NodeId> {
        match self.apply(finish(end)) {
            Applied::Published { materializations, .. } => materializations,
            other => panic!("{other:?}"),
        }
    }

    /// First attempt of a task from start to success; gives attempt and publications.
    pub(crate) fn executed(&mut self, start: StartAttempt, outputs: Vec<NewMaterialization>) -> (NodeId, Vec<NodeId>) {
        let (task, number) = (start.task, start.number);
        let attempt = self.started(start);
        (attempt, self.finished(success(task, number, outputs)))
    }

    pub(crate) fn tasks(&mut self) -> Vec<TaskRecord> {
        self.store.tasks(self.owner.run).unwrap()
    }

    pub(crate) fn states(&mut self) -> Vec<TaskState> {
        self.tasks().iter().map(|task| task.state).collect()
    }

    pub(crate) fn run_state(&mut self) -> RunState {
        let id = self.owner.run.to_string();
        self.store.run(&RunRef::Prefix(id)).unwrap().unwrap().state
    }

    /// The record must be sound at the end of a scenario.
    pub(crate) fn sound(&mut self) {
        assert_eq!(self.store.check().unwrap(), Vec::<String>::new());
    }
}
