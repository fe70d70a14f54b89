//! Runs that are asked for now and begun later, by whichever scheduler has room: what is kept of the wish, and how a
//! run is prepared from it.

use indexmap::IndexMap;
use runstone_core::hash::ContentHash;
use runstone_core::name::Name;
use runstone_core::record::{RunEnvironment, RunId};
use runstone_core::scalar::Scalar;
use runstone_core::select::Request;
use runstone_core::service::record::{NewSubmission, SubmissionRecord};
use runstone_core::store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::begin::RunError;
use crate::prepare::{Definition, Home, PrepareError, Prepared, prepare_with};
use crate::site::Site;

/// How a run was asked for, beside its definition and parameters. Schedules and triggers say nothing, which means
/// everything, with the pipeline's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// Which part of the pipeline.
    pub selection: Request,
    /// Names and texts of files laid over the definition.
    pub overlays: Vec<(String, String)>,
    /// Fields of later versions are only warned of.
    pub allow_unsupported: bool,
    /// The first failure stops everything that has not started.
    pub fail_fast: bool,
}

impl Wish {
    /// That of a run as it was prepared.
    pub(crate) fn of(prepared: &Prepared, fail_fast: bool) -> Self {
        Self {
            selection: prepared.request.clone(),
            overlays: prepared.definition.overlays.clone(),
            allow_unsupported: prepared.definition.allow_unsupported,
            fail_fast,
        }
    }

    /// The definition that is on record for run `number`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where its text is missing.
    pub(crate) fn definition(
        &self,
        store: &mut dyn Store,
        hash: &ContentHash,
        path: &str,
        number: i64,
    ) -> Result<Definition, StoreError> {
        let missing = || StoreError::Damaged(format!("the definition of run #{number} is missing"));
        Ok(Definition {
            text: store.definition(hash)?.ok_or_else(missing)?,
            path: path.into(),
            overlays: self.overlays.clone(),
            allow_unsupported: self.allow_unsupported,
        })
    }
}

/// Asks for a run of what was prepared.
#[must_use]
pub fn submission(
    site: &Site,
    prepared: &Prepared,
    fail_fast: bool,
    trigger: &str,
    environment: RunEnvironment,
) -> NewSubmission {
    NewSubmission {
        run: RunId(Uuid::now_v7()),
        pipeline: prepared.pipeline.name.to_string(),
        definition: Some(prepared.definition.text.clone()),
        definition_path: prepared.definition.path.display().to_string(),
        params: serde_json::json!(prepared.params),
        request: serde_json::json!(Wish::of(prepared, fail_fast)),
        trigger: trigger.to_owned(),
        partition: prepared.partition.as_ref().map(ToString::to_string),
        priority: prepared.pipeline.priority,
        group: None,
        backfill: None,
        key: None,
        environment,
        store_marker: site.objects.marker(),
    }
}

/// What a submission asks for, checked and expanded: parameters that were not set get their defaults.
///
/// # Errors
/// As for a run from a terminal; the definition was good when it was declared, so mostly a parameter or a part of the
/// pipeline that does not exist.
pub(crate) fn prepare(
    site: &Site,
    store: &mut dyn Store,
    asked: &SubmissionRecord,
) -> Result<(Prepared, Wish), RunError> {
    let damaged = |what: &str, error: serde_json::Error| {
        StoreError::Damaged(format!("the {what} of run #{} cannot be read: {error}", asked.number))
    };
    let wish: Option<Wish> =
        serde_json::from_value(asked.request.clone()).map_err(|error| damaged("request", error))?;
    let wish = wish.unwrap_or_default();
    let set: IndexMap<Name, Scalar> = match &asked.params {
        serde_json::Value::Null => IndexMap::new(),
        params => serde_json::from_value(params.clone()).map_err(|error| damaged("parameters", error))?,
    };
    let definition = wish.definition(store, &asked.definition, &asked.definition_path, asked.number)?;
    let partition = asked.partition.as_deref();
    let prepared = prepare_with(definition, &set, &[], wish.selection.clone(), partition, &Home::of(&site.project));
    Ok((prepared.map_err(|error: PrepareError| RunError::Prepare(error))?, wish))
}
