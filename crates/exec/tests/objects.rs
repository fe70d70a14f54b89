//! The object store as its users see it: what goes in, what comes out, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runstone_core::hash::ContentHash;
use runstone_exec::objects::{
    Batch, Checkouts, Collected, Depth, Expect, Limits, ObjectError, ObjectKind, ObjectStore, Overwrite, Presence,
};

struct Fixture {
    dir: tempfile::TempDir,
    store: ObjectStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ObjectStore::open(&dir.path().join("objects")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        Self { dir, store }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn try_collect(&self, relative: &str, expect: Expect) -> Result<Collected, ObjectError> {
        let mut batch = Batch::default();
        let collected = self.store.collect(self.dir.path(), Path::new(relative), expect, Limits::NONE, &mut batch)?;
        self.store.sync(batch)?;
        Ok(collected)
    }

    fn collect(&self, relative: &str) -> Collected {
        self.try_collect(relative, Expect::Any).unwrap()
    }

    fn check(&self, content: &Collected) -> Presence {
        self.store.check(content.hash, content.kind, content.size, Depth::Deep).unwrap()
    }

    fn put(&self, bytes: &[u8]) -> ContentHash {
        let mut batch = Batch::default();
        let hash = self.store.put_bytes(bytes, &mut batch).unwrap();
        self.store.sync(batch).unwrap();
        hash
    }

    /// Overwrites bytes of an object in place, as a step with too many rights could.
    fn tamper(&self, hash: ContentHash, bytes: &[u8]) {
        let path = self.store.path(hash);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn an_output_is_moved_in_under_the_hash_of_its_bytes_and_is_read_only() {
    let f = Fixture::new();
    let inode = fs::metadata(f.write("out/model", "weights")).unwrap().ino();
    let got = f.try_collect("out/model", Expect::File).unwrap();
    assert_eq!(got, Collected { hash: ContentHash::of(b"weights"), kind: ObjectKind::File, size: 7, files: 1 });
    assert!(!f.path("out/model").exists());
    let stat = fs::metadata(f.store.path(got.hash)).unwrap();
    assert_eq!((stat.ino(), stat.mode() & 0o7777), (inode, 0o444));
    assert_eq!(f.store.read_verified(got.hash, 100).unwrap(), b"weights");
    assert_eq!(f.check(&got), Presence::Present);
}

#[test]
fn an_empty_file_and_an_empty_folder_are_outputs_and_nothing_is_not() {
    let f = Fixture::new();
    f.write("out/empty", "");
    fs::create_dir(f.path("out/dir")).unwrap();
    let file = f.collect("out/empty");
    let dir = f.collect("out/dir");
    assert_eq!((file.hash, file.size), (ContentHash::of(b""), 0));
    assert_eq!((dir.kind, dir.size, dir.files), (ObjectKind::Tree, 0, 0));
    assert_ne!(file.hash, dir.hash);
    assert_eq!((f.check(&file), f.check(&dir)), (Presence::Present, Presence::Present));
    let missing = f.try_collect("out/none", Expect::Any).unwrap_err();
    assert!(matches!(missing, ObjectError::Missing { path } if path == f.path("out/none")));
}

#[test]
fn a_folder_comes_back_as_it_was_without_times_and_owners() {
    let f = Fixture::new();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9 \n\xff");
    f.write("out/d/a/one", "1");
    f.write("out/d/A/One", "case differs only");
    fs::write(f.path("out/d").join(odd), "raw bytes").unwrap();
    fs::create_dir_all(f.path("out/d/empty/sub")).unwrap();
    fs::set_permissions(f.write("out/d/run.sh", "#!/bin/sh\n"), Permissions::from_mode(0o755)).unwrap();
    symlink("../run.sh", f.path("out/d/a/link")).unwrap();
    symlink("nowhere", f.path("out/d/dangling")).unwrap();

    let tree = f.collect("out/d");
    assert_eq!((tree.kind, tree.files), (ObjectKind::Tree, 4));
    let back = f.path("back/d");
    f.store.restore(tree.hash, ObjectKind::Tree, &back, Overwrite::Refuse).unwrap();
    assert_eq!(fs::read(back.join("a/one")).unwrap(), b"1");
    assert_eq!(fs::read(back.join("A/One")).unwrap(), b"case differs only");
    assert_eq!(fs::read(back.join(odd)).unwrap(), b"raw bytes");
    assert!(back.join("empty/sub").is_dir());
    assert_eq!(fs::metadata(back.join("run.sh")).unwrap().mode() & 0o100, 0o100);
    assert_eq!(fs::read_link(back.join("a/link")).unwrap(), Path::new("../run.sh"));
    assert_eq!(fs::read_link(back.join("dangling")).unwrap(), Path::new("nowhere"));
    // Private: it may be written to, and the store does not notice.
    fs::write(back.join("a/one"), "changed").unwrap();
    assert_eq!(f.check(&tree), Presence::Present);
    let again = f.store.import_dir(&f.path("back/d/empty"), Limits::NONE, &mut Batch::default()).unwrap();
    let sub = f.store.entries(tree.hash).unwrap().into_iter().find(|entry| entry.name == b"empty").unwrap();
    assert!(matches!(sub.item, runstone_exec::objects::tree::TreeItem::Dir { hash, .. } if hash == again.hash));
}

#[test]
fn what_has_no_content_or_leads_elsewhere_is_refused_with_its_path() {
    let f = Fixture::new();
    let secret = f.write("secret", "not yours");
    let refused = |relative: &str, expect| f.try_collect(relative, expect).unwrap_err().to_string();

    symlink(&secret, f.path("out/link")).unwrap();
    assert!(refused("out/link", Expect::Any).contains("out/link is a symbolic link"));
    assert!(std::process::Command::new("mkfifo").arg(f.path("out/fifo")).status().unwrap().success());
    assert!(refused("out/fifo", Expect::Any).contains("out/fifo is a FIFO"));
    let _socket = std::os::unix::net::UnixListener::bind(f.path("out/socket")).unwrap();
    assert!(refused("out/socket", Expect::File).contains("a socket, expected a file"));
    assert!(refused("out", Expect::File).contains("is a folder, expected a file"));
    f.write("out/file", "");
    assert!(refused("out/file", Expect::Dir).contains("is a file, expected a folder"));

    fs::create_dir(f.path("in_dir")).unwrap();
    for target in ["/etc/passwd", "../secret", "sub/../../secret", "a/../b"] {
        let link = f.path("in_dir/link");
        symlink(target, &link).unwrap();
        assert!(refused("in_dir", Expect::Dir).contains("in_dir/link is a symbolic link to"), "{target}");
        fs::remove_file(link).unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(f.path("in_dir/fifo")).status().unwrap().success());
    assert!(refused("in_dir", Expect::Dir).contains("in_dir/fifo is a FIFO"));

    // A folder on the way that turned out to be a link.
    symlink(f.dir.path(), f.path("out/away")).unwrap();
    assert!(matches!(f.try_collect("out/away/secret", Expect::File), Err(ObjectError::WrongType { .. })));
    assert!(f.try_collect("../secret", Expect::File).is_err());
    assert_eq!(fs::read(secret).unwrap(), b"not yours");
}

#[test]
fn a_link_swapped_in_while_collecting_never_brings_in_what_is_outside() {
    let f = Fixture::new();
    let secret = b"the secret outside";
    f.write("outside/x", secret);
    let stop = AtomicBool::new(false);
    let swapped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (folder, file) = (f.path("out/dir"), f.path("out/dir/x"));
            while !stop.load(Ordering::Relaxed) {
                // A file that turns into a link, and a folder that does.
                for _ in 0..10 {
                    let _ = fs::write(folder.join("new"), "fine");
                    let _ = fs::rename(folder.join("new"), &file);
                    let _ = symlink("../../outside/x", folder.join("new"));
                    let _ = fs::rename(folder.join("new"), &file);
                }
                let _ = fs::remove_dir_all(&folder);
                let _ = symlink("../outside", &folder);
                swapped.store(true, Ordering::Relaxed);
                let _ = fs::remove_file(&folder);
            }
        });
        let mut round = 0;
        while round < 2000 || !swapped.load(Ordering::Relaxed) {
            let _ = fs::create_dir(f.path("out/dir"));
            let _ = fs::write(f.path("out/dir/y"), format!("{round}"));
            let _ = f.try_collect("out/dir", Expect::Any);
            let _ = f.try_collect("out/dir/x", Expect::Any);
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read(f.path("outside/x")).unwrap(), secret);
    assert_eq!(f.store.verify(ContentHash::of(secret)).unwrap(), Presence::Missing);
}

#[test]
fn a_hard_link_to_a_foreign_file_does_not_share_its_inode_with_the_store() {
    let f = Fixture::new();
    let foreign = f.write("foreign", "precious");
    fs::create_dir(f.path("out/d")).unwrap();
    for name in ["out/single", "out/d/a", "out/d/b"] {
        fs::hard_link(&foreign, f.path(name)).unwrap();
    }
    let (single, tree) = (f.collect("out/single"), f.collect("out/d"));
    assert_eq!(tree.files, 2);
    let stat = fs::metadata(&foreign).unwrap();
    assert_eq!((stat.nlink(), stat.mode() & 0o200), (1, 0o200), "the foreign file is left alone");
    fs::write(&foreign, "vandalism").unwrap();
    assert_eq!((f.check(&single), f.check(&tree)), (Presence::Present, Presence::Present));
}

#[test]
fn damage_is_found_and_is_a_miss_from_then_on() {
    let f = Fixture::new();
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 5] = [
        ("flipped, and read-only again", |path| {
            fs::write(path, "Xello").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
        }),
        ("flipped", |path| fs::write(path, "Xello").unwrap()),
        ("cut off", |path| fs::write(path, "hell").unwrap()),
        ("grown", |path| fs::write(path, "hello!").unwrap()),
        ("a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (case, damage) in cases {
        let hash = f.put(b"hello");
        fs::set_permissions(f.store.path(hash), Permissions::from_mode(0o644)).unwrap();
        damage(&f.store.path(hash));
        assert_eq!(f.store.check(hash, ObjectKind::File, 5, Depth::Root).unwrap(), Presence::Altered, "{case}");
        assert_eq!(f.store.check(hash, ObjectKind::File, 5, Depth::Root).unwrap(), Presence::Missing, "{case}");
        assert!(matches!(f.store.open_checked(hash), Err(ObjectError::NotStored { .. })), "{case}");
        // Producing it again heals it.
        f.put(b"hello");
        assert_eq!(f.store.check(hash, ObjectKind::File, 5, Depth::Root).unwrap(), Presence::Present, "{case}");
    }
    assert!(f.store.usage().unwrap().quarantine_bytes > 0);
}

#[test]
fn damage_that_hides_its_time_is_found_by_every_read_and_by_verify() {
    let f = Fixture::new();
    let hash = f.put(b"hello");
    let hide = || {
        let time = fs::metadata(f.store.path(hash)).unwrap().modified().unwrap();
        f.tamper(hash, b"Xello");
        fs::File::options().write(true).open(f.store.path(hash)).unwrap().set_modified(time).unwrap();
        fs::set_permissions(f.store.path(hash), Permissions::from_mode(0o444)).unwrap();
        assert_eq!(f.store.check(hash, ObjectKind::File, 5, Depth::Root).unwrap(), Presence::Present, "by stat");
    };
    hide();
    assert!(matches!(f.store.read_verified(hash, 100), Err(ObjectError::Altered { .. })));
    f.put(b"hello");
    hide();
    let dest = f.path("dest");
    let restored = f.store.restore(hash, ObjectKind::File, &dest, Overwrite::Refuse);
    assert!(matches!(restored, Err(ObjectError::Altered { .. })));
    assert!(!dest.exists() && fs::read_dir(f.dir.path()).unwrap().count() == 2, "nothing is left behind");
    f.put(b"hello");
    hide();
    assert_eq!(f.store.verify(hash).unwrap(), Presence::Altered);
    assert_eq!(f.store.verify(hash).unwrap(), Presence::Missing);
}

#[test]
fn an_object_that_was_only_touched_is_hashed_again_and_trusted_again() {
    let f = Fixture::new();
    let hash = f.put(b"hello");
    f.tamper(hash, b"hello");
    assert_eq!(f.store.check(hash, ObjectKind::File, 5, Depth::Root).unwrap(), Presence::Present);
    let stat = fs::metadata(f.store.path(hash)).unwrap();
    assert_eq!((stat.mode() & 0o777, stat.mtime()), (0o444, runstone_exec::objects::SEALED_SECONDS));
}

#[test]
fn a_file_under_its_hash_name_that_nobody_sealed_is_replaced_and_not_believed() {
    let f = Fixture::new();
    let hash = ContentHash::of(b"hello");
    // Left by a machine that lost power: the name is there, the bytes are not.
    fs::write(f.store.path(hash), b"\0\0\0\0\0").unwrap();
    assert_eq!(f.put(b"hello"), hash);
    assert_eq!(f.store.read_verified(hash, 5).unwrap(), b"hello");
    assert_eq!(f.store.usage().unwrap().temporary_bytes, 0);
}

#[test]
fn a_damaged_or_missing_part_makes_a_tree_a_miss() {
    let f = Fixture::new();
    for (name, bytes) in [("a", "1"), ("sub/b", "2")] {
        f.write(&format!("src/{name}"), bytes);
    }
    let take = || {
        let mut batch = Batch::default();
        let tree = f.store.import_dir(&f.path("src"), Limits::NONE, &mut batch).unwrap();
        f.store.sync(batch).unwrap();
        tree
    };
    let tree = take();
    let mut reached = Vec::new();
    f.store
        .reach(tree.hash, ObjectKind::Tree, &mut |object| {
            reached.push(object.hash);
            Ok(true)
        })
        .unwrap();
    assert_eq!(reached.len(), 4, "two folders and two files");
    for hash in reached {
        f.store.remove(hash).unwrap();
        assert_eq!(f.check(&tree), Presence::Missing);
        take();
        f.tamper(hash, b"?");
        assert_eq!(f.check(&tree), Presence::Altered);
        take();
        assert_eq!(f.check(&tree), Presence::Present);
    }
}

#[test]
fn fifty_threads_putting_the_same_object_all_succeed() {
    let f = Fixture::new();
    let bytes = vec![7_u8; 300_000];
    std::thread::scope(|scope| {
        for thread in 0..50 {
            let (f, bytes) = (&f, &bytes);
            scope.spawn(move || {
                let name = format!("out/{thread}");
                f.write(&name, bytes);
                let expected = ContentHash::of(bytes);
                assert_eq!((f.collect(&name).hash, f.put(bytes)), (expected, expected));
            });
        }
    });
    let objects: Vec<_> = f.store.list().map(Result::unwrap).collect();
    assert_eq!(objects.len(), 1);
    assert_eq!(f.store.verify(objects[0].hash).unwrap(), Presence::Present);
    assert_eq!(f.store.usage().unwrap().temporary_bytes, 0);
}

#[test]
fn a_tree_is_checked_out_once_and_shared_read_only() {
    let f = Fixture::new();
    f.write("out/d/a/one", "1");
    f.write("out/d/two", "2");
    fs::set_permissions(f.write("out/d/run.sh", "#!/bin/sh\n"), Permissions::from_mode(0o755)).unwrap();
    symlink("a/one", f.path("out/d/link")).unwrap();
    let tree = f.collect("out/d");
    let checkouts = Checkouts::open(&f.path("trees")).unwrap();
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let get = || Checkouts::open(&f.path("trees")).unwrap().get(&f.store, tree.hash).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let path = checkouts.get(&f.store, tree.hash).unwrap();
    assert!(paths.iter().all(|other| *other == path));
    let object = fs::metadata(f.store.path(ContentHash::of(b"1"))).unwrap();
    assert_eq!(fs::metadata(path.join("a/one")).unwrap().ino(), object.ino(), "a link to the object");
    assert_eq!(fs::read(path.join("link")).unwrap(), b"1");
    assert_eq!(fs::metadata(path.join("run.sh")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(fs::metadata(path.join("a")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(f.check(&tree), Presence::Present, "linking changes nothing");
}

#[test]
fn a_checkout_that_was_changed_is_built_again() {
    let f = Fixture::new();
    f.write("out/d/sub/two", "2");
    fs::set_permissions(f.write("out/d/run.sh", "#!/bin/sh\n"), Permissions::from_mode(0o755)).unwrap();
    let tree = f.collect("out/d");
    let checkouts = Checkouts::open(&f.path("trees")).unwrap();
    let path = checkouts.get(&f.store, tree.hash).unwrap();
    let changes: [fn(&Path); 4] = [
        |path| fs::write(path.join("more"), "x").unwrap(),
        |path| fs::remove_file(path.join("sub/two")).unwrap(),
        |path| fs::write(path.join("run.sh"), "#!/bin/ls\n").unwrap(),
        |path| fs::rename(path.join("run.sh"), path.join("ran.sh")).unwrap(),
    ];
    for (case, change) in changes.into_iter().enumerate() {
        for dir in [path.clone(), path.join("sub")] {
            fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(path.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
        change(&path);
        assert_eq!(checkouts.get(&f.store, tree.hash).unwrap(), path);
        assert_eq!(fs::read(path.join("sub/two")).unwrap(), b"2", "{case}");
        assert_eq!(fs::read(path.join("run.sh")).unwrap(), b"#!/bin/sh\n", "{case}");
        assert!(!path.join("more").exists(), "{case}");
    }
    // A write through the link reaches the object: that is a miss, not a checkout.
    fs::set_permissions(path.join("sub/two"), Permissions::from_mode(0o644)).unwrap();
    fs::write(path.join("sub/two"), "3").unwrap();
    assert!(matches!(checkouts.get(&f.store, tree.hash), Err(ObjectError::Altered { .. })));
    let collector = f.store.collector().unwrap().unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(1);
    for unused in checkouts.unused(later, &std::collections::HashSet::new()).unwrap() {
        checkouts.remove(&unused, later, &collector).unwrap();
    }
    assert_eq!(fs::read_dir(f.path("trees")).unwrap().count(), 0);
}

#[test]
fn restoring_replaces_only_when_told_and_in_one_step() {
    let f = Fixture::new();
    f.write("out/d/x", "tree");
    let tree = f.collect("out/d");
    let file = Collected { hash: f.put(b"file"), kind: ObjectKind::File, size: 4, files: 1 };
    let dest = f.path("dest");
    let restore = |content: Collected, overwrite| f.store.restore(content.hash, content.kind, &dest, overwrite);
    restore(file, Overwrite::Refuse).unwrap();
    assert!(matches!(restore(tree, Overwrite::Refuse), Err(ObjectError::Exists { .. })));
    assert_eq!(fs::read(&dest).unwrap(), b"file");
    for (content, check) in [(tree, "x"), (tree, "x"), (file, ""), (file, "")] {
        restore(content, Overwrite::Replace).unwrap();
        let expected: &[u8] = if check.is_empty() { b"file" } else { b"tree" };
        assert_eq!(fs::read(dest.join(check).components().collect::<PathBuf>()).unwrap(), expected);
    }
    assert_eq!(fs::read_dir(f.dir.path()).unwrap().count(), 3, "nothing is left behind");
}

#[test]
fn an_import_copies_and_leaves_its_source_alone() {
    let f = Fixture::new();
    let source = f.write("source", "data");
    symlink(&source, f.path("by_link")).unwrap();
    let mut batch = Batch::default();
    let got = f.store.import_file(&f.path("by_link"), Limits::NONE, &mut batch).unwrap();
    f.store.sync(batch).unwrap();
    assert_eq!(got.hash, ContentHash::of(b"data"));
    fs::write(&source, "other").unwrap();
    let mut text = String::new();
    f.store.open_checked(got.hash).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "data");
}

#[test]
fn limits_stop_a_sparse_terabyte_and_too_many_files_at_once() {
    let f = Fixture::new();
    let huge = fs::File::create(f.path("out/huge")).unwrap();
    if huge.set_len(1 << 40).is_err() {
        eprintln!("skipped: no sparse files of this size here");
        return;
    }
    fs::create_dir(f.path("out/many")).unwrap();
    for name in 0..20 {
        f.write(&format!("out/many/{name}"), "x");
    }
    let limits = Limits { bytes: 1 << 20, entries: 10 };
    let try_to = |relative: &str| {
        let path = Path::new(relative);
        f.store.collect(f.dir.path(), path, Expect::Any, limits, &mut Batch::default()).unwrap_err()
    };
    assert!(matches!(try_to("out/huge"), ObjectError::TooLarge { found, .. } if found == 1 << 40));
    assert!(matches!(try_to("out/many"), ObjectError::TooMany { limit: 10, .. }));
    let import = f.store.import_file(&f.path("out/huge"), limits, &mut Batch::default());
    assert!(matches!(import, Err(ObjectError::TooLarge { .. })));
}

#[test]
fn a_store_keeps_its_identity_and_is_not_opened_under_a_damaged_one() {
    let f = Fixture::new();
    let root = f.path("objects");
    assert_eq!(ObjectStore::open(&root).unwrap().marker(), f.store.marker());
    fs::rename(&root, f.path("moved")).unwrap();
    assert_eq!(ObjectStore::open(&f.path("moved")).unwrap().marker(), f.store.marker());
    fs::remove_file(f.path("moved/store-id")).unwrap();
    fs::write(f.path("moved/store-id"), "nonsense").unwrap();
    assert!(matches!(ObjectStore::open(&f.path("moved")), Err(ObjectError::BadMarker { .. })));
    let markers: Vec<_> = std::thread::scope(|scope| {
        let open = || ObjectStore::open(&f.path("new")).unwrap().marker();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(markers.iter().all(|marker| *marker == markers[0]));
}

#[test]
fn a_collector_of_garbage_sees_and_removes_objects_by_age() {
    let f = Fixture::new();
    let before = std::time::SystemTime::now() - Duration::from_secs(1);
    let (kept, gone) = (f.put(b"kept"), f.put(b"gone"));
    let listed: Vec<_> = f.store.list().map(Result::unwrap).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|object| object.size == 4 && object.changed >= before));
    assert!(f.store.remove(gone).unwrap() && !f.store.remove(gone).unwrap());
    assert_eq!(f.store.list().map(|object| object.unwrap().hash).collect::<Vec<_>>(), [kept]);
    fs::write(f.path("objects/tmp/left-behind"), "x").unwrap();
    assert_eq!(f.store.tidy(before).unwrap(), 0);
    assert_eq!(f.store.temporary(before + Duration::from_secs(3600)).unwrap(), 1);
    assert_eq!(f.store.tidy(before + Duration::from_secs(3600)).unwrap(), 1);
}

#[test]
fn an_output_on_another_file_system_is_copied_in() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: no /dev/shm");
        return;
    };
    let f = Fixture::new();
    fs::create_dir(elsewhere.path().join("d")).unwrap();
    for name in ["file", "d/a", "d/b"] {
        fs::write(elsewhere.path().join(name), name).unwrap();
    }
    let mut batch = Batch::default();
    let mut collect = |relative: &str| {
        f.store.collect(elsewhere.path(), Path::new(relative), Expect::Any, Limits::NONE, &mut batch).unwrap()
    };
    let (file, tree) = (collect("file"), collect("d"));
    f.store.sync(batch).unwrap();
    assert_eq!((file.hash, f.check(&file)), (ContentHash::of(b"file"), Presence::Present));
    assert_eq!((tree.files, f.check(&tree)), (2, Presence::Present));
    let checkouts = Checkouts::open(&elsewhere.path().join("trees")).unwrap();
    let path = checkouts.get(&f.store, tree.hash).unwrap();
    assert_eq!(fs::read(path.join("a")).unwrap(), b"d/a");
    assert_eq!(checkouts.get(&f.store, tree.hash).unwrap(), path, "copies are recognised as well");
}
