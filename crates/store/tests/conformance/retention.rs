//! What is given up, what keeps it from being given up, and events that expire.

use std::collections::HashSet;

use runstone_core::hash::ContentHash;
use runstone_core::lineage::tag::{Expect, NewTagMove, TagMoved, TagName};
use runstone_core::record::{AttemptKind, ContentKind, NodeId, RunState, TaskState};
use runstone_core::retention::Facts;
use runstone_core::retention::facts::Content;
use runstone_core::retention::store::{Candidate, Expired};
use runstone_core::store::{Applied, Change, KeptObject, Reuse, ReuseNode, SettleTask, StartAttempt, VersionRef};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::Backend;
use super::driver::{
    Driver, end_run, failure, fingerprint, marker, new_run, output, pin_node, pin_task, project, settle, start,
    success, uuid,
};

fn hash(bytes: &str) -> ContentHash {
    ContentHash::of(bytes.as_bytes())
}

/// As it would be decided now.
fn candidate(facts: &Facts, bytes: &str) -> Candidate {
    let (publications, readings) = facts.uses().get(&hash(bytes)).copied().unwrap_or_default();
    Candidate { hash: hash(bytes), publications, readings }
}

/// Gives up what may be of these, and says what was.
fn evict(driver: &mut Driver<'_>, contents: &[&str]) -> Vec<ContentHash> {
    let facts = driver.store.retention_facts(marker()).unwrap();
    let candidates: Vec<Candidate> = contents.iter().map(|bytes| candidate(&facts, bytes)).collect();
    driver.store.evict(marker(), &candidates, driver.now).unwrap()
}

fn evicted(driver: &mut Driver<'_>, bytes: &str) -> bool {
    driver.store.evicted(&[hash(bytes)]).unwrap().contains(&hash(bytes))
}

/// A run that publishes versions of `p/a` one after the other, and is over.
fn versions(driver: &mut Driver<'_>, contents: &[&str]) {
    for bytes in contents {
        driver.run(&["a"]);
        driver.executed(start(0, 1), vec![output("a", bytes)]);
        driver.apply(end_run(RunState::Succeeded));
    }
}

/// A tag of `p/a` that leads to the publications of a version.
fn tag(driver: &mut Driver<'_>, number: i64) {
    let targets = driver.store.resolve("p/a", &VersionRef::Number(number)).unwrap();
    let new = NewTagMove {
        dataset: "p/a".to_owned(),
        name: TagName::new("gold").unwrap(),
        targets: targets.into_iter().map(|publication| publication.id).collect(),
        expect: Expect::Rev(0),
        at: driver.now,
        user: "ada".to_owned(),
        host: "here".to_owned(),
        note: None,
    };
    assert_eq!(driver.store.move_tag(&new).unwrap(), TagMoved::Moved(1));
}

pub(crate) fn all_that_a_decision_rests_on_is_told(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let code = KeptObject { hash: hash("code"), kind: ContentKind::Dir, size: 12 };
    let start_a = StartAttempt { keeps: vec![code], kind: AttemptKind::Ingest, ..start(0, 1) };
    let (a, published_a) = driver.executed(start_a, vec![output("a", "1")]);
    let pins = vec![pin_task("x", 0, "out"), pin_task("y", 0, "out")];
    let (b, published_b) = driver.executed(StartAttempt { pins, ..start(1, 1) }, vec![output("b", "12")]);
    driver.apply(end_run(RunState::Succeeded));
    tag(&mut driver, 1);
    let began = Timestamp(driver.now.0 + 5);
    driver.create(&runstone_core::store::NewRun { created: began, ..new_run(&["a", "b"]) });
    let node = ReuseNode { uuid: uuid(), pins: Vec::new(), outputs: vec![output("c", "1")] };
    let reuse = Reuse { attempt: a, fingerprint: fingerprint("task 0"), node: Some(node) };
    let settled = driver.apply(Change::Settle(SettleTask {
        task: 0,
        state: TaskState::Reused,
        reason: None,
        reuse: Some(reuse),
    }));
    let Applied::Published { attempt: c, materializations } = settled else { panic!("{settled:?}") };
    let live = driver.started(StartAttempt { pins: vec![pin_node("x", published_b[0])], ..start(1, 1) });

    let facts = driver.store.retention_facts(marker()).unwrap();
    assert_eq!(facts.datasets, ["p/a", "p/b", "p/c"]);
    let content = |kind, size, proof| Content { kind, size, proof, stored: true };
    assert_eq!(facts.contents.len(), 3);
    assert_eq!(facts.contents[&hash("1")], content(ContentKind::File, 1, false));
    assert_eq!(facts.contents[&hash("code")], content(ContentKind::Dir, 12, true));
    let published: Vec<_> =
        facts.publications.iter().map(|one| (one.id, one.dataset, one.version, one.hash, one.attempt)).collect();
    let expected = [
        (published_a[0], 0, 1, hash("1"), a),
        (published_b[0], 1, 1, hash("12"), b),
        (materializations[0], 2, 1, hash("1"), c),
    ];
    assert_eq!(published, expected);
    assert!(facts.publications.iter().all(|one| one.subset.is_empty()));
    assert!(facts.publications[0].created < facts.publications[1].created);
    let attempts: Vec<_> = facts.attempts.iter().map(|one| (one.id, one.kind, one.reused_from, one.wall_us)).collect();
    let expected = [
        (a, AttemptKind::Ingest, None, 3_000_000),
        (b, AttemptKind::Run, None, 3_000_000),
        (c, AttemptKind::Reuse, Some(a), 0),
        (live, AttemptKind::Run, None, 0),
    ];
    assert_eq!(attempts, expected);
    assert_eq!(facts.attempts.iter().map(|one| one.reusable).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(facts.readings, [(b, published_a[0]), (live, published_b[0])], "under two names it is one reading");
    let latest: HashSet<NodeId> = published.iter().map(|one| one.0).collect();
    assert_eq!(facts.latest, latest);
    assert_eq!(facts.tagged.into_iter().collect::<Vec<_>>(), [(published_a[0], "gold".to_owned())]);
    let mut stood: Vec<_> = facts.stood.into_iter().collect();
    stood.sort_unstable();
    let first = Timestamp(1_000_000);
    assert_eq!(stood, [(a, first), (b, first), (c, began)]);
    assert_eq!(facts.held, HashSet::from([hash("1"), hash("12")]));

    let elsewhere = driver.store.retention_facts(Uuid::from_u128(77)).unwrap();
    assert!(elsewhere.contents.is_empty() && elsewhere.publications.len() == 3);
    let other = backend.open(&project("other")).retention_facts(marker()).unwrap();
    assert_eq!((other.contents.len(), other.publications.len(), other.attempts.len()), (3, 0, 0));
}

pub(crate) fn only_what_nothing_names_is_given_up(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    driver.apply(end_run(RunState::Succeeded));
    versions(&mut driver, &["1", "2", "3"]);
    tag(&mut driver, 1);
    let before = backend.dump();
    assert_eq!(evict(&mut driver, &["1", "3", "never"]), [], "tagged, latest, unknown");
    assert_eq!(backend.dump(), before);
    assert_eq!(evict(&mut driver, &["2"]), [hash("2")]);
    assert!(evicted(&mut driver, "2") && !evicted(&mut driver, "1") && !evicted(&mut driver, "never"));
    let facts = driver.store.retention_facts(marker()).unwrap();
    assert!(!facts.contents[&hash("2")].stored && facts.contents[&hash("3")].stored);
    assert_eq!(driver.store.resolve("p/a", &VersionRef::Number(2)).unwrap().len(), 1, "its history stays");

    // What is there after all, and what is published again.
    driver.store.revive(marker(), &[hash("2"), hash("never")], driver.now).unwrap();
    assert!(!evicted(&mut driver, "2"));
    evict(&mut driver, &["2"]);
    versions(&mut driver, &["2"]);
    assert!(!evicted(&mut driver, "2"));
    assert_eq!(evict(&mut driver, &["2", "3"]), [hash("3")], "what is latest moved");
    driver.sound();
}

pub(crate) fn what_changed_since_the_decision_stays(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    driver.apply(end_run(RunState::Succeeded));
    versions(&mut driver, &["1", "2", "3"]);
    let facts = driver.store.retention_facts(marker()).unwrap();
    let decided = [candidate(&facts, "1"), candidate(&facts, "2")];
    // Published again as something else, and read.
    driver.run(&["b", "c"]);
    driver.executed(start(0, 1), vec![output("b", "1")]);
    driver.executed(start(1, 1), vec![output("b", "later")]);
    driver.apply(end_run(RunState::Succeeded));
    let published = driver.store.resolve("p/a", &VersionRef::Number(2)).unwrap()[0].id;
    driver.run(&["d"]);
    driver.started(StartAttempt { pins: vec![pin_node("x", published)], ..start(0, 1) });
    driver.finished(failure(0, 1, TaskState::Failed));
    driver.apply(end_run(RunState::Failed));
    assert_eq!(driver.store.evict(marker(), &decided, driver.now).unwrap(), []);
    // What had been given up before and is used now is there: whoever used it has seen it.
    driver.store.set_evicted(&[hash("1")], true, driver.now).unwrap();
    assert_eq!(driver.store.evict(marker(), &decided, driver.now).unwrap(), []);
    assert!(!evicted(&mut driver, "1"));
    let mut both = evict(&mut driver, &["1", "2"]);
    both.sort_unstable();
    let mut expected = [hash("1"), hash("2")];
    expected.sort_unstable();
    assert_eq!(both, expected, "decided anew, it goes");
    driver.sound();
}

pub(crate) fn what_a_run_rests_on_stays_until_it_ends(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    driver.apply(end_run(RunState::Succeeded));
    versions(&mut driver, &["1", "2", "3"]);
    let of = |driver: &mut Driver<'_>, number| driver.store.resolve("p/a", &VersionRef::Number(number)).unwrap();
    let (first, second) = (of(&mut driver, 1)[0].clone(), of(&mut driver, 2)[0].clone());
    driver.run(&["a", "b"]);
    // The first stands for a task, the second is being read.
    let reuse = Reuse { attempt: first.attempt, fingerprint: fingerprint("task 0"), node: None };
    driver.apply(Change::Settle(SettleTask { task: 0, state: TaskState::Reused, reason: None, reuse: Some(reuse) }));
    driver.started(StartAttempt { pins: vec![pin_node("x", second.id)], ..start(1, 1) });
    assert_eq!(evict(&mut driver, &["1", "2"]), []);
    driver.finished(success(1, 1, vec![output("b", "made")]));
    assert_eq!(evict(&mut driver, &["1", "2", "made"]), [hash("2")], "it was read to the end");
    driver.apply(end_run(RunState::Succeeded));
    assert_eq!(evict(&mut driver, &["1"]), [hash("1")]);
    driver.sound();
}

pub(crate) fn proof_is_never_given_up(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let proof = |bytes: &str| KeptObject { hash: hash(bytes), kind: ContentKind::File, size: 1 };
    // Content first and proof later, and the other way round; also within one batch.
    driver.executed(start(0, 1), vec![output("a", "1")]);
    let keeps = vec![proof("1"), proof("2"), proof("code")];
    driver.executed(StartAttempt { keeps, ..start(1, 1) }, vec![output("b", "x")]);
    driver.apply(end_run(RunState::Succeeded));
    driver.run(&["a"]);
    let keeps = vec![proof("3")];
    let applied = driver.commit(&[
        Change::Start(StartAttempt { keeps, ..start(0, 1) }),
        super::driver::finish(success(0, 1, vec![output("a", "3")])),
        end_run(RunState::Succeeded),
    ]);
    assert!(matches!(applied[0], Applied::Started { .. }));
    versions(&mut driver, &["2", "4"]);
    assert_eq!(evict(&mut driver, &["1", "2", "3", "code"]), []);
}

pub(crate) fn each_content_store_gives_up_its_own(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    driver.apply(end_run(RunState::Succeeded));
    versions(&mut driver, &["1", "2"]);
    let elsewhere = Uuid::from_u128(77);
    driver.create(&runstone_core::store::NewRun { store_marker: elsewhere, ..new_run(&["b"]) });
    driver.executed(start(0, 1), vec![output("b", "1")]);
    driver.apply(end_run(RunState::Succeeded));
    driver.create(&runstone_core::store::NewRun { store_marker: elsewhere, ..new_run(&["b"]) });
    driver.executed(start(0, 1), vec![output("b", "3")]);
    driver.apply(end_run(RunState::Succeeded));
    assert_eq!(evict(&mut driver, &["1"]), [hash("1")]);
    assert!(!evicted(&mut driver, "1"), "the other one has it still");
    assert!(!driver.store.retention_facts(marker()).unwrap().is_stored(&hash("1")));
    let facts = driver.store.retention_facts(elsewhere).unwrap();
    assert!(facts.is_stored(&hash("1")));
    let given_up = driver.store.evict(elsewhere, &[candidate(&facts, "1")], driver.now).unwrap();
    assert_eq!(given_up, [hash("1")]);
    assert!(evicted(&mut driver, "1"));

    assert_eq!(driver.store.other_users(marker()).unwrap(), 0);
    let mut other = Driver::of(backend, &project("other"), &[]);
    let in_one_database = driver.store.other_users(marker()).unwrap();
    assert_eq!(in_one_database, 1);
    assert_eq!(other.store.other_users(elsewhere).unwrap(), 1);
    other.sound();
    driver.sound();
}

pub(crate) fn events_of_runs_that_are_over_expire_as_a_whole(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let mut over = Vec::new();
    for _ in 0..3 {
        driver.run(&["a"]);
        driver.executed(start(0, 1), vec![output("a", "1")]);
        driver.apply(end_run(RunState::Succeeded));
        over.push((driver.owner.run, driver.now));
    }
    let failed = driver.run(&["a"]);
    driver.apply(settle(0, TaskState::Failed));
    driver.apply(end_run(RunState::Failed));
    let (before, events) =
        (over[2].1, |driver: &mut Driver<'_>, run| driver.store.events(run, 0).unwrap().len() as u64);
    let each = events(&mut driver, over[0].0);
    assert_eq!(driver.store.expirable_events(before).unwrap(), Expired { runs: 2, events: 2 * each });
    assert_eq!(driver.store.expirable_events(Timestamp(0)).unwrap(), Expired::default());
    let lineage = |backend: &dyn Backend| {
        let is_event = |line: &String| line.starts_with("event");
        backend.dump().into_iter().filter(|line| !is_event(line)).collect::<Vec<_>>()
    };
    let rest = lineage(backend);
    assert_eq!(driver.store.expire_events(before, 1).unwrap(), Expired { runs: 1, events: each });
    assert_eq!(driver.store.expire_events(before, 50).unwrap(), Expired { runs: 1, events: each });
    assert_eq!(driver.store.expire_events(before, 50).unwrap(), Expired::default());
    assert_eq!([events(&mut driver, over[0].0), events(&mut driver, over[1].0)], [0, 0]);
    assert_eq!(events(&mut driver, over[2].0), each, "one that ended at this time is not older");
    assert_eq!(lineage(backend), rest);
    driver.sound();

    // Whoever is taken up again tells from there on.
    let later = Timestamp(driver.now.0 + 1);
    assert_eq!(driver.store.expire_events(later, 50).unwrap().runs, 2);
    driver.owner = driver.store.take_over(failed, true, driver.now).unwrap().unwrap();
    driver.executed(start(0, 1), vec![output("a", "1")]);
    driver.sound();
    driver.apply(end_run(RunState::Succeeded));
    driver.sound();
    // A part that is gone is no expiry.
    let story = driver.run(&["a"]);
    driver.apply(settle(0, TaskState::Failed));
    driver.apply(end_run(RunState::Failed));
    assert!(backend.damage("DELETE FROM event WHERE kind = 'run_created'"));
    let found = driver.store.check().unwrap();
    let number = driver.store.run(&runstone_core::store::RunRef::Prefix(story.to_string())).unwrap().unwrap().number;
    assert!(found.iter().any(|line| line.contains(&format!("#{number}")) && line.contains("are gone")), "{found:?}");
}
