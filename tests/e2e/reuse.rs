//! What makes a step run again, and what does not.

use crate::project::Project;

const CHAIN: &str = r#"
pipeline: chain
description: Numbers
params: {factor: 2, greeting: hello}
steps:
  numbers: {kind: ingest, from: ./numbers.txt}
  sorted:
    in: {numbers: numbers}
    params: []
    run: sh ./sort.sh
  scaled:
    in: {numbers: sorted}
    params: [factor]
    run: sh ./scale.sh
  total:
    in: {numbers: scaled}
    params: []
    run: echo x >> total.count; awk '{ s += $1 } END { print s }' "$IN_NUMBERS" > "$OUT_TOTAL"
  card:
    in: {total: total}
    params: [greeting]
    run: echo "$PARAM_GREETING $(cat "$IN_TOTAL")" > "$OUT_CARD"
"#;

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.write("numbers.txt", "3\n1\n2\n");
    project.write("sort.sh", "sort -n \"$IN_NUMBERS\" > \"$OUT_SORTED\"\n");
    project.write("scale.sh", "awk -v f=\"$PARAM_FACTOR\" '{ print f * $1 }' \"$IN_NUMBERS\" > \"$OUT_SCALED\"\n");
    assert_eq!(project.run(&[]).executed(), ["card", "numbers", "scaled", "sorted", "total"]);
    assert_eq!(project.content("chain/card"), "hello 12\n");
    project
}

#[test]
fn nothing_changed_means_nothing_to_do() {
    let project = chain();
    let again = project.run(&[]);
    assert_eq!(again.executed(), [""; 0]);
    assert_eq!(again.reused(), ["card", "numbers", "scaled", "sorted", "total"]);
}

#[test]
fn what_is_not_work_re_runs_nothing() {
    let project = chain();
    let text = project.read("pipeline.yaml");
    let said = format!("# A comment.\n{text}")
        .replace("description: Numbers", "description: All numbers\nowner: me")
        .replace("    run: sh ./sort.sh", "    description: In order\n    run: sh ./sort.sh   # by sort\n    retry: 2")
        .replace(
            "    run: sh ./scale.sh",
            "    timeout: 1m\n    grace: 3s\n    resources: {cpu: 0.5, mem: 10Mi}\n    run: sh ./scale.sh",
        );
    project.write("pipeline.yaml", said);
    assert_eq!(project.run(&[]).executed(), [""; 0]);
}

#[test]
fn a_changed_code_file_re_runs_its_dependents_until_the_content_is_equal_again() {
    let project = chain();
    project.write("sort.sh", "# Sorts.\nsort -g \"$IN_NUMBERS\" > \"$OUT_SORTED\"\n");
    assert_eq!(project.run(&[]).executed(), ["scaled", "sorted"], "both are run with `sh ./….sh`, in one folder");
    project.edit("pipeline.yaml", "    run: sh ./sort.sh", "    run: sh ./sort.sh\n    code: ./sort.sh");
    project.edit("pipeline.yaml", "    run: sh ./scale.sh", "    run: sh ./scale.sh\n    code: [./scale.sh]");
    project.run(&[]);
    project.write("sort.sh", "sort -gr \"$IN_NUMBERS\" > \"$OUT_SORTED\"\n");
    assert_eq!(project.run(&[]).executed(), ["scaled", "sorted", "total"], "the sum is what it was");
    assert_eq!(project.content("chain/scaled"), "6\n4\n2\n");
}

#[test]
fn a_changed_parameter_re_runs_only_steps_that_receive_it() {
    let project = chain();
    assert_eq!(project.run(&["-p", "greeting=hi"]).executed(), ["card"]);
    assert_eq!(project.content("chain/card"), "hi 12\n");
    assert_eq!(project.run(&["-p", "factor=3"]).executed(), ["card", "scaled", "total"]);
    assert_eq!(project.content("chain/card"), "hello 18\n");
    assert_eq!(project.run(&[]).executed(), [""; 0], "the first results still stand");
    assert_eq!(project.content("chain/card"), "hello 12\n", "and are the latest again");
}

#[test]
fn a_changed_command_or_variable_is_other_work() {
    let project = chain();
    project.edit("pipeline.yaml", "print s }' \"$IN_NUMBERS\"", "print s+0 }' \"$IN_NUMBERS\"");
    assert_eq!(project.run(&[]).executed(), ["total"]);
    project.edit("pipeline.yaml", "    run: sh ./scale.sh", "    env: {LC_ALL: C}\n    run: sh ./scale.sh");
    assert_eq!(project.run(&[]).executed(), ["scaled"]);
}

#[test]
fn a_changed_source_is_noticed_even_at_the_same_size_and_time() {
    let project = chain();
    let file = project.path("numbers.txt");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    project.write("numbers.txt", "3\n1\n5\n");
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    assert_eq!(project.run(&[]).executed().len(), 5);
    assert_eq!(project.content("chain/card"), "hello 18\n");
}

#[test]
fn a_lost_or_damaged_result_is_made_again() {
    use std::os::unix::fs::PermissionsExt;
    let project = chain();
    std::fs::remove_file(project.object("12\n")).unwrap();
    let run = project.run(&[]);
    assert_eq!(run.executed(), ["total"]);
    assert_eq!(project.content("chain/total"), "12\n");

    let object = project.object("2\n4\n6\n");
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&object, "2\n4\n9\n").unwrap();
    let run = project.run(&[]);
    assert_eq!(run.executed(), ["scaled"], "its bytes are what they were, so nothing else runs");
    assert_eq!(project.content("chain/scaled"), "2\n4\n6\n");
    project.runstone(&["verify"]).ok();
}

#[test]
fn results_of_the_same_bytes_made_twice_are_one_object_and_no_new_version() {
    let project = chain();
    let before = project.json(&["datasets", "chain/total"]);
    assert_eq!(project.run(&["--force", "total"]).executed(), ["total"]);
    assert_eq!(project.lines("total.count"), 2);
    let after = project.json(&["datasets", "chain/total"]);
    assert_eq!(before[0]["hash"], after[0]["hash"]);
    assert_eq!(before[0]["version"], after[0]["version"]);
}

#[test]
fn force_and_no_reuse_execute_what_need_not_be() {
    let project = chain();
    let forced = project.run(&["--force", "sorted", "--force", "card"]);
    assert_eq!(forced.executed(), ["card", "sorted"]);
    let all = project.run(&["--no-reuse"]);
    assert_eq!(all.executed(), ["card", "scaled", "sorted", "total"]);
    assert_eq!(all.reused(), ["numbers"], "reading a source is no work where it has not changed");
}

#[test]
fn a_step_may_refuse_reuse_or_limit_its_age() {
    let project = Project::new(
        "
pipeline: ages
steps:
  always: {cache: never, run: 'echo x >> always.count; echo 1 > $OUT_ALWAYS'}
  week: {cache: {ttl: 7d}, run: 'echo x >> week.count; echo 1 > $OUT_WEEK'}
  moment: {cache: {ttl: 1ms}, run: 'echo x >> moment.count; echo 1 > $OUT_MOMENT'}
  after: {in: {a: always, m: moment}, run: 'echo x >> after.count; cat $IN_A $IN_M > $OUT_AFTER'}
  deploy: {kind: deploy, in: {a: after}, run: 'echo x >> deploy.count; echo 1 > $OUT_DEPLOY'}
",
    );
    project.run(&[]);
    let again = project.run(&[]);
    assert_eq!(again.executed(), ["always", "deploy", "moment"]);
    assert_eq!(again.reused(), ["after", "week"]);
    let counts = ["always", "week", "moment", "after", "deploy"].map(|step| project.lines(&format!("{step}.count")));
    assert_eq!(counts, [2, 1, 2, 1, 2]);
}

#[test]
fn two_steps_that_ask_for_the_same_execute_once() {
    let project = Project::new(
        "
pipeline: twins
steps:
  one: {run: 'echo x >> count; echo 1 > $OUT_RESULT', out: [result]}
  two: {run: 'echo x >> count; echo 1 > $OUT_RESULT', out: [result]}
",
    );
    let run = project.run(&["--jobs", "2"]);
    assert_eq!(project.lines("count"), 1);
    assert_eq!((run.executed().len(), run.reused().len()), (1, 1));
    assert_eq!(project.content("twins/one.result"), "1\n");
    assert_eq!(project.content("twins/two.result"), "1\n");
}

#[test]
fn a_failure_is_never_reused() {
    let project = Project::new(
        "
pipeline: flaky
steps:
  fails: {run: 'echo x >> count; test -e fixed; echo 1 > $OUT_FAILS'}
",
    );
    project.run_with_code(&[], 1);
    project.run_with_code(&[], 1);
    project.write("fixed", "");
    assert_eq!(project.run(&[]).executed(), ["fails"]);
    assert_eq!(project.lines("count"), 3);
    assert_eq!(project.run(&[]).reused(), ["fails"]);
}
