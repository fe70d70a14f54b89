//! What the SQLite record costs: processor and wall time of the calls a run makes, on a fresh file.
//!
//! `cargo bench -p runstone-store --bench sqlite`

mod measure;

use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{
    AttemptEnd, AttemptKind, ContentKind, Metric, NodeId, RunEnvironment, RunId, TaskState, Trust,
};
use runstone_core::store::{
    Applied, Change, Direction, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, Reuse,
    SettleTask, StartAttempt, Store, VersionRef, WalkLimit,
};
use runstone_core::time::Timestamp;
use runstone_store::{Location, ProjectIdentity};
use uuid::Uuid;

use measure::measure;

fn new_run(tasks: u32) -> NewRun {
    let task = |index| NewTask { index, step: "step".to_owned(), cell: format!("lr=0.1,seed={index}") };
    NewRun {
        id: RunId(Uuid::now_v7()),
        pipeline: "pipeline".to_owned(),
        definition: "steps: {}".to_owned(),
        definition_path: "pipelines/p.yaml".to_owned(),
        params: serde_json::json!({}),
        request: serde_json::json!({}),
        trigger: "manual".to_owned(),
        created: Timestamp(1),
        store_marker: Uuid::from_u128(1),
        partition: None,
        claim: None,
        environment: RunEnvironment::default(),
        tasks: (0..tasks).map(task).collect(),
    }
}

fn fingerprint(round: u32, task: u32) -> Fingerprint {
    Fingerprint::from_bytes(*ContentHash::of(format!("{round} {task}").as_bytes()).as_bytes())
}

fn start(round: u32, task: u32) -> Change {
    let root = Pin {
        slot: "data".to_owned(),
        source: PinSource::Task { task: 0, output: "out".to_owned() },
        trust: Trust::Verified,
    };
    Change::Start(StartAttempt {
        task,
        number: 1,
        uuid: Uuid::now_v7(),
        kind: AttemptKind::Run,
        fingerprint: fingerprint(round, task),
        derivation: vec![7; 600],
        pins: if task == 0 { Vec::new() } else { vec![root] },
        keeps: Vec::new(),
        claim: true,
        pool: None,
    })
}

fn finish(round: u32, task: u32) -> Change {
    let output = NewMaterialization {
        output: "out".to_owned(),
        dataset: "pipeline/step".to_owned(),
        subset: format!("lr=0.1,seed={task}"),
        hash: ContentHash::of(format!("bytes {round} {task}").as_bytes()),
        kind: ContentKind::File,
        size: 1_000,
        files: 1,
        rows: None,
        file_name: "out.csv".to_owned(),
        profile: None,
    };
    let end = AttemptEnd {
        started: Timestamp(1),
        ended: Timestamp(2),
        cause: Cause::Exit,
        exit_code: Some(0),
        signal: None,
        message: None,
        user_us: 1,
        system_us: 1,
        peak_rss: 1,
        stdout_bytes: 1,
        stderr_bytes: 1,
        leftovers: 0,
        tainted: None,
    };
    Change::Finish(Box::new(FinishAttempt {
        task,
        number: 1,
        succeeded: true,
        end,
        outputs: vec![output],
        metrics: Vec::<Metric>::new(),
        metadata: None,
        next: TaskState::Succeeded,
        reason: None,
        reusable: true,
    }))
}

/// One run of `tasks` in batches: the first is read by all others.
fn execute(store: &mut dyn Store, round: u32, tasks: u32, batch: u32) {
    let run = new_run(tasks);
    store.create_run(&run).expect("a run");
    let owner = Ownership { run: run.id, epoch: 1 };
    let mut commit = |changes: &[Change]| {
        let applied = store.commit(owner, Timestamp(3), changes).expect("a commit");
        assert!(!applied.contains(&Applied::Stale));
    };
    commit(&[start(round, 0), finish(round, 0)]);
    let batched: Vec<Vec<u32>> = (1..tasks).collect::<Vec<_>>().chunks(batch as usize).map(<[u32]>::to_vec).collect();
    measure(&format!("start and finish, batches of {batch}"), tasks - 1, || {
        for tasks in &batched {
            commit(&tasks.iter().map(|task| start(round, *task)).collect::<Vec<_>>());
            commit(&tasks.iter().map(|task| finish(round, *task)).collect::<Vec<_>>());
        }
    });
}

fn reuse(store: &mut dyn Store, tasks: u32) {
    let asked: Vec<Fingerprint> = (0..tasks).map(|task| fingerprint(1, task)).collect();
    let found = measure("lookup of fingerprints", tasks, || store.lookup(&asked).expect("a lookup"));
    assert_eq!(found.len(), tasks as usize);
    let run = new_run(tasks);
    measure("create_run, tasks", tasks, || store.create_run(&run).expect("a run"));
    let settle = |task: u32| {
        let fingerprint = asked[task as usize];
        let reuse = Some(Reuse { attempt: found[&fingerprint].attempt, fingerprint, node: None });
        Change::Settle(SettleTask { task, state: TaskState::Reused, reason: None, reuse })
    };
    let changes: Vec<Change> = (0..tasks).map(settle).collect();
    measure("settle as reused, one batch", tasks, || {
        store.commit(Ownership { run: run.id, epoch: 1 }, Timestamp(4), &changes).expect("a commit")
    });
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = Location::Sqlite(folder.path().join("record.db"));
    let project = ProjectIdentity { uuid: Uuid::from_u128(1), name: "bench".to_owned() };
    let open = || runstone_store::connect(&location, &project).expect("a store");
    let mut store = measure("open a new file", 1, open);
    execute(store.as_mut(), 0, 1_000, 50);
    execute(store.as_mut(), 1, 1_000, 50);
    execute(store.as_mut(), 2, 1_000, 1);
    reuse(store.as_mut(), 1_000);
    measure("create_run, tasks", 10_000, || store.create_run(&new_run(10_000)).expect("a run"));
    let latest =
        store.resolve("pipeline/step", &VersionRef::Run(runstone_core::store::RunRef::Number(2))).expect("versions");
    let root: Vec<NodeId> = latest.iter().take(1).map(|record| record.id).collect();
    let limit = WalkLimit::NONE;
    let walked =
        measure("lineage down, publications", 1_000, || store.lineage(&root, Direction::Down, limit).expect("lineage"));
    assert_eq!(walked.materializations.len(), 1_000);
    measure("check", 1, || store.check().expect("a check"));
    measure("open while another has it open", 100, || {
        for _ in 0..100 {
            open();
        }
    });
    drop(store);
    measure("open alone, close again", 100, || {
        for _ in 0..100 {
            open();
        }
    });
}
