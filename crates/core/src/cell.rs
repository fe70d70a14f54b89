//! Cells: which task of an expanded step is meant, and how that is written.
//!
//! A cell is written `lr=0.1,seed=1`, axes sorted by name, so that reordering axes in a file renames nothing.

use std::fmt::Write as _;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::scalar::Scalar;
use crate::spec::model::Matrix;

/// The axis values of one task. Empty for a step that is not expanded.
///
/// Invariant: sorted by axis name, each axis once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell(Box<[(Name, Scalar)]>);

impl Cell {
    /// A cell of the given axis values; a later value of an axis wins.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = (Name, Scalar)>) -> Self {
        let map: std::collections::BTreeMap<_, _> = values.into_iter().collect();
        Self(map.into_iter().collect())
    }

    /// The axis values, sorted by name.
    #[must_use]
    pub fn values(&self) -> &[(Name, Scalar)] {
        &self.0
    }

    /// The value on an axis.
    #[must_use]
    pub fn get(&self, axis: &str) -> Option<&Scalar> {
        self.0.iter().find(|(name, _)| name.as_str() == axis).map(|(_, value)| value)
    }

    /// The text form, empty for the empty cell. Two different cells never share it.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = String::new();
        for (name, value) in &self.0 {
            if !key.is_empty() {
                key.push(',');
            }
            // Writing to a String cannot fail.
            let _ = write!(key, "{name}={}", spelling(value));
        }
        key
    }

    /// Reads the text form of a cell, as it stands on record. What is no cell reads as the empty one.
    #[must_use]
    pub fn parse(key: &str) -> Self {
        let pairs = split_outside_quotes(key).into_iter().filter_map(|pair| {
            let (axis, value) = pair.split_once('=')?;
            Some((Name::new(axis).ok()?, read_spelling(value)))
        });
        Self::new(pairs)
    }

    /// Whether every given axis has the given spelling here.
    #[must_use]
    pub fn matches(&self, wanted: &[(String, String)]) -> bool {
        wanted.iter().all(|(axis, text)| {
            self.get(axis).is_some_and(|value| spelling(value) == *text || value.to_string() == *text)
        })
    }
}

/// The name of a task for people: `step` or `step{cell}`.
#[must_use]
pub fn task_name(step: &str, cell_key: &str) -> String {
    if cell_key.is_empty() { step.to_owned() } else { format!("{step}{{{cell_key}}}") }
}

/// Text values that could be mistaken for another value or for punctuation are quoted as JSON.
fn spelling(value: &Scalar) -> String {
    let Scalar::Text(text) = value else { return value.to_string() };
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+'))
        && text.parse::<f64>().is_err()
        && !matches!(text.as_str(), "true" | "false");
    if plain { text.clone() } else { serde_json::Value::from(text.as_str()).to_string() }
}

/// The inverse of [`spelling`].
fn read_spelling(text: &str) -> Scalar {
    match text {
        "true" => return Scalar::Bool(true),
        "false" => return Scalar::Bool(false),
        _ => {}
    }
    if let Ok(whole) = text.parse() {
        return Scalar::Int(whole);
    }
    if let Ok(float) = text.parse() {
        return Scalar::Float(float);
    }
    Scalar::Text(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()))
}

/// All cells of a matrix: the product of its axes, less `exclude`, plus `include`.
///
/// An `include` entry that agrees with cells on every axis it shares with them adds its other values to those; one
/// that agrees with none becomes a cell of its own. (The rule of GitHub Actions, which people know.)
#[must_use]
pub fn expand(matrix: &Matrix) -> Vec<Cell> {
    let mut cells: Vec<IndexMap<Name, Scalar>> = product(&matrix.axes);
    cells.retain(|cell| {
        !matrix.exclude.iter().any(|entry| entry.iter().all(|(axis, value)| cell.get(axis) == Some(value)))
    });
    let originals = cells.len();
    for entry in &matrix.include {
        let shared: Vec<_> = entry.iter().filter(|(axis, _)| matrix.axes.contains_key(*axis)).collect();
        let mut matched = false;
        for cell in &mut cells[..originals] {
            if shared.iter().all(|(axis, value)| cell.get(*axis) == Some(*value)) {
                matched = true;
                for (axis, value) in entry {
                    cell.insert(axis.clone(), value.clone());
                }
            }
        }
        if !matched {
            cells.push(entry.clone());
        }
    }
    let mut seen = std::collections::HashSet::with_capacity(cells.len());
    cells.into_iter().map(Cell::new).filter(|cell| seen.insert(cell.key())).collect()
}

fn product(axes: &IndexMap<Name, Vec<Scalar>>) -> Vec<IndexMap<Name, Scalar>> {
    if axes.is_empty() {
        return Vec::new();
    }
    axes.iter().fold(vec![IndexMap::new()], |cells, (axis, values)| {
        cells
            .iter()
            .flat_map(|cell| {
                values.iter().map(move |value| {
                    let mut next = cell.clone();
                    next.insert(axis.clone(), value.clone());
                    next
                })
            })
            .collect()
    })
}

/// A reference to tasks as people write it: `step`, or `step{lr=0.1}` for every cell that agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    /// The step.
    pub step: String,
    /// Axis and spelling; empty means every cell.
    pub cell: Vec<(String, String)>,
}

/// A text that is not a reference to tasks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} does not name a task; write `step` or `step{{axis=value,…}}`")]
pub struct TaskRefError {
    /// As given.
    pub given: String,
}

impl std::str::FromStr for TaskRef {
    type Err = TaskRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TaskRefError { given: text.to_owned() };
        let Some((step, rest)) = text.split_once('{') else {
            return if text.is_empty() { Err(wrong()) } else { Ok(Self { step: text.to_owned(), cell: Vec::new() }) };
        };
        let inner = rest.strip_suffix('}').ok_or_else(wrong)?;
        let cell = split_outside_quotes(inner)
            .into_iter()
            .map(|pair| {
                let (axis, value) = pair.split_once('=').ok_or_else(wrong)?;
                Ok((axis.trim().to_owned(), value.trim().to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { step: step.to_owned(), cell })
    }
}

/// Splits at commas that are not inside a JSON string.
fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn entry(pairs: &[(&str, i64)]) -> IndexMap<Name, Scalar> {
        pairs.iter().map(|(axis, value)| (name(axis), Scalar::Int(*value))).collect()
    }

    fn keys(matrix: &Matrix) -> Vec<String> {
        expand(matrix).iter().map(Cell::key).collect()
    }

    #[test]
    fn a_matrix_is_the_product_of_its_axes() {
        let axes = IndexMap::from([
            (name("seed"), vec![Scalar::Int(1), Scalar::Int(2)]),
            (name("lr"), vec![Scalar::Float(0.1), Scalar::Float(1.0)]),
        ]);
        let matrix = Matrix { axes, ..Matrix::default() };
        assert_eq!(keys(&matrix), ["lr=0.1,seed=1", "lr=1.0,seed=1", "lr=0.1,seed=2", "lr=1.0,seed=2"]);
    }

    #[test]
    fn include_extends_what_agrees_and_adds_what_does_not_and_exclude_removes() {
        let axes = IndexMap::from([(name("a"), vec![Scalar::Int(1), Scalar::Int(2), Scalar::Int(3)])]);
        let matrix = Matrix {
            axes,
            include: vec![entry(&[("a", 1), ("b", 7)]), entry(&[("a", 9)])],
            exclude: vec![entry(&[("a", 2)])],
            min_success: None,
        };
        assert_eq!(keys(&matrix), ["a=1,b=7", "a=3", "a=9"]);
    }

    #[test]
    fn different_cells_never_share_a_key() {
        let values = [
            Scalar::Int(1),
            Scalar::Float(1.0),
            Scalar::Text("1".into()),
            Scalar::Bool(true),
            Scalar::Text("true".into()),
            Scalar::Text("a,b=c".into()),
            Scalar::Text(String::new()),
        ];
        let keys: std::collections::HashSet<_> =
            values.iter().map(|value| Cell::new([(name("x"), value.clone())]).key()).collect();
        assert_eq!(keys.len(), values.len());
        for value in values {
            let cell = Cell::new([(name("x"), value)]);
            assert_eq!(Cell::parse(&cell.key()), cell, "a key reads back as its cell");
        }
    }

    #[test]
    fn a_reference_finds_the_cells_it_agrees_with() {
        let cell = Cell::new([(name("lr"), Scalar::Float(0.1)), (name("data"), Scalar::Text("a,b".into()))]);
        for text in ["m", "m{lr=0.1}", "m{lr=0.1,data=\"a,b\"}"] {
            assert!(cell.matches(&text.parse::<TaskRef>().unwrap().cell), "{text}");
        }
        assert!(!cell.matches(&"m{lr=0.2}".parse::<TaskRef>().unwrap().cell));
        for bad in ["", "m{lr=1", "m{lr}"] {
            assert!(bad.parse::<TaskRef>().is_err(), "{bad}");
        }
    }
}
