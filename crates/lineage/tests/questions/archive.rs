//! Exports that can be verified: what is in them, and what is found when something is not as it was.

use std::fs;
use std::path::{Path, PathBuf};

use runstone_core::log::key::SigningKey;
use runstone_core::log::note::{Note, NoteKey};
use runstone_core::record::MaterializationRecord;
use runstone_lineage::archive::{self, ArchiveReport, Request, Trust, Written, verify, write};
use runstone_lineage::log::{origin, verifier_key};
use runstone_lineage::{Kind, Result};

use crate::record::{Content, Done, Record, file, ingest, program};

fn export(record: &mut Record, name: &str, versions: &[MaterializationRecord], bytes: bool) -> Result<Written> {
    let folder = record.path(name);
    let now = record.tick();
    let request = Request {
        project: record.project,
        name: "shop",
        versions,
        objects: bytes.then_some(&record.objects),
        key: &record.key,
        tool_version: "0.1.0",
        now,
    };
    write(&mut *record.store, &request, &folder)
}

fn key(record: &Record) -> NoteKey {
    verifier_key(record.project, &record.key).unwrap()
}

fn check(record: &Record, name: &str) -> ArchiveReport {
    let trust = Trust { keys: vec![key(record)], checkpoint: None };
    verify(&record.path(name), &trust).unwrap()
}

fn findings(report: &ArchiveReport) -> Vec<String> {
    report.findings.iter().map(|it| format!("{}: {} {}", it.kind, it.subject, it.message)).collect()
}

/// raw → model, then the model again as a reuse under the name of another pipeline, and something else.
fn prepared() -> (Record, [Done; 4]) {
    let mut record = Record::new();
    let run = record.run("shop", &[("raw", ""), ("model", "")]);
    let raw = record.work(run, &ingest("shop/raw", Content::Folder(vec![("a", "1"), ("b/c", "2")])));
    let code = record.keep("code");
    assert_eq!(code, runstone_core::hash::ContentHash::of(b"code"));
    let deed = program("shop/model", "code", "model").task(1).metric("f1", "", 0.5);
    let deed = deed.reads(&mut record, "rows", raw.only());
    let model = record.work(run, &deed);
    let run = record.run("board", &[("model", "")]);
    let mut deed = deed.task(0);
    deed.makes[0].0 = "board/model".into();
    let reused = record.reuse(run, model.attempt, &deed);
    let run = record.run("other", &[("raw", "")]);
    let other = record.work(run, &ingest("other/raw", file("nobody asked for this")));
    record.seal();
    (record, [raw, model, reused, other])
}

#[test]
fn an_export_has_what_made_a_version_and_nothing_else() {
    let (mut record, _) = prepared();
    let version = record.version("board/model");
    let written = export(&mut record, "out", &[version], true).unwrap();
    // The reuse, the work behind it, and the source.
    assert_eq!((written.statements, written.absent), (3, 0));
    // A folder of two levels with two files, the model, and the code.
    assert_eq!(written.objects, 6);
    let report = check(&record, "out");
    assert_eq!(findings(&report), [""; 0]);
    assert_eq!((report.statements, report.objects, report.key_is_known), (3, 6, true));
    let manifest = report.manifest.unwrap();
    assert_eq!((manifest.complete, manifest.log_size), (false, 4));
    assert_eq!(manifest.versions[0].name, "board/model@v1");
    let foreign = b"nobody asked for this";
    let has = |path: &PathBuf| fs::read(path).unwrap().windows(foreign.len()).any(|part| part == foreign);
    assert!(!files(&record.path("out")).iter().any(has));
}

#[test]
fn everything_is_exported_where_nothing_is_named() {
    let (mut record, _) = prepared();
    export(&mut record, "all", &[], true).unwrap();
    let report = check(&record, "all");
    assert_eq!((findings(&report).len(), report.statements), (0, 4));
    assert!(report.manifest.unwrap().complete);
    export(&mut record, "bare", &[], false).unwrap();
    assert_eq!(check(&record, "bare").objects, 0);
}

#[test]
fn bytes_that_are_gone_are_counted_and_the_rest_is_still_proven() {
    let (mut record, [_, model, ..]) = prepared();
    let hash = record.hash_of(model.only());
    record.objects.remove(hash).unwrap();
    let version = record.version("shop/model");
    let written = export(&mut record, "out", &[version], true).unwrap();
    assert_eq!((written.absent, written.objects), (1, 5));
    assert_eq!(findings(&check(&record, "out")), [""; 0]);
}

#[test]
fn an_export_never_overwrites_and_needs_something_to_say() {
    let (mut record, _) = prepared();
    export(&mut record, "out", &[], false).unwrap();
    assert_eq!(export(&mut record, "out", &[], false).unwrap_err().kind, Kind::Refused);
    let mut empty = Record::new();
    assert_eq!(export(&mut empty, "out", &[], false).unwrap_err().kind, Kind::NotFound);
    assert!(!empty.path("out").exists() && !empty.path("out.partial").exists());
}

#[test]
fn what_one_that_was_killed_left_is_no_obstacle() {
    let (mut record, _) = prepared();
    let half = record.path("out.partial");
    fs::create_dir_all(half.join("objects/ab")).unwrap();
    fs::write(half.join("objects/ab/cd"), "half").unwrap();
    export(&mut record, "out", &[], true).unwrap();
    assert!(!half.exists());
    assert_eq!(findings(&check(&record, "out")), [""; 0]);
}

#[test]
fn the_log_of_later_goes_on_from_an_earlier_checkpoint() {
    let (mut record, _) = prepared();
    let earlier = record.store.checkpoints(1).unwrap().remove(0).note;
    let run = record.run("shop", &[("raw", "")]);
    record.work(run, &ingest("shop/raw", file("more")));
    record.seal();
    export(&mut record, "later", &[], false).unwrap();
    let trust =
        |checkpoint: &str, record: &Record| Trust { keys: vec![key(record)], checkpoint: Some(checkpoint.to_owned()) };
    let report = verify(&record.path("later"), &trust(&earlier, &record)).unwrap();
    assert_eq!(findings(&report), [""; 0]);
    // Another history under the same key: it is as long, and its checkpoints are signed.
    let mut fork = Record::new();
    for text in ["1", "2", "3", "4", "5"] {
        let run = fork.run("shop", &[("raw", "")]);
        fork.work(run, &ingest("shop/raw", file(text)));
        fork.seal();
    }
    export(&mut fork, "fork", &[], false).unwrap();
    assert_eq!(findings(&check(&fork, "fork")), [""; 0], "by itself it is sound");
    let report = verify(&fork.path("fork"), &trust(&earlier, &fork)).unwrap();
    assert!(findings(&report)[0].contains("is another one than at the given checkpoint"), "{report:?}");
    // Rolled back: shorter than what was seen before.
    let newest = record.store.checkpoints(1).unwrap().remove(0).note;
    let mut short = Record::new();
    let run = short.run("shop", &[("raw", "")]);
    short.work(run, &ingest("shop/raw", file("1")));
    short.seal();
    export(&mut short, "short", &[], false).unwrap();
    let report = verify(&short.path("short"), &trust(&newest, &short)).unwrap();
    assert!(findings(&report)[0].contains("nothing proves that the log went on"), "{report:?}");
    let nonsense = verify(&record.path("later"), &trust("no note", &record)).unwrap();
    assert_eq!(nonsense.findings.len(), 1);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Signs a manifest for the files as they are now, as a forger would.
fn sign_again(folder: &Path, record: &Record, key: &SigningKey) {
    let path = folder.join("manifest.note");
    let note = Note::parse(&fs::read(&path).unwrap()).unwrap();
    let mut manifest: archive::Manifest = serde_json::from_str(note.text()).unwrap();
    manifest.key = verifier_key(record.project, key).unwrap().to_string();
    manifest.files.retain(|name, _| folder.join(name).exists());
    for (name, entry) in &mut manifest.files {
        let bytes = fs::read(folder.join(name)).unwrap();
        entry.size = bytes.len() as u64;
        entry.blake3 = runstone_core::hash::ContentHash::of(&bytes).to_hex();
    }
    let text = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
    fs::write(path, Note::sign(text, &origin(record.project), key).unwrap().to_string()).unwrap();
}

/// Whoever has the key can sign any manifest; what was logged still decides.
#[test]
fn a_manifest_that_is_signed_again_does_not_help_a_forger() {
    type Forge = fn(&Path);
    let forgeries: [(&str, Forge, &str); 7] = [
        ("a statement is left out", |folder| edit(folder, "statements.jsonl", |lines| _ = lines.remove(0)), "log: "),
        ("statements are swapped", |folder| edit(folder, "statements.jsonl", |lines| lines.swap(0, 1)), "log: "),
        ("a statement is there twice", |folder| edit(folder, "statements.jsonl", double), "log: "),
        (
            "what was asked is left out",
            |folder| edit(folder, "derivations.jsonl", |lines| _ = lines.pop()),
            "statement: ",
        ),
        ("a run is left out", |folder| edit(folder, "runs.jsonl", |lines| _ = lines.pop()), "statement: "),
        ("the last checkpoint is left out", |folder| edit(folder, "checkpoints.jsonl", Vec::clear), "checkpoint: "),
        ("an object is another one", exchange, "object: "),
    ];
    for (what, forge, finding) in forgeries {
        let (mut record, _) = prepared();
        export(&mut record, "out", &[], true).unwrap();
        let folder = record.path("out");
        forge(&folder);
        sign_again(&folder, &record, &record.key);
        let found = findings(&check(&record, "out"));
        assert!(found.iter().any(|it| it.starts_with(finding)), "{what}: {found:?}");
    }
}

fn edit(folder: &Path, name: &str, change: impl Fn(&mut Vec<String>)) {
    let path = folder.join(name);
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn double(lines: &mut Vec<String>) {
    let first = lines[0].clone();
    lines.insert(1, first);
}

fn exchange(folder: &Path) {
    let objects = files(&folder.join("objects"));
    let bytes = fs::read(&objects[0]).unwrap();
    fs::write(&objects[1], bytes).unwrap();
}

#[test]
fn a_forger_with_a_key_of_his_own_is_told_from_the_project() {
    let (mut record, _) = prepared();
    let version = record.version("shop/model");
    export(&mut record, "out", &[version], true).unwrap();
    let folder = record.path("out");
    sign_again(&folder, &record, &SigningKey::from_seed([8; 32]));
    let found = findings(&check(&record, "out"));
    assert!(found[0].starts_with("manifest: manifest.note no signature on this note is of a trusted key"), "{found:?}");
    let unknown = verify(&folder, &Trust::default()).unwrap();
    assert!(!unknown.key_is_known, "whoever knows no key is told that it is the export's own");
    assert!(findings(&unknown)[0].starts_with("checkpoint: "), "and the checkpoints are still those of the project");
}

#[test]
fn files_that_are_gone_new_or_exchanged_are_named() {
    let (mut record, _) = prepared();
    export(&mut record, "out", &[], true).unwrap();
    let folder = record.path("out");
    let all = files(&folder);
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
    let named = |record: &Record| check(record, "out").findings.into_iter().map(|it| it.subject).collect::<Vec<_>>();
    let aside = record.path("aside");
    for path in &all {
        fs::rename(path, &aside).unwrap();
        assert_eq!(named(&record), [name(path)], "taken away");
        fs::rename(&aside, path).unwrap();
    }
    for new in ["objects/00/more", "manifest.note.old", "definitions/x.yaml"] {
        let path = folder.join(new);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(named(&record), [new], "added");
        fs::remove_file(&path).unwrap();
    }
    for (one, other) in all.iter().zip(&all[1..]) {
        let swap = || {
            fs::rename(one, &aside).unwrap();
            fs::rename(other, one).unwrap();
            fs::rename(&aside, other).unwrap();
        };
        swap();
        let found = named(&record);
        assert!(found.contains(&name(one)) || found.contains(&name(other)), "{one:?}, {other:?}: {found:?}");
        swap();
    }
    assert_eq!(findings(&check(&record, "out")), [""; 0], "and it is whole again");
    fs::remove_file(folder.join("manifest.note")).unwrap();
    fs::remove_file(folder.join("statements.jsonl")).unwrap();
    assert_eq!(verify(&folder, &Trust::default()).unwrap_err().kind, Kind::NotFound, "it is none any more");
}

/// Every byte of small files, every seventh of larger ones.
#[test]
fn no_byte_can_be_changed_unnoticed() {
    let (mut record, _) = prepared();
    let version = record.version("board/model");
    export(&mut record, "out", &[version], true).unwrap();
    let folder = record.path("out");
    let mut positions = 0;
    for path in files(&folder) {
        let bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        for at in (0..bytes.len()).step_by(if bytes.len() > 500 { 7 } else { 1 }) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let report = check(&record, "out");
            let first = report.findings.first().unwrap_or_else(|| panic!("{name}: byte {at} of {}", bytes.len()));
            assert_eq!(first.subject, name, "byte {at}: {first:?}");
            positions += 1;
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(positions > 1_000, "{positions}");
    assert_eq!(findings(&check(&record, "out")), [""; 0], "and it is whole again");
}
