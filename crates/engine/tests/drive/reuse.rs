//! What stands for what: earlier results, outputs that are absent, content that cannot be relied on; and the places where
//! people look.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use runstone_core::store::VersionRef;

use crate::project::Project;
use crate::{Test, drive, oracle};

pub(crate) const TESTS: &[Test] = &[
    ("reuse::a_placed_output_is_restored_and_otherwise_left_alone", a_placed_output_is_restored),
    ("reuse::an_optional_output_that_is_not_written_is_absent", an_optional_output_is_absent),
    ("reuse::a_step_that_changes_its_code_taints_all_that_is_made_of_it", a_changed_step_taints),
    ("reuse::a_collected_list_holds_what_succeeded_in_the_order_of_keys", a_collected_list),
    ("reuse::cells_that_left_the_matrix_are_in_no_pinned_list", cells_that_left_the_matrix),
    ("reuse::a_result_that_turns_out_to_be_there_is_not_made_twice", runs_at_once_do_each_thing_once),
];

fn a_placed_output_is_restored() {
    let project = Project::new(
        "
pipeline: placed
steps:
  file: {run: 'echo x >> did.file; echo 1 > $OUT_FILE', out: {file: {publish: ./out/file.txt}}}
  dir: {run: 'mkdir -p $OUT_DIR/sub; echo 2 > $OUT_DIR/sub/x', out: {dir: {dir: true, publish: out/dir}}}
",
    );
    project.drive(&["run"]).ok();
    let inodes = || ["out/file.txt", "out/dir/sub/x"].map(|name| fs::metadata(project.path(name)).unwrap().ino());
    let before = inodes();
    project.drive(&["run"]).ok();
    assert_eq!(inodes(), before, "what is there is not written again");
    project.remove("out/file.txt");
    project.write("out/dir/sub/x", "edited by hand\n");
    project.write("out/dir/extra", "");
    project.drive(&["run"]).ok();
    assert_eq!((project.read("out/file.txt"), project.read("out/dir/sub/x")), ("1\n".to_owned(), "2\n".to_owned()));
    assert!(!project.path("out/dir/extra").exists());
    assert_eq!(project.lines("did.file"), 1);
}

fn an_optional_output_is_absent() {
    let project = Project::new(
        "
pipeline: absent
params: {write: 'yes'}
steps:
  maybe:
    run: 'if test -e write; then echo 1 > $OUT_EXTRA; fi; echo 1 > $OUT_MAYBE'
    cache: never
    out: {maybe: {}, extra: {optional: true, publish: ./extra.txt}}
  needs: {in: {x: maybe.extra}, run: 'cat $IN_X > $OUT_NEEDS'}
  copes: {in: {x: {from: maybe.extra, optional: true}}, run: 'echo ${IN_X:-none} > $OUT_COPES', out: {copes: {publish: ./copes.txt}}}
  below: {in: {x: needs}, run: 'cat $IN_X > $OUT_BELOW'}
",
    );
    let run = project.drive(&["run"]).ok();
    assert_eq!(run.tasks("task_skipped"), ["below", "needs"]);
    assert_eq!(project.read("copes.txt"), "none\n");
    project.write("write", "");
    assert_eq!(project.drive(&["run"]).ok().tasks("task_skipped"), [""; 0]);
    assert_eq!(project.read("extra.txt"), "1\n");
    project.remove("write");
    let run = project.drive(&["run"]).ok();
    assert!(run.text.contains("extra.txt is not of this run"), "{}", run.text);
    oracle::check(&project);
}

fn a_changed_step_taints() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new(
        "
pipeline: tainted
steps:
  self: {run: './self.sh', out: {self: {publish: ./self.txt}}}
  next: {in: {x: self}, run: 'echo x >> did.next; cat $IN_X > $OUT_NEXT', out: {next: {publish: ./next.txt}}}
",
    );
    project.write("self.sh", "#!/bin/sh\necho x >> did.self\necho '#' >> self.sh\necho 1 > $OUT_SELF\n");
    fs::set_permissions(project.path("self.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = project.drive(&["run"]).ok();
    assert!(run.text.contains("code file self.sh was changed"), "{}", run.text);
    assert!(!project.path("self.txt").exists() && !project.path("next.txt").exists());
    let (_, mut store) = drive::open(&project.path(""));
    assert!(store.resolve("tainted/next", &VersionRef::Latest).unwrap().is_empty());
    assert_eq!(store.resolve("tainted/next", &VersionRef::Number(1)).unwrap().len(), 1, "it is there all the same");
    oracle::check(&project);
}

fn a_collected_list() {
    let project = Project::new(
        "
pipeline: some
steps:
  cell:
    matrix: {n: [10, 2, 33], min_success: 2}
    run: 'test $MATRIX_N != 2; echo \"{\\\"f\\\": $MATRIX_N}\" > $METRICS; echo $MATRIX_N > $OUT_CELL'
  all: {in: {cells: cell}, run: 'cat $IN_CELLS > $OUT_ALL', out: {all: {publish: ./all.json}}}
",
    );
    project.drive(&["run"]).ok();
    let list: serde_json::Value = serde_json::from_str(&project.read("all.json")).unwrap();
    let entries: Vec<_> =
        list.as_array().unwrap().iter().map(|entry| (entry["key"].clone(), entry["metrics"]["f"].clone())).collect();
    assert_eq!(entries, [("cell{n=10}".into(), 10.0.into()), ("cell{n=33}".into(), 33.0.into())]);
    oracle::check(&project);
}

fn cells_that_left_the_matrix() {
    let pipeline = "
pipeline: shrunk
steps:
  cell: {matrix: {n: [1, 2]}, run: 'echo $MATRIX_N > $OUT_CELL'}
  all: {in: {cells: cell}, run: 'grep -c key $IN_CELLS > $OUT_ALL', out: {all: {publish: ./all.txt}}}
";
    let project = Project::new(pipeline);
    project.drive(&["run"]).ok();
    project.write("pipeline.yaml", &pipeline.replace("[1, 2]", "[1]"));
    project.drive(&["run", "--only", "all"]).ok();
    assert_eq!(project.read("all.txt").trim(), "1");
}

fn runs_at_once_do_each_thing_once() {
    let project = Project::new(
        "
pipeline: crowd
steps:
  cell: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}, run: 'echo x >> did.$MATRIX_N; echo $MATRIX_N > $OUT_CELL'}
  all: {in: {c: cell}, run: 'echo x >> did.all; grep -c key $IN_C > $OUT_ALL'}
",
    );
    drop(drive::open(&project.path("")));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| project.drive(&["run"]).ok())).collect();
        runs.into_iter().for_each(|run| drop(run.join().unwrap()));
    });
    for name in ["1", "2", "3", "4", "5", "6", "7", "8", "all"] {
        assert_eq!(project.lines(&format!("did.{name}")), 1, "{name}");
    }
    oracle::check(&project);
}
