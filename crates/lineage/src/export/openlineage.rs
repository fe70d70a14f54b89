//! Attempts as events of OpenLineage 2-0-2: one when an attempt began, one when it ended.
//!
//! - **Namespace** of jobs and datasets is `<instance>/<project>`, so that several projects may feed one server.
//! - **Job** is `pipeline.step`. A cell or partition is no part of its name, because a job is what happens again and again:
//!   a `foreach` over a million files would be a million jobs that ran once. They are facets of the run, and datasets say
//!   by their `subset` which part was read or written.
//! - **Run** is the attempt, under its own UUID; parent and root are our run.
//! - **Version** is `b3:` and the content hash, so that whoever reads it back finds exactly these bytes.
//!
//! Each event stands for itself: the second one repeats the inputs and facets of the first one, for readers that look at
//! nothing else. Exporting again gives the same bytes for what has ended, so that servers recognise repetitions.
//!
//! Source: <https://openlineage.io/spec/2-0-2/OpenLineage.json> and the facets beside it.

mod dataset;
mod job;
mod profile;
mod run;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::partition::Partitioning;
use runstone_core::record::{AttemptState, NodeId};
use runstone_core::spec;
use runstone_core::store::Store;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use profile::{Column, Profile};

use crate::Error;
use crate::asked::DerivationView;
use crate::facts::{self, Facts};

/// Who says so: the repository of this program, at its version.
pub const PRODUCER: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/v", env!("CARGO_PKG_VERSION"));

const SPECIFICATION: &str = "https://openlineage.io/spec/";
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// Attempts whose facts are in memory at a time.
const CHUNK: usize = 50;

/// How things are called outside.
#[derive(Debug, Clone)]
pub struct Naming {
    /// What tells this place from others that feed the same server.
    pub instance: String,
    /// Name of the project.
    pub project: String,
}

impl Naming {
    /// The namespace of jobs and datasets.
    #[must_use]
    pub fn namespace(&self) -> String {
        format!("{}/{}", self.instance, self.project)
    }
}

/// How much was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Exported {
    /// Attempts.
    pub attempts: u64,
    /// Events about them.
    pub events: u64,
}

/// What a pipeline said of itself when the attempt was made.
#[derive(Debug, Clone)]
pub struct About {
    /// Who answers for it.
    pub owner: Option<String>,
    /// What its runs work on one at a time.
    pub partition: Option<Partitioning>,
}

/// What is known around an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// How things are called outside.
    pub naming: &'a Naming,
    /// What was asked of it.
    pub asked: Option<&'a DerivationView>,
    /// Its pipeline.
    pub about: Option<&'a About>,
    /// What its outputs are like, by publication.
    pub profiles: &'a HashMap<NodeId, Profile>,
}

/// Gives the events about attempts to `emit`, attempt by attempt. However many there are, few are in memory.
///
/// # Errors
/// Where the record cannot be read, or `emit` fails.
pub fn export<E: From<Error>>(
    store: &mut dyn Store,
    attempts: &[NodeId],
    naming: &Naming,
    emit: &mut dyn FnMut(&Value) -> Result<(), E>,
) -> Result<Exported, E> {
    let mut exported = Exported::default();
    let mut pipelines: HashMap<ContentHash, Option<About>> = HashMap::new();
    for chunk in attempts.chunks(CHUNK) {
        let all = facts::load(store, chunk)?;
        let asked = asked(store, &all)?;
        let profiles = profiles(store, &all)?;
        for one in &all {
            let about = match pipelines.entry(one.run.definition) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let about = about(store, &one.run.definition)?;
                    new.insert(about)
                }
            };
            let known = Known {
                naming,
                asked: asked.get(&one.attempt.fingerprint),
                about: about.as_ref(),
                profiles: &profiles,
            };
            for event in events(one, &known) {
                emit(&event)?;
                exported.events += 1;
            }
            exported.attempts += 1;
        }
    }
    Ok(exported)
}

fn asked(store: &mut dyn Store, all: &[Facts]) -> crate::Result<HashMap<Fingerprint, DerivationView>> {
    let mut asked = HashMap::new();
    for fingerprint in all.iter().map(|one| one.attempt.fingerprint) {
        if !asked.contains_key(&fingerprint)
            && let Some(bytes) = store.derivation(&fingerprint)?
            && let Ok(view) = DerivationView::decode(&bytes)
        {
            asked.insert(fingerprint, view);
        }
    }
    Ok(asked)
}

fn profiles(store: &mut dyn Store, all: &[Facts]) -> crate::Result<HashMap<NodeId, Profile>> {
    let made: Vec<NodeId> = all.iter().flat_map(|one| one.outputs.iter().map(|it| it.id)).collect();
    let known = store.profiles(&made)?;
    Ok(known.into_iter().filter_map(|(id, body)| Some((id, Profile::read(&body)?))).collect())
}

/// None for a definition that this version cannot read any more: the rest is still worth telling.
fn about(store: &mut dyn Store, definition: &ContentHash) -> crate::Result<Option<About>> {
    let Some(text) = store.definition(definition)? else { return Ok(None) };
    let sources = spec::Sources { name: "pipeline.yaml", main: text.as_bytes(), overlays: &[] };
    let options = spec::Options { allow_unsupported: true, pools: None, ..spec::Options::default() };
    let pipeline = spec::load(&sources, &options).pipeline;
    Ok(pipeline.map(|it| About { owner: it.owner, partition: it.partition }))
}

/// The events about one attempt: that it began, and, once it has, how it ended.
#[must_use]
pub fn events(facts: &Facts, known: &Known<'_>) -> Vec<Value> {
    let attempt = &facts.attempt;
    // When it was put on record, which is known from the start and stays so.
    let mut events = vec![event(facts, known, "START", &attempt.created.rfc3339())];
    if let Some(end) = &attempt.end {
        let kind = match (attempt.state, end.cause) {
            (AttemptState::Succeeded, _) => "COMPLETE",
            (_, Cause::Cancelled) => "ABORT",
            _ => "FAIL",
        };
        events.push(event(facts, known, kind, &end.ended.rfc3339()));
    }
    events
}

fn event(facts: &Facts, known: &Known<'_>, kind: &str, at: &str) -> Value {
    let is_over = kind != "START";
    let namespace = known.naming.namespace();
    let outputs: Vec<Value> = match is_over {
        true => facts.outputs.iter().map(|made| dataset::output(made, known)).collect(),
        false => Vec::new(),
    };
    json!({
        "eventType": kind,
        "eventTime": at,
        "producer": PRODUCER,
        "schemaURL": EVENT,
        "run": {"runId": facts.attempt.uuid.to_string(), "facets": run::facets_of(facts, known, is_over)},
        "job": {
            "namespace": namespace,
            "name": format!("{}.{}", facts.attempt.pipeline, facts.attempt.step),
            "facets": job::facets_of(facts, known),
        },
        "inputs": dataset::inputs(facts, known),
        "outputs": outputs,
    })
}

/// A facet of the specification: `1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet`, with its fields.
fn facet(schema: &str, fields: Value) -> Value {
    with_origin(&format!("{SPECIFICATION}facets/{schema}"), fields)
}

fn with_origin(schema: &str, fields: Value) -> Value {
    let mut all = Map::from_iter([("_producer".to_owned(), json!(PRODUCER)), ("_schemaURL".to_owned(), json!(schema))]);
    if let Value::Object(fields) = fields {
        all.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(all)
}

/// Facets by name, those that say something.
fn facets<const N: usize>(all: [(&str, Option<Value>); N]) -> Value {
    all.into_iter().filter_map(|(name, facet)| Some((name.to_owned(), facet?))).collect::<Map<_, _>>().into()
}
