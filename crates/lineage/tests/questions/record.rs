//! A record that is written through the interfaces that a run uses, without any process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runstone_core::attempt::Cause;
use runstone_core::cell::Cell;
use runstone_core::derivation::{Derivation, InputContent, PythonLock, Work};
use runstone_core::hash::ContentHash;
use runstone_core::log::key::SigningKey;
use runstone_core::name::Name;
use runstone_core::record::{
    AttemptEnd, AttemptKind, ContentKind, MaterializationRecord, Metric, NodeId, RunEnvironment, RunId, TaskState,
    Trust,
};
use runstone_core::reference::DatasetRef;
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::Command;
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, Reuse, ReuseNode,
    SettleTask, StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_exec::objects::{Batch, Limits, ObjectStore};
use runstone_lineage::{find, log};
use runstone_store::{Location, ProjectIdentity};
use uuid::Uuid;

/// A project without anything but its record.
pub(crate) struct Record {
    folder: tempfile::TempDir,
    pub(crate) store: Box<dyn Store>,
    pub(crate) objects: ObjectStore,
    pub(crate) project: Uuid,
    pub(crate) key: SigningKey,
    now: i64,
}

/// A run that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run(RunId);

/// What an attempt is to do.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) task: u32,
    pub(crate) asked: Derivation,
    /// Input name and publication.
    pub(crate) reads: Vec<(&'static str, NodeId)>,
    /// Dataset, subset and content.
    pub(crate) makes: Vec<(String, &'static str, Content)>,
    pub(crate) metrics: Vec<(&'static str, &'static str, f64)>,
    pub(crate) fails: bool,
}

/// What is published.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    File(String),
    /// Path and text.
    Folder(Vec<(&'static str, &'static str)>),
}

/// What an attempt left.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) attempt: NodeId,
    pub(crate) made: Vec<NodeId>,
}

impl Done {
    /// The only publication.
    pub(crate) fn only(&self) -> NodeId {
        assert_eq!(self.made.len(), 1);
        self.made[0]
    }
}

impl Record {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = ProjectIdentity { uuid: Uuid::from_u128(7), name: "shop".into() };
        let location = Location::Sqlite(folder.path().join("record.db"));
        let store = runstone_store::connect(&location, &identity).unwrap();
        let objects = ObjectStore::open(&folder.path().join("objects")).unwrap();
        let key = SigningKey::from_seed([7; 32]);
        Self { folder, store, objects, project: identity.uuid, key, now: 1_700_000_000_000_000 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn tick(&mut self) -> Timestamp {
        self.now += 1_000_000;
        Timestamp(self.now)
    }

    /// A run of a pipeline whose tasks are these steps and cells.
    pub(crate) fn run(&mut self, pipeline: &str, tasks: &[(&str, &str)]) -> Run {
        self.run_of(pipeline, None, tasks)
    }

    /// A run that works on a partition.
    pub(crate) fn run_of(&mut self, pipeline: &str, partition: Option<&str>, tasks: &[(&str, &str)]) -> Run {
        let id = RunId(Uuid::now_v7());
        let task = |(index, (step, cell)): (usize, &(&str, &str))| NewTask {
            index: u32::try_from(index).unwrap(),
            step: (*step).to_owned(),
            cell: (*cell).to_owned(),
        };
        let run = NewRun {
            id,
            pipeline: pipeline.into(),
            definition: format!("pipeline: {pipeline}\n"),
            definition_path: "pipeline.yaml".into(),
            params: serde_json::json!({"n": 1}),
            request: serde_json::json!({}),
            trigger: "manual".into(),
            created: self.tick(),
            store_marker: self.objects.marker(),
            partition: partition.map(str::to_owned),
            claim: None,
            environment: RunEnvironment {
                tool_version: "0.1.0".into(),
                platform: "linux-x86_64".into(),
                user: "ada".into(),
                host: "lab".into(),
                git_commit: Some("1a2b3c".into()),
                git_dirty: Some(false),
            },
            tasks: tasks.iter().enumerate().map(task).collect(),
        };
        self.store.create_run(&run).unwrap();
        Run(id)
    }

    /// Puts an attempt on record, from its start to its end.
    pub(crate) fn work(&mut self, run: Run, deed: &Deed) -> Done {
        let (fingerprint, derivation) = deed.asked.seal();
        let kind = if matches!(deed.asked.work, Work::Read { .. }) { AttemptKind::Ingest } else { AttemptKind::Run };
        let start = StartAttempt {
            task: deed.task,
            number: 1,
            uuid: Uuid::now_v7(),
            kind,
            fingerprint,
            derivation,
            pins: deed.reads.iter().map(|(slot, node)| pin(slot, *node)).collect(),
            keeps: Vec::new(),
            claim: true,
            pool: None,
        };
        let Applied::Started { attempt } = self.commit(run, Change::Start(start)) else { panic!("not started") };
        let succeeded = !deed.fails;
        let finish = FinishAttempt {
            task: deed.task,
            number: 1,
            succeeded,
            end: self.end(if succeeded { 0 } else { 3 }),
            outputs: if succeeded { self.outputs(deed) } else { Vec::new() },
            metrics: deed.metrics.iter().map(metric).collect(),
            metadata: None,
            next: if succeeded { TaskState::Succeeded } else { TaskState::Failed },
            reason: None,
            reusable: succeeded,
        };
        match self.commit(run, Change::Finish(Box::new(finish))) {
            Applied::Published { materializations, .. } => Done { attempt, made: materializations },
            _ => Done { attempt, made: Vec::new() },
        }
    }

    /// Puts it on record that an earlier attempt's result stands for a task, under names and inputs of its own.
    pub(crate) fn reuse(&mut self, run: Run, origin: NodeId, deed: &Deed) -> Done {
        let node = ReuseNode {
            uuid: Uuid::now_v7(),
            pins: deed.reads.iter().map(|(slot, node)| pin(slot, *node)).collect(),
            outputs: self.outputs(deed),
        };
        let reuse = Reuse { attempt: origin, fingerprint: deed.asked.seal().0, node: Some(node) };
        let settle = SettleTask { task: deed.task, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
        let applied = self.commit(run, Change::Settle(settle));
        let Applied::Published { attempt, materializations } = applied else { panic!("{applied:?}") };
        Done { attempt, made: materializations }
    }

    fn end(&mut self, exit_code: i32) -> AttemptEnd {
        AttemptEnd {
            started: self.tick(),
            ended: self.tick(),
            cause: Cause::Exit,
            exit_code: Some(exit_code),
            signal: None,
            message: None,
            user_us: 3,
            system_us: 1,
            peak_rss: 1 << 20,
            stdout_bytes: 0,
            stderr_bytes: 0,
            leftovers: 0,
            tainted: None,
        }
    }

    fn outputs(&self, deed: &Deed) -> Vec<NewMaterialization> {
        deed.makes.iter().map(|(dataset, subset, content)| self.publication(dataset, subset, content)).collect()
    }

    fn publication(&self, dataset: &str, subset: &str, content: &Content) -> NewMaterialization {
        let output = dataset.rsplit('/').next().unwrap();
        let (hash, kind, size, files) = match content {
            Content::File(text) => (self.keep(text), ContentKind::File, text.len() as u64, 1),
            Content::Folder(files) => {
                let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
                write(folder.path(), files);
                let mut batch = Batch::default();
                let taken = self.objects.import_dir(folder.path(), Limits::default(), &mut batch).unwrap();
                self.objects.sync(batch).unwrap();
                (taken.hash, ContentKind::Dir, taken.size, taken.files)
            }
        };
        NewMaterialization {
            output: output.to_owned(),
            dataset: dataset.to_owned(),
            subset: subset.to_owned(),
            hash,
            kind,
            size,
            files,
            rows: None,
            file_name: output.to_owned(),
            profile: None,
        }
    }

    /// Puts bytes into the objects.
    pub(crate) fn keep(&self, text: &str) -> ContentHash {
        let mut batch = Batch::default();
        let hash = self.objects.put_bytes(text.as_bytes(), &mut batch).unwrap();
        self.objects.sync(batch).unwrap();
        hash
    }

    fn commit(&mut self, run: Run, change: Change) -> Applied {
        let now = self.tick();
        let mut applied = self.store.commit(Ownership { run: run.0, epoch: 1 }, now, &[change]).unwrap();
        applied.remove(0)
    }

    /// Brings everything into the log.
    pub(crate) fn seal(&mut self) -> u64 {
        let now = self.tick();
        let sealed = log::seal(&mut *self.store, self.project, &self.key, None, now).unwrap();
        sealed.last.map_or(0, |last| last.size)
    }

    /// What a text given by people names.
    pub(crate) fn version(&mut self, text: &str) -> MaterializationRecord {
        let wanted: DatasetRef = text.parse().unwrap();
        find::version(&mut *self.store, &wanted).unwrap()
    }

    pub(crate) fn hash_of(&mut self, node: NodeId) -> ContentHash {
        self.store.materializations_by_id(&[node]).unwrap()[0].hash
    }
}

fn pin(slot: &str, node: NodeId) -> Pin {
    Pin { slot: slot.to_owned(), source: PinSource::Materialization(node), trust: Trust::Verified }
}

fn metric((name, slice, value): &(&str, &str, f64)) -> Metric {
    Metric { name: (*name).to_owned(), slice: (*slice).to_owned(), value: *value, n: Some(10) }
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Content of a file.
pub(crate) fn file(text: &str) -> Content {
    Content::File(text.to_owned())
}

/// A source is read.
pub(crate) fn ingest(dataset: &str, content: Content) -> Deed {
    let found = match &content {
        Content::File(text) => ContentHash::of(text.as_bytes()),
        Content::Folder(files) => ContentHash::of(format!("{files:?}").as_bytes()),
    };
    let work = Work::Read { source: "./raw".into(), content: found };
    deed(Derivation { work, ..nothing() }, dataset, content)
}

/// A program with one code file runs.
pub(crate) fn program(dataset: &str, code: &str, content: &str) -> Deed {
    let work = Work::Command(Command::Shell("sh ./work.sh".into()));
    let code = BTreeMap::from([("work.sh".to_owned(), ContentHash::of(code.as_bytes()))]);
    deed(Derivation { work, code, ..nothing() }, dataset, file(content))
}

fn deed(asked: Derivation, dataset: &str, content: Content) -> Deed {
    let makes = vec![(dataset.to_owned(), "", content)];
    Deed { task: 0, asked, reads: Vec::new(), makes, metrics: Vec::new(), fails: false }
}

fn nothing() -> Derivation {
    Derivation {
        work: Work::Command(Command::Shell(String::new())),
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

impl Deed {
    pub(crate) fn task(mut self, task: u32) -> Self {
        self.task = task;
        self
    }

    /// Reads a publication, which is part of what is asked.
    pub(crate) fn reads(mut self, record: &mut Record, slot: &'static str, node: NodeId) -> Self {
        let hash = record.hash_of(node);
        self.asked.inputs.insert(name(slot), InputContent::One { hash, name: slot.to_owned() });
        self.reads.push((slot, node));
        self
    }

    pub(crate) fn param(mut self, param: &str, value: Scalar) -> Self {
        self.asked.params.insert(name(param), value);
        self
    }

    pub(crate) fn partition(mut self, key: &str, subset: &'static str) -> Self {
        self.asked.partition = Some(key.to_owned());
        self.makes[0].1 = subset;
        self
    }

    pub(crate) fn python(mut self, lock: ContentHash) -> Self {
        self.asked.python = Some(PythonLock { interpreter: "CPython 3.11.2".into(), lock });
        self
    }

    pub(crate) fn metric(mut self, metric: &'static str, slice: &'static str, value: f64) -> Self {
        self.metrics.push((metric, slice, value));
        self
    }

    pub(crate) fn fails(mut self) -> Self {
        self.fails = true;
        self
    }
}
