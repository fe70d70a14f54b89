//! Tags: names that move, and who moved them.

use std::sync::Barrier;

use runstone_core::lineage::tag::{Expect, NewTagMove, TagMove, TagMoved, TagName};
use runstone_core::record::NodeId;
use runstone_core::store::{NewMaterialization, VersionRef};
use runstone_core::time::Timestamp;

use super::Backend;
use super::datasets::publish;
use super::driver::{Driver, output, project, start};

fn name(text: &str) -> TagName {
    TagName::new(text).unwrap()
}

/// A move of `champion` of `p/d`.
fn to(targets: &[NodeId], expect: Expect) -> NewTagMove {
    NewTagMove {
        dataset: "p/d".to_owned(),
        name: name("champion"),
        targets: targets.to_vec(),
        expect,
        at: Timestamp(77_000_001),
        user: "ada".to_owned(),
        host: "mill".to_owned(),
        note: Some("better on \u{1F980}".to_owned()),
    }
}

/// As it stands on record.
fn on_record(new: &NewTagMove, rev: i64) -> TagMove {
    let NewTagMove { dataset, name, targets, at, user, host, note, .. } = new.clone();
    TagMove { dataset, name, rev, targets, at, user, host, note }
}

fn leads_to(driver: &mut Driver<'_>, tag: &str) -> Vec<NodeId> {
    let found = driver.store.resolve("p/d", &VersionRef::Tag(name(tag))).unwrap();
    found.into_iter().map(|publication| publication.id).collect()
}

/// Must change nothing.
fn refused(driver: &mut Driver<'_>, new: &NewTagMove) -> TagMoved {
    let before = driver.backend.dump();
    let moved = driver.store.move_tag(new).unwrap();
    assert!(!matches!(moved, TagMoved::Moved(_)), "{new:?}");
    assert_eq!(driver.backend.dump(), before, "{new:?}");
    moved
}

pub(crate) fn a_tag_is_where_it_was_moved_last(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let [one, two] = ["A", "B"].map(|bytes| publish(&mut driver, bytes));
    assert!(leads_to(&mut driver, "champion").is_empty());
    assert!(driver.store.tag_history("p/d", &name("champion")).unwrap().is_empty());
    let first = to(&[two.id], Expect::Rev(0));
    let second = NewTagMove { note: None, at: Timestamp(5), ..to(&[one.id], Expect::Rev(1)) };
    let third = NewTagMove { user: "eve".to_owned(), ..to(&[one.id], Expect::Anything) };
    let mut history = Vec::new();
    for (rev, new) in (1..).zip([&first, &second, &third]) {
        assert_eq!(driver.store.move_tag(new).unwrap(), TagMoved::Moved(rev));
        assert_eq!(leads_to(&mut driver, "champion"), new.targets);
        history.insert(0, on_record(new, rev));
        assert_eq!(driver.store.tag_history("p/d", &name("champion")).unwrap(), history);
        assert_eq!(driver.store.tags(None).unwrap(), history[..1]);
    }
    let found = driver.store.resolve("p/d", &VersionRef::Tag(name("champion"))).unwrap();
    assert_eq!(found, [one]);
    assert!(leads_to(&mut driver, "other").is_empty());
    assert!(driver.store.resolve("p/unknown", &VersionRef::Tag(name("champion"))).unwrap().is_empty());
    driver.sound();
}

pub(crate) fn whoever_saw_an_earlier_move_is_told(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let made = publish(&mut driver, "A");
    let ids = [made.id];
    for never in [-1, 1, 7] {
        assert_eq!(refused(&mut driver, &to(&ids, Expect::Rev(never))), TagMoved::Overtaken(None));
    }
    driver.store.move_tag(&to(&ids, Expect::Rev(0))).unwrap();
    let second = to(&ids, Expect::Rev(1));
    driver.store.move_tag(&second).unwrap();
    for other in [0, 1, 3] {
        let told = refused(&mut driver, &to(&ids, Expect::Rev(other)));
        assert_eq!(told, TagMoved::Overtaken(Some(on_record(&second, 2))));
    }
    driver.store.move_tag(&to(&[], Expect::Rev(2))).unwrap();
    let TagMoved::Overtaken(Some(last)) = refused(&mut driver, &to(&ids, Expect::Rev(2))) else { panic!("moved") };
    assert_eq!((last.rev, last.targets), (3, Vec::new()), "taken away meanwhile");
    driver.sound();
}

pub(crate) fn a_tag_is_taken_away_and_comes_back(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let made = publish(&mut driver, "A").id;
    let revs = [&[made] as &[_], &[], &[], &[made]];
    for (rev, targets) in (1..).zip(revs) {
        assert_eq!(driver.store.move_tag(&to(targets, Expect::Rev(rev - 1))).unwrap(), TagMoved::Moved(rev));
        assert_eq!(leads_to(&mut driver, "champion"), targets);
        assert_eq!(driver.store.tags(Some("p/d")).unwrap().len(), targets.len());
    }
    let history = driver.store.tag_history("p/d", &name("champion")).unwrap();
    assert_eq!(
        history.iter().map(|step| step.targets.as_slice()).collect::<Vec<_>>(),
        [&[made] as &[_], &[], &[], &[made]]
    );
    // One that never was is taken away like any other.
    let other = NewTagMove { name: name("other"), ..to(&[], Expect::Rev(0)) };
    assert_eq!(driver.store.move_tag(&other).unwrap(), TagMoved::Moved(1));
    assert_eq!(driver.store.tags(None).unwrap().len(), 1);
    driver.sound();
}

pub(crate) fn a_tag_stays_within_its_dataset(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let made = publish(&mut driver, "A");
    driver.run(&["e"]);
    let (_, other) = driver.executed(start(0, 1), vec![output("e", "A")]);
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    let foreign = publish(&mut elsewhere, "A").id;
    for bad in [other[0], foreign, made.attempt, NodeId(9_999), NodeId(-1)] {
        assert_eq!(refused(&mut driver, &to(&[bad], Expect::Anything)), TagMoved::Unknown, "{bad:?}");
        assert_eq!(refused(&mut driver, &to(&[made.id, bad], Expect::Rev(0))), TagMoved::Unknown, "{bad:?}");
    }
    let nowhere = NewTagMove { dataset: "p/unknown".to_owned(), ..to(&[], Expect::Anything) };
    assert_eq!(refused(&mut driver, &nowhere), TagMoved::Unknown);
    // What is unknown is told first.
    assert_eq!(refused(&mut driver, &to(&[other[0]], Expect::Rev(9))), TagMoved::Unknown);

    // The same names in two projects are two tags.
    driver.store.move_tag(&to(&[made.id], Expect::Rev(0))).unwrap();
    assert!(elsewhere.store.tags(None).unwrap().is_empty());
    assert!(elsewhere.store.tag_history("p/d", &name("champion")).unwrap().is_empty());
    assert!(leads_to(&mut elsewhere, "champion").is_empty());
    assert_eq!(elsewhere.store.move_tag(&to(&[foreign], Expect::Rev(0))).unwrap(), TagMoved::Moved(1));
    assert_eq!(leads_to(&mut elsewhere, "champion"), [foreign]);
    assert_eq!(leads_to(&mut driver, "champion"), [made.id]);
    driver.sound();
}

pub(crate) fn a_tag_leads_to_every_cell_that_was_named(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["d", "d", "d"]);
    let cell = |subset: &str, bytes: &str| NewMaterialization { subset: subset.to_owned(), ..output("d", bytes) };
    let mut made = Vec::new();
    for (task, (subset, bytes)) in (0..).zip([("k=2", "1"), ("k=1", "2"), ("k=2", "3")]) {
        made.extend(driver.executed(start(task, 1), vec![cell(subset, bytes)]).1);
    }
    let new = to(&[made[1], made[0], made[1]], Expect::Rev(0));
    driver.store.move_tag(&new).unwrap();
    let listed = driver.store.tags(None).unwrap().remove(0);
    assert_eq!(listed.targets, made[..2], "each once, in the order of ids");
    assert_eq!(leads_to(&mut driver, "champion"), [made[1], made[0]], "in the order of subsets");
    driver.store.move_tag(&to(&made, Expect::Rev(1))).unwrap();
    assert_eq!(leads_to(&mut driver, "champion"), [made[1], made[2]], "one of each subset: the newest");
    driver.sound();
}

pub(crate) fn tags_are_listed_in_the_order_of_bytes(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let mut expected = Vec::new();
    for dataset in ["b", "a.b", "a-b", "a"] {
        driver.run(&[dataset]);
        let (_, made) = driver.executed(start(0, 1), vec![output(dataset, "A")]);
        for tag in ["b", "a_b", "a.b", "a"] {
            let dataset = format!("p/{dataset}");
            driver
                .store
                .move_tag(&NewTagMove { dataset: dataset.clone(), name: name(tag), ..to(&made, Expect::Rev(0)) })
                .unwrap();
            expected.push((dataset, name(tag)));
        }
    }
    expected.sort_unstable();
    let mut listed = |dataset: Option<&str>| -> Vec<(String, TagName)> {
        driver.store.tags(dataset).unwrap().into_iter().map(|tag| (tag.dataset, tag.name)).collect()
    };
    assert_eq!(listed(None), expected);
    expected.retain(|(dataset, _)| dataset == "p/a.b");
    assert_eq!(listed(Some("p/a.b")), expected);
    assert!(listed(Some("p/")).is_empty(), "a name, not its beginning");
    driver.sound();
}

/// Everybody moves it again and again, and each move follows the one that its mover saw.
pub(crate) fn of_two_who_move_a_tag_at_once_one_is_told(backend: &dyn Backend) {
    const MOVERS: usize = 4;
    const MOVES: usize = 12;
    let mut driver = Driver::new(backend, &[]);
    let made = publish(&mut driver, "A").id;
    let barrier = Barrier::new(MOVERS);
    let stores: Vec<_> = (0..MOVERS).map(|_| driver.store.reopen().unwrap()).collect();
    let mut moved: Vec<i64> = std::thread::scope(|scope| {
        let movers: Vec<_> = stores
            .into_iter()
            .map(|mut store| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut own = Vec::new();
                    // All begin with the same: exactly one may be first.
                    let mut seen = 0;
                    barrier.wait();
                    while own.len() < MOVES {
                        match store.move_tag(&to(&[made], Expect::Rev(seen))).unwrap() {
                            TagMoved::Moved(rev) => {
                                assert_eq!(rev, seen + 1);
                                own.push(rev);
                                seen = rev;
                            }
                            TagMoved::Overtaken(Some(last)) => {
                                assert!(last.rev > seen, "told of a move that was known");
                                seen = last.rev;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    own
                })
            })
            .collect();
        movers.into_iter().flat_map(|mover| mover.join().unwrap()).collect()
    });
    moved.sort_unstable();
    let all: Vec<i64> = (1..).take(MOVERS * MOVES).collect();
    assert_eq!(moved, all, "no number twice, none left out");
    let history = driver.store.tag_history("p/d", &name("champion")).unwrap();
    assert!(history.iter().map(|step| step.rev).eq(all.into_iter().rev()));
    driver.sound();
}
