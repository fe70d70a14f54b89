//! The machine alone: what it asks for, and when.

use serde_json::{Value, json};

use super::*;
use crate::hash::ContentHash;
use crate::record::{RunEnvironment, RunId};
use crate::service::record::{Claim, FireVerdict, SubmissionState};
use crate::store::Ownership;

const SECOND: u64 = 1_000_000;
const START: i64 = 1_800_000_000_000_000;

/// A machine with its clocks: both go on together until one is moved.
struct Rig {
    machine: Machine,
    now: Now,
}

impl Rig {
    /// With a lease that outlasts the test.
    fn new() -> Self {
        Self::leased(1_000_000 * SECOND)
    }

    fn leased(ttl_us: u64) -> Self {
        let settings = Settings {
            id: id(1),
            project: Uuid::nil(),
            store_marker: Uuid::nil(),
            capacity: 2,
            ttl_us,
            margin_us: 5 * SECOND,
            renew_us: 5 * SECOND,
            poll_us: SECOND,
            grace_us: 10 * SECOND,
            watch_us: 3 * SECOND,
        };
        Self { machine: Machine::new(settings), now: Now { wall: Timestamp(START), steady: 100 * SECOND } }
    }

    /// Registered, with these schedules, and nothing in the queue.
    fn with(schedules: Vec<ScheduleRecord>) -> Self {
        Self::new().begin(schedules)
    }

    fn begin(mut self, schedules: Vec<ScheduleRecord>) -> Self {
        let rig = &mut self;
        rig.tell(Input::Registered { asked: 100 * SECOND });
        rig.tell(Input::Schedules(schedules));
        rig.look(Vec::new());
        self
    }

    fn tell(&mut self, input: Input) -> Vec<Command> {
        let mut commands = self.machine.step(input, self.now);
        if !self.machine.is_over() {
            let last = commands.pop();
            assert!(matches!(last, Some(Command::Wake { .. })), "the last one says when to go on: {last:?}");
        }
        assert!(!commands.iter().any(|one| matches!(one, Command::Wake { .. })), "one wake-up a step");
        commands
    }

    fn look(&mut self, live: Vec<SubmissionRecord>) -> Vec<Command> {
        let schedulers = vec![scheduler(1, false)];
        self.tell(Input::Looked(Look { live, schedulers, ..Look::default() }))
    }

    fn pass(&mut self, micros: u64) {
        self.now = Now { wall: self.now.wall.plus_micros(micros), steady: self.now.steady + micros };
    }

    fn tick_after(&mut self, micros: u64) -> Vec<Command> {
        self.pass(micros);
        self.tell(Input::Tick)
    }

    fn renew(&mut self) -> Vec<Command> {
        self.tell(Input::Renewed { asked: self.now.steady, beat: Beat::Renewed })
    }
}

fn id(number: u128) -> SchedulerId {
    SchedulerId(Uuid::from_u128(number))
}

fn run(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn scheduler(number: u128, expired: bool) -> SchedulerRecord {
    SchedulerRecord {
        id: id(number),
        host: String::new(),
        pid: 0,
        pid_start: 0,
        place: String::new(),
        version: String::new(),
        store_marker: Uuid::nil(),
        capacity: 2,
        state: SchedulerState::Active,
        started: Timestamp(0),
        seen: Timestamp(0),
        ttl_ms: 15_000,
        expired,
    }
}

fn submission(number: u32, state: SubmissionState, owner: Option<u128>) -> SubmissionRecord {
    SubmissionRecord {
        run: run(number.into()),
        number: number.into(),
        pipeline: "p".to_owned(),
        definition: ContentHash::from_bytes([0; 32]),
        definition_path: String::new(),
        params: Value::Null,
        request: Value::Null,
        trigger: String::new(),
        partition: None,
        priority: 0,
        group: None,
        backfill: None,
        state,
        scheduler: owner.map(id),
        claims: 1,
        created: Timestamp(0),
        ended: None,
        reason: None,
        cancel: None,
        run_state: None,
        store_marker: Uuid::nil(),
        environment: RunEnvironment::default(),
    }
}

fn queued(number: u32) -> SubmissionRecord {
    submission(number, SubmissionState::Queued, None)
}

fn claimed(number: u32) -> Input {
    let submission = submission(number, SubmissionState::Claimed, Some(1));
    let claim = Claim { run: submission.run, scheduler: id(1), claims: 1 };
    Input::Claimed { run: claim.run, claimed: Some(Box::new(Claimed { claim, owner: None::<Ownership>, submission })) }
}

fn schedule(number: i64, keep: &str, seconds: u64) -> ScheduleRecord {
    let schedule = json!({
        "name": "t", "timing": {"every": {"interval_ms": seconds * 1000}},
        "catchup": {"window_ms": 3_600_000, "keep": keep}, "overlap": "queue", "jitter_ms": 0, "start": null, "end": null,
        "enabled": true, "params": {}
    });
    ScheduleRecord {
        id: ScheduleId(number),
        pipeline: format!("p{number}"),
        name: "t".to_owned(),
        timing: String::new(),
        spec: json!({"schedule": schedule}),
        generation: 1,
        active: true,
        paused: false,
        activated: Timestamp(START),
        cursor: Timestamp(START),
        seen: Value::Null,
        rev: number,
    }
}

/// Seconds after the start of each decision, and whether a run was asked for.
fn decided(commands: &[Command]) -> Vec<(i64, bool)> {
    let decisions = commands.iter().find_map(|one| if let Command::Decide(all) = one { Some(all) } else { None });
    let second = |time: Timestamp| (time.0 - START) / 1_000_000;
    let submits = |one: &FireDecision| matches!(one.verdict, FireVerdict::Submit { .. });
    decisions.map(|all| all.iter().map(|one| (second(one.until), submits(one))).collect()).unwrap_or_default()
}

fn submitted(count: usize) -> Input {
    Input::Decided(vec![FireOutcome::Moved; count])
}

#[test]
fn an_idle_scheduler_sleeps_from_poll_to_poll() {
    let mut rig = Rig::new();
    assert_eq!(rig.machine.step(Input::Tick, rig.now), [], "nothing before it is on record");
    let first = rig.tell(Input::Registered { asked: 100 * SECOND });
    assert_eq!(first, [Command::LoadSchedules { after_rev: 0 }, Command::Look]);
    rig.tell(Input::Schedules(Vec::new()));
    let schedulers = vec![scheduler(1, false)];
    let commands = rig.machine.step(Input::Looked(Look { schedulers, ..Look::default() }), rig.now);
    assert_eq!(commands, [Command::Wake { steady: 101 * SECOND, wall: None }]);
    for second in 1..4 {
        assert_eq!(rig.tick_after(SECOND), [Command::Look], "{second}");
        assert_eq!(rig.look(Vec::new()), []);
    }
    assert_eq!(rig.tick_after(SECOND), [Command::Look]);
    assert_eq!(rig.look(Vec::new()), []);
    assert_eq!(rig.tick_after(SECOND), [Command::Renew { state: SchedulerState::Active }, Command::Look]);
}

#[test]
fn a_lease_that_cannot_be_renewed_is_let_go_of_before_its_end() {
    let mut rig = Rig::leased(15 * SECOND).begin(Vec::new());
    rig.tick_after(5 * SECOND);
    for _ in 0..4 {
        rig.tell(Input::Failed(Ask::Renew));
        assert!(rig.tick_after(SECOND).contains(&Command::Renew { state: SchedulerState::Active }), "again and again");
    }
    rig.pass(SECOND);
    assert_eq!(rig.tell(claimed(1)), [Command::Abandon], "nothing is driven after it");
    assert!(rig.machine.is_over());
    assert_eq!(rig.machine.step(Input::Renewed { asked: 0, beat: Beat::Renewed }, rig.now), []);
}

#[test]
fn a_renewal_counts_from_when_it_was_asked_for() {
    let mut rig = Rig::leased(15 * SECOND).begin(Vec::new());
    rig.tick_after(5 * SECOND);
    rig.pass(4 * SECOND);
    let late = Input::Renewed { asked: 105 * SECOND, beat: Beat::Renewed };
    rig.tell(late);
    assert_ne!(rig.tick_after(5 * SECOND), [Command::Abandon]);
    assert_eq!(rig.tick_after(SECOND), [Command::Abandon]);
}

#[test]
fn whoever_was_found_dead_stops_at_once() {
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(5 * SECOND);
    assert_eq!(rig.tell(Input::Renewed { asked: 105 * SECOND, beat: Beat::Gone }), [Command::Abandon]);
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(SECOND);
    let without_me = Look { schedulers: vec![scheduler(2, false)], ..Look::default() };
    assert_eq!(rig.tell(Input::Looked(without_me)), [Command::Abandon]);
}

#[test]
fn no_more_is_claimed_than_there_is_room_for() {
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(SECOND);
    let claims = rig.look((1..=4).map(queued).collect());
    assert_eq!(claims, [Command::Claim(run(1)), Command::Claim(run(2))]);
    assert!(matches!(rig.tell(claimed(1))[..], [Command::Drive(_)]));
    let other_was_faster = rig.tell(Input::Claimed { run: run(2), claimed: None });
    assert_eq!(other_was_faster, [Command::Claim(run(3))]);
    assert_eq!(rig.tell(Input::Failed(Ask::Claim(run(3)))), [Command::Look], "it may have been granted");
    let mine = submission(3, SubmissionState::Claimed, Some(1));
    assert_eq!(rig.look(vec![mine.clone(), queued(4)]), [], "and is not asked for again without a pause");
    rig.tick_after(SECOND);
    assert_eq!(rig.look(vec![mine, queued(4)]), [Command::Claim(run(3))], "what is ours goes first");
}

/// Seed 1004521 of the simulator: such runs counted against each other, and none of them was taken up again.
#[test]
fn more_of_ones_own_than_there_is_room_for_are_taken_up_one_after_the_other() {
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(SECOND);
    let mine = |number| submission(number, SubmissionState::Claimed, Some(1));
    let claims = rig.look(vec![mine(1), mine(2), mine(3), queued(4)]);
    assert_eq!(claims, [Command::Claim(run(1)), Command::Claim(run(2))]);
    rig.tell(claimed(1));
    rig.tell(claimed(2));
    assert_eq!(rig.tell(Input::Ended { run: run(1) }), [Command::Claim(run(3))]);
}

#[test]
fn a_run_without_an_owner_is_taken_on_where_nobody_has_room() {
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(SECOND);
    rig.look((1..=2).map(queued).collect());
    rig.tell(claimed(1));
    rig.tell(claimed(2));
    rig.tick_after(SECOND);
    let driven = || (1..=2).map(|number| submission(number, SubmissionState::Running, Some(1)));
    let orphan = submission(3, SubmissionState::Running, Some(9));
    let live: Vec<_> = driven().chain([orphan, queued(4)]).collect();
    let schedulers = vec![scheduler(1, false), scheduler(2, false)];
    let look = Look { live: live.clone(), schedulers, ..Look::default() };
    assert_eq!(rig.tell(Input::Looked(look)), [], "the other one has room");
    rig.tick_after(SECOND);
    assert_eq!(rig.look(live), [Command::Claim(run(3))]);
}

#[test]
fn the_dead_are_buried_and_backfills_go_on_at_each_look() {
    let mut rig = Rig::with(Vec::new());
    let look = |rig: &mut Rig| {
        rig.tick_after(SECOND);
        let schedulers = vec![scheduler(1, false), scheduler(2, true)];
        rig.tell(Input::Looked(Look { schedulers, backfills: vec![Uuid::max()], ..Look::default() }))
    };
    assert_eq!(look(&mut rig), [Command::Bury(id(2)), Command::AdvanceBackfill(Uuid::max())]);
    assert_eq!(look(&mut rig), [], "an answer is due");
    rig.tell(Input::Advanced { backfill: Uuid::max(), submitted: 0 });
    assert_eq!(rig.tell(Input::Buried { scheduler: id(2) }), [Command::Look], "there is something to inherit");
}

#[test]
fn requests_to_end_are_passed_on_once_and_the_stronger_after_the_weaker() {
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(SECOND);
    rig.look(vec![queued(1)]);
    rig.tell(claimed(1));
    let asked = |rig: &mut Rig, how: &str| {
        rig.tick_after(SECOND);
        let one = submission(1, SubmissionState::Running, Some(1));
        rig.look(vec![SubmissionRecord { cancel: Some(how.to_owned()), ..one }])
    };
    assert_eq!(asked(&mut rig, "graceful"), [Command::Stop { run: run(1), how: Stop::Gracefully }]);
    assert_eq!(asked(&mut rig, "graceful"), []);
    assert_eq!(asked(&mut rig, "now"), [Command::Stop { run: run(1), how: Stop::Now }]);
}

#[test]
fn whoever_drains_hands_over_and_leaves() {
    let mut rig = Rig::with(Vec::new());
    rig.tick_after(SECOND);
    rig.look((1..=3).map(queued).collect());
    rig.tell(claimed(1));
    let drain = rig.tell(Input::Drain);
    assert_eq!(drain, [Command::HandOver(run(1)), Command::Renew { state: SchedulerState::Draining }]);
    assert_eq!(rig.tell(claimed(2)), [], "an answer that comes now is given back by leaving");
    rig.renew();
    assert_eq!(rig.tick_after(SECOND), [Command::Look]);
    assert_eq!(rig.look(vec![queued(3)]), [], "nothing is taken on");
    assert_eq!(rig.tell(Input::Ended { run: run(1) }), [Command::Leave]);
    assert_eq!(rig.machine.step(Input::Nudge, rig.now), []);
}

#[test]
fn fires_are_decided_when_they_are_due_and_once() {
    let mut rig = Rig::with(vec![schedule(1, "all", 10), schedule(2, "all", 20)]);
    rig.pass(10 * SECOND - 1);
    rig.tell(Input::Tick);
    assert_eq!(decided(&rig.tick_after(1)), [(10, true)]);
    assert_eq!(decided(&rig.tick_after(0)), [], "an answer is due");
    rig.tell(submitted(1));
    assert_eq!(decided(&rig.tick_after(SECOND)), []);
}

#[test]
fn a_clock_that_jumps_ahead_catches_up_and_one_that_jumps_back_waits() {
    let mut rig = Rig::with(vec![schedule(1, "latest", 10)]);
    rig.now.wall = rig.now.wall.plus_micros(600 * SECOND);
    assert_eq!(decided(&rig.tell(Input::Tick)), [(570, false), (580, true), (590, true), (600, true)]);
    rig.tell(submitted(4));
    rig.now.wall = Timestamp(START);
    let commands = rig.machine.step(Input::Tick, rig.now);
    let Some(Command::Wake { wall, .. }) = commands.last() else { panic!("{commands:?}") };
    assert_eq!(*wall, Some(Timestamp(START + 610_000_000)), "what is decided stays decided");
    rig.now.wall = Timestamp(START + 610_000_000);
    assert_eq!(decided(&rig.tell(Input::Tick)), [(610, true)]);
}

#[test]
fn whoever_comes_late_reads_what_was_decided_and_goes_on_from_there() {
    let mut rig = Rig::with(vec![schedule(1, "all", 10)]);
    assert_eq!(decided(&rig.tick_after(10 * SECOND - SECOND)), []);
    assert_eq!(decided(&rig.tick_after(SECOND)), [(10, true)]);
    let late = rig.tell(Input::Decided(vec![FireOutcome::Stale]));
    assert_eq!(late, [Command::ReloadSchedules(vec![ScheduleId(1)])]);
    let cursor = Timestamp(START + 10_000_000);
    assert_eq!(rig.tell(Input::Schedules(vec![ScheduleRecord { cursor, ..schedule(1, "all", 10) }])), []);
    assert_eq!(decided(&rig.tick_after(10 * SECOND - 1)), []);
    assert_eq!(decided(&rig.tick_after(1)), [(20, true)]);
    // Whether these were applied is not known: the record says so.
    let lost = rig.tell(Input::Failed(Ask::Decide));
    assert_eq!(lost, [Command::ReloadSchedules(vec![ScheduleId(1)])]);
}

#[test]
fn what_is_paused_does_not_fire_and_an_old_answer_does_not_wake_it() {
    let mut rig = Rig::with(vec![schedule(1, "all", 10)]);
    rig.tick_after(SECOND);
    let schedulers = vec![scheduler(1, false)];
    let look = Look { schedulers, schedules_rev: 7, ..Look::default() };
    assert_eq!(rig.tell(Input::Looked(look)), [Command::LoadSchedules { after_rev: 1 }]);
    rig.tell(Input::Schedules(vec![ScheduleRecord { paused: true, rev: 7, ..schedule(1, "all", 10) }]));
    assert_eq!(decided(&rig.tick_after(9 * SECOND)), []);
}

#[test]
fn ten_thousand_fires_at_one_moment_go_in_batches_one_at_a_time() {
    let mut rig = Rig::with((1..=10_000).map(|number| schedule(number, "all", 10)).collect());
    rig.pass(9 * SECOND);
    let mut count = decided(&rig.tick_after(SECOND)).len();
    let mut batches = 1;
    loop {
        let batch = decided(&rig.tell(submitted(500))).len();
        if batch == 0 {
            break;
        }
        assert!(batch <= 500);
        (count, batches) = (count + batch, batches + 1);
    }
    assert_eq!((count, batches), (10_000, 20));
}

#[test]
fn a_schedule_is_decided_by_one_scheduler_first_and_looked_after_by_the_other() {
    let mut rig = Rig::with((1..=100).map(|number| schedule(number, "all", 10)).collect());
    rig.tick_after(SECOND);
    let schedulers = vec![scheduler(1, false), scheduler(2, false)];
    rig.tell(Input::Looked(Look { schedulers, ..Look::default() }));
    rig.pass(8 * SECOND);
    let mine = decided(&rig.tick_after(SECOND)).len();
    assert!((20..80).contains(&mine), "about half of them: {mine}");
    rig.tell(submitted(mine));
    let commands = rig.tick_after(SECOND);
    let Some(Command::ReloadSchedules(others)) = commands.iter().find(|one| matches!(one, Command::ReloadSchedules(_)))
    else {
        panic!("{commands:?}")
    };
    assert_eq!(others.len(), 100 - mine);
    // The other one is dead, or slow: nothing has been decided.
    let read = others.iter().map(|one| schedule(one.0, "all", 10)).collect();
    assert_eq!(decided(&rig.tell(Input::Schedules(read))).len(), 100 - mine);
}

fn trigger(cursor: i64, seen: Value) -> ScheduleRecord {
    let spec = json!({"trigger": {"watch": "a/b", "overlap": "queue"}});
    ScheduleRecord { spec, seen, cursor: Timestamp(cursor), ..schedule(1, "all", 10) }
}

#[test]
fn what_a_trigger_sees_is_kept_with_the_decision() {
    let mut rig = Rig::new();
    rig.tell(Input::Registered { asked: 100 * SECOND });
    let watched = rig.tell(Input::Schedules(vec![trigger(START, json!(1))]));
    assert!(watched.iter().any(|one| matches!(one, Command::Watch(all) if all[0].seen == json!(1))));
    let sighting = Sighting { schedule: ScheduleId(1), seen: json!(2), fires: Some("v2".to_owned()) };
    let commands = rig.tell(Input::Watched(vec![sighting]));
    let [Command::Decide(decisions)] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!((decisions[0].time, &decisions[0].seen), (rig.now.wall.plus_micros(1), &Some(json!(2))));
    assert!(
        matches!(&decisions[0].verdict, FireVerdict::Submit { submission, .. } if submission.trigger == "trigger t: v2")
    );
    rig.tell(submitted(1));
    let watched = rig.tick_after(3 * SECOND);
    let same = Sighting { schedule: ScheduleId(1), seen: json!(2), fires: None };
    assert!(watched.iter().any(|one| matches!(one, Command::Watch(all) if all[0].seen == json!(2))));
    assert_eq!(rig.tell(Input::Watched(vec![same])), [], "nothing new");
}

#[test]
fn what_was_seen_before_somebody_else_decided_counts_for_nothing() {
    let mut rig = Rig::with(vec![trigger(START, json!(1))]);
    rig.tick_after(3 * SECOND);
    let schedulers = vec![scheduler(1, false)];
    rig.tell(Input::Looked(Look { schedulers, schedules_rev: 9, ..Look::default() }));
    rig.tell(Input::Schedules(vec![ScheduleRecord { rev: 9, ..trigger(START + 5, json!(2)) }]));
    let sighting = Sighting { schedule: ScheduleId(1), seen: json!(2), fires: Some("v2".to_owned()) };
    assert_eq!(decided(&rig.tell(Input::Watched(vec![sighting]))), []);
}
