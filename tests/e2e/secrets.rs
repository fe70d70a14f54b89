//! A secret reaches the step and nothing else.

use crate::project::Project;

const VALUE: &str = "hunter2-hunter2-hunter2";

fn project() -> Project {
    let project = Project::new(
        r#"
pipeline: hidden
steps:
  user:
    env: {TOKEN: {secret: hub_token}, KEY: {secret: api_key}}
    run: |
      test ${#TOKEN} = 23; test ${#KEY} = 16
      echo "the token is $TOKEN."; echo "the key is $KEY." >&2
      printf 'no newline %s' "$TOKEN"
      echo "{\"note\": \"$TOKEN\"}" > "$METADATA"
      echo '{"f1": 1}' > "$METRICS"
      cat "$RUNSTONE_CONTEXT" > "$OUT_USER"
  fails:
    env: {TOKEN: {secret: hub_token}}
    run: echo "failed with $TOKEN" >&2; exit 1
"#,
    );
    project.write("runstone.yaml", "secrets:\n  hub_token: {env: HUB_TOKEN}\n  api_key: {file: ./key}\n");
    project.write("key", "from-a-file-0815\n");
    project
}

fn assert_nowhere(project: &Project, value: &str) {
    for file in project.files(".runstone") {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(value.len()).any(|window| window == value.as_bytes()), "{} tells it", file.display());
    }
}

#[test]
fn a_secret_is_in_no_log_record_or_object() {
    let project = project().with("HUB_TOKEN", VALUE);
    let run = project.run_with_code(&[], 1);
    assert_eq!((run.executed(), run.failed()), (vec!["user".to_owned()], vec!["fails".to_owned()]));
    assert!(!run.out.contains(VALUE) && !run.err.contains(VALUE), "{run:?}");
    assert_nowhere(&project, VALUE);
    assert_nowhere(&project, "from-a-file-0815");
    let logs = project.runstone(&["logs", "user"]).ok().out;
    assert!(logs.contains("the token is ***."), "{logs}");
    for args in
        [&["show"][..], &["show", "--json"], &["doctor"], &["why", "user"], &["lineage", "hidden/user", "--json"]]
    {
        let told = project.runstone(args);
        assert!(!told.out.contains(VALUE) && !told.err.contains(VALUE), "{told:?}");
    }
    assert!(project.content("hidden/user").contains("hub_token"), "its name is no secret");
}

#[test]
fn another_value_of_a_secret_is_the_same_work_and_another_secret_is_not() {
    let project = project().with("HUB_TOKEN", VALUE);
    project.edit("pipeline.yaml", "exit 1", "echo 1 > $OUT_FAILS");
    project.run(&[]);
    let project = project.with("HUB_TOKEN", "another-value-entirely");
    assert_eq!(project.run(&[]).executed(), [""; 0]);
    project.write("runstone.yaml", format!("{}  spare: {{env: HUB_TOKEN}}\n", project.read("runstone.yaml")));
    project.edit(
        "pipeline.yaml",
        "env: {TOKEN: {secret: hub_token}}\n    run: echo",
        "env: {TOKEN: {secret: spare}}\n    run: echo",
    );
    assert_eq!(project.run(&[]).executed(), ["fails"]);
}

#[test]
fn a_secret_that_cannot_be_had_is_an_error_before_anything_runs() {
    let project = project();
    let run = project.runstone(&["run"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.err.contains("hub_token") && run.err.contains("HUB_TOKEN"), "{run:?}");
    project.write("runstone.yaml", "secrets: {}\n");
    let run = project.runstone(&["run"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.err.contains("hub_token") && run.err.contains("runstone.yaml"), "{run:?}");
}
