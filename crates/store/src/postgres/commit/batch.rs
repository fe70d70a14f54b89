//! The rows a decided batch puts on record, as plain values.

use std::collections::BTreeMap;

use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{AttemptKind, AttemptState, ContentKind, NodeId, RunState, TaskState};
use runstone_core::store::{FinishAttempt, NewMaterialization, NewTask, PoolAsk};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::super::events::EventRow;
use super::line::Place;
use crate::event::Event;

/// Everything a batch writes, in the order in which it is written.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    /// Claims that the batch may have changed.
    pub(super) claims: BTreeMap<Fingerprint, ClaimRow>,
    pub(super) new_tasks: Vec<&'a NewTask>,
    pub(super) derivations: BTreeMap<Fingerprint, &'a [u8]>,
    pub(super) attempts: Vec<AttemptRow<'a>>,
    pub(super) publications: Vec<PublicationRow<'a>>,
    /// Dataset and cell → what `@latest` names from here on.
    pub(super) heads: BTreeMap<(&'a str, &'a str), NodeId>,
    pub(super) blobs: BTreeMap<ContentHash, BlobRow>,
    /// Reader, publication and slot → trust.
    pub(super) edges: BTreeMap<(NodeId, NodeId, &'a str), &'static str>,
    pub(super) running: Vec<NodeId>,
    pub(super) ends: Vec<(NodeId, &'a FinishAttempt)>,
    pub(super) metrics: BTreeMap<(NodeId, &'a str, &'a str), (f64, Option<u64>)>,
    /// Tasks as they were and as they are from here on.
    pub(super) tasks: BTreeMap<u32, TaskRow<'a>>,
    /// Where tasks that stay as they are stand in line from here on.
    pub(super) places: BTreeMap<u32, Option<Place>>,
    pub(super) events: Vec<EventRow>,
    pub(super) run_end: Option<(RunState, Option<&'a str>)>,
}

/// Whose claim it is in the locked row, and whose it is from here on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimRow {
    pub(super) was: NodeId,
    pub(super) now: Option<NodeId>,
}

impl ClaimRow {
    /// Whether it goes from one attempt to the next without being free.
    pub(super) fn is_passed_on(&self) -> bool {
        self.now.is_some_and(|now| now != self.was)
    }
}

/// An attempt to be put on record.
#[derive(Debug)]
pub(super) struct AttemptRow<'a> {
    pub(super) id: NodeId,
    pub(super) uuid: Uuid,
    pub(super) task: u32,
    pub(super) number: u32,
    pub(super) step: String,
    pub(super) cell: String,
    pub(super) kind: AttemptKind,
    pub(super) fingerprint: &'a Fingerprint,
    /// For kind `reuse`, which is over as soon as it is on record: the attempt that did the work.
    pub(super) origin: Option<NodeId>,
    /// What it holds while it lives.
    pub(super) pool: Option<&'a PoolAsk>,
}

impl AttemptRow<'_> {
    /// The state it is put on record with.
    pub(super) const fn state(&self) -> AttemptState {
        if self.origin.is_some() { AttemptState::Succeeded } else { AttemptState::Assigned }
    }

    /// When it started and ended, where it is over.
    pub(super) fn over(&self, now: Timestamp) -> Option<Timestamp> {
        self.origin.map(|_| now)
    }

    /// Why it ended, where it is over.
    pub(super) fn cause(&self) -> Option<&'static str> {
        self.origin.map(|_| Cause::Exit.as_str())
    }
}

/// A publication to be put on record.
#[derive(Debug)]
pub(super) struct PublicationRow<'a> {
    pub(super) id: NodeId,
    pub(super) attempt: NodeId,
    pub(super) what: &'a NewMaterialization,
}

/// An object that the batch names.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlobRow {
    pub(super) kind: ContentKind,
    pub(super) size: u64,
    /// Whether it is kept as proof, whatever else it is.
    pub(super) proof: bool,
}

/// A task as it was before the batch, and as it is after it.
#[derive(Debug)]
pub(super) struct TaskRow<'a> {
    pub(super) was: (TaskState, u32),
    pub(super) state: TaskState,
    pub(super) attempts: u32,
    pub(super) attempt: Option<NodeId>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) reason: Option<&'a str>,
}

impl Batch<'_> {
    pub(super) fn tell(&mut self, task: Option<u32>, attempt: Option<NodeId>, event: &Event<'_>) {
        self.events.push(EventRow::of(task, attempt, event));
    }
}
