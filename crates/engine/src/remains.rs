//! What is left of an attempt whose process is gone: how it ended, what it reported, what it wrote. Nothing is moved here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_core::attempt::{Cause, OutcomeRecord};
use runstone_core::machine::Failure;
use runstone_core::name::Name;
use runstone_core::record::Metric;
use runstone_core::spec::model::Step;
use runstone_exec::local::Masker;
use runstone_exec::objects::{Expect, Limits, ObjectError, Surveyed, survey};

use crate::derive::Derived;
use crate::reported;
use crate::staging::{METADATA, METRICS, output_file_name, output_place};

/// See the module.
pub(crate) struct Remains {
    pub(crate) record: OutcomeRecord,
    /// The attempt's folder.
    pub(crate) folder: PathBuf,
    pub(crate) step: Arc<Step>,
    pub(crate) derived: Arc<Derived>,
    /// The pipeline's folder.
    pub(crate) home: PathBuf,
    pub(crate) masker: Masker,
}

impl Remains {
    /// Why the process did not end well; none where it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let record = &self.record;
        (!record.is_clean_exit()).then(|| Failure {
            cause: record.cause,
            exit_code: record.exit_code,
            message: record.message.as_ref().map_or_else(|| describe(record), |message| self.masker.mask(message)),
        })
    }

    /// The numbers it reported.
    ///
    /// # Errors
    /// A [`Failure`] where they cannot be read.
    pub(crate) fn metrics(&self) -> Result<Vec<Metric>, Failure> {
        reported::metrics(&self.folder.join(METRICS), &self.masker).map_err(wrong)
    }

    /// Whatever else it reported.
    ///
    /// # Errors
    /// A [`Failure`] where it cannot be read.
    pub(crate) fn metadata(&self) -> Result<Option<serde_json::Value>, Failure> {
        reported::metadata(&self.folder.join(METADATA), &self.masker).map_err(wrong)
    }

    /// Hashes all outputs where they are.
    ///
    /// # Errors
    /// A [`Failure`] where one is missing or cannot be accepted.
    pub(crate) fn outputs(&self) -> Result<Vec<(&Name, Surveyed)>, Failure> {
        let mut found = Vec::new();
        for (name, output) in &self.step.outputs {
            let expect = if output.dir { Expect::Dir } else { Expect::File };
            match survey(&self.folder, Path::new(&output_place(name, output)), expect, Limits::default()) {
                Ok(surveyed) => found.push((name, surveyed)),
                Err(ObjectError::Missing { .. }) if output.optional => {}
                Err(error) => return Err(self.not_accepted(name, &error)),
            }
        }
        Ok(found)
    }

    /// The conditions of the step over what it reported.
    ///
    /// # Errors
    /// A [`Failure`] with the first that does not hold.
    pub(crate) fn require(&self, metrics: &[Metric]) -> Result<(), Failure> {
        let params = self.derived.facts.params_for(&self.derived.cell);
        match reported::unmet(&self.step.require, &reported::bindings(&params, &self.derived.cell, metrics)) {
            Some(message) => Err(Failure { cause: Cause::Require, exit_code: Some(0), message }),
            None => Ok(()),
        }
    }

    /// Why an output cannot be accepted.
    pub(crate) fn not_accepted(&self, name: &Name, error: &ObjectError) -> Failure {
        let cause = if error.is_no_space() { Cause::NoSpace } else { Cause::MissingOutput };
        let message = match error {
            ObjectError::Missing { .. } => {
                let variable = format!("$OUT_{}", name.env_spelling());
                let near = self.stray(name);
                let found = near.map_or_else(String::new, |found| format!("; found {found} in the pipeline's folder"));
                format!("output `{name}` was not written{found}; write it to {variable}")
            }
            other => format!("output `{name}`: {}", crate::text(other)),
        };
        Failure { cause, exit_code: Some(0), message }
    }

    /// A file where people tend to write by mistake.
    fn stray(&self, name: &Name) -> Option<String> {
        let file = output_file_name(name, &self.step.outputs[name.as_str()]);
        self.home.join(&file).exists().then(|| format!("./{file}"))
    }
}

/// A report that is not well-formed.
fn wrong(message: String) -> Failure {
    Failure { cause: Cause::MissingOutput, exit_code: Some(0), message }
}

/// How an attempt ended, for people.
fn describe(record: &OutcomeRecord) -> String {
    match (record.cause, record.exit_code, record.signal) {
        (Cause::Exit, Some(code), _) => format!("exit code {code}"),
        (Cause::Signal, _, Some(signal)) => format!("ended by signal {signal}"),
        (Cause::Timeout, ..) => "its timeout passed".to_owned(),
        (Cause::Cancelled, ..) => "the run was stopped".to_owned(),
        (cause, ..) => cause.as_str().replace('_', " "),
    }
}
