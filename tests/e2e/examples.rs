//! The examples do what their own pages say.

use std::collections::BTreeSet;
use std::time::Duration;

use runstone_core::hash::ContentHash;
use serde_json::Value;

use crate::project::Project;
use crate::reproduce::is_made_again;

fn approximately(left: f64, right: f64) {
    assert!((left - right).abs() < 0.0005, "{left} is not {right}");
}

/// The bytes of a file of the project, as the record names them.
fn hash(project: &Project, file: &str) -> String {
    ContentHash::of(&std::fs::read(project.path(file)).unwrap()).to_string()
}

fn find<'v>(list: &'v Value, key: &str, value: &str) -> &'v Value {
    let mut found = list.as_array().unwrap().iter().filter(|entry| entry[key] == value);
    found.next().unwrap_or_else(|| panic!("nothing with {key} = {value} in {list:#}"))
}

/// A run that has nothing to do leaves nothing but itself.
fn assert_nothing_is_left(project: &Project, args: &[&str], tasks: usize) {
    let before = (project.json(&["datasets"]), project.files(".runstone/objects"));
    let again = project.run(args);
    assert_eq!((again.executed().len(), again.reused().len()), (0, tasks));
    assert_eq!((project.json(&["datasets"]), project.files(".runstone/objects")), before);
}

#[test]
fn the_quickstart_finds_the_species_and_says_where_it_comes_from() {
    let project = Project::examples();
    the_quickstart_is_right_and_traced(&project);

    let trained = project.run(&["pipelines/quickstart", "-p", "neighbours=15"]);
    let models = ["majority", "naive_bayes", "nearest", "softmax"].map(|name| format!("model{{classifier={name}}}"));
    assert_eq!(trained.executed()[..4], models, "the model's parameter makes all its cells run again");
    let models = project.json(&["datasets", "quickstart/model"]);
    let versions: BTreeSet<i64> =
        models.as_array().unwrap().iter().map(|model| model["version"].as_i64().unwrap()).collect();
    assert_eq!(versions.len(), 5, "three of four come out the same, and are no new versions");
    let refused = project.run_with_code(&["pipelines/quickstart", "-p", "min_accuracy=0.99"], 1);
    assert_eq!(refused.failed(), ["scores"]);
    assert_eq!(project.task("scores")["attempt"]["cause"], "require");
}

pub(crate) fn the_quickstart_is_right_and_traced(project: &Project) {
    let run = project.run(&["pipelines/quickstart"]);
    assert_eq!(run.executed().len(), 15);
    assert!((project.metric("clean", "rows") - 342.0).abs() < 0.1);
    assert!((project.metric("split", "train_rows") - 247.0).abs() < 0.1);
    assert!((project.metric("split", "test_rows") - 95.0).abs() < 0.1);
    approximately(project.metric("gold", "fleiss_kappa"), 0.8316);
    approximately(project.metric("label_quality", "label_accuracy"), 0.9755);
    approximately(project.metric("scores", "accuracy"), 0.9684);
    approximately(project.metric("scores", "baseline_accuracy"), 0.3263);
    let report = project.read("pipelines/quickstart/out/report.md");
    for part in ["`model{classifier=nearest}` **chosen**", "| island: Dream | 30 | 90.0 % |"] {
        assert!(report.contains(part), "{report}");
    }
    assert_eq!(report, project.content("quickstart/report"));
    assert_nothing_is_left(project, &["pipelines/quickstart"], 15);
    assert_the_model_is_traced(project);
    is_made_again(project, "quickstart/report");
}

/// The lineage of the chosen model names the exact raw data, code, parameters and platform.
fn assert_the_model_is_traced(project: &Project) {
    let lineage = project.json(&["lineage", "quickstart/model{classifier=nearest}"]);
    let raw = find(&lineage["versions"], "dataset", "quickstart/raw");
    assert_eq!(raw["hash"], hash(project, "pipelines/quickstart/data/penguins-raw.csv"));
    assert_eq!((&raw["version"], &raw["producer"]["run_number"]), (&1.into(), &1.into()));
    let training = &find(&lineage["attempts"], "task", "model{classifier=nearest}")["asked"];
    assert_eq!(training["command"], "python3 ./model/train.py");
    let code = hash(project, "pipelines/quickstart/model/train.py");
    let named = training["code"].as_object().unwrap().iter().find(|(path, _)| path.ends_with("model/train.py"));
    assert_eq!(named.unwrap().1, code.as_str());
    assert_eq!(training["params"], serde_json::json!({"neighbours": 5, "epochs": 80}));
    assert_eq!(training["cell"], serde_json::json!({"classifier": "nearest"}));
    assert!(training["platform"].as_str().unwrap().starts_with(std::env::consts::OS), "{training:#}");
    let tree = project.runstone(&["lineage", "quickstart/report", "--up"]).ok().out;
    assert!(tree.contains(&raw["hash"].as_str().unwrap()[..15]), "{tree}");
}

#[test]
fn the_speech_table_says_what_to_work_on() {
    let project = Project::examples();
    let run = project.run(&["pipelines/speech"]);
    assert_eq!(run.executed(), ["gaps", "human_level", "model_level", "report", "utterances"]);
    let expected =
        [("clear", 1.0, 0.6), ("car_noise", 4.0, 0.16), ("people_noise", 2.0, 0.6), ("low_bandwidth", 0.0, 0.0)];
    for (slice, gap, opportunity) in expected {
        approximately(project.metric("gaps", &format!("gap_{slice}")), gap);
        approximately(project.metric("gaps", &format!("opportunity_{slice}")), opportunity);
    }
    let first_row = |project: &Project| {
        let report = project.read("pipelines/speech/out/report.md");
        report.lines().skip_while(|line| !line.starts_with("| ---")).nth(1).unwrap().to_owned()
    };
    assert_eq!(first_row(&project), "| car noise | 89 | 93 | 4 | 4 | 0.16 |");
    assert_nothing_is_left(&project, &["pipelines/speech"], 5);
    let sorted = project.run(&["pipelines/speech", "-p", "sort_by=opportunity"]);
    assert_eq!(sorted.executed(), ["report"]);
    assert_eq!(first_row(&project), "| clear | 94 | 95 | 1 | 60 | 0.60 |");
}

#[test]
fn a_corrected_entry_reaches_what_depends_on_it_and_nothing_else() {
    corrections_reach_what_depends_on_them(&Project::examples());
}

pub(crate) fn corrections_reach_what_depends_on_them(project: &Project) {
    let folder = "pipelines/corrections";
    assert_eq!(project.run(&[folder]).executed().len(), 12);
    assert_eq!(customers(project), (20.0, 2.0));
    assert!(project.read("pipelines/corrections/out/summary.md").contains("customers: 20"));

    let blocked = project.read("pipelines/corrections/data/blacklist_vendor.csv");
    let entry = blocked.lines().find(|line| line.starts_with("198.51.100.7,")).unwrap().to_owned();
    project.edit("pipelines/corrections/data/blacklist_vendor.csv", &format!("{entry}\n"), "");
    let run = project.run(&[folder]);
    let affected = ["blacklist", "blacklist_review", "customers", "features", "summary", "unique", "vendor_blocks"];
    assert_eq!(run.executed(), affected);
    assert_eq!(run.reused(), ["own_blocks", "partner", "partner_clean", "web", "web_clean"]);
    assert_eq!(customers(project), (24.0, 6.0));
    for (version, run) in [(1, 1), (2, 2)] {
        let down = project.json(&["lineage", &format!("corrections/vendor_blocks@v{version}"), "--down"]);
        let reached: Vec<&str> =
            down["attempts"].as_array().unwrap().iter().map(|attempt| attempt["task"].as_str().unwrap()).collect();
        assert!(affected[..6].iter().all(|task| reached.contains(task)), "{reached:?}");
        assert!(down["attempts"].as_array().unwrap().iter().all(|attempt| attempt["run_number"] == run), "{down:#}");
    }
    let why = project.json(&["why", "features"]);
    assert_eq!(why[0]["differences"][0]["name"], "customers", "{why:#}");
    let old = project.content("corrections/features@v1");
    assert_ne!(old, project.content("corrections/features"));
    assert_eq!(old.lines().count(), 21);

    project.edit("pipelines/corrections/data/partner.csv", "exmaple", "example");
    let run = project.run(&[folder]);
    assert_eq!(run.executed(), ["customers", "features", "partner", "partner_clean", "summary", "unique"]);
    assert_eq!(customers(project).0, 23.0);

    project.edit("pipelines/corrections/data/web.csv", "Franca  Rossi", "Franca Rossi");
    let run = project.run(&[folder]);
    assert_eq!(run.executed(), ["web", "web_clean"], "there the correction ends");
    assert_eq!(customers(project).0, 23.0);
    assert_eq!(project.runstone(&["verify"]).code, 0);
}

fn customers(project: &Project) -> (f64, f64) {
    (project.metric("summary", "customers"), project.metric("summary", "academic"))
}

/// Whether a package could be had, so that the test below means something.
fn can_install() -> bool {
    let program = "import ensurepip, venv, urllib.request as r; r.urlopen('https://pypi.org/simple/six/', timeout=20)";
    std::process::Command::new("python3").args(["-c", program]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_environment_of_the_scikit_learn_example_is_made_once_and_part_of_the_record() {
    if !can_install() {
        eprintln!("not tested: the scikit-learn example needs venv, pip and PyPI");
        return;
    }
    // How packages are reached differs from machine to machine and is said in variables.
    let project = std::env::vars()
        .filter(|(name, _)| !name.starts_with("RUNSTONE"))
        .fold(Project::examples(), |project, (name, value)| project.with(&name, &value));
    let run = project.start(&["run", "--json", "pipelines/sklearn"]).patiently(Duration::from_mins(10)).wait().ok();
    assert_eq!(run.executed().len(), 11);
    assert!(run.events().iter().any(|event| event["event"] == "environment_building"), "{run:?}");
    approximately(project.metric("report", "accuracy"), 0.8586);
    approximately(project.metric("report", "baseline_accuracy"), 0.5051);
    let report = project.read("pipelines/sklearn/out/report.md");
    assert!(report.contains("model{capacity=10,estimator=logistic}"), "{report}");
    let lineage = project.json(&["lineage", "sklearn/model{capacity=10,estimator=logistic}"]);
    let training = &find(&lineage["attempts"], "task", "model{capacity=10,estimator=logistic}")["asked"];
    assert!(training["python"].is_object(), "{training:#}");
    assert_nothing_is_left(&project, &["pipelines/sklearn"], 11);
    let again = project.start(&["reproduce", "sklearn/report", "--deep"]).patiently(Duration::from_mins(10));
    again.wait().ok().prints(&["11 attempts, 11 identical"]);

    let plan = || project.json(&["plan", "pipelines/sklearn"]);
    assert_eq!(find(&plan()["tasks"], "task", "model{capacity=0,estimator=dummy}")["decision"], "reuse");
    project.edit("pipelines/sklearn/requirements.txt", "joblib==1.6.0", "joblib==1.5.0");
    assert_eq!(find(&plan()["tasks"], "task", "model{capacity=0,estimator=dummy}")["decision"], "run");
}
