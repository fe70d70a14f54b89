//! Why something was made: down to what nothing else explains.

use runstone_core::scalar::Scalar;
use runstone_lineage::difference::What;
use runstone_lineage::why::{Explanation, Verdict, explain};

use crate::record::{Content, Done, Record, file, ingest, program};

const CHAIN: [(&str, &str); 3] = [("raw", ""), ("clean", ""), ("report", "")];

fn why(record: &mut Record, done: &Done) -> Explanation {
    explain(&mut *record.store, Some(&record.objects), done.attempt).unwrap()
}

fn summaries(explanation: &Explanation) -> Vec<(String, String)> {
    let pair = |it: &runstone_lineage::why::FirstCause| (it.path.join(" > "), it.summary.clone());
    explanation.first_causes.iter().map(pair).collect()
}

/// raw → clean → report, of these bytes and this code.
fn chain(record: &mut Record, raw: &str, code: &str, clean: &str, report: &str) -> [Done; 3] {
    let run = record.run("shop", &CHAIN);
    let raw = record.work(run, &ingest("shop/raw", file(raw)));
    let deed = program("shop/clean", code, clean).task(1).reads(record, "rows", raw.only());
    let clean = record.work(run, &deed);
    let deed = program("shop/report", "report", report).task(2).reads(record, "table", clean.only());
    let report = record.work(run, &deed);
    [raw, clean, report]
}

#[test]
fn an_explanation_goes_on_to_the_source_that_changed() {
    let mut record = Record::new();
    let first = chain(&mut record, "1", "code", "a", "x");
    let second = chain(&mut record, "2", "code", "b", "y");
    let told = why(&mut record, &second[2]);
    let tasks: Vec<&str> = told.steps.iter().map(|step| step.task.as_str()).collect();
    assert_eq!(tasks, ["report", "clean", "raw"]);
    assert!(told.steps.iter().all(|step| step.verdict == Verdict::Changed), "{told:#?}");
    assert_eq!(told.steps[0].before.as_ref().unwrap().attempt_node, first[2].attempt.0);
    let versions = told.steps[0].causes[0].versions.as_ref().unwrap();
    assert_eq!((versions.old.as_deref(), versions.new.as_deref()), (Some("shop/clean@v1"), Some("shop/clean@v2")));
    assert_eq!(told.steps[0].causes[0].explained_by, Some(1));
    assert_eq!(summaries(&told), [("#2 report > #2 clean > #2 raw".into(), "source changed: content".into())]);
    assert!(!told.partial);
}

#[test]
fn a_code_file_and_a_parameter_are_first_causes_side_by_side() {
    let mut record = Record::new();
    for (code, n) in [("one", 1), ("two", 2)] {
        let run = record.run("shop", &[("clean", "")]);
        record.work(run, &program("shop/clean", code, code).param("n", Scalar::Int(n)));
    }
    let latest = record.version("shop/clean").attempt;
    let told = explain(&mut *record.store, None, latest).unwrap();
    let causes: Vec<(What, &str)> =
        told.steps[0].causes.iter().map(|it| (it.difference.what, it.difference.name.as_str())).collect();
    assert_eq!(causes, [(What::Code, "work.sh"), (What::Parameter, "n")]);
    let param = &told.steps[0].causes[1].difference;
    assert_eq!((param.old.as_deref(), param.new.as_deref()), (Some("1"), Some("2")));
    let path = "#2 clean".to_owned();
    assert_eq!(
        summaries(&told),
        [(path.clone(), "code file changed: work.sh".into()), (path, "parameter changed: n".into())]
    );
}

#[test]
fn packages_are_named_where_the_locks_are_there() {
    let mut record = Record::new();
    for lock in ["numpy==1.26.4 \\\n    --hash=sha256:ab\nsix==1.16.0\n", "numpy==2.0.0 \\\n    --hash=sha256:cd\n"] {
        let lock = record.keep(lock);
        let run = record.run("shop", &[("clean", "")]);
        record.work(run, &program("shop/clean", "same", &lock.to_string()).python(lock));
    }
    let latest = record.version("shop/clean").attempt;
    let told = explain(&mut *record.store, Some(&record.objects), latest).unwrap();
    let packages: Vec<(&str, Option<&str>, Option<&str>)> = told.steps[0].causes[0]
        .packages
        .iter()
        .map(|it| (it.name.as_str(), it.old.as_deref(), it.new.as_deref()))
        .collect();
    assert_eq!(packages, [("numpy", Some("1.26.4"), Some("2.0.0")), ("six", Some("1.16.0"), None)]);
    let blind = explain(&mut *record.store, None, latest).unwrap();
    assert!(blind.steps[0].causes[0].packages.is_empty(), "without the bytes the hashes remain");
    assert_eq!(blind.first_causes.len(), 1);
}

#[test]
fn the_files_of_a_folder_that_changed_are_named() {
    let mut record = Record::new();
    let mut last = None;
    for files in [vec![("a.csv", "1"), ("sub/b.csv", "2")], vec![("a.csv", "1"), ("sub/b.csv", "3"), ("c.csv", "4")]] {
        let run = record.run("shop", &[("raw", ""), ("clean", "")]);
        let text = format!("{files:?}");
        let raw = record.work(run, &ingest("shop/raw", Content::Folder(files)));
        let deed = program("shop/clean", "code", &text).task(1).reads(&mut record, "all", raw.only());
        last = Some(record.work(run, &deed));
    }
    let told = why(&mut record, &last.unwrap());
    let names = |step: usize| told.steps[step].causes[0].files.iter().map(|it| it.path.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0), ["c.csv", "sub/b.csv"], "of what was read");
    assert_eq!(names(1), ["c.csv", "sub/b.csv"], "of the source itself");
}

#[test]
fn what_was_never_done_before_has_itself_as_its_cause() {
    let mut record = Record::new();
    let [.., report] = chain(&mut record, "1", "code", "a", "x");
    let told = why(&mut record, &report);
    assert_eq!((told.steps.len(), told.steps[0].verdict), (1, Verdict::First));
    assert_eq!(summaries(&told), [("#1 report".into(), "it was done for the first time".into())]);
}

#[test]
fn a_step_that_gives_other_bytes_for_the_same_question_is_the_cause() {
    let mut record = Record::new();
    chain(&mut record, "1", "code", "a", "x");
    let [.., report] = chain(&mut record, "1", "code", "b", "y");
    let told = why(&mut record, &report);
    assert_eq!(told.steps[1].verdict, Verdict::Repeated);
    let cause = "the same was asked, and another result came of it";
    assert_eq!(summaries(&told), [("#2 report > #2 clean".into(), cause.into())]);
}

#[test]
fn a_failure_before_explains_that_it_was_done_again() {
    let mut record = Record::new();
    let run = record.run("shop", &[("clean", "")]);
    record.work(run, &program("shop/clean", "code", "a").fails());
    let run = record.run("shop", &[("clean", "")]);
    let again = record.work(run, &program("shop/clean", "code", "a"));
    let told = why(&mut record, &again);
    let before = told.steps[0].before.as_ref().unwrap();
    assert_eq!((told.steps[0].verdict, before.reusable), (Verdict::Again, false));
    assert_eq!(summaries(&told)[0].1, "what stood before left no result to reuse");
}

#[test]
fn a_result_that_was_taken_over_says_so() {
    let mut record = Record::new();
    let [raw, clean, _] = chain(&mut record, "1", "code", "a", "x");
    let run = record.run("shop", &CHAIN);
    let deed = program("shop/clean", "code", "a").task(1).reads(&mut record, "rows", raw.only());
    let reused = record.reuse(run, clean.attempt, &deed);
    let told = why(&mut record, &reused);
    assert_eq!((told.steps[0].verdict, told.steps[0].causes.len()), (Verdict::Reused, 0));
}

/// A diamond: two ways lead to the same cause, which is told once.
#[test]
fn each_step_is_explained_once_however_many_ways_lead_to_it() {
    let mut record = Record::new();
    let mut last = None;
    for raw in ["1", "2"] {
        let run = record.run("shop", &[("raw", ""), ("left", ""), ("right", ""), ("join", "")]);
        let source = record.work(run, &ingest("shop/raw", file(raw)));
        let side = |record: &mut Record, dataset: &str, task| {
            let deed = program(dataset, "code", &format!("{dataset} {raw}")).task(task);
            let deed = deed.reads(record, "rows", source.only());
            record.work(run, &deed).only()
        };
        let (left, right) = (side(&mut record, "shop/left", 1), side(&mut record, "shop/right", 2));
        let join = program("shop/join", "join", raw).task(3);
        let join = join.reads(&mut record, "left", left).reads(&mut record, "right", right);
        last = Some(record.work(run, &join));
    }
    let told = why(&mut record, &last.unwrap());
    assert_eq!(told.steps.len(), 4, "{:#?}", told.steps);
    assert_eq!(told.first_causes.len(), 1, "{:#?}", told.first_causes);
    let explained: Vec<Option<usize>> =
        told.steps.iter().flat_map(|step| &step.causes).map(|cause| cause.explained_by).collect();
    assert_eq!(explained, [Some(1), Some(2), Some(3), Some(3), None]);
}

/// What stood before is what stood for the same partition: another day is no news about this one.
#[test]
fn a_partition_is_compared_with_itself() {
    let mut record = Record::new();
    let day = |record: &mut Record, key: &str, subset: &'static str, rows: &str| {
        let run = record.run_of("shop", Some(key), &[("raw", ""), ("clean", "")]);
        let raw = record.work(run, &ingest("shop/raw", file(rows)).partition(key, subset));
        let deed = program("shop/clean", "code", &format!("clean {rows}")).task(1).partition(key, subset);
        let deed = deed.reads(record, "rows", raw.only());
        record.work(run, &deed)
    };
    let (monday, tuesday) = ("2026-11-02", "2026-11-03");
    let first = day(&mut record, monday, "partition=2026-11-02", "1");
    day(&mut record, tuesday, "partition=2026-11-03", "2");
    let corrected = day(&mut record, monday, "partition=2026-11-02", "3");
    let told = why(&mut record, &corrected);
    assert_eq!(told.steps[0].before.as_ref().unwrap().attempt_node, first.attempt.0, "{told:#?}");
    assert_eq!(summaries(&told), [("#3 clean > #3 raw".into(), "source changed: content".into())]);
    let third = day(&mut record, "2026-11-04", "partition=2026-11-04", "4");
    let told = why(&mut record, &third);
    assert!(told.steps[0].before.is_some(), "a new one is compared with the newest of the others");
}
