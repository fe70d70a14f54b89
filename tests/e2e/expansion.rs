//! Steps that become many tasks.

use serde_json::Value;

use crate::project::Project;

#[test]
fn a_matrix_adds_and_leaves_out_cells() {
    let project = Project::new(
        r#"
pipeline: cells
steps:
  cell:
    matrix:
      kind: [tree, line]
      depth: [1, 2]
      exclude: [{kind: line, depth: 2}]
      include: [{kind: dummy, depth: 0}, {kind: tree, note: deep}]
    run: echo "$MATRIX_KIND $MATRIX_DEPTH ${MATRIX_NOTE-}" > "$OUT_CELL"
  list: {in: {cells: cell}, run: 'cp "$IN_CELLS" "$OUT_LIST"'}
"#,
    );
    project.run(&[]);
    let list: Value = serde_json::from_str(&project.content("cells/list")).unwrap();
    let list = list.as_array().unwrap();
    let texts: Vec<String> = list
        .iter()
        .map(|entry| {
            let hash = entry["hash"].as_str().unwrap();
            project.content(hash).trim_end().to_owned()
        })
        .collect();
    let mut sorted = texts.clone();
    sorted.sort();
    assert_eq!(sorted, ["dummy 0", "line 1", "tree 1 deep", "tree 2 deep"]);
    let keys: Vec<&str> = list.iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(
        list[0]["cell"]["depth"],
        list[0]["key"].as_str().unwrap().split("depth=").nth(1).unwrap()[..1].parse::<i64>().unwrap()
    );
}

#[test]
fn a_collected_list_brings_the_metrics_of_its_cells() {
    let project = Project::new(
        r#"
pipeline: sweep
steps:
  model:
    matrix: {lr: [0.1, 0.5]}
    run: |
      echo "{\"f1\": $MATRIX_LR}" > "$METRICS"
      echo "model $MATRIX_LR" > "$OUT_MODEL"
    out: {model: {path: model.txt}}
  best:
    in: {models: model}
    run: [python3, ./best.py]
"#,
    );
    project.write(
        "best.py",
        "import json, os, shutil\nmodels = json.load(open(os.environ['IN_MODELS']))\nbest = max(models, key=lambda model: \
         model['metrics']['f1'])\nassert best['path'].endswith('model.txt'), best\nshutil.copy(best['path'], os.environ['OUT_BEST'])\n",
    );
    project.run(&[]);
    assert_eq!(project.content("sweep/best"), "model 0.5\n");
    assert_eq!(project.content("sweep/model{lr=0.1}"), "model 0.1\n");
}

#[test]
fn an_axis_overrides_the_parameter_of_its_name() {
    let project = Project::new(
        r#"
pipeline: axes
params: {lr: 1.0, seed: 7}
steps:
  cell: {matrix: {lr: [0.5]}, run: 'echo "$PARAM_LR $MATRIX_LR $PARAM_SEED" > "$OUT_CELL"'}
"#,
    );
    project.run(&[]);
    assert_eq!(project.content("axes/cell"), "0.5 0.5 7\n");
}

#[test]
fn a_matrix_may_succeed_in_part() {
    let project = Project::new(
        r#"
pipeline: part
steps:
  cell:
    matrix: {n: [1, 2, 3], min_success: 2}
    run: test "$MATRIX_N" != 2; echo "$MATRIX_N" > "$OUT_CELL"
  count: {in: {cells: cell}, run: 'grep -c "\"key\"" "$IN_CELLS" > "$OUT_COUNT"'}
"#,
    );
    let run = project.runstone(&["run", "--json"]);
    assert_eq!((run.failed(), run.executed().len()), (vec!["cell{n=2}".to_owned()], 3), "{run:?}");
    assert_eq!(project.content("part/count"), "2\n");
    project.edit("pipeline.yaml", "min_success: 2", "min_success: 3");
    let run = project.run_with_code(&[], 1);
    assert!(run.skipped()["count"].contains("cell"), "{run:?}");
}

#[test]
fn foreach_runs_once_for_every_file_of_a_folder_and_again_only_for_changed_ones() {
    let project = Project::new(
        r#"
pipeline: files
steps:
  files: {kind: ingest, from: "./incoming/*.txt", out: {files: {dir: true}}}
  each:
    foreach: {item: files}
    in: {file: item}
    run: tr a-z A-Z < "$IN_FILE" > "$OUT_EACH"
  all: {in: {parts: each}, run: [python3, ./join.py]}
"#,
    );
    project.write(
        "join.py",
        "import json, os\nparts = json.load(open(os.environ['IN_PARTS']))\nopen(os.environ['OUT_ALL'], 'w').write(\
         ''.join(sorted(open(part['path']).read() for part in parts)))\n",
    );
    for (name, text) in [("b.txt", "two\n"), ("a.txt", "one\n"), ("c d.txt", "three\n")] {
        project.write(&format!("incoming/{name}"), text);
    }
    let run = project.run(&[]);
    assert_eq!(run.executed().len(), 5, "{run:?}");
    assert_eq!(project.content("files/all"), "ONE\nTHREE\nTWO\n");
    project.write("incoming/b.txt", "zwei\n");
    project.write("incoming/e.txt", "five\n");
    let run = project.run(&[]);
    assert_eq!(run.executed().len(), 4, "the folder, the changed and the new file, and the sum: {run:?}");
    assert_eq!(run.reused().len(), 2);
    assert_eq!(project.content("files/all"), "FIVE\nONE\nTHREE\nZWEI\n");
    let tasks = project.show("latest");
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 6);
}

#[test]
fn foreach_runs_for_the_entries_of_a_list_by_what_they_are_not_where() {
    let project = Project::new(
        r#"
pipeline: items
steps:
  list: {kind: ingest, from: ./list.json}
  each: {foreach: {item: list}, run: 'echo x >> count; echo "$ITEM_ITEM" > "$OUT_EACH"'}
  all: {in: {parts: each}, run: 'cp "$IN_PARTS" "$OUT_ALL"'}
"#,
    );
    project.write("list.json", r#"["x", 2, {"name": "n", "size": 1}]"#);
    let run = project.run(&[]);
    assert_eq!(run.executed().len(), 5, "{run:?}");
    project.write("list.json", r#"[{"size": 1, "name": "n"}, "x", 2]"#);
    let run = project.run(&[]);
    assert_eq!((project.lines("count"), run.executed()), (3, vec!["list".to_owned()]), "{run:?}");
    project.write("list.json", r#"["x", "new"]"#);
    project.run(&[]);
    assert_eq!(project.lines("count"), 4);
}

#[test]
fn foreach_runs_for_the_cells_of_another_step() {
    let project = Project::new(
        r#"
pipeline: cells
steps:
  model: {matrix: {n: [1, 2]}, run: 'echo "$MATRIX_N" > "$OUT_MODEL"'}
  score: {foreach: {each: model}, in: {m: each}, run: 'echo "score $(cat "$IN_M")" > "$OUT_SCORE"'}
  all: {in: {scores: score}, run: [python3, ./join.py]}
"#,
    );
    project.write(
        "join.py",
        "import json, os\nparts = json.load(open(os.environ['IN_SCORES']))\nopen(os.environ['OUT_ALL'], 'w').write(\
         ''.join(sorted(open(part['path']).read() for part in parts)))\n",
    );
    project.run(&[]);
    assert_eq!(project.content("cells/all"), "score 1\nscore 2\n");
}

#[test]
fn foreach_over_nothing_is_an_empty_list() {
    let project = Project::new(
        r#"
pipeline: none
steps:
  list: {run: 'echo "[]" > "$OUT_LIST"'}
  each: {foreach: {item: list}, run: 'echo "$ITEM_ITEM" > "$OUT_EACH"'}
  all: {in: {parts: each}, run: 'cp "$IN_PARTS" "$OUT_ALL"'}
"#,
    );
    assert_eq!(project.run(&[]).executed(), ["all", "list"]);
    assert_eq!(project.content("none/all").trim(), "[]");
}

#[test]
fn foreach_over_what_is_no_list_fails_with_the_reason() {
    let project = Project::new(
        r#"
pipeline: none
steps:
  list: {run: 'echo "no json" > "$OUT_LIST"'}
  each: {foreach: {item: list}, run: 'echo "$ITEM_ITEM" > "$OUT_EACH"'}
  after: {in: {parts: each}, run: 'cp "$IN_PARTS" "$OUT_AFTER"'}
"#,
    );
    let run = project.run_with_code(&[], 1);
    assert_eq!(run.executed(), ["list"]);
    assert!(run.err.contains("list"), "{run:?}");
}
