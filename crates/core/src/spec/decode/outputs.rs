//! `out:`: names, file names, and places where people look.

use super::{Code, Decoder, Diagnostic, Form, HashMap, IndexMap, Name, Node, Output, Span, paths, shown};
use crate::spec::model::Normalizer;

impl<'t> Decoder<'t, '_> {
    /// The outputs of the step called `step`; none where they cannot be told.
    pub(super) fn outputs(&mut self, step: &Name, body: Node<'t>) -> Option<IndexMap<Name, Output>> {
        let Some(out) = body.get("out") else {
            return Some(IndexMap::from_iter([(step.clone(), Output::default())]));
        };
        let entries: Vec<(Node<'t>, Option<Node<'t>>)> = match out.form() {
            Form::List => out.items().map(|item| (item, None)).collect(),
            Form::Map => out.entries().map(|(key, value)| (key, Some(value))).collect(),
            _ => return None,
        };
        if entries.is_empty() {
            let error = Diagnostic::error(Code::BadValue, out.span(), "a step has at least one output");
            self.push(error.help("without `out`, a step has one output that is called like the step"));
            return None;
        }
        let mut outputs = IndexMap::with_capacity(entries.len());
        let mut spellings = HashMap::new();
        let mut files: HashMap<String, Name> = HashMap::new();
        let mut complete = true;
        for (key, block) in entries {
            self.collision(&mut spellings, key, "out");
            let Some(name) = self.name(key) else {
                complete = false;
                continue;
            };
            let output = block.map_or_else(Output::default, |block| self.output(block));
            // Outputs of one step lie beside each other under their file names.
            let file = output.path.clone().unwrap_or_else(|| name.to_string());
            if let Some(other) = files.get(&file).filter(|other| **other != name) {
                let message = format!("outputs `{other}` and `{name}` have the same file name {}", shown(&file));
                self.push(Diagnostic::error(Code::Conflict, key.span(), message));
            }
            files.insert(file, name.clone());
            if outputs.insert(name, output).is_some() && out.form() == Form::List {
                self.push(Diagnostic::error(
                    Code::DuplicateKey,
                    key.span(),
                    format!("output {} is given twice", shown(key.key())),
                ));
            }
        }
        complete.then_some(outputs)
    }

    fn output(&mut self, block: Node<'t>) -> Output {
        let path = self.text_of(block, "path", paths::file_name);
        let publish = self.text_of(block, "publish", |text| paths::publish(text).map(drop));
        let normalize = self.normalizers(block.get("normalize"));
        Output { dir: truth(block, "dir"), path, publish, optional: truth(block, "optional"), normalize }
    }

    /// What does not count about an output, from the outside in.
    fn normalizers(&mut self, node: Option<Node<'t>>) -> Vec<Normalizer> {
        let mut words: Vec<Normalizer> = Vec::new();
        for node in Self::one_or_many(node) {
            let Some(word) = node.text().and_then(Normalizer::parse) else { continue };
            if let Some(outer) = words.last().filter(|outer| !word.follows(**outer)) {
                let message = format!("`{}` cannot follow `{}`", word.as_str(), outer.as_str());
                self.push(
                    Diagnostic::error(Code::Conflict, node.span(), message)
                        .help("from the outside in: `zip`, `gzip`, one format, `unordered_lines`"),
                );
            }
            words.push(word);
        }
        words
    }

    fn text_of(
        &mut self,
        block: Node<'t>,
        field: &str,
        check: impl FnOnce(&str) -> Result<(), super::Problem>,
    ) -> Option<String> {
        let node = block.get(field)?;
        let text = node.text()?;
        self.looks_up(node);
        self.report(check(text), node.span())?;
        Some(text.to_owned())
    }

    /// No two outputs of the pipeline are published at one place or inside each other, and none of a step with many
    /// tasks, each of which would replace the one before.
    pub(super) fn check_published(&mut self) {
        let mut places: Vec<(Vec<&'t str>, Span)> = Vec::new();
        let mut expanded = Vec::new();
        for head in &self.heads {
            let entries = head.body.get("out").into_iter().flat_map(Node::entries);
            for node in entries.filter_map(|(_, block)| block.get("publish")) {
                if let Some(Ok(components)) = node.text().map(paths::publish) {
                    places.push((components, node.span()));
                }
                expanded.extend(
                    ["matrix", "foreach"]
                        .into_iter()
                        .find(|by| head.body.get(by).is_some())
                        .map(|by| (by, node.span())),
                );
            }
        }
        for (by, span) in expanded {
            let message = format!("every task of a step with `{by}` would be published at this one place");
            self.push(
                Diagnostic::error(Code::Conflict, span, message)
                    .help("publish the output of a step that collects them"),
            );
        }
        places.sort();
        let clashes: Vec<_> = places.windows(2).filter(|pair| pair[1].0.starts_with(&pair[0].0)).collect();
        for pair in clashes {
            let error = Diagnostic::error(
                Code::Conflict,
                pair[1].1,
                "two outputs are published at one place, or one inside the other",
            );
            self.push(error.also(pair[0].1, "the other one"));
        }
    }
}

pub(super) fn truth(block: Node<'_>, field: &str) -> bool {
    block.get(field).and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}
