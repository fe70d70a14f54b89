//! A run of every kind of step, killed at every named moment, each time it comes, and then taken up: by `resume`, and by a
//! new run. Whatever was finished is not done again, and everything is done once.

use std::collections::BTreeSet;

use crate::Test;
use crate::oracle;
use crate::project::Project;

/// An ingest, a file by path, a chain, a folder, a matrix, a `foreach` and a join; an output that is placed and one that is
/// not written. Every step says in a file when it begins and when it is done.
const PIPELINE: &str = r#"
pipeline: sweep
steps:
  raw: {kind: ingest, from: "./data/*.txt", out: {raw: {dir: true}}}
  names:
    in: {rules: ./rules.txt}
    run: |
      echo begun >> did.names
      cat $IN_RULES > $OUT_NAMES
      echo done >> did.names
  split:
    in: {names: names}
    run: |
      echo begun >> did.split
      mkdir -p $OUT_SPLIT/deep
      echo one > $OUT_SPLIT/1; echo one > $OUT_SPLIT/same; echo two > $OUT_SPLIT/deep/2
      echo log > $OUT_LOG
      echo '{"parts": 3}' > $METRICS
      echo done >> did.split
    out: {split: {dir: true}, log: {}, none: {optional: true}}
    require: ["parts == 3"]
  each:
    foreach: {item: raw}
    in: {file: item}
    run: |
      echo begun >> did.each.$ITEM_ITEM
      tr a-z A-Z < $IN_FILE > $OUT_EACH
      echo done >> did.each.$ITEM_ITEM
  cell:
    in: {split: split.split}
    matrix: {n: [1, 2]}
    run: |
      echo begun >> did.cell.$MATRIX_N
      cat $(find $IN_SPLIT/ -name $MATRIX_N) > $OUT_CELL
      echo done >> did.cell.$MATRIX_N
  all:
    in: {cells: cell, each: each, none: {from: split.none, optional: true}}
    run: |
      echo begun >> did.all
      sed -n 's/.*"path": "\(.*\)".*/\1/p' $IN_CELLS $IN_EACH | while read -r file; do cat "$file"; done > $OUT_ALL
      echo done >> did.all
    out: {all: {publish: ./out/all.txt}}
"#;

const ALL: &str = "one\ntwo\nALPHA\nBETA\n";

const STEPS: [&str; 7] = ["names", "split", "each.a.txt", "each.b.txt", "cell.1", "cell.2", "all"];

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("data/a.txt", "alpha\n");
    project.write("data/b.txt", "beta\n");
    project.write("rules.txt", "1\n2\n");
    project
}

/// Kills a driver at a moment the first, second, … time it comes, until it comes no more.
fn sweep(failpoint: &str, go_on: impl Fn(&Project, &str)) {
    let mut seen = BTreeSet::new();
    for count in 1.. {
        let project = project();
        let moment = format!("{failpoint}:{count}");
        let driven = project.drive_until(&moment, &["run"]);
        if !driven.was_killed() {
            driven.ok();
            break;
        }
        seen.insert(count);
        go_on(&project, &moment);
        assert_eq!(project.read("out/all.txt"), ALL, "{moment}");
        for step in STEPS {
            let did = project.read(&format!("did.{step}"));
            assert_eq!(did, "begun\ndone\n", "{step} was done once although killed at {moment}");
        }
        oracle::check(&project);
    }
    assert!(!seen.is_empty(), "{failpoint} never comes");
}

fn resumed(failpoint: &str) {
    sweep(failpoint, |project, _| drop(project.drive(&["resume"]).ok_or_over()));
}

/// A new run adopts what it needs of the dead one, which can still be resumed afterwards.
fn run_anew(failpoint: &str) {
    sweep(failpoint, |project, moment| {
        project.drive(&["run"]).ok();
        let late = project.drive(&["resume", "1"]).ok_or_over();
        assert_eq!(late.tasks("task_started"), [""; 0], "{moment}: the new run did it all");
    });
}

/// The one who takes over is killed as well, at the same kind of moment.
fn resumed_twice(failpoint: &str) {
    sweep(failpoint, |project, _| {
        for _ in 0..2 {
            project.drive_until(failpoint, &["resume"]);
        }
        // Where the second one got through, there is nothing left to do.
        project.drive(&["resume"]).ok_or_over();
    });
}

macro_rules! sweeps {
    ($($moment:literal)*) => {
        pub(crate) const TESTS: &[Test] = &[
            $(
                (concat!("sweep::resumed_after_a_kill_at_", $moment), || resumed($moment)),
                (concat!("sweep::run_anew_after_a_kill_at_", $moment), || run_anew($moment)),
                (concat!("sweep::resumed_twice_after_kills_at_", $moment), || resumed_twice($moment)),
            )*
        ];
    };
}

sweeps! {
    "after_intent" "after_spawn" "after_outcome" "after_survey" "after_note" "after_move" "after_collect" "before_commit"
    "after_commit" "before_end" "after_run_created"
}
