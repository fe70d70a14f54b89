//! Where an output first differs from what is stored, on trees with one difference each and on generated ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use runstone_core::reproduction::{DifferenceKind, FirstDifference};
use runstone_exec::objects::{Batch, Collected, Expect, Limits, ObjectError, ObjectStore, remove_folder, survey};

/// Making a store takes longer than all the rest.
static STORE: LazyLock<(tempfile::TempDir, ObjectStore)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(dir.path()).unwrap();
    (dir, store)
});

struct Place {
    folder: tempfile::TempDir,
    store: &'static ObjectStore,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: &STORE.1 }
    }

    /// Makes an output.
    fn make(&self, write: impl FnOnce(&Path)) {
        let path = self.folder.path().join("out");
        remove_folder(&path).or_else(|_| fs::remove_file(&path)).unwrap();
        write(&path);
    }

    fn keep(&self) -> Collected {
        let mut batch = Batch::default();
        self.store.collect(self.folder.path(), "out".as_ref(), Expect::Any, Limits::NONE, &mut batch).unwrap()
    }

    fn difference(
        &self,
        expected: &Collected,
        same: &mut dyn FnMut(File, File) -> bool,
    ) -> Result<Option<FirstDifference>, ObjectError> {
        let found = survey(self.folder.path(), "out".as_ref(), Expect::Any, Limits::NONE).unwrap();
        self.store.first_difference((expected.hash, expected.kind), &found, same)
    }
}

/// The first difference between two outputs, as `path kind offset expected_size found_size`.
fn told(old: impl FnOnce(&Path), new: impl FnOnce(&Path)) -> String {
    let place = Place::new();
    place.make(old);
    let expected = place.keep();
    place.make(new);
    match place.difference(&expected, &mut |_, _| false).unwrap() {
        None => "none".to_owned(),
        Some(it) => {
            let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
            let numbers = [it.offset, it.expected_size, it.found_size].map(number).join(" ");
            format!("{} {} {numbers}", it.path, it.kind.as_str())
        }
    }
}

fn tree(files: &[(&str, &str)]) -> impl FnOnce(&Path) {
    let files: Vec<(String, String)> = files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    move |root| {
        fs::create_dir_all(root).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

fn one(text: &'static str) -> impl FnOnce(&Path) {
    move |path| fs::write(path, text).unwrap()
}

#[test]
fn two_files_differ_at_a_byte_or_at_the_end_of_one() {
    assert_eq!(told(one("same"), one("same")), "none");
    assert_eq!(told(one("abcd"), one("abXd")), " content 2 4 4");
    assert_eq!(told(one("abc"), one("abcd")), " content 3 3 4");
    assert_eq!(told(one(""), one("x")), " content 0 0 1");
    let large = |byte: u8| move |path: &Path| fs::write(path, [vec![7; 300_000], vec![byte]].concat()).unwrap();
    assert_eq!(told(large(1), large(2)), " content 300000 300001 300001");
    assert_eq!(told(one("x"), tree(&[("a", "x")])), " type - - 1");
}

#[test]
fn the_first_file_by_name_is_told_with_what_is_other_about_it() {
    let old = [("a", "1"), ("b/x", "2"), ("b/y", "3"), ("c", "4")];
    let with = |change: &[(&str, &str)]| {
        let mut files: BTreeMap<&str, &str> = old.into_iter().collect();
        for (path, text) in change {
            if text.is_empty() {
                files.remove(path)
            } else {
                files.insert(path, text)
            };
        }
        let files: Vec<(&str, &str)> = files.into_iter().collect();
        told(tree(&old), tree(&files))
    };
    assert_eq!(with(&[]), "none");
    assert_eq!(with(&[("b/y", "XX"), ("c", "X")]), "b/y content 0 1 2");
    assert_eq!(with(&[("b/x", "")]), "b/x missing - 1 -");
    assert_eq!(with(&[("b/x", ""), ("b/y", "")]), "b missing - 2 -");
    assert_eq!(with(&[("b/xx", "n")]), "b/xx added - - 1");
    assert_eq!(with(&[("d", "n")]), "d added - - 1");
    assert_eq!(with(&[("c", ""), ("c/z", "4")]), "c type - 1 -");
    assert_eq!(with(&[("a", ""), ("c", "X")]), "a missing - 1 -");
}

#[test]
fn modes_and_links_count() {
    let executable = |root: &Path| {
        tree(&[("a", "1")])(root);
        fs::set_permissions(root.join("a"), Permissions::from_mode(0o755)).unwrap();
    };
    assert_eq!(told(executable, tree(&[("a", "1")])), "a mode - 1 1");
    let link = |to: &'static str| {
        move |root: &Path| {
            tree(&[("b", "1")])(root);
            symlink(to, root.join("a")).unwrap();
        }
    };
    assert_eq!(told(link("b"), link("b")), "none");
    assert_eq!(told(link("b"), link("./b")), "a target - 1 3");
    assert_eq!(told(link("b"), tree(&[("a", "1"), ("b", "1")])), "a type - 1 1");
}

#[test]
fn what_counts_as_the_same_is_passed_over() {
    let place = Place::new();
    place.make(tree(&[("a", "x1"), ("b", "x2"), ("c", "3")]));
    let expected = place.keep();
    place.make(tree(&[("a", "x9"), ("b", "y2"), ("c", "3")]));
    let read = |mut file: File| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        text
    };
    let mut asked = Vec::new();
    let mut by_first_letter = |one: File, other: File| {
        let (one, other) = (read(one), read(other));
        let same = one[..1] == other[..1];
        asked.push((one, other));
        same
    };
    let found = place.difference(&expected, &mut by_first_letter).unwrap().unwrap();
    assert_eq!((found.path.as_str(), found.offset), ("b", Some(0)));
    assert_eq!(asked, [("x1".to_owned(), "x9".to_owned()), ("x2".to_owned(), "y2".to_owned())]);
    assert_eq!(place.difference(&expected, &mut |_, _| true).unwrap(), None);
}

#[test]
fn what_is_gone_from_the_store_cannot_be_compared() {
    let place = Place::new();
    place.make(tree(&[("a", "gone")]));
    let expected = place.keep();
    place.make(tree(&[("a", "2")]));
    assert!(place.store.remove(expected.hash).unwrap());
    let error = place.difference(&expected, &mut |_, _| false).unwrap_err();
    assert!(matches!(error, ObjectError::NotStored { .. }), "{error}");
}

#[test]
fn a_folder_goes_whatever_its_modes() {
    let place = Place::new();
    place.make(|root| {
        tree(&[("a/b/c", "1"), ("keep/x", "1")])(root);
        fs::create_dir(root.with_file_name("other")).unwrap();
        symlink("../../other", root.join("a/link")).unwrap();
        for (name, mode) in [("a/b", 0o500), ("a", 0o000)] {
            fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
        }
    });
    let out = place.folder.path().join("out");
    remove_folder(&out).unwrap();
    assert!(!out.exists() && place.folder.path().join("other").exists());
    remove_folder(&out).unwrap();
}

/// Few names and contents, so that trees have much in common.
fn arb_tree() -> impl Strategy<Value = BTreeMap<String, String>> {
    let path = prop::collection::vec("[ab]", 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::btree_map(path, "[xy]{0,2}", 0..6).prop_map(|files| {
        let paths: Vec<String> = files.keys().cloned().collect();
        let is_folder = |path: &str| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        files.into_iter().filter(|(path, _)| !is_folder(path)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// There is a difference exactly where hashes differ, and it is where a look at the files finds it.
    #[test]
    fn a_difference_is_found_exactly_where_one_is(old in arb_tree(), new in arb_tree()) {
        let files = |tree: &BTreeMap<String, String>| -> Vec<(String, String)> {
            tree.iter().map(|(a, b)| (a.clone(), b.clone())).collect()
        };
        let write = |tree: Vec<(String, String)>| move |root: &Path| {
            let tree: Vec<(&str, &str)> = tree.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            self::tree(&tree)(root);
        };
        let place = Place::new();
        place.make(write(files(&old)));
        let expected = place.keep();
        place.make(write(files(&new)));
        let found = place.difference(&expected, &mut |_, _| false).unwrap();
        prop_assert_eq!(found.is_none(), old == new);
        if let Some(found) = found && found.kind == DifferenceKind::Content {
            let (old, new) = (&old[&found.path], &new[&found.path]);
            let at = usize::try_from(found.offset.unwrap()).unwrap();
            prop_assert_eq!(&old[..at], &new[..at]);
            prop_assert_ne!(old.get(at..=at), new.get(at..=at));
        }
    }
}
