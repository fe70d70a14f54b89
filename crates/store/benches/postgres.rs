//! What the record costs on Postgres and on SQLite, in one run, alternating: both durable, the server on this machine.
//!
//! `cargo bench -p runstone-store --bench postgres [-- BATCH…]`. The disk is the same where TMPDIR and the target folder are.

#[path = "../tests/postgres/mod.rs"]
mod postgres;

use std::io::Write;
use std::time::{Duration, Instant};

use postgres::{Database, Durability, Server};
use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{AttemptEnd, AttemptKind, ContentKind, RunEnvironment, RunId, TaskState, Trust};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_store::{Location, ProjectIdentity};
use uuid::Uuid;

const TASKS: u32 = 1_000;
const ROUNDS: u32 = 7;

fn fingerprint(round: u32, task: u32) -> Fingerprint {
    Fingerprint::from_bytes(*ContentHash::of(format!("{round} {task}").as_bytes()).as_bytes())
}

fn start(round: u32, task: u32) -> Change {
    let source = PinSource::Task { task: 0, output: "out".to_owned() };
    let root = Pin { slot: "data".to_owned(), source, trust: Trust::Verified };
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
        subset: format!("seed={task}"),
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
        metrics: Vec::new(),
        metadata: None,
        next: TaskState::Succeeded,
        reason: None,
        reusable: true,
    }))
}

/// Records a fan-out as an engine does: each batch ends some attempts, starts as many others, and says that those run.
fn fan_out(store: &mut dyn Store, round: u32, batch: u32) -> Duration {
    let task = |index| NewTask { index, step: "step".to_owned(), cell: format!("seed={index}") };
    let run = NewRun {
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
        tasks: (0..=TASKS).map(task).collect(),
    };
    let begun = Instant::now();
    store.create_run(&run).expect("a run");
    let owner = Ownership { run: run.id, epoch: 1 };
    let mut commit = |changes: &[Change]| {
        let applied = store.commit(owner, Timestamp(3), changes).expect("a commit");
        assert!(!applied.contains(&Applied::Stale));
    };
    commit(&[start(round, 0), finish(round, 0)]);
    for first in (1..=TASKS + batch).step_by(batch as usize) {
        let this = first..(first + batch).min(TASKS + 1);
        let ended = first.saturating_sub(batch).max(1)..first.min(TASKS + 1);
        let mut changes: Vec<Change> = ended.map(|task| finish(round, task)).collect();
        changes.extend(this.clone().map(|task| start(round, task)));
        changes.extend(this.map(|task| Change::Running { task, number: 1 }));
        commit(&changes);
    }
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() {
    if postgres::skipped() {
        return;
    }
    let asked: Vec<u32> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let batches = if asked.is_empty() { vec![1, 4, 16, 100] } else { asked };
    let identity = ProjectIdentity { uuid: Uuid::from_u128(7), name: "bench".to_owned() };
    let server = Server::private(Durability::Disk);
    let database = Database::new(&server);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut there = database.connect(&identity);
    let mut here = runstone_store::connect(&Location::Sqlite(folder.path().join("r.db")), &identity).expect("a file");
    let mut round = 0;
    for batch in batches {
        let (mut on_postgres, mut on_sqlite) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            round += 1;
            on_sqlite.push(fan_out(&mut *here, round, batch));
            on_postgres.push(fan_out(&mut *there, round, batch));
        }
        let (postgres, sqlite) = (median(on_postgres), median(on_sqlite));
        writeln!(
            std::io::stdout(),
            "{TASKS} tasks, {batch:>4} a batch: SQLite {sqlite:>8.1} ms, Postgres {postgres:>8.1} ms, ratio {:.2}",
            postgres / sqlite
        )
        .expect("standard output is open");
    }
    assert_eq!(there.check().expect("a check"), Vec::<String>::new());
}
