//! The rows of a graph: the same for both databases.

use runstone_core::canonical::{self, Value};
use runstone_core::derivation;
use runstone_core::hash::ContentHash;
use uuid::Uuid;

use super::{Attempt, Attempts, attempts};

/// A value, as each database spells it.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// Microseconds since 1970.
    Time(i64),
    Bytes(Vec<u8>),
    Uuid(Uuid),
}

/// A table with its rows.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static str,
    rows: fn(&mut Attempts, i64, &mut dyn FnMut(Vec<Cell>)),
}

impl Table {
    /// Gives each row to `put`, for a graph of so many readings in a project.
    pub(crate) fn rows(&self, edges: usize, project: i64, put: &mut dyn FnMut(Vec<Cell>)) {
        (self.rows)(&mut attempts(edges), project, put);
    }
}

/// Attempts of one run.
const TASKS: usize = 100;
const DATASETS: i64 = 1_000;
/// Publications of one version.
const SAME: i64 = 8;
const NOW: i64 = 1_767_225_600_000_000;
const DEFINITION: &str = "steps: {}";

/// Everything that questions about lineage read.
pub(crate) const TABLES: &[Table] = &[
    Table { name: "definition", columns: "hash, body", rows: |_, _, put| put(vec![definition(), text(DEFINITION)]) },
    Table {
        name: "run",
        columns: "id, project_id, number, pipeline, definition, definition_path, params, request, trigger, state, created, \
                  ended, epoch, store_marker, tool_version, platform, user_name, host",
        rows: |all, project, put| all.step_by(TASKS).for_each(|it| put(run(&it, project))),
    },
    Table {
        name: "attempt",
        columns: "id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state, fingerprint, reusable, \
                  created, started, ended, cause, exit_code, user_us, system_us, peak_rss, stdout_bytes, stderr_bytes, \
                  leftovers",
        rows: |all, project, put| all.for_each(|it| put(attempt(&it, project))),
    },
    Table {
        name: "dataset",
        columns: "id, project_id, name",
        rows: |_, project, put| {
            (1..=DATASETS).for_each(|id| put(vec![int(id), int(project), text(format!("p/d{id}"))]));
        },
    },
    Table { name: "version", columns: "id, dataset_id, number, hash, kind, size, files, created", rows: versions },
    Table {
        name: "materialization",
        columns: "id, version_id, attempt_id, output, subset, file_name, created",
        rows: publications,
    },
    Table { name: "consumed", columns: "attempt_id, mat_id, slot, trust", rows: readings },
];

/// What the log states besides.
pub(crate) const LOGGED: &[Table] = &[
    Table {
        name: "derivation",
        columns: "fingerprint, canonical",
        rows: |all, _, put| {
            all.for_each(|it| {
                let bytes = asked(it.index);
                put(vec![fingerprint(&bytes), Cell::Bytes(bytes)]);
            });
        },
    },
    Table {
        name: "metric",
        columns: "attempt_id, name, slice, value",
        rows: |all, _, put| all.for_each(|it| put(vec![int(it.id), text("f1"), text(""), Cell::Float(0.5)])),
    },
];

fn int(value: i64) -> Cell {
    Cell::Int(value)
}

fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

fn number(value: usize) -> i64 {
    i64::try_from(value).expect("a graph fits into memory")
}

fn definition() -> Cell {
    Cell::Bytes(ContentHash::of(DEFINITION.as_bytes()).as_bytes().to_vec())
}

/// Identities grow with time, as those of version 7 do.
fn uuid(kind: u128, index: usize) -> Cell {
    Cell::Uuid(Uuid::from_u128((index as u128) << 80 | kind << 76 | 0x8000_0000_0000_0000))
}

/// Canonical bytes of the usual size.
fn asked(index: usize) -> Vec<u8> {
    let hash = |name: &str| Value::bytes(*ContentHash::of(format!("{name} {index}").as_bytes()).as_bytes());
    canonical::encode(&Value::map([
        ("shell", Value::text("python3 ./train.py")),
        ("code", Value::map([("train.py", hash("code")), ("lib/model.py", hash("lib"))])),
        ("params", Value::map([("lr", Value::Float(0.1)), ("seed", Value::Int(number(index)))])),
        ("inputs", Value::map([("data", hash("data")), ("labels", hash("labels"))])),
        ("platform", Value::text("linux-x86_64")),
    ]))
}

fn fingerprint(canonical: &[u8]) -> Cell {
    Cell::Bytes(derivation::fingerprint(canonical).as_bytes().to_vec())
}

fn run(first: &Attempt, project: i64) -> Vec<Cell> {
    vec![
        uuid(1, first.index / TASKS),
        int(project),
        int(number(first.index / TASKS) + 1),
        text("p"),
        definition(),
        text("pipelines/p.yaml"),
        text("{}"),
        text("{}"),
        text("manual"),
        text("succeeded"),
        Cell::Time(NOW),
        Cell::Time(NOW + 1),
        int(1),
        Cell::Uuid(Uuid::from_u128(1)),
        text("0.1.0"),
        text("linux-x86_64"),
        text("ada"),
        text("mill"),
    ]
}

fn attempt(it: &Attempt, project: i64) -> Vec<Cell> {
    let task = it.index % TASKS;
    let at = NOW + it.id * 1_000;
    vec![
        int(it.id),
        uuid(2, it.index),
        int(project),
        uuid(1, it.index / TASKS),
        int(number(task)),
        int(1),
        text("p"),
        text(format!("step{}", task / 10)),
        text(format!("seed={}", task % 10)),
        text("run"),
        text("succeeded"),
        fingerprint(&asked(it.index)),
        Cell::Bool(true),
        Cell::Time(at),
        Cell::Time(at),
        Cell::Time(at + 1),
        text("exit"),
        int(0),
        int(1_000),
        int(100),
        int(10_000_000),
        int(120),
        int(0),
        int(0),
    ]
}

/// The publication by which a version came about: every eighth of them is another one.
fn version_of(ordinal: i64, id: i64, first: &mut i64) -> i64 {
    if ordinal % SAME == 0 {
        *first = id;
    }
    *first
}

fn versions(all: &mut Attempts, _: i64, put: &mut dyn FnMut(Vec<Cell>)) {
    for (ordinal, id) in (0..).zip(all.flat_map(|it| it.publishes)) {
        if ordinal % SAME != 0 {
            continue;
        }
        let version = ordinal / SAME;
        put(vec![
            int(id),
            int(1 + version % DATASETS),
            int(1 + version / DATASETS),
            Cell::Bytes(ContentHash::of(&version.to_le_bytes()).as_bytes().to_vec()),
            text("file"),
            int(1_000),
            int(1),
            Cell::Time(NOW),
        ]);
    }
}

fn publications(all: &mut Attempts, _: i64, put: &mut dyn FnMut(Vec<Cell>)) {
    let (mut ordinal, mut first) = (0, 0);
    for it in all {
        for id in it.publishes.clone() {
            let version = version_of(ordinal, id, &mut first);
            ordinal += 1;
            let output = text(format!("out{}", id - it.id));
            put(vec![int(id), int(version), int(it.id), output, text(""), text("out.csv"), Cell::Time(NOW)]);
        }
    }
}

fn readings(all: &mut Attempts, _: i64, put: &mut dyn FnMut(Vec<Cell>)) {
    for it in all {
        for (slot, read) in it.reads.iter().enumerate() {
            put(vec![int(it.id), int(*read), text(format!("in{slot}")), text("verified")]);
        }
    }
}
