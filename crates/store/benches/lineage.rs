//! What questions about lineage cost, on SQLite and on Postgres: walks over a large graph, by the store and by the index in
//! memory, and whether the log still says what the record does.
//!
//! `cargo bench -p runstone-store --bench lineage -- [sqlite] [postgres] [graph] [log] [record]`, all of it where nothing is
//! named. `EDGES` is how many readings the graph has (100,000), `ATTEMPTS` how many attempts the log (10,000). The full
//! measurement has 10⁷ and 10⁶, and needs 5 GB in TMPDIR for SQLite and 8 GB for Postgres.

mod graph;
mod measure;
#[path = "../tests/postgres/mod.rs"]
mod postgres;

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use postgres::{Database, Durability, Server};
use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::log::key::SigningKey;
use runstone_core::record::{AttemptEnd, AttemptKind, ContentKind, NodeId, RunEnvironment, RunId, TaskState, Trust};
use runstone_core::store::{
    Applied, Change, Direction, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource,
    StartAttempt, Store, WalkLimit,
};
use runstone_core::time::Timestamp;
use runstone_lineage::index::Index;
use runstone_lineage::{archive, log};
use runstone_store::{Location, ProjectIdentity};
use uuid::Uuid;

use graph::{Questions, questions};
use measure::{cpu_us, measure};

const ALL: WalkLimit = WalkLimit::NONE;
/// Small walks timed, and large ones.
const MANY: usize = 1_000;
const FEW: usize = 15;

fn project() -> ProjectIdentity {
    ProjectIdentity { uuid: Uuid::from_u128(7), name: "bench".to_owned() }
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}

/// What one of many took: by the clock, and of the processor in this process, in milliseconds.
type Taken = (f64, f64);

fn timed<T>(work: impl FnOnce() -> T) -> (Taken, T) {
    let (cpu, begun) = (cpu_us(), Instant::now());
    let value = std::hint::black_box(work());
    ((begun.elapsed().as_secs_f64() * 1e3, (cpu_us() - cpu) / 1e3), value)
}

/// Tells the middle and the slow end of many.
fn spread(name: &str, taken: &[Taken], of: &str) {
    let sorted = |pick: fn(&Taken) -> f64| {
        let mut all: Vec<f64> = taken.iter().map(pick).collect();
        all.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
        format!("p50 {:>9.3} p99 {:>9.3} ms", at(0.5), at(0.99))
    };
    let (wall, cpu) = (sorted(|it| it.0), sorted(|it| it.1));
    say(&format!("{name:<44} {:>6} ×  wall {wall}  cpu {cpu}  {of}", taken.len()));
}

/// Asks about each of some nodes, in turn, so often; all of them once before, so that everything is warm.
fn walks(name: &str, nodes: &[i64], times: usize, mut ask: impl FnMut(NodeId) -> usize) {
    if nodes.is_empty() {
        return;
    }
    let mut sizes: Vec<usize> = nodes.iter().map(|node| ask(NodeId(*node))).collect();
    sizes.sort_unstable();
    let taken: Vec<Taken> = nodes.iter().cycle().take(times).map(|node| timed(|| ask(NodeId(*node))).0).collect();
    spread(name, &taken, &format!("{} nodes (most {})", sizes[sizes.len() / 2], sizes[sizes.len() - 1]));
}

/// So many of them, spread over all.
fn some<T: Copy>(all: &[T], many: usize) -> Vec<T> {
    all.iter().step_by((all.len() / many).max(1)).take(many).copied().collect()
}

/// A connection for each thread that wants one.
type Connect<'a> = &'a (dyn Fn() -> Box<dyn Store> + Sync);

fn graph(connect: Connect<'_>, asked: &Questions) {
    let mut store = connect();
    let small = some(&asked.small, 200);
    let (first, last): (Vec<i64>, Vec<i64>) = small.iter().copied().unzip();
    let (begin, end): (Vec<i64>, Vec<i64>) = some(&asked.large, 4).into_iter().unzip();
    let thousand = WalkLimit { nodes: 1_000, ..ALL };
    let mut closure = |name: &str, nodes: &[i64], times, direction, limit| {
        walks(name, nodes, times, |node| {
            store.closure(&[node], direction, limit).expect("a closure").materializations.len()
        });
    };
    closure("closure up, small", &last, MANY, Direction::Up, ALL);
    closure("closure down, small", &first, MANY, Direction::Down, ALL);
    closure("closure up, cut at 1,000", &end, FEW * 4, Direction::Up, thousand);
    closure("closure down, cut at 1,000", &begin, FEW * 4, Direction::Down, thousand);
    closure("closure up, large", &end, FEW, Direction::Up, ALL);
    closure("closure down, large", &begin, FEW, Direction::Down, ALL);
    closure("closure up, chain", &asked.chains, 4, Direction::Up, ALL);
    closure("closure down, hub, cut at 1,000", &asked.hubs, FEW, Direction::Down, thousand);
    closure("closure of what is unknown", &[asked.last * 2], MANY, Direction::Up, ALL);
    walks("with records, up, small", &last, MANY / 4, |node| {
        store.lineage(&[node], Direction::Up, ALL).expect("records").materializations.len()
    });
    walks("with records, up, cut at 1,000", &end, FEW * 2, |node| {
        store.lineage(&[node], Direction::Up, thousand).expect("records").materializations.len()
    });

    let (taken, mut index): (Vec<Taken>, Vec<Index>) =
        (0..3).map(|_| timed(|| Index::build(&mut *store).expect("an index"))).unzip();
    spread("build the index", &taken, "");
    let mut index = index.pop().expect("there are three");
    let size = index.size();
    let each = size.bytes as f64 / size.edges as f64;
    say(&format!("index: {} nodes, {} edges, {} bytes, {each:.1} an edge", size.nodes, size.edges, size.bytes));
    let closure = |name: &str, nodes: &[i64], times, direction, limit| {
        walks(name, nodes, times, |node| index.closure(&[node], direction, limit).materializations.len());
    };
    closure("index, up, small", &last, MANY, Direction::Up, ALL);
    closure("index, down, small", &first, MANY, Direction::Down, ALL);
    closure("index, up, large", &end, FEW * 4, Direction::Up, ALL);
    closure("index, down, large", &begin, FEW * 4, Direction::Down, ALL);
    closure("index, up, chain", &asked.chains, FEW, Direction::Up, ALL);
    closure("index, down, hub", &asked.hubs, FEW, Direction::Down, ALL);
    closure("index, what is unknown", &[asked.last * 2], MANY, Direction::Up, ALL);
    for (node, direction) in
        last.iter().map(|node| (*node, Direction::Up)).chain(begin.iter().map(|node| (*node, Direction::Down)))
    {
        let (here, there) =
            (index.closure(&[NodeId(node)], direction, ALL), store.closure(&[NodeId(node)], direction, ALL));
        assert_eq!(here, there.expect("a closure"));
    }
    refresh(&mut *store, &mut index, &last);
}

/// A thousand readings between one look and the next.
fn refresh(store: &mut dyn Store, index: &mut Index, read: &[i64]) {
    let mut taken = Vec::new();
    for round in 0..10 {
        let tasks = 334;
        let owner = begin(store, tasks);
        let pins = |task: u32| (0..3).map(|at| pin(at, read[(task as usize + at * 7) % read.len()])).collect();
        let changes: Vec<Change> =
            (0..tasks).flat_map(|task| [start(task, pins(task)), finish(task, &format!("{round} {task}"))]).collect();
        commit(store, owner, &changes);
        let before = index.size().edges;
        taken.push(timed(|| index.refresh(store).expect("what is new")).0);
        assert_eq!(index.size().edges - before, 6 * tasks as usize);
    }
    spread("refresh, 1,002 readings, as many publishings", &taken, "");
}

fn begin(store: &mut dyn Store, tasks: u32) -> Ownership {
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
        tasks: (0..tasks).map(task).collect(),
    };
    store.create_run(&run).expect("a run");
    Ownership { run: run.id, epoch: 1 }
}

fn commit(store: &mut dyn Store, owner: Ownership, changes: &[Change]) -> Vec<Applied> {
    let applied = store.commit(owner, Timestamp(3), changes).expect("a commit");
    assert!(!applied.contains(&Applied::Stale));
    applied
}

fn pin(slot: usize, node: i64) -> Pin {
    Pin { slot: format!("in{slot}"), source: PinSource::Materialization(NodeId(node)), trust: Trust::Verified }
}

fn start(task: u32, pins: Vec<Pin>) -> Change {
    Change::Start(StartAttempt {
        task,
        number: 1,
        uuid: Uuid::now_v7(),
        kind: AttemptKind::Run,
        fingerprint: Fingerprint::from_bytes(*ContentHash::of(Uuid::now_v7().as_bytes()).as_bytes()),
        derivation: vec![7; 600],
        pins,
        keeps: Vec::new(),
        claim: true,
        pool: None,
    })
}

/// Publishes three versions.
fn finish(task: u32, bytes: &str) -> Change {
    let output = |name: u32| NewMaterialization {
        output: format!("out{name}"),
        dataset: format!("pipeline/step.out{name}"),
        subset: format!("seed={task}"),
        hash: ContentHash::of(format!("{name} {bytes}").as_bytes()),
        kind: ContentKind::File,
        size: 1_000,
        files: 1,
        rows: None,
        file_name: "out.csv".to_owned(),
        profile: None,
    };
    Change::Finish(Box::new(FinishAttempt {
        task,
        number: 1,
        succeeded: true,
        end: AttemptEnd { exit_code: Some(0), ..AttemptEnd::new(Timestamp(1), Timestamp(2), Cause::Exit) },
        outputs: (0..3).map(output).collect(),
        metrics: Vec::new(),
        metadata: None,
        next: TaskState::Succeeded,
        reason: None,
        reusable: true,
    }))
}

/// Attempts with three inputs and three outputs, each from start to end in one call. `commits` counts transactions.
fn record(store: &mut dyn Store, commits: &mut dyn FnMut() -> u64) {
    // Few enough that the log of SQLite is not written over.
    const ATTEMPTS: u32 = 100;
    let owner = begin(store, ATTEMPTS + 1);
    let Some(Applied::Published { materializations, .. }) =
        commit(store, owner, &[start(0, Vec::new()), finish(0, "first")]).pop()
    else {
        panic!("the first attempt publishes");
    };
    let before = commits();
    let record = |task: u32| {
        let pins = (0..3).map(|at| pin(at, materializations[at].0)).collect();
        timed(|| commit(store, owner, &[start(task, pins), finish(task, &task.to_string())])).0
    };
    let taken: Vec<Taken> = (1..=ATTEMPTS).map(record).collect();
    let commits = commits() - before;
    spread("record an attempt, 3 inputs, 3 outputs", &taken, &format!("{commits} commits"));
}

/// Commits in the write-ahead log: frames that say how large the database is. See <https://sqlite.org/fileformat2.html>.
fn commits_in(log: &Path) -> u64 {
    let bytes = std::fs::read(log).unwrap_or_default();
    let frames = bytes.get(32..).unwrap_or_default().chunks(24 + 4_096);
    frames.filter(|frame| frame.len() > 24 && frame[4..8] != [0; 4]).count() as u64
}

fn verify(store: &mut dyn Store, attempts: usize, folder: &Path) {
    let uuid = project().uuid;
    let key = SigningKey::from_seed([7; 32]);
    let keys = [log::verifier_key(uuid, &key).expect("a key")];
    let count = u32::try_from(attempts).expect("a size that fits into memory");
    measure("append to the log, attempts", count, || log::seal(store, uuid, &key, None, Timestamp(1)).expect("a log"));
    for _ in 0..3 {
        let report = measure("check the log in place, attempts", count, || {
            log::check(store, uuid, &keys, &[], &mut |_, _| ()).expect("a report")
        });
        assert_eq!((report.leaves, report.findings), (attempts as u64, Vec::new()));
    }
    let request = archive::Request {
        project: uuid,
        name: "bench",
        versions: &[],
        objects: None,
        key: &key,
        tool_version: "0",
        now: Timestamp(1),
    };
    let export = folder.join("export");
    let written = measure("export, attempts", count, || archive::write(store, &request, &export).expect("an export"));
    let trust = archive::Trust { keys: keys.to_vec(), checkpoint: None };
    for _ in 0..3 {
        let report =
            measure("verify the export, attempts", count, || archive::verify(&export, &trust).expect("a report"));
        assert_eq!((report.statements, report.findings), (attempts as u64, Vec::new()));
    }
    say(&format!("export: {} bytes", written.bytes));
    std::fs::remove_dir_all(export).expect("it was there");
}

/// What is asked for, of one of two things; everything where nothing is named.
struct Wanted(Vec<String>);

impl Wanted {
    fn has(&self, name: &str, of: &[&str]) -> bool {
        let named = |name: &str| self.0.iter().any(|arg| arg == name);
        named(name) || !of.iter().any(|other| named(other))
    }

    fn part(&self, name: &str) -> bool {
        self.has(name, &["graph", "log", "record"])
    }
}

fn on_sqlite(wanted: &Wanted, edges: usize, logged: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| {
        let path = folder.path().join(name);
        let open = path.clone();
        let connect = move || runstone_store::connect(&Location::Sqlite(open.clone()), &project()).expect("a store");
        drop(connect());
        (path, connect)
    };
    if wanted.part("record") {
        let (path, connect) = file("record.db");
        record(&mut *connect(), &mut || commits_in(&path.with_extension("db-wal")));
    }
    if wanted.part("graph") {
        let (path, connect) = file("graph.db");
        measure("generate", 1, || graph::load::sqlite(&path, edges, false));
        graph(&connect, &questions(edges));
        std::fs::remove_file(path).expect("it was there");
    }
    if wanted.part("log") {
        let (path, connect) = file("log.db");
        measure("generate", 1, || graph::load::sqlite(&path, logged, true));
        verify(&mut *connect(), questions(logged).attempts, folder.path());
    }
}

fn on_postgres(wanted: &Wanted, edges: usize, logged: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::private(Durability::Disk);
    if wanted.part("record") {
        let database = Database::new(&server);
        let mut admin = database.admin();
        let mut store = database.connect(&project());
        record(&mut *store, &mut || {
            admin.lines("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").remove(0).parse().expect("a number")
        });
    }
    for (part, edges, is_logged) in [("graph", edges, false), ("log", logged, true)] {
        if !wanted.part(part) {
            continue;
        }
        let database = Database::new(&server);
        drop(database.connect(&project()));
        measure("generate", 1, || graph::load::postgres(&mut database.admin(), edges, is_logged));
        if is_logged {
            verify(&mut *database.connect(&project()), questions(edges).attempts, folder.path());
        } else {
            graph(&|| database.connect(&project()), &questions(edges));
        }
    }
}

fn main() {
    let wanted = Wanted(std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect());
    let size = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (edges, attempts): (usize, usize) = (size("EDGES", 100_000), size("ATTEMPTS", 10_000));
    // The shape decides how many readings so many attempts make: two and a bit each.
    let logged = questions(attempts).consumed * attempts / questions(attempts).attempts;
    let asked = questions(edges);
    say(&format!("{} attempts, {} publications, {} readings", asked.attempts, asked.publications, asked.consumed));
    let databases = ["sqlite", "postgres"];
    if wanted.has("sqlite", &databases) {
        say("SQLite");
        on_sqlite(&wanted, edges, logged);
    }
    if wanted.has("postgres", &databases) && !postgres::skipped() {
        say("Postgres");
        on_postgres(&wanted, edges, logged);
    }
}
