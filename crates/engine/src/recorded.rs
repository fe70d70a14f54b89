//! What is on record of how a run was asked for, as far as its pipeline can be prepared again from it.

use indexmap::IndexMap;
use runstone_core::name::Name;
use runstone_core::record::RunRecord;
use runstone_core::scalar::Scalar;
use runstone_core::store::{Store, StoreError};

use crate::begin::Kept;
use crate::prepare::{Definition, Home, PrepareError, Prepared, prepare_again};

/// See the module.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) definition: Definition,
    params: IndexMap<Name, Scalar>,
    partition: Option<String>,
    kept: Kept,
}

impl Recorded {
    /// Reads it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for what this code never writes.
    pub(crate) fn read(store: &mut dyn Store, record: &RunRecord) -> Result<Self, StoreError> {
        let damaged = |what: &str, error: &serde_json::Error| {
            StoreError::Damaged(format!("the {what} of run #{} cannot be read: {error}", record.number))
        };
        let kept: Kept = serde_json::from_value(record.request.clone()).map_err(|error| damaged("request", &error))?;
        let params = serde_json::from_value(record.params.clone()).map_err(|error| damaged("parameters", &error))?;
        let definition = kept.wish.definition(store, &record.definition, &record.definition_path, record.number)?;
        Ok(Self { definition, params, partition: record.partition.clone(), kept })
    }

    /// The pipeline as it was, for the place `home`.
    ///
    /// # Errors
    /// [`PrepareError`] where an incompatible version of runstone wrote it.
    pub(crate) fn prepare(self, home: &Home) -> Result<(Prepared, Kept), PrepareError> {
        let Self { definition, params, partition, kept } = self;
        let prepared = prepare_again(definition, params, kept.wish.selection.clone(), partition.as_deref(), home)?;
        Ok((prepared, kept))
    }
}
