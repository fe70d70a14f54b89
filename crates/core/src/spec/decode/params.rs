//! Declared parameters: a literal, or a block that says more.

use super::{Code, Decoder, Diagnostic, Form, HashMap, Node, Param, Problem};
use crate::scalar::Scalar;
use crate::spec::model::ParamKind;
use crate::spec::params::{MAX_CHOICES, literal, number, value};

impl<'t> Decoder<'t, '_> {
    pub(super) fn declared_params(&mut self, node: Option<Node<'t>>) {
        let mut spellings = HashMap::new();
        for (key, declaration) in node.into_iter().flat_map(Node::entries) {
            self.collision(&mut spellings, key, "params");
            let Some(name) = self.name(key) else { continue };
            let param = match declaration.form() {
                Form::Map => self.param_block(key, declaration),
                _ => self.param_literal(declaration),
            };
            if let Some(param) = param {
                self.params.insert(name, param);
            }
        }
    }

    fn param_literal(&mut self, node: Node<'t>) -> Option<Param> {
        let default = literal(node)?;
        let kind = ParamKind::of(&default);
        // Weighed again for its length.
        let default = self.report(value(kind, node.text()?, node.untyped()?), node.span())?;
        Some(Param { kind, default: Some(default), min: None, max: None, choices: None, help: None })
    }

    fn param_block(&mut self, key: Node<'t>, block: Node<'t>) -> Option<Param> {
        let written = block.get("type").and_then(Node::text);
        let inferred = || block.get("default").and_then(literal).map(|default| ParamKind::of(&default));
        let Some(kind) = written.map_or_else(inferred, ParamKind::parse) else {
            if written.is_none() && block.get("default").is_none() {
                let error = Diagnostic::error(Code::Missing, key.span(), "a parameter needs a `type` or a `default`");
                self.push(error.help("types are bool, int, float and text"));
            }
            return None;
        };
        let mut param = Param {
            kind,
            default: None,
            min: self.bound(block, "min", kind),
            max: self.bound(block, "max", kind),
            choices: None,
            help: block.get("help").and_then(Node::text).map(str::to_owned),
        };
        if let (Some(min), Some(max)) = (param.min, param.max)
            && min > max
        {
            let span = block.get("min").map_or(block.span(), Node::span);
            self.push(Diagnostic::error(Code::OutOfRange, span, format!("`min` {min} is larger than `max` {max}")));
        }
        if let Some(list) = block.get("choices") {
            param.choices = Some(self.choices(list, &param));
        }
        if let Some(node) = block.get("default") {
            param.default = self.typed(node, &param);
        }
        Some(param)
    }

    fn bound(&mut self, block: Node<'t>, name: &str, kind: ParamKind) -> Option<f64> {
        let node = block.get(name)?;
        let bound = literal(node).as_ref().and_then(number)?;
        if matches!(kind, ParamKind::Bool | ParamKind::Text) {
            let message = format!("`{name}` bounds numbers, and the parameter is a {}", kind.as_str());
            self.push(Diagnostic::error(Code::Conflict, node.span(), message));
        }
        Some(bound)
    }

    fn choices(&mut self, list: Node<'t>, param: &Param) -> Vec<Scalar> {
        let mut choices: Vec<Scalar> = Vec::new();
        if list.items().len() > MAX_CHOICES {
            let message = format!("{} choices, more than {MAX_CHOICES}", list.items().len());
            self.push(Diagnostic::error(Code::TooMany, list.span(), message));
            return choices;
        }
        for node in list.items() {
            if let Some(choice) = self.typed(node, param) {
                if choices.contains(&choice) {
                    self.push(Diagnostic::error(Code::DuplicateKey, node.span(), "this choice is given twice"));
                }
                choices.push(choice);
            }
        }
        if list.form() == Form::List && list.items().len() == 0 {
            self.push(Diagnostic::error(Code::BadValue, list.span(), "`choices` needs at least one value"));
        }
        choices
    }

    /// A value that the parameter admits.
    fn typed(&mut self, node: Node<'t>, param: &Param) -> Option<Scalar> {
        let result = value(param.kind, node.text()?, node.untyped()?);
        let result: Result<Scalar, Problem> = result.and_then(|value| param.admits(&value).map(|()| value));
        self.report(result, node.span())
    }
}
