//! Tables as their callers see them: written by others, profiled, merged and compared.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod diff;
mod edits;
mod formats;
mod grid;
mod merge;
mod moves;
mod pyarrow;
