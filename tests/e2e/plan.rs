//! What would be done, and why.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::project::Project;

const PIPELINE: &str = "
pipeline: plans
params: {n: 1, mode: fast}
steps:
  raw: {kind: ingest, from: ./raw.txt}
  first: {in: {r: raw}, params: [n], run: 'sh ./first.sh', code: ./first.sh}
  second: {in: {f: first}, params: [], run: 'cat $IN_F > $OUT_SECOND'}
  slow: {when: \"params.mode == 'full'\", run: 'echo 1 > $OUT_SLOW'}
";

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("raw.txt", "1\n");
    project.write("first.sh", "echo \"$PARAM_N $(cat $IN_R)\" > $OUT_FIRST\n");
    project
}

fn decisions(project: &Project, args: &[&str]) -> BTreeMap<String, String> {
    let plan = project.json(&[&["plan"], args].concat());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    plan["tasks"].as_array().unwrap().iter().map(|task| (text(&task["task"]), text(&task["decision"]))).collect()
}

fn told(project: &Project, args: &[&str]) -> String {
    project.runstone(&[&["plan"], args].concat()).ok().out
}

#[track_caller]
fn assert_decides(project: &Project, args: &[&str], expected: [&str; 4]) {
    let decisions = decisions(project, args);
    let found = ["raw", "first", "second", "slow"].map(|task| decisions[task].as_str());
    assert_eq!(found, expected, "{}", told(project, args));
}

#[test]
fn each_task_has_a_decision_and_a_reason() {
    let project = project();
    assert_decides(&project, &[], ["run", "wait", "wait", "skip"]);
    assert!(told(&project, &[]).contains("never ran"));
    project.run(&[]);
    assert_decides(&project, &[], ["reuse", "reuse", "reuse", "skip"]);

    assert_decides(&project, &["-p", "n=2"], ["reuse", "run", "wait", "skip"]);
    let text = told(&project, &["-p", "n=2"]);
    assert!(text.contains('n') && text.contains("1 → 2"), "{text}");

    project.write("first.sh", "echo \"$PARAM_N, $(cat $IN_R)\" > $OUT_FIRST\n");
    assert_decides(&project, &[], ["reuse", "run", "wait", "skip"]);
    let text = told(&project, &[]);
    assert!(text.contains("first.sh") && text.contains("code"), "{text}");
    project.run(&[]);

    project.write("raw.txt", "2\n");
    assert_decides(&project, &[], ["run", "wait", "wait", "skip"]);
    project.run(&[]);

    std::fs::remove_file(project.object("1, 2\n")).unwrap();
    let lost = decisions(&project, &[]);
    assert_eq!((lost["raw"].as_str(), lost["first"].as_str()), ("reuse", "run"), "{lost:?}");
    assert!(told(&project, &[]).contains("lost"));
    project.run(&[]);

    assert_decides(&project, &["--force", "second"], ["reuse", "reuse", "run", "skip"]);
    assert!(told(&project, &["--force", "second"]).contains("asked for"));
    project.edit("pipeline.yaml", "cat $IN_F >", "cat < $IN_F >");
    let text = told(&project, &[]);
    assert!(text.contains("command"), "{text}");
}

#[test]
fn a_plan_leaves_the_record_as_it_is_and_executes_nothing() {
    let project = project();
    project.run(&[]);
    project.write("raw.txt", "2\n");
    told(&project, &[]);
    assert_eq!(project.json(&["runs"]).as_array().unwrap().len(), 1);
    assert_eq!(project.json(&["datasets", "plans/raw"]).as_array().unwrap().len(), 1);
}

#[test]
fn why_says_afterwards_what_the_plan_says_before() {
    let project = project();
    project.run(&[]);
    project.run(&["-p", "n=2"]);
    let why = project.json(&["why", "first"]);
    let difference = &why[0]["differences"][0];
    assert_eq!(
        (&difference["name"], &difference["old"], &difference["new"]),
        (&"n".into(), &"1".into(), &"2".into()),
        "{why:#}"
    );
    let skipped = project.runstone(&["why", "slow"]).ok().out;
    assert!(skipped.contains("when"), "{skipped}");
}

/// Runs a command and returns its peak memory, bytes.
fn peak_memory(project: &Project, args: &[&str]) -> (String, u64) {
    let program = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); \
                   open('peak', 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)";
    let inner = project.command(args);
    let mut command = std::process::Command::new("python3");
    command.args(["-c", program]).arg(inner.get_program()).args(inner.get_args()).current_dir(project.path(""));
    let out = project.start_command(command).wait().ok().out;
    (out, project.read("peak").parse::<u64>().unwrap() << 10)
}

#[test]
fn a_hundred_thousand_cells_fit_into_little_memory() {
    let axis = |size: u32| (0..size).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let project = Project::new(&format!(
        "pipeline: wide\nsteps:\n  cell: {{matrix: {{a: [{}], b: [{}], c: [{}]}}, run: 'echo 1 > $OUT_CELL'}}\n  all: {{in: {{c: cell}}, \
         run: 'echo 1 > $OUT_ALL'}}\n",
        axis(100),
        axis(100),
        axis(10)
    ));
    let (out, peak) = peak_memory(&project, &["plan"]);
    assert!(out.contains("100001 tasks") || out.contains("100,001 tasks"), "{out}");
    assert!(peak < 500 << 20, "{} MiB", peak >> 20);
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    const STEPS: usize = 20_000;
    let mut text = "pipeline: chain\nsteps:\n  s0: {run: 'echo 1 > $OUT_S0'}\n".to_owned();
    for step in 1..STEPS {
        text += &format!("  s{step}: {{in: {{b: s{}}}, run: 'echo 1 > $OUT_S{step}'}}\n", step - 1);
    }
    let project = Project::new(&text);
    let mut command = std::process::Command::new("sh");
    let inner = project.command(&["plan"]);
    command.args(["-c", "ulimit -s 512; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(project.path(""));
    let out = project.start_command(command).wait().ok().out;
    assert!(out.contains(&format!("{STEPS} tasks")) || out.contains("20,000 tasks"), "{out}");
}
