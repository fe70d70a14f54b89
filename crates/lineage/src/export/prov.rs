//! Lineage as W3C PROV, in its JSON form.
//!
//! Sources: PROV-DM, <https://www.w3.org/TR/prov-dm/>, and PROV-JSON, <https://www.w3.org/submissions/prov-json/>.
//! A publication is an entity, an attempt an activity, whoever started the run and the program that ran it are agents.
//! What was asked is the plan by which an agent was associated with an activity.

use std::collections::BTreeMap;

use runstone_core::cell::task_name;
use runstone_core::record::MaterializationRecord;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::HOME;
use crate::facts::Facts;
use crate::view::reference;

/// A document that attempts are added to.
#[derive(Debug)]
pub struct Document {
    project: Uuid,
    /// By kind of statement: identifier → what is said.
    records: BTreeMap<&'static str, Map<String, Value>>,
}

impl Document {
    /// An empty document about a project.
    #[must_use]
    pub fn new(project: Uuid) -> Self {
        Self { project, records: BTreeMap::new() }
    }

    /// Adds an attempt with all that it read and published.
    pub fn add(&mut self, facts: &Facts) {
        let attempt = &facts.attempt;
        let activity = format!("run:{}", attempt.uuid);
        let end = attempt.end.as_ref();
        let mut said = json!({
            "prov:label": format!("#{} {}/{}", attempt.run_number, attempt.pipeline, task_name(&attempt.step, &attempt.cell)),
            "rs:kind": attempt.kind.as_str(),
            "rs:state": attempt.state.as_str(),
            "rs:run": attempt.run_number,
        });
        if let Some(end) = end {
            said["prov:startTime"] = json!(end.started.rfc3339());
            said["prov:endTime"] = json!(end.ended.rfc3339());
        }
        self.put("activity", &activity, said);
        self.agents(facts, &activity);
        for (edge, read) in &facts.inputs {
            let entity = self.entity(read);
            let name = format!("_:used-{}-{}-{}", attempt.id.0, read.id.0, edge.slot);
            let used = json!({"prov:activity": activity, "prov:entity": entity, "prov:role": edge.slot});
            self.put("used", &name, used);
        }
        for made in &facts.outputs {
            let entity = self.entity(made);
            let mut said = json!({"prov:entity": entity, "prov:activity": activity, "prov:role": made.output});
            said["prov:time"] = json!(made.created.rfc3339());
            self.put("wasGeneratedBy", &format!("_:generated-{}", made.id.0), said);
            for (_, read) in &facts.inputs {
                let derived = json!({
                    "prov:generatedEntity": entity,
                    "prov:usedEntity": name_of(read),
                    "prov:activity": activity,
                });
                self.put("wasDerivedFrom", &format!("_:derived-{}-{}", made.id.0, read.id.0), derived);
            }
        }
        if let Some(origin) = facts.reused_from {
            let informed = json!({"prov:informed": activity, "prov:informant": format!("run:{origin}")});
            self.put("wasInformedBy", &format!("_:reused-{}", attempt.id.0), informed);
        }
    }

    fn agents(&mut self, facts: &Facts, activity: &str) {
        let environment = &facts.run.environment;
        let user = format!("user:{}", identifier(&environment.user));
        let host = format!("host:{}", identifier(&environment.host));
        self.put("agent", &user, json!({"prov:type": qualified("prov:Person"), "prov:label": environment.user}));
        let software = json!({
            "prov:type": qualified("prov:SoftwareAgent"),
            "prov:label": format!("runstone {} on {}", environment.tool_version, environment.host),
        });
        self.put("agent", &host, software);
        let id = facts.attempt.id.0;
        let plan = format!("asked:{}", facts.attempt.fingerprint);
        self.put("entity", &plan, json!({"prov:type": qualified("prov:Plan")}));
        let associated = json!({"prov:activity": activity, "prov:agent": host, "prov:plan": plan});
        self.put("wasAssociatedWith", &format!("_:associated-{id}"), associated);
        let behalf = json!({"prov:delegate": host, "prov:responsible": user, "prov:activity": activity});
        self.put("actedOnBehalfOf", &format!("_:behalf-{id}"), behalf);
    }

    fn entity(&mut self, version: &MaterializationRecord) -> String {
        let name = name_of(version);
        let said = json!({
            "prov:label": reference(&version.dataset, &version.subset, version.version),
            "rs:dataset": version.dataset,
            "rs:version": version.version,
            "rs:content": version.hash.to_string(),
            "rs:size": version.size,
        });
        self.put("entity", &name, said);
        name
    }

    fn put(&mut self, kind: &'static str, name: &str, said: Value) {
        self.records.entry(kind).or_default().insert(name.to_owned(), said);
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let project = format!("{HOME}/project/{}/", self.project);
        let mut document = json!({"prefix": {
            "rs": format!("{HOME}/ns#"),
            "mat": format!("{project}materialization/"),
            "run": format!("{project}attempt/"),
            "asked": format!("{project}derivation/"),
            "user": format!("{project}user/"),
            "host": format!("{project}host/"),
        }});
        for (kind, records) in &self.records {
            document[*kind] = Value::Object(records.clone());
        }
        document
    }
}

fn name_of(version: &MaterializationRecord) -> String {
    format!("mat:{}", version.id.0)
}

fn qualified(name: &str) -> Value {
    json!({"$": name, "type": "prov:QUALIFIED_NAME"})
}

/// Letters and digits as they are, everything else as its code: a local name must not end early.
fn identifier(text: &str) -> String {
    let spell = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
            c.to_string()
        } else {
            format!("%{:02X}", u32::from(c))
        }
    };
    text.chars().map(spell).collect()
}
