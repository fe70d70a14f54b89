//! What a step reported: `$METRICS` and `$METADATA`, read strictly, and the conditions over it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use indexmap::IndexMap;
use runstone_core::cell::Cell;
use runstone_core::expr::{Bindings, Expr, Slice, Value};
use runstone_core::name::Name;
use runstone_core::record::Metric;
use runstone_core::scalar::Scalar;
use serde_json::Value as Json;

/// The largest report that is read, in bytes.
const MAX_REPORT: u64 = 16 << 20;

/// Reads `$METRICS`: an object of name → number, and `slices` as a list of `{slice: {axis: value}, name, value, n}`.
/// A missing file means that nothing was reported.
///
/// # Errors
/// A sentence saying what is wrong with the file.
pub(crate) fn metrics(path: &Path) -> Result<Vec<Metric>, String> {
    let Some(json) = read(path)? else { return Ok(Vec::new()) };
    let Json::Object(fields) = json else { return Err("$METRICS must hold a JSON object of name to number".to_owned()) };
    let mut metrics = Vec::with_capacity(fields.len());
    for (name, value) in &fields {
        if name == "slices" {
            let list = value.as_array().ok_or("`slices` in $METRICS must be a list")?;
            for entry in list {
                metrics.push(sliced(entry)?);
            }
        } else {
            let value = number(value).ok_or_else(|| format!("metric {name:?} in $METRICS must be a finite number"))?;
            metrics.push(Metric { name: name.clone(), slice: String::new(), value, n: None });
        }
    }
    metrics.sort_by(|a, b| (&a.name, &a.slice).cmp(&(&b.name, &b.slice)));
    if let Some(pair) = metrics.windows(2).find(|pair| pair[0].name == pair[1].name && pair[0].slice == pair[1].slice) {
        return Err(format!("metric {:?} is in $METRICS twice for slice {:?}", pair[0].name, pair[0].slice));
    }
    Ok(metrics)
}

/// Reads `$METADATA`: any JSON object.
///
/// # Errors
/// A sentence saying what is wrong with the file.
pub(crate) fn metadata(path: &Path) -> Result<Option<Json>, String> {
    match read(path)? {
        None => Ok(None),
        Some(json @ Json::Object(_)) => Ok(Some(json)),
        Some(_) => Err("$METADATA must hold a JSON object".to_owned()),
    }
}

fn read(path: &Path) -> Result<Option<Json>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let size = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(format!("{name} is not a regular file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{name} cannot be read: {error}")),
    };
    if size > MAX_REPORT {
        return Err(format!("{name} has {size} bytes, more than {MAX_REPORT}"));
    }
    let text = std::fs::read(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("{name} is not JSON: {error}"))
}

fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Bool(value) => Some(f64::from(u8::from(*value))),
        value => value.as_f64().filter(|value| value.is_finite()),
    }
}

fn sliced(entry: &Json) -> Result<Metric, String> {
    let wrong = || format!("an entry of `slices` in $METRICS must be {{slice: {{axis: value}}, name, value, n}}, not {entry}");
    let axes = entry.get("slice").and_then(Json::as_object).ok_or_else(wrong)?;
    let axes: BTreeMap<&String, String> = axes
        .iter()
        .map(|(axis, value)| (axis, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let slice: Vec<String> = axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    Ok(Metric {
        name: entry.get("name").and_then(Json::as_str).ok_or_else(wrong)?.to_owned(),
        slice: slice.join(","),
        value: entry.get("value").and_then(number).ok_or_else(wrong)?,
        n: entry.get("n").and_then(Json::as_u64),
    })
}

/// The names that conditions may use, with their values.
pub(crate) fn bindings(params: &[(Name, Scalar)], cell: &Cell, metrics: &[Metric]) -> Bindings {
    let mut bindings = Bindings::new();
    for (name, value) in params {
        bindings.bind(format!("params.{name}"), value_of(value));
    }
    for (name, value) in cell.values() {
        bindings.bind(format!("matrix.{name}"), value_of(value));
    }
    bind_metrics(&mut bindings, "metrics.", metrics);
    bindings
}

/// Adds what earlier steps reported, as `steps.NAME.metrics.METRIC`.
pub(crate) fn bind_step(bindings: &mut Bindings, step: &Name, metrics: &[Metric]) {
    bind_metrics(bindings, &format!("steps.{step}.metrics."), metrics);
}

fn bind_metrics(bindings: &mut Bindings, prefix: &str, metrics: &[Metric]) {
    let mut slices: HashMap<&str, Vec<Slice>> = HashMap::new();
    for metric in metrics {
        if metric.slice.is_empty() {
            bindings.bind(format!("{prefix}{}", metric.name), Value::Float(metric.value));
        } else {
            let slice = Slice { label: metric.slice.clone(), value: metric.value, rows: metric.n.unwrap_or(0) };
            slices.entry(&metric.name).or_default().push(slice);
        }
    }
    for (name, slices) in slices {
        bindings.bind_slices(format!("{prefix}{name}"), slices);
    }
}

/// The first condition that does not hold, explained; none where all do.
pub(crate) fn unmet(conditions: &[Expr], bindings: &Bindings) -> Option<String> {
    conditions
        .iter()
        .find(|condition| !matches!(condition.eval_condition(bindings), Ok(true)))
        .map(|condition| format!("require: {}", condition.explain(bindings)))
}

/// All parameters in force, as conditions see them.
pub(crate) fn all_params(params: &IndexMap<Name, Scalar>) -> Vec<(Name, Scalar)> {
    params.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn value_of(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Int(value) => Value::Int(*value),
        Scalar::Float(value) => Value::Float(*value),
        Scalar::Text(value) => Value::Text(value.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Metric>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.json");
        std::fs::write(&path, text).unwrap();
        metrics(&path)
    }

    #[test]
    fn metrics_and_slices_are_read() {
        let found = parse(r#"{"f1": 0.5, "slices": [{"slice": {"sex": "f", "age": 3}, "name": "f1", "value": 1, "n": 4}]}"#);
        let metric = |slice: &str, value, n| Metric { name: "f1".into(), slice: slice.into(), value, n };
        assert_eq!(found.unwrap(), [metric("", 0.5, None), metric("age=3,sex=f", 1.0, Some(4))]);
    }

    #[test]
    fn what_is_no_number_is_refused_with_its_name() {
        for (text, part) in [
            (r#"{"f1": "high"}"#, "\"f1\""),
            ("[1]", "object"),
            ("{", "JSON"),
            (r#"{"slices": [{"name": "f1"}]}"#, "slices"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
