//! Attempts by what stands in columns.

use runstone_core::hash::ContentHash;
use runstone_core::lineage::store::{MetricRange, Search};
use runstone_core::record::{Metric, NodeId, RunEnvironment, TaskState};
use runstone_core::store::{Applied, Change, FinishAttempt, NewRun, Reuse, ReuseNode, SettleTask, StartAttempt};
use runstone_core::time::Timestamp;

use super::Backend;
use super::driver::{Driver, failure, fingerprint, new_run, output, pin_node, project, start, success, uuid};

const ANY: Search = Search {
    pipeline: None,
    step: None,
    user: None,
    host: None,
    git_commit: None,
    since: None,
    until: None,
    input: None,
    output: None,
    metrics: Vec::new(),
    succeeded: None,
    before: None,
    limit: u32::MAX,
};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn metric(name: &str, slice: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), slice: slice.to_owned(), value, n: None }
}

fn range(name: &str, slice: &str, min: f64, max: f64) -> Search {
    Search { metrics: vec![MetricRange { name: name.to_owned(), slice: slice.to_owned(), min, max }], ..ANY }
}

fn run_by(pipeline: &str, user: &str, host: &str, commit: Option<&str>, steps: &[&str]) -> NewRun {
    let environment = RunEnvironment {
        user: user.to_owned(),
        host: host.to_owned(),
        git_commit: commit.map(str::to_owned),
        ..RunEnvironment::default()
    };
    NewRun { pipeline: pipeline.to_owned(), environment, ..new_run(steps) }
}

/// Two runs of different people, and a reuse. Gives the attempts, in the order of ids: `raw`, `train`, a failed `train`, `raw`
/// of the second run, a reuse of `train`, and one that lives.
struct Past {
    attempts: [NodeId; 6],
    /// When each was put on record.
    times: [Timestamp; 6],
}

fn past(driver: &mut Driver<'_>) -> Past {
    driver.create(&run_by("p", "ada", "mill", Some("abcdef0123"), &["raw", "train", "train"]));
    let (raw, made) = driver.executed(start(0, 1), vec![output("raw", "raw")]);
    let t_raw = driver.now;
    let pins = || vec![pin_node("in", made[0])];
    let train = driver.started(StartAttempt { pins: pins(), ..start(1, 1) });
    let t_train = driver.now;
    let metrics = vec![metric("f1", "", 0.5), metric("f1", "lang=de", 0.75), metric("loss", "", -2.0)];
    driver.finished(FinishAttempt { metrics, ..success(1, 1, vec![output("model", "model")]) });
    let failed = driver.started(StartAttempt { pins: pins(), ..start(2, 1) });
    let t_failed = driver.now;
    driver.finished(FinishAttempt { metrics: vec![metric("f1", "", 0.25)], ..failure(2, 1, TaskState::Failed) });
    driver.create(&run_by("q", "eve \u{1F980}", "loft", Some("abcd99"), &["raw", "train", "live"]));
    let (again, made) = driver.executed(start(0, 1), vec![output("raw", "other")]);
    let t_again = driver.now;
    let node = ReuseNode { uuid: uuid(), pins: vec![pin_node("in", made[0])], outputs: vec![output("model", "model")] };
    let reuse = Reuse { attempt: train, fingerprint: fingerprint("task 1"), node: Some(node) };
    let settled = SettleTask { task: 1, state: TaskState::Reused, reason: None, reuse: Some(reuse) };
    let Applied::Published { attempt: reused, .. } = driver.apply(Change::Settle(settled)) else {
        panic!("not reused")
    };
    let t_reused = driver.now;
    let live = driver.started(start(2, 1));
    // An attempt counts from when it was put on record, one second before its end.
    let begun = |ended: Timestamp| Timestamp(ended.0 - 1_000_000);
    Past {
        attempts: [raw, train, failed, again, reused, live],
        times: [begun(t_raw), t_train, t_failed, begun(t_again), t_reused, driver.now],
    }
}

/// The positions in [`Past::attempts`] of what a search finds.
fn found(driver: &mut Driver<'_>, past: &Past, search: &Search) -> Vec<usize> {
    let found = driver.store.search(search).unwrap();
    found.iter().map(|record| past.attempts.iter().position(|id| *id == record.id).unwrap()).collect()
}

pub(crate) fn attempts_are_found_by_each_criterion(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let past = past(&mut driver);
    let hash = |bytes: &str| ContentHash::of(bytes.as_bytes()).to_hex();
    let nothing: &[usize] = &[];
    let cases: Vec<(Search, &[usize])> = vec![
        (ANY, &[5, 4, 3, 2, 1, 0]),
        (Search { pipeline: text("p"), ..ANY }, &[2, 1, 0]),
        (Search { pipeline: text("P"), ..ANY }, nothing),
        (Search { step: text("train"), ..ANY }, &[4, 2, 1]),
        (Search { step: text("trai"), ..ANY }, nothing),
        (Search { user: text("eve \u{1F980}"), ..ANY }, &[5, 4, 3]),
        (Search { user: text(""), ..ANY }, nothing),
        (Search { host: text("mill"), ..ANY }, &[2, 1, 0]),
        (Search { git_commit: text("abcd"), ..ANY }, &[5, 4, 3, 2, 1, 0]),
        (Search { git_commit: text("ABCDe"), ..ANY }, &[2, 1, 0]),
        (Search { git_commit: text("abcdef0123"), ..ANY }, &[2, 1, 0]),
        (Search { git_commit: text("abcdef01234"), ..ANY }, nothing),
        (Search { git_commit: text("bcd"), ..ANY }, nothing),
        (Search { git_commit: text("abcd%"), ..ANY }, nothing),
        (Search { git_commit: text(""), ..ANY }, &[5, 4, 3, 2, 1, 0]),
        (Search { since: Some(past.times[3]), ..ANY }, &[5, 4, 3]),
        (Search { until: Some(past.times[3]), ..ANY }, &[2, 1, 0]),
        (Search { since: Some(past.times[1]), until: Some(past.times[2]), ..ANY }, &[1]),
        (Search { since: Some(past.times[1]), until: Some(past.times[1]), ..ANY }, nothing),
        (Search { since: Some(Timestamp(i64::MAX)), ..ANY }, nothing),
        (Search { until: Some(Timestamp(i64::MIN)), ..ANY }, nothing),
        (Search { input: Some(hash("raw")), ..ANY }, &[2, 1]),
        (Search { input: Some(hash("other")[..10].to_uppercase()), ..ANY }, &[4]),
        (Search { input: Some(hash("model")), ..ANY }, nothing),
        (Search { output: Some(format!("b3:{}", &hash("model")[..10])), ..ANY }, &[4, 1]),
        (Search { output: Some(hash("raw")), ..ANY }, &[0]),
        (Search { output: text("xyz"), ..ANY }, nothing),
        (Search { output: text(""), ..ANY }, nothing),
        (Search { input: text(&"0".repeat(65)), ..ANY }, nothing),
        (range("f1", "", 0.5, 0.5), &[4, 1]),
        (range("f1", "", 0.0, 1.0), &[4, 2, 1]),
        (range("f1", "", f64::NEG_INFINITY, 0.49), &[2]),
        (range("f1", "", 0.51, f64::INFINITY), nothing),
        (range("f1", "lang=de", 0.7, 0.8), &[4, 1]),
        (range("f1", "lang=fr", f64::NEG_INFINITY, f64::INFINITY), nothing),
        (range("loss", "", -3.0, -1.0), &[4, 1]),
        (range("f1", "", 1.0, 0.0), nothing),
        (range("f1", "", f64::NAN, 1.0), nothing),
        (range("f1", "", 0.0, f64::NAN), nothing),
        (Search { succeeded: Some(true), ..ANY }, &[4, 3, 1, 0]),
        (Search { succeeded: Some(false), ..ANY }, &[2]),
    ];
    for (search, expected) in cases {
        assert_eq!(found(&mut driver, &past, &search), expected, "{search:?}");
    }
    driver.sound();
}

pub(crate) fn an_attempt_fits_everything_asked_for(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let past = past(&mut driver);
    let everything = Search {
        pipeline: text("p"),
        step: text("train"),
        user: text("ada"),
        host: text("mill"),
        git_commit: text("abcdef"),
        since: Some(past.times[0]),
        until: Some(past.times[5]),
        input: Some(ContentHash::of(b"raw").to_hex()),
        output: Some(ContentHash::of(b"model").to_hex()),
        metrics: [range("f1", "", 0.4, 0.6), range("loss", "", -2.0, -2.0)].map(|mut one| one.metrics.remove(0)).into(),
        succeeded: Some(true),
        before: Some(past.attempts[2]),
        limit: 9,
    };
    assert_eq!(found(&mut driver, &past, &everything), [1]);
    let record = driver.store.search(&everything).unwrap();
    assert_eq!(record, driver.store.attempts_by_id(&past.attempts[1..2]).unwrap(), "with all that is known of it");
    for (what, but) in [
        ("pipeline", Search { pipeline: text("q"), ..everything.clone() }),
        ("step", Search { step: text("raw"), ..everything.clone() }),
        ("user", Search { user: text("eve"), ..everything.clone() }),
        ("host", Search { host: text("loft"), ..everything.clone() }),
        ("commit", Search { git_commit: text("f"), ..everything.clone() }),
        ("since", Search { since: everything.until, ..everything.clone() }),
        ("until", Search { until: everything.since, ..everything.clone() }),
        ("input", Search { input: everything.output.clone(), ..everything.clone() }),
        ("output", Search { output: everything.input.clone(), ..everything.clone() }),
        (
            "one of two metrics",
            Search {
                metrics: [everything.metrics.clone(), range("f1", "", 7.0, 8.0).metrics].concat(),
                ..everything.clone()
            },
        ),
        ("state", Search { succeeded: Some(false), ..everything.clone() }),
        ("before", Search { before: Some(past.attempts[1]), ..everything.clone() }),
        ("limit", Search { limit: 0, ..everything.clone() }),
    ] {
        assert!(found(&mut driver, &past, &but).is_empty(), "{what}");
    }
    driver.sound();
}

pub(crate) fn a_search_is_read_page_by_page(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &[]);
    let past = past(&mut driver);
    for limit in 1..4 {
        let mut search = Search { git_commit: text("abc"), limit, ..ANY };
        let mut pages = Vec::new();
        loop {
            let page = driver.store.search(&search).unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { break };
            search.before = Some(last.id);
            pages.extend(page.iter().map(|record| record.id));
        }
        pages.reverse();
        assert_eq!(pages, past.attempts);
    }
    let mut elsewhere = Driver::of(backend, &project("elsewhere"), &[]);
    assert!(elsewhere.store.search(&ANY).unwrap().is_empty());
    driver.sound();
}
