//! The outcome journal: what the supervisors of a run have started and how it ended, one JSON object a line.
//!
//! It outlives every process and is read by whoever owns the run next. Records are appended with one `write` each to
//! a file opened with `O_APPEND`, so that many supervisors share one journal without locks. It is not synced to disk:
//! it has to survive processes, not the machine. After a restart of the machine nothing is alive that it speaks of,
//! and an outcome that nobody committed elsewhere is lost along with its attempt.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use runstone_core::attempt::OutcomeRecord;
use runstone_core::executor::Stop;
use runstone_core::time::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::process::{Place, ProcessId, Reach};

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A supervisor has an attempt. Written before the step's program replaces its process, and, where laying out
    /// inputs may take long, once more before that, without a step. The later record counts.
    Started(Started),
    /// An attempt is over and no process of it is left.
    Ended(OutcomeRecord),
}

/// Who supervises an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which attempt.
    pub attempt: Uuid,
    /// Where the process numbers mean something.
    #[serde(flatten)]
    pub place: Place,
    /// When.
    pub at: Timestamp,
    /// The supervisor.
    pub reaper: ProcessId,
    /// The process of the step, which leads a session of its own.
    // The last field: `step_field` relies on it.
    pub step: Option<u32>,
}

impl Started {
    /// What can be known here about the supervisor. Where nothing is known about this place, nothing is about that one.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Place::here().map_or(Reach::Elsewhere, |here| self.place.seen_from(&here))
    }

    /// Whether the supervisor is known to live, so that an outcome will come. An attempt whose supervisor is in reach and
    /// dead, and that has no outcome, is lost.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.reach() == Reach::Here && self.reaper.is_alive()
    }

    /// Asks the supervisor to end the attempt. To be used by the new owner of a run, when the old one is dead: a
    /// supervisor whose owner lives may have gone on to another attempt.
    pub fn stop(&self, how: Stop) {
        if self.is_alive() {
            self.reaper.signal(match how {
                Stop::Gracefully => Signal::TERM,
                Stop::Now => Signal::QUIT,
            });
        }
    }
}

/// Opens the journal for appending; it and its folder are made when missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The bytes of a record. A record starts with a line end too, so that one torn by the death of its writer spoils
/// only itself.
pub(super) fn record(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![b'\n'];
    serde_json::to_writer(&mut bytes, entry).expect("plain data always serialises");
    bytes.push(b'\n');
    bytes
}

/// The record of a start and where in it ten bytes are reserved for the number of the step's process.
pub(super) fn step_record(started: &Started) -> (Vec<u8>, usize) {
    let widest = Started { step: Some(u32::MAX), ..started.clone() };
    let bytes = record(&Entry::Started(widest));
    let at = bytes.len() - b"4294967295}}\n".len();
    (bytes, at)
}

/// Appends a record in one write.
pub(super) fn append(mut journal: &File, record: &[u8]) -> io::Result<()> {
    let written = journal.write(record)?;
    if written == record.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

/// Everything in the journal, oldest first. A record that was torn by the death of its writer is left out, and a
/// journal that does not exist is empty.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io::Error::new(error.kind(), format!("read {}: {error}", path.display()))),
    };
    Ok(bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// What the journal says of one attempt: its last start and its outcome.
pub(super) fn find(path: &Path, attempt: Uuid) -> io::Result<(Option<Started>, Option<OutcomeRecord>)> {
    let (mut started, mut ended) = (None, None);
    for entry in read(path)? {
        match entry {
            Entry::Started(entry) if entry.attempt == attempt => started = Some(entry),
            Entry::Ended(entry) if entry.attempt == attempt => ended = Some(entry),
            Entry::Started(_) | Entry::Ended(_) => {}
        }
    }
    Ok((started, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(step: Option<u32>) -> Started {
        let reaper = ProcessId { pid: 7, start: 99 };
        Started {
            attempt: Uuid::from_u128(1),
            place: Place { host: "h".into(), boot_id: "b".into(), namespace: "n".into() },
            at: Timestamp(5),
            reaper,
            step,
        }
    }

    #[test]
    fn a_torn_record_spoils_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/journal");
        let journal = open(&path).unwrap();
        append(&journal, &record(&Entry::Started(started(None)))).unwrap();
        let whole = record(&Entry::Started(started(Some(3))));
        append(&journal, &whole[..whole.len() - 9]).unwrap();
        append(&journal, &whole).unwrap();
        append(&journal, &whole[..9]).unwrap();
        assert_eq!(read(&path).unwrap(), vec![Entry::Started(started(None)), Entry::Started(started(Some(3)))]);
    }

    #[test]
    fn the_reserved_place_is_the_step() {
        let (mut bytes, at) = step_record(&started(None));
        bytes[at..at + 10].copy_from_slice(b"        12");
        let entry: Entry = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(entry, Entry::Started(started(Some(12))));
    }

    #[test]
    fn a_missing_journal_is_empty() {
        assert!(read(Path::new("/nonexistent/journal")).unwrap().is_empty());
    }
}
