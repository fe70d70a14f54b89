//! What a plan says is what a run then does.

use runstone_engine::{Asked, Decision, Home, Prepared, Site, Why, plan, prepare};

use crate::project::Project;
use crate::{Test, drive};

pub(crate) const TESTS: &[Test] = &[
    ("plan::everything_runs_where_nothing_ever_ran", everything_runs_where_nothing_ever_ran),
    ("plan::each_reason_is_told_and_what_hangs_on_it_waits", each_reason_is_told),
    ("plan::conditions_and_absent_files_decide_as_they_do_in_a_run", conditions_decide),
];

const PIPELINE: &str = "
pipeline: planned
params: {word: one}
steps:
  top: {params: [word], run: 'echo $PARAM_WORD > $OUT_TOP'}
  low: {in: {x: top}, params: [], matrix: {n: [1, 2]}, run: 'cat $IN_X > $OUT_LOW'}
  end: {in: {x: low}, params: [], run: 'cat $IN_X > $OUT_END'}
  always: {cache: never, params: [], run: 'echo 1 > $OUT_ALWAYS'}
";

fn prepared(project: &Project, force: &[&str]) -> (Prepared, Site) {
    let folder = project.path("");
    let (opened, _) = drive::open(&folder);
    let mut asked = Asked { pipeline: project.path("pipeline.yaml"), ..Asked::default() };
    asked.request.force = force.iter().map(|task| task.parse().unwrap()).collect();
    let prepared = prepare(&asked, &Home::of(&opened)).unwrap();
    let site = drive::site(opened, &prepared.folder);
    (prepared, site)
}

fn planned(project: &Project, force: &[&str]) -> Vec<(String, Decision)> {
    let (prepared, site) = prepared(project, force);
    let (_, mut store) = drive::open(&project.path(""));
    let plan = plan(&site, &prepared, store.as_mut()).unwrap();
    plan.tasks.into_iter().map(|task| (task.task, task.decision)).collect()
}

fn decision<'p>(plan: &'p [(String, Decision)], task: &str) -> &'p Decision {
    let found = plan.iter().find(|(name, _)| name == task);
    &found.unwrap_or_else(|| panic!("{task} is not in {plan:?}")).1
}

fn waits(inputs: &[&str]) -> Decision {
    Decision::Wait { inputs: inputs.iter().map(|&input| input.to_owned()).collect() }
}

fn everything_runs_where_nothing_ever_ran() {
    let project = Project::new(PIPELINE);
    let plan = planned(&project, &[]);
    assert_eq!(decision(&plan, "top"), &Decision::Run { why: Why::NeverRan });
    assert_eq!(decision(&plan, "low{n=1}"), &waits(&["top"]));
    assert_eq!(decision(&plan, "end"), &waits(&["low"]));
    assert_eq!(decision(&plan, "always"), &Decision::Run { why: Why::NeverCached });
}

fn each_reason_is_told() {
    let project = Project::new(PIPELINE);
    project.drive(&["run"]).ok();
    let plan = planned(&project, &[]);
    for task in ["top", "low{n=1}", "low{n=2}", "end"] {
        assert_eq!(decision(&plan, task), &Decision::Reuse { run: 1 }, "{task}");
    }
    let plan = planned(&project, &["low{n=2}"]);
    assert_eq!(decision(&plan, "low{n=1}"), &Decision::Reuse { run: 1 });
    assert_eq!(decision(&plan, "low{n=2}"), &Decision::Run { why: Why::Forced });
    assert_eq!(decision(&plan, "end"), &waits(&["low"]));

    let (_, mut store) = drive::open(&project.path(""));
    let (_, site) = prepared(&project, &[]);
    let top = store.materializations("planned/top", 1).unwrap().pop().unwrap();
    std::fs::remove_file(site.objects.path(top.hash)).unwrap();
    assert_eq!(decision(&planned(&project, &[]), "top"), &Decision::Run { why: Why::OutputLost { run: 1 } });
    project.drive(&["run"]).ok();

    project.write("pipeline.yaml", &PIPELINE.replace("word: one", "word: two"));
    let plan = planned(&project, &[]);
    let Decision::Run { why: Why::Changed { changes, .. } } = decision(&plan, "top") else { panic!("{plan:?}") };
    let paths: Vec<String> = changes.iter().map(|change| change.path.to_string()).collect();
    assert!(paths.len() == 1 && paths[0].contains("word"), "{paths:?}");
}

fn conditions_decide() {
    let project = Project::new(
        "
pipeline: conditional
params: {go: false}
steps:
  raw: {kind: ingest, from: './data/*.txt', when: 'params.go'}
  fed: {in: {x: raw}, run: 'cat $IN_X > $OUT_FED'}
  cell: {matrix: {n: [1, 2, 3]}, when: 'matrix.n != 2', run: 'echo $MATRIX_N > $OUT_CELL'}
  none: {kind: ingest, from: './none/*.txt'}
  without: {in: {x: none}, run: 'cat $IN_X > $OUT_WITHOUT'}
  copes: {in: {x: {from: ./missing.txt, optional: true}}, run: 'echo ${IN_X:-none} > $OUT_COPES'}
  strict: {run: 'echo ''{\"f1\": 0.5}'' > $METRICS; echo 1 > $OUT_STRICT', require: ['f1 > 0.1']}
",
    );
    let skipped = |plan: &[(String, Decision)], task: &str| matches!(decision(plan, task), Decision::Skip { .. });
    let plan = planned(&project, &[]);
    let driven = project.drive(&["run"]).with_code(1);
    let skips: Vec<String> = plan.iter().map(|(task, _)| task.clone()).filter(|task| skipped(&plan, task)).collect();
    let mut sorted = skips.clone();
    sorted.sort();
    assert_eq!(sorted, driven.tasks("task_skipped"), "{plan:?}");
    assert_eq!(sorted, ["./missing.txt", "cell{n=2}", "fed", "raw", "without"]);
    assert!(matches!(decision(&plan, "none"), Decision::Fail { .. }));
    assert!(driven.tasks("task_started").contains(&"copes".to_owned()));

    let pipeline = project.read("pipeline.yaml");
    project.write("pipeline.yaml", &pipeline.replace("f1 > 0.1", "f1 > 0.9"));
    let plan = planned(&project, &[]);
    let Decision::Fail { reason } = decision(&plan, "strict") else { panic!("{plan:?}") };
    assert!(reason.contains("f1") && reason.contains("run #1"), "{reason}");
    let driven = project.drive(&["run"]).with_code(1);
    assert_eq!(driven.tasks("task_started"), [""; 0], "the condition is over what is known already");
}
