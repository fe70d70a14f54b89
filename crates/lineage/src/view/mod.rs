//! The record as programs get it: flat, with stable names in snake case, units in the names, times in RFC 3339. Made of
//! the store's rows; described in `docs/cli.md`.

mod attempt;
mod time;
mod version;

pub use attempt::{AttemptView, EndView};
pub use time::Rfc3339;
pub use version::{ProducerView, VersionView, evicted, reference, with_producers};
