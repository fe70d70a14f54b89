//! Verifying an export, from the folder alone: no database, no store of objects, no network.
//!
//! In this order, so that what is named first is where it began: the manifest is signed; every file is the one of the
//! manifest, and there are no others; the checkpoints are signed and each is a beginning of the last; every statement is
//! in the log; what statements name by hash is there and has that hash; what was read was published by somebody
//! before; and objects are the bytes their names say.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use runstone_core::canonical;
use runstone_core::derivation;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::lineage::statement::{Stated, run_hash};
use runstone_core::log::checkpoint::Checkpoint;
use runstone_core::log::note::{Note, NoteKey};
use runstone_core::log::tree::{Appender, LeafHash, NodeHash, leaf_hash, verify_consistency, verify_inclusion};
use runstone_core::record::NodeId;
use runstone_exec::objects::tree::node_hash;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::read::{self, Outcome};
use super::{
    CHECKPOINTS, CheckpointLine, DEFINITIONS, DERIVATIONS, DerivationLine, FORMAT, MANIFEST, Manifest, OBJECTS, RUNS,
    RunLine, STATEMENTS, StatementLine,
};
use crate::log::Finding;
use crate::{Error, Kind, Result};

/// Lines looked at together by one thread.
const GROUP: usize = 1024;
/// Such groups in memory.
const AT_ONCE: usize = 8;
/// Findings listed at most.
const LISTED: usize = 100;

/// What the export is held against, from elsewhere.
#[derive(Debug, Default)]
pub struct Trust {
    /// Keys that are known to be the project's. Where none is given, the one that the export brings is used, and that
    /// is said.
    pub keys: Vec<NoteKey>,
    /// An earlier checkpoint (a signed note): the log must have gone on from it without a change.
    pub checkpoint: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveReport {
    /// What it says of itself; none where that cannot be read.
    pub manifest: Option<Manifest>,
    /// Whether the key was known from elsewhere.
    pub key_is_known: bool,
    /// Statements that were looked at.
    pub statements: u64,
    /// Objects that were hashed.
    pub objects: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// What does not fit, in the order in which it was found.
    pub findings: Vec<Finding>,
}

/// Verifies an export.
///
/// # Errors
/// Where the folder is no export at all. What does not fit is in the report.
pub fn verify(folder: &Path, trust: &Trust) -> Result<ArchiveReport> {
    if !super::is_one(folder) {
        return Err(Error::not_found(format!("{} is no export: it has no {MANIFEST}", folder.display())));
    }
    let path = folder.join(MANIFEST);
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    if size > read::MAX_MANIFEST {
        return Err(Error::usage(format!("{} is too large for a manifest", path.display())));
    }
    // One that was taken away is found like one that was changed.
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| Error::new(Kind::Io, format!("cannot read {}", path.display())).because(error))?,
    };
    let mut check = Check {
        folder,
        report: ArchiveReport {
            manifest: None,
            key_is_known: !trust.keys.is_empty(),
            statements: 0,
            objects: 0,
            bytes: size,
            findings: Vec::new(),
        },
    };
    if let Some((manifest, keys)) = check.manifest(&bytes, trust) {
        // A file that was exchanged makes everything after it meaningless.
        if check.files(&manifest) {
            check.contents(&manifest, &keys, trust);
        }
        check.report.manifest = Some(manifest);
    }
    Ok(check.report)
}

struct Check<'a> {
    folder: &'a Path,
    report: ArchiveReport,
}

impl Check<'_> {
    fn put(&mut self, kind: &'static str, subject: impl Into<String>, message: impl Into<String>) {
        if self.report.findings.len() < LISTED {
            self.report.findings.push(Finding { kind, subject: subject.into(), message: message.into() });
        }
    }

    fn noted(&mut self, kind: &'static str, subject: &str, outcome: Outcome<()>) {
        if let Err(message) = outcome {
            self.put(kind, subject, message);
        }
    }

    /// The manifest and the keys that may have signed; none where it cannot be believed.
    fn manifest(&mut self, bytes: &[u8], trust: &Trust) -> Option<(Manifest, Vec<NoteKey>)> {
        let read = || -> Outcome<(Manifest, Vec<NoteKey>)> {
            if bytes.is_empty() {
                return Err("is missing".to_owned());
            }
            let note = Note::parse(bytes).map_err(|error| format!("is no signed note: {error}"))?;
            let manifest: Manifest =
                serde_json::from_str(note.text()).map_err(|error| format!("cannot be read: {error}"))?;
            if manifest.format != FORMAT {
                return Err(format!("has format {:?}, and this runstone knows {FORMAT:?}", manifest.format));
            }
            let keys = if trust.keys.is_empty() {
                vec![manifest.key.parse::<NoteKey>().map_err(|error| error.to_string())?]
            } else {
                trust.keys.clone()
            };
            note.verify(&keys).map_err(|error| error.to_string())?;
            Ok((manifest, keys))
        };
        match read() {
            Ok(found) => Some(found),
            Err(message) => {
                self.put("manifest", MANIFEST, message);
                None
            }
        }
    }

    /// Whether the files are those of the manifest, all of them and no others.
    fn files(&mut self, manifest: &Manifest) -> bool {
        let there = match read::list(self.folder) {
            Ok(there) => there,
            Err(message) => {
                self.put("file", ".", message);
                return false;
            }
        };
        for name in there.iter().filter(|name| *name != MANIFEST && !manifest.files.contains_key(*name)) {
            self.put("file", name, "is not in the manifest");
        }
        let list: Vec<_> = manifest.files.iter().collect();
        let found: Mutex<Vec<(String, String)>> = Mutex::default();
        in_parallel(list.len(), |at| {
            let (name, entry) = list[at];
            let message = if there.contains(name) {
                match read::matches(&self.folder.join(name), entry) {
                    Ok(true) => return,
                    Ok(false) => "is not the file of the manifest".to_owned(),
                    Err(message) => message,
                }
            } else {
                "is missing".to_owned()
            };
            found.lock().expect("no thread panics while it holds this").push((name.clone(), message));
        });
        let mut found = found.into_inner().expect("no thread panics while it holds this");
        found.sort();
        for (name, message) in found {
            self.put("file", name, message);
        }
        self.report.bytes += manifest.files.values().map(|file| file.size).sum::<u64>();
        self.report.findings.is_empty()
    }

    fn contents(&mut self, manifest: &Manifest, keys: &[NoteKey], trust: &Trust) {
        let Some(root) = NodeHash::from_base64(&manifest.log_root) else {
            return self.put("manifest", MANIFEST, "has no root of the log");
        };
        let log = Log { origin: &manifest.origin, size: manifest.log_size, root };
        let outcome = self.checkpoints(&log, keys, trust);
        self.noted("checkpoint", CHECKPOINTS, outcome);
        let derivations = self.hashed::<DerivationLine, Fingerprint>(DERIVATIONS, |line| {
            let bytes = read::bytes(&line.canonical)?;
            let stated = line.fingerprint.parse::<Fingerprint>().map_err(|error| error.to_string())?;
            if derivation::fingerprint(&bytes) == stated {
                Ok(stated)
            } else {
                Err(format!("{stated} is not its fingerprint"))
            }
        });
        let runs = self.hashed::<RunLine, ContentHash>(RUNS, |line| {
            let bytes = read::bytes(&line.statement)?;
            let stated = line.hash.parse::<ContentHash>().map_err(|error| error.to_string())?;
            if run_hash(&bytes) != stated {
                return Err(format!("{stated} is not its hash"));
            }
            self.definition(&bytes)?;
            Ok(stated)
        });
        match (derivations, runs) {
            (Ok(derivations), Ok(runs)) => self.statements(manifest, &log, &derivations, &runs),
            (derivations, runs) => {
                self.noted("derivation", DERIVATIONS, derivations.map(|_| ()));
                self.noted("run", RUNS, runs.map(|_| ()));
            }
        }
        self.objects(manifest);
    }

    /// The definition that a run states to have been in force.
    fn definition(&self, run: &[u8]) -> Outcome<()> {
        let value = canonical::decode(run).map_err(|error| error.to_string())?;
        let Some(canonical::Value::Bytes(hash)) = value.get("definition") else {
            return Err("names no definition".to_owned());
        };
        let hash: [u8; 32] = hash.as_slice().try_into().map_err(|_| "names no definition".to_owned())?;
        let hash = ContentHash::from_bytes(hash);
        let text = std::fs::read(self.folder.join(format!("{DEFINITIONS}/{}.yaml", hash.to_hex())))
            .map_err(|_| format!("names definition {hash}, which is not there"))?;
        if ContentHash::of(&text) == hash {
            Ok(())
        } else {
            Err(format!("names definition {hash}, which is another text"))
        }
    }

    fn checkpoints(&self, log: &Log<'_>, keys: &[NoteKey], trust: &Trust) -> Outcome<()> {
        let mut signed: HashMap<u64, NodeHash> = HashMap::new();
        read::for_each_group(
            &self.folder.join(CHECKPOINTS),
            GROUP,
            |first, lines| (first, lines),
            |(first, lines)| {
                for (number, line) in (first..).zip(lines) {
                    let line: CheckpointLine = parse(number, &line)?;
                    let checkpoint =
                        log.signed(&line.note, keys).map_err(|message| format!("line {number}: {message}"))?;
                    let proof = read::hashes(&line.proof)?;
                    verify_consistency(checkpoint.size, log.size, &proof, checkpoint.root, log.root)
                        .map_err(|error| format!("line {number}: {error}"))?;
                    signed.insert(checkpoint.size, checkpoint.root);
                }
                Ok(())
            },
        )?;
        if signed.get(&log.size) != Some(&log.root) {
            return Err("no checkpoint signs the log that the manifest names".to_owned());
        }
        let Some(earlier) = &trust.checkpoint else { return Ok(()) };
        let earlier =
            log.signed(earlier, keys).map_err(|message| format!("the checkpoint that was given: {message}"))?;
        match signed.get(&earlier.size) {
            Some(root) if *root == earlier.root => Ok(()),
            Some(_) => Err(format!("the log is another one than at the given checkpoint of {} leaves", earlier.size)),
            None => {
                Err(format!("nothing proves that the log went on from the given checkpoint of {} leaves", earlier.size))
            }
        }
    }

    /// The hashes that the lines of a file are proven to have.
    fn hashed<L: DeserializeOwned, H: Eq + std::hash::Hash + Send>(
        &self,
        name: &str,
        check: impl Fn(&L) -> Outcome<H> + Sync,
    ) -> Outcome<HashSet<H>> {
        let mut found = HashSet::new();
        let hash = |first, lines: Vec<String>| each_line(first, &lines, &check);
        read::for_each_group(&self.folder.join(name), GROUP * AT_ONCE, hash, |hashes| {
            for hash in hashes {
                found.insert(hash?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn statements(
        &mut self,
        manifest: &Manifest,
        log: &Log<'_>,
        derivations: &HashSet<Fingerprint>,
        runs: &HashSet<ContentHash>,
    ) {
        let mut graph = Graph::default();
        let mut tree = Appender::new();
        let mut problems: Vec<(String, String)> = Vec::new();
        let prove = |first, lines: Vec<String>| each_line(first, &lines, |line| statement(line, log));
        let outcome = read::for_each_group(&self.folder.join(STATEMENTS), GROUP * AT_ONCE, prove, |proven| {
            for read in proven {
                let (index, leaf, stated) = read?;
                if manifest.complete {
                    if index != tree.size() {
                        return Err(format!("leaf {} is missing", tree.size()));
                    }
                    tree.append(leaf);
                }
                let name = format!("{} (leaf {index})", stated.name);
                let mut put = |message: &str| problems.push((name.clone(), message.to_owned()));
                if !derivations.contains(&stated.fingerprint) && !stated.is_reuse {
                    put("asked for something that is not there");
                }
                if !runs.contains(&stated.run) {
                    put("belongs to a run that is not there");
                }
                graph.add(&stated, &mut put);
                self.report.statements += 1;
            }
            Ok(())
        });
        self.noted("log", STATEMENTS, outcome);
        for (name, message) in problems {
            self.put("statement", name, message);
        }
        if manifest.complete && (tree.size(), tree.root()) != (log.size, log.root) && self.report.findings.is_empty() {
            self.put("log", STATEMENTS, "are not the leaves of the signed log");
        }
        for (name, node) in graph.unmade() {
            self.put("statement", name, format!("read publication {}, which nobody published", node.0));
        }
        for version in &manifest.versions {
            let is_made =
                graph.published.get(&NodeId(version.node)).is_some_and(|hash| hash.to_string() == version.hash);
            if !is_made {
                self.put("statement", &version.name, "was published by no attempt of the export");
            }
        }
    }

    fn objects(&mut self, manifest: &Manifest) {
        let prefix = format!("{OBJECTS}/");
        let list: Vec<&String> = manifest.files.keys().filter(|name| name.starts_with(&prefix)).collect();
        self.report.objects = list.len() as u64;
        let mut wrong: Vec<&String> = Vec::new();
        for name in list {
            // Its bytes were hashed before, as those of a file.
            let stated = name[prefix.len()..].replace('/', "");
            let is_file = manifest.files[name].blake3 == stated;
            if !is_file && !self.is_node(name, &stated) {
                wrong.push(name);
            }
        }
        for name in wrong {
            self.put("object", name.clone(), "is not the content its name says");
        }
    }

    fn is_node(&self, name: &str, stated: &str) -> bool {
        let path = self.folder.join(name);
        let is_small = path.metadata().is_ok_and(|it| it.len() <= runstone_exec::objects::tree::MAX_NODE_BYTES);
        is_small && std::fs::read(path).is_ok_and(|bytes| node_hash(&bytes).to_hex() == stated)
    }
}

/// The log that an export is of.
struct Log<'a> {
    origin: &'a str,
    size: u64,
    root: NodeHash,
}

impl Log<'_> {
    /// A checkpoint of this log, signed by one of the keys.
    fn signed(&self, note: &str, keys: &[NoteKey]) -> Outcome<Checkpoint> {
        let note = Note::parse(note.as_bytes()).map_err(|error| format!("is no signed note: {error}"))?;
        note.verify(keys).map_err(|error| error.to_string())?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|error| format!("{error}"))?;
        if checkpoint.origin != self.origin {
            return Err(format!("is of another log, {}", checkpoint.origin));
        }
        Ok(checkpoint)
    }
}

type Statement = (u64, LeafHash, Stated);

/// Reads and checks lines on all cores; gives what was found in the order of lines.
fn each_line<L: DeserializeOwned, T: Send>(
    first: u64,
    lines: &[String],
    check: impl Fn(&L) -> Outcome<T> + Sync,
) -> Vec<Outcome<T>> {
    let groups: Vec<(u64, &[String])> = (first..).step_by(GROUP).zip(lines.chunks(GROUP)).collect();
    let done: Vec<Mutex<Vec<Outcome<T>>>> = groups.iter().map(|_| Mutex::default()).collect();
    in_parallel(groups.len(), |at| {
        let (first, lines) = groups[at];
        let read = (first..).zip(lines).map(|(number, line)| {
            let line = parse(number, line)?;
            check(&line).map_err(|message| format!("line {number}: {message}"))
        });
        *done[at].lock().expect("no thread panics while it holds this") = read.collect();
    });
    done.into_iter().flat_map(|group| group.into_inner().expect("no thread panics while it holds this")).collect()
}

fn statement(line: &StatementLine, log: &Log<'_>) -> Outcome<Statement> {
    let bytes = read::bytes(&line.statement)?;
    let leaf = leaf_hash(&bytes);
    if let Some(proof) = &line.proof {
        verify_inclusion(leaf, line.index, log.size, &read::hashes(proof)?, log.root)
            .map_err(|error| error.to_string())?;
    }
    let value = canonical::view(&bytes).map_err(|error| error.to_string())?;
    let stated = Stated::read(&value).map_err(|error| error.to_string())?;
    Ok((line.index, leaf, stated))
}

/// Publications and readings of all statements.
#[derive(Default)]
struct Graph {
    published: HashMap<NodeId, ContentHash>,
    /// Read before it was seen to be published: by whom, and as what.
    open: HashMap<NodeId, (String, ContentHash)>,
}

impl Graph {
    fn add(&mut self, stated: &Stated, put: &mut dyn FnMut(&str)) {
        for (node, hash) in &stated.inputs {
            if *node >= stated.node {
                put("read what was published after it");
            }
            match self.published.get(node) {
                Some(published) if published == hash => {}
                Some(_) => put("read something else than was published"),
                None => _ = self.open.insert(*node, (stated.name.clone(), *hash)),
            }
        }
        for (node, hash, ..) in &stated.outputs {
            if *node <= stated.node {
                put("published before it began");
            }
            if self.open.remove(node).is_some_and(|(_, read)| read != *hash) {
                put("published something else than was read");
            }
            if self.published.insert(*node, *hash).is_some() {
                put("published what somebody else published too");
            }
        }
    }

    fn unmade(self: &Graph) -> Vec<(String, NodeId)> {
        let mut open: Vec<(String, NodeId)> = self.open.iter().map(|(node, (name, _))| (name.clone(), *node)).collect();
        open.sort();
        open
    }
}

fn parse<T: DeserializeOwned>(number: u64, line: &str) -> Outcome<T> {
    serde_json::from_str(line).map_err(|error| format!("line {number} cannot be read: {error}"))
}

/// Does work number 0 to `count` on all cores.
fn in_parallel(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    work(at);
                }
            });
        }
    });
}
