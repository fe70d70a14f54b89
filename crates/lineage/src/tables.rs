//! Versions that are tables: found by the names of their files, profiled and compared by `runstone-table`.
//!
//! A file is a table where its name ends like one; a folder where all of its files do, in the same format. Files whose
//! names begin with `.` or `_` say something about the others and are passed over.

use std::sync::atomic::AtomicBool;

use runstone_core::hash::ContentHash;
use runstone_core::record::{ContentKind, MaterializationRecord};
use runstone_core::store::Store;
use runstone_core::time::Timestamp;
use runstone_exec::objects::tree::TreeItem;
use runstone_exec::objects::{ObjectError, ObjectStore};
use runstone_table::{ColumnProfile, ColumnType, Format, Part, Profile, ReadOptions, Scalar, Table, TableError};
use serde::Serialize;

use crate::view::reference;
use crate::{Error, Kind, Result};

/// The table that content holds under a file name; none where it is something else.
///
/// # Errors
/// Where the trees of a folder are not in the store.
pub fn of_content(
    objects: &ObjectStore,
    hash: ContentHash,
    kind: ContentKind,
    file_name: &str,
) -> std::result::Result<Option<Table>, ObjectError> {
    if kind == ContentKind::File {
        let part = || Part::file(objects.path(hash)).named(file_name);
        return Ok(Format::of_name(file_name).map(|format| Table::new(format, vec![part()])));
    }
    let (mut parts, mut format) = (Vec::new(), None);
    let mut folders = vec![(String::new(), hash)];
    while let Some((path, tree)) = folders.pop() {
        for entry in objects.entries(tree)? {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            match entry.item {
                TreeItem::Dir { hash, .. } => folders.push((format!("{path}{name}/"), hash)),
                _ if name.starts_with(['.', '_']) => {}
                TreeItem::File { hash, .. } => {
                    let found = Format::of_name(&name);
                    if found.is_none() || format.is_some_and(|format| Some(format) != found) {
                        return Ok(None);
                    }
                    format = found;
                    parts.push((format!("{path}{name}"), hash));
                }
                TreeItem::Symlink { .. } => return Ok(None),
            }
        }
    }
    parts.sort();
    let part = |(name, hash): (String, ContentHash)| Part::file(objects.path(hash)).named(name);
    Ok(format.map(|format| Table::new(format, parts.into_iter().map(part).collect())))
}

/// What is known of a table, from one pass over it.
///
/// # Errors
/// Where it cannot be read as what its name says, or `stop` was set.
pub fn profile(table: &Table, stop: Option<&AtomicBool>) -> std::result::Result<Profile, TableError> {
    runstone_table::profile(table, &ReadOptions { stop, ..ReadOptions::default() })
}

/// The profile of a version: the one on record, else worked out now and put on record.
///
/// # Errors
/// Where the version is no table, or its bytes are gone or cannot be read.
pub fn of_version(
    store: &mut dyn Store,
    objects: &ObjectStore,
    version: &MaterializationRecord,
    again: bool,
    now: Timestamp,
) -> Result<Profile> {
    if !again
        && let Some((_, known)) = store.profiles(&[version.id])?.pop()
        // One of another version of this program is made anew.
        && let Ok(profile) = Profile::from_json(&known.to_string())
    {
        return Ok(profile);
    }
    let name = reference(&version.dataset, &version.subset, version.version);
    let table = of_content(objects, version.hash, version.kind, &version.file_name)?.ok_or_else(|| {
        Error::new(Kind::Refused, format!("{name} is no table"))
            .hint("files that end in .csv, .tsv, .jsonl or .parquet are, and folders of such")
    })?;
    if version.kind == ContentKind::File {
        objects.open_checked(version.hash)?;
    }
    let profile = profile(&table, None)
        .map_err(|error| Error::new(Kind::Refused, format!("{name} cannot be profiled")).because(error))?;
    let body = serde_json::from_str(&profile.to_json()).expect("a profile is JSON");
    store.set_profile(version.id, &body, now)?;
    Ok(profile)
}

/// A profile as programs get it: numbers instead of sketches.
#[derive(Debug, Clone, Serialize)]
pub struct ProfileView {
    /// How many rows.
    pub rows: u64,
    /// Rows with more or fewer cells than the header.
    pub ragged_rows: u64,
    /// Cells or lines that are not UTF-8.
    pub invalid_utf8: u64,
    /// Lines that are no JSON object.
    pub bad_lines: u64,
    /// In the order of the table.
    pub columns: Vec<ColumnView>,
}

/// A column as programs get it.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnView {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Rows without a value.
    pub nulls: u64,
    /// How many different values.
    pub distinct: u64,
    /// Whether that is exact; else it is off by about 2 %.
    pub distinct_is_exact: bool,
    /// The smallest value; none of columns without an order, such as texts.
    pub min: Option<serde_json::Value>,
    /// The largest value.
    pub max: Option<serde_json::Value>,
    /// The mean of numbers.
    pub mean: Option<f64>,
    /// Their standard deviation.
    pub deviation: Option<f64>,
    /// Quantiles of numbers and times: share and value.
    pub quantiles: Vec<(f64, f64)>,
    /// The mean length of texts, in characters.
    pub mean_length: Option<f64>,
    /// The most frequent values: value and how often at least.
    pub top: Vec<(serde_json::Value, u64)>,
}

/// Shares of which quantiles are told.
const SHARES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// How many of the most frequent values are told.
const TOP: usize = 5;

impl From<&Profile> for ProfileView {
    fn from(profile: &Profile) -> Self {
        let problems = profile.problems();
        Self {
            rows: profile.rows(),
            ragged_rows: problems.ragged_rows,
            invalid_utf8: problems.invalid_utf8,
            bad_lines: problems.bad_lines,
            columns: profile.columns().iter().map(ColumnView::from).collect(),
        }
    }
}

impl From<&ColumnProfile> for ColumnView {
    fn from(column: &ColumnProfile) -> Self {
        let distinct = column.distinct();
        // Words that look like numbers say nothing of a column of words.
        let has_order = !matches!(column.column_type(), ColumnType::Text | ColumnType::Json | ColumnType::Mixed);
        let ordered = |value: Option<Scalar>| value.filter(|_| has_order).as_ref().map(plain);
        let number = |number: Option<f64>| number.filter(|_| has_order);
        Self {
            name: column.name().to_owned(),
            kind: column.column_type().to_string(),
            nulls: column.nulls(),
            distinct: distinct.count,
            distinct_is_exact: distinct.exact,
            min: ordered(column.min()),
            max: ordered(column.max()),
            mean: number(column.mean()),
            deviation: number(column.variance()).map(f64::sqrt),
            quantiles: SHARES.iter().filter_map(|share| Some((*share, number(column.quantile(*share))?))).collect(),
            mean_length: column.mean_length(),
            top: column.top(TOP).into_iter().map(|top| (plain(&top.value), top.count)).collect(),
        }
    }
}

/// A value as JSON spells it; what JSON has no spelling for is text.
fn plain(value: &Scalar) -> serde_json::Value {
    match value {
        Scalar::Null => serde_json::Value::Null,
        Scalar::Boolean(value) => (*value).into(),
        Scalar::Integer(value) => i64::try_from(*value).map_or_else(|_| value.to_string().into(), Into::into),
        Scalar::Float(value) if value.is_finite() => (*value).into(),
        Scalar::Float(_) | Scalar::Date(_) | Scalar::Timestamp(_) | Scalar::Text(_) | Scalar::Json(_) => {
            value.to_string().into()
        }
    }
}
