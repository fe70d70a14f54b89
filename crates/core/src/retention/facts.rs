//! What a decision about retention rests on: one look at the whole record of a project and one of its content stores.

use std::collections::{HashMap, HashSet};

use crate::hash::ContentHash;
use crate::record::{AttemptKind, ContentKind, NodeId};
use crate::time::Timestamp;

/// Everything there is to know. Nodes are given in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What the record names of the content store, by hash.
    pub contents: HashMap<ContentHash, Content>,
    /// Names of datasets; others refer to their places here.
    pub datasets: Vec<String>,
    /// Every publication of the project, in the order of ids.
    pub publications: Vec<Publication>,
    /// Every attempt of the project, in the order of ids.
    pub attempts: Vec<Attempt>,
    /// Which attempt read which publication, in the order of attempts.
    pub readings: Vec<(NodeId, NodeId)>,
    /// What `@latest` names.
    pub latest: HashSet<NodeId>,
    /// Where tags lead, and what they are called.
    pub tagged: HashMap<NodeId, String>,
    /// When the result of an attempt stood for a task last: when that task's run began.
    pub stood: HashMap<NodeId, Timestamp>,
    /// What runs that are going on rest on, or are making.
    pub held: HashSet<ContentHash>,
}

/// Content that the record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// File or folder.
    pub kind: ContentKind,
    /// Bytes.
    pub size: u64,
    /// Proof of what ran, such as code.
    pub proof: bool,
    /// Not given up.
    pub stored: bool,
}

/// A publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its node.
    pub id: NodeId,
    /// Its dataset's place.
    pub dataset: usize,
    /// Number of its version.
    pub version: i64,
    /// Its cell.
    pub subset: String,
    /// Its content.
    pub hash: ContentHash,
    /// Who published it.
    pub attempt: NodeId,
    /// When.
    pub created: Timestamp,
}

/// An attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Its node.
    pub id: NodeId,
    /// What it is.
    pub kind: AttemptKind,
    /// Whether its result may stand for others: it succeeded, is not tainted, and its step may be cached.
    pub reusable: bool,
    /// Whether its inputs or code changed meanwhile.
    pub tainted: bool,
    /// For kind `reuse`: who did the work.
    pub reused_from: Option<NodeId>,
    /// When it was put on record.
    pub created: Timestamp,
    /// How long it took, microseconds; 0 while it is not over.
    pub wall_us: u64,
}

impl Attempt {
    /// Who did the work.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.reused_from.unwrap_or(self.id)
    }

    /// Whether doing the same once more gives the same.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.kind == AttemptKind::Run && self.reusable && !self.tainted
    }
}

impl Facts {
    /// An attempt by its node.
    #[must_use]
    pub fn attempt(&self, id: NodeId) -> Option<&Attempt> {
        self.attempts.binary_search_by_key(&id, |attempt| attempt.id).ok().map(|at| &self.attempts[at])
    }

    /// A publication by its node.
    #[must_use]
    pub fn publication(&self, id: NodeId) -> Option<&Publication> {
        self.publications.binary_search_by_key(&id, |one| one.id).ok().map(|at| &self.publications[at])
    }

    /// Whether the bytes of a content have not been given up.
    #[must_use]
    pub fn is_stored(&self, hash: &ContentHash) -> bool {
        self.contents.get(hash).is_some_and(|content| content.stored)
    }

    /// How often each content was published and read.
    #[must_use]
    pub fn uses(&self) -> HashMap<ContentHash, (u64, u64)> {
        let mut uses: HashMap<ContentHash, (u64, u64)> = HashMap::new();
        for publication in &self.publications {
            uses.entry(publication.hash).or_default().0 += 1;
        }
        for publication in self.readings.iter().filter_map(|(_, read)| self.publication(*read)) {
            uses.entry(publication.hash).or_default().1 += 1;
        }
        uses
    }
}
