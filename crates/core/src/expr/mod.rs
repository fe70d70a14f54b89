//! The expression language of `when`, `require`, `expect` and `watch`: small, total, typed, without side effects.
//!
//! An expression goes through three stages: [`Expr::parse`] knows the grammar, [`Expr::check`] the names and types
//! of a [`Scope`], [`Expr::eval`] the values of an [`Env`]. All three are bounded by [`MAX_LEN`] and [`MAX_DEPTH`]
//! and never panic, whatever the text and whatever the values; there is nothing in the language that repeats or
//! calls out. The reference for people is `docs/expressions.md`.
//!
//! Rules that are easily guessed wrong:
//!
//! - Whole numbers and floats mix freely; `1 == 1.0` is true, and comparing is exact. `/` always gives a float.
//! - What leaves the range of numbers is an error, as is a division by zero: NaN and infinities do not exist.
//! - Comparing values whose types are known to differ is refused by the check. Where a type is only known with the
//!   value ([`Type::Any`]), values of different types are unequal, and ordering them is an error.
//! - Nothing but `true` and `false` is a condition. `and` and `or` stop at the first operand that decides.
//! - A metric that was not reported is an error, not a false condition; `defined` and `default` look first.
//!
//! Not here: where names come from, and what follows from a condition that is false.

mod bindings;
mod call;
mod check;
mod eval;
mod explain;
mod function;
mod lex;
mod names;
mod number;
mod parse;
mod syntax;
mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use bindings::{Bindings, Declarations};
pub use check::Scope;
pub use eval::{Env, EvalError, EvalErrorKind, Slice};
pub use value::{Type, Value};

use syntax::{Kind, Node, Span};

/// The longest expression, in bytes, as it is written and in its normal spelling.
pub const MAX_LEN: usize = 4096;

/// How deep parentheses, lists, calls and signs may nest.
pub const MAX_DEPTH: usize = 32;

/// A well-formed expression. Cheap to clone; two are equal when their normal spellings are.
///
/// Its [`Display`](fmt::Display) form is the normal spelling, which always parses to an equal expression.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expr {
    root: Arc<Node>,
    text: Arc<str>,
}

/// Something wrong with the text of an expression, or with the names and types in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// Where, in bytes of the parsed text; always on character boundaries, and empty at its end.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
}

impl ExprError {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self { at: span.into(), message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Expr {
    /// Reads an expression.
    ///
    /// # Errors
    /// The first thing that does not fit the grammar, with its place in `text`.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let too_long = |end| ExprError::new(Span::new(0, end), format!("longer than {MAX_LEN} bytes"));
        if text.len() > MAX_LEN {
            return Err(too_long(text.len()));
        }
        let root = parse::parse(text)?;
        let normal = root.to_string();
        if normal.len() > MAX_LEN {
            return Err(too_long(text.len()).help(format!("its normal spelling has {} bytes", normal.len())));
        }
        Ok(Self { root: Arc::new(root), text: normal.into() })
    }

    /// Checks names and types, and gives the type of the result.
    ///
    /// # Errors
    /// Everything that is wrong, in reading order, up to a small number of errors.
    pub fn check(&self, scope: &dyn Scope) -> Result<Type, Vec<ExprError>> {
        check::check(&self.root, scope)
    }

    /// [`check`](Self::check), and that the result is true or false.
    ///
    /// # Errors
    /// As `check`, and an expression that is no condition.
    pub fn check_condition(&self, scope: &dyn Scope) -> Result<(), Vec<ExprError>> {
        check::check_condition(&self.root, scope)
    }

    /// Computes the value. An expression that was not checked gives a typed error where the check would have.
    ///
    /// # Errors
    /// [`EvalError`] says what value is missing, or which operation has no result.
    pub fn eval(&self, env: &dyn Env) -> Result<Value, EvalError> {
        eval::eval(&self.root, env)
    }

    /// [`eval`](Self::eval) of a condition.
    ///
    /// # Errors
    /// As `eval`, and a value other than true and false.
    pub fn eval_condition(&self, env: &dyn Env) -> Result<bool, EvalError> {
        eval::eval_bool(&self.root, env)
    }

    /// Why a condition has the value it has, for people, on one line: `f1 >= params.min_f1: 0.81 >= 0.85 is false`.
    /// Of several parts joined with `and`, only those are named that are not true. Never fails: an error of the
    /// evaluation is part of the text.
    #[must_use]
    pub fn explain(&self, env: &dyn Env) -> String {
        explain::explain(&self.root, env)
    }

    /// Every name in the expression once, sorted, as the [`Scope`] and the [`Env`] are asked for it: `params.mode`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names = BTreeSet::new();
        self.root.walk(&mut |node| {
            if let Kind::Name(name) = &node.kind {
                names.insert(name.as_str());
            }
        });
        names.into_iter()
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?})", self.text)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expr {}

impl FromStr for Expr {
    type Err = ExprError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Expr {
    type Error = ExprError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Expr> for String {
    fn from(expr: Expr) -> Self {
        expr.text.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests;
