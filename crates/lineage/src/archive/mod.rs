//! An export that can be verified without us: a folder with what attempts state, proofs that these are in the log, and what
//! they name by hash.
//!
//! ```text
//! manifest.note        all files with their sizes and hashes, signed (a C2SP signed note whose text is JSON)
//! statements.jsonl     what each attempt states, with a proof that it is in the log
//! derivations.jsonl    what was asked, by fingerprint
//! runs.jsonl           what is stated of each run
//! checkpoints.jsonl    signed states of the log, with proofs that each is a beginning of the last
//! definitions/         definitions of pipelines, by hash
//! objects/             bytes, by hash, where they were asked for
//! ```
//!
//! The rules are written down in `docs/design/log.md`, so that others can check an export with tools of their own.

mod read;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use verify::{ArchiveReport, Trust, verify};
pub use write::{Request, Written, write};

/// Version of the format.
pub const FORMAT: &str = "runstone export v1";

pub(crate) const MANIFEST: &str = "manifest.note";
pub(crate) const STATEMENTS: &str = "statements.jsonl";
pub(crate) const DERIVATIONS: &str = "derivations.jsonl";
pub(crate) const RUNS: &str = "runs.jsonl";
pub(crate) const CHECKPOINTS: &str = "checkpoints.jsonl";
pub(crate) const DEFINITIONS: &str = "definitions";
pub(crate) const OBJECTS: &str = "objects";

/// Whether a folder is an export, or what is left of one.
#[must_use]
pub fn is_one(folder: &Path) -> bool {
    [MANIFEST, STATEMENTS].iter().any(|name| folder.join(name).exists())
}

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Which log.
    pub origin: String,
    /// Name of the project, for people.
    pub project: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// Version of runstone.
    pub tool_version: String,
    /// The key that signed, as `name+id+base64`. Whoever verifies should know it from elsewhere.
    pub key: String,
    /// The versions that were asked for; none where everything was.
    pub versions: Vec<Subject>,
    /// Whether these are all leaves of the log.
    pub complete: bool,
    /// Size of the log that statements are proven to be in.
    pub log_size: u64,
    /// Its root, base64.
    pub log_root: String,
    /// Every other file by its path.
    pub files: BTreeMap<String, FileEntry>,
}

/// A version that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// As commands take it.
    pub name: String,
    /// Its node.
    pub node: i64,
    /// Its content.
    pub hash: String,
}

/// A file of the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Bytes.
    pub size: u64,
    /// BLAKE3, as `b3sum` prints it.
    pub blake3: String,
}

/// A line of `statements.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StatementLine {
    pub(crate) index: u64,
    /// Canonical CBOR, base64.
    pub(crate) statement: String,
    /// Hashes from the leaf up, base64; absent where all leaves are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Vec<String>>,
}

/// A line of `derivations.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DerivationLine {
    pub(crate) fingerprint: String,
    /// Canonical CBOR, base64.
    pub(crate) canonical: String,
}

/// A line of `runs.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunLine {
    pub(crate) hash: String,
    /// Canonical CBOR, base64.
    pub(crate) statement: String,
}

/// A line of `checkpoints.jsonl`; the last is the one of the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CheckpointLine {
    pub(crate) note: String,
    /// That it is a beginning of the last one, base64.
    pub(crate) proof: Vec<String>,
}
