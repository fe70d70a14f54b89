//! Mistakes of other systems that this one must not make, each by the project and the number under which it was reported.

use serde_json::{Value, json};

use crate::project::Project;
use crate::running::{Running, until};
use crate::service::{leave, serve};

/// The state and the cause of each partition of a pipeline, as the ledger has them.
fn ledger(project: &Project, pipeline: &str) -> Vec<(String, String)> {
    let views = project.json(&["partitions", pipeline]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    views.as_array().unwrap().iter().map(|view| (text(&view["state"]), text(&view["cause"]))).collect()
}

fn states(project: &Project, pipeline: &str) -> Vec<String> {
    ledger(project, pipeline).into_iter().map(|(state, _)| state).collect()
}

/// What a backfill would run.
fn open(project: &Project, pipeline: &str) -> Value {
    project.json(&["backfill", pipeline, "--dry-run"])["chosen"].clone()
}

/// A project with schedulers that know its pipelines.
fn served(files: &[(&str, &str)]) -> (Project, Running) {
    let project = Project::empty();
    for (name, text) in files {
        project.write(name, text);
    }
    let scheduler = serve(&project);
    (project, scheduler)
}

const REGIONS: &str = "
pipeline: regions
partition: {by: list, values: [north, south]}
steps:
  first: {run: 'sh ./first.sh', code: ./first.sh}
  second: {in: {f: first}, run: 'sh ./second.sh', code: ./second.sh}
";

fn regions() -> (Project, Running) {
    let files = [
        ("regions.yaml", REGIONS),
        ("first.sh", "echo \"first $PARTITION\" > $OUT_FIRST\n"),
        ("second.sh", "echo \"second $(cat $IN_F)\" > $OUT_SECOND\n"),
    ];
    let (project, scheduler) = served(&files);
    for region in ["north", "south"] {
        project.run(&["regions.yaml", "--partition", region]);
    }
    assert_eq!(states(&project, "regions"), ["done"; 2]);
    (project, scheduler)
}

/// A step of a partitioned pipeline got other code, and everything was still said to be up to date.
mod dagster_22704 {
    use super::*;

    #[test]
    fn new_code_makes_every_partition_stale_and_runs_that_step_alone() {
        let (project, scheduler) = regions();
        project.write("second.sh", "echo \"2nd $(cat $IN_F)\" > $OUT_SECOND\n");
        assert_eq!(states(&project, "regions"), ["stale"; 2]);
        assert!(ledger(&project, "regions").iter().all(|(_, cause)| cause.contains("second")));
        assert_eq!(open(&project, "regions"), json!(["north", "south"]));
        let run = project.run(&["regions.yaml", "--partition", "south"]);
        assert_eq!((run.executed(), run.reused()), (vec!["second".to_owned()], vec!["first".to_owned()]));
        assert_eq!(states(&project, "regions"), ["stale", "done"]);
        let why = project.json(&["why", "regions/second@partition:south"]);
        let step = &why[0]["explanation"]["steps"][0];
        assert_eq!(step["before"]["run_number"], 2, "the run of the same partition: {why:#}");
        assert_eq!((&step["causes"][0]["what"], &step["causes"][0]["name"]), (&"code".into(), &"second.sh".into()));
        assert_eq!(step["causes"].as_array().unwrap().len(), 1);
        leave(scheduler);
    }

    #[test]
    fn new_code_further_up_is_noticed_and_ends_where_bytes_are_equal() {
        let (project, scheduler) = regions();
        project.write("first.sh", "# the same\necho \"first $PARTITION\" > $OUT_FIRST\n");
        assert_eq!(states(&project, "regions"), ["stale"; 2]);
        for region in ["north", "south"] {
            assert_eq!(project.run(&["regions.yaml", "--partition", region]).executed(), ["first"]);
        }
        assert_eq!(states(&project, "regions"), ["done"; 2]);
        leave(scheduler);
    }
}

/// One partition of an upstream step was made anew, and what depends on it was not run, because only the whole was looked
/// at and not the partition.
mod dagster_18921 {
    use super::*;

    #[test]
    fn what_was_made_anew_for_one_partition_makes_that_one_stale() {
        let pipeline = "
pipeline: pair
partition: {by: list, values: [a, b, c]}
steps:
  one: {kind: ingest, from: './in/${{ partition }}.txt'}
  two: {in: {o: one}, run: 'echo x >> two.count; tr a-z A-Z < $IN_O > $OUT_TWO'}
";
        let (project, scheduler) =
            served(&[("pair.yaml", pipeline), ("in/a.txt", "a\n"), ("in/b.txt", "b\n"), ("in/c.txt", "c\n")]);
        for key in ["a", "b", "c"] {
            project.run(&["pair.yaml", "--partition", key]);
        }
        assert_eq!(states(&project, "pair"), ["done"; 3]);
        project.write("in/b.txt", "corrected\n");
        project.run(&["pair.yaml", "one", "--partition", "b"]);
        assert_eq!(states(&project, "pair"), ["done", "stale", "done"]);
        assert_eq!(open(&project, "pair"), json!(["b"]));
        project.runstone(&["backfill", "pair"]).ok();
        until("the one partition is done again", || states(&project, "pair") == ["done"; 3]);
        assert_eq!(project.content("pair/two@partition:b"), "CORRECTED\n");
        assert_eq!(project.lines("two.count"), 4, "and the others were left alone");
        leave(scheduler);
    }
}

/// A whole dataset got a new version, and the partitions that were made of it were not stale, nor what was made of them.
mod dagster_14385 {
    use super::*;

    const OCEANS: &str = "
pipeline: oceans
steps:
  all: {kind: ingest, from: ./oceans.csv}
";
    const MEANS: &str = "
pipeline: means
partition: {by: list, values: [arctic, indian]}
steps:
  mine: {in: {rows: oceans/all}, run: 'grep $PARTITION $IN_ROWS > $OUT_MINE'}
  mean: {in: {m: mine}, run: 'cut -d, -f2 < $IN_M > $OUT_MEAN'}
";

    #[test]
    fn a_new_version_of_the_whole_makes_its_partitions_stale_and_their_descendants() {
        let (project, scheduler) =
            served(&[("oceans.yaml", OCEANS), ("means.yaml", MEANS), ("oceans.csv", "arctic,1\nindian,2\n")]);
        project.run(&["oceans.yaml"]);
        for key in ["arctic", "indian"] {
            project.run(&["means.yaml", "--partition", key]);
        }
        assert_eq!(states(&project, "means"), ["done"; 2]);
        project.write("oceans.csv", "arctic,1\nindian,20\n");
        project.run(&["oceans.yaml"]);
        assert_eq!(states(&project, "means"), ["stale"; 2]);
        // What is still in use of the old version is told by it, down to the last descendant.
        let in_use = |project: &Project| {
            let impact = project.json(&["impact", "oceans/all@v1"]);
            let datasets = impact["pipelines"][0]["datasets"].as_array().unwrap().clone();
            let latest = datasets.iter().map(|it| it["latest"].as_array().unwrap().len());
            latest.sum::<usize>()
        };
        assert_eq!(in_use(&project), 4);
        let arctic = project.run(&["means.yaml", "--partition", "arctic"]);
        assert_eq!((arctic.executed(), arctic.reused()), (vec!["mine".to_owned()], vec!["mean".to_owned()]));
        assert_eq!(states(&project, "means"), ["done", "stale"]);
        assert_eq!(project.run(&["means.yaml", "--partition", "indian"]).executed(), ["mean", "mine"]);
        assert_eq!(project.content("means/mean@partition:indian"), "20\n");
        assert_eq!(states(&project, "means"), ["done"; 2]);
        let up = project.json(&["lineage", "means/mean@partition:arctic"]);
        let raw: Vec<&Value> =
            up["versions"].as_array().unwrap().iter().filter(|it| it["dataset"] == "oceans/all").collect();
        assert_eq!((raw.len(), &raw[0]["version"]), (1, &2.into()), "it stands on the new version now, by a reuse");
        assert_eq!(in_use(&project), 0, "and nothing in use stands on the old one alone");
        leave(scheduler);
    }
}

/// A file was edited after it was hashed and before it was read: what was made of the new text was cached under the hash of
/// the old one, for everybody and for ever.
mod bazel_3360 {
    use super::*;

    const BUILD: &str = "
pipeline: build
steps:
  gate: {cache: never, run: 'touch waiting; ./wait.sh go; echo 1 > $OUT_GATE'}
  made: {in: {s: ./source.txt}, after: gate, run: 'sh ./compile.sh', code: ./compile.sh}
";

    fn build() -> Project {
        let project = Project::new(BUILD);
        project.write("source.txt", "old\n");
        project.write("compile.sh", "echo x >> count; cat ./compile.note $IN_S > $OUT_MADE\n");
        project.write("compile.note", "");
        project
    }

    /// Runs again, with the text as it is, and expects what belongs to it.
    #[track_caller]
    fn holds(project: &Project, expected: &str) {
        project.run(&[]);
        assert_eq!(project.content("build/made"), expected);
    }

    #[test]
    fn an_edit_while_it_waits_for_its_turn_poisons_nothing() {
        let project = build();
        let run = project.start(&["run", "--json", "--jobs", "1"]);
        until("the one before it runs", || project.exists("waiting"));
        project.write("source.txt", "new\n");
        project.write("go", "");
        run.wait();
        holds(&project, "new\n");
        project.write("source.txt", "old\n");
        holds(&project, "old\n");
        project.write("source.txt", "new\n");
        holds(&project, "new\n");
        project.runstone(&["verify"]).ok();
    }

    #[test]
    fn an_edit_while_it_runs_reaches_neither_what_it_reads_nor_the_cache() {
        let project = build();
        project.write("compile.sh", "touch started; ./wait.sh on; cat $IN_S > $OUT_MADE\n");
        project.write("go", "");
        let run = project.start(&["run", "--json"]);
        until("it runs", || project.exists("started"));
        project.write("source.txt", "new\n");
        project.write("on", "");
        run.wait().ok();
        assert_eq!(project.content("build/made"), "old\n", "it reads what was hashed, not what lies there now");
        holds(&project, "new\n");
        project.write("source.txt", "old\n");
        let again = project.run(&[]);
        assert!(again.reused().contains(&"made".to_owned()), "what was made of the old text still stands: {again:?}");
        assert_eq!(project.content("build/made"), "old\n");
    }

    #[test]
    fn code_that_is_edited_and_put_back_while_it_runs_leaves_nothing_that_is_reused() {
        let project = build();
        let code = "touch started; ./wait.sh on; . ./part.sh\n";
        project.edit("pipeline.yaml", "code: ./compile.sh", "code: [./compile.sh, ./part.sh]");
        project.write("compile.sh", code);
        project.write("part.sh", "cat $IN_S > $OUT_MADE\n");
        project.write("go", "");
        let run = project.start(&["run", "--json"]);
        until("it runs", || project.exists("started"));
        project.write("part.sh", "echo poisoned > $OUT_MADE\n");
        project.write("on", "");
        run.wait();
        project.write("part.sh", "cat $IN_S > $OUT_MADE\n");
        holds(&project, "old\n");
        let why = project.json(&["why", "made"]);
        assert_ne!(why[0]["explanation"]["steps"][0]["verdict"], "first", "the poisoned attempt is on record: {why:#}");
        assert_eq!(why[0]["explanation"]["steps"][0]["before"]["reusable"], false);
    }
}

/// A command ended well without having made what it should, and that was cached: whoever asked again got the same nothing.
mod bazel_14543 {
    use super::*;

    #[test]
    fn success_without_the_outputs_is_a_failure_and_is_never_reused() {
        let project = Project::new(
            "
pipeline: crash
steps:
  compile: {run: 'echo x >> count; test ! -e healthy || echo 1 > $OUT_A; echo 2 > $OUT_B; exit 0', out: [a, b]}
  link: {in: {a: compile.a}, run: 'cat $IN_A > $OUT_LINK'}
",
        );
        for attempt in 1..=2 {
            let run = project.run_with_code(&[], 1);
            assert_eq!((run.failed(), project.lines("count")), (vec!["compile".to_owned()], attempt));
            assert_eq!(run.reused(), [""; 0]);
        }
        assert_eq!(project.task("compile")["attempt"]["cause"], "missing_output");
        assert_eq!(project.runstone(&["datasets"]).code, 4, "what it did make is not published either");
        project.write("healthy", "");
        assert_eq!(project.run(&[]).executed(), ["compile", "link"], "the same question, asked anew");
        let why = project.json(&["why", "compile"]);
        let step = &why[0]["explanation"]["steps"][0];
        assert_eq!((&step["verdict"], &step["before"]["state"]), (&"again".into(), &"failed".into()));
        project.runstone(&["verify"]).ok();
    }

    /// A result of which something is gone is no result either.
    #[test]
    fn a_result_without_all_of_its_bytes_is_made_again() {
        let project = Project::new(
            "
pipeline: lost
steps:
  compile: {run: 'echo x >> count; echo one > $OUT_A; echo two > $OUT_B', out: [a, b]}
",
        );
        project.run(&[]);
        std::fs::remove_file(project.object("two\n")).unwrap();
        assert_eq!(project.run(&[]).executed(), ["compile"]);
        assert_eq!(
            (project.content("lost/compile.a"), project.content("lost/compile.b")),
            ("one\n".into(), "two\n".into())
        );
        assert_eq!(project.lines("count"), 2);
    }
}
