//! The time that schedules go by: the database's, so that schedulers on machines whose clocks differ fire together, and
//! one whose clock is wrong fires nothing early.
//!
//! It is the clock of this machine, corrected by how far it was off when both were last compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use runstone_core::store::{Result, Store};
use runstone_core::time::Timestamp;
use tracing::warn;

use crate::clock;

/// A comparison that took longer says too little, microseconds.
const SLOW_US: u64 = 1_000_000;
/// A difference worth a word, microseconds.
const WRONG_US: i64 = 5_000_000;

/// See the module. Cheap to clone; clones share what was learned.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedTime(Arc<Learned>);

#[derive(Debug, Default)]
struct Learned {
    /// What the database's clock shows more than this machine's, microseconds.
    ahead: AtomicI64,
    warned: AtomicBool,
}

impl SharedTime {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(clock::now().0.saturating_add(self.0.ahead.load(Ordering::Relaxed)))
    }

    /// Compares the clocks.
    ///
    /// # Errors
    /// Any of the store's.
    pub(super) fn compare(&self, store: &mut dyn Store) -> Result<()> {
        let (before, begun) = (clock::now(), clock::boot_micros());
        let there = store.clock()?;
        let took = clock::boot_micros().saturating_sub(begun);
        if took > SLOW_US {
            return Ok(());
        }
        // Half of the way there, which is when the other clock was read, give or take the other half.
        let here = before.plus_micros(took / 2);
        let ahead = there.0.saturating_sub(here.0);
        self.0.ahead.store(ahead, Ordering::Relaxed);
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
