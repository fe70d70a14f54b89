//! Static names and types: everything that can be known before there is a value.

use super::ExprError;
use super::function::Function;
use super::names;
use super::syntax::{Arithmetic, Comparison, Kind, Node};
use super::value::Type;

/// After so many errors one expression says no more.
const MAX_ERRORS: usize = 8;

/// The names that an expression may use, and their types.
pub trait Scope {
    /// The type of a dotted name such as `params.mode`, as [`Expr::names`](super::Expr::names) writes it. A value that
    /// will only exist later, such as a metric, has a type already. `None` where there is no such name.
    fn type_of(&self, name: &str) -> Option<Type>;

    /// Whether `slice_min` and its like can be used on the metric of this name.
    fn has_slices(&self, metric: &str) -> bool;

    /// The known names, for suggestions; those that cannot be listed are left out.
    fn names(&self) -> Box<dyn Iterator<Item = String> + '_>;
}

pub(super) fn check(root: &Node, scope: &dyn Scope) -> Result<Type, Vec<ExprError>> {
    let mut checker = Checker { scope, errors: Vec::new() };
    let found = checker.node(root);
    if checker.errors.is_empty() { Ok(found) } else { Err(checker.errors) }
}

pub(super) fn check_condition(root: &Node, scope: &dyn Scope) -> Result<(), Vec<ExprError>> {
    let mut checker = Checker { scope, errors: Vec::new() };
    checker.expect(root, Type::Bool, "a condition");
    if checker.errors.is_empty() { Ok(()) } else { Err(checker.errors) }
}

struct Checker<'a> {
    scope: &'a dyn Scope,
    errors: Vec<ExprError>,
}

impl Checker<'_> {
    /// The type of a node. Where it has an error, that is on the list and the type is whatever hides no other error.
    fn node(&mut self, node: &Node) -> Type {
        match &node.kind {
            Kind::Literal(value) => value.type_of(),
            Kind::Name(name) => self.name(node, name).unwrap_or(Type::Any),
            Kind::List(elements) => {
                for element in elements {
                    self.node(element);
                }
                Type::List
            }
            Kind::Not(operand) => {
                self.expect(operand, Type::Bool, "`not`");
                Type::Bool
            }
            Kind::Negate(operand) => {
                self.expect(operand, Type::Number, "`-`");
                Type::Number
            }
            Kind::Logic(operator, operands) => {
                for operand in operands {
                    self.expect(operand, Type::Bool, &format!("`{}`", operator.as_str()));
                }
                Type::Bool
            }
            Kind::Compare(operator, left, right) => {
                self.comparison(node, *operator, left, right);
                Type::Bool
            }
            Kind::Arithmetic(first, rest) => {
                let operator = rest.first().map_or(Arithmetic::Add, |(operator, _)| *operator);
                self.expect(first, Type::Number, &format!("`{}`", operator.as_str()));
                for (operator, operand) in rest {
                    self.expect(operand, Type::Number, &format!("`{}`", operator.as_str()));
                }
                Type::Number
            }
            Kind::Call(function, arguments) => self.call(node, *function, arguments),
        }
    }

    fn name(&mut self, node: &Node, name: &str) -> Option<Type> {
        let found = self.scope.type_of(name);
        if found.is_some() {
            return found;
        }
        if self.errors.len() < MAX_ERRORS {
            let error = ExprError::new(node.span, format!("unknown name `{}`", names::spell(name)));
            let keyword = names::KEYWORDS.iter().find(|keyword| name.eq_ignore_ascii_case(keyword));
            let near = keyword
                .map(|keyword| (*keyword).to_owned())
                .or_else(|| names::nearest(name, self.scope.names()).map(|near| names::spell(&near)));
            self.errors.push(match near {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None if !name.contains('.') => error.help("text is written in quotes"),
                None => error,
            });
        }
        None
    }

    fn comparison(&mut self, node: &Node, operator: Comparison, left: &Node, right: &Node) {
        let left_type = self.node(left);
        match operator {
            Comparison::In | Comparison::NotIn => self.membership(left_type, right),
            Comparison::Equal | Comparison::NotEqual => {
                let right_type = self.node(right);
                self.comparable(node, left_type, right_type);
            }
            Comparison::Less | Comparison::LessEqual | Comparison::Greater | Comparison::GreaterEqual => {
                let right_type = self.node(right);
                let unordered = |(_, found): &(&Node, Type)| matches!(found, Type::Bool | Type::List);
                match [(left, left_type), (right, right_type)].into_iter().find(unordered) {
                    Some((side, found)) => {
                        let message = format!("`{}` compares numbers or text, this is {found}", operator.as_str());
                        self.push(ExprError::new(side.span, message));
                    }
                    None => self.comparable(node, left_type, right_type),
                }
            }
        }
    }

    /// The right side of `in`. Only the elements of a list that is written out have types.
    fn membership(&mut self, left: Type, right: &Node) {
        if let Kind::List(elements) = &right.kind {
            for element in elements {
                let found = self.node(element);
                self.comparable(element, left, found);
            }
            return;
        }
        let found = self.node(right);
        if !found.fits(Type::List) {
            let error = ExprError::new(right.span, format!("`in` looks into a list, this is {found}"));
            self.push(match found {
                Type::Text => error.help("part of a text: `contains(text, part)`"),
                _ => error.help("a list is written `[1, 2, 3]`"),
            });
        }
    }

    fn call(&mut self, node: &Node, function: Function, arguments: &[Node]) -> Type {
        let signature = function.signature();
        let what = format!("`{}`", signature.name);
        match (function, arguments) {
            (Function::Defined, [name]) => {
                self.node(name);
            }
            (Function::Default, [name, fallback]) => {
                let (found, fallback_type) = (self.node(name), self.node(fallback));
                self.comparable(node, found, fallback_type);
                return if found == Type::Any { fallback_type } else { found };
            }
            (Function::SliceMax | Function::SliceMean | Function::SliceMin, [metric, rows @ ..]) => {
                self.slices(metric, &what);
                rows.iter().for_each(|rows| self.expect(rows, Type::Number, &what));
            }
            (Function::Min | Function::Max, [only]) => {
                let found = self.node(only);
                if found != Type::List {
                    self.fits(only, found, Type::Number, &what);
                }
            }
            (Function::Contains, [within, part]) => {
                let (within_type, part_type) = (self.node(within), self.node(part));
                self.countable(within, within_type, &what);
                if within_type == Type::Text {
                    self.fits(part, part_type, Type::Text, &what);
                }
            }
            (Function::Len, [measured]) => {
                let found = self.node(measured);
                self.countable(measured, found, &what);
            }
            (Function::Lower | Function::Upper | Function::StartsWith | Function::EndsWith, _) => {
                arguments.iter().for_each(|argument| self.expect(argument, Type::Text, &what));
            }
            _ => arguments.iter().for_each(|argument| self.expect(argument, Type::Number, &what)),
        }
        signature.result
    }

    fn slices(&mut self, metric: &Node, what: &str) {
        let name = metric.as_name();
        let Some(found) = self.name(metric, name) else {
            return;
        };
        self.fits(metric, found, Type::Number, what);
        if found.fits(Type::Number) && !self.scope.has_slices(name) {
            let message = format!("there are no slices of `{}` here for {what}", names::spell(name));
            self.push(ExprError::new(metric.span, message));
        }
    }

    fn countable(&mut self, node: &Node, found: Type, what: &str) {
        if matches!(found, Type::Number | Type::Bool) {
            self.push(ExprError::new(node.span, format!("{what} needs text or a list, this is {found}")));
        }
    }

    fn expect(&mut self, node: &Node, wanted: Type, what: &str) {
        let found = self.node(node);
        self.fits(node, found, wanted, what);
    }

    /// `found` is the type of `node`. Nothing here may look at a node twice: that doubles with every nesting.
    fn fits(&mut self, node: &Node, found: Type, wanted: Type, what: &str) {
        if found.fits(wanted) {
            return;
        }
        let error = ExprError::new(node.span, format!("{what} needs {wanted}, this is {found}"));
        self.push(match (wanted, found) {
            (Type::Bool, Type::Number) => error.help("compare it: `… > 0`"),
            (Type::Bool, Type::Text) => error.help("compare it: `… == 'text'`"),
            _ => error,
        });
    }

    fn comparable(&mut self, node: &Node, left: Type, right: Type) {
        if left.fits(right) {
            return;
        }
        let error = ExprError::new(node.span, format!("cannot compare {left} with {right}"));
        self.push(match (left, right) {
            (Type::Bool, Type::Text) | (Type::Text, Type::Bool) => {
                error.help("true and false are written without quotes")
            }
            (Type::Number, Type::Text) | (Type::Text, Type::Number) => error.help("numbers are written without quotes"),
            _ => error,
        });
    }

    fn push(&mut self, error: ExprError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }
}
