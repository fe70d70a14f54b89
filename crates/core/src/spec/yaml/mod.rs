//! YAML as a tree of nodes with places: raw scalars, no types, no meaning.
//!
//! A thin layer over the events of `granit-parser`. Nodes live in one arena, so that neither building nor dropping a
//! tree recurses; an alias shares the node it names, so that memory is bounded by the text. What a reader would see
//! after expanding aliases is counted while parsing and bounded by [`Limits`].

mod build;
mod resolve;

use std::borrow::Cow;

use crate::spec::source::Span;

pub(crate) use build::parse;
pub use resolve::Untyped;
pub(crate) use resolve::plain;

/// What a file may ask of memory and time. Each limit has an error of its own.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: usize,
    /// Collections inside each other.
    pub depth: usize,
    /// Scalars, lists and maps, aliases counted with all that they stand for.
    pub nodes: usize,
    /// Bytes of text that aliases repeat.
    pub alias_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, depth: 64, nodes: 3_000_000, alias_bytes: 16 << 20 }
    }
}

/// Index of a node in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

/// How a scalar was written, as far as it matters: only plain ones have a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    Block,
}

#[derive(Debug, Clone)]
pub(crate) enum Data<'a> {
    Scalar(Cow<'a, str>, Style),
    /// A range of [`Tree::children`].
    List(u32, u32),
    /// A range of [`Tree::children`]: key, value, key, value.
    Map(u32, u32),
}

#[derive(Debug, Clone)]
struct Stored<'a> {
    span: Span,
    data: Data<'a>,
}

/// An arena of nodes; several files may share one. Text is borrowed from the files where it stands there as it is.
#[derive(Debug, Default)]
pub(crate) struct Tree<'a> {
    nodes: Vec<Stored<'a>>,
    children: Vec<NodeId>,
}

impl<'a> Tree<'a> {
    pub(crate) fn node(&self, id: NodeId) -> Node<'_> {
        Node { tree: self, id }
    }

    /// Adds a scalar.
    pub(crate) fn scalar(&mut self, span: Span, text: Cow<'a, str>, style: Style) -> NodeId {
        self.push(span, Data::Scalar(text, style))
    }

    /// Adds a list of existing nodes.
    pub(crate) fn list(&mut self, span: Span, items: impl IntoIterator<Item = NodeId>) -> NodeId {
        let (from, to) = self.adopt(items);
        self.push(span, Data::List(from, to))
    }

    /// Adds a map of existing nodes: key, value, key, value.
    pub(crate) fn map(&mut self, span: Span, pairs: impl IntoIterator<Item = NodeId>) -> NodeId {
        let (from, to) = self.adopt(pairs);
        self.push(span, Data::Map(from, to))
    }

    fn adopt(&mut self, ids: impl IntoIterator<Item = NodeId>) -> (u32, u32) {
        let from = index(self.children.len());
        self.children.extend(ids);
        (from, index(self.children.len()))
    }

    fn push(&mut self, span: Span, data: Data<'a>) -> NodeId {
        let id = NodeId(index(self.nodes.len()));
        self.nodes.push(Stored { span, data });
        id
    }
}

/// Arena indices fit 32 bits because the number of nodes is limited.
fn index(len: usize) -> u32 {
    u32::try_from(len).expect("node limits keep the arena small")
}

/// A node of a tree.
#[derive(Clone, Copy)]
pub(crate) struct Node<'t> {
    tree: &'t Tree<'t>,
    pub(crate) id: NodeId,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// An empty plain scalar, `~` or `null`.
    Null,
    Scalar,
    List,
    Map,
}

impl<'t> Node<'t> {
    fn stored(self) -> &'t Stored<'t> {
        &self.tree.nodes[self.id.0 as usize]
    }

    pub(crate) fn span(self) -> Span {
        self.stored().span
    }

    pub(crate) fn form(self) -> Form {
        match &self.stored().data {
            Data::Scalar(text, Style::Plain) if resolve::is_null(text) => Form::Null,
            Data::Scalar(..) => Form::Scalar,
            Data::List(..) => Form::List,
            Data::Map(..) => Form::Map,
        }
    }

    /// The text of a scalar that is not null, as written, escapes resolved.
    pub(crate) fn text(self) -> Option<&'t str> {
        match &self.stored().data {
            Data::Scalar(text, style) if *style != Style::Plain || !resolve::is_null(text) => Some(text),
            _ => None,
        }
    }

    /// The type that YAML 1.2's core schema gives a scalar.
    pub(crate) fn untyped(self) -> Option<Untyped<'t>> {
        match &self.stored().data {
            Data::Scalar(text, Style::Plain) => Some(resolve::plain(text)),
            Data::Scalar(text, _) => Some(Untyped::Text(text)),
            _ => None,
        }
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(self) -> impl ExactSizeIterator<Item = Node<'t>> + Clone {
        let ids = match self.stored().data {
            Data::List(from, to) => &self.tree.children[from as usize..to as usize],
            _ => &[],
        };
        ids.iter().map(move |&id| Node { tree: self.tree, id })
    }

    /// The entries of a map, in the order written; none for anything else.
    pub(crate) fn entries(self) -> impl ExactSizeIterator<Item = (Node<'t>, Node<'t>)> + Clone {
        let ids = match self.stored().data {
            Data::Map(from, to) => &self.tree.children[from as usize..to as usize],
            _ => &[],
        };
        // Keys and values alternate, so every chunk has two.
        ids.chunks_exact(2)
            .map(move |pair| (Node { tree: self.tree, id: pair[0] }, Node { tree: self.tree, id: pair[1] }))
    }

    /// The value under `key`.
    pub(crate) fn get(self, key: &str) -> Option<Node<'t>> {
        self.entries().find(|(name, _)| name.key() == key).map(|(_, value)| value)
    }

    /// The text of a key. Keys are scalars; an empty or null one is its raw text.
    pub(crate) fn key(self) -> &'t str {
        match &self.stored().data {
            Data::Scalar(text, _) => text,
            _ => "",
        }
    }
}
