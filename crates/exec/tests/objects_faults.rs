//! The object store on a machine that fails: killed at every system call, a full disk, a disk that cannot write.
//!
//! The sweeps need `strace`, the full disk needs the right to mount; without them the tests say so and pass.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail like tests")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use runstone_core::hash::ContentHash;
use runstone_exec::objects::tree::node_hash;
use runstone_exec::objects::{
    Batch, Depth, Expect, Limits, ObjectError, ObjectKind, ObjectStore, Presence, SYNC_EACH_UP_TO,
};

/// Names the folder in which the victim works.
const VICTIM: &str = "RUNSTONE_TEST_VICTIM";

/// Says on standard output what is durable from then on. Run by the sweeps below, and killed in the middle.
#[test]
#[ignore = "the victim of the sweeps"]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let store = ObjectStore::open(&dir.join("objects")).unwrap();
    // In one write, so that a line is there or not.
    let say = |hash: ContentHash, kind, size| {
        let line = format!("durable {hash} {kind:?} {size}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    };

    // One file, by fsync: new at first, replaced where an earlier victim left it unsealed.
    let mut batch = Batch::default();
    let small = store.put_bytes(b"small", &mut batch).unwrap();
    if let Err(error) = store.sync(batch) {
        let again = store.put_bytes(b"other", &mut Batch::default());
        panic!("{error}, then {}", again.unwrap_err());
    }
    say(small, ObjectKind::File, 5);

    // A folder, by syncfs; with a hard link, which is copied.
    let mut batch = Batch::default();
    let source = store.import_file(&dir.join("source"), Limits::NONE, &mut batch).unwrap();
    let out = store.collect(&dir, Path::new("out"), Expect::Dir, Limits::NONE, &mut batch).unwrap();
    store.sync(batch).unwrap();
    say(source.hash, source.kind, source.size);
    say(out.hash, out.kind, out.size);
}

/// Lays out what the victim works on.
fn prepare(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join("out"));
    fs::create_dir_all(dir.join("out/sub")).unwrap();
    for number in 1..=SYNC_EACH_UP_TO {
        fs::write(dir.join(format!("out/{number}")), vec![7; number]).unwrap();
    }
    for (name, bytes) in [("sub/large", 300_000), ("sub/empty", 0)] {
        fs::write(dir.join("out").join(name), vec![7; bytes]).unwrap();
    }
    fs::write(dir.join("source"), "source").unwrap();
    fs::hard_link(dir.join("source"), dir.join("out/hard")).unwrap();
}

/// Runs the victim under `strace` and returns what it said, and whether it lived to the end.
fn run_victim(dir: &Path, inject: &str, trace: &str) -> (String, bool) {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={trace}")])
        .args(["-e", &format!("inject={trace}:{inject}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture", "--test-threads=1"])
        .env(VICTIM, dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.success())
}

fn has_strace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: strace is not installed or not allowed");
    }
    works
}

/// Every file under a hash name has that hash, and everything that was said to be durable is there.
fn assert_sound(dir: &Path, said: &str, when: &str) {
    let store = ObjectStore::open(&dir.join("objects")).unwrap();
    for object in store.list() {
        let hash = object.unwrap().hash;
        let bytes = fs::read(store.path(hash)).unwrap();
        assert!(ContentHash::of(&bytes) == hash || node_hash(&bytes) == hash, "{when}: wrong content under {hash}");
    }
    for line in said.lines().filter_map(|line| line.strip_prefix("durable ")) {
        let mut words = line.split(' ');
        let hash = words.next().unwrap().parse().unwrap();
        let kind = if words.next().unwrap() == "File" { ObjectKind::File } else { ObjectKind::Tree };
        let size = words.next().unwrap().parse().unwrap();
        let check = store.check(hash, kind, size, Depth::Deep).unwrap();
        assert_eq!(check, Presence::Present, "{when}: {hash} was said to be durable");
    }
}

#[test]
fn killed_at_any_system_call_the_store_has_no_wrong_object_and_the_next_put_succeeds() {
    if !has_strace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(&dir.path().join("objects")).unwrap();
    // One traced call at a time, so that the n-th is the same in every run.
    for call in ["write", "fsync", "syncfs", "renameat2", "renameat", "unlinkat", "fchmod", "utimensat"] {
        let mut killed = 0;
        for n in 1..500 {
            prepare(dir.path());
            store.list().for_each(|object| assert!(store.remove(object.unwrap().hash).unwrap()));
            // Left behind without its seal.
            fs::write(store.path(ContentHash::of(b"small")), "small").unwrap();
            let when = format!("killed at {call} {n}");
            let (said, lived) = run_victim(dir.path(), &format!("signal=KILL:when={n}"), call);
            assert_sound(dir.path(), &said, &when);
            if lived {
                break;
            }
            killed += 1;
            prepare(dir.path());
            let (said, lived) = run_victim(dir.path(), "delay_enter=0:when=1", "syncfs");
            assert!(lived && said.matches("durable").count() == 3, "{when}: {said}");
            assert_sound(dir.path(), &said, &when);
            store.tidy(std::time::SystemTime::now() + Duration::from_secs(1)).unwrap();
            assert_eq!(store.usage().unwrap().temporary_bytes, 0, "{when}");
        }
        assert!(killed > 0, "{call} is never called");
    }
}

#[test]
fn killed_while_it_is_made_a_store_can_be_made_again() {
    if !has_strace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (call, step) in [("mkdir", 37), ("fsync", 1), ("linkat", 1), ("unlink", 1)] {
        for n in (1..400).step_by(step) {
            prepare(dir.path());
            let _ = fs::remove_dir_all(dir.path().join("objects"));
            let (said, lived) = run_victim(dir.path(), &format!("signal=KILL:when={n}"), call);
            assert_sound(dir.path(), &said, &format!("killed at {call} {n}"));
            if lived {
                break;
            }
        }
    }
}

#[test]
fn a_failed_sync_is_never_reported_as_durable_and_never_tried_again() {
    if !has_strace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    ObjectStore::open(&dir.path().join("objects")).unwrap();
    for (call, durable) in [("fsync", 0), ("syncfs", 1)] {
        prepare(dir.path());
        let (said, lived) = run_victim(dir.path(), "error=EIO:when=1", call);
        assert!(!lived, "{call}");
        assert_eq!(said.matches("durable b3:").count(), durable, "{call}: {said}");
        assert!(call == "syncfs" || said.contains("then the object store"), "{call}: {said}");
        assert_sound(dir.path(), &said, call);
    }
}

#[test]
fn a_full_disk_is_an_error_of_its_own_and_leaves_the_store_unharmed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&disk).stderr(Stdio::null());
    if !mount.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: not allowed to mount a small file system");
        return;
    }
    let result = std::panic::catch_unwind(|| fill_disk(dir.path(), &disk));
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    result.unwrap();
}

fn fill_disk(dir: &Path, disk: &Path) {
    let store = ObjectStore::open(&disk.join("objects")).unwrap();
    let put = |bytes: &[u8]| {
        let mut batch = Batch::default();
        let hash = store.put_bytes(bytes, &mut batch)?;
        store.sync(batch)?;
        Ok::<_, ObjectError>(hash)
    };
    let small = put(b"small").unwrap();
    let big = vec![1_u8; 8 << 20];
    assert!(put(&big).unwrap_err().is_no_space());
    fs::create_dir(dir.join("out")).unwrap();
    fs::write(dir.join("out/big"), &big).unwrap();
    let collected = store.collect(dir, Path::new("out"), Expect::Dir, Limits::NONE, &mut Batch::default()).unwrap_err();
    assert!(collected.is_no_space(), "{collected}");
    assert!(dir.join("out/big").exists(), "an output that could not be taken stays where it is");
    assert_eq!(store.usage().unwrap().temporary_bytes, 0);
    // The folder's node was written before its file, and means nothing without it.
    assert_eq!(store.list().count(), 2);
    assert_eq!(store.verify(small).unwrap(), Presence::Present);
    assert!(store.check(ContentHash::of(&big), ObjectKind::File, 8 << 20, Depth::Root).unwrap() == Presence::Missing);
    put(b"goes on").unwrap();
}
