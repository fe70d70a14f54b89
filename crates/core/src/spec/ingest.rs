//! Where an ingest reads, and how that depends on the partition of a run. Nothing is read here.

use crate::partition::Key;

/// Where an ingest reads. What stands for the partition's key is written [`Source::PARTITION`] in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, a folder or a glob, relative to the pipeline's folder.
    Path(String),
    /// `http://` or `https://`.
    Url(String),
}

/// A source that differs from partition to partition, in a run that has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the source {0:?} is another one for every partition, and the run has none")]
pub struct NeedsPartition(pub String);

impl Source {
    /// Stands for the key of the run's partition.
    pub const PARTITION: &str = "${{ partition }}";

    /// The text as written.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Path(text) | Self::Url(text) => text,
        }
    }

    /// What is read in a run of this partition.
    ///
    /// # Errors
    /// [`NeedsPartition`] where it depends on the partition and there is none.
    pub fn for_partition(&self, key: Option<&Key>) -> Result<Self, NeedsPartition> {
        let text = self.text();
        let text = match key {
            Some(key) => text.replace(Self::PARTITION, key.as_str()),
            None if text.contains(Self::PARTITION) => return Err(NeedsPartition(text.to_owned())),
            None => text.to_owned(),
        };
        Ok(match self {
            Self::Path(_) => Self::Path(text),
            Self::Url(_) => Self::Url(text),
        })
    }
}
