//! Who does what was decided, or only says what would come of it: the same steps in the same order, so that a dry run
//! foretells the real one.

use std::collections::HashMap;
use std::time::SystemTime;

use runstone_core::hash::ContentHash;
use runstone_core::retention::store::Candidate;
use runstone_core::store::{Store, StoreError};
use runstone_exec::objects::{Checkouts, Collector, Linked, ObjectError, ObjectStore, Removal, Unused};

use super::RetentionError;
use crate::clock;

/// The steps of giving up bytes.
pub(super) trait Hands {
    /// Notes that these are given up, and says for which that is so.
    fn give_up(&mut self, candidates: &[Candidate]) -> Result<Vec<ContentHash>, RetentionError>;

    /// Notes that these are there after all.
    fn revive(&mut self, hashes: &[ContentHash]) -> Result<(), RetentionError>;

    /// Removes objects that nobody has touched since.
    fn remove(&mut self, hashes: &[ContentHash], before: SystemTime) -> Result<Vec<Removal>, RetentionError>;

    /// Removes a checkout that nobody has asked for since; gives the bytes that are free now.
    fn remove_checkout(&mut self, unused: &Unused, before: SystemTime) -> Result<Option<u64>, RetentionError>;
}

/// Does it.
pub(super) struct Real<'a> {
    pub(super) store: &'a mut dyn Store,
    pub(super) objects: &'a ObjectStore,
    pub(super) collector: Collector<'a>,
    pub(super) checkouts: Checkouts,
}

impl Hands for Real<'_> {
    fn give_up(&mut self, candidates: &[Candidate]) -> Result<Vec<ContentHash>, RetentionError> {
        Ok(self.store.evict(self.objects.marker(), candidates, clock::now())?)
    }

    fn revive(&mut self, hashes: &[ContentHash]) -> Result<(), RetentionError> {
        Ok(if hashes.is_empty() { Ok(()) } else { self.store.revive(self.objects.marker(), hashes, clock::now()) }?)
    }

    fn remove(&mut self, hashes: &[ContentHash], before: SystemTime) -> Result<Vec<Removal>, RetentionError> {
        Ok(self.collector.remove(hashes, before)?)
    }

    fn remove_checkout(&mut self, unused: &Unused, before: SystemTime) -> Result<Option<u64>, RetentionError> {
        Ok(self.checkouts.remove(unused, before, &self.collector)?)
    }
}

/// Only says what would come of it.
pub(super) struct Pretended<'a> {
    pub(super) objects: &'a ObjectStore,
    pub(super) checkouts: Option<Checkouts>,
    /// How many names of each file would be left.
    pub(super) links: HashMap<(u64, u64), u64>,
    /// When objects were touched last.
    pub(super) changed: HashMap<ContentHash, SystemTime>,
    /// Checkouts that are gone by now.
    pub(super) gone: Vec<Unused>,
}

impl Pretended<'_> {
    /// One name of a file goes; gives the bytes that are free then.
    fn unlink(&mut self, file: Linked) -> u64 {
        let left = self.links.entry(file.id).or_insert(file.links);
        *left = left.saturating_sub(1);
        if *left == 0 { file.size } else { 0 }
    }
}

impl Hands for Pretended<'_> {
    fn give_up(&mut self, candidates: &[Candidate]) -> Result<Vec<ContentHash>, RetentionError> {
        Ok(candidates.iter().map(|candidate| candidate.hash).collect())
    }

    fn revive(&mut self, _: &[ContentHash]) -> Result<(), RetentionError> {
        Ok(())
    }

    fn remove(&mut self, hashes: &[ContentHash], before: SystemTime) -> Result<Vec<Removal>, RetentionError> {
        let mut removals = Vec::with_capacity(hashes.len());
        for hash in hashes {
            removals.push(match self.changed.remove(hash) {
                None => Removal::Missing,
                Some(changed) if changed >= before => Removal::Spared,
                Some(_) => match self.objects.linked(*hash)? {
                    Some(file) => Removal::Removed { freed: self.unlink(file) },
                    None => Removal::Missing,
                },
            });
        }
        Ok(removals)
    }

    fn remove_checkout(&mut self, unused: &Unused, _: SystemTime) -> Result<Option<u64>, RetentionError> {
        let Some(checkouts) = self.checkouts.as_ref().filter(|_| !self.gone.contains(unused)) else { return Ok(None) };
        self.gone.push(unused.clone());
        let files = checkouts.files(unused)?;
        Ok(Some(files.into_iter().map(|file| self.unlink(file)).sum()))
    }
}

impl From<StoreError> for RetentionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ObjectError> for RetentionError {
    fn from(error: ObjectError) -> Self {
        Self::Objects(error)
    }
}
