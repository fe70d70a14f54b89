//! A part of a pipeline.

use crate::project::Project;

const DIAMOND: &str = r#"
pipeline: diamond
steps:
  top: {run: 'echo x >> top.count; echo 1 > $OUT_TOP'}
  left: {in: {t: top}, run: 'echo x >> left.count; echo 2 > $OUT_LEFT'}
  right: {in: {t: top}, matrix: {lr: [0.1, 0.01], seed: [1, 2]}, run: 'echo x >> right.count; echo $MATRIX_LR $MATRIX_SEED > $OUT_RIGHT'}
  bottom: {in: {l: left, r: right}, run: 'echo x >> bottom.count; echo 3 > $OUT_BOTTOM'}
  other: {run: 'echo x >> other.count; echo 4 > $OUT_OTHER'}
"#;

const RIGHT: [&str; 4] =
    ["right{lr=0.01,seed=1}", "right{lr=0.01,seed=2}", "right{lr=0.1,seed=1}", "right{lr=0.1,seed=2}"];

fn diamond() -> Project {
    Project::new(DIAMOND)
}

#[test]
fn a_named_step_runs_with_all_it_needs_and_nothing_else() {
    let project = diamond();
    assert_eq!(project.run(&["pipeline.yaml", "left"]).executed(), ["left", "top"]);
    assert_eq!(project.run(&["pipeline.yaml", "bottom"]).executed(), [&["bottom"], &RIGHT[..]].concat());
    assert_eq!(project.run(&[]).executed(), ["other"]);
}

#[test]
fn steps_can_be_named_without_the_file() {
    let project = diamond();
    assert_eq!(project.run(&["left", "other"]).executed(), ["left", "other", "top"]);
}

#[test]
fn only_takes_what_others_published_last() {
    let project = diamond();
    let refused = project.runstone(&["run", "--only", "left"]);
    assert_ne!(refused.code, 0, "nobody has published top: {refused:?}");
    assert!(refused.err.contains("top"), "{refused:?}");
    project.run(&["top"]);
    assert_eq!(project.run(&["--only", "left"]).executed(), ["left"]);
    assert_eq!((project.lines("top.count"), project.lines("left.count")), (1, 1));
    assert_eq!(project.run(&["--only", "left", "--force", "left"]).executed(), ["left"]);
}

#[test]
fn from_runs_a_step_and_what_depends_on_it() {
    let project = diamond();
    project.run(&[]);
    let run = project.run(&["--from", "left", "--no-reuse"]);
    assert_eq!(run.executed(), ["bottom", "left"]);
    assert_eq!(run.reused(), [""; 0], "the others are not part of the run");
}

#[test]
fn downstream_adds_all_that_is_needed() {
    let project = diamond();
    let run = project.run(&["--downstream", "left"]);
    assert_eq!(run.executed(), [&["bottom", "left"], &RIGHT[..], &["top"]].concat());
    assert_eq!(project.lines("other.count"), 0);
}

#[test]
fn cells_are_named_by_some_or_all_of_their_values() {
    let project = diamond();
    assert_eq!(project.run(&["right{lr=0.1,seed=2}"]).executed(), ["right{lr=0.1,seed=2}", "top"]);
    let run = project.run(&["right{lr=0.1}"]);
    assert_eq!((run.executed(), run.reused()), (vec![RIGHT[2].to_owned()], vec![RIGHT[3].into(), "top".into()]));
    let forced = project.run(&["--only", "right{seed=1}", "--force", "right{lr=0.1}"]);
    assert_eq!(forced.executed(), [RIGHT[0], RIGHT[2]]);
    project.runstone(&["run", "right{lr=7}"]).code(2).says(&["right"]);
}

#[test]
fn a_single_failed_task_can_be_run_again() {
    let project = Project::new(
        "
pipeline: cells
steps:
  cell: {matrix: {n: [1, 2, 3]}, run: 'echo $MATRIX_N >> count; test $MATRIX_N != 2 -o -e fixed; echo $MATRIX_N > $OUT_CELL'}
  all: {in: {cells: cell}, run: 'cp $IN_CELLS $OUT_ALL'}
",
    );
    let failed = project.run_with_code(&[], 1);
    assert_eq!((failed.failed(), failed.executed().len()), (vec!["cell{n=2}".to_owned()], 2));
    project.write("fixed", "");
    assert_eq!(project.run(&["--only", "cell{n=2}"]).executed(), ["cell{n=2}"]);
    assert_eq!(project.lines("count"), 4);
    let rest = project.run(&[]);
    assert_eq!(rest.executed(), ["all"]);
}

#[test]
fn what_does_not_exist_is_said_with_a_suggestion() {
    let project = diamond();
    project.runstone(&["run", "pipeline.yaml", "lefd"]).code(2).says(&["lefd", "left"]);
    project.runstone(&["run", "nowhere.yaml"]).code(4).says(&["nowhere.yaml"]);
    project.runstone(&["run", "--force", "nobody"]).code(2).says(&["nobody"]);
}
