//! Fires: each time of a schedule is decided once, with what becomes of it.

use runstone_core::record::{RunId, RunState};
use runstone_core::service::record::{
    FireDecision, FireOutcome, FireVerdict, NewSubmission, Overlap, ScheduleId, SubmissionState,
};
use runstone_core::service::store::FireFilter;
use runstone_core::store::StoreError;
use serde_json::json;

use super::Backend;
use super::service::{
    at, begun, decision, declared, ended, grouped, look, open, registered, reread, skips, sound, submission, submits,
    taken, with_schedules,
};

fn submitted(outcomes: &[FireOutcome]) -> (RunId, i64) {
    match outcomes {
        [FireOutcome::Submitted { run, number }] => (*run, *number),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_fire_is_decided_once(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a"]);
    let stores: Vec<_> = (0..3).map(|_| store.reopen().unwrap()).collect();
    let workers: Vec<_> = stores
        .into_iter()
        .map(|mut store| {
            let mut schedule = schedules[0].clone();
            std::thread::spawn(move || {
                let mut won = 0;
                for minute in 0..20 {
                    let time = at(160 + 60 * minute);
                    let decision = decision(&schedule, time, submits(submission("p"), Overlap::Allow));
                    match &store.decide_fires(&[decision], time).unwrap()[..] {
                        [FireOutcome::Submitted { .. }] => won += 1,
                        [FireOutcome::Stale] => {}
                        other => panic!("{other:?}"),
                    }
                    schedule.cursor = time;
                }
                won
            })
        })
        .collect();
    let won: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(won, 20);
    let fires = store.fires(&FireFilter::default()).unwrap();
    assert_eq!(fires.len(), 20);
    assert!(fires.is_sorted_by(|newer, older| newer.time > older.time));
    assert_eq!(store.queued_count().unwrap(), 20);
    sound(&mut store);
}

pub(crate) fn a_fire_and_its_run_are_read_back(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a"]);
    let mut new = submission("p");
    (new.definition, new.trigger) = (None, "schedule a 1970-01-01T00:02:40Z".to_owned());
    let mut decided = decision(&schedules[0], at(160), submits(new.clone(), Overlap::Queue));
    decided.seen = Some(json!(["labels/gold", 3]));
    let before = store.clock().unwrap();
    let (run, number) = submitted(&store.decide_fires(&[decided], at(170)).unwrap());
    let after = store.clock().unwrap();
    assert_eq!(run, new.run);
    let schedule = reread(&mut store, &schedules[0]);
    assert_eq!((schedule.cursor, schedule.seen, schedule.rev), (at(160), json!(["labels/gold", 3]), schedules[0].rev));
    let fires = store.fires(&FireFilter::default()).unwrap();
    let [fire] = &fires[..] else { panic!("{fires:?}") };
    assert_eq!((fire.schedule, fire.generation, fire.time, fire.until), (schedule.id, 1, at(160), at(160)));
    assert_eq!((fire.run, fire.number, fire.count, fire.reason.as_deref()), (Some(run), Some(number), 1, None));
    assert!(before <= fire.decided && fire.decided <= after);
    let queued = look(&mut store, run);
    assert_eq!((queued.state, queued.created, queued.trigger), (SubmissionState::Queued, at(170), new.trigger));
    assert_eq!(queued.definition, store.pipelines().unwrap()[0].definition, "the definition in force");
    assert_eq!(queued.definition_path, "pipelines/p.yaml");
    let mut other = backend.open(&super::driver::project("other"));
    assert!(other.fires(&FireFilter::default()).unwrap().is_empty());
    sound(&mut store);
}

pub(crate) fn a_decision_on_what_changed_is_stale(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a", "b"]);
    let old = decision(&schedules[0], at(160), submits(submission("p"), Overlap::Queue));
    let on = |change: &dyn Fn(&mut FireDecision)| {
        let mut decision = old.clone();
        change(&mut decision);
        decision
    };
    let before = backend.dump();
    let stale = [
        on(&|one| one.generation = 2),
        on(&|one| one.generation = 0),
        on(&|one| one.cursor = at(99)),
        on(&|one| one.cursor = at(101)),
        on(&|one| one.schedule = ScheduleId(-5)),
    ];
    assert_eq!(store.decide_fires(&stale, at(170)).unwrap(), vec![FireOutcome::Stale; 5]);
    let mut other = backend.open(&super::driver::project("other"));
    assert_eq!(
        other.decide_fires(std::slice::from_ref(&old), at(170)).unwrap(),
        [FireOutcome::Stale],
        "of another project"
    );
    assert_eq!(store.decide_fires(&[], at(170)).unwrap(), []);
    drop(other);
    assert_eq!(backend.dump().len(), before.len() + 1, "nothing but the other project");

    // One that is stale does not sink the others of its batch.
    let good = decision(&schedules[1], at(160), skips("late", 1));
    let outcomes = store.decide_fires(&[stale[0].clone(), good, old], at(170)).unwrap();
    assert!(matches!(outcomes[..], [FireOutcome::Stale, FireOutcome::Skipped { .. }, FireOutcome::Submitted { .. }]));
    sound(&mut store);
}

pub(crate) fn decisions_of_one_schedule_follow_each_other(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a"]);
    let row = FireDecision { until: at(460), ..decision(&schedules[0], at(160), skips("catch-up: latest", 5)) };
    let after = |cursor: i64, time: i64, verdict| FireDecision {
        cursor: at(cursor),
        ..decision(&schedules[0], at(time), verdict)
    };
    let fire = after(460, 520, submits(submission("p"), Overlap::Queue));
    let skip = after(520, 580, skips("outside its dates", 1));
    let moved = after(580, 600, FireVerdict::Nothing);
    let again = after(520, 580, skips("outside its dates", 1));
    let outcomes = store.decide_fires(&[row, fire, skip, moved, again], at(610)).unwrap();
    assert!(
        matches!(
            &outcomes[..],
            [
                FireOutcome::Skipped { .. },
                FireOutcome::Submitted { number: 1, .. },
                FireOutcome::Skipped { reason },
                FireOutcome::Moved,
                FireOutcome::Stale
            ] if reason == "outside its dates"
        ),
        "{outcomes:?}"
    );
    assert_eq!(reread(&mut store, &schedules[0]).cursor, at(600));
    let fires = store.fires(&FireFilter { schedule: Some(schedules[0].id), ..FireFilter::default() }).unwrap();
    let told: Vec<_> = fires.iter().map(|one| (one.time, one.until, one.count, one.number)).collect();
    assert_eq!(told, [(at(580), at(580), 1, None), (at(520), at(520), 1, Some(1)), (at(160), at(460), 5, None)]);
    let filter = FireFilter { skipped_only: true, limit: Some(1), ..FireFilter::default() };
    assert_eq!(store.fires(&filter).unwrap(), fires[..1]);
    assert!(store.fires(&FireFilter { schedule: Some(ScheduleId(-5)), ..filter }).unwrap().is_empty());
    sound(&mut store);
}

pub(crate) fn decisions_that_contradict_themselves_are_refused_whole(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a", "b"]);
    let good = decision(&schedules[0], at(160), skips("late", 1));
    let bad = decision(&schedules[1], at(160), skips("late", 1));
    let unknown = NewSubmission { definition: None, ..submission("nobody") };
    let before = backend.dump();
    for bad in [
        FireDecision { time: at(100), ..bad.clone() },
        FireDecision { until: at(159), ..bad.clone() },
        FireDecision { verdict: skips("late", 0), ..bad.clone() },
        FireDecision { verdict: skips("late", u64::MAX), ..bad.clone() },
        FireDecision { verdict: submits(unknown, Overlap::Queue), ..bad },
    ] {
        let outcome = store.decide_fires(&[good.clone(), bad], at(170));
        assert!(matches!(outcome, Err(StoreError::Database { .. })), "{outcome:?}");
        assert_eq!(backend.dump(), before);
    }
    sound(&mut store);
}

pub(crate) fn a_fire_meets_a_run_that_is_not_over(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["allow", "queue", "replace", "skip"]);
    let [allow, queue, replace, skip] = &schedules[..] else { panic!("{schedules:?}") };
    let me = registered(&mut store);
    let running = taken(&mut store, &grouped("p"), me);
    let owner = begun(&mut store, &running, &[]);
    let claimed = grouped("q");
    let unbegun = taken(&mut store, &claimed, me);
    let waiting = grouped("p");
    store.submit(&waiting, at(200)).unwrap();

    let fire = |schedule, group: &str, overlap| decision(schedule, at(260), submits(grouped(group), overlap));
    let outcome = store.decide_fires(&[fire(skip, "p", Overlap::Skip)], at(260)).unwrap();
    assert_eq!(outcome, [FireOutcome::Skipped { reason: "run #1 is not over (overlap: skip)".to_owned() }]);
    let fires = store.fires(&FireFilter::default()).unwrap();
    assert_eq!(fires[0].reason.as_deref(), Some("run #1 is not over (overlap: skip)"));
    assert_eq!((fires[0].run, fires[0].count), (None, 1));
    assert_eq!(submitted(&store.decide_fires(&[fire(queue, "p", Overlap::Queue)], at(260)).unwrap()).1, 4);
    assert_eq!(submitted(&store.decide_fires(&[fire(allow, "p", Overlap::Allow)], at(260)).unwrap()).1, 5);
    assert!(store.cancel_requests(&[running.claim.run, claimed.run]).unwrap().is_empty(), "nobody was disturbed");

    let number = submitted(&store.decide_fires(&[fire(replace, "p", Overlap::Replace)], at(260)).unwrap()).1;
    assert_eq!(number, 6);
    assert_eq!(look(&mut store, waiting.run).state, SubmissionState::Cancelled);
    assert_eq!(look(&mut store, running.claim.run).cancel.as_deref(), Some("graceful"));
    assert_eq!(store.events(running.claim.run, 0).unwrap().last().unwrap().kind, "cancel_requested");
    assert_eq!(look(&mut store, claimed.run).cancel, None, "of another group");
    let replace = reread(&mut store, replace);
    let next = decision(&replace, at(320), submits(grouped("q"), Overlap::Replace));
    submitted(&store.decide_fires(&[next], at(320)).unwrap());
    assert_eq!(look(&mut store, claimed.run).cancel.as_deref(), Some("graceful"));
    store.release(unbegun.claim, at(321)).unwrap();
    ended(&mut store, owner, 0, RunState::Cancelled);

    // Once nothing of the group is live, it fires as if nothing had been.
    let skip = reread(&mut store, skip);
    let live = store.live_submissions(99).unwrap();
    for one in live.iter().filter(|one| one.group.as_deref() == Some("p")) {
        store.request_cancel(one.run, false, at(322)).unwrap();
    }
    let next = decision(&skip, at(330), submits(grouped("p"), Overlap::Skip));
    submitted(&store.decide_fires(&[next], at(330)).unwrap());
    sound(&mut store);
}

pub(crate) fn overlap_sees_what_the_same_batch_submitted(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a", "b"]);
    let fire = |schedule| decision(schedule, at(160), submits(grouped("p"), Overlap::Skip));
    let outcomes = store.decide_fires(&[fire(&schedules[0]), fire(&schedules[1])], at(160)).unwrap();
    assert!(
        matches!(&outcomes[..], [FireOutcome::Submitted { number: 1, .. }, FireOutcome::Skipped { .. }]),
        "{outcomes:?}"
    );
    sound(&mut store);
}

pub(crate) fn a_key_that_was_used_gives_the_earlier_run(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a"]);
    let keyed = || NewSubmission { key: Some("labels v3".to_owned()), ..grouped("p") };
    let first = store.submit(&keyed(), at(150)).unwrap();
    let fire = decision(&schedules[0], at(160), submits(keyed(), Overlap::Skip));
    assert_eq!(submitted(&store.decide_fires(&[fire], at(160)).unwrap()), (first.run, first.number));
    assert_eq!(store.fires(&FireFilter::default()).unwrap()[0].run, Some(first.run));
    assert_eq!(store.queued_count().unwrap(), 1);
    sound(&mut store);
}

pub(crate) fn many_fires_are_one_transaction(backend: &dyn Backend) {
    let mut store = open(backend);
    let names: Vec<String> = (0..500).map(|n| format!("s{n:03}")).collect();
    let schedules: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "* * * * *")).collect();
    store.declare("", &[declared("p", &schedules)], &[], at(100)).unwrap();
    let schedules = store.schedules(0).unwrap();
    let mut reader = store.reopen().unwrap();
    let reading = std::thread::spawn(move || {
        loop {
            let fires = reader.fires(&FireFilter::default()).unwrap().len();
            assert!(fires == 0 || fires == 500, "{fires}");
            if fires == 500 {
                return;
            }
        }
    });
    let definition = NewSubmission { definition: None, ..submission("p") };
    let fire = |schedule| {
        let new = NewSubmission { run: RunId(super::driver::uuid()), ..definition.clone() };
        decision(schedule, at(160), submits(new, Overlap::Queue))
    };
    let decisions: Vec<FireDecision> = schedules.iter().map(fire).collect();
    let outcomes = store.decide_fires(&decisions, at(160)).unwrap();
    let numbers: Vec<i64> = outcomes.iter().map(|one| submitted(std::slice::from_ref(one)).1).collect();
    assert_eq!(numbers, (1..=500).collect::<Vec<_>>());
    reading.join().unwrap();
    assert_eq!(store.decide_fires(&decisions, at(161)).unwrap(), vec![FireOutcome::Stale; 500]);
    sound(&mut store);
}
