//! Content-addressed objects: bytes kept under the hash of what they are.
//!
//! A file is named by the BLAKE3 of its bytes, a directory by the root of its Merkle tree; the rules are in
//! `docs/design/hashing.md`. A file under a hash name means nothing by itself: "stored" is a committed record, made after
//! [`ObjectStore::sync`] has returned. A missing or damaged object is a miss, never an error of the
//! one who asked, and never a hit.
//!
//! Knows nothing of datasets, runs or the database.

pub(crate) mod beneath;
mod checkout;
mod collect;
mod collector;
mod contents;
mod difference;
mod digest;
mod error;
mod gate;
mod inventory;
mod materialize;
mod read;
mod remove;
mod restore;
pub mod split;
mod store;
mod survey;
mod sync;
pub mod tree;
pub(crate) mod walk;

pub use beneath::{FileKind, FileStat};
pub use checkout::{Checkouts, Linked, Unused};
pub use collect::{Collected, Expect, ObjectKind};
pub use collector::{Collector, Removal};
pub use contents::Reached;
pub use difference::CountsAsSame;
pub use error::ObjectError;
pub use inventory::{ObjectInfo, Usage};
pub use read::{Depth, Presence};
pub use remove::remove_folder;
pub use restore::Overwrite;
pub use store::{ObjectStore, SEALED_SECONDS};
pub use survey::{Surveyed, survey};
pub use sync::{Batch, SYNC_EACH_UP_TO};
pub use walk::Limits;
