//! Why two fingerprints differ: the fields that [`canonical::diff`] found, named as the language names them.

use runstone_core::canonical::{self, Change, PathSegment, Value};
use serde::Serialize;

use crate::asked::{hash_text, short};

/// One thing that differs between what was asked then and what is asked now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What kind of thing it is.
    pub what: What,
    /// Which one: a path, a parameter, an input. Empty where there is only one.
    pub name: String,
    /// Absent where it was added.
    pub old: Option<String>,
    /// Absent where it was removed.
    pub new: Option<String>,
    /// The input that it is about.
    #[serde(skip)]
    pub input: Option<InputPlace>,
}

/// Which input differs, or which entry of a collected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPlace {
    /// Its name.
    pub name: String,
    /// The key of the entry: `step{cell}`.
    pub entry: Option<String>,
}

/// What kind of thing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// What is executed.
    Command,
    /// A code file.
    Code,
    /// A parameter.
    Parameter,
    /// A value of the matrix.
    Cell,
    /// A declared variable.
    Environment,
    /// The Python environment.
    Python,
    /// Operating system or architecture.
    Platform,
    /// The content of an input.
    Input,
    /// The file name of an input.
    InputName,
    /// A metric of an entry of a collected input.
    InputMetric,
    /// A declared output.
    Output,
    /// What a source is, or held.
    Source,
    /// The recipe of the fingerprint.
    Recipe,
    /// Anything else.
    Other,
}

impl What {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Code => "code file",
            Self::Parameter => "parameter",
            Self::Cell => "matrix value",
            Self::Environment => "environment variable",
            Self::Python => "python environment",
            Self::Platform => "platform",
            Self::Input => "input data",
            Self::InputName => "input file name",
            Self::InputMetric => "metric of input",
            Self::Output => "declared output",
            Self::Source => "source",
            Self::Recipe => "recipe of the fingerprint",
            Self::Other => "field",
        }
    }
}

/// Everything in which `new` differs from `old`, in words.
pub fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    named(canonical::diff(old, new))
}

/// Changes that were found already, in words.
pub fn named(changes: Vec<Change>) -> Vec<Difference> {
    changes.into_iter().flat_map(split).map(|change| name(&change)).collect()
}

/// A section that was absent on one side as its entries: each was added or removed by itself.
fn split(change: Change) -> Vec<Change> {
    const SECTIONS: [&str; 7] = ["code", "params", "cell", "env", "inputs", "outputs", "python"];
    let is_section = matches!(&change.path.0[..], [PathSegment::Key(key)] if SECTIONS.contains(&key.as_str()));
    let (entries, is_new) = match (&change.old, &change.new) {
        (None, Some(Value::Map(entries))) if is_section => (entries, true),
        (Some(Value::Map(entries)), None) if is_section => (entries, false),
        _ => return vec![change],
    };
    let entry = |(key, value): (&String, &Value)| {
        let mut path = change.path.clone();
        path.0.push(PathSegment::Key(key.clone()));
        let (old, new) = if is_new { (None, Some(value.clone())) } else { (Some(value.clone()), None) };
        Change { path, old, new }
    };
    entries.iter().map(entry).collect()
}

fn name(change: &Change) -> Difference {
    let keys: Vec<&str> = change
        .path
        .0
        .iter()
        .filter_map(|segment| match segment {
            PathSegment::Key(key) => Some(key.as_str()),
            PathSegment::Index(_) => None,
        })
        .collect();
    let (what, name) = match keys[..] {
        ["shell" | "argv", ..] => (What::Command, String::new()),
        ["source" | "content"] => (What::Source, if keys[0] == "content" { "content".into() } else { String::new() }),
        ["code", path] => (What::Code, path.to_owned()),
        ["params", name, ..] => (What::Parameter, name.to_owned()),
        ["cell", name, ..] => (What::Cell, name.to_owned()),
        ["env", name, ..] => (What::Environment, name.to_owned()),
        ["python", part, ..] => (What::Python, part.to_owned()),
        ["platform"] => (What::Platform, String::new()),
        ["inputs", input] | ["inputs", input, "content"] => (What::Input, input.to_owned()),
        ["inputs", input, "name"] => (What::InputName, input.to_owned()),
        ["inputs", input, entry] | ["inputs", input, entry, "content"] => (What::Input, format!("{input} ({entry})")),
        ["inputs", input, entry, "name"] => (What::InputName, format!("{input} ({entry})")),
        ["inputs", input, entry, "metrics"] => (What::InputMetric, format!("{input} ({entry})")),
        ["inputs", input, entry, "metrics", metric, ..] => {
            (What::InputMetric, format!("{input} ({entry}) {}", metric.trim_end_matches("[]")))
        }
        ["outputs", output, ..] => (What::Output, output.to_owned()),
        ["recipe"] => (What::Recipe, String::new()),
        _ => (What::Other, change.path.to_string()),
    };
    let input = match keys[..] {
        ["inputs", input] | ["inputs", input, "content" | "name"] => Some((input, None)),
        ["inputs", input, entry, ..] => Some((input, Some(entry.to_owned()))),
        _ => None,
    };
    Difference {
        what,
        name,
        old: change.old.as_ref().map(value_text),
        new: change.new.as_ref().map(value_text),
        input: input.map(|(name, entry)| InputPlace { name: name.to_owned(), entry }),
    }
}

/// A value as people know it: hashes with their prefix, of an input its content.
fn value_text(value: &Value) -> String {
    match value {
        Value::Bytes(_) => hash_text(value),
        Value::Null => "nothing".to_owned(),
        Value::Map(map) if map.is_empty() => String::new(),
        Value::Map(map) => match (map.get("content"), map.get("secret")) {
            (Some(content), _) => hash_text(content),
            (_, Some(secret)) => format!("secret {}", short(secret)),
            (None, None) => value.to_string(),
        },
        _ => short(value),
    }
}
