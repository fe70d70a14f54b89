//! Removing objects beside those who count on them: what was touched since is spared, whoever comes first.

#![expect(clippy::unwrap_used, reason = "a test, which the lints do not recognise as one")]

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use runstone_exec::objects::{Batch, Checkouts, Depth, Limits, ObjectKind, ObjectStore, Presence, Removal};

/// So many objects come and go.
const CONTENTS: u8 = 48;

fn put(store: &ObjectStore, bytes: &[u8]) -> ContentHash {
    let mut batch = Batch::default();
    let hash = store.put_bytes(bytes, &mut batch).unwrap();
    store.sync(batch).unwrap();
    hash
}

/// The clock of the file system. Waits until it has moved on, so that what was before is before.
fn tick(folder: &Path) -> SystemTime {
    let read = || {
        let path = folder.join("clock");
        std::fs::write(&path, "").unwrap();
        let stat = path.metadata().unwrap();
        let seconds = Duration::from_secs(stat.ctime().try_into().unwrap());
        SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(stat.ctime_nsec().try_into().unwrap())
    };
    let before = read();
    loop {
        let now = read();
        if now > before {
            return now;
        }
    }
}

#[test]
fn what_was_touched_since_is_spared() {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(&dir.path().join("objects")).unwrap();
    let (held, again, old) = (put(&store, b"held"), put(&store, b"again"), put(&store, b"longer"));
    std::fs::hard_link(store.path(old), dir.path().join("link")).unwrap();
    let other = put(&store, b"other");
    let limit = tick(dir.path());
    assert!(store.hold(held).unwrap());
    assert!(!store.hold(ContentHash::of(b"nobody has it")).unwrap());
    put(&store, b"again");
    let collector = store.collector().unwrap().unwrap();
    assert!(store.collector().unwrap().is_none(), "one at a time");
    assert!(collector.began() >= limit);
    let removals = collector.remove(&[held, again, old, other, other], limit).unwrap();
    let [linked, free] = [0, 5].map(|freed| Removal::Removed { freed });
    assert_eq!(removals, [Removal::Spared, Removal::Spared, linked, free, Removal::Missing]);
    drop(collector);
    assert!(store.collector().unwrap().is_some());
    for (hash, there) in [(held, true), (again, true), (old, false), (other, false)] {
        let found =
            store.check(hash, ObjectKind::File, store.path(hash).metadata().map_or(0, |it| it.len()), Depth::Root);
        assert_eq!(found.unwrap() == Presence::Present, there);
    }
}

#[test]
fn a_checkout_that_is_asked_for_is_spared() {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(&dir.path().join("objects")).unwrap();
    let checkouts = Checkouts::open(&dir.path().join("trees")).unwrap();
    let tree = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), name).unwrap();
        let mut batch = Batch::default();
        let tree = store.import_dir(&folder, Limits::default(), &mut batch).unwrap().hash;
        store.sync(batch).unwrap();
        checkouts.get(&store, tree).unwrap();
        tree
    };
    let (used, kept, free) = (tree("used"), tree("kept"), tree("free"));
    let limit = tick(dir.path());
    let collector = store.collector().unwrap().unwrap();
    let unused = checkouts.unused(limit, &HashSet::from([kept])).unwrap();
    assert_eq!(unused.len(), 2);
    let path = checkouts.get(&store, used).unwrap();
    let freed: Vec<_> = unused.iter().map(|it| checkouts.remove(it, limit, &collector).unwrap()).collect();
    // Its file is still an object.
    assert!(freed.contains(&None) && freed.contains(&Some(0)), "{freed:?}");
    assert_eq!(std::fs::read(path.join("file")).unwrap(), b"used");
    assert!(checkouts.of(kept).is_some() && checkouts.of(free).is_none());
    assert_eq!(checkouts.files(&checkouts.of(kept).unwrap()).unwrap()[0].links, 2);
}

/// Runs put and hold objects and expect them to be there until they end, while a collector removes everything that no run
/// has touched since it began.
#[test]
fn nothing_vanishes_under_those_who_count_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("objects");
    let store = ObjectStore::open(&root).unwrap();
    let runs: [Mutex<Option<SystemTime>>; 3] = Default::default();
    let (over, removed, held) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = runs
            .iter()
            .enumerate()
            .map(|(number, began)| {
                let (root, folder, held) = (&root, dir.path().join(format!("run{number}")), &held);
                scope.spawn(move || {
                    std::fs::create_dir(&folder).unwrap();
                    // Of its own, as another process has it.
                    let store = ObjectStore::open(root).unwrap();
                    for round in 0..40u8 {
                        *began.lock().unwrap() = Some(tick(&folder));
                        let mut mine = Vec::new();
                        for look in 0..CONTENTS / 6 {
                            let content = (round * 5 + look * 3) % CONTENTS;
                            let hash = ContentHash::of(&[content]);
                            if store.hold(hash).unwrap() {
                                held.fetch_add(1, Ordering::Relaxed);
                                mine.push(hash);
                            } else if look % 2 == 0 {
                                mine.push(put(&store, &[content]));
                            }
                        }
                        for hash in mine {
                            let found = store.check(hash, ObjectKind::File, 1, Depth::Root).unwrap();
                            assert_eq!(found, Presence::Present);
                        }
                        *began.lock().unwrap() = None;
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let collector = store.collector().unwrap().unwrap();
                let began = runs.iter().filter_map(|run| *run.lock().unwrap());
                let limit = began.fold(collector.began(), SystemTime::min);
                let all: Vec<_> = (0..CONTENTS).map(|content| ContentHash::of(&[content])).collect();
                let removals = collector.remove(&all, limit).unwrap();
                let gone = removals.iter().filter(|it| matches!(it, Removal::Removed { .. })).count();
                removed.fetch_add(gone as u64, Ordering::Relaxed);
            }
        });
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|it| it.unwrap());
    });
    let counts = (removed.into_inner(), held.into_inner());
    assert!(counts.0 > 10 && counts.1 > 10, "{counts:?}: they hardly met");
}
