//! The commands that read, through the binary, on a record that is really there.

mod fixture;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use fixture::{Deed, Fixture, command, runstone, train};
use runstone_core::record::AttemptKind;
use serde_json::Value;

#[test]
fn runs_are_listed_newest_first_and_filtered() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["runs"]).ok();
    let numbers: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(numbers, ["#2", "#1"], "{out}");
    let json = fixture.runstone(&["runs", "--state", "failed", "--json"]).json();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["reason"], "1 task failed: model{lr=0.2}");
    assert_eq!(fixture.runstone(&["runs", "--pipeline", "other"]).code, 4);
    assert_eq!(fixture.runstone(&["runs", "--state", "odd"]).code, 2);
}

#[test]
fn a_run_is_shown_with_what_failed() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["show", "1"]).ok();
    for part in ["run #1 of demo: failed", "KeyError: 'x'", "exit 3", "needs model{lr=0.2}", "ada@lab"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let json = fixture.runstone(&["show", "--json"]).json();
    assert_eq!(json["number"], 2);
    assert_eq!(json["tasks"][0]["state"], "reused");
    assert_eq!(json["tasks"][0]["attempt"]["run_number"], 1);
    let id = json["id"].as_str().unwrap();
    assert_eq!(fixture.runstone(&["show", id, "--json"]).json()["number"], 2);
    let missing = fixture.runstone(&["show", "77"]);
    assert_eq!(missing.code, 4);
    assert!(missing.err.contains("there is no run #77"), "{}", missing.err);
}

#[test]
fn logs_are_printed_as_they_are() {
    let fixture = Fixture::two_runs();
    let failed = fixture.runstone(&["logs", "#1/model{lr=0.2}"]);
    assert_eq!(failed.out, "starting\nTraceback:\n  KeyError: 'x'\n");
    assert!(failed.err.contains("stdout") && failed.err.contains("stderr"), "{}", failed.err);
    assert_eq!(fixture.runstone(&["logs", "model{lr=0.2}", "--run", "1", "--stdout"]).ok(), "starting\n");
    assert_eq!(fixture.runstone(&["logs", "model{lr=0.1}", "-q"]).ok(), "epoch 1\n");
    let several = fixture.runstone(&["logs", "model"]);
    assert_eq!(several.code, 2);
    assert!(several.err.contains("model{lr=0.1}, model{lr=0.2}"), "{}", several.err);
    let read = fixture.runstone(&["logs", "raw"]);
    assert_eq!(read.code, 4);
    assert!(read.err.contains("read by runstone itself"), "{}", read.err);
    assert_eq!(fixture.runstone(&["logs", "model{lr=0.1}", "--attempt", "9"]).code, 4);
}

#[test]
fn a_log_is_followed_until_the_attempt_has_ended() {
    let mut fixture = Fixture::empty();
    let run = fixture.begin(&[("model", "lr=0.1")]);
    let asked = train(0.1, "code");
    let deed = Deed {
        task: 0,
        kind: AttemptKind::Run,
        asked: &asked,
        reads: &[],
        makes: &[("model", "lr=0.1", "model")],
        metrics: &[],
        failure: None,
    };
    fixture.start(&run, &deed);
    fixture.log(&run, "0.1", "first\n", "");
    let mut child = command(&fixture.path("."), &["logs", "model", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    fixture.log(&run, "0.1", "first\nsecond\n", "");
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    fixture.log(&run, "0.1", "first\nsecond\nlast\n", "");
    fixture.finish(&run, &deed);
    assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["last"]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn datasets_and_their_versions_are_listed() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["datasets"]).ok();
    assert!(out.contains("demo/model") && out.contains("2 cells"), "{out}");
    let versions = fixture.runstone(&["datasets", "model", "--json"]).json();
    let made_by: Vec<(i64, &str)> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["version"].as_i64().unwrap(), it["producer"]["task"].as_str().unwrap()))
        .collect();
    assert_eq!(made_by, [(3, "model{lr=0.2}"), (2, "model{lr=0.1}"), (1, "model{lr=0.1}")]);
    let missing = fixture.runstone(&["datasets", "modle"]);
    assert_eq!(missing.code, 4);
}

#[test]
fn lineage_names_code_parameters_and_data_all_the_way_up() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["lineage", "demo/report"]).ok();
    let code = runstone_core::hash::ContentHash::of(b"new code").short();
    let raw = runstone_core::hash::ContentHash::of(b"a,b\n1,2\n").short();
    for part in [
        "demo/report@v1",
        "made by #2 report",
        "├─ models: demo/model{lr=0.1}@v2",
        "made by #2 model{lr=0.1}",
        &format!("./train.py  b3:{code}"),
        "params   epochs=5",
        &format!("b3:{raw}"),
        "read by #1 raw",
        "source   ./raw.csv",
        "on       linux-x86_64",
        "(see [1] above)",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert_eq!(out.matches("read by #1 raw").count(), 1, "what is shared is told once:\n{out}");
}

#[test]
fn lineage_goes_down_and_into_other_notations() {
    let fixture = Fixture::two_runs();
    let down = fixture.runstone(&["lineage", "raw", "--down"]).ok();
    assert!(down.contains("#2 model{lr=0.2} (data): demo/model{lr=0.2}@v3"), "{down}");
    let json = fixture.runstone(&["lineage", "model{lr=0.1}@v2", "--json"]).json();
    assert_eq!(json["direction"], "up");
    let attempt = json["attempts"].as_array().unwrap().iter().find(|it| it["task"] == "model{lr=0.1}").unwrap();
    assert_eq!(attempt["asked"]["params"]["epochs"], 5);
    assert_eq!(attempt["asked"]["command"], "python3 ./train.py");
    assert_eq!(json["reads"][0]["input"], "data");
    let mermaid = fixture.runstone(&["lineage", "report", "--mermaid"]).ok();
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(fixture.runstone(&["lineage", "report", "--dot"]).ok().starts_with("digraph {\n"));
    let cut = fixture.runstone(&["lineage", "report", "--nodes", "1"]).ok();
    assert!(cut.contains("not everything is shown"), "{cut}");
}

#[test]
fn versions_are_named_in_every_way() {
    let fixture = Fixture::two_runs();
    let hash = runstone_core::hash::ContentHash::of(b"model one").to_string();
    let prefix = &hash[..11];
    let by = |reference: &str| fixture.runstone(&["lineage", reference, "--json"]).json()["start"].clone();
    let one = by("demo/model@v1");
    assert_eq!(one, by(&format!("demo/model@{prefix}")));
    assert_eq!(one, by(prefix));
    assert_eq!(one, by("demo/model@run:1"));
    assert_ne!(one, by("demo/model{lr=0.1}"));
    for (reference, code) in [("demo/model@v9", 4), ("demo/model@3", 2), ("b3:00000000", 4), ("demo/model{lr=0.7}", 4)]
    {
        assert_eq!(fixture.runstone(&["lineage", reference]).code, code, "{reference}");
    }
}

#[test]
fn why_tells_differences_in_words() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["why", "model{lr=0.1}"]).ok();
    assert!(out.contains("it ran: it differs from run #1"), "{out}");
    assert!(out.contains("code file changed: ./train.py  b3:"), "{out}");
    let out = fixture.runstone(&["why", "raw"]).ok();
    assert!(out.contains("the result of run #1 stands for it"), "{out}");
    let json = fixture.runstone(&["why", "#1/model{lr=0.2}", "--json"]).json();
    assert_eq!(json[0]["state"], "failed");
    assert!(json[0]["summary"].as_str().unwrap().starts_with("ran and failed (exit 3)"), "{json}");
    assert_eq!(json[0]["explanation"]["steps"][0]["verdict"], "first", "what came later explains nothing");
    let json = fixture.runstone(&["why", "#2/model{lr=0.1}", "--json"]).json();
    assert_eq!(json[0]["differences"][0]["what"], "code");
}

#[test]
fn metrics_are_compared() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["metrics", "--sort", "f1"]).ok();
    let values: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(values, ["0.95", "0.9", "0.85"], "{out}");
    let out = fixture.runstone(&["metrics", "--diff", "1", "2"]).ok();
    assert!(out.lines().any(|line| line.starts_with("model{lr=0.1}") && line.ends_with("+0.05")), "{out}");
    let json = fixture.runstone(&["metrics", "--run", "2", "--slices", "--json"]).json();
    assert!(json.as_array().unwrap().iter().any(|it| it["slice"] == "lang=de" && it["n"] == 100), "{json}");
    assert_eq!(fixture.runstone(&["metrics", "--sort", "auc"]).code, 4);
}

#[test]
fn checkout_restores_bytes_and_never_overwrites_unasked() {
    let fixture = Fixture::two_runs();
    let path = fixture.path("copy.txt");
    let copy = path.to_str().unwrap();
    fixture.runstone(&["checkout", "demo/model@v1", copy]).ok();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "model one");
    let again = fixture.runstone(&["checkout", "report", copy]);
    assert_eq!(again.code, 6, "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "model one");
    fixture.runstone(&["checkout", "report", copy, "--force"]).ok();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "report two");
    fixture.runstone(&["checkout", "report", "folder/"]).ok();
    assert_eq!(std::fs::read_to_string(fixture.path("folder/report.txt")).unwrap(), "report two");
    assert_eq!(fixture.runstone(&["checkout", "demo/model", copy, "-f"]).code, 2, "two cells fit");
}

#[test]
fn verify_finds_damage_and_names_what_it_hits() {
    let fixture = Fixture::two_runs();
    fixture.runstone(&["verify"]).ok();
    let hash = runstone_core::hash::ContentHash::of(b"model one");
    let path = fixture.objects().path(hash);
    let mut permissions = path.metadata().unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&path, permissions).unwrap();
    std::fs::write(&path, "model 0ne").unwrap();
    let found = fixture.runstone(&["verify", "--json"]);
    assert_eq!(found.code, 1, "{found:?}");
    let finding = &found.json()["findings"][0];
    assert_eq!(
        (finding["kind"].as_str(), finding["versions"][0].as_str()),
        (Some("damaged"), Some("demo/model{lr=0.1}@v1"))
    );
    let missing = fixture.runstone(&["verify"]);
    assert_eq!(missing.code, 1);
    assert!(missing.out.contains("is missing"), "it is in quarantine now: {}", missing.out);
    assert_eq!(fixture.runstone(&["checkout", "demo/model@v1", "x"]).code, 5);
}

#[test]
fn gc_removes_only_what_nothing_needs() {
    let mut fixture = Fixture::two_runs();
    let mut batch = runstone_exec::objects::Batch::default();
    let orphan = fixture.objects().put_bytes(b"orphan", &mut batch).unwrap();
    fixture.objects().sync(batch).unwrap();
    // What is older than the run: nobody who is at it can count on it.
    fixture.let_time_pass(orphan);
    let run = fixture.begin(&[("model", "")]);
    fixture.log(&run, "0.1", "", "");

    let spared = fixture.runstone(&["gc", "--json"]).json();
    assert_eq!((spared["objects"].as_u64(), spared["runs"].as_u64()), (Some(0), Some(0)), "all of it is young");
    let args = ["gc", "--spare", "0s", "--runs-older-than", "0s", "--keep-runs", "0", "--json"];
    let planned = fixture.runstone(&[&args[..], &["--dry-run"]].concat()).json();
    assert_eq!((planned["objects"].as_u64(), planned["runs"].as_u64()), (Some(1), Some(2)));
    assert_eq!((planned["object_bytes"].as_u64(), planned["evicted"].as_array().unwrap().len()), (Some(6), 0));
    assert!(fixture.objects().path(orphan).exists());
    assert_eq!(fixture.runstone(&args).json()["objects"], 1);
    assert!(!fixture.objects().path(orphan).exists());
    let live = fixture.project().run_dir(run.id.0);
    let left: Vec<_> = std::fs::read_dir(fixture.project().runs_dir()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left, [live], "only the live run keeps its folder");
    fixture.runstone(&["verify"]).ok();
}

#[test]
fn rules_give_versions_up_and_say_why() {
    let fixture = Fixture::two_runs();
    let explained = |fixture: &Fixture, version: &str| {
        let all = fixture.runstone(&["gc", "--explain", version, "--json"]).json();
        (all[0]["decision"].as_str().unwrap().to_owned(), all[0]["rule"].as_str().map(str::to_owned))
    };
    assert_eq!(explained(&fixture, "demo/model@v1"), ("no_rule".to_owned(), None));
    let rule =
        "retention: {objects: [{match: 'demo/model*', keep_versions: 0, younger_than: 0s, keep_inputs_of: []}]}\n";
    std::fs::write(fixture.path("runstone.yaml"), rule).unwrap();
    let doctor = fixture.runstone(&["doctor"]).ok();
    assert!(doctor.contains("keep demo/model*") && doctor.contains("latest, tagged, what took over 10"), "{doctor}");
    let latest = fixture.runstone(&["datasets", "demo/model", "--json"]).json()[0]["version"].as_i64().unwrap();
    assert_eq!(explained(&fixture, &format!("demo/model@v{latest}")).0, "latest");
    assert_eq!(explained(&fixture, "demo/model@v1"), ("evict".to_owned(), Some("demo/model*".to_owned())));
    let out = fixture.runstone(&["gc", "--spare", "0s", "--dry-run"]).ok();
    assert!(out.contains("1 version of demo/model*"), "{out}");
    let done = fixture.runstone(&["gc", "--spare", "0s", "--json"]).json();
    assert_eq!(done["evicted"][0]["dataset"], "demo/model");
    assert_eq!(done["rules"][0]["object_bytes"], done["evicted"][0]["size_bytes"]);
    assert_eq!(explained(&fixture, "demo/model@v1").0, "evicted");
    assert!(fixture.runstone(&["datasets", "demo/model"]).ok().contains("evicted"));
    assert!(fixture.runstone(&["lineage", "demo/model@v1"]).ok().contains("evicted"));
    assert_eq!(fixture.runstone(&["checkout", "demo/model@v1", "x"]).code, 5);
    fixture.runstone(&["verify"]).ok();
    let verified = fixture.runstone(&["verify", "demo/model@v1"]).ok();
    assert!(verified.contains("@v1 was given up"), "{verified}");
}

#[test]
fn shared_objects_are_never_collected_unasked() {
    let fixture = Fixture::two_runs();
    std::fs::write(fixture.path("runstone.yaml"), "objects: ./.runstone/objects\n").unwrap();
    let json = fixture.runstone(&["gc", "--spare", "0s", "--json"]).json();
    assert!(json["objects_kept_because"].as_str().unwrap().contains("--exclusive"), "{json}");
}

#[test]
fn cancel_leaves_a_request_and_refuses_what_is_over() {
    let mut fixture = Fixture::two_runs();
    assert_eq!(fixture.runstone(&["cancel", "1"]).code, 6);
    let run = fixture.begin(&[("model", "")]);
    fixture.runstone(&["cancel", &run.number.to_string(), "--now"]).ok();
    let record = fixture.store().run(&runstone_core::store::RunRef::Number(run.number)).unwrap().unwrap();
    assert_eq!(record.cancel.as_deref(), Some("now"));
}

#[test]
fn doctor_says_where_settings_come_from_and_hides_passwords() {
    let fixture = Fixture::two_runs();
    let out = fixture.runstone(&["doctor"]).ok();
    assert!(out.contains("no problem found") && out.contains("agrees with itself"), "{out}");
    std::fs::write(fixture.path("runstone.yaml"), "jobs: 3\nsecrets: {hub: {env: NOWHERE}}\n").unwrap();
    let output = command(&fixture.path("."), &["doctor", "--json"])
        .env("RUNSTONE_DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/none")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!text.contains("hunter2"), "{text}");
    for part in ["RUNSTONE_DATABASE_URL", "runstone.yaml", "NOWHERE is not set"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn an_unreachable_or_newer_database_has_its_own_exit_code() {
    let fixture = Fixture::two_runs();
    let output = command(&fixture.path("."), &["runs"])
        .env("RUNSTONE_DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/none")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    let output = command(&fixture.path("."), &["runs"]).env("RUNSTONE_DATABASE_URL", "mysql:x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn without_a_project_commands_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let ran = runstone(folder.path(), &["show"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("nothing was ever run in") && ran.err.contains("hint"), "{}", ran.err);
    runstone(folder.path(), &["doctor"]).ok();
}

#[test]
fn the_starter_is_written_once_and_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    runstone(folder.path(), &["init", "new"]).ok();
    runstone(folder.path(), &["validate", "new/pipeline.yaml"]).ok();
    std::fs::write(folder.path().join("new/words.sh"), "mine").unwrap();
    assert_eq!(runstone(folder.path(), &["init", "new"]).code, 6);
    assert_eq!(std::fs::read_to_string(folder.path().join("new/words.sh")).unwrap(), "mine");
}

#[test]
fn all_errors_of_a_pipeline_are_shown_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "pipeline: x\nsteps:\n  a: {rn: x}\n  b: {in: {x: c}, run: y}\n")
        .unwrap();
    let ran = runstone(folder.path(), &["validate", "bad.yaml"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("unknown key `rn`") && ran.err.contains("bad.yaml:4"), "{}", ran.err);
    let ran = runstone(folder.path(), &["validate", "bad.yaml", "--json"]);
    assert_eq!(ran.code, 3);
    let json = ran.json();
    assert_eq!(json[0]["valid"], false);
    assert!(json[0]["diagnostics"].as_array().unwrap().len() >= 3, "{json}");
    assert_eq!(runstone(folder.path(), &["validate", "missing.yaml"]).code, 4);
    assert_eq!(runstone(folder.path(), &["graph", "bad.yaml"]).code, 3);
}

#[test]
fn completions_are_made_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(runstone(folder.path(), &["completions", shell]).ok().contains("lineage"), "{shell}");
    }
}

#[test]
fn the_schema_is_a_json_schema() {
    let folder = tempfile::tempdir().unwrap();
    let schema: Value = runstone(folder.path(), &["schema"]).json();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
    assert!(runstone(folder.path(), &["schema", "--markdown"]).ok().starts_with('#'));
}

#[test]
fn a_reader_that_leaves_is_nobodys_problem() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn colours_are_used_only_where_wanted() {
    let fixture = Fixture::two_runs();
    assert!(!fixture.runstone(&["runs"]).ok().contains('\u{1b}'));
    assert!(fixture.runstone(&["runs", "--color", "always"]).ok().contains('\u{1b}'));
    assert!(!fixture.runstone(&["runs", "--color", "never"]).ok().contains('\u{1b}'));
}

#[test]
fn wrong_arguments_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let ran = runstone(folder.path(), &["shwo"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("similar") && ran.err.contains("show"), "{}", ran.err);
    let ran = runstone(folder.path(), &["show", "not-a-run"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("does not name a run"), "{}", ran.err);
}
