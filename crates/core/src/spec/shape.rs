//! Checks a tree against the table of fields: unknown keys, missing fields, wrong types, fields of later versions.
//!
//! Knows no meaning: names are resolved and values are weighed in [`super::decode`], which may rely on what passed
//! here. Recursion is bounded by the depth limit of the tree.

use super::diagnostic::{Code, Diagnostic, Diagnostics, shown};
use super::fields::{Block, Field, Shape, Support};
use super::source::Span;
use super::suggest;
use super::values::{self, Problem};
use super::yaml::{Form, Node, Untyped};

/// What checking needs to know.
pub(crate) struct Shapes<'d> {
    pub(crate) diagnostics: &'d mut Diagnostics,
    pub(crate) allow_unsupported: bool,
}

impl Shapes<'_> {
    /// Checks the whole file.
    pub(crate) fn document(&mut self, root: Node<'_>) {
        if root.form() == Form::Map {
            self.block(root, Block::Pipeline, root.span().at_start(), false);
        } else {
            let message = format!("a pipeline is a map with `steps`, not {}", describe(root));
            self.diagnostics.push(Diagnostic::error(Code::WrongType, root.span(), message));
        }
    }

    /// `owner` is the key of the block, where missing fields are reported; `later` that an outer field was refused.
    fn block(&mut self, node: Node<'_>, block: Block, owner: Span, later: bool) {
        for (key, value) in node.entries() {
            let name = key.key();
            if block == Block::Pipeline && name.starts_with("x-") {
                continue;
            }
            if let Some(field) = block.field(name) {
                self.field(key, value, field, later);
            } else if let Some(free) = block.free() {
                self.free_value(key, value, block, &free.shape, later);
            } else {
                self.unknown_key(key, block);
            }
        }
        for field in block.fields().iter().filter(|field| field.required) {
            if node.get(field.name).is_none() {
                let message = format!("`{}` is missing", field.name);
                self.diagnostics.push(Diagnostic::error(Code::Missing, owner, message).help(field.doc));
            }
        }
    }

    fn field(&mut self, key: Node<'_>, value: Node<'_>, field: &Field, later: bool) {
        let refused = field.support == Support::Later;
        if refused && !later {
            self.diagnostics.push(unsupported(
                &format!("`{}`", field.name),
                NO_EFFECT,
                key.span(),
                self.allow_unsupported,
            ));
        }
        self.check(value, &field.shape, key, later || refused);
    }

    fn free_value(&mut self, key: Node<'_>, value: Node<'_>, block: Block, shape: &Shape, later: bool) {
        // What looks like a mistyped keyword is one where the value would fit no free name.
        let fits = matches!((shape, value.form()), (Shape::List(_), Form::List) | (Shape::Reference, Form::Scalar));
        let holds_maps = value.items().any(|item| item.form() == Form::Map);
        if (!fits || holds_maps) && !self.diagnostics.is_full() {
            let keywords = block.fields().iter().map(|field| field.name);
            if let Some(near) = suggest::nearest(key.key(), keywords) {
                let error =
                    Diagnostic::error(Code::UnknownKey, key.span(), format!("unknown key {}", shown(key.key())));
                self.diagnostics.push(error.did_you_mean(key.span(), Some(near)));
                return;
            }
        }
        self.check(value, shape, key, later);
    }

    fn unknown_key(&mut self, key: Node<'_>, block: Block) {
        let error = Diagnostic::error(Code::UnknownKey, key.span(), format!("unknown key {}", shown(key.key())));
        if self.diagnostics.is_full() {
            return self.diagnostics.push(error);
        }
        let names = block.fields().iter().map(|field| field.name);
        let near = suggest::nearest(key.key(), names);
        let elsewhere = Block::ALL.into_iter().find(|other| {
            *other != block
                && matches!(other, Block::Step | Block::Pipeline | Block::Output)
                && other.field(key.key()).is_some()
        });
        let help = match (near, elsewhere) {
            (None, Some(other)) => {
                Some(format!("`{}` is a field of a {}, not of a {}", key.key(), other.name(), block.name()))
            }
            _ => None,
        };
        self.diagnostics.push(error.maybe_help(help).did_you_mean(key.span(), near));
    }

    fn check(&mut self, node: Node<'_>, shape: &Shape, key: Node<'_>, later: bool) {
        if *shape == Shape::Any {
            return;
        }
        if node.form() == Form::Null {
            let message = format!("{} has no value", shown(key.key()));
            let error = Diagnostic::error(Code::WrongType, key.span(), message);
            return self.diagnostics.push(error.help(format!("write {}, or leave it out", expected(shape))));
        }
        match (shape, node.form()) {
            (Shape::Either(shapes), form) => match shapes.iter().find(|one| form_of(one) == form) {
                Some(one) => self.check(node, one, key, later),
                None => self.wrong_type(node, shape),
            },
            (Shape::List(item), Form::List) => {
                for node in node.items() {
                    self.check(node, item, key, later);
                }
            }
            (Shape::Map(item), Form::Map) => {
                for (key, node) in node.entries() {
                    self.check(node, item, key, later);
                }
            }
            (Shape::Block(block), Form::Map) => self.block(node, *block, key.span(), later),
            (shape, form) if form_of(shape) == form && form == Form::Scalar => {
                if let Err(problem) = scalar(node, shape) {
                    self.diagnostics.push(problem.at(node.span()));
                }
            }
            _ => self.wrong_type(node, shape),
        }
    }

    fn wrong_type(&mut self, node: Node<'_>, shape: &Shape) {
        let message = format!("expected {}, found {}", expected(shape), describe(node));
        self.diagnostics.push(Diagnostic::error(Code::WrongType, node.span(), message));
    }
}

/// What this version cannot run yet: an error, or a warning where that was asked for.
pub(crate) fn unsupported(what: &str, consequence: &str, span: Span, allowed: bool) -> Diagnostic {
    let error = Diagnostic::error(Code::Unsupported, span, format!("{what} is not supported yet"));
    if allowed {
        error.warning().help(consequence)
    } else {
        error.help(format!("pass --allow-unsupported to go on; then {consequence}"))
    }
}

/// What becomes of most fields of later versions.
pub(crate) const NO_EFFECT: &str = "it has no effect";

fn form_of(shape: &Shape) -> Form {
    match shape {
        Shape::List(_) => Form::List,
        Shape::Map(_) | Shape::Block(_) => Form::Map,
        _ => Form::Scalar,
    }
}

/// Checks what can be said of a scalar without knowing the rest of the file.
fn scalar(node: Node<'_>, shape: &Shape) -> Result<(), Problem> {
    let text = node.text().unwrap_or_default();
    match shape {
        Shape::Name => values::name(text).map(drop),
        Shape::Word(words) => word(text, words),
        Shape::Bool => match node.untyped() {
            Some(Untyped::Bool(_)) => Ok(()),
            _ => Err(mismatch(shape, node).fix(truth(text).map(|value| value.to_string()))),
        },
        Shape::Int(least, most) => match node.untyped() {
            Some(Untyped::Int(value)) if (*least..=*most).contains(&value) => Ok(()),
            Some(Untyped::Int(value)) => {
                Err(Problem::new(Code::OutOfRange, format!("{value} is not between {least} and {most}")))
            }
            _ => Err(mismatch(shape, node)),
        },
        Shape::Number => match node.untyped() {
            Some(Untyped::Int(_) | Untyped::Float(_)) => Ok(()),
            Some(Untyped::BadNumber(why)) => Err(Problem::new(Code::BadValue, why)),
            _ => Err(mismatch(shape, node)),
        },
        Shape::Literal => match node.untyped() {
            Some(Untyped::BadNumber(why)) => Err(Problem::new(Code::BadValue, why).fix(Some(format!("\"{text}\"")))),
            _ => Ok(()),
        },
        Shape::Duration => values::duration(text).map(drop),
        Shape::DurationOrNone if text == "none" => Ok(()),
        Shape::DurationOrNone => values::duration(text).map(drop),
        Shape::Size => values::size(text).map(drop),
        Shape::Cpu => values::cpu(text).map(drop),
        Shape::Cause => values::retry_on(text).map(drop),
        _ => Ok(()),
    }
}

fn word(text: &str, words: &[&'static str]) -> Result<(), Problem> {
    if words.contains(&text) {
        return Ok(());
    }
    let listed: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let message = format!("{} is not one of {}", shown(text), listed.join(", "));
    let synonym = match text {
        "string" | "str" => Some("text"),
        "integer" => Some("int"),
        "boolean" => Some("bool"),
        "number" | "double" => Some("float"),
        _ => None,
    };
    let near = synonym.filter(|word| words.contains(word)).or_else(|| suggest::nearest(text, words.iter().copied()));
    Err(Problem::new(Code::BadValue, message).fix(near.map(str::to_owned)))
}

fn mismatch(shape: &Shape, node: Node<'_>) -> Problem {
    Problem::new(Code::WrongType, format!("expected {}, found {}", expected(shape), describe(node)))
}

/// What YAML 1.1 took for truth values.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => Some(true),
        "no" | "off" | "n" | "false" => Some(false),
        _ => None,
    }
}

/// A shape in words.
pub(crate) fn expected(shape: &Shape) -> String {
    let fixed = match shape {
        Shape::Text => "text",
        Shape::Name => "a name",
        Shape::Word(words) => return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Shape::Bool => "`true` or `false`",
        Shape::Int(..) => "a whole number",
        Shape::Number => "a number",
        Shape::Duration => "a duration such as `30s`",
        Shape::DurationOrNone => "a duration such as `30s`, or `none`",
        Shape::Size => "a size such as `16Gi`",
        Shape::Cpu => "a number of cores such as `2` or `500m`",
        Shape::Literal => "a single value",
        Shape::Step => "the name of a step",
        Shape::Reference => "a step, `step.output`, `pipeline/step@version` or a path",
        Shape::Source => "a path or URL",
        Shape::Path => "a path",
        Shape::Expr => "an expression",
        Shape::Cause => "a cause of failure",
        Shape::List(item) => return format!("a list of {}", plural(item)),
        Shape::Map(_) => "a map",
        Shape::Block(block) => return format!("a map with {}", sample(*block)),
        Shape::Either(shapes) => return shapes.iter().map(expected).collect::<Vec<_>>().join(", or "),
        Shape::Any => "a value",
    };
    fixed.to_owned()
}

fn plural(shape: &Shape) -> &'static str {
    match shape {
        Shape::Name => "names",
        Shape::Step => "steps",
        Shape::Expr => "expressions",
        Shape::Cause => "causes",
        Shape::Text => "texts",
        Shape::Map(_) | Shape::Block(_) => "maps",
        _ => "values",
    }
}

/// The first fields of a block, as an example of what belongs there.
fn sample(block: Block) -> String {
    let names: Vec<_> = block.fields().iter().take(3).map(|field| format!("`{}`", field.name)).collect();
    let more = if block.fields().len() > 3 || block.free().is_some() { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

fn describe(node: Node<'_>) -> String {
    match node.form() {
        Form::Null => "nothing".to_owned(),
        Form::List => "a list".to_owned(),
        Form::Map => "a map".to_owned(),
        Form::Scalar => {
            let text = shown(node.text().unwrap_or_default());
            match node.untyped() {
                Some(Untyped::Bool(_)) => format!("the truth value {text}"),
                Some(Untyped::Int(_) | Untyped::Float(_) | Untyped::BadNumber(_)) => format!("the number {text}"),
                _ => format!("the text {text}"),
            }
        }
    }
}
