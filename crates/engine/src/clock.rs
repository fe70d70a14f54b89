//! The only place in the engine that reads the wall clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use runstone_core::time::{Timestamp, micros};

/// Wall-clock time that only goes forward, for deadlines: people may set the clock of the machine while a run waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steady {
    wall: Timestamp,
    begun: Instant,
}

impl Steady {
    pub(crate) fn start() -> Self {
        Self { wall: now(), begun: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall.plus_micros(micros(self.begun.elapsed()))
    }
}

/// Microseconds since the machine was started, also those it slept: for leases.
#[must_use]
pub fn boot_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// The wall clock, for records. Never for deadlines.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::after_epoch(since)
}
