//! From parser events to a [`Tree`], within [`Limits`]. Stops at the first error of syntax, because what follows it
//! has no certain structure; duplicate keys are collected.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span as Marks, StructureStyle};

use super::{Data, Form, Limits, NodeId, Style, Tree};
use crate::spec::diagnostic::{Code, Diagnostic, Diagnostics, shown};
use crate::spec::source::Span;

/// Parses one document. `None` after an error that leaves no tree; all errors are in `diagnostics`.
pub(crate) fn parse<'a>(
    tree: &mut Tree<'a>,
    file: u16,
    text: &'a str,
    limits: &Limits,
    diagnostics: &mut Diagnostics,
) -> Option<NodeId> {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        // One more than allowed, so that our own error is the one that is seen.
        flow_nesting_limit: limits.depth + 1,
        block_nesting_limit: limits.depth + 1,
    };
    options.set_emit_comments(false);
    let mut builder = Builder {
        tree,
        file,
        text,
        limits,
        diagnostics,
        open: Vec::new(),
        pending: Vec::new(),
        anchors: HashMap::new(),
        cost: Cost::default(),
        root: None,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, marks)) => builder.event(event, marks),
            Err(error) => Err(builder.syntax(&error)),
        };
        if let Err(diagnostic) = step {
            builder.diagnostics.push(*diagnostic);
            return None;
        }
    }
    let root = builder.root;
    if root.is_none() {
        diagnostics.push(Diagnostic::error(Code::Missing, Span::new(file, 0, 0), "the file is empty"));
    }
    root
}

/// What a node amounts to once aliases are expanded.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    /// Levels of collections, this one included.
    height: usize,
}

impl Cost {
    fn add(&mut self, child: Self) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.height = self.height.max(child.height);
    }
}

/// A collection whose end has not been seen.
struct Open {
    is_map: bool,
    style: StructureStyle,
    span: Span,
    anchor: usize,
    /// Index in `pending` of its first child.
    first: usize,
    cost: Cost,
}

struct Builder<'b, 'a> {
    tree: &'b mut Tree<'a>,
    file: u16,
    text: &'a str,
    limits: &'b Limits,
    diagnostics: &'b mut Diagnostics,
    open: Vec<Open>,
    pending: Vec<NodeId>,
    anchors: HashMap<usize, (NodeId, Cost)>,
    /// Of everything so far; only ever grows.
    cost: Cost,
    root: Option<NodeId>,
}

type Step<T = ()> = Result<T, Box<Diagnostic>>;

impl<'a> Builder<'_, 'a> {
    fn event(&mut self, event: Event<'a>, marks: Marks) -> Step {
        let span = self.span(marks);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(feature(span, "a definition is one YAML document, and a second one starts here").into())
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                let span = marks.tag_span().map_or(span, |tag| self.span(tag));
                Err(feature(span, "YAML tags are not used in definitions").help("quote a value to make it text").into())
            }
            Event::Scalar(text, style, anchor, None) => self.scalar(text, style, anchor, span),
            Event::SequenceStart(style, anchor, None) => self.start(false, style, anchor, span),
            Event::MappingStart(style, anchor, None) => self.start(true, style, anchor, span),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, anchor: usize, span: Span) -> Step {
        if let Some(offset) = text.find('\0') {
            let message = "a NUL character cannot be part of any value";
            let label = format!("after {}", shown(&text[..offset]));
            self.diagnostics.push(Diagnostic::error(Code::BadValue, span, message).label(label));
        }
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let cost = Cost { nodes: 1, bytes: text.len(), height: 0 };
        self.spend(cost.nodes, 0, span)?;
        let id = self.tree.scalar(span, text, style);
        self.finished(id, cost, anchor);
        Ok(())
    }

    fn start(&mut self, is_map: bool, style: StructureStyle, anchor: usize, span: Span) -> Step {
        self.check_depth(1, span)?;
        self.spend(1, 0, span)?;
        let cost = Cost { nodes: 1, ..Cost::default() };
        self.open.push(Open { is_map, style, span, anchor, first: self.pending.len(), cost });
        Ok(())
    }

    fn end(&mut self, end: Span) -> Step {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        let last = self.pending.last().filter(|_| self.pending.len() > open.first);
        // A block ends where its last child does; the parser only notices at the next token.
        let span = match (open.style, last) {
            (StructureStyle::Block, Some(&last)) => open.span.to(self.tree.node(last).span()),
            _ => open.span.to(end),
        };
        let mut children = self.pending.split_off(open.first);
        let id = if open.is_map {
            self.merge_keys(&mut children, &mut open.cost)?;
            self.check_keys(&children)?;
            self.tree.map(span, children)
        } else {
            self.tree.list(span, children)
        };
        open.cost.height += 1;
        self.finished(id, open.cost, open.anchor);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Step {
        let Some(&(id, cost)) = self.anchors.get(&anchor) else {
            return Err(feature(span, "this alias stands inside the value it names").into());
        };
        self.check_depth(cost.height, span)?;
        self.spend(cost.nodes, cost.bytes, span)?;
        self.finished(id, cost, 0);
        Ok(())
    }

    fn finished(&mut self, id: NodeId, cost: Cost, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (id, cost));
        }
        match self.open.last_mut() {
            Some(open) => {
                open.cost.add(cost);
                self.pending.push(id);
            }
            None => self.root = Some(id),
        }
    }

    fn check_depth(&self, more: usize, span: Span) -> Step {
        if self.open.len() + more <= self.limits.depth {
            return Ok(());
        }
        let message = format!("more than {} levels of nesting", self.limits.depth);
        Err(Diagnostic::error(Code::TooDeep, span, message).into())
    }

    /// Counts nodes, and bytes that an alias repeats.
    fn spend(&mut self, nodes: usize, bytes: usize, span: Span) -> Step {
        self.cost.add(Cost { nodes, bytes, height: 0 });
        if self.cost.nodes > self.limits.nodes {
            let message = format!("more than {} values, aliases expanded", self.limits.nodes);
            return Err(Diagnostic::error(Code::TooMany, span, message).into());
        }
        if self.cost.bytes > self.limits.alias_bytes {
            let message = format!("aliases repeat more than {} MiB of text", self.limits.alias_bytes >> 20);
            return Err(Diagnostic::error(Code::TooMany, span, message).into());
        }
        Ok(())
    }

    /// Applies `<<: *base` and `<<: [*a, *b]`: the map's own keys win, then the earlier base.
    /// Source: <https://yaml.org/type/merge.html>.
    fn merge_keys(&mut self, children: &mut Vec<NodeId>, cost: &mut Cost) -> Step {
        let is_merge = |tree: &Tree<'_>, id: NodeId| matches!(&tree.nodes[id.0 as usize].data, Data::Scalar(text, Style::Plain) if text == "<<");
        let Some(at) = children.chunks_exact(2).position(|pair| is_merge(self.tree, pair[0])) else { return Ok(()) };
        let (key, value) = (children[2 * at], children[2 * at + 1]);
        children.drain(2 * at..2 * at + 2);
        let value = self.tree.node(value);
        let span = self.tree.node(key).span();
        let bases: Vec<_> = if value.form() == Form::List { value.items().collect() } else { vec![value] };
        if bases.iter().any(|base| base.form() != Form::Map) {
            let message = "`<<` takes the entries of a map, or of each map of a list";
            return Err(Diagnostic::error(Code::WrongType, span, message).into());
        }
        let mut known: HashSet<&str> = children.chunks_exact(2).map(|pair| self.tree.node(pair[0]).key()).collect();
        let mut added = Vec::new();
        let size: usize = bases.iter().map(|base| 2 * base.entries().len()).sum();
        // Counted before anything is copied: a merged map is stored in full.
        self.cost.nodes = self.cost.nodes.saturating_add(size);
        cost.nodes = cost.nodes.saturating_add(size);
        if self.cost.nodes <= self.limits.nodes {
            for (key, value) in bases.iter().flat_map(|base| base.entries()) {
                if known.insert(key.key()) {
                    added.extend([key.id, value.id]);
                }
            }
        }
        children.append(&mut added);
        self.spend(0, 0, span)
    }

    /// Keys must be scalars, and each may stand once.
    fn check_keys(&mut self, children: &[NodeId]) -> Step {
        let keys = || children.chunks_exact(2).map(|pair| self.tree.node(pair[0]));
        if let Some(key) = keys().find(|key| !matches!(key.form(), Form::Scalar | Form::Null)) {
            return Err(feature(key.span(), "a key must be a single value").into());
        }
        let mut duplicates = Vec::new();
        if children.len() <= 2 * SMALL_MAP {
            for (at, key) in keys().enumerate() {
                if let Some(first) = keys().take(at).find(|earlier| earlier.key() == key.key()) {
                    duplicates.push((first, key));
                }
            }
        } else {
            let mut seen = HashMap::with_capacity(children.len() / 2);
            for key in keys() {
                if let Some(first) = seen.get(key.key()) {
                    duplicates.push((*first, key));
                } else {
                    seen.insert(key.key(), key);
                }
            }
        }
        let errors: Vec<_> = duplicates
            .into_iter()
            .map(|(first, second)| {
                Diagnostic::error(
                    Code::DuplicateKey,
                    second.span(),
                    format!("key {} is given twice", shown(second.key())),
                )
                .also(first.span(), "first given here")
            })
            .collect();
        errors.into_iter().for_each(|error| self.diagnostics.push(error));
        Ok(())
    }

    fn syntax(&self, error: &granit_parser::ScanError) -> Box<Diagnostic> {
        use granit_parser::ErrorKind;
        let start = self.offset(*error.marker());
        // Something to point at: the character itself, where the line has not ended.
        let end =
            self.text[start..].chars().next().map_or(start, |c| if c == '\n' { start } else { start + c.len_utf8() });
        let span = Span::new(self.file, start, end);
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                let message = format!("more than {} levels of nesting", self.limits.depth);
                Diagnostic::error(Code::TooDeep, span, message).into()
            }
            ErrorKind::DirectiveDisallowed => feature(span, "YAML directives are not used in definitions").into(),
            kind => Diagnostic::error(Code::Syntax, span, kind.to_string()).into(),
        }
    }

    fn span(&self, marks: Marks) -> Span {
        Span::new(self.file, self.offset(marks.start), self.offset(marks.end))
    }

    /// A parser over a string gives every mark its byte offset.
    fn offset(&self, mark: Marker) -> usize {
        crate::spec::source::floor_char_boundary(self.text, mark.byte_offset().unwrap_or(0))
    }
}

/// Up to so many keys are compared pairwise, without a table.
const SMALL_MAP: usize = 12;

fn feature(span: Span, message: &str) -> Diagnostic {
    Diagnostic::error(Code::YamlFeature, span, message)
}
