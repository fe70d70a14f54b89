//! `kill -9` at any moment loses nothing that was acknowledged and leaves a sound record.
//!
//! The parent runs this very test program again as the child that commits, reads its acknowledgements, and kills it after
//! one that a fixed seed picks: at once, so that the child is somewhere within the commits that follow.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{AttemptEnd, AttemptKind, AttemptState, ContentKind, RunEnvironment, RunId, TaskState};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, RunFilter, RunRef, StartAttempt,
    Store,
};
use runstone_core::time::Timestamp;
use runstone_store::{Location, ProjectIdentity, connect};
use uuid::Uuid;

const FILE: &str = "RUNSTONE_CRASH_TEST_FILE";
const KILLS: u64 = 24;
const TASKS: u32 = 40;
const BATCH: u32 = 4;

fn open(file: &Path) -> Box<dyn Store> {
    let project = ProjectIdentity { uuid: Uuid::from_u128(1), name: "crash".to_owned() };
    connect(&Location::Sqlite(file.to_owned()), &project).unwrap()
}

fn new_run() -> NewRun {
    let task = |index| NewTask { index, step: "step".to_owned(), cell: format!("n={index}") };
    NewRun {
        id: RunId(Uuid::now_v7()),
        pipeline: "p".to_owned(),
        definition: "steps: {}".to_owned(),
        definition_path: "p.yaml".to_owned(),
        params: serde_json::json!({}),
        request: serde_json::json!({}),
        trigger: "manual".to_owned(),
        created: Timestamp(1),
        store_marker: Uuid::from_u128(2),
        partition: None,
        claim: None,
        environment: RunEnvironment::default(),
        tasks: (0..TASKS).map(task).collect(),
    }
}

fn start(run: RunId, task: u32) -> Change {
    let asked = ContentHash::of(format!("{run} {task}").as_bytes());
    Change::Start(StartAttempt {
        task,
        number: 1,
        uuid: Uuid::now_v7(),
        kind: AttemptKind::Run,
        fingerprint: Fingerprint::from_bytes(*asked.as_bytes()),
        derivation: vec![1; 200],
        pins: Vec::new(),
        keeps: Vec::new(),
        claim: true,
        pool: None,
    })
}

fn finish(run: RunId, task: u32) -> Change {
    let end = AttemptEnd { exit_code: Some(0), ..AttemptEnd::new(Timestamp(1), Timestamp(2), Cause::Exit) };
    let output = NewMaterialization {
        output: "out".to_owned(),
        dataset: "p/step".to_owned(),
        subset: format!("n={task}"),
        hash: ContentHash::of(format!("{run} {task} made").as_bytes()),
        kind: ContentKind::File,
        size: 1,
        files: 1,
        rows: None,
        file_name: "out".to_owned(),
        profile: None,
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

/// Commits run after run until it is killed; says what was acknowledged only after it was.
#[test]
fn child_that_commits() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let mut store = open(Path::new(&file));
    let mut out = std::io::stdout().lock();
    loop {
        let run = new_run();
        let number = store.create_run(&run).unwrap();
        writeln!(out, "run {number}").unwrap();
        let owner = Ownership { run: run.id, epoch: 1 };
        for first in (0..TASKS).step_by(BATCH as usize) {
            let tasks = first..first + BATCH;
            let starts: Vec<Change> = tasks.clone().map(|task| start(run.id, task)).collect();
            for (task, applied) in tasks.clone().zip(store.commit(owner, Timestamp(1), &starts).unwrap()) {
                let Applied::Started { attempt } = applied else { panic!("{applied:?}") };
                writeln!(out, "started {number} {task} {}", attempt.0).unwrap();
            }
            let ends: Vec<Change> = tasks.clone().map(|task| finish(run.id, task)).collect();
            for (task, applied) in tasks.zip(store.commit(owner, Timestamp(2), &ends).unwrap()) {
                let Applied::Published { attempt, materializations } = applied else { panic!("{applied:?}") };
                writeln!(out, "finished {number} {task} {} {}", attempt.0, materializations[0].0).unwrap();
            }
        }
    }
}

/// Starts a child, kills it after its `after`-th acknowledgement, and gives all that it said.
fn killed_child(file: &Path, after: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_commits", "--nocapture", "--test-threads=1"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = BufReader::new(child.stdout.take().unwrap());
    // A line that was not told to its end was not acknowledged.
    let mut lines = std::iter::from_fn(move || {
        let mut line = String::new();
        pipe.read_line(&mut line).ok()?;
        line.strip_suffix('\n').map(str::to_owned)
    })
    .filter(|line| ["run ", "started ", "finished "].iter().any(|kind| line.starts_with(kind)));
    let mut said = Vec::new();
    while (said.len() as u64) < after {
        said.push(lines.next().unwrap());
    }
    child.kill().unwrap();
    // What is still in the pipe was acknowledged, too.
    said.extend(lines);
    child.wait().unwrap();
    said
}

/// What was acknowledged is on record.
fn assert_kept(store: &mut dyn Store, said: &[String]) {
    let mut states = HashMap::new();
    for run in store.runs(&RunFilter::default()).unwrap() {
        for attempt in store.attempts(run.id, None).unwrap() {
            let published =
                store.published(&[attempt.id]).unwrap().iter().map(|record| record.id.0).collect::<Vec<_>>();
            states.insert((run.number, attempt.task, attempt.id.0), (attempt.state, published));
        }
    }
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        match words[..] {
            ["run", _] => assert!(store.run(&RunRef::Number(number(1))).unwrap().is_some(), "{line}"),
            ["started", _, task, _] => {
                assert!(states.contains_key(&(number(1), task.parse().unwrap(), number(3))), "{line}");
            }
            ["finished", _, task, _, _] => {
                let expected = (AttemptState::Succeeded, vec![number(4)]);
                assert_eq!(states.get(&(number(1), task.parse().unwrap(), number(3))), Some(&expected), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.db");
    let mut said = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        said.extend(killed_child(&file, 1 + (random >> 33) % 90));
        let mut store = open(&file);
        assert_kept(store.as_mut(), &said);
        assert_eq!(store.check().unwrap(), Vec::<String>::new(), "after kill {kill}");
        // A live attempt of the dead child still holds its claim, and can be ended by a new owner.
        let run = store.run(&RunRef::Latest).unwrap().unwrap();
        let owner = store.take_over(run.id, false, Timestamp(3)).unwrap().unwrap();
        for task in store.tasks(run.id).unwrap().iter().filter(|task| task.state == TaskState::Assigned) {
            let applied = store.commit(owner, Timestamp(4), &[finish(run.id, task.index)]).unwrap();
            assert!(matches!(applied[0], Applied::Published { .. }), "{applied:?}");
        }
    }
    assert!(said.iter().any(|line| line.starts_with("finished")));
}
