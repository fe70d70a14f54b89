//! Judging an attempt whose process is gone: are its outputs there, what did it report, was anything changed under it?
//!
//! Outputs are accepted only after exit 0, and only all of them together. They are hashed where they are, noted, and only
//! then moved from the attempt's folder into the content store; nothing is on record yet, and nothing of it means anything
//! until it is. An attempt that was judged before, by an owner that was killed before the record was made, is judged
//! again and with the same result: see [`crate::collected`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_core::attempt::{Cause, OutcomeRecord};
use runstone_core::machine::Failure;
use runstone_core::name::Name;
use runstone_core::record::{AttemptEnd, Metric};
use runstone_core::spec::model::Step;
use runstone_core::store::NewMaterialization;
use runstone_exec::local::Masker;
use runstone_exec::objects::{Batch, Collected, Depth, Expect, Limits, ObjectError, Presence, survey};

use crate::collected::{NotedOutput, Notes};
use crate::derive::Derived;
use crate::failpoint;
use crate::reported;
use crate::site::{self, Site};
use crate::staging::{METADATA, METRICS, output_file_name, output_place};
use crate::tables;

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
    /// The part of them that it publishes.
    pub(crate) subset: String,
    pub(crate) masker: Masker,
    /// What is moved is noted here first.
    pub(crate) notes: Arc<Notes>,
    /// An earlier owner may have judged it already.
    pub(crate) again: bool,
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
        judgement.metrics = reported::metrics(&case.folder.join(METRICS), &case.masker).unwrap_or_default();
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
    judgement.metrics = reported::metrics(&case.folder.join(METRICS), &case.masker).map_err(wrong)?;
    judgement.metadata = reported::metadata(&case.folder.join(METADATA), &case.masker).map_err(wrong)?;
    let noted = if case.again { case.notes.find(case.record.attempt).map_err(|error| unusable(&error))? } else { None };
    match noted {
        Some(noted) => salvage(site, case, &noted, judgement),
        None => collect(site, case, judgement),
    }
}

/// Hashes all outputs, notes what they are, and moves them into the store.
fn collect(site: &Site, case: &Case, judgement: &mut Judgement) -> Result<(), Failure> {
    let mut found = Vec::new();
    for (name, output) in &case.step.outputs {
        let expect = if output.dir { Expect::Dir } else { Expect::File };
        match survey(&case.folder, Path::new(&output_place(name, output)), expect, Limits::default()) {
            Ok(surveyed) => found.push((name, surveyed)),
            Err(ObjectError::Missing { .. }) if output.optional => {}
            Err(error) => return Err(not_accepted(case, name, &error)),
        }
    }
    case.require(&judgement.metrics)?;
    if found.is_empty() {
        return Ok(());
    }
    failpoint::hit("after_survey");
    let noted = found.iter().map(|(name, surveyed)| NotedOutput::new(name.as_str(), &surveyed.content())).collect();
    case.notes.write(case.record.attempt, noted).map_err(|error| unusable(&error))?;
    failpoint::hit("after_note");
    for (name, surveyed) in found {
        let content =
            site.objects.take(surveyed, &mut judgement.objects).map_err(|error| not_accepted(case, name, &error))?;
        judgement.outputs.push(case.publication(site, name, &content));
        failpoint::hit("after_move");
    }
    Ok(())
}

/// Finishes what an earlier owner began to move.
fn salvage(site: &Site, case: &Case, noted: &[NotedOutput], judgement: &mut Judgement) -> Result<(), Failure> {
    let lost = |message: String| Failure { cause: Cause::Lost, exit_code: Some(0), message };
    case.require(&judgement.metrics)?;
    for note in noted {
        let Some((name, output)) = case.step.outputs.get_key_value(note.output.as_str()) else {
            return Err(lost(format!("it published `{}`, which the step does not have", note.output)));
        };
        let (place, content) = (output_place(name, output), note.content());
        site.objects.salvage(&case.folder, Path::new(&place), &content, &mut judgement.objects).map_err(|error| {
            lost(format!("output `{name}` was lost on its way into the store: {}", crate::text(&error)))
        })?;
        judgement.outputs.push(case.publication(site, name, &content));
    }
    Ok(())
}

impl Case {
    fn require(&self, metrics: &[Metric]) -> Result<(), Failure> {
        let params = self.derived.facts.params_for(&self.derived.cell);
        match reported::unmet(&self.step.require, &reported::bindings(&params, &self.derived.cell, metrics)) {
            Some(message) => Err(Failure { cause: Cause::Require, exit_code: Some(0), message }),
            None => Ok(()),
        }
    }

    fn publication(&self, site: &Site, name: &Name, content: &Collected) -> NewMaterialization {
        let place = self.step.outputs.get_index_of(name.as_str()).expect("only declared outputs are collected");
        let file_name = output_file_name(name, &self.step.outputs[place]);
        let table = tables::known(site, content, &file_name);
        NewMaterialization {
            output: name.to_string(),
            dataset: self.datasets[place].clone(),
            subset: self.subset.clone(),
            hash: content.hash,
            kind: site::content_kind(content.kind),
            size: content.size,
            files: content.files,
            rows: table.as_ref().map(|table| table.rows),
            file_name,
            profile: table.map(|table| table.profile),
        }
    }
}

/// The run's own files cannot be written or read.
fn unusable(error: &std::io::Error) -> Failure {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let cause = if full { Cause::NoSpace } else { Cause::Internal };
    Failure { cause, exit_code: Some(0), message: error.to_string() }
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

/// Whether inputs or code are other than they were when the attempt was put on record, or cannot be relied on.
fn disturbed(site: &Site, case: &Case) -> Option<String> {
    for (name, thing) in case.derived.things() {
        if thing.tainted {
            return Some(format!("input `{name}` was made while what it is made of was changed"));
        }
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
