//! The service where a server makes a difference: answers that are lost, poolers, and many schedulers at once.

use std::sync::Barrier;

use runstone_core::record::{RunEnvironment, RunId, RunState, TaskState};
use runstone_core::service::record::{
    BackfillState, DeclaredPipeline, DeclaredSchedule, FireDecision, FireOutcome, FireVerdict, NewBackfill,
    NewScheduler, NewSubmission, Overlap, ScheduleRecord, SchedulerId, SchedulerState, SubmissionState,
};
use runstone_core::service::store::{Beat, FireFilter};
use runstone_core::store::{Applied, Change, NewRun, Ownership, PoolAsk, RunRef, SettleTask, Store};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::postgres::{Database, Server, skipped};
use super::work::project;
use super::{connect, pooler, proxy, work};

const MINUTE: i64 = 60_000_000;

fn registered(store: &mut dyn Store) -> SchedulerId {
    let id = SchedulerId(Uuid::now_v7());
    let text = || "here".to_owned();
    let new = NewScheduler {
        id,
        host: text(),
        pid: 1,
        pid_start: 1,
        place: text(),
        version: text(),
        store_marker: Uuid::from_u128(1),
        capacity: 8,
        ttl_ms: 3_600_000,
    };
    store.register(&new).unwrap();
    id
}

fn submission(group: Option<&str>) -> NewSubmission {
    NewSubmission {
        run: RunId(Uuid::now_v7()),
        pipeline: "p".to_owned(),
        definition: None,
        definition_path: String::new(),
        params: serde_json::json!({}),
        request: serde_json::json!({}),
        trigger: "schedule".to_owned(),
        partition: None,
        priority: 0,
        group: group.map(str::to_owned),
        backfill: None,
        key: None,
        environment: RunEnvironment::default(),
        store_marker: Uuid::from_u128(1),
    }
}

/// Declares a pipeline `p` with so many schedules.
fn declare(store: &mut dyn Store, schedules: usize) -> Vec<ScheduleRecord> {
    let schedule = |number| DeclaredSchedule {
        pipeline: "p".to_owned(),
        name: format!("s{number}"),
        timing: "* * * * *".to_owned(),
        spec: serde_json::json!({"cron": "* * * * *"}),
        enabled: true,
    };
    let pipeline = DeclaredPipeline {
        pipeline: "p".to_owned(),
        definition: "steps: {}\n".to_owned(),
        definition_path: "p.yaml".to_owned(),
        schedules: (0..schedules).map(schedule).collect(),
    };
    store.declare("", &[pipeline], &[], Timestamp(0)).unwrap();
    store.schedules(0).unwrap()
}

fn fire(schedule: &ScheduleRecord, minute: i64, submission: NewSubmission) -> FireDecision {
    let time = Timestamp(minute * MINUTE);
    FireDecision {
        schedule: schedule.id,
        generation: schedule.generation,
        cursor: Timestamp((minute - 1) * MINUTE),
        time,
        until: time,
        seen: None,
        verdict: FireVerdict::Submit { submission: Box::new(submission), overlap: Overlap::Queue },
    }
}

/// Does what a scheduler does with a claimed run, which must be the first to do so.
fn drive(store: &mut dyn Store, run: RunId, me: SchedulerId) -> bool {
    let Some(claimed) = store.claim(run, me, Timestamp(1)).unwrap() else { return false };
    let new = NewRun { id: run, claim: Some(claimed.claim), ..work::new_run(1) };
    assert_eq!(store.create_run(&new).unwrap(), claimed.submission.number);
    let owner = Ownership { run, epoch: 1 };
    let task = SettleTask { task: 0, state: TaskState::Skipped, reason: None, reuse: None };
    let end = Change::EndRun { state: RunState::Succeeded, reason: None };
    assert_eq!(
        store.commit(owner, Timestamp(2), &[Change::Settle(task), end]).unwrap(),
        [Applied::Done, Applied::Done]
    );
    true
}

/// A little of everything.
pub(crate) fn a_day(store: &mut dyn Store) {
    let schedules = declare(store, 1);
    let me = registered(store);
    assert_eq!(store.beat(me, SchedulerState::Active).unwrap(), Beat::Renewed);
    store.decide_fires(&[fire(&schedules[0], 1, submission(Some("g")))], Timestamp(MINUTE)).unwrap();
    for live in store.live_submissions(1).unwrap() {
        assert!(drive(store, live.run, me));
    }
    let asked = store.submit(&submission(None), Timestamp(2)).unwrap();
    assert!(store.request_cancel(asked.run, true, Timestamp(3)).unwrap());
    for pools in [&[("gpu".to_owned(), 2)][..], &[]] {
        store.declare_pools(pools).unwrap();
        assert_eq!(store.pools().unwrap().len(), pools.len());
    }
    assert!(store.bury(me, false).unwrap());
    sound(store);
}

fn sound(store: &mut dyn Store) {
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_call_whose_answer_is_lost_is_answered_as_if_it_were_not() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let proxy = proxy::Proxy::to(database.server.dir());
    let mut store = connect(proxy.url(&database.name)).unwrap();
    let store = &mut *store;
    let mut lost = 0;
    let mut lose = || {
        assert_eq!(proxy.lost(), lost, "every call before has committed something");
        lost += 1;
        proxy.lose(1);
    };
    lose();
    let me = registered(store);
    lose();
    assert_eq!(store.beat(me, SchedulerState::Active).unwrap(), Beat::Renewed);
    lose();
    let schedules = declare(store, 2);
    assert_eq!(schedules.len(), 2);
    lose();
    let paused = store.set_paused(&[schedules[0].id], true, false, Timestamp(1), &|_| 1).unwrap();
    assert_eq!(paused.len(), 1);
    lose();
    let went_on = store.set_paused(&[schedules[0].id], false, false, Timestamp(2), &|_| 1).unwrap();
    assert_eq!((went_on.len(), went_on[0].cursor), (1, Timestamp(2)));
    lose();
    let fires = [fire(&schedules[1], 1, submission(None)), fire(&schedules[1], 2, submission(None))];
    let outcomes = store.decide_fires(&fires, Timestamp(MINUTE)).unwrap();
    assert!(matches!(
        outcomes[..],
        [FireOutcome::Submitted { number: 1, .. }, FireOutcome::Submitted { number: 2, .. }]
    ));
    lose();
    let asked = store.submit(&submission(None), Timestamp(3)).unwrap();
    assert_eq!((asked.number, asked.state), (3, SubmissionState::Queued));
    lose();
    let claimed = store.claim(asked.run, me, Timestamp(3)).unwrap().unwrap();
    assert_eq!(claimed.claim.claims, 1);
    lose();
    assert!(store.release(claimed.claim, Timestamp(3)).unwrap());
    let claimed = store.claim(asked.run, me, Timestamp(3)).unwrap().unwrap();
    lose();
    let run = NewRun { id: asked.run, claim: Some(claimed.claim), ..work::new_run(1) };
    assert_eq!(store.create_run(&run).unwrap(), 3);
    lose();
    assert!(store.request_cancel(asked.run, false, Timestamp(4)).unwrap());
    let other = store.submission(&RunRef::Number(1)).unwrap().unwrap();
    lose();
    assert!(store.request_cancel(other.run, false, Timestamp(4)).unwrap(), "it has not begun, so it is over");
    let second = store.submission(&RunRef::Number(2)).unwrap().unwrap();
    let claimed = store.claim(second.run, me, Timestamp(4)).unwrap().unwrap();
    lose();
    assert!(store.fail_submission(claimed.claim, "no such step", Timestamp(4)).unwrap());
    let template = NewSubmission { definition: Some("steps: {}\n".to_owned()), ..submission(None) };
    let backfill = NewBackfill { id: Uuid::now_v7(), partitions: vec!["a".into(), "b".into()], parallel: 1, template };
    lose();
    store.create_backfill(&backfill, Timestamp(5)).unwrap();
    lose();
    assert_eq!(store.advance_backfill(backfill.id, Timestamp(5)).unwrap(), 1);
    lose();
    assert!(store.set_backfill(backfill.id, BackfillState::Cancelled, Timestamp(6)).unwrap());
    lose();
    store.declare_pools(&[("gpu".to_owned(), 2)]).unwrap();
    lose();
    assert!(store.bury(me, false).unwrap());
    let heir = registered(store);
    lose();
    let claimed = store.claim(asked.run, heir, Timestamp(7)).unwrap().unwrap();
    assert_eq!((claimed.claim.claims, claimed.owner.map(|owner| owner.epoch)), (3, Some(2)));
    assert_eq!(proxy.lost(), lost);

    assert_eq!(store.fires(&FireFilter::default()).unwrap().len(), 3);
    assert_eq!(store.queued_count().unwrap(), 0);
    let kinds: Vec<String> = store.events(asked.run, 0).unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["run_created", "cancel_requested", "run_taken_over"]);
    sound(store);
}

/// What one of several schedulers does that all decide and claim the same things; how many runs it submitted and drove.
fn schedule(mut store: Box<dyn Store>, minutes: i64, start: &Barrier) -> (usize, usize) {
    let me = registered(&mut *store);
    let schedules = store.schedules(0).unwrap();
    start.wait();
    let (mut submitted, mut driven) = (0, 0);
    let drive_some = |store: &mut dyn Store| -> usize {
        let live = store.live_submissions(4).unwrap();
        live.iter().filter(|one| drive(store, one.run, me)).count()
    };
    for minute in 1..=minutes {
        // Two schedules of one group, and one without.
        let groups = [Some("g"), Some("g"), None];
        let fires: Vec<FireDecision> =
            schedules.iter().zip(groups).map(|(schedule, group)| fire(schedule, minute, submission(group))).collect();
        let outcomes = store.decide_fires(&fires, Timestamp(minute * MINUTE)).unwrap();
        submitted += outcomes.iter().filter(|one| matches!(one, FireOutcome::Submitted { .. })).count();
        driven += drive_some(&mut *store);
    }
    while store.queued_count().unwrap() > 0 {
        driven += drive_some(&mut *store);
    }
    (submitted, driven)
}

/// Together they do what one would.
fn schedulers_together(connections: Vec<Box<dyn Store>>, minutes: i64) {
    let start = Barrier::new(connections.len());
    let (submitted, driven): (Vec<usize>, Vec<usize>) = std::thread::scope(|scope| {
        let workers: Vec<_> =
            connections.into_iter().map(|store| scope.spawn(|| schedule(store, minutes, &start))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).unzip()
    });
    let all = usize::try_from(3 * minutes).unwrap();
    assert_eq!((submitted.iter().sum::<usize>(), driven.iter().sum::<usize>()), (all, all));
}

#[test]
fn schedulers_behind_a_pooler_share_the_work() {
    if skipped() {
        return;
    }
    let server = Server::shared();
    let Some(pooler) = pooler::Pooler::before(server) else { return };
    let database = Database::new(server);
    let url = pooler.url(&database.name);
    let mut store = connect(format!("{url}&statement-cache-capacity=0")).unwrap();
    declare(&mut *store, 3);
    schedulers_together((0..4).map(|_| store.reopen().unwrap()).collect(), 12);
    sound(&mut *store);
    assert_eq!(store.runs(&Default::default()).unwrap().len(), 36);
    assert_eq!(store.fires(&FireFilter::default()).unwrap().len(), 36);
}

#[test]
fn schedulers_whose_connections_are_terminated_lose_and_double_nothing() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    declare(&mut *store, 3);
    let connections: Vec<_> = (0..3).map(|_| store.reopen().unwrap()).collect();
    let mut admin = database.server.admin("postgres");
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    let (over, watch) = std::sync::mpsc::channel::<()>();
    let attack = std::thread::spawn(move || {
        // Longer each time: on a machine that is too slow for the first ones, the work goes on between later ones.
        let (mut pause, mut terminated) = (std::time::Duration::from_millis(37), 0);
        while watch.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            terminated += admin.rows(&sql).len();
            pause += pause / 16;
        }
        terminated
    });
    schedulers_together(connections, 25);
    drop(over);
    let terminated = attack.join().unwrap();
    assert!(terminated > 1);
    sound(&mut *store);
    assert_eq!(store.fires(&FireFilter::default()).unwrap().len(), 75);
}

#[test]
fn a_scheduler_that_is_buried_while_it_claims_keeps_nothing_unbegun() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    declare(&mut *store, 1);
    let runs: Vec<RunId> = (0..30).map(|_| store.submit(&submission(None), Timestamp(1)).unwrap().run).collect();
    for run in runs {
        let me = registered(&mut *store);
        let (mut claims, mut buries) = (store.reopen().unwrap(), store.reopen().unwrap());
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                claims.claim(run, me, Timestamp(2)).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                assert!(buries.bury(me, false).unwrap());
            });
        });
        let after = store.submission(&RunRef::Prefix(run.to_string())).unwrap().unwrap();
        assert_eq!((after.state, after.scheduler), (SubmissionState::Queued, None));
    }
    sound(&mut *store);
}

#[test]
fn runs_that_share_pools_and_claims_never_wait_in_a_circle() {
    if skipped() {
        return;
    }
    const TASKS: u32 = 8;
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    let pools: Vec<(String, u32)> = (0..3).map(|pool| (format!("pool {pool}"), 2)).collect();
    store.declare_pools(&pools).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u32 {
            let mut store = store.reopen().unwrap();
            scope.spawn(move || {
                for round in 0..4_u32 {
                    let run = work::new_run(TASKS);
                    store.create_run(&run).unwrap();
                    let owner = Ownership { run: run.id, epoch: 1 };
                    let turned = |task: u32| (task * (2 * writer + 3) + round) % TASKS;
                    let asks = |task: u32| {
                        let Change::Start(mut start) = work::start(task, &format!("{round} {}", turned(task))) else {
                            unreachable!()
                        };
                        start.pins.clear();
                        let name = format!("pool {}", turned(task) % 3);
                        start.pool = Some(PoolAsk { name, slots: 1 + task % 2, priority: 0 });
                        Change::Start(start)
                    };
                    let mut open: Vec<u32> = (0..TASKS).collect();
                    let mut live: Vec<u32> = Vec::new();
                    while !open.is_empty() || !live.is_empty() {
                        // Everything that is left in one batch, in an order of its own; what runs is finished first.
                        let ends = live.iter().map(|task| work::finish(*task, &format!("d{}", turned(*task)), "x"));
                        let changes: Vec<Change> = ends.chain(open.iter().map(|task| asks(*task))).collect();
                        let applied = store.commit(owner, Timestamp(2), &changes).unwrap();
                        assert!(applied[..live.len()].iter().all(|one| matches!(one, Applied::Published { .. })));
                        let started = |place: usize| matches!(applied[live.len() + place], Applied::Started { .. });
                        let (begun, rest): (Vec<_>, Vec<_>) =
                            open.iter().enumerate().partition(|(place, _)| started(*place));
                        let tasks = |of: Vec<(usize, &u32)>| of.into_iter().map(|(_, task)| *task).collect();
                        let next: (Vec<u32>, Vec<u32>) = (tasks(begun), tasks(rest));
                        (live, open) = next;
                    }
                    let end = Change::EndRun { state: RunState::Succeeded, reason: None };
                    assert_eq!(store.commit(owner, Timestamp(3), &[end]).unwrap(), [Applied::Done]);
                }
            });
        }
    });
    for pool in store.pools().unwrap() {
        assert!(pool.holders.is_empty() && pool.waiting.is_empty(), "{pool:?}");
    }
    sound(&mut *store);
    drop(store);
    let sql = format!("SELECT deadlocks::text FROM pg_stat_database WHERE datname = '{}'", database.name);
    assert_eq!(database.server.admin("postgres").lines(&sql), ["0"]);
}

#[test]
fn what_the_service_decided_cannot_be_changed_by_hand() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    let schedules = declare(&mut *store, 1);
    let me = registered(&mut *store);
    store.decide_fires(&[fire(&schedules[0], 1, submission(None))], Timestamp(MINUTE)).unwrap();
    let run = store.live_submissions(1).unwrap()[0].run;
    assert!(drive(&mut *store, run, me));
    store.bury(me, false).unwrap();
    let mut admin = database.admin();
    admin.execute("SET search_path = runstone");
    for sql in [
        "UPDATE fire SET count = 2",
        "DELETE FROM fire",
        "TRUNCATE fire",
        "DELETE FROM submission",
        "UPDATE submission SET state = 'queued', ended = NULL, scheduler_id = NULL",
        "UPDATE scheduler SET state = 'active'",
        "UPDATE schedule SET cursor = activated",
        "UPDATE schedule SET generation = 0",
        "INSERT INTO fire SELECT * FROM fire",
    ] {
        assert!(admin.try_execute(sql).is_err(), "{sql}");
    }
    sound(&mut *store);
}
