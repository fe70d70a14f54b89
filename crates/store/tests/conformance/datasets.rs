//! Datasets: versions, heads, and what a version given by people names.

use runstone_core::hash::ContentHash;
use runstone_core::record::{ContentKind, MaterializationRecord, TaskState};
use runstone_core::store::{
    FinishAttempt, KeptObject, NewMaterialization, RunRef, StartAttempt, StoreError, StoredObject, VersionRef,
};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::Backend;
use super::driver::{Driver, failure, new_run, output, start, success};

/// A run of one step that publishes dataset `p/d` with these bytes.
pub(crate) fn publish(driver: &mut Driver<'_>, bytes: &str) -> MaterializationRecord {
    driver.run(&["d"]);
    let (attempt, _) = driver.executed(start(0, 1), vec![output("d", bytes)]);
    driver.store.published(&[attempt]).unwrap().remove(0)
}

pub(crate) fn the_same_bytes_are_the_same_version(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let published: Vec<_> = ["A", "B", "A", "C", "B"].map(|bytes| publish(&mut driver, bytes)).into();
    let versions: Vec<i64> = published.iter().map(|record| record.version).collect();
    assert_eq!(versions, [1, 2, 1, 3, 2]);
    let record = &driver.store.datasets("").unwrap()[0];
    assert_eq!((record.name.as_str(), record.versions), ("p/d", 3));
    assert_eq!(record.latest, published[4..]);
    let expected = MaterializationRecord {
        id: published[0].id,
        attempt: published[0].attempt,
        output: "out".to_owned(),
        dataset: "p/d".to_owned(),
        version: 1,
        subset: String::new(),
        hash: ContentHash::of(b"A"),
        kind: ContentKind::File,
        size: 1,
        files: 1,
        rows: None,
        file_name: "d.txt".to_owned(),
        created: Timestamp(12_000_000),
        tainted: false,
    };
    assert_eq!(published[0], expected);
    // A folder with rows, and two datasets with the same bytes: versions are counted for each.
    driver.run(&["e"]);
    let folder = NewMaterialization { kind: ContentKind::Dir, files: 7, rows: Some(1_000), ..output("e", "A") };
    driver.executed(start(0, 1), vec![folder]);
    let read = driver.store.resolve("p/e", &VersionRef::Latest).unwrap().remove(0);
    assert_eq!((read.version, read.kind, read.files, read.rows), (1, ContentKind::Dir, 7, Some(1_000)));
    driver.sound();
}

pub(crate) fn a_tainted_result_is_kept_but_never_latest(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let tainted = |bytes| {
        let mut end = success(0, 1, vec![output("d", bytes)]);
        end.end.tainted = Some("./in.csv changed while it ran".to_owned());
        end
    };
    driver.run(&["d"]);
    driver.started(start(0, 1));
    driver.finished(tainted("T"));
    assert!(driver.store.resolve("p/d", &VersionRef::Latest).unwrap().is_empty());
    assert!(driver.store.datasets("").unwrap()[0].latest.is_empty());

    let clean = publish(&mut driver, "A");
    driver.run(&["d"]);
    driver.started(start(0, 1));
    let again = driver.finished(tainted("A"));
    assert_eq!(driver.store.resolve("p/d", &VersionRef::Latest).unwrap(), std::slice::from_ref(&clean));
    let version = |driver: &mut Driver<'_>, number| driver.store.resolve("p/d", &VersionRef::Number(number)).unwrap();
    assert_eq!(version(&mut driver, 2), [clean], "the clean publication of the same bytes stands for them");
    assert!(version(&mut driver, 1)[0].tainted);
    let of_run = VersionRef::Run(RunRef::Latest);
    assert_eq!(driver.store.resolve("p/d", &of_run).unwrap()[0].id, again[0]);
    driver.sound();
}

pub(crate) fn versions_are_found_by_number_hash_and_run(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let hash = |first: u8, second: u8| {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (first, second);
        ContentHash::from_bytes(bytes)
    };
    for (first, second) in [(0xab, 0x10), (0xab, 0x20), (0xcd, 0x00)] {
        driver.run(&["d"]);
        driver.executed(start(0, 1), vec![NewMaterialization { hash: hash(first, second), ..output("d", "") }]);
    }
    let mut found = |version: VersionRef| -> Vec<i64> {
        driver.store.resolve("p/d", &version).unwrap().iter().map(|record| record.version).collect()
    };
    assert_eq!(found(VersionRef::Latest), [3]);
    assert_eq!(found(VersionRef::Number(2)), [2]);
    assert_eq!(found(VersionRef::Number(4)), [] as [i64; 0]);
    assert_eq!(found(VersionRef::Number(0)), [] as [i64; 0]);
    assert_eq!(found(VersionRef::Run(RunRef::Number(3))), [2]);
    assert_eq!(found(VersionRef::Run(RunRef::Latest)), [3]);
    assert_eq!(found(VersionRef::Run(RunRef::Number(1))), [] as [i64; 0], "that run published nothing");
    assert_eq!(found(VersionRef::Run(RunRef::Number(99))), [] as [i64; 0]);
    let mut prefix = |text: &str| found(VersionRef::HashPrefix(text.to_owned()));
    assert_eq!(prefix("c"), [3]);
    assert_eq!(prefix("AB1"), [1]);
    assert_eq!(prefix("b3:ab2"), [2]);
    assert_eq!(prefix(&hash(0xab, 0x20).to_hex()), [2]);
    for nothing in ["", "e", "ab3", "xyz", "ab1%", "b3:"] {
        assert_eq!(prefix(nothing), [] as [i64; 0], "{nothing:?}");
    }
    let ambiguous = driver.store.resolve("p/d", &VersionRef::HashPrefix("ab".to_owned()));
    let Err(StoreError::Ambiguous { given, candidates, .. }) = ambiguous else { panic!("{ambiguous:?}") };
    assert_eq!((given.as_str(), candidates.len()), ("ab", 2));
    assert!(candidates[0].contains("v1") && candidates[1].contains("v2"), "{candidates:?}");
    assert!(driver.store.resolve("p/unknown", &VersionRef::Latest).unwrap().is_empty());
    assert!(driver.store.resolve("p/unknown", &VersionRef::HashPrefix("ab".to_owned())).unwrap().is_empty());

    let mut by_hash = |prefix: &str, limit| -> Vec<i64> {
        driver.store.by_hash(prefix, limit).unwrap().iter().map(|record| record.version).collect()
    };
    assert_eq!(by_hash("ab", 9), [2, 1], "newest first");
    assert_eq!(by_hash("ab", 1), [2]);
    assert_eq!(by_hash("", 9), [] as [i64; 0]);
    driver.sound();
}

pub(crate) fn every_cell_has_its_own_head(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let cell = |subset: &str, bytes: &str| NewMaterialization { subset: subset.to_owned(), ..output("d", bytes) };
    driver.run(&["d", "d"]);
    driver.executed(start(0, 1), vec![cell("lr=0.2", "1")]);
    driver.executed(start(1, 1), vec![cell("lr=0.1", "2")]);
    driver.run(&["d", "d"]);
    driver.executed(start(0, 1), vec![cell("lr=0.2", "2")]);
    let mut found = |version: VersionRef| -> Vec<(String, i64)> {
        let found = driver.store.resolve("p/d", &version).unwrap();
        found.into_iter().map(|record| (record.subset, record.version)).collect()
    };
    let expect = |pairs: &[(&str, i64)]| pairs.iter().map(|(s, v)| ((*s).to_owned(), *v)).collect::<Vec<_>>();
    assert_eq!(found(VersionRef::Latest), expect(&[("lr=0.1", 2), ("lr=0.2", 2)]));
    assert_eq!(found(VersionRef::Number(1)), expect(&[("lr=0.2", 1)]));
    assert_eq!(found(VersionRef::Number(2)), expect(&[("lr=0.1", 2), ("lr=0.2", 2)]));
    assert_eq!(found(VersionRef::Run(RunRef::Number(2))), expect(&[("lr=0.1", 2), ("lr=0.2", 1)]));
    assert_eq!(driver.store.datasets("").unwrap()[0].latest.len(), 2);
    driver.sound();
}

pub(crate) fn names_are_listed_in_the_order_of_bytes(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a"]);
    let names = ["p/a", "p/a-b", "p/a.b", "p/a_b", "p/aé", "p/b", "./Z.csv", "./z.csv", "./\u{1F980}%_.csv"];
    driver.started(start(0, 1));
    let outputs = names.iter().map(|name| NewMaterialization {
        output: (*name).to_owned(),
        dataset: (*name).to_owned(),
        ..output("x", name)
    });
    driver.finished(success(0, 1, outputs.collect()));
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let mut listed = |prefix: &str| -> Vec<String> {
        driver.store.datasets(prefix).unwrap().into_iter().map(|dataset| dataset.name).collect()
    };
    assert_eq!(listed(""), sorted);
    for prefix in ["p/", "p/a", "p/a.", "./", "./\u{1F980}", "./\u{1F980}%", "nothing", "p/b"] {
        let expected: Vec<_> = sorted.iter().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(listed(prefix).iter().collect::<Vec<_>>(), expected, "{prefix}");
    }
    driver.sound();
}

pub(crate) fn publications_are_listed_newest_first(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let mut published: Vec<_> = ["A", "B", "A"].map(|bytes| publish(&mut driver, bytes)).into();
    published.reverse();
    assert_eq!(driver.store.materializations("p/d", 9).unwrap(), published);
    assert_eq!(driver.store.materializations("p/d", 2).unwrap(), published[..2]);
    assert!(driver.store.materializations("p/unknown", 2).unwrap().is_empty());
    assert_eq!(driver.store.by_hash(&ContentHash::of(b"A").to_hex()[..9], 9).unwrap().len(), 2);
    let mut attempts: Vec<_> = published.iter().map(|record| record.attempt).collect();
    attempts.push(attempts[0]);
    published.reverse();
    assert_eq!(driver.store.published(&attempts).unwrap(), published, "each once, in the order of ids");
}

pub(crate) fn objects_are_named_once_and_can_be_given_up(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b"]);
    let code = KeptObject { hash: ContentHash::of(b"code"), kind: ContentKind::Dir, size: 12 };
    let same = KeptObject { hash: ContentHash::of(b"A"), kind: ContentKind::File, size: 1 };
    let keeps = vec![code.clone(), same];
    driver.executed(StartAttempt { keeps: keeps.clone(), ..start(0, 1) }, vec![output("a", "A")]);
    driver.started(StartAttempt { keeps, ..start(1, 1) });
    driver.finished(failure(1, 1, TaskState::Failed));
    let stored = |bytes: &str, kind, size, evicted| StoredObject {
        hash: ContentHash::of(bytes.as_bytes()),
        kind,
        size,
        evicted,
    };
    let mut expected = [stored("code", ContentKind::Dir, 12, false), stored("A", ContentKind::File, 1, false)];
    expected.sort_by_key(|object| object.hash);
    let mut objects = driver.store.objects().unwrap();
    objects.sort_by_key(|object| object.hash);
    assert_eq!(objects, expected);

    let given_up = [ContentHash::of(b"A"), ContentHash::of(b"never stored")];
    let evicted = |driver: &mut Driver<'_>| {
        let objects = driver.store.objects().unwrap();
        objects.iter().find(|object| object.hash == given_up[0]).unwrap().evicted
    };
    driver.store.set_evicted(&given_up, true, driver.now).unwrap();
    assert!(evicted(&mut driver));
    assert_eq!(driver.store.objects().unwrap().len(), 2);
    assert_eq!(driver.store.resolve("p/a", &VersionRef::Latest).unwrap().len(), 1, "its history stays");
    driver.store.set_evicted(&given_up, false, driver.now).unwrap();
    assert!(!evicted(&mut driver));
    driver.store.set_evicted(&given_up, true, driver.now).unwrap();
    publish(&mut driver, "A");
    assert!(!evicted(&mut driver), "published again, it is there again");

    // The same object in a second content store of the project.
    let mut moved = new_run(&["a"]);
    moved.store_marker = Uuid::from_u128(77);
    driver.store.set_evicted(&given_up, true, driver.now).unwrap();
    driver.create(&moved);
    driver.started(start(0, 1));
    driver.finished(FinishAttempt { reusable: false, ..success(0, 1, vec![output("a", "A")]) });
    assert!(!evicted(&mut driver));
    assert_eq!(driver.store.objects().unwrap().len(), 2);
    driver.sound();
}
