//! `partition:`: what runs work on one at a time.

use super::{Code, Decoder, Diagnostic, Form, HashMap, Node, shown};
use crate::partition::{Key, Partitioning, Slices, Unit};

/// Values of one list.
const MOST: usize = 100_000;

impl<'t> Decoder<'t, '_> {
    pub(super) fn partitioning(&mut self, block: Option<Node<'t>>) -> Option<Partitioning> {
        let block = block.filter(|block| block.form() == Form::Map)?;
        let unit = match block.get("by").and_then(Node::text)? {
            "hour" => Unit::Hour,
            "day" => Unit::Day,
            "week" => Unit::Week,
            "month" => Unit::Month,
            "list" => {
                self.of_the_other_kind(block, &["start", "end", "tz"], "slices of time");
                return self.listed(block).map(Partitioning::List);
            }
            _ => return None,
        };
        self.of_the_other_kind(block, &["values"], "`by: list`");
        let tz = self.zone(block.get("tz"))?;
        let Some(start) = block.get("start") else {
            let error = Diagnostic::error(Code::Missing, block.span().at_start(), "`start` is missing");
            self.push(
                error.help("the first slice, such as `start: 2026-01-01`: those before it are none of the pipeline's"),
            );
            return None;
        };
        let (first, last) = (start.text()?, block.get("end").and_then(Node::text));
        match Slices::new(unit, tz, first, last) {
            Ok(slices) => Some(Partitioning::Time(slices)),
            Err(error) => {
                // Where the start alone is fine, it is the end.
                let of_start = Slices::new(unit, tz, first, None).is_err();
                let node = block.get("end").filter(|_| !of_start).unwrap_or(start);
                self.push(Diagnostic::error(Code::BadPartition, node.span(), error.to_string()));
                None
            }
        }
    }

    fn of_the_other_kind(&mut self, block: Node<'t>, fields: &[&str], kind: &str) {
        for (key, _) in block.entries().filter(|(key, _)| fields.contains(&key.key())) {
            let message = format!("`{}` is for {kind}", key.key());
            self.push(Diagnostic::error(Code::Conflict, key.span(), message));
        }
    }

    fn listed(&mut self, block: Node<'t>) -> Option<Vec<Key>> {
        let list = block.get("values").filter(|list| list.items().len() > 0);
        let Some(list) = list else {
            let place = block.get("values").unwrap_or(block).span().at_start();
            let error = Diagnostic::error(Code::Missing, place, "`by: list` needs values");
            self.push(error.help("such as `values: [eu, us]`"));
            return None;
        };
        if list.items().len() > MOST {
            let message = format!("{} partitions, more than {MOST}", list.items().len());
            self.push(Diagnostic::error(Code::TooMany, list.span().at_start(), message));
            return None;
        }
        let mut keys = Vec::with_capacity(list.items().len());
        // Keys become file names, of which some systems tell no two apart that differ in case only.
        let mut seen: HashMap<String, Node<'t>> = HashMap::new();
        for node in list.items() {
            let Some(text) = node.text() else { continue };
            match Key::new(text) {
                Ok(key) => keys.push(key),
                Err(error) => self.push(Diagnostic::error(Code::BadPartition, node.span(), error.to_string())),
            }
            if let Some(first) = seen.insert(text.to_ascii_lowercase(), node) {
                let message = format!("{} is listed twice, letter case aside", shown(text));
                let error = Diagnostic::error(Code::DuplicateKey, node.span(), message);
                self.push(error.also(first.span(), "first given here"));
            }
        }
        Some(keys)
    }
}
