//! A project with a store and objects, in which attempts are put on record without being executed.

use std::collections::BTreeSet;

use runstone_core::attempt::Cause;
use runstone_core::canonical::{self, Value as Canonical};
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::lineage::asserted::{AssertedRunId, EdgesOf, Side};
use runstone_core::record::{AttemptEnd, AttemptKind, ContentKind, NodeId, RunEnvironment, RunId, TaskState, Trust};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_exec::objects::ObjectStore;
use runstone_lineage::export::openlineage::{Naming, export};
use runstone_lineage::export::{Selection, attempts};
use runstone_lineage::import::openlineage::{Report, import};
use runstone_store::{Location, ProjectIdentity};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const DEFINITION: &str = "pipeline: lab\nowner: team:data\npartition: {by: day, start: 2026-01-01}\n\
     steps:\n  raw: {run: 'true'}\n";

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) struct Rig {
    folder: TempDir,
    pub(crate) store: Box<dyn Store>,
    pub(crate) objects: ObjectStore,
    owner: Ownership,
    tasks: u32,
}

/// An attempt to be put on record.
pub(crate) struct Made<'a> {
    pub(crate) step: &'a str,
    pub(crate) cell: &'a str,
    pub(crate) reads: &'a [NodeId],
    pub(crate) bytes: &'a str,
}

impl Rig {
    /// With a run of pipeline `lab` under way.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = ProjectIdentity { uuid: Uuid::from_u128(1), name: "lab".to_owned() };
        let mut store = runstone_store::connect(&Location::Sqlite(folder.path().join("record.db")), &project).unwrap();
        let objects = ObjectStore::open(&folder.path().join("objects")).unwrap();
        let id = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
        store
            .create_run(&NewRun {
                id,
                pipeline: "lab".to_owned(),
                definition: DEFINITION.to_owned(),
                definition_path: "pipelines/lab.yaml".to_owned(),
                params: json!({"lr": 0.1}),
                request: json!({}),
                trigger: "manual".to_owned(),
                created: Timestamp(1_000_000),
                store_marker: objects.marker(),
                partition: Some("2026-11-01".to_owned()),
                claim: None,
                environment: RunEnvironment {
                    tool_version: "0.1.0".to_owned(),
                    git_commit: Some(COMMIT.to_owned()),
                    git_dirty: Some(true),
                    ..RunEnvironment::default()
                },
                tasks: Vec::new(),
            })
            .unwrap();
        Self { folder, store, objects, owner: Ownership { run: id, epoch: 1 }, tasks: 0 }
    }

    /// Goes over to an empty project in the same database, which is quicker than another one.
    pub(crate) fn empty_project(&mut self, number: u32) {
        let project = ProjectIdentity { uuid: Uuid::from_u128(1000 + u128::from(number)), name: "lab".to_owned() };
        let place = Location::Sqlite(self.folder.path().join("record.db"));
        self.store = runstone_store::connect(&place, &project).unwrap();
    }

    fn commit(&mut self, change: Change) -> Applied {
        let now = Timestamp(2_000_000 + i64::from(self.tasks) * 10_000_000);
        self.store.commit(self.owner, now, &[change]).unwrap().remove(0)
    }

    /// Begins an attempt; gives its task.
    pub(crate) fn begin(&mut self, made: &Made<'_>) -> u32 {
        let index = self.tasks;
        self.tasks += 1;
        let (step, cell) = (made.step.to_owned(), made.cell.to_owned());
        self.commit(Change::AddTasks(vec![NewTask { index, step, cell }]));
        let asked = Canonical::map([
            ("shell", Canonical::text("./train.py < \"$IN\"")),
            ("platform", Canonical::text("linux-x86_64")),
            ("code", Canonical::map([("train.py", Canonical::bytes(*ContentHash::of(b"code").as_bytes()))])),
            ("params", Canonical::map([("lr", Canonical::Float(0.1)), ("name", Canonical::text("x y"))])),
            ("task", Canonical::Int(index.into())),
        ]);
        let derivation = canonical::encode(&asked);
        let pins = made.reads.iter().enumerate().map(|(at, node)| Pin {
            slot: format!("in{at}"),
            source: PinSource::Materialization(*node),
            trust: Trust::Verified,
        });
        let started = self.commit(Change::Start(StartAttempt {
            task: index,
            number: 1,
            uuid: Uuid::from_u128(0x0190_0000_0000_7000_9000_0000_0000_0000 | u128::from(index)),
            kind: AttemptKind::Run,
            fingerprint: Fingerprint::from_bytes(*ContentHash::of(&derivation).as_bytes()),
            derivation,
            pins: pins.collect(),
            keeps: Vec::new(),
            claim: false,
            pool: None,
        }));
        assert!(matches!(started, Applied::Started { .. }), "{started:?}");
        index
    }

    fn end(&mut self, task: u32, succeeded: bool, end: AttemptEnd, outputs: Vec<NewMaterialization>) -> Applied {
        let next = if succeeded { TaskState::Succeeded } else { TaskState::Failed };
        self.commit(Change::Finish(Box::new(FinishAttempt {
            task,
            number: 1,
            succeeded,
            end,
            outputs,
            metrics: Vec::new(),
            metadata: None,
            next,
            reason: None,
            reusable: succeeded,
        })))
    }

    /// An attempt that publishes dataset `lab/<step>` with these bytes.
    pub(crate) fn make(&mut self, made: &Made<'_>) -> NodeId {
        let task = self.begin(made);
        let output = NewMaterialization {
            output: "out".to_owned(),
            dataset: format!("lab/{}", made.step),
            subset: made.cell.to_owned(),
            hash: ContentHash::of(made.bytes.as_bytes()),
            kind: ContentKind::File,
            size: made.bytes.len() as u64,
            files: 1,
            rows: Some(3),
            file_name: format!("{}.csv", made.step),
            profile: None,
        };
        let end = AttemptEnd::new(Timestamp(3_000_000), Timestamp(4_000_000), Cause::Exit);
        match self.end(task, true, end, vec![output]) {
            Applied::Published { materializations, .. } => materializations[0],
            other => panic!("{other:?}"),
        }
    }

    /// A step without a cell.
    pub(crate) fn step(&mut self, step: &str, reads: &[NodeId], bytes: &str) -> NodeId {
        self.make(&Made { step, cell: "", reads, bytes })
    }

    /// An attempt that ends so.
    pub(crate) fn fail(&mut self, step: &str, cause: Cause, exit_code: Option<i32>) {
        let task = self.begin(&Made { step, cell: "", reads: &[], bytes: "" });
        let end = AttemptEnd { exit_code, ..AttemptEnd::new(Timestamp(3_000_000), Timestamp(4_000_000), cause) };
        self.end(task, false, end, Vec::new());
    }

    pub(crate) fn export(&mut self, wanted: Selection<'_>) -> Vec<Value> {
        let ids = attempts(&mut *self.store, wanted).unwrap();
        let mut events = Vec::new();
        let naming = Naming { instance: "runstone".to_owned(), project: "lab".to_owned() };
        let exported = export(&mut *self.store, &ids, &naming, &mut |event| {
            events.push(event.clone());
            Ok::<(), runstone_lineage::Error>(())
        });
        assert_eq!(exported.unwrap().events, events.len() as u64);
        events
    }

    pub(crate) fn import(&mut self, text: &str) -> Report {
        import(&mut *self.store, &self.objects, text.as_bytes(), Timestamp(9_000_000)).unwrap()
    }

    /// Imports events that must all be understood.
    pub(crate) fn tell(&mut self, events: &[Value]) -> Report {
        let report = self.import(&lines(events));
        assert_eq!(report.failures, []);
        report
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The asserted graph: `run side namespace name version`.
    pub(crate) fn graph(&mut self) -> BTreeSet<String> {
        let events = self.store.asserted_events(0, u32::MAX).unwrap();
        let runs: BTreeSet<AssertedRunId> = events.iter().filter_map(|event| event.run).collect();
        let runs: Vec<AssertedRunId> = runs.into_iter().collect();
        let mut lines = BTreeSet::new();
        for run in self.store.asserted_runs(&runs).unwrap() {
            lines.insert(format!("{} {:?} {:?}", run.uuid, run.job.name, run.state));
            for side in [Side::Input, Side::Output] {
                for edge in self.store.asserted_edges(EdgesOf::Runs(&[run.id]), side, u32::MAX).unwrap() {
                    let known = self.store.asserted_datasets(&[edge.point.dataset]).unwrap().remove(0);
                    let version = edge.point.version.unwrap_or_else(|| "-".to_owned());
                    let name = &known.name;
                    lines.insert(format!("{} {} {} {} {version}", run.uuid, side.as_str(), name.namespace, name.name));
                }
            }
        }
        lines
    }
}

pub(crate) fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

pub(crate) fn uuid(number: u32) -> String {
    Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 | u128::from(number)).to_string()
}

/// A dataset in an event; an empty version is none.
pub(crate) fn dataset(name: &str, version: &str) -> Value {
    let mut dataset = json!({"namespace": "s3://lake", "name": name, "facets": {}});
    if !version.is_empty() {
        dataset["facets"]["version"] = json!({"datasetVersion": version});
    }
    dataset
}

/// An event of a run of somebody else's.
pub(crate) fn event(run: u32, kind: &str, second: u32, inputs: &[Value], outputs: &[Value]) -> Value {
    json!({
        "eventType": kind, "eventTime": format!("2026-11-20T02:00:{second:02}Z"), "producer": "https://example.org/etl",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": uuid(run)}, "job": {"namespace": "etl", "name": format!("job{run}")},
        "inputs": inputs, "outputs": outputs,
    })
}

/// With other names for its output.
pub(crate) fn symlinks(mut dataset: Value, names: &[&str]) -> Value {
    let identifiers: Vec<Value> =
        names.iter().map(|name| json!({"namespace": "hive://meta", "name": name, "type": "TABLE"})).collect();
    dataset["facets"]["symlinks"] = json!({"identifiers": identifiers});
    dataset
}
