//! The values of the language and their static types.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::lex::quote;
use crate::scalar::Scalar;

/// A value. Cheap to clone, whatever its size.
///
/// `==` in Rust tells `Int(1)` from `Float(1.0)`; the language does not, see [`Value::equals`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number. What an environment hands in is checked; results beyond the range are errors.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Values in order, of any types.
    List(Arc<[Value]>),
}

/// What is known of a value before it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Whole numbers and floats alike.
    Number,
    /// Text.
    Text,
    /// A truth value.
    Bool,
    /// A list of values of any types.
    List,
    /// Known only when there is a value, such as a matrix axis of mixed types.
    Any,
}

impl Type {
    /// Whether a value of this type may stand where `other` is wanted, or be compared with it.
    #[must_use]
    pub fn fits(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bool => "true or false",
            Self::List => "a list",
            Self::Any => "any value",
        })
    }
}

impl Value {
    /// Its type; never [`Type::Any`].
    #[must_use]
    pub fn type_of(&self) -> Type {
        match self {
            Self::Bool(_) => Type::Bool,
            Self::Int(_) | Self::Float(_) => Type::Number,
            Self::Text(_) => Type::Text,
            Self::List(_) => Type::List,
        }
    }

    /// Equality of the language: numbers by what they are worth, exactly, whatever their kind; text by bytes; lists
    /// element by element; values of different types are never equal.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b)),
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// Order of the language: numbers with numbers, text with text by bytes, nothing else. The comparison of a whole
    /// number with a float is exact, also where the float could not hold the whole number.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Float(b)) => order_int_float(*a, *b),
            (Self::Float(a), Self::Int(b)) => order_int_float(*b, *a).map(Ordering::reverse),
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            _ => None,
        }
    }

    /// False for a number that is NaN or infinite, also inside a list.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Self::Float(value) => value.is_finite(),
            Self::List(values) => values.iter().all(Self::is_finite),
            Self::Bool(_) | Self::Int(_) | Self::Text(_) => true,
        }
    }
}

/// 2^63, the first float above every `i64`; its negative is the smallest `i64`.
pub(super) const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

fn order_int_float(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        None
    } else if float >= TWO_POW_63 {
        Some(Ordering::Less)
    } else if float < -TWO_POW_63 {
        Some(Ordering::Greater)
    } else {
        // Exact: the truncated float is in the range of i64. The rest decides between equals.
        let whole = float.trunc();
        Some(int.cmp(&(whole as i64)).then(whole.total_cmp(&float)))
    }
}

/// The literal that reads back as this value: `0.5`, `'text'`, `[1, true]`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            // `{:?}` keeps the `.0` and the exponent, so that a float stays a float.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(&quote(value)),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&Scalar> for Value {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Int(value) => Self::Int(*value),
            Scalar::Float(value) => Self::Float(*value),
            Scalar::Text(value) => Self::Text(value.as_str().into()),
        }
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Self>>(values: I) -> Self {
        Self::List(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_floats_are_compared_exactly() {
        use Ordering::{Equal, Greater, Less};
        for (int, float, order) in [
            (1, 1.0, Equal),
            (0, -0.0, Equal),
            (1, 1.5, Less),
            (-1, -1.5, Greater),
            (-2, -1.5, Less),
            // 2^53 + 1 has no float; as a float it would be 2^53.
            ((1 << 53) + 1, 9_007_199_254_740_992.0, Greater),
            (i64::MAX, TWO_POW_63, Less),
            (i64::MIN, -TWO_POW_63, Equal),
            (i64::MIN, -1e300, Greater),
            (i64::MAX, 1e300, Less),
        ] {
            assert_eq!(Value::Int(int).order(&Value::Float(float)), Some(order), "{int} {float}");
            assert_eq!(Value::Float(float).order(&Value::Int(int)), Some(order.reverse()), "{float} {int}");
        }
    }

    #[test]
    fn values_of_different_types_are_unequal_and_without_order() {
        let values: [Value; 4] = [1.into(), "1".into(), true.into(), [Value::Int(1)].into_iter().collect()];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(a.equals(b), i == j, "{a} {b}");
                assert!(i == j || a.order(b).is_none(), "{a} {b}");
            }
        }
    }
}
