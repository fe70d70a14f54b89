//! Attempts by everything that is recorded of them, page by page.

use runstone_core::lineage::store::{MetricRange, Search};
use runstone_core::record::NodeId;
use runstone_core::scalar::Scalar;
use runstone_lineage::search::{Wanted, search};

use crate::record::{Record, file, ingest, program};

fn all() -> Search {
    Search { limit: 100, ..Search::default() }
}

/// Nodes, newest first.
fn nodes(record: &mut Record, wanted: &Wanted) -> Vec<NodeId> {
    let found = search(&mut *record.store, wanted).unwrap();
    found.into_iter().map(|it| NodeId(it.attempt.node)).collect()
}

fn columns(record: &mut Record, columns: Search) -> Vec<NodeId> {
    nodes(record, &Wanted { columns, ..Wanted::default() })
}

/// Three models of one source, with n of 1 to 3 and a metric that grows with it; the last one failed.
fn models(record: &mut Record) -> (NodeId, [NodeId; 3]) {
    let run = record.run("shop", &[("raw", ""), ("model", "n=1"), ("model", "n=2"), ("model", "n=3")]);
    let raw = record.work(run, &ingest("shop/raw", file("rows")));
    let model = |task: u32| {
        let n = i64::from(task);
        let code = if n == 1 { "first" } else { "second" };
        let deed = program("shop/model", code, &format!("model {n}")).task(task).param("n", Scalar::Int(n));
        let deed = deed.param("mode", Scalar::Text("fast".into())).reads(record, "rows", raw.only());
        let deed = deed.metric("f1", "", f64::from(task) / 4.0).metric("f1", "lang=de", 0.5);
        record.work(run, &if n == 3 { deed.fails() } else { deed }).attempt
    };
    (raw.attempt, [1, 2, 3].map(model))
}

#[test]
fn each_condition_finds_its_attempts_and_all_must_hold() {
    let mut record = Record::new();
    let (raw, [one, two, three]) = models(&mut record);
    let f1 = |min, max| vec![MetricRange { name: "f1".into(), slice: String::new(), min, max }];
    let hash = |bytes: &[u8]| Some(runstone_core::hash::ContentHash::of(bytes).to_hex()[..8].to_owned());
    for (what, search, expected) in [
        ("everything", all(), vec![three, two, one, raw]),
        ("a step", Search { step: Some("raw".into()), ..all() }, vec![raw]),
        ("failures", Search { succeeded: Some(false), ..all() }, vec![three]),
        ("a range of a metric", Search { metrics: f1(0.5, 0.6), ..all() }, vec![two]),
        ("its lower end", Search { metrics: f1(0.75, f64::INFINITY), ..all() }, vec![three]),
        ("an input", Search { input: hash(b"rows"), ..all() }, vec![three, two, one]),
        ("an output", Search { output: hash(b"model 2"), ..all() }, vec![two]),
        ("a person", Search { user: Some("ada".into()), step: Some("raw".into()), ..all() }, vec![raw]),
        ("another person", Search { user: Some("bob".into()), ..all() }, vec![]),
        ("a host", Search { host: Some("lab".into()), limit: 1, ..all() }, vec![three]),
        ("a commit", Search { git_commit: Some("1A2b".into()), step: Some("raw".into()), ..all() }, vec![raw]),
        ("a commit that is longer", Search { git_commit: Some("1a2b3c4".into()), ..all() }, vec![]),
        ("no beginning of a hash", Search { input: Some("xyz".into()), ..all() }, vec![]),
    ] {
        assert_eq!(columns(&mut record, search), expected, "{what}");
    }
}

#[test]
fn parameters_and_code_are_looked_up_in_what_was_asked() {
    let mut record = Record::new();
    let (_, [one, two, three]) = models(&mut record);
    let with = |params: &[(&str, &str)], code: Option<&str>| Wanted {
        columns: all(),
        params: params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        code: code.map(str::to_owned),
    };
    let first = runstone_core::hash::ContentHash::of(b"first");
    for (wanted, expected) in [
        (with(&[("n", "2")], None), vec![two]),
        (with(&[("mode", "fast"), ("n", "3")], None), vec![three]),
        (with(&[("mode", "slow")], None), vec![]),
        (with(&[("nothing", "1")], None), vec![]),
        (with(&[], Some("work.sh")), vec![three, two, one]),
        (with(&[], Some("./work.sh")), vec![three, two, one]),
        (with(&[], Some("other.sh")), vec![]),
        (with(&[], Some(&first.to_string()[..12])), vec![one]),
        (with(&[], Some(&first.to_string())), vec![one]),
    ] {
        assert_eq!(nodes(&mut record, &wanted), expected, "{wanted:?}");
    }
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let mut record = Record::new();
    let steps: Vec<(String, String)> = (0..1203).map(|n| ("cell".to_owned(), format!("n={n}"))).collect();
    let tasks: Vec<(&str, &str)> = steps.iter().map(|(step, cell)| (step.as_str(), cell.as_str())).collect();
    let run = record.run("shop", &tasks);
    // The one that fits stands two pages back, behind others that do not.
    for task in 0..1203_u32 {
        let n = i64::from(task == 1);
        let mut deed = program("shop/cell", "code", "1").task(task).param("n", Scalar::Int(n));
        deed.makes.clear();
        record.work(run, &deed);
    }
    let rare = Wanted { columns: all(), params: vec![("n".into(), "1".into())], code: None };
    let found = nodes(&mut record, &rare);
    assert_eq!(found.len(), 1);
    let mut seen = Vec::new();
    loop {
        let before = seen.last().copied();
        let page = columns(&mut record, Search { before, limit: 400, ..Search::default() });
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen.len(), 1203);
    assert!(seen.is_sorted_by(|a, b| a > b), "each once, newest first");
}
