//! Whether the record still says what the log states, leaf by leaf, and the log what its checkpoints sign.

use std::collections::{BTreeMap, HashMap, HashSet};

use runstone_core::cell::task_name;
use runstone_core::derivation;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::lineage::store::{CheckpointRecord, LogLeaf};
use runstone_core::log::checkpoint::Checkpoint;
use runstone_core::log::note::{Note, NoteKey};
use runstone_core::log::tree::{Appender, LeafHash, leaf_hash};
use runstone_core::record::NodeId;
use runstone_core::store::Store;
use serde::Serialize;
use uuid::Uuid;

use super::{appender, definition_hash, origin};
use crate::Result;
use crate::facts::{self, Facts, RunHashes};

/// Leaves looked at together.
const BATCH: u32 = 1000;
/// Findings listed at most; after the first ones everything that follows is wrong too.
const LISTED: usize = 100;

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogReport {
    /// Leaves looked at.
    pub leaves: u64,
    /// Checkpoints looked at.
    pub checkpoints: usize,
    /// Attempts that ended and are not in the log yet.
    pub unlogged: usize,
    /// What does not fit, in the order in which it was found.
    pub findings: Vec<Finding>,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `statement`, `derivation`, `definition`, `log` or `checkpoint`.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// What is wrong, as a fragment of a sentence.
    pub message: String,
}

/// Makes every statement again from the record, grows the tree of all of them, and compares it with what the log and its
/// checkpoints say. Where `keys` are given, each checkpoint must be signed by one of them. The log must go on from every
/// checkpoint in `kept`, wherever that was kept. `progress` is told how many leaves were looked at, of how many.
///
/// # Errors
/// Where the record cannot be read at all.
pub fn check(
    store: &mut dyn Store,
    project: Uuid,
    keys: &[NoteKey],
    kept: &[Checkpoint],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<LogReport> {
    let mut checkpoints: BTreeMap<u64, CheckpointRecord> =
        store.checkpoints(u32::MAX)?.into_iter().map(|checkpoint| (checkpoint.size, checkpoint)).collect();
    let mut check = Check {
        project,
        report: LogReport { checkpoints: checkpoints.len(), ..LogReport::default() },
        tree: Appender::new(),
        runs: RunHashes::default(),
        known: HashSet::new(),
        definitions: HashSet::new(),
        unreadable: HashSet::new(),
        over: false,
        signed: 0,
    };
    check.signatures(checkpoints.values(), keys);
    let size = store.log_size()?;
    let signed = store.checkpoints(1)?.first().map_or(0, |last| last.size);
    if size > signed {
        check.put("checkpoint", format!("leaves {signed} to {}", size - 1), "are not signed");
    }
    for kept in kept {
        check.kept(store, kept, size)?;
    }
    while check.tree.size() < size && !check.over && check.report.findings.len() < LISTED {
        let leaves = store.log_leaves(check.tree.size(), BATCH)?;
        if leaves.is_empty() {
            break;
        }
        check.batch(store, &leaves, &mut checkpoints)?;
        progress(check.tree.size(), size);
    }
    let grown = check.tree.size();
    for (size, _) in checkpoints.range(grown + 1..).filter(|_| grown == size).take(LISTED) {
        check.put("checkpoint", format!("checkpoint {size}"), "covers more leaves than the log has");
    }
    check.report.leaves = check.tree.size();
    check.report.unlogged = store.unlogged(u32::MAX)?.len();
    Ok(check.report)
}

struct Check {
    project: Uuid,
    report: LogReport,
    tree: Appender,
    runs: RunHashes,
    known: HashSet<Fingerprint>,
    definitions: HashSet<ContentHash>,
    /// Attempts of which that was said already.
    unreadable: HashSet<NodeId>,
    /// Set where it makes no sense to go on.
    over: bool,
    /// Size of the largest checkpoint that fits.
    signed: u64,
}

impl Check {
    fn put(&mut self, kind: &'static str, subject: String, message: impl Into<String>) {
        if self.report.findings.len() < LISTED {
            self.report.findings.push(Finding { kind, subject, message: message.into() });
        }
    }

    fn signatures<'c>(&mut self, checkpoints: impl Iterator<Item = &'c CheckpointRecord>, keys: &[NoteKey]) {
        for record in checkpoints {
            let subject = format!("checkpoint {}", record.size);
            let note = match Note::parse(record.note.as_bytes()) {
                Ok(note) => note,
                Err(error) => {
                    self.put("checkpoint", subject, format!("is no signed note: {error}"));
                    continue;
                }
            };
            if !keys.is_empty()
                && let Err(error) = note.verify(keys)
            {
                self.put("checkpoint", subject.clone(), error.to_string());
            }
            match note.text().parse::<Checkpoint>() {
                Ok(signed) => {
                    let is_its = signed.size == record.size && *signed.root.as_bytes() == record.root;
                    if !is_its || signed.origin != origin(self.project) {
                        self.put("checkpoint", subject, "says something else than what was signed");
                    }
                }
                Err(error) => self.put("checkpoint", subject, error.to_string()),
            }
        }
    }

    fn batch(
        &mut self,
        store: &mut dyn Store,
        leaves: &[LogLeaf],
        checkpoints: &mut BTreeMap<u64, CheckpointRecord>,
    ) -> Result<()> {
        let facts = self.facts(store, leaves)?;
        let by_id: HashMap<NodeId, &Facts> = facts.iter().map(|it| (it.attempt.id, it)).collect();
        self.asked(store, &facts)?;
        for leaf in leaves {
            if leaf.index != self.tree.size() {
                let size = self.tree.size();
                self.put("log", format!("leaf {size}"), "is missing");
                // Every later index is off by now, and says nothing more.
                self.over = true;
                return Ok(());
            }
            let stated = by_id.get(&leaf.attempt).copied();
            self.leaf(leaf, stated);
            if let Some(checkpoint) = checkpoints.remove(&self.tree.size()) {
                self.checkpoint(&checkpoint);
            }
        }
        Ok(())
    }

    /// The facts about all that can be read. Where that cannot be done together, what is in the way is found one by one.
    fn facts(&mut self, store: &mut dyn Store, leaves: &[LogLeaf]) -> Result<Vec<Facts>> {
        let ids: Vec<NodeId> = leaves.iter().map(|leaf| leaf.attempt).collect();
        match facts::load(store, &ids) {
            Err(error) if error.is_damage() => {}
            facts => return facts,
        }
        let mut all = Vec::new();
        for leaf in leaves {
            match facts::load(store, &[leaf.attempt]) {
                Ok(facts) => all.extend(facts),
                Err(error) if error.is_damage() => {
                    self.unreadable.insert(leaf.attempt);
                    let name = format!("attempt {} (leaf {})", leaf.attempt.0, leaf.index);
                    self.put("statement", name, format!("cannot be made again: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The tree is that of the leaves as they are logged, so that one statement that was changed is one finding.
    fn leaf(&mut self, leaf: &LogLeaf, facts: Option<&Facts>) {
        let logged = LeafHash::from_bytes(head(&leaf.record));
        let record = self.tree.append(logged);
        let subject = |name: String| format!("{name} (leaf {})", leaf.index);
        if self.unreadable.contains(&leaf.attempt) {
            return;
        }
        let Some(facts) = facts else {
            let name = subject(format!("attempt {}", leaf.attempt.0));
            return self.put("statement", name, "is not on record");
        };
        let run = self.runs.of(self.project, &facts.run);
        if leaf_hash(&facts.statement(run).seal()) != logged {
            let attempt = &facts.attempt;
            let task = task_name(&attempt.step, &attempt.cell);
            let name = subject(format!("#{} {}/{task}", attempt.run_number, attempt.pipeline));
            self.put("statement", name, "is not on record as the log states it");
        }
        if record != leaf.record {
            self.put("log", format!("leaf {}", leaf.index), "does not follow from the leaves before it");
        }
    }

    /// A root that is not signed tells that one of the leaves since the last one that is was exchanged.
    fn checkpoint(&mut self, checkpoint: &CheckpointRecord) {
        if *self.tree.root().as_bytes() == checkpoint.root {
            self.signed = checkpoint.size;
        } else {
            let message =
                format!("does not sign this log: leaves {} to {} were others", self.signed, checkpoint.size - 1);
            self.put("checkpoint", format!("checkpoint {}", checkpoint.size), message);
        }
    }

    /// Whether the log goes on from a checkpoint of earlier. What its rows prove is held against the leaves later on.
    fn kept(&mut self, store: &mut dyn Store, kept: &Checkpoint, size: u64) -> Result<()> {
        let subject = format!("the log at {} leaves", kept.size);
        if kept.origin != origin(self.project) {
            self.put("checkpoint", subject, format!("was kept as one of {}", kept.origin));
        } else if kept.size > size {
            self.put("checkpoint", subject, format!("was signed, and now it has {size}"));
        } else {
            match appender(store, kept.size) {
                Ok(tree) if tree.root() == kept.root => {}
                Ok(_) => self.put("checkpoint", subject, "was another one when it was signed"),
                Err(error) if error.is_damage() => self.put("checkpoint", subject, error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was asked, and the definitions, against the hashes by which statements name them.
    fn asked(&mut self, store: &mut dyn Store, facts: &[Facts]) -> Result<()> {
        for it in facts {
            let fingerprint = it.attempt.fingerprint;
            if self.known.insert(fingerprint) {
                match store.derivation(&fingerprint)? {
                    Some(bytes) if derivation::fingerprint(&bytes) == fingerprint => {}
                    Some(_) => self.put("derivation", fingerprint.to_string(), "is not what the fingerprint says"),
                    // A reuse may be asked by an older recipe, whose bytes were never kept.
                    None if it.reused_from.is_some() => {}
                    None => self.put("derivation", fingerprint.to_string(), "is not on record"),
                }
            }
            let definition = it.run.definition;
            if self.definitions.insert(definition) {
                match store.definition(&definition)? {
                    Some(text) if definition_hash(&text) == definition => {}
                    Some(_) => self.put("definition", definition.to_string(), "is not the text it was"),
                    None => self.put("definition", definition.to_string(), "is not on record"),
                }
            }
        }
        Ok(())
    }
}

/// The hash of the leaf itself.
fn head(record: &[u8]) -> [u8; 32] {
    record.get(..32).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}
