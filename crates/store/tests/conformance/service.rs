//! What the scenarios of the service are written with: schedulers, pipelines, submissions, and short ways to say them.

use runstone_core::record::{RunEnvironment, RunId, RunState, TaskState};
use runstone_core::service::record::{
    DeclaredPipeline, DeclaredSchedule, FireDecision, FireVerdict, NewScheduler, NewSubmission, Overlap,
    ScheduleRecord, SchedulerId, SubmissionRecord,
};
use runstone_core::service::store::Claimed;
use runstone_core::store::{Applied, NewRun, Ownership, RunRef, Store};
use runstone_core::time::Timestamp;
use serde_json::json;

use super::Backend;
use super::driver::{end_run, marker, new_run, project, settle, uuid};

/// So many seconds after 1970.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

pub(crate) fn open(backend: &dyn Backend) -> Box<dyn Store> {
    backend.open(&project("hello"))
}

/// The record must be sound at the end of a scenario.
pub(crate) fn sound(store: &mut Box<dyn Store>) {
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

/// With a lease that outlives every test.
pub(crate) fn scheduler() -> NewScheduler {
    NewScheduler {
        id: SchedulerId(uuid()),
        host: "engine".to_owned(),
        pid: 4_711,
        pid_start: 1_234_567_890_123,
        place: "boot 1".to_owned(),
        version: "0.1.0".to_owned(),
        store_marker: marker(),
        capacity: 8,
        ttl_ms: 3_600_000,
    }
}

pub(crate) fn registered(store: &mut Box<dyn Store>) -> SchedulerId {
    let new = scheduler();
    store.register(&new).unwrap();
    new.id
}

pub(crate) fn submission(pipeline: &str) -> NewSubmission {
    NewSubmission {
        run: RunId(uuid()),
        pipeline: pipeline.to_owned(),
        definition: Some(format!("name: {pipeline}\n")),
        definition_path: format!("pipelines/{pipeline}.yaml"),
        params: json!({"lr": 0.1}),
        request: json!({"only": ["a"]}),
        trigger: "manual".to_owned(),
        partition: None,
        priority: 0,
        group: None,
        backfill: None,
        key: None,
        environment: RunEnvironment { user: "ada".to_owned(), ..RunEnvironment::default() },
        store_marker: marker(),
    }
}

/// Of a group of its pipeline's name.
pub(crate) fn grouped(pipeline: &str) -> NewSubmission {
    NewSubmission { group: Some(pipeline.to_owned()), ..submission(pipeline) }
}

pub(crate) fn declared(pipeline: &str, schedules: &[(&str, &str)]) -> DeclaredPipeline {
    let schedule = |(name, timing): &(&str, &str)| DeclaredSchedule {
        pipeline: pipeline.to_owned(),
        name: (*name).to_owned(),
        timing: (*timing).to_owned(),
        spec: json!({"cron": timing}),
        enabled: true,
    };
    DeclaredPipeline {
        pipeline: pipeline.to_owned(),
        definition: format!("name: {pipeline}\n"),
        definition_path: format!("pipelines/{pipeline}.yaml"),
        schedules: schedules.iter().map(schedule).collect(),
    }
}

/// A store with one pipeline `p` and its schedules, each declared at second 100; they come back in the order of names.
pub(crate) fn with_schedules(backend: &dyn Backend, names: &[&str]) -> (Box<dyn Store>, Vec<ScheduleRecord>) {
    let mut store = open(backend);
    let schedules: Vec<(&str, &str)> = names.iter().map(|name| (*name, "* * * * *")).collect();
    store.declare("", &[declared("p", &schedules)], &[], at(100)).unwrap();
    let mut found = store.schedules(0).unwrap();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    (store, found)
}

pub(crate) fn reread(store: &mut Box<dyn Store>, schedule: &ScheduleRecord) -> ScheduleRecord {
    store.schedules_by_id(&[schedule.id]).unwrap().remove(0)
}

/// A decision that follows what is on record.
pub(crate) fn decision(schedule: &ScheduleRecord, time: Timestamp, verdict: FireVerdict) -> FireDecision {
    FireDecision {
        schedule: schedule.id,
        generation: schedule.generation,
        cursor: schedule.cursor,
        time,
        until: time,
        seen: None,
        verdict,
    }
}

pub(crate) fn submits(submission: NewSubmission, overlap: Overlap) -> FireVerdict {
    FireVerdict::Submit { submission: Box::new(submission), overlap }
}

pub(crate) fn skips(reason: &str, count: u64) -> FireVerdict {
    FireVerdict::Skip { reason: reason.to_owned(), count }
}

/// By the run, which must have one.
pub(crate) fn look(store: &mut Box<dyn Store>, run: RunId) -> SubmissionRecord {
    store.submission(&RunRef::Prefix(run.to_string())).unwrap().unwrap()
}

pub(crate) fn claimed(store: &mut Box<dyn Store>, run: RunId, scheduler: SchedulerId) -> Claimed {
    store.claim(run, scheduler, at(300)).unwrap().unwrap()
}

/// Submits a run and claims it.
pub(crate) fn taken(store: &mut Box<dyn Store>, new: &NewSubmission, scheduler: SchedulerId) -> Claimed {
    store.submit(new, at(200)).unwrap();
    claimed(store, new.run, scheduler)
}

/// What a scheduler puts on record of a submission that it claimed.
pub(crate) fn run_of(claimed: &Claimed, steps: &[&str]) -> NewRun {
    let submission = &claimed.submission;
    NewRun {
        id: submission.run,
        pipeline: submission.pipeline.clone(),
        partition: submission.partition.clone(),
        claim: Some(claimed.claim),
        ..new_run(steps)
    }
}

/// Begins a claimed run.
pub(crate) fn begun(store: &mut Box<dyn Store>, claimed: &Claimed, steps: &[&str]) -> Ownership {
    let run = run_of(claimed, steps);
    assert_eq!(store.create_run(&run).unwrap(), claimed.submission.number);
    Ownership { run: run.id, epoch: 1 }
}

/// Ends a run of so many tasks, none of which was started.
pub(crate) fn ended(store: &mut Box<dyn Store>, owner: Ownership, tasks: u32, state: RunState) {
    let mut changes: Vec<_> = (0..tasks).map(|task| settle(task, TaskState::Skipped)).collect();
    changes.push(end_run(state));
    let applied = store.commit(owner, at(400), &changes).unwrap();
    assert!(applied.iter().all(|applied| *applied == Applied::Done), "{applied:?}");
}
