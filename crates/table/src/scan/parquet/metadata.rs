//! The footer of a Parquet file: its schema, and where the bytes of each column are.
//!
//! Specification: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>. Read by us
//! and not by the `parquet` crate, because there a damaged footer can panic or claim memory.

use super::thrift::{Field, Read, Thrift};

/// Schemas nested deeper are refused.
const MAX_DEPTH: u32 = 40;

/// What a footer says.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The columns of the table.
    pub(super) columns: Vec<Element>,
    pub(super) groups: Vec<Group>,
    /// Whether some of it cannot be read without a key.
    pub(super) encrypted: bool,
}

/// A node of the schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) repetition: Repetition,
    pub(super) meaning: Meaning,
    /// The number of the physical type. Nodes without one are groups.
    pub(super) physical: Option<i64>,
    /// Bytes of a value of fixed length.
    pub(super) length: i32,
    pub(super) children: Vec<Element>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Repetition {
    #[default]
    Required,
    Optional,
    Repeated,
}

/// What the values of a node stand for, beyond their physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Meaning {
    #[default]
    Plain,
    Text,
    Json,
    Unsigned,
    /// Divided by 10 to this power.
    Decimal(u32),
    Date,
    Time(Unit),
    Timestamp(Unit),
    Uuid,
    Float16,
    Interval,
    List,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milli,
    Micro,
    Nano,
}

impl Unit {
    /// How many nanoseconds it has.
    pub(super) fn nanos(self) -> i64 {
        match self {
            Self::Milli => 1_000_000,
            Self::Micro => 1_000,
            Self::Nano => 1,
        }
    }
}

/// Some rows, column after column.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: u64,
    /// One for each leaf of the schema.
    pub(super) chunks: Vec<Chunk>,
}

/// The pages of one column of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chunk {
    pub(super) codec: i64,
    pub(super) start: u64,
    pub(super) len: u64,
    /// Bytes when decompressed, as the file says.
    pub(super) unpacked: u64,
    /// Whether the bytes are in another file.
    pub(super) elsewhere: bool,
}

impl Metadata {
    pub(super) fn read(footer: &[u8]) -> Read<Self> {
        let mut nodes: Option<Vec<(Element, u64)>> = None;
        let mut groups = None;
        let mut encrypted = false;
        Thrift::new(footer).structure(|id, field| {
            match id {
                2 => nodes = Some(list(field, node)?),
                4 => groups = Some(list(field, group)?),
                8 => {
                    encrypted = true;
                    field.skip()?;
                }
                _ => field.skip()?,
            }
            Ok(())
        })?;
        let mut nodes = nodes.ok_or("the footer has no schema")?.into_iter();
        let (_, children) = nodes.next().ok_or("the schema is empty")?;
        let columns = tree(&mut nodes, children, 0)?;
        if nodes.next().is_some() {
            return Err("the schema has more nodes than its groups");
        }
        let groups = groups.ok_or("the footer has no row groups")?;
        let leaves = columns.iter().map(Element::leaves).sum::<usize>();
        if groups.iter().any(|group: &Group| group.chunks.len() != leaves) {
            return Err("a row group has another number of columns than the schema");
        }
        Ok(Self { columns, groups, encrypted })
    }
}

impl Element {
    /// How many columns of bytes it has.
    pub(super) fn leaves(&self) -> usize {
        if self.physical.is_some() { 1 } else { self.children.iter().map(Self::leaves).sum() }
    }
}

fn list<T>(field: Field<'_, '_>, read: impl Fn(Field<'_, '_>) -> Read<T>) -> Read<Vec<T>> {
    let mut items = Vec::new();
    field.list(|item| read(item).map(|item| items.push(item)))?;
    Ok(items)
}

/// Makes a tree of nodes that stand in the order of a walk through it.
fn tree(nodes: &mut impl Iterator<Item = (Element, u64)>, count: u64, depth: u32) -> Read<Vec<Element>> {
    if depth == MAX_DEPTH {
        return Err("the schema is nested too deep");
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        let (mut element, children) = nodes.next().ok_or("the schema has fewer nodes than its groups")?;
        element.children = tree(nodes, children, depth + 1)?;
        if element.physical.is_some() != element.children.is_empty() {
            return Err("a node of the schema is neither a column nor a group");
        }
        elements.push(element);
    }
    Ok(elements)
}

fn node(field: Field<'_, '_>) -> Read<(Element, u64)> {
    let mut element = Element::default();
    let (mut children, mut scale) = (0, 0);
    let (mut converted, mut logical) = (None, None);
    field.structure(|id, field| {
        match id {
            1 => element.physical = Some(field.int()?),
            2 => element.length = i32::try_from(field.int()?).map_err(|_| "a length is too large")?,
            3 => {
                element.repetition = match field.int()? {
                    0 => Repetition::Required,
                    1 => Repetition::Optional,
                    2 => Repetition::Repeated,
                    _ => return Err("a repetition is unknown"),
                }
            }
            4 => element.name = field.text()?,
            5 => children = field.size()?,
            6 => converted = Some(field.int()?),
            7 => scale = field.int()?,
            10 => logical = logical_type(field)?,
            _ => field.skip()?,
        }
        Ok(())
    })?;
    // Some writers give columns no children explicitly.
    if element.physical.is_some() && children > 0 {
        return Err("a column of the schema has children");
    }
    element.meaning = logical.or_else(|| converted_type(converted?, scale)).unwrap_or_default();
    Ok((element, children))
}

fn power(scale: i64) -> Meaning {
    // More than 38 digits no value has; a negative scale is not allowed.
    Meaning::Decimal(u32::try_from(scale).unwrap_or(0).min(38))
}

/// The older annotation.
fn converted_type(number: i64, scale: i64) -> Option<Meaning> {
    Some(match number {
        0 | 4 => Meaning::Text,
        1 | 2 => Meaning::Map,
        3 => Meaning::List,
        5 => power(scale),
        6 => Meaning::Date,
        7 => Meaning::Time(Unit::Milli),
        8 => Meaning::Time(Unit::Micro),
        9 => Meaning::Timestamp(Unit::Milli),
        10 => Meaning::Timestamp(Unit::Micro),
        11..=14 => Meaning::Unsigned,
        19 => Meaning::Json,
        21 => Meaning::Interval,
        _ => return None,
    })
}

/// The newer annotation: a structure of which one field is set.
fn logical_type(field: Field<'_, '_>) -> Read<Option<Meaning>> {
    let mut meaning = None;
    field.structure(|id, field| {
        meaning =
            match id {
                1 | 4 => Some(Meaning::Text),
                2 => Some(Meaning::Map),
                3 => Some(Meaning::List),
                5 => {
                    let mut scale = 0;
                    field.structure(
                        |id, field| if id == 1 { field.int().map(|value| scale = value) } else { field.skip() },
                    )?;
                    meaning = Some(power(scale));
                    return Ok(());
                }
                6 => Some(Meaning::Date),
                7 => {
                    meaning = unit(field)?.map(Meaning::Time);
                    return Ok(());
                }
                8 => {
                    meaning = unit(field)?.map(Meaning::Timestamp);
                    return Ok(());
                }
                10 => {
                    let mut signed = true;
                    field.structure(|id, field| {
                        if id == 2 { field.boolean().map(|value| signed = value) } else { field.skip() }
                    })?;
                    meaning = Some(if signed { Meaning::Plain } else { Meaning::Unsigned });
                    return Ok(());
                }
                12 => Some(Meaning::Json),
                14 => Some(Meaning::Uuid),
                15 => Some(Meaning::Float16),
                _ => None,
            };
        field.skip()
    })?;
    Ok(meaning)
}

fn unit(field: Field<'_, '_>) -> Read<Option<Unit>> {
    let mut found = None;
    field.structure(|id, field| match id {
        2 => field.structure(|id, field| {
            found = match id {
                1 => Some(Unit::Milli),
                2 => Some(Unit::Micro),
                3 => Some(Unit::Nano),
                _ => None,
            };
            field.skip()
        }),
        _ => field.skip(),
    })?;
    Ok(found)
}

fn group(field: Field<'_, '_>) -> Read<Group> {
    let (mut rows, mut chunks) = (None, None);
    field.structure(|id, field| {
        match id {
            1 => chunks = Some(list(field, chunk)?),
            3 => rows = Some(field.size()?),
            _ => field.skip()?,
        }
        Ok(())
    })?;
    Ok(Group {
        rows: rows.ok_or("a row group has no number of rows")?,
        chunks: chunks.ok_or("a row group has no columns")?,
    })
}

fn chunk(field: Field<'_, '_>) -> Read<Chunk> {
    let mut chunk = Chunk::default();
    let (mut data, mut dictionary) = (None, None);
    field.structure(|id, field| match id {
        1 => {
            chunk.elsewhere = true;
            field.skip()
        }
        3 => field.structure(|id, field| {
            match id {
                4 => chunk.codec = field.int()?,
                6 => chunk.unpacked = field.size()?,
                7 => chunk.len = field.size()?,
                9 => data = Some(field.size()?),
                11 => dictionary = Some(field.size()?),
                _ => field.skip()?,
            }
            Ok(())
        }),
        _ => field.skip(),
    })?;
    let data = data.ok_or("a column has no pages")?;
    // Some writers say 0 where there is no dictionary.
    chunk.start = dictionary.filter(|start| *start > 0).map_or(data, |start| start.min(data));
    Ok(chunk)
}
