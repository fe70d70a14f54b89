//! `trigger:`: events that start a run.

use std::time::Duration;

use super::{Code, Decoder, Diagnostic, Form, Node, Problem, paths, shown};
use crate::spec::model::Trigger;
use crate::spec::values;

/// Blocks of one pipeline, and datasets of one block.
const MOST: usize = 100;

impl<'t> Decoder<'t, '_> {
    pub(super) fn triggers(&mut self, node: Option<Node<'t>>) -> Vec<Trigger> {
        let blocks: Vec<Node<'t>> = match node {
            Some(node) if node.form() == Form::List => node.items().collect(),
            Some(node) if node.form() == Form::Map => vec![node],
            _ => return Vec::new(),
        };
        if blocks.len() > MOST {
            let message = format!("{} triggers, more than {MOST}", blocks.len());
            self.push(Diagnostic::error(Code::TooMany, blocks[0].span().at_start(), message));
            return Vec::new();
        }
        blocks.into_iter().filter(|block| block.form() == Form::Map).filter_map(|block| self.trigger(block)).collect()
    }

    fn trigger(&mut self, block: Node<'t>) -> Option<Trigger> {
        match (block.get("dataset"), block.get("file")) {
            (None, None) => {
                let place = block.span().at_start();
                let error = Diagnostic::error(Code::Missing, place, "a trigger needs `dataset` or `file`");
                self.push(error.help("such as `dataset: other/step` or `file: \"./incoming/*.csv\"`"));
                None
            }
            (Some(dataset), Some(file)) => {
                let message = "a trigger has `dataset` or `file`, not both";
                let error =
                    Diagnostic::error(Code::Conflict, file.span(), message).also(dataset.span(), "already given");
                self.push(error.help("in a list of triggers, each alone is enough"));
                None
            }
            (Some(dataset), None) => self.dataset_trigger(block, dataset),
            (None, Some(file)) => self.file_trigger(block, file),
        }
    }

    fn dataset_trigger(&mut self, block: Node<'t>, node: Node<'t>) -> Option<Trigger> {
        self.without(block, &["settle", "every"], "file");
        let nodes = Self::one_or_many(Some(node));
        if nodes.is_empty() || nodes.len() > MOST {
            let message = format!("a trigger names 1 to {MOST} datasets");
            self.push(Diagnostic::error(Code::BadValue, node.span(), message));
            return None;
        }
        let mut datasets: Vec<String> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Some(name) = node.text().and_then(|text| self.report(self.other_dataset(text), node.span())) else {
                continue;
            };
            if datasets.contains(&name) {
                self.push(Diagnostic::error(Code::DuplicateKey, node.span(), "this dataset is listed twice"));
            }
            datasets.push(name);
        }
        Some(Trigger::Dataset { datasets, all: block.get("match").and_then(Node::text) != Some("any") })
    }

    /// The full name of a dataset of another pipeline.
    fn other_dataset(&self, text: &str) -> Result<String, Problem> {
        let problem = |why: &str| Problem::new(Code::BadReference, format!("{} {why}", shown(text)));
        if let Some((name, _)) = text.split_once('@') {
            let problem = problem("names a version, and a trigger waits for the next one");
            return Err(problem.fix(Some(name.to_owned())));
        }
        let full = "datasets are called `pipeline/step` or `pipeline/step.output`";
        let (pipeline, rest) =
            text.split_once('/').ok_or_else(|| problem("is no dataset of another pipeline").help(full))?;
        let (step, output) = rest.split_once('.').map_or((rest, None), |(step, output)| (step, Some(output)));
        if [Some(pipeline), Some(step), output].into_iter().flatten().any(|part| values::name(part).is_err()) {
            return Err(problem("is no dataset").help(full));
        }
        if pipeline == self.pipeline.as_str() {
            return Err(problem("is of this pipeline, which would start itself again and again"));
        }
        // As datasets are called on record: an output that is called like its step is left out.
        Ok(if output == Some(step) { format!("{pipeline}/{step}") } else { text.to_owned() })
    }

    fn file_trigger(&mut self, block: Node<'t>, node: Node<'t>) -> Option<Trigger> {
        self.without(block, &["match"], "dataset");
        let path = node.text()?;
        self.looks_up(node);
        self.report(paths::project(path), node.span())?;
        let mut duration = |field: &str, default: u64| {
            block.get(field).map_or(Duration::from_secs(default), |node| self.duration(node))
        };
        let (settle, every) = (duration("settle", 10), duration("every", 5));
        if let Some(node) = block.get("every").filter(|_| every < Duration::from_millis(100)) {
            self.push(Diagnostic::error(Code::OutOfRange, node.span(), "files are looked for every `100ms` at most"));
        }
        Some(Trigger::File { path: path.to_owned(), settle, every })
    }

    fn without(&mut self, block: Node<'t>, fields: &[&str], of: &str) {
        for (key, _) in block.entries().filter(|(key, _)| fields.contains(&key.key())) {
            let message = format!("`{}` means something for `{of}` only", key.key());
            self.push(Diagnostic::error(Code::Conflict, key.span(), message));
        }
    }
}
