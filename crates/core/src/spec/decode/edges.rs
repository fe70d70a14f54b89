//! What a step reads and waits for: `in`, `after`, `foreach`.

use super::outputs::truth;
use super::{Code, Decoder, Diagnostic, Edge, Form, HashMap, HashSet, IndexMap, Name, Node, Problem, paths, shown};
use crate::spec::model::{Foreach, Input, InputRef};
use crate::spec::values;

/// The longest version of a dataset, in bytes.
const LONGEST_VERSION: usize = 256;

impl<'t> Decoder<'t, '_> {
    pub(super) fn inputs(&mut self, at: usize, node: Option<Node<'t>>, item: Option<&Name>) -> IndexMap<Name, Input> {
        let mut inputs = IndexMap::new();
        let mut spellings = HashMap::new();
        for (key, value) in node.into_iter().flat_map(Node::entries) {
            self.collision(&mut spellings, key, "in");
            let name = self.name(key);
            let reference = if value.form() == Form::Map { value.get("from") } else { Some(value) };
            let from = reference.and_then(|reference| self.reference(at, reference, item));
            if let (Some(name), Some(from)) = (name, from) {
                inputs.insert(name, Input { from, optional: truth(value, "optional") });
            }
        }
        inputs
    }

    /// What a reference of step `at` means.
    fn reference(&mut self, at: usize, node: Node<'t>, item: Option<&Name>) -> Option<InputRef> {
        let text = node.text()?;
        if item.is_some_and(|item| item.as_str() == text) {
            if self.index.contains_key(text) {
                let message = format!("{} is both a step and the item of `foreach`", shown(text));
                self.push(Diagnostic::error(Code::Conflict, node.span(), message).help("give the item another name"));
            }
            return Some(InputRef::Item);
        }
        let problem = |why: &str| Problem::new(Code::BadReference, format!("{} {why}", shown(text)));
        if paths::is_path(text) || text.starts_with('~') {
            self.looks_up(node);
            self.report(paths::project(text), node.span())?;
            return Some(InputRef::Path(text.to_owned()));
        }
        if text.contains("://") {
            let problem =
                problem("is a URL").help("read it in a step with `kind: ingest` and `from`, and name that step here");
            return self.report(Err(problem), node.span());
        }
        if text.contains('/') {
            return self.dataset(node, text);
        }
        if text.contains('@') {
            let problem = problem("asks for a version of a step of this run")
                .help("a version belongs to a dataset: `pipeline/step@version`");
            return self.report(Err(problem), node.span());
        }
        let (step, output) = self.step_output(at, node, text)?;
        Some(InputRef::Step { step, output })
    }

    /// `step` or `step.output` of this pipeline.
    fn step_output(&mut self, at: usize, node: Node<'t>, text: &'t str) -> Option<(usize, Name)> {
        let (step_text, output) = text.split_once('.').map_or((text, None), |(step, output)| (step, Some(output)));
        let step = self.step_index(node, step_text)?;
        self.edges.push(Edge { from: step, to: at, span: node.span() });
        let outputs = self.heads[step].outputs.as_ref()?;
        let found = match output {
            Some(output) => outputs.get_key_value(output).map(|(name, _)| name),
            // A bare step is its only output, or the one called like it.
            None if outputs.len() == 1 => outputs.keys().next(),
            None => outputs.get_key_value(step_text).map(|(name, _)| name),
        };
        if let Some(name) = found {
            return Some((step, name.clone()));
        }
        let names: Vec<_> = outputs.keys().take(10).map(|name| format!("`{step_text}.{name}`")).collect();
        let span = self.within(node, output.map_or(0, |_| step_text.len() + 1), text.len());
        let error = match output {
            Some(output) => Diagnostic::error(
                Code::UnknownOutput,
                span,
                format!("step `{step_text}` has no output {}", shown(output)),
            )
            .help(format!("it has {}", names.join(", ")))
            .did_you_mean(span, self.nearest(output, outputs.keys().map(Name::as_str))),
            None => Diagnostic::error(Code::UnknownOutput, span, format!("step `{step_text}` has several outputs"))
                .help(format!("name one of {}", names.join(", "))),
        };
        self.push(error);
        None
    }

    /// A step by name; `node` holds `text` at its start.
    fn step_index(&mut self, node: Node<'t>, text: &'t str) -> Option<usize> {
        if let Some(&step) = self.index.get(text) {
            return Some(step);
        }
        let span = self.within(node, 0, text.len());
        let error = Diagnostic::error(Code::UnknownStep, span, format!("there is no step {}", shown(text)));
        let near = self.nearest(text, self.heads.iter().map(|head| head.key.key()));
        let looks_like_path = node.text().is_some_and(|whole| whole.contains('.'));
        let help = (near.is_none() && looks_like_path).then_some("a path starts with `./` or `/`");
        self.push(error.maybe_help(help).did_you_mean(span, near));
        None
    }

    /// `pipeline/step[.output][@version]`.
    fn dataset(&mut self, node: Node<'t>, text: &'t str) -> Option<InputRef> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let (pipeline, rest) = name.split_once('/').unwrap_or((name, ""));
        let (step, output) = rest.split_once('.').map_or((rest, None), |(step, output)| (step, Some(output)));
        let mut parts = [Some(pipeline), Some(step), output].into_iter().flatten();
        if parts.any(|part| values::name(part).is_err()) {
            let problem = Problem::new(
                Code::BadReference,
                format!("{} is neither a step, nor a dataset, nor a path", shown(text)),
            )
            .help("a dataset is `pipeline/step.output@version`; a path starts with `./` or `/`");
            return self.report(Err(problem), node.span());
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '#');
        if let Some(version) =
            version.filter(|it| it.is_empty() || it.len() > LONGEST_VERSION || !it.chars().all(allowed))
        {
            let span = self.within(node, name.len() + 1, text.len());
            let error = Diagnostic::error(Code::BadReference, span, format!("{} is not a version", shown(version)));
            self.push(error.help("versions are `latest`, `v3`, `b3:` and a hash, `run:` and a run"));
            return None;
        }
        if version.is_none() && pipeline == self.pipeline.as_str() {
            let span = node.span();
            let error = Diagnostic::error(
                Code::BadReference,
                span,
                "this is a dataset of the pipeline itself, without a version",
            );
            let error = error.help("with `@latest` it is what an earlier run made");
            self.push(error.suggest(span, format!("for this run, write `{rest}`"), rest));
            return None;
        }
        let name = match output {
            Some(output) if output == step => format!("{pipeline}/{step}"),
            _ => name.to_owned(),
        };
        Some(InputRef::Dataset { name, version: version.unwrap_or("latest").to_owned() })
    }

    pub(super) fn after(&mut self, at: usize, node: Option<Node<'t>>) -> Vec<usize> {
        let mut after = Vec::new();
        let mut seen = HashSet::new();
        for node in Self::one_or_many(node) {
            let Some(step) = node.text().and_then(|text| self.step_index(node, text)) else { continue };
            if !seen.insert(step) {
                self.push(Diagnostic::error(Code::DuplicateKey, node.span(), "this step is listed twice"));
                continue;
            }
            self.edges.push(Edge { from: step, to: at, span: node.span() });
            after.push(step);
        }
        after
    }

    pub(super) fn foreach(&mut self, at: usize, block: Option<Node<'t>>) -> Option<Foreach> {
        let block = block.filter(|block| block.form() == Form::Map)?;
        let mut items = block.entries().filter(|(key, _)| key.key() != "max_parallel");
        let (Some((key, value)), None) = (items.next(), items.next()) else {
            let error = Diagnostic::error(
                Code::BadValue,
                block.span(),
                "`foreach` names one item and the output it stands for",
            );
            self.push(error.help("such as `foreach: {file: files}`, to be read with `in: {src: file}`"));
            return None;
        };
        let item = self.name(key);
        let text = value.text()?;
        if text.contains(['/', '@']) || paths::is_path(text) {
            let message = format!("`foreach` goes over an output of a step, and {} is none", shown(text));
            self.push(Diagnostic::error(Code::BadReference, value.span(), message));
            return None;
        }
        let (step, output) = self.step_output(at, value, text)?;
        Some(Foreach { item: item?, step, output })
    }
}
