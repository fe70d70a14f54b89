//! Values of parameters: what a declaration admits, and how files and the command line set them.

use std::fmt;

use indexmap::IndexMap;

use super::diagnostic::{Code, Diagnostic, Diagnostics, shown};
use super::model::{Param, ParamKind, Pipeline};
use super::source::{SourceMap, Span};
use super::suggest;
use super::values::Problem;
use super::yaml::{self, Form, Limits, Node, Tree, Untyped};
use crate::name::Name;
use crate::scalar::Scalar;

/// The most values that `choices` may list.
pub(crate) const MAX_CHOICES: usize = 1000;
/// So many of them are named and compared in a message.
const NAMED_CHOICES: usize = 20;

/// The longest text value, in bytes: a larger one does not fit an environment.
pub const MAX_TEXT: usize = 64 << 10;

impl ParamKind {
    /// The word in a declaration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Bool, Self::Int, Self::Float, Self::Text].into_iter().find(|kind| kind.as_str() == word)
    }

    pub(crate) fn of(value: &Scalar) -> Self {
        match value {
            Scalar::Bool(_) => Self::Bool,
            Scalar::Int(_) => Self::Int,
            Scalar::Float(_) => Self::Float,
            Scalar::Text(_) => Self::Text,
        }
    }
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "`true` or `false`",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Text => "text",
        })
    }
}

/// A scalar with the type it was written with.
pub(crate) fn literal(node: Node<'_>) -> Option<Scalar> {
    match node.untyped()? {
        Untyped::Null | Untyped::BadNumber(_) => None,
        Untyped::Bool(value) => Some(Scalar::Bool(value)),
        Untyped::Int(value) => Some(Scalar::Int(value)),
        Untyped::Float(value) => Some(Scalar::Float(value)),
        Untyped::Text(text) => Some(Scalar::Text(text.to_owned())),
    }
}

/// A value of the wanted kind. Text takes what was written, so that `1.10` stays `1.10`; a whole number is a float
/// where one is wanted; nothing else changes its type.
pub(crate) fn value(kind: ParamKind, text: &str, untyped: Untyped<'_>) -> Result<Scalar, Problem> {
    let wrong = || Problem::new(Code::WrongType, format!("expected {kind}, found {}", shown(text)));
    match (kind, untyped) {
        (ParamKind::Text, _) if text.len() > MAX_TEXT => {
            Err(Problem::new(Code::OutOfRange, format!("the text has {} bytes, more than {MAX_TEXT}", text.len())))
        }
        (ParamKind::Text, _) if text.contains('\0') => {
            Err(Problem::new(Code::BadValue, "text must not hold a NUL character"))
        }
        (ParamKind::Text, _) => Ok(Scalar::Text(text.to_owned())),
        (_, Untyped::BadNumber(why)) => Err(Problem::new(Code::BadValue, why)),
        (ParamKind::Bool, Untyped::Bool(value)) => Ok(Scalar::Bool(value)),
        (ParamKind::Int, Untyped::Int(value)) => Ok(Scalar::Int(value)),
        (ParamKind::Float, Untyped::Float(value)) => Ok(Scalar::Float(value)),
        // Whole numbers beyond 2^53 lose digits here, as in every program that reads them as a float.
        #[expect(clippy::cast_precision_loss, reason = "that is what a float parameter asks for")]
        (ParamKind::Float, Untyped::Int(value)) => Ok(Scalar::Float(value as f64)),
        _ => Err(wrong()),
    }
}

impl Param {
    /// Whether `value`, which is of the right kind, is within the range and among the choices.
    pub(crate) fn admits(&self, value: &Scalar) -> Result<(), Problem> {
        let number = number(value);
        let outside = |bound: &str, limit: f64| {
            Problem::new(Code::OutOfRange, format!("{} is {bound} than {limit}", shown(&value.to_string())))
        };
        match (number, self.min, self.max) {
            (Some(number), Some(min), _) if number < min => return Err(outside("smaller", min)),
            (Some(number), _, Some(max)) if number > max => return Err(outside("larger", max)),
            _ => {}
        }
        let Some(choices) = self.choices.as_ref().filter(|choices| !choices.contains(value)) else { return Ok(()) };
        let texts: Vec<_> = choices.iter().take(NAMED_CHOICES).map(Scalar::to_string).collect();
        let near = suggest::nearest(&value.to_string(), texts.iter().map(String::as_str)).map(str::to_owned);
        let listed: Vec<_> = texts.iter().map(|text| shown(text)).collect();
        let more = if choices.len() > NAMED_CHOICES { ", …" } else { "" };
        let message = format!("{} is not one of {}{more}", shown(&value.to_string()), listed.join(", "));
        Err(Problem::new(Code::BadValue, message).fix(near))
    }
}

pub(crate) fn number(value: &Scalar) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "bounds are floats")]
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Float(value) => Some(*value),
        Scalar::Bool(_) | Scalar::Text(_) => None,
    }
}

/// What [`resolve`] found.
#[derive(Debug)]
pub struct Resolved {
    /// Every declared parameter in the order of its declaration; none where there is any error.
    pub values: Option<IndexMap<Name, Scalar>>,
    /// All problems, with places in `sources`.
    pub diagnostics: Vec<Diagnostic>,
    /// How many problems were not kept.
    pub hidden: usize,
    /// The parameter files and the assignments, for rendering.
    pub sources: SourceMap,
}

/// Gives every parameter of `pipeline` its value: the declared default, then the files in order (YAML or JSON, a map
/// of names to values), then the assignments `name=value` of a command line in order. The last one counts.
#[must_use]
pub fn resolve(pipeline: &Pipeline, files: &[(&str, &[u8])], assignments: &[&str], limits: &Limits) -> Resolved {
    let mut diagnostics = Diagnostics::new(super::DIAGNOSTICS);
    let mut sources = SourceMap::default();
    for (name, bytes) in files {
        super::read(&mut sources, name, bytes, limits, &mut diagnostics);
    }
    for assignment in assignments {
        sources.add("-p", *assignment);
    }
    let mut setter = Setter { pipeline, values: IndexMap::new(), diagnostics: &mut diagnostics };
    for (at, source) in sources.files().iter().enumerate() {
        let file = u16::try_from(at).expect("a source map counts its files in 16 bits");
        if at < files.len() { setter.file(file, &source.text, limits) } else { setter.assignment(file, &source.text) }
    }
    let mut given = setter.values;
    let mut values = IndexMap::with_capacity(pipeline.params.len());
    for (name, param) in &pipeline.params {
        match given.swap_remove(name).or_else(|| param.default.clone()) {
            Some(value) => drop(values.insert(name.clone(), value)),
            // A value that was given and refused has been reported already.
            None if diagnostics.has_errors() => {}
            None => {
                let message = format!("parameter `{name}` has no default and was not given");
                let help = format!("pass -p {name}=VALUE, where VALUE is {}", param.kind);
                diagnostics.push(Diagnostic::global(Code::Missing, message).help(help));
            }
        }
    }
    let complete = !diagnostics.has_errors();
    let (diagnostics, hidden) = diagnostics.finish();
    Resolved { values: complete.then_some(values), diagnostics, hidden, sources }
}

struct Setter<'p, 'd> {
    pipeline: &'p Pipeline,
    values: IndexMap<Name, Scalar>,
    diagnostics: &'d mut Diagnostics,
}

impl Setter<'_, '_> {
    fn file(&mut self, file: u16, text: &str, limits: &Limits) {
        let mut tree = Tree::default();
        // A file that could not be read has been reported and is empty here.
        if text.is_empty() && self.diagnostics.has_errors() {
            return;
        }
        let Some(root) = yaml::parse(&mut tree, file, text, limits, self.diagnostics) else { return };
        let root = tree.node(root);
        if root.form() != Form::Map {
            let message = "a parameter file is a map of names to values";
            return self.diagnostics.push(Diagnostic::error(Code::WrongType, root.span(), message));
        }
        for (key, node) in root.entries() {
            match (node.text(), node.untyped()) {
                (Some(text), Some(untyped)) => self.set((key.key(), key.span()), (text, node.span()), untyped),
                _ => {
                    let message = format!("parameter {} takes one value", shown(key.key()));
                    self.diagnostics.push(Diagnostic::error(Code::WrongType, node.span(), message));
                }
            }
        }
    }

    fn assignment(&mut self, file: u16, text: &str) {
        let Some((name, value)) = text.split_once('=') else {
            let error = Diagnostic::error(Code::BadValue, Span::new(file, 0, text.len()), "expected `name=value`");
            return self.diagnostics.push(error);
        };
        let name_span = Span::new(file, 0, name.len());
        let value_span = Span::new(file, name.len() + 1, text.len());
        self.set((name, name_span), (value, value_span), yaml::plain(value));
    }

    fn set(&mut self, (name, name_span): (&str, Span), (text, span): (&str, Span), untyped: Untyped<'_>) {
        let Some((declared, param)) = self.pipeline.params.get_key_value(name) else {
            let names = self.pipeline.params.keys().map(Name::as_str);
            let near = if self.diagnostics.is_full() { None } else { suggest::nearest(name, names) };
            let message = format!("the pipeline has no parameter {}", shown(name));
            let error = Diagnostic::error(Code::UnknownParam, name_span, message).did_you_mean(name_span, near);
            return self.diagnostics.push(error);
        };
        let checked = value(param.kind, text, untyped).and_then(|value| param.admits(&value).map(|()| value));
        match checked {
            Ok(value) => drop(self.values.insert(declared.clone(), value)),
            Err(problem) => self.diagnostics.push(problem.at(span).label(format!("parameter `{declared}`"))),
        }
    }
}
