//! `matrix:`: axes, and cells to add or leave out. Counted by multiplication, never expanded here.

use super::{Code, Decoder, Diagnostic, Form, HashMap, IndexMap, Name, Node, shown};
use crate::scalar::Scalar;
use crate::spec::fields::Block;
use crate::spec::model::Matrix;
use crate::spec::params::{literal, value};

/// Axes and keywords of one matrix.
const MOST_AXES: usize = 100;
/// The longest value of an axis as text, in bytes: it becomes part of a cell's key.
const LONGEST_VALUE: usize = 256;
/// How many comparisons of cells with `include` and `exclude` are worth waiting for.
const MOST_COMPARISONS: u64 = 100_000_000;

type Cell = IndexMap<Name, Scalar>;

impl<'t> Decoder<'t, '_> {
    pub(super) fn matrix(&mut self, block: Option<Node<'t>>) -> Option<Matrix> {
        let block = block.filter(|block| block.form() == Form::Map)?;
        if block.entries().len() > MOST_AXES {
            let message = format!("a matrix with more than {MOST_AXES} axes");
            self.push(Diagnostic::error(Code::TooMany, block.span(), message));
            return None;
        }
        let mut axes = IndexMap::new();
        let mut spellings = HashMap::new();
        for (key, values) in block.entries().filter(|(key, _)| Block::Matrix.field(key.key()).is_none()) {
            self.collision(&mut spellings, key, "matrix");
            let Some(name) = self.name(key) else { continue };
            let values = self.axis(&name, key, values);
            axes.insert(name, values);
        }
        self.keyword_as_axis(block);
        if !self.count_cells(block, &axes) {
            return None;
        }
        let include = self.cells(block.get("include"), None);
        let exclude = self.cells(block.get("exclude"), Some(&axes));
        let min_success = block.get("min_success").and_then(|node| self.whole(node));
        Some(Matrix { axes, include, exclude, min_success })
    }

    fn axis(&mut self, name: &Name, key: Node<'t>, list: Node<'t>) -> Vec<Scalar> {
        if list.form() == Form::List && list.items().len() == 0 {
            let message = format!("axis `{name}` has no values, so that the step would never run");
            self.push(Diagnostic::error(Code::BadValue, key.span(), message));
        }
        let mut values = Vec::with_capacity(list.items().len());
        // By text, because that is what a cell's key is made of: `1` and `"1"` would be one cell.
        let mut seen: HashMap<String, Node<'t>> = HashMap::new();
        for node in list.items() {
            let Some(value) = self.cell_value(name.as_str(), node) else { continue };
            if let Some(first) = seen.insert(value.to_string(), node) {
                let message = format!("{} is on axis `{name}` twice", shown(&value.to_string()));
                self.push(
                    Diagnostic::error(Code::DuplicateKey, node.span(), message).also(first.span(), "first given here"),
                );
            }
            values.push(value);
        }
        values
    }

    /// A value of an axis. An axis that is called like a parameter replaces it, and must be of its type.
    fn cell_value(&mut self, axis: &str, node: Node<'t>) -> Option<Scalar> {
        let scalar = literal(node)?;
        let text = scalar.to_string();
        if text.len() > LONGEST_VALUE || text.chars().any(char::is_control) {
            let message = format!("values of a matrix are single lines of at most {LONGEST_VALUE} bytes");
            self.push(Diagnostic::error(Code::BadValue, node.span(), message));
            return None;
        }
        if let Some(param) = self.params.get(axis) {
            let typed = value(param.kind, node.text()?, node.untyped()?);
            let typed = typed.and_then(|typed| param.admits(&typed).map(|()| typed));
            match typed {
                Ok(typed) => return Some(typed),
                Err(problem) => {
                    self.push(problem.at(node.span()).help(format!("axis `{axis}` replaces the parameter `{axis}`")));
                    return None;
                }
            }
        }
        Some(scalar)
    }

    /// A list of plain values under a keyword is an axis with a name that is taken.
    fn keyword_as_axis(&mut self, block: Node<'t>) {
        for (key, value) in block.entries().filter(|(key, _)| Block::Matrix.field(key.key()).is_some()) {
            if value.form() == Form::List && value.items().any(|item| item.form() == Form::Scalar) {
                let message = format!("`{}` is a keyword of `matrix` and cannot be an axis", key.key());
                self.push(Diagnostic::error(Code::Conflict, key.span(), message).help("give the axis another name"));
            }
        }
    }

    /// Whether the matrix is within the limits; nothing has been allocated for its cells.
    fn count_cells(&mut self, block: Node<'t>, axes: &IndexMap<Name, Vec<Scalar>>) -> bool {
        let length = |field: &str| block.get(field).map_or(0, |list| list.items().len() as u64);
        let product = axes.values().try_fold(1u64, |product, values| product.checked_mul(values.len() as u64));
        let product = if axes.is_empty() { 0 } else { product.unwrap_or(u64::MAX) };
        let cells = product.saturating_add(length("include"));
        let comparisons = product.saturating_mul(length("include") + length("exclude"));
        self.cells = self.cells.saturating_add(cells);
        let most = self.options.max_cells;
        let message = if cells > most {
            format!(
                "this matrix has {} cells, more than {most}",
                if product == u64::MAX { "2^64".to_owned() } else { cells.to_string() }
            )
        } else if self.cells > most {
            format!("the matrices of the pipeline have {} cells up to here, more than {most}", self.cells)
        } else if comparisons > MOST_COMPARISONS {
            "too many `include` and `exclude` for a matrix of this size".to_owned()
        } else if cells == 0 && axes.is_empty() {
            let message = "a matrix needs an axis: a name and a list of values";
            self.push(Diagnostic::error(Code::Missing, block.span(), message));
            return false;
        } else {
            let min =
                block.get("min_success").filter(|node| self.whole(*node).is_some_and(|min| u64::from(min) > cells));
            if let Some(node) = min {
                let message = format!("there are only {cells} cells");
                self.push(Diagnostic::error(Code::OutOfRange, node.span(), message));
            }
            return true;
        };
        self.push(Diagnostic::error(Code::MatrixTooLarge, block.span(), message));
        false
    }

    /// The maps of `include` or `exclude`. Those of `exclude` may only name axes.
    fn cells(&mut self, list: Option<Node<'t>>, axes: Option<&IndexMap<Name, Vec<Scalar>>>) -> Vec<Cell> {
        let mut cells = Vec::new();
        for map in list.into_iter().flat_map(Node::items).filter(|map| map.form() == Form::Map) {
            let mut cell = Cell::new();
            let mut spellings = HashMap::new();
            for (key, node) in map.entries() {
                self.collision(&mut spellings, key, "matrix");
                if let Some(axes) = axes.filter(|axes| !axes.contains_key(key.key())) {
                    let near = self.nearest(key.key(), axes.keys().map(Name::as_str));
                    let error = Diagnostic::error(
                        Code::UnknownKey,
                        key.span(),
                        format!("there is no axis {}", shown(key.key())),
                    );
                    self.push(error.did_you_mean(key.span(), near));
                } else if let (Some(name), Some(value)) = (self.name(key), self.cell_value(key.key(), node)) {
                    cell.insert(name, value);
                }
            }
            if map.entries().len() == 0 {
                self.push(Diagnostic::error(Code::BadValue, map.span(), "an empty cell means nothing"));
            }
            cells.push(cell);
        }
        cells
    }
}
