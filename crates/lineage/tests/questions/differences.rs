//! In what two versions differ.

use runstone_core::scalar::Scalar;
use runstone_lineage::diff::{self, VersionDiff};

use crate::record::{Content, Record, file, ingest, program};

fn compare(record: &mut Record, old: &str, new: &str) -> VersionDiff {
    let (old, new) = (record.version(old), record.version(new));
    diff::compare(&mut *record.store, &record.objects, &old, &new, &diff::RowOptions::default()).unwrap()
}

#[test]
fn files_part_at_a_byte_of_a_line() {
    let mut record = Record::new();
    for text in ["a,1\nb,2\n", "a,1\nb,3\nc,4\n"] {
        let run = record.run("shop", &[("raw", "")]);
        record.work(run, &ingest("shop/raw", file(text)));
    }
    let diff = compare(&mut record, "shop/raw@v1", "shop/raw@v2");
    let bytes = diff.bytes.unwrap();
    assert_eq!((bytes.first_difference, bytes.line, bytes.size_delta), (6, 2, 4));
    assert_eq!((diff.identical, diff.files, diff.unavailable), (false, None, None));
    let same = compare(&mut record, "shop/raw@v1", "shop/raw@v1");
    assert!(same.identical && same.bytes.is_none() && same.asked.is_empty() && same.upstream.changes.is_empty());
}

#[test]
fn folders_differ_in_files_and_what_is_equal_is_not_listed() {
    let mut record = Record::new();
    let old = vec![("gone", "1"), ("same/a", "2"), ("sub/changed", "3"), ("was-file", "4")];
    let new = vec![("same/a", "2"), ("sub/changed", "33"), ("was-file/now-folder", "4"), ("zz", "5")];
    for files in [old, new] {
        let run = record.run("shop", &[("raw", "")]);
        record.work(run, &ingest("shop/raw", Content::Folder(files)));
    }
    let files = compare(&mut record, "shop/raw@v1", "shop/raw@v2").files.unwrap();
    assert_eq!((files.added, files.removed, files.changed), (2, 2, 1));
    let mut paths: Vec<(&str, bool, bool)> =
        files.list.iter().map(|it| (it.path.as_str(), it.old.is_some(), it.new.is_some())).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            ("gone", true, false),
            ("sub/changed", true, true),
            ("was-file", true, false),
            ("was-file/now-folder", false, true),
            ("zz", false, true)
        ]
    );
    let changed = files.list.iter().find(|it| it.path == "sub/changed").unwrap();
    assert_eq!(changed.old.as_ref().unwrap().size_bytes, 1);
    assert_eq!(changed.new.as_ref().unwrap().content, runstone_core::hash::ContentHash::of(b"33").to_string());
}

#[test]
fn a_file_and_a_folder_differ_in_kind_alone() {
    let mut record = Record::new();
    for content in [file("1"), Content::Folder(vec![("a", "1")])] {
        let run = record.run("shop", &[("raw", "")]);
        record.work(run, &ingest("shop/raw", content));
    }
    let diff = compare(&mut record, "shop/raw@v1", "shop/raw@v2");
    assert!(!diff.identical && diff.bytes.is_none() && diff.files.is_none());
}

#[test]
fn bytes_that_are_gone_leave_everything_else() {
    let mut record = Record::new();
    for n in [1, 2] {
        let run = record.run("shop", &[("clean", "")]);
        let deed = program("shop/clean", "code", &n.to_string()).param("n", Scalar::Int(n));
        record.work(run, &deed);
    }
    let old = record.version("shop/clean@v1");
    record.objects.remove(old.hash).unwrap();
    let diff = compare(&mut record, "shop/clean@v1", "shop/clean@v2");
    assert!(diff.bytes.is_none() && diff.unavailable.is_some(), "{diff:#?}");
    assert_eq!(diff.asked.len(), 1);
}

#[test]
fn what_they_were_made_of_and_what_was_reported_is_compared() {
    let mut record = Record::new();
    for (raw, f1) in [("1", 0.75), ("2", 0.5)] {
        let run = record.run("shop", &[("raw", ""), ("both", ""), ("model", "")]);
        let source = record.work(run, &ingest("shop/raw", file(raw))).only();
        let fixed = record.work(run, &ingest("shop/fixed", file("fixed")).task(1)).only();
        let deed = program("shop/model", "code", raw).task(2).metric("f1", "", f1).metric("f1", "lang=de", f1);
        let deed = deed.reads(&mut record, "rows", source).reads(&mut record, "more", fixed);
        record.work(run, &if raw == "2" { deed.metric("loss", "", 1.5) } else { deed });
    }
    let diff = compare(&mut record, "shop/model@v1", "shop/model@v2");
    let changes: Vec<(&str, &[String], &[String])> =
        diff.upstream.changes.iter().map(|it| (it.dataset.as_str(), &it.old[..], &it.new[..])).collect();
    assert_eq!(changes, [("shop/raw", &["shop/raw@v1".to_owned()][..], &["shop/raw@v2".to_owned()][..])]);
    assert_eq!((diff.upstream.common, diff.upstream.partial), (1, false));
    let metrics: Vec<_> =
        diff.metrics.iter().map(|it| (it.name.as_str(), it.slice.as_str(), it.old, it.new, it.delta)).collect();
    assert_eq!(
        metrics,
        [
            ("f1", "", Some(0.75), Some(0.5), Some(-0.25)),
            ("f1", "lang=de", Some(0.75), Some(0.5), Some(-0.25)),
            ("loss", "", None, Some(1.5), None)
        ]
    );
    assert_eq!(diff.asked.len(), 1, "the bytes that were read: {:#?}", diff.asked);
    let back = compare(&mut record, "shop/model@v2", "shop/model@v1");
    assert_eq!(back.metrics[0].delta, Some(0.25));
}

/// What a reuse took over was reported by the attempt that did the work.
#[test]
fn metrics_of_a_reuse_are_those_of_the_work() {
    let mut record = Record::new();
    let run = record.run("shop", &[("model", "")]);
    let deed = program("shop/model", "code", "1").metric("f1", "", 0.75);
    let origin = record.work(run, &deed);
    let run = record.run("shop", &[("model", "")]);
    record.work(run, &program("shop/model", "other", "2").metric("f1", "", 0.5));
    let run = record.run("shop", &[("model", "")]);
    record.reuse(run, origin.attempt, &deed);
    let diff = compare(&mut record, "shop/model@v2", "shop/model@latest");
    assert_eq!((diff.new.version, diff.metrics[0].old, diff.metrics[0].new), (1, Some(0.5), Some(0.75)));
}
