//! Questions about lineage, answered from the record: where a version came from, what became of it, why it was made, in
//! what two of them differ.
//!
//! One interface for the command line and whoever else asks: a function for each question, which takes a store (and the
//! objects, where bytes are looked at) and returns a value that serialises under stable names. Nothing here prints,
//! and nothing of the record is changed by asking. Only [`import`] adds to it, and only what others assert.

pub mod archive;
pub mod asked;
pub mod asserted;
pub mod diff;
pub mod difference;
mod error;
pub mod export;
pub mod facts;
pub mod find;
pub mod graph;
pub mod impact;
pub mod import;
pub mod index;
pub mod log;
pub mod packages;
pub mod path;
pub mod search;
pub mod tables;
pub mod view;
pub mod why;

pub use error::{Error, Kind, Result};
