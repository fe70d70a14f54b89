//! What is about to be moved out of the folders of attempts into the content store: a note for each attempt, written
//! before the first of its files is moved.
//!
//! Between that move and the commit of the attempt's end, its outputs are nowhere but in the store, under hashes that
//! nobody else knows. Whoever judges the attempt again after a kill finds them by the note. It is not synced: it has to
//! survive processes, not the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use runstone_core::hash::ContentHash;
use runstone_core::record::ContentKind;
use runstone_exec::objects::Collected;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::site;

/// The outputs of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    attempt: Uuid,
    outputs: Vec<NotedOutput>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotedOutput {
    pub(crate) output: String,
    hash: ContentHash,
    kind: ContentKind,
    size: u64,
    files: u64,
}

impl NotedOutput {
    pub(crate) fn new(output: &str, content: &Collected) -> Self {
        Self {
            output: output.to_owned(),
            hash: content.hash,
            kind: site::content_kind(content.kind),
            size: content.size,
            files: content.files,
        }
    }

    pub(crate) fn content(&self) -> Collected {
        Collected { hash: self.hash, kind: site::object_kind(self.kind), size: self.size, files: self.files }
    }
}

/// The notes of a run.
#[derive(Debug)]
pub(crate) struct Notes {
    path: PathBuf,
    file: File,
}

impl Notes {
    /// Opens the notes in the folder of a run; they are made when missing.
    ///
    /// # Errors
    /// When the file cannot be made or opened.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("collected.jsonl");
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("open {}: {error}", path.display())))?;
        Ok(Self { path, file })
    }

    /// Writes down what is about to be moved, in one write.
    ///
    /// # Errors
    /// When it could not be written whole; nothing may be moved then.
    pub(crate) fn write(&self, attempt: Uuid, outputs: Vec<NotedOutput>) -> io::Result<()> {
        // It starts with a line end too, so that one torn by the death of its writer spoils only itself.
        let mut line = vec![b'\n'];
        serde_json::to_writer(&mut line, &Note { attempt, outputs })?;
        line.push(b'\n');
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("write {}: {error}", self.path.display()));
        let written = (&self.file).write(&line).map_err(failed)?;
        if written == line.len() { Ok(()) } else { Err(failed(io::ErrorKind::StorageFull.into())) }
    }

    /// What was about to be moved for an attempt.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn find(&self, attempt: Uuid) -> io::Result<Option<Vec<NotedOutput>>> {
        let text = std::fs::read(&self.path)
            .map_err(|error| io::Error::new(error.kind(), format!("read {}: {error}", self.path.display())))?;
        let mut notes = text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Note>(line).ok());
        Ok(notes.rfind(|note| note.attempt == attempt).map(|note| note.outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_exec::objects::ObjectKind;

    #[test]
    fn a_note_is_found_by_its_attempt_and_a_torn_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path()).unwrap();
        let content = Collected { hash: ContentHash::of(b"x"), kind: ObjectKind::Tree, size: 3, files: 2 };
        let (first, second, never) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let output = NotedOutput::new("table", &content);
        assert_eq!(output.content(), content);
        (&notes.file).write_all(format!("{{\"attempt\":\"{never}\",\"outp").as_bytes()).unwrap();
        notes.write(first, vec![output.clone()]).unwrap();
        notes.write(second, Vec::new()).unwrap();
        let again = Notes::open(folder.path()).unwrap();
        assert_eq!(again.find(first).unwrap(), Some(vec![output]));
        assert_eq!(again.find(second).unwrap(), Some(Vec::new()));
        assert_eq!(again.find(never).unwrap(), None);
    }
}
