//! Events of OpenLineage, put on record as asserted.
//!
//! What others send is taken as far as it can be understood: identities that are no UUIDs, times without an offset, missing
//! schemas, unknown facets, any order, repetitions. An event that says nothing clear is left out whole, and told of; the
//! others are recorded.
//!
//! An event has at most [`MAX_EVENT_BYTES`], and one of them is in memory at a time, besides a batch of small ones. The body
//! of one with more than [`MAX_ROW_BYTES`] goes to the content store, so that no question about lineage ever reads it.

mod event;

use std::io::{self, Read};

use runstone_core::canonical::{self, hash_with_context};
use runstone_core::hash::ContentHash;
use runstone_core::lineage::asserted::{Body, NewAssertedEvent};
use runstone_core::record::ContentKind;
use runstone_core::store::{KeptObject, Store};
use runstone_core::time::Timestamp;
use runstone_exec::objects::{Batch, ObjectStore};
use serde::Serialize;
use serde_json::Value;

use super::pieces::Pieces;
use crate::{Error, Kind, Result};

/// The largest event, bytes.
pub const MAX_EVENT_BYTES: usize = 32 << 20;
/// The largest body that stands in its row, bytes.
pub const MAX_ROW_BYTES: usize = 64 << 10;

/// Events put on record together at most, and bytes of their bodies.
const BATCH_EVENTS: usize = 200;
const BATCH_BYTES: usize = 4 << 20;

/// Failures told of one by one.
const SHOWN_FAILURES: usize = 100;

/// BLAKE3 key-derivation context of the hash by which an event is recognised.
const EVENT_CONTEXT: &str = "runstone 2026-11 asserted event v1";

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Events that were there, whatever became of them.
    pub received: u64,
    /// Those put on record.
    pub new: u64,
    /// Those on record already, or repeated.
    pub duplicate: u64,
    /// Those that cannot be understood.
    pub failed: u64,
    /// Those whose time had no offset and was taken as UTC.
    pub without_zone: u64,
    /// Those whose run has an identity that is no UUID, and got one made of it.
    pub without_uuid: u64,
    /// The first of those that cannot be understood.
    pub failures: Vec<Failure>,
}

/// An event that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

/// Puts the events of a file on record: a JSON object, an array of them, or one after the other.
///
/// # Errors
/// Where the file cannot be read, or the record or the content store cannot be written. What came before stays on record.
pub fn import(store: &mut dyn Store, objects: &ObjectStore, input: impl Read, now: Timestamp) -> Result<Report> {
    let mut pieces = Pieces::new(input, MAX_EVENT_BYTES);
    let mut importer = Importer { store, objects, now, waiting: Waiting::default(), report: Report::default() };
    let unreadable = |error: io::Error| Error::new(Kind::Io, "the events cannot be read").because(error);
    while let Some(piece) = pieces.next().map_err(unreadable)? {
        importer.report.received += 1;
        match piece.text.map_err(|message| (piece.line, message)).and_then(|bytes| parse(bytes, piece.line)) {
            Ok((body, text)) => importer.take(piece.line, &body, text)?,
            Err((line, message)) => importer.report.fail(line, message),
        }
    }
    importer.flush()?;
    Ok(importer.report)
}

/// The event as a value and as it was written; else the line of the mistake, and what it is.
fn parse(bytes: Vec<u8>, first_line: u64) -> std::result::Result<(Value, String), (u64, String)> {
    let text = String::from_utf8(bytes).map_err(|error| (first_line, format!("it is not UTF-8: {error}")))?;
    match serde_json::from_str(&text) {
        Ok(body) => Ok((body, text)),
        Err(error) => Err((first_line, format!("it is not JSON: {error}"))),
    }
}

/// Events that wait to be put on record, and objects that wait to be durable.
#[derive(Default)]
struct Waiting {
    events: Vec<NewAssertedEvent>,
    objects: Batch,
    bytes: usize,
}

struct Importer<'a> {
    store: &'a mut dyn Store,
    objects: &'a ObjectStore,
    now: Timestamp,
    waiting: Waiting,
    report: Report,
}

impl Importer<'_> {
    fn take(&mut self, line: u64, body: &Value, text: String) -> Result<()> {
        let understood = match event::read(body) {
            Ok(understood) => understood,
            Err(message) => {
                self.report.fail(line, message);
                return Ok(());
            }
        };
        self.report.without_zone += u64::from(!understood.has_zone);
        self.report.without_uuid += u64::from(!understood.has_uuid);
        let dedup = hash_with_context(EVENT_CONTEXT, &canonical::Value::from_json(body));
        self.waiting.bytes += text.len().min(MAX_ROW_BYTES);
        let body = self.keep(text)?;
        self.waiting.events.push(NewAssertedEvent { dedup, body, ..understood.event });
        if self.waiting.events.len() >= BATCH_EVENTS || self.waiting.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn keep(&mut self, text: String) -> Result<Body> {
        if text.len() <= MAX_ROW_BYTES {
            return Ok(Body::Text(text));
        }
        let hash: ContentHash = self.objects.put_bytes(text.as_bytes(), &mut self.waiting.objects)?;
        Ok(Body::Object(KeptObject { hash, kind: ContentKind::File, size: text.len() as u64 }))
    }

    /// Objects first, then the rows that name them.
    fn flush(&mut self) -> Result<()> {
        let Waiting { events, objects, .. } = std::mem::take(&mut self.waiting);
        self.objects.sync(objects)?;
        let is_new = self.store.assert_events(self.objects.marker(), &events, self.now)?;
        let new = is_new.iter().filter(|new| **new).count();
        self.report.new += new as u64;
        self.report.duplicate += (is_new.len() - new) as u64;
        Ok(())
    }
}

impl Report {
    fn fail(&mut self, line: u64, message: String) {
        self.failed += 1;
        if self.failures.len() < SHOWN_FAILURES {
            self.failures.push(Failure { line, message });
        }
    }
}
