//! What went, or would go, in numbers; and how far it is meanwhile.

use serde::Serialize;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The objects are being listed and the record is being read.
    Reading,
    /// Contents are being given up.
    GivenUp {
        /// So many were looked at.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// Objects that nothing needs are being removed.
    Removed {
        /// So many were looked at.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// Events are being removed: so many so far.
    Events(u64),
}

/// How many, and how many bytes are free by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// What a rule for objects gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// The datasets it is about.
    pub r#match: String,
    /// Contents; several versions may have the same.
    pub contents: u64,
    /// Objects that nothing else needed, each counted once.
    pub objects: Amount,
}

/// A version whose bytes were given up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EvictedVersion {
    /// Its dataset.
    pub dataset: String,
    /// Its number.
    pub version: i64,
    /// Its content.
    pub hash: String,
    /// Bytes of all its files, whoever else has them.
    pub size_bytes: u64,
}

/// What went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Bytes that are free by all of it.
    pub freed_bytes: u64,
    /// By rule, in their order.
    pub rules: Vec<RuleReport>,
    /// Versions that were given up, by dataset and number.
    pub evicted: Vec<EvictedVersion>,
    /// Objects that went without a rule: nothing on record names them.
    pub unneeded: Amount,
    /// Checkouts of folders. What those of given up versions took counts there.
    pub checkouts: Amount,
    /// Temporary files.
    pub temporary_bytes: u64,
    /// Folders of runs.
    pub runs: Amount,
    /// Scratch folders.
    pub scratch: Amount,
    /// Runs whose events went.
    pub event_runs: u64,
    /// Their events.
    pub events: u64,
    /// Why objects were left alone, where they were.
    pub objects_kept_because: Option<String>,
}

impl Report {
    /// Objects that went by a rule, or without one.
    pub(super) fn of(&mut self, rule: Option<usize>) -> &mut Amount {
        rule.map_or(&mut self.unneeded, |rule| &mut self.rules[rule].objects)
    }

    /// One more object is gone.
    pub(super) fn count(&mut self, rule: Option<usize>, bytes: u64) {
        self.of(rule).add(Amount { count: 1, bytes });
    }

    /// All objects together.
    #[must_use]
    pub fn objects(&self) -> Amount {
        self.rules.iter().fold(self.unneeded, |mut sum, rule| {
            sum.add(rule.objects);
            sum
        })
    }

    pub(super) fn sum_up(&mut self) {
        self.evicted.sort_unstable();
        let parts = [self.objects(), self.checkouts, self.runs, self.scratch];
        self.freed_bytes = parts.iter().map(|part| part.bytes).sum::<u64>() + self.temporary_bytes;
    }
}
