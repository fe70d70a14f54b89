//! Pipelines and schedules: what files declare, and what people pause.

use runstone_core::hash::ContentHash;
use runstone_core::service::record::{DeclaredPipeline, FireOutcome, ScheduleId, ScheduleRecord};
use runstone_core::service::store::FireFilter;
use runstone_core::store::{Store, StoreError};
use serde_json::json;

use super::Backend;
use super::service::{at, decision, declared, open, reread, skips, sound, with_schedules};

fn schedule(store: &mut Box<dyn Store>, pipeline: &str, name: &str) -> ScheduleRecord {
    let found = store.schedules(0).unwrap();
    found.into_iter().find(|one| (one.pipeline.as_str(), one.name.as_str()) == (pipeline, name)).unwrap()
}

fn newest(store: &mut Box<dyn Store>) -> i64 {
    store.schedules(0).unwrap().iter().map(|one| one.rev).max().unwrap_or(0)
}

pub(crate) fn what_is_declared_is_read_back(backend: &dyn Backend) {
    let mut store = open(backend);
    let mut given = declared("p", &[("hourly", "0 * * * *"), ("nightly", "0 2 * * *")]);
    given.schedules[1].enabled = false;
    given.schedules[0].spec = json!({"cron": "0 * * * *", "params": {"who": "Grüße \u{1F980}", "n": 1.5}});
    let found = store.declare("pipelines", std::slice::from_ref(&given), &[], at(100)).unwrap();
    let [pipeline] = &found[..] else { panic!("{found:?}") };
    let definition = ContentHash::of(given.definition.as_bytes());
    assert_eq!((pipeline.pipeline.as_str(), pipeline.definition), ("p", definition));
    assert_eq!((&pipeline.definition_path, pipeline.active), (&given.definition_path, true));
    assert_eq!((pipeline.error.as_deref(), pipeline.changed), (None, at(100)));
    assert_eq!(store.definition(&definition).unwrap(), Some(given.definition.clone()));
    assert_eq!(store.pipelines().unwrap(), found);
    for (new, active) in given.schedules.iter().zip([true, false]) {
        let on_record = schedule(&mut store, "p", &new.name);
        assert_eq!((&on_record.timing, &on_record.spec), (&new.timing, &new.spec));
        assert_eq!((on_record.generation, on_record.active, on_record.paused), (1, active, false));
        assert_eq!((on_record.activated, on_record.cursor), (at(100), at(100)));
        assert!(on_record.seen.is_null() && on_record.rev > 0);
    }
    let all = store.schedules(0).unwrap();
    let ids: Vec<ScheduleId> = all.iter().map(|one| one.id).collect();
    assert_eq!(store.schedules_by_id(&[ids[1], ScheduleId(-5), ids[0]]).unwrap().len(), 2);
    let mut other = backend.open(&super::driver::project("other"));
    assert!(other.schedules(0).unwrap().is_empty() && other.pipelines().unwrap().is_empty());
    assert!(other.schedules_by_id(&ids).unwrap().is_empty());
    sound(&mut store);
}

pub(crate) fn declaring_the_same_again_changes_nothing(backend: &dyn Backend) {
    let mut store = open(backend);
    let given = [declared("p", &[("hourly", "0 * * * *")]), declared("q", &[])];
    let broken = [("pipelines/q.yaml".to_owned(), "line 1: no steps".to_owned())];
    store.declare("", &given, &[], at(100)).unwrap();
    store.declare("", &given[..1], &broken, at(101)).unwrap();
    let (before, rev) = (backend.dump(), newest(&mut store));
    store.declare("", &given[..1], &broken, at(102)).unwrap();
    assert_eq!(backend.dump(), before);
    assert!(store.schedules(rev).unwrap().is_empty());
    sound(&mut store);
}

pub(crate) fn a_new_timing_is_a_new_generation_and_never_fires_the_past(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a", "b"]);
    let rev = newest(&mut store);
    let decided = decision(&schedules[0], at(160), skips("late", 1));
    store.decide_fires(&[decided], at(170)).unwrap();
    let mut given = declared("p", &[("a", "*/5 * * * *"), ("b", "* * * * *")]);
    store.declare("", std::slice::from_ref(&given), &[], at(1_000)).unwrap();
    let changed = store.schedules(rev).unwrap();
    let [a] = &changed[..] else { panic!("{changed:?}") };
    assert_eq!((a.name.as_str(), a.timing.as_str(), a.generation), ("a", "*/5 * * * *", 2));
    assert_eq!((a.activated, a.cursor), (at(1_000), at(1_000)));

    // Another clock is behind: what was decided is not decided again.
    given.schedules[0].timing = "*/7 * * * *".to_owned();
    store.declare("", std::slice::from_ref(&given), &[], at(500)).unwrap();
    let a = reread(&mut store, a);
    assert_eq!((a.generation, a.cursor), (3, at(1_000)));

    // Everything but the timing may change within a generation.
    let rev = newest(&mut store);
    given.schedules[1].spec = json!({"cron": "* * * * *", "overlap": "skip"});
    store.declare("", &[given], &[], at(2_000)).unwrap();
    let changed = store.schedules(rev).unwrap();
    let [b] = &changed[..] else { panic!("{changed:?}") };
    assert_eq!((b.name.as_str(), b.generation, b.cursor), ("b", 1, at(100)));
    assert_eq!(b.spec["overlap"], "skip");
    sound(&mut store);
}

pub(crate) fn what_is_not_declared_any_more_rests_until_it_is_back(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a", "b"]);
    let mut saw = decision(&schedules[0], at(160), runstone_core::service::record::FireVerdict::Nothing);
    saw.seen = Some(json!({"version": 7}));
    store.decide_fires(&[saw], at(160)).unwrap();
    let timing = "* * * * *";
    store.declare("", &[declared("p", &[("b", timing)])], &[], at(200)).unwrap();
    let a = reread(&mut store, &schedules[0]);
    assert_eq!((a.active, a.generation, a.cursor), (false, 1, at(160)));
    assert_eq!(a.seen, json!({"version": 7}));
    let fire = decision(&a, at(220), skips("late", 1));
    assert_eq!(store.decide_fires(&[fire], at(230)).unwrap(), [FireOutcome::Stale]);

    store.declare("", &[declared("p", &[("a", timing), ("b", timing)])], &[], at(300)).unwrap();
    let a = reread(&mut store, &a);
    assert_eq!((a.active, a.generation, a.activated, a.cursor), (true, 2, at(300), at(300)));
    assert!(a.seen.is_null());
    assert_eq!(reread(&mut store, &schedules[1]).generation, 1);

    // A file that is gone takes its schedules with it; one that is back brings them back.
    store.declare("", &[], &[], at(400)).unwrap();
    assert!(!store.pipelines().unwrap()[0].active);
    assert!(store.schedules(0).unwrap().iter().all(|one| !one.active));
    store.declare("", &[declared("p", &[("b", timing)])], &[], at(500)).unwrap();
    assert!(store.pipelines().unwrap()[0].active);
    let b = reread(&mut store, &schedules[1]);
    assert_eq!((b.active, b.generation, b.cursor), (true, 2, at(500)));

    // Disabled in its file is not declared to fire; so is enabled again a new beginning.
    let mut disabled: DeclaredPipeline = declared("p", &[("b", timing)]);
    disabled.schedules[0].enabled = false;
    store.declare("", &[disabled], &[], at(600)).unwrap();
    let b = reread(&mut store, &b);
    assert_eq!((b.active, b.generation), (false, 2));
    store.declare("", &[declared("p", &[("b", timing)])], &[], at(700)).unwrap();
    let b = reread(&mut store, &b);
    assert_eq!((b.active, b.generation, b.cursor), (true, 3, at(700)));
    sound(&mut store);
}

pub(crate) fn a_broken_file_keeps_what_it_last_declared(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a"]);
    let error = |text: &str| [("pipelines/p.yaml".to_owned(), text.to_owned())];
    let rev = newest(&mut store);
    store.declare("", &[], &error("line 3: unknown key"), at(200)).unwrap();
    let found = store.pipelines().unwrap();
    assert_eq!((found[0].active, found[0].error.as_deref()), (true, Some("line 3: unknown key")));
    assert_eq!(found[0].changed, at(200));
    assert!(store.schedules(rev).unwrap().is_empty());
    let fire = decision(&schedules[0], at(160), skips("late", 1));
    assert!(matches!(store.decide_fires(&[fire], at(170)).unwrap()[..], [FireOutcome::Skipped { .. }]));

    let strangers = [("pipelines/new.yaml".to_owned(), "line 1: no steps".to_owned())];
    store.declare("pipelines/new.yaml", &[], &strangers, at(250)).unwrap();
    assert_eq!(store.pipelines().unwrap(), found, "a file that was never good has nothing in force");

    store.declare("", &[declared("p", &[("a", "* * * * *")])], &[], at(300)).unwrap();
    assert_eq!(store.pipelines().unwrap()[0].error, None);
    assert_eq!(reread(&mut store, &schedules[0]).generation, 1);
    sound(&mut store);
}

pub(crate) fn a_folder_speaks_for_its_own_files(backend: &dyn Backend) {
    let mut store = open(backend);
    let under = |folder: &str, name: &str| DeclaredPipeline {
        definition_path: format!("{folder}/{name}.yaml"),
        ..declared(name, &[("s", "* * * * *")])
    };
    store.declare("one", &[under("one", "a"), under("one/deep", "b")], &[], at(100)).unwrap();
    store.declare("one-more", &[under("one-more", "c")], &[], at(100)).unwrap();
    let is_active = |store: &mut Box<dyn Store>| -> Vec<bool> {
        store.pipelines().unwrap().iter().map(|pipeline| pipeline.active).collect()
    };
    let found = store.declare("one/", &[under("one", "a")], &[], at(200)).unwrap();
    assert_eq!(found.iter().map(|pipeline| pipeline.pipeline.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(is_active(&mut store), [true, false, true]);
    assert!(schedule(&mut store, "c", "s").active && !schedule(&mut store, "b", "s").active);

    // It may move to another folder without a pause.
    store.declare("one-more", &[under("one-more", "c"), under("one-more", "a")], &[], at(300)).unwrap();
    store.declare("one", &[], &[], at(301)).unwrap();
    assert_eq!(is_active(&mut store), [true, false, true]);
    assert_eq!(schedule(&mut store, "a", "s").generation, 1);
    store.declare("", &[], &[], at(400)).unwrap();
    assert_eq!(is_active(&mut store), [false; 3]);

    let twice = [under("one", "a"), under("two", "a")];
    assert!(matches!(store.declare("", &twice, &[], at(500)), Err(StoreError::Database { .. })));
    sound(&mut store);
}

pub(crate) fn a_pause_is_skipped_unless_it_is_to_be_caught_up(backend: &dyn Backend) {
    let (mut store, schedules) = with_schedules(backend, &["a", "b", "c"]);
    let ids: Vec<ScheduleId> = schedules.iter().map(|one| one.id).collect();
    let never = |_: &ScheduleRecord| -> u64 { panic!("pausing misses nothing") };
    let rev = newest(&mut store);
    let asked = [ids[1], ids[0], ids[0], ScheduleId(-5)];
    let paused = store.set_paused(&asked, true, false, at(150), &never).unwrap();
    assert_eq!(paused.iter().map(|one| one.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert!(paused.iter().all(|one| one.paused && one.cursor == at(100) && one.rev > rev));
    assert!(store.set_paused(&ids[..2], true, false, at(151), &never).unwrap().is_empty());
    let fire = decision(&schedules[0], at(160), skips("late", 1));
    assert_eq!(store.decide_fires(&[fire], at(170)).unwrap(), [FireOutcome::Stale]);

    let went_on = store.set_paused(&ids[..1], false, true, at(400), &never).unwrap();
    assert_eq!((went_on[0].paused, went_on[0].cursor), (false, at(100)), "the pause is to be caught up");
    let missed = |schedule: &ScheduleRecord| {
        assert_eq!((schedule.id, schedule.cursor), (ids[1], at(100)));
        5
    };
    let went_on = store.set_paused(&ids, false, false, at(400), &missed).unwrap();
    let [b] = &went_on[..] else { panic!("{went_on:?}") };
    assert_eq!((b.id, b.paused, b.cursor, b.generation), (ids[1], false, at(400), 1));
    let fires = store.fires(&FireFilter::default()).unwrap();
    let [row] = &fires[..] else { panic!("{fires:?}") };
    assert_eq!((row.schedule, row.count, row.until), (ids[1], 5, at(400)));
    assert!(at(100) < row.time && row.time < at(101), "from just after the cursor");
    assert_eq!((row.reason.as_deref(), row.run), (Some("paused"), None));

    // Nothing missed leaves no row, and a clock that is behind takes nothing back.
    for (now, cursor) in [(at(500), at(500)), (at(450), at(500))] {
        store.set_paused(&ids[1..2], true, false, now, &never).unwrap();
        let went_on = store.set_paused(&ids[1..2], false, false, now, &|_| 0).unwrap();
        assert_eq!(went_on[0].cursor, cursor);
    }
    assert_eq!(store.fires(&FireFilter::default()).unwrap().len(), 1);
    sound(&mut store);
}
