//! Values out of a tree. Total: every operation gives a value or a typed error, and nothing panics.

use std::ops::Range;

use super::function::Function;
use super::names;
use super::syntax::{Arithmetic, Comparison, Kind, Logic, Node, Span};
use super::value::{Type, Value};
use super::{call, number};

/// How many existing names an error lists.
const MAX_LISTED: usize = 20;

/// The values that an expression may use.
pub trait Env {
    /// The value of a dotted name such as `params.mode`; `None` where there is none (yet).
    fn value(&self, name: &str) -> Option<Value>;

    /// What was reported of a metric slice by slice; empty where nothing was.
    fn slices(&self, metric: &str) -> &[Slice];

    /// The names that have a value, for messages.
    fn names(&self) -> Box<dyn Iterator<Item = String> + '_>;
}

/// A metric on a part of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Which part, for people: `language=de`.
    pub label: String,
    /// The metric's value there.
    pub value: f64,
    /// How many rows the part has.
    pub rows: u64,
}

/// An expression that has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct EvalError {
    /// Where, in bytes of the parsed text.
    pub at: Range<usize>,
    /// Why.
    pub kind: EvalErrorKind,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalErrorKind {
    /// A name without a value, such as a metric that was not reported.
    #[error("{}", missing(name, known, suggestion.as_deref()))]
    Missing {
        /// The name, as an expression spells it.
        name: String,
        /// Names of the same group that do have a value; not more than a few.
        known: Vec<String>,
        /// The one that was most likely meant.
        suggestion: Option<String>,
    },
    /// No slice of a metric has enough rows.
    #[error("no slice of {metric} with at least {at_least} rows was reported, out of {reported}")]
    NoSlices {
        /// The metric, as an expression spells it.
        metric: String,
        /// The fewest rows that count.
        at_least: u64,
        /// How many slices of it there are, of any size.
        reported: usize,
    },
    /// A value of another type than the operation needs.
    #[error("{operation} needs {wanted}, this is {found}")]
    Type {
        /// The operator or function.
        operation: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// What it got.
        found: Type,
    },
    /// Two values without an order, such as text and a number.
    #[error("cannot compare {left} with {right}")]
    Unordered {
        /// Type of the left side.
        left: Type,
        /// Type of the right side.
        right: Type,
    },
    /// A result beyond the range of whole numbers or floats.
    #[error("the result of {0} is out of range")]
    OutOfRange(&'static str),
    /// Division by zero, also of the remainder.
    #[error("division by zero")]
    DivisionByZero,
    /// The smallest or largest of nothing.
    #[error("{0} of an empty list")]
    EmptyList(&'static str),
    /// A number of digits or rows that is not a whole number of the range.
    #[error("{operation} takes {wanted}, not {found}")]
    BadCount {
        /// The function.
        operation: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// The number it got.
        found: String,
    },
    /// A value handed in that is NaN or infinite.
    #[error("{0} is not a finite number")]
    NotFinite(String),
}

impl EvalErrorKind {
    pub(super) fn at(self, span: Span) -> EvalError {
        EvalError { at: span.into(), kind: self }
    }
}

fn missing(name: &str, known: &[String], suggestion: Option<&str>) -> String {
    let known = match (known, suggestion) {
        (_, Some(near)) => format!("did you mean {near}?"),
        ([], None) => "there is none of this kind".to_owned(),
        (known, None) => format!("there are {}", known.join(", ")),
    };
    format!("{name} has no value; {known}")
}

/// Recursion is bounded, see [`syntax`](super::syntax). Each kind of node has a function of its own, so that this one,
/// which is on the stack for every level, stays small.
pub(super) fn eval(node: &Node, env: &dyn Env) -> Result<Value, EvalError> {
    match &node.kind {
        Kind::Literal(value) => Ok(value.clone()),
        Kind::Name(name) => name_value(node, name, env),
        Kind::List(elements) => elements.iter().map(|element| eval(element, env)).collect(),
        Kind::Not(operand) => operand_bool(operand, "not", env).map(|value| Value::Bool(!value)),
        Kind::Negate(operand) => number::negate(&eval(operand, env)?).map_err(|kind| kind.at(node.span)),
        Kind::Logic(operator, operands) => logic(*operator, operands, env),
        Kind::Compare(operator, left, right) => {
            compare(*operator, &eval(left, env)?, &eval(right, env)?).map_err(|kind| kind.at(node.span))
        }
        Kind::Arithmetic(first, rest) => chain(node, first, rest, env),
        Kind::Call(function, arguments) => eval_call(node, *function, arguments, env),
    }
}

fn logic(operator: Logic, operands: &[Node], env: &dyn Env) -> Result<Value, EvalError> {
    for operand in operands {
        let value = operand_bool(operand, operator.as_str(), env)?;
        if value == (operator == Logic::Or) {
            return Ok(Value::Bool(value));
        }
    }
    Ok(Value::Bool(operator == Logic::And))
}

fn chain(node: &Node, first: &Node, rest: &[(Arithmetic, Node)], env: &dyn Env) -> Result<Value, EvalError> {
    let mut result = eval(first, env)?;
    for (operator, operand) in rest {
        let right = eval(operand, env)?;
        let span = node.span.to(operand.span);
        result = number::arithmetic(*operator, &result, &right).map_err(|kind| kind.at(span))?;
    }
    Ok(result)
}

fn eval_call(node: &Node, function: Function, arguments: &[Node], env: &dyn Env) -> Result<Value, EvalError> {
    match (function, arguments) {
        (Function::Defined, [name]) => Ok(Value::Bool(env.value(name.as_name()).is_some())),
        (Function::Default, [name, fallback]) => {
            let chosen = if env.value(name.as_name()).is_some() { name } else { fallback };
            eval(chosen, env)
        }
        (Function::SliceMax | Function::SliceMean | Function::SliceMin, _) => {
            call::slices(node, function, arguments, env)
        }
        _ => {
            let values = arguments.iter().map(|argument| eval(argument, env)).collect::<Result<Vec<_>, _>>()?;
            call::call(function, &values).map_err(|kind| kind.at(node.span))
        }
    }
}

/// The value of a condition.
pub(super) fn eval_bool(node: &Node, env: &dyn Env) -> Result<bool, EvalError> {
    operand_bool(node, "a condition", env)
}

fn operand_bool(node: &Node, operation: &'static str, env: &dyn Env) -> Result<bool, EvalError> {
    match eval(node, env)? {
        Value::Bool(value) => Ok(value),
        other => {
            let kind = EvalErrorKind::Type { operation, wanted: "true or false", found: other.type_of() };
            Err(kind.at(node.span))
        }
    }
}

fn name_value(node: &Node, name: &str, env: &dyn Env) -> Result<Value, EvalError> {
    let kind = match env.value(name) {
        Some(value) if value.is_finite() => return Ok(value),
        Some(_) => EvalErrorKind::NotFinite(names::spell(name)),
        None => {
            let full = names::full_metric(name).unwrap_or_else(|| name.to_owned());
            let group = full.rfind('.').map_or("", |dot| &full[..=dot]);
            let short = |found: String| match found.strip_prefix(group) {
                Some(metric) if full != name => names::spell(metric),
                _ => names::spell(&found),
            };
            let known = env.names().filter(|found| found.starts_with(group)).take(MAX_LISTED).map(short).collect();
            // A bare word may be a metric with a typing error, or a parameter without its `params.`.
            let suggestion =
                names::nearest(name, env.names()).or_else(|| names::nearest(&full, env.names())).map(short);
            EvalErrorKind::Missing { name: names::spell(name), known, suggestion }
        }
    };
    Err(kind.at(node.span))
}

/// The operators of comparison, on values.
fn compare(operator: Comparison, left: &Value, right: &Value) -> Result<Value, EvalErrorKind> {
    let order = || {
        let unordered = || EvalErrorKind::Unordered { left: left.type_of(), right: right.type_of() };
        left.order(right).ok_or_else(unordered)
    };
    let within = || match right {
        Value::List(elements) => Ok(elements.iter().any(|element| element.equals(left))),
        other => Err(EvalErrorKind::Type { operation: "in", wanted: "a list", found: other.type_of() }),
    };
    Ok(Value::Bool(match operator {
        Comparison::Equal => left.equals(right),
        Comparison::NotEqual => !left.equals(right),
        Comparison::Less => order()?.is_lt(),
        Comparison::LessEqual => order()?.is_le(),
        Comparison::Greater => order()?.is_gt(),
        Comparison::GreaterEqual => order()?.is_ge(),
        Comparison::In => within()?,
        Comparison::NotIn => !within()?,
    }))
}
