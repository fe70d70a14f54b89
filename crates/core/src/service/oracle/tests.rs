//! Rows that are as they must not be, one at a time.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::attempt::Cause;
use crate::hash::{ContentHash, Fingerprint};
use crate::record::{AttemptEnd, AttemptKind, AttemptState, NodeId, RunEnvironment, RunState, TaskState};
use crate::service::record::{PoolUse, ScheduleId, SchedulerId, SchedulerState, SubmissionState};
use crate::time::Timestamp;

const MINUTE: i64 = 60_000_000;

fn run_id(number: i64) -> RunId {
    RunId(Uuid::from_u128(number.unsigned_abs().into()))
}

fn schedule() -> ScheduleRecord {
    let schedule = json!({
        "name": "t", "timing": {"every": {"interval_ms": 60_000}}, "catchup": {"window_ms": 0, "keep": "latest"},
        "overlap": "queue", "jitter_ms": 0, "start": null, "end": null, "enabled": true, "params": {}
    });
    ScheduleRecord {
        id: ScheduleId(1),
        pipeline: "p".to_owned(),
        name: "t".to_owned(),
        timing: String::new(),
        spec: json!({"schedule": schedule}),
        generation: 1,
        active: true,
        paused: false,
        activated: Timestamp(10),
        cursor: Timestamp(4 * MINUTE),
        seen: Value::Null,
        rev: 1,
    }
}

fn fire(minute: i64, until: i64, run: Option<i64>) -> FireRecord {
    FireRecord {
        schedule: ScheduleId(1),
        generation: 1,
        time: Timestamp(minute * MINUTE),
        until: Timestamp(until * MINUTE),
        count: u64::try_from(until - minute + 1).unwrap(),
        decided: Timestamp(0),
        run: run.map(run_id),
        number: run,
        reason: run.is_none().then(|| "superseded".to_owned()),
    }
}

fn submission(number: i64, state: SubmissionState) -> SubmissionRecord {
    let has_run = matches!(state, SubmissionState::Running | SubmissionState::Done);
    SubmissionRecord {
        run: run_id(number),
        number,
        pipeline: "p".to_owned(),
        definition: ContentHash::from_bytes([0; 32]),
        definition_path: String::new(),
        params: Value::Null,
        request: Value::Null,
        trigger: "schedule t then".to_owned(),
        partition: None,
        priority: 0,
        group: Some("p".to_owned()),
        backfill: None,
        state,
        scheduler: (state != SubmissionState::Queued).then(|| SchedulerId(Uuid::nil())),
        claims: i64::from(state != SubmissionState::Queued),
        created: Timestamp(0),
        ended: state.is_terminal().then_some(Timestamp(9)),
        reason: None,
        cancel: None,
        run_state: has_run.then_some(if state == SubmissionState::Done {
            RunState::Succeeded
        } else {
            RunState::Running
        }),
        store_marker: Uuid::nil(),
        environment: RunEnvironment::default(),
    }
}

fn run(number: i64, state: RunState) -> RunRecord {
    RunRecord {
        id: run_id(number),
        number,
        pipeline: "p".to_owned(),
        definition: ContentHash::from_bytes([0; 32]),
        definition_path: String::new(),
        params: Value::Null,
        request: Value::Null,
        trigger: String::new(),
        state,
        reason: None,
        created: Timestamp(0),
        ended: (state != RunState::Running).then_some(Timestamp(9)),
        epoch: 1,
        store_marker: Uuid::nil(),
        partition: None,
        environment: RunEnvironment::default(),
        cancel: None,
    }
}

fn task(run: i64, index: u32, state: TaskState, attempts: u32) -> TaskRecord {
    TaskRecord {
        run: run_id(run),
        index,
        step: "s".to_owned(),
        cell: String::new(),
        state,
        attempts,
        attempt: None,
        fingerprint: None,
        reason: None,
    }
}

fn attempt(run: i64, number: u32, state: AttemptState) -> AttemptRecord {
    let is_over = matches!(state, AttemptState::Succeeded | AttemptState::Failed);
    let end = AttemptEnd {
        exit_code: Some(i32::from(state == AttemptState::Failed)),
        ..AttemptEnd::new(Timestamp(1), Timestamp(2), Cause::Exit)
    };
    AttemptRecord {
        id: NodeId(100 * run + i64::from(number)),
        uuid: Uuid::from_u128(number.into()),
        run: run_id(run),
        run_number: run,
        task: 0,
        pipeline: "p".to_owned(),
        step: "s".to_owned(),
        cell: String::new(),
        number,
        kind: AttemptKind::Run,
        state,
        fingerprint: Fingerprint::from_bytes([0; 32]),
        created: Timestamp(0),
        end: is_over.then_some(end),
        reusable: state == AttemptState::Succeeded,
        reused_from: None,
    }
}

/// Run #1 is over after a failed and a good attempt, #2 runs, #3 waits for it.
fn sound() -> Snapshot {
    let scheduler = SchedulerRecord {
        id: SchedulerId(Uuid::nil()),
        host: String::new(),
        pid: 1,
        pid_start: 1,
        place: String::new(),
        version: String::new(),
        store_marker: Uuid::nil(),
        capacity: 4,
        state: SchedulerState::Active,
        started: Timestamp(0),
        seen: Timestamp(0),
        ttl_ms: 15_000,
        expired: false,
    };
    let states = [SubmissionState::Done, SubmissionState::Running, SubmissionState::Queued];
    Snapshot {
        schedulers: vec![scheduler],
        schedules: vec![schedule()],
        fires: vec![fire(1, 1, Some(1)), fire(2, 2, Some(2)), fire(3, 3, None), fire(4, 4, Some(3))],
        submissions: (1..).zip(states).map(|(number, state)| submission(number, state)).collect(),
        runs: vec![run(1, RunState::Succeeded), run(2, RunState::Running)],
        tasks: vec![task(1, 0, TaskState::Succeeded, 2), task(2, 0, TaskState::Assigned, 1)],
        attempts: vec![
            attempt(1, 1, AttemptState::Failed),
            attempt(1, 2, AttemptState::Succeeded),
            attempt(2, 1, AttemptState::Running),
        ],
        ..Snapshot::default()
    }
}

/// The rules that a change of the sound record breaks, each once.
fn broken(change: impl Fn(&mut Snapshot)) -> Vec<Rule> {
    let mut snapshot = sound();
    change(&mut snapshot);
    let mut rules: Vec<Rule> = check(&snapshot).into_iter().map(|finding| finding.rule).collect();
    rules.sort();
    rules.dedup();
    rules
}

#[test]
fn a_sound_record_has_no_findings() {
    assert_eq!(check(&sound()), []);
    assert_eq!(compare(&sound(), &sound()), []);
}

#[test]
fn fires_are_exactly_what_the_timing_asks_for() {
    assert_eq!(broken(|all| drop(all.fires.remove(2))), [Rule::FireOnce], "one is lost");
    assert_eq!(broken(|all| all.schedules[0].cursor.0 += MINUTE), [Rule::FireOnce], "the last is lost");
    assert_eq!(broken(|all| all.schedules[0].cursor.0 -= MINUTE), [Rule::FireOnce], "one is ahead of its cursor");
    assert_eq!(broken(|all| all.fires[2].until.0 += MINUTE), [Rule::FireOnce], "one is decided twice");
    assert_eq!(broken(|all| all.fires[2].count = 2), [Rule::FireOnce], "counted wrong");
    assert_eq!(broken(|all| all.fires[1].time.0 += 1), [Rule::FireOnce], "there is no such time");
    assert_eq!(broken(|all| all.fires[0].reason = Some("why".to_owned())), [Rule::Companions]);
    assert_eq!(broken(|all| drop(all.submissions.remove(2))), [Rule::Companions], "its run is not there");
    let twice = |all: &mut Snapshot| (all.fires[3].run, all.fires[3].number) = (all.fires[1].run, all.fires[1].number);
    assert_eq!(broken(twice), [Rule::FireOnce], "two fires of one run, and a run without its fire");
}

#[test]
fn what_a_submission_says_is_borne_out() {
    let state = |at: usize, state| move |all: &mut Snapshot| all.submissions[at].state = state;
    assert_eq!(broken(state(0, SubmissionState::Running)), [Rule::Companions, Rule::Group]);
    assert_eq!(broken(state(1, SubmissionState::Claimed)), [Rule::Companions]);
    assert_eq!(broken(state(2, SubmissionState::Running)), [Rule::Ownership, Rule::Companions, Rule::Group]);
    assert_eq!(broken(|all| all.submissions[1].number = 1), [Rule::Companions]);
    let claimed_by_the_dead = |all: &mut Snapshot| {
        let one = &mut all.submissions[2];
        (one.state, one.claims, one.group) = (SubmissionState::Claimed, 1, None);
        one.scheduler = Some(SchedulerId(Uuid::nil()));
        all.schedulers[0].state = SchedulerState::Gone;
    };
    assert_eq!(broken(claimed_by_the_dead), [Rule::Ownership]);
}

#[test]
fn a_task_has_one_attempt_at_a_time_with_one_end_each() {
    assert_eq!(broken(|all| all.attempts[0] = attempt(1, 1, AttemptState::Running)), [Rule::OneAttempt]);
    assert_eq!(broken(|all| all.attempts[0].state = AttemptState::Running), [Rule::OneEnd]);
    assert_eq!(broken(|all| all.attempts[0] = attempt(1, 1, AttemptState::Succeeded)), [Rule::OneAttempt]);
    assert_eq!(broken(|all| all.tasks[0].state = TaskState::Failed), [Rule::Companions]);
    assert_eq!(broken(|all| all.tasks[0].attempts = 3), [Rule::Companions]);
    assert_eq!(broken(|all| all.tasks[1].state = TaskState::Waiting), [Rule::OneAttempt]);
    assert_eq!(broken(|all| all.runs[1] = run(2, RunState::Failed)), [Rule::Companions]);
    let exit = |all: &mut Snapshot| all.attempts[1].end.as_mut().unwrap().exit_code = Some(3);
    assert_eq!(broken(exit), [Rule::OneEnd]);
}

#[test]
fn a_pool_gives_what_it_has_to_the_living() {
    let holder = |run: i64, slots| PoolUse {
        run: run_id(run),
        number: run,
        pipeline: "p".to_owned(),
        task: 0,
        name: "s".to_owned(),
        slots,
        priority: 0,
        since: Timestamp(0),
    };
    let pool = |holders| PoolRecord { name: "gpu".to_owned(), slots: 2, holders, waiting: Vec::new() };
    assert_eq!(broken(|all| all.pools.push(pool(vec![holder(2, 7)]))), []);
    assert_eq!(broken(|all| all.pools.push(pool(vec![holder(2, 2), holder(2, 1)]))), [Rule::Pool]);
    assert_eq!(broken(|all| all.pools.push(pool(vec![holder(1, 1)]))), [Rule::Pool], "its attempt is over");
}

#[test]
fn what_is_over_stays_as_it_is_and_what_grows_does_not_shrink() {
    let went_back = |change: &dyn Fn(&mut Snapshot)| {
        let mut after = sound();
        change(&mut after);
        let mut rules: Vec<Rule> = compare(&sound(), &after).into_iter().map(|finding| finding.rule).collect();
        rules.dedup();
        rules
    };
    assert_eq!(went_back(&|all| all.schedules[0].cursor.0 -= 1), [Rule::Ownership]);
    assert_eq!(went_back(&|all| all.submissions[1].claims = 0), [Rule::Ownership]);
    assert_eq!(went_back(&|all| all.submissions[1].scheduler = Some(SchedulerId(Uuid::max()))), [Rule::Ownership]);
    assert_eq!(went_back(&|all| all.submissions[0].state = SubmissionState::Queued), [Rule::Terminal]);
    assert_eq!(went_back(&|all| all.runs[1].epoch = 0), [Rule::Ownership]);
    assert_eq!(went_back(&|all| all.runs[0].state = RunState::Failed), [Rule::Terminal]);
    assert_eq!(went_back(&|all| all.tasks[0].state = TaskState::Waiting), [Rule::Terminal]);
    assert_eq!(went_back(&|all| all.attempts[0].end = None), [Rule::Terminal]);
    assert_eq!(went_back(&|all| all.fires[0].reason = Some("no".to_owned())), [Rule::Terminal]);
    let mut failed = sound();
    failed.runs[0].state = RunState::Failed;
    let mut resumed = failed.clone();
    (resumed.runs[0].state, resumed.runs[0].epoch) = (RunState::Running, 2);
    assert_eq!(compare(&failed, &resumed), [], "by hand a failed run is taken up again");
}
