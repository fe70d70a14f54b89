//! What valid files mean, and that decoder, JSON Schema, reference page and shipped pipelines agree.
//! `UPDATE_GOLDEN=1` writes the generated files anew.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read files")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use runstone_core::attempt::Cause;
use runstone_core::name::Name;
use runstone_core::partition::{Key, Partitioning};
use runstone_core::scalar::Scalar;
use runstone_core::schedule::{Catchup, Dst, Keep, Overlap, Timing, Zone};
use runstone_core::spec::model::{
    Action, Cache, Command, EnvValue, InputRef, Kind, Normalizer, OnUnknown, Requirements, RetryOn, Source, Step,
    Trigger,
};
use runstone_core::spec::{Loaded, Look, Options, Pipeline, Severity, Sources, load, reference, schema};
use runstone_core::time::Timestamp;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn language() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/language")
}

fn load_with(name: &str, text: &str, overlays: &[(&str, &[u8])], allow_unsupported: bool) -> Loaded {
    let options = Options { default_name: name.to_owned(), allow_unsupported, ..Options::default() };
    load(&Sources { name: "pipeline.yaml", main: text.as_bytes(), overlays }, &options)
}

/// The pipeline of a valid text.
fn pipeline(text: &str) -> Pipeline {
    let loaded = load_with("demo", text, &[], false);
    let shown = loaded.render(Look::default());
    loaded.pipeline.unwrap_or_else(|| panic!("{shown}"))
}

fn everything() -> Pipeline {
    let text = std::fs::read_to_string(language().join("everything.yaml")).unwrap();
    let loaded = load_with("everything", &text, &[], false);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.render(Look::default()));
    loaded.pipeline.unwrap()
}

fn step<'p>(pipeline: &'p Pipeline, name: &str) -> &'p Step {
    pipeline.steps.get(name).unwrap()
}

/// Files that are examples of the language: those here, and the pipelines that are shipped.
fn examples() -> Vec<PathBuf> {
    let here = std::fs::read_dir(language()).unwrap().map(|entry| entry.unwrap().path());
    let shipped = std::fs::read_dir(root().join("pipelines")).unwrap();
    let shipped = shipped.map(|entry| entry.unwrap().path().join("pipeline.yaml")).filter(|path| path.exists());
    here.chain(shipped).collect()
}

#[test]
fn examples_load() {
    assert!(examples().len() > 3);
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        let loaded = load_with("example", &text, &[], true);
        assert!(loaded.pipeline.is_some(), "{}\n{}", path.display(), loaded.render(Look::default()));
    }
}

#[test]
fn shipped_pipelines_need_nothing_that_comes_later() {
    for path in examples().iter().filter(|path| path.ends_with("pipeline.yaml")) {
        let loaded = load_with("example", &std::fs::read_to_string(path).unwrap(), &[], false);
        assert!(loaded.diagnostics.is_empty(), "{}\n{}", path.display(), loaded.render(Look::default()));
    }
}

#[test]
fn what_comes_later_is_an_error_or_a_warning_each() {
    let text = std::fs::read_to_string(language().join("later.yaml")).unwrap();
    let (refused, allowed) = (load_with("a", &text, &[], false), load_with("a", &text, &[], true));
    assert!(refused.pipeline.is_none());
    assert!(refused.diagnostics.iter().all(|it| it.severity == Severity::Error));
    assert!(allowed.diagnostics.iter().all(|it| it.severity == Severity::Warning));
    assert_eq!(refused.diagnostics.len(), allowed.diagnostics.len());
    let pipeline = allowed.pipeline.unwrap();
    // The condition over the champion is left out, the others hold.
    assert_eq!(step(&pipeline, "report").require.len(), 2);
    let Action::Run(Command::Shell(run)) = &step(&pipeline, "gold").action else { panic!() };
    assert!(run.contains("exit 78"), "a step that cannot work yet fails: {run}");
}

#[test]
fn the_schema_accepts_what_the_decoder_accepts() {
    let schema = jsonschema::draft202012::new(&schema()).unwrap();
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let errors: Vec<_> = schema.iter_errors(&value).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_decoder_refuses() {
    let schema = jsonschema::draft202012::new(&schema()).unwrap();
    for text in [
        "steps: {a: {run: x, timeuot: 1h}}",
        "step: {a: {run: x}}",
        "steps: {a: {run: x, timeout: 30}}",
        "steps: {a: {run: x, retry: {max: 1, on: {}}}}",
        "steps: {a: {run: x, resources: {mem: 4GB}}}",
        "steps: {a: {kind: trian, run: x}}",
        "steps: {a: {run: x, in: [b]}}",
        "steps: {a: {run: x, matrix: {lr: 1}}}",
        "steps: {a: {run: x, out: {m: {pat: y}}}}",
        "steps: {a: {run: {x: y}}}",
        "schedule: {cron: x, evry: 1h}\nsteps: {a: {run: x}}",
        "schedule: {every: 1}\nsteps: {a: {run: x}}",
        "partition: {by: year}\nsteps: {a: {run: x}}",
        "trigger: {dataset: {a: b}}\nsteps: {a: {run: x}}",
        "hooks: {failure: {}}\nsteps: {a: {run: x}}",
        "pipeline: Upper Case\nsteps: {a: {run: x}}",
    ] {
        let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
        assert!(!schema.is_valid(&value), "{text}");
        assert!(load_with("demo", text, &[], true).pipeline.is_none(), "{text}");
    }
}

/// Compares a committed file with what it is generated from.
fn generated(path: &str, text: &str) {
    let path = root().join(path);
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is out of date; run this test with UPDATE_GOLDEN=1", path.display());
}

#[test]
fn generated_files_are_up_to_date() {
    generated("docs/pipeline.schema.json", &format!("{:#}\n", schema()));
    generated("docs/language.md", &reference());
}

#[test]
fn a_name_comes_from_the_file() {
    assert_eq!(pipeline("steps: {a: {run: x}}").name.as_str(), "demo");
    assert_eq!(pipeline("pipeline: own\nsteps: {a: {run: x}}").name.as_str(), "own");
    assert!(load_with("My File", "steps: {a: {run: x}}", &[], false).pipeline.is_none());
}

#[test]
fn a_step_that_says_nothing_has_the_defaults_of_the_language() {
    let pipeline = pipeline("steps: {a: {run: x}}");
    let step = step(&pipeline, "a");
    assert_eq!(
        (step.kind, step.cache, step.timeout, step.grace),
        (Kind::Transform, Cache::Auto, None, Duration::from_secs(10))
    );
    assert_eq!(step.outputs.keys().map(Name::as_str).collect::<Vec<_>>(), ["a"]);
    assert_eq!((step.retry.max, step.resources.cpu_milli, step.resources.mem), (0, 1000, 0));
    assert_eq!((step.params.as_ref(), step.code.as_ref()), (None, None));
}

#[test]
fn defaults_are_merged_and_a_step_has_the_last_word() {
    let pipeline = everything();
    let model = step(&pipeline, "model");
    let on = [
        RetryOn::Cause(Cause::Timeout),
        RetryOn::Cause(Cause::Lost),
        RetryOn::ExitCode(75),
        RetryOn::Cause(Cause::OutOfMemory),
    ];
    assert_eq!(model.retry.on, on);
    assert_eq!((model.retry.max, model.retry.jitter, model.retry.factor), (3, false, 1.5));
    assert_eq!((model.timeout, model.grace), (Some(Duration::from_secs(5400)), Duration::from_millis(500)));
    assert_eq!((model.resources.cpu_milli, model.resources.mem), (500, 3 << 29));
    assert_eq!((model.cache, model.isolate), (Cache::Auto, true));
    assert_eq!(model.code.as_deref(), Some(&["train.py".to_owned()][..]));
    let report = step(&pipeline, "report");
    assert_eq!((report.cache, report.retry.max), (Cache::Ttl(Duration::from_secs(7 * 86400)), 2));
    assert_eq!(report.code.as_deref(), Some(&["src/**/*.py".to_owned()][..]));
    assert_eq!(step(&pipeline, "page").timeout, None);
}

#[test]
fn what_does_not_count_about_an_output_is_one_word_or_several() {
    let pipeline = everything();
    let report = step(&pipeline, "report");
    assert_eq!(report.outputs["table"].normalize, [Normalizer::Csv]);
    let several = [Normalizer::Zip, Normalizer::Gzip, Normalizer::Text, Normalizer::UnorderedLines];
    assert_eq!(report.outputs["pages"].normalize, several);
    assert_eq!(step(&pipeline, "model").outputs["weights"].normalize, []);
}

#[test]
fn env_is_merged_name_by_name() {
    let pipeline = everything();
    let env: Vec<_> = step(&pipeline, "each").env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let plain = |text: &str| EnvValue::Plain(text.to_owned());
    assert_eq!(
        env,
        [("LANG", plain("C.UTF-8")), ("LEVEL", plain("2")), ("TOKEN", EnvValue::Secret("hub_token".to_owned()))]
    );
}

#[test]
fn kinds_set_what_is_reused() {
    let pipeline = everything();
    let ttl = Cache::Ttl(Duration::from_secs(7 * 86400));
    let cache = |name: &str| step(&pipeline, name).cache;
    assert_eq!([cache("files"), cache("feed"), cache("tell"), cache("each")], [ttl, Cache::Never, Cache::Never, ttl]);
}

#[test]
fn references_become_what_they_mean() {
    let pipeline = everything();
    let at = |name: &str| pipeline.steps.get_index_of(name).unwrap();
    let model = step(&pipeline, "model");
    let from = |name: &str| &model.inputs.get(name).unwrap().from;
    assert_eq!(*from("parts"), InputRef::Step { step: at("each"), output: step(&pipeline, "each").name.clone() });
    assert_eq!(
        *from("before"),
        InputRef::Dataset { name: "other-pipeline/model.weights".to_owned(), version: "v3".to_owned() }
    );
    assert_eq!(*from("old"), InputRef::Dataset { name: "everything/model".to_owned(), version: "latest".to_owned() });
    assert_eq!(*from("config"), InputRef::Path("./config.toml".to_owned()));
    let each = step(&pipeline, "each");
    assert_eq!(each.inputs.get("file").unwrap().from, InputRef::Item);
    assert!(each.inputs.get("table").unwrap().optional);
    let foreach = each.foreach.as_ref().unwrap();
    assert_eq!((foreach.item.as_str(), foreach.step, foreach.output.as_str()), ("item", at("files"), "files"));
    assert_eq!((each.max_parallel, model.max_parallel), (Some(4), Some(2)));
    assert_eq!(step(&pipeline, "report").after, [at("feed")]);
}

#[test]
fn a_source_is_not_touched_by_what_defaults_say_about_commands() {
    let pipeline = everything();
    let files = step(&pipeline, "files");
    assert_eq!(files.action, Action::From(Source::Path("./incoming/*.csv".to_owned())));
    assert!(files.env.is_empty() && files.code.is_none() && files.python.is_none());
    assert_eq!(files.params, Some(Vec::new()));
    assert_eq!(files.retry.max, 2, "a download may be tried again");
    assert_eq!(step(&pipeline, "page").action, Action::From(Source::Url("https://example.org/table.csv".to_owned())));
}

#[test]
fn schedules_have_names_and_defaults() {
    let pipeline = everything();
    let names: Vec<_> = pipeline.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
    assert_eq!(names, ["main", "often", "weekdays"]);
    let [main, often, weekdays] = &pipeline.schedules[..] else { panic!() };
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let nightly = Timing::Cron { expression: "0 2 * * *".to_owned(), tz: berlin, dst: Dst::default() };
    assert_eq!((&main.timing, main.catchup, main.overlap), (&nightly, Catchup::default(), Overlap::Queue));
    assert!(main.enabled && main.start.is_none() && main.params.is_empty() && main.jitter.is_zero());
    assert_eq!(often.timing, Timing::Every { interval: Duration::from_secs(900) });
    assert_eq!((often.overlap, often.enabled, often.jitter), (Overlap::Skip, false, Duration::from_secs(30)));
    // Midnights in Berlin: of the first day, and of the day after the last one.
    let day = |seconds: i64| Some(Timestamp(seconds * 1_000_000));
    assert_eq!((often.start, often.end), (day(1_767_222_000), day(1_798_758_000)));
    let params: Vec<_> = often.params.values().cloned().collect();
    let text = |text: &str| Scalar::Text(text.to_owned());
    assert_eq!(params, [text("fast"), Scalar::Float(1.0), text("2026")]);
    assert_eq!((weekdays.catchup.keep, weekdays.start), (Keep::None, day(1_767_254_400)));
    assert!(pipeline.schedules.iter().all(|schedule| schedule.compile().is_ok()));
}

#[test]
fn partitions_and_triggers_become_what_they_mean() {
    let pipeline = everything();
    let partitioning = pipeline.partition.as_ref().unwrap();
    assert_eq!((partitioning.by(), partitioning.first().unwrap().as_str()), ("day", "2026-01-01"));
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let triggers = [
        Trigger::Dataset { datasets: names(&["other-pipeline/model.weights"]), all: true },
        Trigger::Dataset { datasets: names(&["other-pipeline/a", "other-pipeline/b"]), all: false },
        Trigger::File {
            path: "./incoming/*.csv".to_owned(),
            settle: Duration::from_secs(30),
            every: Duration::from_secs(1),
        },
    ];
    assert_eq!(pipeline.triggers, triggers);
    assert_eq!(pipeline.priority, -5);
    let model = step(&pipeline, "model");
    assert_eq!((model.slots, model.on_unknown), (2, OnUnknown::Retry));
    assert_eq!((step(&pipeline, "report").slots, step(&pipeline, "report").on_unknown), (1, OnUnknown::Wait));
}

#[test]
fn a_source_is_another_one_for_every_partition() {
    let pipeline = everything();
    let Action::From(source) = &step(&pipeline, "today").action else { panic!() };
    let key = pipeline.partition.as_ref().unwrap().parse("2026-01-05").unwrap();
    let day = Source::Url("https://example.org/2026-01-05/table.csv".to_owned());
    assert_eq!(source.for_partition(Some(&key)), Ok(day));
    assert!(source.for_partition(None).is_err());
    let Action::From(source) = &step(&pipeline, "files").action else { panic!() };
    assert_eq!(source.for_partition(None), Ok(source.clone()));
}

#[test]
fn a_list_of_values_may_be_the_partitions() {
    let pipeline = pipeline("partition: {by: list, values: [eu, us, 2026]}\nsteps: {a: {run: x}}");
    let Some(Partitioning::List(keys)) = pipeline.partition else { panic!() };
    assert_eq!(keys.iter().map(Key::as_str).collect::<Vec<_>>(), ["eu", "us", "2026"]);
}

#[test]
fn commands_stay_what_they_are() {
    let pipeline = everything();
    assert_eq!(step(&pipeline, "model").action, Action::Run(Command::Shell("python3 ./train.py\n".to_owned())));
    let feed = ["curl", "-o", "out", "https://example.org"].map(str::to_owned).to_vec();
    assert_eq!(step(&pipeline, "feed").action, Action::Run(Command::Argv(feed)));
    assert_eq!(pipeline.hooks.failure, Some(Command::Argv(vec!["./notify.sh".to_owned(), "failed".to_owned()])));
    let python = step(&pipeline, "each").python.clone().unwrap();
    assert_eq!(python.requirements, Requirements::File("./requirements.txt".to_owned()));
    assert_eq!(python.version.as_deref(), Some("3.11"), "not the number 3.11");
}

#[test]
fn values_keep_their_type_and_spelling() {
    let pipeline = pipeline(
        "params: {a: 1, b: 1.0, c: yes, d: true, e: 2026-01-01, f: {type: text, default: 1.10}, g: {type: float, default: 1}}\n\
         steps: {a: {run: x, env: {A: no, B: 1.10, C: 0777}, matrix: {lr: [1, 1.0, one]}}}",
    );
    let default = |name: &str| pipeline.params.get(name).unwrap().default.clone().unwrap();
    let text = |text: &str| Scalar::Text(text.to_owned());
    assert_eq!(
        [default("a"), default("b"), default("c"), default("d")],
        [Scalar::Int(1), Scalar::Float(1.0), text("yes"), Scalar::Bool(true)]
    );
    assert_eq!([default("e"), default("f"), default("g")], [text("2026-01-01"), text("1.10"), Scalar::Float(1.0)]);
    let step = step(&pipeline, "a");
    let env: Vec<_> = step.env.values().cloned().collect();
    assert_eq!(env, ["no", "1.10", "0777"].map(|text| EnvValue::Plain(text.to_owned())));
    assert_eq!(
        step.matrix.as_ref().unwrap().axes.get("lr").unwrap(),
        &[Scalar::Int(1), Scalar::Float(1.0), text("one")]
    );
}

#[test]
fn an_axis_takes_the_type_of_the_parameter_it_replaces() {
    let pipeline = pipeline("params: {lr: 0.1}\nsteps: {a: {run: x, matrix: {lr: [1, 0.5]}}}");
    let lr = step(&pipeline, "a").matrix.as_ref().unwrap().axes.get("lr").unwrap();
    assert_eq!(lr, &[Scalar::Float(1.0), Scalar::Float(0.5)]);
}

#[test]
fn merge_keys_and_anchors_work() {
    let pipeline = pipeline(
        "x-a: &a {timeout: 1h, retry: 1}\nx-b: &b {retry: 2, grace: 1s}\n\
         steps:\n  one: {<<: *a, run: x, retry: 5}\n  two: {<<: [*a, *b], run: x}\n",
    );
    let (one, two) = (step(&pipeline, "one"), step(&pipeline, "two"));
    assert_eq!((one.timeout, one.retry.max), (Some(Duration::from_secs(3600)), 5));
    assert_eq!((two.retry.max, two.grace), (1, Duration::from_secs(1)));
}

#[test]
fn an_overlay_merges_replaces_and_removes() {
    let base = "params: {n: 1}\ndefaults: {timeout: 1h}\n\
                steps:\n  a: {run: x, env: {A: 1, B: 2}, out: [p, q], retry: 3}\n  b: {run: y, in: {d: a.p}, timeout: 2h}\n  c: {run: z}\n";
    let first: &[u8] = b"params: {n: 5}\nsteps:\n  a: {env: {B: null, C: 3}, out: [p], retry: {max: 1}}\n  b: {timeout: null}\n  c: null\n";
    let second: &[u8] = b"steps: {a: {run: [x, prod]}, d: {run: w, after: b}}";
    let loaded = load_with("demo", base, &[("one.yaml", first), ("two.yaml", second)], false);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.render(Look::default()));
    let pipeline = loaded.pipeline.as_ref().unwrap();
    assert_eq!(pipeline.steps.keys().map(Name::as_str).collect::<Vec<_>>(), ["a", "b", "d"]);
    let a = step(pipeline, "a");
    assert_eq!(a.action, Action::Run(Command::Argv(vec!["x".to_owned(), "prod".to_owned()])));
    assert_eq!(a.env.keys().collect::<Vec<_>>(), ["A", "C"]);
    assert_eq!((a.outputs.len(), a.retry.max), (1, 1));
    assert_eq!(step(pipeline, "b").timeout, Some(Duration::from_secs(3600)), "the default holds again");
    assert_eq!(pipeline.params.get("n").unwrap().default, Some(Scalar::Int(5)));
    assert_eq!(loaded.sources.slice(loaded.step_span("d").unwrap()), "d");
    assert_eq!(loaded.sources.file(loaded.step_span("d").unwrap()).name, "two.yaml");
}

#[test]
fn diagnostics_have_a_form_for_programs() {
    let loaded = load_with("demo", "steps:\n  a: {run: x, timeuot: 1h}\n", &[], false);
    let json = loaded.diagnostics[0].to_json(&loaded.sources);
    assert_eq!(json["code"], "unknown-key");
    assert_eq!((&json["place"]["line"], &json["place"]["column"]), (&2.into(), &15.into()));
    assert_eq!(json["suggestion"]["replacement"], "timeout");
}
