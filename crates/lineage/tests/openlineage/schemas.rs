//! The public schemas of OpenLineage, which are not part of this repository: the folder that `OPENLINEAGE_SCHEMAS` names
//! holds `OpenLineage.json` and `facets/`.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jsonschema::{Registry, Resource, Validator};
use serde_json::{Value, json};

const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json";
const OURS: &str = include_str!("../../../../docs/openlineage/1-0-0/RunstoneDerivationRunFacet.json");

/// Holds events against the schemas.
pub(crate) struct Schemas {
    all: Vec<(String, Value)>,
    validators: HashMap<String, Validator>,
}

impl Schemas {
    /// None, and it is said, where they are not given.
    pub(crate) fn given() -> Option<Self> {
        let folder = std::env::var_os("OPENLINEAGE_SCHEMAS").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let Some(folder) = folder else {
            // Past the test's own output, which nobody sees where it passes.
            let said =
                writeln!(std::io::stderr(), "SKIPPED: OPENLINEAGE_SCHEMAS names no schemas to hold events against");
            said.unwrap();
            return None;
        };
        let read = |path: &Path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
        let mut all = vec![read(&folder.join("OpenLineage.json")), serde_json::from_str(OURS).unwrap()];
        for entry in std::fs::read_dir(folder.join("facets")).unwrap() {
            all.push(read(&entry.unwrap().path()));
        }
        assert!(all.len() > 30, "the schemas of all facets are there");
        let all = all.into_iter().map(|it| (it["$id"].as_str().unwrap().to_owned(), it)).collect();
        Some(Self { all, validators: HashMap::new() })
    }

    fn validator(&self, reference: &str) -> Validator {
        let mut registry = Registry::new();
        for (id, schema) in &self.all {
            registry = registry.add(id, Resource::from_contents(schema.clone())).unwrap();
        }
        let registry = registry.prepare().unwrap();
        let options = jsonschema::options().with_registry(&registry).should_validate_formats(true);
        options.build(&json!({"$ref": reference})).unwrap()
    }

    /// What is wrong with an event, and with each of its facets by the schema that it names.
    pub(crate) fn errors(&mut self, event: &Value) -> Vec<String> {
        let mut facets = Vec::new();
        collect(event, &mut facets);
        assert!(!facets.is_empty());
        let mut errors = self.against(EVENT, event, EVENT);
        for (name, facet) in facets {
            errors.extend(self.against(facet["_schemaURL"].as_str().unwrap(), facet, name));
        }
        errors
    }

    fn against(&mut self, schema: &str, value: &Value, what: &str) -> Vec<String> {
        if !self.validators.contains_key(schema) {
            self.validators.insert(schema.to_owned(), self.validator(schema));
        }
        self.validators[schema].iter_errors(value).map(|error| format!("{what}: {error}")).collect()
    }
}

/// Everything in an event that says of which schema it is.
fn collect<'v>(value: &'v Value, found: &mut Vec<(&'v str, &'v Value)>) {
    if let Value::Array(list) = value {
        list.iter().for_each(|it| collect(it, found));
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        if inner.get("_schemaURL").is_some() {
            found.push((name, inner));
        }
        collect(inner, found);
    }
}
