//! What a step is given, what it gives back, and on what conditions.

use serde_json::Value;

use crate::project::Project;

#[test]
fn a_false_condition_skips_the_step_and_who_needs_its_data() {
    let project = Project::new(
        r#"
pipeline: modes
params: {mode: fast}
steps:
  full: {when: "params.mode == 'full'", run: 'echo 1 > $OUT_FULL'}
  reader: {in: {f: full}, run: 'cat $IN_F > $OUT_READER'}
  maybe: {in: {f: {from: full, optional: true}}, run: 'echo "${IN_F-none}" > $OUT_MAYBE'}
  later: {after: full, params: [], run: 'echo 1 > $OUT_LATER'}
  cell: {matrix: {n: [1, 2]}, when: "matrix.n > 1", params: [], run: 'echo $MATRIX_N > $OUT_CELL'}
"#,
    );
    let run = project.run(&[]);
    assert_eq!(run.executed(), ["cell{n=2}", "later", "maybe"]);
    let skipped = run.skipped();
    assert_eq!(skipped.keys().collect::<Vec<_>>(), ["cell{n=1}", "full", "reader"]);
    assert!(skipped["full"].contains("when"), "{skipped:?}");
    assert!(skipped["reader"].contains("full"), "{skipped:?}");
    assert_eq!(project.content("modes/maybe"), "none\n");
    let run = project.run(&["-p", "mode=full"]);
    assert_eq!(run.executed(), ["full", "maybe", "reader"]);
}

#[test]
fn an_optional_output_may_be_absent() {
    let project = Project::new(
        r#"
pipeline: optional
params: {write: false}
steps:
  maker:
    run: 'echo 1 > $OUT_ALWAYS; if [ "$PARAM_WRITE" = true ]; then echo 2 > $OUT_SOMETIMES; fi'
    out: {always: {}, sometimes: {optional: true}}
  strict: {in: {s: maker.sometimes}, params: [], run: 'cat $IN_S > $OUT_STRICT'}
  lenient: {in: {s: {from: maker.sometimes, optional: true}}, params: [], run: 'echo "${IN_S+is there}" > $OUT_LENIENT'}
"#,
    );
    let run = project.run(&[]);
    assert_eq!(run.executed(), ["lenient", "maker"]);
    assert!(run.skipped()["strict"].contains("sometimes"), "{run:?}");
    let run = project.run(&["-p", "write=true"]);
    assert_eq!(run.executed(), ["lenient", "maker", "strict"]);
    assert_eq!(project.content("optional/lenient"), "is there\n");
    assert_eq!(project.run(&[]).executed(), [""; 0]);
}

#[test]
fn an_error_may_be_passed_over() {
    let project = Project::new(
        r#"
pipeline: lenient
steps:
  fails: {continue_on_error: true, run: exit 3}
  needs: {in: {f: fails}, run: 'cat $IN_F > $OUT_NEEDS'}
  copes: {in: {f: {from: fails, optional: true}}, run: 'echo "${IN_F-absent}" > $OUT_COPES'}
"#,
    );
    let run = project.run(&[]);
    assert_eq!((run.failed(), run.executed()), (vec!["fails".to_owned()], vec!["copes".to_owned()]));
    assert!(run.skipped().contains_key("needs"));
    assert_eq!(project.show("latest")["state"], "succeeded");
}

#[test]
fn requirements_hold_metrics_against_parameters() {
    let project = Project::new(
        r#"
pipeline: gate
params: {min_f1: 0.5}
steps:
  score:
    run: |
      echo '{"f1": 0.7, "rows": 10}' > "$METRICS"
      echo 1 > "$OUT_SCORE"
    require: ["f1 >= params.min_f1", "rows == 10"]
    retry: 2
  after: {in: {s: score}, params: [], run: 'echo 1 > $OUT_AFTER'}
"#,
    );
    project.run(&[]);
    let run = project.run_with_code(&["-p", "min_f1=0.8"], 1);
    assert_eq!((run.failed(), run.retries()), (vec!["score".to_owned()], 0));
    let attempt = project.task("score")["attempt"].clone();
    assert_eq!(attempt["cause"], "require");
    let message = attempt["message"].as_str().unwrap();
    assert!(message.contains("f1 >= params.min_f1") && message.contains("0.7") && message.contains("0.8"), "{message}");
    assert_eq!(project.json(&["datasets", "gate/score"]).as_array().unwrap().len(), 1, "nothing is published");
    project.edit("pipeline.yaml", "rows == 10", "recall > 0");
    let run = project.run_with_code(&[], 1);
    assert!(run.err.contains("recall"), "a metric that was not reported is an error: {run:?}");
}

#[test]
fn a_step_is_tried_again_for_the_causes_it_names() {
    let project = Project::new(
        r#"
pipeline: again
steps:
  third:
    retry: {max: 3, backoff: 1ms, on: ["exit:75"]}
    run: 'echo $ATTEMPT >> third.count; test $(wc -l < third.count) -ge 3 || exit 75; echo "$ATTEMPT" > $OUT_THIRD'
  other:
    retry: {max: 3, backoff: 1ms, on: ["exit:75", timeout]}
    run: 'echo x >> other.count; exit 1'
  slow:
    timeout: 200ms
    retry: {max: 1, backoff: 1ms, on: [timeout]}
    run: 'echo x >> slow.count; sleep 50'
  killed:
    retry: {max: 1, backoff: 1ms, on: signal}
    run: 'echo x >> killed.count; kill -SEGV $$'
"#,
    );
    let run = project.run_with_code(&[], 1);
    assert_eq!((run.executed(), run.retries()), (vec!["third".to_owned()], 4));
    assert_eq!(project.content("again/third"), "3\n");
    let counts = ["third", "other", "slow", "killed"].map(|step| project.lines(&format!("{step}.count")));
    assert_eq!(counts, [3, 1, 2, 2]);
    assert_eq!(project.task("slow")["attempts"], 2);
    assert_eq!(project.read("third.count"), "1\n2\n3\n");
}

#[test]
fn values_arrive_as_variables_and_as_one_file() {
    let project = Project::new(
        r#"
pipeline: values
params:
  epochs: {type: int, default: 5, min: 1, max: 100}
  name: "two words; $(echo 1)"
  share: 0.25
  deep: true
steps:
  data-in: {run: 'echo data > $OUT_DATA_IN'}
  step:
    in: {my-data: data-in}
    params: [epochs, name, share]
    matrix: {lr: [0.1]}
    out: {result: {path: r.json}, side-effect: {}}
    run: [python3, ./context.py]
"#,
    );
    project.write(
        "context.py",
        "import json, os\nopen(os.environ['OUT_SIDE_EFFECT'], 'w').close()\njson.dump({'env': dict(os.environ), 'context': json.load(\
         open(os.environ['RUNSTONE_CONTEXT']))}, open(os.environ['OUT_RESULT'], 'w'))\n",
    );
    project.run(&["-p", "epochs=7"]);
    let told: Value = serde_json::from_str(&project.content("values/step.result{lr=0.1}")).unwrap();
    let (env, context) = (&told["env"], &told["context"]);
    assert_eq!((&env["PARAM_EPOCHS"], &env["PARAM_NAME"]), (&"7".into(), &"two words; $(echo 1)".into()));
    assert_eq!((&env["PARAM_SHARE"], &env["MATRIX_LR"]), (&"0.25".into(), &"0.1".into()));
    assert_eq!((&env["RUN_ID"], &env["ATTEMPT"]), (&"1".into(), &"1".into()));
    assert!(env.get("PARAM_DEEP").is_none(), "it is not listed");
    assert!(env["OUT_RESULT"].as_str().unwrap().ends_with("/r.json"), "{env:#}");
    assert_eq!(context["inputs"]["my-data"]["path"], env["IN_MY_DATA"]);
    assert_eq!(context["outputs"]["side-effect"]["path"], env["OUT_SIDE_EFFECT"]);
    assert_eq!((&context["params"]["epochs"], &context["cell"]["lr"]), (&7.into(), &0.1.into()));
    assert_eq!((&context["run"], &context["attempt"]), (&1.into(), &1.into()));
}

#[test]
fn a_list_is_executed_without_a_shell() {
    let project = Project::new(
        r#"
pipeline: list
steps:
  raw: {run: [./program.sh, "$HOME; echo", "two words"], code: ./program.sh}
"#,
    );
    project.program("program.sh", "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$OUT_RAW\"\n");
    project.run(&[]);
    assert_eq!(project.content("list/raw"), "$HOME; echo\ntwo words\n");
}

#[test]
fn a_shell_command_ends_at_its_first_error_and_at_unset_variables() {
    let project = Project::new(
        "
pipeline: strict
steps:
  error: {run: 'false; echo 1 > $OUT_ERROR'}
  unset: {run: 'echo $NOBODY_SET_THIS > $OUT_UNSET'}
",
    );
    assert_eq!(project.run_with_code(&[], 1).failed(), ["error", "unset"]);
}

#[test]
fn metrics_and_metadata_are_on_record() {
    let project = Project::new(
        r#"
pipeline: told
steps:
  score:
    run: |
      echo '{"f1": 0.5, "rows": 12}' > "$METRICS"
      echo '{"author": "ada", "notes": ["a", 1]}' > "$METADATA"
      echo 1 > "$OUT_SCORE"
  wrong:
    run: |
      echo 'no json' > "$METRICS"
      echo 1 > "$OUT_WRONG"
"#,
    );
    let run = project.run_with_code(&[], 1);
    assert_eq!(run.failed(), ["wrong"], "what cannot be read is not passed over");
    assert!(run.err.to_lowercase().contains("metrics"), "{run:?}");
    assert!((project.metric("score", "f1") - 0.5).abs() < 1e-9);
}

#[test]
fn outputs_are_files_or_folders_and_published_where_people_look() {
    let project = Project::new(
        r#"
pipeline: shapes
params: {text: one}
steps:
  table: {run: 'echo "$PARAM_TEXT" > "$OUT_TABLE"', out: {table: {path: table.csv, publish: ./out/table.csv}}}
  folder:
    run: mkdir "$OUT_FOLDER/sub"; echo "$PARAM_TEXT" > "$OUT_FOLDER/sub/file"; touch "$OUT_FOLDER/empty"
    out: {folder: {dir: true, publish: ./out/folder}}
  reader: {in: {t: table, f: folder}, params: [], run: 'echo "$(basename $IN_T) $(cat $IN_F/sub/file)" > $OUT_READER'}
"#,
    );
    project.run(&[]);
    assert_eq!(project.content("shapes/reader"), "table.csv one\n");
    assert_eq!((project.read("out/table.csv"), project.read("out/folder/sub/file")), ("one\n".into(), "one\n".into()));
    project.run(&["-p", "text=two"]);
    assert_eq!((project.read("out/table.csv"), project.read("out/folder/sub/file")), ("two\n".into(), "two\n".into()));
    let reused = project.run(&[]);
    assert_eq!(reused.executed(), [""; 0]);
    assert_eq!(project.read("out/table.csv"), "one\n", "what is reused is what people see");
    std::fs::remove_dir_all(project.path("out")).unwrap();
    project.run(&[]);
    assert_eq!(project.read("out/folder/sub/file"), "one\n", "and is put back where it was removed");
}

#[test]
fn inputs_are_read_only_links_or_private_copies() {
    let project = Project::new(
        r#"
pipeline: inputs
steps:
  data: {run: 'echo data > $OUT_DATA'}
  copy: {isolate: copy, in: {d: data}, run: 'echo more >> "$IN_D"; cp "$IN_D" "$OUT_COPY"'}
  link: {after: copy, in: {d: data}, run: 'cp "$IN_D" "$OUT_LINK"'}
"#,
    );
    project.run(&[]);
    assert_eq!(project.content("inputs/copy"), "data\nmore\n");
    assert_eq!(project.content("inputs/link"), "data\n");
    project.runstone(&["verify"]).ok();
}

#[test]
fn order_without_data_is_kept() {
    let project = Project::new(
        r#"
pipeline: order
steps:
  second: {after: [first], run: 'test -e first.done; echo 1 > $OUT_SECOND'}
  first: {run: './wait.sh go; touch first.done; echo 1 > $OUT_FIRST'}
  free: {run: 'touch go; echo 1 > $OUT_FREE'}
"#,
    );
    project.run(&["--jobs", "3"]);
}

#[test]
fn parameters_come_from_files_and_the_command_line() {
    let project = Project::new(
        r#"
pipeline: params
params: {a: 1, b: 1, c: 1, d: 1}
steps:
  show: {run: 'echo $PARAM_A $PARAM_B $PARAM_C $PARAM_D > $OUT_SHOW'}
"#,
    );
    project.write("one.yaml", "b: 2\nc: 2\n");
    project.write("two.json", r#"{"c": 3, "d": 3}"#);
    project.run(&["--params", "one.yaml", "--params", "two.json", "-p", "d=4"]);
    assert_eq!(project.content("params/show"), "1 2 3 4\n");
    project.runstone(&["run", "-p", "a=text"]).code(2).says(&["a", "text"]);
    project.runstone(&["run", "-p", "e=1"]).code(2).says(&["unknown-param"]);
    project.write("wrong.yaml", "a: [1]\n");
    project.runstone(&["run", "--params", "wrong.yaml"]).code(2).says(&["wrong.yaml"]);
}

#[test]
fn an_overlay_is_laid_over_the_file_by_step() {
    let project = Project::new(
        r#"
pipeline: layers
params: {size: small}
steps:
  one: {env: {A: a, B: b}, run: 'echo "$PARAM_SIZE $A $B ${C-}" > $OUT_ONE'}
  two: {run: 'echo 2 > $OUT_TWO'}
"#,
    );
    project.write("prod.yaml", "params: {size: large}\nsteps:\n  one: {env: {B: bb, C: c}}\n  two: null\n");
    assert_eq!(project.run(&["--overlay", "prod.yaml"]).executed(), ["one"]);
    assert_eq!(project.content("layers/one"), "large a bb c\n");
    project.write("wrong.yaml", "steps:\n  one: {rum: x}\n");
    project.runstone(&["validate", "pipeline.yaml", "--overlay", "wrong.yaml"]).code(3).says(&[
        "wrong.yaml",
        "rum",
        "^",
    ]);
}

#[test]
fn defaults_stand_where_a_step_says_nothing() {
    let project = Project::new(
        r#"
pipeline: defaults
params: {p: 1, q: 2}
defaults: {env: {A: a, B: b}, params: [p], retry: {max: 1, backoff: 1ms}}
steps:
  one: {env: {B: mine}, run: 'echo "$A $B $PARAM_P ${PARAM_Q-none}" > $OUT_ONE'}
  two: {params: [q], retry: 0, run: 'echo x >> two.count; exit 1'}
  three: {run: 'echo x >> three.count; exit 1'}
"#,
    );
    project.run_with_code(&[], 1);
    assert_eq!(project.content("defaults/one"), "a mine 1 none\n");
    assert_eq!((project.lines("two.count"), project.lines("three.count")), (1, 2));
}

#[test]
fn another_pipelines_dataset_is_read_at_the_version_that_is_asked_for() {
    let project = Project::empty();
    project
        .write("maker.yaml", "pipeline: maker\nparams: {n: 1}\nsteps:\n  data: {run: 'echo $PARAM_N > $OUT_DATA'}\n");
    project.write(
        "reader.yaml",
        "pipeline: reader\nsteps:\n  last: {in: {d: maker/data@latest}, run: 'cat $IN_D > $OUT_LAST'}\n  first: {in: {d: maker/data@v1}, \
         run: 'cat $IN_D > $OUT_FIRST'}\n",
    );
    project.runstone(&["run", "reader.yaml"]).code(4).says(&["maker/data"]);
    project.run(&["maker.yaml"]);
    project.run(&["maker.yaml", "-p", "n=2"]);
    project.run(&["reader.yaml"]);
    assert_eq!((project.content("reader/last"), project.content("reader/first")), ("2\n".into(), "1\n".into()));
    project.run(&["maker.yaml", "-p", "n=3"]);
    let run = project.run(&["reader.yaml"]);
    assert_eq!((run.executed(), run.reused()), (vec!["last".to_owned()], vec!["first".to_owned()]));
}

#[test]
fn hooks_run_when_the_run_has_ended() {
    let project = Project::new(
        r#"
pipeline: hooks
params: {code: 0}
steps:
  step: {run: 'echo x >> order; echo 1 > $OUT_STEP; exit $PARAM_CODE'}
hooks:
  success: {run: echo success >> order}
  failure: {run: [sh, -c, echo failure >> order]}
  exit: {run: echo exit >> order}
"#,
    );
    project.run(&[]);
    assert_eq!(project.read("order"), "x\nsuccess\nexit\n");
    project.run_with_code(&["-p", "code=3"], 1);
    assert_eq!(project.read("order"), "x\nsuccess\nexit\nx\nfailure\nexit\n");
}

#[test]
fn parts_of_the_language_that_come_later_are_refused_unless_allowed() {
    let project = Project::new(
        "
pipeline: later
documents: ./notes.md
steps:
  gold: {kind: label, votes: 2, run: 'echo 1 > $OUT_GOLD'}
",
    );
    project.runstone(&["run"]).code(3).says(&["unsupported", "documents", "votes", "^"]);
    assert!(!project.exists(".runstone"), "nothing was made");
    let run = project.runstone(&["run", "--allow-unsupported"]).ok();
    assert!(run.err.contains("votes"), "{run:?}");
}
