//! Judging an attempt whose process is gone: are its outputs there, what did it report, was anything changed under it?
//!
//! Outputs are accepted only after exit 0, and only all of them together. Files leave the attempt's folder for the
//! content store here; nothing is on record yet, and nothing of it means anything until it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_core::attempt::{Cause, OutcomeRecord};
use runstone_core::machine::Failure;
use runstone_core::name::Name;
use runstone_core::record::{AttemptEnd, Metric};
use runstone_core::spec::model::Step;
use runstone_core::store::NewMaterialization;
use runstone_exec::local::Masker;
use runstone_exec::objects::{Batch, Depth, Expect, Limits, ObjectError, Presence};

use crate::derive::Derived;
use crate::reported;
use crate::site::{self, Site};
use crate::staging::{METADATA, METRICS, output_file_name, output_place};

/// Everything known about the attempt.
pub(crate) struct Case {
    pub(crate) record: OutcomeRecord,
    pub(crate) folder: PathBuf,
    pub(crate) step: Arc<Step>,
    pub(crate) derived: Arc<Derived>,
    /// The pipeline's folder.
    pub(crate) home: PathBuf,
    /// By output: the full name of its dataset.
    pub(crate) datasets: Vec<String>,
    pub(crate) masker: Masker,
    /// Set where it is known already that inputs or code are not what was asked.
    pub(crate) tainted: Option<String>,
}

/// The judgement.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// None means success.
    pub(crate) failure: Option<Failure>,
    pub(crate) end: AttemptEnd,
    pub(crate) outputs: Vec<NewMaterialization>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) metadata: Option<serde_json::Value>,
    /// What is in the content store and not durable yet.
    pub(crate) objects: Batch,
}

/// Judges an attempt.
pub(crate) fn judge(site: &Site, case: &Case) -> Judgement {
    let mut end = end_of(&case.record, &case.masker);
    let mut judgement = Judgement {
        failure: None,
        end: end.clone(),
        outputs: Vec::new(),
        metrics: Vec::new(),
        metadata: None,
        objects: Batch::default(),
    };
    let failure = if case.record.is_clean_exit() {
        accept(site, case, &mut judgement).err()
    } else {
        // What it reported helps to find out why it failed; whether it is well-formed matters no more.
        judgement.metrics = reported::metrics(&case.folder.join(METRICS)).unwrap_or_default();
        Some(Failure {
            cause: case.record.cause,
            exit_code: case.record.exit_code,
            message: end.message.clone().unwrap_or_else(|| describe(&case.record)),
        })
    };
    if let Some(failure) = &failure {
        end.cause = failure.cause;
        end.message = Some(case.masker.mask(&failure.message));
        judgement.outputs.clear();
    } else {
        end.tainted = case.tainted.clone().or_else(|| disturbed(site, case));
    }
    judgement.failure = failure.map(|failure| Failure { message: end.message.clone().unwrap_or_default(), ..failure });
    judgement.end = end;
    judgement
}

fn accept(site: &Site, case: &Case, judgement: &mut Judgement) -> Result<(), Failure> {
    let wrong = |message: String| Failure { cause: Cause::MissingOutput, exit_code: Some(0), message };
    let mut metrics = reported::metrics(&case.folder.join(METRICS)).map_err(wrong)?;
    for metric in &mut metrics {
        metric.name = case.masker.mask(&metric.name);
        metric.slice = case.masker.mask(&metric.slice);
    }
    judgement.metrics = metrics;
    judgement.metadata = reported::metadata(&case.folder.join(METADATA)).map_err(wrong)?.map(|json| mask_json(&case.masker, json));
    for ((name, output), dataset) in case.step.outputs.iter().zip(&case.datasets) {
        let place = output_place(name, output);
        let expect = if output.dir { Expect::Dir } else { Expect::File };
        let limits = Limits::default();
        match site.objects.collect(&case.folder, Path::new(&place), expect, limits, &mut judgement.objects) {
            Ok(found) => judgement.outputs.push(NewMaterialization {
                output: name.to_string(),
                dataset: dataset.clone(),
                subset: case.derived.cell.key(),
                hash: found.hash,
                kind: site::content_kind(found.kind),
                size: found.size,
                files: found.files,
                rows: None,
                file_name: output_file_name(name, output),
            }),
            Err(ObjectError::Missing { .. }) if output.optional => {}
            Err(error) => return Err(not_accepted(case, name, &error)),
        }
    }
    let params = case.derived.facts.params_for(&case.derived.cell);
    let bindings = reported::bindings(&params, &case.derived.cell, &judgement.metrics);
    match reported::unmet(&case.step.require, &bindings) {
        Some(message) => Err(Failure { cause: Cause::Require, exit_code: Some(0), message }),
        None => Ok(()),
    }
}

fn not_accepted(case: &Case, name: &Name, error: &ObjectError) -> Failure {
    let cause = if error.is_no_space() { Cause::NoSpace } else { Cause::MissingOutput };
    let message = match error {
        ObjectError::Missing { .. } => {
            let variable = format!("$OUT_{}", name.env_spelling());
            let near = strays(case, name);
            let found = near.map_or_else(String::new, |found| format!("; found {found} in the pipeline's folder"));
            format!("output `{name}` was not written{found}; write it to {variable}")
        }
        other => format!("output `{name}`: {}", crate::text(other)),
    };
    Failure { cause, exit_code: Some(0), message }
}

/// A file where people tend to write by mistake.
fn strays(case: &Case, name: &Name) -> Option<String> {
    let output = &case.step.outputs[name.as_str()];
    let file = output_file_name(name, output);
    case.home.join(&file).exists().then(|| format!("./{file}"))
}

/// Whether inputs or code are other than they were when the attempt was put on record.
fn disturbed(site: &Site, case: &Case) -> Option<String> {
    for (name, thing) in case.derived.things() {
        let kind = site::object_kind(thing.kind);
        match site.objects.check(thing.hash, kind, thing.size, Depth::Deep) {
            Ok(Presence::Present) => {}
            _ => return Some(format!("input `{name}` was changed while the step ran")),
        }
    }
    for (path, file) in case.derived.facts.code_files() {
        let now = site.scanner.hash_file(Path::new(path), Limits::default());
        if !now.is_ok_and(|(now, _)| now.hash == file.hash) {
            return Some(format!("code file {path} was changed while the step ran"));
        }
    }
    None
}

fn mask_json(masker: &Masker, json: serde_json::Value) -> serde_json::Value {
    use serde_json::Value as Json;
    if masker.is_empty() {
        return json;
    }
    match json {
        Json::String(text) => Json::String(masker.mask(&text)),
        Json::Array(list) => Json::Array(list.into_iter().map(|value| mask_json(masker, value)).collect()),
        Json::Object(fields) => {
            Json::Object(fields.into_iter().map(|(key, value)| (masker.mask(&key), mask_json(masker, value))).collect())
        }
        other => other,
    }
}

/// The end of an attempt as its supervisor saw it.
pub(crate) fn end_of(record: &OutcomeRecord, masker: &Masker) -> AttemptEnd {
    AttemptEnd {
        started: record.started,
        ended: record.ended,
        cause: record.cause,
        exit_code: record.exit_code,
        signal: record.signal,
        message: record.message.as_ref().map(|message| masker.mask(message)),
        user_us: record.user_us,
        system_us: record.system_us,
        peak_rss: record.peak_rss,
        stdout_bytes: record.stdout_bytes,
        stderr_bytes: record.stderr_bytes,
        leftovers: record.leftovers,
        tainted: None,
    }
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
