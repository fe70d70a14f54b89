//! Recorded attempts done again: with what is on record, whatever became of the project since.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptKind, RunState};
use runstone_core::reproduction::{DifferenceKind, Reproduction, Verdict};
use runstone_core::store::{RunFilter, Store, VersionRef};
use runstone_engine::Crew;
use runstone_engine::reproduce::{Options, Progress, abandoned, reproduce};
use runstone_exec::local::journal;

use crate::project::Project;
use crate::{Test, drive, oracle};

pub(crate) const TESTS: &[Test] = &[
    ("reproduce::what_is_on_record_counts_and_not_what_the_project_is_today", the_record_counts),
    ("reproduce::a_tainted_attempt_says_so_whatever_comes_of_it", a_tainted_attempt),
    ("reproduce::time_and_chance_are_found_where_they_are", time_and_chance),
    ("reproduce::what_does_not_count_can_be_said_before_and_afterwards", what_does_not_count),
    ("reproduce::everything_that_is_missing_is_named_at_once", everything_missing),
    ("reproduce::a_secret_comes_from_today_or_not_at_all", a_secret),
    ("reproduce::a_step_that_fails_says_why", a_failing_step),
    ("reproduce::a_chain_is_made_again_although_its_middle_is_gone", a_chain),
    ("reproduce::collected_lists_and_items_are_those_of_the_record", lists_and_items),
    ("reproduce::partitions_pins_and_reuse_lead_to_the_attempt_that_did_the_work", partitions_and_pins),
    ("reproduce::code_beside_and_above_the_pipeline_has_its_place", code_has_its_place),
    ("reproduce::the_place_goes_unless_it_is_to_be_kept", the_place_goes),
    ("reproduce::a_killed_one_leaves_a_place_that_is_found", a_killed_one),
];

/// A process that does attempts again, and says what came of each as a line of JSON.
pub(crate) fn main(
    project: &runstone_engine::project::Project,
    mut store: Box<dyn Store>,
    crew: &Crew,
    words: &[String],
) -> ExitCode {
    let (dataset, version) = words[0].split_once('@').unwrap();
    let versions = store.resolve(dataset, &version.parse::<VersionRef>().unwrap()).unwrap();
    let version = versions.iter().find(|version| version.subset == words[1]).unwrap_or_else(|| panic!("{versions:?}"));
    let (attempt, site) = (version.attempt, drive::site(project.clone(), project.root()));
    let has = |flag: &str| words.iter().any(|word| word == flag);
    let options = Options { deep: has("--deep"), keep: has("--keep"), tool_version: "test".to_owned() };
    let mut tell = |progress: &Progress<'_>| {
        if let Progress::Ended(attempt, reproduction, kept) = progress {
            println!(
                "{}",
                serde_json::json!({"step": attempt.step, "cell": attempt.cell, "it": reproduction, "kept": kept})
            );
        }
    };
    reproduce(&site, store.as_mut(), crew, attempt, &options, &mut tell, drop).unwrap();
    ExitCode::SUCCESS
}

/// What came of one attempt.
#[derive(Debug)]
struct Again {
    task: String,
    it: Reproduction,
    kept: Option<PathBuf>,
}

impl Again {
    fn assert(&self, verdict: Verdict) -> &Self {
        assert_eq!(self.it.verdict, verdict, "{self:#?}");
        self
    }
}

/// All that came of it, in the order of attempts.
fn again(project: &Project, words: &[&str]) -> Vec<Again> {
    let driven = project.drive(&[&["reproduce"], words].concat()).ok();
    let mut all: Vec<Again> = driven
        .events
        .iter()
        .map(|event| Again {
            task: runstone_core::cell::task_name(event["step"].as_str().unwrap(), event["cell"].as_str().unwrap()),
            it: serde_json::from_value(event["it"].clone()).unwrap(),
            kept: event["kept"].as_str().map(PathBuf::from),
        })
        .collect();
    all.sort_by_key(|again| again.it.attempt);
    assert!(!all.is_empty(), "{}", driven.text);
    all
}

fn one(project: &Project, version: &str) -> Again {
    again(project, &[version, ""]).pop().unwrap()
}

/// Tasks with their verdicts.
fn verdicts(all: &[Again]) -> Vec<(&str, Verdict)> {
    all.iter().map(|again| (again.task.as_str(), again.it.verdict)).collect()
}

/// Gives the bytes of a version up.
fn evict(project: &Project, dataset: &str) {
    let (opened, mut store) = drive::open(&project.path(""));
    let site = drive::site(opened, &project.path(""));
    for version in store.resolve(dataset, &VersionRef::Number(1)).unwrap() {
        site.objects.remove(version.hash).unwrap();
        store.set_evicted(&[version.hash], true, runstone_engine::clock::now()).unwrap();
    }
}

/// Nothing on record changed: runs, attempts and objects are those of before.
fn on_record(project: &Project) -> Vec<String> {
    let (_, mut store) = drive::open(&project.path(""));
    let mut rows = Vec::new();
    for run in store.runs(&RunFilter::default()).unwrap() {
        assert_eq!(run.state, RunState::Succeeded);
        rows.extend(store.attempts(run.id, None).unwrap().iter().map(|attempt| format!("{attempt:?}")));
        rows.extend(store.events(run.id, 0).unwrap().iter().map(|event| format!("{event:?}")));
    }
    rows.extend(store.objects().unwrap().iter().map(|object| format!("{object:?}")));
    rows
}

fn the_record_counts() {
    let project = Project::new(
        "
pipeline: p
params: {least: 2}
steps:
  raw: {kind: ingest, from: ./raw.txt}
  clean: {in: {raw: raw, extra: ./extra.txt}, run: './clean.sh | sort', env: {LEVEL: high}, out: {clean: {path: clean.txt}, dir: {dir: true}}}
",
    );
    project.write("raw.txt", "b\na\nccc\n");
    project.write("extra.txt", "extra\n");
    let program = "#!/bin/sh\ncat $IN_RAW $IN_EXTRA > $OUT_CLEAN; mkdir $OUT_DIR/sub\n\
                   echo $PARAM_LEAST $LEVEL $RUN_ID $ATTEMPT > $OUT_DIR/sub/x; pwd > where; ls\n";
    project.write("clean.sh", program);
    fs::set_permissions(project.path("clean.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    project.drive(&["run"]).ok();
    let (before, pwd) = (on_record(&project), project.read("where"));
    let same = |what: &str| {
        let again = one(&project, "p/clean@v1");
        again.assert(Verdict::Identical);
        assert_eq!(again.it.outputs.len(), 2, "{what}");
        assert!(
            again.it.outputs.iter().all(|it| it.verdict == Verdict::Identical && it.found == it.expected),
            "{what}"
        );
    };
    same("nothing changed");
    project.write("clean.sh", "#!/bin/sh\nexit 1\n");
    project.write("raw.txt", "other\n");
    project.remove("extra.txt");
    same("code and sources changed");
    project.remove("clean.sh");
    project.write("pipeline.yaml", "pipeline: p\nsteps: {other: {run: 'true'}}\n");
    same("the pipeline is another one");
    evict(&project, "p/clean");
    evict(&project, "p/clean.dir");
    same("hashes alone decide");
    for source in ["p/raw", "./extra.txt"] {
        let again = one(&project, &format!("{source}@v1"));
        again.assert(Verdict::Identical);
        assert!(again.it.ended >= again.it.started && again.it.tool_version == "test");
    }
    assert_eq!(project.read("where"), pwd, "nothing ran in the project");
    let evicted = |row: &String| !row.contains("evicted: true");
    let now: Vec<String> = on_record(&project).into_iter().filter(evicted).collect();
    assert_eq!(now, before.into_iter().filter(|row| now.contains(row)).collect::<Vec<_>>());
}

fn a_tainted_attempt() {
    let project = Project::new("pipeline: p\nsteps: {self: {run: './self.sh'}}\n");
    project.write("self.sh", "#!/bin/sh\necho '#' >> self.sh\necho 1 > $OUT_SELF\n");
    fs::set_permissions(project.path("self.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    project.drive(&["run"]).ok();
    let again = one(&project, "p/self@v1");
    again.assert(Verdict::Identical);
    assert!(again.it.message.as_ref().unwrap().contains("is tainted: code file self.sh was changed"), "{again:?}");
}

fn time_and_chance() {
    let project = Project::new(
        r#"
pipeline: p
steps:
  chance: {run: 'mkdir $OUT_CHANCE/sub; echo same > $OUT_CHANCE/a; { printf "0123456789"; od -An -N16 -tx1 /dev/urandom; } > $OUT_CHANCE/sub/b; echo same > $OUT_CHANCE/z; echo "{\"n\": $(od -An -N6 -tu4 /dev/urandom | tr -d " \n"), \"fixed\": 1}" > $METRICS', out: {chance: {dir: true}}}
  maybe: {run: 'echo 1 > $OUT_MAYBE; if test -e here; then echo 1 > $OUT_THERE; else echo 1 > $OUT_ELSEWHERE; fi', out: {maybe: {}, there: {optional: true}, elsewhere: {optional: true}}}
"#,
    );
    project.write("here", "");
    project.drive(&["run"]).ok();
    let maybe = one(&project, "p/maybe@v1");
    let sides: Vec<_> = maybe
        .assert(Verdict::Differs)
        .it
        .outputs
        .iter()
        .map(|it| (it.expected.is_some(), it.found.is_some()))
        .collect();
    assert_eq!(sides, [(true, true), (true, false), (false, true)]);
    let again = one(&project, "p/chance@v1");
    again.assert(Verdict::Differs);
    let [output] = &again.it.outputs[..] else { panic!("{again:?}") };
    let difference = output.difference.as_ref().unwrap();
    assert_eq!((difference.path.as_str(), difference.kind), ("sub/b", DifferenceKind::Content));
    assert!(difference.offset.unwrap() >= 10, "{difference:?}");
    assert_eq!(difference.expected_size, difference.found_size);
    assert_ne!(output.expected, output.found);
    let numbers: Vec<&str> = again.it.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(numbers, ["n"], "numbers are told and decide nothing");
    evict(&project, "p/chance");
    let again = one(&project, "p/chance@v1");
    again.assert(Verdict::Differs);
    assert_eq!(again.it.outputs[0].difference, None);
    assert!(again.it.outputs[0].message.as_ref().unwrap().contains("gone"), "{again:?}");
}

const PACKED: &str = r#"
pipeline: p
steps:
  packed: {run: 'cd $TMPDIR; echo same > f; touch -d @$(od -An -N3 -tu4 /dev/urandom | tr -d " ") f; gzip -c -N f > $OUT_PACKED; cp f $OUT_ALL/plain; gzip -c -N f > $OUT_ALL/packed', out: {packed: {NORMALIZE}, all: {dir: true NORMALIZE}}}
"#;

fn what_does_not_count() {
    let with = |one: &str, other: &str| PACKED.replacen("NORMALIZE", one, 1).replacen("NORMALIZE", other, 1);
    let project = Project::new(&with("normalize: gzip", ", normalize: [gzip]"));
    project.drive(&["run"]).ok();
    let again = one(&project, "p/packed@v1");
    again.assert(Verdict::LogicallyIdentical);
    let verdicts: Vec<Verdict> = again.it.outputs.iter().map(|output| output.verdict).collect();
    assert_eq!(verdicts, [Verdict::LogicallyIdentical; 2]);
    assert!(again.it.outputs.iter().all(|output| output.difference.is_none() && output.expected != output.found));

    let project = Project::new(&with("", ", normalize: json"));
    project.drive(&["run"]).ok();
    let again = one(&project, "p/packed@v1");
    again.assert(Verdict::Differs);
    let offset = again.it.outputs[0].difference.as_ref().unwrap().offset;
    assert!(matches!(offset, Some(4..8)), "the time stands in the header: {offset:?}");
    assert!(
        again.it.outputs[1].message.as_ref().unwrap().starts_with("packed was compared byte by byte: it is not a JSON")
    );
    project.write("pipeline.yaml", &with("normalize: gzip", ", normalize: gzip"));
    assert_eq!(project.drive(&["run"]).ok().tasks("task_reused"), ["packed"], "it is no reason to run again");
    one(&project, "p/packed@v1").assert(Verdict::LogicallyIdentical);
}

fn everything_missing() {
    let project = Project::new(
        "
pipeline: p
steps:
  one: {run: 'echo 1 > $OUT_ONE'}
  two: {in: {x: one}, run: './two.sh; sh ./three.sh', env: {TOKEN: {secret: token}}}
",
    );
    project.write("runstone.yaml", "secrets: {token: {file: ./token}}\n");
    project.write("token", "s3cret-s3cret");
    for (name, text) in [("two.sh", "#!/bin/sh\ncat $IN_X > $OUT_TWO\n"), ("three.sh", "#!/bin/sh\n")] {
        project.write(name, text);
        fs::set_permissions(project.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    project.drive(&["run"]).ok();
    one(&project, "p/two@v1").assert(Verdict::Identical);
    evict(&project, "p/one");
    project.remove("token");
    let site = drive::site(drive::open(&project.path("")).0, &project.path(""));
    let code = runstone_core::hash::ContentHash::of(b"#!/bin/sh\n");
    assert!(site.objects.remove(code).unwrap());
    let again = one(&project, "p/two@v1");
    again.assert(Verdict::Impossible);
    let missing = again.it.missing.join("\n");
    for part in ["code file three.sh (b3:", "input `x`: p/one@v1 (b3:", "secret"] {
        assert!(missing.contains(part), "{part}: {missing}");
    }
    assert_eq!((again.it.missing.len(), again.it.outputs.len()), (3, 0));
    let again = one(&project, "p/one@v1");
    again.assert(Verdict::Identical);
}

fn a_secret() {
    let project = Project::new(
        "
pipeline: p
steps:
  say: {run: 'echo $TOKEN | wc -c > $OUT_SAY; echo the token is $TOKEN >&2; test $TOKEN = s3cret-s3cret', env: {TOKEN: {secret: token}}}
",
    );
    project.write("runstone.yaml", "secrets: {token: {file: ./token}}\n");
    project.write("token", "s3cret-s3cret");
    project.drive(&["run"]).ok();
    one(&project, "p/say@v1").assert(Verdict::Identical);
    project.write("token", "an0ther-s3cret");
    let again = one(&project, "p/say@v1");
    again.assert(Verdict::Failed);
    let message = again.it.message.unwrap();
    assert!(message.contains("the token is ") && !message.contains("an0ther"), "{message}");
}

fn a_failing_step() {
    let project = Project::new(
        "
pipeline: p
steps:
  reads: {run: 'test -e data && echo 1 > $OUT_READS || { echo there is no data >&2; exit 3; }'}
  forgets: {run: 'test ! -e data || echo 1 > $OUT_FORGETS'}
  low: {run: 'echo 1 > $OUT_LOW; if test -e data; then f=0.9; else f=0.1; fi; echo \"{\\\"f1\\\": $f}\" > $METRICS', require: ['f1 > 0.5']}
  deploy: {kind: deploy, run: 'echo x >> deployed; echo 1 > $OUT_DEPLOY'}
  slow: {run: 'echo 1 > $OUT_SLOW; test -e data || sleep 1000', timeout: 500ms, grace: 100ms}
",
    );
    project.write("data", "");
    project.drive(&["run"]).ok();
    for (step, part) in [
        ("reads", "exit code 3; its last words: there is no data"),
        ("forgets", "output `forgets` was not written"),
        ("low", "f1"),
        ("slow", "longer than 500ms"),
    ] {
        let again = one(&project, &format!("p/{step}@v1"));
        again.assert(Verdict::Failed);
        let message = again.it.message.unwrap();
        assert!(message.contains(part), "{step}: {message}");
        assert_eq!(again.it.outputs, []);
    }
    let again = one(&project, "p/deploy@v1");
    again.assert(Verdict::Impossible);
    assert!(again.it.missing[0].contains("acts on the world"), "{again:?}");
}

fn a_chain() {
    let project = Project::new(
        r#"
pipeline: p
steps:
  raw: {kind: ingest, from: ./raw.txt}
  many: {in: {x: raw}, run: 'for n in 1 2 3; do cp $IN_X $OUT_MANY/$n; done', out: {many: {dir: true}}}
  file: {in: {x: many}, run: 'cat $IN_X/* > $OUT_FILE'}
  end: {in: {x: file, y: many}, run: 'cat $IN_X $IN_Y/1 > $OUT_END'}
  noise: {in: {x: file}, run: 'od -An -N16 -tx1 /dev/urandom > $OUT_NOISE'}
  below: {in: {x: noise}, run: 'wc -c < $IN_X > $OUT_BELOW'}
"#,
    );
    project.write("raw.txt", "raw\n");
    project.drive(&["run"]).ok();
    let all = again(&project, &["p/end@v1", "", "--deep"]);
    let right = [("raw", Verdict::Identical), ("many", Verdict::Identical), ("file", Verdict::Identical)];
    let right = [&right[..], &[("end", Verdict::Identical)]].concat();
    assert_eq!(verdicts(&all), right);
    evict(&project, "p/many");
    evict(&project, "p/file");
    one(&project, "p/end@v1").assert(Verdict::Impossible);
    let before = objects(&project);
    assert_eq!(verdicts(&again(&project, &["p/end@v1", "", "--deep"])), right);
    assert_eq!(objects(&project), before, "what was made again is not kept");

    let all = again(&project, &["p/below@v1", "", "--deep"]);
    let last = verdicts(&all)[3..].to_vec();
    assert_eq!(last, [("noise", Verdict::Differs), ("below", Verdict::Identical)], "it reads what is on record");
    evict(&project, "p/noise");
    let all = again(&project, &["p/below@v1", "", "--deep"]);
    assert_eq!(verdicts(&all)[4], ("below", Verdict::Impossible), "what came out otherwise is no input");
    assert!(all[4].it.missing[0].contains("input `x`: p/noise@v1"), "{all:?}");
}

/// Stored objects, by their names.
fn objects(project: &Project) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![project.path(".runstone/objects")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn lists_and_items() {
    let project = Project::new(
        r#"
pipeline: p
steps:
  cell:
    matrix: {n: [10, 2, 33], who: ['a,b', x], min_success: 4}
    run: 'test "$MATRIX_N$MATRIX_WHO" != 2x; echo "{\"f\": $MATRIX_N}" > $METRICS; echo $MATRIX_N $MATRIX_WHO > $OUT_CELL'
    out: {cell: {path: cell.txt}, log: {optional: true}}
  all: {in: {cells: cell, again: cell}, run: 'sed s@/.*/@@ $IN_CELLS > $OUT_ALL; wc -l < $IN_AGAIN >> $OUT_ALL'}
  dir: {run: 'mkdir $OUT_DIR/sub; echo 1 > $OUT_DIR/a.txt; echo 2 > $OUT_DIR/sub/b', out: {dir: {dir: true}}}
  each: {foreach: {entry: dir}, in: {it: entry, all: dir}, run: 'ls -R $IN_IT/ $IN_IT 2>/dev/null | sed s@.*/@@ > $OUT_EACH; ls $IN_ALL >> $OUT_EACH'}
  lone: {foreach: {entry: dir}, in: {it: entry}, run: 'find $IN_IT/ | sed s@.*/@@ > $OUT_LONE'}
  list: {run: 'echo "[1, {\"b\": 2, \"a\": [1.5]}, \"x\"]" > $OUT_LIST'}
  of: {foreach: {value: list}, in: {l: list}, run: 'echo "$ITEM_VALUE" > $OUT_OF; cat $IN_L >> $OUT_OF'}
  again: {foreach: {one: cell}, in: {c: one}, run: 'echo $ITEM_ONE > $OUT_AGAIN; cat $IN_C >> $OUT_AGAIN'}
  sum: {in: {all: all, each: each, of: of, again: again}, run: 'for list in $IN_EACH $IN_OF $IN_AGAIN; do grep -c key $list; done > $OUT_SUM'}
"#,
    );
    project.drive(&["run"]).ok();
    let all = again(&project, &["p/sum@v1", "", "--deep"]);
    assert!(all.iter().all(|again| again.it.verdict == Verdict::Identical), "{all:#?}");
    // Five cells and the list of them, a folder with two entries, a list of three, five of five, and the end.
    assert_eq!(all.len(), 5 + 1 + 1 + 2 + 1 + 3 + 5 + 1);
    let cell = again(&project, &["p/cell@latest", "n=10,who=\"a,b\""]).pop().unwrap();
    assert_eq!(cell.assert(Verdict::Identical).task, "cell{n=10,who=\"a,b\"}");
    // A later run of one step alone reads what the others published last.
    project.drive(&["run", "--only", "all", "--force", "all"]).ok();
    again(&project, &["p/all@latest", ""]).pop().unwrap().assert(Verdict::Identical);
    evict(&project, "p/dir");
    for (step, slot) in [("lone", "it"), ("each", "all")] {
        let version = format!("p/{step}@latest");
        let alone = again(&project, &[&version, "entry=a.txt"]).pop().unwrap();
        alone.assert(Verdict::Impossible);
        assert!(alone.it.missing[0].starts_with(&format!("input `{slot}`: p/dir@v1 (b3:")), "{alone:?}");
        let deep = again(&project, &[&version, "entry=a.txt", "--deep"]).pop().unwrap();
        deep.assert(Verdict::Identical);
    }
}

fn partitions_and_pins() {
    let project = Project::new(
        "
pipeline: p
partition: {by: day, start: 2026-01-01}
steps:
  raw: {kind: ingest, from: './data/${{ partition }}.txt'}
  day: {in: {x: raw}, run: 'echo $PARTITION > $OUT_DAY; cat $IN_X >> $OUT_DAY'}
  wide: {in: {x: day}, matrix: {n: [1, 2]}, run: 'echo $MATRIX_N $PARTITION > $OUT_WIDE; cat $IN_X >> $OUT_WIDE'}
  end: {in: {x: wide}, run: 'sed s@/.*/@@ $IN_X > $OUT_END'}
",
    );
    for day in ["2026-01-01", "2026-01-02"] {
        project.write(&format!("data/{day}.txt"), "same\n");
        project.drive(&["run", "--partition", day]).ok();
    }
    for day in ["2026-01-01", "2026-01-02"] {
        let all = again(&project, &["p/end@latest", &format!("partition={day}"), "--deep"]);
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|again| again.it.verdict == Verdict::Identical), "{all:#?}");
    }

    project.write(
        "pipeline.yaml",
        "
pipeline: q
steps:
  in: {in: {days: p/wide@v1, one: p/end@v2}, run: 'sed s@/.*/@@ $IN_DAYS $IN_ONE > $OUT_IN'}
  end: {in: {x: in}, run: 'cat $IN_X > $OUT_END'}
",
    );
    project.drive(&["run"]).ok();
    let all = again(&project, &["q/end@v1", "", "--deep"]);
    assert!(all.iter().all(|again| again.it.verdict == Verdict::Identical), "{all:#?}");
    // The same work under another name: whoever did it is done again, once.
    project.write("pipeline.yaml", "pipeline: r\nsteps:\n  in: {in: {days: p/wide@v1, one: p/end@v2}, run: 'sed s@/.*/@@ $IN_DAYS $IN_ONE > $OUT_IN'}\n");
    assert_eq!(project.drive(&["run"]).ok().tasks("task_reused"), ["in"]);
    let (_, mut store) = drive::open(&project.path(""));
    let taken = store.resolve("r/in", &VersionRef::Latest).unwrap().pop().unwrap();
    let attempt = store.attempts_by_id(&[taken.attempt]).unwrap().pop().unwrap();
    assert_eq!(attempt.kind, AttemptKind::Reuse);
    let again = one(&project, "r/in@v1");
    again.assert(Verdict::Identical);
    assert_eq!(Some(again.it.attempt), attempt.reused_from);
    oracle::check(&project);
}

fn code_has_its_place() {
    let pipeline =
        |code: &str| format!("pipeline: p\nsteps:\n  run: {{run: 'cat {code} > $OUT_RUN', code: ['{code}']}}\n");
    let project = Project::new(&pipeline("./lib/./own.sh"));
    project.write("lib/own.sh", "own\n");
    project.drive(&["run"]).ok();
    one(&project, "p/run@v1").assert(Verdict::Identical);

    let project = Project::new("");
    project.write("runstone.yaml", "");
    project.write("shared/lib.sh", "shared\n");
    project.write("pipelines/here/pipeline.yaml", &pipeline("../../shared/lib.sh"));
    project.drive(&["run", "--file", "pipelines/here/pipeline.yaml"]).ok();
    project.remove("shared/lib.sh");
    one(&project, "p/run@v1").assert(Verdict::Identical);

    let outside = tempfile::tempdir_in(project.path("..")).unwrap();
    fs::write(outside.path().join("lib.sh"), "outside\n").unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    let project = Project::new(&pipeline(&format!("../{name}/lib.sh")));
    project.drive(&["run"]).ok();
    let again = one(&project, "p/run@v1");
    again.assert(Verdict::Impossible);
    assert!(again.it.missing[0].ends_with("lies outside of the project"), "{again:?}");
}

fn the_place_goes() {
    let project = Project::new(
        "
pipeline: p
steps:
  one: {run: 'mkdir -p $TMPDIR/x; touch $TMPDIR/x/y; chmod 500 $TMPDIR/x; echo log; echo 1 > $OUT_ONE'}
",
    );
    project.drive(&["run"]).ok();
    let places = || fs::read_dir(project.path(".runstone/scratch")).unwrap().count();
    one(&project, "p/one@v1").assert(Verdict::Identical);
    assert_eq!(places(), 0);
    let again = again(&project, &["p/one@v1", "", "--keep"]).pop().unwrap();
    let kept = again.kept.unwrap();
    assert_eq!(fs::read_to_string(kept.join("stdout")).unwrap(), "log\n");
    assert_eq!((fs::read_to_string(kept.join("out/one")).unwrap().as_str(), places()), ("1\n", 1));
}

fn a_killed_one() {
    let script =
        "echo 1 > $OUT_ONE; case $PWD in */scratch/*) touch $TMPDIR/waiting; while :; do sleep 0.01; done;; esac";
    let project = Project::new(&format!("pipeline: p\nsteps:\n  one: {{run: '{script}', grace: 100ms}}\n"));
    project.drive(&["run"]).ok();
    let mut driver = project.command(&["reproduce", "p/one@v1", ""]).spawn().unwrap();
    let place = eventually("the step waits", || {
        let place = fs::read_dir(project.path(".runstone/scratch")).ok()?.next()?.ok()?.path();
        let waits = fs::read_dir(&place).ok()?.flatten().any(|room| room.path().join("tmp/waiting").exists());
        waits.then_some(place)
    });
    let (opened, _) = drive::open(&project.path(""));
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(abandoned(&opened, later).unwrap(), [""; 0].map(PathBuf::from), "somebody works in it");
    driver.kill().unwrap();
    driver.wait().unwrap();
    let ended = eventually("the step is ended", || {
        let entries = journal::read(&place.join("outcomes.jsonl")).unwrap();
        entries.into_iter().find_map(|entry| if let journal::Entry::Ended(ended) = entry { Some(ended) } else { None })
    });
    assert_eq!(ended.cause, Cause::Cancelled);
    eventually("the place is free", || (abandoned(&opened, later).unwrap() == [place.clone()]).then_some(()));
    assert!(abandoned(&opened, later - Duration::from_hours(1)).unwrap().is_empty(), "it is too young to be removed");
}

/// Waits until `condition` gives something.
fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
