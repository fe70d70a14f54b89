//! A project with two runs on record, put there through the same interfaces that a real run uses.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use runstone_core::attempt::Cause;
use runstone_core::cell::Cell;
use runstone_core::derivation::{Derivation, InputContent, Work};
use runstone_core::hash::ContentHash;
use runstone_core::name::Name;
use runstone_core::record::{
    AttemptEnd, AttemptKind, ContentKind, Metric, RunEnvironment, RunId, RunState, TaskState, Trust,
};
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::Command as StepCommand;
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, Reuse, SettleTask,
    StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_engine::project::{Overrides, Project};
use runstone_exec::objects::{Batch, ObjectStore};
use runstone_store::{Location, ProjectIdentity};
use uuid::Uuid;

/// When the first run began.
const BEGIN: i64 = 1_700_000_000_000_000;

/// A folder with a project in it.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    project: Project,
    store: Box<dyn Store>,
    objects: ObjectStore,
    now: i64,
}

/// A run under construction.
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) number: i64,
}

/// What an attempt did.
pub(crate) struct Deed<'a> {
    pub(crate) task: u32,
    pub(crate) kind: AttemptKind,
    pub(crate) asked: &'a Derivation,
    /// Input name, task and output.
    pub(crate) reads: &'a [(&'a str, u32, &'a str)],
    /// Dataset, subset, content; nothing where it failed.
    pub(crate) makes: &'a [(&'a str, &'a str, &'a str)],
    pub(crate) metrics: &'a [(&'a str, &'a str, f64)],
    pub(crate) failure: Option<i32>,
}

impl Fixture {
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project =
            Project::open_or_create(folder.path(), Path::new("pipeline.yaml"), None, &Overrides::default()).unwrap();
        let identity = ProjectIdentity { uuid: project.id(), name: project.name().to_owned() };
        let store = runstone_store::connect(&Location::Sqlite(project.database_path()), &identity).unwrap();
        let objects = ObjectStore::open(&project.objects_dir()).unwrap();
        Self { folder, project, store, objects, now: BEGIN }
    }

    /// Run #1 made a model from raw data with two learning rates, of which the second failed; run #2 reused the data,
    /// made both models with other code, and succeeded.
    pub(crate) fn two_runs() -> Self {
        let mut fixture = Self::empty();
        fixture.first_run();
        fixture.second_run();
        fixture
    }

    fn first_run(&mut self) {
        let run = self.begin(&[("raw", ""), ("model", "lr=0.1"), ("model", "lr=0.2"), ("report", "")]);
        let raw = ingest(b"a,b\n1,2\n");
        self.work(
            &run,
            &Deed {
                task: 0,
                kind: AttemptKind::Ingest,
                asked: &raw,
                reads: &[],
                makes: &[("raw", "", "a,b\n1,2\n")],
                metrics: &[],
                failure: None,
            },
        );
        self.model(&run, 1, 0.1, "old code", "model one", 0.9);
        let asked = train(0.2, "old code");
        self.work(
            &run,
            &Deed {
                task: 2,
                kind: AttemptKind::Run,
                asked: &asked,
                reads: &[("data", 0, "raw")],
                makes: &[],
                metrics: &[],
                failure: Some(3),
            },
        );
        self.log(&run, "2.1", "starting\n", "Traceback:\n  KeyError: 'x'\n");
        self.settle(&run, 3, TaskState::Skipped, "needs model{lr=0.2}, which failed", None);
        self.end(&run, RunState::Failed, Some("1 task failed: model{lr=0.2}"));
    }

    fn second_run(&mut self) {
        let run = self.begin(&[("raw", ""), ("model", "lr=0.1"), ("model", "lr=0.2"), ("report", "")]);
        let raw = ingest(b"a,b\n1,2\n").seal().0;
        let earlier = self.store.lookup(&[raw]).unwrap()[&raw].attempt;
        self.settle(&run, 0, TaskState::Reused, "", Some(Reuse { attempt: earlier, fingerprint: raw, node: None }));
        self.model(&run, 1, 0.1, "new code", "model two", 0.95);
        self.model(&run, 2, 0.2, "new code", "model three", 0.85);
        let asked = Derivation { outputs: BTreeMap::new(), ..train(0.5, "report code") };
        self.work(
            &run,
            &Deed {
                task: 3,
                kind: AttemptKind::Run,
                asked: &asked,
                reads: &[("models", 1, "model"), ("models", 2, "model"), ("data", 0, "raw")],
                makes: &[("report", "", "report two")],
                metrics: &[],
                failure: None,
            },
        );
        self.end(&run, RunState::Succeeded, None);
    }

    fn model(&mut self, run: &Run, task: u32, lr: f64, code: &str, content: &str, f1: f64) {
        let asked = train(lr, code);
        let subset = format!("lr={lr:?}");
        self.work(
            run,
            &Deed {
                task,
                kind: AttemptKind::Run,
                asked: &asked,
                reads: &[("data", 0, "raw")],
                makes: &[("model", &subset, content)],
                metrics: &[("f1", "", f1), ("f1", "lang=de", f1 - 0.1)],
                failure: None,
            },
        );
        self.log(run, &format!("{task}.1"), "epoch 1\n", "");
    }

    pub(crate) fn begin(&mut self, tasks: &[(&str, &str)]) -> Run {
        let task = |(index, (step, cell)): (usize, &(&str, &str))| NewTask {
            index: u32::try_from(index).unwrap(),
            step: (*step).to_owned(),
            cell: (*cell).to_owned(),
        };
        let id = RunId(Uuid::now_v7());
        let created = self.tick();
        let number = self
            .store
            .create_run(&NewRun {
                id,
                pipeline: "demo".into(),
                definition: "pipeline: demo\n".into(),
                definition_path: "pipeline.yaml".into(),
                params: serde_json::json!({"lr": 0.1}),
                request: serde_json::json!({}),
                trigger: "manual".into(),
                created,
                store_marker: self.objects.marker(),
                partition: None,
                claim: None,
                environment: RunEnvironment {
                    tool_version: "0.1.0".into(),
                    platform: "linux-x86_64".into(),
                    user: "ada".into(),
                    host: "lab".into(),
                    git_commit: None,
                    git_dirty: None,
                },
                tasks: tasks.iter().enumerate().map(task).collect(),
            })
            .unwrap();
        Run { id, number }
    }

    /// Puts an attempt on record, from its start to its end.
    pub(crate) fn work(&mut self, run: &Run, work: &Deed<'_>) {
        self.start(run, work);
        self.finish(run, work);
    }

    /// Puts the end of an attempt on record that was started.
    pub(crate) fn finish(&mut self, run: &Run, work: &Deed<'_>) {
        let started = self.tick();
        let ended = self.tick();
        let succeeded = work.failure.is_none();
        let outputs =
            work.makes.iter().map(|(output, subset, content)| self.publication(output, subset, content)).collect();
        let metric = |(name, slice, value): &(&str, &str, f64)| Metric {
            name: (*name).to_owned(),
            slice: (*slice).to_owned(),
            value: *value,
            n: Some(100),
        };
        let finish = FinishAttempt {
            task: work.task,
            number: 1,
            succeeded,
            end: AttemptEnd {
                started,
                ended,
                cause: Cause::Exit,
                exit_code: Some(work.failure.unwrap_or(0)),
                signal: None,
                message: None,
                user_us: 300_000,
                system_us: 100_000,
                peak_rss: 50 << 20,
                stdout_bytes: 8,
                stderr_bytes: 0,
                leftovers: 0,
                tainted: None,
            },
            outputs,
            metrics: work.metrics.iter().map(metric).collect(),
            metadata: None,
            next: if succeeded { TaskState::Succeeded } else { TaskState::Failed },
            reason: None,
            reusable: succeeded,
        };
        self.commit(run, &[Change::Finish(Box::new(finish))]);
    }

    /// Puts an attempt on record that is still going on.
    pub(crate) fn start(&mut self, run: &Run, work: &Deed<'_>) {
        let (fingerprint, derivation) = work.asked.seal();
        let pin = |(slot, task, output): &(&str, u32, &str)| Pin {
            slot: (*slot).to_owned(),
            source: PinSource::Task { task: *task, output: (*output).to_owned() },
            trust: Trust::Verified,
        };
        let start = StartAttempt {
            task: work.task,
            number: 1,
            uuid: Uuid::now_v7(),
            kind: work.kind,
            fingerprint,
            derivation,
            pins: work.reads.iter().map(pin).collect(),
            keeps: Vec::new(),
            claim: true,
            pool: None,
        };
        self.commit(run, &[Change::Start(start)]);
    }

    fn publication(&self, output: &str, subset: &str, content: &str) -> NewMaterialization {
        let mut batch = Batch::default();
        let hash = self.objects.put_bytes(content.as_bytes(), &mut batch).unwrap();
        self.objects.sync(batch).unwrap();
        NewMaterialization {
            output: output.to_owned(),
            dataset: format!("demo/{output}"),
            subset: subset.to_owned(),
            hash,
            kind: ContentKind::File,
            size: content.len() as u64,
            files: 1,
            rows: None,
            file_name: format!("{output}.txt"),
            profile: None,
        }
    }

    fn settle(&mut self, run: &Run, task: u32, state: TaskState, reason: &str, reuse: Option<Reuse>) {
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        self.commit(run, &[Change::Settle(SettleTask { task, state, reason, reuse })]);
    }

    fn end(&mut self, run: &Run, state: RunState, reason: Option<&str>) {
        self.commit(run, &[Change::EndRun { state, reason: reason.map(str::to_owned) }]);
    }

    fn commit(&mut self, run: &Run, changes: &[Change]) {
        let now = self.tick();
        let applied = self.store.commit(Ownership { run: run.id, epoch: 1 }, now, changes).unwrap();
        let is_done = |applied: &Applied| !matches!(applied, Applied::Stale | Applied::Busy(_));
        assert!(applied.iter().all(is_done), "{applied:?}");
    }

    /// Goes on at the real time, once an object was made long before that, as far as clocks can tell.
    pub(crate) fn let_time_pass(&mut self, object: ContentHash) {
        let changed = self.objects.path(object).metadata().unwrap();
        let changed = changed.ctime() * 1_000_000 + changed.ctime_nsec() / 1000;
        while self.now < changed + 100_000 {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            self.now = i64::try_from(now.as_micros()).unwrap();
        }
    }

    fn tick(&mut self) -> Timestamp {
        self.now += 500_000;
        Timestamp(self.now)
    }

    pub(crate) fn log(&self, run: &Run, folder: &str, stdout: &str, stderr: &str) {
        let folder = self.project.run_dir(run.id.0).join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("stdout"), stdout).unwrap();
        std::fs::write(folder.join("stderr"), stderr).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn objects(&self) -> &ObjectStore {
        &self.objects
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    pub(crate) fn project(&self) -> &Project {
        &self.project
    }

    /// Runs the command in the project.
    pub(crate) fn runstone(&self, args: &[&str]) -> Ran {
        runstone(self.folder.path(), args)
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

/// The command in a folder, in an environment that says nothing but what it must.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runstone"));
    command.current_dir(folder).args(args).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC").env("COLUMNS", "80");
    command
}

pub(crate) fn runstone(folder: &Path, args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = command(folder, args).output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn ingest(content: &[u8]) -> Derivation {
    Derivation {
        work: Work::Read { source: "./raw.csv".into(), content: ContentHash::of(content) },
        code: BTreeMap::new(),
        params: BTreeMap::new(),
        cell: Cell::default(),
        partition: None,
        env: BTreeMap::new(),
        python: None,
        platform: "linux-x86_64".into(),
        inputs: BTreeMap::new(),
        outputs: BTreeMap::new(),
    }
}

pub(crate) fn train(lr: f64, code: &str) -> Derivation {
    let input = InputContent::One { hash: ContentHash::of(b"a,b\n1,2\n"), name: "raw.csv".into() };
    Derivation {
        work: Work::Command(StepCommand::Shell("python3 ./train.py".into())),
        code: BTreeMap::from([("./train.py".to_owned(), ContentHash::of(code.as_bytes()))]),
        params: BTreeMap::from([(name("epochs"), Scalar::Int(5))]),
        cell: Cell::new([(name("lr"), Scalar::Float(lr))]),
        inputs: BTreeMap::from([(name("data"), input)]),
        ..ingest(b"")
    }
}
