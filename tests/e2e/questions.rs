//! What people ask about a version: what made it, why, in what it differs, how it came from another, what became of it,
//! and where else something like it was done.

use serde_json::{Value, json};

use crate::project::Project;
use crate::shop::{grown, shop};

fn list<'v>(value: &'v Value, field: &str) -> &'v Vec<Value> {
    value[field].as_array().unwrap_or_else(|| panic!("no list {field} in {value:#}"))
}

fn name(version: &Value) -> String {
    let subset = version["subset"].as_str().unwrap();
    let cell = if subset.is_empty() { String::new() } else { format!("{{{subset}}}") };
    format!("{}{cell}@v{}", version["dataset"].as_str().unwrap(), version["version"])
}

fn names(lineage: &Value) -> Vec<String> {
    let mut names: Vec<String> = list(lineage, "versions").iter().map(name).collect();
    names.sort();
    names
}

fn texts<'v>(values: &'v [Value], field: &str) -> Vec<&'v str> {
    values.iter().map(|value| value[field].as_str().unwrap()).collect()
}

/// The first causes of the only answer, as (way, summary).
fn first_causes(project: &Project, of: &str) -> Vec<(String, String)> {
    let why = project.json(&["why", of]);
    let causes = list(&why[0]["explanation"], "first_causes");
    let way =
        |cause: &Value| list(cause, "path").iter().map(|hop| hop.as_str().unwrap()).collect::<Vec<_>>().join(" > ");
    causes.iter().map(|cause| (way(cause), cause["summary"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn what_a_version_was_made_of_is_exact_and_what_is_newer_is_not_in_it() {
    let project = grown();
    let up = project.json(&["lineage", "board/view"]);
    assert_eq!(names(&up), ["board/view@v1", "shop/clean@v1", "shop/raw@v1"], "though shop/clean is at v2 by now");
    let attempts = list(&up, "attempts");
    assert_eq!(texts(attempts, "task"), ["raw", "clean", "view"]);
    assert_eq!((&attempts[1]["run_number"], &attempts[2]["run_number"]), (&1.into(), &2.into()));
    assert_eq!(attempts[1]["asked"]["params"], json!({"min": 2}));
    assert_eq!(attempts[1]["asked"]["code"].as_object().unwrap().keys().collect::<Vec<_>>(), ["clean.sh"]);
    let reads: Vec<(&Value, &Value)> = list(&up, "reads").iter().map(|it| (&it["input"], &it["trust"])).collect();
    assert_eq!(reads, [(&"rows".into(), &"verified".into()); 2]);
    for read in list(&up, "reads") {
        assert!(read["version_node"].as_i64() < read["attempt_node"].as_i64(), "edges run from smaller to larger");
    }
    assert_eq!((&up["direction"], &up["partial"], &up["cut"]), (&"up".into(), &false.into(), &Value::Null));
    let report = project.json(&["lineage", "shop/report"]);
    assert!(names(&report).contains(&"shop/raw@v2".to_owned()) && !names(&report).contains(&"shop/raw@v1".to_owned()));
    let mut datasets = texts(list(&report, "versions"), "dataset");
    datasets.sort_unstable();
    let parts = ["clean", "model", "model", "pages", "raw", "report", "words", "words"];
    assert_eq!(datasets, parts.map(|part| format!("shop/{part}")));
    let down = names(&project.json(&["lineage", "shop/clean@v1", "--down"]));
    assert!(down.contains(&"board/view@v1".to_owned()), "across pipelines: {down:?}");
}

#[test]
fn limits_cut_and_every_form_says_so() {
    let project = grown();
    for (limit, cut) in [(["--depth", "1"], "depth"), (["--nodes", "2"], "nodes"), (["--time", "0s"], "time")] {
        let asked = [&["lineage", "shop/report"], &limit[..]].concat();
        let view = project.json(&asked);
        assert_eq!((&view["partial"], &view["cut"]), (&true.into(), &cut.into()));
        let note = format!("not everything is shown: {} cut it", limit[0]);
        let tree = project.runstone(&asked).ok();
        assert!(tree.out.ends_with(&format!("{note}\n")), "{tree:?}");
        for form in ["--table", "--mermaid", "--dot", "--svg"] {
            let drawn = project.runstone(&[&asked[..], &[form]].concat()).ok();
            assert!(drawn.err.contains(&note) && !drawn.out.contains(&note), "{drawn:?}");
        }
        let impact = project.json(&[&["impact", "shop/raw@v1"], &limit[..]].concat());
        assert_eq!((&impact["partial"], &impact["cut"]), (&true.into(), &cut.into()));
    }
    project.runstone(&["path", "shop/raw", "shop/report", "--nodes", "1"]).code(4).says(&["raise --nodes"]);
    for wrong in [["--depth", "-1"], ["--depth", "x"], ["--nodes", "1.5"], ["--time", "5"], ["--time", "soon"]] {
        project.runstone(&[&["lineage", "shop/report"], &wrong[..]].concat()).code(2);
    }
}

#[test]
fn pictures_are_what_their_readers_expect() {
    let project = shop();
    let svg = project.runstone(&["lineage", "shop/report", "--svg"]).ok().out;
    assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("shop/raw@v1"), "{svg}");
    let mermaid = project.runstone(&["lineage", "shop/report", "--mermaid"]).ok().out;
    assert!(mermaid.starts_with("flowchart") && mermaid.contains("-->"), "{mermaid}");
    assert!(project.runstone(&["lineage", "shop/report", "--dot"]).ok().out.starts_with("digraph"));
    let table = project.runstone(&["lineage", "shop/report", "--table"]).ok().out;
    assert_eq!(table.lines().count(), 1 + 8, "a line for each version: {table}");
    for two in [["--svg", "--json"], ["--svg", "--dot"], ["--up", "--down"], ["--table", "--mermaid"]] {
        project.runstone(&[&["lineage", "shop/report"], &two[..]].concat()).code(2);
    }
}

#[test]
fn every_way_to_name_a_version_leads_to_it() {
    let project = grown();
    let versions = project.json(&["datasets", "shop/clean"]);
    let (new, old) = (&versions[0], &versions[1]);
    let hash = |version: &Value| version["hash"].as_str().unwrap()[..12].to_owned();
    let time = |version: &Value| version["created_at"].as_str().unwrap().to_owned();
    let by = |version: &str| {
        let view = project.json(&["lineage", version, "--depth", "0"]);
        name(&list(&view, "versions")[0])
    };
    for way in ["v1", &hash(old), "approved", "run:1", &time(old)] {
        assert_eq!(by(&format!("shop/clean@{way}")), "shop/clean@v1", "{way}");
        assert_eq!(by(&format!("clean@{way}")), "shop/clean@v1", "{way}");
    }
    for way in ["v2", &hash(new), "latest", "run:3", "run:latest", &time(new), "2100-01-01T00:00Z"] {
        assert_eq!(by(&format!("shop/clean@{way}")), "shop/clean@v2", "{way}");
    }
    assert_eq!(by(&hash(old)), "shop/clean@v1", "content alone");
    assert!(by("shop/model{lr=0.5}@run:1").starts_with("shop/model{lr=0.5}@v"));
    // A moment has its offset: 9 hours later there, the same here.
    assert_eq!(by("shop/clean@2100-01-01T09:00+09:00"), "shop/clean@v2");
}

#[test]
fn what_names_nothing_or_too_much_says_what_there_is() {
    let project = grown();
    for (version, code, hint) in [
        ("shop/clean@v9", 4, "has no version 9"),
        ("shop/clean@v0", 2, "does not name a version"),
        ("shop/clean@nobody", 4, "has no tag nobody"),
        ("shop/clean@Nobody", 2, "does not name a version"),
        ("shop/clean@run:2", 4, "neither published nor reused"),
        ("shop/clean@run:99", 4, "neither published nor reused"),
        ("shop/clean@run:", 2, "does not name a version"),
        ("shop/clean@b3:0000", 4, "has a hash that starts with b3:0000"),
        ("shop/clean@b3:00", 2, "does not name a version"),
        ("shop/clean@1999-01-01T00:00Z", 4, "had no latest version at that time"),
        ("shop/clean@2026-11-01", 2, "does not name a version"),
        ("shop/clean@2026-11-01T12:00", 2, "does not name a version"),
        ("shop/clean@partition:2026-11-01", 4, "no latest version of partition"),
        ("shop/claen", 4, "there is no dataset shop/claen"),
        ("shop/model{lr=0.9}", 4, "has no such cell"),
        ("shop/model{lr", 2, "does not name a dataset"),
        ("b3:00000000", 4, "no dataset holds content"),
        ("", 2, ""),
    ] {
        for command in ["lineage", "impact", "export"] {
            let more: &[&str] = if command == "export" { &["--to", "never"] } else { &[] };
            project.runstone(&[&[command, version], more].concat()).code(code).says(&[hint]);
        }
    }
    assert!(!project.exists("never") && !project.exists("never.partial"));
    project.runstone(&["diff", "shop/model", "shop/report"]).code(2).says(&["2 cells fit", "name more of the cell"]);
    project.runstone(&["lineage"]).code(2);
    project.runstone(&["path", "shop/raw"]).code(2);
    Project::empty().runstone(&["lineage", "shop/clean"]).code(4);
}

#[test]
fn why_leads_to_the_source_the_file_or_the_parameter_that_changed() {
    let project = grown();
    let source = "source changed: content".to_owned();
    assert_eq!(first_causes(&project, "report"), [("#3 report > #3 model{lr=0.1} > #3 clean > #3 raw".into(), source)]);
    assert_eq!(first_causes(&project, "shop/clean@v2")[0].0, "#3 clean > #3 raw", "a version is asked about alike");

    project.edit("clean.sh", "$2 >= m", "$2 > m");
    project.run(&["shop.yaml"]);
    let way = "#4 report > #4 model{lr=0.1} > #4 clean".to_owned();
    assert_eq!(first_causes(&project, "report"), [(way, "code file changed: clean.sh".into())]);

    project.run(&["shop.yaml", "-p", "seed=8"]);
    let causes = first_causes(&project, "report");
    assert_eq!(causes.len(), 2, "both cells have their own: {causes:?}");
    assert!(causes.iter().all(|(_, cause)| cause == "parameter changed: seed"), "{causes:?}");
    let told = project.runstone(&["why", "model{lr=0.5}"]).ok().out;
    assert!(told.contains("parameter changed: seed  7 → 8"), "{told}");

    project.write("pages/b.txt", "three four\n");
    project.run(&["shop.yaml", "-p", "seed=8"]);
    let why = project.json(&["why", "words{item=b.txt}"]);
    assert_eq!(why[0]["state"], "succeeded");
    let pages = project.json(&["why", "pages"]);
    let files = list(&pages[0]["explanation"]["steps"][0]["causes"][0], "files").clone();
    assert_eq!(texts(&files, "path"), ["b.txt"], "the other file is what it was");
}

#[test]
fn why_tells_reused_forced_skipped_and_new_things_apart() {
    let project = grown();
    let reused = project.json(&["why", "words{item=a.txt}"]);
    assert_eq!((&reused[0]["state"], &reused[0]["run_number"]), (&"reused".into(), &3.into()));
    assert!(reused[0]["summary"].as_str().unwrap().contains("the result of run #1 stands for it"), "{reused:#}");
    project.run(&["shop.yaml", "--force", "clean"]);
    let forced = project.json(&["why", "clean"]);
    let step = &forced[0]["explanation"]["steps"][0];
    assert_eq!((&step["verdict"], &step["before"]["reusable"]), (&"repeated".into(), &true.into()));
    assert_eq!(first_causes(&project, "clean")[0].1, "the same was asked and done again");
    let new = project.json(&["why", "#1/clean"]);
    assert_eq!(new[0]["explanation"]["steps"][0]["verdict"], "first");
    let cells = project.json(&["why", "model", "--run", "1"]);
    assert_eq!(texts(cells.as_array().unwrap(), "task"), ["model{lr=0.1}", "model{lr=0.5}"]);
    for (wrong, code) in [
        (vec!["why", "nothing"], 4),
        (vec!["why", "#9/clean"], 4),
        (vec!["why", "clean", "--run", "2"], 4),
        (vec!["why", "#1/clean", "--run", "3"], 2),
        (vec!["why", "shop/clean@v1", "--run", "1"], 2),
        (vec!["why", "shop/clean@v7"], 4),
        (vec!["why", "model{lr=7}"], 4),
        (vec!["why", "model{lr"], 2),
    ] {
        project.runstone(&wrong).code(code);
    }
}

#[test]
fn what_is_never_reused_is_no_repetition() {
    let project = Project::new("pipeline: now\nsteps:\n  clock: {cache: never, run: 'echo x > $OUT_CLOCK'}\n");
    project.run(&[]);
    project.run(&[]);
    let why = project.json(&["why", "clock"]);
    let step = &why[0]["explanation"]["steps"][0];
    assert_eq!((&step["verdict"], &step["before"]["reusable"]), (&"again".into(), &false.into()), "{why:#}");
}

#[test]
fn two_versions_differ_in_bytes_origin_and_metrics() {
    let project = grown();
    let diff = project.json(&["diff", "shop/model{lr=0.5}@run:1", "shop/model{lr=0.5}@latest"]);
    assert_eq!(diff["bytes"], json!({"first_difference": 14, "line": 4, "size_delta": 4}));
    assert_eq!((&diff["identical"], &diff["files"], &diff["unavailable"]), (&false.into(), &Value::Null, &Value::Null));
    let changes: Vec<(&Value, &Value, &Value)> =
        list(&diff["upstream"], "changes").iter().map(|it| (&it["dataset"], &it["old"], &it["new"])).collect();
    assert_eq!(
        changes,
        [
            (&json!("shop/clean"), &json!(["shop/clean@v1"]), &json!(["shop/clean@v2"])),
            (&json!("shop/raw"), &json!(["shop/raw@v1"]), &json!(["shop/raw@v2"]))
        ]
    );
    assert_eq!(diff["upstream"]["common"], 3, "the pages and both counts of words");
    let rows = list(&diff, "metrics").iter().find(|it| it["name"] == "rows").unwrap();
    assert_eq!((&rows["old"], &rows["new"], &rows["delta"]), (&2.0.into(), &3.0.into(), &1.0.into()));
    assert_eq!(texts(list(&diff, "asked"), "what"), ["input"]);
    let told = project.runstone(&["diff", "shop/clean@v1", "shop/clean@v2"]).ok().out;
    assert!(
        told.contains("bytes part at position 8 (line 3), +4 bytes") && told.contains("shop/raw  v1 → v2"),
        "{told}"
    );
    let same = project.runstone(&["diff", "shop/clean@v2", "shop/clean@latest"]).ok().out;
    assert!(same.contains("the same bytes"), "{same}");
    project.write("pages/c.txt", "five\n");
    std::fs::remove_file(project.path("pages/a.txt")).unwrap();
    project.run(&["shop.yaml"]);
    let diff = project.json(&["diff", "shop/pages@v1", "shop/pages@v2"]);
    let files = &diff["files"];
    assert_eq!((&files["added"], &files["removed"], &files["changed"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(texts(list(files, "list"), "path"), ["a.txt", "c.txt"]);
}

#[test]
fn the_way_from_one_version_to_another_is_shown_hop_by_hop() {
    let project = grown();
    for (one, other) in [("shop/raw@v1", "board/view"), ("board/view", "shop/raw@v1")] {
        let path = project.json(&["path", one, other]);
        let hops: Vec<(&Value, &Value)> =
            list(&path, "shortest").iter().map(|hop| (&hop["version"], &hop["made_by"])).collect();
        assert_eq!(
            hops,
            [
                (&json!("shop/raw@v1"), &Value::Null),
                (&json!("shop/clean@v1"), &json!("#1 clean")),
                (&json!("board/view@v1"), &json!("#2 view"))
            ]
        );
        assert_eq!((&path["partial"], &path["direction"]), (&false.into(), &"path".into()));
    }
    let told = project.runstone(&["path", "shop/pages", "shop/report"]).ok().out;
    assert!(told.starts_with("shop/pages@v1\n  ↓ #1 words{item="), "{told}");
    assert!(told.contains("on other ways between them"), "{told}");
    assert!(project.runstone(&["path", "shop/raw", "shop/report", "--mermaid"]).ok().out.starts_with("flowchart"));
    // The report came out the same for both: each source is a way to it.
    for raw in ["shop/raw@v1", "shop/raw@v2"] {
        let path = project.json(&["path", raw, "shop/report@v1"]);
        assert_eq!(list(&path, "shortest")[0]["version"], raw);
    }
    project.runstone(&["path", "shop/raw@v2", "board/view"]).code(4).says(&["neither of the two came from the other"]);
}

#[test]
fn what_became_of_a_version_is_told_by_pipeline_with_what_is_in_use() {
    let project = grown();
    let check = |project: &Project| {
        let impact = project.json(&["impact", "shop/raw@v1"]);
        assert_eq!(impact["of"], json!(["shop/raw@v1"]));
        assert_eq!(texts(list(&impact, "pipelines"), "pipeline"), ["board", "shop"], "{impact:#}");
        let view = &impact["pipelines"][0]["datasets"][0];
        assert_eq!(view["latest"], json!(["board/view@v1"]), "it still stands on the old data");
        let shop = list(&impact["pipelines"][1], "datasets").clone();
        let clean = shop.iter().find(|it| it["dataset"] == "shop/clean").unwrap();
        assert_eq!(clean["tags"], json!([{"tag": "approved", "version": "shop/clean@v1"}]));
        clean["latest"].clone()
    };
    assert_eq!(check(&project), json!([]), "the latest is of other data");
    let told = project.runstone(&["impact", "shop/raw@v1"]).ok().out;
    assert!(told.contains("shop/clean  @v1 @approved") && told.contains("board/view  @v1 latest"), "{told}");
    // The old data come back: the same version is published again, and nothing of what it was before is forgotten.
    project.write("raw.csv", "a 1\nb 2\nc 3\n");
    project.run(&["shop.yaml"]);
    assert_eq!(check(&project), json!(["shop/clean@v1"]));
    let down = names(&project.json(&["lineage", "shop/raw@v1", "--down"]));
    assert!(down.contains(&"board/view@v1".to_owned()), "{down:?}");
    let none = project.runstone(&["impact", "board/view"]).ok().out;
    assert_eq!(none, "nothing was derived from board/view@v1\n");
}

#[test]
fn attempts_are_found_by_everything_that_is_recorded() {
    let project = grown();
    let raw = project.json(&["datasets", "shop/raw"])[1]["hash"].as_str().unwrap().to_owned();
    let code = project.json(&["lineage", "shop/clean"])["attempts"][1]["asked"]["code"]["clean.sh"].clone();
    let code = code.as_str().unwrap().to_owned();
    let host = project.show("1")["host"].as_str().unwrap().to_owned();
    let tasks = |args: &[&str]| -> Vec<String> {
        let found = project.json(&[&["search"], args].concat());
        let one = |it: &Value| format!("#{} {}", it["run_number"], it["task"].as_str().unwrap());
        found.as_array().unwrap().iter().map(one).collect()
    };
    let models = ["#3 model{lr=0.5}", "#1 model{lr=0.5}"];
    for (args, expected) in [
        (vec!["--param", "lr=0.5"], &models[..]),
        (vec!["--metric", "f1>=0.2"], &models[..]),
        (vec!["--metric", "f1=0.5", "--metric", "rows>2"], &models[..1]),
        (vec!["--metric", "f1>0.5"], &[]),
        (vec!["--param", "min=2", "--step", "clean"], &["#3 clean", "#1 clean"]),
        (vec!["--code", "clean.sh"], &["#3 clean", "#1 clean"]),
        (vec!["--code", &code[..12], "--limit", "1"], &["#3 clean"]),
        (vec!["--code", &code[..12].to_uppercase().replace("B3", "b3"), "--limit", "1"], &["#3 clean"]),
        (vec!["--input", &raw[..12]], &["#1 clean"]),
        (vec!["--output", &raw], &["#1 raw"]),
        (vec!["--pipeline", "board"], &["#2 view"]),
        (vec!["--user", "ada", "--host", &host, "--step", "view"], &["#2 view"]),
        (vec!["--user", "eve"], &[]),
        (vec!["--failed"], &[]),
        (vec!["--since", "1h", "--step", "raw"], &["#3 raw", "#1 raw"]),
        (vec!["--until", "1h"], &[]),
    ] {
        assert_eq!(tasks(&args), expected, "{args:?}");
    }
    let found = project.json(&["search", "--step", "view"])[0].clone();
    assert_eq!((&found["pipeline"], &found["versions"][0]["dataset"]), (&"board".into(), &"board/view".into()));
    let table = project.runstone(&["search", "--param", "lr=0.5", "-n", "1"]).ok();
    assert!(table.out.contains("shop/model{lr=0.5}@v") && table.out.contains("f1 0.5, rows 3"), "{table:?}");
    table.says(&["older ones are not shown"]);
    project.runstone(&["search", "--user", "eve"]).code(4).says(&["no attempt fits"]);
    for wrong in
        ["--metric=f1", "--metric=f1>x", "--param=lr", "--input=raw", "--input=b3:1", "--code=b3:", "--limit=0"]
    {
        project.runstone(&["search", wrong]).code(2);
    }
}

#[test]
fn a_tag_moves_keeps_its_history_and_is_a_compare_and_set() {
    let project = grown();
    let tag = |args: &[&str]| project.runstone(&[&["tag"], args].concat());
    tag(&["set", "approved", "shop/clean@v2", "--expect", "0"]).code(6).says(&["it is at move 1"]);
    tag(&["set", "approved", "shop/clean@v2", "--expect", "1", "--note", "checked"]).ok();
    tag(&["set", "approved", "shop/clean@v1", "--expect", "1"]).code(6).says(&["ada moved", "it is at move 2"]);
    tag(&["remove", "approved", "shop/clean", "--expect", "1"]).code(6);
    assert_eq!(project.run(&["board.yaml"]).executed(), ["view"], "the pipeline reads what the tag leads to now");
    assert_eq!(project.content("board/view"), "3\n");
    tag(&["remove", "approved", "shop/clean", "--expect", "2"]).ok();
    project.runstone(&["lineage", "shop/clean@approved"]).code(4).says(&["has no tag approved"]);
    project.runstone(&["run", "board.yaml"]).code(4).says(&["approved"]);
    tag(&["set", "approved", "shop/clean@v1", "--expect", "3"]).ok();

    let history = project.json(&["tag", "history", "approved", "shop/clean"]);
    let moves: Vec<(i64, Vec<String>, &Value)> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["rev"].as_i64().unwrap(), list(it, "versions").iter().map(name).collect(), &it["note"]))
        .collect();
    let clean = |number: u32| vec![format!("shop/clean@v{number}")];
    assert_eq!(
        moves,
        [
            (4, clean(1), &Value::Null),
            (3, vec![], &Value::Null),
            (2, clean(2), &"checked".into()),
            (1, clean(1), &"first".into())
        ]
    );
    assert!(history.as_array().unwrap().iter().all(|it| it["user"] == "ada" && it["moved_at"].is_string()));
    // One tag may lead to all cells of a version.
    tag(&["set", "champion", "shop/model@run:1"]).ok();
    let tags = project.json(&["tag"]);
    assert_eq!(texts(tags.as_array().unwrap(), "tag"), ["approved", "champion"]);
    assert_eq!(list(&tags[1], "versions").len(), 2);
    assert_eq!(project.content("shop/model{lr=0.5}@champion"), project.content("shop/model{lr=0.5}@run:1"));

    for (wrong, code) in [
        (vec!["set", "latest", "shop/clean"], 2),
        (vec!["set", "v1", "shop/clean"], 2),
        (vec!["set", "Approved", "shop/clean"], 2),
        (vec!["set", "approved", "shop/clean@v9"], 4),
        (vec!["set", "approved", "shop/none"], 4),
        (vec!["set", "approved"], 2),
        (vec!["set", "other", "shop/clean", "--expect", "2"], 6),
        (vec!["set", "other", "shop/clean", "--expect", "x"], 2),
        (vec!["remove", "other", "shop/clean"], 4),
        (vec!["history", "other", "shop/clean"], 4),
        (vec!["shop/raw"], 4),
    ] {
        tag(&wrong).code(code);
    }
    assert_eq!(project.json(&["tag"]), tags, "what was refused changed nothing");
}

const DAYS: &str = "
pipeline: days
partition: {by: day, start: 2026-11-01, end: 2026-11-30}
steps:
  load: {kind: ingest, from: './in/${{ partition }}.csv'}
  table: {in: {rows: load}, run: 'sort $IN_ROWS > $OUT_TABLE'}
";

#[test]
fn partitions_are_asked_about_one_by_one() {
    let project = Project::new(DAYS);
    let day = |day: &str, rows: &str| {
        project.write(&format!("in/{day}.csv"), rows);
        project.run(&["--partition", day]);
    };
    day("2026-11-02", "1\n");
    day("2026-11-03", "2\n");
    day("2026-11-02", "3\n");
    assert_eq!(project.content("days/table@partition:2026-11-02"), "3\n");
    assert_eq!(project.content("days/table@partition:2026-11-03"), "2\n");
    project.runstone(&["checkout", "days/table@partition:2026-11-04", "x"]).code(4);
    let up = project.json(&["lineage", "days/table@partition:2026-11-03"]);
    let subsets: Vec<&str> = texts(list(&up, "versions"), "subset");
    assert_eq!(subsets, ["partition=2026-11-03"; 2], "the other day is no part of it");
    // What stood before is what stood for that day.
    let causes = first_causes(&project, "days/table@partition:2026-11-02");
    assert_eq!(causes, [("#3 table > #3 load".into(), "source changed: content".into())]);
    let impact = project.json(&["impact", "days/load@partition:2026-11-03"]);
    assert_eq!(
        (&impact["versions"], &impact["pipelines"][0]["datasets"][0]["dataset"]),
        (&1.into(), &"days/table".into())
    );
}
