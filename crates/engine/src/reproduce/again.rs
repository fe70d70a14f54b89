//! Doing one attempt again, from its record to its verdict.

use std::path::Path;
use std::sync::Arc;

use runstone_core::attempt::{AttemptSpec, LogLimit, OutcomeRecord};
use runstone_core::executor::{Executor as _, Report, SecretEnv};
use runstone_core::machine::Failure;
use runstone_core::partition::Key;
use runstone_core::record::{AttemptKind, AttemptState};
use runstone_core::reproduction::{MetricDifference, OutputComparison, Reproduction, Verdict};
use runstone_core::store::Store;
use runstone_exec::local::{LogPiece, read_log};
use runstone_exec::objects::{ObjectError, Presence};
use uuid::Uuid;

use super::closure::Link;
use super::recall::{Missing, Recalled, gone, recall};
use super::scratch::Room;
use super::{ReproduceError, Session, compare};
use crate::begin::Bench;
use crate::clock;
use crate::driver::Event;
use crate::remains::Remains;
use crate::site::{Site, object_kind};
use crate::slots::Demand;
use crate::staging::{self, Place};

/// The most of a last line that is told, in characters.
const LAST_WORDS: usize = 200;

/// What came of it, before it is dated.
struct Outcome {
    verdict: Verdict,
    outputs: Vec<OutputComparison>,
    metrics: Vec<MetricDifference>,
    missing: Missing,
    message: Option<String>,
}

impl Outcome {
    fn impossible(missing: Missing, message: Option<&str>) -> Self {
        let message = message.map(str::to_owned);
        Self { verdict: Verdict::Impossible, outputs: Vec::new(), metrics: Vec::new(), missing, message }
    }

    fn failed(message: String) -> Self {
        Self { verdict: Verdict::Failed, message: Some(message), ..Self::impossible(Vec::new(), None) }
    }
}

/// Does an attempt again. `tell` hears about an environment being built.
///
/// # Errors
/// [`ReproduceError`] where the record or the machine do not let it; nothing is said about the attempt then.
pub(super) fn again(
    session: &Session,
    bench: &mut Bench,
    store: &mut dyn Store,
    link: &Link,
    room: &Room,
    tell: &mut dyn FnMut(&str),
) -> Result<Reproduction, ReproduceError> {
    let started = clock::now();
    let attempt = &link.attempt;
    let outcome = match attempt.kind {
        _ if attempt.state != AttemptState::Succeeded => Outcome::impossible(
            Vec::new(),
            Some("the attempt on record did not succeed: there is nothing to compare with"),
        ),
        AttemptKind::Ingest | AttemptKind::Observe => looked_at(&session.site, link)?,
        AttemptKind::Run if link.published.is_empty() => {
            Outcome::impossible(Vec::new(), Some("the attempt on record published nothing that could be compared"))
        }
        AttemptKind::Run => match recall(&session.site, store, link, room)? {
            Ok(recalled) => run(session, bench, store, link, room, &recalled, tell)?,
            Err(missing) => Outcome::impossible(missing, None),
        },
        AttemptKind::Reuse => Outcome::impossible(Vec::new(), Some("the attempt that did the work is not on record")),
    };
    let tainted = attempt.end.as_ref().and_then(|end| end.tainted.as_ref());
    let tainted = tainted.map(|why| format!("the attempt on record is tainted: {why}"));
    Ok(Reproduction {
        attempt: attempt.id,
        verdict: outcome.verdict,
        outputs: outcome.outputs,
        metrics: outcome.metrics,
        missing: outcome.missing,
        message: [outcome.message, tainted].into_iter().flatten().reduce(|one, other| format!("{one}; {other}")),
        started,
        ended: clock::now(),
        platform: crate::facts::platform(),
        host: crate::environment::host(),
        tool_version: session.tool_version.clone(),
    })
}

/// What was read from outside cannot be read again as it was: the bytes on record are all there is to it.
fn looked_at(site: &Site, link: &Link) -> Result<Outcome, ReproduceError> {
    let mut outcome = Outcome { verdict: Verdict::Identical, ..Outcome::impossible(Vec::new(), None) };
    for record in &link.published {
        let mut is_whole = true;
        let looked = site.objects.reach(record.hash, object_kind(record.kind), &mut |reached| {
            is_whole &= site.objects.verify(reached.hash)? == Presence::Present;
            Ok(is_whole)
        });
        match looked {
            Err(ObjectError::NotStored { .. } | ObjectError::Altered { .. } | ObjectError::BadNode { .. }) => {
                is_whole = false;
            }
            looked => looked.map_err(|error| ReproduceError::objects(&error))?,
        }
        if !is_whole {
            outcome.missing.push(gone(record));
        }
        let verdict = if is_whole { Verdict::Identical } else { Verdict::Impossible };
        outcome.outputs.push(OutputComparison {
            output: record.output.clone(),
            expected: Some(record.hash),
            found: is_whole.then_some(record.hash),
            verdict,
            expected_size: Some(record.size),
            found_size: is_whole.then_some(record.size),
            difference: None,
            message: None,
        });
    }
    outcome.verdict = Verdict::worst(outcome.outputs.iter().map(|output| output.verdict));
    Ok(outcome)
}

/// Runs what was recalled, and compares.
fn run(
    session: &Session,
    bench: &mut Bench,
    store: &mut dyn Store,
    link: &Link,
    room: &Room,
    recalled: &Recalled,
    tell: &mut dyn FnMut(&str),
) -> Result<Outcome, ReproduceError> {
    let spec = match spec(link, room, recalled, tell) {
        Ok(spec) => spec,
        Err(_) if session.is_stopped() => return Err(ReproduceError::Stopped),
        Err(reason) => return Ok(Outcome::impossible(vec![reason], None)),
    };
    let demand = Demand {
        run: session.id,
        priority: recalled.prepared.pipeline.priority,
        cpu_milli: recalled.step.resources.cpu_milli,
        mem: recalled.step.resources.mem,
    };
    let record = match execute(session, bench, &spec, &recalled.secrets, demand)? {
        Ok(record) => record,
        Err(message) => return Ok(Outcome::failed(message)),
    };
    let remains = Remains {
        record,
        folder: room.attempt.clone(),
        step: Arc::clone(&recalled.step),
        derived: Arc::clone(&recalled.derived),
        home: recalled.prepared.folder.clone(),
        masker: Site::masker(&recalled.secrets),
    };
    let judged = remains.failure().map_or(Ok(()), Err).and_then(|()| {
        let metrics = remains.metrics()?;
        remains.metadata()?;
        let outputs = remains.outputs()?;
        remains.require(&metrics)?;
        Ok((metrics, outputs))
    });
    let (metrics, outputs) = match judged {
        Ok(judged) => judged,
        Err(failure) => return Ok(Outcome::failed(why(&failure, &room.attempt, spec.log_limit))),
    };
    let aside_from = session.deep.then_some(room.attempt.as_path());
    let outputs = compare::outputs(recalled, store, link, outputs, aside_from)?;
    let recorded: Vec<_> = store.metrics(&[link.attempt.id])?.into_iter().map(|(_, metric)| metric).collect();
    Ok(Outcome {
        verdict: Verdict::worst(outputs.iter().map(|output| output.verdict)),
        outputs,
        metrics: compare::metrics(&recorded, &metrics),
        missing: Vec::new(),
        message: None,
    })
}

/// The specification of the attempt, as a run would make it. A sentence where something cannot be had.
fn spec(link: &Link, room: &Room, recalled: &Recalled, tell: &mut dyn FnMut(&str)) -> Result<AttemptSpec, String> {
    let Recalled { site, prepared, step, derived, origin, .. } = recalled;
    if let Some(python) = &derived.facts.python {
        // Built here, it is found by who builds the specification, for whom relative places would lead nowhere.
        site.python.ensure(origin, &python.locked, tell).map_err(|error| crate::text(&error))?;
    }
    let place = Place {
        attempt: Uuid::now_v7(),
        number: link.attempt.number,
        run_number: link.attempt.run_number,
        folder: room.attempt.clone(),
        cwd: &prepared.folder,
        pipeline: &prepared.pipeline.name,
        partition: prepared.partition.as_ref().map(Key::as_str),
        log_limit: site.project.config().log_limit.value,
    };
    let spec = staging::spec(site, step, derived, &place, tell)?;
    Ok(AttemptSpec { ends_with_owner: true, ..spec })
}

/// Runs an attempt when the machine has room for it. A sentence where its outcome is not known.
fn execute(
    session: &Session,
    bench: &mut Bench,
    spec: &AttemptSpec,
    secrets: &SecretEnv,
    demand: Demand,
) -> Result<Result<OutcomeRecord, String>, ReproduceError> {
    let slots = &session.crew.slots;
    let (sender, events) = &bench.events;
    let mut slot = slots.try_take(demand);
    if slot.is_none() {
        let (sender, attempt) = (sender.clone(), spec.attempt);
        slots.wait(demand, move |slot| {
            // Where nobody hears it any more, it goes on to the next.
            let _ = sender.send(Event::Slot { task: 0, attempt, slot });
        });
    }
    while slot.is_none() {
        match events.recv() {
            Ok(Event::Slot { attempt, slot: granted, .. }) if attempt == spec.attempt => slot = Some(granted),
            Ok(Event::Stop(_)) | Err(_) => return Err(ReproduceError::Stopped),
            Ok(_) => {}
        }
    }
    if session.is_stopped() {
        return Err(ReproduceError::Stopped);
    }
    bench.executor.start(spec, secrets).map_err(|error| ReproduceError::Executor(crate::text(&error)))?;
    let ended = loop {
        match bench.events.1.recv() {
            Ok(Event::Report(Report::Ended(record))) if record.attempt == spec.attempt => break Ok(record),
            Ok(Event::Report(Report::Vanished { attempt, message })) if attempt == spec.attempt => break Err(message),
            Ok(Event::Stop(how)) => bench.executor.stop(spec.attempt, how),
            Ok(_) => {}
            Err(_) => unreachable!("the bench holds a sender itself"),
        }
    };
    drop(slot);
    if session.is_stopped() { Err(ReproduceError::Stopped) } else { Ok(ended) }
}

/// Why it failed, with the last words of the step, since its logs go with the place.
fn why(failure: &Failure, folder: &Path, limit: LogLimit) -> String {
    let last = ["stderr", "stdout"].into_iter().find_map(|log| last_line(&folder.join(log), limit));
    match last.filter(|_| failure.exit_code != Some(0)) {
        Some(line) => format!("{}; its last words: {line}", failure.message),
        None => failure.message.clone(),
    }
}

fn last_line(path: &Path, limit: LogLimit) -> Option<String> {
    let log = read_log(path, 0, limit).ok()?;
    let Some(LogPiece::Bytes(bytes)) = log.pieces.last() else { return None };
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(LAST_WORDS).collect())
}
