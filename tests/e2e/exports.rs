//! Exports are read, and their signatures verified, by tools that others wrote. These come from the Python package index,
//! into a virtual environment that stays beside what is built; where no registry can be reached, the tests say that they
//! were skipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::project::Project;
use crate::running::Ran;
use crate::shop::{grown, key_of};

const VERIFIERS: [&str; 3] = ["in-toto-attestation==0.9.3", "securesystemslib[crypto]==1.6.0", "prov==3.2.3"];
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/verifiers.py");

/// A Python that has the verifiers; none where they cannot be had here.
#[expect(clippy::print_stderr, reason = "whoever reads the result must see what it does not cover")]
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(install) {
        Ok(python) => Some(python),
        Err(why) => {
            eprintln!("skipped: the verifiers of others cannot be installed here: {why}");
            None
        }
    }
}

/// Made under another name first, so that it is there as a whole or not at all.
fn install() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = folder.join(format!("verifiers-{}", VERIFIERS.map(|it| it.rsplit('=').next().unwrap()).join("-")));
    let python = made.join("bin/python");
    if python.exists() {
        return Ok(python);
    }
    let draft = folder.join(format!("verifiers.{}", std::process::id()));
    let run = |program: &Path, args: &[&str]| -> Result<(), String> {
        let output = Command::new(program).args(args).arg(&draft).output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    run(Path::new("python3"), &["-m", "venv"]).map_err(|error| format!("python3 -m venv: {error}"))?;
    let mut pip = Command::new(draft.join("bin/python"));
    let output = pip.args(["-m", "pip", "install", "--quiet", "--retries", "1"]).args(VERIFIERS).output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        std::fs::remove_dir_all(&draft).unwrap();
        let unreachable =
            ["Failed to establish a new connection", "name resolution", "from versions: none", "timed out"];
        assert!(unreachable.iter().any(|sign| said.contains(sign)), "{said}");
        return Err("the registry cannot be reached".to_owned());
    }
    if std::fs::rename(&draft, &made).is_err() {
        // Another process was faster, and its one is as good.
        std::fs::remove_dir_all(&draft).unwrap();
    }
    Ok(python)
}

fn read_by_others(project: &Project, python: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(python);
    command.arg(SCRIPT).args(args).current_dir(project.path(""));
    project.start_command(command).patiently(Duration::from_secs(120)).wait().ok()
}

/// Where the bytes of each version of a lineage lie, as `checkout` gives them.
fn check_out(project: &Project, lineage: &Value) -> Value {
    let mut files = serde_json::Map::new();
    for version in lineage["versions"].as_array().unwrap().iter().filter(|it| it["kind"] == "file") {
        let subset = version["subset"].as_str().unwrap();
        let cell = if subset.is_empty() { String::new() } else { format!("{{{subset}}}") };
        let name = format!("{}{cell}@v{}", version["dataset"].as_str().unwrap(), version["version"]);
        let path = format!("files/{}", files.len());
        project.runstone(&["checkout", &name, &path]).ok();
        files.insert(name, json!(path));
    }
    Value::Object(files)
}

#[test]
fn in_toto_statements_are_accepted_by_the_public_verifiers() {
    let Some(python) = python() else { return };
    let project = grown();
    project.runstone(&["export", "shop/report", "--format", "in-toto", "--to", "report.intoto.jsonl"]).ok();
    let files = check_out(&project, &project.json(&["lineage", "shop/report"]));
    project.write("files.json", files.to_string());
    let key = key_of(&project);
    let seen = read_by_others(&project, python, &["in-toto", "report.intoto.jsonl", &key, "files.json"]).json();
    let mut subjects: Vec<&str> = seen["subjects"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    subjects.sort_unstable();
    let mut expected: Vec<&str> = files.as_object().unwrap().keys().map(String::as_str).collect();
    expected.push("shop/pages@v1");
    expected.sort_unstable();
    assert_eq!(subjects, expected, "a statement for each, and for nothing else");
    let has = |name: &str| seen["dependencies"].as_array().unwrap().contains(&name.into());
    assert!(has("code:clean.sh") && has("code:train.sh") && has("shop/raw@v2") && !has("shop/raw@v1"), "{seen:#}");
    assert_eq!(seen["refused"], 3 * subjects.len());
    // To standard output the same, and of several versions at once each attempt once.
    let printed = project.runstone(&["export", "shop/report", "board/view", "--format", "in-toto"]).ok().out;
    assert_eq!(printed.lines().count(), subjects.len() + 3, "the raw data, the clean ones and the view of before");
    let all = project.runstone(&["export", "--all", "--format", "in-toto"]).ok().out;
    assert_eq!(all.lines().count(), 14, "every attempt that published something");
}

#[test]
fn prov_is_read_back_with_the_same_edges() {
    let Some(python) = python() else { return };
    let project = grown();
    project.runstone(&["export", "shop/report", "--format", "prov", "--to", "report.prov.json"]).ok();
    project.write("lineage.json", project.json(&["lineage", "shop/report"]).to_string());
    let seen = read_by_others(&project, python, &["prov", "report.prov.json", "lineage.json"]).json();
    assert_eq!(seen["made"], 8);
    assert!(seen["agents"].as_array().unwrap().contains(&"user:ada".into()), "{seen:#}");
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_left() {
    let project = grown();
    for (args, code) in [
        (vec!["export"], 2),
        (vec!["export", "shop/report"], 2),
        (vec!["export", "shop/report", "--all", "--to", "out"], 2),
        (vec!["export", "shop/report", "--format", "csv", "--to", "out"], 2),
        (vec!["export", "shop/none", "--to", "out"], 4),
        (vec!["export", "shop/report", "--to", "pages"], 6),
        (vec!["export", "shop/report", "--format", "prov", "--to", "nowhere/out.json"], 74),
    ] {
        project.runstone(&args).code(code);
    }
    assert!(!project.exists("out") && !project.exists("out.partial"));
    assert!(project.exists("pages/a.txt"), "what was there is as it was");
    Project::empty().runstone(&["export", "--all", "--to", "out"]).code(4);
}
