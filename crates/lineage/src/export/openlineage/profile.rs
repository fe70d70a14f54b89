//! What a table is like, as far as facets tell of it. Whoever makes profiles keeps more; here is what is read of them.

use std::collections::BTreeMap;

use runstone_core::record::MaterializationRecord;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::facet;

/// A table. Unknown fields are left alone, so that a profile may hold more than this.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// How many rows, where known.
    pub rows: Option<u64>,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
}

/// A column. Only its name must be known.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, in the words of whoever looked at it.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Rows without a value.
    #[serde(default)]
    pub nulls: Option<u64>,
    /// How many different values there are.
    #[serde(default)]
    pub distinct: Option<u64>,
    /// Rows with a value.
    #[serde(default)]
    pub count: Option<u64>,
    /// Sum of the values.
    #[serde(default)]
    pub sum: Option<f64>,
    /// The smallest number.
    #[serde(default)]
    pub min: Option<f64>,
    /// The largest number.
    #[serde(default)]
    pub max: Option<f64>,
    /// Quantile → value, such as `0.5`.
    #[serde(default)]
    pub quantiles: BTreeMap<String, f64>,
}

impl Profile {
    /// Reads what is on record. None where that is something else.
    #[must_use]
    pub fn read(body: &Value) -> Option<Self> {
        Self::deserialize(body).ok().filter(|profile| !profile.columns.is_empty())
    }
}

pub(super) fn schema(profile: &Profile) -> Value {
    let field = |(position, column): (usize, &Column)| {
        let mut field = json!({"name": column.name, "ordinal_position": position});
        if let Some(kind) = &column.kind {
            field["type"] = json!(kind);
        }
        field
    };
    let fields: Vec<Value> = (1..).zip(&profile.columns).map(field).collect();
    facet("1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet", json!({"fields": fields}))
}

pub(super) fn quality(profile: &Profile, of: &MaterializationRecord) -> Value {
    let metrics: Map<String, Value> =
        profile.columns.iter().map(|column| (column.name.clone(), metrics(column))).collect();
    let fields = json!({
        "rowCount": profile.rows.or(of.rows),
        "bytes": of.size,
        "fileCount": of.files,
        "columnMetrics": metrics,
    });
    facet("1-0-0/DataQualityMetricsDatasetFacet.json#/$defs/DataQualityMetricsDatasetFacet", fields)
}

/// Without what is not known, and without what is no number for JSON.
fn metrics(column: &Column) -> Value {
    let quantiles: Map<String, Value> =
        column.quantiles.iter().map(|(at, value)| (at.clone(), json!(value))).filter(|(_, it)| !it.is_null()).collect();
    let all = [
        ("nullCount", json!(column.nulls)),
        ("distinctCount", json!(column.distinct)),
        ("count", json!(column.count)),
        ("sum", json!(column.sum)),
        ("min", json!(column.min)),
        ("max", json!(column.max)),
        ("quantiles", if quantiles.is_empty() { Value::Null } else { Value::Object(quantiles) }),
    ];
    all.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}
