//! Columns that hold structures, lists or maps: their leaves are put together again, as JSON text.
//!
//! A leaf has an entry for each value, and for each null or empty list on the way to one. Its definition level says
//! how far the way exists, its repetition level which list goes on (Melnik et al., *Dremel*, 2010).

use std::collections::BTreeMap;

use super::column::Entries;
use super::leaf::Leaf;
use super::metadata::{Element, Meaning, Repetition};
use crate::value::json;

/// Why leaves do not fit together.
const TORN: &str = "the levels of a nested column do not fit together";
/// The longest text of one batch.
const MAX_TEXT: usize = 1 << 30;

/// A node of the schema, ready to be read.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    repetition: Repetition,
    /// The definition level from which on it exists, and the repetition level at which it goes on.
    def: u8,
    rep: u8,
    /// Its leaves. The first one tells whether it exists.
    leaves: std::ops::Range<usize>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Leaf,
    /// Fields in the order of their names.
    Structure(Vec<Node>),
    /// A key and a value, of which a repetition is an object.
    Pair(Box<Node>, Box<Node>),
    /// A group that only stands around something.
    Around(Box<Node>),
}

/// What the group above says of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Field,
    Items,
    Pairs,
}

impl Node {
    /// Reads a column of the schema; its leaves are added to `leaves`.
    pub(super) fn new(column: &Element, leaves: &mut Vec<Leaf>) -> Result<Self, &'static str> {
        Self::below(column, Role::Field, (0, 0), leaves)
    }

    fn below(
        element: &Element,
        role: Role,
        (def, rep): (u8, u8),
        leaves: &mut Vec<Leaf>,
    ) -> Result<Self, &'static str> {
        let (def, rep) = match element.repetition {
            Repetition::Required => (def, rep),
            Repetition::Optional => (def + 1, rep),
            Repetition::Repeated => (def + 1, rep + 1),
        };
        let first = leaves.len();
        let is_single = matches!(element.children.as_slice(), [child] if child.repetition == Repetition::Repeated);
        let role_below = match element.meaning {
            Meaning::List if is_single => Role::Items,
            Meaning::Map if is_single => Role::Pairs,
            _ => Role::Field,
        };
        let mut children = Vec::new();
        for child in &element.children {
            children.push(Self::below(child, role_below, (def, rep), leaves)?);
        }
        let content = if element.physical.is_some() {
            leaves.push(Leaf::new(element, def, rep)?);
            Content::Leaf
        } else {
            content(element, role, role_below, children)
        };
        let leaves = first..leaves.len();
        Ok(Self { name: element.name.clone(), repetition: element.repetition, def, rep, leaves, content })
    }
}

fn content(element: &Element, role: Role, below: Role, mut children: Vec<Node>) -> Content {
    // Older writers leave the group out that stands around the items of a list, and name what they repeat so.
    let is_item = element.name == "array" || element.name.ends_with("_tuple");
    match (role, children.len()) {
        (Role::Items, 1) if !is_item => Content::Around(Box::new(children.remove(0))),
        (Role::Pairs, 2) => {
            let value = Box::new(children.remove(1));
            Content::Pair(Box::new(children.remove(0)), value)
        }
        _ if below != Role::Field => Content::Around(Box::new(children.remove(0))),
        _ => {
            children.sort_by(|a, b| a.name.cmp(&b.name));
            Content::Structure(children)
        }
    }
}

/// Texts of some rows, behind each other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    /// Where the text of each row ends, and whether it has one.
    rows: Vec<(usize, bool)>,
}

impl Texts {
    /// Puts rows together, in place of those that are here.
    pub(super) fn assemble(
        &mut self,
        node: &Node,
        leaves: &[Leaf],
        entries: &[Entries],
        rows: usize,
    ) -> Result<(), &'static str> {
        self.text.clear();
        self.rows.clear();
        let mut walk = Walk { leaves, entries, places: vec![(0, 0); leaves.len()], scratch: String::new() };
        for _ in 0..rows {
            let exists = node.repetition == Repetition::Repeated || walk.level(node)? >= node.def;
            walk.write(node, &mut self.text)?;
            if self.text.len() > MAX_TEXT {
                return Err("the rows of a nested column are too long");
            }
            self.rows.push((self.text.len(), exists));
        }
        Ok(())
    }

    /// Calls `each` with the number and text of each row that has one.
    pub(super) fn each(&self, mut each: impl FnMut(usize, &str)) {
        let mut start = 0;
        for (row, (end, exists)) in self.rows.iter().enumerate() {
            if *exists {
                each(row, &self.text[start..*end]);
            }
            start = *end;
        }
    }
}

/// Goes through the entries of all leaves at once.
struct Walk<'a> {
    leaves: &'a [Leaf],
    entries: &'a [Entries],
    /// For each leaf, the next entry and the next value.
    places: Vec<(usize, usize)>,
    scratch: String,
}

impl Walk<'_> {
    /// The definition level of the next entry of a node.
    fn level(&self, node: &Node) -> Result<u8, &'static str> {
        let first = node.leaves.start;
        let entries = self.entries.get(first).ok_or(TORN)?;
        // Leaves that are always there have no levels.
        if self.leaves[first].max_def == 0 {
            return Ok(0);
        }
        entries.def.get(self.places[first].0).copied().ok_or(TORN)
    }

    /// Whether the next entry goes on with the list that a node is.
    fn goes_on(&self, node: &Node) -> bool {
        let first = node.leaves.start;
        self.entries[first].rep.get(self.places[first].0).is_some_and(|rep| *rep >= node.rep)
    }

    /// Passes over the entries that say that a node does not exist.
    fn pass(&mut self, node: &Node) -> Result<(), &'static str> {
        for leaf in node.leaves.clone() {
            let (entry, value) = &mut self.places[leaf];
            let def = self.entries[leaf].def.get(*entry).ok_or(TORN)?;
            *value += usize::from(*def == self.leaves[leaf].max_def);
            *entry += 1;
        }
        Ok(())
    }

    fn write(&mut self, node: &Node, out: &mut String) -> Result<(), &'static str> {
        let exists = self.level(node)? >= node.def;
        match (node.repetition, &node.content) {
            (Repetition::Repeated, Content::Pair(key, value)) => self.write_object(node, key, value, exists, out),
            (Repetition::Repeated, _) => self.write_array(node, exists, out),
            _ if exists => self.write_content(node, out),
            _ => {
                out.push_str("null");
                self.pass(node)
            }
        }
    }

    fn write_array(&mut self, node: &Node, exists: bool, out: &mut String) -> Result<(), &'static str> {
        out.push('[');
        if exists {
            self.write_content(node, out)?;
            while self.goes_on(node) {
                out.push(',');
                self.write_content(node, out)?;
            }
        } else {
            self.pass(node)?;
        }
        out.push(']');
        Ok(())
    }

    /// The last of equal keys counts, as it does in JSON.
    fn write_object(
        &mut self,
        node: &Node,
        key: &Node,
        value: &Node,
        exists: bool,
        out: &mut String,
    ) -> Result<(), &'static str> {
        let mut pairs = BTreeMap::new();
        if exists {
            loop {
                let (mut name, mut text) = (String::new(), String::new());
                self.write(key, &mut name)?;
                self.write(value, &mut text)?;
                if !name.starts_with('"') {
                    let plain = std::mem::take(&mut name);
                    json::write_text(&plain, &mut name);
                }
                pairs.insert(name, text);
                if !self.goes_on(node) {
                    break;
                }
            }
        } else {
            self.pass(node)?;
        }
        out.push('{');
        for (at, (name, text)) in pairs.iter().enumerate() {
            out.push_str(if at > 0 { "," } else { "" });
            out.push_str(name);
            out.push(':');
            out.push_str(text);
        }
        out.push('}');
        Ok(())
    }

    fn write_content(&mut self, node: &Node, out: &mut String) -> Result<(), &'static str> {
        match &node.content {
            Content::Leaf => self.write_leaf(node.leaves.start, out),
            Content::Around(inner) => self.write(inner, out),
            Content::Structure(fields) => {
                out.push('{');
                for (at, field) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    json::write_text(&field.name, out);
                    out.push(':');
                    self.write(field, out)?;
                }
                out.push('}');
                Ok(())
            }
            Content::Pair(key, value) => {
                out.push('[');
                self.write(key, out)?;
                out.push(',');
                self.write(value, out)?;
                out.push(']');
                Ok(())
            }
        }
    }

    fn write_leaf(&mut self, leaf: usize, out: &mut String) -> Result<(), &'static str> {
        let entries = &self.entries[leaf];
        let (entry, value) = &mut self.places[leaf];
        if *value >= entries.values.len() {
            return Err(TORN);
        }
        json::write_value(entries.value(&self.leaves[leaf], *value, &mut self.scratch), out);
        *entry += 1;
        *value += 1;
        Ok(())
    }
}
