//! What a failed step has written is never taken for its result (snakemake #3808: outputs of a failed job were not marked
//! incomplete, and the next run used them).

use crate::project::Project;
use crate::{Test, oracle};

pub(crate) const TESTS: &[Test] =
    &[("snakemake_3808::what_a_failed_step_has_written_is_no_result", what_a_failed_step_has_written)];

fn what_a_failed_step_has_written() {
    let project = Project::new(
        r#"
pipeline: half
steps:
  make:
    run: 'echo x >> did.make; test ! -e $OUT_MAKE || echo x >> saw.old; echo half > $OUT_MAKE; test -e mended || exit 1; echo whole > $OUT_MAKE'
    out: {make: {publish: ./made.txt}}
  read: {in: {x: make}, run: 'echo x >> did.read; cat $IN_X > $OUT_READ', out: {read: {publish: ./read.txt}}}
"#,
    );
    let first = project.drive(&["run"]).with_code(1);
    assert_eq!(first.tasks("task_skipped"), ["read"]);
    // Neither a new run nor one that goes on takes up what is lying about.
    project.drive(&["run"]).with_code(1);
    project.drive(&["resume"]).with_code(1);
    assert_eq!((project.lines("did.make"), project.lines("did.read")), (3, 0));
    assert!(!project.path("made.txt").exists(), "half an output is not shown to anybody");
    oracle::check(&project);
    project.write("mended", "");
    project.drive(&["run"]).ok();
    assert_eq!(project.lines("saw.old"), 0, "every attempt begins in a folder of its own");
    assert_eq!((project.read("made.txt"), project.read("read.txt")), ("whole\n".to_owned(), "whole\n".to_owned()));
    project.drive(&["run"]).ok();
    assert_eq!((project.lines("did.make"), project.lines("did.read")), (4, 1), "what was whole is taken up");
    oracle::check(&project);
}
