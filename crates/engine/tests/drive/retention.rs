//! Cleaning up beside runs that count on what would go, held up or killed at every moment: no step ever misses an input, no
//! bytes are missing that the record calls stored, and what is needed again is made again.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use runstone_core::record::{MaterializationRecord, RunState};
use runstone_core::retention::Facts;
use runstone_core::store::{RunFilter, RunRef, VersionRef};
use runstone_exec::objects::Presence;
use serde_json::Value;

use crate::Test;
use crate::drive::{self, open};
use crate::oracle;
use crate::project::{Driven, Project};

/// A source, a folder and a file made of it, each in a few versions.
const PIPELINE: &str = r#"
pipeline: keep
steps:
  raw: {kind: ingest, from: ./raw.txt}
  table:
    in: {raw: raw}
    run: |
      echo x >> did.table
      mkdir $OUT_TABLE/deep
      sed 's/^/row /' $IN_RAW > $OUT_TABLE/one; sed 's/^/deep /' $IN_RAW > $OUT_TABLE/deep/two; echo same > $OUT_TABLE/same
    out: {table: {dir: true}}
  model:
    in: {table: table, by: ./by.txt}
    run: |
      echo x >> did.model
      cat $IN_TABLE/one $IN_TABLE/deep/two $IN_BY > $OUT_MODEL
"#;

/// Everything goes that may.
const LAX: &str = "
retention:
  logs: {older_than: never}
  objects: [{match: 'keep/*', keep_versions: 0, younger_than: 0s, cheaper_than: any, keep_inputs_of: []}]
";

const RUN_MOMENTS: [&str; 10] = [
    "after_run_created",
    "before_commit",
    "after_commit",
    "after_intent",
    "after_spawn",
    "after_outcome",
    "after_survey",
    "after_move",
    "after_collect",
    "before_end",
];
const GC_MOMENTS: [&str; 3] = ["gc_after_mark", "gc_after_roots", "gc_after_rest"];

/// Two versions of everything: the first may go, and the next run needs it.
fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("runstone.yaml", LAX);
    project.write("by.txt", "by\n");
    for raw in ["first\n", "second\n"] {
        project.write("raw.txt", raw);
        project.drive(&["run"]).ok();
    }
    project.write("raw.txt", "first\n");
    project
}

fn latest(project: &Project, dataset: &str) -> MaterializationRecord {
    let (_, mut store) = open(&project.path(""));
    store.resolve(dataset, &VersionRef::Latest).unwrap().remove(0)
}

/// What the record says is so, and nothing is left on disk that nothing names.
fn sound(project: &Project, moment: &str) {
    sound_with(project, moment, "by\n");
}

fn sound_with(project: &Project, moment: &str, by: &str) {
    let (opened, mut store) = open(&project.path(""));
    let site = drive::site(opened, &project.path(""));
    assert_eq!(store.check().unwrap(), [""; 0], "{moment}");
    for run in store.runs(&RunFilter::default()).unwrap() {
        assert_eq!(run.state, RunState::Succeeded, "{moment}: run #{}", run.number);
    }
    for object in store.objects().unwrap().into_iter().filter(|object| !object.evicted) {
        let kind = match object.kind {
            runstone_core::record::ContentKind::File => runstone_exec::objects::ObjectKind::File,
            runstone_core::record::ContentKind::Dir => runstone_exec::objects::ObjectKind::Tree,
        };
        let found = site.objects.check(object.hash, kind, object.size, runstone_exec::objects::Depth::Deep).unwrap();
        assert_eq!(found, Presence::Present, "{moment}: {object:?}");
    }
    let model = latest(project, "keep/model");
    assert_eq!(
        std::fs::read_to_string(site.objects.path(model.hash)).unwrap(),
        format!("row first\ndeep first\n{by}"),
        "{moment}"
    );
}

fn report(driven: Driven) -> Value {
    driven.ok().events.remove(0)
}

/// Calls with each time that a moment comes, until it comes no more.
fn each_time(moments: &[&str], around: impl Fn(&str) -> bool) {
    for moment in moments {
        let times = (1..).take_while(|count| around(&format!("{moment}:{count}"))).count();
        assert!(times > 0, "{moment} never comes");
    }
}

/// A run is held up, a clean-up does all it can, and the run goes on.
fn cleaned_up_during(moments: &[&str], by: &str) {
    each_time(moments, |moment| {
        let project = project();
        project.write("by.txt", by);
        let (came, run) = project.drive_around(moment, &["run"], || drop(project.drive(&["gc"]).ok()));
        run.ok();
        sound_with(&project, moment, by);
        came
    });
}

/// All of it is on record, so that looking it up is all there is to do.
fn cleaned_up_while_results_are_looked_up() {
    cleaned_up_during(&["after_run_created", "before_commit", "after_commit", "before_end"], "by\n");
}

/// The folder is on record, and a step that was never asked for reads it.
fn cleaned_up_while_a_step_reads() {
    cleaned_up_during(&RUN_MOMENTS, "other\n");
}

/// A clean-up is held up, a run does all it can, and the clean-up goes on.
fn ran_during_a_clean_up() {
    each_time(&GC_MOMENTS, |moment| {
        let project = project();
        let (came, gc) = project.drive_around(moment, &["gc"], || drop(project.drive(&["run"]).ok()));
        gc.ok();
        if came {
            sound(&project, moment);
            // All that was reused or made then is still there.
            let again = project.drive(&["run"]).ok();
            assert_eq!(again.tasks("task_started"), [""; 0], "{moment}");
        }
        came
    });
}

fn killed_while_cleaning_up() {
    each_time(&GC_MOMENTS, |moment| {
        let project = project();
        let killed = project.drive_until(moment, &["gc"]).was_killed();
        if killed {
            project.drive(&["gc"]).ok();
            let files = objects(&project);
            assert_eq!(report(project.drive(&["gc"]))["freed_bytes"], 0, "{moment}: the second one left nothing");
            assert_eq!(objects(&project), files, "{moment}");
            project.drive(&["run"]).ok();
            sound(&project, moment);
        }
        killed
    });
    each_time(&GC_MOMENTS, |moment| {
        let project = project();
        let killed = project.drive_until(moment, &["gc"]).was_killed();
        if killed {
            // Whatever is left over is used as it is, or made again.
            project.drive(&["run"]).ok();
            sound(&project, moment);
            project.drive(&["gc"]).ok();
            sound(&project, moment);
        }
        killed
    });
}

fn what_was_given_up_is_made_again_where_it_is_needed() {
    let project = project();
    let before = latest(&project, "keep/table");
    let gone = report(project.drive(&["gc"]));
    let evicted: Vec<&str> =
        gone["evicted"].as_array().unwrap().iter().map(|it| it["dataset"].as_str().unwrap()).collect();
    assert_eq!(evicted, ["keep/model", "keep/table"]);
    let (_, mut store) = open(&project.path(""));
    let first = store.resolve("keep/table", &VersionRef::Number(1)).unwrap().remove(0);
    assert!(store.evicted(&[first.hash]).unwrap().contains(&first.hash));
    assert_eq!(latest(&project, "keep/table"), before, "what is latest stays");
    // Another consumer of it: both run.
    project.write("by.txt", "other\n");
    let run = project.drive(&["run"]).ok();
    assert_eq!(run.tasks("task_started"), ["model", "table"]);
    assert!(store.evicted(&[first.hash]).unwrap().is_empty(), "it is there again");
    assert_eq!(latest(&project, "keep/table").hash, first.hash);

    // An intermediate alone: what was made of it stands.
    let again = self::project();
    again.write("runstone.yaml", &LAX.replace("keep/*", "keep/table"));
    assert_eq!(report(again.drive(&["gc"]))["evicted"].as_array().unwrap().len(), 1);
    let run = again.drive(&["run"]).ok();
    assert_eq!((run.tasks("task_started"), run.tasks("task_reused")), (vec!["table".to_owned()], reused()));
    sound(&again, "an intermediate");
    oracle::check(&again);
}

fn reused() -> Vec<String> {
    ["by.txt", "model", "raw"]
        .map(|name| if name == "by.txt" { "./by.txt".to_owned() } else { name.to_owned() })
        .to_vec()
}

/// Files of the content store and of checkouts: path, size, inode.
fn objects(project: &Project) -> BTreeMap<PathBuf, (u64, u64)> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, (u64, u64)>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let stat = entry.path().symlink_metadata().unwrap();
            if stat.is_dir() {
                walk(&entry.path(), found);
            } else if entry.file_name() != "owner.lock" {
                // Who asks whether somebody works in a scratch place leaves a name in it.
                found.insert(entry.path(), (stat.len(), stat.ino()));
            }
        }
    }
    let mut found = BTreeMap::new();
    ["objects", "trees", "scratch"].iter().for_each(|name| walk(&project.path(".runstone").join(name), &mut found));
    found
}

/// Bytes of files, each inode counted once.
fn bytes(files: &BTreeMap<PathBuf, (u64, u64)>) -> u64 {
    files.values().map(|(size, inode)| (*inode, *size)).collect::<BTreeMap<u64, u64>>().values().sum()
}

fn facts(project: &Project) -> (Facts, usize) {
    let (opened, mut store) = open(&project.path(""));
    let marker = drive::site(opened, &project.path("")).objects.marker();
    let runs = store.runs(&RunFilter::default()).unwrap();
    let events = runs.iter().map(|run| store.events(run.id, 0).unwrap().len()).sum();
    (store.retention_facts(marker).unwrap(), events)
}

fn a_dry_run_foretells_all_and_changes_nothing() {
    let project = project();
    project.write("runstone.yaml", &format!("{LAX}  events: {{older_than: 0s}}\n"));
    std::fs::create_dir_all(project.path(".runstone/scratch/0190cf3e-7a2e-7c57-8a2e-2b6f0c1d9e01")).unwrap();
    let mut batch = runstone_exec::objects::Batch::default();
    let (opened, _) = open(&project.path(""));
    let site = drive::site(opened, &project.path(""));
    site.objects.put_bytes(b"nobody names it", &mut batch).unwrap();
    site.objects.sync(batch).unwrap();
    let (record, files) = (facts(&project), objects(&project));
    // The names of those who asked are not of the same length.
    let without_names = |mut report: Value| {
        let of_scratch = report["scratch"]["bytes"].take().as_u64().unwrap();
        report["freed_bytes"] = (report["freed_bytes"].as_u64().unwrap() - of_scratch).into();
        report
    };
    let mut foretold = without_names(report(project.drive(&["gc", "--dry-run"])));
    assert_eq!((facts(&project), objects(&project)), (record.clone(), files.clone()));
    let done = without_names(report(project.drive(&["gc"])));
    assert_eq!(foretold["dry_run"], true);
    foretold["dry_run"] = false.into();
    assert_eq!(done, foretold);
    let after = objects(&project);
    assert_eq!(done["freed_bytes"].as_u64().unwrap(), bytes(&files) - bytes(&after));
    assert!(bytes(&files) > bytes(&after));
    assert_eq!((done["unneeded"]["count"].as_u64(), done["scratch"]["count"].as_u64()), (Some(1), Some(1)));
    assert_eq!(done["events"].as_u64(), Some(record.1 as u64));
    assert_eq!(facts(&project).1, 0);
    project.drive(&["run"]).ok();
    sound(&project, "afterwards");
}

fn without_rules_no_version_goes() {
    let project = project();
    project.remove("runstone.yaml");
    let files = objects(&project).into_keys().filter(|path| !path.starts_with(project.path(".runstone/trees")));
    let files: BTreeSet<PathBuf> = files.collect();
    let done = report(project.drive(&["gc"]));
    assert_eq!((&done["evicted"], &done["rules"]), (&Value::Array(Vec::new()), &Value::Array(Vec::new())));
    let after: BTreeSet<PathBuf> = objects(&project).into_keys().collect();
    assert!(files.is_subset(&after), "{:?}", files.difference(&after));
    oracle::check(&project);
}

fn two_never_clean_up_at_a_time() {
    let project = project();
    let (came, first) = project.drive_around("gc_after_mark", &["gc"], || {
        let second = project.drive(&["gc"]).with_code(2);
        assert!(second.text.contains("Busy"), "{}", second.text);
        report(project.drive(&["gc", "--dry-run"]));
    });
    assert!(came);
    assert_eq!(report(first)["evicted"].as_array().unwrap().len(), 2);
    assert_eq!(report(project.drive(&["gc"]))["freed_bytes"], 0);
}

/// A failed run whose results were given up is not gone on with: a new one makes them again.
fn a_run_without_its_results_is_not_resumed() {
    let project = project();
    project.write("pipeline.yaml", &PIPELINE.replace("echo x >> did.model", "test -e go"));
    project.drive(&["run"]).with_code(1);
    let back = |raw: &str| {
        project.write("pipeline.yaml", PIPELINE);
        project.write("raw.txt", raw);
        project.drive(&["run"]).ok();
    };
    // What the failed run goes on from is there, and then it is not.
    back("second\n");
    let before = facts(&project);
    project.drive(&["gc"]).ok();
    let refused = project.drive(&["resume", "3"]).with_code(2);
    assert!(refused.text.contains("GivenUp") && refused.text.contains("keep/table"), "{}", refused.text);
    let (_, mut store) = open(&project.path(""));
    assert_eq!(store.run(&RunRef::Number(3)).unwrap().unwrap().state, RunState::Failed);
    assert_eq!(facts(&project).0.publications, before.0.publications);
    back("first\n");
    sound_but_one_failed(&project);
}

fn sound_but_one_failed(project: &Project) {
    let (_, mut store) = open(&project.path(""));
    assert_eq!(store.check().unwrap(), [""; 0]);
    assert_eq!(store.run(&RunRef::Latest).unwrap().unwrap().state, RunState::Succeeded);
}

/// Runs that want the versions in turns, beside clean-ups that give all of them up whenever they can.
fn runs_and_clean_ups_take_turns() {
    let project = project();
    let projects = [&project];
    std::thread::scope(|scope| {
        let run =
            |project: &Project| (0..8).map(|_| project.drive(&["run"]).ok().tasks("task_started").len()).sum::<usize>();
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(move || run(projects[0]))).collect();
        let writes = scope.spawn(move || {
            for turn in 0..12 {
                // In one move, so that nobody reads half of it.
                projects[0].write("next", if turn % 2 == 0 { "second\n" } else { "first\n" });
                std::fs::rename(projects[0].path("next"), projects[0].path("raw.txt")).unwrap();
                projects[0].drive(&["gc"]).ok();
            }
        });
        runs.into_iter().for_each(|run| _ = run.join().unwrap());
        writes.join().unwrap();
    });
    project.write("raw.txt", "first\n");
    project.drive(&["run"]).ok();
    sound(&project, "in the end");
}

pub(crate) const TESTS: &[Test] = &[
    ("retention::cleaned_up_while_results_are_looked_up", cleaned_up_while_results_are_looked_up),
    ("retention::cleaned_up_while_a_step_reads", cleaned_up_while_a_step_reads),
    ("retention::ran_during_a_clean_up", ran_during_a_clean_up),
    ("retention::killed_while_cleaning_up", killed_while_cleaning_up),
    (
        "retention::what_was_given_up_is_made_again_where_it_is_needed",
        what_was_given_up_is_made_again_where_it_is_needed,
    ),
    ("retention::a_dry_run_foretells_all_and_changes_nothing", a_dry_run_foretells_all_and_changes_nothing),
    ("retention::without_rules_no_version_goes", without_rules_no_version_goes),
    ("retention::two_never_clean_up_at_a_time", two_never_clean_up_at_a_time),
    ("retention::a_run_without_its_results_is_not_resumed", a_run_without_its_results_is_not_resumed),
    ("retention::runs_and_clean_ups_take_turns", runs_and_clean_ups_take_turns),
];
