//! Why a condition is true or false, in one line for people.

use super::call::counted_slices;
use super::eval::{Env, EvalError, eval, eval_bool};
use super::function::Function;
use super::syntax::{Kind, Logic, Node};
use super::value::Value;

/// The longest value that is shown in full, in characters.
const MAX_SHOWN: usize = 80;

/// How many operands of one `and` or `or` are explained.
const MAX_PARTS: usize = 8;

/// How many values are named beside a result.
const MAX_NOTES: usize = 8;

pub(super) fn explain(node: &Node, env: &dyn Env) -> String {
    let result = eval_bool(node, env);
    match (&node.kind, result) {
        (Kind::Logic(Logic::And, operands), result) if result != Ok(true) => {
            join(operands.iter().filter(|operand| eval_bool(operand, env) != Ok(true)), env)
        }
        (Kind::Logic(Logic::Or, operands), result) if result != Ok(true) => join(operands.iter(), env),
        (Kind::Compare(operator, left, right), Ok(result)) => {
            let sides = eval(left, env).and_then(|left| Ok((left, eval(right, env)?)));
            // Both sides had a value a moment ago; an environment that changes its mind is quoted as it is now.
            sides.map_or_else(
                |error| format!("{node}: {error}"),
                |(left_value, right_value)| {
                    let (left_value, right_value) = (show(&left_value), show(&right_value));
                    let notes = notes([&**left, &**right].into_iter().filter(|side| !is_plain(side)), env);
                    format!("{node}: {left_value} {} {right_value} is {result}{notes}", operator.as_str())
                },
            )
        }
        (_, Ok(result)) => format!("{node} is {result}{}", notes([node].into_iter(), env)),
        (_, Err(error)) => format!("{node}: {error}"),
    }
}

fn join<'a>(operands: impl Iterator<Item = &'a Node>, env: &dyn Env) -> String {
    let mut operands = operands.peekable();
    let mut parts: Vec<_> = operands.by_ref().take(MAX_PARTS).map(|operand| explain(operand, env)).collect();
    if operands.peek().is_some() {
        parts.push("…".to_owned());
    }
    parts.join("; ")
}

/// Whether the value of a side says everything about it.
fn is_plain(side: &Node) -> bool {
    matches!(side.kind, Kind::Name(_) | Kind::Literal(_))
}

/// The values that went into a result: ` (champion.f1 = 0.82)`.
fn notes<'a>(nodes: impl Iterator<Item = &'a Node>, env: &dyn Env) -> String {
    let mut notes: Vec<String> = Vec::new();
    for node in nodes {
        node.walk(&mut |node| {
            if notes.len() < MAX_NOTES
                && let Some(note) = note(node, env)
                && !notes.contains(&note)
            {
                notes.push(note);
            }
        });
    }
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}

fn note(node: &Node, env: &dyn Env) -> Option<String> {
    match &node.kind {
        Kind::Name(name) => Some(format!("{node} = {}", show(&env.value(name)?))),
        Kind::Call(function, arguments) if function.is_slice() => {
            slice_note(node, *function, arguments, env).ok().flatten()
        }
        _ => None,
    }
}

/// Which slice is the lowest or highest, or how many there are.
fn slice_note(node: &Node, function: Function, arguments: &[Node], env: &dyn Env) -> Result<Option<String>, EvalError> {
    let counted = counted_slices(node, function, arguments, env)?;
    let by_value = |slice: &&&super::Slice| slice.value;
    let found = match function {
        Function::SliceMin => counted.iter().min_by(|a, b| by_value(a).total_cmp(&by_value(b))),
        Function::SliceMax => counted.iter().max_by(|a, b| by_value(a).total_cmp(&by_value(b))),
        _ => return Ok(Some(format!("{node} is over {} slices", counted.len()))),
    };
    Ok(found.map(|slice| format!("{node} = {:?} at {}, {} rows", slice.value, cut(&slice.label), slice.rows)))
}

fn show(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
