//! The only place in the engine that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use runstone_core::time::Timestamp;

/// The wall clock, for records. Never for deadlines.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
