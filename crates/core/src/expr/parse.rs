//! Tokens into a tree: recursive descent by levels of binding (precedence climbing), bounded in depth.

use super::function::{FUNCTIONS, Signature};
use super::lex::{Token, TokenKind, tokens};
use super::names::{self, KEYWORDS};
use super::syntax::{Arithmetic, Comparison, Kind, Level, Logic, Node, Span};
use super::value::Value;
use super::{ExprError, MAX_DEPTH};

/// The tree of a whole text.
pub(super) fn parse(text: &str) -> Result<Node, ExprError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.peek().kind == TokenKind::End {
        return Err(ExprError::new(parser.peek().span, "an expression is missing"));
    }
    let node = parser.expression(Level::Or)?;
    match parser.peek().kind {
        TokenKind::End => Ok(node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Node, ExprError>;

/// An operator between two operands.
#[derive(Clone, Copy)]
enum Operator {
    Logic(Logic),
    Comparison(Comparison),
    Arithmetic(Arithmetic),
}

impl Operator {
    fn level(self) -> Level {
        match self {
            Self::Logic(operator) => operator.level(),
            Self::Comparison(_) => Level::Compare,
            Self::Arithmetic(operator) => operator.level(),
        }
    }
}

impl<'a> Parser<'a> {
    /// Operands joined by operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: Level) -> Parsed {
        let mut left = self.operand(least)?;
        // The level of the chain that `left` is so far; an operand in parentheses is not one to be continued.
        let mut chain = None;
        while let Some((operator, len)) = self.operator() {
            let level = operator.level();
            if level < least {
                break;
            }
            if level == Level::Compare && chain == Some(level) {
                let help = "join two comparisons with `and`: `0 < a and a < 1`";
                return Err(ExprError::new(self.peek().span, "comparisons cannot be chained").help(help));
            }
            self.at += len;
            let right = self.expression(level.tighter())?;
            left = join(left, operator, right, chain == Some(level));
            chain = Some(level);
        }
        Ok(left)
    }

    /// The operator that stands here, and of how many tokens it is.
    fn operator(&self) -> Option<(Operator, usize)> {
        Some(match self.peek().kind {
            TokenKind::Word("or") | TokenKind::Symbol("||") => (Operator::Logic(Logic::Or), 1),
            TokenKind::Word("and") | TokenKind::Symbol("&&") => (Operator::Logic(Logic::And), 1),
            TokenKind::Symbol("==") => (Operator::Comparison(Comparison::Equal), 1),
            TokenKind::Symbol("!=") => (Operator::Comparison(Comparison::NotEqual), 1),
            TokenKind::Symbol("<") => (Operator::Comparison(Comparison::Less), 1),
            TokenKind::Symbol("<=") => (Operator::Comparison(Comparison::LessEqual), 1),
            TokenKind::Symbol(">") => (Operator::Comparison(Comparison::Greater), 1),
            TokenKind::Symbol(">=") => (Operator::Comparison(Comparison::GreaterEqual), 1),
            TokenKind::Word("in") => (Operator::Comparison(Comparison::In), 1),
            TokenKind::Word("not") if self.tokens[self.at + 1].kind == TokenKind::Word("in") => {
                (Operator::Comparison(Comparison::NotIn), 2)
            }
            TokenKind::Symbol("+") => (Operator::Arithmetic(Arithmetic::Add), 1),
            TokenKind::Symbol("-") => (Operator::Arithmetic(Arithmetic::Subtract), 1),
            TokenKind::Symbol("*") => (Operator::Arithmetic(Arithmetic::Multiply), 1),
            TokenKind::Symbol("/") => (Operator::Arithmetic(Arithmetic::Divide), 1),
            TokenKind::Symbol("%") => (Operator::Arithmetic(Arithmetic::Remainder), 1),
            _ => return None,
        })
    }

    /// What can stand before or between operators; a word `not` only where it binds loosely enough.
    fn operand(&mut self, least: Level) -> Parsed {
        let start = self.peek().span;
        if least <= Level::Not && self.eat_word("not") {
            return Ok(not(start, self.nested(start, |parser| parser.expression(Level::Not))?));
        }
        if self.eat("!") {
            return Ok(not(start, self.nested(start, |parser| parser.operand(Level::Unary))?));
        }
        if self.eat("-") {
            return match self.peek().kind {
                // The smallest whole number cannot be read without its sign.
                TokenKind::Int(magnitude) => self.negative(start, magnitude),
                _ => Ok(negate(start, self.nested(start, |parser| parser.operand(Level::Unary))?)),
            };
        }
        match self.peek().kind {
            TokenKind::Symbol("(") => self.parentheses(start),
            TokenKind::Symbol("[") => {
                let (elements, span) = self.nested(start, |parser| parser.list("[", "]"))?;
                Ok(Node { kind: Kind::List(elements), span })
            }
            TokenKind::Word(word) if !KEYWORDS.contains(&word) => self.name_or_call(word),
            _ => self.literal(),
        }
    }

    fn parentheses(&mut self, start: Span) -> Parsed {
        self.at += 1;
        let mut inner = self.nested(start, |parser| parser.expression(Level::Or))?;
        inner.span = start.to(self.expect(")")?);
        Ok(inner)
    }

    fn negative(&mut self, start: Span, magnitude: u64) -> Parsed {
        let span = start.to(self.peek().span);
        let int = 0_i64.checked_sub_unsigned(magnitude).ok_or_else(|| too_large(span))?;
        self.at += 1;
        Ok(Node { kind: Kind::Literal(Value::Int(int)), span })
    }

    fn literal(&mut self) -> Parsed {
        let Token { kind, span } = self.peek();
        let span = *span;
        let value = match kind {
            TokenKind::Int(magnitude) => Value::Int(i64::try_from(*magnitude).map_err(|_| too_large(span))?),
            TokenKind::Float(float) => Value::Float(*float),
            TokenKind::Text(text) => text.as_str().into(),
            TokenKind::Word(word @ ("true" | "false")) => Value::Bool(*word == "true"),
            TokenKind::Word("not") => {
                return Err(self.unexpected("a value").help("put `not …` in parentheses"));
            }
            TokenKind::Symbol(".") => {
                return Err(self.unexpected("a value").help("a number starts with a digit: `0.5`"));
            }
            TokenKind::Word(_) | TokenKind::Symbol(_) | TokenKind::End => {
                return Err(self.unexpected("a value"));
            }
        };
        self.at += 1;
        Ok(Node { kind: Kind::Literal(value), span })
    }

    /// Elements between `open` and `close`, separated by commas; one may stand after the last.
    fn list(&mut self, open: &'static str, close: &'static str) -> Result<(Vec<Node>, Span), ExprError> {
        let start = self.expect(open)?;
        let mut elements = Vec::new();
        while self.peek().kind != TokenKind::Symbol(close) {
            elements.push(self.expression(Level::Or)?);
            if !self.eat(",") {
                break;
            }
        }
        Ok((elements, start.to(self.expect(close)?)))
    }

    fn name_or_call(&mut self, word: &'a str) -> Parsed {
        let start = self.peek().span;
        self.at += 1;
        if self.peek().kind == TokenKind::Symbol("(") {
            return self.call(word, start);
        }
        let mut name = word.to_owned();
        let mut span = start;
        loop {
            if self.eat(".") {
                let TokenKind::Word(segment) = self.peek().kind else {
                    let help = format!("a part that is no plain word is quoted: `{}['…']`", names::spell(&name));
                    return Err(self.unexpected("a name after the dot").help(help));
                };
                name.extend([".", segment]);
                span = span.to(self.peek().span);
                self.at += 1;
            } else if self.eat("[") {
                let TokenKind::Text(segment) = self.peek().kind.clone() else {
                    let help = "brackets quote a part of a name; elements of lists cannot be taken";
                    return Err(self.unexpected("a name in quotes").help(help));
                };
                self.at += 1;
                name.extend([".", &segment]);
                span = span.to(self.expect("]")?);
            } else {
                return Ok(Node { kind: Kind::Name(name), span });
            }
        }
    }

    fn call(&mut self, word: &str, start: Span) -> Parsed {
        let Some(signature) = FUNCTIONS.iter().find(|entry| entry.name == word) else {
            let known = FUNCTIONS.iter().map(|entry| entry.name);
            let help = match names::nearest(word, known.clone().map(str::to_owned)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(ExprError::new(start, format!("unknown function `{word}`")).help(help));
        };
        let (arguments, end) = self.nested(start, |parser| parser.list("(", ")"))?;
        let span = start.to(end);
        check_arguments(signature, &arguments, span)?;
        Ok(Node { kind: Kind::Call(signature.function, arguments), span })
    }

    /// Everything that can nest goes through here, which bounds the depth of the recursion and of the tree.
    fn nested<T>(&mut self, at: Span, parse: impl FnOnce(&mut Self) -> Result<T, ExprError>) -> Result<T, ExprError> {
        if self.depth == MAX_DEPTH {
            return Err(ExprError::new(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// The last token is [`TokenKind::End`], and nothing ever steps over it.
    fn peek(&self) -> &Token<'a> {
        &self.tokens[self.at]
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek().kind, TokenKind::Symbol(found) if found == symbol);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek().kind, TokenKind::Word(found) if found == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Result<Span, ExprError> {
        let span = self.peek().span;
        if self.eat(symbol) { Ok(span) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> ExprError {
        let found = match &self.peek().kind {
            TokenKind::Int(_) | TokenKind::Float(_) => "a number".to_owned(),
            TokenKind::Text(_) => "text".to_owned(),
            TokenKind::Word(word) => format!("`{word}`"),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end".to_owned(),
        };
        ExprError::new(self.peek().span, format!("expected {wanted}, found {found}"))
    }
}

fn too_large(span: Span) -> ExprError {
    ExprError::new(span, "too large a whole number").help("a float is written with a dot or an exponent: `1.0e20`")
}

fn not(start: Span, operand: Node) -> Node {
    Node { span: start.to(operand.span), kind: Kind::Not(Box::new(operand)) }
}

/// A negative number is a literal, however it came about, so that its normal spelling reads back as the same tree.
fn negate(start: Span, operand: Node) -> Node {
    let span = start.to(operand.span);
    let kind = match operand.kind {
        Kind::Literal(Value::Int(int)) if int != i64::MIN => Kind::Literal(Value::Int(-int)),
        Kind::Literal(Value::Float(float)) => Kind::Literal(Value::Float(-float)),
        _ => Kind::Negate(Box::new(operand)),
    };
    Node { kind, span }
}

/// `left operator right`; where `left` is a chain of this level it grows by one operand.
fn join(left: Node, operator: Operator, right: Node, grow: bool) -> Node {
    let span = left.span.to(right.span);
    let kind = match (left.kind, operator) {
        (Kind::Logic(operator, mut operands), Operator::Logic(_)) if grow => {
            operands.push(right);
            Kind::Logic(operator, operands)
        }
        (Kind::Arithmetic(first, mut rest), Operator::Arithmetic(operator)) if grow => {
            rest.push((operator, right));
            Kind::Arithmetic(first, rest)
        }
        (kind, operator) => {
            let left = Node { kind, span: left.span };
            match operator {
                Operator::Logic(operator) => Kind::Logic(operator, vec![left, right]),
                Operator::Comparison(operator) => Kind::Compare(operator, Box::new(left), Box::new(right)),
                Operator::Arithmetic(operator) => Kind::Arithmetic(Box::new(left), vec![(operator, right)]),
            }
        }
    };
    Node { kind, span }
}

fn check_arguments(signature: &Signature, arguments: &[Node], span: Span) -> Result<(), ExprError> {
    let (fewest, most) = signature.arity;
    let usage = || format!("it is written `{}`", signature.usage);
    if !(fewest..=most).contains(&arguments.len()) {
        let message = format!("`{}` does not take {} arguments", signature.name, arguments.len());
        return Err(ExprError::new(span, message).help(usage()));
    }
    match arguments.first() {
        Some(first) if signature.function.takes_name() && !matches!(first.kind, Kind::Name(_)) => {
            let message = format!("the first argument of `{}` is a name", signature.name);
            Err(ExprError::new(first.span, message).help(usage()))
        }
        _ => Ok(()),
    }
}
