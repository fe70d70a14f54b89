//! Arithmetic on whole numbers and floats: exact or an error for the former, finite or an error for the latter.

use super::eval::EvalErrorKind;
use super::syntax::Arithmetic;
use super::value::{TWO_POW_63, Value};

/// The most digits `round` takes: what a 64-bit float holds for certain.
const MAX_DIGITS: usize = 15;

/// One step of a chain of arithmetic.
pub(super) fn arithmetic(operator: Arithmetic, left: &Value, right: &Value) -> Result<Value, EvalErrorKind> {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        let exact = match operator {
            Arithmetic::Add => left.checked_add(*right),
            Arithmetic::Subtract => left.checked_sub(*right),
            Arithmetic::Multiply => left.checked_mul(*right),
            Arithmetic::Remainder if *right == 0 => return Err(EvalErrorKind::DivisionByZero),
            // Wrapping only for the smallest number and -1, where the remainder is 0 indeed.
            Arithmetic::Remainder => Some(follow_divisor(left.wrapping_rem(*right), *right)),
            Arithmetic::Divide => return float_arithmetic(operator, *left as f64, *right as f64),
        };
        return exact.map(Value::Int).ok_or(EvalErrorKind::OutOfRange(operator.as_str()));
    }
    float_arithmetic(operator, to_float(operator.as_str(), left)?, to_float(operator.as_str(), right)?)
}

fn float_arithmetic(operator: Arithmetic, left: f64, right: f64) -> Result<Value, EvalErrorKind> {
    let result = match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide | Arithmetic::Remainder if right == 0.0 => {
            return Err(EvalErrorKind::DivisionByZero);
        }
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => {
            let rest = left % right;
            if rest != 0.0 && (rest < 0.0) != (right < 0.0) { rest + right } else { rest }
        }
    };
    finite(operator.as_str(), result)
}

/// A remainder has the sign of the divisor: `-1 % 7` is 6. `rest` is smaller than the divisor, so this cannot overflow.
fn follow_divisor(rest: i64, divisor: i64) -> i64 {
    if rest != 0 && (rest < 0) != (divisor < 0) { rest + divisor } else { rest }
}

pub(super) fn finite(operation: &'static str, float: f64) -> Result<Value, EvalErrorKind> {
    if float.is_finite() { Ok(Value::Float(float)) } else { Err(EvalErrorKind::OutOfRange(operation)) }
}

fn to_float(operation: &'static str, value: &Value) -> Result<f64, EvalErrorKind> {
    match value {
        Value::Int(int) => Ok(*int as f64),
        Value::Float(float) => Ok(*float),
        other => Err(not_a_number(operation, other)),
    }
}

pub(super) fn not_a_number(operation: &'static str, value: &Value) -> EvalErrorKind {
    EvalErrorKind::Type { operation, wanted: "a number", found: value.type_of() }
}

pub(super) fn negate(value: &Value) -> Result<Value, EvalErrorKind> {
    match value {
        Value::Int(int) => int.checked_neg().map(Value::Int).ok_or(EvalErrorKind::OutOfRange("-")),
        Value::Float(float) => Ok(Value::Float(-float)),
        other => Err(not_a_number("-", other)),
    }
}

pub(super) fn abs(value: &Value) -> Result<Value, EvalErrorKind> {
    match value {
        Value::Int(int) => int.checked_abs().map(Value::Int).ok_or(EvalErrorKind::OutOfRange("abs")),
        Value::Float(float) => Ok(Value::Float(float.abs())),
        other => Err(not_a_number("abs", other)),
    }
}

/// A whole number of what `direction` makes of a float; whole numbers stay as they are.
pub(super) fn to_whole(
    operation: &'static str,
    value: &Value,
    direction: fn(f64) -> f64,
) -> Result<Value, EvalErrorKind> {
    match value {
        Value::Int(int) => Ok(Value::Int(*int)),
        Value::Float(float) => {
            let whole = direction(*float);
            // Exact: a whole float in the range of i64.
            let fits = (-TWO_POW_63..TWO_POW_63).contains(&whole);
            if fits { Ok(Value::Int(whole as i64)) } else { Err(EvalErrorKind::OutOfRange(operation)) }
        }
        other => Err(not_a_number(operation, other)),
    }
}

/// The float nearest to the value's decimal form of so many digits; halves go to the even digit.
pub(super) fn round_to(value: &Value, digits: &Value) -> Result<Value, EvalErrorKind> {
    let digits = match digits {
        Value::Int(int) => usize::try_from(*int).ok().filter(|digits| *digits <= MAX_DIGITS),
        Value::Float(_) => None,
        other => return Err(not_a_number("round", other)),
    }
    .ok_or_else(|| EvalErrorKind::BadCount {
        operation: "round",
        wanted: "0 to 15 digits",
        found: digits.to_string(),
    })?;
    match value {
        Value::Int(int) => Ok(Value::Int(*int)),
        // Formatting rounds the exact decimal value, which scaling by a power of ten would not.
        Value::Float(float) => match format!("{float:.digits$}").parse() {
            Ok(rounded) => finite("round", rounded),
            Err(_) => Err(EvalErrorKind::OutOfRange("round")),
        },
        other => Err(not_a_number("round", other)),
    }
}
