//! Scanning sources: what is found, what is read again, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use runstone_exec::objects::{Batch, Depth, Limits, ObjectError, ObjectKind, ObjectStore, Presence};
use runstone_exec::scan::{Scan, Scanner, SourcePattern};

struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Self { dir: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn scanner(&self) -> Scanner {
        Scanner::new(self.dir.path(), &self.dir.path().join(".runstone")).unwrap()
    }

    fn try_scan(&self, pattern: &str) -> Result<Scan, ObjectError> {
        self.scanner().scan(&SourcePattern::parse(pattern).unwrap(), Limits::NONE)
    }

    fn scan(&self, pattern: &str) -> Scan {
        self.try_scan(pattern).unwrap()
    }

    /// Scans as if a minute had gone by since the files were written.
    fn scan_later(&self, pattern: &str) -> Scan {
        let scanner = self.scanner().with_clock(|| SystemTime::now() + Duration::from_secs(60));
        scanner.scan(&SourcePattern::parse(pattern).unwrap(), Limits::NONE).unwrap()
    }
}

fn paths(scan: &Scan) -> Vec<String> {
    scan.files().map(|file| file.path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_source_is_a_file_a_folder_or_what_a_glob_matches() {
    let project = Project::new(&[
        ("data/b.csv", "b"),
        ("data/a.csv", "a"),
        ("data/notes.txt", "n"),
        ("data/sub/c.csv", "c"),
        ("data/.hidden/d.csv", "d"),
        (".runstone/objects/x.csv", "state"),
    ]);
    fs::create_dir(project.dir.path().join("data/empty")).unwrap();
    let file = project.scan("./data/a.csv");
    assert_eq!((file.content().kind, file.content().hash), (ObjectKind::File, ContentHash::of(b"a")));
    assert_eq!(paths(&project.scan("./data/*.csv")), ["a.csv", "b.csv"]);
    assert_eq!(paths(&project.scan("./data/**/*.csv")), ["a.csv", "b.csv", "sub/c.csv"]);
    assert_eq!(project.scan("./data").content().files, 5);
    assert!(!paths(&project.scan(".")).iter().any(|path| path.starts_with(".runstone")), "state is no source");
    assert_eq!(project.scan("./data/*.parquet").content().files, 0);
    assert!(matches!(project.try_scan("./none"), Err(ObjectError::Missing { .. })));
    assert!(matches!(project.try_scan("./none/*.csv"), Err(ObjectError::Missing { .. })));
    assert!(matches!(project.try_scan("./data/a.csv/*"), Err(ObjectError::WrongType { .. })));

    // A folder that matches nothing is no part of a glob's result; it is part of a folder.
    let globbed = project.scan("./data/**/*").content().hash;
    let folder = project.scan("./data").content().hash;
    project.write("data/empty2/x", "").parent().map(|empty| fs::remove_dir_all(empty).and(fs::create_dir(empty)));
    assert_eq!(project.scan("./data/**/*").content().hash, globbed);
    assert_ne!(project.scan("./data").content().hash, folder);
}

#[test]
fn an_unchanged_file_is_not_read_again_and_a_changed_one_always_is() {
    let project = Project::new(&[("d/a", "1"), ("d/b", "2"), ("d/sub/c", "3"), ("single", "4")]);
    let file = project.dir.path().join("d/a");
    let fresh = project.scan("d");
    assert_eq!(fresh.reused(), 0);
    assert_eq!(project.scan("d").reused(), 0, "a file written just now may change without showing it");
    assert_eq!((project.scan_later("d").reused(), project.scan_later("single").reused()), (0, 0));
    assert_eq!((project.scan("d").reused(), project.scan("single").reused()), (3, 1));
    assert_eq!(project.scan("d").content(), fresh.content());

    // Same size, same time of modification: the time of change still tells.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "X").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    let changed = project.scan("d");
    assert_eq!(changed.reused(), 2);
    assert_ne!(changed.content().hash, fresh.content().hash);
    assert_eq!(changed.files().next().unwrap().hash, ContentHash::of(b"X"));

    // A cache is a convenience: damaged or gone, the answer is the same.
    for cache in fs::read_dir(project.dir.path().join(".runstone/cache")).unwrap() {
        let path = cache.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let again = project.scan("d");
    assert_eq!((again.reused(), again.content()), (0, changed.content()));
    assert_eq!(project.scan("single").reused(), 0);
}

#[test]
fn a_snapshot_is_byte_for_byte_what_was_scanned_or_an_error() {
    let project = Project::new(&[("d/a", "1"), ("d/sub/b", "2"), ("single", "3")]);
    let store = ObjectStore::open(&project.dir.path().join(".runstone/objects")).unwrap();
    let snapshot = |scan: &Scan| {
        let mut batch = Batch::default();
        let stored = scan.snapshot_into(&store, &mut batch)?;
        store.sync(batch)?;
        Ok::<_, ObjectError>(stored)
    };
    let (tree, file) = (project.scan("d"), project.scan("single"));
    for scan in [&tree, &file] {
        let stored = snapshot(scan).unwrap();
        assert_eq!(stored, scan.content());
        let check = store.check(stored.hash, stored.kind, stored.size, Depth::Deep).unwrap();
        assert_eq!(check, Presence::Present);
    }
    let objects = store.list().count();
    fs::remove_dir_all(project.dir.path().join("d/sub")).unwrap();
    fs::remove_file(project.dir.path().join("single")).unwrap();
    snapshot(&file).unwrap();
    assert_eq!(store.list().count(), objects, "what is stored is not read again");

    let changing = Project::new(&[("d/new", "before"), ("other", "before!")]);
    for pattern in ["d", "other"] {
        let scan = changing.scan(pattern);
        changing.write(if pattern == "d" { "d/new" } else { pattern }, "after");
        assert!(matches!(snapshot(&scan), Err(ObjectError::Changed { .. })), "{pattern}");
    }
}

#[test]
fn a_link_to_the_source_is_followed_and_links_in_it_are_kept_or_refused() {
    let project = Project::new(&[("real/a", "1")]);
    symlink("real", project.dir.path().join("linked")).unwrap();
    assert_eq!(project.scan("linked").content(), project.scan("real").content());
    symlink("a", project.dir.path().join("real/inside")).unwrap();
    assert_eq!(project.scan("real").content().files, 1);
    symlink("/etc/passwd", project.dir.path().join("real/outside")).unwrap();
    let error = project.try_scan("real").unwrap_err().to_string();
    assert!(error.contains("real/outside") && error.contains("/etc/passwd"), "{error}");
    assert!(project.try_scan("real/a*").is_ok(), "what does not match does not matter");
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_is_never_given_one_hash() {
    let project = Project::new(&[("big", "")]);
    let path = project.dir.path().join("big");
    let file = fs::File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let writes = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt;
            use std::sync::atomic::Ordering::Relaxed;
            while !stop.load(Relaxed) {
                // Also truncates: a reader that had mapped the file would be killed.
                file.set_len(1).unwrap();
                file.write_all_at(&writes.fetch_add(1, Relaxed).to_le_bytes(), 0).unwrap();
                file.set_len(64 << 20).unwrap();
            }
        });
        for _ in 0..20 {
            let written = writes.load(std::sync::atomic::Ordering::Relaxed);
            while writes.load(std::sync::atomic::Ordering::Relaxed) == written {
                std::hint::spin_loop();
            }
            match project.scanner().hash_file(Path::new("big"), Limits::NONE) {
                Err(ObjectError::Changed { .. }) => {}
                // The writer may have paused between two writes.
                Ok((file, _)) => assert!(file.stat.size == 64 << 20 || file.stat.size <= 8),
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
