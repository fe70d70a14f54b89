//! Attempts as in-toto statements with SLSA provenance, each signed in a DSSE envelope.
//!
//! Sources: in-toto attestation framework, <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>, and
//! SLSA provenance v1, <https://slsa.dev/spec/v1.0/provenance>. Subjects are what an attempt published, resolved
//! dependencies what it read and the code it ran. Content is named by BLAKE3, and by SHA-256 too where the bytes are
//! there to be hashed, because that is what verifiers know; folders have the root of their tree.

use std::collections::HashMap;
use std::io::Read;

use runstone_core::canonical;
use runstone_core::hash::ContentHash;
use runstone_core::log::dsse::Envelope;
use runstone_core::log::key::SigningKey;
use runstone_core::record::{AttemptState, ContentKind, MaterializationRecord};
use runstone_core::store::Store;
use runstone_exec::objects::ObjectStore;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::HOME;
use crate::asked::DerivationView;
use crate::facts::Facts;
use crate::view::reference;
use crate::{Error, Result};

/// Payload type of the envelopes.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Type of the statements.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Type of what they say.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// Makes statements. SHA-256 of each content is worked out once.
#[derive(Debug)]
pub struct Exporter<'a> {
    objects: Option<&'a ObjectStore>,
    key: &'a SigningKey,
    digests: HashMap<ContentHash, Option<String>>,
}

impl<'a> Exporter<'a> {
    /// With the objects to be hashed, where they are at hand, and the key that signs.
    #[must_use]
    pub fn new(objects: Option<&'a ObjectStore>, key: &'a SigningKey) -> Self {
        Self { objects, key, digests: HashMap::new() }
    }

    /// The envelope of an attempt; none where it published nothing, because a statement is about something.
    ///
    /// # Errors
    /// Where what was asked is not on record.
    pub fn envelope(&mut self, store: &mut dyn Store, facts: &Facts) -> Result<Option<Envelope>> {
        if facts.attempt.state != AttemptState::Succeeded || facts.outputs.is_empty() {
            return Ok(None);
        }
        let statement = self.statement(store, facts)?;
        let payload = serde_json::to_vec(&statement).expect("a statement is written to memory");
        Ok(Some(Envelope::sign(PAYLOAD_TYPE, payload, self.key)))
    }

    fn statement(&mut self, store: &mut dyn Store, facts: &Facts) -> Result<Value> {
        let subjects: Vec<Value> = facts.outputs.iter().map(|made| self.resource(made)).collect();
        let asked = asked(store, facts)?;
        let attempt = &facts.attempt;
        let run = &facts.run;
        let end = attempt.end.as_ref();
        Ok(json!({
            "_type": STATEMENT_TYPE,
            "subject": subjects,
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": format!("{HOME}/blob/main/docs/design/log.md#attempts"),
                    "externalParameters": {
                        "pipeline": attempt.pipeline,
                        "step": attempt.step,
                        "cell": asked.as_ref().map_or_else(|| json!({}), |it| json!(it.cell)),
                        "partition": run.partition,
                        "params": asked.as_ref().map_or_else(|| json!({}), |it| json!(it.params)),
                        "definition": {"path": run.definition_path, "digest": {"blake3": run.definition.to_hex()}},
                    },
                    "internalParameters": {
                        "kind": attempt.kind.as_str(),
                        "fingerprint": attempt.fingerprint.to_string(),
                        "command": asked.as_ref().and_then(|it| it.command.clone()),
                        "source": asked.as_ref().and_then(|it| it.source.clone()),
                        "platform": asked.as_ref().and_then(|it| it.platform.clone()),
                        "env": asked.as_ref().map_or_else(|| json!({}), |it| json!(it.env)),
                    },
                    "resolvedDependencies": self.dependencies(facts, asked.as_ref()),
                },
                "runDetails": {
                    "builder": {
                        "id": format!("{HOME}#{}", run.environment.host),
                        "version": {"runstone": run.environment.tool_version},
                    },
                    "metadata": {
                        "invocationId": format!("urn:uuid:{}", attempt.uuid),
                        "startedOn": end.map(|end| end.started.rfc3339()),
                        "finishedOn": end.map(|end| end.ended.rfc3339()),
                    },
                    "byproducts": byproducts(facts),
                },
            },
        }))
    }

    fn dependencies(&mut self, facts: &Facts, asked: Option<&DerivationView>) -> Vec<Value> {
        let mut all = Vec::new();
        for (edge, read) in &facts.inputs {
            let mut resource = self.resource(read);
            resource["annotations"] = json!({"input": edge.slot, "trust": edge.trust.as_str(), "node": read.id.0});
            all.push(resource);
        }
        for (path, hash) in asked.iter().flat_map(|asked| &asked.code) {
            if let Ok(hash) = hash.parse() {
                let digest = self.digest(hash, ContentKind::File);
                all.push(json!({"name": format!("code:{path}"), "digest": digest}));
            }
        }
        if let Some(python) = asked.and_then(|asked| asked.python.as_ref())
            && let Ok(hash) = python.lock.parse()
        {
            let digest = self.digest(hash, ContentKind::File);
            all.push(json!({"name": format!("python:{}", python.interpreter), "digest": digest}));
        }
        if let Some(commit) = &facts.run.environment.git_commit {
            let dirty = facts.run.environment.git_dirty;
            all.push(json!({"name": "git", "digest": {"gitCommit": commit}, "annotations": {"dirty": dirty}}));
        }
        all
    }

    fn resource(&mut self, version: &MaterializationRecord) -> Value {
        let name = reference(&version.dataset, &version.subset, version.version);
        json!({"name": name, "digest": self.digest(version.hash, version.kind)})
    }

    fn digest(&mut self, hash: ContentHash, kind: ContentKind) -> Value {
        let mut digest = Map::new();
        match kind {
            ContentKind::Dir => _ = digest.insert("runstoneTree".to_owned(), json!(hash.to_hex())),
            ContentKind::File => {
                digest.insert("blake3".to_owned(), json!(hash.to_hex()));
                digest.extend(self.sha256(hash).map(|sha256| ("sha256".to_owned(), json!(sha256))));
            }
        }
        Value::Object(digest)
    }

    /// Of bytes that are gone there is none.
    fn sha256(&mut self, hash: ContentHash) -> Option<String> {
        let objects = self.objects?;
        self.digests.entry(hash).or_insert_with(|| sha256(objects.open_checked(hash).ok()?).ok()).clone()
    }
}

fn sha256(mut file: impl Read) -> std::io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// What was asked; nothing of a reuse that was asked by an older recipe.
fn asked(store: &mut dyn Store, facts: &Facts) -> Result<Option<DerivationView>> {
    let fingerprint = facts.attempt.fingerprint;
    match store.derivation(&fingerprint)? {
        Some(bytes) => canonical::decode(&bytes)
            .map(|value| Some(DerivationView::new(&value)))
            .map_err(|error| Error::damaged(format!("what {fingerprint} asked for cannot be read")).because(error)),
        None if facts.reused_from.is_some() => Ok(None),
        None => Err(Error::damaged(format!("what {fingerprint} asked for is not on record"))),
    }
}

fn byproducts(facts: &Facts) -> Vec<Value> {
    let metrics =
        facts.metrics.iter().map(|metric| json!({"name": metric.name, "slice": metric.slice, "value": metric.value}));
    let mut all = Vec::new();
    if !facts.metrics.is_empty() {
        let metrics: Vec<Value> = metrics.collect();
        all.push(json!({"name": "metrics", "annotations": {"metrics": metrics}}));
    }
    if let Some(origin) = facts.reused_from {
        all.push(json!({"name": "reused", "annotations": {"invocationId": format!("urn:uuid:{origin}")}}));
    }
    all
}
