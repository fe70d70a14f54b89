//! What the submissions of a backfill are like, as it is kept on record: JSON, the same for every database.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunEnvironment, RunId};
use runstone_core::service::record::NewSubmission;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A [`NewSubmission`] without its identity and partition, its definition by hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) definition: ContentHash,
    pub(crate) definition_path: String,
    params: Value,
    request: Value,
    trigger: String,
    priority: i32,
    group: Option<String>,
    environment: RunEnvironment,
    store_marker: Uuid,
}

impl Template {
    /// `definition` and its path as they are on record by now.
    pub(crate) fn new(like: &NewSubmission, definition: ContentHash, definition_path: String) -> Self {
        Self {
            definition,
            definition_path,
            params: like.params.clone(),
            request: like.request.clone(),
            trigger: like.trigger.clone(),
            priority: like.priority,
            group: like.group.clone(),
            environment: like.environment.clone(),
            store_marker: like.store_marker,
        }
    }

    /// The submission of one partition. Its definition is [`Template::definition`].
    pub(crate) fn submission(&self, backfill: Uuid, pipeline: &str, run: RunId, partition: &str) -> NewSubmission {
        NewSubmission {
            run,
            pipeline: pipeline.to_owned(),
            definition: None,
            definition_path: self.definition_path.clone(),
            params: self.params.clone(),
            request: self.request.clone(),
            trigger: self.trigger.clone(),
            partition: Some(partition.to_owned()),
            priority: self.priority,
            group: self.group.clone(),
            backfill: Some(backfill),
            key: None,
            environment: self.environment.clone(),
            store_marker: self.store_marker,
        }
    }
}
