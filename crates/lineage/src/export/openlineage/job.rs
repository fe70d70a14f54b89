//! Facets of a job, which is a step of ours: what it is, whose it is, where its code comes from.

use serde_json::{Value, json};

use super::{Known, facet, facets};
use crate::facts::Facts;

pub(super) fn facets_of(facts: &Facts, known: &Known<'_>) -> Value {
    let kind = json!({"processingType": "BATCH", "integration": "RUNSTONE", "jobType": "TASK"});
    let owner = known.about.and_then(|about| about.owner.as_ref());
    let ownership = owner.map(|owner| {
        let fields = json!({"owners": [{"name": owner, "type": "OWNER"}]});
        facet("1-0-1/OwnershipJobFacet.json#/$defs/OwnershipJobFacet", fields)
    });
    facets([
        ("jobType", Some(facet("2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet", kind))),
        ("ownership", ownership),
        ("sourceCodeLocation", facts.run.environment.git_commit.as_deref().and_then(source_code)),
    ])
}

/// The commit that was checked out. Where its repository can be fetched from is not on record, so that it is named by
/// what it is: the software hash identifier of a revision (SWHID, ISO/IEC 18670), which is made of git's own digits.
fn source_code(commit: &str) -> Option<Value> {
    let is_sha1 = commit.len() == 40 && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let fields = json!({"type": "git", "url": format!("swh:1:rev:{commit}"), "version": commit});
    let schema = "1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet";
    is_sha1.then(|| facet(schema, fields))
}
