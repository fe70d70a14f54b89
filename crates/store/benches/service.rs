//! What the service costs on SQLite: processor and wall time of the calls of schedulers, on a fresh file.
//!
//! `cargo bench -p runstone-store --bench service`

mod measure;

use runstone_core::attempt::Cause;
use runstone_core::hash::Fingerprint;
use runstone_core::record::{AttemptEnd, AttemptKind, RunEnvironment, RunId, RunState, TaskState};
use runstone_core::service::record::{
    DeclaredPipeline, DeclaredSchedule, FireDecision, FireVerdict, NewScheduler, NewSubmission, Overlap, SchedulerId,
    SchedulerState,
};
use runstone_core::store::{
    Change, FinishAttempt, NewRun, NewTask, Ownership, PoolAsk, SettleTask, StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_store::{Location, ProjectIdentity};
use serde_json::json;
use uuid::Uuid;

use measure::measure;

const SCHEDULES: u32 = 10_000;

/// Ten schedules a pipeline.
fn declared() -> Vec<DeclaredPipeline> {
    let schedule = |pipeline: &str, n: u32| DeclaredSchedule {
        pipeline: pipeline.to_owned(),
        name: format!("s{n}"),
        timing: "* * * * *".to_owned(),
        spec: json!({"cron": "* * * * *", "overlap": "queue", "zone": "Europe/Berlin"}),
        enabled: true,
    };
    let pipeline = |n: u32| {
        let pipeline = format!("pipeline-{n}");
        DeclaredPipeline {
            definition: format!("name: {pipeline}\n"),
            definition_path: format!("pipelines/{pipeline}.yaml"),
            schedules: (0..10).map(|n| schedule(&pipeline, n)).collect(),
            pipeline,
        }
    };
    (0..SCHEDULES / 10).map(pipeline).collect()
}

fn submission(pipeline: String, group: Option<String>) -> NewSubmission {
    NewSubmission {
        run: RunId(Uuid::now_v7()),
        pipeline,
        definition: None,
        definition_path: String::new(),
        params: json!({"lr": 0.1}),
        request: json!({}),
        trigger: "schedule s 2026-03-29T02:00:00+02:00".to_owned(),
        partition: None,
        priority: 0,
        group,
        backfill: None,
        key: None,
        environment: RunEnvironment::default(),
        store_marker: Uuid::from_u128(1),
    }
}

fn fires(store: &mut dyn Store) {
    let schedules = store.schedules(0).expect("schedules");
    let decision = |schedule: &runstone_core::service::record::ScheduleRecord| FireDecision {
        schedule: schedule.id,
        generation: schedule.generation,
        cursor: schedule.cursor,
        time: schedule.cursor.plus_micros(60_000_000),
        until: schedule.cursor.plus_micros(60_000_000),
        seen: None,
        verdict: FireVerdict::Submit {
            submission: Box::new(submission(
                schedule.pipeline.clone(),
                Some(format!("{}/{}", schedule.pipeline, schedule.name)),
            )),
            overlap: Overlap::Skip,
        },
    };
    let decisions: Vec<FireDecision> = schedules.iter().map(decision).collect();
    measure("decide fires, 500 a transaction", SCHEDULES, || {
        for batch in decisions.chunks(500) {
            store.decide_fires(batch, Timestamp(1)).expect("outcomes");
        }
    });
    measure("decide them again, all stale", SCHEDULES, || {
        for batch in decisions.chunks(500) {
            store.decide_fires(batch, Timestamp(1)).expect("outcomes");
        }
    });
}

fn queue(store: &mut dyn Store, me: SchedulerId) {
    let live = measure("live_submissions, 10,000 queued in 1,000", 10, || {
        (0..9).for_each(|_| drop(store.live_submissions(2).expect("submissions")));
        store.live_submissions(2).expect("submissions")
    });
    measure("submit to one long queue", 1_000, || {
        for _ in 0..1_000 {
            store.submit(&submission("pipeline-0".to_owned(), None), Timestamp(1)).expect("a submission");
        }
    });
    let claims = measure("claim", 1_000, || -> Vec<_> {
        live.iter().take(1_000).filter_map(|one| store.claim(one.run, me, Timestamp(2)).expect("an answer")).collect()
    });
    assert_eq!(claims.len(), 1_000);
    let run = |claim: &runstone_core::service::store::Claimed| NewRun {
        id: claim.claim.run,
        pipeline: claim.submission.pipeline.clone(),
        definition: format!("name: {}\n", claim.submission.pipeline),
        definition_path: String::new(),
        params: json!({}),
        request: json!({}),
        trigger: "schedule".to_owned(),
        created: Timestamp(3),
        store_marker: Uuid::from_u128(1),
        partition: None,
        claim: Some(claim.claim),
        environment: RunEnvironment::default(),
        tasks: vec![NewTask { index: 0, step: "step".to_owned(), cell: String::new() }],
    };
    measure("begin a claimed run of one task", 1_000, || {
        for claim in &claims {
            store.create_run(&run(claim)).expect("a number");
        }
    });
    let runs: Vec<RunId> = claims.iter().map(|claim| claim.claim.run).collect();
    measure("cancel_requests for 1,000 runs", 10, || {
        (0..10).for_each(|_| drop(store.cancel_requests(&runs).expect("requests")));
    });
    measure("beat", 1_000, || {
        for _ in 0..1_000 {
            store.beat(me, SchedulerState::Active).expect("an answer");
        }
    });
    let end = [
        Change::Settle(SettleTask { task: 0, state: TaskState::Skipped, reason: None, reuse: None }),
        Change::EndRun { state: RunState::Succeeded, reason: None },
    ];
    measure("bury with 1,000 runs", 1, || store.bury(me, false).expect("an answer"));
    let heir = scheduler();
    store.register(&heir).expect("a scheduler");
    let taken = measure("take over a run", 1_000, || -> Vec<Ownership> {
        let claim = |run: &RunId| store.claim(*run, heir.id, Timestamp(4)).expect("an answer")?.owner;
        runs.iter().filter_map(claim).collect()
    });
    assert_eq!(taken.len(), 1_000);
    measure("end a run", 1_000, || {
        for owner in &taken {
            store.commit(*owner, Timestamp(5), &end).expect("a commit");
        }
    });
}

fn pools(store: &mut dyn Store) {
    const TASKS: u32 = 1_000;
    store.declare_pools(&[("gpu".to_owned(), 8)]).expect("pools");
    let run = NewRun {
        id: RunId(Uuid::now_v7()),
        pipeline: "p".to_owned(),
        definition: String::new(),
        definition_path: String::new(),
        params: json!({}),
        request: json!({}),
        trigger: String::new(),
        created: Timestamp(3),
        store_marker: Uuid::from_u128(1),
        partition: None,
        claim: None,
        environment: RunEnvironment::default(),
        tasks: (0..TASKS).map(|index| NewTask { index, step: "s".to_owned(), cell: index.to_string() }).collect(),
    };
    store.create_run(&run).expect("a run");
    let start = |task: u32| {
        Change::Start(StartAttempt {
            task,
            number: 1,
            uuid: Uuid::now_v7(),
            kind: AttemptKind::Run,
            fingerprint: Fingerprint::from_bytes([7; 32]),
            derivation: Vec::new(),
            pins: Vec::new(),
            keeps: Vec::new(),
            claim: false,
            pool: Some(PoolAsk { name: "gpu".to_owned(), slots: 1, priority: 0 }),
        })
    };
    let finish = |task: u32| {
        Change::Finish(Box::new(FinishAttempt {
            task,
            number: 1,
            succeeded: true,
            end: AttemptEnd { exit_code: Some(0), ..AttemptEnd::new(Timestamp(1), Timestamp(2), Cause::Exit) },
            outputs: Vec::new(),
            metrics: Vec::new(),
            metadata: None,
            next: TaskState::Succeeded,
            reason: None,
            reusable: false,
        }))
    };
    let owner = Ownership { run: run.id, epoch: 1 };
    let mut commit = |changes: &[Change]| store.commit(owner, Timestamp(4), changes).expect("a commit");
    measure("ask for a slot, up to 1,000 in line", TASKS, || {
        commit(&(0..TASKS).map(start).collect::<Vec<_>>());
    });
    measure("end and start with 900 in line", 100, || {
        for task in 0..100 {
            commit(&[finish(task), start(task + 8)]);
        }
    });
}

fn scheduler() -> NewScheduler {
    NewScheduler {
        id: SchedulerId(Uuid::now_v7()),
        host: "bench".to_owned(),
        pid: 1,
        pid_start: 1,
        place: "here".to_owned(),
        version: "0".to_owned(),
        store_marker: Uuid::from_u128(1),
        capacity: 1_000,
        ttl_ms: 3_600_000,
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = Location::Sqlite(folder.path().join("record.db"));
    let project = ProjectIdentity { uuid: Uuid::from_u128(1), name: "bench".to_owned() };
    let mut store = runstone_store::connect(&location, &project).expect("a store");
    let me = scheduler();
    store.register(&me).expect("a scheduler");
    let files = declared();
    measure("declare, schedules", SCHEDULES, || store.declare("", &files, &[], Timestamp(0)).expect("pipelines"));
    measure("declare again, nothing new", 1, || store.declare("", &files, &[], Timestamp(0)).expect("pipelines"));
    let rev = store.schedules(0).expect("schedules").iter().map(|one| one.rev).max().unwrap_or(0);
    measure("what is new of 10,000 schedules: nothing", 1_000, || {
        (0..1_000).for_each(|_| drop(store.schedules(rev).expect("schedules")));
    });
    fires(&mut *store);
    queue(&mut *store, me.id);
    pools(&mut *store);
    measure("check", 1, || store.check().expect("a check"));
}
