//! How Runstone acts on a machine: processes, files and content-addressed objects.
//!
//! Runs one attempt, here or elsewhere, and keeps bytes. Knows nothing of databases, plans or runs.

pub mod code;
pub mod fetch;
pub mod local;
pub mod normalize;
pub mod objects;
pub mod python;
pub mod scan;
