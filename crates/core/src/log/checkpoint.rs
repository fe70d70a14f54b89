//! Checkpoints: what a log says of itself, as the text of a [note](crate::log::note).
//!
//! Source: <https://c2sp.org/tlog-checkpoint>. A log signs each of them and must never sign two of which neither is
//! the beginning of the other; that is for who keeps the log.

use std::str::FromStr;

use super::tree::NodeHash;

/// A tree as its log states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is; an address without its scheme is recommended, and equal to the name of the log's key.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree of that many leaves.
    pub root: NodeHash,
    /// Further lines, whose meaning is the log's own. The specification advises against them.
    pub extensions: Vec<String>,
}

/// Why something is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Lines are missing, or the last one does not end.
    #[error("a checkpoint has at least three lines that each end with a line feed: origin, size and root")]
    Lines,
    /// A line that is empty, or has characters that notes do not have.
    #[error("line {number} of a checkpoint cannot be {found:?}: lines are not empty and have no control characters")]
    Line {
        /// Which line, from 1 on.
        number: usize,
        /// The line.
        found: String,
    },
    /// The second line is no size.
    #[error("the second line of a checkpoint is the number of leaves without leading zeros, and not {found:?}")]
    Size {
        /// The line.
        found: String,
    },
    /// The third line is no hash.
    #[error("the third line of a checkpoint is a hash of 32 bytes in base64, and not {found:?}")]
    Root {
        /// The line.
        found: String,
    },
}

impl Checkpoint {
    /// The text to be signed: a line each for origin, size, root and extensions.
    ///
    /// # Errors
    /// [`CheckpointError::Line`] where origin or an extension cannot be a line.
    pub fn text(&self) -> Result<String, CheckpointError> {
        let mut text = String::new();
        let (size, root) = (self.size.to_string(), self.root.to_base64());
        let lines = [&self.origin, &size, &root].into_iter().chain(&self.extensions);
        for (at, line) in lines.enumerate() {
            check_line(at + 1, line)?;
            text.push_str(line);
            text.push('\n');
        }
        Ok(text)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n').collect();
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(CheckpointError::Lines);
        };
        for (at, line) in lines.iter().enumerate() {
            check_line(at + 1, line)?;
        }
        let number = size.parse().ok().filter(|number: &u64| number.to_string() == *size);
        Ok(Self {
            origin: (*origin).to_owned(),
            size: number.ok_or_else(|| CheckpointError::Size { found: (*size).to_owned() })?,
            root: NodeHash::from_base64(root).ok_or_else(|| CheckpointError::Root { found: (*root).to_owned() })?,
            extensions: extensions.iter().map(|&line| line.to_owned()).collect(),
        })
    }
}

fn check_line(number: usize, line: &str) -> Result<(), CheckpointError> {
    if line.is_empty() || line.contains(|char| char < ' ') {
        return Err(CheckpointError::Line { number, found: line.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
