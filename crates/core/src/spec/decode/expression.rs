//! Conditions: parsed, and checked against the names and types that exist where they stand.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{Code, Decoder, Diagnostic, Name, Node, Param};
use crate::expr::{Expr, ExprError, Scope, Type};
use crate::scalar::Scalar;
use crate::spec::model::{Matrix, ParamKind};
use crate::spec::shape::NO_EFFECT;

/// Groups of names that later versions give a meaning.
const LATER: [&str; 2] = ["champion.", "baseline."];

/// What a condition of a step can see.
pub(super) struct Names<'s> {
    params: &'s IndexMap<Name, Param>,
    axes: &'s Axes,
    /// Whether the step has ended, so that there are metrics.
    metrics: bool,
    /// Whether there is any use in looking for the name that was meant.
    suggests: bool,
}

/// The axes of a step's matrix with the type that all values have in common, those of `include` among them.
pub(super) type Axes = BTreeMap<Name, Type>;

pub(super) fn axes(matrix: Option<&Matrix>) -> Axes {
    let mut axes = Axes::new();
    let listed = matrix.into_iter().flat_map(|matrix| &matrix.axes);
    let listed = listed.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    for (name, value) in listed.chain(matrix.into_iter().flat_map(|matrix| matrix.include.iter().flatten())) {
        let found = match value {
            Scalar::Bool(_) => Type::Bool,
            Scalar::Int(_) | Scalar::Float(_) => Type::Number,
            Scalar::Text(_) => Type::Text,
        };
        axes.entry(name.clone())
            .and_modify(|known| *known = if *known == found { found } else { Type::Any })
            .or_insert(found);
    }
    axes
}

impl Scope for Names<'_> {
    fn type_of(&self, name: &str) -> Option<Type> {
        match name.split_once('.') {
            Some(("params", param)) => self.params.get(param).map(|param| match param.kind {
                ParamKind::Bool => Type::Bool,
                ParamKind::Int | ParamKind::Float => Type::Number,
                ParamKind::Text => Type::Text,
            }),
            Some(("matrix", axis)) => self.axes.get(axis).copied(),
            Some(("metrics", _)) | None if self.metrics => Some(Type::Number),
            _ => None,
        }
    }

    fn has_slices(&self, metric: &str) -> bool {
        self.metrics && metric.split_once('.').is_none_or(|(group, _)| group == "metrics")
    }

    fn names(&self) -> Box<dyn Iterator<Item = String> + '_> {
        let params = self.params.keys().map(|name| format!("params.{name}"));
        let axes = self.axes.keys().map(|name| format!("matrix.{name}"));
        Box::new(params.chain(axes).filter(|_| self.suggests))
    }
}

impl<'t> Decoder<'t, '_> {
    /// A condition that is true or false.
    pub(super) fn condition(&mut self, node: Node<'t>, axes: &Axes, metrics: bool) -> Option<Expr> {
        let text = node.text()?;
        let expr = match Expr::parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                self.expression_error(node, error);
                return None;
            }
        };
        let later = expr.names().find_map(|name| LATER.into_iter().find(|group| name.starts_with(group)));
        if let Some(group) = later {
            self.unsupported(&format!("a condition over `{}`", group.trim_end_matches('.')), NO_EFFECT, node.span());
            return None;
        }
        let checked =
            expr.check_condition(&Names { params: &self.params, axes, metrics, suggests: !self.diagnostics.is_full() });
        for error in checked.err().into_iter().flatten() {
            self.expression_error(node, error);
        }
        Some(expr)
    }

    fn expression_error(&mut self, node: Node<'t>, error: ExprError) {
        // A block ends with a line break, behind which there is nothing to point at.
        let last = node.text().map_or(0, |text| text.trim_end().len());
        let span = self.within(node, error.at.start.min(last), error.at.end.min(last));
        self.push(Diagnostic::error(Code::BadExpression, span, error.message).maybe_help(error.help));
    }
}
