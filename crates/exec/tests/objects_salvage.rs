//! Outputs whose move into the store was interrupted: whatever had been moved by then, the rest follows.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use runstone_core::hash::ContentHash;
use runstone_exec::objects::{
    Batch, Collected, Depth, Expect, Limits, ObjectError, ObjectKind, ObjectStore, Presence, survey,
};
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As a process of its own would: nothing is remembered of what was published and not made durable.
    fn store(&self) -> ObjectStore {
        ObjectStore::open(&self.path("objects")).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Moves an output into the store and dies before it is durable.
    fn moved(&self, relative: &str) -> Collected {
        let found = survey(self.dir.path(), Path::new(relative), Expect::Any, Limits::NONE).unwrap();
        self.store().take(found, &mut Batch::default()).unwrap()
    }

    /// Takes a move back, as if it had not come so far.
    fn move_back(&self, text: &str, name: &str) {
        fs::rename(self.store().path(ContentHash::of(text.as_bytes())), self.path(name)).unwrap();
    }

    fn salvage(&self, relative: &str, content: &Collected) -> Result<(), ObjectError> {
        let (store, mut batch) = (self.store(), Batch::default());
        store.salvage(self.dir.path(), Path::new(relative), content, &mut batch)?;
        store.sync(batch)
    }

    /// What another process finds.
    fn presence(&self, content: &Collected) -> Presence {
        self.store().check(content.hash, content.kind, content.size, Depth::Deep).unwrap()
    }
}

#[test]
fn a_survey_moves_nothing_and_knows_what_a_move_will_find() {
    let f = Fixture::new();
    f.write("out/d/x/1", "one");
    f.write("out/d/2", "two");
    f.write("out/single", "single");
    for relative in ["out/d", "out/single"] {
        let found = survey(f.dir.path(), Path::new(relative), Expect::Any, Limits::NONE).unwrap();
        let content = found.content();
        assert_eq!(f.presence(&content), Presence::Missing);
        assert_eq!(f.store().take(found, &mut Batch::default()).unwrap(), content);
    }
    assert!(!f.path("out/d/x/1").exists() && !f.path("out/single").exists());
}

#[test]
fn a_file_is_found_on_either_side_of_its_move() {
    let f = Fixture::new();
    f.write("out/a", "bytes");
    let content = f.moved("out/a");
    f.salvage("out/a", &content).unwrap();
    assert_eq!(f.presence(&content), Presence::Present);
    fs::remove_file(f.store().path(content.hash)).unwrap();
    f.write("out/a", "bytes");
    f.salvage("out/a", &content).unwrap();
    assert_eq!(f.presence(&content), Presence::Present);
    f.salvage("out/a", &content).unwrap();
}

#[test]
fn a_folder_of_which_a_part_was_moved_becomes_whole() {
    let names = ["out/d/a", "out/d/deep/b", "out/d/deep/er/c", "out/d/deep/er/d"];
    for moved in 0..1 << names.len() {
        let f = Fixture::new();
        for name in names {
            f.write(name, name);
        }
        let content = f.moved("out/d");
        for (_, name) in names.iter().enumerate().filter(|(bit, _)| moved & (1 << bit) == 0) {
            f.move_back(name, name);
        }
        f.salvage("out/d", &content).unwrap();
        assert_eq!(f.presence(&content), Presence::Present, "{moved:04b}");
    }
}

#[test]
fn a_folder_of_which_only_some_nodes_were_written_is_taken_from_its_place() {
    let f = Fixture::new();
    f.write("out/d/x/1", "one");
    f.write("out/d/2", "two");
    let content = survey(f.dir.path(), Path::new("out/d"), Expect::Dir, Limits::NONE).unwrap().content();
    assert_eq!(content.kind, ObjectKind::Tree);
    f.salvage("out/d", &content).unwrap();
    assert_eq!(f.presence(&content), Presence::Present);
}

#[test]
fn what_was_torn_or_is_other_than_noted_is_refused() {
    let f = Fixture::new();
    f.write("out/a", "bytes");
    let content = f.moved("out/a");
    fs::remove_file(f.store().path(content.hash)).unwrap();
    assert!(matches!(f.salvage("out/a", &content), Err(ObjectError::Missing { .. })), "gone");
    f.write("out/a", "other");
    assert!(matches!(f.salvage("out/a", &content), Err(ObjectError::Changed { .. })), "changed");
    f.write("out/a", "bytes");
    fs::write(f.store().path(content.hash), "byt").unwrap();
    f.salvage("out/a", &content).unwrap();
    assert_eq!(f.presence(&content), Presence::Present, "a torn object is no object");
}
