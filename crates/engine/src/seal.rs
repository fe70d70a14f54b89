//! Bringing attempts that ended into the log of their project, with the key that signs it.
//!
//! The key is a file beside the record, made when it is first needed. Where several machines serve one project, each
//! has a key of its own unless the configuration names one that they share.
//!
//! Beside the record lies also what was signed last. Whoever can write the database, but not the state folder, can take leaves
//! and checkpoints away together; this file still knows them, and nothing is signed that contradicts it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use runstone_core::log::checkpoint::Checkpoint;
use runstone_core::log::key::SigningKey;
use runstone_core::log::note::Note;
use runstone_core::store::Store;
use runstone_lineage::log::{self, Sealed};

use crate::clock;
use crate::project::Project;

/// The file of the key within the state folder.
const KEY_FILE: &str = "signing-key";
/// The file of the last checkpoint within the state folder.
const CHECKPOINT_FILE: &str = "last-checkpoint";
/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The log cannot be sealed now. What ended comes into it the next time.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key cannot be read or made.
    #[error("cannot {doing} the signing key {}", path.display())]
    Key {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key is none.
    #[error("{} holds no signing key: it should be {} hexadecimal digits", path.display(), 2 * KEY_BYTES)]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint that was kept cannot be read or written.
    #[error("cannot {doing} the last checkpoint {}", path.display())]
    Checkpoint {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record cannot be read or written, or contradicts itself.
    #[error(transparent)]
    Log(#[from] runstone_lineage::Error),
}

/// Brings everything that ended into the log.
///
/// # Errors
/// [`SealError`]; what was brought in before stays.
pub fn seal(project: &Project, store: &mut dyn Store) -> Result<Sealed, SealError> {
    let key = signing_key(project)?;
    let kept = kept_checkpoint(project)?;
    let sealed = log::seal(store, project.id(), &key, kept.as_ref(), clock::now()).map_err(|error| {
        if kept.is_none() || !error.is_damage() {
            return error;
        }
        let path = checkpoint_path(project);
        error.hint(format!("if the record was put back to an earlier state on purpose, remove {}", path.display()))
    })?;
    if let Some(last) = sealed.last.as_ref().filter(|last| kept.is_none_or(|kept| last.size > kept.size)) {
        let path = checkpoint_path(project);
        // Of two who do this at once the one who is behind may be the last one: its checkpoint is as true.
        let draft = path.with_extension(uuid::Uuid::now_v7().to_string());
        let kept = write_new(&draft, &last.note).and_then(|()| fs::rename(&draft, &path));
        if kept.is_err() {
            let _ = fs::remove_file(&draft);
        }
        kept.map_err(|source| SealError::Checkpoint { doing: "keep", path, source })?;
    }
    Ok(sealed)
}

/// The newest checkpoint that this folder knows of, where there is one.
///
/// # Errors
/// [`SealError::Checkpoint`] where the file cannot be read, or holds something else.
pub fn kept_checkpoint(project: &Project) -> Result<Option<Checkpoint>, SealError> {
    let path = checkpoint_path(project);
    let cannot = |source| SealError::Checkpoint { doing: "read", path: path.clone(), source };
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(cannot)?,
    };
    let note = Note::parse(&bytes).map_err(|error| cannot(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let checkpoint = note.text().parse().map_err(|error| cannot(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Some(checkpoint))
}

fn checkpoint_path(project: &Project) -> PathBuf {
    project.state_dir().join(CHECKPOINT_FILE)
}

/// The key of the project, which is made where there is none.
///
/// # Errors
/// [`SealError`] where the file cannot be read or made, or holds something else.
pub fn signing_key(project: &Project) -> Result<SigningKey, SealError> {
    if let Some(key) = known_key(project)? {
        return Ok(key);
    }
    let path = key_path(project);
    if project.config().signing_key.value.is_some() {
        return Err(SealError::Key { doing: "read", path, source: io::ErrorKind::NotFound.into() });
    }
    make(&path).map_err(|source| SealError::Key { doing: "make", path: path.clone(), source })?;
    known_key(project)?.ok_or(SealError::BadKey { path })
}

/// The key of the project, where it has one.
///
/// # Errors
/// [`SealError`] where the file cannot be read, or holds something else.
pub fn known_key(project: &Project) -> Result<Option<SigningKey>, SealError> {
    Ok(read(&key_path(project))?.map(SigningKey::from_seed))
}

fn key_path(project: &Project) -> PathBuf {
    let configured = project.config().signing_key.value.as_ref();
    configured.map_or_else(|| project.state_dir().join(KEY_FILE), |path| project.root().join(path))
}

fn read(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, SealError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SealError::Key { doing: "read", path: path.to_owned(), source }),
    };
    let digits = text.trim().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let seed: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let seed = seed.and_then(|seed| seed.try_into().ok());
    seed.map(Some).ok_or_else(|| SealError::BadKey { path: path.to_owned() })
}

/// Chance is the kernel's. The file appears complete under its name or not at all, and of several processes the first
/// one wins.
fn make(path: &Path) -> io::Result<()> {
    let mut seed = [0; KEY_BYTES];
    let got = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    if got != KEY_BYTES {
        return Err(io::Error::other("the kernel gave no random bytes"));
    }
    let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = path.with_extension(uuid::Uuid::now_v7().to_string());
    let linked = write_new(&draft, &(text + "\n")).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A new file of its owner alone, which is on disk once this returns.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
