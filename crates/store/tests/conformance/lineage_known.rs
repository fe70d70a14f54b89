//! What is known of nodes beyond the graph: records by id, what was reported, profiles, verdicts.

use runstone_core::lineage::store::NewReproduction;
use runstone_core::record::{NodeId, RunId, TaskState, Trust};
use runstone_core::store::{Applied, Change, FinishAttempt, NewMaterialization, Pin, Reuse, ReuseNode, SettleTask};
use runstone_core::time::Timestamp;
use serde_json::{Value, json};

use super::Backend;
use super::datasets::publish;
use super::driver::{Driver, failure, fingerprint, finish, output, pin_node, project, start, success, uuid};
use super::lineage::{diamond, reading};

pub(crate) fn records_are_read_by_id(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let ([raw, left, _, join, _], [a_raw, a_left, _, a_join]) = diamond(&mut driver);
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    let (foreign, foreign_attempts) = diamond(&mut elsewhere);
    let asked = [join, raw, a_raw, join, foreign[0], NodeId(9_999)];
    let found = driver.store.materializations_by_id(&asked).unwrap();
    let whole = driver.store.published(&[a_raw, a_join]).unwrap();
    assert_eq!(found, whole, "in the order of ids, each once");

    let runs = [driver.owner.run, driver.run(&["x"])];
    let asked = [runs[1], elsewhere.owner.run, RunId(uuid()), runs[0], runs[1]];
    let found = driver.store.runs_by_id(&asked).unwrap();
    let mut all = driver.store.runs(&Default::default()).unwrap();
    all.reverse();
    all.retain(|run| runs.contains(&run.id));
    assert_eq!(found, all, "in the order of numbers, each once");

    let slots = |found: &[runstone_core::record::ConsumedRecord]| -> Vec<(NodeId, NodeId, String)> {
        found.iter().map(|edge| (edge.attempt, edge.materialization, edge.slot.clone())).collect()
    };
    let asked = [a_join, a_left, foreign_attempts[1], a_join, raw, NodeId(9_999)];
    let found = driver.store.consumed(&asked).unwrap();
    let edge = |attempt, publication, slot: &str| (attempt, publication, slot.to_owned());
    let right = found[3].materialization;
    assert_eq!(
        slots(&found),
        [edge(a_left, raw, "in"), edge(a_join, raw, "raw"), edge(a_join, left, "l"), edge(a_join, right, "r")]
    );
    assert_eq!(found[0].trust, Trust::Verified);
    // One publication under two names, and an attempt that failed.
    driver.run(&["x"]);
    let asserted = Pin { trust: Trust::Asserted, ..pin_node("a", raw) };
    let failed = driver.started(reading(0, vec![pin_node("b", raw), asserted]));
    driver.finished(failure(0, 1, TaskState::Failed));
    let found = driver.store.consumed(&[failed]).unwrap();
    assert_eq!(slots(&found), [edge(failed, raw, "a"), edge(failed, raw, "b")]);
    assert_eq!(found[0].trust, Trust::Asserted);
    assert!(driver.store.materializations_by_id(&[]).unwrap().is_empty());
    assert!(driver.store.runs_by_id(&[]).unwrap().is_empty());
    assert!(driver.store.consumed(&[]).unwrap().is_empty());
    driver.sound();
}

pub(crate) fn metadata_is_that_of_exactly_these_attempts(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c"]);
    let said = json!({"epochs": 3, "big": 1e300, "nested": [null, {"é": "\u{1F980}"}]});
    let first = driver.started(start(0, 1));
    driver.finished(FinishAttempt { metadata: Some(said.clone()), ..success(0, 1, vec![output("a", "1")]) });
    let silent = driver.started(start(1, 1));
    driver.finished(success(1, 1, Vec::new()));
    let failed = driver.started(start(2, 1));
    driver.finished(FinishAttempt { metadata: Some(json!("why")), ..failure(2, 1, TaskState::Failed) });
    driver.run(&["a"]);
    let node = ReuseNode { uuid: uuid(), pins: Vec::new(), outputs: vec![output("a", "1")] };
    let reuse = Reuse { attempt: first, fingerprint: fingerprint("task 0"), node: Some(node) };
    let settled = SettleTask { task: 0, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
    let Applied::Published { attempt: reused, .. } = driver.apply(Change::Settle(settled)) else {
        panic!("not reused")
    };
    assert_eq!(driver.store.metadata(reused).unwrap(), Some(said.clone()), "asked of it, that of the first");
    let asked = [failed, reused, silent, first, first, NodeId(9_999)];
    assert_eq!(driver.store.reported(&asked).unwrap(), [(first, said), (failed, json!("why"))]);
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    assert!(elsewhere.store.reported(&asked).unwrap().is_empty());
    driver.sound();
}

pub(crate) fn a_profile_comes_with_a_new_version(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["d", "d", "e"]);
    let table = |bytes: &str, profile: Value| NewMaterialization { profile: Some(profile), ..output("d", bytes) };
    let cell = |subset: &str, table: NewMaterialization| NewMaterialization { subset: subset.to_owned(), ..table };
    let first = json!({"rows": 10, "mean": 0.1, "columns": [{"name": "é\u{1F980}"}]});
    // Several new versions and one that is published twice in one batch: its first publication speaks for it.
    let outputs = vec![
        cell("k=1", table("A", first.clone())),
        cell("k=2", table("A", json!({"rows": 11}))),
        cell("k=3", table("B", json!([]))),
        cell("k=4", output("d", "C")),
        cell("k=5", table("C", json!({"rows": 12}))),
    ];
    driver.started(start(0, 1));
    driver.started(start(2, 1));
    let other = NewMaterialization { profile: Some(json!("other")), ..output("e", "A") };
    let applied = driver.commit(&[finish(success(0, 1, outputs)), finish(success(2, 1, vec![other]))]);
    let mut made = Vec::new();
    for applied in applied {
        let Applied::Published { materializations, .. } = applied else { panic!("{applied:?}") };
        made.extend(materializations);
    }
    let known = |ids: &[NodeId], driver: &mut Driver<'_>| driver.store.profiles(ids).unwrap();
    let expected =
        [(made[0], first.clone()), (made[1], first.clone()), (made[2], json!([])), (made[5], json!("other"))];
    assert_eq!(known(&made, &mut driver), expected);
    // A version that is on record keeps what is known of it.
    let (_, again) = driver.executed(start(1, 1), vec![table("A", json!("new")), cell("k=4", output("d", "B"))]);
    assert_eq!(known(&again, &mut driver), [(again[0], first.clone()), (again[1], json!([]))]);
    // The node of a reuse publishes as well.
    let attempt = driver.store.materializations_by_id(&made[..1]).unwrap()[0].attempt;
    driver.run(&["d"]);
    let node = ReuseNode { uuid: uuid(), pins: Vec::new(), outputs: vec![table("D", json!({"reused": true}))] };
    let reuse = Reuse { attempt, fingerprint: fingerprint("task 0"), node: Some(node) };
    let settled = SettleTask { task: 0, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
    let Applied::Published { materializations, .. } = driver.apply(Change::Settle(settled)) else {
        panic!("not reused")
    };
    assert_eq!(known(&materializations, &mut driver), [(materializations[0], json!({"reused": true}))]);
    let asked = [made[2], NodeId(9_999), made[0], attempt, made[2]];
    assert_eq!(
        known(&asked, &mut driver),
        [expected[0].clone(), expected[2].clone()],
        "in the order of ids, each once"
    );
    // What is stale leaves nothing.
    driver.stale(finish(success(0, 1, vec![table("E", json!({}))])));
    driver.sound();
}

pub(crate) fn a_profile_is_replaced_by_what_is_known_now(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let [one, other, same] = ["A", "B", "A"].map(|bytes| publish(&mut driver, bytes));
    let mut set = |id: NodeId, profile: &Value| driver.store.set_profile(id, profile, Timestamp(9)).unwrap();
    assert!(set(one.id, &json!({"rows": 1})));
    assert!(set(other.id, &json!(null)));
    assert!(set(same.id, &json!({"rows": 2, "big": 1e16})));
    let expected = [
        (one.id, json!({"rows": 2, "big": 1e16})),
        (other.id, json!(null)),
        (same.id, json!({"rows": 2, "big": 1e16})),
    ];
    let ids = [one.id, other.id, same.id];
    assert_eq!(driver.store.profiles(&ids).unwrap(), expected, "both publications are of one version");
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    assert!(elsewhere.store.profiles(&ids).unwrap().is_empty());
    let before = backend.dump();
    assert!(!elsewhere.store.set_profile(one.id, &json!("foreign"), Timestamp(9)).unwrap());
    for unknown in [one.attempt, NodeId(9_999), NodeId(-1)] {
        assert!(!driver.store.set_profile(unknown, &json!("x"), Timestamp(9)).unwrap());
    }
    assert_eq!(backend.dump(), before);
    driver.sound();
}

fn verdict(attempt: NodeId, word: &str) -> NewReproduction {
    NewReproduction {
        attempt,
        verdict: word.to_owned(),
        body: json!({"outputs": [{"name": "é\u{1F980}", "equal": false}], "distance": 1e-9}),
        at: Timestamp(1_234_567),
        user: "ada".to_owned(),
        host: "mill".to_owned(),
    }
}

pub(crate) fn verdicts_are_listed_newest_first(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let [one, other, never] = ["A", "B", "C"].map(|bytes| publish(&mut driver, bytes).attempt);
    let all = [
        verdict(one, "same"),
        verdict(other, "within"),
        NewReproduction { at: Timestamp(1), ..verdict(one, "differs") },
    ];
    for new in &all {
        driver.store.add_reproduction(new).unwrap();
    }
    let found = driver.store.reproductions(&[one, other, never, one, NodeId(9_999)]).unwrap();
    assert!(found.is_sorted_by(|a, b| a.id > b.id));
    assert!(found.iter().map(|record| &record.of).eq(all.iter().rev()), "whatever their time, and each once");
    let of_one = driver.store.reproductions(&[one]).unwrap();
    assert!(of_one.iter().map(|record| record.of.verdict.as_str()).eq(["differs", "same"]));
    assert!(driver.store.reproductions(&[never]).unwrap().is_empty());

    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    assert!(elsewhere.store.reproductions(&[one]).unwrap().is_empty());
    let publication = driver.store.published(&[one]).unwrap()[0].id;
    let before = backend.dump();
    assert!(elsewhere.store.add_reproduction(&verdict(one, "same")).is_err());
    for unknown in [publication, NodeId(9_999)] {
        assert!(driver.store.add_reproduction(&verdict(unknown, "same")).is_err());
    }
    assert_eq!(backend.dump(), before);
    driver.sound();
}
