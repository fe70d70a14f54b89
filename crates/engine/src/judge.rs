//! Judging an attempt whose process is gone: are its outputs there, what did it report, was anything changed under it?
//!
//! Outputs are accepted only after exit 0, and only all of them together. They are hashed where they are, noted, and only
//! then moved from the attempt's folder into the content store; nothing is on record yet, and nothing of it means anything
//! until it is. An attempt that was judged before, by an owner that was killed before the record was made, is judged
//! again and with the same result: see [`crate::collected`].

use std::path::Path;
use std::sync::Arc;

use runstone_core::attempt::{Cause, OutcomeRecord};
use runstone_core::machine::Failure;
use runstone_core::name::Name;
use runstone_core::record::{AttemptEnd, Metric};
use runstone_core::store::NewMaterialization;
use runstone_exec::local::Masker;
use runstone_exec::objects::{Batch, Collected, Depth, Limits, Presence};

use crate::collected::{NotedOutput, Notes};
use crate::failpoint;
use crate::remains::Remains;
use crate::site::{self, Site};
use crate::staging::{output_file_name, output_place};
use crate::tables;

/// Everything known about the attempt.
pub(crate) struct Case {
    pub(crate) remains: Remains,
    /// By output: the full name of its dataset.
    pub(crate) datasets: Vec<String>,
    /// The part of them that it publishes.
    pub(crate) subset: String,
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
    let remains = &case.remains;
    let mut end = end_of(&remains.record, &remains.masker);
    let mut judgement = Judgement {
        failure: None,
        end: end.clone(),
        outputs: Vec::new(),
        metrics: Vec::new(),
        metadata: None,
        objects: Batch::default(),
    };
    let failure = remains.failure();
    let failure = if failure.is_some() {
        // What it reported helps to find out why it failed; whether it is well-formed matters no more.
        judgement.metrics = remains.metrics().unwrap_or_default();
        failure
    } else {
        accept(site, case, &mut judgement).err()
    };
    if let Some(failure) = &failure {
        end.cause = failure.cause;
        end.message = Some(remains.masker.mask(&failure.message));
        judgement.outputs.clear();
    } else {
        end.tainted = case.tainted.clone().or_else(|| disturbed(site, case));
    }
    judgement.failure = failure.map(|failure| Failure { message: end.message.clone().unwrap_or_default(), ..failure });
    judgement.end = end;
    judgement
}

fn accept(site: &Site, case: &Case, judgement: &mut Judgement) -> Result<(), Failure> {
    judgement.metrics = case.remains.metrics()?;
    judgement.metadata = case.remains.metadata()?;
    let attempt = case.remains.record.attempt;
    let noted = if case.again { case.notes.find(attempt).map_err(|error| unusable(&error))? } else { None };
    match noted {
        Some(noted) => salvage(site, case, &noted, judgement),
        None => collect(site, case, judgement),
    }
}

/// Hashes all outputs, notes what they are, and moves them into the store.
fn collect(site: &Site, case: &Case, judgement: &mut Judgement) -> Result<(), Failure> {
    let found = case.remains.outputs()?;
    case.remains.require(&judgement.metrics)?;
    if found.is_empty() {
        return Ok(());
    }
    failpoint::hit("after_survey");
    let noted = found.iter().map(|(name, surveyed)| NotedOutput::new(name.as_str(), &surveyed.content())).collect();
    case.notes.write(case.remains.record.attempt, noted).map_err(|error| unusable(&error))?;
    failpoint::hit("after_note");
    for (name, surveyed) in found {
        let taken = site.objects.take(surveyed, &mut judgement.objects);
        let content = taken.map_err(|error| case.remains.not_accepted(name, &error))?;
        judgement.outputs.push(case.publication(site, name, &content));
        failpoint::hit("after_move");
    }
    Ok(())
}

/// Finishes what an earlier owner began to move.
fn salvage(site: &Site, case: &Case, noted: &[NotedOutput], judgement: &mut Judgement) -> Result<(), Failure> {
    let lost = |message: String| Failure { cause: Cause::Lost, exit_code: Some(0), message };
    case.remains.require(&judgement.metrics)?;
    for note in noted {
        let Some((name, output)) = case.remains.step.outputs.get_key_value(note.output.as_str()) else {
            return Err(lost(format!("it published `{}`, which the step does not have", note.output)));
        };
        let (place, content) = (output_place(name, output), note.content());
        site.objects.salvage(&case.remains.folder, Path::new(&place), &content, &mut judgement.objects).map_err(
            |error| lost(format!("output `{name}` was lost on its way into the store: {}", crate::text(&error))),
        )?;
        judgement.outputs.push(case.publication(site, name, &content));
    }
    Ok(())
}

impl Case {
    fn publication(&self, site: &Site, name: &Name, content: &Collected) -> NewMaterialization {
        let outputs = &self.remains.step.outputs;
        let place = outputs.get_index_of(name.as_str()).expect("only declared outputs are collected");
        let file_name = output_file_name(name, &outputs[place]);
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

/// Whether inputs or code are other than they were when the attempt was put on record, or cannot be relied on.
fn disturbed(site: &Site, case: &Case) -> Option<String> {
    for (name, thing) in case.remains.derived.things() {
        if thing.tainted {
            return Some(format!("input `{name}` was made while what it is made of was changed"));
        }
        let kind = site::object_kind(thing.kind);
        match site.objects.check(thing.hash, kind, thing.size, Depth::Deep) {
            Ok(Presence::Present) => {}
            _ => return Some(format!("input `{name}` was changed while the step ran")),
        }
    }
    for (path, file) in case.remains.derived.facts.code_files() {
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
