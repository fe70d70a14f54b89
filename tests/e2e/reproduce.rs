//! Versions made again from the record, as people ask for it.

use std::process::Command;

use crate::project::Project;
use crate::running::until;

#[test]
fn every_example_is_made_again_bit_by_bit() {
    let project = Project::examples();
    for (pipeline, ends) in [
        ("quickstart", &["quickstart/report", "quickstart/label_quality"][..]),
        ("speech", &["speech/report"]),
        ("corrections", &["corrections/summary", "corrections/blacklist_review"]),
    ] {
        project.run(&[&format!("pipelines/{pipeline}")]);
        std::fs::remove_dir_all(project.path(&format!("pipelines/{pipeline}"))).unwrap();
        for end in ends {
            is_made_again(&project, end);
        }
    }
}

/// Everything behind a version comes out identical.
pub(crate) fn is_made_again(project: &Project, version: &str) {
    let all = project.json(&["reproduce", version, "--deep"]);
    assert_eq!(all["verdict"], "identical", "{all:#}");
    let attempts = all["attempts"].as_array().unwrap();
    assert!(attempts.iter().all(|attempt| attempt["verdict"] == "identical"), "{all:#}");
    assert!(attempts.len() > 1, "{all:#}");
}

#[test]
fn what_came_out_otherwise_is_told_and_is_a_failure() {
    let project = Project::new(
        r#"
pipeline: p
steps:
  fixed: {run: 'echo 1 > $OUT_FIXED'}
  chance: {in: {x: fixed}, run: 'cp $IN_X $OUT_CHANCE/a; od -An -N9 -tx1 /dev/urandom > $OUT_CHANCE/b', out: {chance: {dir: true}}}
  gone: {in: {x: fixed}, run: 'sh ./gone.sh'}
"#,
    );
    project.write("gone.sh", "cat $IN_X > $OUT_GONE\n");
    project.run(&[]);
    project.runstone(&["reproduce", "fixed"]).ok().prints(&["identical fixed in run #1", "fixed  b3:"]);
    let differs = project.runstone(&["reproduce", "p/chance", "--deep"]).code(1);
    let differs = differs.prints(&[
        "identical fixed in run #1",
        "differs chance in run #1",
        "b first differs at byte ",
        "p/chance@v1: 2 attempts, 1 identical, 1 differs",
    ]);
    differs.says(&["p/chance@v1 was not reproduced", "`--keep` leaves what was made"]);
    let json = project.runstone(&["reproduce", "p/chance", "--json"]).code(1).json();
    let output = &json["attempts"][0]["outputs"][0];
    assert_eq!((&json["version"], &output["difference"]["path"]), (&"p/chance@v1".into(), &"b".into()), "{json:#}");
    assert_eq!(output["difference"]["kind"], "content");
    std::fs::remove_file(project.object("cat $IN_X > $OUT_GONE\n")).unwrap();
    let gone = project.runstone(&["reproduce", "p/gone"]).code(1);
    let gone = gone.prints(&["impossible gone in run #1", "code file gone.sh (b3:"]);
    assert!(!gone.err.contains("--deep"), "{gone:?}");
    std::fs::remove_file(project.object("1\n")).unwrap();
    let gone = project.runstone(&["reproduce", "p/chance"]).code(1);
    gone.prints(&["input `x`: p/fixed@v1 (b3:"]).says(&["`--deep` makes inputs again"]);
    project.runstone(&["reproduce", "p/nothing"]).code(4);
}

#[test]
fn verdicts_stay_on_record() {
    let project = Project::new(
        "pipeline: p\nsteps:\n  a: {run: 'echo 1 > $OUT_A'}\n  b: {in: {a: a}, run: 'cat $IN_A > $OUT_B; date +%N >> $OUT_B'}\n",
    );
    project.run(&[]);
    project.runstone(&["reproduce", "p/b", "--past"]).ok().says(&["nobody made p/b@v1 again so far"]);
    project.runstone(&["reproduce", "p/b", "--deep"]).code(1);
    project.runstone(&["reproduce", "p/a"]).ok();
    let past = project.runstone(&["reproduce", "p/b", "--past"]).ok();
    past.prints(&["differs b in run #1", " by ", "b  differs: b3:"]);
    let verdicts = |name: &str| -> Vec<String> {
        let past = project.json(&["reproduce", name, "--past", "--deep"]);
        let one =
            |it: &serde_json::Value| format!("{} {}", it["task"].as_str().unwrap(), it["verdict"].as_str().unwrap());
        past.as_array().unwrap().iter().map(one).collect()
    };
    assert_eq!(verdicts("p/b"), ["a identical", "b differs", "a identical"], "newest first");
    assert_eq!(verdicts("p/a"), ["a identical", "a identical"]);
}

/// Whether environments can be made without a network.
fn has_venv() -> bool {
    let output = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_python_environment_comes_from_the_kept_lock() {
    if !has_venv() {
        eprintln!("not tested: an environment needs venv and ensurepip");
        return;
    }
    let project = Project::new(
        "
pipeline: p
steps:
  say: {python: {requirements: ./requirements.txt}, run: 'python ./say.py'}
",
    );
    project.write("say.py", "import os, said\nopen(os.environ['OUT_SAY'], 'w').write(said.WORD)\n");
    project.write("requirements.txt", "--no-index\n--find-links ./wheels\nsaid==1.0\n");
    let wheel = "import os, zipfile\nos.makedirs('wheels')\n\
                 z = zipfile.ZipFile('wheels/said-1.0-py3-none-any.whl', 'w')\n\
                 z.writestr('said.py', 'WORD = \"one\"')\n\
                 i = 'said-1.0.dist-info/'\n\
                 z.writestr(i + 'METADATA', 'Metadata-Version: 2.1\\nName: said\\nVersion: 1.0\\n')\n\
                 z.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
                 z.writestr(i + 'RECORD', '')\n";
    let made = Command::new("python3").args(["-c", wheel]).current_dir(project.path("")).status().unwrap();
    assert!(made.success());
    project.run(&[]);
    let identical = || project.runstone(&["reproduce", "p/say"]).ok().prints(&["identical say"]);
    project.write("requirements.txt", "something-else-entirely==9\n");
    identical();
    for folder in ["envs", "locks"] {
        std::fs::remove_dir_all(project.path(".runstone").join(folder)).unwrap();
    }
    identical();
    std::fs::remove_dir_all(project.path(".runstone/envs")).unwrap();
    std::fs::remove_dir_all(project.path("wheels")).unwrap();
    project.runstone(&["reproduce", "p/say"]).code(1).prints(&["impossible say"]);
}

const WAITING: &str = r#"
pipeline: p
steps:
  wait: {grace: 1h, run: 'echo 1 > $OUT_WAIT; case $PWD in */scratch/*) trap "echo ended > $HOME/trapped; exit 0" TERM; touch $HOME/started; while :; do sleep 0.02 || :; done;; esac'}
"#;

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let project = Project::new(WAITING);
    project.run(&[]);
    let running = project.start(&["reproduce", "p/wait"]);
    until("the step starts", || project.exists("../home/started"));
    running.interrupt();
    running.wait().code(130);
    assert_eq!(project.read("../home/trapped"), "ended\n", "the step had its chance");
    assert_eq!(std::fs::read_dir(project.path(".runstone/scratch")).unwrap().count(), 0);
    assert_eq!(project.show("latest")["number"], 1, "nothing was recorded");
}

#[test]
fn what_is_kept_is_removed_by_its_age() {
    let project = Project::new("pipeline: p\nsteps:\n  one: {run: 'echo out; echo 1 > $OUT_ONE'}\n");
    project.run(&[]);
    let kept = project.runstone(&["reproduce", "p/one", "--keep"]).ok();
    let folder = kept.err.lines().find_map(|line| line.strip_prefix("outputs and logs are in ")).unwrap().to_owned();
    assert_eq!(std::fs::read_to_string(std::path::Path::new(&folder).join("stdout")).unwrap(), "out\n");
    assert!(!project.runstone(&["gc"]).ok().out.contains("scratch"), "it is too young");
    project.runstone(&["gc", "--spare", "0s", "--dry-run"]).ok().prints(&["would remove 1 scratch folder"]);
    assert!(std::path::Path::new(&folder).exists());
    assert_eq!(project.json(&["gc", "--spare", "0s"])["scratch"], 1);
    assert_eq!(std::fs::read_dir(project.path(".runstone/scratch")).unwrap().count(), 0);
}
