//! Datasets that were read and written, each with the exact version, which part of it, and what it is like.

use runstone_core::cell::Cell;
use runstone_core::record::MaterializationRecord;
use serde_json::{Map, Value, json};

use super::{Known, facet, facets};
use crate::facts::Facts;

/// What was read. A publication that was read under several names is one input.
pub(super) fn inputs(facts: &Facts, known: &Known<'_>) -> Vec<Value> {
    let mut inputs: Vec<Value> = Vec::new();
    let mut last = None;
    // In the order of publications.
    for (_, read) in &facts.inputs {
        if last.replace(read.id) != Some(read.id) {
            inputs.push(input(read, known));
        }
    }
    inputs
}

fn input(read: &MaterializationRecord, known: &Known<'_>) -> Value {
    let subset = subset("InputSubsetInputDatasetFacet", "inputCondition", &read.subset);
    let schema = "1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet";
    json!({
        "namespace": known.naming.namespace(),
        "name": read.dataset,
        "facets": facets([("version", Some(version(read))), ("storage", Some(storage(read)))]),
        "inputFacets": facets([("inputStatistics", Some(facet(schema, statistics(read)))), ("subset", subset)]),
    })
}

pub(super) fn output(made: &MaterializationRecord, known: &Known<'_>) -> Value {
    let profile = known.profiles.get(&made.id);
    let subset = subset("OutputSubsetOutputDatasetFacet", "outputCondition", &made.subset);
    let schema = "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet";
    json!({
        "namespace": known.naming.namespace(),
        "name": made.dataset,
        "facets": facets([
            ("version", Some(version(made))),
            ("storage", Some(storage(made))),
            ("schema", profile.map(super::profile::schema)),
            ("dataQualityMetrics", profile.map(|profile| super::profile::quality(profile, made))),
        ]),
        "outputFacets": facets([("outputStatistics", Some(facet(schema, statistics(made)))), ("subset", subset)]),
    })
}

fn version(of: &MaterializationRecord) -> Value {
    let fields = json!({"datasetVersion": of.hash.to_string()});
    facet("1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", fields)
}

fn statistics(of: &MaterializationRecord) -> Value {
    json!({"rowCount": of.rows, "size": of.size, "fileCount": of.files})
}

/// It lies in our content store, whatever its own format is.
fn storage(of: &MaterializationRecord) -> Value {
    let extension = of.file_name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let format = extension.as_deref().and_then(|extension| match extension {
        "parquet" | "orc" | "avro" | "json" | "csv" | "xml" => Some(extension),
        "jsonl" | "ndjson" => Some("json"),
        "tsv" => Some("csv"),
        "txt" | "md" | "log" => Some("text"),
        _ => None,
    });
    let fields = json!({"storageLayer": "runstone", "fileFormat": format});
    facet("1-0-1/StorageDatasetFacet.json#/$defs/StorageDatasetFacet", fields)
}

/// The cell or partition that a version is of; none where it is of the whole.
fn subset(definition: &str, condition: &str, subset: &str) -> Option<Value> {
    if subset.is_empty() {
        return None;
    }
    let cell = Cell::parse(subset);
    let dimensions: Map<String, Value> =
        cell.values().iter().map(|(axis, value)| (axis.to_string(), json!(value))).collect();
    let partition = json!({"identifier": subset, "dimensions": dimensions});
    let fields = json!({condition: {"type": "partition", "partitions": [partition]}});
    Some(facet(&format!("1-0-0/BaseSubsetDatasetFacet.json#/$defs/{definition}"), fields))
}
