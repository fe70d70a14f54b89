//! What a step sees of the world around runstone.

use std::collections::BTreeMap;

use crate::project::Project;

const SHOW: &str = "
pipeline: show
steps:
  show: {env: {MINE: 'a=b c', PATHLESS: ''}, run: 'env > $OUT_SHOW'}
";

fn variables(project: &Project) -> BTreeMap<String, String> {
    let text = project.content("show/show");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn only_allowed_and_named_variables_reach_a_step() {
    let project = Project::new(SHOW).with("AWS_SECRET_ACCESS_KEY", "x").with("LD_PRELOAD", "").with("GPUS", "0,1");
    let project = project.with("RUNSTONE_JOBS", "1").with("LANG", "C.UTF-8");
    project.run(&[]);
    let seen = variables(&project);
    for name in ["PATH", "HOME", "TZ", "LANG", "TMPDIR", "RUN_ID", "ATTEMPT", "METRICS", "METADATA", "RUNSTONE_CONTEXT"]
    {
        assert!(seen.contains_key(name), "{name} is missing in {seen:?}");
    }
    for name in ["AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "GPUS", "RUNSTONE_JOBS", "COLUMNS"] {
        assert!(!seen.contains_key(name), "{name} got through: {seen:?}");
    }
    assert_eq!((seen["MINE"].as_str(), seen["PATHLESS"].as_str()), ("a=b c", ""));
    project.write("runstone.yaml", "env_allow: [GPUS]\n");
    project.run(&["--no-reuse"]);
    assert_eq!(variables(&project)["GPUS"], "0,1");
}

#[test]
fn a_step_works_in_the_folder_of_its_pipeline() {
    let project = Project::empty();
    project.write("deep/er/pipeline.yaml", "pipeline: here\nsteps:\n  here: {run: 'pwd > $OUT_HERE'}\n");
    project.run(&["deep/er"]);
    let here = project.content("here/here");
    assert_eq!(here.trim_end(), project.path("deep/er").canonicalize().unwrap().to_str().unwrap());
    assert!(project.exists(".runstone"), "the project is the folder from which it was first run");
}

#[test]
fn an_attempt_has_no_input_and_no_terminal() {
    let project = Project::new("pipeline: alone\nsteps:\n  alone: {run: 'cat > $OUT_ALONE; test ! -t 0'}\n");
    project.run(&[]);
    assert_eq!(project.content("alone/alone"), "");
}

#[test]
fn a_pool_and_resources_bound_what_runs_at_once() {
    // Each task notes its beginning and its end; the notes are whole lines, so they do not mix.
    let project = Project::new(
        r#"
pipeline: bounds
pools: {licence: 1}
steps:
  pooled: {pool: licence, matrix: {n: [1, 2, 3, 4]}, run: 'echo + >> pooled; sleep 0.05; echo - >> pooled; echo 1 > $OUT_POOLED'}
  heavy: {resources: {cpu: 2}, matrix: {n: [1, 2, 3]}, run: 'echo + >> heavy; sleep 0.05; echo - >> heavy; echo 1 > $OUT_HEAVY'}
  wide: {matrix: {n: [1, 2, 3, 4, 5], max_parallel: 2}, run: 'echo + >> wide; sleep 0.05; echo - >> wide; echo 1 > $OUT_WIDE'}
"#,
    );
    project.run(&["--jobs", "4", "--no-reuse"]);
    let most = |file: &str| {
        let text = project.read(file);
        let mut running = 0_i32;
        let levels = text.lines().map(|line| {
            running += if line == "+" { 1 } else { -1 };
            running
        });
        levels.max().unwrap()
    };
    assert_eq!(most("pooled"), 1);
    assert!(most("heavy") <= 2, "four cores hold two of them");
    assert!(most("wide") <= 2);
}

#[test]
fn what_asks_for_more_than_the_machine_has_runs_alone() {
    let project = Project::new(
        "
pipeline: huge
steps:
  huge: {resources: {mem: 900T, cpu: 512}, run: 'mkdir alone; ls -d other 2>/dev/null && exit 1; rmdir alone; echo 1 > $OUT_HUGE'}
  small: {matrix: {n: [1, 2, 3]}, run: 'mkdir other; test ! -e alone; rmdir other; echo 1 > $OUT_SMALL', max_parallel: 1}
",
    );
    assert_eq!(project.run(&["--jobs", "4"]).executed().len(), 4);
}

#[test]
fn independent_steps_run_at_the_same_time() {
    let project = Project::new(
        "
pipeline: meet
steps:
  one: {run: 'touch one; ./wait.sh two; echo 1 > $OUT_ONE'}
  two: {run: 'touch two; ./wait.sh one; echo 1 > $OUT_TWO'}
",
    );
    project.run(&["--jobs", "2"]);
}

#[test]
fn logs_are_kept_apart_and_bounded_with_head_and_tail() {
    let project = Project::new(
        r#"
pipeline: logs
steps:
  little: {run: 'echo out; echo err >&2; echo 1 > $OUT_LITTLE'}
  much: {run: 'echo first; head -c 3000000 /dev/zero | tr "\0" x; echo; echo last; echo 1 > $OUT_MUCH'}
"#,
    );
    project.write("runstone.yaml", "log_limit: {head: 64Ki, tail: 64Ki}\n");
    project.run(&[]);
    assert_eq!(project.runstone(&["logs", "little", "--stdout"]).ok().out, "out\n");
    assert_eq!(project.runstone(&["logs", "little", "--stderr"]).ok().out, "err\n");
    let much = project.runstone(&["logs", "much", "--stdout"]).ok().out;
    assert!(much.starts_with("first\n") && much.ends_with("last\n"), "{} bytes", much.len());
    assert!(much.len() < 1_000_000, "{} bytes", much.len());
    assert_eq!(project.task("much")["attempt"]["stdout_bytes"], 3_000_012);
    use std::os::unix::fs::MetadataExt;
    let on_disk: u64 = project.files(".runstone/runs").iter().map(|file| file.metadata().unwrap().blocks() * 512).sum();
    assert!(on_disk < 1_000_000, "{on_disk} bytes on disk");
}
