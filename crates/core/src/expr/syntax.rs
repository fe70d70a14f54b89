//! The tree of an expression and its normal spelling.
//!
//! Invariant: chains such as `a + b + c` are one node with many operands, so that the depth of a tree is bounded by
//! the nesting that [`MAX_DEPTH`](super::MAX_DEPTH) allows, and every walk of it may recurse.

use std::fmt;
use std::ops::Range;

use super::function::Function;
use super::names;
use super::value::Value;

/// A range of bytes of the parsed text, on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of `last`.
    pub(super) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Never a list: those are [`Kind::List`], also where all elements are literals.
    Literal(Value),
    /// A dotted name, such as `params.mode`.
    Name(String),
    List(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// Two operands or more.
    Logic(Logic, Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// From left to right; all operators are of one level.
    Arithmetic(Box<Node>, Vec<(Arithmetic, Node)>),
    /// The number of arguments fits the signature, and the first is a name where one is wanted.
    Call(Function, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly an operator binds, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Or,
    And,
    Not,
    Compare,
    Sum,
    Product,
    Unary,
    Primary,
}

impl Level {
    /// The level of the right operand of an operator of this level; operators group from the left.
    pub(super) fn tighter(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Not,
            Self::Not => Self::Compare,
            Self::Compare => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Unary,
            Self::Unary | Self::Primary => Self::Primary,
        }
    }
}

impl Logic {
    pub(super) fn level(self) -> Level {
        match self {
            Self::And => Level::And,
            Self::Or => Level::Or,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
        }
    }
}

impl Comparison {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
        }
    }
}

impl Arithmetic {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::Add | Self::Subtract => Level::Sum,
            Self::Multiply | Self::Divide | Self::Remainder => Level::Product,
        }
    }
}

impl Node {
    /// The name that an argument is; see the invariant of [`Kind::Call`].
    pub(super) fn as_name(&self) -> &str {
        match &self.kind {
            Kind::Name(name) => name,
            _ => unreachable!("the parser lets only a name stand here"),
        }
    }

    /// Visits this node and everything below it, in reading order.
    pub(super) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match &self.kind {
            Kind::Literal(_) | Kind::Name(_) => {}
            Kind::List(nodes) | Kind::Logic(_, nodes) | Kind::Call(_, nodes) => {
                nodes.iter().for_each(|node| node.walk(visit));
            }
            Kind::Not(node) | Kind::Negate(node) => node.walk(visit),
            Kind::Compare(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Kind::Arithmetic(first, rest) => {
                first.walk(visit);
                rest.iter().for_each(|(_, node)| node.walk(visit));
            }
        }
    }

    fn level(&self) -> Level {
        match &self.kind {
            Kind::Logic(operator, _) => operator.level(),
            Kind::Not(_) => Level::Not,
            Kind::Compare(..) => Level::Compare,
            Kind::Arithmetic(_, rest) => rest.first().map_or(Level::Sum, |(operator, _)| operator.level()),
            Kind::Negate(_) => Level::Unary,
            Kind::Literal(_) | Kind::Name(_) | Kind::List(_) | Kind::Call(..) => Level::Primary,
        }
    }

    /// Writes the node as an operand of something that binds as tightly as `least`, in parentheses where needed.
    fn write(&self, f: &mut fmt::Formatter<'_>, least: Level) -> fmt::Result {
        match &self.kind {
            // `!` binds tightly and needs no parentheses around it, so that none appear that nobody wrote.
            Kind::Not(node) if least > Level::Not => {
                f.write_str("!")?;
                node.write(f, Level::Unary)
            }
            _ if self.level() < least => {
                f.write_str("(")?;
                self.write(f, Level::Or)?;
                f.write_str(")")
            }
            Kind::Literal(value) => write!(f, "{value}"),
            Kind::Name(name) => f.write_str(&names::spell(name)),
            Kind::List(nodes) => write_list(f, ["[", "]"], nodes),
            Kind::Not(node) => {
                f.write_str("not ")?;
                node.write(f, Level::Not)
            }
            Kind::Negate(node) => {
                f.write_str("-")?;
                node.write(f, Level::Unary)
            }
            Kind::Logic(operator, nodes) => {
                let least = operator.level().tighter();
                for (index, node) in nodes.iter().enumerate() {
                    if index > 0 {
                        write!(f, " {} ", operator.as_str())?;
                    }
                    node.write(f, least)?;
                }
                Ok(())
            }
            Kind::Compare(operator, left, right) => {
                left.write(f, Level::Compare.tighter())?;
                write!(f, " {} ", operator.as_str())?;
                right.write(f, Level::Compare.tighter())
            }
            Kind::Arithmetic(first, rest) => {
                let least = self.level().tighter();
                first.write(f, least)?;
                for (operator, node) in rest {
                    write!(f, " {} ", operator.as_str())?;
                    node.write(f, least)?;
                }
                Ok(())
            }
            Kind::Call(function, arguments) => {
                f.write_str(function.signature().name)?;
                write_list(f, ["(", ")"], arguments)
            }
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, [open, close]: [&str; 2], nodes: &[Node]) -> fmt::Result {
    f.write_str(open)?;
    for (index, node) in nodes.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        node.write(f, Level::Or)?;
    }
    f.write_str(close)
}

/// The normal spelling: one space around operators, words instead of `&&` and `||`, no needless parentheses.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Level::Or)
    }
}
