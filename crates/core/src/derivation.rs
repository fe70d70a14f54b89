//! What is asked of a task, as one value: the preimage of its fingerprint and the subject of every explanation.
//!
//! There is one walk over the ingredients, [`Derivation::to_value`]. The fingerprint hashes the canonical bytes of its
//! result; an explanation compares two such results field by field. So what is explained cannot drift from what is hashed.
//!
//! Part of it: command, code, the parameters the step receives, its cell, its partition, its environment (of secrets only the names),
//! its Python environment, the platform, the content and file names of its inputs, the names of its outputs.
//! Not part of it: names of steps and pipelines, comments, descriptions, retries, timeouts, pools, resources, conditions,
//! places where outputs are published for people and how they are compared, run numbers, times.
//!
//! Fields at their default are left out, so that a new field with a default changes no fingerprint.

mod materials;

use std::collections::BTreeMap;

use crate::canonical::{self, Value};
use crate::cell::Cell;
use crate::hash::{ContentHash, Fingerprint};
use crate::name::Name;
use crate::record::Metric;
use crate::scalar::Scalar;
use crate::spec::model::{Command, EnvValue, Output};

pub use materials::Materials;

/// Version of the recipe. A new one changes every fingerprint, so the old one is then looked up as well.
pub const RECIPE: i64 = 1;

/// BLAKE3 key-derivation context of fingerprints: separates them from every other hash.
const CONTEXT: &str = "runstone 2026-11 derivation v1";

/// Everything that decides what a task produces.
#[derive(Debug, Clone, PartialEq)]
pub struct Derivation {
    /// What is done.
    pub work: Work,
    /// Code files by path relative to the pipeline's folder.
    pub code: BTreeMap<String, ContentHash>,
    /// Parameters the step receives.
    pub params: BTreeMap<Name, Scalar>,
    /// Its cell.
    pub cell: Cell,
    /// The partition it works on.
    pub partition: Option<String>,
    /// Declared environment.
    pub env: BTreeMap<String, EnvValue>,
    /// Python environment.
    pub python: Option<PythonLock>,
    /// Operating system and architecture, such as `linux-x86_64`.
    pub platform: String,
    /// Content by input name.
    pub inputs: BTreeMap<Name, InputContent>,
    /// Outputs by name.
    pub outputs: BTreeMap<Name, Output>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// A command runs.
    Command(Command),
    /// A source is read; what was found is part of it.
    Read {
        /// As written.
        source: String,
        /// What was found.
        content: ContentHash,
    },
}

/// A Python environment, as far as it decides results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonLock {
    /// Implementation and version of the interpreter, such as `CPython 3.11.2`.
    pub interpreter: String,
    /// Content of the lock: every package with its exact version.
    pub lock: ContentHash,
}

/// What an input holds.
#[derive(Debug, Clone, PartialEq)]
pub enum InputContent {
    /// Nothing: an optional input whose source is absent.
    Absent,
    /// A file or folder, with the name under which the step sees it.
    One {
        /// Content.
        hash: ContentHash,
        /// File name.
        name: String,
    },
    /// The collected outputs of an expanded step, in the order of their keys.
    Many(Vec<CollectedContent>),
}

/// One entry of a collected list, as far as the step can see it.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedContent {
    /// `step{cell}`.
    pub key: String,
    /// Content.
    pub hash: ContentHash,
    /// File name.
    pub name: String,
    /// What the cell reported: a reader of the list sees it, so it counts.
    pub metrics: Vec<Metric>,
}

impl Derivation {
    /// The one walk over everything that counts.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut fields = BTreeMap::from([("recipe".to_owned(), Value::Int(RECIPE))]);
        let mut put = |key: &str, value: Value| {
            let is_default = matches!(&value, Value::Map(map) if map.is_empty());
            if !is_default {
                fields.insert(key.to_owned(), value);
            }
        };
        match &self.work {
            Work::Command(Command::Shell(script)) => put("shell", Value::text(script)),
            Work::Command(Command::Argv(argv)) => put("argv", Value::List(argv.iter().map(Value::text).collect())),
            Work::Read { source, content } => {
                put("source", Value::text(source));
                put("content", hash(content));
            }
        }
        put("platform", Value::text(&self.platform));
        put("code", Value::map(self.code.iter().map(|(path, content)| (path, hash(content)))));
        put("params", Value::map(self.params.iter().map(|(name, value)| (name.as_str(), value.into()))));
        put("cell", Value::map(self.cell.values().iter().map(|(name, value)| (name.as_str(), value.into()))));
        if let Some(partition) = &self.partition {
            put("partition", Value::text(partition));
        }
        put("env", Value::map(self.env.iter().map(|(name, value)| (name, env_value(value)))));
        put("inputs", Value::map(self.inputs.iter().map(|(name, content)| (name.as_str(), input_value(content)))));
        put("outputs", Value::map(self.outputs.iter().map(|(name, output)| (name.as_str(), output_value(output)))));
        if let Some(python) = &self.python {
            put(
                "python",
                Value::map([("interpreter", Value::text(&python.interpreter)), ("lock", hash(&python.lock))]),
            );
        }
        Value::Map(fields)
    }

    /// The fingerprint and the canonical bytes behind it.
    #[must_use]
    pub fn seal(&self) -> (Fingerprint, Vec<u8>) {
        let bytes = canonical::encode(&self.to_value());
        (fingerprint(&bytes), bytes)
    }
}

/// The fingerprint of canonical bytes: re-checks one that is on record.
#[must_use]
pub fn fingerprint(canonical: &[u8]) -> Fingerprint {
    Fingerprint::from_bytes(blake3::derive_key(CONTEXT, canonical))
}

fn hash(content: &ContentHash) -> Value {
    Value::Bytes(content.as_bytes().to_vec())
}

fn env_value(value: &EnvValue) -> Value {
    match value {
        EnvValue::Plain(text) => Value::text(text),
        EnvValue::Secret(name) => Value::map([("secret", Value::text(name))]),
    }
}

fn input_value(content: &InputContent) -> Value {
    match content {
        InputContent::Absent => Value::Null,
        InputContent::One { hash: content, name } => {
            Value::map([("content", hash(content)), ("name", Value::text(name))])
        }
        InputContent::Many(entries) => Value::map(entries.iter().map(|entry| {
            let mut fields = BTreeMap::from([
                ("content".to_owned(), hash(&entry.hash)),
                ("name".to_owned(), Value::text(&entry.name)),
            ]);
            if !entry.metrics.is_empty() {
                let key = |metric: &Metric| format!("{}[{}]", metric.name, metric.slice);
                let number = |metric: &Metric| {
                    let n = metric.n.and_then(|n| i64::try_from(n).ok()).map_or(Value::Null, Value::Int);
                    Value::List(vec![Value::Float(metric.value), n])
                };
                fields.insert(
                    "metrics".to_owned(),
                    Value::map(entry.metrics.iter().map(|metric| (key(metric), number(metric)))),
                );
            }
            (entry.key.as_str(), Value::Map(fields))
        })),
    }
}

fn output_value(output: &Output) -> Value {
    let mut fields = BTreeMap::new();
    if output.dir {
        fields.insert("dir".to_owned(), Value::Bool(true));
    }
    if output.optional {
        fields.insert("optional".to_owned(), Value::Bool(true));
    }
    if let Some(path) = &output.path {
        fields.insert("path".to_owned(), Value::text(path));
    }
    Value::Map(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    pub(super) fn derivation() -> Derivation {
        let input = InputContent::One { hash: ContentHash::of(b"data"), name: "data.csv".into() };
        Derivation {
            work: Work::Command(Command::Shell("python3 ./train.py".into())),
            code: BTreeMap::from([("./train.py".to_owned(), ContentHash::of(b"code"))]),
            params: BTreeMap::from([(name("lr"), Scalar::Float(0.1))]),
            cell: Cell::default(),
            partition: None,
            env: BTreeMap::new(),
            python: None,
            platform: "linux-x86_64".into(),
            inputs: BTreeMap::from([(name("data"), input)]),
            outputs: BTreeMap::from([(name("model"), Output::default())]),
        }
    }

    /// Each change of an ingredient must change the fingerprint, and the explanation must name it.
    #[test]
    fn every_ingredient_counts_and_is_explained_by_its_name() {
        type Edit = fn(&mut Derivation);
        let base = derivation();
        let changes: Vec<(&str, Edit)> = vec![
            ("shell", |d| d.work = Work::Command(Command::Shell("python3 ./train.py -v".into()))),
            ("code", |d| _ = d.code.insert("./train.py".into(), ContentHash::of(b"other"))),
            ("params", |d| _ = d.params.insert(name("lr"), Scalar::Float(0.2))),
            ("cell", |d| d.cell = Cell::new([(name("seed"), Scalar::Int(1))])),
            ("env", |d| _ = d.env.insert("LANG".into(), EnvValue::Plain("C".into()))),
            ("platform", |d| d.platform = "linux-aarch64".into()),
            ("python", |d| {
                d.python = Some(PythonLock { interpreter: "CPython 3.11.2".into(), lock: ContentHash::of(b"") });
            }),
            ("inputs", |d| _ = d.inputs.insert(name("data"), InputContent::Absent)),
            ("outputs", |d| _ = d.outputs.insert(name("log"), Output::default())),
        ];
        for (field, change) in changes {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(base.seal().0, other.seal().0, "{field}");
            let differences = canonical::diff(&base.to_value(), &other.to_value());
            assert!(!differences.is_empty(), "{field} is not explained");
        }
    }

    #[test]
    fn how_outputs_are_compared_re_runs_nothing() {
        let normalize = vec![crate::spec::model::Normalizer::Gzip];
        let mut with = derivation();
        with.outputs.insert(name("model"), Output { normalize, ..Output::default() });
        assert_eq!(with.seal(), derivation().seal());
    }

    #[test]
    fn a_secret_counts_by_name_only() {
        let mut with = derivation();
        with.env.insert("TOKEN".into(), EnvValue::Secret("hub".into()));
        let text = format!("{:?}", with.to_value());
        assert!(text.contains("hub"));
        assert_ne!(with.seal().0, derivation().seal().0);
    }

    #[test]
    fn the_recipe_is_fixed() {
        // A change here re-runs everything everywhere: raise RECIPE and look the old one up as well.
        let (fingerprint, bytes) = derivation().seal();
        assert_eq!(super::fingerprint(&bytes), fingerprint);
        assert_eq!(canonical::decode(&bytes).unwrap(), derivation().to_value());
    }
}
