//! Writing an export: into a folder beside the one that was asked for, which gets its name at the very end.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runstone_core::canonical::{self, Value};
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::lineage::statement::RunStatement;
use runstone_core::lineage::store::LogLeaf;
use runstone_core::log::key::SigningKey;
use runstone_core::log::note::Note;
use runstone_core::log::tree::NodeHash;
use runstone_core::record::{ContentKind, MaterializationRecord, NodeId, RunId};
use runstone_core::store::Store;
use runstone_core::time::Timestamp;
use runstone_exec::objects::{ObjectError, ObjectKind, ObjectStore};
use serde::Serialize;
use uuid::Uuid;

use super::{
    CHECKPOINTS, CheckpointLine, DEFINITIONS, DERIVATIONS, DerivationLine, FORMAT, FileEntry, MANIFEST, Manifest,
    OBJECTS, RUNS, RunLine, STATEMENTS, StatementLine, Subject,
};
use crate::export::{Selection, attempts};
use crate::facts::{self, Facts, RunHashes};
use crate::log::{origin, prove_consistency, prove_inclusion, verifier_key};
use crate::view::reference;
use crate::{Error, Kind, Result};

/// Attempts handled together.
const BATCH: u32 = 1000;

/// What is to be exported.
#[derive(Debug)]
pub struct Request<'a> {
    /// Identity of the project.
    pub project: Uuid,
    /// Its name.
    pub name: &'a str,
    /// With everything they were made of; everything on record where none is given.
    pub versions: &'a [MaterializationRecord],
    /// Where to take bytes from, if they are to be part of it.
    pub objects: Option<&'a ObjectStore>,
    /// Signs the manifest.
    pub key: &'a SigningKey,
    /// Version of runstone.
    pub tool_version: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Attempts.
    pub statements: u64,
    /// Files and folders' nodes.
    pub objects: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Content whose bytes are not there any more.
    pub absent: u64,
}

/// Writes an export to a folder that does not exist yet. The log must have been sealed before.
///
/// # Errors
/// Where the record cannot be read, the folder exists or cannot be written, or there is nothing in the log.
pub fn write(store: &mut dyn Store, request: &Request<'_>, folder: &Path) -> Result<Written> {
    if folder.exists() {
        let message = format!("{} exists already", folder.display());
        return Err(Error::new(Kind::Refused, message).hint("name a folder that does not exist"));
    }
    let Some(last) = store.checkpoints(1)?.pop() else {
        return Err(Error::not_found("nothing has ended yet, so there is nothing to export"));
    };
    let mut name = folder.as_os_str().to_owned();
    name.push(".partial");
    let mut export = Export::create(PathBuf::from(name), request)?;
    let written = export.fill(store, last.size).and_then(|()| {
        let root = NodeHash::from_bytes(last.root);
        export.finish(store, (last.size, root, &last.note))
    });
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            // What is left of it means nothing; that it cannot be removed is no reason to hide why.
            let _ = fs::remove_dir_all(&export.folder);
            return Err(error);
        }
    };
    fs::rename(&export.folder, folder).map_err(failed("rename", folder))?;
    Ok(written)
}

struct Export<'a> {
    request: &'a Request<'a>,
    folder: PathBuf,
    files: BTreeMap<String, FileEntry>,
    statements: Lines,
    derivations: Lines,
    runs: Lines,
    hashes: RunHashes,
    known: Known,
    written: Written,
}

/// What was written already.
#[derive(Default)]
struct Known {
    fingerprints: HashSet<Fingerprint>,
    runs: HashSet<RunId>,
    definitions: HashSet<ContentHash>,
    objects: HashSet<ContentHash>,
}

impl<'a> Export<'a> {
    fn create(folder: PathBuf, request: &'a Request<'a>) -> Result<Self> {
        if folder.exists() {
            // Left by one that was killed.
            fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
        }
        fs::create_dir_all(folder.join(DEFINITIONS)).map_err(failed("make", &folder))?;
        let lines = |name: &str| Lines::create(&folder, name);
        Ok(Self {
            statements: lines(STATEMENTS)?,
            derivations: lines(DERIVATIONS)?,
            runs: lines(RUNS)?,
            request,
            folder,
            files: BTreeMap::new(),
            hashes: RunHashes::default(),
            known: Known::default(),
            written: Written::default(),
        })
    }

    fn fill(&mut self, store: &mut dyn Store, size: u64) -> Result<()> {
        if self.request.versions.is_empty() {
            let mut from = 0;
            while from < size {
                let mut leaves = store.log_leaves(from, BATCH)?;
                leaves.retain(|leaf| leaf.index < size);
                let Some(last) = leaves.last() else { break };
                from = last.index + 1;
                self.put(store, &leaves, None)?;
            }
            return Ok(());
        }
        let versions: Vec<NodeId> = self.request.versions.iter().map(|version| version.id).collect();
        let attempts = attempts(store, Selection::Up(&versions))?;
        for ids in attempts.chunks(BATCH as usize) {
            let mut leaves = store.log_leaves_of(ids)?;
            leaves.retain(|leaf| leaf.index < size);
            if leaves.len() != ids.len() {
                return Err(Error::damaged("an attempt that ended is not in the log"));
            }
            self.put(store, &leaves, Some(size))?;
        }
        Ok(())
    }

    /// Attempts with all that they name; `size` where each needs a proof.
    fn put(&mut self, store: &mut dyn Store, leaves: &[LogLeaf], size: Option<u64>) -> Result<()> {
        let ids: Vec<NodeId> = leaves.iter().map(|leaf| leaf.attempt).collect();
        let facts = facts::load(store, &ids)?;
        let by_id: std::collections::HashMap<NodeId, &Facts> = facts.iter().map(|it| (it.attempt.id, it)).collect();
        for leaf in leaves {
            let facts = by_id.get(&leaf.attempt);
            let facts = facts.ok_or_else(|| Error::damaged(format!("leaf {} states nothing on record", leaf.index)))?;
            let run = self.hashes.of(self.request.project, &facts.run);
            let proof = match size {
                None => None,
                Some(size) => Some(texts(&prove_inclusion(store, leaf.index, size)?)),
            };
            let statement = BASE64_STANDARD.encode(facts.statement(run).seal());
            self.statements.put(&StatementLine { index: leaf.index, statement, proof })?;
            self.written.statements += 1;
            self.named(store, facts, run)?;
        }
        Ok(())
    }

    fn named(&mut self, store: &mut dyn Store, facts: &Facts, run: ContentHash) -> Result<()> {
        let fingerprint = facts.attempt.fingerprint;
        if self.known.fingerprints.insert(fingerprint)
            && let Some(bytes) = store.derivation(&fingerprint)?
        {
            let canonical = BASE64_STANDARD.encode(&bytes);
            self.derivations.put(&DerivationLine { fingerprint: fingerprint.to_string(), canonical })?;
            self.code(&bytes)?;
        }
        if self.known.runs.insert(facts.run.id) {
            let (hash, bytes) = RunStatement { project: self.request.project, run: &facts.run }.seal();
            debug_assert_eq!(hash, run, "a run states the same each time");
            self.runs.put(&RunLine { hash: hash.to_string(), statement: BASE64_STANDARD.encode(bytes) })?;
        }
        let definition = facts.run.definition;
        if self.known.definitions.insert(definition)
            && let Some(text) = store.definition(&definition)?
        {
            let path = format!("{DEFINITIONS}/{}.yaml", definition.to_hex());
            self.file(&path, &mut text.as_bytes())?;
        }
        let read = facts.inputs.iter().map(|(_, read)| read);
        for version in read.chain(&facts.outputs) {
            self.object(version.hash, version.kind)?;
        }
        Ok(())
    }

    /// Code and lock files that a derivation names.
    fn code(&mut self, canonical: &[u8]) -> Result<()> {
        let Ok(asked) = canonical::decode(canonical) else { return Ok(()) };
        let lock = asked.get("python").and_then(|python| python.get("lock"));
        let code = match asked.get("code") {
            Some(Value::Map(files)) => files.values().collect(),
            _ => Vec::new(),
        };
        for value in code.into_iter().chain(lock) {
            if let Value::Bytes(bytes) = value
                && let Ok(bytes) = <[u8; 32]>::try_from(bytes.as_slice())
            {
                self.object(ContentHash::from_bytes(bytes), ContentKind::File)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, hash: ContentHash, kind: ContentKind) -> Result<()> {
        let Some(objects) = self.request.objects else { return Ok(()) };
        if self.known.objects.contains(&hash) {
            return Ok(());
        }
        let kind = match kind {
            ContentKind::File => ObjectKind::File,
            ContentKind::Dir => ObjectKind::Tree,
        };
        let mut needed = Vec::new();
        let reached = objects.reach(hash, kind, &mut |reached| {
            needed.push(reached.hash);
            Ok(!self.known.objects.contains(&reached.hash))
        });
        match reached {
            Ok(()) => {}
            Err(ObjectError::NotStored { .. } | ObjectError::Altered { .. } | ObjectError::BadNode { .. }) => {
                self.known.objects.insert(hash);
                self.written.absent += 1;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        for hash in needed {
            if !self.known.objects.insert(hash) {
                continue;
            }
            let digits = hash.to_hex();
            let path = format!("{OBJECTS}/{}/{}", &digits[..2], &digits[2..]);
            match objects.open_checked(hash) {
                Ok(mut file) => {
                    self.file(&path, &mut file)?;
                    self.written.objects += 1;
                }
                Err(ObjectError::NotStored { .. } | ObjectError::Altered { .. }) => self.written.absent += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, from: &mut dyn io::Read) -> Result<()> {
        let full = self.folder.join(path);
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
        }
        let mut to = Hashing::create(&full)?;
        io::copy(from, &mut to).map_err(failed("write", &full))?;
        let entry = to.finish(&full)?;
        self.files.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Checkpoints and the manifest.
    fn finish(&mut self, store: &mut dyn Store, last: (u64, NodeHash, &str)) -> Result<Written> {
        let (size, root, _) = last;
        let mut checkpoints = Lines::create(&self.folder, CHECKPOINTS)?;
        for record in store.checkpoints(u32::MAX)?.into_iter().rev().filter(|record| record.size <= size) {
            let proof = texts(&prove_consistency(store, record.size, size)?);
            checkpoints.put(&CheckpointLine { note: record.note, proof })?;
        }
        let empty = || Lines::create(&self.folder, MANIFEST);
        let lines = [
            (STATEMENTS, std::mem::replace(&mut self.statements, empty()?)),
            (DERIVATIONS, std::mem::replace(&mut self.derivations, empty()?)),
            (RUNS, std::mem::replace(&mut self.runs, empty()?)),
            (CHECKPOINTS, checkpoints),
        ];
        for (name, lines) in lines {
            self.files.insert(name.to_owned(), lines.finish()?);
        }
        self.written.bytes = self.files.values().map(|file| file.size).sum();
        let request = self.request;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            origin: origin(request.project),
            project: request.name.to_owned(),
            created: request.now.rfc3339(),
            tool_version: request.tool_version.to_owned(),
            key: verifier_key(request.project, request.key)?.to_string(),
            versions: request.versions.iter().map(subject).collect(),
            complete: request.versions.is_empty(),
            log_size: size,
            log_root: root.to_base64(),
            files: std::mem::take(&mut self.files),
        };
        let text = serde_json::to_string_pretty(&manifest).expect("a manifest is written to memory") + "\n";
        let note = Note::sign(text, &origin(request.project), request.key)
            .map_err(|error| Error::damaged(format!("the manifest cannot be signed: {error}")))?;
        let path = self.folder.join(MANIFEST);
        fs::write(&path, note.to_string()).map_err(failed("write", &path))?;
        Ok(self.written.clone())
    }
}

fn subject(version: &MaterializationRecord) -> Subject {
    Subject {
        name: reference(&version.dataset, &version.subset, version.version),
        node: version.id.0,
        hash: version.hash.to_string(),
    }
}

fn texts(hashes: &[NodeHash]) -> Vec<String> {
    hashes.iter().map(NodeHash::to_base64).collect()
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::new(Kind::Io, format!("cannot {doing} {path}")).because(error)
}

/// A file of JSON lines.
struct Lines {
    path: PathBuf,
    file: Hashing,
}

impl Lines {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        Ok(Self { file: Hashing::create(&path)?, path })
    }

    fn put(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line).expect("a line is written to memory");
        text.push(b'\n');
        self.file.write_all(&text).map_err(failed("write", &self.path))
    }

    fn finish(self) -> Result<FileEntry> {
        self.file.finish(&self.path)
    }
}

/// A file that is hashed while it is written.
struct Hashing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    size: u64,
}

impl Hashing {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(failed("make", path))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 18, file), hasher: blake3::Hasher::new(), size: 0 })
    }

    fn finish(mut self, path: &Path) -> Result<FileEntry> {
        self.file.flush().map_err(failed("write", path))?;
        Ok(FileEntry { size: self.size, blake3: self.hasher.finalize().to_hex().to_string() })
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
