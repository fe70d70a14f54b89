//! Points in time as programs get them.

use runstone_core::time::Timestamp;
use serde::{Serialize, Serializer};

/// Serialised as `2026-11-23T09:51:02.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}
