//! Every kind of mistake has a file, and the exact text that is shown for it. `UPDATE_GOLDEN=1` writes the texts anew.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read fixtures")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runstone_core::spec::{Code, Loaded, Look, Options, Sources, load};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/errors")
}

/// The fixtures, without their overlays.
fn fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|it| it == "yaml") && !path.to_string_lossy().ends_with(".overlay.yaml")
    });
    files.sort();
    assert!(!files.is_empty());
    files
}

fn load_fixture(path: &Path) -> Loaded {
    let main = std::fs::read(path).unwrap();
    let overlay = std::fs::read(path.with_extension("overlay.yaml")).ok();
    let overlays: Vec<_> = overlay.iter().map(|bytes| ("overlay.yaml", bytes.as_slice())).collect();
    load(&Sources { name: "pipeline.yaml", main: &main, overlays: &overlays }, &Options::default())
}

#[test]
fn messages_are_exactly_these() {
    let mut wrong = Vec::new();
    for path in fixtures() {
        let loaded = load_fixture(&path);
        assert!(!loaded.diagnostics.is_empty(), "{} is valid", path.display());
        let text = loaded.render(Look { width: 120, ..Look::default() });
        let golden = path.with_extension("txt");
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            std::fs::write(&golden, &text).unwrap();
        }
        if std::fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("{}\n{text}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_fixture() {
    let seen: BTreeSet<Code> =
        fixtures().iter().flat_map(|path| load_fixture(path).diagnostics).map(|diagnostic| diagnostic.code).collect();
    // Limits are too large for files in a repository; the tests of hostile input reach them.
    let limits = [Code::TooLarge, Code::TooMany];
    let missing: Vec<_> =
        Code::ALL.iter().map(|(code, _)| code).filter(|code| !seen.contains(code) && !limits.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_file_with_an_error_gives_no_pipeline() {
    for path in fixtures() {
        let loaded = load_fixture(&path);
        let errors = loaded.diagnostics.iter().any(|it| it.severity == runstone_core::spec::Severity::Error);
        assert_eq!(loaded.pipeline.is_none(), errors, "{}", path.display());
    }
}
