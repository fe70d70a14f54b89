//! Facets of a run, which is an attempt of ours: where it belongs, what was asked of it, how it failed.

use runstone_core::cell::Cell;
use runstone_core::partition::Key;
use runstone_core::record::{AttemptState, RunRecord};
use serde_json::{Value, json};

use super::{Known, facet, facets, with_origin};
use crate::asked::DerivationView;
use crate::facts::Facts;

/// Where the schema of our own facet stands.
const DERIVATION: &str = concat!(
    env!("CARGO_PKG_REPOSITORY"),
    "/blob/main/docs/openlineage/1-0-0/RunstoneDerivationRunFacet.json#/$defs/RunstoneDerivationRunFacet"
);

pub(super) fn facets_of(facts: &Facts, known: &Known<'_>, is_over: bool) -> Value {
    facets([
        ("parent", Some(parent(facts, known))),
        ("nominalTime", nominal_time(&facts.run, known)),
        ("processing_engine", Some(engine(&facts.run))),
        ("executionParameters", parameters(facts, known)),
        ("errorMessage", is_over.then(|| error(facts, known)).flatten()),
        ("runstone_derivation", Some(derivation(facts, known, is_over))),
    ])
}

/// The run as a whole, which is the root as well: nothing above it is known.
fn parent(facts: &Facts, known: &Known<'_>) -> Value {
    let run = json!({"runId": facts.run.id.to_string()});
    let job = json!({"namespace": known.naming.namespace(), "name": facts.run.pipeline});
    let root = json!({"run": run, "job": job});
    facet("1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet", json!({"run": run, "job": job, "root": root}))
}

/// From when to when the partition reaches, where it is one in time.
fn nominal_time(run: &RunRecord, known: &Known<'_>) -> Option<Value> {
    let key = Key::new(run.partition.as_deref()?).ok()?;
    let (start, end) = known.about?.partition.as_ref()?.bounds(&key)?;
    let fields = json!({"nominalStartTime": start.rfc3339(), "nominalEndTime": end.rfc3339()});
    Some(facet("1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet", fields))
}

fn engine(run: &RunRecord) -> Value {
    let version = match run.environment.tool_version.as_str() {
        "" => "unknown",
        version => version,
    };
    let fields = json!({
        "name": "runstone",
        "version": version,
        "openlineageAdapterVersion": env!("CARGO_PKG_VERSION"),
    });
    facet("1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet", fields)
}

/// Parameters that the step saw, its place in a matrix, and the partition, each with its kind in its key.
fn parameters(facts: &Facts, known: &Known<'_>) -> Option<Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let params = known.asked.iter().flat_map(|asked| &asked.params);
    let mut all: Vec<Value> = params
        .map(|(name, value)| json!({"key": format!("params.{name}"), "name": name, "value": text(value)}))
        .collect();
    for (axis, value) in Cell::parse(&facts.attempt.cell).values() {
        all.push(json!({"key": format!("cell.{axis}"), "name": axis.as_str(), "value": value.to_string()}));
    }
    if let Some(partition) = &facts.run.partition {
        all.push(json!({"key": "partition", "name": "partition", "value": partition}));
    }
    let fields = json!({"parameters": all});
    let schema = "1-0-0/ExecutionParametersRunFacet.json#/$defs/ExecutionParametersRunFacet";
    (!all.is_empty()).then(|| facet(schema, fields))
}

fn error(facts: &Facts, known: &Known<'_>) -> Option<Value> {
    let end = facts.attempt.end.as_ref().filter(|_| facts.attempt.state == AttemptState::Failed)?;
    let message = match (&end.message, end.exit_code, end.signal) {
        (Some(message), ..) => message.clone(),
        (None, Some(code), _) => format!("{}: exit code {code}", end.cause.as_str()),
        (None, None, Some(signal)) => format!("{}: signal {signal}", end.cause.as_str()),
        (None, None, None) => end.cause.as_str().to_owned(),
    };
    let language = match known.asked {
        Some(DerivationView { python: Some(_), .. }) => "PYTHON",
        Some(DerivationView { command: Some(_), .. }) => "SHELL",
        _ => "RUST",
    };
    let fields = json!({"message": message, "programmingLanguage": language});
    Some(facet("1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet", fields))
}

/// What no facet of the specification has a place for: what exactly was asked, by hashes.
fn derivation(facts: &Facts, known: &Known<'_>, is_over: bool) -> Value {
    let attempt = &facts.attempt;
    let tainted = attempt.end.as_ref().filter(|_| is_over).and_then(|end| end.tainted.clone());
    let mut fields = json!({
        "fingerprint": attempt.fingerprint.to_string(),
        "kind": attempt.kind.as_str(),
        "runNumber": attempt.run_number,
        "attemptNumber": attempt.number,
        "cell": attempt.cell,
        "reusedFrom": facts.reused_from.map(|uuid| uuid.to_string()),
        "definition": facts.run.definition.to_string(),
        "definitionPath": facts.run.definition_path,
        "gitCommit": facts.run.environment.git_commit,
        "gitDirty": facts.run.environment.git_dirty,
        "tainted": tainted,
    });
    if let Some(asked) = known.asked {
        let code = asked.code.iter().map(|(path, content)| json!({"path": path, "content": content}));
        fields["code"] = code.collect();
        fields["command"] = json!(asked.command);
        fields["source"] = json!(asked.source);
        fields["platform"] = json!(asked.platform.as_deref().filter(|platform| !platform.is_empty()));
        fields["python"] = json!(asked.python);
    }
    with_origin(DERIVATION, fields)
}
