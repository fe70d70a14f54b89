//! What a step reported: `$METRICS` and `$METADATA`, read strictly, and the conditions over it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use indexmap::IndexMap;
use runstone_core::cell::Cell;
use runstone_core::expr::{Bindings, Expr, Slice, Value};
use runstone_core::name::Name;
use runstone_core::record::Metric;
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::Step;
use runstone_core::store::Earlier;
use runstone_exec::local::Masker;
use serde_json::Value as Json;

use crate::derive::Derived;

/// The largest report that is read, in bytes.
const MAX_REPORT: u64 = 16 << 20;

/// Reads `$METRICS`: an object of name → number, and `slices` as a list of `{slice: {axis: value}, name, value, n}`.
/// A missing file means that nothing was reported. Secrets are masked, in the file as well.
///
/// # Errors
/// A sentence saying what is wrong with the file.
pub(crate) fn metrics(path: &Path, masker: &Masker) -> Result<Vec<Metric>, String> {
    let Some(json) = read(path, masker)? else { return Ok(Vec::new()) };
    let Json::Object(fields) = json else {
        return Err("$METRICS must hold a JSON object of name to number".to_owned());
    };
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

/// Reads `$METADATA`: any JSON object. Secrets are masked, in the file as well.
///
/// # Errors
/// A sentence saying what is wrong with the file.
pub(crate) fn metadata(path: &Path, masker: &Masker) -> Result<Option<Json>, String> {
    match read(path, masker)? {
        None => Ok(None),
        Some(json @ Json::Object(_)) => Ok(Some(json)),
        Some(_) => Err("$METADATA must hold a JSON object".to_owned()),
    }
}

fn read(path: &Path, masker: &Masker) -> Result<Option<Json>, String> {
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
    let parsed = serde_json::from_slice(&text).map(|json| clean(json, masker));
    if !masker.is_empty() {
        // The file stays beside the logs, where a secret has no place either.
        let masked = parsed.as_ref().map(Json::to_string).unwrap_or_default();
        std::fs::write(path, masked).map_err(|error| format!("{name} cannot be masked: {error}"))?;
    }
    let json = parsed.map_err(|error| format!("{name} is not JSON: {error}"))?;
    // Not every database keeps it.
    if has_nul(&json) { Err(format!("{name} has a NUL character in a text")) } else { Ok(Some(json)) }
}

/// Masks every text of a value. Recursion, here and below, is bounded by the depth that the JSON reader accepts.
fn clean(json: Json, masker: &Masker) -> Json {
    match json {
        Json::String(text) => Json::String(masker.mask(&text)),
        Json::Array(list) => list.into_iter().map(|value| clean(value, masker)).collect(),
        Json::Object(fields) => {
            fields.into_iter().map(|(key, value)| (masker.mask(&key), clean(value, masker))).collect()
        }
        other => other,
    }
}

fn has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(list) => list.iter().any(has_nul),
        Json::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Bool(value) => Some(f64::from(u8::from(*value))),
        value => value.as_f64().filter(|value| value.is_finite()),
    }
}

fn sliced(entry: &Json) -> Result<Metric, String> {
    let wrong =
        || format!("an entry of `slices` in $METRICS must be {{slice: {{axis: value}}, name, value, n}}, not {entry}");
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
        // Databases count to 2^63.
        n: entry
            .get("n")
            .filter(|n| !n.is_null())
            .map(|n| n.as_i64().and_then(|n| n.try_into().ok()).ok_or_else(wrong))
            .transpose()?,
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
    bind_metrics(&mut bindings, metrics);
    bindings
}

fn bind_metrics(bindings: &mut Bindings, metrics: &[Metric]) {
    let mut slices: HashMap<&str, Vec<Slice>> = HashMap::new();
    for metric in metrics {
        if metric.slice.is_empty() {
            bindings.bind(format!("metrics.{}", metric.name), Value::Float(metric.value));
        } else {
            let slice = Slice { label: metric.slice.clone(), value: metric.value, rows: metric.n.unwrap_or(0) };
            slices.entry(&metric.name).or_default().push(slice);
        }
    }
    for (name, slices) in slices {
        bindings.bind_slices(format!("metrics.{name}"), slices);
    }
}

/// The first condition that does not hold, explained; none where all do.
pub(crate) fn unmet(conditions: &[Expr], bindings: &Bindings) -> Option<String> {
    conditions
        .iter()
        .find(|condition| !matches!(condition.eval_condition(bindings), Ok(true)))
        .map(|condition| format!("require: {}", condition.explain(bindings)))
}

/// The first condition of a step that an earlier result does not meet, explained.
pub(crate) fn unmet_by(step: &Step, derived: &Derived, earlier: &Earlier) -> Option<String> {
    let params = derived.facts.params_for(&derived.cell);
    let message = unmet(&step.require, &bindings(&params, &derived.cell, &earlier.metrics))?;
    Some(format!("{message} (in the result of run #{} that was to be reused)", earlier.run_number))
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
        metrics(&path, &Masker::default())
    }

    #[test]
    fn metrics_and_slices_are_read() {
        let found =
            parse(r#"{"f1": 0.5, "slices": [{"slice": {"sex": "f", "age": 3}, "name": "f1", "value": 1, "n": 4}]}"#);
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
            (r#"{"slices": [{"slice": {}, "name": "f1", "value": 1, "n": 9223372036854775808}]}"#, "slices"),
            (
                r#"{"slices": [{"slice": {"a": 1}, "name": "f", "value": 1}, {"slice": {"a": "1"}, "name": "f", "value": 2}]}"#,
                "twice",
            ),
            ("{\"f\\u0000\": 1}", "NUL"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
