//! The time that schedules go by: the database's, so that schedulers on machines whose clocks differ fire together, and
//! one whose clock is wrong fires nothing early.
//!
//! It goes on from the last comparison by a clock that nobody sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use runstone_core::store::{Result, Store};
use runstone_core::time::Timestamp;
use tracing::warn;

use crate::clock;

/// A comparison that took longer says too little, microseconds.
const SLOW_US: i64 = 1_000_000;
/// A difference worth a word, microseconds.
const WRONG_US: i64 = 5_000_000;

/// See the module. Cheap to clone; clones share what was learned.
#[derive(Debug, Clone)]
pub(super) struct SharedTime(Arc<Learned>);

#[derive(Debug)]
struct Learned {
    /// What the database's clock shows more than the time since this machine was started, microseconds.
    offset: AtomicI64,
    warned: AtomicBool,
}

impl Default for SharedTime {
    /// Until the first comparison, the clock of this machine.
    fn default() -> Self {
        let offset = AtomicI64::new(clock::now().0.saturating_sub(since_boot()));
        Self(Arc::new(Learned { offset, warned: AtomicBool::new(false) }))
    }
}

fn since_boot() -> i64 {
    i64::try_from(clock::boot_micros()).unwrap_or(i64::MAX)
}

impl SharedTime {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(since_boot().saturating_add(self.0.offset.load(Ordering::Relaxed)))
    }

    /// Compares the clocks.
    ///
    /// # Errors
    /// Any of the store's.
    pub(super) fn compare(&self, store: &mut dyn Store) -> Result<()> {
        let begun = since_boot();
        let there = store.clock()?;
        let took = since_boot().saturating_sub(begun);
        if took > SLOW_US {
            return Ok(());
        }
        // Halfway is when the other clock was read, give or take the other half.
        self.0.offset.store(there.0.saturating_sub(begun + took / 2), Ordering::Relaxed);
        let ahead = there.0.saturating_sub(clock::now().0);
        let is_wrong = ahead.abs() > WRONG_US;
        if is_wrong && !self.0.warned.swap(true, Ordering::Relaxed) {
            warn!(
                seconds = -ahead / 1_000_000,
                "the clock of this machine is ahead of the database's by so much; schedules go by the database's"
            );
        } else if !is_wrong {
            self.0.warned.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}
