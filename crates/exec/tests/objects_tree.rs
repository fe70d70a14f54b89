//! The rules by which directories get their hash, checked on generated directories.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use runstone_core::hash::ContentHash;
use runstone_exec::objects::split::{SPLIT_ABOVE, TreeRoot, build_directory};
use runstone_exec::objects::tree::{Node, NodeError, TreeEntry, TreeItem, link_stays_inside, node_hash};
use runstone_exec::objects::{Batch, Limits, ObjectStore};
use runstone_exec::scan::{Scanner, SourcePattern};

/// A directory by the paths of its files.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

fn arb_files() -> impl Strategy<Value = Files> {
    let path = prop::collection::vec("[a-cA-C]{1,2}", 1..4).prop_map(|parts| parts.join("/"));
    let content = (prop::collection::vec(any::<u8>(), 0..20), any::<bool>());
    prop::collection::btree_map(path, content, 1..12).prop_map(|files| {
        // A path cannot be a file and a folder.
        let paths: Vec<String> = files.keys().cloned().collect();
        let is_folder = |path: &str| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        files.into_iter().filter(|(path, _)| !is_folder(path)).collect()
    })
}

fn write(root: &Path, files: impl Iterator<Item = (String, (Vec<u8>, bool))>) {
    for (path, (bytes, executable)) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, Permissions::from_mode(if executable { 0o700 } else { 0o604 })).unwrap();
    }
}

/// The hash of a directory, by scanning it and by importing it, which must agree.
fn hash_of(files: impl Iterator<Item = (String, (Vec<u8>, bool))>) -> ContentHash {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    write(&dir.path().join("d"), files);
    let scanner = Scanner::new(dir.path(), &dir.path().join("state")).unwrap();
    let scan = scanner.scan(&SourcePattern::parse("d").unwrap(), Limits::NONE).unwrap();
    // Making a store takes longer than all the rest.
    static STORE: LazyLock<(tempfile::TempDir, ObjectStore)> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let store = ObjectStore::open(dir.path()).unwrap();
        (dir, store)
    });
    let imported = STORE.1.import_dir(&dir.path().join("d"), Limits::NONE, &mut Batch::default()).unwrap();
    assert_eq!(scan.content(), imported);
    imported.hash
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_directory_hash_depends_on_names_bytes_and_the_executable_bit_and_on_nothing_else(
        files in arb_files(), pick in any::<prop::sample::Index>(),
    ) {
        let base = hash_of(files.clone().into_iter());
        prop_assert_eq!(hash_of(files.clone().into_iter().rev()), base, "order of creation");
        let path = pick.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let changed = |change: &dyn Fn(&mut Files)| {
            let mut other = files.clone();
            change(&mut other);
            hash_of(other.into_iter())
        };
        let changes: [&dyn Fn(&mut Files); 5] = [
            &|files| files.get_mut(&path).unwrap().0.push(0),
            &|files| files.get_mut(&path).unwrap().1 ^= true,
            &|files| { let file = files.remove(&path).unwrap(); files.insert(format!("{path}x"), file); },
            &|files| { files.insert("new".into(), (Vec::new(), false)); },
            &|files| { let file = files.remove(&path).unwrap(); files.insert(format!("new/{path}"), file); },
        ];
        let hashes: BTreeSet<_> = changes.iter().map(|change| changed(*change)).chain([base]).collect();
        prop_assert_eq!(hashes.len(), changes.len() + 1, "every change is another hash");
    }

    #[test]
    fn a_node_is_read_back_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let entry = |name: &[u8], item| TreeEntry { name: name.to_vec(), item };
        let file = TreeItem::File { hash: ContentHash::of(&bytes), size: bytes.len() as u64, executable: true };
        let link = TreeItem::Symlink { target: b"x".to_vec() };
        let node = Node::Leaf(vec![entry(b"a", file), entry(b"b\xff", link)]);
        let encoded = node.encode();
        prop_assert_eq!(Node::decode(&encoded), Ok(node));
        prop_assert!(Node::decode(&encoded[..cut.index(encoded.len())]).is_err());
        let mut noise = encoded[..13].to_vec();
        noise.extend(&bytes);
        if let Ok(node) = Node::decode(&noise) {
            prop_assert_eq!(node.encode(), noise, "one node, one encoding");
        }
    }
}

/// Entries named by number, with the nodes they make.
fn build(names: impl Iterator<Item = u32>) -> (TreeRoot, BTreeMap<ContentHash, usize>) {
    let entries = names.map(|number| {
        let name = format!("part-{number:07}.parquet").into_bytes();
        let item = TreeItem::File { hash: ContentHash::of(&name), size: 10, executable: false };
        TreeEntry { name, item }
    });
    let mut nodes = BTreeMap::new();
    let root = build_directory::<NodeError>(entries.collect(), &mut |hash, bytes| {
        assert_eq!(node_hash(bytes), hash);
        nodes.insert(hash, bytes.len());
        Ok(())
    });
    (root.unwrap(), nodes)
}

#[test]
fn one_change_among_many_entries_rewrites_few_nodes() {
    for count in [20_000_u32, 200_000] {
        let (root, nodes) = build(0..count);
        let (same, _) = build((0..count).rev());
        assert_eq!(same, root);
        for inserted in [count + 1, 500_000] {
            let (other, others) = build((0..count).chain([inserted]));
            assert_ne!(other.hash, root.hash);
            let rewritten: Vec<_> = others.iter().filter(|(hash, _)| !nodes.contains_key(hash)).collect();
            assert!(rewritten.len() <= 3, "{} of {} nodes", rewritten.len(), others.len());
            assert!(rewritten.iter().all(|(_, bytes)| **bytes < 512 << 10));
        }
        assert_eq!(root.size, u64::from(count) * 10);
    }
}

#[test]
fn a_directory_up_to_the_limit_is_one_node_and_names_cannot_make_more_levels() {
    let limit = u32::try_from(SPLIT_ABOVE).unwrap();
    assert_eq!(build(0..limit).1.len(), 1);
    assert!(build(0..=limit).1.len() > 1);
    // Whatever the names are, levels shrink.
    let (_, nodes) = build(0..300_000);
    assert!(nodes.len() <= 300_000 / 256 + 10, "{}", nodes.len());
}

#[test]
fn a_split_directory_comes_back_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let files = (0..6_000).map(|number| (format!("f{number}"), (Vec::new(), false)));
    write(&dir.path().join("d"), files);
    let store = ObjectStore::open(&dir.path().join("objects")).unwrap();
    let mut batch = Batch::default();
    let tree = store.import_dir(&dir.path().join("d"), Limits::NONE, &mut batch).unwrap();
    store.sync(batch).unwrap();
    let names: Vec<_> = store.entries(tree.hash).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 6_000);
    assert!(names.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_file_with_the_bytes_of_a_node_has_another_hash_and_is_no_tree() {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(dir.path()).unwrap();
    let encoded = Node::Leaf(Vec::new()).encode();
    let hash = store.put_bytes(&encoded, &mut Batch::default()).unwrap();
    assert_ne!(hash, node_hash(&encoded));
    assert!(store.entries(hash).is_err());
}

#[test]
fn the_encoding_and_the_hashes_are_what_the_specification_says() {
    // Worked by hand from docs/design/hashing.md. These values are for ever.
    let encoded = Node::Leaf(Vec::new()).encode();
    assert_eq!(encoded, b"rs-tree1\0\0\0\0\0");
    let file = TreeItem::File { hash: ContentHash::of(b"hi"), size: 2, executable: false };
    let entries = vec![
        TreeEntry { name: b"l".to_vec(), item: TreeItem::Symlink { target: b"a".to_vec() } },
        TreeEntry { name: b"a".to_vec(), item: file },
    ];
    let mut last = Vec::new();
    let root = build_directory::<NodeError>(entries, &mut |_, bytes| {
        last = bytes.to_vec();
        Ok(())
    })
    .unwrap();
    let mut expected = b"rs-tree1\0\x02\0\0\0f\x01\0a\x02\0\0\0\0\0\0\0".to_vec();
    expected.extend(ContentHash::of(b"hi").as_bytes());
    expected.extend(b"l\x01\0l\x01\0a");
    assert_eq!(last, expected);
    assert_eq!(root.size, 3);
    assert_eq!(node_hash(&encoded).to_hex(), EMPTY_DIRECTORY);
    assert_eq!(root.hash.to_hex(), TWO_ENTRIES);
}

/// `printf 'rs-tree1\0\0\0\0\0' | b3sum --derive-key 'runstone 2026 tree v1'`
const EMPTY_DIRECTORY: &str = "4607cbbb899140d589d0ccc22cda03915285ad4299e6193cb6a3bf44889954cb";
/// The same of the two entries above.
const TWO_ENTRIES: &str = "c2a76557417cc3b8d6b5679a6c07d908556c679d2fdba5ab82a1ccc49308dc8e";

#[test]
fn a_link_must_show_by_its_text_that_it_stays_inside() {
    for (depth, target) in [(0, "a"), (0, "a/b"), (0, "./a"), (1, "../a"), (2, ".././../a"), (1, ".."), (0, "a//b/.")] {
        assert!(link_stays_inside(depth, target.as_bytes()), "{depth} {target}");
    }
    for (depth, target) in [(0, ""), (0, "/a"), (0, ".."), (0, "../a"), (1, "../../a"), (9, "a/../b"), (9, "a\0b")] {
        assert!(!link_stays_inside(depth, target.as_bytes()), "{depth} {target}");
    }
}

#[test]
fn a_file_hashes_like_b3sum() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = [0_usize, 1, 1024, 1025, 300_000, 3_000_001];
    for len in lengths {
        let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        fs::write(dir.path().join(len.to_string()), bytes).unwrap();
    }
    let Ok(output) = Command::new("b3sum").args(lengths.map(|len| len.to_string())).current_dir(dir.path()).output()
    else {
        eprintln!("skipped: b3sum is not installed");
        return;
    };
    let scanner = Scanner::new(dir.path(), &dir.path().join("state")).unwrap();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let (file, _) = scanner.hash_file(Path::new(name), Limits::NONE).unwrap();
        assert_eq!(file.hash.to_hex(), hash, "{name}");
    }
}
