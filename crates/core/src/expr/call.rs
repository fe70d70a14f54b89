//! What the functions do. Their names and arguments are in `function`.

use std::cmp::Ordering;

use super::eval::{Env, EvalError, EvalErrorKind, Slice, eval};
use super::function::Function;
use super::names;
use super::number;
use super::syntax::Node;
use super::value::Value;

/// A function of values. The number of `arguments` was checked by the parser.
pub(super) fn call(function: Function, arguments: &[Value]) -> Result<Value, EvalErrorKind> {
    let operation = function.signature().name;
    match (function, arguments) {
        (Function::Abs, [value]) => number::abs(value),
        (Function::Ceil, [value]) => number::to_whole(operation, value, f64::ceil),
        (Function::Floor, [value]) => number::to_whole(operation, value, f64::floor),
        (Function::Round, [value]) => number::to_whole(operation, value, f64::round_ties_even),
        (Function::Round, [value, digits]) => number::round_to(value, digits),
        (Function::Min, [Value::List(values)]) => extreme(operation, values, Ordering::Less),
        (Function::Max, [Value::List(values)]) => extreme(operation, values, Ordering::Greater),
        (Function::Min, values) => extreme(operation, values, Ordering::Less),
        (Function::Max, values) => extreme(operation, values, Ordering::Greater),
        (Function::Len, [value]) => len(value),
        (Function::Contains, [Value::List(values), part]) => {
            Ok(Value::Bool(values.iter().any(|value| value.equals(part))))
        }
        (Function::Contains, [within, part]) => {
            Ok(Value::Bool(text(operation, "text or a list", within)?.contains(text(operation, "text", part)?)))
        }
        (Function::StartsWith, [whole, part]) => {
            Ok(Value::Bool(text(operation, "text", whole)?.starts_with(text(operation, "text", part)?)))
        }
        (Function::EndsWith, [whole, part]) => {
            Ok(Value::Bool(text(operation, "text", whole)?.ends_with(text(operation, "text", part)?)))
        }
        (Function::Lower, [value]) => Ok(text(operation, "text", value)?.to_lowercase().as_str().into()),
        (Function::Upper, [value]) => Ok(text(operation, "text", value)?.to_uppercase().as_str().into()),
        _ => unreachable!("the parser counts arguments, and names and slices are evaluated before"),
    }
}

fn text<'a>(operation: &'static str, wanted: &'static str, value: &'a Value) -> Result<&'a str, EvalErrorKind> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(EvalErrorKind::Type { operation, wanted, found: other.type_of() }),
    }
}

fn len(value: &Value) -> Result<Value, EvalErrorKind> {
    let len = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(values) => values.len(),
        other => {
            let found = other.type_of();
            return Err(EvalErrorKind::Type { operation: "len", wanted: "text or a list", found });
        }
    };
    i64::try_from(len).map(Value::Int).map_err(|_| EvalErrorKind::OutOfRange("len"))
}

/// The first of the numbers that no other is `beyond`.
fn extreme(operation: &'static str, values: &[Value], beyond: Ordering) -> Result<Value, EvalErrorKind> {
    let is_number = |value: &&Value| matches!(value, Value::Int(_) | Value::Float(_));
    if let Some(other) = values.iter().find(|value| !is_number(value)) {
        return Err(number::not_a_number(operation, other));
    }
    let best = |best: &'_ Value, next: &'_ Value| next.order(best) == Some(beyond);
    let found = values.iter().reduce(|found, next| if best(found, next) { next } else { found });
    found.cloned().ok_or(EvalErrorKind::EmptyList(operation))
}

/// A metric over the slices that have enough rows.
pub(super) fn slices(node: &Node, function: Function, arguments: &[Node], env: &dyn Env) -> Result<Value, EvalError> {
    let counted = counted_slices(node, function, arguments, env)?;
    let values = || counted.iter().map(|slice| slice.value);
    let result = match function {
        Function::SliceMin => values().fold(f64::INFINITY, f64::min),
        Function::SliceMax => values().fold(f64::NEG_INFINITY, f64::max),
        // Divided first, so that a sum of large values cannot leave the range.
        _ => values().map(|value| value / counted.len() as f64).sum(),
    };
    number::finite(function.signature().name, result).map_err(|kind| kind.at(node.span))
}

/// The slices that count for a call of a slice function; at least one.
pub(super) fn counted_slices<'e>(
    node: &Node,
    function: Function,
    arguments: &[Node],
    env: &'e dyn Env,
) -> Result<Vec<&'e Slice>, EvalError> {
    let at_least = match arguments.get(1).map(|rows| eval(rows, env)).transpose()? {
        None => 0,
        Some(rows) => whole_rows(node, function.signature().name, &rows)?,
    };
    let metric = arguments[0].as_name();
    let reported = env.slices(metric);
    if reported.iter().any(|slice| !slice.value.is_finite()) {
        return Err(EvalErrorKind::NotFinite(format!("a slice of {}", names::spell(metric))).at(node.span));
    }
    let counted: Vec<_> = reported.iter().filter(|slice| slice.rows >= at_least).collect();
    if counted.is_empty() {
        let kind = EvalErrorKind::NoSlices { metric: names::spell(metric), at_least, reported: reported.len() };
        return Err(kind.at(node.span));
    }
    Ok(counted)
}

fn whole_rows(node: &Node, operation: &'static str, rows: &Value) -> Result<u64, EvalError> {
    let kind = match rows {
        Value::Int(int) if *int >= 0 => return Ok(int.unsigned_abs()),
        Value::Int(_) | Value::Float(_) => {
            EvalErrorKind::BadCount { operation, wanted: "a whole number of rows", found: rows.to_string() }
        }
        other => number::not_a_number(operation, other),
    };
    Err(kind.at(node.span))
}
