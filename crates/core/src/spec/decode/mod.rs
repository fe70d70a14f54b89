//! From a tree of the right shape to a [`Pipeline`]: defaults merged, names resolved, every value typed.
//!
//! Nothing stops at an error: where a value cannot be understood the problem is reported, a stand-in takes its place,
//! and the pipeline is dropped at the end. Values of the wrong shape were reported by [`super::shape`] and are passed
//! over here in silence.

mod edges;
mod execution;
mod expression;
mod matrix;
mod outputs;
mod params;
mod partition;
mod paths;
mod schedule;
mod step;
mod trigger;

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::Options;
use super::cycle::{self, Edge};
use super::diagnostic::{Code, Diagnostic, Diagnostics, shown};
use super::model::{Command, Hooks, Output, Param, Pipeline};
use super::source::{SourceMap, Span};
use super::suggest;
use super::values::{self, Problem};
use super::yaml::{Form, Node};
use crate::name::Name;
use crate::partition::Partitioning;

/// What is known of a step before its references can be resolved.
struct Head<'t> {
    name: Name,
    key: Node<'t>,
    body: Node<'t>,
    /// None where `out` is broken, so that nothing can be said about references to it.
    outputs: Option<IndexMap<Name, Output>>,
}

/// Everything that decoding one file shares.
struct Decoder<'t, 'd> {
    sources: &'t SourceMap,
    options: &'t Options,
    diagnostics: &'d mut Diagnostics,
    pipeline: Name,
    params: IndexMap<Name, Param>,
    pools: IndexMap<Name, u32>,
    /// None as well where it could not be read.
    partition: Option<Partitioning>,
    /// Whether the file has it at all.
    partitioned: bool,
    defaults: Option<Node<'t>>,
    heads: Vec<Head<'t>>,
    /// Step names as written, also those that are no names, so that references to them are not errors as well.
    index: HashMap<&'t str, usize>,
    edges: Vec<Edge>,
    /// Cells of all matrices so far.
    cells: u64,
}

/// Decodes the file. The result means something only where `diagnostics` has no errors.
pub(super) fn pipeline(
    root: Node<'_>,
    sources: &SourceMap,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Option<Pipeline> {
    let steps = root.get("steps").filter(|steps| steps.form() == Form::Map)?;
    if steps.entries().len() == 0 {
        diagnostics.push(Diagnostic::error(Code::Missing, steps.span(), "a pipeline has at least one step"));
        return None;
    }
    if steps.entries().len() > options.max_steps {
        let message = format!("{} steps, more than {}", steps.entries().len(), options.max_steps);
        diagnostics.push(Diagnostic::error(Code::TooMany, steps.span(), message));
        return None;
    }
    let mut decoder = Decoder {
        sources,
        options,
        diagnostics,
        pipeline: placeholder(),
        params: IndexMap::new(),
        pools: IndexMap::new(),
        partition: None,
        partitioned: root.get("partition").is_some(),
        defaults: root.get("defaults").filter(|node| node.form() == Form::Map),
        heads: Vec::new(),
        index: HashMap::new(),
        edges: Vec::new(),
        cells: 0,
    };
    decoder.pipeline = decoder.pipeline_name(root);
    decoder.declared_params(root.get("params"));
    decoder.declared_pools(root.get("pools"));
    decoder.partition = decoder.partitioning(root.get("partition"));
    decoder.check_defaults(steps.entries().len());
    decoder.heads(steps);
    decoder.check_published();
    let mut decoded = IndexMap::with_capacity(decoder.heads.len());
    for at in 0..decoder.heads.len() {
        decoded.insert(decoder.heads[at].name.clone(), decoder.step(at));
    }
    let names: Vec<&str> = decoder.heads.iter().map(|head| head.key.key()).collect();
    for error in cycle::find(&names, &decoder.edges) {
        decoder.diagnostics.push(error);
    }
    let hooks = decoder.hooks(root.get("hooks"));
    let schedules = decoder.schedules(root.get("schedule"), root.get("schedules"));
    let triggers = decoder.triggers(root.get("trigger"));
    // While steps were decoded, others still looked these up.
    for (step, head) in decoded.values_mut().zip(decoder.heads) {
        step.outputs = head.outputs.unwrap_or_default();
    }
    Some(Pipeline {
        description: root.get("description").and_then(Node::text).map(str::to_owned),
        owner: root.get("owner").and_then(Node::text).map(str::to_owned),
        hooks,
        schedules,
        triggers,
        priority: root.get("priority").and_then(Node::text).and_then(|text| text.parse().ok()).unwrap_or(0),
        partition: decoder.partition,
        name: decoder.pipeline,
        params: decoder.params,
        pools: decoder.pools,
        steps: decoded,
    })
}

impl<'t> Decoder<'t, '_> {
    fn pipeline_name(&mut self, root: Node<'t>) -> Name {
        if let Some(text) = root.get("pipeline").and_then(Node::text) {
            // A bad name was reported with its shape.
            return Name::new(text).unwrap_or_else(|_| placeholder());
        }
        let stem = &self.options.default_name;
        Name::new(stem).unwrap_or_else(|_| {
            let message = format!("the pipeline has no name, and {}, from the file's name, is none", shown(stem));
            let error = Diagnostic::error(Code::Missing, root.span().at_start(), message);
            self.push(error.help("write `pipeline: NAME` at the top"));
            placeholder()
        })
    }

    fn declared_pools(&mut self, node: Option<Node<'t>>) {
        for (key, value) in node.into_iter().flat_map(Node::entries) {
            if let (Some(name), Some(slots)) = (self.name(key), self.whole(value)) {
                self.pools.insert(name, slots);
            }
        }
    }

    fn hooks(&mut self, node: Option<Node<'t>>) -> Hooks {
        let mut hook = |name: &str| -> Option<Command> {
            let run = node?.get(name)?.get("run")?;
            self.command(run)
        };
        Hooks { success: hook("success"), failure: hook("failure"), exit: hook("exit") }
    }

    /// First pass over the steps: what references need.
    fn heads(&mut self, steps: Node<'t>) {
        let mut spellings: HashMap<String, Node<'t>> = HashMap::with_capacity(steps.entries().len());
        for (key, body) in steps.entries() {
            let name = self.name(key).unwrap_or_else(placeholder);
            self.collision(&mut spellings, key, "steps");
            let outputs = self.outputs(&name, body);
            self.index.entry(key.key()).or_insert(self.heads.len());
            self.heads.push(Head { name, key, body, outputs });
        }
    }

    /// What is written in `defaults` is repeated in every step, so that its size counts that often.
    fn check_defaults(&mut self, steps: usize) {
        const MOST_BYTES: usize = 256 << 20;
        let Some(defaults) = self.defaults else { return };
        let (mut open, mut bytes) = (vec![defaults], 0usize);
        while let Some(node) = open.pop() {
            bytes = bytes.saturating_add(32 + node.key().len());
            open.extend(node.items());
            open.extend(node.entries().flat_map(|(key, value)| [key, value]));
        }
        if bytes.saturating_mul(steps) > MOST_BYTES {
            let message = format!("these defaults, repeated in {steps} steps, are more than {} MiB", MOST_BYTES >> 20);
            self.push(Diagnostic::error(Code::TooMany, defaults.span().at_start(), message));
            self.defaults = None;
        }
    }

    // ── small things ─────────────────────────────────────────────────────────────────────────────────────────────

    fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The value, or its problem reported at `span`.
    fn report<T>(&mut self, result: Result<T, Problem>, span: Span) -> Option<T> {
        result.map_err(|problem| self.push(problem.at(span))).ok()
    }

    fn unsupported(&mut self, what: &str, consequence: &str, span: Span) {
        self.push(super::shape::unsupported(what, consequence, span, self.options.allow_unsupported));
    }

    /// The candidate that was probably meant; none once messages are only counted, because comparing takes time.
    fn nearest<'c>(&self, text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
        if self.diagnostics.is_full() { None } else { suggest::nearest(text, candidates) }
    }

    /// A key that must be a name.
    fn name(&mut self, key: Node<'t>) -> Option<Name> {
        self.report(values::name(key.key()), key.span())
    }

    /// A whole number whose range was checked with its shape.
    fn whole(&self, node: Node<'t>) -> Option<u32> {
        node.text().and_then(|text| text.trim_start_matches('+').parse().ok())
    }

    /// Reports a key whose environment spelling another key of `where_` has already.
    fn collision(&mut self, spellings: &mut HashMap<String, Node<'t>>, key: Node<'t>, place: &str) {
        let spelling = key.key().to_ascii_uppercase().replace('-', "_");
        if let Some(first) = spellings.get(&spelling) {
            // The very same key was reported as a duplicate.
            if first.key() != key.key() {
                let message = format!(
                    "{} and {} of `{place}` are one name in an environment, {}",
                    shown(first.key()),
                    shown(key.key()),
                    shown(&spelling)
                );
                let error =
                    Diagnostic::error(Code::NameCollision, key.span(), message).also(first.span(), "the other one");
                self.push(error);
            }
        } else {
            spellings.insert(spelling, key);
        }
    }

    /// The place of bytes `start..end` of a scalar's text: exact where the text stands in the file as it is.
    fn within(&self, node: Node<'t>, start: usize, end: usize) -> Span {
        let (span, text) = (node.span(), node.text().unwrap_or_default());
        let raw = self.sources.slice(span);
        if raw == text {
            span.slice(start, end)
        } else if raw.len() == text.len() + 2 && raw.get(1..=text.len()) == Some(text) {
            span.slice(start + 1, end + 1)
        } else {
            span
        }
    }

    /// The items of a list, or the one value that stands for a list of one.
    fn one_or_many(node: Option<Node<'t>>) -> Vec<Node<'t>> {
        match node {
            Some(node) if node.form() == Form::List => node.items().collect(),
            Some(node) if node.form() == Form::Scalar => vec![node],
            _ => Vec::new(),
        }
    }
}

/// What becomes of a step whose work is not supported.
const FAILS: &str = "the step fails when it is reached";

/// Stands for a name that could not be read; never leaves a decoder without an error.
fn placeholder() -> Name {
    Name::new("unnamed").expect("the literal follows the grammar")
}
