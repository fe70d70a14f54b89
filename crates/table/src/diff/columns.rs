//! Which columns two tables share, and how their schemas differ.

use serde::Serialize;

use crate::{ColumnType, Profile};

/// How the columns of two tables differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SchemaDiff {
    /// Columns that only the new table has.
    pub added: Vec<String>,
    /// Columns that only the old table has.
    pub removed: Vec<String>,
    /// Columns that have another type.
    pub retyped: Vec<Retyped>,
    /// Whether the columns that both have are in another order.
    pub reordered: bool,
}

/// A column with another type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retyped {
    /// Its name.
    pub column: String,
    /// Its type in the old table.
    pub old: ColumnType,
    /// Its type in the new table.
    pub new: ColumnType,
}

impl SchemaDiff {
    /// Whether the columns are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn of(old: &Profile, new: &Profile) -> Self {
        let missing = |from: &Profile, of: &Profile| -> Vec<String> {
            let missing = of.columns().iter().filter(|column| from.column(column.name()).is_none());
            missing.map(|column| column.name().to_owned()).collect()
        };
        let shared = |of: &Profile, with: &Profile| -> Vec<String> {
            let shared = of.columns().iter().filter(|column| with.column(column.name()).is_some());
            shared.map(|column| column.name().to_owned()).collect()
        };
        let retyped = old.columns().iter().filter_map(|column| {
            let (old, new) = (column.column_type(), new.column(column.name())?.column_type());
            (old != new).then(|| Retyped { column: column.name().to_owned(), old, new })
        });
        Self {
            added: missing(old, new),
            removed: missing(new, old),
            retyped: retyped.collect(),
            reordered: shared(old, new) != shared(new, old),
        }
    }
}

/// A column that both tables have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) name: String,
    /// Whether its values are compared as texts.
    pub(super) as_text: bool,
}

impl Shared {
    /// In the order of the old table.
    pub(super) fn of(old: &Profile, new: &Profile) -> Vec<Self> {
        let shared = old.columns().iter().filter_map(|column| {
            let types = [column.column_type(), new.column(column.name())?.column_type()];
            Some(Self { name: column.name().to_owned(), as_text: types.contains(&ColumnType::Text) })
        });
        shared.collect()
    }
}
