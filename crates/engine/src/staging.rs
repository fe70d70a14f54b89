//! From what is asked to what is started: the specification of one attempt, with its folder, links and environment.
//!
//! Nothing is spliced into commands: values travel as environment variables and in one JSON file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runstone_core::attempt::{AttemptSpec, LogLimit, Material, Staged};
use runstone_core::cell::task_name;
use runstone_core::name::Name;
use runstone_core::record::ContentKind;
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::{Action, Command, EnvValue, Output, Step};
use runstone_exec::python::Venv;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::derive::{Collected, Derived, Given, Thing};
use crate::site::Site;

/// Variables that steps get from whoever starts runstone, where they are set.
const PASSED_ON: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM"];

/// Where an attempt runs and which attempt it is.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) attempt: Uuid,
    pub(crate) number: u32,
    pub(crate) run_number: i64,
    /// Folder of the attempt.
    pub(crate) folder: PathBuf,
    /// Folder of the pipeline, in which the step runs.
    pub(crate) cwd: &'a Path,
    pub(crate) pipeline: &'a Name,
    pub(crate) partition: Option<&'a str>,
    pub(crate) log_limit: LogLimit,
}

/// Builds the specification. Looks at every input by a stat and makes shared checkouts of folders, so it may take a
/// while where those are large; `tell` hears about an environment being built.
///
/// # Errors
/// A sentence: an input that is no longer in the store, an environment that cannot be built.
pub(crate) fn spec(
    site: &Site,
    step: &Step,
    derived: &Derived,
    place: &Place<'_>,
    tell: &mut dyn FnMut(&str),
) -> Result<AttemptSpec, String> {
    let mut layout = Layout { folder: &place.folder, stage: Vec::new(), env: base_env(site) };
    let mut inputs = serde_json::Map::new();
    for (name, given) in &derived.inputs {
        let seen = layout.input(site, name, given, step.isolate)?;
        inputs.insert(name.to_string(), seen);
    }
    let outputs = layout.outputs(step);
    let params = layout.values("PARAM", derived.facts.params_for(&derived.cell).iter());
    let cell = layout.cell(step, derived);
    if let Some(python) = &derived.facts.python {
        let venv = site.python.ensure(place.cwd, &python.locked, tell).map_err(|error| crate::text(&error))?;
        layout.activate(&venv);
    }
    layout.env("RUN_ID", &place.run_number);
    if let Some(partition) = place.partition {
        layout.env("PARTITION", &partition);
    }
    layout.env("ATTEMPT", &place.number);
    layout.path("TMPDIR", "tmp");
    layout.path("METRICS", METRICS);
    layout.path("METADATA", METADATA);
    layout.path("RUNSTONE_CONTEXT", CONTEXT);
    for (name, value) in &step.env {
        if let EnvValue::Plain(text) = value {
            layout.env(name, text);
        }
    }
    let secret = |(name, value): (&String, &EnvValue)| match value {
        EnvValue::Secret(secret) => Some((name.clone(), secret.clone())),
        EnvValue::Plain(_) => None,
    };
    let context = StepContext {
        pipeline: place.pipeline.to_string(),
        step: step.name.to_string(),
        task: task_name(step.name.as_str(), &derived.cell.key()),
        kind: step.kind.as_str().to_owned(),
        run: place.run_number,
        attempt: place.number,
        attempt_id: place.attempt,
        partition: place.partition.map(str::to_owned),
        inputs,
        outputs,
        params,
        cell,
        argv: argv(step),
        cwd: text(place.cwd),
        env: layout.env.clone(),
        secrets: step.env.iter().filter_map(secret).collect(),
    };
    let context = serde_json::to_string_pretty(&context).map_err(|error| error.to_string())?;
    layout.stage(CONTEXT, Material::Text(context));
    Ok(AttemptSpec {
        attempt: place.attempt,
        argv: argv(step),
        env: layout.env,
        cwd: text(place.cwd),
        folder: text(&place.folder),
        stage: layout.stage,
        timeout_ms: step.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        grace_ms: u64::try_from(step.grace.as_millis()).unwrap_or(u64::MAX),
        log_limit: place.log_limit,
        ends_with_owner: false,
    })
}

/// Everything a step may know about its attempt, as it stands in `$RUNSTONE_CONTEXT`. No secret is part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepContext {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the step.
    pub step: String,
    /// `step` or `step{cell}`.
    pub task: String,
    /// What the step is for.
    pub kind: String,
    /// Number of the run.
    pub run: i64,
    /// Number of the attempt within its task.
    pub attempt: u32,
    /// Identity of the attempt.
    pub attempt_id: Uuid,
    /// The partition it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// By name: `{path, hash}`, or `{path, entries}` for a collected list, or null.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// By name: `{path}`.
    pub outputs: serde_json::Map<String, serde_json::Value>,
    /// By name.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Axes of the matrix, item of a `foreach`.
    pub cell: serde_json::Map<String, serde_json::Value>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// The environment, secrets left out.
    pub env: BTreeMap<String, String>,
    /// Variable → name of the secret it holds.
    pub secrets: BTreeMap<String, String>,
}

/// Where the context of a step is, below its folder.
pub const CONTEXT: &str = "context.json";
/// Where a step writes metrics, below its folder.
pub(crate) const METRICS: &str = "metrics.json";
/// Where a step writes metadata, below its folder.
pub(crate) const METADATA: &str = "metadata.json";

/// Where an output is written, below the attempt's folder. An output with a file name of its own has a folder of its
/// own, so that two outputs may share the name.
pub(crate) fn output_place(name: &Name, output: &Output) -> String {
    output.path.as_ref().map_or_else(|| format!("out/{name}"), |path| format!("out/{name}/{path}"))
}

/// The file name under which readers see an output.
pub(crate) fn output_file_name(name: &Name, output: &Output) -> String {
    output.path.clone().unwrap_or_else(|| name.to_string())
}

fn argv(step: &Step) -> Vec<String> {
    match &step.action {
        Action::Run(Command::Shell(script)) => vec!["sh".into(), "-eu".into(), "-c".into(), script.clone()],
        Action::Run(Command::Argv(argv)) => argv.clone(),
        Action::From(_) => unreachable!("sources are read, not run"),
    }
}

pub(crate) fn base_env(site: &Site) -> BTreeMap<String, String> {
    let configured = site.project.config().env_allow.value.iter().map(String::as_str);
    let names = PASSED_ON.iter().copied().chain(configured);
    let set = names.filter_map(|name| Some((name.to_owned(), site.environment.get(name)?.clone())));
    let mut env: BTreeMap<String, String> = set.collect();
    env.entry("PATH".to_owned()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    env
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

struct Layout<'a> {
    folder: &'a Path,
    stage: Vec<Staged>,
    env: BTreeMap<String, String>,
}

impl Layout<'_> {
    fn env(&mut self, name: &str, value: &impl ToString) {
        self.env.insert(name.to_owned(), value.to_string());
    }

    fn path(&mut self, name: &str, relative: &str) -> String {
        let path = text(&self.folder.join(relative));
        self.env.insert(name.to_owned(), path.clone());
        path
    }

    fn stage(&mut self, path: &str, what: Material) {
        self.stage.push(Staged { path: path.to_owned(), what });
    }

    fn input(&mut self, site: &Site, name: &Name, given: &Given, copy: bool) -> Result<serde_json::Value, String> {
        let variable = format!("IN_{}", name.env_spelling());
        match given {
            Given::Absent => Ok(serde_json::Value::Null),
            Given::One(thing) => {
                let relative = format!("in/{name}/{}", thing.file_name);
                self.lay(site, &relative, thing, copy)?;
                let path = self.path(&variable, &relative);
                Ok(json!({"path": path, "hash": thing.hash}))
            }
            Given::Many(list) => {
                let entries: Vec<_> = list
                    .iter()
                    .enumerate()
                    .map(|(at, entry)| self.entry(site, name, at, entry, copy))
                    .collect::<Result<_, _>>()?;
                let relative = format!("in/{name}.json");
                self.stage(&relative, Material::Text(format!("{:#}\n", json!(entries))));
                let path = self.path(&variable, &relative);
                Ok(json!({"path": path, "entries": entries}))
            }
        }
    }

    fn entry(
        &mut self,
        site: &Site,
        name: &Name,
        at: usize,
        entry: &Collected,
        copy: bool,
    ) -> Result<serde_json::Value, String> {
        let relative = format!("in/{name}/{at:04}-{}", entry.thing.file_name);
        self.lay(site, &relative, &entry.thing, copy)?;
        let metrics: serde_json::Map<String, serde_json::Value> = entry
            .metrics
            .iter()
            .filter(|metric| metric.slice.is_empty())
            .map(|metric| (metric.name.clone(), json!(metric.value)))
            .collect();
        let cell: serde_json::Map<String, serde_json::Value> =
            entry.cell.iter().map(|(axis, value)| (axis.clone(), json!(value))).collect();
        Ok(json!({
            "key": entry.key, "cell": cell, "output": entry.output, "hash": entry.thing.hash, "metrics": metrics,
            "path": text(&self.folder.join(relative)),
        }))
    }

    fn lay(&mut self, site: &Site, relative: &str, thing: &Thing, copy: bool) -> Result<(), String> {
        let holder = site.holder(thing).map_err(|error| crate::text(&error))?;
        let shelf = holder.ok_or_else(|| {
            format!("the content of input {} is no longer in the store; run again to make it anew", thing.file_name)
        })?;
        let source = match thing.kind {
            ContentKind::File => shelf.objects.path(thing.hash),
            ContentKind::Dir => shelf.checkouts.get(&shelf.objects, thing.hash).map_err(|error| crate::text(&error))?,
        };
        let source = text(&source);
        self.stage(relative, if copy { Material::Copy(source) } else { Material::Link(source) });
        Ok(())
    }

    fn outputs(&mut self, step: &Step) -> serde_json::Map<String, serde_json::Value> {
        step.outputs
            .iter()
            .map(|(name, output)| {
                let relative = output_place(name, output);
                if output.dir {
                    self.stage(&relative, Material::Folder);
                } else if output.path.is_some() {
                    self.stage(&format!("out/{name}"), Material::Folder);
                }
                let path = self.path(&format!("OUT_{}", name.env_spelling()), &relative);
                (name.to_string(), json!({"path": path}))
            })
            .collect()
    }

    fn values<'v>(
        &mut self,
        prefix: &str,
        values: impl Iterator<Item = &'v (Name, Scalar)>,
    ) -> serde_json::Map<String, serde_json::Value> {
        values
            .map(|(name, value)| {
                self.env(&format!("{prefix}_{}", name.env_spelling()), value);
                (name.to_string(), json!(value))
            })
            .collect()
    }

    /// Axes as `MATRIX_…`, the item of a `foreach` as `ITEM_…`.
    fn cell(&mut self, step: &Step, derived: &Derived) -> serde_json::Map<String, serde_json::Value> {
        let item = step.foreach.as_ref().map(|foreach| &foreach.item);
        let (items, axes): (Vec<_>, Vec<_>) =
            derived.cell.values().iter().cloned().partition(|(name, _)| Some(name) == item);
        let mut cell = self.values("MATRIX", axes.iter());
        cell.append(&mut self.values("ITEM", items.iter()));
        cell
    }

    fn activate(&mut self, venv: &Venv) {
        let path = self.env.get("PATH").cloned().unwrap_or_default();
        for (name, value) in venv.variables(&path) {
            self.env(name, &value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::ledger::Published;

    fn staged(fixture: &Fixture, step: &str, cell: &str) -> AttemptSpec {
        let place = Place {
            attempt: Uuid::from_u128(1),
            number: 2,
            run_number: 42,
            folder: "/attempt".into(),
            cwd: &fixture.prepared.folder,
            pipeline: &fixture.prepared.pipeline.name,
            partition: None,
            log_limit: LogLimit::default(),
        };
        let derived = fixture.derive(step, cell).unwrap();
        spec(&fixture.site, &fixture.prepared.pipeline.steps[step], &derived, &place, &mut |_| {}).unwrap()
    }

    const PIPELINE: &str = r#"
pipeline: p
params: {max_rows: 3, lr: 0.5}
steps:
  source: {run: 'true', out: {table: {path: table.csv}}}
  cell: {matrix: {k: [1, 2]}, run: 'true'}
  reads:
    in: {my-table: source.table, cells: cell, gone: {from: source.table, optional: true}}
    matrix: {lr: [0.1]}
    env: {PLAIN: text, TOKEN: {secret: hub}}
    run: [python3, -c, "print($HOME)"]
    out: {model: {path: model.pkl}, log: {}, parts: {dir: true}}
"#;

    fn fixture() -> Fixture {
        let mut fixture = Fixture::new(PIPELINE);
        let table = fixture.file("table", "a,b");
        fixture.enter("source", "", vec![Published { file_name: "table.csv".into(), ..table }]);
        for cell in ["k=1", "k=2"] {
            let file = fixture.file("cell", cell);
            fixture.enter("cell", cell, vec![file]);
        }
        fixture
    }

    #[test]
    fn a_step_finds_everything_under_the_names_of_the_language() {
        let spec = staged(&fixture(), "reads", "lr=0.1");
        for (name, value) in [
            ("IN_MY_TABLE", "/attempt/in/my-table/table.csv"),
            ("IN_CELLS", "/attempt/in/cells.json"),
            ("OUT_MODEL", "/attempt/out/model/model.pkl"),
            ("OUT_LOG", "/attempt/out/log"),
            ("OUT_PARTS", "/attempt/out/parts"),
            ("PARAM_MAX_ROWS", "3"),
            ("PARAM_LR", "0.1"),
            ("MATRIX_LR", "0.1"),
            ("RUN_ID", "42"),
            ("ATTEMPT", "2"),
            ("TMPDIR", "/attempt/tmp"),
            ("METRICS", "/attempt/metrics.json"),
            ("METADATA", "/attempt/metadata.json"),
            ("RUNSTONE_CONTEXT", "/attempt/context.json"),
            ("PLAIN", "text"),
            ("PATH", "/bin"),
        ] {
            assert_eq!(spec.env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(spec.argv, ["python3", "-c", "print($HOME)"], "nothing is spliced into a command");
    }

    #[test]
    fn no_secret_and_nothing_of_the_environment_is_in_a_specification() {
        let spec = staged(&fixture(), "reads", "lr=0.1");
        let text = serde_json::to_string(&spec).unwrap();
        assert!(!text.contains("s3cret") && !spec.env.contains_key("TOKEN") && !spec.env.contains_key("SECRET"));
        assert!(text.contains("hub"), "which secret it gets is no secret");
    }

    #[test]
    fn a_collected_list_is_a_file_that_names_every_entry() {
        let spec = staged(&fixture(), "reads", "lr=0.1");
        let list = spec.stage.iter().find(|staged| staged.path == "in/cells.json").unwrap();
        let Material::Text(text) = &list.what else { panic!("a list is a small file") };
        let list: serde_json::Value = serde_json::from_str(text).unwrap();
        let keys: Vec<_> = list.as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap()).collect();
        assert_eq!(keys, ["cell{k=1}", "cell{k=2}"]);
        assert_eq!(list[0]["cell"], json!({"k": 1}));
        for entry in list.as_array().unwrap() {
            let path = entry["path"].as_str().unwrap().strip_prefix("/attempt/").unwrap();
            assert!(spec.stage.iter().any(|staged| staged.path == path && matches!(staged.what, Material::Link(_))));
        }
    }

    #[test]
    fn an_input_whose_bytes_are_gone_is_an_error_with_its_name() {
        let fixture = fixture();
        let derived = fixture.derive("reads", "lr=0.1").unwrap();
        let (_, thing) = derived.things().next().unwrap();
        std::fs::remove_file(fixture.site.objects.path(thing.hash)).unwrap();
        let place = Place {
            attempt: Uuid::nil(),
            number: 1,
            run_number: 1,
            folder: fixture.folder.path().join("attempt"),
            cwd: &fixture.prepared.folder,
            pipeline: &fixture.prepared.pipeline.name,
            partition: None,
            log_limit: LogLimit::default(),
        };
        let step = &fixture.prepared.pipeline.steps["reads"];
        let message = spec(&fixture.site, step, &derived, &place, &mut |_| {}).unwrap_err();
        assert!(message.contains("table.csv") && message.contains("no longer in the store"), "{message}");
    }
}
